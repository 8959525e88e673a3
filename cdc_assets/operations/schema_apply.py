"""Schema apply: add columns that came at the source to the target, and go on from before them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cdc_assets.errors import CdcError, ConfigurationError, TargetError
from cdc_assets.operations.deploy import deploy
from cdc_assets.operations.launch import newest
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.operations.schema_watch import (
    SchemaLook,
    Watched,
    refusal,
    replay_from,
    watch_schema,
)
from cdc_assets.ports import AlteringTarget


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
    if rt.policy.on_added_column != "apply" or seen.act or not seen.look.changes:
        return seen
    reason = _reason_not_to(rt, seen.look)
    if reason:
        return replace(seen, detail=f"not applied: {reason}")
    begin()
    return _apply(rt, seen)


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
