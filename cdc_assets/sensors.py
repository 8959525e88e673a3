"""The sensors: they look, decide, report and request runs; they never act themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TypeAlias, TypeVar

import dagster as dg

from cdc_assets.core.observation import DeploymentView
from cdc_assets.core.recovery import Decision, decide
from cdc_assets.cursors import EventCursor, HealthCursor
from cdc_assets.deadline import DeadlinePassed, within
from cdc_assets.dispatch import NOTHING_TO_DO, Limits, request_recovery
from cdc_assets.errors import CdcError, ConfigurationError
from cdc_assets.metadata import STREAM_TAG, CdcMetadata
from cdc_assets.operations.look import recovery_at_work
from cdc_assets.operations.observe import Memory, Seen, observe
from cdc_assets.ports import EventRow
from cdc_assets.reports import Health, health_evaluation, health_of, stream_metadata
from cdc_assets.translator import StreamGraph
from cdc_assets.wiring import StreamAccess, StreamConnection, resource_key

# A tick is cut at 60 s by Dagster, and at 15 s by some proxies before its code servers.
TICK_SECONDS = 14.0
PATIENCE_SECONDS = 3.0
_FIRST_EVENTS = timedelta(hours=1)
_LATE_EVENTS = timedelta(days=1)  # RDS delivers events late and out of order

Event: TypeAlias = dg.AssetObservation | dg.AssetMaterialization | dg.AssetCheckEvaluation
Look: TypeAlias = tuple[StreamConnection, Seen, Decision, Health]
News: TypeAlias = tuple[DeploymentView | None, Sequence[EventRow]]
T = TypeVar("T")


def wall_clock() -> datetime:
    """Return the time that Dagster's runs are stamped with."""
    return datetime.now(timezone.utc)


def build_stream_health_sensor(
    *,
    graph: StreamGraph,
    job_name: str,
    interval_seconds: int = 30,
    heartbeat_seconds: float = 300.0,
    running: bool = False,
    name: str | None = None,
    limits: Limits | None = None,
) -> dg.SensorDefinition:
    """Return the sensor that watches a stream and requests its recovery.

    It reports on change and on a slow heartbeat, not on every tick.

    Args:
        graph: The stream's assets.
        job_name: The recovery job.
        interval_seconds: Between two ticks.
        heartbeat_seconds: Between two reports of a stream that does not change.
        running: Whether it is on from the start.
        name: Default `health_<stream>`.
        limits: When a recovery run counts as dead.
    """
    stream = graph.stream.name

    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        before = HealthCursor.load(context.cursor, stream=stream)
        access = _access(context, stream)
        found = _guarded(lambda: _look(access, before.memory))
        if isinstance(found, dg.SkipReason):
            return found
        connection, seen, decision, health = found
        if seen.observation.incarnation is None:
            return dg.SkipReason(f"stream {stream!r}: {health.text}")
        events, after = _report(graph, found, before, heartbeat_seconds)
        request = request_recovery(
            context.instance,
            connection.runtime,
            seen.observation,
            decision,
            job_name=job_name,
            now=wall_clock(),
            limits=limits or Limits(),
        )
        return _result(stream, events, request, after.dump(), health.text)

    return dg.SensorDefinition(
        name=name or f"health_{stream}",
        evaluation_fn=tick,
        # By name: with the object, Dagster copies the sensor and warns of its own parameter.
        job_name=job_name,
        minimum_interval_seconds=interval_seconds,
        description=f"Watches stream {stream!r} and requests its recovery.",
        default_status=_status(running=running),
        required_resource_keys={resource_key(stream)},
        tags={STREAM_TAG: stream},
    )


def build_rds_event_sensor(
    *,
    graph: StreamGraph,
    job_name: str,
    interval_seconds: int = 30,
    running: bool = False,
    name: str | None = None,
    limits: Limits | None = None,
) -> dg.SensorDefinition:
    """Return the sensor that watches RDS and wakes the recovery before a switchover ends.

    An event is a hint to look, never the state: what is done follows from what the servers
    say. The health sensor finds the same switchover without any event, only later.

    Args:
        graph: The stream's assets.
        job_name: The recovery job.
        interval_seconds: Between two ticks.
        running: Whether it is on from the start.
        name: Default `rds_events_<stream>`.
        limits: When a recovery run counts as dead.
    """
    stream = graph.stream.name

    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        before = EventCursor.load(context.cursor, stream=stream)
        access = _access(context, stream)
        news = _guarded(lambda: _news(access, before))
        if news is None:
            return dg.SkipReason(f"stream {stream!r} has no RDS to watch")
        if isinstance(news, dg.SkipReason):
            return news
        deployment, _ = news
        events, after = _report_news(graph, before, news)
        text = f"deployment {after.deployment or 'none'} {after.status}".strip()
        if not _is_switching(before, deployment):
            return _result(stream, events, NOTHING_TO_DO, after.dump(), text)
        found = _guarded(lambda: _look(access, Memory()))
        if isinstance(found, dg.SkipReason):
            return found
        connection, seen, decision, _ = found
        request = request_recovery(
            context.instance,
            connection.runtime,
            seen.observation,
            decision,
            job_name=job_name,
            now=wall_clock(),
            limits=limits or Limits(),
            early=True,
        )
        return _result(stream, events, request, after.dump(), text)

    return dg.SensorDefinition(
        name=name or f"rds_events_{stream}",
        evaluation_fn=tick,
        # By name: with the object, Dagster copies the sensor and warns of its own parameter.
        job_name=job_name,
        minimum_interval_seconds=interval_seconds,
        description=f"Watches RDS for blue/green switchovers that concern stream {stream!r}.",
        default_status=_status(running=running),
        required_resource_keys={resource_key(stream)},
        tags={STREAM_TAG: stream},
    )


