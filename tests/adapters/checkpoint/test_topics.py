"""How far a job has read its topics, by its checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_assets.errors import CheckpointUnreadable
from cdc_assets.flink.topic_state import read_topic_offsets
from tests.adapters.checkpoint.builder import Job, KafkaSplit, Operator, Reader, Storage, Subtask


def written(folder: Path, *subtasks: Reader | None) -> str:
    readers = [Subtask(index, reader) for index, reader in enumerate(subtasks)]
    Job(operators=[Operator(subtasks=readers)]).write(folder)
    return str(folder)


@pytest.mark.parametrize("storage", ["inline", "relative"])
def test_each_partition_of_the_topic_has_its_offset(tmp_path: Path, storage: Storage) -> None:
    first = Reader([KafkaSplit(offset=7), KafkaSplit("lab.user", 0, 99)], storage, split_version=0)
    second = Reader([KafkaSplit(partition=3, offset=-2)], storage, split_version=0)
    path = written(tmp_path / "chk-1", first, None, second)
    assert read_topic_offsets(path, "lab.order") == {0: 7, 3: -2}
    assert read_topic_offsets(path, "lab.nothing") == {}


def test_of_two_readers_the_one_that_has_read_less_counts(tmp_path: Path) -> None:
    readers = [Reader([KafkaSplit(offset=at)], split_version=0) for at in (9, 4)]
    assert read_topic_offsets(written(tmp_path / "chk-1", *readers), "lab.order") == {0: 4}


def test_splits_of_another_form_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "chk-1", Reader([KafkaSplit()], split_version=1))
    with pytest.raises(CheckpointUnreadable, match="Kafka split of version 1 is not supported"):
        read_topic_offsets(path, "lab.order")


def test_a_checkpoint_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointUnreadable, match="cannot be opened"):
        read_topic_offsets(str(tmp_path / "chk-2"), "lab.order")
