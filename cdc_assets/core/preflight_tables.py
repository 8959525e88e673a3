"""Preflight of tables: captured tables, and the target tables that they land in. Pure."""

# ruff: noqa: S608 - names go through quote_name, values through the driver

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.preflight import (
    Fault,
    PreflightFacts,
    ServerFacts,
    TargetFacts,
    judge_group,
    judge_server,
    missing_table,
)
from cdc_assets.core.readers import plan_readers, unreadable
from cdc_assets.core.row_sql import is_jdbc_name, quote_name
from cdc_assets.core.shards import ShardedShape
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.core.transform_check import transform_faults, written_names
from cdc_assets.core.type_fit import misfit
from cdc_assets.core.types import carried, is_integer_key, natural_type, target_column
from cdc_assets.errors import ConfigurationError, UnsupportedType

# A table up to this size is one chunk (scan.incremental.snapshot.chunk.size).
CHUNK_ROWS = 8096


def judge(facts: PreflightFacts) -> tuple[Fault, ...]:
    """Return everything that is not as it must be, errors and warnings, in a fixed order."""
    return tuple(_faults(facts))


def carried_names(spec: StreamSpec, table: TableRef, shape: TableShape) -> tuple[Column, ...]:
    """Return the columns of a captured table without the excluded ones."""
    return tuple(
        column for column in shape.columns if not spec.leaves_out(table, shape, column.name)
    )


def _faults(facts: PreflightFacts) -> Iterator[Fault]:
    yield from judge_server(facts, facts.source)
    yield from _captured(facts, facts.source)
    yield from _reader_ids(facts)
    if facts.green is not None:
        yield from judge_server(facts, facts.green)
        known = set(_captured(facts, facts.source))
        for fault in _captured(facts, facts.green):
            if fault not in known:
                yield replace(fault, field=f"green.{fault.field}")
    yield from judge_group(facts)
    yield from _excluded(facts)
    yield from transform_faults(facts.spec, facts.source.shapes)
    if facts.target is not None:
        yield from _target(facts, facts.target)


def _reader_ids(facts: PreflightFacts) -> Iterator[Fault]:
    """Yield a range that holds too few ids for the readers that the tables need."""
    if facts.spec.engine != "flink":  # One reader for all tables.
        return
    shapes = tuple(facts.source.shapes.values())
    try:
        plan_readers(facts.spec, shapes)
    except UnsupportedType:
        return  # Told by table and column.
    except ConfigurationError as error:
        if error.field == "server_ids":
            yield Fault(
                f"{facts.spec.name}.server_ids",
                f"{facts.spec.server_ids}, {facts.spec.server_ids.size} ids",
                error.message,
                error.hint or "Give the stream a larger range",
            )


def _captured(facts: PreflightFacts, server: ServerFacts) -> Iterator[Fault]:
    for table in facts.spec.tables:
        shape = server.shapes.get(table.label)
        if shape is not None:
            yield from _captured_table(facts.spec, table, shape)
    for cascade in server.cascades:
        yield Fault(
            f"{cascade.table}.{cascade.constraint}",
            cascade.clause,
            "RESTRICT or NO ACTION",
            # InnoDB runs these actions below the binlog: the readers never see the rows.
            f"ALTER TABLE {_label(cascade.table)} DROP FOREIGN KEY"
            f" {quote_name(cascade.constraint)}; and add it without the action:"
            " rows that it changes are not in the binlog",
        )
    for column in server.zero_dates:
        yield Fault(
            column,
            "dates with a zero part",
            "real dates or NULL",
            "Such a date arrives as NULL. Change the rows, or exclude_columns: "
            + column.partition(".")[2],
        )
    for column in server.zero_years:
        yield Fault(
            column,
            "the year 0000",
            "real years or NULL: the snapshot reads 0000 as 2000",
            "Change the rows until the snapshot is over (the stream reads 0000 as it is), or"
            f" exclude_columns: {column.partition('.')[2]}",
        )
    for table_label in server.unprobed:
        yield Fault(
            table_label,
            "too many rows to look through for zero dates and zero years",
            "no dates with a zero part, no year 0000",
            f"SELECT COUNT(*) FROM {_label(table_label)} WHERE DAYOFMONTH(<date column>) = 0"
            " OR <year column> = 0;",
            "warning",
        )
    for table_label in server.uncaptured:
        yield Fault(
            table_label,
            "matches the pipeline's tables, and the stream does not capture it",
            "every matching table captured, or left out by tables.exclude",
            "cdc-assets pipeline resolve <file>, then a new snapshot; or tables.exclude",
            "warning",
        )


def _backticks(shape: TableShape) -> Iterator[Fault]:
    for column in shape.columns:
        if "`" in column.name:
            # Also where it is not carried: the reader looks for every column by its name.
            yield Fault(
                f"{shape.label}.{column.name}",
                "a name with a backtick, which the readers write twice and then do not find",
                "a name without one",
                "Rename the column, or leave the table out",
            )


