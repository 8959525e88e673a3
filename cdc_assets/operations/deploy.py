"""Deploy: make a stream run from the newest state that it left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cdc_assets.core.paused_tables import oldest
from cdc_assets.core.position import Position
from cdc_assets.core.stream import TargetKind, plan_of
from cdc_assets.errors import ConfigurationError, EngineUnreachable, RecoveryBlocked
from cdc_assets.operations.drain import all_reached
from cdc_assets.operations.launch import Start, launch, outlive_orphans, prove, wait_reading
from cdc_assets.operations.look import recovery_at_work
from cdc_assets.operations.paused import ever_paused, joining, paused_tables, running
from cdc_assets.operations.positions import anchor_of, positions_of, record_state
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.operations.schema_record import (
    Tables,
    changed_since_look,
    changes_since,
    launch_end,
    read_tables,
    record_of,
    tables_now,
    tables_of,
)
from cdc_assets.operations.schema_watch import (
    PAUSED,
    look_at_schema,
    replay_from,
    without_additions,
)
from cdc_assets.ports import IncarnationRow, Launch, StateView

_ENDED = frozenset({"FAILED", "FINISHED", "CANCELED", "GONE"})
_AGAIN = "Materialize the snapshot with 'again'"
_NONE: Mapping[str, str] = {}
# What their writers hold at a checkpoint is committed when it is complete, from Flink's state.
_COMMITTED_LATER: frozenset[TargetKind] = frozenset({"kafka", "iceberg"})


@dataclass(frozen=True)
class Deployed:
    """A stream that reads.

    Attributes:
        incarnation: Its number.
        job_id: Flink's id.
        restored_from: State or coordinates that it began with.
        positions: At its first checkpoint.
        adopted: Whether it ran already and was left alone.
    """

    incarnation: int
    job_id: str
    restored_from: str
    positions: tuple[Position, ...]
    adopted: bool


def deploy(rt: StreamRuntime) -> Deployed:
    """Make the stream run: from the snapshot's savepoint, or from its own newest state.

    A stream that runs with the same SQL is left alone. With other SQL it is stopped with
    a savepoint and goes on from it; Flink refuses state that does not fit. Where captured tables
    changed since its launch it goes on from a state of before that. Paused tables stay paused.

    Raises:
        ConfigurationError: There is no snapshot yet, or captured tables changed and rows cannot be
            read again rightly.
        IdentityMismatch: Another server is behind the endpoint; recovery is the way.
        RecoveryBlocked: The job did not come up; the cause is in the message.
    """
    _end_catch_up(rt)
    everything = rt.ledger.incarnations(rt.name)
    rows = tuple(row for row in everything if row.kind != "catch-up")
    if not rows:
        raise ConfigurationError(
            f"stream {rt.name!r} has no snapshot", hint="Materialize its snapshot first"
        )
    recovery = recovery_at_work(rt)
    if recovery:
        raise RecoveryBlocked(
            f"stream {rt.name!r}: recovery {recovery} is at work",
            hint="Wait until it is closed; see 'cdc-assets explain'",
        )
    # Before anything else: what runs on the wrong server is the recovery's business.
    prove(rt, Start(rt.source.endpoint, expected=anchor_of(rt)))
    last = rows[-1]
    look = look_at_schema(rt)
    whole, rt = rt, without_additions(rt, look)
    view = rt.engine.job(last.job_id)
    if view.state == "RUNNING" and last.kind == "stream" and _same_sql(rt, last):
        state = rt.engine.checkpoint(last.job_id, budget_seconds=rt.budgets.checkpoint_seconds)
        positions = record_state(rt, last, state, savepoint=False)
        _end_pause(rt, last.number)
        return Deployed(last.number, last.job_id, last.restored_from, positions, adopted=True)
    # Before anything is stopped: it refuses where rows could not be read again rightly.
    before = replay_from(rt, last, look) if look.changes else None
    row, state = _newest_state(rt, rows)
    if before is not None:
        start = Start(
            rt.source.endpoint,
            expected=anchor_of(rt),
            restore_path=before.path,
            coordinates=before.coordinates,
        )
    else:
        start = _start(rt, row, state)
    if rt is not whole:
        # What is left out is kept as if it were not there: it shall show again.
        start = replace(start, tables=read_tables(rt, tables_now(rt, start.server)))
    # Whoever launched since this looked has the fence: what was seen to be dead is not newest.
    return bring_up(rt, launch(rt, "stream", start, after=everything[-1].number))


def _start(rt: StreamRuntime, row: IncarnationRow, state: StateView) -> Start:
    """Return how the stream goes on: with its state, or at its place where tables come or go.

    Raises:
        ConfigurationError: A table comes that was not brought to that place.
    """
    was = tables_of(rt, row.number)
    now = {table.label for table in running(rt).spec.tables}
    # What was read of a paused table counts no more; one that joins stands at this very place.
    gone = was & {each.table for each in paused_tables(rt)}
    come = joining(rt, row)
    back = (now - was) & ever_paused(rt)
    lost = back - come.keys()
    if was and lost:
        raise ConfigurationError(
            f"stream {rt.name!r}: {', '.join(sorted(lost))} was paused, and its rows since"
            f" then are not in the state that is left, of incarnation {row.number}",
            hint=_AGAIN,
        )
    if not gone and not come:
        return Start(rt.source.endpoint, expected=anchor_of(rt), restore_path=state.path)
    tables = tables_now(running(rt), rt.source.endpoint)
    return start_at(rt, row, place_of(rt, row, state, come), tables)


def start_at(rt: StreamRuntime, row: IncarnationRow, place: Position, tables: Tables) -> Start:
    """Return a start without state at a place where an incarnation stood.

    Args:
        rt: The stream.
        row: The incarnation.
        place: As `place_of` gives it.
        tables: The captured tables, read before `place_of` was asked.
    """
    return Start(
        rt.source.endpoint,
        anchor_of(rt, row.number),
        coordinates=place.coordinates,
        gtid_set=place.gtid_set.format() if place.gtid_set is not None else None,
        tables=tables,
    )


def place_of(
    rt: StreamRuntime, row: IncarnationRow, state: StateView, come: Mapping[str, str] = _NONE
) -> Position:
    """Return the oldest place of a state, if a start there without the state loses nothing.

    It reads the columns of today, so they must be those of that place.

    Args:
        rt: The stream.
        row: The incarnation.
        state: Its last one.
        come: Tables that it did not read and that were brought to its end, see `joining`.

    Raises:
        ConfigurationError: A table changed since, or the state holds more than places.
    """
    record, since = record_of(rt, row.number), launch_end(rt, row.number)
    problems = [split.reason for split in state.splits if not split.usable_without_state]
    if rt.spec.target_kind in _COMMITTED_LATER and not _is_committed(rt, row, state):
        problems.append("its job died, so rows that it wrote may be uncommitted but for this state")
    if anchor_of(rt, row.number) is None or record is None or since is None:
        problems.append("nothing is recorded of its launch")
    elif not all_reached(row, state, since):
        # It began before that, maybe in a state that holds other columns.
        problems.append(f"it did not reach {since}, where its tables were as they are")
    else:
        changed = changes_since(running(rt), record, rt.source.endpoint)
        problems += [change.text for change in changed if change.kind != "new-shard"]
        problems += [f"{table} changed" for table in changed_since_look(rt, come)]
    if problems:
        raise ConfigurationError(
            f"stream {rt.name!r}: {state.path} cannot be left for a start at its place: "
            f"{'; '.join(problems)}",
            hint=_AGAIN,
        )
    return oldest(positions_of(state, row.identity, None))


def _is_committed(rt: StreamRuntime, row: IncarnationRow, state: StateView) -> bool:
    """Return whether a state is of a stop that ended well, which commits before it ends."""
    return rt.engine.job(row.job_id).state == "FINISHED" or any(
        each.savepoint and each.path == state.path
        for each in rt.ledger.positions(rt.name)
        if each.incarnation == row.number
    )


def _end_catch_up(rt: StreamRuntime) -> None:
    """Give up a catch-up that somebody left: its table stays paused, and the others go on."""
    rows = [row for row in rt.ledger.incarnations(rt.name) if row.kind == "catch-up"]
    # Others ended before the newest one was launched.
    for row in rows[-1:]:
        state = rt.engine.job(row.job_id).state
        if state == "UNKNOWN":
            raise EngineUnreachable(
                f"stream {rt.name!r}: {rt.spec.runs_on} does not answer", hint="Try again"
            )
        if state not in _ENDED:
            rt.engine.cancel(row.job_id, budget_seconds=rt.budgets.stop_seconds)


def bring_up(rt: StreamRuntime, row: IncarnationRow) -> Deployed:
    """Wait until an incarnation reads, and let automation run where a change had stopped it.

    Raises:
        RecoveryBlocked: The job did not come up; the cause is in the message.
    """
    done = _up(rt, row)
    _end_pause(rt, row.number)
    return done


def _end_pause(rt: StreamRuntime, number: int) -> None:
    """Let automation run again where a change of the schema had stopped it, and nothing else."""
    intent, reason = rt.ledger.intent(rt.name)
    if intent == "hold" and reason.startswith(PAUSED):
        rt.ledger.set_intent(rt.name, "run", f"incarnation {number} has the columns")


def _up(rt: StreamRuntime, row: IncarnationRow) -> Deployed:
    view = wait_reading(rt, row)
    if view.state != "RUNNING":
        raise RecoveryBlocked(
            f"stream {rt.name!r}: incarnation {row.number} is {view.state}: "
            f"{view.failure or 'no cause recorded'}",
            hint="Mend the cause, then materialize the stream again",
        )
    state = rt.engine.checkpoint(row.job_id, budget_seconds=rt.budgets.checkpoint_seconds)
    positions = record_state(rt, row, state, savepoint=False)
    return Deployed(row.number, row.job_id, row.restored_from, positions, adopted=False)


def _same_sql(rt: StreamRuntime, row: IncarnationRow) -> bool:
    """Say whether the stream would be rendered today as it was for this incarnation."""
    order = Launch(row.job_id, f"{rt.name}:{row.number}", running(rt).spec, row.server)
    return plan_of(rt.engine.rendered(order)) == plan_of(row.sql)


def _newest_state(
    rt: StreamRuntime, rows: tuple[IncarnationRow, ...]
) -> tuple[IncarnationRow, StateView]:
    """Stop what runs, and return the newest incarnation that left a state, and the state."""
    last = rows[-1]
    state = rt.engine.job(last.job_id).state
    if state == "UNKNOWN":
        raise EngineUnreachable(
            f"stream {rt.name!r}: {rt.spec.runs_on} does not answer", hint="Try again"
        )
    if state == "RUNNING":
        stopped = rt.engine.stop(
            last.job_id, purpose="deploy", budget_seconds=rt.budgets.stop_seconds
        )
        record_state(rt, last, stopped, savepoint=True)
        return last, stopped
    if state not in _ENDED:
        raise RecoveryBlocked(
            f"stream {rt.name!r}: incarnation {last.number} is {state}; two copies never run",
            hint="Wait until it has ended",
        )
    if state == "GONE":
        outlive_orphans(rt)
    for row in reversed(rows):
        left = rt.engine.latest_state(row.job_id)
        if left is not None:
            if left.snapshot_running:
                break
            return row, left
    raise RecoveryBlocked(
        f"stream {rt.name!r} left no complete state", hint="Materialize the snapshot again"
    )
