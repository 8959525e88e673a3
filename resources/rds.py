"""Which RDS instance stands behind the source's endpoint."""

from __future__ import annotations

import dagster as dg

from cdc_assets import RdsResource

rds = RdsResource(
    instance=dg.EnvVar("CDC_RDS_INSTANCE"),
    region=dg.EnvVar("AWS_REGION"),
    endpoint_url=dg.EnvVar("CDC_RDS_ENDPOINT_URL"),  # unset outside the lab
)
