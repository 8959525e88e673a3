"""Parse a checkpoint and keep the spans that a transplant needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from cdc_assets.errors import CheckpointUnreadable
from cdc_assets.flink.enumerator_format import EnumeratorState, read_enumerator
from cdc_assets.flink.metadata_format import (
    NULL,
    Metadata,
    NamedState,
    OperatorState,
    OperatorStateHandle,
    StreamHandle,
)
from cdc_assets.flink.metadata_reader import read_metadata
from cdc_assets.flink.operator_stream import READER_STATE, Element, read_elements
from cdc_assets.flink.source_state import (
    BinlogSplitState,
    CheckpointState,
    OperatorSummary,
    SourceState,
    Watermark,
    problem_without_state,
)
from cdc_assets.flink.split_format import ParsedBinlogSplit, ParsedSnapshotSplit
from cdc_assets.flink.state_files import METADATA_NAME, Load, StateFiles, load_file


@dataclass(frozen=True)
class ParsedReader:
    """The splits of one source subtask.

    Args:
        subtask: Which subtask.
        handle: The handle they were read from.
        state: The named state in it.
        stream: Where the bytes are.
        data: The operator-state stream.
        elements: The splits.
    """

    subtask: int
    handle: OperatorStateHandle
    state: NamedState
    stream: StreamHandle
    data: bytes
    elements: tuple[Element, ...]


@dataclass(frozen=True)
class ParsedSource:
    """One MySQL source with the bytes it was read from.

    Args:
        operator: The operator.
        readers: Its subtasks that hold a reader's state.
        enumerator: The coordinator's state, None if it is not readable.
        enumerator_data: The bytes of it.
        problem: Why the coordinator's state is not readable; empty if it is.
        state: What all of it says.
    """

    operator: OperatorState
    readers: tuple[ParsedReader, ...]
    enumerator: EnumeratorState | None
    enumerator_data: bytes
    problem: str
    state: SourceState


@dataclass(frozen=True)
class ParsedCheckpoint:
    """A checkpoint with the bytes it was read from.

    Args:
        files: The bytes and the files beside them.
        metadata: The structure.
        sources: The MySQL sources.
        state: What all of it says.
    """

    files: StateFiles
    metadata: Metadata
    sources: tuple[ParsedSource, ...]
    state: CheckpointState


def parse_checkpoint(
    directory_or_file: Path, *, load: Load = load_file, reads_binlog: bool = True
) -> ParsedCheckpoint:
    """Read a checkpoint and keep the bytes and spans it was read from.

    Args:
        directory_or_file: Its directory, or the `_metadata` file in it.
        load: Reads a file.
        reads_binlog: False for a job with other sources than MySQL, which are not read: every
            source of Flink keeps its splits under one name, in a form of its own.

    Raises:
        CheckpointUnreadable: It is missing, or its bytes are not understood.
    """
    path = directory_or_file
    if path.name != METADATA_NAME:
        path = path / METADATA_NAME
    files = StateFiles(load(path), path.parent, load, str(path))
    return parse_files(files, reads_binlog=reads_binlog)


def parse_files(files: StateFiles, *, reads_binlog: bool = True) -> ParsedCheckpoint:
    """Read a checkpoint from bytes that are at hand.

    Args:
        files: The bytes.
        reads_binlog: See `parse_checkpoint`.

    Raises:
        CheckpointUnreadable: They are not understood.
    """
    metadata = read_metadata(files.metadata, path=files.path)
    sources = tuple(
        _source(files, operator)
        for operator in metadata.operators
        if reads_binlog and any(reader_state(subtask.managed) for subtask in operator.subtasks)
    )
    operators = tuple(
        OperatorSummary(one.operator_id, one.name, one.uid, one.parallelism, one.max_parallelism)
        for one in metadata.operators
    )
    state = CheckpointState(
        metadata.version,
        metadata.checkpoint_id,
        operators,
        tuple(source.state for source in sources),
        metadata.properties.kind if metadata.properties else None,
        metadata.properties.format if metadata.properties else None,
    )
    return ParsedCheckpoint(files, metadata, sources, state)


def reader_state(handle: OperatorStateHandle | None) -> NamedState | None:
    """Return the reader's state; a source is found by this name, its operator id varies."""
    states = () if handle is None else handle.states
    return next((state for state in states if state.name == READER_STATE), None)


