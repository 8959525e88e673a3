"""SystemClock: the clock of the machine."""

from __future__ import annotations

import time
from datetime import datetime, timezone


class SystemClock:
    """Time and sleeping, as `ports.Clock` wants them."""

    def now(self) -> datetime:
        """Return the time, UTC."""
        return datetime.now(timezone.utc)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)
