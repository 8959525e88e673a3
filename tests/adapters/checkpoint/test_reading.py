"""What is written is read back, whatever the job."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings

from cdc_assets.errors import CheckpointUnreadable
from cdc_assets.flink.checkpoint import (
    BinlogOffset,
    BinlogSplitState,
    SourceState,
    Watermark,
    local_path,
    parse_metadata,
    read_checkpoint,
)
from cdc_assets.flink.enumerator_format import STATUSES
from cdc_assets.flink.metadata_reader import read_metadata
from tests.adapters.checkpoint.builder import (
    Binlog,
    Coordinator,
    Job,
    Operator,
    Reader,
    Snapshot,
    Subtask,
    offset,
)
from tests.adapters.checkpoint.strategies import any_jobs, steady_jobs


def expected_offset(text: str) -> BinlogOffset:
    fields = json.loads(text)
    server_id = fields.get("server_id")
    return BinlogOffset(
        file=fields["file"],
        pos=int(fields["pos"]),
        event=int(fields.get("event") or 0),
        row=int(fields.get("row") or 0),
        gtids=fields.get("gtids"),
        ts_sec=int(fields["ts_sec"]),
        server_id=None if server_id is None else int(server_id),
        kind=fields["kind"],
        raw=text,
    )


def expected_binlog(operator: Operator) -> BinlogSplitState | None:
    for subtask in operator.subtasks:
        for split in subtask.reader.splits if subtask.reader else []:
            if isinstance(split, Binlog):
                return BinlogSplitState(
                    operator_id=operator.id,
                    subtask=subtask.index,
                    split_id="binlog-split",
                    starting=expected_offset(split.starting),
                    ending=expected_offset(split.ending) if split.ending else None,
                    tables=tuple(sorted(".".join(table) for table in split.tables)),
                    finished_splits=tuple(
                        Watermark(".".join(one.table), one.split_id, expected_offset(one.watermark))
                        for one in split.finished
                    ),
                    total_finished_split_size=(
                        len(split.finished) if split.total is None else split.total
                    ),
                    suspended=split.suspended,
                )
    return None


def check_source(source: SourceState, operator: Operator, version: int) -> None:
    splits = [
        split
        for subtask in operator.subtasks
        for split in (subtask.reader.splits if subtask.reader else [])
        if isinstance(split, Snapshot)
    ]
    assert source.operator_name == (operator.name if version >= 5 else None)
    assert source.parallelism == operator.parallelism
    assert source.binlog == expected_binlog(operator)
    assert source.snapshot_splits_unread == sum(one.watermark is None for one in splits)
    assert source.snapshot_splits_read == sum(one.watermark is not None for one in splits)
    assert source.usable_without_state == (not source.reason)
    wanted, progress = operator.coordinator, source.progress
    if not isinstance(wanted, Coordinator):
        assert progress is None
        return
    assert progress is not None
    assert progress.kind == {1: "snapshot", 2: "binlog", 3: "hybrid"}[wanted.flag]
    assert progress.binlog_split_assigned == (wanted.binlog_assigned and wanted.flag != 1)
    if wanted.flag != 2:
        assert progress.status == STATUSES[wanted.status]
        assert progress.tables_processed == tuple(".".join(one) for one in wanted.processed)
        assert progress.tables_remaining == tuple(".".join(one) for one in wanted.tables_remaining)
        assert progress.splits_assigned == len(wanted.assigned)
        assert progress.splits_finished == len(wanted.finished)
        assert progress.splits_remaining == len(wanted.remaining)
        assert progress.table_being_split == (
            ".".join(wanted.splitting) if wanted.splitting else None
        )


def check_job(job: Job) -> None:
    with TemporaryDirectory() as folder:
        written = job.write(Path(folder))
        state = read_checkpoint(Path(folder))
        assert parse_metadata(written, Path(folder)) == state
        assert read_checkpoint(Path(folder) / "_metadata") == state

    assert (state.version, state.checkpoint_id) == (job.version, job.checkpoint_id)
    named = job.version >= 5
    assert [
        (one.operator_id, one.name, one.uid, one.parallelism, one.max_parallelism)
        for one in state.operators
    ] == [
        (
            one.id,
            (one.name or None) if named else None,
            (one.uid or None) if named else None,
            one.parallelism,
            one.max_parallelism,
        )
        for one in job.operators
    ]
    sources = [one for one in job.operators if any(task.reader for task in one.subtasks)]
    assert [source.operator_id for source in state.sources] == [one.id for one in sources]
    for source, operator in zip(state.sources, sources, strict=True):
        check_source(source, operator, job.version)


@given(any_jobs)
def test_a_job_in_any_phase_and_format_is_read_as_it_was_written(job: Job) -> None:
    check_job(job)


@given(steady_jobs)
def test_a_steady_job_is_usable_without_its_state(job: Job) -> None:
    check_job(job)
    with TemporaryDirectory() as folder:
        job.write(Path(folder))
        for source in read_checkpoint(Path(folder)).sources:
            assert (source.usable_without_state, source.reason) == (True, "")


@given(any_jobs)
@settings(max_examples=30)
def test_every_subtask_and_keyed_state_is_found(job: Job) -> None:
    with TemporaryDirectory() as folder:
        metadata = read_metadata(job.write(Path(folder)))

    assert metadata.master_states == len(job.masters)
    for found, wanted in zip(metadata.operators, job.operators, strict=True):
        assert found.fully_finished == wanted.fully_finished
        assert [(task.index, task.finished) for task in found.subtasks] == [
            (task.index, task.finished) for task in wanted.subtasks
        ]
        for task, source in zip(found.subtasks, wanted.subtasks, strict=True):
            if not task.finished:
                assert [keyed.kind for keyed in task.keyed] == [one[0] for one in source.keyed]
                assert len(task.channels) == len(source.inputs) + len(source.outputs)


def one_source(binlog: Binlog, coordinator: Coordinator) -> SourceState:
    operator = Operator(coordinator=coordinator, subtasks=[Subtask(0, Reader([binlog]))])
    with TemporaryDirectory() as folder:
        Job(operators=[operator]).write(Path(folder))
        return read_checkpoint(Path(folder)).sources[0]


@pytest.mark.parametrize(
    ("binlog", "coordinator", "reason"),
    [
        (Binlog(), Coordinator(), ""),
        (Binlog(), Coordinator(flag=2), ""),
        (Binlog(), Coordinator(status=4), ""),
        (
            Binlog(suspended=True),
            Coordinator(),
            "the binlog reader is suspended for newly added tables",
        ),
        (Binlog(total=2), Coordinator(), "the reader knows 0 of 2 finished snapshot splits"),
        (Binlog(), Coordinator(status=0), "the snapshot is not finished (INITIAL_ASSIGNING)"),
        (Binlog(), Coordinator(status=2), "the snapshot is not finished (NEWLY_ADDED_ASSIGNING)"),
        (
            Binlog(),
            Coordinator(remaining=[Snapshot()]),
            "the snapshot is not finished (INITIAL_ASSIGNING_FINISHED)",
        ),
        (Binlog(), Coordinator(binlog_assigned=False), "the binlog split was not assigned"),
        (Binlog(), Coordinator(flag=2, binlog_assigned=False), "the binlog split was not assigned"),
        (
            Binlog(starting=offset("", 0, kind="EARLIEST")),
            Coordinator(flag=2),
            "the position is of kind EARLIEST: nothing was read yet",
        ),
        (
            Binlog(starting=offset("", 0, kind="LATEST")),
            Coordinator(flag=2),
            "the position is of kind LATEST: nothing was read yet",
        ),
    ],
)
def test_a_position_is_usable_without_state_only_when_nothing_else_is_pending(
    binlog: Binlog, coordinator: Coordinator, reason: str
) -> None:
    source = one_source(binlog, coordinator)

    assert (source.usable_without_state, source.reason) == (not reason, reason)


def test_a_source_that_is_still_in_its_snapshot_has_no_position(tmp_path: Path) -> None:
    splits: list[Binlog | Snapshot] = [Snapshot(), Snapshot(watermark=offset())]
    operator = Operator(
        coordinator=Coordinator(status=0, binlog_assigned=False),
        subtasks=[Subtask(0, Reader(splits))],
    )
    Job(operators=[operator]).write(tmp_path)

    [source] = read_checkpoint(tmp_path).sources

    assert source.binlog is None
    assert (source.snapshot_splits_unread, source.snapshot_splits_read) == (1, 1)
    assert source.reason == "the source has no binlog split yet: the snapshot is running"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"file":"","pos":"-9223372036854775808"}', "NON_STOPPING"),
        ('{"file":"","pos":"0"}', "EARLIEST"),
        ('{"file":"bin.000001","pos":"4"}', "SPECIFIC"),
        ('{"file":"bin.000001","pos":4,"kind":null}', "SPECIFIC"),
    ],
)
def test_an_offset_without_kind_is_read_as_flink_cdc_reads_it(text: str, kind: str) -> None:
    binlog = one_source(Binlog(starting=text), Coordinator()).binlog

    assert binlog is not None
    assert binlog.starting.kind == kind


def test_a_file_whose_size_is_not_the_recorded_one_is_refused(tmp_path: Path) -> None:
    operator = Operator(subtasks=[Subtask(0, Reader([Binlog()], "relative"))])
    Job(operators=[operator]).write(tmp_path)
    [state_file] = [path for path in tmp_path.iterdir() if path.name != "_metadata"]
    state_file.write_bytes(state_file.read_bytes() + b"x")

    with pytest.raises(CheckpointUnreadable, match="bytes instead of"):
        read_checkpoint(tmp_path)


def test_a_missing_state_file_is_named(tmp_path: Path) -> None:
    operator = Operator(subtasks=[Subtask(0, Reader([Binlog()], "absolute"))])
    Job(operators=[operator]).write(tmp_path)
    [state_file] = [path for path in tmp_path.iterdir() if path.name != "_metadata"]
    state_file.unlink()

    with pytest.raises(CheckpointUnreadable, match=f"{state_file}: cannot be opened: No such file"):
        read_checkpoint(tmp_path)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointUnreadable, match="chk-9/_metadata: cannot be opened"):
        read_checkpoint(tmp_path / "chk-9")


def test_compressed_state_is_refused_by_name(tmp_path: Path) -> None:
    operator = Operator(subtasks=[Subtask(0, Reader([Binlog()], compressed=True))])
    Job(operators=[operator]).write(tmp_path)

    with pytest.raises(CheckpointUnreadable, match="operator state is compressed"):
        read_checkpoint(tmp_path)


def test_a_state_in_a_segment_of_a_shared_file_is_read(tmp_path: Path) -> None:
    operator = Operator(subtasks=[Subtask(0, Reader([Binlog()], "absolute", handle=17))])
    data = Job(operators=[operator]).write(tmp_path)
    [state_file] = [path for path in tmp_path.iterdir() if path.name != "_metadata"]
    size = state_file.stat().st_size
    shared = tmp_path / "shared"
    shared.write_bytes(b"before" + state_file.read_bytes() + b"after")
    from tests.adapters.checkpoint.builder import absolute, segment  # noqa: PLC0415

    old, new = absolute(f"file:{state_file}", size), segment(f"file:{shared}", 6, size)
    assert data.count(old) == 1

    state = parse_metadata(data.replace(old, new), tmp_path)

    assert state.sources[0].binlog is not None


def test_an_unknown_handle_type_is_named_with_its_position(tmp_path: Path) -> None:
    data = Job(operators=[Operator(coordinator=b"")]).write(tmp_path)
    at = 4 + 4 + 8 + 4 + 4 + 16 + 4 + 4
    broken = data[:at] + b"\x63" + data[at + 1 :]

    with pytest.raises(
        CheckpointUnreadable, match=f"at byte {at}: state handle of unknown type 99"
    ):
        parse_metadata(broken)


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(CheckpointUnreadable, match="format version 7 is not supported"):
        parse_metadata(bytes.fromhex("4960672d00000007"))


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:/data/chk-7", "/data/chk-7"),
        ("file:///data/chk-7", "/data/chk-7"),
        ("file://localhost/data/a b", "/data/a b"),
        ("/data/chk:7", "/data/chk:7"),
        ("FILE:/data", "/data"),
    ],
)
def test_a_file_uri_is_a_local_path(uri: str, path: str) -> None:
    assert local_path(uri) == Path(path)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("s3://bucket/chk-7", "file system 's3'"),
        ("hdfs:/chk-7", "file system 'hdfs'"),
        ("file://server/chk-7", "host 'server'"),
        ("chk-7", "not an absolute path"),
        ("<checkpoint-not-externally-addressable>", "not an absolute path"),
        ("", "not an absolute path"),
    ],
)
def test_what_is_not_a_local_path_is_refused(uri: str, reason: str) -> None:
    with pytest.raises(CheckpointUnreadable, match=reason):
        local_path(uri)
