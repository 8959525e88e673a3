"""The Protocols that operations know of the outside world; fakes and adapters implement them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

from cdc_assets.core.columns import TableShape
from cdc_assets.core.observation import (
    DeploymentStatus,
    DeploymentView,
    Intent,
    JobView,
    ServerView,
)
from cdc_assets.core.position import Coordinates, Position
from cdc_assets.core.preflight import Fault
from cdc_assets.core.results import Results
from cdc_assets.core.row_sql import Statement
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.source import FileBirth, SourceIdentity
from cdc_assets.core.stream import IncarnationKind, StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.core.table_versions import TableVersion

# A primary key's values in key order, as the driver returns them.
Key = tuple[object, ...]


class Clock(Protocol):
    """Time and sleeping, so that tests need neither."""

    def now(self) -> datetime:
        """Return the time, with a time zone, UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


@dataclass(frozen=True)
class Server:
    """Where a MySQL server is; accounts live in the adapter that connects to it."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return `host:port`."""
        return f"{self.host}:{self.port}"


class Source(Protocol):
    """The source cluster: its endpoint, and any single server of it by host and port."""

    @property
    def endpoint(self) -> Server:
        """Return the production endpoint."""
        ...

    def view(
        self, server: Server, *, file: str | None = None, readers: ServerIdRange | None = None
    ) -> ServerView:
        """Ask one server for everything that an observation needs.

        Never raises for an unreachable or unwilling server: `problem` says why.

        Args:
            server: Which one.
            file: Binlog file whose birth is wanted.
            readers: Server ids whose binlog connections are counted.
        """
        ...

    def identity(self, server: Server) -> SourceIdentity:
        """Return which server answers there.

        Raises:
            SourceUnreachable: No answer in time.
            SourceDenied: The account was refused.
        """
        ...

    def birth(self, server: Server, file: str) -> FileBirth | None:
        """Return the first event of a binlog file, None when the server does not hold it."""
        ...

    def end(self, server: Server) -> Coordinates:
        """Return the server's last coordinates."""
        ...

    def shapes(self, server: Server, tables: Sequence[TableRef]) -> tuple[TableShape, ...]:
        """Return the tables as the server describes them.

        Raises:
            ConfigurationError: A table does not exist.
        """
        ...

    def max_key(self, server: Server, table: TableRef, key: Sequence[str]) -> Key | None:
        """Return the largest primary key, None when the table is empty."""
        ...

    def count(
        self,
        server: Server,
        table: TableRef,
        *,
        timeout_seconds: float,
        key: Sequence[str] = (),
        bound: Key | None = None,
        where: Statement | None = None,
    ) -> int:
        """Count the rows of a table.

        Args:
            server: Where.
            table: Which.
            timeout_seconds: For the answer.
            key: Its primary key.
            bound: Only rows up to this key (included).
            where: Only rows that meet this condition.
        """
        ...


class Target(Protocol):
    """Where rows land."""

    def shapes(self, names: Sequence[str]) -> tuple[TableShape, ...]:
        """Return the target tables as the server describes them."""
        ...

    def count(
        self,
        name: str,
        *,
        timeout_seconds: float,
        key: Sequence[str] = (),
        bound: Key | None = None,
    ) -> int:
        """Count the rows of a target table, up to the key `bound` (included) if given."""
        ...


@dataclass(frozen=True)
class TopicCount:
    """How many rows a compacted topic stands for, and what was read to know it.

    Attributes:
        count: Keys whose latest committed record is no tombstone.
        ends: Offset after the last committed record of each partition that has one. Below the
            high watermark: transactions end with a mark, which no reader is given.
    """

    count: int
    ends: Mapping[int, int]


class Topics(Protocol):
    """Compacted topics that a stream reads."""

    def live(
        self,
        name: str,
        *,
        timeout_seconds: float,
        key: Sequence[str] = (),
        bound: Key | None = None,
    ) -> TopicCount:
        """Count the rows of a topic, up to the key `bound` (included) if given."""
        ...

    def max_key(self, name: str, key: Sequence[str], *, timeout_seconds: float) -> Key | None:
        """Return the largest key of whole numbers, None when the topic is empty."""
        ...

    def high_watermarks(self, names: Sequence[str]) -> Mapping[str, Mapping[int, int]]:
        """Return where each partition of each topic ends; the same again is a topic at rest."""
        ...


