"""KafkaRows: the rows that a compacted topic stands for, as PyMySQL returns them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, cast

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.types import INT_BITS, MySqlType
from cdc_assets.lab.shown_values import shown_float
from cdc_assets.targets.kafka import KafkaTarget
from cdc_assets.targets.kafka_keys import read_moment

Row = tuple[object, ...]
_READ_SECONDS = 120.0


class KafkaRows:
    """The content of topics: the latest record of each key that is not a tombstone.

    Args:
        target: Reads the topics.
        shapes: The source tables by topic, without the target's prefix.
    """

    def __init__(self, target: KafkaTarget, shapes: Mapping[str, TableShape]) -> None:
        self._target = target
        self._shapes = shapes

    def rows(self, table: str) -> dict[Row, Row]:
        """Return a topic's rows by key, both with the source's columns in their order."""
        shape = self._shapes[table]
        latest: dict[bytes, bytes] = {}
        for key, value in self._target.records(table, timeout_seconds=_READ_SECONDS):
            if value is None:
                latest.pop(key, None)
            else:
                latest[key] = value
        columns = [(column.name, reader_of(column)) for column in shape.columns]
        key_columns = [(name, reader) for wanted in shape.primary_key
                       for name, reader in columns if name == wanted]  # fmt: skip
        found: dict[Row, Row] = {}
        for key, value in latest.items():
            fields = _fields(value)
            row = tuple(_read(fields, name, reader) for name, reader in columns)
            found[tuple(_read(_fields(key), name, reader) for name, reader in key_columns)] = row
        return found


def reader_of(column: Column) -> Callable[[Any], object]:
    """Return what turns a column's JSON value into what PyMySQL returns for it.

    Example:
        >>> reader_of(Column("c", "datetime", "datetime(3)"))("2024-01-01 00:00:00.5")
        datetime.datetime(2024, 1, 1, 0, 0, 0, 500000)
    """
    kind = MySqlType.parse(column)
    if kind.base in INT_BITS:
        return int
    if kind.base == "bit":
        if (kind.size or 1) == 1:
            return lambda value: b"\x01" if value else b"\x00"
        return base64.b64decode
    if kind.base == "date":
        return date.fromisoformat
    if kind.base == "double" and kind.scale is not None:
        # DOUBLE(20, 5) is stored as it comes out of the rounding; the server shows 5 digits.
        digits = kind.scale
        return lambda value: round(float(value), digits)
    if kind.base == "float":
        return lambda value: shown_float(kind, value)
    return _READERS.get(kind.base, str)


_READERS: Mapping[str, Callable[[Any], object]] = {
    "decimal": lambda value: Decimal(str(value)),
    "double": float,
    "year": int,
    "datetime": read_moment,
    "timestamp": read_moment,
    **dict.fromkeys(
        ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), base64.b64decode
    ),
}


def _fields(text: bytes) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", json.loads(text, parse_float=Decimal))


def _read(fields: Mapping[str, Any], name: str, reader: Callable[[Any], object]) -> object:
    value = fields[name]
    return None if value is None else reader(value)
