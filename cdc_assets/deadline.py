"""Deadline: give a call a limited time, whatever it waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class DeadlinePassed(Exception):
    """The call did not return in time; it ends by its own timeouts, and nobody waits for it."""


class _Answer(Generic[T]):
    def __init__(self) -> None:
        self.values: list[T] = []
        self.error: Exception | None = None


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return what a call returns, or raise when it takes too long.

    Every client has timeouts of its own, but one tick makes a dozen calls, and Dagster
    cuts a tick without a word. The thread is a daemon: it never holds a process up.

    Args:
        seconds: How long to wait.
        call: Must be harmless when nobody waits for it any more.

    Raises:
        DeadlinePassed: It did not return in time.

    Example:
        >>> within(5, lambda: 2 + 2)
        4
    """
    answer: _Answer[T] = _Answer()

    def run() -> None:
        try:
            answer.values.append(call())
        except Exception as error:  # noqa: BLE001 - raised again in the waiting thread
            answer.error = error

    thread = threading.Thread(target=run, name="within", daemon=True)
    thread.start()
    thread.join(seconds)
    if answer.error is not None:
        raise answer.error
    if not answer.values:
        message = f"no answer within {seconds:.0f} s"
        raise DeadlinePassed(message)
    return answer.values[0]
