"""What Flink says about a job, as values that do not know the shape of its REST payloads.

Words are Flink's own. Its status RECONCILING has nothing to do with a reconciliation of rows.
Times are aware and in UTC; a time that Flink does not know (it writes -1) is None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

JobStatus = Literal[
    "INITIALIZING",
    "CREATED",
    "RUNNING",
    "FAILING",
    "FAILED",
    "CANCELLING",
    "CANCELED",
    "FINISHED",
    "RESTARTING",
    "SUSPENDED",
    "RECONCILING",
]
"""Flink's own job states."""

CheckpointStatus = Literal["IN_PROGRESS", "COMPLETED", "FAILED"]
"""Flink's own states of a checkpoint."""

LaunchState = Literal["RUNNING", "FINISHED", "FAILED", "CANCELED", "GONE", "PENDING"]
"""How waiting for a job to run ended; PENDING means that the budget ran out first."""

TERMINAL_STATUSES: frozenset[JobStatus] = frozenset({"FAILED", "CANCELED", "FINISHED"})
"""The states that Flink calls globally terminal: the job never runs again under its id."""


@dataclass(frozen=True)
class ClusterFacts:
    """What a Flink cluster says about itself.

    Args:
        version: Flink's version, e.g. `1.20.3`.
        task_managers: Registered task managers.
        slots_total: Slots of all task managers.
        slots_available: Slots that no job holds.
        jobs_running: Jobs that are not in a terminal state.
    """

    version: str
    task_managers: int
    slots_total: int
    slots_available: int
    jobs_running: int


@dataclass(frozen=True)
class JobSettings:
    """What a running job was really submitted with.

    Args:
        checkpoint_seconds: Between two checkpoints, None for a job without checkpoints.
        externalized: Whether its checkpoints are kept when it ends.
        parameters: Its global parameters. Its restart strategy is not among what Flink 1.20
            shows: for a job whose strategy is set by configuration it names the cluster's.
    """

    checkpoint_seconds: float | None
    externalized: bool
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class JobSummary:
    """One line of Flink's job list.

    Args:
        job_id: 32 hexadecimal digits.
        name: The job's name; Flink does not keep it unique.
        status: Flink's status.
        started_at: When the job was submitted.
        tasks: Number of tasks per state, in lower case; states without a task are left out.
    """

    job_id: str
    name: str
    status: JobStatus
    started_at: datetime | None = None
    tasks: tuple[tuple[str, int], ...] = ()

    @property
    def is_terminal(self) -> bool:
        """Whether the job never runs again under this id."""
        return self.status in TERMINAL_STATUSES

    @property
    def is_up(self) -> bool:
        """Whether the job is RUNNING and each of its tasks runs or has come to its end.

        Flink says RUNNING as soon as it schedules the tasks, also while they wait for slots.

        Example:
            >>> JobSummary("0" * 32, "orders", "RUNNING", tasks=(("scheduled", 2),)).is_up
            False
        """
        return (
            self.status == "RUNNING"
            and bool(self.tasks)
            and all(state in {"running", "finished"} for state, _ in self.tasks)
        )


@dataclass(frozen=True)
class VertexFacts:
    """One vertex (a chain of operators) of a running job.

    Args:
        vertex_id: Flink's id of the vertex.
        name: The names of its operators, `Source: orders[1] -> ...`.
        parallelism: Number of its subtasks.
        status: The aggregated state of its tasks.
        tasks: Number of tasks per state; states without a task are left out.
    """

    vertex_id: str
    name: str
    parallelism: int
    status: str
    tasks: tuple[tuple[str, int], ...] = ()

    @property
    def is_source(self) -> bool:
        """Whether the vertex begins with a source.

        Example:
            >>> VertexFacts("a", "Source: orders[1] -> Sink: o[2]", 1, "RUNNING").is_source
            True
        """
        return self.name.startswith("Source: ")

    @property
    def is_up(self) -> bool:
        """Whether each task runs or has come to its end."""
        return bool(self.tasks) and all(state in {"RUNNING", "FINISHED"} for state, _ in self.tasks)


@dataclass(frozen=True)
class JobFacts:
    """What Flink says about one job.

    Args:
        job_id: 32 hexadecimal digits.
        name: The job's name.
        status: Flink's status.
        started_at: When the job was submitted.
        ended_at: When it came to a terminal state.
        vertices: Its vertices; none while it is INITIALIZING.
    """

    job_id: str
    name: str
    status: JobStatus
    started_at: datetime | None = None
    ended_at: datetime | None = None
    vertices: tuple[VertexFacts, ...] = ()

    @property
    def is_terminal(self) -> bool:
        """Whether the job never runs again under this id."""
        return self.status in TERMINAL_STATUSES

    @property
    def is_up(self) -> bool:
        """Whether the job is RUNNING and each of its tasks runs too.

        Flink says RUNNING as soon as it schedules the tasks, also while they wait for slots.

        Example:
            >>> waiting = VertexFacts("a", "Source: orders[1]", 1, "SCHEDULED", (("SCHEDULED", 1),))
            >>> JobFacts("0" * 32, "orders", "RUNNING", vertices=(waiting,)).is_up
            False
        """
        return (
            self.status == "RUNNING"
            and bool(self.vertices)
            and all(vertex.is_up for vertex in self.vertices)
        )

    @property
    def sources(self) -> tuple[VertexFacts, ...]:
        """The vertices that begin with a source."""
        return tuple(vertex for vertex in self.vertices if vertex.is_source)


