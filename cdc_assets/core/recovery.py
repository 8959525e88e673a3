"""decide: what to do about a stream, from one observation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from cdc_assets.core.gtid import GtidSet
from cdc_assets.core.observation import IncarnationView, Observation, ServerView
from cdc_assets.core.position import Coordinates, Position
from cdc_assets.core.source import Sameness, same_server
from cdc_assets.core.stream import ResumeForm


@dataclass(frozen=True)
class Policy:
    """What automation may do, and how long it waits before it calls something broken.

    Attributes:
        stall_seconds: RUNNING without a binlog connection for this long is a stall. A
            reader that reconnects by itself does not exist in generated jobs, so this
            only bridges the start of a job. It is less than the 5 s that Dagster leaves
            between two ticks, so the second look tells.
        frozen_seconds: Position standing still for this long while the source moves.
        checkpoint_seconds: No completed checkpoint for this long is unhealthy.
        max_relaunches: Launches without progress between them before a person is asked.
        max_restarts: Restarts by Flink itself before the job counts as looping.
        on_added_column: What happens when a captured table gets a column: `report` tells the
            target's statement and the stream goes on without it; `apply` adds it to the target
            and starts the stream again from before the change.
        on_other_change: What happens at any other change of a captured table that the running
            job would write wrongly: `pause_table` lets the stream go on without the table, where
            that loses nothing, and is `pause` elsewhere; `pause` stops the stream with a
            savepoint; `report` tells it.
    """

    stall_seconds: float = 3.0
    frozen_seconds: float = 60.0
    checkpoint_seconds: float = 120.0
    max_relaunches: int = 5
    max_restarts: int = 3
    on_added_column: Literal["report", "apply"] = "report"
    on_other_change: Literal["pause_table", "pause", "report"] = "pause_table"


@dataclass(frozen=True)
class Hold:
    """Do nothing now, look again."""

    reason: str
    healthy: bool = False


@dataclass(frozen=True)
class Resume:
    """Stop what is left, and go on from the stream's own state behind the endpoint."""

    reason: str
    lineage: str


@dataclass(frozen=True)
class Relaunch:
    """Drain the old blue to its end, then go on at the coordinates on the new server."""

    reason: str
    deployment_id: str
    old_host: str
    old_port: int
    coordinates: Coordinates
    form: ResumeForm


@dataclass(frozen=True)
class Resnapshot:
    """Rows are out of reach; only a new copy helps. Never done by itself."""

    reason: str
    hint: str


@dataclass(frozen=True)
class Escalate:
    """A person must look."""

    reason: str
    hint: str


Decision: TypeAlias = Hold | Resume | Relaunch | Resnapshot | Escalate

_STARTING = ("INITIALIZING", "CREATED", "RECONCILING")
_ENDING = ("FAILING", "CANCELLING", "SUSPENDED")
_ENDED = ("FAILED", "GONE", "FINISHED")


def decide(seen: Observation, policy: Policy) -> Decision:
    """Decide what to do about a stream.

    Total: it answers every observation. It never chooses Resume or Relaunch against a
    server whose identity is not proved, and never when something could not be read.
    """
    return _cannot_look(seen) or _by_server(seen, policy)


def _cannot_look(seen: Observation) -> Decision | None:
    incarnation = seen.incarnation
    if incarnation is None or seen.anchor is None:
        return Hold("not deployed: materialize the snapshot, then the stream")
    if seen.position_problem:
        return Escalate(
            f"the position cannot be read: {seen.position_problem}",
            "Nothing is started. Look at the checkpoint folder and at 'cdc-assets positions'",
        )
    wanted = _as_a_person_wants(seen, incarnation)
    if wanted is not None:
        return wanted
    if seen.job.state == "UNKNOWN":
        return Hold(f"{seen.runs_on} does not answer; unknown is not failed")
    if seen.job.state in _STARTING or seen.job.state in _ENDING:
        return Hold(f"the job is {seen.job.state}")
    deployment = seen.deployment
    if deployment and deployment.status == "SWITCHOVER_IN_PROGRESS":
        return Hold(f"switchover of {deployment.deployment_id} is in progress")
    if seen.endpoint.identity is None:
        return Hold(f"the source does not answer: {seen.endpoint.problem or 'no reason given'}")
    return None