class JudgedTarget(Target, Protocol):
    """A target that judges itself before a launch; MySQL's is judged by `core.preflight_tables`."""

    def faults(self, spec: StreamSpec, shapes: Mapping[str, TableShape]) -> Sequence[Fault]:
        """Return everything that keeps the stream from landing there, without changing it.

        A target that does not answer is a fault, not an error.

        Args:
            spec: The stream.
            shapes: The captured tables that exist, by `database.table`.
        """
        ...


@runtime_checkable
class VersionedTarget(Target, Protocol):
    """A target that keeps what its tables held before."""

    def versions(self, name: str) -> Sequence[TableVersion]:
        """Return the current version of a table and its ancestors, newest first."""
        ...


@runtime_checkable
class MakingTarget(Protocol):
    """A target that can make its missing tables by itself."""

    def make_missing(self, spec: StreamSpec, shapes: Sequence[TableShape]) -> Sequence[str]:
        """Make what a snapshot needs and does not find, where the settings allow it.

        Args:
            spec: The stream.
            shapes: The captured tables.

        Returns:
            Names of what was made.
        """
        ...


@runtime_checkable
class AlteringTarget(Protocol):
    """A target whose tables can be changed from here."""

    def alter(self, statement: str) -> None:
        """Run one statement that changes a target table.

        Raises:
            TargetError: The target refuses it.
        """
        ...


@dataclass(frozen=True)
class Launch:
    """Everything that Flink must be told to start one incarnation.

    Attributes:
        job_id: 32 hex digits; a second launch with the same id is refused by Flink.
        name: Shown in Flink's UI.
        server: Where the readers connect.
        restore_path: State to go on from; None starts without state.
        coordinates: Place to start at without state; None with state or for a snapshot.
        only: Label of the one table whose rows are written, empty for all. The others are read
            as ever, because state fits a job of the same plan only.
    """

    job_id: str
    name: str
    spec: StreamSpec
    server: Server
    restore_path: str | None = None
    coordinates: Coordinates | None = None
    gtid_set: str | None = None
    only: str = ""


@dataclass(frozen=True)
class SplitPosition:
    """A source's position inside a checkpoint, before the server's identity is added.

    Attributes:
        tables: `database.table` names that the reader serves; may be empty.
        finished: Whether the snapshot phase of this source has ended.
        usable_without_state: Whether a start at these coordinates loses nothing.
        reason: Why not, when not.
    """

    tables: tuple[str, ...]
    file: str
    pos: int
    gtids: str | None
    skip_events: int
    skip_rows: int
    finished: bool
    usable_without_state: bool
    reason: str = ""


@dataclass(frozen=True)
class StateView:
    """What a checkpoint or savepoint holds.

    Attributes:
        path: Directory.
        checkpoint_id: Flink's number.
        splits: One per source that reads the binlog.
        snapshot_running: Whether a source is still in its snapshot phase.
        splits_done: Snapshot splits finished.
        splits_total: Snapshot splits known so far.
    """

    path: str
    checkpoint_id: int
    splits: tuple[SplitPosition, ...]
    snapshot_running: bool
    splits_done: int = 0
    splits_total: int = 0


