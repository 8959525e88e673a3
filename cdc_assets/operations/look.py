"""Look: what a person is told who asks now, without the memory that a sensor has."""

from __future__ import annotations

from cdc_assets.core.recovery import Decision, decide
from cdc_assets.operations.observe import Memory, Seen, observe
from cdc_assets.operations.recover import open_recovery
from cdc_assets.operations.runtime import StreamRuntime

BLOCKED = "blocked"
_MARGIN_SECONDS = 0.5


def recovery_at_work(rt: StreamRuntime) -> str:
    """Return the id of the recovery that is open and not blocked, empty without one.

    Until it is closed, what would be decided afresh is of no use to a person: the newest
    incarnation may be one that only drains old blue, or one that is not launched yet.

    Args:
        rt: The stream.
    """
    found = open_recovery(rt)
    if found is None or not found.is_open:
        return ""
    steps = rt.ledger.steps(rt.name, found.recovery_id)
    return "" if steps[-1].step == BLOCKED else found.recovery_id


def look_twice(rt: StreamRuntime) -> tuple[Seen, Decision]:
    """Look once, and again after the policy's stall time when no binlog connection was seen.

    A stall is a matter of time, so one look cannot tell it from a job that is starting.

    Args:
        rt: The stream.
    """
    seen = observe(rt, Memory())
    if seen.memory.unread_since is not None:
        rt.clock.sleep(rt.policy.stall_seconds + _MARGIN_SECONDS)
        seen = observe(rt, seen.memory)
    return seen, decide(seen.observation, rt.policy)
