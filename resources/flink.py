"""Which Flink cluster runs the jobs."""

from __future__ import annotations

import dagster as dg

from cdc_assets import FlinkResource

flink = FlinkResource(
    rest_url=dg.EnvVar("FLINK_REST_URL"),
    sql_gateway_url=dg.EnvVar("FLINK_SQL_GATEWAY_URL"),
    checkpoint_directory=dg.EnvVar("FLINK_CHECKPOINT_DIR"),
    savepoint_directory=dg.EnvVar("FLINK_SAVEPOINT_DIR"),
)
