"""Poll: ask again and again until there is an answer or the budget is used up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol, TypeVar

from cdc_assets.errors import EngineUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_SECONDS = 0.2
_FIRST_PAUSE_SECONDS = 0.05

T = TypeVar("T")


class Clock(Protocol):
    """Where time comes from; a test brings its own."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let that many seconds pass."""
        ...


class SystemClock:
    """The clock of the machine."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let that many seconds pass."""
        time.sleep(seconds)


def poll(
    ask: Callable[[], T | None],
    *,
    budget_seconds: float,
    clock: Clock,
) -> T | None:
    """Call `ask` until it returns something.

    A job manager that does not answer is asked again: it may be restarting.

    Args:
        ask: Returns None for "not yet".
        budget_seconds: How long to go on; `ask` is called once in any case.
        clock: Where time comes from; the pauses double up to `POLL_SECONDS`.

    Returns:
        What `ask` returned, or None when the budget is used up.

    Raises:
        EngineUnreachable: When the last call in the budget had no answer.
    """
    deadline = clock.monotonic() + budget_seconds
    pause = _FIRST_PAUSE_SECONDS
    while True:
        silence: EngineUnreachable | None = None
        try:
            answer = ask()
        except EngineUnreachable as error:
            silence = error
            answer = None
        if answer is not None:
            return answer
        left = deadline - clock.monotonic()
        if left <= 0:
            if silence is not None:
                raise silence
            return None
        clock.sleep(min(pause, left))
        pause = min(pause * 2, POLL_SECONDS)
