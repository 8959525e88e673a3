"""A deployment on the lab: a lookup, a ranking, a whole database into Kafka, and joins over it.

Dagster loads this file by `DAGSTER_HOME`, which lies in the lab's folder; the tests call
`definitions`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import dagster as dg

from cdc_assets import (
    FlinkResource,
    KafkaToIcebergComponent,
    KafkaToKafkaComponent,
    KafkaToMySqlComponent,
    KafkaToPostgresComponent,
    KafkaToStarRocksComponent,
    LedgerResource,
    Lookup,
    MySqlResource,
    MySqlTargetResource,
    QuerySpec,
    RdsResource,
    ServerIdRange,
    StreamSpec,
    TableRef,
    Transform,
    build_cdc_definitions,
    stream_from_pipeline,
)
from cdc_assets.component_topics import TopicStreamComponent
from cdc_assets.core.stream import TargetKind
from cdc_assets.lab.dagster_services import environment
from cdc_assets.lab.home import require_state
from cdc_assets.lab.kafka_server import TOPIC_PREFIX
from cdc_assets.lab.state import LabState
from cdc_assets.lab.target_systems import target_system

DATABASE = "order_dw"
# An account for each stream, so that the sensors can count its readers.
SHOP_ACCOUNT = "cdc_shop"
ETL = StreamSpec(
    "etl",
    (TableRef.parse("source.orders:small_orders"),),
    ServerIdRange(9900, 9909),
    "target",
    transforms=(
        Transform(
            "orders",
            columns=("id", "product", "quantity"),
            filter="quantity <= 5 AND price < 900",
            computed=(("total", "price * quantity"), ("title", "products.title")),
            lookups=(Lookup.parse("products", "name = product"),),
        ),
    ),
)
RANKING = StreamSpec(
    "ranking",
    (TableRef.parse("source.orders"),),
    ServerIdRange(9910, 9919),
    "target",
    source_only=("orders",),
    queries=(
        QuerySpec(
            "sales",
            "SELECT product, COUNT(*) AS n, SUM(quantity) AS quantity,"
            " SUM(price * quantity) AS revenue FROM orders GROUP BY product",
        ),
        QuerySpec(
            "best_sellers",
            "SELECT place, product, quantity FROM (SELECT ROW_NUMBER() OVER"
            " (ORDER BY quantity DESC, product) AS place, product, quantity FROM"
            " (SELECT product, SUM(quantity) AS quantity FROM orders GROUP BY product))"
            " WHERE place <= 3",
        ),
    ),
)
JOINS = {
    "user_product": "SELECT `order`.key_id AS order_id, value_product AS product,"
    " `user`.value_name AS user_name"
    " FROM `order` LEFT JOIN `user` ON `order`.value_user_id = `user`.key_id",
    "user_feedback": "SELECT feedback.key_id AS feedback_id, value_comment AS `comment`,"
    " `user`.value_name AS user_name"
    " FROM feedback LEFT JOIN `user` ON feedback.value_user_id = `user`.key_id",
}
ROWS_OF = {"user_product": "order", "user_feedback": "feedback"}
JOINED_PREFIX = f"{TOPIC_PREFIX}joined."
# The joins' targets beside topics and MySQL, and what their tables lie in: one name for two of
# them would give two results one asset key.
BESIDE: dict[TargetKind, str] = {"postgres": "public", "iceberg": "lake", "starrocks": "olap"}
_SECONDS = 4
_READING: dict[str, Any] = {
    "source_bootstrap_servers": "env:CDC_TARGET_BOOTSTRAP_SERVERS",
    "source_topic_prefix": TOPIC_PREFIX,
    "source_security_protocol": "SASL_PLAINTEXT",
    "source_username": "env:CDC_TARGET_USER",
    "source_password": "env:CDC_TARGET_PASSWORD",
    "topics": {name: f"{DATABASE}.{name}" for name in ("order", "user", "feedback")},
    "topic_columns": {
        "order": {"id": "BIGINT", "product": "STRING", "user_id": "BIGINT"},
        "user": {"id": "BIGINT", "name": "STRING"},
        "feedback": {"id": "BIGINT", "user_id": "BIGINT", "comment": "STRING"},
    },
    "topic_keys": {"order": ["id"], "user": ["id"], "feedback": ["id"]},
    "flink_rest_url": "env:FLINK_REST_URL",
    "flink_sql_gateway_url": "env:FLINK_SQL_GATEWAY_URL",
    "flink_checkpoint_directory": "env:FLINK_CHECKPOINT_DIR",
    "flink_savepoint_directory": "env:FLINK_SAVEPOINT_DIR",
    "ledger_url": "env:CDC_LEDGER_URL",
    "sensors_running": True,
    "sensor_interval_seconds": _SECONDS,
}


def definitions(home: Path) -> dg.Definitions:
    """Return the deployment; secrets of the joins come from the environment, as from a file."""
    state = require_state(home)
    said = environment(state)
    os.environ.update(said)
    endpoint, target = state.services["endpoint"], state.servers["target"]
    cdc, stats = state.accounts["cdc"], state.accounts["cdc_stats"]
    writer = state.accounts["cdc_writer"]
    warehouse = MySqlTargetResource(
        host=target.host, port=target.port, username=writer.user, password=writer.password,
        database="target",
    )  # fmt: skip
    place: dict[str, Any] = {
        "flink": FlinkResource(
            rest_url=said["FLINK_REST_URL"],
            sql_gateway_url=said["FLINK_SQL_GATEWAY_URL"],
            checkpoint_directory=said["FLINK_CHECKPOINT_DIR"],
            savepoint_directory=said["FLINK_SAVEPOINT_DIR"],
        ),
        "ledger": LedgerResource(url=said["CDC_LEDGER_URL"]),
        "rds": RdsResource(
            instance=said["CDC_RDS_INSTANCE"],
            region=said["AWS_REGION"],
            endpoint_url=said["CDC_RDS_ENDPOINT_URL"],
        ),
        "health_interval_seconds": _SECONDS,
        "rds_interval_seconds": _SECONDS,
        "sensors_running": True,
    }

    def source(user: str, password: str) -> MySqlResource:
        return MySqlResource(
            host=endpoint.host, port=endpoint.port, username=user, password=password
        )

    shop = stream_from_pipeline(
        home / "shop.yaml",
        stream="shop",
        source={
            "host": endpoint.host, "port": endpoint.port,
            "username": SHOP_ACCOUNT, "password": cdc.password,
        },
        target={
            "topic_prefix": TOPIC_PREFIX,
            "security_protocol": "SASL_PLAINTEXT",
            "username": writer.user,
            "password": writer.password,
        },
    )  # fmt: skip
    return dg.Definitions.merge(
        build_cdc_definitions(
            streams=(ETL, RANKING),
            source={
                "etl": source(cdc.user, cdc.password),
                "ranking": source(stats.user, stats.password),
            },
            target=warehouse,
            lookup=warehouse,
            **place,
        ),
        build_cdc_definitions(streams=shop.spec, source=shop.source, target=shop.target, **place),
        joins(target.host, target.port).build_defs(cast("Any", None)),
        topic_joins().build_defs(cast("Any", None)),
        *(each.build_defs(cast("Any", None)) for each in joins_beside(state)),
        # A process for each step costs seconds that rows wait for.
        dg.Definitions(executor=dg.in_process_executor),
    )


def joins(host: str, port: int) -> KafkaToMySqlComponent:
    """Return joins into tables, as a file would have them."""
    return KafkaToMySqlComponent(
        **_READING,
        stream="joins",
        reconcile_cron="* * * * *",
        queries=JOINS,
        rows_of=ROWS_OF,
        target_host=host,
        target_port=port,
        target_username="env:CDC_TARGET_USER",
        target_password="env:CDC_TARGET_PASSWORD",
        target_database="target",
    )


def topic_joins() -> KafkaToKafkaComponent:
    """Return a join into a topic, as a file would have it."""
    return KafkaToKafkaComponent(
        **_READING,
        stream="topic_joins",
        queries={"user_product": JOINS["user_product"]},
        query_columns={
            "user_product": {"order_id": "BIGINT", "product": "STRING", "user_name": "STRING"}
        },
        query_keys={"user_product": ["order_id"]},
        rows_of={"user_product": "order"},
        target_bootstrap_servers="env:CDC_TARGET_BOOTSTRAP_SERVERS",
        target_topic_prefix=JOINED_PREFIX,
        target_security_protocol="SASL_PLAINTEXT",
        target_username="env:CDC_TARGET_USER",
        target_password="env:CDC_TARGET_PASSWORD",
        target_create_topics=True,
    )


def joins_beside(state: LabState) -> tuple[TopicStreamComponent, ...]:
    """Return the same joins into the other targets of a lab, one component each."""
    if any(kind not in state.services for kind in BESIDE):
        return ()
    place = {kind: target_system(kind).environment(state) for kind in BESIDE}
    writer: dict[str, Any] = {
        "target_username": "env:CDC_TARGET_USER",
        "target_password": "env:CDC_TARGET_PASSWORD",
    }
    both: dict[str, Any] = {**_READING, "queries": JOINS, "rows_of": ROWS_OF}
    return (
        KafkaToPostgresComponent(
            **both,
            **writer,
            stream="postgres_joins",
            target_host=place["postgres"]["CDC_TARGET_HOST"],
            target_port=place["postgres"]["CDC_TARGET_PORT"],
            target_database=place["postgres"]["CDC_TARGET_DATABASE"],
            target_schema=BESIDE["postgres"],
        ),
        KafkaToIcebergComponent(
            **both,
            stream="iceberg_joins",
            target_uri=place["iceberg"]["CDC_TARGET_URI"],
            target_database=BESIDE["iceberg"],
        ),
        KafkaToStarRocksComponent(
            **both,
            **writer,
            stream="starrocks_joins",
            target_host=place["starrocks"]["CDC_TARGET_HOST"],
            target_query_port=place["starrocks"]["CDC_TARGET_PORT"],
            target_http_port=place["starrocks"]["CDC_TARGET_HTTP_PORT"],
            target_database=BESIDE["starrocks"],
        ),
    )


if "DAGSTER_HOME" in os.environ:
    defs = definitions(Path(os.environ["DAGSTER_HOME"]).parent)