def _captured_table(spec: StreamSpec, table: TableRef, shape: TableShape) -> Iterator[Fault]:
    for name, reason in shape.conflicts if isinstance(shape, ShardedShape) else ():
        yield Fault(
            f"{shape.label}.{name}",
            reason,
            "shards that are one table",
            f"Narrow the pattern of {table.alias}, or make the shards alike",
        )
    problem = unreadable(shape)
    if problem:
        yield Fault(shape.label, problem, "a name that it reads", "Rename it, or leave it out")
    if not shape.primary_key:
        yield Fault(
            shape.label,
            "no primary key",
            "a primary key",
            f"ALTER TABLE {_label(shape.label)} ADD PRIMARY KEY (<columns>);",
        )
    elif spec.stateful and not any(is_integer_key(shape, name) for name in shape.primary_key):
        yield Fault(
            shape.label,
            "a primary key without an integer column, read by a query",
            "an integer in the key: the snapshot finds changed rows in its chunks by it only",
            f"Write nothing to {shape.label} during the snapshot, or leave the queries out",
            "error" if shape.rows_estimate > CHUNK_ROWS else "warning",
        )
    yield from _backticks(shape)
    names = {column.name for column in carried_names(spec, table, shape)}
    for name in shape.primary_key:
        if name not in names:
            yield Fault(
                f"{spec.name}.exclude_columns",
                f"{table.alias}.{name}, a part of the primary key",
                "columns outside the primary key",
                f"Take {table.alias}.{name} out of exclude_columns",
            )
    if spec.engine == "flink":  # The others have converters of their own.
        yield from _types(spec, table, shape)


def _types(spec: StreamSpec, table: TableRef, shape: TableShape) -> Iterator[Fault]:
    for column in carried_names(spec, table, shape):
        try:
            carried(shape.label, column, target=spec.target_kind)
        except UnsupportedType as error:
            yield Fault(
                f"{shape.label}.{column.name}",
                f"type {column.column_type}",
                f"a type that can be carried: {error.reason}",
                f"Exclude it: exclude_columns: {table.alias}.{column.name}",
            )
        if column.data_type == "float":
            yield Fault(
                f"{shape.label}.{column.name}",
                f"{column.column_type}: the snapshot brings the 6 digits that the server shows",
                "DOUBLE, where more digits count",
                f"ALTER TABLE {_label(shape.label)} MODIFY {quote_name(column.name)} DOUBLE;",
                "warning",
            )


def _excluded(facts: PreflightFacts) -> Iterator[Fault]:
    """Yield exclusions that exclude nothing: a typing error would carry a secret column."""
    known = {
        f"{table.alias}.{column.name}".lower()
        for table in facts.spec.tables
        if (shape := facts.source.shapes.get(table.label)) is not None
        for column in shape.columns
    }
    complete = all(table.label in facts.source.shapes for table in facts.spec.tables)
    for name in facts.spec.exclude_columns:
        if complete and name.lower() not in known:
            yield Fault(
                f"{facts.spec.name}.exclude_columns",
                f"{name}, which is no column of a captured table",
                "table.column",
                f"Correct or remove {name}",
            )


def _target(facts: PreflightFacts, target: TargetFacts) -> Iterator[Fault]:
    if target.problem:
        yield Fault(
            "target.host",
            target.problem,
            "a target that answers and lets the account in",
            "Check host, port, database, user name and password",
        )
        return
    if target.is_read_only:
        yield Fault("target.read_only", "ON", "OFF", "SET GLOBAL read_only = OFF;")
    unknown = {t.target_name for t in facts.spec.copied if t.label not in facts.source.shapes}
    for name in facts.spec.target_names:
        if name not in unknown:
            yield from _target_table(facts.spec, target, name)
    for table in facts.spec.copied:
        source, shape = facts.source.shapes.get(table.label), target.shapes.get(table.target_name)
        if source is not None:
            yield from _pair(facts.spec, table, source, shape or _as_made(facts, table, source))
    for query in facts.spec.queries:
        shape = target.shapes.get(query.target_name)
        if shape is not None:
            yield from _query_table(shape)


def _as_made(facts: PreflightFacts, table: TableRef, source: TableShape) -> TableShape:
    """Return a missing target table as its statement makes it, so that it is judged like others."""
    columns = carried_names(facts.spec, table, source)
    plain = tuple(replace(column, generated=False) for column in columns)
    database = facts.target.database if facts.target else ""
    return TableShape(database, table.target_name, plain, source.primary_key)


