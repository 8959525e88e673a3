"""The ledgers that the contract suite runs on."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from cdc_assets.ledger.client import SqlLedger
from cdc_assets.ports import Ledger
from cdc_assets.testing import FakeLedger, FrozenClock

# An account that may create databases, on a MySQL or MariaDB of the embedded lab.
MYSQL_URL = "CDC_ASSETS_TEST_MYSQL_URL"

Reopen = Callable[[], Ledger]


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def mysql_url() -> Iterator[str]:
    """Make an empty database on the server of the environment, and drop it."""
    if MYSQL_URL not in os.environ:
        pytest.fail(f"set {MYSQL_URL} to a mysql:// URL whose account may create databases")
    url = sa.make_url(os.environ[MYSQL_URL]).set(drivername="mysql+pymysql")
    name = f"ledger_{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(url.set(database=""), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        yield url.set(drivername="mysql", database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name}"))
        admin.dispose()


@pytest.fixture(
    params=["fake", "sqlite", pytest.param("mysql", marks=pytest.mark.integration)],
)
def ledgers(request: pytest.FixtureRequest, tmp_path: Path, clock: FrozenClock) -> Iterator[Reopen]:
    """Give a function that opens one and the same ledger, each time as another process would."""
    if request.param == "fake":
        fake = FakeLedger(now=clock.now)
        yield lambda: fake
        return
    url = (
        f"sqlite:///{tmp_path}/state/ledger.db"
        if request.param == "sqlite"
        else str(request.getfixturevalue("mysql_url"))
    )
    opened: list[SqlLedger] = []

    def reopen() -> Ledger:
        opened.append(SqlLedger(url, now=clock.now))
        return opened[-1]

    yield reopen
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(ledgers: Reopen) -> Ledger:
    return ledgers()
