"""Comparison: source and target row by row."""

from __future__ import annotations

from dataclasses import dataclass

from cdc_assets.lab.landing import Landing, rows_of
from cdc_assets.lab.workload import Login

_ORDERS_BY_PRODUCT = (
    "SELECT product, COUNT(*), CAST(SUM(quantity) AS SIGNED) FROM orders GROUP BY product"
)
# Query at the source, table at the target. The first column is the key on both sides.
COMPARED = {
    "source_table": ("SELECT * FROM source_table", "target_table"),
    "orders": ("SELECT * FROM orders", "orders"),
    "orders_by_product": (_ORDERS_BY_PRODUCT, "orders_by_product"),
}


@dataclass(frozen=True)
class Difference:
    """How one target table differs from its source.

    Attributes:
        lost: Source rows that the target does not hold, or holds with other content.
        doubled: Target rows that the source does not hold; in a table of counts, rows
            whose count is larger than the source's.
    """

    table: str
    rows: int
    lost: int
    doubled: int


def compare(source: Login, target: Landing, tables: tuple[str, ...]) -> tuple[Difference, ...]:
    """Compare whole tables by content. Writers must be still, and the stream caught up."""
    return tuple(_compare(source, target, table) for table in tables)


def _compare(source: Login, target: Landing, table: str) -> Difference:
    query, name = COMPARED[table]
    here, there = rows_of(source, query), target.rows(name)
    if table == "orders_by_product":
        more = sum(1 for key, row in there.items() if key not in here or row > here[key])
        less = sum(1 for key, row in here.items() if key not in there or row > there[key])
        return Difference(table, len(here), less, more)
    lost = sum(1 for key, row in here.items() if there.get(key) != row)
    doubled = sum(1 for key in there if key not in here)
    return Difference(table, len(here), lost, doubled)
