"""Topics: keep a job running that reads topics. There is no binlog in it, so no switchover.

Its positions are offsets, and they are in Flink's state. The topics outlive every switchover of
the database behind them, and hold every key, so a job without state can always begin anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from cdc_assets.core.observation import JobView
from cdc_assets.core.source import SourceIdentity
from cdc_assets.core.stream import StreamSpec, job_id_of, plan_of
from cdc_assets.errors import (
    ConfigurationError,
    EngineUnreachable,
    IdentityMismatch,
    RecoveryBlocked,
)
from cdc_assets.operations.runtime import Budgets
from cdc_assets.ports import (
    Clock,
    IncarnationRow,
    Launch,
    Ledger,
    Server,
    StreamEngine,
    Target,
    Topics,
)

Condition = Literal["running", "late", "ended", "stopped", "unknown", "moving", "never"]

_OVER = frozenset({"FAILED", "FINISHED", "CANCELED", "GONE"})
# Launches in a row that left no checkpoint; then a person must look.
MOST_LAUNCHES = 3
_LATE_SECONDS = 60.0
_LATE_INTERVALS = 10


@dataclass(frozen=True)
class TopicRuntime:
    """Everything that an operation on one stream of topics needs.

    Attributes:
        spec: The stream, as sinks and engine know it.
        engine: Flink.
        topics: The brokers that hold what it reads.
        target: Where rows land.
        ledger: Remembers incarnations.
        clock: Time.
        brokers: First of the brokers, for the ledger.
        cluster_id: Asks which cluster answers.
        prepare: Looks that topics and target tables are there, and makes what it may.
        topic_names: What it reads.
        offsets: Says by a checkpoint's path and a topic how far each partition was read.
        budgets: How long each wait may last.
    """

    spec: StreamSpec
    engine: StreamEngine
    topics: Topics
    target: Target
    ledger: Ledger
    clock: Clock
    brokers: Server
    cluster_id: Callable[[], str]
    prepare: Callable[[], None]
    topic_names: tuple[str, ...]
    offsets: Callable[[str, str], Mapping[int, int]]
    budgets: Budgets = field(default_factory=Budgets)

    @property
    def name(self) -> str:
        """Return the stream's name."""
        return self.spec.name


@dataclass(frozen=True)
class Launched:
    """A job that runs.

    Attributes:
        incarnation: Its number.
        job_id: Flink's id.
        restored_from: State that it began with; `initial` for the beginning of the topics.
        checkpoint: Number of a checkpoint that it completed.
        adopted: Whether it ran already and was left alone.
    """

    incarnation: int
    job_id: str
    restored_from: str
    checkpoint: int
    adopted: bool


@dataclass(frozen=True)
class TopicHealth:
    """What one look says.

    Attributes:
        condition: In a word; `ended` is the only one that a launch mends.
        text: For people.
        row: The newest incarnation, None before the first launch.
        launches: Incarnations in a row, the newest first, that left no checkpoint.
    """

    condition: Condition
    text: str
    row: IncarnationRow | None = None
    launches: int = 0

    @property
    def is_healthy(self) -> bool:
        """Return whether it runs and completes checkpoints."""
        return self.condition == "running"

    @property
    def wants_launch(self) -> bool:
        """Return whether automation may launch it again."""
        return self.condition == "ended" and self.launches < MOST_LAUNCHES


def deploy_topics(rt: TopicRuntime, *, again: bool = False) -> Launched:
    """Make the job run: from its newest state, or from the beginning of the topics.

    A job that runs with the same SQL is left alone. With other SQL it is stopped with a
    savepoint and goes on from it; Flink refuses state that does not fit.

    Args:
        rt: The stream.
        again: Begin anew, without the state that is there.

    Raises:
        ConfigurationError: A topic or a target table is missing.
        IdentityMismatch: The brokers are another cluster than the one of the state.
        RecoveryBlocked: The job did not come up; the cause is in the message.
        FenceTaken: Another launcher was faster.
    """
    rt.prepare()
    cluster = rt.cluster_id()
    rows = rt.ledger.incarnations(rt.name)
    last = rows[-1] if rows else None
    if last is not None:
        _refuse_others(rt, last, cluster, again=again)
        view = rt.engine.job(last.job_id)
        if view.state == "RUNNING" and not again and _same_sql(rt, last):
            state = rt.engine.checkpoint(last.job_id, budget_seconds=rt.budgets.checkpoint_seconds)
            return Launched(last.number, last.job_id, last.restored_from, state.checkpoint_id,
                            adopted=True)  # fmt: skip
        _end(rt, last, view, again=again)
    path = None if again else _newest_state(rt, rows)
    return _launch(rt, (last.number if last else 0) + 1, path, cluster)


def look_at_topics(rt: TopicRuntime) -> TopicHealth:
    """Look once whether the job runs and completes checkpoints."""
    rows = rt.ledger.incarnations(rt.name)
    if not rows:
        return TopicHealth("never", "not deployed yet: materialize it")
    last = rows[-1]
    view = rt.engine.job(last.job_id)
    launches = _without_state(rt, rows) if view.state in _OVER else 0
    condition, text = _judged(rt, last, view)
    if condition == "ended" and launches >= MOST_LAUNCHES:
        text += f"; {launches} launches in a row left no checkpoint, so a person must look"
    return TopicHealth(condition, text, last, launches)


