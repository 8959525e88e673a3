"""Readers: which captured tables share one binlog connection, and what it reads. Pure.

A MySQL source of Flink CDC reads one list of columns, and one declared primary key. Tables
share a reader when both fit all of them, so that nothing is read as text and cast back.
Tables of unlike keys are read with all their key columns as the declared key.

Tables are told apart by a WHERE, and Flink 1.20 keeps both halves of an update below a
condition on columns outside the key: a writer without a buffer writes the first one as a
delete. So for a topic no row is filtered, and the tables of a reader have one key, which the
planner then knows. Each row goes to each table's writer, with the table's name in the column
`TABLE_FIELD` or NULL, and the sink drops rows with NULL in a column that must not be NULL.
The field stays in the record. A query, too, gets tables of one key only: without a key that
the planner knows, joins and aggregates keep every row.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from cdc_assets.core.columns import TableShape
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.shards import METADATA_COLUMNS, ShardedShape
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.core.transform import Transform
from cdc_assets.core.types import Carried, carried, is_integer_key
from cdc_assets.errors import ConfigurationError

_INTEGERS = ("TINYINT", "SMALLINT", "INT", "BIGINT")
_INTEGER_DIGITS = {"TINYINT": 3, "SMALLINT": 5, "INT": 10, "BIGINT": 19}
_DECIMAL = re.compile(r"DECIMAL\((\d+), (\d+)\)")
_TIMESTAMP = re.compile(r"(TIMESTAMP|TIMESTAMP_LTZ)\((\d)\)")
_MOST_DIGITS = 38
_UNREADABLE = ("'", "`")
# Names the table in the records of a shared reader, as Debezium's flattened records do.
TABLE_FIELD = "__table"


@dataclass(frozen=True)
class TableColumns:
    """A captured table and how each of its columns is carried.

    Attributes:
        table: The table.
        shape: As the server describes it.
        columns: Its carried columns, in the table's order.
        key: Names of the primary key's columns, in key order.
        metadata: Names of the columns that no source table has: the reader itself says which
            shard a row is from.
        only_read: Columns that are not copied, for the expressions of a transform.
        transform: What is done to its rows.
    """

    table: TableRef
    shape: TableShape
    columns: tuple[Carried, ...]
    key: tuple[str, ...]
    metadata: tuple[str, ...] = ()
    only_read: tuple[Carried, ...] = ()
    transform: Transform = field(default_factory=lambda: Transform("-"))

    @property
    def known(self) -> tuple[Carried, ...]:
        """Return every column that is read."""
        return (*self.columns, *self.only_read)

    @property
    def source_key(self) -> tuple[str, ...]:
        """Return the primary key as the source tables have it."""
        return tuple(name for name in self.key if name not in self.metadata)

    @property
    def read_types(self) -> dict[str, str]:
        """Return name and Flink type of each column that is read from a source table."""
        return {
            way.column.name: way.source_type
            for way in self.known
            if way.column.name not in self.metadata
        }

    @property
    def cut_by(self) -> tuple[bool, ...]:
        """Return which parts of the key are integers: it decides how a snapshot is cut."""
        return tuple(is_integer_key(self.shape, name) for name in self.source_key)

    def source_type(self, name: str) -> str | None:
        """Return the Flink type of a column, None where the table has no such column."""
        return next((way.source_type for way in self.known if way.column.name == name), None)


@dataclass(frozen=True)
class Reader:
    """One binlog connection (one per subtask while a snapshot runs) and the tables it serves.

    Attributes:
        tables: At least one; more than one are of one database.
        columns: Name and Flink type of everything it reads, in a fixed order.
        server_ids: One id for each subtask.
    """

    tables: tuple[TableColumns, ...]
    columns: tuple[tuple[str, str], ...]
    server_ids: ServerIdRange

    @property
    def is_shared(self) -> bool:
        """Return whether rows of several tables come out of it."""
        return len(self.tables) > 1

    @property
    def database(self) -> str:
        """Return the database of all its tables."""
        return self.tables[0].table.database

    @property
    def key(self) -> tuple[str, ...]:
        """Return the primary keys of all its tables, as the source has them, as one."""
        return tuple(dict.fromkeys(name for each in self.tables for name in each.source_key))

    @property
    def cut_by(self) -> tuple[bool, ...]:
        """Return which parts of the key are integers; of several keys the first one's."""
        return self.tables[0].cut_by

    def type_of(self, name: str) -> str:
        """Return the type that a column is read as."""
        return dict(self.columns)[name]


