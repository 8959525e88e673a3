"""Crash injection: a port call that fails or kills the process, before or after its effect."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal, TypeVar, cast

When = Literal["before", "after"]
P = TypeVar("P")


class Killed(BaseException):
    """Stands for a killed process: no `except Exception` may swallow it."""


class Faults:
    """Failures that wait for the next calls of one fake.

    A fake calls `check(method, "before")` and `check(method, "after")` around the effect.
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, When], deque[BaseException]] = {}

    def fail_next(
        self, method: str, *, when: When = "before", error: BaseException | None = None
    ) -> None:
        """Let the next call of a method fail; several calls queue up.

        Args:
            method: Name of the port's method.
            when: `before` loses the effect, `after` loses only the answer.
            error: What is raised; `Killed` without it.
        """
        raised = Killed(f"{when} {method}") if error is None else error
        self._waiting.setdefault((method, when), deque()).append(raised)

    def check(self, method: str, when: When) -> None:
        """Raise what waits for this moment, if anything does."""
        queue = self._waiting.get((method, when))
        if queue:
            raise queue.popleft()


class KillSwitch:
    """Counts calls over several ports and kills at the n-th, for tests that kill at every step.

    Args:
        at: Number of the call that kills, from 1; 0 never kills, so that calls are counted.
        when: Before or after the call's effect.

    Example:
        >>> switch = KillSwitch(at=2)
        >>> items = switch.wrap([1, 2, 3])
        >>> items.index(3)
        2
        >>> try:
        ...     items.index(1)
        ... except Killed as killed:
        ...     print(killed)
        before call 2, list.index
    """

    def __init__(self, at: int = 0, *, when: When = "before") -> None:
        self.at = at
        self.when: When = when
        self.calls: list[str] = []

    def wrap(self, port: P) -> P:
        """Return a stand-in for a port whose method calls are counted."""
        return cast("P", _Counted(self, port))

    def run(self, label: str, call: Callable[[], object]) -> object:
        """Count one call, and kill before or after it when it is the one."""
        self.calls.append(label)
        number = len(self.calls)
        hit = number == self.at
        if hit and self.when == "before":
            raise Killed(f"before call {number}, {label}")
        answer = call()
        if hit:
            raise Killed(f"after call {number}, {label}")
        return answer


class _Counted:
    def __init__(self, switch: KillSwitch, port: object) -> None:
        self._switch = switch
        self._port = port

    def __getattr__(self, name: str) -> object:
        value: object = getattr(self._port, name)
        if name.startswith("_") or not callable(value):
            return value
        label = f"{type(self._port).__name__}.{name}"

        def counted(*args: object, **options: object) -> object:
            return self._switch.run(label, lambda: value(*args, **options))

        return counted
