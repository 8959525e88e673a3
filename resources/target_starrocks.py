"""StarRocks as the target."""

from __future__ import annotations

from typing import Literal

import dagster as dg

from cdc_assets import StarRocksTargetResource


def _target(delivery: Literal["at-least-once", "exactly-once"]) -> StarRocksTargetResource:
    return StarRocksTargetResource(
        host=dg.EnvVar("CDC_TARGET_HOST"),
        query_port=dg.EnvVar.int("CDC_TARGET_PORT"),
        http_port=dg.EnvVar.int("CDC_TARGET_HTTP_PORT"),
        username=dg.EnvVar("CDC_TARGET_USER"),
        password=dg.EnvVar("CDC_TARGET_PASSWORD"),
        database=dg.EnvVar("CDC_TARGET_DATABASE"),
        delivery=delivery,
    )


target = _target("at-least-once")
# A stream that aggregates always goes on from Flink's state, so its transactions can be kept.
target_of_stats = _target("exactly-once")
