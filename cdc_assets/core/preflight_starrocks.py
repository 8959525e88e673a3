"""Preflight of a StarRocks target: from facts to faults, each with what mends it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.preflight import Fault, missing_table
from cdc_assets.core.preflight_tables import carried_names
from cdc_assets.core.starrocks import (
    MAX_KEY_BYTES,
    MAX_VARCHAR,
    create_table,
    is_column_name,
    is_database_name,
    is_table_name,
    key_bytes,
    misfit,
    query_type,
    quote,
    starrocks_type,
)
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.core.transform_check import written_names
from cdc_assets.core.types import TEXT_BYTES, MySqlType, carried
from cdc_assets.errors import UnsupportedType

# COLUMN_KEY of `information_schema`, by the table's model.
PRIMARY = "PRI"
_WANTED = "a primary-key table with the stream's columns"
_MODELS = {"": "an unknown", "UNI": "a UNIQUE KEY", "DUP": "a DUPLICATE KEY", "AGG": "an AGGREGATE"}


# Name, DATA_TYPE, COLUMN_TYPE, nullability and COLUMN_KEY.
DescribedColumn = tuple[str, str, str, bool, str]


@dataclass(frozen=True)
class StarRocksTable:
    """What the target says of one table.

    Attributes:
        shape: Its columns, and the key's columns whatever the model is.
        key_kind: `PRI` for a primary-key table.
    """

    shape: TableShape
    key_kind: str


@dataclass(frozen=True)
class StarRocksFacts:
    """What the target says.

    Attributes:
        address: Where it was asked.
        database: Holds the target tables.
        problem: Why it could not be asked, empty when it answered.
        load_problem: Why nothing can be loaded, empty where that seems possible.
        has_database: Whether the database exists and the account may see it.
        tables: Target tables that exist, by name.
    """

    address: str
    database: str
    problem: str = ""
    load_problem: str = ""
    has_database: bool = True
    tables: Mapping[str, StarRocksTable] = field(default_factory=dict[str, StarRocksTable])


def judge_starrocks(
    spec: StreamSpec, facts: StarRocksFacts, shapes: Mapping[str, TableShape]
) -> tuple[Fault, ...]:
    """Return everything that keeps a stream from landing in StarRocks.

    Args:
        spec: The stream.
        facts: What the target says.
        shapes: The captured tables that exist, by `database.table`.
    """
    return tuple(_faults(spec, facts, shapes))


def _faults(
    spec: StreamSpec, facts: StarRocksFacts, shapes: Mapping[str, TableShape]
) -> Iterator[Fault]:
    if facts.problem:
        yield Fault(
            "target.host",
            facts.problem,
            "a front end that answers and lets the account in",
            "Check host, query port, user name and password",
        )
        return
    if facts.load_problem:
        yield Fault(
            "target.http_port",
            facts.load_problem,
            "an HTTP port that lets the account load",
            "Check the HTTP port of the front end, user name and password",
        )
    yield from _names(spec, facts)
    if not is_database_name(facts.database):
        return
    if not facts.has_database:
        yield Fault(
            "target_database",
            f"no database {facts.database}, or no right to see it",
            "a database",
            f"CREATE DATABASE {quote(facts.database)};",
        )
    for table in spec.copied:
        source = shapes.get(table.label)
        if source is not None and is_table_name(table.target_name):
            yield from _copied(spec, facts, table, source)
    for query in spec.queries:
        if is_table_name(query.target_name):
            yield from _query_table(spec, facts, query.target_name)


def _names(spec: StreamSpec, facts: StarRocksFacts) -> Iterator[Fault]:
    names = [("target_database", facts.database, is_database_name(facts.database))]
    names += [("target tables", name, is_table_name(name)) for name in spec.target_names]
    for what, name, is_good in names:
        if not is_good:
            yield Fault(
                what,
                f"{name!r}, which StarRocks' connector cannot load",
                "letters, digits and '_'",
                "Use another name, for a table: database.table:other_name",
            )


def _copied(
    spec: StreamSpec, facts: StarRocksFacts, table: TableRef, source: TableShape
) -> Iterator[Fault]:
    unfit = list(_source_columns(spec, table, source))
    yield from unfit
    if not source.primary_key:
        return  # Told by the source's preflight.
    found = facts.tables.get(table.target_name)
    label = f"{facts.database}.{table.target_name}"
    if found is None or found.key_kind != PRIMARY:
        if any(fault.severity == "error" for fault in unfit):
            return  # Without those columns there is no statement yet.
        made = spec.as_made([source])[table.target_name]
        create = create_table(made, facts.database, table.target_name) + ";"
        if found is None:
            yield missing_table(label, _WANTED, create, is_made=spec.makes(table.target_name))
        else:
            yield _wrong_model(label, found, create)
        return
    yield from _pair(spec, table, source, found.shape)


def _source_columns(spec: StreamSpec, table: TableRef, source: TableShape) -> Iterator[Fault]:
    leave_out = f"Exclude it: exclude_columns: {table.name}."
    for column in carried_names(spec, table, source):
        field_name, is_key = f"{source.label}.{column.name}", column.name in source.primary_key
        if not is_column_name(column.name):
            yield Fault(field_name, "a name that StarRocks' connector cannot load",
                        "a name without =, <, >, !, *, a backtick, and other than __op",
                        leave_out + column.name)  # fmt: skip
            continue
        try:
            starrocks_type(source.label, column, is_key=is_key)
        except UnsupportedType as error:
            if is_key:
                yield Fault(field_name, f"type {column.column_type} in the primary key",
                            f"a type that can be a key: {error.reason}",
                            "Leave the table out of the stream")  # fmt: skip
            continue  # Otherwise told by the source's preflight.
        kind = MySqlType.parse(column)
        if TEXT_BYTES.get(kind.base, 0) > MAX_VARCHAR:
            yield Fault(field_name, f"type {column.column_type}",
                        f"no value longer than {MAX_VARCHAR} bytes: it would stop the stream",
                        f"SELECT MAX(LENGTH({quote(column.name)})) FROM"  # noqa: S608 - for a person
                        f" {quote(source.database)}.{quote(source.name)};",
                        "warning")  # fmt: skip
    try:
        size = key_bytes(source) if source.primary_key else 0
    except UnsupportedType:
        return
    if size > MAX_KEY_BYTES:
        yield Fault(
            f"{source.label}.PRIMARY",
            f"a primary key of up to {size} bytes",
            f"no key longer than {MAX_KEY_BYTES} bytes: it would stop the stream",
            f"Look at the longest key, or raise primary_key_limit_size above {MAX_KEY_BYTES}",
            "warning",
        )


def _wrong_model(label: str, found: StarRocksTable, create: str) -> Fault:
    database, _, name = label.partition(".")
    return Fault(
        label,
        f"{_MODELS.get(found.key_kind, 'another')} table",
        # The connector leaves deletes out there, and says nothing.
        "a PRIMARY KEY table: others keep deleted rows",
        f"DROP TABLE {quote(database)}.{quote(name)};\n{create}",
    )


def _pair(
    spec: StreamSpec, table: TableRef, source: TableShape, target: TableShape
) -> Iterator[Fault]:
    label, alter = target.label, f"ALTER TABLE {quote(target.database)}.{quote(target.name)}"
    columns = carried_names(spec, table, source)
    for column in columns:
        is_key = column.name in source.primary_key
        try:
            way = carried(source.label, column, is_key=is_key, target="starrocks")
            wanted = starrocks_type(source.label, column, is_key=is_key)
        except UnsupportedType:
            continue
        other = target.column(column.name)
        null = "NULL" if column.nullable else "NOT NULL"
        if other is None:
            yield Fault(
                f"{label}.{column.name}",
                "no such column",
                wanted,
                # StarRocks adds a NOT NULL column with a default only.
                f"{alter} ADD COLUMN {quote(column.name)} {wanted} NULL;",
            )
        elif reason := misfit(way, other):
            yield Fault(
                f"{label}.{other.name}",
                reason,
                f"a column that holds {column.column_type}",
                f"{alter} MODIFY COLUMN {quote(other.name)} {wanted} {null};",
            )
    wanted_key = sorted(name.lower() for name in source.primary_key)
    if wanted_key != sorted(name.lower() for name in target.primary_key):
        yield Fault(
            f"{label}.PRIMARY",
            f"primary key ({', '.join(target.primary_key)})",
            f"primary key ({', '.join(source.primary_key)})",
            "Make the table anew: StarRocks cannot change a primary key",
        )
    known = {column.name.lower() for column in columns} | written_names(spec, table)
    for other in target.columns:
        if other.name.lower() not in known and not other.nullable:
            yield Fault(
                f"{label}.{other.name}",
                "NOT NULL, and the stream does not write it: every row would be refused",
                "NULL allowed",
                f"{alter} MODIFY COLUMN {quote(other.name)} {other.column_type} NULL;",
            )


def _query_table(spec: StreamSpec, facts: StarRocksFacts, name: str) -> Iterator[Fault]:
    label, made = f"{facts.database}.{name}", spec.as_made(()).get(name)
    create = (
        f"CREATE TABLE {quote(facts.database)}.{quote(name)} (<key columns>, <the others>)"
        " PRIMARY KEY (<key>) DISTRIBUTED BY HASH (<key>);"
        if made is None
        else create_table(made, facts.database, name) + ";"
    )
    found = facts.tables.get(name)
    if found is None:
        wanted = "a primary-key table with the query's columns"
        yield missing_table(label, wanted, create, is_made=spec.makes(name))
        return
    if found.key_kind != PRIMARY:
        yield _wrong_model(label, found, create)
    for column in found.shape.columns:
        try:
            query_type(found.shape, column)
            reason = "" if is_column_name(column.name) else "its name cannot be loaded"
        except UnsupportedType as error:
            reason = error.reason
        if reason:
            yield Fault(f"{label}.{column.name}", f"type {column.column_type}",
                        f"a column that a query can fill: {reason}",
                        "Make the table anew without it")  # fmt: skip


def shape_of(database: str, name: str, rows: Sequence[DescribedColumn]) -> StarRocksTable:
    """Return a table from `information_schema`.

    Args:
        database: Its database.
        name: Its name.
        rows: Its columns in order; those of a key come first, in its order.
    """
    columns = tuple(
        Column(column, data_type.lower(), column_type, nullable=nullable)
        for column, data_type, column_type, nullable, _ in rows
    )
    key = tuple(column for column, _, _, _, kind in rows if kind)
    kinds = {kind for *_, kind in rows if kind}
    shape = TableShape(database, name, columns, key)
    return StarRocksTable(shape, next(iter(kinds)) if len(kinds) == 1 else "")
