"""Copies of checkpoints that outlive what Flink deletes."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec, TargetKind
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import CheckpointUnreadable
from cdc_assets.flink import kept_states
from cdc_assets.flink.engine import FlinkEngine, StateFolders
from cdc_assets.flink.kept_states import approve, approved, copy_newest, count_on
from cdc_assets.flink.render import RenderedStream
from cdc_assets.flink.state_view import read_view
from cdc_assets.ports import Launch, Server

FIXTURES = Path(__file__).parents[2] / "fixtures" / "checkpoints"


def checkpoint(folder: Path, number: int, *, is_complete: bool = True) -> Path:
    made = folder / f"chk-{number}"
    made.mkdir(parents=True)
    (made / "state").write_bytes(b"state %d" % number)
    if is_complete:
        (made / "_metadata").write_bytes(b"metadata %d" % number)
    return made


def test_the_newest_complete_checkpoint_is_copied_whole(tmp_path: Path) -> None:
    job, kept = tmp_path / "job", tmp_path / "kept" / "job"
    for number in (9, 10):
        checkpoint(job, number)
    checkpoint(job, 11, is_complete=False)
    copy = copy_newest(job, kept)
    assert copy is not None
    assert (copy.name, copy.parents[1]) == ("chk-10", kept)
    shutil.rmtree(job)
    assert {each.name: each.read_bytes() for each in copy.iterdir()} == {
        "state": b"state 10",
        "_metadata": b"metadata 10",
    }


def test_a_job_without_a_checkpoint_keeps_none(tmp_path: Path) -> None:
    assert copy_newest(tmp_path / "job", tmp_path / "kept") is None
    assert approved(tmp_path / "kept") is None


def test_only_an_approved_copy_is_found_and_it_takes_the_place_of_the_one_before(
    tmp_path: Path,
) -> None:
    job, kept = tmp_path / "job", tmp_path / "kept"
    for number in (9, 10, 10, 11):  # the same checkpoint may be the newest at two looks
        if not (job / f"chk-{number}").exists():
            checkpoint(job, number)
        before = approved(kept)
        copy = copy_newest(job, kept)
        assert copy is not None
        assert approved(kept) == before
        approve(kept, str(copy))
        assert approved(kept) == kept / f"chk-{number}"
        assert [each.name for each in kept.iterdir()] == [f"chk-{number}"]


def test_a_copy_whose_look_never_ended_is_thrown_away_after_an_hour(tmp_path: Path) -> None:
    job, kept = tmp_path / "job", tmp_path / "kept"
    checkpoint(job, 9)
    left = copy_newest(job, kept)
    assert left is not None
    checkpoint(job, 10)
    young = copy_newest(job, kept)
    assert young is not None
    assert left.exists()
    hours_ago = time.time() - 2 * 3600
    os.utime(left.parent, (hours_ago, hours_ago))
    copy_newest(job, kept)
    assert not left.exists()
    assert young.exists()
    assert approved(kept) is None


def test_two_looks_beside_each_other_keep_the_newer_state(tmp_path: Path) -> None:
    job, kept = tmp_path / "job", tmp_path / "kept"
    checkpoint(job, 7)
    slow, same = copy_newest(job, kept), copy_newest(job, kept)
    checkpoint(job, 8)
    quick = copy_newest(job, kept)
    assert slow is not None
    assert same is not None
    assert quick is not None
    approve(kept, str(same))
    approve(kept, str(quick))
    approve(kept, str(slow))
    assert approved(kept) == kept / "chk-8"
    assert [each.name for each in kept.iterdir()] == ["chk-8"]


def test_a_copy_that_cannot_be_moved_is_told_and_the_older_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, kept = tmp_path / "job", tmp_path / "kept"
    checkpoint(job, 1)
    approve(kept, str(copy_newest(job, kept)))
    checkpoint(job, 2)
    copy = copy_newest(job, kept)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(CheckpointUnreadable, match="No space left"):
        approve(kept, str(copy))
    assert approved(kept) == kept / "chk-1"


def test_a_checkpoint_that_vanishes_while_it_is_copied_is_followed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, kept = tmp_path / "job", tmp_path / "kept"
    checkpoint(job, 1)
    read = kept_states.inventory_of

    def subsumed(folder: Path) -> Mapping[str, str]:
        found = read(folder)
        if folder.name == "chk-1":
            shutil.rmtree(folder)
            checkpoint(job, 2)
        return found

    monkeypatch.setattr(kept_states, "inventory_of", subsumed)
    copy = copy_newest(job, kept)
    assert copy is not None
    assert copy.name == "chk-2"
    assert list(kept.iterdir()) == [copy.parent]


def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint(tmp_path / "job", 1)

    def full(*_: object, **__: object) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept_states, "publish", full)
    with pytest.raises(CheckpointUnreadable, match="No space left"):
        copy_newest(tmp_path / "job", tmp_path / "kept")


def test_a_copy_takes_the_number_of_a_later_checkpoint_and_nothing_else_changes(
    tmp_path: Path,
) -> None:
    copy = tmp_path / "chk"
    shutil.copytree(FIXTURES / "flink-1.20.4-v4-binlog", copy)
    before, held = read_view(str(copy)), (copy / "_metadata").read_bytes()
    count_on(copy, before.checkpoint_id)
    assert (copy / "_metadata").read_bytes() == held
    for number in (before.checkpoint_id + 300, 2):  # never back
        count_on(copy, number)
        assert read_view(str(copy)) == replace(before, checkpoint_id=before.checkpoint_id + 300)
    changed = (copy / "_metadata").read_bytes()
    assert (changed[:8], changed[16:]) == (held[:8], held[16:])
    assert {each.name for each in copy.iterdir()} == {
        each.name for each in (FIXTURES / "flink-1.20.4-v4-binlog").iterdir()
    }


def engine_of(folder: Path) -> FlinkEngine:
    """Return an engine whose gateway takes every job."""
    anything: Any = SimpleNamespace(
        shapes=lambda *_: (), submit_job=lambda *_, job_id, **__: job_id
    )
    text = RenderedStream((), "", {}, "")
    return FlinkEngine(
        client=anything,
        gateway=anything,
        folders=StateFolders((folder / "chk").as_uri(), (folder / "sav").as_uri()),
        source=anything,
        target=anything,
        render=lambda *_: text,
        clock=anything,
    )


@pytest.mark.parametrize(("kind", "counted"), [("iceberg", 42), ("kafka", 7)])
def test_a_job_that_writes_a_lake_counts_on_from_what_the_state_s_job_committed(
    kind: TargetKind, counted: int, tmp_path: Path
) -> None:
    engine, job = engine_of(tmp_path), "a" * 32
    kept = tmp_path / "sav" / "kept" / job / "chk-7"
    newest = tmp_path / "sav" / job / "schema" / "savepoint-1"
    for folder, number in ((kept, 7), (newest, 42)):
        shutil.copytree(FIXTURES / "flink-1.20.4-v4-binlog", folder)
        count_on(folder, number)
    spec = StreamSpec("s", (TableRef("shop", "a"),), ServerIdRange(1, 9), "dw", target_kind=kind)
    order = Launch("b" * 32, "s:2", spec, Server("db", 3306), restore_path=str(kept))
    assert engine.launch(order) == order.job_id
    assert read_view(str(kept)).checkpoint_id == counted
    shutil.rmtree(newest)
    if kind == "iceberg":
        with pytest.raises(CheckpointUnreadable, match="what that committed is not known"):
            engine.launch(order)
