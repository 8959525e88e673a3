"""Schema drift: what changed in captured tables since the running job was launched. Pure.

A job reads the columns that its tables had when it was launched. What each kind of change does
to a running job was looked at on real servers; docs/schema.md has the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.readers import common_type
from cdc_assets.core.shards import union_of
from cdc_assets.core.stream import StreamSpec, plan_of
from cdc_assets.core.table_refs import ShardedTable, TableRef
from cdc_assets.core.types import INT_BITS, Carried, MySqlType, carried
from cdc_assets.errors import UnsupportedType

ChangeKind = Literal["added", "dropped", "renamed", "retyped", "key", "gone", "new-shard"]

# A display width, which newer servers leave out.
_WIDTHS = frozenset({*INT_BITS, "year"})
_INTEGERS = frozenset({"TINYINT", "SMALLINT", "INT", "BIGINT"})
_CHARSETS = {"utf8": "utf8mb3"}


@dataclass(frozen=True)
class Change:
    """One difference between a table as the job reads it and as it is.

    Attributes:
        table: The captured table.
        source: `database.table`; of a shard where the table is sharded.
        kind: What happened.
        old: The column before; of a renamed one, too.
        new: The column as it is.
        key_old: The primary key before, where it changed.
        key_new: The primary key as it is.
    """

    table: TableRef
    source: str
    kind: ChangeKind
    old: Column | None = None
    new: Column | None = None
    key_old: tuple[str, ...] = ()
    key_new: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Return the change in one line."""
        old, new = self.old, self.new
        if self.kind == "gone":
            return f"{self.source}: the table is gone, dropped or renamed"
        if self.kind == "new-shard":
            return f"{self.source}: a new shard"
        if self.kind == "key":
            before, after = ", ".join(self.key_old), ", ".join(self.key_new)
            return f"{self.source}: primary key ({before}), now ({after})"
        if self.kind == "added" and new is not None:
            return f"{self.source}.{new.name}: new column, {_described(new)}"
        if self.kind == "dropped" and old is not None:
            return f"{self.source}.{old.name}: column dropped, it was {_described(old)}"
        if old is None or new is None:  # narrowed by the kinds that are left
            return f"{self.source}: {self.kind}"
        if self.kind == "renamed":
            return (
                f"{self.source}.{old.name}: renamed to {new.name}, or dropped and {new.name}"
                " added in its place"
            )
        return f"{self.source}.{old.name}: {_described(old)}, now {_described(new)}"

    @property
    def harms(self) -> bool:
        """Return whether the job, as it runs, can write something wrong because of it."""
        return self.kind not in {"added", "new-shard"}

    def replays(self, spec: StreamSpec) -> bool:
        """Return whether reading again from before the change, with the new columns, is right.

        Rows that were written before the change do not have what it brought. They get NULL
        there, which is what the source says of them only where a column was added without a
        default.
        """
        if self.kind in {"dropped", "new-shard"}:
            return True
        if self.kind == "added" and self.new is not None:
            return self.new.nullable and not self.new.has_default
        if self.kind == "retyped" and self.old is not None and self.new is not None:
            ways = _ways(spec, self.source, self.old, self.new)
            return ways is not None and (
                common_type(ways[0].source_type, ways[1].source_type) == ways[1].source_type
            )
        return False


def changes_of(
    spec: StreamSpec,
    table: TableRef,
    was: Sequence[TableShape],
    now: Sequence[TableShape],
) -> tuple[Change, ...]:
    """Return what changed in one captured table, in a fixed order.

    Args:
        spec: The stream.
        table: The table.
        was: The table when the job was launched; each shard where it is sharded.
        now: The same as it is; empty when it is gone.
    """
    before = {shape.label.lower(): shape for shape in was}
    after = {shape.label.lower(): shape for shape in now}
    found: list[Change] = []
    for label, shape in before.items():
        if label not in after:
            found.append(Change(table, shape.label, "gone"))
        else:
            found.extend(_table(spec, table, shape, after[label]))
    for label, shape in after.items():
        if label not in before:
            found.append(Change(table, shape.label, "new-shard"))
            found.extend(_new_shard(spec, table, was, shape))
    return tuple(found)


