"""Copy SQL: the sink table of a copied table, and the INSERT that fills it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cdc_assets.core.columns import TableShape
from cdc_assets.core.readers import TABLE_FIELD, TableColumns
from cdc_assets.core.types import Carried
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.lookup_sql import NOW, LookupJoin
from cdc_assets.flink.quoting import quote_identifier, quote_text
from cdc_assets.flink.sinks import Sink, WholeTableSink
from cdc_assets.flink.source_sql import create_table

# A sink and a captured table may have one name, and both are tables of one Flink session.
SINK_PREFIX = "target."


@dataclass(frozen=True)
class Probe:
    """A text of the definition, in a query that Flink can be asked about.

    Attributes:
        field: Where the text stands in the definition.
        text: As a person wrote it.
        select: A query whose columns are the text's values.
        columns: Names and types of the columns that these values go to, empty for a condition.
        is_query: Whether it fills a target table by itself.
        target: The target table that it fills, or a column of it.
    """

    field: str
    text: str
    select: str
    columns: tuple[tuple[str, str], ...] = ()
    is_query: bool = False
    target: str = ""


@dataclass(frozen=True)
class Copy:
    """A captured table on its way to its target table.

    Attributes:
        each: The captured table.
        pairs: Name of each target column and the column that fills it.
        computed: Name, type and expression of each computed target column.
        more: Name and type of columns that the reader adds.
        lookups: Tables that its rows are joined with.
        is_sieved: Whether the sink drops the rows that do not meet the filter, because the
            column `TABLE_FIELD` is NULL in them (`core.readers`).
    """

    each: TableColumns
    pairs: tuple[tuple[str, Carried], ...]
    computed: tuple[tuple[str, str, str], ...] = ()
    more: tuple[tuple[str, str], ...] = ()
    lookups: tuple[LookupJoin, ...] = ()
    is_sieved: bool = False

    @property
    def insert(self) -> str:
        """Return the INSERT."""
        # A lookup table may have a column of the same name.
        before = f"{self._alias}." if self.lookups else ""
        plain = [quote_identifier(name) for name, _ in self.more]
        names = [quote_identifier(name) for name, _ in self.pairs]
        names += [quote_identifier(name) for name, _, _ in self.computed]
        values = [
            way.expression.format(before + quote_identifier(way.column.name))
            for _, way in self.pairs
        ]
        values += [in_brackets(text) for _, _, text in self.computed]
        target = quote_identifier(f"{SINK_PREFIX}{self.each.table.target_name}")
        marks = [before + each if self.is_sieved else each for each in plain]
        if self.is_sieved and not self.lookups:
            marks = [self._mark]
        where = "" if self.is_sieved else self._where
        return (
            f"INSERT INTO {target} ({', '.join([*names, *plain])})\n"
            f"SELECT {', '.join([*values, *marks])}\n{self._origin(where)}"
        )

    @property
    def probes(self) -> tuple[Probe, ...]:
        """Return the texts of the transform, each in a query of its own."""
        transform, target = self.each.transform, self.each.table.target_name
        found: list[Probe] = []
        if transform.filter:
            select = f"SELECT 1 AS `c`\nFROM {self._alias}{self._where}"
            found.append(Probe(transform.filter_field, transform.filter, select, target=target))
        for name, kind, text in self.computed:
            select = f"SELECT {in_brackets(text)} AS {quote_identifier(name)}\n{self._origin('')}"
            field = f"computed.{transform.table}.{name}"
            found.append(Probe(field, text, select, ((name, kind),), target=target))
        return tuple(found)

    @property
    def _alias(self) -> str:
        return quote_identifier(self.each.table.alias)

    @property
    def _mark(self) -> str:
        condition = in_brackets(self.each.transform.filter)
        return f"CASE WHEN {condition} THEN {quote_text(self.each.table.label)} END"

    @property
    def _where(self) -> str:
        text = self.each.transform.filter
        return f"\nWHERE {in_brackets(text)}" if text else ""

    def _origin(self, where: str) -> str:
        """Return where the rows come from; only those that pass are looked up."""
        if not self.lookups:
            return f"FROM {self._alias}{where}"
        keys = [
            f"{expression} AS {quote_identifier(name)}"
            for lookup in self.lookups
            for expression, name in lookup.keys
        ]
        if self.is_sieved:
            keys.append(f"{self._mark} AS {quote_identifier(TABLE_FIELD)}")
        columns = ", ".join(["*", *keys, f"PROCTIME() AS {quote_identifier(NOW)}"])
        rows = f"FROM (SELECT {columns} FROM {self._alias}{where}) AS {self._alias}"  # noqa: S608 - quoted names, and one expression in brackets
        return "\n".join([rows, *(lookup.join for lookup in self.lookups)])


def in_brackets(text: str) -> str:
    """Return an expression that nothing around it takes apart."""
    return f"({text.strip()})"


def computed_columns(
    sink: Sink, shape: TableShape, each: TableColumns
) -> tuple[tuple[str, str, str], ...]:
    """Return name, type and expression of each computed column.

    Raises:
        ConfigurationError: The target table has no such column, or its type is not known.
        UnsupportedType: An expression cannot fill it.
    """
    found: list[tuple[str, str, str]] = []
    for name, text in each.transform.computed:
        where = f"computed.{each.table.alias}.{name}"
        if not sink.has_columns:
            kind = each.transform.declared_type(name)
            if not kind:
                raise ConfigurationError(
                    "a topic has no columns, so the expression must say its type",
                    field=where,
                    value=text,
                    hint="Write it as CAST(... AS DECIMAL(12, 2)), for example",
                )
            found.append((sink.checked_column(name, field=where), kind, text))
            continue
        column = shape.column(name)
        if column is None:
            raise ConfigurationError(
                f"the target table {shape.label} has no such column",
                field=where,
                value=name,
                hint="Add it to the target table",
            )
        kind = sink.query_type(shape, column)
        found.append((sink.checked_column(column.name, field=where), kind, text))
    return tuple(found)


def copy_columns(sink: Sink, shape: TableShape, copy: Copy) -> list[tuple[str, str]]:
    """Return name and type of each column of a copy's sink table."""
    if isinstance(sink, WholeTableSink):
        return [(column.name, sink.column_type(shape, column)) for column in shape.columns]
    return [
        *((name, way.sink_type) for name, way in copy.pairs),
        *((name, kind) for name, kind, _ in copy.computed),
        *copy.more,
    ]


def copy_sink(sink: Sink, shape: TableShape, copy: Copy, options: Mapping[str, str]) -> str:
    """Return the DDL of a copy's sink table."""
    key: Sequence[str] = copy.each.key
    sink_key = [name for name, way in copy.pairs if way.column.name in key]
    ordered = sorted(sink_key, key=lambda name: [k.lower() for k in key].index(name.lower()))
    columns = copy_columns(sink, shape, copy)
    return create_table(f"{SINK_PREFIX}{shape.name}", columns, ordered, options)
