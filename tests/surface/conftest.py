"""Fixtures of the surface's tests."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from cdc_assets.testing import BlueGreen
from tests.surface.stage import Stage


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def lab() -> BlueGreen:
    return BlueGreen()


@pytest.fixture
def stage(lab: BlueGreen, instance: dg.DagsterInstance) -> Stage:
    return Stage(lab, instance)
