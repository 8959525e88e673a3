"""Copies of checkpoints that outlive what Flink deletes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from cdc_assets.errors import CheckpointUnreadable
from cdc_assets.flink import kept_states
from cdc_assets.flink.kept_states import keep_newest, oldest_kept, remove_kept


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
    copy = keep_newest(job, kept)
    assert copy == kept / "chk-10"
    shutil.rmtree(job)
    assert {each.name: each.read_bytes() for each in copy.iterdir()} == {
        "state": b"state 10",
        "_metadata": b"metadata 10",
    }


def test_a_job_without_a_checkpoint_keeps_none(tmp_path: Path) -> None:
    assert keep_newest(tmp_path / "job", tmp_path / "kept") is None
    assert oldest_kept(tmp_path / "kept") is None


def test_the_same_checkpoint_is_kept_once(tmp_path: Path) -> None:
    checkpoint(tmp_path / "job", 3)
    assert keep_newest(tmp_path / "job", tmp_path / "kept") == keep_newest(
        tmp_path / "job", tmp_path / "kept"
    )


def test_of_two_copies_the_older_one_counts_until_it_is_removed(tmp_path: Path) -> None:
    job, kept = tmp_path / "job", tmp_path / "kept"
    checkpoint(job, 9)
    first = keep_newest(job, kept)
    checkpoint(job, 10)
    second = keep_newest(job, kept)
    assert oldest_kept(kept) == first
    remove_kept(kept, [str(first), str(job / "chk-10"), str(kept / "chk-99")])
    assert oldest_kept(kept) == second
    assert (job / "chk-10").is_dir()  # what is not a copy is left alone


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
    assert keep_newest(job, kept) == kept / "chk-2"
    assert [each.name for each in kept.iterdir()] == ["chk-2"]


def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint(tmp_path / "job", 1)

    def full(*_: object, **__: object) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept_states, "publish", full)
    with pytest.raises(CheckpointUnreadable, match="No space left"):
        keep_newest(tmp_path / "job", tmp_path / "kept")
