"""build_cdc_definitions: everything that Dagster needs of one or several streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import dagster as dg

from cdc_assets.assets import build_snapshot_asset, build_stream_asset, table_specs
from cdc_assets.checks import (
    build_health_check,
    build_reconciliation_checks,
    build_schema_check,
    check_schedule,
)
from cdc_assets.core.recovery import Policy
from cdc_assets.core.stream import StreamSpec, check_ranges_apart
from cdc_assets.debezium.resource import KafkaConnectResource
from cdc_assets.engines import engine_kind
from cdc_assets.environment import R
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.resource import FlinkCdcResource, FlinkResource, PyFlinkResource
from cdc_assets.jobs import build_recovery_job
from cdc_assets.ledger.resource import LedgerResource
from cdc_assets.mysql.resource import MySqlResource
from cdc_assets.operations.runtime import Budgets
from cdc_assets.rds.resource import RdsResource
from cdc_assets.sensors import build_rds_event_sensor, build_stream_health_sensor
from cdc_assets.targets.resource import TargetResource
from cdc_assets.translator import CdcTranslator, StreamGraph
from cdc_assets.wiring import StreamAccess, StreamWiring, resource_key

_SHORTEST_INTERVAL = 1


@dataclass(frozen=True)
class Surface:
    """How streams look and tick in Dagster, apart from what they are.

    Attributes:
        translator: Names and looks of assets.
        source_name: First part of the source tables' keys.
        source_kind: `mysql` or `mariadb`, shown on source tables.
        target_name: First part of the target tables' keys.
        health_interval_seconds: Between two ticks of the health sensor.
        rds_interval_seconds: Between two ticks of the RDS event sensor.
        heartbeat_seconds: Between two reports of a stream that does not change.
        sensors_running: Whether sensors and schedules are on from the start.
        reconcile_cron: When row counts are compared, empty for never.
        declare_sources: False where other definitions declare the source tables.
        schema_cron: When captured tables are looked at for changes, empty for never.
    """

    translator: CdcTranslator | None = None
    source_name: str = "source"
    source_kind: str = "mysql"
    target_name: str = "target"
    health_interval_seconds: int = 30
    rds_interval_seconds: int = 30
    heartbeat_seconds: float = 300.0
    sensors_running: bool = False
    reconcile_cron: str = "0 * * * *"
    declare_sources: bool = True
    schema_cron: str = "*/10 * * * *"

    def __post_init__(self) -> None:
        """Refuse what Dagster would refuse later, with a trace."""
        for name in ("health_interval_seconds", "rds_interval_seconds"):
            if getattr(self, name) < _SHORTEST_INTERVAL:
                raise ConfigurationError(
                    "must be at least 1", field=name, value=getattr(self, name)
                )


def build_cdc_definitions(  # noqa: PLR0913 - the one front door, every setting named
    *,
    streams: StreamSpec | Sequence[StreamSpec],
    source: MySqlResource | Mapping[str, MySqlResource],
    target: TargetResource | Mapping[str, TargetResource],
    flink: FlinkResource | None = None,
    connect: KafkaConnectResource | None = None,
    ledger: LedgerResource,
    rds: RdsResource | None = None,
    lookup: TargetResource | None = None,
    policy: Policy | None = None,
    budgets: Budgets | None = None,
    translator: CdcTranslator | None = None,
    source_name: str = "source",
    source_kind: str = "mysql",
    target_name: str = "target",
    health_interval_seconds: int = 30,
    rds_interval_seconds: int = 30,
    heartbeat_seconds: float = 300.0,
    sensors_running: bool = False,
    reconcile_cron: str = "0 * * * *",
    declare_sources: bool = True,
    schema_cron: str = "*/10 * * * *",
) -> dg.Definitions:
    """Return assets, checks, sensors, jobs and schedules of one or several streams.

    Nothing is opened, and no environment variable is read, before something runs.

    Args:
        streams: Streams of one source.
        source: The source's endpoint; by stream name where each stream has an account of
            its own, which lets the sensors see at once that one of them reads no more.
        target: Where rows land; by stream name where streams land in several places, or with
            several guarantees.
        flink: Which cluster runs the jobs; a `PyFlinkResource` where a script says what the job
            of one stream does, a `FlinkCdcResource` where Flink CDC runs a pipeline file.
        connect: Which Kafka Connect worker runs Debezium's connectors, in Flink's place.
        ledger: Which database remembers positions and recoveries.
        rds: RDS, None where no blue/green switchover can happen.
        lookup: The database of the streams' lookup tables, as a MySQL or PostgreSQL target.
        policy: What automation may do.
        budgets: How long each wait may last.
        translator: Changes names and looks of assets.
        source_name: First part of the source tables' keys.
        source_kind: `mysql` or `mariadb`, shown on source tables.
        target_name: First part of the target tables' keys.
        health_interval_seconds: Between two ticks of the health sensor.
        rds_interval_seconds: Between two ticks of the RDS event sensor.
        heartbeat_seconds: Between two reports of a stream that does not change.
        sensors_running: Whether sensors and schedules are on from the start.
        reconcile_cron: When row counts are compared, empty for never.
        declare_sources: False where other definitions declare the source tables.
        schema_cron: When captured tables are looked at for changes, empty for never.

    Raises:
        ConfigurationError: Two streams share a name, server ids or a target table; or neither
            or both of `flink` and `connect` are given.

    Example:
        >>> defs = build_cdc_definitions(
        ...     streams=StreamSpec(
        ...         name="shop",
        ...         tables=(TableRef.parse("shop.orders"),),
        ...         server_ids=ServerIdRange.parse("5400-5409"),
        ...         target_database="dw",
        ...     ),
        ...     source=MySqlResource(
        ...         host="db.example", username="cdc", password=dg.EnvVar("CDC_SOURCE_PASSWORD")
        ...     ),
        ...     target=MySqlTargetResource(
        ...         host="dw.example",
        ...         username="writer",
        ...         password=dg.EnvVar("CDC_TARGET_PASSWORD"),
        ...         database="dw",
        ...     ),
        ...     flink=FlinkResource(
        ...         rest_url="http://flink:8081",
        ...         sql_gateway_url="http://flink:8083",
        ...         checkpoint_directory="file:///state/checkpoints",
        ...         savepoint_directory="file:///state/savepoints",
        ...     ),
        ...     ledger=LedgerResource(url=dg.EnvVar("CDC_LEDGER_URL")),
        ... )
        >>> [sensor.name for sensor in defs.sensors]
        ['health_shop']
    """
    if (flink is None) == (connect is None):
        raise ConfigurationError("give one of flink and connect", field="flink")
    specs = (streams,) if isinstance(streams, StreamSpec) else tuple(streams)
    if isinstance(flink, (PyFlinkResource, FlinkCdcResource)) and len(specs) != 1:
        what = "a script" if isinstance(flink, PyFlinkResource) else "a pipeline file"
        raise ConfigurationError(
            f"{what} is the job of one stream", field="streams", value=[s.name for s in specs]
        )
    if isinstance(flink, PyFlinkResource) and specs[0].transforms:
        raise ConfigurationError(
            "the script says what is done to rows",
            field=f"{specs[0].name}.transforms",
            value=[each.table for each in specs[0].transforms],
            hint="Write them into the script",
        )
    sources = [_of(spec, "source", source) for spec in specs]
    targets = [_of(spec, "target", target) for spec in specs]
    wirings = [
        StreamWiring(
            spec=replace(
                spec,
                target_kind=lands.kind,
                engine=engine_kind(spec, flink),
                is_scripted=isinstance(flink, PyFlinkResource),
            ),
            source=own,
            target=lands,
            flink=flink,
            ledger=ledger,
            rds=rds,
            lookup=lookup,
            worker=connect,
            shares_account=sum(own is other for other in sources) > 1,
            policy=policy or Policy(),
            budgets=budgets or Budgets(),
        )
        for spec, own, lands in zip(specs, sources, targets, strict=True)
    ]
    surface = Surface(
        translator=translator,
        source_name=source_name,
        source_kind=source_kind,
        target_name=target_name,
        health_interval_seconds=health_interval_seconds,
        rds_interval_seconds=rds_interval_seconds,
        heartbeat_seconds=heartbeat_seconds,
        sensors_running=sensors_running,
        reconcile_cron=reconcile_cron,
        declare_sources=declare_sources,
        schema_cron=schema_cron,
    )
    return definitions_of(wirings, surface, watch_rds=rds is not None)


def definitions_of(
    wirings: Sequence[StreamAccess], surface: Surface, *, watch_rds: bool
) -> dg.Definitions:
    """Return the definitions of streams that are wired already; tests bring fakes.

    Args:
        wirings: The streams.
        surface: How they look and tick.
        watch_rds: Whether the RDS event sensor is wanted.

    Raises:
        ConfigurationError: Two streams share a name, server ids or a target table.
    """
    specs = tuple(wiring.spec for wiring in wirings)
    _refuse_shared(specs)
    check_ranges_apart(specs)
    sources: dict[dg.AssetKey, dg.AssetSpec] = {}
    parts: list[dg.Definitions] = []
    for wiring in wirings:
        graph = StreamGraph.build(
            wiring.spec,
            surface.translator,
            source_name=surface.source_name,
            source_kind=surface.source_kind,
            target_name=surface.target_name,
        )
        sources |= {spec.key: spec for spec in graph.sources}
        parts.append(_of_stream(wiring, graph, surface, watch_rds=watch_rds))
    if surface.declare_sources:
        # Two streams may read one table, and one asset has one spec.
        parts.append(dg.Definitions(assets=list(sources.values())))
    return dg.Definitions.merge(*parts)


def _of(spec: StreamSpec, field: str, given: R | Mapping[str, R]) -> R:
    if not isinstance(given, Mapping):
        return given
    if spec.name not in given:
        raise ConfigurationError("has none for this stream", field=field, value=spec.name)
    return given[spec.name]


def _of_stream(
    wiring: StreamAccess, graph: StreamGraph, surface: Surface, *, watch_rds: bool
) -> dg.Definitions:
    name = graph.stream.name
    job = build_recovery_job(graph)
    health = build_stream_health_sensor(
        graph=graph,
        job_name=job.name,
        interval_seconds=surface.health_interval_seconds,
        heartbeat_seconds=surface.heartbeat_seconds,
        running=surface.sensors_running,
    )
    events = build_rds_event_sensor(
        graph=graph,
        job_name=job.name,
        interval_seconds=surface.rds_interval_seconds,
        running=surface.sensors_running,
    )
    # Three heartbeats without progress, and never less than Dagster's shortest window.
    silent = timedelta(seconds=max(3 * surface.heartbeat_seconds, 120.0))
    checks = build_reconciliation_checks(graph)
    # Records of the others have the columns of their time.
    follows = wiring.spec.engine != "flink"
    schema = [] if follows else [build_schema_check(graph)]
    schedules = [
        *check_schedule(
            checks,
            f"reconcile_{name}",
            f"Compares the row counts of stream {name!r} with its source.",
            ("reconcile_cron", surface.reconcile_cron),
            running=surface.sensors_running,
            tags={"cdc/reconcile": name},
        ),
        *check_schedule(
            schema,
            f"schema_{name}",
            f"Looks whether the captured tables of stream {name!r} changed.",
            ("schema_cron", surface.schema_cron),
            running=surface.sensors_running,
            tags={"cdc/schema": name},
        ),
    ]
    return dg.Definitions(
        assets=[
            *table_specs(graph, sources=False),
            build_snapshot_asset(graph),
            build_stream_asset(graph, freshness=dg.FreshnessPolicy.time_window(fail_window=silent)),
        ],
        asset_checks=[*checks, build_health_check(graph), *schema],
        sensors=[health, events] if watch_rds else [health],
        jobs=[job],
        schedules=schedules,
        resources={resource_key(name): wiring},
    )


def _refuse_shared(specs: Sequence[StreamSpec]) -> None:
    names = [spec.name for spec in specs]
    tables = [spec.target_label(name) for spec in specs for name in spec.target_names]
    for what, values in (("streams", names), ("target tables", tables)):
        double = sorted({value for value in values if values.count(value) > 1})
        if double:
            raise ConfigurationError("named twice", field=what, value=double)
