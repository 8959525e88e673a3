"""Bounds: whether rows up to a key are the same rows on two kinds of servers. Pure."""

from __future__ import annotations

from cdc_assets.core.columns import TableShape
from cdc_assets.core.types import INT_BITS, MySqlType

# Numbers and moments have one order everywhere; texts have the order of a collation, an enum
# that of its list, and bytes that of a server.
_ORDERED = frozenset({*INT_BITS, "decimal", "date", "datetime", "timestamp"})


def is_bounded(shape: TableShape) -> bool:
    """Return whether every engine orders the primary key's values as MySQL does.

    Example:
        >>> from cdc_assets.core.columns import Column
        >>> is_bounded(TableShape("d", "t", (Column("id", "int", "int(11)"),), ("id",)))
        True
    """
    columns = [shape.column(name) for name in shape.primary_key]
    return bool(columns) and all(
        column is not None and MySqlType.parse(column).base in _ORDERED for column in columns
    )