def _as_a_person_wants(seen: Observation, incarnation: IncarnationView) -> Decision | None:
    """Respect what people did: a snapshot that is not deployed, a hold, a stop, a cancel."""
    if incarnation.kind == "snapshot":
        copying = seen.job.state == "RUNNING"
        return Hold("the snapshot is not deployed yet: materialize the stream", healthy=copying)
    if seen.intent == "hold":
        why = (
            f"automation holds: {seen.intent_reason}"
            if seen.intent_reason
            else ("a person stopped automation")
        )
        return Hold(f"{why}; 'cdc-assets release' allows it again")
    if incarnation.stopped:
        return Hold(f"incarnation {incarnation.number} was stopped on purpose")
    if seen.job.state == "CANCELED":
        return Hold("a person cancelled the job; materialize the stream to start it again")
    return None


def _by_server(seen: Observation, policy: Policy) -> Decision:
    anchor = seen.anchor
    if anchor is None:  # narrowed by _cannot_look
        return Hold("not deployed")
    sameness = sameness_of(anchor, seen.endpoint)
    if sameness == "same":
        return _same_server(seen, policy)
    if seen.deployment_problem:
        return Hold(f"another server may stand behind the endpoint, and RDS does not answer: "
                    f"{seen.deployment_problem}")  # fmt: skip
    by_gtid = _gtid_lineage(seen)
    if by_gtid is not None:
        return by_gtid
    if sameness == "unknown":
        return Escalate(
            f"cannot prove which server is behind {seen.endpoint.host}:{seen.endpoint.port}: "
            f"it does not hold {anchor.coordinates.file} any more",
            "Compare the server with 'cdc-assets positions', then take a new snapshot",
        )
    return _other_server(seen)


def sameness_of(anchor: Position, server: ServerView) -> Sameness:
    """Say whether a server is the one that a recorded position is about."""
    if server.identity is None:
        return "unknown"
    return same_server(anchor.identity, anchor.birth, server.identity, server.birth)


def _same_server(seen: Observation, policy: Policy) -> Decision:
    job = seen.job
    if job.state == "RUNNING":
        return _running(seen, policy)
    if job.state == "RESTARTING":
        if job.restarts > policy.max_restarts:
            return Resume(f"Flink restarted the job {job.restarts} times", "same server")
        return Hold("Flink restarts the job")
    if job.failure_class == "needs-operator":
        return Escalate(f"the job failed: {job.failure}", "Mend the cause, then materialize it")
    if seen.relaunches_in_window > policy.max_relaunches:
        return Escalate(
            f"{seen.relaunches_in_window} launches without progress; last failure: "
            f"{job.failure or 'none recorded'}",
            "Mend the cause, then materialize the stream",
        )
    lost = _out_of_reach(seen)
    if lost is not None:
        return lost
    if not job.state_path:
        return Escalate(
            f"the job is {job.state} and has no complete checkpoint",
            "Materialize the snapshot again",
        )
    return Resume(f"the job is {job.state}: {job.failure or 'no failure recorded'}", "same server")


def _running(seen: Observation, policy: Policy) -> Decision:
    job = seen.job
    if seen.snapshot_running:
        return Hold("snapshot is running", healthy=True)
    if seen.stalled_seconds >= policy.stall_seconds:
        return _out_of_reach(seen) or Resume(
            f"silent stall: RUNNING for {seen.stalled_seconds:.0f} s without a binlog connection",
            "same server",
        )
    if seen.frozen_seconds >= policy.frozen_seconds:
        return _out_of_reach(seen) or Resume(
            f"the position stands still for {seen.frozen_seconds:.0f} s while the source moves",
            "same server",
        )
    since = seen.job.seconds_since_checkpoint
    if since is not None and since > policy.checkpoint_seconds:
        return Escalate(
            f"RUNNING, but no checkpoint completed for {since:.0f} s "
            f"({job.failed_checkpoints} failed)",
            "Look at the job's checkpoints and back-pressure in Flink's UI",
        )
    if job.restarts > policy.max_restarts:
        return Escalate(f"Flink restarted the job {job.restarts} times", "Look at its exceptions")
    return Hold("; ".join(("running", *seen.paused)), healthy=True)


def _out_of_reach(seen: Observation) -> Decision | None:
    """Say so when the server cannot be read from the stream's position any more."""
    held = seen.endpoint.binlogs
    purged = seen.endpoint.gtid_purged
    for position in seen.positions:
        if position.gtid_set is not None and purged is not None:
            missing = purged.subtract(position.gtid_set)
            if missing:
                return _purged(missing)
        elif held is not None and not held.covers(
            position.coordinates.file, position.coordinates.pos
        ):
            return Resnapshot(
                f"the server does not hold {position.coordinates} any more",
                "Raise the binlog retention, then materialize the snapshot again",
            )
    return None


