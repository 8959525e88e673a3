"""MySQL change streams as Dagster assets: streams that survive a blue/green upgrade.

Names load when they are used: the lab's own processes import this package, and none of
them needs Dagster.
"""

from __future__ import annotations

import importlib
import typing

if typing.TYPE_CHECKING:
    from cdc_assets.checks import build_health_check, build_reconciliation_checks
    from cdc_assets.component import CdcStreamComponent, MySqlToMySqlComponent
    from cdc_assets.component_iceberg import MySqlToIcebergComponent
    from cdc_assets.component_kafka import MySqlToKafkaComponent
    from cdc_assets.component_pipeline import MySqlDatabaseToKafkaComponent
    from cdc_assets.component_postgres import MySqlToPostgresComponent
    from cdc_assets.component_pyflink import PyFlinkToMySqlComponent, PyFlinkToPostgresComponent
    from cdc_assets.component_starrocks import MySqlToStarRocksComponent
    from cdc_assets.component_topics import (
        KafkaToIcebergComponent,
        KafkaToKafkaComponent,
        KafkaToMySqlComponent,
        KafkaToPostgresComponent,
        KafkaToStarRocksComponent,
        TopicStreamComponent,
    )
    from cdc_assets.core.queries import QuerySpec
    from cdc_assets.core.recovery import Policy
    from cdc_assets.core.server_ids import ServerIdRange
    from cdc_assets.core.stream import StreamSpec
    from cdc_assets.core.table_refs import ShardedTable, TableRef
    from cdc_assets.core.topic_stream import TopicStreamSpec, TopicTable, topic_tables
    from cdc_assets.core.transform import Lookup, Transform
    from cdc_assets.debezium.resource import KafkaConnectResource
    from cdc_assets.definitions_builder import build_cdc_definitions
    from cdc_assets.errors import CdcError, ConfigurationError
    from cdc_assets.flink.resource import FlinkCdcResource, FlinkResource, PyFlinkResource
    from cdc_assets.jobs import build_recovery_job
    from cdc_assets.ledger.resource import LedgerResource
    from cdc_assets.metadata import CdcMetadata
    from cdc_assets.mysql.resource import MySqlResource
    from cdc_assets.operations.runtime import Budgets
    from cdc_assets.pipeline_stream import PipelineStream, stream_from_pipeline
    from cdc_assets.rds.resource import RdsResource
    from cdc_assets.sensors import build_rds_event_sensor, build_stream_health_sensor
    from cdc_assets.targets.resource import (
        IcebergTargetResource,
        KafkaTargetResource,
        MySqlTargetResource,
        PostgresTargetResource,
        StarRocksTargetResource,
        TargetResource,
    )
    from cdc_assets.topic_assets import build_topic_definitions
    from cdc_assets.translator import CdcProps, CdcTranslator, StreamGraph

_HOMES = {
    "Budgets": "operations.runtime",
    "CdcError": "errors",
    "CdcMetadata": "metadata",
    "CdcProps": "translator",
    "CdcStreamComponent": "component",
    "CdcTranslator": "translator",
    "ConfigurationError": "errors",
    "FlinkCdcResource": "flink.resource",
    "FlinkResource": "flink.resource",
    "IcebergTargetResource": "targets.resource",
    "KafkaConnectResource": "debezium.resource",
    "KafkaTargetResource": "targets.resource",
    "KafkaToIcebergComponent": "component_topics",
    "KafkaToKafkaComponent": "component_topics",
    "KafkaToMySqlComponent": "component_topics",
    "KafkaToPostgresComponent": "component_topics",
    "KafkaToStarRocksComponent": "component_topics",
    "LedgerResource": "ledger.resource",
    "Lookup": "core.transform",
    "MySqlDatabaseToKafkaComponent": "component_pipeline",
    "MySqlResource": "mysql.resource",
    "MySqlTargetResource": "targets.resource",
    "MySqlToIcebergComponent": "component_iceberg",
    "MySqlToKafkaComponent": "component_kafka",
    "MySqlToMySqlComponent": "component",
    "MySqlToPostgresComponent": "component_postgres",
    "MySqlToStarRocksComponent": "component_starrocks",
    "PipelineStream": "pipeline_stream",
    "Policy": "core.recovery",
    "PostgresTargetResource": "targets.resource",
    "PyFlinkResource": "flink.resource",
    "PyFlinkToMySqlComponent": "component_pyflink",
    "PyFlinkToPostgresComponent": "component_pyflink",
    "QuerySpec": "core.queries",
    "RdsResource": "rds.resource",
    "ServerIdRange": "core.server_ids",
    "ShardedTable": "core.table_refs",
    "StarRocksTargetResource": "targets.resource",
    "StreamGraph": "translator",
    "StreamSpec": "core.stream",
    "TableRef": "core.table_refs",
    "TargetResource": "targets.resource",
    "Transform": "core.transform",
    "TopicStreamComponent": "component_topics",
    "TopicStreamSpec": "core.topic_stream",
    "TopicTable": "core.topic_stream",
    "build_cdc_definitions": "definitions_builder",
    "build_health_check": "checks",
    "build_rds_event_sensor": "sensors",
    "build_reconciliation_checks": "checks",
    "build_recovery_job": "jobs",
    "build_stream_health_sensor": "sensors",
    "build_topic_definitions": "topic_assets",
    "stream_from_pipeline": "pipeline_stream",
    "topic_tables": "core.topic_stream",
}

__all__ = [
    "Budgets",
    "CdcError",
    "CdcMetadata",
    "CdcProps",
    "CdcStreamComponent",
    "CdcTranslator",
    "ConfigurationError",
    "FlinkCdcResource",
    "FlinkResource",
    "IcebergTargetResource",
    "KafkaConnectResource",
    "KafkaTargetResource",
    "KafkaToIcebergComponent",
    "KafkaToKafkaComponent",
    "KafkaToMySqlComponent",
    "KafkaToPostgresComponent",
    "KafkaToStarRocksComponent",
    "LedgerResource",
    "Lookup",
    "MySqlDatabaseToKafkaComponent",
    "MySqlResource",
    "MySqlTargetResource",
    "MySqlToIcebergComponent",
    "MySqlToKafkaComponent",
    "MySqlToMySqlComponent",
    "MySqlToPostgresComponent",
    "MySqlToStarRocksComponent",
    "PipelineStream",
    "Policy",
    "PostgresTargetResource",
    "PyFlinkResource",
    "PyFlinkToMySqlComponent",
    "PyFlinkToPostgresComponent",
    "QuerySpec",
    "RdsResource",
    "ServerIdRange",
    "ShardedTable",
    "StarRocksTargetResource",
    "StreamGraph",
    "StreamSpec",
    "TableRef",
    "TargetResource",
    "TopicStreamComponent",
    "TopicStreamSpec",
    "TopicTable",
    "Transform",
    "build_cdc_definitions",
    "build_health_check",
    "build_rds_event_sensor",
    "build_reconciliation_checks",
    "build_recovery_job",
    "build_stream_health_sensor",
    "build_topic_definitions",
    "stream_from_pipeline",
    "topic_tables",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return list(__all__)
