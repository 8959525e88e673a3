"""Streams that read topics, as Dagster assets."""

# No `from __future__ import annotations`: Dagster compares the annotation of `context` as a class.

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import dagster as dg
from pydantic import Field

from cdc_assets.checks import check_schedule, count_checks, judged, unproved
from cdc_assets.core.columns import TableShape
from cdc_assets.core.kafka import topic_of
from cdc_assets.core.table_refs import TableRef
from cdc_assets.core.topic_stream import TopicStreamSpec
from cdc_assets.deadline import DeadlinePassed, within
from cdc_assets.engines import sink_of
from cdc_assets.environment import require_set, resolved
from cdc_assets.errors import CdcError, ConfigurationError
from cdc_assets.flink.engine import FlinkEngine
from cdc_assets.flink.resource import FlinkResource
from cdc_assets.flink.sink_kafka import KafkaSink
from cdc_assets.flink.topic_sql import TopicRenderer
from cdc_assets.flink.topic_state import read_topic_offsets
from cdc_assets.ledger.resource import LedgerResource
from cdc_assets.metadata import STREAM_TAG, CdcMetadata
from cdc_assets.operations.clock import SystemClock
from cdc_assets.operations.reconcile import TRANSFORMED
from cdc_assets.operations.reconcile_topics import reconcile_result
from cdc_assets.operations.runtime import Budgets
from cdc_assets.operations.topics import (
    MOST_LAUNCHES,
    TopicHealth,
    TopicRuntime,
    deploy_topics,
    look_at_topics,
)
from cdc_assets.ports import MakingTarget, Server
from cdc_assets.reports import failure
from cdc_assets.targets.resource import KafkaTargetResource, TargetResource
from cdc_assets.translator import HEALTH, TargetAsset

# A tick is cut at 60 s by Dagster, and at 15 s by some proxies before its code servers.
_TICK_SECONDS = 14.0
_PAUSE_SECONDS = 300


def wall_clock() -> datetime:
    """Return the time that Dagster's runs are stamped with."""
    return datetime.now(timezone.utc)


@dataclass(frozen=True)
class TopicWiring:
    """A stream of topics and its resources.

    Attributes:
        topics: The stream.
        source: The brokers that hold its topics; the prefix is the topics'.
        target: Where rows land.
        flink: Which cluster runs the job.
        ledger: Which database remembers.
        budgets: How long each wait may last.
    """

    topics: TopicStreamSpec
    source: KafkaTargetResource
    target: TargetResource
    flink: FlinkResource
    ledger: LedgerResource
    budgets: Budgets

    def connect(self) -> TopicRuntime:
        """Return the connected stream; nothing is opened before its first use.

        Raises:
            ConfigurationError: A setting cannot be used, or a variable is unset.
        """
        require_set([self.source, self.target, self.flink, self.ledger])
        source, target = resolved(self.source), resolved(self.target)
        flink, clock = resolved(self.flink), SystemClock()
        spec = self.topics.as_stream(target.kind, target.namespace)
        brokers, writer = source.get_client(), target.get_client()
        reading = sink_of(source)
        if not isinstance(reading, KafkaSink):
            raise ConfigurationError("only Kafka holds topics", field="source", value=source.kind)
        engine = FlinkEngine(
            client=flink.get_client(),
            gateway=flink.get_gateway(secrets=(*source.secret_values(), *target.secret_values())),
            folders=flink.get_folders(),
            source=_Declared(),
            target=writer,
            render=TopicRenderer(self.topics, reading, sink_of(target)),
            clock=clock,
            reads_binlog=False,
        )

        def prepare() -> None:
            brokers.shapes([table.topic for table in self.topics.tables])
            if isinstance(writer, MakingTarget):
                writer.make_missing(spec, ())
            writer.shapes(spec.target_names)

        def offsets(path: str, name: str) -> Mapping[int, int]:
            return read_topic_offsets(path, topic_of(source.topic_prefix, name))

        return TopicRuntime(
            spec=spec,
            engine=engine,
            topics=brokers,
            target=writer,
            ledger=resolved(self.ledger).get_client(),
            clock=clock,
            brokers=_first_of(source.bootstrap_servers),
            cluster_id=brokers.cluster_id,
            prepare=prepare,
            topic_names=tuple(table.topic for table in self.topics.tables),
            offsets=offsets,
            budgets=self.budgets,
        )


class _Declared:
    """Describes no table: the topics' columns are declared."""

    def shapes(self, server: Server, tables: Sequence[TableRef]) -> tuple[TableShape, ...]:
        del server, tables
        return ()


def _first_of(servers: str) -> Server:
    host, _, port = servers.split(",", maxsplit=1)[0].strip().rpartition(":")
    return Server(host, int(port))


