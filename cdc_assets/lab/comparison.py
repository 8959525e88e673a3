"""Comparison: source and target row by row, and what the target received more than once."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass

from cdc_assets.lab.workload import Login

_ORDERS_BY_PRODUCT = (
    "SELECT product, COUNT(*), CAST(SUM(quantity) AS SIGNED) FROM orders GROUP BY product"
)
# Source query, target query. The first column is the key on both sides.
COMPARED = {
    "source_table": ("SELECT * FROM source_table", "SELECT * FROM target_table"),
    "orders": ("SELECT * FROM orders", "SELECT * FROM orders"),
    "orders_by_product": (_ORDERS_BY_PRODUCT, "SELECT * FROM orders_by_product"),
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


def compare(source: Login, target: Login, tables: tuple[str, ...]) -> tuple[Difference, ...]:
    """Compare whole tables by content. Writers must be still, and the stream caught up."""
    return tuple(_compare(source, target, table) for table in tables)


def _compare(source: Login, target: Login, table: str) -> Difference:
    here, there = (_rows(login, query) for login, query in zip((source, target), COMPARED[table],
                                                               strict=True))  # fmt: skip
    if table == "orders_by_product":
        more = sum(1 for key, row in there.items() if key not in here or row > here[key])
        less = sum(1 for key, row in here.items() if key not in there or row > there[key])
        return Difference(table, len(here), less, more)
    lost = sum(1 for key, row in here.items() if there.get(key) != row)
    doubled = sum(1 for key in there if key not in here)
    return Difference(table, len(here), lost, doubled)


def _rows(login: Login, query: str) -> dict[object, tuple[object, ...]]:
    with closing(login.connect(timeout_seconds=60)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return {row[0]: tuple(row) for row in cursor.fetchall()}


def repeated_writes(admin: Login, *, tables: tuple[str, ...]) -> tuple[int, int]:
    """Count the row writes of a target from its binlog, and how many of them came again.

    The lab's target logs statements. The workload's writes are all distinct, so an equal
    row is the same row write, received again. Tables of counts are left out: a count
    may come back to an old value by right.

    Args:
        admin: Login that may read the binlog.
        tables: Target tables that count.

    Returns:
        (row writes, row writes received again).
    """
    seen: Counter[str] = Counter()
    with closing(admin.connect(timeout_seconds=60)) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW BINARY LOGS")
        for file in [str(row[0]) for row in cursor.fetchall()]:
            cursor.execute("SHOW BINLOG EVENTS IN %s", (file,))
            for row in cursor.fetchall():
                if row[2] == "Query":
                    seen.update(row_writes(str(row[5]), tables))
    total = sum(seen.values())
    return total, total - len(seen)


def row_writes(info: str, tables: tuple[str, ...]) -> tuple[str, ...]:
    """Return the row writes of one binlog query event, one text for each row.

    The JDBC driver puts the rows of a batch into one INSERT; the same rows in another
    batch are the same writes, so they are taken apart.

    Example:
        >>> row_writes("use `t`; INSERT INTO `orders`(`id`) VALUES (1),('),(') ON", ("orders",))
        ('orders (1)', "orders ('),(')")
    """
    _, _, statement = info.partition("; ") if info.startswith("use ") else ("", "", info)
    table = next((name for name in tables if f"`{name}`" in statement[:200]), None)
    if table is None or not statement.upper().startswith(("INSERT", "UPDATE", "DELETE", "REPLACE")):
        return ()
    head, values, rest = statement.partition("VALUES")
    if not values or not head.upper().startswith(("INSERT", "REPLACE")):
        return (f"{table} {statement}",)
    return tuple(f"{table} {row}" for row in _rows_of(rest))


def _rows_of(text: str) -> list[str]:
    """Split `(..),(..) ON ..` at the brackets that stand outside of quotes."""
    rows: list[str] = []
    depth, start, quoted, skip = 0, 0, False, False
    for at, sign in enumerate(text):
        if skip:
            skip = False
        elif quoted:
            skip = sign == "\\"
            quoted = sign != "'"
        elif sign == "'":
            quoted = True
        elif sign == "(":
            start = at if depth == 0 else start
            depth += 1
        elif sign == ")":
            depth -= 1
            if depth == 0:
                rows.append(text[start : at + 1])
        elif depth == 0 and sign not in ", ":
            break
    return rows
