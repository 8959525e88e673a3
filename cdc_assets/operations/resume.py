"""Resume: stop what is left of an incarnation, and go on from its own state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cdc_assets.core.recovery import Resume, decide
from cdc_assets.errors import EngineUnreachable, RecoveryBlocked, SavepointFailed
from cdc_assets.operations.go_on import go_on
from cdc_assets.operations.journal import Detail, Journal
from cdc_assets.operations.launch import Start, outlive_orphans
from cdc_assets.operations.observe import Memory, observe
from cdc_assets.operations.positions import anchor_of, positions_of, record_state
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.ports import IncarnationRow, StateView


def resume(
    rt: StreamRuntime, journal: Journal, decided: Detail, broken: IncarnationRow
) -> IncarnationRow:
    """Go on behind the endpoint: on the same server, or on one of the same GTID history.

    Args:
        rt: The stream.
        journal: Of the recovery.
        decided: Detail of the recorded decision.
        broken: The incarnation that broke.
    """
    stopped = stop_broken(rt, journal, broken)
    return go_on(rt, journal, _start(rt, decided, broken, str(stopped["path"])))


def stop_broken(rt: StreamRuntime, journal: Journal, broken: IncarnationRow) -> Detail:
    """Take the newest state of the broken incarnation, and make sure that it is dead.

    A stalled job still runs: its stop with savepoint holds everything that was read, so
    nothing is delivered twice. A dead job leaves its newest checkpoint.
    """

    def action() -> dict[str, object]:
        state = _last_state(rt, broken)
        positions = record_state(rt, broken, state, savepoint=False)
        return {"path": state.path, "positions": [str(position) for position in positions]}

    return journal.once("stopped", action)


def _last_state(rt: StreamRuntime, row: IncarnationRow) -> StateView:
    view = rt.engine.job(row.job_id)
    if view.state == "UNKNOWN":
        raise EngineUnreachable(
            f"stream {rt.name!r}: {rt.spec.runs_on} does not answer, so the job is not known to be"
            " dead",
            hint="The recovery goes on when it answers",
        )
    if view.state in {"RUNNING", "FINISHED"}:
        try:
            return rt.engine.stop(
                row.job_id, purpose="recover", budget_seconds=rt.budgets.stop_seconds
            )
        except SavepointFailed:
            # It died on the way; what it left behind is read below.
            pass
    view = rt.engine.job(row.job_id)
    if view.state == "GONE":
        outlive_orphans(rt)
    elif view.state not in {"FAILED", "FINISHED", "CANCELED"}:
        rt.engine.cancel(row.job_id, budget_seconds=rt.budgets.stop_seconds)
    state = rt.engine.latest_state(row.job_id)
    if state is None:
        raise RecoveryBlocked(
            f"stream {rt.name!r}: incarnation {row.number} left no complete checkpoint",
            hint="Materialize the snapshot again",
        )
    return state


def _start(
    rt: StreamRuntime, decided: Detail, broken: IncarnationRow, path: str
) -> Callable[[], Start]:
    """Return what makes the start: with GTID the server is proved by its sets, else by identity."""
    if decided["lineage"] != "gtid":
        anchor = anchor_of(rt, broken.number)
        return lambda: Start(rt.source.endpoint, expected=anchor, restore_path=path)

    def make() -> Start:
        # The sets are compared again right before each launch, with the state that is restored.
        seen = observe(rt, Memory()).observation
        positions = positions_of(rt.engine.read_state(path), broken.identity, None)
        again = decide(
            replace(
                seen,
                job=replace(seen.job, state="FINISHED", state_path=path),
                anchor=anchor_of(rt, broken.number),
                positions=positions,
            ),
            rt.policy,
        )
        if not isinstance(again, Resume):
            raise RecoveryBlocked(f"stream {rt.name!r}: {again.reason}")
        return Start(rt.source.endpoint, restore_path=path)

    return make
