"""Explanation: what would be done about a stream now, why, and from which facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cdc_assets.core.observation import Observation, ServerView
from cdc_assets.core.recoveries import Recovery
from cdc_assets.core.recovery import Decision, Escalate, Hold, Relaunch, Resnapshot, Resume


@dataclass(frozen=True)
class Explanation:
    """One answer of `cdc-assets explain`.

    Attributes:
        stream: Name.
        decision: The decision as a word.
        reason: Why.
        healthy: Whether the stream runs and nothing is to be done.
        facts: (name, value) pairs of what was seen.
        steps: What automation would do, in order; empty when it would do nothing.
    """

    stream: str
    decision: str
    reason: str
    healthy: bool
    facts: tuple[tuple[str, str], ...]
    steps: tuple[str, ...]


def explain(
    seen: Observation, decision: Decision, recovery: Recovery | None, done: Sequence[str]
) -> Explanation:
    """Put a decision into words; nothing is done.

    Args:
        seen: What was seen.
        decision: What follows from it.
        recovery: The open recovery, or the next one.
        done: Steps of the open recovery so far.
    """
    return Explanation(
        stream=seen.stream,
        decision=type(decision).__name__,
        reason=decision.reason,
        healthy=isinstance(decision, Hold) and decision.healthy,
        facts=tuple(_facts(seen, recovery, done)),
        steps=_going_on(recovery, done) or _steps(seen, decision),
    )


def _facts(
    seen: Observation, recovery: Recovery | None, done: Sequence[str]
) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = [("automation", seen.intent)]
    row = seen.incarnation
    if row is None:
        return [*facts, ("incarnation", "none")]
    stopped = ", stopped on purpose" if row.stopped else ""
    facts.append(("incarnation", f"{row.number} ({row.kind}{stopped}) on {row.identity.label()}"))
    job = f"{row.job_id} {seen.job.state}"
    facts.append(("job", f"{job}: {seen.job.failure}" if seen.job.failure else job))
    if seen.job.seconds_since_checkpoint is not None:
        facts.append(("newest checkpoint", f"{seen.job.seconds_since_checkpoint:.0f} s ago"))
    facts += [("position", str(position)) for position in seen.positions]
    facts += [("paused table", each) for each in seen.paused]
    if seen.position_problem:
        facts.append(("position", f"cannot be read: {seen.position_problem}"))
    facts.append(("source", _server(seen.endpoint)))
    if seen.old_blue is not None:
        facts.append(("old blue", _server(seen.old_blue)))
    facts += _deployment(seen)
    if recovery is not None and recovery.is_open:
        facts.append(("open recovery", f"{recovery.recovery_id}: {', '.join(done)}"))
    return facts


def _deployment(seen: Observation) -> list[tuple[str, str]]:
    if seen.deployment_problem:
        return [("RDS", f"does not answer: {seen.deployment_problem}")]
    found = seen.deployment
    if found is None:
        return []
    where = ", ".join(str(each) for each in found.coordinates) or found.missing or "none yet"
    return [("deployment", f"{found.deployment_id} {found.status}, coordinates: {where}")]


def _server(view: ServerView) -> str:
    at = _address(view)
    if view.identity is None:
        return f"{at} does not answer: {view.problem or 'no reason given'}"
    parts = [f"{at} is {view.identity.label()}"]
    if view.end is not None:
        parts.append(f"end {view.end}")
    if view.read_only is not None:
        parts.append("read-only" if view.read_only else "writable")
    if view.readers is not None:
        parts.append(f"binlog connections {view.readers}")
    return ", ".join(parts)


def _address(view: ServerView) -> str:
    return f"{view.host}:{view.port}" if view.host else "unknown"


def _going_on(recovery: Recovery | None, done: Sequence[str]) -> tuple[str, ...]:
    """An open recovery is carried to its end, whatever would be decided now."""
    if recovery is None or not recovery.is_open or not done or done[-1] == "blocked":
        return ()
    return (f"recovery {recovery.recovery_id} goes on after its step {done[-1]!r}",)


def _steps(seen: Observation, decision: Decision) -> tuple[str, ...]:
    if isinstance(decision, Hold):
        return ()
    if isinstance(decision, (Escalate, Resnapshot)):
        return (f"ask a person: {decision.hint}",)
    number = seen.incarnation.number if seen.incarnation else 0
    last = ("compare row counts", "close the recovery")
    if isinstance(decision, Resume):
        return (
            f"stop what is left of incarnation {number}, with a savepoint if it still runs",
            f"prove the server behind {_address(seen.endpoint)} ({decision.lineage})",
            f"launch incarnation {number + 1} from the newest state",
            *last,
        )
    return _relaunch(seen, decision, number, last)


def _relaunch(
    seen: Observation, decision: Relaunch, number: int, last: tuple[str, ...]
) -> tuple[str, ...]:
    go_on = (
        f"copy the savepoint with its position rewritten to {decision.coordinates}"
        if decision.form == "transplant"
        else f"leave the savepoint and start at {decision.coordinates}"
    )
    return (
        f"prove that {_address(seen.endpoint)} holds {decision.coordinates}",
        f"stop what is left of incarnation {number}",
        f"read old blue {decision.old_host}:{decision.old_port} to its frozen end",
        "stop with a savepoint",
        go_on,
        "launch the next incarnation there",
        *last,
    )
