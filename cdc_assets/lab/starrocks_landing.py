"""StarRocksLanding: the demonstration's tables on the StarRocks stand-in."""

# ruff: noqa: S608 - the lab's own names

from __future__ import annotations

from collections.abc import Sequence

from cdc_assets.lab.landing import COPIED_TARGETS, Rows
from cdc_assets.lab.starrocks_rows import StarRocksRows
from cdc_assets.lab.starrocks_server import DATABASE, execute
from cdc_assets.lab.state import Account

_TABLES = {
    "target_table": "id INT NOT NULL, customer_name VARCHAR(400) NULL, ctime DATETIME NULL",
    "orders": "id BIGINT NOT NULL, product VARCHAR(160) NOT NULL, quantity INT NOT NULL, "
    "note VARCHAR(320) NULL, price DECIMAL(10, 2) NULL, changed_at DATETIME NULL",
    "orders_by_product": "product VARCHAR(160) NOT NULL, order_count BIGINT NOT NULL, "
    "quantity INT NOT NULL",
}


class StarRocksLanding:
    """The lab's StarRocks stand-in.

    Args:
        port: MySQL port.
        account: Makes and reads tables.
    """

    title = "StarRocks (a stand-in)"
    # The reference deployment loads it in transactions.
    exactly_once = ("orders_by_product",)

    def __init__(self, port: int, account: Account) -> None:
        self._port = port
        self._account = account
        self._rows = StarRocksRows(port, account)

    def create_tables(self) -> None:
        """Make the target tables, each with its first column as the key."""
        for name, columns in _TABLES.items():
            key = columns.partition(" ")[0]
            execute(
                self._port,
                self._account,
                f"CREATE TABLE `{DATABASE}`.`{name}` ({columns}) ENGINE=olap PRIMARY KEY (`{key}`)"
                f' DISTRIBUTED BY HASH (`{key}`) PROPERTIES ("replication_num" = "1")',
            )

    def rows(self, table: str) -> Rows:
        """Return a whole table by its key."""
        return self._rows.rows(table)

    def has_order_from(self, number: int) -> bool:
        """Return whether an order with this key or a larger one is visible."""
        query = f"SELECT 1 FROM `{DATABASE}`.orders WHERE id >= {int(number)} LIMIT 1"
        return bool(execute(self._port, self._account, query))

    def repeated_writes(self, tables: Sequence[str] = COPIED_TARGETS) -> tuple[int, int]:
        """Count the rows of all loads; only the stand-in remembers them.

        Of several rows of one key in one load the last counts, in StarRocks as here.
        """
        names = ", ".join(f"'{name}'" for name in tables)
        rows = execute(
            self._port,
            self._account,
            "SELECT RECEIVED, AGAIN FROM information_schema.stand_in_received"
            f" WHERE TABLE_SCHEMA = '{DATABASE}' AND TABLE_NAME IN ({names})",
        )
        counts = [(int(str(received)), int(str(again))) for received, again in rows]
        return sum(count for count, _ in counts), sum(again for _, again in counts)
