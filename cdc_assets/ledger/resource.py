"""LedgerResource: which database holds the ledger."""

from __future__ import annotations

import dagster as dg
from pydantic import Field

from cdc_assets.ledger.client import SqlLedger


class LedgerResource(dg.ConfigurableResource[SqlLedger]):
    """The append-only ledger of positions, incarnations and recoveries.

    Example:
        >>> LedgerResource(url=dg.EnvVar("CDC_LEDGER_URL"))
        LedgerResource(timeout_seconds=15.0)
    """

    url: str = Field(
        description=(
            "Database URL: `sqlite:////path/ledger.db`, `postgresql://...` or `mysql://...`. "
            "It may hold a password, so give it as EnvVar."
        ),
        repr=False,
    )
    timeout_seconds: float = Field(
        default=15.0, gt=0, description="For connecting, for a lock and for each statement."
    )

    def get_client(self) -> SqlLedger:
        """Return the ledger; nothing is opened before its first use."""
        return SqlLedger(self.url, timeout_seconds=self.timeout_seconds)