def _new_shard(
    spec: StreamSpec, table: TableRef, was: Sequence[TableShape], shape: TableShape
) -> Iterator[Change]:
    """Yield what a new shard has that the job does not read; what it lacks is NULL there."""
    if not isinstance(table, ShardedTable) or not was:
        return
    union = union_of(table, was)
    names = {column.name.lower() for column in shape.columns}
    known = tuple(column for column in union.columns if column.name.lower() in names)
    first = replace(was[0], columns=known)
    for change in _table(spec, table, first, shape):
        # A shard with a smaller type fits into what the job reads.
        if change.kind != "retyped" or not _fits_shard(spec, change):
            yield change


def _fits_shard(spec: StreamSpec, change: Change) -> bool:
    if change.old is None or change.new is None:
        return False
    ways = _ways(spec, change.source, change.old, change.new)
    return ways is not None and (
        common_type(ways[0].source_type, ways[1].source_type) == ways[0].source_type
    )


def _table(spec: StreamSpec, table: TableRef, was: TableShape, now: TableShape) -> Iterator[Change]:
    source = now.label
    if [each.lower() for each in was.primary_key] != [each.lower() for each in now.primary_key]:
        yield Change(table, source, "key", key_old=was.primary_key, key_new=now.primary_key)
    is_carried = _carries(spec, table, was, now)
    before = {column.name.lower(): column for column in was.columns}
    after = {column.name.lower(): column for column in now.columns}
    common = before.keys() & after.keys()
    renamed = _renamed(was, now, common)
    for name, column in before.items():
        other = after.get(name)
        if not is_carried(column):
            continue
        if other is not None:
            if _is_other(column, other):
                yield Change(table, source, "retyped", column, other)
        elif name in renamed:
            yield Change(table, source, "renamed", column, renamed[name])
        else:
            yield Change(table, source, "dropped", column)
    taken = {column.name.lower() for column in renamed.values()}
    for name, column in after.items():
        if name not in before and name not in taken and is_carried(column):
            yield Change(table, source, "added", new=column)


def _carries(
    spec: StreamSpec, table: TableRef, was: TableShape, now: TableShape
) -> Callable[[Column], bool]:
    """Return what tells whether a column is read; of others no change matters."""
    excluded = {name.lower() for name in spec.exclude_columns}
    transform = spec.transform_of(table)
    needed = {*was.primary_key, *now.primary_key}
    needed.update(transform.reads([column.name for column in (*was.columns, *now.columns)]))

    def is_carried(column: Column) -> bool:
        if f"{table.alias}.{column.name}".lower() in excluded or column.generated:
            return False
        return column.name in needed or not transform.leaves_out(column.name)

    return is_carried


def _renamed(
    was: TableShape, now: TableShape, common: frozenset[str] | set[str]
) -> dict[str, Column]:
    """Return the columns that stand where another one stood, with its type, by the old name."""
    old, new = _places(was, common), _places(now, common)
    return {
        column.name.lower(): new[place]
        for place, column in old.items()
        if place in new and _plain(new[place]) == _plain(column)
    }


def _places(shape: TableShape, common: frozenset[str] | set[str]) -> dict[tuple[str, int], Column]:
    """Return the columns that only one side has, by the common one before them and the distance."""
    found: dict[tuple[str, int], Column] = {}
    before, distance = "", 0
    for column in shape.columns:
        if column.name.lower() in common:
            before, distance = column.name.lower(), 0
        else:
            distance += 1
            found[before, distance] = column
    return found


def _is_other(was: Column, now: Column) -> bool:
    return _plain(was) != _plain(now) or (now.nullable and not was.nullable)


