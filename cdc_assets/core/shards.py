"""Shards: many source tables of one kind, seen as one table with the columns of all. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.table_refs import ShardedTable
from cdc_assets.core.type_fit import misfit
from cdc_assets.core.types import INT_BITS, MySqlType

# The reader's metadata columns of these names; MySQL's names have up to 64 characters.
DATABASE_COLUMN = "database_name"
TABLE_COLUMN = "table_name"
METADATA_COLUMNS = (DATABASE_COLUMN, TABLE_COLUMN)
_NAME_TYPE = "varchar(64)"
_NUMBERS = frozenset({*INT_BITS, "decimal"})
# One name for types that arrive as one kind of value, whatever their sizes are.
_FAMILIES = {
    **dict.fromkeys(_NUMBERS, "number"),
    **dict.fromkeys(
        ("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum"), "text"
    ),
    **dict.fromkeys(("varbinary", "tinyblob", "blob", "mediumblob", "longblob"), "bytes"),
}


@dataclass(frozen=True)
class ShardedShape(TableShape):
    """The union of shards; its first two columns say where a row is from.

    Attributes:
        members: The shards, at least one.
        conflicts: What keeps them from being one table: the column, or the key, and why.
    """

    members: tuple[TableShape, ...] = ()
    conflicts: tuple[tuple[str, str], ...] = ()


def members_of(shape: TableShape) -> tuple[TableShape, ...]:
    """Return the tables that a shape stands for: its shards, or itself."""
    return shape.members if isinstance(shape, ShardedShape) else (shape,)


def union_of(table: ShardedTable, members: Sequence[TableShape]) -> ShardedShape:
    """Return the shards as one table.

    A column that a shard does not have is NULL in its rows. Where shards have a column in
    several sizes, the largest holds them all.

    Example:
        >>> one = TableShape("d1", "t", (Column("id", "int", "int", nullable=False),), ("id",))
        >>> two = TableShape("d2", "t", (Column("id", "int", "int", nullable=False),
        ...                              Column("note", "text", "text")), ("id",))
        >>> both = union_of(ShardedTable("d.", "t", "all_t"), [one, two])
        >>> [column.name for column in both.columns], both.primary_key
        (['database_name', 'table_name', 'id', 'note'], ('database_name', 'table_name', 'id'))
    """
    first = members[0]
    conflicts: list[tuple[str, str]] = []
    for shape in members[1:]:
        if _lower(shape.primary_key) != _lower(first.primary_key):
            keys = [f"({', '.join(each.primary_key)}) in {each.label}" for each in (first, shape)]
            conflicts.append(("PRIMARY", f"primary key {keys[0]}, {keys[1]}"))
    found: dict[str, Column] = {}
    for shape in members:
        for column in shape.columns:
            known = found.get(column.name.lower())
            wide = column if known is None else _wider(known, column)
            if wide is None:
                before = known.column_type if known else ""
                reason = f"{before} in one shard, {column.column_type} in {shape.label}"
                conflicts.append((column.name, reason))
                continue
            found[column.name.lower()] = wide
    taken = "a column of a shard has the name of the one that says where a row is from"
    conflicts += [(name, taken) for name in METADATA_COLUMNS if name in found]
    columns = tuple(
        column if _in_each(column, members) else replace(column, nullable=True)
        for column in found.values()
    )
    return ShardedShape(
        database=table.database,
        name=table.name,
        columns=(*(_metadata(name) for name in METADATA_COLUMNS), *columns),
        primary_key=(*METADATA_COLUMNS, *first.primary_key) if first.primary_key else (),
        rows_estimate=sum(shape.rows_estimate for shape in members),
        members=tuple(members),
        conflicts=tuple(dict.fromkeys(conflicts)),
    )


def _metadata(name: str) -> Column:
    return Column(name, "varchar", _NAME_TYPE, nullable=False, charset="utf8mb4",
                  collation="utf8mb4_bin")  # fmt: skip


def _in_each(column: Column, members: Sequence[TableShape]) -> bool:
    return all(shape.column(column.name) is not None for shape in members)


def _wider(one: Column, other: Column) -> Column | None:
    """Return the column that holds every value of both, None where neither does."""
    left, right = MySqlType.parse(one), MySqlType.parse(other)
    family = _FAMILIES.get(left.base, left.base)
    if family != _FAMILIES.get(right.base, right.base) or one.generated != other.generated:
        return None
    if left.base in {"bit", "set"} and left != right:
        return None  # their values are read by the type's own width or list
    nullable = one.nullable or other.nullable
    same = one.charset == other.charset
    charset = one.charset if same else "utf8mb4"
    collation = one.collation if one.collation == other.collation else f"{charset}_bin"
    plain = [replace(each, charset=None, nullable=True) for each in (one, other)]
    for wide, narrow in ((plain[0], plain[1]), (plain[1], plain[0])):
        if not misfit(narrow, wide):
            return replace(
                wide,
                nullable=nullable,
                charset=charset,
                collation=collation if charset else None,
            )
    return None


def _lower(names: Sequence[str]) -> list[str]:
    return [name.lower() for name in names]
