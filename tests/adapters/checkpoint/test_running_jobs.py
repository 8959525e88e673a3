"""Checkpoints and savepoints of running jobs are read, and moved where that is safe."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest

from cdc_assets.errors import CheckpointUnreadable, TransplantRefused
from cdc_assets.flink.checkpoint import parse_metadata, read_checkpoint
from cdc_assets.flink.metadata_reader import read_metadata
from cdc_assets.flink.transplant import transplant
from tests.adapters.checkpoint.builder import FIXTURES

TWO_SOURCES = FIXTURES / "flink-1.20.3-savepoint-two-sources"
TWO_TABLES = FIXTURES / "flink-1.20.3-savepoint-two-tables"
NO_SNAPSHOT = FIXTURES / "flink-1.20.3-savepoint-no-snapshot"
IN_SNAPSHOT = FIXTURES / "flink-1.20.3-savepoint-in-snapshot"
UNALIGNED = FIXTURES / "flink-1.20.3-checkpoint-unaligned"
GREEN = ("mysql-bin-changelog.000005", 24104)


def test_two_sources_of_a_job_have_positions_of_their_own() -> None:
    state = read_checkpoint(TWO_SOURCES)

    assert (state.version, state.checkpoint_id, len(state.operators)) == (4, 4, 15)
    assert (state.kind, state.savepoint_format) == ("savepoint", "CANONICAL")
    orders, items = state.sources
    assert orders.binlog is not None
    assert items.binlog is not None
    assert orders.operator_id == "d618a97df21bbd4bb61c79cdeca965b4"
    assert orders.binlog.tables == ("source.e_orders",)
    assert items.binlog.tables == ("source.e_items",)
    assert (orders.binlog.starting.file, orders.binlog.starting.pos) == (
        "mysql-bin-changelog.000004",
        28168,
    )
    assert (items.binlog.starting.pos, items.binlog.starting.event) == (28416, 3)
    assert (items.binlog.starting.row, items.binlog.starting.server_id) == (4, 101)
    assert orders.binlog.finished_splits[0].offset.pos == 27652
    assert [source.parallelism for source in state.sources] == [2, 2]
    assert [source.usable_without_state for source in state.sources] == [True, True]


def test_one_source_may_read_several_tables() -> None:
    [source] = read_checkpoint(TWO_TABLES).sources

    assert source.binlog is not None
    assert source.binlog.tables == ("source.h_a", "source.h_b")
    assert (source.binlog.finished_split_count, source.binlog.total_finished_split_size) == (2, 2)
    assert source.progress is not None
    assert (source.progress.kind, source.progress.status) == (
        "hybrid",
        "INITIAL_ASSIGNING_FINISHED",
    )
    assert (source.progress.splits_finished, source.progress.splits_total) == (2, 2)


def test_a_stream_that_began_at_coordinates_has_no_snapshot() -> None:
    [source] = read_checkpoint(NO_SNAPSHOT).sources

    assert source.progress is not None
    assert (source.progress.kind, source.progress.status) == ("binlog", None)
    assert source.progress.finished
    assert source.usable_without_state


def test_the_progress_of_a_running_snapshot_is_counted() -> None:
    orders, items = read_checkpoint(IN_SNAPSHOT).sources

    assert orders.progress is not None
    assert items.progress is not None
    assert orders.binlog is None
    assert (orders.snapshot_splits_unread, orders.snapshot_splits_read) == (0, 2)
    assert (orders.progress.splits_finished, orders.progress.splits_assigned) == (4, 6)
    assert (orders.progress.splits_remaining, orders.progress.splits_total) == (25, 31)
    assert orders.progress.tables_processed == ("source.s_orders",)
    assert (items.progress.splits_finished, items.progress.splits_total) == (1, 1)
    assert not orders.usable_without_state


def test_in_flight_records_are_passed_over() -> None:
    state = read_checkpoint(UNALIGNED)
    metadata = read_metadata((UNALIGNED / "_metadata").read_bytes())

    channels = [len(task.channels) for one in metadata.operators for task in one.subtasks]
    assert sum(channels) == 16
    assert (state.kind, state.savepoint_format) == ("checkpoint", None)
    assert [source.snapshot_splits_unread for source in state.sources] == [2, 1]


@pytest.mark.parametrize(
    ("savepoint", "replaced"), [(TWO_SOURCES, [3, 3]), (TWO_TABLES, [5]), (NO_SNAPSHOT, [1])]
)
def test_a_steady_savepoint_is_moved_with_all_its_positions(
    savepoint: Path, replaced: list[int], tmp_path: Path
) -> None:
    report = transplant(savepoint, tmp_path / "new", *GREEN)

    assert [source.offsets_replaced for source in report.sources] == replaced
    everything = b"".join(path.read_bytes() for path in sorted((tmp_path / "new").iterdir()))
    assert everything.count(b'"kind":"SPECIFIC"') == sum(replaced)
    assert everything.count(b'"file":"mysql-bin-changelog.000005","pos":"24104"') == sum(replaced)
    assert b"mysql-bin-changelog.000004" not in everything
    for source in read_checkpoint(tmp_path / "new").sources:
        assert source.binlog is not None
        assert (source.binlog.starting.file, source.binlog.starting.pos) == GREEN
        assert source.usable_without_state


@pytest.mark.parametrize("savepoint", [TWO_SOURCES, TWO_TABLES, NO_SNAPSHOT])
def test_all_bytes_but_positions_and_lengths_stay(savepoint: Path, tmp_path: Path) -> None:
    transplant(savepoint, tmp_path / "new", *GREEN)

    old, new = (
        read_metadata((at / "_metadata").read_bytes()) for at in (savepoint, tmp_path / "new")
    )
    sources = {source.operator_id for source in read_checkpoint(savepoint).sources}
    old_data, new_data = ((at / "_metadata").read_bytes() for at in (savepoint, tmp_path / "new"))
    assert old_data[old.properties_at :] == new_data[new.properties_at :]
    for before, after in zip(old.operators, new.operators, strict=True):
        assert before.operator_id == after.operator_id
        if before.operator_id not in sources:
            assert [stream.size for stream in before.streams()] == [
                stream.size for stream in after.streams()
            ]
        assert [stream.path for stream in before.streams()] == [
            stream.path for stream in after.streams()
        ]


@pytest.mark.parametrize("savepoint", [IN_SNAPSHOT, UNALIGNED])
def test_a_running_snapshot_is_not_moved(savepoint: Path, tmp_path: Path) -> None:
    with pytest.raises(TransplantRefused, match="the snapshot is not finished"):
        transplant(savepoint, tmp_path / "new", *GREEN)

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("savepoint", [TWO_SOURCES, UNALIGNED])
def test_a_real_file_that_is_cut_anywhere_is_unreadable(savepoint: Path) -> None:
    data = (savepoint / "_metadata").read_bytes()

    for length in range(0, len(data), 7):
        with pytest.raises(CheckpointUnreadable):
            parse_metadata(data[:length], savepoint)
    with pytest.raises(CheckpointUnreadable):
        parse_metadata(data + b"\x00", savepoint)


@pytest.mark.parametrize("value", [0, 1, 0x70, 0x78, 0xFF])
def test_any_byte_of_a_real_file_may_be_wrong(value: int) -> None:
    data = (NO_SNAPSHOT / "_metadata").read_bytes()

    for at in range(len(data)):
        if data[at] == value:
            continue
        with contextlib.suppress(CheckpointUnreadable):
            parse_metadata(data[:at] + bytes([value]) + data[at + 1 :], NO_SNAPSHOT)


def test_a_damaged_state_file_stops_a_transplant(tmp_path: Path) -> None:
    shutil.copytree(TWO_TABLES, tmp_path / "old")
    victim = max(
        (tmp_path / "old").iterdir(),
        key=lambda path: (path.name != "_metadata", path.stat().st_size),
    )
    data = victim.read_bytes()
    victim.write_bytes(data[:-1])

    with pytest.raises(TransplantRefused, match="bytes instead of"):
        transplant(tmp_path / "old", tmp_path / "new", *GREEN)
