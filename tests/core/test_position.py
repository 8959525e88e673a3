"""Coordinates, positions and their four-valued order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cdc_assets.core.gtid import GtidSet
from cdc_assets.core.position import (
    Coordinates,
    Order,
    Position,
    compare,
    compare_coordinates,
    reached,
)
from cdc_assets.core.source import FileBirth, SourceIdentity, same_server
from cdc_assets.errors import UnreadablePosition

FILE = "mysql-bin-changelog.000007"
U1 = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
BLUE = SourceIdentity("mysql", "8.0.36", 101, "uuid-blue")
GREEN = SourceIdentity("mysql", "8.4.2", 102, "uuid-green")
NAMELESS = SourceIdentity("mariadb", "10.11.5-MariaDB", 101)
MIRROR: dict[Order, Order] = {
    "BEFORE": "AFTER",
    "AFTER": "BEFORE",
    "SAME": "SAME",
    "DIVERGED": "DIVERGED",
}

coordinates = st.builds(
    Coordinates,
    st.tuples(st.sampled_from(["a", "b.c"]), st.integers(1, 3) | st.just(1_000_000)).map(
        lambda pair: f"{pair[0]}.{pair[1]:06d}"
    ),
    st.integers(4, 7),
)
births = st.none() | st.builds(
    FileBirth, st.sampled_from(["a.000001", "a.000002"]), st.integers(1, 2), st.just(1)
)
gtid_sets = st.frozensets(st.integers(1, 5)).map(
    lambda numbers: GtidSet.parse(",".join(f"{U1}:{number}" for number in numbers))
)
positions = st.builds(
    Position,
    coordinates,
    st.sampled_from([BLUE, GREEN, NAMELESS]),
    births,
    st.none() | gtid_sets,
    st.integers(0, 2),
    st.integers(0, 1),
)


def at(pos: int, *, file: str = FILE, **changes: object) -> Position:
    return replace(Position(Coordinates(file, pos), BLUE), **changes)


def gtid(text: str, **changes: object) -> Position:
    return at(4, gtid_set=GtidSet.parse(text and f"{U1}:{text}"), **changes)


# ---------------------------------------------------------------- coordinates


def test_the_file_after_999999_comes_after_it() -> None:
    last, next_ = Coordinates("b.999999", 9000), Coordinates("b.1000000", 4)
    assert compare_coordinates(last, next_) == "BEFORE"
    assert compare_coordinates(next_, last) == "AFTER"
    assert (next_.base, next_.number) == ("b", 1_000_000)


def test_numbers_are_compared_not_texts() -> None:
    assert compare_coordinates(Coordinates("b.0010", 4), Coordinates("b.9", 4)) == "AFTER"
    assert compare_coordinates(Coordinates("b.000001", 1000), Coordinates("b.000001", 999)) == (
        "AFTER"
    )


def test_other_base_names_have_no_order() -> None:
    assert compare_coordinates(Coordinates("a.000001", 4), Coordinates("b.000001", 4)) == "DIVERGED"


@given(coordinates, coordinates, coordinates)
def test_coordinates_of_one_base_are_totally_ordered(
    a: Coordinates, b: Coordinates, c: Coordinates
) -> None:
    assert compare_coordinates(a, b) == MIRROR[compare_coordinates(b, a)]
    assert compare_coordinates(a, a) == "SAME"
    assert (compare_coordinates(a, b) == "DIVERGED") == (a.base != b.base)
    if compare_coordinates(a, b) == compare_coordinates(b, c) == "BEFORE":
        assert compare_coordinates(a, c) == "BEFORE"


@pytest.mark.parametrize(
    ("file", "pos"),
    [
        ("", 4),
        ("mysql-bin", 4),
        (".000001", 4),
        ("mysql-bin.", 4),
        ("mysql-bin.00000x", 4),
        ("mysql-bin.000001\n", 4),
        ("mysql bin.000001", 4),
        ("../mysql-bin.000001", 4),
        ("dir\\mysql-bin.000001", 4),
        ("mysql\x00bin.000001", 4),
        ("mysql-bin.\u0661", 4),
        ("b." + "1" * 13, 4),
        ("b" * 201 + ".000001", 4),
        (FILE, 3),
        (FILE, 0),
        (FILE, -5),
        (FILE, 2**63),
    ],
)
def test_what_no_server_prints_is_refused(file: str, pos: int) -> None:
    with pytest.raises(UnreadablePosition):
        Coordinates(file, pos)


def test_coordinates_are_shown_as_file_and_offset() -> None:
    assert str(Coordinates(FILE, 40134574)) == f"{FILE}:40134574"


# ---------------------------------------------------------------- compare


@given(positions, positions)
def test_compare_is_antisymmetric(a: Position, b: Position) -> None:
    assert compare(a, b) == MIRROR[compare(b, a)]


@given(positions)
def test_a_position_is_at_itself_where_its_server_can_be_known(a: Position) -> None:
    known = same_server(a.identity, a.birth, a.identity, a.birth) == "same"
    assume(known or (a.gtid_set is not None and not a.in_transaction))
    assert compare(a, a) == "SAME"


@given(positions, gtid_sets, positions, gtid_sets)
def test_compare_agrees_with_inclusion_where_both_have_gtids(
    a: Position, left: GtidSet, b: Position, right: GtidSet
) -> None:
    order = compare(a.with_gtid_set(left), b.with_gtid_set(right))
    if left == right:
        return
    assert (order == "BEFORE") == right.contains(left)
    assert (order == "AFTER") == left.contains(right)
    assert (order == "DIVERGED") == (not left.contains(right) and not right.contains(left))


@given(positions, positions)
def test_without_gtids_nothing_is_ordered_over_two_servers(a: Position, b: Position) -> None:
    a = a.with_gtid_set(None)
    if same_server(a.identity, a.birth, b.identity, b.birth) != "same":
        assert compare(a, b) == "DIVERGED"
    elif a.coordinates != b.coordinates:
        assert compare(a, b) == compare_coordinates(a.coordinates, b.coordinates)


@pytest.mark.parametrize(
    ("left", "right", "order"),
    [
        (at(100), at(200), "BEFORE"),
        (at(200), at(100), "AFTER"),
        (at(100), at(100), "SAME"),
        (at(900), at(4, file="mysql-bin-changelog.000008"), "BEFORE"),
        (at(100), at(100, skip_events=1), "BEFORE"),
        (at(100, skip_events=2), at(100, skip_events=1, skip_rows=9), "AFTER"),
        (at(100, skip_rows=1), at(100), "AFTER"),
        # Same file name, same offset, another server: the trap of a switchover.
        (at(100), at(100, identity=GREEN), "DIVERGED"),
        (at(100), at(200, identity=GREEN), "DIVERGED"),
        # One uuid, but the file began anew.
        (at(100, birth=FileBirth(FILE, 1, 1)), at(200, birth=FileBirth(FILE, 2, 1)), "DIVERGED"),
        # MariaDB 10.11 without a birth cannot be known.
        (at(100, identity=NAMELESS), at(200, identity=NAMELESS), "DIVERGED"),
        (
            at(100, identity=NAMELESS, birth=FileBirth(FILE, 1, 1)),
            at(200, identity=NAMELESS, birth=FileBirth(FILE, 1, 1)),
            "BEFORE",
        ),
        # Only one side has GTIDs: coordinates, and only on one server.
        (at(100), gtid("1-7"), "AFTER"),
        (at(100, identity=GREEN), gtid("1-7"), "DIVERGED"),
        # GTIDs decide, on any pair of servers, against the coordinates too.
        (gtid("1-7"), gtid("1-9", identity=GREEN), "BEFORE"),
        (gtid("1-9", coordinates=Coordinates(FILE, 4)), gtid("1-7"), "AFTER"),
        (gtid("1-7"), gtid("1-7", identity=GREEN), "SAME"),
        (gtid("1-7:9"), gtid("1-8"), "DIVERGED"),
        (gtid(""), gtid("1"), "BEFORE"),
        (gtid("1-7"), gtid("1-7", skip_events=3), "BEFORE"),
        (gtid("1-7", skip_events=3), gtid("1-7", identity=GREEN), "AFTER"),
        # Two open transactions on two servers need not be the same one.
        (gtid("1-7", skip_events=3), gtid("1-7", skip_events=3, identity=GREEN), "DIVERGED"),
        (gtid("1-7", skip_events=3), gtid("1-7", skip_events=5), "BEFORE"),
    ],
)
def test_where_one_position_is_seen_from_another(
    left: Position, right: Position, order: Order
) -> None:
    assert compare(left, right) == order


# ---------------------------------------------------------------- reached, and text

END = Coordinates(FILE, 1000)
NEXT = "mysql-bin-changelog.000008"


@pytest.mark.parametrize(
    ("position", "files", "there"),
    [
        (at(1000), (), True),
        (at(1000), (FILE,), True),
        (at(999), (), False),
        (at(1000, skip_events=1), (), False),
        (at(1000, skip_rows=1), (), False),
        (at(1001), (), True),
        # A read-only old blue may rotate to a file that holds a header only.
        (at(157, file=NEXT), (FILE, NEXT), True),
        (at(157, file=NEXT), (FILE,), False),
        (at(4, file="mysql-bin-changelog.000006"), (), False),
        (at(1000, file="other.000007"), (), False),
    ],
)
def test_when_a_drain_has_reached_the_end(
    position: Position, files: tuple[str, ...], *, there: bool
) -> None:
    assert reached(position, END, files) is there


def test_a_position_is_shown_in_one_line() -> None:
    assert str(at(1000)) == f"{FILE}:1000 on server_id=101"
    assert str(at(1000, skip_events=3, skip_rows=1)) == f"{FILE}:1000+3e1r on server_id=101"
    assert str(gtid("1-7")) == f"{FILE}:4 gtid {U1}:1-7 on server_id=101"


def test_a_copy_has_the_other_gtid_set_only() -> None:
    position = gtid("1-7")
    assert position.with_gtid_set(None) == at(4)
    assert position.gtid_set == GtidSet.parse(f"{U1}:1-7")
