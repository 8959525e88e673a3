"""Damaged files end in one kind of error, and never in a large allocation."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_assets.errors import CheckpointUnreadable, TransplantRefused
from cdc_assets.flink.checkpoint import parse_metadata, read_checkpoint
from cdc_assets.flink.transplant import transplant
from tests.adapters.checkpoint.builder import FIXTURES, Job
from tests.adapters.checkpoint.strategies import any_jobs, steady_jobs

FOLDERS = ["flink-1.20.4-v4-binlog", "flink-2.2.1-v6-binlog"]


def read(data: bytes, directory: Path | None = None) -> None:
    """Read what may be damaged; any error but the expected one fails the test."""
    with contextlib.suppress(CheckpointUnreadable):
        parse_metadata(data, directory)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_file_that_is_cut_anywhere_is_unreadable(folder: str) -> None:
    data = (FIXTURES / folder / "_metadata").read_bytes()

    for length in range(len(data)):
        with pytest.raises(CheckpointUnreadable):
            parse_metadata(data[:length])


@pytest.mark.parametrize("folder", FOLDERS)
def test_any_single_byte_may_be_wrong(folder: str) -> None:
    data = (FIXTURES / folder / "_metadata").read_bytes()

    for at in range(len(data)):
        for value in {0, 1, 0x7F, 0x80, 0xFF, data[at] ^ 1} - {data[at]}:
            read(data[:at] + bytes([value]) + data[at + 1 :])


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_garbage_length_allocates_nothing(folder: str) -> None:
    data = (FIXTURES / folder / "_metadata").read_bytes()

    tracemalloc.start()
    try:
        for at in range(len(data) - 4):
            read(data[:at] + struct.pack(">i", 2**31 - 1) + data[at + 4 :])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1024 * 1024


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("value", [-1, 2**30])
def test_a_garbage_length_is_read_or_unreadable(folder: str, value: int) -> None:
    data = (FIXTURES / folder / "_metadata").read_bytes()

    for at in range(len(data) - 4):
        read(data[:at] + struct.pack(">i", value) + data[at + 4 :])


@given(any_jobs, st.data())
def test_a_cut_or_changed_file_is_read_or_unreadable(job: Job, data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        written = job.write(Path(folder))
        read(written[: data.draw(st.integers(0, len(written)))], Path(folder))
        changed = bytearray(written)
        for _ in range(data.draw(st.integers(1, 4))):
            changed[data.draw(st.integers(0, len(written) - 1))] = data.draw(st.integers(0, 255))
        read(bytes(changed), Path(folder))


@given(st.binary(max_size=200))
def test_noise_after_the_header_is_read_or_unreadable(noise: bytes) -> None:
    for version in (3, 4, 5, 6):
        read(struct.pack(">ii", 0x4960672D, version) + noise)


@given(steady_jobs, st.data())
@settings(max_examples=100)
def test_a_damaged_savepoint_is_refused_or_moved_whole(job: Job, data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        savepoint, target = Path(folder, "savepoint"), Path(folder, "copy")
        job.write(savepoint)
        victim = savepoint / data.draw(
            st.sampled_from(sorted(path.name for path in savepoint.iterdir()))
        )
        content = bytearray(victim.read_bytes())
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        victim.write_bytes(
            content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))]
        )
        try:
            transplant(savepoint, target, "green-bin.000009", 777)
        except TransplantRefused:
            assert not target.exists()
        else:
            for source in read_checkpoint(target).sources:
                assert source.binlog is not None
                assert source.binlog.starting.pos == 777
        assert sorted(path.name for path in Path(folder).iterdir()) in (
            ["savepoint"],
            ["copy", "savepoint"],
        )
