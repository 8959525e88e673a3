"""StarRocks tables: the type that holds a MySQL column, CREATE TABLE, and what the loader takes.

Pure. The loader is StarRocks' connector for Flink: which Flink type it takes for which column
is its own table (StarRocksSinkTable.typesMap), and it looks at it before a job starts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.types import INT_BITS, TEXT_BYTES, Carried, MySqlType, carried
from cdc_assets.errors import ConfigurationError, UnsupportedType

Delivery = Literal["at-least-once", "exactly-once"]
LoadFormat = Literal["json", "csv"]

# StarRocks counts a VARCHAR's length in bytes.
MAX_VARCHAR = 1_048_576
# Configuration `primary_key_limit_size` of StarRocks, bytes of a whole encoded key.
MAX_KEY_BYTES = 128
_BYTES_PER_CHARACTER = 4
# Names of tables and databases are parts of the load's URL and headers, which the connector
# does not escape; StarRocks' own rule for columns is FeNameFormat.
_TABLE_NAME = re.compile(r"[0-9A-Za-z_]{1,256}")
_DATABASE_NAME = re.compile(r"[A-Za-z_][0-9A-Za-z_]{0,255}")
_COLUMN_NAME = re.compile(r"[^\x00-\x1f=<>!*`]{1,1024}")
# The connector adds a column of this name to say upsert or delete.
_OPERATION = "__op"
_DECIMAL_DIGITS = 38
# DECIMAL without `use_decimal_v3` is DECIMALV2 with these limits.
_OLD_DIGITS, _OLD_SCALE = 27, 9
_NOT_A_KEY = frozenset({"decimal", "float", "double"})
_INTEGER_WORDS = ("TINYINT", "SMALLINT", "INT", "BIGINT", "LARGEINT")
_KEY_BYTES = {"BOOLEAN": 1, "TINYINT": 1, "SMALLINT": 2, "INT": 4, "BIGINT": 8, "LARGEINT": 16,
              "DATE": 4, "DATETIME": 8}  # fmt: skip
# By DATA_TYPE of StarRocks: the Flink types that the connector takes. What is not listed here
# (`json`, `bigint unsigned` for LARGEINT) it does not judge.
_TAKES: Mapping[str, frozenset[str]] = {
    "tinyint": frozenset({"TINYINT", "INT", "BOOLEAN"}),
    "smallint": frozenset({"SMALLINT", "INT"}),
    "int": frozenset({"INT"}),
    "bigint": frozenset({"BIGINT", "INT"}),
    "bigint unsigned": frozenset({"DECIMAL", "BIGINT", "INT", "SMALLINT", "TINYINT"}),
    "largeint": frozenset({"DECIMAL", "BIGINT", "INT"}),
    "decimal": frozenset({"DECIMAL", "BIGINT", "INT"}),
    "float": frozenset({"FLOAT", "INT"}),
    "double": frozenset({"DOUBLE", "INT"}),
    "char": frozenset({"STRING"}),
    "varchar": frozenset({"STRING"}),
    "string": frozenset({"STRING"}),
    "date": frozenset({"STRING", "DATE"}),
    "datetime": frozenset({"STRING", "TIMESTAMP", "TIMESTAMP_LTZ"}),
}
_INTEGER_RANK = {"tinyint": 0, "smallint": 1, "int": 2, "bigint": 3, "bigint unsigned": 4,
                 "largeint": 4}  # fmt: skip
_FLINK_RANK = {"TINYINT": 0, "SMALLINT": 1, "INT": 2, "BIGINT": 3}


@dataclass(frozen=True)
class TableOptions:
    """How a StarRocks table is laid out.

    Attributes:
        buckets: Tablets of the table; None leaves it to StarRocks.
        replication: Copies of each tablet.
        decimal_v3: Whether DECIMAL may have 38 digits.
        distributed_by: Columns of the key that spread rows, all of it by default.
        partition: Text after `PARTITION BY RANGE`, columns and partitions, empty for none.
        properties: More table properties.
    """

    buckets: int | None = None
    replication: int = 3
    decimal_v3: bool = True
    distributed_by: tuple[str, ...] = ()
    partition: str = ""
    properties: Mapping[str, str] = field(default_factory=dict[str, str])


def starrocks_type(
    table: str, column: Column, *, is_key: bool = False, decimal_v3: bool = True
) -> str:
    """Return the StarRocks type that holds every value of a MySQL column.

    Raises:
        UnsupportedType: There is none, or the column cannot be carried.

    Example:
        >>> starrocks_type("d.t", Column("n", "bigint", "bigint(20) unsigned"))
        'LARGEINT'
    """
    carried(table, column, is_key=is_key, target="starrocks")
    kind = MySqlType.parse(column)
    if is_key and kind.base in _NOT_A_KEY:
        raise UnsupportedType(
            table, column.name, column.column_type, "StarRocks takes no such type in a primary key"
        )
    if kind.base == "decimal":
        return _decimal(table, column, kind, decimal_v3=decimal_v3)
    return _TYPES[kind.base](kind)


def _decimal(table: str, column: Column, kind: MySqlType, *, decimal_v3: bool) -> str:
    size, scale = (10 if kind.size is None else kind.size), kind.scale or 0
    if size > _DECIMAL_DIGITS:
        # Beyond 38 digits it is carried as text.
        return f"VARCHAR({size + 3})"
    if not decimal_v3 and (size > _OLD_DIGITS or scale > _OLD_SCALE):
        raise UnsupportedType(
            table, column.name, column.column_type, "needs use_decimal_v3 = true in StarRocks"
        )
    return f"DECIMAL({size}, {scale})"


def _integer(kind: MySqlType) -> str:
    wider = {"tinyint": "SMALLINT", "smallint": "INT", "mediumint": "INT", "int": "BIGINT",
             "bigint": "LARGEINT"}  # fmt: skip
    own = "INT" if kind.base == "mediumint" else kind.base.upper()
    return wider[kind.base] if kind.unsigned else own


def _varchar(characters: int) -> str:
    return f"VARCHAR({min(max(characters, 1) * _BYTES_PER_CHARACTER, MAX_VARCHAR)})"


def _choice(kind: MySqlType) -> str:
    if kind.base == "set":
        return _varchar(sum(len(value) + 1 for value in kind.values))
    return _varchar(max((len(value) for value in kind.values), default=1))


_TYPES: dict[str, Callable[[MySqlType], str]] = {
    **dict.fromkeys(INT_BITS, _integer),
    "float": lambda _: "FLOAT",
    "double": lambda _: "DOUBLE",
    "year": lambda _: "INT",
    "bit": lambda _: "BOOLEAN",
    "date": lambda _: "DATE",
    "datetime": lambda _: "DATETIME",
    "timestamp": lambda _: "DATETIME",
    "char": lambda kind: _varchar(1 if kind.size is None else kind.size),
    "varchar": lambda kind: _varchar(kind.size or 0),
    "enum": _choice,
    "set": _choice,
    **dict.fromkeys(TEXT_BYTES, lambda kind: _varchar(TEXT_BYTES[kind.base])),
}


def create_table(
    shape: TableShape,
    database: str,
    name: str,
    *,
    options: TableOptions | None = None,
    exclude: Sequence[str] = (),
    first: Sequence[Column] = (),
) -> str:
    """Return the statement that makes a primary-key table for a MySQL table.

    StarRocks wants the key's columns first, in the key's order.

    Args:
        shape: The source table.
        database: The target database.
        name: The target table.
        options: How it is laid out.
        exclude: Columns that are not carried.
        first: Columns that the source table does not have, put before its key.

    Raises:
        ConfigurationError: The table has no primary key.
        UnsupportedType: A column cannot be held.
    """
    options = options or TableOptions()
    if not shape.primary_key:
        raise ConfigurationError(
            "has no primary key, so StarRocks cannot update or delete its rows",
            field="tables",
            value=shape.label,
            hint="Add one, or leave the table out",
        )
    key = [*(column.name for column in first), *shape.primary_key]
    lines = [
        f"  {quote(column.name)} "
        + starrocks_type(
            shape.label, column, is_key=column.name in key, decimal_v3=options.decimal_v3
        )
        + (" NULL" if column.nullable and column.name not in key else " NOT NULL")
        + ' COMMENT ""'
        for column in [*first, *ordered_columns(shape, exclude=exclude)]
    ]
    return _statement(quote(database) + "." + quote(name), lines, key, options)


def ordered_columns(shape: TableShape, *, exclude: Sequence[str] = ()) -> tuple[Column, ...]:
    """Return a table's columns, those of the key first and in key order."""
    left_out = {name.lower() for name in exclude}
    keys = [column for name in shape.primary_key if (column := shape.column(name)) is not None]
    rest = [c for c in shape.columns if c not in keys and c.name.lower() not in left_out]
    return (*keys, *rest)


