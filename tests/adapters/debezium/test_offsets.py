"""Offsets as Debezium 3.6 writes them, and states that are text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.core.position import Coordinates
from cdc_assets.debezium.offsets import ConnectorState, offset_at, offset_of
from cdc_assets.errors import CheckpointUnreadable, UnreadablePosition

FILE = "mysql-bin-changelog.000001"
UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
MYSQL = {
    "ts_sec": 1795247309,
    "file": FILE,
    "pos": 14978,
    "gtids": f"{UUID}:1-49",
    "row": 1,
    "server_id": 101,
    "event": 2,
}


def test_an_offset_inside_a_transaction_says_how_far_it_was_read() -> None:
    (split,) = ConnectorState(MYSQL, "h").view(["shop.orders"]).splits
    assert (split.file, split.pos) == (FILE, 14978)
    assert (split.skip_events, split.skip_rows) == (2, 1)
    assert split.gtids == f"{UUID}:1-49"
    assert split.tables == ("shop.orders",)
    assert split.finished
    assert split.usable_without_state


def test_the_gtids_of_mariadb_are_no_gtid_set() -> None:
    state = ConnectorState({"file": FILE, "pos": 4, "gtids": "0-103-25,1-103-7"})
    assert state.view(()).splits[0].gtids is None


@pytest.mark.parametrize("mark", [True, "true", "INITIAL", "first"])
def test_an_offset_of_the_initial_copy_is_marked(mark: object) -> None:
    view = ConnectorState({"file": FILE, "pos": 4, "snapshot": mark}).view(())
    assert view.snapshot_running
    assert not view.splits[0].usable_without_state
    assert "initial copy" in view.splits[0].reason


@pytest.mark.parametrize("mark", [None, False, "false"])
def test_an_offset_after_the_copy_is_not(mark: object) -> None:
    state = ConnectorState({"file": FILE, "pos": 4, "snapshot": mark, "snapshot_completed": True})
    assert not state.view(()).snapshot_running


@given(
    st.dictionaries(
        st.text(max_size=5), st.integers(0, 9) | st.text(max_size=5) | st.booleans(), max_size=4
    ),
    st.text(max_size=20),
)
def test_a_state_reads_back_as_it_was(more: dict[str, object], history: str) -> None:
    own = {"ts_sec", "event", "row", "gtids", "snapshot", "snapshot_completed", "file", "pos"}
    offset = {name: value for name, value in more.items() if name not in own} | dict(MYSQL)
    state = ConnectorState(offset, history)
    assert ConnectorState.parse(state.path) == state
    assert "\n" not in state.path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/checkpoints/job/chk-1",
        "debezium:",
        "debezium:{}",
        'debezium:{"history":"h"}',
        'debezium:{"history":"h","offset":null}',
        'debezium:{"history":"h","offset":[1]}',
        'debezium:{"history":"h","offset":{"pos":4}}',
        'debezium:{"history":"h","offset":{"file":7,"pos":4}}',
        'debezium:{"history":"h","offset":{"file":"a.000001"}}',
        'debezium:{"history":"h","offset":{"file":"a.000001","pos":-4}}',
        'debezium:{"history":"h","offset":{"file":"a.000001","pos":true}}',
        'debezium:{"history":"h","offset":{"file":"a.000001","pos":4,"event":"x"}}',
        "debezium:" + "[" * 100_000,
    ],
)
def test_another_text_is_refused_as_unreadable(text: str) -> None:
    with pytest.raises(UnreadablePosition) as caught:
        ConnectorState.parse(text)
    assert "\n" not in str(caught.value)


def test_of_connects_answer_the_own_server_counts() -> None:
    entries = [
        {"partition": {"server": "other"}, "offset": {"file": FILE, "pos": 9}},
        {"partition": {"server": "orders"}, "offset": {"file": FILE, "pos": 10}},
    ]
    assert offset_of(entries, "orders") == {"file": FILE, "pos": 10}
    assert offset_of([], "orders") is None
    assert offset_of([{"partition": {"server": "orders"}, "offset": None}], "orders") is None


@pytest.mark.parametrize("entries", [None, 7, [7], [{}], [{"partition": 1, "offset": 2}]])
def test_an_answer_of_another_form_is_unreadable(entries: object) -> None:
    with pytest.raises(CheckpointUnreadable):
        offset_of(entries, "orders")


def test_a_place_makes_an_offset_with_no_transaction_open() -> None:
    place = Coordinates(FILE, 400)
    assert offset_at(place) == {"file": FILE, "pos": 400}
    assert offset_at(place, f"{UUID}:1-7")["gtids"] == f"{UUID}:1-7"
    assert ConnectorState(offset_at(place)).coordinates == place
