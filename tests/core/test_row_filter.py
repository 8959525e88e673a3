"""Filters by which a source can count: only what both servers read alike."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.row_filter import NotCountable, condition_of
from cdc_assets.core.shards import union_of
from cdc_assets.core.table_refs import ShardedTable

ORDERS = TableShape(
    "shop",
    "orders",
    (
        Column("id", "int", "int(11)", nullable=False),
        Column("amount", "decimal", "decimal(10,2)"),
        Column("huge", "decimal", "decimal(60,2)"),
        Column("status", "varchar", "varchar(10)", charset="utf8mb4"),
        Column("kind", "enum", "enum('a','b')", charset="utf8mb4"),
        Column("ratio", "double", "double"),
        Column("day", "date", "date"),
        Column("made", "datetime", "datetime"),
        Column("seen", "timestamp", "timestamp"),
        Column("100%", "int", "int(11)"),
    ),
    ("id",),
)
TEXT = "CAST(CONVERT(`status` USING utf8mb4) AS BINARY)"


@pytest.mark.parametrize(
    ("text", "condition", "values"),
    [
        ("amount > 100", "`amount` > %s", (100,)),
        ("orders.amount >= -0.5", "`amount` >= %s", (Decimal("-0.5"),)),
        ("id IN (1, 2)", "`id` IN (%s, %s)", (1, 2)),
        ("id NOT IN (1)", "`id` NOT IN (%s)", (1,)),
        ("status IS NULL", "`status` IS NULL", ()),
        ("ratio is not null", "`ratio` IS NOT NULL", ()),
        ("status = 'it''s'", f"{TEXT} = %s", (b"it's",)),
        ("status <> 'ä'", f"{TEXT} <> %s", ("ä".encode(),)),
        ("day >= DATE '2024-02-29'", "`day` >= %s", ("2024-02-29",)),
        ("made > '2021-12-21'", "`made` > %s", ("2021-12-21",)),
        (
            "made < TIMESTAMP '2024-01-01 00:00:00.500'",
            "`made` < %s",
            ("2024-01-01 00:00:00.500",),
        ),
        ("`100%` = 1", "`100%%` = %s", (1,)),
        (
            "id = 1 OR id = 2 AND amount = 3",
            "(`id` = %s) OR ((`id` = %s) AND (`amount` = %s))",
            (1, 2, 3),
        ),
        ("(id = 1 OR id = 2) AND amount = 3", None, (1, 2, 3)),
    ],
)
def test_what_both_read_alike_is_counted(
    text: str, condition: str | None, values: tuple[object, ...]
) -> None:
    found = condition_of(text, ORDERS)
    assert condition is None or found.text == condition
    assert found.values == values


@pytest.mark.parametrize(
    "text",
    [
        "status > 'a'",  # Order of a collation.
        "status = 5",
        "amount > '5'",
        "amount > 1e3",
        "amount > 1234567890123456789",
        "huge > 1",
        "ratio > 1",
        "kind < 'b'",
        "seen > '2024-01-01'",
        "day = '2024-02-30'",
        "day = '2024-01-01 00:00:00'",
        "made > '2024-01-01 00:00:00.5'",
        "NOT id = 1",
        "id BETWEEN 1 AND 2",
        "status LIKE 'a%'",
        "amount * 2 > 5",
        "UPPER(status) = 'A'",
        "5 < id",
        "id = amount",
        "ID = 1",
        "unknown = 1",
        "id = 1 id = 2",
        "id IS TRUE",
        "id",
        "id IN (1 2)",
    ],
)
def test_anything_else_is_not(text: str) -> None:
    with pytest.raises(NotCountable):
        condition_of(text, ORDERS)


def test_a_column_that_a_shard_does_not_have_is_not_counted() -> None:
    one = TableShape("d1", "t", (Column("id", "int", "int", nullable=False),), ("id",))
    two = TableShape("d2", "t", (*one.columns, Column("email", "text", "text")), ("id",))
    both = union_of(ShardedTable("d.", "t", "all_t"), [one, two])
    assert condition_of("id > 1", both).text == "`id` > %s"
    for text in ("email IS NULL", "table_name = 't'"):
        with pytest.raises(NotCountable):
            condition_of(text, both)
