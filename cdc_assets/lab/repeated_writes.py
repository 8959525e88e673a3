"""Repeated writes: what a MySQL target received more than once, by its own binlog."""

from __future__ import annotations

from collections import Counter
from contextlib import closing

from cdc_assets.lab.workload import Login


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
