"""Iceberg faults: what keeps a stream from landing in its tables, and what mends it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from cdc_assets.core.columns import TableShape
from cdc_assets.core.iceberg import (
    IcebergCatalog,
    IcebergTable,
    create_catalog_sql,
    create_table_sql,
    flink_name,
    flink_type,
    iceberg_type,
    is_name,
    is_promotion,
    misfit,
    quoted_label,
    quoted_name,
)
from cdc_assets.core.preflight import Fault, missing_table
from cdc_assets.core.readers import TableColumns, describe_table
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.types import Carried, carried
from cdc_assets.errors import ConfigurationError, UnsupportedType

# Row deletes came with 2; 3 stores them as deletion vectors, which no reader here applies.
FORMAT_VERSION = 2
# The name that a fix gives the catalog; a session may know it by another one.
CATALOG = "lake"


def judge_tables(
    spec: StreamSpec,
    shapes: Mapping[str, TableShape],
    tables: Mapping[str, IcebergTable],
    catalog: IcebergCatalog,
    *,
    has_namespace: bool = True,
) -> Iterator[Fault]:
    """Yield everything that keeps a stream from landing in its tables.

    Args:
        spec: The stream; its target database is the namespace.
        shapes: The captured tables that exist, by label.
        tables: The target tables that exist, by name.
        catalog: Where they are.
        has_namespace: Whether the namespace exists.
    """
    for table in spec.copied:
        shape = shapes.get(table.label)
        if shape is None:
            continue  # The source's own preflight tells it.
        try:
            each = describe_table(spec, table, shape)
        except (ConfigurationError, UnsupportedType):
            continue  # Told by table and column, too.
        yield from _names(each)
        found = tables.get(table.target_name)
        if found is None:
            made = spec.as_made([shape])[table.target_name]
            yield _missing(spec, catalog, table.target_name, made, has_namespace=has_namespace)
        else:
            yield from _table(found, each.key)
            yield from _columns(found, each)
    for query in spec.queries:
        found = tables.get(query.target_name)
        if found is None:
            made = spec.as_made(()).get(query.target_name)
            yield _missing(spec, catalog, query.target_name, made, has_namespace=has_namespace)
        else:
            yield from _table(found, found.shape.primary_key)
            yield from _query_columns(found)


def _names(each: TableColumns) -> Iterator[Fault]:
    for way in each.columns:
        if not is_name(way.column.name):
            yield Fault(
                f"{each.shape.label}.{way.column.name}",
                "a name that Iceberg cannot hold",
                "letters, digits, '_' and '-'",
                f"Exclude it: exclude_columns: {each.table.alias}.{way.column.name}",
            )


def creation(
    namespace: str, name: str, made: TableShape | None, *, has_namespace: bool
) -> tuple[str, ...]:
    """Return the Flink SQL that makes a target table in the catalog `CATALOG` of a session.

    Args:
        namespace: Of the table.
        name: Of the table.
        made: The table as a source table that is copied whole, None where nobody knows it.
        has_namespace: Whether the namespace exists.

    Raises:
        UnsupportedType: A column cannot be carried.
    """
    database, label = quoted_label(CATALOG, namespace), quoted_label(CATALOG, namespace, name)
    if made is None:
        create = (
            f"CREATE TABLE {label} (<the query's columns>, PRIMARY KEY (<key>) NOT ENFORCED)"
            " WITH ('format-version'='2', 'write.upsert.enabled'='true');"
        )
    else:
        key = made.primary_key
        columns = [
            carried(made.label, column, is_key=column.name in key, target="iceberg")
            for column in made.columns
        ]
        create = create_table_sql(label, columns, key)
    return (*(() if has_namespace else (f"CREATE DATABASE IF NOT EXISTS {database};",)), create)


def _missing(
    spec: StreamSpec,
    catalog: IcebergCatalog,
    name: str,
    made: TableShape | None,
    *,
    has_namespace: bool,
) -> Fault:
    namespace = spec.target_database
    statements = creation(namespace, name, made, has_namespace=has_namespace)
    fault = missing_table(
        f"{namespace}.{name}",
        "a table with the stream's columns",
        "\n".join((create_catalog_sql(catalog, CATALOG), *statements)),
        is_made=spec.makes(name),
    )
    if has_namespace:
        return fault
    return replace(fault, found=f"no such table, and no namespace {namespace}")


def _table(found: IcebergTable, key: tuple[str, ...]) -> Iterator[Fault]:
    shape = found.shape
    alter = _alter(shape)
    if found.format_version < FORMAT_VERSION:
        yield Fault(
            f"{shape.label}.format-version",
            str(found.format_version),
            f"{FORMAT_VERSION}: an update needs deletes of rows",
            f"{alter} SET ('format-version'='{FORMAT_VERSION}');",
        )
    elif found.format_version > FORMAT_VERSION:
        yield Fault(
            f"{shape.label}.format-version",
            str(found.format_version),
            f"{FORMAT_VERSION}: deletion vectors cannot be read back for a comparison",
            "Write into a table of format version 2",
        )
    if sorted(_lower(shape.primary_key)) != sorted(_lower(key)):
        keys = ", ".join(quoted_name(name) for name in key)
        verb = "MODIFY" if shape.primary_key else "ADD"
        yield Fault(
            f"{shape.label}.identifier-fields",
            f"({', '.join(shape.primary_key)})",
            f"({', '.join(key)}), the source's primary key",
            f"{alter} {verb} PRIMARY KEY ({keys}) NOT ENFORCED;",
        )
    for name in found.partition_columns:
        if name.lower() not in _lower(key):
            # A row that moves to another partition would be deleted in the wrong one.
            yield Fault(
                f"{shape.label}.partition-spec",
                f"partitioned by {name}, which is not part of the key",
                f"columns of the key ({', '.join(key)}) only",
                "Write into a table that is partitioned by columns of the key, or not at all",
            )


def _columns(found: IcebergTable, each: TableColumns) -> Iterator[Fault]:
    shape, alter = found.shape, _alter(found.shape)
    for way in each.columns:
        name, is_key = way.column.name, way.column.name in each.key
        other = shape.column(name)
        if other is None:
            yield Fault(
                f"{shape.label}.{name}",
                "no such column",
                iceberg_type(way.sink_type),
                f"{alter} ADD ({quoted_name(name)} {flink_name(way)});",
            )
        elif reason := misfit(way, other, is_key=is_key):
            yield Fault(
                f"{shape.label}.{other.name}",
                reason,
                f"a column that holds {way.column.column_type}",
                _column_fix(alter, way, other.name, other.column_type),
            )
    written = _lower(way.column.name for way in each.columns)
    written += _lower(name for name, _ in each.transform.computed)
    for other in shape.columns:
        if other.name.lower() not in written and not other.nullable:
            yield Fault(
                f"{shape.label}.{other.name}",
                "required, and the stream does not write it",
                "a column that may be empty",
                f"{alter} DROP ({quoted_name(other.name)}); or make it optional",
            )


def _column_fix(alter: str, way: Carried, name: str, found: str) -> str:
    wanted = iceberg_type(way.sink_type)
    column = f"{quoted_name(name)} {flink_name(way)}"
    if found == wanted or is_promotion(found, wanted):
        return f"{alter} MODIFY ({column});"
    return f"{alter} DROP ({quoted_name(name)}); {alter} ADD ({column}); and take a new snapshot"


def _query_columns(found: IcebergTable) -> Iterator[Fault]:
    shape = found.shape
    if not shape.primary_key:
        yield Fault(
            f"{shape.label}.identifier-fields",
            "none",
            "the query's key",
            f"{_alter(shape)} ADD PRIMARY KEY (<columns>) NOT ENFORCED;",
        )
    for column in shape.columns:
        try:
            flink_type(shape, column)
        except UnsupportedType as error:
            yield Fault(
                f"{shape.label}.{column.name}",
                f"type {column.column_type}",
                f"a type that a query can fill: {error.reason}",
                f"{_alter(shape)} DROP ({quoted_name(column.name)});",
            )


def _alter(shape: TableShape) -> str:
    return f"ALTER TABLE {quoted_label(CATALOG, shape.database, shape.name)}"


def _lower(names: Iterator[str] | tuple[str, ...] | list[str]) -> list[str]:
    return [name.lower() for name in names]
