"""Engines: what runs a stream: Flink with SQL, a script or Flink CDC, or Debezium's connector."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cdc_assets.core.stream import JDBC_KINDS, EngineKind, StreamSpec
from cdc_assets.debezium.config import Access
from cdc_assets.debezium.engine import DebeziumEngine
from cdc_assets.debezium.resource import KafkaConnectResource
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.engine import FlinkEngine
from cdc_assets.flink.lookup_sql import LookupTables
from cdc_assets.flink.pipeline_engine import PipelineEngine
from cdc_assets.flink.pipeline_order import PipelineRenderer
from cdc_assets.flink.render import StreamRenderer
from cdc_assets.flink.resource import FlinkCdcResource, FlinkResource, PyFlinkResource
from cdc_assets.flink.script_engine import ScriptEngine
from cdc_assets.flink.script_order import ScriptRenderer
from cdc_assets.flink.sink_iceberg import IcebergSink
from cdc_assets.flink.sink_kafka import SHADED, KafkaSink
from cdc_assets.flink.sink_postgres import PostgresSink
from cdc_assets.flink.sink_starrocks import StarRocksSink
from cdc_assets.flink.sinks import MySqlSink, Sink
from cdc_assets.flink.source_sql import SourceAccess
from cdc_assets.mysql.client import MySqlSource
from cdc_assets.mysql.resource import MySqlResource
from cdc_assets.pipeline.resolve import read_pipeline
from cdc_assets.pipes import run_with_pipes
from cdc_assets.ports import Clock, JudgedTarget, Ledger, Server
from cdc_assets.targets.mysql import MySqlTarget
from cdc_assets.targets.resource import (
    IcebergTargetResource,
    KafkaTargetResource,
    MySqlTargetResource,
    PostgresTargetResource,
    StarRocksTargetResource,
    TargetResource,
)


@dataclass(frozen=True)
class Sides:
    """Source, target and ledger, as settings and as clients."""

    source: MySqlResource
    target: TargetResource
    reader: MySqlSource
    writer: MySqlTarget | JudgedTarget
    ledger: Ledger
    lookup: TargetResource | None

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return what no message may repeat."""
        more = self.lookup.secret_values() if self.lookup else ()
        return (self.source.password, *self.target.secret_values(), *more)


def engine_kind(spec: StreamSpec, flink: FlinkResource | None) -> EngineKind:
    """Return what runs a stream, by the resource that is given.

    Raises:
        ConfigurationError: The stream was made for another one.
    """
    kind: EngineKind = "debezium" if flink is None else "flink"
    if isinstance(flink, FlinkCdcResource):
        kind = "flink-cdc"
    if "flink-cdc" in {kind, spec.engine} and kind != spec.engine:
        needs = "a FlinkCdcResource" if spec.engine == "flink-cdc" else "a FlinkResource"
        raise ConfigurationError(
            f"stream {spec.name!r} needs {needs}",
            field="flink",
            hint="stream_from_pipeline(..., flink_cdc=True) makes a stream for Flink CDC where the "
            "file's sink is kafka; Flink SQL writes upsert-kafka",
        )
    return kind


def flink_engine(
    flink: FlinkResource, sides: Sides, clock: Clock
) -> FlinkEngine | ScriptEngine | PipelineEngine:
    """Return what starts the stream's jobs: the SQL gateway, the user's script, or Flink CDC."""
    if isinstance(flink, FlinkCdcResource):
        return _pipeline_engine(flink, sides, clock)
    if isinstance(flink, PyFlinkResource):
        folders = flink.get_folders()
        return ScriptEngine(
            client=flink.get_client(),
            folders=folders,
            source=sides.reader,
            target=sides.writer,
            script=flink.get_script(run_with_pipes),
            render=ScriptRenderer(
                _readers(sides.source),
                sink_of(sides.target),
                flink.rest_url,
                folders.checkpoints,
                jars=flink.jar_urls,
                python_worker=flink.python_worker,
                settings=flink.settings,
            ),
            secrets=sides.secrets,
            clock=clock,
        )
    return FlinkEngine(
        client=flink.get_client(),
        gateway=flink.get_gateway(secrets=sides.secrets),
        folders=flink.get_folders(),
        source=sides.reader,
        target=sides.writer,
        render=StreamRenderer(
            _readers(sides.source), sink_of(sides.target), _lookups(sides.lookup)
        ),
        clock=clock,
    )


