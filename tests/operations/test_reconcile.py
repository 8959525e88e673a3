"""Verdicts on row counts: equal, drifted, and everything that cannot be said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.row_sql import Statement
from cdc_assets.core.stream import TargetKind
from cdc_assets.core.table_refs import ShardedTable
from cdc_assets.core.transform import Transform
from cdc_assets.operations.launch import newest
from cdc_assets.operations.reconcile import reconcile
from cdc_assets.ports import ReconciliationRow
from cdc_assets.testing.builders import BlueGreen
from tests.operations.world import BUDGETS, World


def running() -> World:
    """Return a stream that copies one table."""
    made = World(BlueGreen())
    made.start()
    return made


def verdict(seen: World) -> ReconciliationRow:
    """Reconcile the one table."""
    row = newest(seen.runtime)
    assert row is not None
    (found,) = reconcile(seen.runtime, row, recovery="r")
    return found


def test_equal_counts_at_a_passed_position_are_in_sync() -> None:
    """The verdict carries both counts and is in the ledger."""
    seen = running()
    found = verdict(seen)
    assert (found.verdict, found.source_count, found.target_count) == ("InSync", 6, 6)
    assert seen.lab.ledger.reconciliations(seen.lab.spec.name)[0].recovery == "r"


def test_an_empty_table_is_in_sync_with_an_empty_target() -> None:
    """There is no largest key, and nothing to wait for."""
    seen = running()
    for key in list(seen.lab.blue.tables["shop.orders"]):
        seen.lab.blue.delete("shop.orders", key)
    seen.lab.engine.pump(3)
    assert verdict(seen).verdict == "InSync"


def test_a_row_that_is_missing_at_the_target_is_drift() -> None:
    """Nothing moves and the stream has passed the source's position, so it is said."""
    seen = running()
    seen.lab.target.tables["orders"].pop((2,))
    found = verdict(seen)
    assert (found.verdict, found.source_count, found.target_count) == ("Drifted", 6, 5)


def test_a_row_too_many_at_the_target_is_drift() -> None:
    """Up to the largest key of the source."""
    seen = running()
    seen.lab.target.load("orders", (0,), {"id": 0, "item": "from nowhere"})
    assert verdict(seen).verdict == "Drifted"


def test_rows_that_are_written_meanwhile_do_not_disturb() -> None:
    """Production goes on; keys beyond the first bound do not count."""
    seen = running()

    def write() -> None:
        seen.write(1)
        seen.lab.clock.after(0.1, write)

    seen.lab.clock.after(0.1, write)
    assert verdict(seen).verdict == "InSync"


@pytest.mark.parametrize(
    ("target_kind", "key_type", "said"),
    [
        ("mysql", "varchar", "up to key"),
        ("postgres", "bigint", "up to key"),
        ("postgres", "varchar", "in the whole table"),
    ],
)
def test_a_key_bounds_the_count_where_both_sides_order_it_alike(
    target_kind: TargetKind, key_type: str, said: str
) -> None:
    """Two kinds of servers order texts differently, so there the whole table is counted."""
    seen = running()
    key = Column("id", key_type, key_type, nullable=False)
    seen.lab.source.define(TableShape("shop", "orders", (key,), ("id",)))
    seen.runtime = replace(seen.runtime, spec=replace(seen.runtime.spec, target_kind=target_kind))
    found = verdict(seen)
    assert (found.verdict, found.source_count) == ("InSync", 6)
    assert said in found.reason


def test_a_stream_that_stands_still_proves_nothing() -> None:
    """Behind the source's position a difference may still be on its way."""
    seen = running()
    for job_id in seen.lab.engine.live:
        seen.lab.engine.disconnect(job_id)
    seen.write()
    before = seen.lab.clock.monotonic()
    found = verdict(seen)
    assert found.verdict == "Inconclusive"
    assert "reads no more" in found.reason
    assert seen.lab.clock.monotonic() - before < BUDGETS.reconcile_seconds


