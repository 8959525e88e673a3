"""Schema apply: add columns that came at the source to the target, and go on from before them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cdc_assets.core.paused_tables import reason_to_stop, with_tables
from cdc_assets.errors import CdcError, ConfigurationError, TargetError
from cdc_assets.operations.deploy import deploy, place_of
from cdc_assets.operations.launch import newest
from cdc_assets.operations.paused import note_paused, paused_tables, running
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.operations.schema_watch import (
    SchemaLook,
    Watched,
    is_paused_here,
    look_at_schema,
    pause_of,
    refusal,
    replay_from,
    watch_schema,
)
from cdc_assets.ports import AlteringTarget, IncarnationRow


def alone() -> None:
    """Nobody else is at work on the stream."""


def follow_schema(rt: StreamRuntime, *, begin: Callable[[], None] = alone) -> Watched:
    """Look at the captured tables, and carry out the policy to its end.

    Args:
        rt: The stream.
        begin: Called before the job is launched anew, so that nobody recovers it meanwhile.

    Raises:
        TargetError: The target refused a column; the stream runs on without it.
        RecoveryBlocked: The stream did not come up again; the cause is in the message.
    """
    seen = watch_schema(rt)
    if rt.policy.on_other_change == "pause_table":
        seen = _go_on_without(rt, seen, begin)
    if rt.policy.on_added_column != "apply" or seen.act or not seen.look.changes:
        return seen
    reason = _reason_not_to(rt, seen.look)
    if reason:
        return replace(seen, detail=f"not applied: {reason}")
    begin()
    return _apply(rt, seen)


def _go_on_without(rt: StreamRuntime, seen: Watched, begin: Callable[[], None]) -> Watched:
    """Let the other tables go on where a change paused the stream, if that loses nothing.

    The stream is paused as a whole before, so whatever ends this half-way leaves that, and the
    next look goes on from there.
    """
    row = _standing(rt)
    if row is None or not is_paused_here(rt, row):
        return seen
    noted = [each for each in paused_tables(rt) if each.incarnation == row.number]
    if not noted:
        # Again: what the others are is proved for the place where the stream stands now.
        look = look_at_schema(rt)
        harmful: dict[str, str] = {}
        for change in look.changes:
            if any(drift.change.table == change.table for drift in look.harmful):
                label = change.table.label
                harmful[label] = "; ".join(filter(None, (harmful.get(label), change.text)))
        others = [each.text for each in look.changes if each.table.label not in harmful]
        reason = look.problem or reason_to_stop(running(rt).spec, harmful, others)
        state = rt.engine.latest_state(row.job_id)
        if not harmful or reason or state is None:
            why = reason or "no state is left"
            return replace(seen, detail=f"{seen.detail}; the whole stream: {why}")
        rest = [each for each in _labels(rt) if each not in harmful]
        try:
            place_of(replace(rt, spec=with_tables(rt.spec, rest)), row, state)
            pauses = [pause_of(rt, row, label, text) for label, text in harmful.items()]
        except ConfigurationError as error:
            return replace(seen, detail=f"{seen.detail}; the whole stream: {error.message}")
        note_paused(rt, pauses)
    begin()
    done = deploy(rt)
    text = f"incarnation {done.incarnation} runs without: {', '.join(_paused(rt))}"
    return replace(seen, look=look_at_schema(rt), act="table paused", detail=text)


def _standing(rt: StreamRuntime) -> IncarnationRow | None:
    """Return the newest incarnation that left a state; a later one died before it had one."""
    rows = [row for row in rt.ledger.incarnations(rt.name) if row.kind != "catch-up"]
    return next((row for row in reversed(rows) if rt.engine.latest_state(row.job_id)), None)


def _labels(rt: StreamRuntime) -> list[str]:
    return [table.label for table in running(rt).spec.tables]


def _paused(rt: StreamRuntime) -> list[str]:
    return [pause.table for pause in paused_tables(rt)]


def _reason_not_to(rt: StreamRuntime, look: SchemaLook) -> str:
    """Return why additions are left to a person, empty when they are not."""
    if look.harmful:
        return "there are other changes, too"
    row = newest(rt)
    if row is None or rt.ledger.intent(rt.name)[0] == "hold":
        return "automation holds"
    if row.kind != "stream" or rt.engine.job(row.job_id).state != "RUNNING":
        return "the stream does not run"
    fixes = [drift.fix for drift in look.drifts if drift.fix]
    if any(not fix.startswith("ALTER TABLE ") for fix in fixes):
        return "a column cannot be carried"
    if fixes and not isinstance(rt.target, AlteringTarget):
        return "this target's tables are not changed from here"
    try:
        replay_from(rt, row, look)
    except ConfigurationError as error:
        return error.message
    except CdcError as error:
        return str(error)
    return ""


def _apply(rt: StreamRuntime, seen: Watched) -> Watched:
    """Add the columns, which the running job does not notice, then deploy."""
    ran: list[str] = []
    for drift in seen.look.drifts:
        if drift.fix and isinstance(rt.target, AlteringTarget):
            try:
                rt.target.alter(drift.fix)
            except TargetError as error:
                raise refusal(drift.fix, error) from None
            ran.append(drift.fix)
    done = deploy(rt)
    text = f"incarnation {done.incarnation} runs from {done.restored_from}"
    return replace(seen, act="applied", detail=text, ran=tuple(ran))
