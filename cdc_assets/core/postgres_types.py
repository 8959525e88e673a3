"""PostgreSQL types: what a MySQL column becomes, and which column can hold it. Pure.

A PostgreSQL column is described by `pg_type.typname` (`int8`, `varchar`, `timestamptz`) and by
`format_type` (`character varying(20)`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cdc_assets.core.columns import Column
from cdc_assets.core.postgres_names import folded, quote_name
from cdc_assets.core.types import BLOB_BYTES, INT_BITS, TEXT_BYTES, MySqlType

_NUMBERS = re.compile(r"\((\d+)(?:,(-?\d+))?\)")
_PG_INT_BITS = {"int2": 16, "int4": 32, "int8": 64}
_TEXTS = frozenset({"text", "varchar"})
_MICROSECONDS = 6
_FLINK_DIGITS = 38
_DECIMAL_DIGITS = 10
_YEAR_DIGITS = 4
_QUERY_TYPES = {
    "bool": "BOOLEAN", "int2": "SMALLINT", "int4": "INT", "int8": "BIGINT", "float4": "FLOAT",
    "float8": "DOUBLE", "bytea": "BYTES", "date": "DATE",
}  # fmt: skip


@dataclass(frozen=True)
class PostgresType:
    """A PostgreSQL column type, taken apart.

    Attributes:
        base: Its `typname`.
        size: Digits, characters or fractional digits; None without a limit.
        scale: Digits after the point of a `numeric`.
    """

    base: str
    size: int | None = None
    scale: int = 0

    @classmethod
    def parse(cls, column: Column) -> PostgresType:
        """Read a column's full type.

        Example:
            >>> PostgresType.parse(Column("c", "numeric", "numeric(20,8)")).scale
            8
        """
        match = _NUMBERS.search(column.column_type)
        if match is None:
            return cls(column.data_type)
        return cls(column.data_type, int(match[1]), int(match[2] or 0))


def target_type(column: Column) -> str:
    """Return the PostgreSQL type that holds every value of a source column."""
    kind = MySqlType.parse(column)
    if kind.base in INT_BITS:
        return _integer(kind)
    if kind.base == "decimal":
        return f"numeric({_digits(kind)},{kind.scale or 0})"
    if kind.base == "bit":
        return "boolean" if (kind.size or 1) == 1 else "bytea"
    if kind.base in {"char", "varchar"}:
        return f"varchar({1 if kind.size is None else kind.size})" if kind.size != 0 else "text"
    if kind.base in {"binary", "varbinary", *BLOB_BYTES}:
        return "bytea"
    plain = {"float": "real", "double": "double precision", "date": "date",
             "year": "smallint",
             "datetime": f"timestamp({kind.size or 0})",
             "timestamp": f"timestamptz({kind.size or 0})"}  # fmt: skip
    return plain.get(kind.base, "text")


def target_column(column: Column) -> str:
    """Return the column definition that holds every value of a source column."""
    null = "" if column.nullable else " NOT NULL"
    return f"{quote_name(folded(column.name))} {target_type(column)}{null}"


def misfit(source: Column, target: Column) -> str:
    """Return why a PostgreSQL column cannot hold a source column, empty when it can.

    Example:
        >>> misfit(Column("n", "bigint", "bigint(20)"), Column("n", "int4", "integer"))
        'integer is narrower than bigint(20)'
    """
    if target.generated:
        return "the server computes it, so a stream cannot write it"
    left, right = MySqlType.parse(source), PostgresType.parse(target)
    bases = _bases(left)
    if right.base not in bases:
        return f"{target.column_type} is not {target_type(source)}"
    if not _is_wide_enough(left, right):
        return f"{target.column_type} is narrower than {source.column_type}"
    if source.nullable and not target.nullable:
        return "it is NOT NULL, the source column is not"
    return ""


def query_type(column: Column) -> str:
    """Return the Flink type of a PostgreSQL column that a query fills.

    What Flink has no type for is written as text, which PostgreSQL reads by the column's type.
    """
    kind = PostgresType.parse(column)
    if kind.base == "numeric":
        is_exact = kind.size is not None and 0 <= kind.scale <= kind.size <= _FLINK_DIGITS
        return f"DECIMAL({kind.size}, {kind.scale})" if is_exact else "STRING"
    if kind.base in {"timestamp", "timestamptz"}:
        # The dialect knows TIMESTAMP(1) to (6), and no type with a zone.
        return f"TIMESTAMP({max(1, _fraction(kind))})"
    return _QUERY_TYPES.get(kind.base, "STRING")


def _integer(kind: MySqlType) -> str:
    bits = INT_BITS[kind.base] + (1 if kind.unsigned else 0)
    for size, name in ((16, "smallint"), (32, "integer"), (64, "bigint")):
        if bits <= size:
            return name
    return "numeric(20,0)"


def _bases(kind: MySqlType) -> frozenset[str]:
    """Return the types that can hold this kind of value at all."""
    if kind.base in INT_BITS:
        return frozenset({*_PG_INT_BITS, "numeric"})
    if kind.base == "timestamp":  # written as UTC
        return frozenset({"timestamptz", "timestamp"})
    if kind.base in {"char", "varchar", "enum", "set", *TEXT_BYTES}:
        return _TEXTS
    if kind.base == "float":
        return frozenset({"float4", "float8"})
    if kind.base == "year":
        return frozenset({*_PG_INT_BITS, "numeric"})
    bytes_or_bit = "bool" if kind.base == "bit" and (kind.size or 1) == 1 else "bytea"
    one = {"decimal": "numeric", "double": "float8", "date": "date", "datetime": "timestamp"}
    return frozenset({one.get(kind.base, bytes_or_bit)})


def _is_wide_enough(left: MySqlType, right: PostgresType) -> bool:
    if left.base in INT_BITS:
        bits = INT_BITS[left.base] + (1 if left.unsigned else 0)
        digits = len(str(2 ** (bits - 1)))
        return _holds_digits(right, digits, 0) if right.base == "numeric" else (
            _PG_INT_BITS[right.base] >= bits
        )  # fmt: skip
    if left.base == "decimal":
        scale = left.scale or 0
        return _holds_digits(right, _digits(left) - scale, scale)
    if left.base == "year":
        return right.base != "numeric" or _holds_digits(right, _YEAR_DIGITS, 0)
    if left.base in {"datetime", "timestamp"}:
        return _fraction(right) >= (left.size or 0)
    if right.base == "varchar" and right.size is not None:
        return right.size >= _characters(left)
    return True


def _holds_digits(kind: PostgresType, whole: int, scale: int) -> bool:
    return kind.size is None or (kind.size - kind.scale >= whole and kind.scale >= scale)


def _digits(kind: MySqlType) -> int:
    return _DECIMAL_DIGITS if kind.size is None else kind.size


def _fraction(kind: PostgresType) -> int:
    return _MICROSECONDS if kind.size is None else kind.size


def _characters(kind: MySqlType) -> int:
    if kind.base in TEXT_BYTES:
        return TEXT_BYTES[kind.base] - 1
    if kind.base == "enum":
        return max(map(len, kind.values), default=0)
    if kind.base == "set":
        return sum(len(value) + 1 for value in kind.values)
    return 1 if kind.size is None else kind.size
