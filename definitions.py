"""The reference deployment: a stream that copies two tables, and one that aggregates."""

from __future__ import annotations

import dagster as dg

from cdc_assets import QuerySpec, ServerIdRange, StreamSpec, TableRef, build_cdc_definitions
from resources.flink import flink
from resources.intervals import sensor_seconds
from resources.ledger import ledger
from resources.mysql import source, source_of_stats
from resources.rds import rds
from resources.targets import target, target_of_stats

BY_PRODUCT = "SELECT product, COUNT(*) AS n, SUM(quantity) AS q FROM orders GROUP BY product"
# A topic has no columns to look at, so the query declares its own.
COLUMNS = (("product", "STRING"), ("order_count", "BIGINT"), ("quantity", "INT"))
shop = StreamSpec(
    name="shop",
    tables=(TableRef.parse("source.source_table:target_table"), TableRef.parse("source.orders")),
    server_ids=ServerIdRange(5400, 5449),
    target_database="target",
)
stats = StreamSpec(
    name="stats",
    tables=(TableRef.parse("source.orders"),),
    source_only=("orders",),
    queries=(QuerySpec("orders_by_product", BY_PRODUCT, COLUMNS, key=("product",)),),
    server_ids=ServerIdRange(5450, 5499),
    target_database="target",
)
defs = dg.Definitions.merge(
    build_cdc_definitions(
        streams=(shop, stats), source={"shop": source, "stats": source_of_stats},
        target={"shop": target, "stats": target_of_stats}, flink=flink, ledger=ledger, rds=rds,
        health_interval_seconds=sensor_seconds(), rds_interval_seconds=sensor_seconds(),
        sensors_running=True,
    ),
    dg.Definitions(executor=dg.in_process_executor),  # a process for each step costs seconds
)  # fmt: skip
