"""Resume a table: bring a paused one to where the others are, and read all of them on from there.

Its rows since the change are read by a job of its own, which writes no other table: from the
kept state of before the change, or from a new snapshot of it. The others wait meanwhile. Each
step is recorded, so a call that died is taken up by the next one; until the last launch the
table counts as paused, and the others can go on without it at any time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cdc_assets.core.paused_tables import PausedTable, resume_label, with_tables
from cdc_assets.core.position import Coordinates
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import CdcError, ConfigurationError, Superseded
from cdc_assets.operations.deploy import Deployed, bring_up, deploy, place_of, start_at
from cdc_assets.operations.drain import all_reached, read_to
from cdc_assets.operations.journal import Journal, Report, silent
from cdc_assets.operations.launch import Start, launch, newest, prove
from cdc_assets.operations.look import recovery_at_work
from cdc_assets.operations.paused import paused_tables, running
from cdc_assets.operations.positions import anchor_of
from cdc_assets.operations.reconcile import passed
from cdc_assets.operations.resume import stop_broken
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.operations.schema_record import (
    LOOKED,
    note_look,
    place_in,
    tables_now,
    tables_of,
)
from cdc_assets.operations.schema_watch import PAUSED, RESUMING, PausedLook, look_at_schema
from cdc_assets.ports import IncarnationRow, Launch, MakingTarget


@dataclass(frozen=True)
class Resumption:
    """How a table is resumed.

    Attributes:
        pause: The pause that ends.
        row: The incarnation that runs without it.
        only: The stream as the table's own job takes it.
        start: Where that job begins.
        together: The stream with the table.
        is_there: Whether the target table exists; otherwise it is made first.
    """

    pause: PausedTable
    row: IncarnationRow
    only: StreamRuntime
    start: Start
    together: StreamRuntime
    is_there: bool = True

    @property
    def again(self) -> bool:
        """Return whether the table is copied anew."""
        return self.start.restore_path is None

    @property
    def text(self) -> str:
        """Return what is done, in one line."""
        way = (
            f"it is copied anew{'' if self.is_there else ', into a table that is made'}"
            if self.again
            else f"its rows are read again from {self.start.restore_path}, at {self.pause.position}"
        )
        return (
            f"incarnation {self.row.number} is stopped with a savepoint; {self.pause.table} is"
            f" caught up while the others wait: {way}; then all go on where the others stopped"
        )


def plan_resume(rt: StreamRuntime, name: str, *, again: bool = False) -> Resumption:
    """Say how a paused table is resumed; nothing is done.

    Args:
        rt: The stream.
        name: The table, as `database.table` or as its target's name.
        again: Copy it anew instead of reading its rows again. Its target table must be empty.

    Raises:
        ConfigurationError: It is not paused, or it cannot be resumed as things are.
    """
    pause, table = _paused(rt, name)
    row = newest(rt)
    if row is None or row.kind != "stream":
        raise ConfigurationError(f"stream {rt.name!r} does not run", hint="Materialize it first")
    at_work = recovery_at_work(rt)
    intent, why = rt.ledger.intent(rt.name)
    if at_work or (intent == "hold" and not why.startswith(PAUSED)):
        text = f"recovery {at_work} is at work" if at_work else f"automation holds: {why}"
        raise ConfigurationError(f"stream {rt.name!r}: {text}", hint="Wait for it, or release it")
    look = _ready(rt, pause)
    label = resume_label(rt.name, row.number, pause.number)
    together = running(rt, opening=label)
    steps = {step.step: step.detail for step in rt.ledger.steps(rt.name, label)}
    # What is taken up again goes on as it began.
    again = bool(steps[LOOKED]["again"]) if LOOKED in steps else again
    is_there = not again or _is_there(rt, table)
    if is_there:
        _refuse_unfit(rt, row, together)
    if again:
        if is_there and "stopped" not in steps:
            _refuse_rows(rt, table)
        start = Start(rt.source.endpoint, expected=anchor_of(rt, row.number))
        own = with_tables(rt.spec, {pause.table})
    else:
        start = _before(rt, look)
        # With the tables that the kept state is of: it fits no other job.
        own = with_tables(rt.spec, tables_of(rt, pause.incarnation))
    seconds = rt.budgets.snapshot_seconds if again else rt.budgets.drain_seconds
    budgets = replace(rt.budgets, drain_seconds=seconds)
    only = replace(rt, spec=own, only=pause.table, budgets=budgets)
    return Resumption(pause, row, only, start, together, is_there=is_there)


def _refuse_unfit(rt: StreamRuntime, row: IncarnationRow, together: StreamRuntime) -> None:
    """Find a column that the target does not have before anything is stopped."""
    rt.engine.rendered(Launch(row.job_id, "", together.spec, row.server))


def _is_there(rt: StreamRuntime, table: TableRef) -> bool:
    """Return whether the target table exists; one that does not is made, where that is possible."""
    if not isinstance(rt.target, MakingTarget):
        return True
    try:
        rt.target.shapes([table.target_name])
    except ConfigurationError:
        return False
    return True


def _refuse_rows(rt: StreamRuntime, table: TableRef) -> None:
    """Refuse a target table that is not empty.

    Raises:
        ConfigurationError: It holds rows.
    """
    if rt.target.count(table.target_name, timeout_seconds=rt.budgets.reconcile_seconds):
        way = "Empty it"
        if rt.spec.target_kind == "kafka":
            way = "Write a tombstone for each of its keys, or delete the topic"
        raise ConfigurationError(
            "holds rows; those that were deleted at the source since would stay",
            field=rt.spec.target_label(table.target_name),
            hint=f"{way}, then resume the table",
        )


def _paused(rt: StreamRuntime, name: str) -> tuple[PausedTable, TableRef]:
    pauses = {pause.table: pause for pause in paused_tables(rt)}
    for table in rt.spec.tables:
        if name in {table.label, table.alias, table.target_name} and table.label in pauses:
            return pauses[table.label], table
    raise ConfigurationError(
        "not a paused table of the stream",
        field=rt.name,
        value=name,
        hint=f"Paused are: {', '.join(pauses) or 'none'}",
    )


def _ready(rt: StreamRuntime, pause: PausedTable) -> PausedLook:
    """Return what changed in a paused table, when it is all that is to be mended."""
    look = look_at_schema(rt)
    own = next((each for each in look.paused if each.pause == pause), None)
    if look.problem or own is None:
        why = look.problem or f"{pause.table} is not paused any more"
        raise ConfigurationError(f"stream {rt.name!r}: {why}", hint="Try again")
    if look.changes:
        texts = "; ".join(change.text for change in look.changes)
        raise ConfigurationError(
            f"stream {rt.name!r}: other tables changed, too: {texts}",
            hint="Let the target follow and materialize the stream, then resume the table",
        )
    if own.unmet:
        raise ConfigurationError(
            f"{pause.table}: the target does not follow yet", hint=f"Run: {' '.join(own.unmet)}"
        )
    return own


def _before(rt: StreamRuntime, look: PausedLook) -> Start:
    """Return a start in the state of before the change, if rows can be read again from it."""
    pause = look.pause
    problems = [
        f"no row written before can be read again with: {drift.change.text}"
        for drift in look.drifts
        if not drift.change.replays(rt.spec)
    ]
    start = Start(rt.source.endpoint, pause.position, restore_path=pause.path)
    held = rt.source.view(rt.source.endpoint).binlogs
    place = pause.position.coordinates if pause.position is not None else None
    if place is None:
        problems.append("no state of before the change is left")
    elif held is None or not held.covers(place.file, place.pos):
        problems.append(f"the server does not hold {place} any more")
    else:
        try:
            prove(rt, start)
            rt.engine.read_state(pause.path)
        except CdcError as error:
            problems.append(error.message)
    if problems:
        raise ConfigurationError(
            f"{pause.table} cannot be read again from before its change: {'; '.join(problems)}",
            hint="Empty the target table, then resume the table with a new snapshot of it: --again",
        )
    return start


def resume_table(
    rt: StreamRuntime, name: str, *, worker: str, again: bool = False, report: Report = silent
) -> Deployed:
    """Bring a paused table to where the others are, and let the stream run with it.

    Args:
        rt: The stream.
        name: As in `plan_resume`.
        worker: Name of this worker; no two workers share one.
        again: As in `plan_resume`.
        report: Called with each recorded step.

    Raises:
        ConfigurationError: It cannot be resumed as things are; the others go on.
        RecoveryBlocked: The table's own job did not reach the others, or the stream did not
            come up. The others go on without the table where that is possible.
        Superseded: A newer worker took over.
    """
    plan = plan_resume(rt, name, again=again)
    if not plan.is_there and isinstance(rt.target, MakingTarget):
        shapes = rt.source.shapes(rt.source.endpoint, plan.only.spec.tables)
        rt.target.make_missing(plan.only.spec, shapes)
        # Where it may not be made, this says so before anything is stopped.
        _refuse_unfit(rt, plan.row, plan.together)
    label = resume_label(rt.name, plan.row.number, plan.pause.number)
    journal = Journal(rt, label, worker, report)
    journal.sign_on()
    rt.ledger.set_intent(rt.name, "hold", f"{RESUMING} {plan.pause.table}")
    try:
        row = _carry_out(rt, plan, journal)
    except Superseded:
        raise
    except CdcError:
        _without(rt, plan.row)
        raise
    return bring_up(rt, row)


def _carry_out(rt: StreamRuntime, plan: Resumption, journal: Journal) -> IncarnationRow:
    together, row = plan.together, plan.row
    # Where the others stop every table must have the columns that it has now, because from
    # there they are read without a state that would know others.
    looked = journal.once(LOOKED, lambda: note_look(together) | {"again": plan.again})
    end = place_in(looked)
    behind = ConfigurationError(
        f"stream {rt.name!r} does not stand at {end} yet, where {plan.pause.table} is as it is now",
        hint="Try again when it has caught up",
    )
    is_running = rt.engine.job(row.job_id).state == "RUNNING"
    if end is None or (is_running and not passed(rt, row, end)):
        raise behind
    state = rt.engine.read_state(str(stop_broken(rt, journal, row)["path"]))
    if not all_reached(row, state, end):
        raise behind
    tables = tables_now(together, rt.source.endpoint)
    place = place_of(rt, row, state, dict.fromkeys(_labels(together), journal.recovery))
    caught_up = journal.once("caught up", lambda: _catch_up(plan, journal, place.coordinates))
    journal.stay()
    number = int(str(caught_up["incarnation"]))
    start = start_at(rt, row, place, tables)
    return launch(rt, "stream", start, label=journal.recovery, after=number)


def _labels(rt: StreamRuntime) -> list[str]:
    return [table.label for table in rt.spec.tables]


def _catch_up(plan: Resumption, journal: Journal, end: Coordinates) -> dict[str, object]:
    number = plan.row.number
    row, path = read_to(plan.only, journal, plan.start, end, after=number, kind="catch-up")
    return {"incarnation": row.number, "path": path, "end": str(end)}


def _without(rt: StreamRuntime, row: IncarnationRow) -> None:
    """Let the others go on after a failure; what they need was not touched."""
    if rt.engine.job(row.job_id).state == "RUNNING":
        rt.ledger.set_intent(rt.name, "run", f"incarnation {row.number} runs on")
    else:
        deploy(rt)