class StreamEngine(Protocol):
    """Flink."""

    def launch(self, launch: Launch) -> str:
        """Submit a job; a job of this id that exists already is adopted, not doubled.

        Returns:
            The Flink job id.

        Raises:
            EngineRejected: Flink refused it.
            EngineUnreachable: No answer; the job may or may not exist.
        """
        ...

    def rendered(self, launch: Launch) -> str:
        """Return the SQL of a launch with secrets left out."""
        ...

    def job(self, job_id: str) -> JobView:
        """Return what Flink says of a job; no answer is UNKNOWN, a proved 404 is GONE."""
        ...

    def wait_running(self, job_id: str, *, budget_seconds: float) -> JobView:
        """Wait until the job runs, ends or the budget is used up, and return the last view."""
        ...

    def checkpoint(self, job_id: str, *, budget_seconds: float) -> StateView:
        """Trigger a checkpoint, wait for it and read it.

        Raises:
            SavepointFailed: It failed, or the budget is used up.
            CheckpointUnreadable: It cannot be parsed.
        """
        ...

    def latest_state(self, job_id: str) -> StateView | None:
        """Read the newest complete checkpoint of a job, also of one that Flink forgot.

        Raises:
            CheckpointUnreadable: It cannot be parsed.
        """
        ...

    def copy_newest(self, job_id: str) -> StateView | None:
        """Copy a job's newest complete checkpoint; nobody goes on from it before `approve`.

        Returns:
            The copy, None when the job has no checkpoint.

        Raises:
            CheckpointUnreadable: It cannot be read or copied.
        """
        ...

    def approve(self, job_id: str, path: str) -> None:
        """Keep a copy, in place of the one that was kept before."""
        ...

    def kept(self, job_id: str) -> StateView | None:
        """Return the copy that is kept, None when none is."""
        ...

    def stop(self, job_id: str, *, purpose: str, budget_seconds: float) -> StateView:
        """Stop with a savepoint; repeating the call returns the same savepoint.

        Raises:
            SavepointFailed: It failed, or the budget is used up.
        """
        ...

    def cancel(self, job_id: str, *, budget_seconds: float) -> None:
        """Cancel without a savepoint and wait until the job is gone from the slots."""
        ...

    def read_state(self, path: str) -> StateView:
        """Read a checkpoint or savepoint by its path."""
        ...

    def transplant(
        self, savepoint: str, *, name: str, coordinates: Coordinates, drained: Sequence[Coordinates]
    ) -> StateView:
        """Copy a savepoint with its binlog positions rewritten; the original stays as it is.

        Args:
            savepoint: Path of the original.
            name: Name of the copy beside it; a finished copy of this name is reused.
            coordinates: The new position of every source.
            drained: Positions that the original must hold.

        Raises:
            TransplantRefused: Not fully understood.
        """
        ...

    def orphan_seconds(self) -> float:
        """Return how long tasks can go on writing after the job manager that led them died."""
        ...

    def rows_out(self, job_id: str) -> int | None:
        """Return the number of rows that the sources have emitted, None when not known."""
        ...


@runtime_checkable
class DescribingEngine(Protocol):
    """An engine that knows what columns expressions and queries bring."""

    def results(self, spec: StreamSpec, server: Server) -> Results:
        """Return the columns that it works out for missing target tables; no job is started.

        Args:
            spec: The stream.
            server: Describes the captured tables.
        """
        ...


class EventFeed(Protocol):
    """RDS: events and blue/green deployments."""

    def poll(self) -> None:
        """Fetch new events and record them at first sight.

        Raises:
            EventFeedUnreachable: No answer.
        """
        ...

    def deployment(self) -> DeploymentView | None:
        """Return the newest deployment that concerns the source, with its coordinates."""
        ...

    def instance(self, name: str) -> tuple[Server, str] | None:
        """Return endpoint and resource id of an instance by its name now."""
        ...


@dataclass(frozen=True)
class IncarnationRow:
    """One row of the ledger's incarnations.

    Attributes:
        restored_from: State path, or coordinates as text, or `initial`.
        recovery: Id of the recovery that opened it, empty otherwise.
    """

    stream: str
    number: int
    job_id: str
    kind: IncarnationKind
    host: str
    port: int
    identity: SourceIdentity
    restored_from: str
    sql: str
    recovery: str = ""
    opened_at: datetime | None = None

    @property
    def server(self) -> Server:
        """Return where the incarnation's readers connect."""
        return Server(self.host, self.port)


@dataclass(frozen=True)
class PositionRow:
    """One position seen.

    Attributes:
        tables: Captured tables that the reader serves, `database.table`, comma separated.
        path: Checkpoint or savepoint directory.
    """

    stream: str
    incarnation: int
    checkpoint_id: int
    path: str
    tables: str
    position: Position
    savepoint: bool = False
    observed_at: datetime | None = None


@dataclass(frozen=True)
class StepRow:
    """One step of a recovery, with what is needed to go on after it."""

    stream: str
    recovery: str
    seq: int
    step: str
    detail: Mapping[str, object]
    at: datetime | None = None


@dataclass(frozen=True)
class EventRow:
    """An RDS event as it was seen first. There is no event id in the API."""

    source_id: str
    source_type: str
    date: datetime
    message: str
    first_seen: datetime | None = None


