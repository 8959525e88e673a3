"""Transform: what a stream does to the rows of a copied table on their way. Pure.

A transformed copy stays a copy: one row of the source is one row of the target or none, under
the same key, and Flink keeps nothing of it in its state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from cdc_assets.core.expressions import Reference, Token, cast_type, references, tokens_of
from cdc_assets.errors import ConfigurationError

_PAIR = 3  # name, sign, name


@dataclass(frozen=True)
class Lookup:
    """A table of another database that gives columns to the rows of a copy.

    Each row is joined when it passes, with what the lookup table holds at that moment; a row
    without a match keeps its place, with NULL in the looked-up columns.

    Attributes:
        table: Name in the lookup database, and before the dot in an expression.
        on: Pairs of a column there and the captured table's column that it must equal; they
            hold the lookup table's primary key.
    """

    table: str
    on: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, table: str, text: str, *, field: str = "lookups") -> Lookup:
        """Read `id = customer_id`, or several such pairs with AND between them.

        Raises:
            ConfigurationError: The text has another form.

        Example:
            >>> Lookup.parse("customers", "id = customer_id AND region = region").on
            (('id', 'customer_id'), ('region', 'region'))
        """
        parts: list[list[Token]] = [[]]
        for token in tokens_of(text, field=field):
            if token.word == "AND":
                parts.append([])
            else:
                parts[-1].append(token)
        pairs: list[tuple[str, str]] = []
        for part in parts:
            names = [token.name for token in part if token.text != "="]
            if len(part) != _PAIR or part[1].text != "=" or not all(names):
                raise ConfigurationError(
                    "write it as lookup_column = column, with AND between several",
                    field=field,
                    value=text,
                )
            pairs.append((names[0], names[1]))
        return cls(table, tuple(pairs))


@dataclass(frozen=True)
class Transform:
    """What is done to the rows of one captured table.

    Attributes:
        table: The captured table, by its name; shards by the name of their target table.
        columns: The columns that are copied, empty for all; the key is always among them.
        filter: A Flink SQL condition over the table's columns. A row that does not meet it any
            more is deleted at the target.
        computed: Name of a target column and the Flink SQL expression that fills it.
        lookups: Tables that expressions may take columns from, as `lookup_table.column`.

    Example:
        >>> Transform("orders", filter="amount > 100", computed=(("total", "price * n"),)).reads(
        ...     ["id", "amount", "price", "n", "note"]
        ... )
        ('amount', 'price', 'n')
    """

    table: str
    columns: tuple[str, ...] = ()
    filter: str = ""
    computed: tuple[tuple[str, str], ...] = ()
    lookups: tuple[Lookup, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be done, as far as it shows without the table."""
        if not self.table:
            raise ConfigurationError("name the table", field="transforms", value=self.table)
        for what, names in (
            ("columns", self.columns),
            ("computed", [name for name, _ in self.computed]),
            ("lookups", [each.table for each in self.lookups]),
        ):
            lower = [name.lower() for name in names]
            double = sorted({name for name in names if lower.count(name.lower()) > 1})
            if double or "" in names:
                raise ConfigurationError(
                    "named twice" if double else "an empty name",
                    field=f"{what}.{self.table}",
                    value=double,
                )
        known = {each.table for each in self.lookups} | {self.table}
        for field, text, tokens in self.expressions:
            for reference in references(tokens, frozenset()):
                if reference.qualifier and reference.qualifier not in known:
                    raise ConfigurationError(
                        f"{reference.qualifier} is neither the table nor among its lookups",
                        field=field,
                        value=text,
                    )
                if field == self.filter_field and reference.qualifier in known - {self.table}:
                    raise ConfigurationError(
                        "a filter reads its own table only: what a lookup table holds may change "
                        "after the row was written",
                        field=field,
                        value=text,
                    )

    @property
    def filter_field(self) -> str:
        """Return what errors call the filter."""
        return f"filters.{self.table}"

    @cached_property
    def expressions(self) -> tuple[tuple[str, str, tuple[Token, ...]], ...]:
        """Return field, text and tokens of the filter and of each computed column."""
        parts = [(self.filter_field, self.filter)] if self.filter else []
        parts += [(f"computed.{self.table}.{name}", text) for name, text in self.computed]
        return tuple((field, text, tokens_of(text, field=field)) for field, text in parts)

    @property
    def changes_rows(self) -> bool:
        """Return whether more is done than leaving columns out."""
        return bool(self.filter or self.computed or self.lookups)

    def declared_type(self, name: str) -> str:
        """Return the type of a computed column whose expression is one CAST, else empty."""
        field = f"computed.{self.table}.{name}"
        return next((cast_type(tokens) for at, _, tokens in self.expressions if at == field), "")

    def own(self, columns: Sequence[str], *, field: str = "") -> tuple[Reference, ...]:
        """Return the captured table's columns that expressions and lookups name.

        Args:
            columns: Names of the table's columns.
            field: Of one expression only.
        """
        known = frozenset(columns)
        found = [
            reference
            for at, _, tokens in self.expressions
            if at == field or not field
            for reference in references(tokens, known)
            if reference.qualifier in {"", self.table}
        ]
        if not field:
            found += [Reference(name) for each in self.lookups for _, name in each.on]
        return tuple(dict.fromkeys(found))

    @property
    def origins(self) -> dict[str, tuple[str, ...]]:
        """Return the captured table's columns that each computed column is made of."""
        return {
            name: tuple(each.name for each in self.own((), field=f"computed.{self.table}.{name}"))
            for name, _ in self.computed
        }

    def looked_up(self, table: str) -> tuple[str, ...]:
        """Return the columns of a lookup table that expressions name."""
        found = (
            reference.name
            for _, _, tokens in self.expressions
            for reference in references(tokens, frozenset())
            if reference.qualifier == table
        )
        return tuple(dict.fromkeys(found))

    def reads(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Return those of a table's columns that must be read, copied or not."""
        named = {reference.name for reference in self.own(columns)}
        return tuple(name for name in columns if name in named)

    def leaves_out(self, column: str) -> bool:
        """Return whether a column is not among those that are copied."""
        return bool(self.columns) and column.lower() not in {name.lower() for name in self.columns}


def transforms_of(
    *,
    columns: dict[str, list[str]],
    filters: dict[str, str],
    computed: dict[str, dict[str, str]],
    lookups: dict[str, dict[str, str]],
) -> tuple[Transform, ...]:
    """Return the transforms that four settings describe, each by the name of its table.

    Raises:
        ConfigurationError: A text is not usable.
    """
    names = dict.fromkeys(name for part in (columns, filters, computed, lookups) for name in part)
    return tuple(
        Transform(
            name,
            columns=tuple(columns.get(name, ())),
            filter=_given(filters, name),
            computed=tuple(computed.get(name, {}).items()),
            lookups=tuple(
                Lookup.parse(table, text, field=f"lookups.{name}.{table}")
                for table, text in lookups.get(name, {}).items()
            ),
        )
        for name in names
    )


def _given(filters: dict[str, str], name: str) -> str:
    text = filters.get(name, "")
    if name in filters and not text.strip():
        raise ConfigurationError("empty", field=f"filters.{name}", value=text)
    return text


def doubled(transforms: Sequence[Transform]) -> Iterator[str]:
    """Yield tables that have more than one transform."""
    names = [each.table for each in transforms]
    yield from sorted({name for name in names if names.count(name) > 1})
