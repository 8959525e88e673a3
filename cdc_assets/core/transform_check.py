"""Checks of transforms against the source's schema, before anything starts. Pure.

What needs a parser of Flink SQL is asked of Flink itself (`flink.sql_check`); here is what the
tables alone say, so that a name that does not exist is told without a cluster, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.preflight import Fault
from cdc_assets.core.readers import TABLE_FIELD
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.core.transform import Transform
from cdc_assets.core.types import MySqlType, carried
from cdc_assets.errors import ConfigurationError, UnsupportedType

_MOMENTS = frozenset({"date", "datetime", "timestamp"})


def transform_faults(spec: StreamSpec, shapes: Mapping[str, TableShape]) -> Iterator[Fault]:
    """Yield what in the transforms does not fit the captured tables.

    Args:
        spec: The stream.
        shapes: The captured tables that exist, by `database.table`.
    """
    for table in spec.copied:
        shape = shapes.get(table.label)
        if shape is not None:
            yield from _of_table(spec, table, shape)


def require_sound(spec: StreamSpec, shapes: Sequence[TableShape]) -> None:
    """Refuse a stream whose transforms do not fit the captured tables.

    Raises:
        ConfigurationError: With the first thing that does not.
    """
    for fault in transform_faults(spec, {shape.label: shape for shape in shapes}):
        raise ConfigurationError(
            f"found {fault.found}, wanted {fault.wanted}", field=fault.field, hint=fault.fix
        )


def written_names(spec: StreamSpec, table: TableRef) -> set[str]:
    """Return the computed columns of a copy in lower case: the stream writes these, too."""
    return {name.lower() for name, _ in spec.transform_of(table).computed}


def _of_table(spec: StreamSpec, table: TableRef, shape: TableShape) -> Iterator[Fault]:
    transform = spec.transform_of(table)
    names = [column.name for column in shape.columns]
    for name in transform.columns:
        if shape.column(name) is None:
            yield _unknown(spec, f"columns.{table.alias}", name, "", shape)
    for field, text, _ in transform.expressions:
        for reference in transform.own(names, field=field):
            yield from _used(spec, field, text, reference.name, shape)
    yield from _lookups(spec, transform, shape)
    carried_names = {
        column.name.lower()
        for column in shape.columns
        if not spec.leaves_out(table, shape, column.name)
    }
    for name, _ in transform.computed:
        if name.lower() in carried_names:
            yield Fault(
                f"{spec.name}.computed.{table.alias}.{name}",
                f"{name}, which is copied from {shape.label}",
                "another name, or the column left out",
                f"Add {table.alias}.{name} to exclude_columns, or name the computed one otherwise",
            )
    if spec.target_kind == "kafka":
        yield from _topic(spec, transform, shape)


def _lookups(spec: StreamSpec, transform: Transform, shape: TableShape) -> Iterator[Fault]:
    for lookup in transform.lookups:
        field = f"lookups.{transform.table}.{lookup.table}"
        if lookup.table == transform.table:
            yield Fault(
                f"{spec.name}.{field}",
                f"{lookup.table}, the name of the captured table",
                "names that tell the two tables apart",
                "Look up in a view of another name",
            )
        for _, own in lookup.on:
            yield from _used(spec, field, own, own, shape)


def _topic(spec: StreamSpec, transform: Transform, shape: TableShape) -> Iterator[Fault]:
    """Yield what a topic cannot tell: see docs/etl.md, "Rows that leave the filter"."""
    if not transform.filter or spec.latest_values_only:
        return
    field = f"{spec.name}.{transform.filter_field}"
    names = [column.name for column in shape.columns]
    others = [
        reference.name
        for reference in transform.own(names, field=transform.filter_field)
        if reference.name in names and reference.name not in shape.primary_key
    ]
    if others:
        yield Fault(
            field,
            f"{', '.join(others)} in {transform.filter!r}, outside the primary key",
            "a filter over the primary key: below another one every update would reach the topic "
            "as a tombstone and a value",
            "Set latest_values_only if the topic may get the last value of a flush interval only",
        )
    # The sink drops rows by NULL in a column of its own, in the whole job.
    if spec.queries:
        yield Fault(
            field,
            f"a filter beside the query {spec.queries[0].target_name}",
            "a stream without queries, whose rows it could drop",
            "Give the query a stream of its own",
        )
    for column in (shape.column(name) for name in shape.primary_key):
        if column is not None and MySqlType.parse(column).base in _MOMENTS:
            yield Fault(
                field,
                f"{column.name} in the primary key, type {column.column_type}",
                "a key that never arrives as NULL, as a zero date does",
                "Leave the filter out and let the topic's readers filter",
            )
    if shape.column(TABLE_FIELD) is not None:
        yield Fault(
            field,
            f"a column {TABLE_FIELD}",
            f"a table without one: {TABLE_FIELD} names the table in its records",
            "Leave the filter out and let the topic's readers filter",
        )


def _used(spec: StreamSpec, field: str, text: str, name: str, shape: TableShape) -> Iterator[Fault]:
    column = shape.column(name)
    if column is None or column.name != name:
        yield _unknown(spec, field, name, text, shape)
        return
    if reason := unusable(shape, column):
        yield Fault(
            f"{spec.name}.{field}",
            f"{name} of {shape.label}, type {column.column_type}, in {text!r}",
            f"columns whose value is the same in snapshot and stream: {reason}",
            f"Leave {name} out of the text",
        )


def unusable(shape: TableShape, column: Column) -> str:
    """Return why an expression cannot use a column, empty when it can."""
    try:
        # A topic takes each value as it comes, so what is made of it shows the raw one is odd.
        way = carried(shape.label, column, target="kafka")
    except UnsupportedType as error:
        return error.reason
    if MySqlType.parse(column).base == "float":
        return "the snapshot reads 6 significant digits of it, the stream all of them"
    return "" if way.expression == "{}" else "what the reader brings is made right on the way out"


def _unknown(spec: StreamSpec, field: str, name: str, text: str, shape: TableShape) -> Fault:
    other = shape.column(name)
    where = f" in {text!r}" if text and text != name else ""
    return Fault(
        f"{spec.name}.{field}",
        f"{name}{where}, no column of {shape.label}",
        "a column, spelled as the source spells it",
        f"Write {other.name}"
        if other
        else f"Use one of: {', '.join(column.name for column in shape.columns)}",
    )