@dataclass(frozen=True)
class JobGone:
    """The cluster answered and does not know the job.

    Either the job manager was restarted without high availability, or the job ended more than
    `jobstore.expiration-time` ago. This is not the same as a cluster that does not answer.

    Args:
        job_id: The id that was asked for.
    """

    job_id: str


@dataclass(frozen=True)
class ExceptionFacts:
    """One entry of a job's exception history.

    Args:
        name: The Java class of the outermost exception.
        cause: The innermost cause, one line.
        stack_trace: The whole text, for the classifier.
        occurred_at: When Flink recorded it.
        task_name: The task that failed; empty for a failure of the whole job.
        task_manager: Where the task ran.
    """

    name: str
    cause: str
    stack_trace: str = field(repr=False)
    occurred_at: datetime | None = None
    task_name: str = ""
    task_manager: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint or savepoint that Flink took or tried to take.

    Args:
        checkpoint_id: Flink's number; it grows over checkpoints and savepoints of a job.
        status: Flink's status of it.
        is_savepoint: Whether it was asked for as a savepoint.
        external_path: The folder with `_metadata`, empty when there is none.
        triggered_at: When it began.
        acknowledged_at: When the last task acknowledged it.
        ends_job: Whether it is the savepoint of a stop.
        discarded: Whether Flink removed its files again.
        state_size_bytes: Size of the state.
        failure_message: Why it failed.
    """

    checkpoint_id: int
    status: CheckpointStatus
    is_savepoint: bool
    external_path: str = ""
    triggered_at: datetime | None = None
    acknowledged_at: datetime | None = None
    ends_job: bool = False
    discarded: bool = False
    state_size_bytes: int = 0
    failure_message: str = ""


@dataclass(frozen=True)
class RestoredCheckpoint:
    """The checkpoint or savepoint that a job was last restored from.

    Args:
        checkpoint_id: Its number.
        is_savepoint: Whether it is a savepoint.
        external_path: The folder with `_metadata`, empty when there is none.
        restored_at: When the job was restored.
    """

    checkpoint_id: int
    is_savepoint: bool
    external_path: str = ""
    restored_at: datetime | None = None


@dataclass(frozen=True)
class CheckpointCounts:
    """How many checkpoints a job took, savepoints included.

    Args:
        restored: Times that the job was restored.
        total: Checkpoints begun.
        in_progress: Checkpoints that are neither complete nor failed.
        completed: Complete checkpoints.
        failed: Failed checkpoints.
    """

    restored: int = 0
    total: int = 0
    in_progress: int = 0
    completed: int = 0
    failed: int = 0


@dataclass(frozen=True)
class CheckpointFacts:
    """What Flink says about the checkpoints of one job.

    Args:
        job_id: The job.
        enabled: Whether Flink keeps checkpoint statistics for the job; it says no while the job
            is INITIALIZING as well.
        counts: How many there were.
        latest_completed: The newest complete checkpoint that is not a savepoint.
        latest_savepoint: The newest complete savepoint.
        latest_failed: The newest failed one.
        restored: What the job was last restored from.
        history: The newest ones, newest first, as far as Flink keeps them.
    """

    job_id: str
    enabled: bool = True
    counts: CheckpointCounts = CheckpointCounts()
    latest_completed: Checkpoint | None = None
    latest_savepoint: Checkpoint | None = None
    latest_failed: Checkpoint | None = None
    restored: RestoredCheckpoint | None = None
    history: tuple[Checkpoint, ...] = ()

    @property
    def failed_since_completed(self) -> int:
        """Failed checkpoints after the newest complete one, as far as the history goes.

        A failed savepoint says that its folder cannot be written, not that the job is ill.
        An attempt that fails before a task is asked, because a task does not run, is in
        `counts.failed` only: Flink does not list it.

        Example:
            >>> failed = Checkpoint(8, "FAILED", is_savepoint=False)
            >>> done = Checkpoint(7, "COMPLETED", is_savepoint=False)
            >>> older = Checkpoint(6, "FAILED", is_savepoint=False)
            >>> facts = CheckpointFacts("a", latest_completed=done, history=(failed, done, older))
            >>> facts.failed_since_completed
            1
        """
        newest = max(
            (one.checkpoint_id for one in self.history if one.status == "COMPLETED"),
            default=self.latest_completed.checkpoint_id if self.latest_completed else -1,
        )
        return sum(
            1
            for one in self.history
            if one.status == "FAILED" and not one.is_savepoint and one.checkpoint_id > newest
        )


@dataclass(frozen=True)
class SourceProgress:
    """How many records one source vertex has handed on.

    Args:
        vertex_id: The vertex.
        operator: The source operator as Flink's metrics spell it, `Source__orders[1]`.
        records_in: Records that the operator took, summed over its subtasks.
        records_out: Records that it handed on, summed over its subtasks.
    """

    vertex_id: str
    operator: str
    records_in: int
    records_out: int


@dataclass(frozen=True)
class LaunchOutcome:
    """How waiting for a job to run ended.

    Args:
        job_id: The job.
        state: RUNNING once each task runs; PENDING when the budget ran out first.
        status: The last status seen; None when the job is gone.
        cause: The newest recorded failure, if there is one.
    """

    job_id: str
    state: LaunchState
    status: JobStatus | None = None
    cause: ExceptionFacts | None = None
