"""Go on: launch the next incarnation of a recovered stream until it reads."""

from __future__ import annotations

from collections.abc import Callable

from cdc_assets.core.position import Position
from cdc_assets.errors import (
    EngineUnreachable,
    IdentityMismatch,
    RecoveryBlocked,
    SavepointFailed,
)
from cdc_assets.operations.journal import Journal
from cdc_assets.operations.launch import Start, launch, outlive_orphans, wait_reading
from cdc_assets.operations.positions import anchor_of, record_state
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.ports import IncarnationRow, StateView


def go_on(
    rt: StreamRuntime,
    journal: Journal,
    make: Callable[[], Start],
) -> IncarnationRow:
    """Launch until the stream reads, has a checkpoint, and both are recorded.

    Args:
        rt: The stream.
        journal: Of the recovery.
        make: Returns where the first attempt starts; it proves what must be proved at
            each launch.

    Raises:
        RecoveryBlocked: Every attempt failed.
        EngineUnreachable: Flink does not answer.
    """
    reason = ""
    after = _end_drains(rt, journal)
    for attempt in range(1, rt.budgets.attempts + 1):
        label = f"{journal.recovery}/go-on-{attempt}"
        start = _next_start(rt, journal, make, attempt)
        journal.stay()
        row = launch(rt, "stream", start, label=label, after=after)
        after = row.number
        journal.once(f"launched {attempt}", lambda row=row: _launched(row))
        try:
            view = wait_reading(rt, row)
            reason = view.failure or f"the job is {view.state}"
            if view.state == "RUNNING":
                state = rt.engine.checkpoint(
                    row.job_id, budget_seconds=rt.budgets.checkpoint_seconds
                )
                reading = _reading(row, state, record_state(rt, row, state, savepoint=False))
                journal.once("reading", lambda reading=reading: reading)
                return row
        except (SavepointFailed, IdentityMismatch) as error:
            reason = str(error)
        journal.note("attempt failed", {"attempt": attempt, "reason": reason})
        if rt.engine.job(row.job_id).state == "GONE":
            outlive_orphans(rt)
    raise RecoveryBlocked(
        f"stream {rt.name!r}: {rt.budgets.attempts} launches failed, the last one: {reason}",
        hint="Mend the cause; the recovery goes on by itself",
    )


def _end_drains(rt: StreamRuntime, journal: Journal) -> int:
    """Make sure that no drain of this recovery lives, and return the newest incarnation.

    A superseded worker can have started one too many. It would write old rows over newer
    ones, so it ends before the stream goes on; the fence keeps that worker from another.
    """
    rows = rt.ledger.incarnations(rt.name)
    state = ""
    for row in rows:
        if row.kind == "drain" and row.recovery.startswith(f"{journal.recovery}/"):
            state = rt.engine.job(row.job_id).state
            if state == "UNKNOWN":
                raise EngineUnreachable(f"stream {rt.name!r}: {rt.spec.runs_on} does not answer")
            if state not in {"FINISHED", "FAILED", "CANCELED", "GONE"}:
                rt.engine.cancel(row.job_id, budget_seconds=rt.budgets.stop_seconds)
    # The orphans of an earlier drain were outlived before the next one was launched.
    if state == "GONE":
        outlive_orphans(rt)
    return rows[-1].number


def _launched(row: IncarnationRow) -> dict[str, object]:
    return {"incarnation": row.number, "job_id": row.job_id, "from": row.restored_from,
            "server": f"{row.host}:{row.port}"}  # fmt: skip


def _reading(
    row: IncarnationRow, state: StateView, positions: tuple[Position, ...]
) -> dict[str, object]:
    return {"incarnation": row.number, "path": state.path,
            "positions": [str(position) for position in positions]}  # fmt: skip


def _next_start(
    rt: StreamRuntime, journal: Journal, make: Callable[[], Start], attempt: int
) -> Start:
    """Return the start of an attempt: from the state of the one before, if it left one."""
    start = make()
    for earlier in range(attempt - 1, 0, -1):
        label = f"{journal.recovery}/go-on-{earlier}"
        rows = [row for row in rt.ledger.incarnations(rt.name) if row.recovery == label]
        state = rt.engine.latest_state(rows[0].job_id) if rows else None
        if rows and state is not None:
            # The attempt proved its server and read from it: its own anchor counts now.
            expected = anchor_of(rt, rows[0].number)
            return Start(start.server, expected=expected, restore_path=state.path)
    return start
