"""RdsResource: which RDS instance or cluster stands behind the source's endpoint."""

from __future__ import annotations

import dagster as dg
from pydantic import Field

from cdc_assets.ports import Clock, Ledger
from cdc_assets.rds.api import rds_client_factory
from cdc_assets.rds.client import RdsFeed


class RdsResource(dg.ConfigurableResource[RdsFeed]):
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
    connect_timeout_seconds: float = Field(
        default=2.0, gt=0, description="How long a connection may take."
    )
    read_timeout_seconds: float = Field(
        default=5.0, gt=0, description="How long one answer may take."
    )

    def get_client(self, *, ledger: Ledger, clock: Clock) -> RdsFeed:
        """Return the feed; nothing is opened before its first use.

        Args:
            ledger: Where events are kept: RDS forgets them.
            clock: The time.
        """
        factory = rds_client_factory(
            region=self.region,
            endpoint_url=self.endpoint_url,
            connect_timeout_seconds=self.connect_timeout_seconds,
            read_timeout_seconds=self.read_timeout_seconds,
        )
        return RdsFeed(factory, ledger, name=self.instance, clock=clock)
