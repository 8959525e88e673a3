"""Names and order of a recovery's steps, and which recovery is open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CLOSED = "closed"
WORKER = "worker"


@dataclass(frozen=True)
class Recovery:
    """One recovery of one incarnation.

    Attributes:
        recovery_id: `{stream}:{incarnation}`, with `.n` when that one was closed before.
        is_open: Whether steps exist and the last one is not `closed`.
    """

    recovery_id: str
    is_open: bool


def current(stream: str, incarnation: int, steps: Sequence[tuple[str, str]]) -> Recovery:
    """Return the open recovery of a stream, or the id that the next one gets.

    An open recovery of an older incarnation comes first: it launched the newer ones.

    Args:
        stream: Name.
        incarnation: Newest incarnation.
        steps: (recovery, step) of the stream, oldest first.
    """
    prefix = f"{stream}:"
    last = {
        recovery: step
        for recovery, step in steps
        if recovery.startswith(prefix) and "/" not in recovery
    }
    for recovery, step in last.items():
        if step != CLOSED:
            return Recovery(recovery, is_open=True)
    base = f"{prefix}{incarnation}"
    if base not in last:
        return Recovery(base, is_open=False)
    again = 2
    while f"{base}.{again}" in last:
        again += 1
    return Recovery(f"{base}.{again}", is_open=False)
