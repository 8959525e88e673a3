"""Fixtures of the surface's tests."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest
import sqlalchemy as sa

from cdc_assets.testing import BlueGreen
from tests.surface.stage import Stage

# What Dagster writes when it makes its tables; a new instance has these rows.
OF_THE_SCHEMA = {"alembic_version", "instance_info", "secondary_indexes"}


@pytest.fixture(scope="session")
def one_instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def instance(one_instance: dg.DagsterInstance) -> Iterator[dg.DagsterInstance]:
    """Return an instance with nothing on record.

    It is emptied, not made anew: to make one, Dagster loads each of its migrations.
    """
    yield one_instance
    with one_instance.run_storage.connect() as runs:
        forget_everything(runs)
    with one_instance.event_log_storage.index_connection() as events:
        forget_everything(events)


def forget_everything(connection: sa.Connection) -> None:
    """Empty every table, also those that `DagsterInstance.wipe` leaves alone."""
    connection.exec_driver_sql("PRAGMA foreign_keys = OFF")  # the tables come in any order
    for table in sorted(set(sa.inspect(connection).get_table_names()) - OF_THE_SCHEMA):
        connection.exec_driver_sql(f'DELETE FROM "{table}"')  # noqa: S608 - names from the schema


@pytest.fixture
def lab() -> BlueGreen:
    return BlueGreen()


@pytest.fixture
def stage(lab: BlueGreen, instance: dg.DagsterInstance) -> Stage:
    return Stage(lab, instance)
