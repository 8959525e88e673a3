"""Target DDL: the statement that lets a target table follow a change at the source. Pure.

It says what `cdc-assets preflight` would say of the table as it is now, and more: what is
dropped or renamed is no fault of a target table that still has the old column.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cdc_assets.core import iceberg, postgres_names, postgres_types, starrocks, type_fit
from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.row_sql import quote_name
from cdc_assets.core.schema_drift import Change, reads_alike, stays_out
from cdc_assets.core.stream import StreamSpec, TargetKind
from cdc_assets.core.types import Carried, carried, target_column
from cdc_assets.errors import UnsupportedType

# The name that the statements give an Iceberg catalog, as in a preflight.
_CATALOG = "lake"


@dataclass(frozen=True)
class TargetDdl(ABC):
    """Statements about one target table; each ends with a semicolon.

    Attributes:
        namespace: Database, schema or namespace.
        name: Of the table.
    """

    namespace: str
    name: str

    @property
    @abstractmethod
    def alter(self) -> str:
        """Return the beginning of every statement."""

    @abstractmethod
    def add(self, column: Column) -> str:
        """Return what adds a column."""

    @abstractmethod
    def drop(self, name: str) -> str:
        """Return what drops a column."""

    @abstractmethod
    def rename(self, name: str, column: Column) -> str:
        """Return what renames a column."""

    @abstractmethod
    def retype(self, name: str, column: Column) -> str:
        """Return what gives a column the type that holds the source's."""

    @abstractmethod
    def key(self, names: Sequence[str], *, has_key: bool) -> str:
        """Return what gives the table another primary key."""

    @abstractmethod
    def fits(self, column: Column, found: Column) -> bool:
        """Return whether a target column holds the source column."""


class _MySql(TargetDdl):
    @property
    def alter(self) -> str:
        return f"ALTER TABLE {quote_name(self.namespace)}.{quote_name(self.name)}"

    def add(self, column: Column) -> str:
        return f"{self.alter} ADD COLUMN {quote_name(column.name)} {target_column(column)};"

    def drop(self, name: str) -> str:
        return f"{self.alter} DROP COLUMN {quote_name(name)};"

    def rename(self, name: str, column: Column) -> str:
        # RENAME COLUMN came with MySQL 8.0.
        new = f"{quote_name(column.name)} {target_column(column)}"
        return f"{self.alter} CHANGE COLUMN {quote_name(name)} {new};"

    def retype(self, name: str, column: Column) -> str:
        return f"{self.alter} MODIFY COLUMN {quote_name(name)} {target_column(column)};"

    def key(self, names: Sequence[str], *, has_key: bool) -> str:
        drop = "DROP PRIMARY KEY, " if has_key else ""
        return f"{self.alter} {drop}ADD PRIMARY KEY ({', '.join(map(quote_name, names))});"

    def fits(self, column: Column, found: Column) -> bool:
        return not type_fit.misfit(column, found)


class _Postgres(TargetDdl):
    @property
    def alter(self) -> str:
        return f"ALTER TABLE {postgres_names.quote_path(self.namespace, self.name)}"

    def add(self, column: Column) -> str:
        return f"{self.alter} ADD COLUMN {postgres_types.target_column(column)};"

    def drop(self, name: str) -> str:
        return f"{self.alter} DROP COLUMN {self._quoted(name)};"

    def rename(self, name: str, column: Column) -> str:
        return f"{self.alter} RENAME COLUMN {self._quoted(name)} TO {self._quoted(column.name)};"

    def retype(self, name: str, column: Column) -> str:
        quoted, kind = self._quoted(name), postgres_types.target_type(column)
        return f"{self.alter} ALTER COLUMN {quoted} TYPE {kind} USING {quoted}::{kind};"

    def key(self, names: Sequence[str], *, has_key: bool) -> str:
        drop = "Drop the primary key, then " if has_key else ""
        return f"{drop}{self.alter} ADD PRIMARY KEY ({', '.join(map(self._quoted, names))});"

    def fits(self, column: Column, found: Column) -> bool:
        return not postgres_types.misfit(column, found)

    @staticmethod
    def _quoted(name: str) -> str:
        return postgres_names.quote_name(postgres_names.folded(name))


class _Iceberg(TargetDdl):
    @property
    def alter(self) -> str:
        return f"ALTER TABLE {iceberg.quoted_label(_CATALOG, self.namespace, self.name)}"

    def add(self, column: Column) -> str:
        return f"{self.alter} ADD ({self._column(column.name, column)});"

    def drop(self, name: str) -> str:
        return f"{self.alter} DROP ({iceberg.quoted_name(name)});"

    def rename(self, name: str, column: Column) -> str:
        old, new = iceberg.quoted_name(name), iceberg.quoted_name(column.name)
        return f"{self.alter} RENAME {old} TO {new};"

    def retype(self, name: str, column: Column) -> str:
        return f"{self.alter} MODIFY ({self._column(name, column)});"

    def key(self, names: Sequence[str], *, has_key: bool) -> str:
        verb = "MODIFY" if has_key else "ADD"
        keys = ", ".join(map(iceberg.quoted_name, names))
        return f"{self.alter} {verb} PRIMARY KEY ({keys}) NOT ENFORCED;"

    def fits(self, column: Column, found: Column) -> bool:
        return not iceberg.misfit(self._way(column), found, is_key=False)

    def _column(self, name: str, column: Column) -> str:
        return f"{iceberg.quoted_name(name)} {iceberg.flink_name(self._way(column))}"

    def _way(self, column: Column) -> Carried:
        return carried(self.name, column, target="iceberg")