def _pipeline_engine(flink: FlinkCdcResource, sides: Sides, clock: Clock) -> PipelineEngine:
    """Return what lets Flink CDC run the file.

    Raises:
        ConfigurationError: The file cannot be read, or Flink CDC is not what it asks for.
    """
    sink, home = sink_of(sides.target), flink.get_home()
    if not isinstance(sink, KafkaSink):
        raise ConfigurationError(
            "Flink CDC is run for topics only", field="target", value=sides.target.kind
        )
    config = read_pipeline(Path(flink.pipeline), has_home=True)
    if not config.is_native:
        raise ConfigurationError(
            "this file runs as Flink SQL", field="flink.pipeline", value=flink.pipeline,
            hint="Give a FlinkResource with the address of a SQL gateway",
        )  # fmt: skip
    folders = flink.get_folders()
    return PipelineEngine(
        client=flink.get_client(),
        folders=folders,
        source=sides.reader,
        target=sides.writer,
        home=home,
        render=PipelineRenderer(
            _readers(sides.source),
            replace(sink, shaded_as=home.shaded_as),
            config.native,
            flink.rest_url,
            folders.checkpoints,
            settings=flink.settings,
        ),
        secrets=sides.secrets,
        clock=clock,
    )


def debezium_engine(
    spec: StreamSpec, worker: KafkaConnectResource, sides: Sides, clock: Clock
) -> DebeziumEngine:
    """Return what runs a connector in Flink's place."""
    source = sides.source
    access = Access(
        source.username,
        worker.source_password_reference or source.password,
        worker.history_directory,
        topic_prefix=sides.target.namespace,
        tls=source.tls,
        connect_seconds=source.connect_timeout_seconds,
    )
    return DebeziumEngine(
        client=worker.get_client(secrets=sides.secrets),
        spec=spec,
        source=sides.reader,
        access=access,
        clock=clock,
        gtid_at=sides.reader.gtid_position,
        remembered=_Remembered(sides.ledger, spec.name),
    )


@dataclass(frozen=True)
class _Remembered:
    """Finds the newest recorded state of a job id in the ledger."""

    ledger: Ledger
    stream: str

    def __call__(self, job_id: str) -> str:
        """Return its path, empty without one."""
        rows = self.ledger.incarnations(self.stream)
        number = next((row.number for row in rows if row.job_id == job_id), None)
        positions = self.ledger.positions(self.stream, limit=1000)
        return next((p.path for p in positions if p.incarnation == number and p.path), "")


def _readers(source: MySqlResource) -> SourceAccess:
    return SourceAccess(source.username, source.password, source.time_zone, tls=source.tls != "off")


def _lookups(lookup: TargetResource | None) -> LookupTables | None:
    """Return where lookup tables are: a database that Flink reaches over JDBC."""
    if lookup is None:
        return None
    if lookup.kind not in JDBC_KINDS:
        raise ConfigurationError(
            "a lookup table is in MySQL, MariaDB or PostgreSQL", field="lookup", value=lookup.kind
        )
    return LookupTables(sink_of(lookup), lookup.get_client().shapes)


def sink_of(target: TargetResource) -> Sink:
    """Return how Flink SQL writes a target.

    Args:
        target: With every variable replaced by its value.

    Raises:
        ConfigurationError: There is no way into this kind of target.
    """
    for each in inspect.getmro(type(target)):
        if each in _SINKS:
            return _SINKS[each](target)
    raise ConfigurationError("no way into this target", field="target", value=target.kind)


def _mysql_sink(target: MySqlTargetResource) -> Sink:
    return MySqlSink(
        Server(target.host, target.port),
        target.database,
        target.username,
        target.password,
        tls=target.tls != "off",
    )


def _iceberg_sink(target: IcebergTargetResource) -> Sink:
    return IcebergSink(target.lake, target.database)


def _postgres_sink(target: PostgresTargetResource) -> Sink:
    return PostgresSink(
        Server(target.host, target.port),
        target.database,
        target.db_schema,
        target.username,
        target.password,
        tls=target.tls,
        ca_file=target.ca_file,
    )


def _kafka_sink(target: KafkaTargetResource) -> Sink:
    return KafkaSink(
        target.access(),
        target.topic_prefix,
        delivery=target.delivery,
        transaction_seconds=target.transaction_timeout_seconds,
        shaded_as=SHADED if target.shaded_connector else "",
        properties=target.producer_properties,
    )


def _starrocks_sink(target: StarRocksTargetResource) -> Sink:
    return StarRocksSink(
        Server(target.host, target.query_port),
        target.all_load_addresses,
        target.database,
        target.username,
        target.password,
        delivery=target.delivery,
        load_format=target.load_format,
        options_by_table=target.sink_options,
    )


_SINKS: dict[type, Callable[[Any], Sink]] = {
    IcebergTargetResource: _iceberg_sink,
    KafkaTargetResource: _kafka_sink,
    MySqlTargetResource: _mysql_sink,
    PostgresTargetResource: _postgres_sink,
    StarRocksTargetResource: _starrocks_sink,
}
