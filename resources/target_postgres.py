"""PostgreSQL as the target."""

from __future__ import annotations

import dagster as dg

from cdc_assets import PostgresTargetResource

target = PostgresTargetResource(
    host=dg.EnvVar("CDC_TARGET_HOST"),
    port=dg.EnvVar.int("CDC_TARGET_PORT"),
    username=dg.EnvVar("CDC_TARGET_USER"),
    password=dg.EnvVar("CDC_TARGET_PASSWORD"),
    database=dg.EnvVar("CDC_TARGET_DATABASE"),
)
