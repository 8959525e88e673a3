"""Values of the StarRocks stand-in: column types, and what a load may bring for them. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation, localcontext

MAX_VARCHAR = 1_048_576
# Type STRING is VARCHAR of this length.
STRING_LENGTH = 65_533
_BITS = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "BIGINT": 64, "LARGEINT": 128}
_WHOLE = re.compile(r"[+-]?[0-9]{1,60}")
_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_MOMENT = re.compile(
    r"(\d{4}-\d{1,2}-\d{1,2})(?:[T ](\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,9}))?)?)?"
)
_TYPE = re.compile(r"([A-Z]+)(?:\((\d+)(?:,\s*(\d+))?\))?")
_DUCK = {"LARGEINT": "HUGEINT", "INT": "INTEGER", "DATETIME": "TIMESTAMP", "CHAR": "VARCHAR",
         "JSON": "VARCHAR", "FLOAT": "REAL"}  # fmt: skip


class Misfit(ValueError):
    """A value that its column does not take; the row is filtered."""


@dataclass(frozen=True)
class StoredColumn:
    """A column of a table of the stand-in.

    Attributes:
        name: As it was created.
        kind: StarRocks' type, upper case, without its size.
        size: Length in bytes, or digits.
        scale: Digits after the point.
        nullable: Whether it takes NULL.
        is_key: Whether it is part of the table's key.
    """

    name: str
    kind: str
    size: int = 0
    scale: int = 0
    nullable: bool = True
    is_key: bool = False

    @property
    def duck_type(self) -> str:
        """Return the type in DuckDB."""
        if self.kind == "DECIMAL":
            return f"DECIMAL({self.size}, {self.scale})"
        return _DUCK.get(self.kind, self.kind)

    @property
    def data_type(self) -> str:
        """Return DATA_TYPE of `information_schema` (ScalarType.toMysqlDataTypeString)."""
        return {"BOOLEAN": "tinyint", "LARGEINT": "bigint unsigned"}.get(
            self.kind, self.kind.lower()
        )

    @property
    def column_type(self) -> str:
        """Return COLUMN_TYPE of `information_schema` (ScalarType.toMysqlColumnTypeString)."""
        widths = {"BOOLEAN": "tinyint(1)", "LARGEINT": "bigint(20) unsigned",
                  "TINYINT": "tinyint(4)", "SMALLINT": "smallint(6)", "INT": "int(11)",
                  "BIGINT": "bigint(20)"}  # fmt: skip
        if self.kind == "DECIMAL":
            return f"decimal({self.size}, {self.scale})"
        if self.kind in {"VARCHAR", "CHAR"}:
            return f"{self.kind.lower()}({self.size})"
        return widths.get(self.kind, self.kind.lower())

    def stored(self, value: object) -> str | None:
        """Return a value as the text that DuckDB casts to the column's type.

        Raises:
            Misfit: The column does not take it.
        """
        if value is None:
            if not self.nullable:
                raise Misfit("NULL value in non-nullable column")
            return None
        return _STORED[self.kind](self, value)


def parse_type(text: str) -> tuple[str, int, int]:
    """Return kind, size and scale of a type.

    Raises:
        ValueError: The stand-in has no such type.
    """
    match = _TYPE.fullmatch(text.strip().upper())
    kind = match[1] if match else ""
    size, scale = (int(match[2] or 0), int(match[3] or 0)) if match else (0, 0)
    kind = {"STRING": "VARCHAR", "INTEGER": "INT", "BOOL": "BOOLEAN"}.get(kind, kind)
    if kind == "VARCHAR":
        size = size or STRING_LENGTH
        if size > MAX_VARCHAR:
            message = f"Varchar size must be <= {MAX_VARCHAR}: {size}"
            raise ValueError(message)
    if kind == "DECIMAL":
        size = size or 10
        if size > 38 or scale > size:  # noqa: PLR2004 - DECIMAL128
            message = f"DECIMAL's precision should range from 1 to 38: {text}"
            raise ValueError(message)
    if kind not in _STORED:
        message = f"the stand-in has no type {text}"
        raise ValueError(message)
    return kind, size, scale


def _integer(column: StoredColumn, value: object) -> str:
    text = str(int(value)) if isinstance(value, bool) else str(value).strip()
    if isinstance(value, Decimal) and value == int(value):
        text = str(int(value))
    if not _WHOLE.fullmatch(text):
        raise Misfit(f"Value '{_shown(value)}' is not of type {column.kind}")
    number = int(text)
    bits = _BITS[column.kind]
    if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
        raise Misfit(f"Value '{number}' is out of range. The type of '{column.name}' is "
                     f"{column.kind}")  # fmt: skip
    return str(number)


def _boolean(column: StoredColumn, value: object) -> str:
    text = str(value).strip().lower()
    if text in {"1", "true"}:
        return "true"
    if text in {"0", "false"}:
        return "false"
    raise Misfit(f"Value '{_shown(value)}' of '{column.name}' is not BOOLEAN")


def _decimal(column: StoredColumn, value: object) -> str:
    try:
        with localcontext() as context:
            context.prec = 80
            number = Decimal(str(value).strip()).quantize(Decimal(1).scaleb(-column.scale))
            # Here, because abs() rounds to the digits of its context.
            fits = number.is_finite() and abs(number) < 10 ** (column.size - column.scale)
    except (InvalidOperation, ValueError):
        raise Misfit(f"Value '{_shown(value)}' is not DECIMAL") from None
    if not fits:
        raise Misfit(f"Decimal '{_shown(value)}' is out of range. The type of '{column.name}' is "
                     f"DECIMAL({column.size},{column.scale})")  # fmt: skip
    return f"{number:f}"


def _double(column: StoredColumn, value: object) -> str:
    try:
        number = float(str(value))
    except ValueError:
        raise Misfit(f"Value '{_shown(value)}' of '{column.name}' is not {column.kind}") from None
    if not math.isfinite(number):
        raise Misfit(f"Value '{_shown(value)}' of '{column.name}' is out of range")
    return repr(number)


def _date(column: StoredColumn, value: object) -> str:
    return _moment(column, value)[:10]


def _moment(column: StoredColumn, value: object) -> str:
    text = str(value).strip()
    match = _MOMENT.fullmatch(text)
    parts = _DATE.fullmatch(match[1]) if match else None
    if match is None or parts is None:
        raise Misfit(f"Invalid date value '{_shown(value)}' of '{column.name}'")
    hour, minute, second = (int(match[n] or 0) for n in (2, 3, 4))
    micro = int((match[5] or "").ljust(6, "0")[:6])
    try:
        day = date(int(parts[1]), int(parts[2]), int(parts[3]))
        datetime(day.year, day.month, day.day, hour, minute, second, micro)  # noqa: DTZ001 - a check
    except ValueError:
        raise Misfit(f"Invalid date value '{_shown(value)}' of '{column.name}'") from None
    return f"{day.isoformat()} {hour:02}:{minute:02}:{second:02}.{micro:06}"


def _characters(column: StoredColumn, value: object) -> str:
    if isinstance(value, (dict, list)):
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    elif isinstance(value, bool):
        text = "true" if value else "false"
    else:
        text = str(value)
    length = len(text.encode("utf-8", "surrogatepass"))
    if length > (column.size or 1):
        raise Misfit(f"String (length={length}) is too long. The max length of '{column.name}' is "
                     f"{column.size}")  # fmt: skip
    return text


def _json(column: StoredColumn, value: object) -> str:
    del column
    return json.dumps(value, ensure_ascii=False, default=str)


def _shown(value: object) -> str:
    return str(value)[:40]


_STORED: dict[str, Callable[[StoredColumn, object], str]] = {
    **dict.fromkeys(_BITS, _integer),
    "BOOLEAN": _boolean,
    "DECIMAL": _decimal,
    "DOUBLE": _double,
    "FLOAT": _double,
    "DATE": _date,
    "DATETIME": _moment,
    "VARCHAR": _characters,
    "CHAR": _characters,
    "JSON": _json,
}