class TopicStreamConfig(dg.Config):
    """What a person says when a stream of topics is materialized."""

    again: bool = Field(
        default=False,
        description="Read the topics from their beginning although there is state, which is given "
        "up. Rows that vanished meanwhile stay in the target: empty it first.",
    )


def build_topic_definitions(  # noqa: PLR0913 - the one front door, every setting named
    *,
    stream: TopicStreamSpec,
    source: KafkaTargetResource,
    target: TargetResource,
    flink: FlinkResource,
    ledger: LedgerResource,
    budgets: Budgets | None = None,
    target_name: str = "target",
    topic_keys: Mapping[str, dg.AssetKey] | None = None,
    sensor_interval_seconds: int = 30,
    sensors_running: bool = False,
    reconcile_cron: str = "0 * * * *",
) -> dg.Definitions:
    """Return assets, checks, sensor and schedule of a stream that reads topics.

    Materializing `<name>/stream` submits the job, waits until it runs and has completed a
    checkpoint, and ends. The sensor asks for that again when the job has ended by itself; after
    a few launches without a checkpoint it leaves it to a person. Nothing is opened before
    something runs.

    Args:
        stream: The topics and queries.
        source: The brokers; `topic_prefix` comes before each topic's name.
        target: Where the results land: tables that exist, or topics.
        flink: Which cluster runs the job.
        ledger: Which database remembers incarnations; the stream's name is its own there.
        budgets: How long each wait may last.
        target_name: First part of the keys of results and topics.
        topic_keys: Asset key of a topic by its name, where it is not the one that
            `build_cdc_definitions` gives it.
        sensor_interval_seconds: Between two ticks of the health sensor.
        sensors_running: Whether sensor and schedule are on from the start.
        reconcile_cron: When row counts are compared, empty for never.

    Raises:
        ConfigurationError: They do not make a stream.
    """
    return topic_definitions_of(
        TopicWiring(stream, source, target, flink, ledger, budgets or Budgets()),
        target_name=target_name,
        topic_keys=topic_keys or {},
        sensor_interval_seconds=sensor_interval_seconds,
        sensors_running=sensors_running,
        reconcile_cron=reconcile_cron,
    )


def topic_definitions_of(
    wiring: TopicWiring,
    *,
    target_name: str = "target",
    topic_keys: Mapping[str, dg.AssetKey],
    sensor_interval_seconds: int = 30,
    sensors_running: bool = False,
    reconcile_cron: str = "0 * * * *",
) -> dg.Definitions:
    """Return the definitions of a stream that is wired already; tests bring fakes.

    Args:
        wiring: The stream.
        target_name: First part of the keys of results and topics.
        topic_keys: Asset key of a topic by its name, where it is another one.
        sensor_interval_seconds: Between two ticks of the health sensor.
        sensors_running: Whether sensor and schedule are on from the start.
        reconcile_cron: When row counts are compared, empty for never.

    Raises:
        ConfigurationError: They do not make a stream.
    """
    stream, source, target = wiring.topics, wiring.source, wiring.target
    key = f"topics_{stream.name}"
    spec = stream.as_stream(target.kind, target.namespace)
    deps = [
        topic_keys.get(table.topic) or _key(target_name, source.topic_prefix, table.topic)
        for table in stream.tables
    ]
    deployed = dg.AssetSpec(
        [stream.name, "stream"],
        deps=deps,
        description="The running Flink job over topics. Materializing deploys it and ends.",
        group_name=stream.name,
        kinds={"flink"},
        tags={STREAM_TAG: stream.name},
    )
    results = [
        TargetAsset(
            query.target_name,
            dg.AssetSpec(
                _key(target_name, target.namespace, query.target_name),
                deps=[deployed.key],
                description=f"{spec.target_label(query.target_name)}, filled by a query over "
                "topics.",
                group_name=stream.name,
                kinds={target.kind},
                tags={STREAM_TAG: stream.name},
                metadata={"cdc/query": dg.MetadataValue.md(f"```sql\n{query.sql}\n```")},
            ),
            None,
        )
        for query in stream.queries
    ]
    counts = count_checks(f"row_counts_{stream.name}", results, key, _counts)
    return dg.Definitions(
        assets=[*(result.spec for result in results), _deployment(deployed, key)],
        asset_checks=[counts, _health_check(deployed.key, key)],
        sensors=[_sensor(deployed.key, stream.name, key, sensor_interval_seconds,
                         running=sensors_running)],
        schedules=check_schedule(
            [counts],
            f"reconcile_{stream.name}",
            f"Compares the row counts of stream {stream.name!r} with its topics.",
            ("reconcile_cron", reconcile_cron),
            running=sensors_running,
            tags={"cdc/reconcile": stream.name},
        ),
        resources={key: wiring},
    )  # fmt: skip


