"""A transplant replaces every position and nothing else."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given

from cdc_assets.errors import TransplantRefused
from cdc_assets.flink import directory_copy
from cdc_assets.flink.checkpoint import CheckpointState, SourceState, read_checkpoint
from cdc_assets.flink.split_format import parse_offset
from cdc_assets.flink.transplant import offset_text, transplant
from tests.adapters.checkpoint.builder import (
    Binlog,
    Coordinator,
    Finished,
    Job,
    Operator,
    Reader,
    Snapshot,
    Storage,
    Subtask,
    absolute,
    inline,
    key_groups,
    offset,
    relative,
)
from tests.adapters.checkpoint.strategies import steady_jobs

GREEN = ("green-bin-changelog.000123", 4_711_000_111)
ORDERS, ITEMS = ("shop", "orders"), ("shop", "items")


def content(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def moved(state: CheckpointState, text: str) -> CheckpointState:
    new = parse_offset(text)

    def source(one: SourceState) -> SourceState:
        assert one.binlog is not None
        finished = tuple(replace(split, offset=new) for split in one.binlog.finished_splits)
        return replace(one, binlog=replace(one.binlog, starting=new, finished_splits=finished))

    return replace(state, sources=tuple(source(one) for one in state.sources))


def set_offsets(job: Job, text: str) -> None:
    """Put one offset in every place of a job that is to be written."""
    for operator in job.operators:
        for subtask in operator.subtasks:
            for split in subtask.reader.splits if subtask.reader else []:
                if isinstance(split, Binlog):
                    split.starting = text
                    for one in split.finished:
                        one.watermark = text
        if isinstance(operator.coordinator, Coordinator):
            for one in operator.coordinator.assigned:
                one.watermark = text if one.watermark else None
            operator.coordinator.finished = [
                (split_id, text) for split_id, _ in operator.coordinator.finished
            ]


def job(storage: Storage = "inline", other: bytes = b"\x00") -> Job:
    """Return a job with two sources at parallelism 2 and an aggregation."""
    sources = [
        Operator(
            id=f"{number:02x}c357ccb763df2852fee8c4fc7d55f2",
            parallelism=2,
            coordinator=Coordinator(
                processed=[table],
                assigned=[Snapshot(table, f"{table[1]}:0")],
                finished=[(f"{table[1]}:0", offset("bin.000001", 154))],
            ),
            coordinator_storage=storage,
            subtasks=[
                Subtask(0, Reader([], storage)),
                Subtask(
                    1,
                    Reader(
                        [
                            Binlog(
                                starting=offset("bin.000002", 4995, event=3, row=1, server_id=1),
                                finished=[
                                    Finished(table, f"{table[1]}:0", offset("bin.000001", 154))
                                ],
                                tables=[table],
                            )
                        ],
                        storage,
                    ),
                ),
            ],
        )
        for number, table in enumerate([ORDERS, ITEMS])
    ]
    aggregate = Operator(id="ff" * 16, subtasks=[Subtask(0, keyed=(other, b"\x00"))])
    return Job(operators=[*sources, aggregate])


@given(steady_jobs)
def test_the_copy_is_the_file_that_the_new_positions_would_have_been_written_to(
    steady: Job,
) -> None:
    with TemporaryDirectory() as folder:
        savepoint, target, wanted = (Path(folder, name) for name in ("old", "new", "wanted"))
        steady.write(savepoint)
        before = content(savepoint)

        report = transplant(savepoint, target, *GREEN)

        set_offsets(steady, offset_text(*GREEN))
        steady.write(wanted)
        assert content(target) == content(wanted)
        assert content(savepoint) == before
        assert read_checkpoint(target) == moved(read_checkpoint(savepoint), offset_text(*GREEN))
        assert not report.already_done


@given(steady_jobs)
def test_a_transplant_back_gives_the_original_bytes(steady: Job) -> None:
    with TemporaryDirectory() as folder:
        old, new, back = (Path(folder, name) for name in ("old", "new", "back"))
        set_offsets(steady, offset_text("blue-bin.000007", 1234))
        steady.write(old)

        transplant(old, new, *GREEN)
        transplant(new, back, "blue-bin.000007", 1234)

        assert content(back) == content(old)


@pytest.mark.parametrize("storage", ["inline", "relative", "absolute"])
def test_every_position_of_every_source_is_replaced(tmp_path: Path, storage: Storage) -> None:
    job(storage).write(tmp_path / "old")

    report = transplant(tmp_path / "old", tmp_path / "new", *GREEN)

    assert [source.offsets_replaced for source in report.sources] == [3, 3]
    assert [source.tables for source in report.sources] == [("shop.orders",), ("shop.items",)]
    assert [source.before.pos for source in report.sources] == [4995, 4995]
    everything = b"".join(content(tmp_path / "new").values())
    assert everything.count(b'"pos":"4711000111"') == 6
    assert b"bin.000001" not in everything
    assert b"bin.000002" not in everything


def test_the_original_is_not_needed_to_read_a_copy_of_absolute_paths(tmp_path: Path) -> None:
    job("absolute").write(tmp_path / "old")

    report = transplant(tmp_path / "old", tmp_path / "new", *GREEN)
    shutil.rmtree(tmp_path / "old")

    assert len(read_checkpoint(tmp_path / "new").sources) == 2
    assert report.keeps_using == ()
    assert str(tmp_path).encode() not in (tmp_path / "new" / "_metadata").read_bytes()


def test_the_new_offset_is_spelled_as_flink_cdc_spells_it() -> None:
    text = offset_text("mysql-bin-changelog.000003", 157)

    assert text == (
        '{"transaction_id":null,"ts_sec":"0","file":"mysql-bin-changelog.000003",'
        '"pos":"157","kind":"SPECIFIC","row":"0","event":"0"}'
    )
    assert set(json.loads(text).values()) <= {
        None,
        "0",
        "157",
        "SPECIFIC",
        "mysql-bin-changelog.000003",
    }


def test_other_files_of_the_savepoint_come_along(tmp_path: Path) -> None:
    job("relative", key_groups(7, relative("keyed/state", 5))).write(tmp_path / "old")
    (tmp_path / "old" / "keyed").mkdir()
    (tmp_path / "old" / "keyed" / "state").write_bytes(b"state")
    (tmp_path / "old" / "keyed" / "state").chmod(0o640)

    report = transplant(tmp_path / "old", tmp_path / "new", *GREEN)

    copy = tmp_path / "new" / "keyed" / "state"
    assert copy.read_bytes() == b"state"
    assert copy.stat().st_mode & 0o777 == 0o640
    assert "keyed/state" not in report.files_rewritten


def test_files_outside_that_the_copy_still_needs_are_reported(tmp_path: Path) -> None:
    shared = f"file:{tmp_path}/shared/1"
    job("inline", key_groups(12, absolute(shared, 5))).write(tmp_path / "old")

    report = transplant(tmp_path / "old", tmp_path / "new", *GREEN)

    assert report.keeps_using == (shared,)


def test_a_second_call_finds_the_work_done(tmp_path: Path) -> None:
    job("relative").write(tmp_path / "old")
    first = transplant(tmp_path / "old", tmp_path / "new", *GREEN)
    before = content(tmp_path / "new")

    second = transplant(tmp_path / "old", tmp_path / "new", *GREEN)

    assert second == replace(first, already_done=True)
    assert content(tmp_path / "new") == before


def test_a_copy_for_other_coordinates_is_not_taken_for_done(tmp_path: Path) -> None:
    job().write(tmp_path / "old")
    transplant(tmp_path / "old", tmp_path / "new", GREEN[0], 999)

    with pytest.raises(TransplantRefused, match="exists and is not the expected copy"):
        transplant(tmp_path / "old", tmp_path / "new", *GREEN)


def test_a_copy_with_one_changed_byte_is_not_taken_for_done(tmp_path: Path) -> None:
    job("relative").write(tmp_path / "old")
    transplant(tmp_path / "old", tmp_path / "new", *GREEN)
    victim = next(path for path in (tmp_path / "new").iterdir() if path.name != "_metadata")
    data = victim.read_bytes()
    victim.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    with pytest.raises(TransplantRefused, match="exists and is not the expected copy"):
        transplant(tmp_path / "old", tmp_path / "new", *GREEN)


def test_what_a_killed_call_left_behind_is_replaced(tmp_path: Path) -> None:
    job("relative").write(tmp_path / "old")
    partial = tmp_path / ".new.partial"
    partial.mkdir()
    (partial / "_metadata").write_bytes(b"half")

    transplant(tmp_path / "old", tmp_path / "new", *GREEN)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


def test_nothing_is_published_when_the_copy_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job("relative", key_groups(7, relative("keyed", 5))).write(tmp_path / "old")
    (tmp_path / "old" / "keyed").write_bytes(b"state")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(directory_copy.shutil, "copyfile", full)

    with pytest.raises(TransplantRefused, match="No space left on device"):
        transplant(tmp_path / "old", tmp_path / "new", *GREEN)

    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_an_original_that_changes_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job("relative").write(tmp_path / "old")
    copymode = shutil.copymode

    def writing(source: Path, copy: Path) -> None:
        copymode(source, copy)
        (tmp_path / "old" / "late").write_bytes(b"x")

    monkeypatch.setattr(directory_copy.shutil, "copymode", writing)

    with pytest.raises(TransplantRefused, match="changed while it was copied"):
        transplant(tmp_path / "old", tmp_path / "new", *GREEN)

    assert not (tmp_path / "new").exists()


def test_sources_at_the_drained_position_are_accepted(tmp_path: Path) -> None:
    job().write(tmp_path / "old")

    report = transplant(tmp_path / "old", tmp_path / "new", *GREEN, expected=[("bin.000002", 4995)])

    assert len(report.sources) == 2


def test_the_metadata_file_may_be_named_instead_of_its_directory(tmp_path: Path) -> None:
    job().write(tmp_path / "old")

    report = transplant(tmp_path / "old" / "_metadata", tmp_path / "new", *GREEN)

    assert report.savepoint == tmp_path / "old"


def test_inline_state_of_other_operators_stays(tmp_path: Path) -> None:
    state = inline(b'{"file":"bin.000001","pos":"154","kind":"SPECIFIC"}')
    job("inline", key_groups(12, state)).write(tmp_path / "old")

    transplant(tmp_path / "old", tmp_path / "new", *GREEN)

    assert state in (tmp_path / "new" / "_metadata").read_bytes()