def _judged(rt: TopicRuntime, row: IncarnationRow, view: JobView) -> tuple[Condition, str]:
    what = f"incarnation {row.number}"
    if view.state == "UNKNOWN":
        return "unknown", f"Flink does not answer: {view.failure}"
    if view.state == "CANCELED":
        return "stopped", f"{what} was cancelled by a person; materialize it to go on"
    if view.state in {"FAILED", "GONE", "FINISHED"}:
        return "ended", f"{what} is {view.state}: {view.failure or 'no cause recorded'}"
    if view.state != "RUNNING":
        return "moving", f"{what} is {view.state}"
    limit = max(_LATE_SECONDS, _LATE_INTERVALS * rt.spec.checkpoint_interval_seconds)
    age = view.seconds_since_checkpoint
    if age is None or age > limit:
        since = "never" if age is None else f"{age:.0f} s ago"
        return "late", f"{what} runs, but its last checkpoint was {since}"
    return "running", f"{what} runs, its last checkpoint is {age:.0f} s old"


def _refuse_others(rt: TopicRuntime, last: IncarnationRow, cluster: str, *, again: bool) -> None:
    if last.identity.flavor != "kafka":
        raise ConfigurationError(
            "the ledger knows another stream of this name, which reads a database",
            field="name",
            value=rt.name,
            hint="Give the stream of topics a name of its own",
        )
    if again or last.identity.server_uuid == cluster:
        return
    raise IdentityMismatch(
        f"stream {rt.name!r}: {rt.brokers} is the cluster {cluster or 'without an id'}, and the "
        f"state of incarnation {last.number} holds offsets of {last.identity.server_uuid}",
        hint="Nothing was started; materialize it with again: true to read its topics anew",
    )


def _same_sql(rt: TopicRuntime, row: IncarnationRow) -> bool:
    order = Launch(row.job_id, f"{rt.name}:{row.number}", rt.spec, rt.brokers)
    return plan_of(rt.engine.rendered(order)) == plan_of(row.sql)


def _end(rt: TopicRuntime, last: IncarnationRow, view: JobView, *, again: bool) -> None:
    """See that the newest incarnation does not run any more: two copies never run."""
    if view.state == "UNKNOWN":
        raise EngineUnreachable(f"stream {rt.name!r}: Flink does not answer", hint="Try again")
    if view.state == "RUNNING":
        if again:
            rt.engine.cancel(last.job_id, budget_seconds=rt.budgets.stop_seconds)
        else:
            rt.engine.stop(last.job_id, purpose="deploy", budget_seconds=rt.budgets.stop_seconds)
        return
    if view.state not in _OVER:
        raise RecoveryBlocked(
            f"stream {rt.name!r}: incarnation {last.number} is {view.state}; two copies never run",
            hint="Wait until it has ended",
        )
    if view.state == "GONE":
        # Tasks that lost their job manager write on until their heartbeat times out.
        rt.clock.sleep(rt.engine.orphan_seconds() + rt.spec.flush_interval_seconds)


def _newest_state(rt: TopicRuntime, rows: tuple[IncarnationRow, ...]) -> str | None:
    """Return the newest state that any incarnation of this cluster left, None without one."""
    for row in reversed(rows):
        left = rt.engine.latest_state(row.job_id)
        if left is not None:
            return left.path
        if row.restored_from == "initial":
            # What came before it was given up on purpose.
            return None
    return None


def _without_state(rt: TopicRuntime, rows: tuple[IncarnationRow, ...]) -> int:
    count = 0
    for row in reversed(rows):
        if count > MOST_LAUNCHES or rt.engine.latest_state(row.job_id) is not None:
            break
        count += 1
    return count


def _launch(rt: TopicRuntime, number: int, path: str | None, cluster: str) -> Launched:
    """Open the fence, then submit: a job id follows from the number, so there is one copy."""
    job_id = job_id_of(rt.ledger.ledger_id, rt.name, number)
    order = Launch(job_id, f"{rt.name}:{number}", rt.spec, rt.brokers, restore_path=path)
    row = rt.ledger.open_incarnation(
        IncarnationRow(
            stream=rt.name,
            number=number,
            job_id=job_id,
            kind="stream",
            host=rt.brokers.host,
            port=rt.brokers.port,
            identity=SourceIdentity("kafka", "", 0, cluster),
            restored_from=path or "initial",
            sql=rt.engine.rendered(order),
        )
    )
    rt.engine.launch(order)
    view = rt.engine.wait_running(job_id, budget_seconds=rt.budgets.launch_seconds)
    if view.state != "RUNNING":
        raise RecoveryBlocked(
            f"stream {rt.name!r}: incarnation {number} is {view.state}: "
            f"{view.failure or 'no cause recorded'}",
            hint="Mend the cause, then materialize it again",
        )
    state = rt.engine.checkpoint(job_id, budget_seconds=rt.budgets.checkpoint_seconds)
    return Launched(number, job_id, row.restored_from, state.checkpoint_id, adopted=False)
