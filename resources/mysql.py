"""Which MySQL endpoint is the source, and with which account each stream reads it."""

from __future__ import annotations

import dagster as dg

from cdc_assets import MySqlResource

# One account for each stream: a server tells binlog readers apart by account only, and the
# health sensor counts them.
source = MySqlResource(
    host=dg.EnvVar("CDC_SOURCE_HOST"),
    port=dg.EnvVar.int("CDC_SOURCE_PORT"),
    username=dg.EnvVar("CDC_SOURCE_USER"),
    password=dg.EnvVar("CDC_SOURCE_PASSWORD"),
)
source_of_stats = MySqlResource(
    host=dg.EnvVar("CDC_SOURCE_HOST"),
    port=dg.EnvVar.int("CDC_SOURCE_PORT"),
    username=dg.EnvVar("CDC_STATS_USER"),
    password=dg.EnvVar("CDC_STATS_PASSWORD"),
)