def plan_readers(spec: StreamSpec, shapes: Sequence[TableShape]) -> tuple[Reader, ...]:
    """Return the readers of a stream, in the order of their first tables.

    Tables share a reader when they are of one database, their snapshots are cut in the same
    way, and no column name of theirs stands for types that no one type can hold. Into a
    topic, or with queries, they have the same primary key as well (names, order and types).
    Each table joins the first reader that it fits.

    Raises:
        ConfigurationError: A table is missing or has no primary key, or the range of server
            ids is too small.
        UnsupportedType: A column cannot be carried.
    """
    found = {shape.label: shape for shape in shapes}
    groups: list[list[TableColumns]] = []
    merged: list[dict[str, str]] = []
    described = [describe_table(spec, table, found.get(table.label)) for table in spec.tables]
    shares = spec.shares_readers and (
        spec.target_kind != "kafka" or _keys_are_never_null(described)
    )
    for each in described:
        own = each.read_types
        for index, group in enumerate(groups):
            union = (
                _union(merged[index], own)
                if shares and all(_may_share(spec, one, each) for one in group)
                else None
            )
            if union is not None:
                group.append(each)
                merged[index] = union
                break
        else:
            groups.append([each])
            merged.append(own)
    return tuple(
        Reader(tuple(group), tuple(columns.items()), spec.server_ids.block(index, spec.parallelism))
        for index, (group, columns) in enumerate(zip(groups, merged, strict=True))
    )


def connections_of(spec: StreamSpec, shapes: Sequence[TableShape]) -> int:
    """Return how many binlog connections a stream holds when its snapshot is over.

    Raises:
        ConfigurationError: As `plan_readers`.
    """
    return len(plan_readers(spec, shapes)) if spec.engine == "flink" else 1


def describe_table(spec: StreamSpec, table: TableRef, shape: TableShape | None) -> TableColumns:
    """Return how each column of a captured table is carried, without the excluded ones.

    Raises:
        ConfigurationError: The table does not exist, has no primary key, or a part of the
            key is excluded; or shards do not make one table.
        UnsupportedType: A column cannot be carried.
    """
    if shape is None:
        raise ConfigurationError("no such table", field="tables", value=table.label)
    problem = unreadable(shape)
    if problem:
        raise ConfigurationError(problem, field="tables", value=shape.label,
                                 hint="Rename it, or leave it out")  # fmt: skip
    metadata: tuple[str, ...] = ()
    if isinstance(shape, ShardedShape):
        metadata = METADATA_COLUMNS
        for name, reason in shape.conflicts:
            raise ConfigurationError(f"the shards are not one table: {reason}",
                                     field=f"{table.label}.{name}")  # fmt: skip
    key = key_of(shape)
    transform = spec.transform_of(table)
    needed = transform.reads([column.name for column in shape.columns])
    columns: list[Carried] = []
    only_read: list[Carried] = []
    for column in shape.columns:
        is_key, left_out = column.name in key, spec.leaves_out(table, shape, column.name)
        if left_out and is_key:
            raise ConfigurationError(
                "part of the primary key, so it cannot be left out",
                field=f"{spec.name}.exclude_columns",
                value=f"{table.alias}.{column.name}",
            )
        if left_out and column.name not in needed:
            continue
        way = carried(shape.label, column, is_key=is_key, target=spec.target_kind)
        (only_read if left_out else columns).append(way)
    return TableColumns(table, shape, tuple(columns), key, metadata, tuple(only_read), transform)


def unreadable(shape: TableShape) -> str:
    """Return why Flink CDC cannot read a table of this name, empty where it can.

    Seen with Flink CDC 3.5: the snapshot of a table with `'` fails with an error in its SQL.
    A table with a backtick was not proved right in snapshot and stream.

    Example:
        >>> unreadable(TableShape("d", "o'clock", (), ()))
        "Flink CDC cannot read a table with ' in its name"
    """
    found = next((sign for sign in _UNREADABLE if sign in shape.database + shape.name), "")
    return f"Flink CDC cannot read a table with {found} in its name" if found else ""