def _target_table(spec: StreamSpec, target: TargetFacts, name: str) -> Iterator[Fault]:
    label = f"{target.database}.{name}"
    if name not in target.shapes:
        statement = target.create_statements.get(name, "")
        grant = f"GRANT CREATE ON {quote_name(target.database)}.* TO {target.account}"
        yield missing_table(
            label,
            "a table with the stream's columns",
            statement
            or f"CREATE TABLE {_label(label)} (<the query's columns>, PRIMARY KEY (<key>));",
            is_made=bool(statement) and spec.makes(name) and name in target.may_create,
            lacks=grant if statement and spec.makes(name) else "",
        )
        return
    missing = target.missing_privileges.get(name, ())
    if missing:
        text = ", ".join(missing)
        yield Fault(
            "target.grants",
            f"{target.account} without {text} on {label}",
            text,
            f"GRANT {text} ON {_label(label)} TO {target.account};",
        )
    for index in target.unique_indexes.get(name, ()):
        # ON DUPLICATE KEY UPDATE takes the first unique key that collides, so a row can
        # overwrite another one when values move between rows.
        yield Fault(
            f"{label}.{index}",
            "a unique index besides the primary key",
            "the primary key as the only one",
            f"ALTER TABLE {_label(label)} DROP INDEX {quote_name(index)};"
            " and add it as an index that is not unique",
        )


def _pair(
    spec: StreamSpec, table: TableRef, source: TableShape, target: TableShape
) -> Iterator[Fault]:
    label, alter = target.label, f"ALTER TABLE {_label(target.label)}"
    columns = carried_names(spec, table, source)
    for column in columns:
        other = target.column(column.name)
        if not is_jdbc_name(column.name):
            yield Fault(
                f"{source.label}.{column.name}",
                "a name that Flink's JDBC connector cannot write",
                "letters, digits, '_' and '$'",
                f"Exclude it: exclude_columns: {table.alias}.{column.name}",
            )
        elif other is None:
            yield Fault(
                f"{label}.{column.name}",
                "no such column",
                column.column_type,
                f"{alter} ADD COLUMN {quote_name(column.name)} {target_column(column)};",
            )
        elif reason := misfit(column, other):
            yield Fault(
                f"{label}.{other.name}",
                reason,
                f"a column that holds {column.column_type}",
                f"{alter} MODIFY COLUMN {quote_name(other.name)} {target_column(column)};",
            )
    wanted = [name.lower() for name in source.primary_key]
    if sorted(wanted) != sorted(name.lower() for name in target.primary_key):
        keys = ", ".join(quote_name(name) for name in source.primary_key)
        drop = "DROP PRIMARY KEY, " if target.primary_key else ""
        yield Fault(
            f"{label}.PRIMARY",
            f"primary key ({', '.join(target.primary_key)})",
            f"primary key ({', '.join(source.primary_key)})",
            f"{alter} {drop}ADD PRIMARY KEY ({keys});",
        )
    yield from _collations(source, target)
    carried_lower = {column.name.lower() for column in columns} | written_names(spec, table)
    for other in target.columns:
        if other.name.lower() not in carried_lower and not other.nullable and not other.generated:
            yield Fault(
                f"{label}.{other.name}",
                "NOT NULL, and the stream does not write it",
                "a default value, or NULL allowed",
                f"{alter} MODIFY COLUMN {quote_name(other.name)} {other.column_type} NULL;",
                "warning",
            )


def _collations(source: TableShape, target: TableShape) -> Iterator[Fault]:
    """Yield key columns that the target compares otherwise: two source rows may become one."""
    for name in source.primary_key:
        left, right = source.column(name), target.column(name)
        if left is None or right is None or not left.collation or not right.collation:
            continue
        if left.collation != right.collation and not right.collation.endswith("_bin"):
            yield Fault(
                f"{target.label}.{right.name}",
                f"collation {right.collation}",
                f"{left.collation}, as the source's key, so that no two keys become one",
                f"ALTER TABLE {_label(target.label)} MODIFY COLUMN {quote_name(right.name)}"
                f" {target_column(left)};",
            )


def _query_table(shape: TableShape) -> Iterator[Fault]:
    if not shape.primary_key:
        yield Fault(
            shape.label,
            "no primary key",
            "the query's key as primary key",
            f"ALTER TABLE {_label(shape.label)} ADD PRIMARY KEY (<columns>);",
        )
    for column in shape.columns:
        if column.generated:
            continue
        try:
            natural_type(shape.label, column)
        except UnsupportedType as error:
            yield Fault(
                f"{shape.label}.{column.name}",
                f"type {column.column_type}",
                f"a type that a query can fill: {error.reason}",
                f"ALTER TABLE {_label(shape.label)} DROP COLUMN {quote_name(column.name)};",
            )


def _label(label: str) -> str:
    database, _, name = label.partition(".")
    return f"{quote_name(database)}.{quote_name(name)}"
