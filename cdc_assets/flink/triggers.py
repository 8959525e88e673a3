"""Trigger: checkpoints and savepoints that are asked for, and waited for.

Flink registers such an operation once per trigger id, so each request may be sent again. It
forgets the result some minutes after it was read (`rest.async.store-duration`, 5 minutes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cdc_assets.core.failure_text import innermost_cause
from cdc_assets.core.job import JobGone
from cdc_assets.errors import EngineRejected, SavepointFailed
from cdc_assets.flink.http import shortened
from cdc_assets.flink.models import Payload, checkpoint_facts
from cdc_assets.flink.polling import poll
from cdc_assets.flink.rest import checked_id, says_gone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdc_assets.core.job import Checkpoint
    from cdc_assets.flink.http import Json, Reply
    from cdc_assets.flink.polling import Clock
    from cdc_assets.flink.rest import JobApi

_NOT_FOUND = 404
# Flink serves checkpoint statistics from a cache of `web.refresh-interval`, 3 s by default.
_STALE_SECONDS = 5.0


@dataclass(frozen=True)
class Trigger:
    """One operation of one job.

    Args:
        job_id: The job.
        trigger_id: 32 hexadecimal digits.
        verb: What errors call it.
        start: The page that starts it, below `/jobs/:id`.
        result: The page that holds its result, below `/jobs/:id`.
        body: What Flink is told.
    """

    job_id: str
    trigger_id: str
    verb: str
    start: str
    result: str
    body: Mapping[str, Json]


def checkpoint_trigger(job_id: str, trigger_id: str) -> Trigger:
    """Return the operation that takes a checkpoint."""
    body: dict[str, Json] = {"checkpointType": "CONFIGURED", "triggerId": checked_id(trigger_id)}
    result = f"/checkpoints/{trigger_id}"
    return Trigger(job_id, trigger_id, "checkpoint", "/checkpoints", result, body)


def savepoint_trigger(
    job_id: str, trigger_id: str, directory: str, savepoint_format: str
) -> Trigger:
    """Return the operation that takes a savepoint and lets the job run on."""
    body: dict[str, Json] = {
        "target-directory": directory,
        "cancel-job": False,
        "formatType": savepoint_format,
        "triggerId": checked_id(trigger_id),
    }
    result = f"/savepoints/{trigger_id}"
    return Trigger(job_id, trigger_id, "savepoint", "/savepoints", result, body)


def stop_trigger(job_id: str, trigger_id: str, directory: str, savepoint_format: str) -> Trigger:
    """Return the operation that ends a job with a savepoint.

    The sources are not drained: a drained job has emitted its end of stream and cannot go on.
    """
    body: dict[str, Json] = {
        "targetDirectory": directory,  # spelled otherwise than for a savepoint
        "drain": False,
        "formatType": savepoint_format,
        "triggerId": checked_id(trigger_id),
    }
    result = f"/savepoints/{trigger_id}"
    return Trigger(job_id, trigger_id, "stop with savepoint", "/stop", result, body)


def carry_out(api: JobApi, trigger: Trigger, *, budget_seconds: float, clock: Clock) -> Payload:
    """Start an operation and wait for its result.

    Raises:
        SavepointFailed: It failed, or is not complete within the budget.
        EngineRejected: The job is gone.
        EngineUnreachable: No answer in time.
    """
    deadline = clock.monotonic() + budget_seconds

    def start() -> Reply | None:
        reply = api.change("POST", trigger.job_id, trigger.start, body=trigger.body)
        if isinstance(reply, JobGone):
            raise gone(trigger.job_id)
        return reply

    def result() -> Payload | None:
        answer = api.get_of_job(trigger.job_id, trigger.result)
        if isinstance(answer, JobGone):
            raise gone(trigger.job_id)
        done = answer.child("status").text("id") == "COMPLETED"
        return answer.child("operation") if done else None

    poll(start, budget_seconds=budget_seconds, clock=clock)
    left = deadline - clock.monotonic()
    operation = poll(result, budget_seconds=left, clock=clock)
    if operation is None:
        raise SavepointFailed(
            f"job {trigger.job_id}: {trigger.verb} is not complete after {budget_seconds:g} s",
            hint="Ask again with the same trigger id",
        )
    _raise_failure(trigger, operation)
    return operation


def savepoint_of_stop(api: JobApi, job_id: str, directory: str, *, clock: Clock) -> str | None:
    """Return the savepoint in the directory that ended a job, None when it ended otherwise.

    Flink's statistics tell a savepoint that ends its job (SYNC_SAVEPOINT) from any other.
    """

    def newest() -> Checkpoint | None:
        answer = api.get_of_job(job_id, "/checkpoints")
        if isinstance(answer, JobGone):
            raise gone(job_id)
        found = checkpoint_facts(job_id, answer).latest_savepoint
        return found if found is not None and found.ends_job else None

    found = poll(newest, budget_seconds=_STALE_SECONDS, clock=clock)
    if found is None:
        return None
    parent = urlsplit(found.external_path).path.rstrip("/").rpartition("/")[0]
    return found.external_path if parent == urlsplit(directory).path.rstrip("/") else None


def gone(job_id: str) -> EngineRejected:
    """Return the error for a job that is needed and that the cluster does not know."""
    return EngineRejected(
        f"job {job_id} is gone from the cluster",
        status=_NOT_FOUND,
        hint="Start the stream again from its newest complete checkpoint",
    )


def _raise_failure(trigger: Trigger, operation: Payload) -> None:
    """Raise the failure that Flink reports with the status COMPLETED."""
    failure = operation.optional("failure-cause")
    if failure is None:
        failure = operation.optional("failureCause")  # how checkpoints spell it
    if failure is None:
        return
    trace = failure.text("stack-trace", "")
    cause = shortened(innermost_cause(trace)) or failure.text("class", "no reason given")
    hint = "Look at the job; it may still run"
    if says_gone(trigger.job_id, trace):
        # Also said of a job that ended: it is in the job list, but cannot be asked any more.
        hint = "The job does not run any more"
    raise SavepointFailed(f"job {trigger.job_id}: {trigger.verb} failed: {cause}", hint=hint)