def key_of(shape: TableShape) -> tuple[str, ...]:
    """Return a table's primary key.

    Raises:
        ConfigurationError: It has none.
    """
    if not shape.primary_key:
        raise ConfigurationError(
            "has no primary key, so its rows cannot be told apart",
            field="tables",
            value=shape.label,
            hint="Add one, or leave the table out",
        )
    return shape.primary_key


def own_value(way: Carried, read_as: str, quoted: str) -> str:
    """Return the expression that gives a column its own type back.

    Args:
        way: How the column is carried.
        read_as: The type that the reader reads it as.
        quoted: The quoted column name.
    """
    return quoted if read_as == way.source_type else f"CAST({quoted} AS {way.source_type})"


def _may_share(spec: StreamSpec, one: TableColumns, other: TableColumns) -> bool:
    if one.metadata or other.metadata or one.table.database != other.table.database:
        return False
    is_topic = spec.target_kind == "kafka"
    if is_topic and any(
        # Rows of other tables must get through to the writer, which drops them.
        has_table_field(each) or each.transform.changes_rows
        for each in (one, other)
    ):
        return False
    # Of the rows of other tables Flink would read a key that is NULL to judge a condition.
    if one.key != other.key and (one.transform.filter or other.transform.filter):
        return False
    # Where Flink keeps rows it finds them again by their key, so there it must know the key.
    if not is_topic and not spec.stateful and not spec.materializes:
        # How the snapshot is cut is a setting of the reader (`flink.source_sql`).
        return one.cut_by[0] == other.cut_by[0] and not (
            _leaves_empty(one, other.source_key) or _leaves_empty(other, one.source_key)
        )
    return (
        one.key == other.key
        and one.cut_by == other.cut_by
        and all(one.source_type(name) == other.source_type(name) for name in one.key)
    )


def _leaves_empty(table: TableColumns, key: Sequence[str]) -> bool:
    """Return whether a table has NULL in another one's key: Flink takes a key for NOT NULL."""
    own = {way.column.name: way for way in table.known}
    return any(
        own[name].column.nullable or own[name].source_type.startswith(("DATE", "TIMESTAMP"))
        for name in key
        if name in own and name not in table.source_key
    )


def _keys_are_never_null(tables: Sequence[TableColumns]) -> bool:
    """Return whether no key can arrive as NULL: a zero date does, and would be dropped."""
    return not any(
        (each.source_type(name) or "").startswith(("DATE", "TIMESTAMP"))
        for each in tables
        for name in each.key
    )


def has_table_field(table: TableColumns) -> bool:
    """Return whether a table has a column of its own that is called as `TABLE_FIELD`."""
    return any(way.column.name.lower() == TABLE_FIELD for way in table.columns)


def _union(one: dict[str, str], other: dict[str, str]) -> dict[str, str] | None:
    """Return the columns that hold both, None where a name stands for unlike types."""
    found = dict(one)
    for name, kind in other.items():
        wide = common_type(found.get(name, kind), kind)
        if wide is None:
            return None
        found[name] = wide
    return found


def common_type(one: str, other: str) -> str | None:
    """Return the Flink type that holds every value of both exactly, None where none does.

    Example:
        >>> common_type("INT", "DECIMAL(20, 0)"), common_type("STRING", "INT")
        ('DECIMAL(20, 0)', None)
    """
    if one == other:
        return one
    if one in _INTEGERS and other in _INTEGERS:
        return max(one, other, key=_INTEGERS.index)
    left, right = _digits(one), _digits(other)
    if left is not None and right is not None:
        scale = max(left[1], right[1])
        size = max(left[0] - left[1], right[0] - right[1]) + scale
        return f"DECIMAL({size}, {scale})" if size <= _MOST_DIGITS else None
    first, second = _TIMESTAMP.fullmatch(one), _TIMESTAMP.fullmatch(other)
    if first and second and first[1] == second[1]:
        return f"{first[1]}({max(int(first[2]), int(second[2]))})"
    return None


def _digits(kind: str) -> tuple[int, int] | None:
    match = _DECIMAL.fullmatch(kind)
    if match:
        return int(match[1]), int(match[2])
    return (_INTEGER_DIGITS[kind], 0) if kind in _INTEGER_DIGITS else None
