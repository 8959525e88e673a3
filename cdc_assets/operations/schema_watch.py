"""Schema watch: look for changes of the captured tables, and do what the policy says.

A look that finds none keeps a copy of the job's newest checkpoint: a state of before any change
that comes later. A stream that goes on from it reads what was written since the change once more,
with the columns as they are then.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal

from cdc_assets.core.paused_tables import PausedTable, oldest, with_tables
from cdc_assets.core.position import Coordinates
from cdc_assets.core.recovery import sameness_of
from cdc_assets.core.schema_drift import Change
from cdc_assets.core.target_ddl import Drift, drifts_of
from cdc_assets.errors import CdcError, ConfigurationError, SavepointFailed, TargetError
from cdc_assets.operations.launch import newest
from cdc_assets.operations.look import recovery_at_work
from cdc_assets.operations.observe import STOPPED
from cdc_assets.operations.paused import paused_tables, without
from cdc_assets.operations.positions import anchor_of, positions_of, record_state
from cdc_assets.operations.reconcile import passed
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.operations.schema_record import (
    SchemaRecord,
    changes_since,
    is_carried_on,
    launch_end,
    record_of,
    tables_of,
    targets_of,
)
from cdc_assets.ports import IncarnationRow, StateView, StepRow

Act = Literal["", "paused", "table paused", "applied"]

# What a pause writes as its reason begins with this, and a deployment ends only such a hold.
PAUSED = "schema drift"
# The same while a paused table is brought to where the others are.
RESUMING = f"{PAUSED}, resuming"
_PURPOSE = "schema"
_UNCHANGED = "schema-unchanged"


@dataclass(frozen=True)
class PausedLook:
    """A paused table, and what changed since it was read last."""

    pause: PausedTable
    drifts: tuple[Drift, ...]

    @property
    def text(self) -> str:
        """Return the pause, in one line."""
        return self.pause.text

    @property
    def unmet(self) -> tuple[str, ...]:
        """Return the statements without which the target does not hold the table's rows."""
        # A column that is gone at the source is in nobody's way.
        return tuple(d.fix for d in self.drifts if d.fix and d.change.kind != "dropped")


@dataclass(frozen=True)
class SchemaLook:
    """What one look at the captured tables found.

    Attributes:
        incarnation: The newest one; 0 before the first launch.
        drifts: What changed, with the target's statements.
        problem: Why nothing can be said, empty when it can.
        paused: Tables that the stream goes on without; their changes are not among `drifts`.
    """

    incarnation: int = 0
    drifts: tuple[Drift, ...] = ()
    problem: str = ""
    paused: tuple[PausedLook, ...] = ()

    @property
    def harmful(self) -> tuple[Drift, ...]:
        """Return what the running job can write wrongly."""
        return tuple(drift for drift in self.drifts if drift.change.harms)

    @property
    def changes(self) -> tuple[Change, ...]:
        """Return what a launch takes up; a new shard is read by itself."""
        return tuple(
            d.change for d in self.drifts if d.change.kind != "new-shard" and not d.left_out
        )

    @property
    def lacking(self) -> bool:
        """Return whether a copy goes on without a column that came."""
        return any(drift.left_out == "copy" for drift in self.drifts)


@dataclass(frozen=True)
class Watched:
    """A look, and what was done about it.

    Attributes:
        look: What was found.
        act: What was done.
        detail: More about it: why an addition was not applied, or what runs now.
        ran: Statements that were run at the target.
    """

    look: SchemaLook
    act: Act = ""
    detail: str = ""
    ran: tuple[str, ...] = field(default=())