def _statement(table: str, lines: Sequence[str], key: Sequence[str], options: TableOptions) -> str:
    keys = ", ".join(quote(name) for name in key)
    spread = ", ".join(quote(name) for name in options.distributed_by) or keys
    buckets = f" BUCKETS {options.buckets}" if options.buckets else ""
    properties = {"replication_num": str(options.replication), **options.properties}
    texts = ",\n".join(f"  {text(k)} = {text(v)}" for k, v in properties.items())
    body = ",\n".join(lines)
    partition = f"PARTITION BY RANGE {options.partition}\n" if options.partition else ""
    return (
        f"CREATE TABLE IF NOT EXISTS {table} (\n{body}\n) ENGINE=olap\n"
        f'PRIMARY KEY({keys})\nCOMMENT ""\n{partition}'
        f"DISTRIBUTED BY HASH({spread}){buckets}\nPROPERTIES (\n{texts}\n)"
    )


def is_table_name(name: str) -> bool:
    """Return whether the connector can load a table of this name."""
    return bool(_TABLE_NAME.fullmatch(name))


def is_database_name(name: str) -> bool:
    """Return whether the connector can load into a database of this name."""
    return bool(_DATABASE_NAME.fullmatch(name))


def is_column_name(name: str) -> bool:
    """Return whether the connector can load a column of this name."""
    return bool(_COLUMN_NAME.fullmatch(name)) and name.lower() != _OPERATION