def _plain(column: Column) -> tuple[MySqlType, str, bool]:
    """Return a type without what two servers may write in two ways, or what does not matter."""
    kind = MySqlType.parse(column)
    if kind.base in _WIDTHS:
        kind = replace(kind, size=None)
    charset = (column.charset or "").lower()
    return kind, _CHARSETS.get(charset, charset), column.generated


def _ways(spec: StreamSpec, label: str, was: Column, now: Column) -> tuple[Carried, Carried] | None:
    try:
        return (
            carried(label, was, target=spec.target_kind),
            carried(label, now, target=spec.target_kind),
        )
    except UnsupportedType:
        return None


def reads_alike(spec: StreamSpec, change: Change) -> bool:
    """Return whether the job reads a retyped column as rightly as before.

    A smaller integer is read as the larger one that the job expects.
    """
    if change.kind != "retyped" or change.old is None or change.new is None:
        return False
    ways = _ways(spec, change.source, change.old, change.new)
    if ways is None:
        return False
    old, new = ways
    if old.source_type in _INTEGERS and new.source_type in _INTEGERS:
        return common_type(old.source_type, new.source_type) == old.source_type
    same = (old.source_type, old.expression) == (new.source_type, new.expression)
    # A sign, or a list of values, changes what the bytes of a row mean.
    bases = MySqlType.parse(change.old).base == MySqlType.parse(change.new).base
    return same and bases and not change.new.generated


def stays_out(spec: StreamSpec, change: Change, launched: str) -> bool:
    """Return whether launches leave an added column out, because queries run without it.

    With the column the readers of a query would be others, and Flink could not go on from its
    state. A query that runs does not name what came later; another one may.

    Args:
        spec: The stream.
        change: What changed.
        launched: SQL of the incarnation that runs.
    """
    if not spec.queries or spec.is_scripted or change.kind != "added" or change.new is None:
        return False
    known = plan_of(launched)
    name = re.compile(rf"(?<![\w$]){re.escape(change.new.name)}(?![\w$])", re.IGNORECASE)
    texts = (" ".join(query.sql.strip().rstrip(";").split()) for query in spec.queries)
    return not any(name.search(text) for text in texts if text not in known)


def _described(column: Column) -> str:
    charset = f" CHARACTER SET {column.charset}" if column.charset else ""
    default = " with a default" if column.has_default else ""
    generated = " GENERATED" if column.generated else ""
    return (
        f"{column.column_type}{charset}{generated}"
        f"{' NULL' if column.nullable else ' NOT NULL'}{default}"
    )


def shapes_to_json(tables: Mapping[str, Sequence[TableShape]]) -> dict[str, object]:
    """Return table shapes as the ledger keeps them, by the captured table's label."""
    return {label: [_shape_to_json(each) for each in shapes] for label, shapes in tables.items()}


def _shape_to_json(shape: TableShape) -> dict[str, object]:
    return {
        "database": shape.database,
        "name": shape.name,
        "primary_key": list(shape.primary_key),
        "columns": [
            {
                "name": column.name,
                "data_type": column.data_type,
                "column_type": column.column_type,
                "nullable": column.nullable,
                "charset": column.charset,
                "collation": column.collation,
                "generated": column.generated,
                "has_default": column.has_default,
            }
            for column in shape.columns
        ],
    }


def shapes_from_json(kept: Mapping[str, object]) -> dict[str, tuple[TableShape, ...]]:
    """Read back what `shapes_to_json` wrote."""
    # Written by the function above, and by nothing else.
    tables = cast("Mapping[str, Sequence[Mapping[str, Any]]]", kept)
    return {
        label: tuple(
            TableShape(
                each["database"],
                each["name"],
                tuple(Column(**column) for column in each["columns"]),
                tuple(each["primary_key"]),
            )
            for each in shapes
        )
        for label, shapes in tables.items()
    }
