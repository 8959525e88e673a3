"""What a checkpoint says about one MySQL source of the job."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cdc_assets.flink.checkpoint_properties import SnapshotKind
from cdc_assets.flink.enumerator_format import SnapshotProgress
from cdc_assets.flink.split_format import BinlogOffset


@dataclass(frozen=True)
class Watermark:
    """A snapshot split that is copied, and up to where the copy is current.

    Args:
        table: `database.table`.
        split_id: Its id.
        offset: Events at or before it are in the copy.
    """

    table: str
    split_id: str
    offset: BinlogOffset


@dataclass(frozen=True)
class BinlogSplitState:
    """The binlog reader of one source.

    Args:
        operator_id: The source operator, 32 hex digits.
        subtask: Which of its subtasks reads the binlog.
        split_id: The split's id.
        starting: The read position.
        ending: Where reading stops; `NON_STOPPING` for a stream.
        tables: Captured tables, `database.table`, sorted; empty until the reader knows them.
        finished_splits: The snapshot splits that the reader knows to be copied.
        total_finished_split_size: How many of them there are in the end.
        suspended: Whether the reader waits for newly added tables.
    """

    operator_id: str
    subtask: int
    split_id: str
    starting: BinlogOffset
    ending: BinlogOffset | None
    tables: tuple[str, ...]
    finished_splits: tuple[Watermark, ...]
    total_finished_split_size: int
    suspended: bool

    @property
    def finished_split_count(self) -> int:
        """How many finished snapshot splits the reader knows."""
        return len(self.finished_splits)


@dataclass(frozen=True)
class SourceState:
    """One MySQL source of the job.

    Args:
        operator_id: The source operator, 32 hex digits.
        operator_name: Its name (format 5 and newer).
        parallelism: Its number of subtasks.
        binlog: The binlog reader, None before the snapshot is done.
        snapshot_splits_unread: Snapshot splits that readers hold and have not copied.
        snapshot_splits_read: Snapshot splits that readers copied and have not yet reported.
        progress: The snapshot's progress; None if the coordinator's state is not readable.
        usable_without_state: Whether a job without state may start at `binlog.starting`.
        reason: Why not; empty if it may.
    """

    operator_id: str
    operator_name: str | None
    parallelism: int
    binlog: BinlogSplitState | None
    snapshot_splits_unread: int
    snapshot_splits_read: int
    progress: SnapshotProgress | None
    usable_without_state: bool
    reason: str


@dataclass(frozen=True)
class OperatorSummary:
    """One operator of the job, source or not.

    Args:
        operator_id: 32 hex digits.
        name: Its name (format 5 and newer).
        uid: Its uid (format 5 and newer).
        parallelism: Number of subtasks.
        max_parallelism: Number of key groups.
    """

    operator_id: str
    name: str | None
    uid: str | None
    parallelism: int
    max_parallelism: int


@dataclass(frozen=True)
class CheckpointState:
    """A checkpoint or savepoint.

    Args:
        version: The format version (Flink 1.20 writes 4, Flink 2.2 writes 6).
        checkpoint_id: The checkpoint's number.
        operators: All operators.
        sources: The MySQL sources.
        kind: Checkpoint or savepoint; None before format 4, which does not say.
        savepoint_format: `CANONICAL` or `NATIVE` for a savepoint.
    """

    version: int
    checkpoint_id: int
    operators: tuple[OperatorSummary, ...]
    sources: tuple[SourceState, ...]
    kind: SnapshotKind | None = None
    savepoint_format: str | None = None


def problem_without_state(source: SourceState, coordinator_problem: str) -> str:
    """Return why no job without state may start at the source's position, "" if one may.

    A position alone loses what the state holds: rows that the snapshot has not copied, and
    the watermarks of splits that the binlog reader has not caught up with.

    Args:
        source: The source.
        coordinator_problem: Why `source.progress` is None, if it is.
    """
    if source.binlog is None:
        return "the source has no binlog split yet: the snapshot is running"
    found = (
        *_split_problems(source.binlog),
        *_snapshot_problems(source, coordinator_problem),
    )
    return found[0] if found else ""


def _split_problems(binlog: BinlogSplitState) -> Iterator[str]:
    if binlog.starting.kind != "SPECIFIC":
        yield f"the position is of kind {binlog.starting.kind}: nothing was read yet"
    if binlog.suspended:
        yield "the binlog reader is suspended for newly added tables"
    if binlog.finished_split_count != binlog.total_finished_split_size:
        yield (
            f"the reader knows {binlog.finished_split_count} of "
            f"{binlog.total_finished_split_size} finished snapshot splits"
        )


def _snapshot_problems(source: SourceState, coordinator_problem: str) -> Iterator[str]:
    progress = source.progress
    if source.snapshot_splits_unread or source.snapshot_splits_read:
        yield "readers hold snapshot splits"
    if progress is None:
        yield coordinator_problem
    elif not progress.finished:
        yield f"the snapshot is not finished ({progress.status})"
    elif not progress.binlog_split_assigned:
        yield "the binlog split was not assigned"