class _StarRocks(TargetDdl):
    @property
    def alter(self) -> str:
        return f"ALTER TABLE {starrocks.quote(self.namespace)}.{starrocks.quote(self.name)}"

    def add(self, column: Column) -> str:
        # A NOT NULL column can be added with a default only.
        return f"{self.alter} ADD COLUMN {self._column(column.name, column)} NULL;"

    def drop(self, name: str) -> str:
        return f"{self.alter} DROP COLUMN {starrocks.quote(name)};"

    def rename(self, name: str, column: Column) -> str:
        old, new = starrocks.quote(name), starrocks.quote(column.name)
        return f"{self.alter} RENAME COLUMN {old} TO {new};"

    def retype(self, name: str, column: Column) -> str:
        null = "NULL" if column.nullable else "NOT NULL"
        return f"{self.alter} MODIFY COLUMN {self._column(name, column)} {null};"

    def key(self, names: Sequence[str], *, has_key: bool) -> str:
        del names, has_key
        return "Make the table anew: StarRocks cannot change a primary key"

    def fits(self, column: Column, found: Column) -> bool:
        return not starrocks.misfit(carried(self.name, column, target="starrocks"), found)

    def _column(self, name: str, column: Column) -> str:
        return f"{starrocks.quote(name)} {starrocks.starrocks_type(self.name, column)}"


_DDL: dict[TargetKind, type[TargetDdl]] = {
    "mysql": _MySql,
    "postgres": _Postgres,
    "iceberg": _Iceberg,
    "starrocks": _StarRocks,
}


@dataclass(frozen=True)
class Drift:
    """A change at the source, and what the target needs because of it.

    Attributes:
        change: The change.
        fix: Statement for the target; empty when it needs none.
        left_out: Whether launches leave the added column out: for queries only, or for a copy
            beside queries, too, which then lacks it.
    """

    change: Change
    fix: str
    left_out: Literal["", "query", "copy"] = ""

    @property
    def advice(self) -> str:
        """Return what is to be done, in one line."""
        if not self.left_out or self.change.new is None:
            return self.fix or "the target needs no change"
        again = "materialize the snapshot with 'again'"
        if self.left_out == "query":
            return (
                "no query names it, so the stream goes on without it, SELECT * too; to take it"
                f" in, name it in a query, let the target follow, then {again}"
            )
        table, name = self.change.table.alias, self.change.new.name
        return (
            "the stream goes on without it, because its queries keep state; to take it in: "
            + "".join(f"{each} then " for each in filter(None, [self.fix]))
            + f"{again}; or exclude_columns: {table}.{name}"
        )

    @property
    def text(self) -> str:
        """Return the change and what is to be done, in one line."""
        return f"{self.change.text}; {self.advice}"


def drifts_of(
    spec: StreamSpec,
    changes: Sequence[Change],
    targets: dict[str, TableShape],
    *,
    launched: str | None = None,
    is_at_change: bool = False,
) -> tuple[Drift, ...]:
    """Return the changes that matter, each with the target's statement.

    A column whose new type the job reads as rightly as the old one, and that the target
    holds, is no drift.

    Args:
        spec: The stream, with the target's real namespace.
        changes: What changed at the source.
        targets: The target tables that exist, by name.
        launched: SQL of the incarnation that runs, where it matters what launches leave out.
        is_at_change: Whether the stream stands before the changes, so that a copy beside queries
            can take a column up.
    """
    found: list[Drift] = []
    seen: set[tuple[str, str]] = set()
    for change in changes:
        fix = _fix(spec, change, targets.get(change.table.target_name))
        if not fix and reads_alike(spec, change):
            continue
        if (change.text, fix) not in seen:
            seen.add((change.text, fix))
            left_out: Literal["", "query", "copy"] = ""
            if launched is not None and stays_out(spec, change, launched):
                is_read_only = change.table.alias in spec.source_only
                left_out = "query" if is_read_only else "" if is_at_change else "copy"
            found.append(Drift(change, fix, left_out))
    return tuple(found)


def _fix(spec: StreamSpec, change: Change, target: TableShape | None) -> str:
    kind = _DDL.get(spec.target_kind)
    if kind is None or target is None or change.table.alias in spec.source_only:
        return ""
    ddl = kind(spec.target_database, change.table.target_name)
    try:
        return _statement(ddl, change, target)
    except UnsupportedType as error:
        return f"exclude_columns: {change.table.alias}.{error.column}, because {error.reason}"


def _statement(ddl: TargetDdl, change: Change, target: TableShape) -> str:
    old, new = change.old, change.new
    there = target.column(old.name) if old is not None else None
    if change.kind == "key":
        same = sorted(map(str.lower, target.primary_key)) == sorted(map(str.lower, change.key_new))
        return "" if same else ddl.key(change.key_new, has_key=bool(target.primary_key))
    if change.kind == "dropped" and there is not None:
        return ddl.drop(there.name)
    if new is None:
        return ""
    found = target.column(new.name)
    if found is not None:
        return "" if ddl.fits(new, found) else ddl.retype(found.name, new)
    if change.kind == "renamed" and there is not None:
        return ddl.rename(there.name, new)
    return ddl.add(new)
