"""Drain: read old blue to its frozen end, prove it, and stop with a savepoint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from cdc_assets.core.position import Coordinates, Position, reached
from cdc_assets.core.recovery import sameness_of
from cdc_assets.errors import RecoveryBlocked, SavepointFailed
from cdc_assets.operations.journal import Journal
from cdc_assets.operations.launch import Start, launch, outlive_orphans, wait_reading
from cdc_assets.operations.positions import anchor_of, positions_of, record_state
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.ports import IncarnationRow, Server, StateView

PROGRESS_SECONDS = 5.0


@dataclass(frozen=True)
class Drained:
    """A savepoint that holds everything that old blue ever wrote.

    Attributes:
        path: The savepoint.
        coordinates: Its positions.
    """

    path: str
    coordinates: tuple[Coordinates, ...]


def drain(
    rt: StreamRuntime, journal: Journal, broken: IncarnationRow, path: str, old: Server
) -> Drained:
    """Read old blue to its end.

    When the state already stands at the end, nothing is launched.

    Args:
        rt: The stream.
        journal: Of the recovery.
        broken: Incarnation whose state it is.
        path: Its last state.
        old: Old blue's own endpoint.

    Raises:
        RecoveryBlocked: Old blue is not the server of the state, or is not frozen, or
            the end was not reached within the budget.
    """
    frozen = journal.once("end frozen", lambda: _frozen_end(rt, broken, old))
    end = Coordinates(str(frozen["file"]), int(str(frozen["pos"])))
    done = journal.find("drained")
    if done is None:
        state = rt.engine.read_state(path)
        if all_reached(broken, state, end):
            row, state_path = broken, path
        else:
            start = Start(old, expected=anchor_of(rt, broken.number), restore_path=path)
            row, state_path = read_to(rt, journal, start, end, after=broken.number)
        state = rt.engine.read_state(state_path)
        where = [f"{split.file}:{split.pos}" for split in state.splits]
        done = journal.once(
            "drained",
            lambda: {"path": state_path, "incarnation": row.number, "positions": where},
        )
    state = rt.engine.read_state(str(done["path"]))
    return Drained(state.path, tuple(Coordinates(each.file, each.pos) for each in state.splits))


def _frozen_end(rt: StreamRuntime, broken: IncarnationRow, old: Server) -> dict[str, object]:
    """Read old blue's end twice; it must be read-only, unmoved, and the server of the state."""
    anchor = anchor_of(rt, broken.number)
    deadline = rt.clock.monotonic() + rt.budgets.launch_seconds
    while True:
        first = rt.source.view(old, file=anchor.coordinates.file if anchor else None)
        if anchor is None or sameness_of(anchor, first) != "same":
            raise RecoveryBlocked(
                f"stream {rt.name!r}: {old} is not proved to be the server of the stream's "
                f"position{': ' + first.problem if first.problem else ''}",
                hint="Nothing was started",
            )
        rt.clock.sleep(rt.budgets.poll_seconds)
        second = rt.source.view(old, file=anchor.coordinates.file)
        if first.read_only and second.read_only and first.end and first.end == second.end:
            return {"file": first.end.file, "pos": first.end.pos, "server": str(old)}
        if rt.clock.monotonic() > deadline:
            raise RecoveryBlocked(
                f"stream {rt.name!r}: old blue {old} is not frozen: read_only="
                f"{second.read_only}, {first.end} then {second.end}",
                hint="Set read_only on it",
            )


def all_reached(row: IncarnationRow, state: StateView, end: Coordinates) -> bool:
    """Say whether every source of a state stands at the end."""
    if state.snapshot_running or not state.splits:
        return False
    found: tuple[Position, ...] = positions_of(state, row.identity, None)
    return all(reached(position, end) for position in found)


def read_to(
    rt: StreamRuntime,
    journal: Journal,
    start: Start,
    end: Coordinates,
    *,
    after: int,
    kind: Literal["drain", "catch-up"] = "drain",
) -> tuple[IncarnationRow, str]:
    """Run an incarnation until a place is reached, and stop it.

    Args:
        rt: The stream.
        journal: Of the recovery, or of what resumes a table.
        start: Where the first attempt begins; the next ones go on from what it left.
        end: The place.
        after: The incarnation before.
        kind: What the incarnation is for.

    Returns:
        The incarnation, and its savepoint.

    Raises:
        RecoveryBlocked: Every attempt failed, or the place was not reached within the budget.
    """
    reason = ""
    for attempt in range(1, rt.budgets.attempts + 1):
        label = f"{journal.recovery}/drain-{attempt}"
        journal.stay()
        row = launch(rt, kind, start, label=label, after=after)
        after = row.number
        view = rt.engine.job(row.job_id)
        try:
            if view.state not in {"FINISHED", "FAILED", "CANCELED"}:
                journal.once(
                    f"drain launched {attempt}",
                    lambda row=row: {"incarnation": row.number, "server": str(row.server),
                                     "end": str(end)},
                )  # fmt: skip
                view = wait_reading(rt, row)
                if view.state == "RUNNING":
                    _follow(rt, journal, row, end)
            if view.state in {"RUNNING", "FINISHED"}:
                stopped = rt.engine.stop(
                    row.job_id, purpose="drained", budget_seconds=rt.budgets.stop_seconds
                )
                if all_reached(row, stopped, end):
                    record_state(rt, row, stopped, savepoint=True)
                    return row, stopped.path
            reason = view.failure or f"the job is {view.state}"
        except SavepointFailed as error:
            reason = str(error)
        journal.note("drain attempt failed", {"attempt": attempt, "reason": reason})
        if rt.engine.job(row.job_id).state == "GONE":
            outlive_orphans(rt)
        left = rt.engine.latest_state(row.job_id)
        start = replace(start, restore_path=left.path) if left else start
    hint = "Keep old blue; the recovery goes on by itself when it is tried again"
    raise RecoveryBlocked(
        f"stream {rt.name!r}: reading {start.server} to {end} failed {rt.budgets.attempts} times,"
        f" the last time: {reason}",
        hint=hint if kind == "drain" else "Mend the cause, then resume the table again",
    )


def _follow(rt: StreamRuntime, journal: Journal, row: IncarnationRow, end: Coordinates) -> None:
    """Checkpoint the drain job until it stands at the end."""
    deadline = rt.clock.monotonic() + rt.budgets.drain_seconds
    told = rt.clock.monotonic()
    while rt.clock.monotonic() < deadline:
        state = rt.engine.checkpoint(row.job_id, budget_seconds=rt.budgets.checkpoint_seconds)
        if all_reached(row, state, end):
            return
        if rt.clock.monotonic() - told > PROGRESS_SECONDS:
            told = rt.clock.monotonic()
            at = ", ".join(f"{split.file}:{split.pos}" for split in state.splits)
            journal.note("draining", {"at": at, "end": str(end)})
        rt.clock.sleep(rt.budgets.poll_seconds)
    raise RecoveryBlocked(
        f"stream {rt.name!r}: {end} was not reached within {rt.budgets.drain_seconds:.0f} s",
        hint="Raise the budget, and keep the server until then; it goes on from here",
    )
