"""RdsResource: which RDS instance or cluster stands behind the source's endpoint."""

from __future__ import annotations

from typing import Any

import dagster as dg
from pydantic import Field


class RdsResource(dg.ConfigurableResource[Any]):
    """RDS events and blue/green deployments of the source.

    Access comes from the usual AWS chain: environment, profile, or the machine's role.

    Example:
        >>> RdsResource(instance="shop-db", region="eu-central-1").endpoint_url is None
        True
    """

    instance: str = Field(description="Name of the RDS instance or Aurora cluster.")
    region: str = Field(description="AWS region, for example `eu-central-1`.")
    endpoint_url: str | None = Field(
        default=None, description="Another address of the RDS API, for a VPC endpoint or the lab."
    )
    timeout_seconds: float = Field(default=5.0, gt=0, description="Deadline of one request.")
