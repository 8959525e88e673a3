"""The files that the real Flink classes wrote are read to the last field."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_assets.errors import CheckpointUnreadable
from cdc_assets.flink.checkpoint import read_checkpoint
from cdc_assets.flink.metadata_format import INLINE
from cdc_assets.flink.metadata_reader import read_metadata
from cdc_assets.flink.state_view import newest_view, read_view
from tests.adapters.checkpoint.builder import FIXTURES

CONSTRUCTED = [
    ("flink-1.20.4-v4-binlog", 4, None),
    ("flink-2.2.1-v6-binlog", 6, "Source: orders[1]"),
]


@pytest.mark.parametrize(("folder", "version", "name"), CONSTRUCTED)
def test_the_position_is_reported_as_recorded(folder: str, version: int, name: str | None) -> None:
    state = read_checkpoint(FIXTURES / folder)

    assert (state.version, state.checkpoint_id) == (version, 7)
    [operator] = state.operators
    assert operator.operator_id == "112233445566778899aabbccddeeff00"
    assert (operator.parallelism, operator.max_parallelism) == (1, 128)
    assert (operator.name, operator.uid) == (name, None)
    [source] = state.sources
    assert source.binlog is not None
    starting, ending = source.binlog.starting, source.binlog.ending
    assert (starting.kind, starting.file, starting.pos) == ("SPECIFIC", "mysql-bin.000042", 98765)
    assert starting.gtids == "24DA167-0C0C-11E8-8442-00059A3C7B00:1-19"
    assert (starting.event, starting.row, starting.ts_sec) == (2, 1, 1700000000)
    assert starting.server_id == 223344
    assert ending is not None
    assert (ending.kind, ending.file, ending.pos) == ("NON_STOPPING", "", -(2**63))
    assert (ending.event, ending.row, ending.ts_sec) == (0, 0, 0)
    assert (ending.gtids, ending.server_id) == (None, None)


@pytest.mark.parametrize("folder", [folder for folder, _, _ in CONSTRUCTED])
def test_a_reader_without_all_finished_splits_is_not_usable_without_state(folder: str) -> None:
    [source] = read_checkpoint(FIXTURES / folder).sources

    assert source.binlog is not None
    assert (source.binlog.subtask, source.binlog.split_id) == (0, "binlog-split")
    assert (source.binlog.finished_split_count, source.binlog.total_finished_split_size) == (0, 3)
    assert (source.binlog.tables, source.binlog.suspended) == ((), False)
    assert source.progress is None
    assert not source.usable_without_state
    assert source.reason == "the reader knows 0 of 3 finished snapshot splits"


@pytest.mark.parametrize(
    ("folder", "size"), [("flink-1.20.4-v4-binlog", 1335), ("flink-2.2.1-v6-binlog", 1356)]
)
def test_the_structure_is_that_of_the_description(folder: str, size: int) -> None:
    data = (FIXTURES / folder / "_metadata").read_bytes()
    metadata = read_metadata(data)

    assert len(data) == size
    assert metadata.master_states == 0
    assert data[metadata.properties_at :].startswith(b"\xac\xed")
    [operator] = metadata.operators
    coordinator = operator.coordinator
    assert data[coordinator.data_start : coordinator.end] == bytes([0, 0, 0, 1])
    [subtask] = operator.subtasks
    assert subtask.managed is not None
    assert subtask.managed.stream is not None
    assert (subtask.managed.kind, subtask.managed.stream.kind) == (4, INLINE)
    [state] = subtask.managed.states
    assert (state.name, state.mode, state.offsets) == ("SourceReaderState", 0, (234,))
    assert subtask.managed.stream.size == 561
    assert subtask.raw is None
    assert [keyed.kind for keyed in subtask.keyed] == [0, 0]
    assert subtask.channels == ()


def test_of_a_job_with_other_sources_the_number_is_read_and_no_split(tmp_path: Path) -> None:
    data = (FIXTURES / "flink-1.20.4-v4-binlog" / "_metadata").read_bytes()
    folder = tmp_path / "chk-7"
    folder.mkdir()
    # As Kafka's source has it: the same name of the state, and splits of version 0.
    metadata = read_metadata(data)
    stream = metadata.operators[0].subtasks[0].managed
    assert stream is not None
    assert stream.stream is not None
    version = stream.stream.data_start + stream.states[0].offsets[0] + 4
    data = data[:version] + bytes(4) + data[version + 4 :]
    (folder / "_metadata").write_bytes(data)
    with pytest.raises(CheckpointUnreadable, match="split version 0 is not supported"):
        read_checkpoint(folder)
    state = read_checkpoint(folder, reads_binlog=False)
    assert (state.checkpoint_id, state.sources) == (7, ())
    view = read_view(str(folder), reads_binlog=False)
    assert (view.checkpoint_id, view.splits, view.path) == (7, (), str(folder))
    newest = newest_view(tmp_path, tmp_path / "none", reads_binlog=False)
    assert newest == view