def look_at_schema(rt: StreamRuntime) -> SchemaLook:
    """Compare the captured tables with what the newest incarnation was launched with.

    Nothing is changed. Where another server may stand behind the endpoint, nothing is said: a
    recovery compares the tables there before it launches.
    """
    row = newest(rt)
    if row is None:
        return SchemaLook(problem="not deployed: materialize the snapshot, then the stream")
    if rt.spec.engine != "flink":
        who = "Debezium's connector" if rt.spec.engine == "debezium" else "Flink CDC"
        return SchemaLook(row.number, problem=f"{who} follows changes by itself:"
                          " each record has the columns of its time")  # fmt: skip
    record = record_of(rt, row.number)
    if record is None:
        return SchemaLook(row.number, problem="launched by a release that kept no columns; the"
                          " next launch keeps them")  # fmt: skip
    recovery = recovery_at_work(rt)
    if recovery or row.kind == "drain":
        return SchemaLook(row.number, problem=f"recovery {recovery or row.recovery} is at work")
    endpoint = rt.source.endpoint
    try:
        anchor = anchor_of(rt)
        seen = rt.source.view(endpoint, file=anchor.coordinates.file if anchor else None)
        if anchor is None or sameness_of(anchor, seen) != "same":
            why = seen.problem or "it is not proved to be the server that the stream reads"
            return SchemaLook(row.number, problem=f"{endpoint}: {why}")
        paused = paused_tables(rt)
        drifts = _drifts(without(rt, paused), record, row)
        looks = tuple(PausedLook(each, _drifts_of_paused(rt, each)) for each in paused)
    except CdcError as error:
        return SchemaLook(row.number, problem=str(error))
    return SchemaLook(row.number, drifts, paused=looks)


def _drifts(
    rt: StreamRuntime, record: SchemaRecord, row: IncarnationRow | None = None
) -> tuple[Drift, ...]:
    changes = changes_since(rt, record, rt.source.endpoint)
    marked = _marked(rt, row) if row is not None and changes and rt.spec.stateful else None
    return drifts_of(
        rt.spec,
        changes,
        targets_of(rt, changes),
        launched=row.sql if row is not None else None,
        is_at_change=marked is not None,
    )


def without_additions(rt: StreamRuntime, look: SchemaLook) -> StreamRuntime:
    """Return the stream as a deployment launches it: without columns that its queries go without.

    Then the job's plan is the one that the state belongs to.
    """
    names = [
        f"{drift.change.table.alias}.{drift.change.new.name}"
        for drift in look.drifts
        if drift.left_out and drift.change.new is not None
    ]
    if not names:
        return rt
    excluded = tuple(dict.fromkeys((*rt.spec.exclude_columns, *names)))
    return replace(rt, spec=replace(rt.spec, exclude_columns=excluded))


def _drifts_of_paused(rt: StreamRuntime, pause: PausedTable) -> tuple[Drift, ...]:
    record = record_of(rt, pause.incarnation)
    own = replace(rt, spec=with_tables(rt.spec, {pause.table}))
    return _drifts(own, record) if record is not None else ()


def can_replay(rt: StreamRuntime) -> bool:
    """Return whether a state of before is small, and reading again repeats upserts only.

    Each target was tried. A topic's transactions and a lake's commits that followed the state
    are done, and are not done again.
    """
    return not rt.spec.stateful


def watch_schema(rt: StreamRuntime) -> Watched:
    """Look, and keep a state, pause the stream or tell, as the policy says.

    An addition is applied by `schema_apply`, which calls this.
    """
    row = newest(rt)
    copy = _copy(rt, row)
    look = look_at_schema(rt)
    if row is None or look.problem:
        return Watched(look)
    if not look.changes and copy is not None and _is_of(rt, look, row):
        rt.engine.approve(row.job_id, copy.path)
    intent, reason = rt.ledger.intent(rt.name)
    # A pause that died between its hold and its stop is carried on, or ended where nothing is
    # left to pause for.
    is_half = intent == "hold" and _is_pause(reason) and _runs(rt, row)
    if not look.harmful or rt.policy.on_other_change == "report":
        if is_half and not look.harmful:
            rt.ledger.set_intent(rt.name, "run", f"incarnation {row.number} has the columns")
        return Watched(look)
    if (intent == "hold" and not is_half) or not _is_of(rt, look, row):
        return Watched(look, detail="automation holds already")
    end = launch_end(rt, row.number) if rt.policy.on_other_change == "pause_table" else None
    if end is not None:
        # Before that place nobody can say what columns the other tables had (`deploy.place_of`).
        passed(rt, row, end)
    return Watched(look, "paused", _pause(rt, row, look.harmful))