def quote(name: str) -> str:
    """Return a name as StarRocks reads it.

    Raises:
        ConfigurationError: StarRocks takes no such name: it has no way to write a backtick in one.
    """
    if not name or "`" in name or "\x00" in name:
        raise ConfigurationError("not a StarRocks name", field="name", value=name)
    return f"`{name}`"


def text(value: str) -> str:
    """Return a text literal in double quotes."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def misfit(way: Carried, target: Column) -> str:
    """Return why a StarRocks column cannot hold a carried column, empty when it can.

    Args:
        way: How the source column is carried.
        target: As `information_schema` of StarRocks describes it.
    """
    flink = way.sink_type.partition("(")[0]
    taken = _TAKES.get(target.data_type)
    if taken is None and target.data_type != "boolean":
        return f"{target.column_type} is not {starrocks_type('', way.column)}"
    if taken is not None and flink not in taken:
        return f"the connector does not load {flink} into {target.column_type}"
    reason = _narrow(way, target)
    if reason:
        return reason
    if way.column.nullable and not target.nullable:
        return "it is NOT NULL, the source column is not"
    return ""


def _narrow(way: Carried, target: Column) -> str:
    wanted = starrocks_type("", way.column)
    narrower = f"{target.column_type} is narrower than {wanted}"
    word = wanted.partition("(")[0]
    there = target.data_type
    kind = MySqlType.parse(target)
    if (word == "VARCHAR") != (there in _CHARACTERS):
        return f"{target.column_type} is not {wanted}"
    if word == "VARCHAR":
        return narrower if _size(kind) < _digits(wanted)[0] else ""
    # What `information_schema` calls tinyint(1) is BOOLEAN.
    if word == "TINYINT" and target.column_type.lower() == "tinyint(1)":
        return narrower
    if word in _INTEGER_WORDS:
        rank = _INTEGER_RANK.get(there)
        if rank is None:
            return "" if there == "decimal" and _whole(kind) > _DIGITS_OF[word] else narrower
        return narrower if rank < min(_INTEGER_WORDS.index(word), 4) else ""
    if word == "DECIMAL":
        size, scale = _digits(wanted)
        return narrower if _whole(kind) < size - scale or (kind.scale or 0) < scale else ""
    if (word == "DATE") != (there == "date") or (word == "DATETIME") != (there == "datetime"):
        return f"{target.column_type} is not {wanted}"
    return ""


_CHARACTERS = frozenset({"char", "varchar", "string"})
_DIGITS_OF = {"TINYINT": 3, "SMALLINT": 5, "INT": 10, "BIGINT": 19, "LARGEINT": 20}


def _size(kind: MySqlType) -> int:
    # `string` is VARCHAR(65533) of old versions.
    return kind.size if kind.size is not None else 65_533 if kind.base == "string" else 1


def _whole(kind: MySqlType) -> int:
    return (10 if kind.size is None else kind.size) - (kind.scale or 0)


def _digits(wanted: str) -> tuple[int, int]:
    numbers = [int(part) for part in wanted.partition("(")[2].rstrip(")").split(",")]
    return numbers[0], numbers[1] if len(numbers) > 1 else 0


def key_bytes(shape: TableShape) -> int:
    """Return how many bytes a key of this MySQL table can take in StarRocks."""
    total = 0
    for name in shape.primary_key:
        column = shape.column(name)
        if column is not None:
            wanted = starrocks_type(shape.label, column, is_key=True)
            total += _KEY_BYTES.get(wanted, 0) or _digits(wanted)[0]
    return total


def query_type(shape: TableShape, column: Column) -> str:
    """Return the Flink type of a StarRocks column that a query fills.

    Raises:
        UnsupportedType: A query cannot fill it.
    """
    kind = MySqlType.parse(column)
    if column.data_type == "decimal":
        return f"DECIMAL({10 if kind.size is None else kind.size}, {kind.scale or 0})"
    found = _QUERY_TYPES.get(column.data_type)
    if column.data_type == "tinyint" and column.column_type.lower() == "tinyint(1)":
        return "BOOLEAN"
    if found is None:
        raise UnsupportedType(
            shape.label, column.name, column.column_type, "a query cannot fill it in StarRocks"
        )
    return found


_QUERY_TYPES = {
    "boolean": "BOOLEAN",
    "tinyint": "TINYINT",
    "smallint": "SMALLINT",
    "int": "INT",
    "bigint": "BIGINT",
    "bigint unsigned": "DECIMAL(38, 0)",
    "largeint": "DECIMAL(38, 0)",
    "float": "FLOAT",
    "double": "DOUBLE",
    "char": "STRING",
    "varchar": "STRING",
    "string": "STRING",
    "json": "STRING",
    "date": "DATE",
    "datetime": "TIMESTAMP(6)",
}
