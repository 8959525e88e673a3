"""The coordinator's state of Flink CDC's MySQL source: how far the snapshot is.

Written by `SourceCoordinator.writeCheckpointBytes` around `PendingSplitsStateSerializer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cdc_assets.flink.split_format import (
    SPLIT_VERSIONS,
    OffsetSpan,
    ParsedSnapshotSplit,
    read_offset,
    read_schemas,
    read_split,
    table_name,
)
from cdc_assets.flink.wire import ByteReader

AssignerStatus = Literal[
    "INITIAL_ASSIGNING",
    "INITIAL_ASSIGNING_FINISHED",
    "NEWLY_ADDED_ASSIGNING",
    "NEWLY_ADDED_ASSIGNING_SNAPSHOT_FINISHED",
    "NEWLY_ADDED_ASSIGNING_FINISHED",
]
AssignerKind = Literal["snapshot", "binlog", "hybrid"]

STATUSES: tuple[AssignerStatus, ...] = (
    "INITIAL_ASSIGNING",
    "INITIAL_ASSIGNING_FINISHED",
    "NEWLY_ADDED_ASSIGNING",
    "NEWLY_ADDED_ASSIGNING_SNAPSHOT_FINISHED",
    "NEWLY_ADDED_ASSIGNING_FINISHED",
)
SETTLED: tuple[AssignerStatus, ...] = (
    "INITIAL_ASSIGNING_FINISHED",
    "NEWLY_ADDED_ASSIGNING_FINISHED",
)
HEADER_LENGTH_AT = 8

_KINDS: dict[int, AssignerKind] = {1: "snapshot", 2: "binlog", 3: "hybrid"}
_COORDINATOR_VERSION = 1
_STATE_VERSIONS = (3, 4, 5)  # 1 and 2 were written by Flink CDC 2.0
_SCHEMAS_SINCE = 4
_SPLITTING_SINCE = 5


@dataclass(frozen=True)
class SnapshotProgress:
    """How far the snapshot of one source is.

    Args:
        kind: `binlog` for a stream that began without a snapshot, `hybrid` for one with it,
            `snapshot` for a bounded copy.
        status: The assigner's status; None for kind `binlog`, which has none.
        tables_processed: Tables whose splits were given out, at least in part.
        tables_remaining: Tables that were not looked at.
        splits_assigned: Splits that were given out.
        splits_finished: Splits that are copied.
        splits_remaining: Splits that wait.
        table_being_split: The table that is being cut into splits, None if none is.
        binlog_split_assigned: Whether reading the binlog has begun.
    """

    kind: AssignerKind
    status: AssignerStatus | None
    tables_processed: tuple[str, ...]
    tables_remaining: tuple[str, ...]
    splits_assigned: int
    splits_finished: int
    splits_remaining: int
    table_being_split: str | None
    binlog_split_assigned: bool

    @property
    def splits_total(self) -> int:
        """Splits known so far; it grows while tables are being split."""
        return self.splits_assigned + self.splits_remaining

    @property
    def finished(self) -> bool:
        """Whether nothing of the snapshot is left to do."""
        if self.kind == "binlog":
            return True
        return (
            self.status in SETTLED
            and not self.tables_remaining
            and not self.splits_remaining
            and self.table_being_split is None
            and self.splits_finished == self.splits_assigned
        )


@dataclass(frozen=True)
class NestedSplit:
    """A split inside the coordinator's state.

    Args:
        split: What it says.
        length_at: The position of its length field.
        start: The position of its first byte.
        end: The position after it.
    """

    split: ParsedSnapshotSplit
    length_at: int
    start: int
    end: int


@dataclass(frozen=True)
class EnumeratorState:
    """The coordinator's state with spans.

    Args:
        progress: What it says.
        nested: Remaining and assigned splits.
        finished: The finished offsets.
    """

    progress: SnapshotProgress
    nested: tuple[NestedSplit, ...] = ()
    finished: tuple[OffsetSpan, ...] = ()


def read_enumerator(data: bytes, *, path: str = "coordinator state") -> EnumeratorState:
    """Read the coordinator's state of one source.

    Args:
        data: The bytes of the coordinator's handle.
        path: What they are, for the error text.

    Raises:
        CheckpointUnreadable: It is not the state of Flink CDC's MySQL source.
    """
    reader = ByteReader(data, path=path)
    outer, version = reader.i32(), reader.i32()
    if outer != _COORDINATOR_VERSION or version not in _STATE_VERSIONS:
        message = f"coordinator state of unknown version {outer}, {version}"
        raise reader.fail(message, at=0)
    start, end = reader.block("coordinator state")
    reader.expect_end("the coordinator state")
    reader.pos, reader.end = start, end
    split_version, flag = reader.i32(), reader.i32()
    if split_version not in SPLIT_VERSIONS or flag not in _KINDS:
        message = f"coordinator state with split version {split_version} and flag {flag}"
        raise reader.fail(message, at=start)
    kind = _KINDS[flag]
    if kind == "binlog":
        assigned = reader.boolean("binlog split flag")
        state = EnumeratorState(SnapshotProgress(kind, None, (), (), 0, 0, 0, None, assigned))
    else:
        state = _snapshot_state(reader, version, split_version, kind)
    reader.expect_end("the coordinator state")
    return state


def _snapshot_state(
    reader: ByteReader, version: int, split_version: int, kind: AssignerKind
) -> EnumeratorState:
    processed = _tables(reader)
    remaining = tuple(
        _nested(reader, split_version) for _ in range(reader.count("remaining split", item_size=8))
    )
    assigned: list[NestedSplit] = []
    for _ in range(reader.count("assigned split", item_size=10)):
        reader.utf()  # split id
        assigned.append(_nested(reader, split_version))
    finished = tuple(
        _finished_offset(reader, split_version)
        for _ in range(reader.count("finished offset", item_size=3))
    )
    status = _status(reader)
    tables_remaining = _tables(reader)
    reader.boolean("case flag")
    if version >= _SCHEMAS_SINCE:
        read_schemas(reader, split_version)
    splitting = _table_being_split(reader) if version >= _SPLITTING_SINCE else None
    begun = reader.boolean("binlog split flag") if kind == "hybrid" else False
    progress = SnapshotProgress(
        kind=kind,
        status=status,
        tables_processed=processed,
        tables_remaining=tables_remaining,
        splits_assigned=len(assigned),
        splits_finished=len(finished),
        splits_remaining=len(remaining),
        table_being_split=splitting,
        binlog_split_assigned=begun,
    )
    return EnumeratorState(progress, (*remaining, *assigned), finished)


def _tables(reader: ByteReader) -> tuple[str, ...]:
    return tuple(table_name(reader) for _ in range(reader.count("table", item_size=2)))


def _nested(reader: ByteReader, version: int) -> NestedSplit:
    length_at = reader.pos
    start, end = reader.block("split")
    inner = ByteReader(reader.data, path=reader.path, start=start, end=end)
    split = read_split(inner, version)
    if not isinstance(split, ParsedSnapshotSplit):
        message = "binlog split among the snapshot splits"
        raise reader.fail(message, at=start)
    return NestedSplit(split, length_at, start, end)


def _finished_offset(reader: ByteReader, version: int) -> OffsetSpan:
    split_id = reader.utf()
    at = reader.pos
    offset = read_offset(reader, version)
    if offset is None:
        message = f"finished split {split_id!r} has no offset"
        raise reader.fail(message, at=at)
    return offset


def _status(reader: ByteReader) -> AssignerStatus:
    at = reader.pos
    code = reader.i32()
    if not 0 <= code < len(STATUSES):
        message = f"assigner status {code} is unknown"
        raise reader.fail(message, at=at)
    return STATUSES[code]


def _table_being_split(reader: ByteReader) -> str | None:
    if not reader.boolean("splitting flag"):
        return None
    table = table_name(reader)
    reader.utf()  # first key of the next split
    reader.i32()  # its number
    return table