def test_a_target_that_does_not_answer_is_inconclusive() -> None:
    """No answer is not drift, and the reason says who was silent."""
    seen = running()
    seen.lab.target.reachable = False
    found = verdict(seen)
    assert (found.verdict, found.target_count) == ("Inconclusive", None)
    assert "refused" in found.reason


def test_counts_that_never_settle_end_within_the_budget() -> None:
    """A hot table is inconclusive, not drifted, and the loop ends."""
    seen = running()
    seen.runtime = replace(seen.runtime, budgets=replace(BUDGETS, reconcile_seconds=3.0))
    missing = seen.lab.target.tables["orders"].pop((1,))
    assert missing

    def flicker() -> None:
        seen.lab.source.production.delete("shop.orders", (3,))
        seen.lab.source.production.write("shop.orders", (3,), {"id": 3, "item": "again"})
        seen.lab.source.production.delete("shop.orders", (3,))
        seen.lab.clock.after(0.4, restore)

    def restore() -> None:
        seen.lab.source.production.write("shop.orders", (3,), {"id": 3, "item": "back"})
        seen.lab.clock.after(0.4, flicker)

    seen.lab.clock.after(0.2, flicker)
    assert verdict(seen).verdict in {"Inconclusive", "Drifted"}
    assert seen.lab.clock.monotonic() < 200


def filtered(text: str) -> World:
    """Return the stream with a filter."""
    seen = running()
    columns = (Column("id", "int", "int", nullable=False), Column("item", "varchar", "varchar(9)"))
    seen.lab.source.define(TableShape("shop", "orders", columns, ("id",)))
    spec = replace(seen.runtime.spec, transforms=(Transform("orders", filter=text),))
    seen.runtime = replace(seen.runtime, spec=spec)
    seen.lab.source.conditions.clear()
    return seen


def test_a_filter_that_both_servers_read_alike_is_counted_at_the_source() -> None:
    """The source counts with the same condition, at every count."""
    seen = filtered("id < 1000 AND item = 'a''b'")
    found = verdict(seen)
    assert (found.verdict, found.source_count) == ("InSync", 6)
    assert "that meet the filter" in found.reason
    text = "(`id` < %s) AND (CAST(CONVERT(`item` USING utf8mb4) AS BINARY) = %s)"
    assert set(seen.lab.source.conditions) == {Statement(text, (1000, b"a'b"))}


def test_another_filter_is_inconclusive_because_it_transforms() -> None:
    """Nothing is counted, and nothing is waited for."""
    seen = filtered("UPPER(item) = 'A'")
    before = seen.lab.clock.monotonic()
    found = verdict(seen)
    assert (found.verdict, found.source_count, found.target_count) == ("Inconclusive", None, None)
    assert found.reason.startswith("transformed: ")
    assert seen.lab.clock.monotonic() == before
    assert seen.lab.source.conditions == []


def test_a_stream_whose_rows_cannot_be_counted_says_why_and_waits_for_nothing() -> None:
    seen = running()
    spec = replace(seen.runtime.spec, uncounted="the tables share one topic")
    seen.runtime = replace(seen.runtime, spec=spec)
    before = seen.lab.clock.monotonic()
    found = verdict(seen)
    assert (found.verdict, found.source_count) == ("Inconclusive", None)
    assert found.reason == "transformed: the tables share one topic"
    assert seen.lab.clock.monotonic() == before


def test_shards_are_counted_as_a_whole() -> None:
    """Their keys have no common order, also where the target is MySQL."""
    seen = running()
    shards = ShardedTable("shop", "orders", "orders")
    spec = replace(seen.runtime.spec, tables=(shards,))
    assert spec.target_kind == "mysql"
    seen.runtime = replace(seen.runtime, spec=spec)
    key = Column("id", "int", "int", nullable=False)
    seen.lab.source.define(TableShape("shop", "orders", (key,), ("id",)))
    assert "in the whole table" in verdict(seen).reason
