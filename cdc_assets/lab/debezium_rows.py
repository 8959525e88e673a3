"""DebeziumRows: the rows that a topic of change events stands for, as PyMySQL returns them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.types import INT_BITS, MySqlType
from cdc_assets.lab.shown_values import shown_float
from cdc_assets.targets.kafka import KafkaTarget

Row = tuple[object, ...]
_READ_SECONDS = 120.0
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - PyMySQL returns naive values, in UTC
_MILLISECONDS = 3


class DebeziumRows:
    """The content of topics: `after` of the latest record of each key that is no tombstone.

    Args:
        target: Reads the topics.
        shapes: The source tables by topic, without the target's prefix.
        reads: Returns what turns a column's value into what PyMySQL returns for it; by default
            for the values of Debezium's own connectors.
    """

    def __init__(
        self,
        target: KafkaTarget,
        shapes: Mapping[str, TableShape],
        reads: Callable[[Column], Callable[[Any], object]] | None = None,
    ) -> None:
        self._target = target
        self._shapes = shapes
        self._reads = reader_of if reads is None else reads

    def rows(self, table: str) -> dict[Row, Row]:
        """Return a topic's rows by key, both with the source's columns in their order."""
        shape = self._shapes[table]
        latest: dict[bytes, Mapping[str, Any]] = {}
        for key, value in self._target.records(table, timeout_seconds=_READ_SECONDS):
            event = None if value is None else _fields(value)
            if event is None or event["op"] == "d":
                latest.pop(key, None)
            else:
                latest[key] = event["after"]
        readers = [(column.name, self._reads(column)) for column in shape.columns]
        places = [[column.name for column in shape.columns].index(n) for n in shape.primary_key]
        rows = [
            tuple(_read(after, name, reader) for name, reader in readers)
            for after in latest.values()
        ]
        return {tuple(row[place] for place in places): row for row in rows}


def reader_of(column: Column) -> Callable[[Any], object]:
    """Return what turns a column's value in an event into what PyMySQL returns for it.

    Example:
        >>> reader_of(Column("c", "datetime", "datetime(3)"))(1704067200500)
        datetime.datetime(2024, 1, 1, 0, 0, 0, 500000)
    """
    kind = MySqlType.parse(column)
    if kind.base in INT_BITS or kind.base == "year":
        return int
    if kind.base == "bit":
        size = kind.size or 1
        if size == 1:
            return lambda value: b"\x01" if value else b"\x00"
        # Debezium writes the lowest byte first.
        return lambda value: base64.b64decode(value)[::-1].rjust((size + 7) // 8, b"\0")
    if kind.base == "double" and kind.scale is not None:
        # DOUBLE(20, 5) is stored as it comes out of the rounding; the server shows 5 digits.
        digits = kind.scale
        return lambda value: round(float(value), digits)
    if kind.base == "float":
        return lambda value: shown_float(kind, value)
    if kind.base == "datetime":
        unit = "milliseconds" if (kind.size or 0) <= _MILLISECONDS else "microseconds"
        return lambda value: _EPOCH + timedelta(**{unit: value})
    return _READERS.get(kind.base, str)


def _moment(text: str) -> datetime:
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(whole) + timedelta(microseconds=int((fraction + "000000")[:6]))


_READERS: Mapping[str, Callable[[Any], object]] = {
    "decimal": Decimal,
    "double": float,
    "date": lambda value: date(1970, 1, 1) + timedelta(days=value),
    "time": lambda value: timedelta(microseconds=value),
    "timestamp": _moment,
    **dict.fromkeys(
        ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), base64.b64decode
    ),
}


def _read(fields: Mapping[str, Any], name: str, reader: Callable[[Any], object]) -> object:
    # A column that was added later is not in older events.
    value = fields.get(name)
    return None if value is None else reader(value)


def _fields(text: bytes) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", json.loads(text))
