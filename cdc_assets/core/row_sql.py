"""Statements about tables and rows, the same for source and target servers.

Values always go as parameters of the driver; only names are written into the text.
"""

# ruff: noqa: S608 - names go through quote_name, values through the driver

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.errors import ConfigurationError

_TABLE_COLUMNS = (
    "TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, CHARACTER_SET_NAME,"
    " COLLATION_NAME, EXTRA, COLUMN_DEFAULT"
)
_DESCRIBED = 7


class Statement(NamedTuple):
    """A statement with `%s` places, and the values for them."""

    text: str
    values: tuple[object, ...] = ()


class DescribedRows(NamedTuple):
    """The rows that the three statements of `describe_tables` answer."""

    tables: Sequence[Sequence[object]]
    columns: Sequence[Sequence[object]]
    keys: Sequence[Sequence[object]]


def quote_name(name: str) -> str:
    """Return a name as MySQL reads it, whatever is in it.

    Raises:
        ConfigurationError: It holds a NUL, which no server takes in a name.

    Example:
        >>> quote_name("a`b")
        '`a``b`'
    """
    if not name or "\x00" in name:
        raise ConfigurationError("not a MySQL name", field="name", value=name)
    return "`" + name.replace("`", "``") + "`"


def is_jdbc_name(name: str) -> bool:
    """Return whether Flink's JDBC connector can write a table or column of this name.

    It puts `:name` into its statements and reads that back up to the first character that
    no Java name has, and it does not double a backtick.
    """
    return bool(name) and all(each.isalnum() or each in "_$" for each in name)


def table_name(database: str, name: str) -> str:
    """Return a qualified name; `%` is doubled, because the driver fills in `%s`."""
    return f"{quote_name(database)}.{quote_name(name)}".replace("%", "%%")


def count_rows(
    database: str,
    name: str,
    key: Sequence[str] = (),
    bound: Sequence[object] | None = None,
    where: Statement | None = None,
) -> Statement:
    """Count a table's rows, up to the key `bound` (included) where one is given.

    Where a condition is given, only rows that meet it are counted.

    A row-value comparison `(a, b) <= (x, y)` says the same, but the optimizer of MySQL
    and MariaDB reads no index range from it; the spelled-out form it does.

    Example:
        >>> count_rows("d", "t", ("a", "b"), (1, 2)).text
        'SELECT COUNT(*) FROM `d`.`t` WHERE (`a` < %s OR (`a` = %s AND (`b` <= %s)))'
    """
    text = f"SELECT COUNT(*) FROM {table_name(database, name)}"
    if bound is None or not key:
        return Statement(f"{text} WHERE {where.text}", where.values) if where else Statement(text)
    if len(key) != len(bound):
        raise ConfigurationError(
            f"{len(bound)} values for {len(key)} key columns", field=f"{database}.{name}"
        )
    condition, values = "", ()
    for column, value in reversed(tuple(zip(key, bound, strict=True))):
        left = quote_name(column).replace("%", "%%")
        if not condition:
            condition, values = f"({left} <= %s)", (value,)
        else:
            condition = f"({left} < %s OR ({left} = %s AND {condition}))"
            values = (value, value, *values)
    if where is not None:
        condition, values = f"{condition} AND ({where.text})", (*values, *where.values)
    return Statement(f"{text} WHERE {condition}", values)


def largest_key(database: str, name: str, key: Sequence[str]) -> Statement:
    """Return the largest primary key."""
    names = [quote_name(column).replace("%", "%%") for column in key]
    order = ", ".join(f"{column} DESC" for column in names)
    return Statement(
        f"SELECT {', '.join(names)} FROM {table_name(database, name)} ORDER BY {order} LIMIT 1"
    )


def list_tables() -> Statement:
    """Return database and name of every table that the account may see, the system's aside."""
    return Statement(
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES"
        " WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA NOT IN"
        " ('mysql', 'sys', 'performance_schema', 'information_schema')"
    )


def describe_tables(database: str, names: Sequence[str]) -> tuple[Statement, Statement, Statement]:
    """Return the statements whose rows `shapes_of` reads, in the order of `DescribedRows`."""
    places = ", ".join(["%s"] * len(names))
    where = f"WHERE TABLE_SCHEMA = %s AND TABLE_NAME IN ({places})"
    values = (database, *names)
    return (
        Statement(
            f"SELECT TABLE_NAME, TABLE_TYPE, TABLE_ROWS FROM information_schema.TABLES {where}",
            values,
        ),
        Statement(
            f"SELECT {_TABLE_COLUMNS} FROM information_schema.COLUMNS {where}"
            " ORDER BY TABLE_NAME, ORDINAL_POSITION",
            values,
        ),
        Statement(
            f"SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.STATISTICS {where}"
            " AND INDEX_NAME = 'PRIMARY' ORDER BY TABLE_NAME, SEQ_IN_INDEX",
            values,
        ),
    )


def shapes_of(database: str, rows: DescribedRows) -> Mapping[str, TableShape]:
    """Return the tables that the rows describe, by name. Views are no tables."""
    columns: dict[str, list[Column]] = {}
    for table, *column in rows.columns:
        columns.setdefault(text_of(table), []).append(_column(column))
    keys: dict[str, list[str]] = {}
    for table, name in rows.keys:
        keys.setdefault(text_of(table), []).append(text_of(name))
    found: dict[str, TableShape] = {}
    for table, kind, estimate in rows.tables:
        name = text_of(table)
        if text_of(kind).upper() == "BASE TABLE":
            found[name] = TableShape(
                database=database,
                name=name,
                columns=tuple(columns.get(name, ())),
                primary_key=tuple(keys.get(name, ())),
                rows_estimate=int(text_of(estimate) or 0),
            )
    return found


def text_of(value: object) -> str:
    """Return a driver's value as text: servers differ in which columns they call binary."""
    if value is None:
        return ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _column(values: Sequence[object]) -> Column:
    name, data_type, column_type, nullable, charset, collation, extra = map(text_of, values[:7])
    default = values[7] if len(values) > _DESCRIBED else None
    return Column(
        name=name,
        data_type=data_type.lower(),
        column_type=column_type,
        nullable=nullable.upper() == "YES",
        charset=charset or None,
        collation=collation or None,
        # MySQL: `VIRTUAL GENERATED`, `STORED GENERATED`; MySQL 8 says `DEFAULT_GENERATED` of a
        # plain default that is an expression, which is no generated column.
        generated=extra.upper().startswith(("VIRTUAL", "STORED", "PERSISTENT")),
        # MariaDB writes NULL as a text there.
        has_default=default is not None and text_of(default).upper() != "NULL",
    )
