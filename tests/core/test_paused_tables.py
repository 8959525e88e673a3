"""Which tables are paused, and what a stream without them is."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.core.paused_tables import (
    PausedTable,
    oldest,
    reason_to_stop,
    resume_label,
    still_paused,
    with_tables,
)
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import IncarnationKind, ReaderSharing, StreamSpec
from cdc_assets.core.table_refs import ShardedTable, TableRef
from cdc_assets.core.transform import Transform
from cdc_assets.testing.builders import position

A, B, C = (TableRef("shop", name) for name in "abc")


def spec(**more: object) -> StreamSpec:
    return StreamSpec("s", (A, B, C), ServerIdRange(1, 50), "dw", **more)  # type: ignore[arg-type]


FILTER = Transform("b", filter="n > 1")
SHARDS = ShardedTable("user_[0-9]+", "users_[0-9]+", "all_users")
SHARDED = StreamSpec("s", (A, SHARDS), ServerIdRange(1, 50), "dw", target_kind="iceberg")


def pause(table: TableRef = A, number: str = "1.0", incarnation: int = 2) -> PausedTable:
    return PausedTable(table.label, number, incarnation, "why")


def test_a_pause_says_since_when_where_and_why() -> None:
    since = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    found = PausedTable("shop.a", "1.0", 2, "shop.a.n: another type", "path", position(700), since)
    assert found.text == (
        "shop.a: paused since 2026-01-02 03:04:05 UTC at mysql-bin-changelog.000001:700"
        " because shop.a.n: another type"
    )
    assert pause().text == "shop.a: paused because why"


@pytest.mark.parametrize(
    ("launched", "is_paused"),
    [
        ([(1, "snapshot", ""), (2, "stream", "")], True),
        ([(2, "stream", ""), (3, "stream", "")], True),
        ([(3, "stream", "s:3/go-on-1"), (4, "drain", "s:3/drain-1")], True),
        ([(3, "stream", resume_label("s", 2, "1.1"))], True),  # another table's
        ([(3, "stream", resume_label("s", 2, "11.0"))], True),
        ([(4, "stream", resume_label("s", 3, "1.0"))], False),
        ([(3, "snapshot", "")], False),
    ],
)
def test_only_its_own_launch_or_a_snapshot_ends_a_pause(
    launched: list[tuple[int, IncarnationKind, str]], *, is_paused: bool
) -> None:
    assert bool(still_paused([pause()], launched)) == is_paused


def test_two_looks_that_noted_one_pause_are_ended_by_one_launch() -> None:
    twice = [pause(number="1.0"), pause(number="2.0")]
    assert still_paused(twice, []) == (twice[0],)
    assert still_paused(twice, [(3, "stream", resume_label("s", 2, "1.0"))]) == ()


def test_a_table_can_be_paused_again() -> None:
    noted = [pause(number="1.0", incarnation=2), pause(number="2.0", incarnation=4)]
    launched: list[tuple[int, IncarnationKind, str]] = [(4, "stream", resume_label("s", 3, "1.0"))]
    assert still_paused(noted, launched) == (noted[1],)


def test_a_stream_without_a_table_loses_what_is_said_of_it() -> None:
    whole = spec(transforms=(Transform("a", filter="n > 1"), Transform("b", filter="n > 2")))
    rest = with_tables(whole, {B.label, C.label})
    assert rest.tables == (B, C)
    assert [each.table for each in rest.transforms] == ["b"]
    assert rest.server_ids == whole.server_ids


@pytest.mark.parametrize(
    ("stream", "tables", "others", "reason"),
    [
        (spec(), {A.label}, [], ""),
        (spec(target_kind="postgres"), {A.label, B.label}, [], ""),
        (spec(), {A.label, B.label, C.label}, [], "no other table"),
        (spec(), {A.label}, ["shop.b.x: new column"], "other tables changed, too: shop.b.x"),
        (spec(target_kind="kafka"), {A.label}, [], ""),
        (spec(target_kind="iceberg"), {A.label}, [], ""),
        (spec(target_kind="starrocks"), {A.label}, [], ""),
        (spec(target_kind="iceberg", transforms=(FILTER,)), {A.label}, [], "its filters keep rows"),
        (spec(transforms=(FILTER,)), {A.label}, [], ""),
        (spec(queries=(QuerySpec("q", "SELECT 1"),)), {A.label}, [], "its queries keep state"),
        (spec(is_scripted=True), {A.label}, [], "not made from its tables"),
        (spec(target_kind="kafka", engine="debezium"), {A.label}, [], "not made from its tables"),
        (SHARDED, {SHARDS.label}, [], "all_users is merged from several source tables"),
        (SHARDED, {A.label}, [], ""),
    ],
)
def test_where_more_than_the_place_matters_the_whole_stream_stops(
    stream: StreamSpec, tables: set[str], others: list[str], reason: str
) -> None:
    found = reason_to_stop(stream, tables, others)
    assert reason in found
    assert bool(reason) == bool(found)


@given(st.lists(st.tuples(st.integers(1, 1_000_001), st.integers(4, 10**6)), min_size=1))
def test_a_start_at_the_oldest_place_reads_what_every_reader_would(
    places: list[tuple[int, int]],
) -> None:
    found = oldest([position(pos, file=f"bin.{number:06d}") for number, pos in places])
    assert (found.coordinates.number, found.coordinates.pos) == min(places)


@given(st.integers(1, 20), st.data(), st.sampled_from(["auto", "shared", "per-table"]))
def test_tables_share_readers_as_before_whichever_are_paused(
    count: int, data: st.DataObject, readers: ReaderSharing
) -> None:
    tables = tuple(TableRef("shop", f"t{number}") for number in range(count))
    whole = StreamSpec("s", tables, ServerIdRange(1, 20), "dw", readers=readers)
    kept = data.draw(st.sets(st.sampled_from(tables), min_size=1))
    rest = with_tables(whole, {table.label for table in kept})
    assert set(rest.tables) == kept
    assert rest.shares_readers == whole.shares_readers
