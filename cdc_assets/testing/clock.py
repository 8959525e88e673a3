"""FrozenClock: time that passes only when somebody sleeps."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

START = datetime(2026, 1, 1, 12, 0, tzinfo=timezone.utc)


class FrozenClock:
    """A clock for tests, as `ports.Clock` wants it.

    Args:
        start: The first moment; must have a time zone.

    Example:
        >>> clock = FrozenClock()
        >>> clock.after(3, lambda: print("three seconds later"))
        >>> clock.sleep(5)
        three seconds later
    """

    def __init__(self, start: datetime = START) -> None:
        if start.tzinfo is None:
            message = "start needs a time zone"
            raise ValueError(message)
        self._start = start.astimezone(timezone.utc)
        self._elapsed = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def now(self) -> datetime:
        """Return the time, UTC."""
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """Return the seconds since the start."""
        return self._elapsed

    def sleep(self, seconds: float) -> None:
        """Let time pass, and run what is due on the way, at its own moment and in order."""
        end = self._elapsed + max(seconds, 0.0)
        while self._due and self._due[0][0] <= end:
            at, _, action = heapq.heappop(self._due)
            self._elapsed = max(self._elapsed, at)
            action()
        # An action may have slept itself.
        self._elapsed = max(self._elapsed, end)

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Run `action` when this much time has passed."""
        self._count += 1
        heapq.heappush(self._due, (self._elapsed + seconds, self._count, action))
