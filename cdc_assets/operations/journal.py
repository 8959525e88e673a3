"""Journal: the recorded steps of one recovery, so that a killed recovery goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cdc_assets.core.recoveries import WORKER
from cdc_assets.errors import Superseded
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.ports import StepRow

Detail = Mapping[str, object]
Report = Callable[[StepRow], None]
# Another worker takes a number now and then; all of these in a row only where many race.
_ATTEMPTS = 20


def silent(_: StepRow) -> None:
    """Report nothing."""


def unasked() -> None:
    """Go on."""


def append(
    rt: StreamRuntime,
    name: str,
    step: str,
    detail: Detail,
    *,
    before: Callable[[], None] = unasked,
) -> StepRow:
    """Append a step with the next free number, and return it.

    Args:
        rt: The stream.
        name: Of the recovery, or of what else the step belongs to.
        step: What was done.
        detail: What is needed to go on after it.
        before: Called before each attempt.

    Raises:
        Superseded: Others took each number at the same time.
    """
    for _ in range(_ATTEMPTS):
        before()
        seq = len(rt.ledger.steps(rt.name, name)) + 1
        row = StepRow(rt.name, name, seq, step, detail, rt.clock.now())
        if rt.ledger.append_step(row):
            return row
    raise Superseded(
        f"{name}: others recorded {_ATTEMPTS} steps before {step!r} could be",
        hint="Nothing was done; try again",
    )


@dataclass(frozen=True)
class Journal:
    """Steps of one recovery.

    Attributes:
        rt: The stream.
        recovery: Recovery id.
        worker: Who works on it. The newest worker counts: an older one, which a sensor
            took for dead, stops at its next step.
        report: Called with each step that this worker appends.
    """

    rt: StreamRuntime
    recovery: str
    worker: str
    report: Report = silent

    def find(self, step: str) -> Detail | None:
        """Return the detail of a step that was done, by any worker."""
        rows = self.rt.ledger.steps(self.rt.name, self.recovery)
        return next((row.detail for row in rows if row.step == step), None)

    def once(self, step: str, action: Callable[[], Detail]) -> Detail:
        """Do a step unless it is recorded, record it, and return what is recorded.

        The action must be repeatable: a worker that dies between the action and the
        record leaves it to the next worker to do it again. When two workers record the
        same step, the first record counts for both.
        """
        done = self.find(step)
        if done is not None:
            return done
        self.stay()
        detail = action()
        done = self.find(step)
        return done if done is not None else self.note(step, detail)

    def note(self, step: str, detail: Detail) -> Detail:
        """Append a step; another worker's row of the same number only shifts this one."""
        self.report(append(self.rt, self.recovery, step, detail, before=self.stay))
        return detail

    def sign_on(self) -> None:
        """Record that this worker takes the recovery up."""
        self.report(append(self.rt, self.recovery, WORKER, {"worker": self.worker}))

    def stay(self) -> None:
        """Go on only while no newer worker signed on.

        Raises:
            Superseded: One did.
        """
        rows = self.rt.ledger.steps(self.rt.name, self.recovery)
        newest = next((row for row in reversed(rows) if row.step == WORKER), None)
        if newest is not None and newest.detail.get("worker") != self.worker:
            raise Superseded(
                f"recovery {self.recovery}: worker {newest.detail.get('worker')} took over",
                hint="Nothing to do; it goes on there",
            )
