"""Copies of checkpoints that outlive what Flink deletes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from cdc_assets.errors import CheckpointUnreadable
from cdc_assets.flink import kept_states
from cdc_assets.flink.kept_states import approve, approved, copy_newest


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
    assert copy == kept / "pending" / "chk-10"
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


def test_a_copy_whose_look_never_ended_is_thrown_away_by_the_next(tmp_path: Path) -> None:
    job, kept = tmp_path / "job", tmp_path / "kept"
    checkpoint(job, 9)
    copy_newest(job, kept)
    checkpoint(job, 10)
    copy_newest(job, kept)
    assert [each.name for each in (kept / "pending").iterdir()] == ["chk-10"]
    assert approved(kept) is None


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
    assert copy_newest(job, kept) == kept / "pending" / "chk-2"
    assert [each.name for each in (kept / "pending").iterdir()] == ["chk-2"]


def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint(tmp_path / "job", 1)

    def full(*_: object, **__: object) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept_states, "publish", full)
    with pytest.raises(CheckpointUnreadable, match="No space left"):
        copy_newest(tmp_path / "job", tmp_path / "kept")
