"""Which database remembers positions and recoveries."""

from __future__ import annotations

import dagster as dg

from cdc_assets import LedgerResource

ledger = LedgerResource(url=dg.EnvVar("CDC_LEDGER_URL"))
