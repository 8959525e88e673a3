"""Observe: ask Flink, the servers, RDS and the ledger once, and say what was seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from cdc_assets.core.observation import (
    DeploymentView,
    IncarnationView,
    JobView,
    Observation,
    ServerView,
)
from cdc_assets.core.position import Coordinates, Position
from cdc_assets.errors import EventFeedError, UnreadablePosition
from cdc_assets.operations.launch import newest
from cdc_assets.operations.paused import paused_tables
from cdc_assets.operations.positions import anchor_of, record_state
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.ports import IncarnationRow, StateView

STOPPED = "stopped"


@dataclass(frozen=True)
class Memory:
    """What one look must know of the looks before; a sensor keeps it in its cursor.

    Attributes:
        job_id: Job that the other fields are about; another job starts afresh.
        unread_since: When the job was first seen RUNNING without a binlog connection.
        position: The stream's positions as text.
        position_since: When that text was first seen.
        end: The source's end at that time.
    """

    job_id: str = ""
    unread_since: datetime | None = None
    position: str = ""
    position_since: datetime | None = None
    end: str = ""


@dataclass(frozen=True)
class Seen:
    """One look: the observation, what to remember, and the state behind it."""

    observation: Observation
    memory: Memory
    state: StateView | None


def observe(rt: StreamRuntime, memory: Memory) -> Seen:
    """Look once at everything that concerns a stream.

    Never raises for a system that does not answer; the observation says so.

    Raises:
        LedgerUnreadable: Without the ledger nothing can be said.
    """
    row = newest(rt)
    if row is None:
        nowhere = ServerView(rt.source.endpoint.host, rt.source.endpoint.port)
        stateful = rt.spec.resume_form == "transplant"
        empty = Observation(rt.name, stateful, None, JobView("UNKNOWN"), None, (), nowhere)
        return Seen(empty, Memory(), None)
    job = rt.engine.job(row.job_id)
    state, positions, problem = _state(rt, row)
    if state is not None:
        job = replace(job, state_path=state.path)
    anchor = anchor_of(rt)
    file = anchor.coordinates.file if anchor else None
    endpoint = rt.source.view(rt.source.endpoint, file=file, readers=rt.spec.server_ids)
    deployment, old, feed_problem = _deployment(rt, file)
    now = rt.clock.now()
    servers = (endpoint,) if old is None else (endpoint, old)
    remembered = _remember(memory, now, (row.job_id, job), positions, servers)
    intent, intent_reason = rt.ledger.intent(rt.name)
    observation = Observation(
        stream=rt.name,
        stateful=rt.spec.resume_form == "transplant",
        incarnation=IncarnationView(
            row.number, row.job_id, row.kind, row.identity, stopped=_stopped(rt, row)
        ),
        job=job,
        anchor=anchor,
        positions=positions,
        endpoint=endpoint,
        position_problem=problem,
        snapshot_running=bool(state and state.snapshot_running)
        or (state is None and row.kind == "snapshot"),
        old_blue=old,
        deployment=deployment,
        deployment_problem=feed_problem,
        stalled_seconds=_since(remembered.unread_since, now),
        frozen_seconds=_frozen(remembered, endpoint, now),
        relaunches_in_window=_without_progress(rt),
        intent=intent,
        intent_reason=intent_reason,
        paused=tuple(each.text for each in paused_tables(rt)),
        runs_on=rt.spec.runs_on,
    )
    return Seen(observation, remembered, state)


def _state(
    rt: StreamRuntime, row: IncarnationRow
) -> tuple[StateView | None, tuple[Position, ...], str]:
    try:
        state = rt.engine.latest_state(row.job_id)
        if state is None:
            return None, (), ""
        return state, record_state(rt, row, state, savepoint=False), ""
    except UnreadablePosition as error:
        return None, (), str(error)


def _deployment(
    rt: StreamRuntime, file: str | None
) -> tuple[DeploymentView | None, ServerView | None, str]:
    if rt.feed is None:
        return None, None, ""
    try:
        rt.feed.poll()
        found = rt.feed.deployment()
        if found is None or found.status != "SWITCHOVER_COMPLETED" or not found.old_name:
            return found, None, ""
        where = rt.feed.instance(found.old_name)
    except EventFeedError as error:
        return None, None, str(error)
    if where is None:
        gone = ServerView("", 0, problem=f"{found.old_name} does not exist any more")
        return found, gone, ""
    server, _ = where
    return found, rt.source.view(server, file=file, readers=rt.spec.server_ids), ""


def _remember(
    memory: Memory,
    now: datetime,
    job: tuple[str, JobView],
    positions: tuple[Position, ...],
    servers: tuple[ServerView, ...],
) -> Memory:
    job_id, view = job
    if memory.job_id != job_id:
        memory = Memory(job_id=job_id)
    endpoint = servers[0]
    readers = sum(server.readers or 0 for server in servers)
    unread = view.state == "RUNNING" and endpoint.readers is not None and readers == 0
    text = " ".join(f"{p.coordinates}+{p.skip_events}.{p.skip_rows}" for p in positions)
    if text != memory.position:
        memory = replace(memory, position=text, position_since=now, end=str(endpoint.end or ""))
    since = (memory.unread_since or now) if unread else None
    return replace(memory, unread_since=since)


def _frozen(memory: Memory, endpoint: ServerView, now: datetime) -> float:
    """Return for how long the position stands still while the source's end moved."""
    end: Coordinates | None = endpoint.end
    if not memory.position or end is None or str(end) == memory.end:
        return 0.0
    return _since(memory.position_since, now)


def _since(start: datetime | None, now: datetime) -> float:
    return max(0.0, (now - start).total_seconds()) if start else 0.0


def _stopped(rt: StreamRuntime, row: IncarnationRow) -> bool:
    """Return whether a person's stop of this incarnation is recorded."""
    steps = rt.ledger.steps(rt.name, f"{rt.name}:{row.number}/{STOPPED}")
    return bool(steps)


def _without_progress(rt: StreamRuntime) -> int:
    """Count the newest incarnations that have no checkpoint of their own."""
    progressed = {
        row.incarnation for row in rt.ledger.positions(rt.name, limit=500) if row.checkpoint_id > 0
    }
    count = 0
    for row in reversed(rt.ledger.incarnations(rt.name)):
        if row.number in progressed:
            break
        count += 1
    return count
