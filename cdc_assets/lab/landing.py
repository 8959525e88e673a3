"""Landing: the demonstration's target tables, made and read from outside the stream.

Each kind of target has one. What it reads are Python values as PyMySQL returns them for the
same row at the source, so that the two sides compare with `==`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Protocol

from cdc_assets.lab.repeated_writes import repeated_writes
from cdc_assets.lab.workload import ORDERS, ORDERS_BY_PRODUCT, TARGET_TABLE, Login

COPIED_TARGETS = ("target_table", "orders")

Rows = Mapping[object, tuple[object, ...]]


class Landing(Protocol):
    """The demonstration's target."""

    @property
    def title(self) -> str:
        """Return what it is, for a person."""
        ...

    def create_tables(self) -> None:
        """Make the target tables."""
        ...

    def rows(self, table: str) -> Rows:
        """Return a whole table: each row, key included, by its key (the first column)."""
        ...

    def has_order_from(self, number: int) -> bool:
        """Return whether an order with this key or a larger one is visible."""
        ...

    def repeated_writes(self) -> tuple[int, int] | None:
        """Return (row writes received, how many of them came again), None if nothing tells."""
        ...


class MySqlLanding:
    """The lab's MySQL target.

    Args:
        login: Reads and makes tables.
        admin: May read the binlog.
    """

    title = "MySQL 5.6"

    def __init__(self, login: Login, admin: Login) -> None:
        self._login = login
        self._admin = admin

    def create_tables(self) -> None:
        """Make the target tables."""
        with closing(self._login.connect(timeout_seconds=30)) as connection:
            for statement in (TARGET_TABLE, ORDERS, ORDERS_BY_PRODUCT):
                with connection.cursor() as cursor:
                    cursor.execute(statement)

    def rows(self, table: str) -> Rows:
        """Return a whole table by its first column."""
        return rows_of(self._login, f"SELECT * FROM `{table}`")  # noqa: S608 - the lab's own names

    def has_order_from(self, number: int) -> bool:
        """Return whether an order with this key or a larger one is visible."""
        with closing(self._login.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM orders WHERE id >= %s LIMIT 1", (number,))
            return cursor.fetchone() is not None

    def repeated_writes(self) -> tuple[int, int]:
        """Count row writes by the target's binlog."""
        return repeated_writes(self._admin, tables=COPIED_TARGETS)


def rows_of(login: Login, query: str) -> dict[object, tuple[object, ...]]:
    """Return the rows of a query at a MySQL server by their first column."""
    with closing(login.connect(timeout_seconds=60)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return {row[0]: tuple(row) for row in cursor.fetchall()}
