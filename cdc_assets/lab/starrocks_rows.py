"""StarRocksRows: the content of a target table of the stand-in, as PyMySQL returns MySQL's."""

# ruff: noqa: S608 - the lab's own names

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from cdc_assets.lab.starrocks_server import DATABASE, execute
from cdc_assets.lab.state import Account


@dataclass(frozen=True)
class StarRocksRows:
    """Reads whole target tables.

    Attributes:
        port: MySQL port.
        account: Who reads.
        database: Holds the tables.
    """

    port: int
    account: Account
    database: str = DATABASE

    def rows(self, table: str, names: Sequence[str] = ()) -> dict[object, tuple[object, ...]]:
        """Return every row by its key's value, or by its values where there are several.

        StarRocks has the key's columns first, so a row of MySQL may have another order: name
        the columns in the order that is wanted.

        Values are those that PyMySQL returns for the same row of MySQL: a LARGEINT is an int,
        and BOOLEAN is what a BIT(1) was.
        """
        columns = execute(
            self.port,
            self.account,
            "SELECT COLUMN_NAME, COLUMN_TYPE, COLUMN_KEY FROM information_schema.columns"
            f" WHERE TABLE_SCHEMA = '{self.database}' AND TABLE_NAME = '{table}'"
            " ORDER BY ORDINAL_POSITION",
        )
        if names:
            columns = [next(each for each in columns if each[0] == name) for name in names]
        selected = ", ".join(f"`{name}`" for name, _, _ in columns)
        kinds = [str(kind) for _, kind, _ in columns]
        keys = [index for index, (_, _, key) in enumerate(columns) if key]
        found: dict[object, tuple[object, ...]] = {}
        for row in execute(
            self.port, self.account, f"SELECT {selected} FROM `{self.database}`.`{table}`"
        ):
            values = tuple(_plain(value, kind) for value, kind in zip(row, kinds, strict=True))
            key = tuple(values[index] for index in keys)
            found[key[0] if len(key) == 1 else key] = values
        return found


def _plain(value: object, kind: str) -> object:
    if value is None:
        return None
    if kind == "bigint(20) unsigned" and isinstance(value, Decimal):
        return int(value)
    if kind == "tinyint(1)":
        return b"\x01" if value else b"\x00"
    return value
