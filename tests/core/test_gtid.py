"""GTID sets against plain Python sets, and what the parser takes and refuses."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.core.gtid import GtidSet
from cdc_assets.errors import UnreadablePosition

U1 = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
U2 = "4e11fa47-71ca-11e1-9e33-c80aa9429562"
KEYS = (U1, U2, f"{U1}:blue", f"{U2}:green")
Transactions = frozenset[tuple[str, int]]

transactions = st.frozensets(st.tuples(st.sampled_from(KEYS), st.integers(1, 12)))


def of(items: Transactions) -> GtidSet:
    return GtidSet.parse(",".join(f"{key}:{number}" for key, number in items))


def members(gtids: GtidSet) -> Transactions:
    return frozenset(
        (key, number)
        for key, intervals in gtids.intervals
        for first, last in intervals
        for number in range(first, last + 1)
    )


@given(transactions)
def test_format_and_parse_are_inverse(items: Transactions) -> None:
    gtids = of(items)
    assert members(gtids) == items
    assert GtidSet.parse(gtids.format()) == gtids
    assert gtids.count() == len(items)
    assert bool(gtids) == bool(items)


@given(transactions, transactions)
def test_the_algebra_is_that_of_sets(left: Transactions, right: Transactions) -> None:
    a, b = of(left), of(right)
    assert members(a.union(b)) == left | right
    assert members(a.subtract(b)) == left - right
    assert a.contains(b) == (left >= right)
    assert (a == b) == (left == right)


@given(transactions, transactions, transactions)
def test_laws_of_union_and_subtract(x: Transactions, y: Transactions, z: Transactions) -> None:
    a, b, c = of(x), of(y), of(z)
    assert a.union(b) == b.union(a)
    assert a.union(b.union(c)) == a.union(b).union(c)
    assert a.union(a) == a
    assert a.subtract(b).union(b) == a.union(b)
    assert a.subtract(b).subtract(c) == a.subtract(b.union(c))
    assert not a.subtract(a)
    assert a.union(b).contains(a)
    assert a.contains(GtidSet())


@given(transactions)
def test_intervals_are_sorted_disjoint_and_merged(items: Transactions) -> None:
    gtids = of(items)
    assert list(gtids.intervals) == sorted(gtids.intervals)
    for _, intervals in gtids.intervals:
        assert intervals
        for (_, last), (first, _) in itertools.pairwise(intervals):
            assert first > last + 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("  \n ", ""),
        (",,", ""),
        (f"{U1}:1-5", f"{U1}:1-5"),
        (f"{U1.upper()}:1-5", f"{U1}:1-5"),
        (f"{U1}:1-5:6-7:9", f"{U1}:1-7:9"),
        (f"{U1}:9:1-3:2-5", f"{U1}:1-5:9"),
        (f"{U1}:1-3,{U1}:4", f"{U1}:1-4"),
        (f"{U2}:1,\n{U1}:1", f"{U1}:1,{U2}:1"),
        (f" {U1} : 1 - 5 : 7 , {U2}:1 ", f"{U1}:1-5:7,{U2}:1"),
        (f"{U1}:1-5:Blue:1-3:7:green:2", f"{U1}:1-5,{U1}:blue:1-3:7,{U1}:green:2"),
        (f"{U1}:{2**63 - 2}", f"{U1}:{2**63 - 2}"),
        ("u-u-u-u-u:1-7:9", "u-u-u-u-u:1-7:9"),
    ],
)
def test_what_mysql_prints_is_read(text: str, shown: str) -> None:
    assert GtidSet.parse(text).format() == shown


def test_a_gap_is_kept() -> None:
    # FLINK-38183: a reader that flattened 1-7:9-10 to 1-10 skipped transaction 8.
    gtids = GtidSet.parse(f"{U1}:1-7:9-10")
    assert gtids.format() == f"{U1}:1-7:9-10"
    assert not gtids.contains(GtidSet.parse(f"{U1}:8"))
    assert GtidSet.parse(f"{U1}:1-10").subtract(gtids).format() == f"{U1}:8"


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "0-103-18",  # MariaDB: domain, server, sequence
        "0-103-18,1-104-5",
        U1,
        f"{U1}:",
        f"{U1}:0",
        f"{U1}:5-4",
        f"{U1}:1-",
        f"{U1}:-1",
        f"{U1}:1-2-3",
        f"{U1}:1 2",  # not 12
        f"{U1}:{2**63 - 1}",
        f"{U1}:99999999999999999999",
        f"{U1}:\u0661",  # a digit of another script
        f"{U1}:blue",  # a tag without an interval names no transaction
        f"{U1}:1-5:blue",
        f"{U1}:blue:green:1",
        f"{U1}:{'x' * 33}:1",
        f"{U1};DROP TABLE x:1",
        f"{U1[:-1]}\u0661:1",
        f"{U1[:23]}:1",
    ],
)
def test_what_is_no_mysql_gtid_set_is_refused(text: str) -> None:
    with pytest.raises(UnreadablePosition):
        GtidSet.parse(text)


@given(st.text(alphabet="0123456789abcdef-:, \n;x", max_size=60))
def test_any_text_is_read_or_refused_and_what_is_read_reads_the_same_again(text: str) -> None:
    try:
        gtids = GtidSet.parse(text)
    except UnreadablePosition:
        return
    assert GtidSet.parse(gtids.format()) == gtids
