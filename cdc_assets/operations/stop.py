"""Stop: end a stream on purpose, so that automation knows that it was on purpose."""

from __future__ import annotations

from cdc_assets.errors import ConfigurationError, EngineUnreachable, SavepointFailed
from cdc_assets.operations.launch import newest
from cdc_assets.operations.observe import STOPPED
from cdc_assets.operations.positions import record_state
from cdc_assets.operations.recover import open_recovery
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.operations.schema_watch import mark_unchanged
from cdc_assets.ports import IncarnationRow, StepRow

_PURPOSE = "person"


def what_stops(rt: StreamRuntime) -> IncarnationRow:
    """Return the incarnation that runs.

    Raises:
        ConfigurationError: Nothing runs, or a recovery is at work.
        EngineUnreachable: Flink does not answer.
    """
    row = newest(rt)
    state = rt.engine.job(row.job_id).state if row else "GONE"
    if state == "UNKNOWN":
        raise EngineUnreachable(
            f"stream {rt.name!r}: {rt.spec.runs_on} does not answer", hint="Try again"
        )
    if row is None or state != "RUNNING":
        raise ConfigurationError(f"stream {rt.name!r} does not run", hint="Nothing to stop")
    recovery = open_recovery(rt)
    if recovery is not None and recovery.is_open:
        raise ConfigurationError(
            f"stream {rt.name!r}: recovery {recovery.recovery_id} is at work",
            hint="Wait until it is closed, or stop automation with 'cdc-assets hold'",
        )
    return row


def stop_stream(rt: StreamRuntime, row: IncarnationRow) -> str:
    """Stop an incarnation with a savepoint and return the savepoint's path.

    Automation is held while the job ends: between its end and the record it would look like
    a job to bring back. When this process dies there, the hold stays, and says why.

    Args:
        rt: The stream.
        row: The incarnation that runs.

    Raises:
        SavepointFailed: The job runs on.
    """
    intent, reason = rt.ledger.intent(rt.name)
    rt.ledger.set_intent(rt.name, "hold", f"incarnation {row.number} is being stopped")
    try:
        state = rt.engine.stop(row.job_id, purpose=_PURPOSE, budget_seconds=rt.budgets.stop_seconds)
    except SavepointFailed:
        rt.ledger.set_intent(rt.name, intent, reason or f"incarnation {row.number} runs on")
        raise
    record_state(rt, row, state, savepoint=True)
    rt.ledger.append_step(
        StepRow(
            rt.name,
            f"{rt.name}:{row.number}/{STOPPED}",
            1,
            STOPPED,
            {"path": state.path, "job_id": row.job_id},
            rt.clock.now(),
        )
    )
    mark_unchanged(rt, row, state)
    rt.ledger.set_intent(rt.name, intent, reason or f"incarnation {row.number} was stopped")
    return state.path