def _source(files: StateFiles, operator: OperatorState) -> ParsedSource:
    readers: list[ParsedReader] = []
    for subtask in operator.subtasks:
        state = reader_state(subtask.managed)
        if subtask.managed is None or subtask.managed.stream is None or state is None:
            continue
        what = f"source {operator.operator_id} subtask {subtask.index}"
        stream = subtask.managed.stream
        data = files.bytes_of(stream, what)
        if data is None:
            if state.offsets:
                message = f"{what} has splits but no bytes"
                raise CheckpointUnreadable(message, path=files.path, at=stream.start)
            continue
        elements = read_elements(data, state, path=f"{files.path} ({what})")
        readers.append(ParsedReader(subtask.index, subtask.managed, state, stream, data, elements))
    enumerator, data, problem = _enumerator(files, operator)
    source = SourceState(
        operator_id=operator.operator_id,
        operator_name=operator.name,
        parallelism=operator.parallelism,
        binlog=_binlog(files, operator, readers),
        snapshot_splits_unread=_count_splits(readers, lambda split: split.high_watermark is None),
        snapshot_splits_read=_count_splits(readers, lambda split: bool(split.high_watermark)),
        progress=enumerator.progress if enumerator else None,
        usable_without_state=False,
        reason="",
    )
    reason = problem_without_state(source, problem)
    source = replace(source, usable_without_state=not reason, reason=reason)
    return ParsedSource(operator, tuple(readers), enumerator, data, problem, source)


def _count_splits(
    readers: list[ParsedReader], wanted: Callable[[ParsedSnapshotSplit], bool]
) -> int:
    splits = [element.split for reader in readers for element in reader.elements]
    return sum(isinstance(split, ParsedSnapshotSplit) and wanted(split) for split in splits)


def _enumerator(
    files: StateFiles, operator: OperatorState
) -> tuple[EnumeratorState | None, bytes, str]:
    """Return the coordinator's state, or why there is none; the position is worth having alone."""
    if operator.coordinator.kind == NULL:
        return None, b"", "the checkpoint holds no coordinator state"
    what = f"coordinator of source {operator.operator_id}"
    try:
        data = files.bytes_of(operator.coordinator, what) or b""
        return read_enumerator(data, path=what), data, ""
    except CheckpointUnreadable as error:
        return None, b"", f"the coordinator state is not readable: {error.message}"


def _binlog(
    files: StateFiles, operator: OperatorState, readers: list[ParsedReader]
) -> BinlogSplitState | None:
    found: list[tuple[int, ParsedBinlogSplit]] = [
        (reader.subtask, element.split)
        for reader in readers
        for element in reader.elements
        if isinstance(element.split, ParsedBinlogSplit)
    ]
    if not found:
        return None
    subtask, split = found[0]
    if len(found) > 1 or split.starting is None:
        message = (
            f"source {operator.operator_id} has {len(found)} binlog splits"
            if split.starting
            else f"the binlog split of source {operator.operator_id} has no starting offset"
        )
        raise CheckpointUnreadable(message, path=files.path)
    return BinlogSplitState(
        operator_id=operator.operator_id,
        subtask=subtask,
        split_id=split.split_id,
        starting=split.starting.offset,
        ending=split.ending.offset if split.ending else None,
        tables=split.tables,
        finished_splits=tuple(
            Watermark(one.table, one.split_id, one.high_watermark.offset) for one in split.finished
        ),
        total_finished_split_size=split.total_finished,
        suspended=split.suspended,
    )
