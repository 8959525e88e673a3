"""Iceberg as the target."""

from __future__ import annotations

import dagster as dg

from cdc_assets import IcebergTargetResource

target = IcebergTargetResource(
    uri=dg.EnvVar("CDC_TARGET_URI"), database=dg.EnvVar("CDC_TARGET_DATABASE")
)
