"""Lookup SQL: a table of another database that rows are joined with as they pass. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cdc_assets.core.columns import TableShape
from cdc_assets.core.readers import TableColumns, common_type
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.transform import Lookup
from cdc_assets.errors import ConfigurationError, UnsupportedType
from cdc_assets.flink.quoting import quote_identifier
from cdc_assets.flink.sink_postgres import PostgresSink
from cdc_assets.flink.sinks import Sink
from cdc_assets.flink.source_sql import create_table

# The moment at which a row is joined with its lookup tables.
NOW = "cdc$now"
_KEY = "cdc$key"
_INTEGER_BITS = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "BIGINT": 64}
_CACHED_ROWS = 10_000
# What PostgreSQL's driver hands out as the class that the connector expects.
_POSTGRES_TYPES = frozenset({
    "int2", "int4", "int8", "numeric", "text", "varchar", "bpchar", "bool", "date", "timestamp",
    "float8",
})  # fmt: skip


@dataclass(frozen=True)
class LookupTables:
    """Where the lookup tables of a stream are.

    Attributes:
        sink: How Flink SQL reaches the database; nothing is written to it.
        describe: Returns the tables as the server describes them.
    """

    sink: Sink
    describe: Callable[[Sequence[str]], Sequence[TableShape]]


@dataclass(frozen=True)
class LookupJoin:
    """One lookup table as a part of the INSERT of a copy.

    Attributes:
        ddl: The table's DDL.
        keys: Expression and name of each column that is compared.
        join: The join, where the captured table stands under its own name.
    """

    ddl: str
    keys: tuple[tuple[str, str], ...]
    join: str


def lookup_joins(
    spec: StreamSpec, each: TableColumns, sink: Sink, shapes: Mapping[str, TableShape]
) -> tuple[LookupJoin, ...]:
    """Return the lookup tables of a copy.

    Args:
        spec: The stream.
        each: The captured table.
        sink: How Flink SQL reaches the lookup tables' database.
        shapes: The lookup tables by their name.

    Raises:
        ConfigurationError: A table, a column, a key or a type does not fit.
    """
    found: list[LookupJoin] = []
    for number, lookup in enumerate(each.transform.lookups, start=1):
        shape = shapes.get(lookup.table)
        where = f"lookups.{each.table.alias}.{lookup.table}"
        if shape is None:
            raise ConfigurationError("no such table", field=where, value=lookup.table)
        found.append(_Reading(spec, each, sink, shape, lookup, where, number).join())
    return tuple(found)


@dataclass(frozen=True)
class _Reading:
    spec: StreamSpec
    each: TableColumns
    sink: Sink
    shape: TableShape
    lookup: Lookup
    where: str
    number: int

    def join(self) -> LookupJoin:
        keys: list[tuple[str, str]] = []
        conditions: list[str] = []
        for place, (theirs, own) in enumerate(self.lookup.on):
            name = f"{_KEY}.{self.number}.{place}"
            keys.append((self._key(theirs, own), name))
            conditions.append(
                f"{_quoted(self.lookup.table, theirs)} = {_quoted(self.each.table.alias, name)}"
            )
        self._check_key()
        join = (
            f"LEFT JOIN {quote_identifier(self._name)}"
            f" FOR SYSTEM_TIME AS OF {_quoted(self.each.table.alias, NOW)}"
            f" AS {quote_identifier(self.lookup.table)} ON {' AND '.join(conditions)}"
        )
        return LookupJoin(self._ddl(), tuple(keys), join)

    @property
    def _name(self) -> str:
        return f"lookup.{self.each.table.alias}.{self.lookup.table}"

    def _ddl(self) -> str:
        names = [theirs for theirs, _ in self.lookup.on]
        names += self.each.transform.looked_up(self.lookup.table)
        columns = [(name, self._type(name)) for name in dict.fromkeys(names)]
        seconds = self.spec.lookup_cache_seconds
        cache = {
            "lookup.cache": "PARTIAL",
            "lookup.partial-cache.expire-after-write": f"{round(seconds * 1000)}ms",
            "lookup.partial-cache.max-rows": str(_CACHED_ROWS),
            # A row that is missing now may be there when the next one asks.
            "lookup.partial-cache.cache-missing-key": "false",
        }
        options = {
            **{
                key: value
                for key, value in self.sink.options(self.spec, self.shape.name).items()
                if not key.startswith("sink.")
            },
            "lookup.max-retries": "3",
            **(cache if seconds else {}),
        }
        return create_table(self._name, columns, self._keys_of_table(), options)

    def _keys_of_table(self) -> list[str]:
        wanted = {name.lower() for name in self.shape.primary_key}
        return [theirs for theirs, _ in self.lookup.on if theirs.lower() in wanted]

    def _check_key(self) -> None:
        given = {theirs.lower() for theirs, _ in self.lookup.on}
        if not self.shape.primary_key or not {k.lower() for k in self.shape.primary_key} <= given:
            raise ConfigurationError(
                f"the primary key of {self.shape.label} is "
                f"({', '.join(self.shape.primary_key) or 'missing'}); joined over less than that, "
                "a row could become several",
                field=self.where,
                value=", ".join(theirs for theirs, _ in self.lookup.on),
            )

    def _type(self, name: str) -> str:
        column = self.shape.column(name)
        if column is None or column.name != name:
            near = f"; there is {column.name}" if column else ""
            raise ConfigurationError(
                f"no such column in {self.shape.label}{near}", field=self.where, value=name
            )
        self.sink.checked_column(name, field=self.where)
        if isinstance(self.sink, PostgresSink) and column.data_type not in _POSTGRES_TYPES:
            raise UnsupportedType(
                self.shape.label, name, column.column_type, "a lookup cannot read it"
            )
        return self.sink.query_type(self.shape, column)

    def _key(self, theirs: str, own: str) -> str:
        """Return the own column in the type of the lookup table's."""
        wanted, found, name = self._type(theirs), self.each.source_type(own), quote_identifier(own)
        if found is None:
            raise ConfigurationError(
                f"no such column in {self.each.shape.label}", field=self.where, value=own
            )
        if found == wanted:
            return name
        bits = _INTEGER_BITS.get(wanted)
        if bits and (found in _INTEGER_BITS or found.endswith(", 0)")):
            # A number that is too large for their column is not in it.
            low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
            return f"CASE WHEN {name} BETWEEN {low} AND {high} THEN CAST({name} AS {wanted}) END"
        if common_type(found, wanted) == wanted:
            return f"CAST({name} AS {wanted})"
        raise ConfigurationError(
            f"{found} in {self.each.shape.label}, {wanted} in {self.shape.label}",
            field=self.where,
            value=f"{theirs} = {own}",
            hint="Join over columns of one type",
        )


def _quoted(qualifier: str, name: str) -> str:
    return f"{quote_identifier(qualifier)}.{quote_identifier(name)}"
