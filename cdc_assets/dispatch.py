"""Dispatch: ask for at most one live recovery run of a stream, and for the next if it died."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import dagster as dg

from cdc_assets.core.observation import Observation
from cdc_assets.core.recoveries import Recovery
from cdc_assets.core.recovery import Decision, Relaunch, Resume
from cdc_assets.heartbeat import last_sign
from cdc_assets.metadata import RECOVERY_TAG, STREAM_TAG, WORK_TAG
from cdc_assets.operations.look import BLOCKED
from cdc_assets.operations.recover import open_recovery
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.ports import StepRow

NOTHING_TO_DO = "nothing to recover"
_ENDED = {
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
}
_STARTING = {dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING}
_MANY_FAILURES = 3


@dataclass(frozen=True)
class Limits:
    """When a run counts as dead, and how often a recovery is asked for.

    Attributes:
        stale_seconds: A started run without a sign of life for this long is dead.
        starting_seconds: A run that has not started this long after its creation is dead.
        pause_seconds: Between two requests for one stream.
        longest_pause_seconds: The pause doubles with each failure after the third, up to this.
    """

    stale_seconds: float = 20.0
    starting_seconds: float = 60.0
    pause_seconds: float = 20.0
    longest_pause_seconds: float = 300.0


@dataclass(frozen=True)
class Worker:
    """A run that recovers a stream, or moves it by hand.

    Attributes:
        recovery: The recovery that it was asked for, empty for other work.
        seen_at: Its last sign of life, None when it never gave one.
    """

    run_id: str
    status: dg.DagsterRunStatus
    created_at: datetime
    recovery: str = ""
    seen_at: datetime | None = None


def is_alive(worker: Worker, now: datetime, limits: Limits) -> bool:
    """Say whether a run is at work, or about to be.

    A queued run is in the care of Dagster's daemon, which outlives its own restarts.
    """
    if worker.status in _ENDED:
        return False
    if worker.status == dg.DagsterRunStatus.QUEUED:
        return True
    age = (now - worker.created_at).total_seconds()
    if age <= limits.starting_seconds and (worker.status in _STARTING or worker.seen_at is None):
        return True
    if worker.status in _STARTING or worker.seen_at is None:
        return False
    return (now - worker.seen_at).total_seconds() <= limits.stale_seconds


def reason_to_wait(
    workers: Sequence[Worker], recovery: str, now: datetime, limits: Limits
) -> str | None:
    """Return why no run is asked for now, None when one is.

    Args:
        workers: Every known run of the stream.
        recovery: Id of the recovery that is wanted.
        now: The time.
        limits: When is when.
    """
    for worker in workers:
        if is_alive(worker, now, limits):
            what = f"recovery {worker.recovery}" if worker.recovery else "the stream"
            return f"run {worker.run_id[:8]} is at work on {what}"
    asked = [worker for worker in workers if worker.recovery]
    if not asked:
        return None
    failed = sum(worker.recovery == recovery and worker.status in _ENDED for worker in asked)
    pause = limits.pause_seconds * 2 ** max(0, failed - _MANY_FAILURES)
    pause = min(pause, limits.longest_pause_seconds)
    since = min((now - worker.created_at).total_seconds() for worker in asked)
    if since < pause:
        return f"the last request was {since:.0f} s ago, the next one comes after {pause:.0f} s"
    return None


def reason_not_wanted(
    seen: Observation, decision: Decision, recovery: Recovery, last_step: str, *, early: bool
) -> str | None:
    """Return why a recovery is not wanted now, None when it is.

    Args:
        seen: What was seen.
        decision: What follows from it.
        recovery: The open recovery, or the next one.
        last_step: The newest step of the open recovery, empty without one.
        early: A switchover is on its way, so a worker shall be awake when it ends.
    """
    if seen.intent == "hold":
        return "a person stopped automation"
    if seen.incarnation is None or seen.incarnation.stopped:
        return "the stream is not deployed, or was stopped on purpose"
    if seen.job.state == "UNKNOWN":
        return "Flink does not answer; unknown is not failed"
    if seen.incarnation.kind == "snapshot" and not recovery.is_open:
        return "the snapshot is not deployed yet"
    if isinstance(decision, (Resume, Relaunch)):
        return None
    if recovery.is_open and last_step != BLOCKED:
        if seen.endpoint.identity is None:
            return "the source does not answer"
        return None
    if early and not recovery.is_open:
        return None
    return NOTHING_TO_DO


def request_recovery(
    instance: dg.DagsterInstance,
    rt: StreamRuntime,
    seen: Observation,
    decision: Decision,
    *,
    job_name: str,
    now: datetime,
    limits: Limits,
    early: bool = False,
) -> dg.RunRequest | str:
    """Return a request for the recovery run, or why there is none.

    Args:
        instance: Dagster's instance, which knows the runs.
        rt: The stream.
        seen: What was seen.
        decision: What follows from it.
        job_name: The recovery job.
        now: The time by the clock that Dagster's runs are stamped with.
        limits: When is when.
        early: A switchover is on its way.
    """
    recovery = open_recovery(rt)
    if recovery is None:
        return "the stream was never launched"
    steps = rt.ledger.steps(rt.name, recovery.recovery_id) if recovery.is_open else ()
    last_step = steps[-1].step if steps else ""
    unwanted = reason_not_wanted(seen, decision, recovery, last_step, early=early)
    if unwanted is not None:
        return unwanted
    workers = _workers(instance, rt.name)
    wait = reason_to_wait(workers, recovery.recovery_id, now, limits)
    if wait is not None:
        return wait
    number = _turn(rt, recovery.recovery_id, now, limits)
    if number is None:
        return "another sensor asked for the run a moment ago"
    return dg.RunRequest(
        # Dagster honours a key once for ever, so it carries the number of the attempt.
        run_key=f"{recovery.recovery_id}/{number}",
        job_name=job_name,
        tags={STREAM_TAG: rt.name, RECOVERY_TAG: recovery.recovery_id},
    )


def _turn(rt: StreamRuntime, recovery: str, now: datetime, limits: Limits) -> int | None:
    """Return the number of the next request, None when it is not this sensor's turn.

    Two sensors look at one stream at the same moment, and neither sees the run that the
    other one is about to request. The ledger lets one of them pass. A request whose run
    never came, because the daemon died in between, is repeated after a pause.
    """
    ours = f"{recovery}/requests"
    rows = rt.ledger.steps(rt.name, ours)
    last = rows[-1].at if rows else None
    if last is not None and (now - last).total_seconds() < limits.pause_seconds:
        return None
    number = len(rows) + 1
    taken = rt.ledger.append_step(StepRow(rt.name, ours, number, "requested", {}, now))
    return number if taken else None


def _workers(instance: dg.DagsterInstance, stream: str) -> list[Worker]:
    asked = instance.get_run_records(dg.RunsFilter(tags={STREAM_TAG: stream}))
    moved = instance.get_run_records(dg.RunsFilter(tags={WORK_TAG: stream}), limit=5)
    return [_worker(instance, record) for record in (*asked, *moved)]


def _worker(instance: dg.DagsterInstance, record: dg.RunRecord) -> Worker:
    run = record.dagster_run
    over = run.status in _ENDED
    return Worker(
        run_id=run.run_id,
        status=run.status,
        created_at=record.create_timestamp,
        recovery=run.tags.get(RECOVERY_TAG, ""),
        seen_at=None if over else last_sign(instance, run.run_id),
    )