@dataclass(frozen=True)
class DeploymentRow:
    """What the RDS API said of a blue/green deployment; a deleted one is no longer listed there.

    Names change at the switchover, resource ids do not.

    Attributes:
        source: Name of blue at that time.
        target: Name of green at that time, empty while it is being made.
        members: Names of (blue, green) pairs inside, instances of a cluster and replicas too.
        source_resource_id: Of blue, empty when not known.
        target_resource_id: Of green, empty when not known.
    """

    deployment_id: str
    status: DeploymentStatus
    source: str
    target: str
    created_at: datetime
    name: str = ""
    members: tuple[tuple[str, str], ...] = ()
    source_resource_id: str = ""
    target_resource_id: str = ""
    seen_at: datetime | None = None


@dataclass(frozen=True)
class PollRow:
    """A stretch of time, both ends included, whose RDS events were fetched."""

    feed: str
    since: datetime
    until: datetime


Verdict = Literal["InSync", "Drifted", "Inconclusive"]


@dataclass(frozen=True)
class ReconciliationRow:
    """The verdict on one table.

    Attributes:
        table: Source table `database.table`.
        method: `row-count` so far.
        recovery: The recovery that asked for it, empty for a scheduled one.
    """

    stream: str
    table: str
    target_table: str
    verdict: Verdict
    method: str
    source_count: int | None
    target_count: int | None
    reason: str
    recovery: str = ""
    at: datetime | None = None


@dataclass(frozen=True)
class DecisionRow:
    """A decision and its reason."""

    stream: str
    incarnation: int
    kind: str
    reason: str
    detail: Mapping[str, object]
    at: datetime | None = None


class Ledger(Protocol):
    """Append-only memory. A row is never updated.

    Every method raises LedgerUnreadable when the ledger is corrupt or foreign.
    """

    @property
    def ledger_id(self) -> str:
        """Return the id that was drawn when the ledger was made."""
        ...

    def open_incarnation(self, row: IncarnationRow) -> IncarnationRow:
        """Append an incarnation; this is the fence.

        Raises:
            FenceTaken: (stream, number) exists already.
        """
        ...

    def incarnations(self, stream: str) -> tuple[IncarnationRow, ...]:
        """Return all incarnations, oldest first."""
        ...

    def record_positions(self, rows: Sequence[PositionRow], /) -> int:
        """Append positions that are not there yet; return how many were new."""
        ...

    def positions(self, stream: str, *, limit: int = 100) -> tuple[PositionRow, ...]:
        """Return the newest positions, newest first."""
        ...

    def append_step(self, row: StepRow) -> bool:
        """Append a step; False when (stream, recovery, seq) exists already."""
        ...

    def steps(self, stream: str, recovery: str | None = None) -> tuple[StepRow, ...]:
        """Return the steps of one recovery or of all, oldest first."""
        ...

    def record_decision(self, row: DecisionRow) -> None:
        """Append a decision."""
        ...

    def decisions(self, stream: str, *, limit: int = 100) -> tuple[DecisionRow, ...]:
        """Return the newest decisions, newest first."""
        ...

    def record_reconciliation(self, row: ReconciliationRow) -> None:
        """Append a verdict."""
        ...

    def reconciliations(self, stream: str, *, limit: int = 100) -> tuple[ReconciliationRow, ...]:
        """Return the newest verdicts, newest first."""
        ...

    def record_events(self, rows: Sequence[EventRow], /) -> tuple[EventRow, ...]:
        """Append events that were not seen before; return those."""
        ...

    def events(self, *, since: datetime | None = None) -> tuple[EventRow, ...]:
        """Return events by their date, oldest first."""
        ...

    def record_deployment(self, row: DeploymentRow) -> bool:
        """Append what was seen of a deployment; False when its newest row says the same."""
        ...

    def deployments(self) -> tuple[DeploymentRow, ...]:
        """Return all rows of all deployments, oldest first."""
        ...

    def record_poll(self, row: PollRow) -> None:
        """Append a stretch of time whose events were fetched."""
        ...

    def polls(self, feed: str, *, limit: int = 1000) -> tuple[PollRow, ...]:
        """Return the newest stretches of a feed, newest first."""
        ...

    def set_intent(self, stream: str, intent: Intent, reason: str) -> None:
        """Append what a person wants: `hold` stops automation, `run` allows it again."""
        ...

    def intent(self, stream: str) -> tuple[Intent, str]:
        """Return the newest intent and its reason; `run` when there is none."""
        ...