def _is_of(rt: StreamRuntime, look: SchemaLook, row: IncarnationRow) -> bool:
    """Return whether a look is about an incarnation that no other look has paused since."""
    number = row.number
    if any(each.pause.incarnation == number for each in look.paused):
        return False
    now = newest(rt)
    return number == look.incarnation and now is not None and now.number == number


def _runs(rt: StreamRuntime, row: IncarnationRow) -> bool:
    return rt.engine.job(row.job_id).state == "RUNNING"


def _is_pause(reason: str) -> bool:
    return reason.startswith(PAUSED) and not reason.startswith(RESUMING)


def is_paused_here(rt: StreamRuntime, row: IncarnationRow) -> bool:
    """Return whether an incarnation stands still because of a change, and nobody stopped it."""
    intent, reason = rt.ledger.intent(rt.name)
    if intent != "hold" or not _is_pause(reason):
        return False
    stops = rt.ledger.steps(rt.name, f"{rt.name}:{row.number}/{STOPPED}")
    if stops:
        return "reason" in stops[-1].detail
    deadline = rt.clock.monotonic() + rt.budgets.stop_seconds
    while rt.engine.job(row.job_id).state == "FAILING" and rt.clock.monotonic() < deadline:
        # A target that refuses the change's rows ends the job at its stop, too.
        rt.clock.sleep(rt.budgets.poll_seconds)
    return rt.engine.job(row.job_id).state == "FAILED"


def pause_of(rt: StreamRuntime, row: IncarnationRow, table: str, reason: str) -> PausedTable:
    """Return the pause of a table, with the state of before its change where one is left."""
    pause = PausedTable(table, "", row.number, reason)
    before = _before(rt, row)
    if before is None or before.path is None:
        return pause
    state = rt.engine.read_state(before.path)
    place = oldest(positions_of(state, row.identity, None))
    birth = rt.source.birth(rt.source.endpoint, place.coordinates.file)
    return replace(pause, path=before.path, position=replace(place, birth=birth))


def _copy(rt: StreamRuntime, row: IncarnationRow | None) -> StateView | None:
    """Copy the newest checkpoint before the look: if that finds nothing, the copy is of before."""
    if row is None or not can_replay(rt) or rt.engine.job(row.job_id).state != "RUNNING":
        return None
    with suppress(CdcError):
        state = rt.engine.copy_newest(row.job_id)
        return state if state and state.splits and not state.snapshot_running else None
    return None


def _pause(rt: StreamRuntime, row: IncarnationRow, drifts: Sequence[Drift]) -> str:
    """Hold automation and stop the job with a savepoint; the hold comes first and stays."""
    texts = "; ".join(drift.text for drift in drifts)
    rt.ledger.set_intent(rt.name, "hold", f"{PAUSED}: {texts}")
    if rt.engine.job(row.job_id).state != "RUNNING":
        return f"incarnation {row.number} did not run"
    try:
        state = rt.engine.stop(row.job_id, purpose=_PURPOSE, budget_seconds=rt.budgets.stop_seconds)
    except SavepointFailed as error:
        return f"incarnation {row.number} was not stopped: {error}"
    record_state(rt, row, state, savepoint=True)
    detail: dict[str, object] = {"path": state.path, "job_id": row.job_id, "reason": texts}
    step = StepRow(rt.name, f"{rt.name}:{row.number}/{STOPPED}", 1, STOPPED, detail, rt.clock.now())
    rt.ledger.append_step(step)
    return f"incarnation {row.number} is stopped, savepoint {state.path}"


def mark_unchanged(rt: StreamRuntime, row: IncarnationRow, state: StateView) -> None:
    """Note that a savepoint is of before any change, if a look after the stop finds none.

    Then whatever changes while nothing runs is read in its turn, into any target.
    """
    look = look_at_schema(rt)
    if not look.problem and not look.changes and not look.lacking:
        detail: dict[str, object] = {"path": state.path}
        name = f"{rt.name}:{row.number}/{_UNCHANGED}"
        rt.ledger.append_step(StepRow(rt.name, name, 1, _UNCHANGED, detail, rt.clock.now()))


