"""A feed over an account in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from cdc_assets.ledger.client import SqlLedger
from cdc_assets.rds.api import rds_client_factory
from cdc_assets.rds.client import RdsFeed
from cdc_assets.testing import FakeLedger, FrozenClock
from tests.adapters.rds.aws import Aws, Story

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_rds import RDSClient


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def aws(clock: FrozenClock) -> Aws:
    return Aws(clock)


@pytest.fixture(params=["fake", "sqlite"])
def ledger(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FrozenClock
) -> FakeLedger | SqlLedger:
    if request.param == "fake":
        return FakeLedger(now=clock.now)
    return SqlLedger(str(tmp_path / "ledger.db"), now=clock.now)


@pytest.fixture
def factory(aws: Aws) -> Iterator[Callable[[], RDSClient]]:
    make = rds_client_factory(
        region="eu-central-1",
        endpoint_url="http://127.0.0.1:9",
        access_key="AKIDEXAMPLE",
        secret_key="s3cret",
    )
    hooks = make().meta.events
    hooks.register("before-send.rds", aws.send)
    yield make
    hooks.unregister("before-send.rds", aws.send)


@pytest.fixture
def feed(
    factory: Callable[[], RDSClient], ledger: FakeLedger | SqlLedger, clock: FrozenClock
) -> RdsFeed:
    return RdsFeed(factory, ledger, name="shop", clock=clock)


@pytest.fixture
def story(aws: Aws) -> Story:
    return Story(aws)
