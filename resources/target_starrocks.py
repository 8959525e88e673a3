"""StarRocks as the target."""

from __future__ import annotations

import dagster as dg

from cdc_assets import StarRocksTargetResource

target = StarRocksTargetResource(
    host=dg.EnvVar("CDC_TARGET_HOST"),
    query_port=dg.EnvVar.int("CDC_TARGET_PORT"),
    http_port=dg.EnvVar.int("CDC_TARGET_HTTP_PORT"),
    username=dg.EnvVar("CDC_TARGET_USER"),
    password=dg.EnvVar("CDC_TARGET_PASSWORD"),
    database=dg.EnvVar("CDC_TARGET_DATABASE"),
)