def _status(*, running: bool) -> dg.DefaultSensorStatus:
    return dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED


def _access(context: dg.SensorEvaluationContext, stream: str) -> StreamAccess:
    found: StreamAccess = getattr(context.resources, resource_key(stream))
    return found


def _guarded(call: Callable[[], T]) -> T | dg.SkipReason:
    """Return what a call finds; what cannot be reached now is a reason to skip the tick."""
    try:
        return within(TICK_SECONDS, call)
    except DeadlinePassed as error:
        return dg.SkipReason(f"{error}; the next tick looks again")
    except CdcError as error:
        if error.recoverability != "TRANSIENT" and not isinstance(error, ConfigurationError):
            raise
        return dg.SkipReason(str(error))


def _look(access: StreamAccess, memory: Memory) -> Look:
    connection = access.connect(patience_seconds=PATIENCE_SECONDS)
    seen = observe(connection.runtime, memory)
    decision = decide(seen.observation, connection.runtime.policy)
    return (
        connection,
        seen,
        decision,
        health_of(decision, at_work=recovery_at_work(connection.runtime)),
    )


def _report(
    graph: StreamGraph, look: Look, before: HealthCursor, heartbeat_seconds: float
) -> tuple[list[Event], HealthCursor]:
    """Return what to report now, and the cursor after it."""
    connection, seen, _, health = look
    now = connection.runtime.clock.now()
    incarnation = seen.observation.incarnation
    number = incarnation.number if incarnation else 0
    changed = (health.shape, number) != (before.reported, before.incarnation)
    since = None if before.reported_at is None else (now - before.reported_at).total_seconds()
    due = since is None or since >= heartbeat_seconds
    after = replace(before, memory=seen.memory)
    if not changed and not due:
        return [], after
    said = stream_metadata(connection, seen, health)
    events: list[Event] = [
        dg.AssetObservation(graph.key, description=health.text, metadata=said.to_metadata())
    ]
    if changed:
        events.append(health_evaluation(graph, health, said))
    after = replace(after, reported=health.shape, incarnation=number)
    if due:
        path = seen.state.path if seen.state else ""
        if health.passed and before.checkpoint_path not in {"", path}:
            # Freshness counts materializations only, so one says that the stream moves.
            events.append(_moved(graph, said))
        after = replace(after, reported_at=now, checkpoint_path=path)
    return events, after


def _moved(graph: StreamGraph, said: CdcMetadata) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        graph.key, description="checkpoints complete", metadata=said.to_metadata()
    )


def _result(
    stream: str, events: list[Event], request: dg.RunRequest | str, cursor: str, text: str
) -> dg.SensorResult:
    if isinstance(request, dg.RunRequest):
        return dg.SensorResult(run_requests=[request], asset_events=events, cursor=cursor)
    reason = text if request == NOTHING_TO_DO else f"{text}; {request}"
    return dg.SensorResult(
        skip_reason=f"stream {stream!r}: {reason}", asset_events=events, cursor=cursor
    )


def _news(access: StreamAccess, before: EventCursor) -> News | None:
    """Return the newest deployment and the events that are not reported yet."""
    rt = access.connect(patience_seconds=PATIENCE_SECONDS).runtime
    if rt.feed is None:
        return None
    rt.feed.poll()
    deployment = rt.feed.deployment()
    now = rt.clock.now()
    if before.seen_until is None:
        return deployment, rt.ledger.events(since=now - _FIRST_EVENTS)
    known = before.seen_until
    rows = rt.ledger.events(since=now - _LATE_EVENTS)
    return deployment, [row for row in rows if row.first_seen and row.first_seen > known]


def _report_news(
    graph: StreamGraph, before: EventCursor, news: News
) -> tuple[list[Event], EventCursor]:
    """Return what to report of RDS, and the cursor after it."""
    deployment, rows = news
    events: list[Event] = []
    for row in rows:
        said = CdcMetadata(event=row.message).to_metadata()
        text = f"RDS {row.date:%Y-%m-%d %H:%M:%S}Z {row.source_id}: {row.message}"
        events.append(dg.AssetObservation(graph.key, description=text, metadata=said))
    moments = [row.first_seen for row in rows if row.first_seen is not None]
    after = replace(before, seen_until=max(moments, default=before.seen_until))
    if deployment is None:
        return events, after
    status = (deployment.deployment_id, deployment.status)
    if status != (before.deployment, before.status):
        said = CdcMetadata(deployment=status[0], deployment_status=status[1]).to_metadata()
        text = f"blue/green deployment {status[0]} is {status[1]}"
        keys = [graph.key, *(spec.key for spec in graph.sources)]
        events += [dg.AssetObservation(key, description=text, metadata=said) for key in keys]
    return events, replace(after, deployment=status[0], status=status[1])


def _is_switching(before: EventCursor, deployment: DeploymentView | None) -> bool:
    """Say whether a switchover is on its way, or ended since the last tick."""
    if deployment is None:
        return False
    if deployment.status == "SWITCHOVER_IN_PROGRESS":
        return True
    was_seen_before = before.deployment == deployment.deployment_id
    return (
        deployment.status == "SWITCHOVER_COMPLETED"
        and was_seen_before
        and before.status != deployment.status
    )
