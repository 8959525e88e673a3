"""Fakes of every port, for the project's own tests and for those of its users."""

from __future__ import annotations

from cdc_assets.testing.builders import BlueGreen
from cdc_assets.testing.clock import FrozenClock
from cdc_assets.testing.engine import FakeEngine
from cdc_assets.testing.faults import Faults, Killed, KillSwitch
from cdc_assets.testing.feed import FakeFeed
from cdc_assets.testing.ledger import FakeLedger
from cdc_assets.testing.source import FakeServer, FakeSource
from cdc_assets.testing.target import FakeTarget

__all__ = [
    "BlueGreen",
    "FakeEngine",
    "FakeFeed",
    "FakeLedger",
    "FakeServer",
    "FakeSource",
    "FakeTarget",
    "Faults",
    "FrozenClock",
    "KillSwitch",
    "Killed",
]
