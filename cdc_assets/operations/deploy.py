"""Deploy: make a stream run from the newest state that it left."""

from __future__ import annotations

from dataclasses import dataclass

from cdc_assets.core.position import Position
from cdc_assets.core.stream import plan_of
from cdc_assets.errors import ConfigurationError, EngineUnreachable, RecoveryBlocked
from cdc_assets.operations.launch import Start, launch, outlive_orphans, prove, wait_reading
from cdc_assets.operations.look import recovery_at_work
from cdc_assets.operations.positions import anchor_of, record_state
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.operations.schema_watch import PAUSED, look_at_schema, replay_from
from cdc_assets.ports import IncarnationRow, Launch


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
    changed since its launch it goes on from a state of before that.

    Raises:
        ConfigurationError: There is no snapshot yet, or captured tables changed and rows cannot be
            read again rightly.
        IdentityMismatch: Another server is behind the endpoint; recovery is the way.
        RecoveryBlocked: The job did not come up; the cause is in the message.
    """
    rows = rt.ledger.incarnations(rt.name)
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
    view = rt.engine.job(last.job_id)
    if view.state == "RUNNING" and last.kind == "stream" and _same_sql(rt, last):
        state = rt.engine.checkpoint(last.job_id, budget_seconds=rt.budgets.checkpoint_seconds)
        positions = record_state(rt, last, state, savepoint=False)
        return Deployed(last.number, last.job_id, last.restored_from, positions, adopted=True)
    look = look_at_schema(rt)
    # Before anything is stopped: it refuses where rows could not be read again rightly.
    before = replay_from(rt, last, look) if look.changes else None
    newest_path = _newest_state(rt, rows)
    start = Start(
        rt.source.endpoint,
        expected=anchor_of(rt),
        restore_path=before.path if before is not None else newest_path,
        coordinates=before.coordinates if before is not None else None,
    )
    done = _up(rt, launch(rt, "stream", start))
    _end_pause(rt, done)
    return done


def _end_pause(rt: StreamRuntime, done: Deployed) -> None:
    """Let automation run again where a change of the schema had stopped it, and nothing else."""
    intent, reason = rt.ledger.intent(rt.name)
    if intent == "hold" and reason.startswith(PAUSED):
        rt.ledger.set_intent(rt.name, "run", f"incarnation {done.incarnation} has the columns")


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
    order = Launch(row.job_id, f"{rt.name}:{row.number}", rt.spec, row.server)
    return plan_of(rt.engine.rendered(order)) == plan_of(row.sql)


def _newest_state(rt: StreamRuntime, rows: tuple[IncarnationRow, ...]) -> str:
    """Stop what runs, and return the newest state of the newest incarnation that left one."""
    last = rows[-1]
    state = rt.engine.job(last.job_id).state
    if state == "UNKNOWN":
        raise EngineUnreachable(f"stream {rt.name!r}: Flink does not answer", hint="Try again")
    if state == "RUNNING":
        stopped = rt.engine.stop(
            last.job_id, purpose="deploy", budget_seconds=rt.budgets.stop_seconds
        )
        record_state(rt, last, stopped, savepoint=True)
        return stopped.path
    if state not in {"FAILED", "FINISHED", "CANCELED", "GONE"}:
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
            return left.path
    raise RecoveryBlocked(
        f"stream {rt.name!r} left no complete state", hint="Materialize the snapshot again"
    )
