"""What a stream may be, and the server ids that keep readers apart."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.server_ids import MAX_SERVER_ID, ServerIdRange
from cdc_assets.core.stream import StreamSpec, check_ranges_apart, job_id_of, trigger_id_of
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import ConfigurationError

ids = st.integers(1, MAX_SERVER_ID)
ranges = st.tuples(ids, ids).map(lambda pair: ServerIdRange(min(pair), max(pair)))
small = st.tuples(st.integers(1, 30), st.integers(0, 10)).map(
    lambda pair: ServerIdRange(pair[0], pair[0] + pair[1])
)


def stream(**changes: object) -> StreamSpec:
    values: dict[str, Any] = {
        "name": "orders",
        "tables": (TableRef("shop", "orders"), TableRef("shop", "items")),
        "server_ids": ServerIdRange(5400, 5499),
        "target_database": "warehouse",
    }
    return StreamSpec(**(values | changes))


# ---------------------------------------------------------------- server ids


@given(ranges)
def test_a_range_is_read_as_it_is_written(value: ServerIdRange) -> None:
    assert ServerIdRange.parse(str(value)) == value
    assert value.size == value.last - value.first + 1 >= 1


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [("5400", 5400, 5400), (" 5400 - 5499 ", 5400, 5499), (f"1-{MAX_SERVER_ID}", 1, MAX_SERVER_ID)],
)
def test_ranges_that_people_write(text: str, first: int, last: int) -> None:
    assert ServerIdRange.parse(text) == ServerIdRange(first, last)


@pytest.mark.parametrize(
    "text",
    ["", "x", "5400-", "-5400", "0", "0-5", "9-5", "1-2-3", "5 4", "5400,5401", "5400--5499",
     f"{MAX_SERVER_ID + 1}", f"1-{MAX_SERVER_ID + 1}", "\u0665\u0664", "1e3", "1.5"],
)  # fmt: skip
def test_what_is_no_range_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(ConfigurationError, match="server_ids"):
        ServerIdRange.parse(text)


@given(small, small)
def test_ranges_overlap_when_they_share_an_id(left: ServerIdRange, right: ServerIdRange) -> None:
    mine = set(range(left.first, left.last + 1))
    theirs = set(range(right.first, right.last + 1))
    assert left.overlaps(right) == right.overlaps(left) == bool(mine & theirs)


def test_streams_whose_ids_overlap_are_named() -> None:
    apart = stream(name="b", server_ids=ServerIdRange(5500, 5599))
    check_ranges_apart((stream(), apart))
    check_ranges_apart(())
    clash = stream(name="c", server_ids=ServerIdRange(5590, 5700))
    with pytest.raises(ConfigurationError) as caught:
        check_ranges_apart((stream(), apart, clash))
    assert "'c'" in str(caught.value)
    assert "b.server_ids" in str(caught.value)


# ---------------------------------------------------------------- tables


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shop.orders", TableRef("shop", "orders", "orders")),
        ("shop.orders:dw_orders", TableRef("shop", "orders", "dw_orders")),
        ("shop.orders:", TableRef("shop", "orders", "orders")),
        ("shop.or`d'ers", TableRef("shop", "or`d'ers", "or`d'ers")),
        ("shop.a.b", TableRef("shop", "a.b", "a.b")),
    ],
)
def test_a_table_is_read(text: str, expected: TableRef) -> None:
    assert TableRef.parse(text) == expected
    assert expected.label == f"{expected.database}.{expected.name}"


@pytest.mark.parametrize("text", ["", "orders", "shop.", ".orders", "shop:orders", "a\x00.b"])
def test_what_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        TableRef.parse(text)


def test_a_name_is_as_long_as_mysql_allows() -> None:
    assert TableRef("d" * 64, "t" * 64).name == "t" * 64
    with pytest.raises(ConfigurationError, match="table"):
        TableRef("shop", "t" * 65)


# ---------------------------------------------------------------- the stream


@pytest.mark.parametrize(
    "name", ["", "Orders", "1orders", "_o", "or-ders", "or ders", "orders\n", "o" * 64, "órders"]
)
def test_a_name_that_cannot_be_a_key_everywhere_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="name"):
        stream(name=name)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"tables": ()}, "at least one table"),
        ({"tables": (TableRef("shop", "o"), TableRef("shop", "o", "p"))}, "named twice"),
        ({"tables": (TableRef("shop", "o"), TableRef("eu", "o", "p"))}, "named twice"),
        ({"tables": (TableRef("shop", "o"), TableRef("shop", "p", "o"))}, "named twice"),
        ({"queries": (QuerySpec("orders", "SELECT 1"),)}, "named twice"),
        ({"parallelism": 0}, "must be 1 to 128"),
        ({"parallelism": 129}, "must be 1 to 128"),
        ({"parallelism": 51, "readers": "per-table"}, "holds 100 ids"),
        ({"source_only": ("payments",)}, "not among the tables"),
    ],
)
def test_what_cannot_be_one_stream_is_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        stream(**changes)


def test_a_query_makes_a_stream_stateful() -> None:
    plain = stream()
    assert (plain.stateful, plain.resume_form) == (False, "specific-offset")
    assert plain.target_names == ("orders", "items")
    query = stream(queries=(QuerySpec("stats", "SELECT 1"),), source_only=("items",))
    assert (query.stateful, query.resume_form) == (True, "transplant")
    assert [table.name for table in query.copied] == ["orders"]
    assert query.target_names == ("orders", "stats")


# ---------------------------------------------------------------- ids for Flink


@given(st.text(), st.text(), st.integers(1, 10**9))
def test_job_ids_are_what_flink_takes_and_always_the_same(
    ledger: str, name: str, number: int
) -> None:
    job_id = job_id_of(ledger, name, number)
    assert job_id == job_id_of(ledger, name, number)
    assert len(job_id) == 32
    assert int(job_id, 16) >= 0
    assert job_id == job_id.lower()


def test_ids_differ_by_ledger_stream_incarnation_and_purpose() -> None:
    jobs = {
        job_id_of(ledger, name, number)
        for ledger in ("l1", "l2")
        for name in ("orders", "items")
        for number in (1, 2, 11)
    }
    assert len(jobs) == 12
    assert len({trigger_id_of(job, purpose) for job in jobs for purpose in ("a", "b")}) == 24