def _marked(rt: StreamRuntime, row: IncarnationRow) -> StateView | None:
    for step in rt.ledger.steps(rt.name, f"{rt.name}:{row.number}/{_UNCHANGED}"):
        with suppress(CdcError):
            return rt.engine.read_state(str(step.detail["path"]))
    return None


@dataclass(frozen=True)
class Replay:
    """Where rows are read again from.

    Attributes:
        path: A state of before the changes.
        coordinates: A place on this server whose columns are those of today, without a state.
    """

    path: str | None = None
    coordinates: Coordinates | None = None


def replay_from(rt: StreamRuntime, row: IncarnationRow, look: SchemaLook) -> Replay:
    """Return where the stream goes on, so that changed rows are read again with the changes.

    Args:
        rt: The stream.
        row: The incarnation that read them without.
        look: The changes.

    Raises:
        ConfigurationError: Reading again would not be right, or there is no such place.
    """
    added = [
        f"{change.table.alias}.{change.new.name}"
        for change in look.changes
        if change.kind == "added" and change.new is not None
    ]
    hint = (
        f"Run the target's statements ('cdc-assets schema {rt.name}'), then materialize the"
        " snapshot with 'again'"
        + (f"; or leave out what came: exclude_columns: {', '.join(added)}" if added else "")
    )
    since = f"stream {rt.name!r}: captured tables changed since incarnation {row.number}"
    unlike = [change.text for change in look.changes if not change.replays(rt.spec)]
    if unlike:
        raise ConfigurationError(
            f"{since} in a way that no row written before can be read again with:"
            f" {'; '.join(unlike)}",
            hint=hint,
        )
    texts = "; ".join(change.text for change in look.changes)
    marked = _marked(rt, row)
    if marked is not None:
        return Replay(marked.path)
    if not can_replay(rt):
        raise ConfigurationError(
            f"{since}, and rows written since cannot be read again into this target: {texts}",
            hint=hint,
        )
    found = _before(rt, row)
    if found is None:
        raise ConfigurationError(
            f"{since}, and no state of before is left that the server can be read from: {texts}",
            hint=hint,
        )
    return found


def _before(rt: StreamRuntime, newest_row: IncarnationRow) -> Replay | None:
    """Return the newest place of before the changes that the server still can be read from."""
    held = rt.source.view(rt.source.endpoint).binlogs
    launched = tables_of(rt, newest_row.number)
    for row in reversed(rt.ledger.incarnations(rt.name)):
        if row.kind == "catch-up":
            continue
        if held is None or row.number > newest_row.number or not _is_here(rt, row):
            return None
        if tables_of(rt, row.number) != launched:
            return None  # Without a paused table, or with it again: its state fits another job.
        kept = rt.engine.kept(row.job_id)
        if kept is None and not is_carried_on(rt, row.number) and "/" in row.restored_from:
            with suppress(CdcError):
                kept = rt.engine.read_state(row.restored_from)
        if kept is not None:
            places = [(split.file, split.pos) for split in kept.splits]
            is_held = bool(places) and all(held.covers(*place) for place in places)
            return Replay(kept.path) if is_held else None
        if not is_carried_on(rt, row.number):
            return None
        file, _, pos = row.restored_from.rpartition(":")
        if file and "/" not in file and pos.isdigit():
            # A relaunch on another server: what came, came there before this place.
            is_held = held.covers(file, int(pos))
            return Replay(coordinates=Coordinates(file, int(pos))) if is_held else None
    return None


def _is_here(rt: StreamRuntime, row: IncarnationRow) -> bool:
    """Return whether the server behind the endpoint is the one that an incarnation read."""
    anchor = anchor_of(rt, row.number)
    if anchor is None:
        return False
    seen = rt.source.view(rt.source.endpoint, file=anchor.coordinates.file)
    return sameness_of(anchor, seen) == "same"


def refusal(statement: str, error: TargetError) -> TargetError:
    """Return the error of a target's statement that was refused."""
    return TargetError(
        f"the target refused {statement!r}: {error.message}",
        hint="Let the account change the table, or run the statement and materialize the stream",
    )
