"""look_twice: one answer for a person who asks now, without the memory that a sensor has."""

from __future__ import annotations

from cdc_assets.core.recovery import Decision, decide
from cdc_assets.operations.observe import Memory, Seen, observe
from cdc_assets.operations.runtime import StreamRuntime

_MARGIN_SECONDS = 0.5


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