def _purged(missing: GtidSet) -> Resnapshot:
    return Resnapshot(
        f"{missing.count()} transactions are purged and were never read: {missing.format()}",
        "Raise the binlog retention, then materialize the snapshot again",
    )


def _gtid_lineage(seen: Observation) -> Decision | None:
    """Decide by GTID where both sides have it, on any server."""
    executed, purged = seen.endpoint.gtid_executed, seen.endpoint.gtid_purged
    if executed is None or purged is None or not seen.positions:
        return None
    if any(position.gtid_set is None for position in seen.positions):
        return None
    if seen.endpoint.read_only:
        return Hold("another server is behind the endpoint and it still refuses writes")
    for position in seen.positions:
        mine = position.gtid_set or GtidSet()
        ahead = mine.subtract(executed)
        if ahead:
            return Escalate(
                f"diverged: the server behind the endpoint never had {ahead.format()}",
                "Rows were delivered that the new server does not hold; reconcile, then decide",
            )
        missing = purged.subtract(mine)
        if missing:
            return _purged(missing)
    if not seen.job.state_path:
        return Escalate("another server is behind the endpoint and there is no state to restore",
                        "Materialize the snapshot again")  # fmt: skip
    return Resume("another server of the same GTID history is behind the endpoint", "gtid")


def _other_server(seen: Observation) -> Decision:
    deployment, old, anchor = seen.deployment, seen.old_blue, seen.anchor
    where = f"{seen.endpoint.host}:{seen.endpoint.port}"
    if seen.endpoint.readers:
        return Escalate(
            f"the job reads {where} with a position of another server",
            "Cancel the job; rows since the switch are unproved, so reconcile",
        )
    if deployment is None or deployment.status != "SWITCHOVER_COMPLETED":
        return Escalate(
            f"another server is behind {where}, and no completed blue/green switchover explains it",
            "Check the endpoint's DNS name and failovers; nothing is started",
        )
    if deployment.garbled:
        return Escalate(f"the coordinates event cannot be read: {deployment.garbled[0][:200]!r}",
                        "Read it in the RDS console; nothing is guessed")  # fmt: skip
    if len(deployment.coordinates) > 1:
        shown = ", ".join(str(c) for c in deployment.coordinates)
        return Escalate(f"events name more than one place: {shown}",
                        "Find out which one is green's; nothing is guessed")  # fmt: skip
    if not deployment.coordinates:
        if deployment.missing:
            return Escalate(f"no coordinates event: {deployment.missing}",
                            "Materialize the snapshot again")  # fmt: skip
        return Hold("switchover completed; waiting for the binlog coordinates event")
    if anchor is None or old is None or old.identity is None:
        problem = old.problem if old else "its name is not known"
        return Escalate(f"old blue cannot be asked: {problem}",
                        "Keep it until it is drained; open its security group")  # fmt: skip
    if sameness_of(anchor, old) != "same":
        return Escalate(
            f"{old.host}:{old.port} is not proved to be the server of the stream's position",
            "Nothing is started; compare it with 'cdc-assets positions'",
        )
    return _drainable(seen, deployment.coordinates[0], old)


def _drainable(seen: Observation, coordinates: Coordinates, old: ServerView) -> Decision:
    if not old.read_only:
        return Escalate(
            f"old blue {old.host}:{old.port} accepts writes, so its end is not frozen",
            "Set read_only on it; rows written there after the switchover are not on green",
        )
    held = seen.endpoint.binlogs
    if held is not None and not held.covers(coordinates.file, coordinates.pos):
        return Escalate(
            f"the server behind the endpoint does not hold {coordinates}",
            "It may not be the green of the event; nothing is started",
        )
    if seen.endpoint.read_only:
        return Hold("the new server still refuses writes")
    if not seen.job.state_path:
        return Escalate("there is no state to drain old blue with", "Materialize the snapshot")
    if seen.snapshot_running:
        return Resnapshot(
            "the switchover came during the snapshot; its splits hold positions of old blue",
            "Materialize the snapshot again",
        )
    deployment_id = seen.deployment.deployment_id if seen.deployment else ""
    form: ResumeForm = "transplant" if seen.stateful else "specific-offset"
    return Relaunch(
        "another server is behind the endpoint after a switchover without GTID",
        deployment_id,
        old.host,
        old.port,
        coordinates,
        form,
    )