def _counts(
    context: dg.AssetCheckExecutionContext, wiring: TopicWiring, wanted: Sequence[TargetAsset]
) -> Iterator[dg.AssetCheckResult]:
    rt = wiring.connect()
    rows = rt.ledger.incarnations(rt.name)
    for target in wanted:
        table = wiring.topics.counted_by(target.name)
        if table is None:
            text = f"{TRANSFORMED} a query fills {target.name}, and rows_of names no topic for it"
            yield unproved(target, text)
        elif not rows:
            yield unproved(target, "not deployed: materialize the stream")
        else:
            yield judged(context, target, reconcile_result(rt, rows[-1], target.name, table), {})


def _key(*parts: str) -> dg.AssetKey:
    return dg.AssetKey([part for part in parts if part])


def _deployment(spec: dg.AssetSpec, resource: str) -> dg.AssetsDefinition:
    stream = spec.key.path[0]

    @dg.multi_asset(name=f"{stream}_topics", specs=[spec], required_resource_keys={resource})
    def topics_asset(
        context: dg.AssetExecutionContext, config: TopicStreamConfig
    ) -> dg.MaterializeResult[Any]:
        wiring: TopicWiring = getattr(context.resources, resource)
        try:
            rt = wiring.connect()
            done = deploy_topics(rt, again=config.again)
        except CdcError as error:
            raise failure(error) from None
        what = "ran already" if done.adopted else f"was launched from {done.restored_from}"
        context.log.info("stream %s: incarnation %s %s", stream, done.incarnation, what)
        return dg.MaterializeResult(
            metadata=CdcMetadata(
                incarnation=done.incarnation,
                checkpoint=done.checkpoint,
                restored_from=done.restored_from,
                job_id=done.job_id,
            ).to_metadata()
        )

    return topics_asset


def _evaluated(found: TopicHealth) -> dict[str, dg.MetadataValue]:
    return CdcMetadata(
        incarnation=found.row.number if found.row else None,
        job_id=found.row.job_id if found.row else "",
        decision=found.condition,
        reason=found.text,
    ).to_metadata()


def _health_check(key: dg.AssetKey, resource: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=key,
        name=HEALTH,
        description="The job runs and completes checkpoints.",
        required_resource_keys={resource},
    )
    def health(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        wiring: TopicWiring = getattr(context.resources, resource)
        try:
            found = look_at_topics(wiring.connect())
        except CdcError as error:
            raise failure(error) from None
        severe = found.condition == "ended" and not found.wants_launch
        return dg.AssetCheckResult(
            passed=found.is_healthy,
            severity=dg.AssetCheckSeverity.ERROR if severe else dg.AssetCheckSeverity.WARN,
            description=found.text,
            metadata=_evaluated(found),
        )

    return health


def _sensor(
    key: dg.AssetKey, stream: str, resource: str, interval_seconds: int, *, running: bool
) -> dg.SensorDefinition:
    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        wiring: TopicWiring = getattr(context.resources, resource)
        try:
            found = within(_TICK_SECONDS, lambda: look_at_topics(wiring.connect()))
        except (CdcError, DeadlinePassed) as error:
            return dg.SkipReason(f"{error}; the next tick looks again")
        if found.row is None:
            return dg.SkipReason(f"stream {stream!r}: {found.text}")
        # What changes every second is no news.
        news = f"{found.row.number} {found.condition}"
        events = []
        if news != context.cursor:
            events = [
                dg.AssetCheckEvaluation(
                    asset_key=key,
                    check_name=HEALTH,
                    passed=found.is_healthy,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=found.text,
                    metadata=_evaluated(found),
                )
            ]
        requests: list[dg.RunRequest] = []
        if found.wants_launch:
            # Dagster honours a key once: one request for each incarnation that ended, and another
            # one some minutes later where that run could not launch it.
            turn = int(wall_clock().timestamp() // _PAUSE_SECONDS)
            run_key = f"{stream}/{found.row.number}/{turn}"
            requests = [dg.RunRequest(run_key=run_key, asset_selection=[key])]
        return dg.SensorResult(run_requests=requests, asset_events=events, cursor=news)

    return dg.SensorDefinition(
        name=f"health_{stream}",
        evaluation_fn=tick,
        asset_selection=dg.AssetSelection.assets(key),
        minimum_interval_seconds=interval_seconds,
        description=f"Watches stream {stream!r} and launches it again when it has ended; after "
        f"{MOST_LAUNCHES} launches without a checkpoint a person must look.",
        default_status=dg.DefaultSensorStatus.RUNNING if running
        else dg.DefaultSensorStatus.STOPPED,
        required_resource_keys={resource},
        tags={STREAM_TAG: stream},
    )  # fmt: skip
