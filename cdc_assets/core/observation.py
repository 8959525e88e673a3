"""Observation: everything that one look at a stream saw, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cdc_assets.core.gtid import GtidSet
from cdc_assets.core.position import Coordinates, Position
from cdc_assets.core.source import BinlogInventory, FileBirth, SourceIdentity
from cdc_assets.core.stream import IncarnationKind

# Flink's own words (REST JobStatus), and two of ours: GONE is a proved 404 from a
# JobManager that answers, UNKNOWN is no answer. UNKNOWN is never treated as failed.
JobState = Literal[
    "INITIALIZING", "CREATED", "RUNNING", "FAILING", "FAILED", "CANCELLING", "CANCELED",
    "FINISHED", "RESTARTING", "SUSPENDED", "RECONCILING", "GONE", "UNKNOWN",
]  # fmt: skip
FailureClass = Literal["transient", "needs-new-position", "needs-operator", "unknown", ""]
Intent = Literal["run", "hold"]
DeploymentStatus = Literal[
    "PROVISIONING", "AVAILABLE", "SWITCHOVER_IN_PROGRESS", "SWITCHOVER_COMPLETED",
    "INVALID_CONFIGURATION", "SWITCHOVER_FAILED", "DELETING",
]  # fmt: skip


@dataclass(frozen=True)
class IncarnationView:
    """The newest incarnation of a stream, from the ledger.

    Attributes:
        number: Grows by one with every launch.
        job_id: Flink job id.
        kind: What the incarnation is for.
        identity: Server that it was launched against.
        stopped: Whether this project stopped it on purpose.
    """

    number: int
    job_id: str
    kind: IncarnationKind
    identity: SourceIdentity
    stopped: bool = False


@dataclass(frozen=True)
class JobView:
    """What Flink says of the job.

    Attributes:
        state: Flink's state, GONE or UNKNOWN.
        restarts: Times that Flink restarted it.
        seconds_since_checkpoint: Since the newest completed checkpoint, or since the
            start while there is none; None when not known.
        failed_checkpoints: Failed in a row since the newest completed one.
        failure: One line, the innermost cause.
        failure_class: By `failure_text`.
        state_path: Newest complete checkpoint or savepoint that can be restored.
    """

    state: JobState
    restarts: int = 0
    seconds_since_checkpoint: float | None = None
    failed_checkpoints: int = 0
    failure: str = ""
    failure_class: FailureClass = ""
    state_path: str = ""


@dataclass(frozen=True)
class ServerView:
    """What one MySQL server says of itself.

    Attributes:
        host: Where it was asked.
        port: Where it was asked.
        identity: None when it did not answer; `problem` says why.
        birth: First event of the file that the stream's position names, None when the
            server does not hold that file.
        end: Its last coordinates.
        read_only: Whether it refuses writes of ordinary accounts.
        gtid_executed: None without GTID mode ON.
        gtid_purged: None without GTID mode ON.
        binlogs: Files it still holds.
        readers: Binlog connections with the stream's server ids; None when not known.
        problem: Why it could not be asked, one line.
    """

    host: str
    port: int
    identity: SourceIdentity | None = None
    birth: FileBirth | None = None
    end: Coordinates | None = None
    read_only: bool | None = None
    gtid_executed: GtidSet | None = None
    gtid_purged: GtidSet | None = None
    binlogs: BinlogInventory | None = None
    readers: int | None = None
    problem: str = ""


@dataclass(frozen=True)
class DeploymentView:
    """A blue/green deployment, and what its events said.

    Attributes:
        deployment_id: AWS's identifier.
        status: AWS's status.
        source_name: Production instance or cluster by its name now.
        green_name: Green by its name before the switchover.
        old_name: Old blue by its name now, empty before the switchover.
        coordinates: Distinct coordinates that events named for this switchover.
        garbled: Event texts that should name coordinates and cannot be read.
        missing: Why no coordinates can be expected any more, one line; else empty.
    """

    deployment_id: str
    status: DeploymentStatus
    source_name: str = ""
    green_name: str = ""
    old_name: str = ""
    coordinates: tuple[Coordinates, ...] = ()
    garbled: tuple[str, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class Observation:
    """The input of `decide`: no clock and no I/O behind it.

    Attributes:
        stream: Name.
        stateful: Whether Flink state beyond the position matters.
        incarnation: None before the first launch.
        job: What Flink says.
        anchor: Newest recorded position whose server was proved; what the endpoint is
            compared with. None before the first launch.
        positions: The stream's positions now, one per source of the job.
        position_problem: Why a position could not be read; then nothing is started.
        snapshot_running: Whether the snapshot phase has not ended.
        endpoint: The server behind the source's endpoint.
        old_blue: The server behind the old blue's own endpoint.
        deployment: The newest deployment that concerns the source.
        deployment_problem: Why RDS could not be asked.
        stalled_seconds: For how long the job is RUNNING without a binlog connection.
        frozen_seconds: For how long the position stands still while the source moves.
        relaunches_in_window: Launches without a completed checkpoint between them.
        intent: `hold` when a person, or a change of the schema, stopped automation.
        intent_reason: Why, as the ledger has it.
        paused: Tables that the stream goes on without, each with its reason.
        runs_on: What runs the stream's job, for a person.
    """

    stream: str
    stateful: bool
    incarnation: IncarnationView | None
    job: JobView
    anchor: Position | None
    positions: tuple[Position, ...]
    endpoint: ServerView
    position_problem: str = ""
    snapshot_running: bool = False
    old_blue: ServerView | None = None
    deployment: DeploymentView | None = None
    deployment_problem: str = ""
    stalled_seconds: float = 0.0
    frozen_seconds: float = 0.0
    relaunches_in_window: int = 0
    intent: Intent = "run"
    intent_reason: str = ""
    paused: tuple[str, ...] = ()
    runs_on: str = "Flink"
