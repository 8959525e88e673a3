"""Types: how each MySQL column type is carried, and which target column can hold it. Pure.

Each mapping was proved on real servers with the type's extremes, once read by the
snapshot and once by the stream (tests/integration/test_types.py). What does not come out
right in both is refused by name; where one value alone is wrong (the year 0000), preflight
looks for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.stream import TargetKind
from cdc_assets.errors import UnsupportedType

_TYPE = re.compile(
    r"^\s*(?P<base>[a-z0-9_]+)\s*(?:\((?P<inner>.*)\))?(?P<rest>[^)]*)$", re.DOTALL | re.IGNORECASE
)
_VALUE = re.compile(r"'((?:[^']|'')*)'")
_FLINK_DIGITS = 38
# Sizes, for `type_fit`, too.
INT_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
TEXT_BYTES = {"tinytext": 2**8, "text": 2**16, "mediumtext": 2**24, "longtext": 2**32}
BLOB_BYTES = {"tinyblob": 2**8, "blob": 2**16, "mediumblob": 2**24, "longblob": 2**32}
BYTES_PER_CHARACTER = {"utf8mb4": 4, "utf8": 3, "utf8mb3": 3}
_SYNONYMS = {"integer": "int", "numeric": "decimal", "dec": "decimal", "real": "double",
             "bool": "tinyint", "boolean": "tinyint"}  # fmt: skip
# The reader decodes binlog bytes by the column's character set; these were proved.
_CHARSETS = frozenset({
    "utf8mb4", "utf8mb3", "utf8", "ucs2", "utf16", "utf32", "ascii", "latin1", "latin2", "cp1251",
})  # fmt: skip
_SPATIAL = frozenset({
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring",
    "multipolygon", "geometrycollection", "geomcollection",
})  # fmt: skip


@dataclass(frozen=True)
class MySqlType:
    """A column type, taken apart.

    Attributes:
        base: Lower case, without synonyms.
        size: Display width, digits, characters, bytes, bits or fractional digits.
        scale: Digits after the point of a decimal.
        unsigned: Whether it is.
        values: Of an enum or a set.
    """

    base: str
    size: int | None = None
    scale: int | None = None
    unsigned: bool = False
    values: tuple[str, ...] = ()

    @classmethod
    def parse(cls, column: Column) -> MySqlType:
        """Read a column's full type.

        Example:
            >>> MySqlType.parse(Column("c", "decimal", "decimal(20,8) unsigned")).scale
            8
        """
        match = _TYPE.match(column.column_type)
        base = (match["base"] if match else column.data_type).lower()
        base = _SYNONYMS.get(base, base)
        inner, rest = (match["inner"] or "", match["rest"]) if match else ("", "")
        unsigned = "unsigned" in rest.lower() or "zerofill" in rest.lower()
        if base in {"enum", "set"}:
            values = tuple(value.replace("''", "'") for value in _VALUE.findall(inner))
            return cls(base, values=values)
        numbers = [int(part) for part in inner.split(",") if part.strip().isdigit()]
        return cls(
            base,
            size=numbers[0] if numbers else None,
            scale=numbers[1] if len(numbers) > 1 else None,
            unsigned=unsigned,
        )


@dataclass(frozen=True)
class Carried:
    """How a column goes through Flink.

    Attributes:
        column: The source column.
        source_type: In the source table's DDL.
        sink_type: In the sink table's DDL.
        expression: SELECT expression with `{}` where the quoted column name goes.
    """

    column: Column
    source_type: str
    sink_type: str
    expression: str = "{}"


def carried(
    table: str, column: Column, *, is_key: bool = False, target: TargetKind = "mysql"
) -> Carried:
    """Return how a column is carried into a kind of target.

    Args:
        table: `database.table`, for the error.
        column: As the source describes it.
        is_key: Whether it is part of the primary key. A key column is not cast: a cast hides
            the key from Flink's planner, which then splits updates in two.
        target: What it is carried into.

    Raises:
        UnsupportedType: It cannot be carried, or was not proved.
    """
    kind = MySqlType.parse(column)
    reason = _refusal(kind, column) or (_NOT_A_KEY.get(kind.base, "") if is_key else "")
    if reason:
        raise UnsupportedType(table, column.name, column.column_type, reason)
    reason = _TARGET_REFUSALS.get(target, {}).get(kind.base, "")
    if reason and not (kind.base == "bit" and (kind.size or 1) == 1):
        raise UnsupportedType(table, column.name, column.column_type, reason)
    source, sink, expression = _WAYS[target](kind, is_key)
    return Carried(column, source, sink, expression)


def is_integer_key(shape: TableShape, name: str) -> bool:
    """Return whether a column is an integer, by which a snapshot is cut safely."""
    column = shape.column(name)
    return column is not None and MySqlType.parse(column).base in INT_BITS


def natural_type(table: str, column: Column) -> str:
    """Return the Flink type of a target column that a query fills.

    A query brings values of its own types, so there is no source column and no cast.

    Raises:
        UnsupportedType: A query cannot fill it.
    """
    way = carried(table, column, is_key=True)
    base = MySqlType.parse(column).base
    return way.source_type.replace("_LTZ", "") if base == "timestamp" else way.sink_type


def _refusal(kind: MySqlType, column: Column) -> str:
    """Return why a type cannot be carried, empty when it can."""
    if column.generated:
        return "the server computes it, so its value is not one that a stream can bring"
    if "`" in column.name:
        # Seen with Flink CDC 3.5: it asks for the name with its backtick doubled twice.
        return "Flink CDC does not find a column with a backtick in its name"
    if kind.base in _REFUSED:
        return _REFUSED[kind.base]
    if kind.base in _SPATIAL:
        return "spatial values arrive as JSON text and not as they were"
    if kind.base not in _NATURAL:
        return "it was not proved right in snapshot and stream"
    if any("," in value for value in kind.values):
        return "the stream cuts a value with a comma in it"
    if column.charset and column.charset not in _CHARSETS:
        return f"character set {column.charset} was not proved right in snapshot and stream"
    return ""


def _integer(kind: MySqlType) -> str:
    signed = {"tinyint": "TINYINT", "smallint": "SMALLINT", "mediumint": "INT", "int": "INT",
              "bigint": "BIGINT"}  # fmt: skip
    unsigned = {"tinyint": "SMALLINT", "smallint": "INT", "mediumint": "INT", "int": "BIGINT",
                "bigint": "DECIMAL(20, 0)"}  # fmt: skip
    return (unsigned if kind.unsigned else signed)[kind.base]


def _decimal(kind: MySqlType) -> str:
    size = 10 if kind.size is None else kind.size
    return "STRING" if size > _FLINK_DIGITS else f"DECIMAL({size}, {kind.scale or 0})"


def _same(name: str) -> Callable[[MySqlType], str]:
    return lambda _: name


# The Flink type that holds every value, as the source's DDL declares it.
_NATURAL: dict[str, Callable[[MySqlType], str]] = {
    **dict.fromkeys(INT_BITS, _integer),
    "decimal": _decimal,
    "float": _same("FLOAT"),
    "double": _same("DOUBLE"),
    "year": _same("INT"),
    "bit": lambda kind: "BOOLEAN" if (kind.size or 1) == 1 else "BYTES",
    "date": _same("DATE"),
    "datetime": lambda kind: f"TIMESTAMP({kind.size or 0})",
    "timestamp": lambda kind: f"TIMESTAMP_LTZ({kind.size or 0})",
    **dict.fromkeys(("char", "varchar", "enum", "set", *TEXT_BYTES), _same("STRING")),
    **dict.fromkeys(("binary", "varbinary", *BLOB_BYTES), _same("BYTES")),
}
# Bits arrive lowest byte first. One character per byte, so that REVERSE turns bytes round.
_BITS = "ENCODE(REVERSE(DECODE({}, 'ISO-8859-1')), 'ISO-8859-1')"
# The binlog's year 0000 is 1900, which is no year of MySQL's.
_YEAR = "CASE WHEN {0} = 1900 THEN 0 ELSE {0} END"
# Source type, sink type, expression.
_Way = tuple[str, str, str]


def _plain(kind: MySqlType, natural: str, *, is_key: bool) -> _Way:
    if kind.base == "bit" and natural == "BYTES":
        return natural, natural, _BITS
    if kind.base == "year":
        return natural, natural, _YEAR
    if kind.base == "double" and kind.scale is not None and not is_key:
        # The server shows, and the snapshot reads, DOUBLE(20,5) with 5 digits; the binlog holds
        # what it rounded to, which can be off by the last bits of it.
        return natural, natural, f"ROUND({{}}, {kind.scale})"
    return natural, natural, "{}"


def _into_mysql(kind: MySqlType, is_key: bool) -> _Way:  # noqa: FBT001 - one of a family
    natural = _NATURAL[kind.base](kind)
    if kind.base == "float":
        # Java's shortest text of the largest FLOAT is out of range to MySQL.
        return natural, "DOUBLE", "CAST({} AS DOUBLE)"
    # As text: JDBC's own classes go through the TaskManager's time zone and through the
    # Julian calendar, and MySQL reads the text as it stands.
    if kind.base in {"date", "datetime"} and not is_key:
        return natural, "STRING", "CAST({} AS STRING)"
    if kind.base == "timestamp":
        digits = kind.size or 0
        return natural, "STRING", f"CAST(CAST({{}} AS TIMESTAMP({digits})) AS STRING)"
    return _plain(kind, natural, is_key=is_key)


def _into_postgres(kind: MySqlType, is_key: bool) -> _Way:  # noqa: FBT001 - one of a family
    natural = _NATURAL[kind.base](kind)
    # As text, too: with `stringtype=unspecified` PostgreSQL reads it by the column's type, and
    # so it reads a DECIMAL that is longer than Flink's.
    if kind.base in {"date", "datetime"}:
        if not is_key:
            return natural, "STRING", "CAST({} AS STRING)"
        # The dialect knows TIMESTAMP(1) to (6) only.
        key = natural if kind.base == "date" else f"TIMESTAMP({max(kind.size or 0, 3)})"
        return key, key, "{}"
    if kind.base == "timestamp":
        # With its offset: right in a `timestamptz` whatever the session's time zone is.
        text = f"CAST(CAST({{}} AS TIMESTAMP({kind.size or 0})) AS STRING)"
        return natural, "STRING", f"CONCAT({text}, '+00')"
    return _plain(kind, natural, is_key=is_key)


def _into_kafka(kind: MySqlType, is_key: bool) -> _Way:  # noqa: FBT001 - one of a family
    return _plain(kind, _NATURAL[kind.base](kind), is_key=is_key)


def _into_iceberg(kind: MySqlType, is_key: bool) -> _Way:  # noqa: FBT001 - one of a family
    natural = _NATURAL[kind.base](kind)
    # Iceberg has no integer below 32 bits, and microseconds only.
    if natural in {"TINYINT", "SMALLINT"}:
        return "INT", "INT", "{}"
    if kind.base in {"datetime", "timestamp"}:
        natural = natural.partition("(")[0] + "(6)"
    return _plain(kind, natural, is_key=is_key)


def _into_starrocks(kind: MySqlType, is_key: bool) -> _Way:  # noqa: FBT001 - one of a family
    natural = _NATURAL[kind.base](kind)
    if is_key:
        return _plain(kind, natural, is_key=is_key)
    # As text: the connector writes a date through the Julian calendar, and a moment on a full
    # minute without its seconds (StarRocksTableRowTransformer).
    if kind.base in {"date", "datetime"}:
        return natural, "STRING", "CAST({} AS STRING)"
    if kind.base == "timestamp":
        digits = kind.size or 0
        return natural, "STRING", f"CAST(CAST({{}} AS TIMESTAMP({digits})) AS STRING)"
    return _plain(kind, natural, is_key=is_key)


_WAYS: dict[TargetKind, Callable[[MySqlType, bool], _Way]] = {
    "mysql": _into_mysql,
    "postgres": _into_postgres,
    "kafka": _into_kafka,
    "iceberg": _into_iceberg,
    "starrocks": _into_starrocks,
}
_NO_BYTES = "StarRocks is loaded with JSON, which has no form for bytes"
_TARGET_REFUSALS: dict[TargetKind, dict[str, str]] = {
    "starrocks": dict.fromkeys(("bit", "binary", "varbinary", *BLOB_BYTES), _NO_BYTES),
}
_NOT_A_KEY: dict[str, str] = {
    "float": "the snapshot reads 6 significant digits of it, so two rows can have one key",
    "year": "it needs a cast, and a cast hides a key from Flink's planner",
}
_REFUSED: dict[str, str] = {
    # io.debezium MySqlValueConverters.stringToDuration loses the sign of `-00` hours;
    # RowDeserializers.deserializeTimeV2 reads -01:00:00 as -01:04:03.
    "time": "negative times are read wrongly: the snapshot loses the sign of -00:00:01, the "
    "stream reads -01:00:00 as -01:04:03",
    "json": "snapshot and stream write numbers and spaces in it differently; a text column "
    "is carried whole",
}


def target_column(column: Column) -> str:
    """Return the type of a target column that holds every value of a source column."""
    parts = [column.column_type]
    if column.charset:
        parts.append(f"CHARACTER SET {column.charset}")
    if column.collation:
        parts.append(f"COLLATE {column.collation}")
    parts.append("NULL" if column.nullable else "NOT NULL")
    if not column.nullable and column.data_type == "timestamp":
        # Without one, old servers give the second such column a zero date, and then refuse it.
        digits = MySqlType.parse(column).size
        parts.append(f"DEFAULT CURRENT_TIMESTAMP{f'({digits})' if digits else ''}")
    return " ".join(parts)
