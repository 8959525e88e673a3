"""Workload: the source's tables, a steady writer through the endpoint, a watcher at the target."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field

import pymysql
from pymysql.cursors import Cursor

from cdc_assets.errors import LabError

PRODUCTS = ("anvil", "bolt", "crate", "drill", "easel")
_DUPLICATE = 1062
_RETRY_SECONDS = 0.05


@dataclass(frozen=True)
class Login:
    """Where to log in, and as whom."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str

    def connect(self, *, timeout_seconds: float = 5.0) -> pymysql.Connection[Cursor]:
        """Connect, in autocommit, with UTC as the session's time zone."""
        return pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            database=self.database,
            autocommit=True,
            connect_timeout=int(timeout_seconds),
            read_timeout=int(timeout_seconds),
            write_timeout=int(timeout_seconds),
            charset="utf8mb4",
            ssl_disabled=True,  # loopback; a TLS context costs 20 ms each time
            init_command="SET time_zone = '+00:00'",
        )


_SEED_ROWS = 10

ORDERS = (
    "CREATE TABLE orders (id BIGINT PRIMARY KEY, product VARCHAR(40) NOT NULL, "
    "quantity INT NOT NULL, note VARCHAR(80), price DECIMAL(10,2), changed_at DATETIME(6))"
)
ORDERS_BY_PRODUCT = (
    "CREATE TABLE orders_by_product (product VARCHAR(40) PRIMARY KEY, "
    "order_count BIGINT NOT NULL, quantity INT NOT NULL)"
)
TARGET_TABLE = (
    "CREATE TABLE target_table (id INT PRIMARY KEY, customer_name VARCHAR(100), ctime DATETIME)"
)
_SOURCE_TABLES = (TARGET_TABLE.replace("target_table", "source_table"), ORDERS)


def seed(source: Login, *, orders: int) -> None:
    """Create the source's tables and put the first rows into them."""
    with closing(source.connect(timeout_seconds=30)) as connection, connection.cursor() as cursor:
        for statement in _SOURCE_TABLES:
            cursor.execute(statement)
        cursor.executemany(
            "INSERT INTO source_table VALUES (%s, %s, UTC_TIMESTAMP())",
            [(number, f"customer {number}") for number in range(1, _SEED_ROWS + 1)],
        )
        chooser = random.Random(7)  # noqa: S311 - sample rows, not a secret
        rows = [
            (number, chooser.choice(PRODUCTS), chooser.randint(1, 9), "seed", number % 997)
            for number in range(1, orders + 1)
        ]
        for first in range(0, len(rows), 1000):
            cursor.executemany(
                "INSERT INTO orders VALUES (%s, %s, %s, %s, %s, UTC_TIMESTAMP(6))",
                rows[first : first + 1000],
            )


def add_customer(source: Login, number: int) -> None:
    """Insert one row into the seed's table."""
    execute(
        source,
        "INSERT INTO source_table VALUES (%s, %s, UTC_TIMESTAMP())",
        (number, f"customer {number}"),
    )


def execute(login: Login, statement: str, values: tuple[object, ...] = ()) -> int:
    """Run one statement on a connection of its own and return the rows it touched."""
    with closing(login.connect()) as connection, connection.cursor() as cursor:
        return cursor.execute(statement, values)


class Writer(threading.Thread):
    """Writes rows at a steady rate through the endpoint, whatever happens behind it.

    Every write is distinct, so a statement that the target receives twice can be counted.
    A write whose commit was cut off is done again; a duplicate key then says that it was
    there already.

    Args:
        login: The production endpoint.
        first_id: First free key of `orders`.
        rows_per_second: Aim.
    """

    def __init__(self, login: Login, *, first_id: int, rows_per_second: float = 100.0) -> None:
        super().__init__(name="lab-writer", daemon=True)
        self._login = login
        self._next = first_id
        self._low = max(1, first_id - 500)
        self._pause = 1.0 / rows_per_second
        self._halt = threading.Event()
        self._chooser = random.Random(11)  # noqa: S311 - sample rows, not a secret
        self._lock = threading.Lock()
        self.written = 0
        self.refused = 0
        self.first_on_server: dict[int, tuple[int, float]] = {}

    @property
    def next_id(self) -> int:
        """Return the first free key of `orders`."""
        return self._next

    def stop(self) -> None:
        """End after the write under way, and wait for it."""
        self._halt.set()
        self.join(timeout=30)

    def run(self) -> None:
        """Write until stopped."""
        while not self._halt.is_set():
            with suppress(pymysql.MySQLError, OSError):
                self._write_on_one_connection()
            self.refused += 1
            self._halt.wait(_RETRY_SECONDS)

    def first_row_on(self, server_id: int) -> tuple[int, float] | None:
        """Return key and time (monotonic) of the first order committed on a server."""
        with self._lock:
            return self.first_on_server.get(server_id)

    def _write_on_one_connection(self) -> None:
        connected = closing(self._login.connect(timeout_seconds=3))
        with connected as connection, connection.cursor() as cursor:
            cursor.execute("SELECT @@server_id")
            row = cursor.fetchone()
            server_id = int(row[0]) if row else 0
            due = time.monotonic()
            while not self._halt.is_set():
                self._one(cursor, server_id)
                due += self._pause
                # A break is not made up for: the aim is a steady rate, not a burst.
                due = max(due, time.monotonic() - self._pause)
                self._halt.wait(max(0.0, due - time.monotonic()))

    def _one(self, cursor: Cursor, server_id: int) -> None:
        number = self._next
        try:
            cursor.execute(
                "INSERT INTO orders VALUES (%s, %s, %s, %s, %s, UTC_TIMESTAMP(6))",
                (number, self._chooser.choice(PRODUCTS), self._chooser.randint(1, 9),
                 f"new {number}", number % 997),
            )  # fmt: skip
        except pymysql.IntegrityError as error:
            if error.args[0] != _DUPLICATE:
                raise
        with self._lock:
            self.first_on_server.setdefault(server_id, (number, time.monotonic()))
        self._next = number + 1
        self.written += 1
        if number % 5 == 0:
            older = self._chooser.randint(self._low, number)
            cursor.execute(
                "UPDATE orders SET note = %s, quantity = quantity + 1, "
                "changed_at = UTC_TIMESTAMP(6) WHERE id = %s",
                (f"changed with {number}", older),
            )
            self.written += cursor.rowcount
        if number % 20 == 0:
            older = self._chooser.randint(self._low, number)
            cursor.execute("DELETE FROM orders WHERE id = %s", (older,))
            self.written += cursor.rowcount


def wait_for_order(
    is_visible: Callable[[int], bool], find: Callable[[], int | None], *, budget_seconds: float
) -> float:
    """Wait until an order is visible at the target and return the time, monotonic seconds.

    Args:
        is_visible: Says whether the target shows this order or a later one.
        find: Returns the key to look for, None while it is not known.
        budget_seconds: How long to wait.

    Raises:
        LabError: It did not appear.
    """
    deadline = time.monotonic() + budget_seconds
    while time.monotonic() < deadline:
        number = find()
        if number is not None and is_visible(number):
            return time.monotonic()
        time.sleep(_RETRY_SECONDS)
    raise LabError(
        f"no row of the new server was seen at the target within {budget_seconds:.0f} s",
        hint="See 'cdc-assets positions' and the Dagster UI",
    )
