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


def silent(_: StepRow) -> None:
    """Report nothing."""


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
        while True:
            self.stay()
            seq = len(self.rt.ledger.steps(self.rt.name, self.recovery)) + 1
            row = StepRow(self.rt.name, self.recovery, seq, step, detail, self.rt.clock.now())
            if self.rt.ledger.append_step(row):
                self.report(row)
                return detail

    def sign_on(self) -> None:
        """Record that this worker takes the recovery up."""
        while True:
            seq = len(self.rt.ledger.steps(self.rt.name, self.recovery)) + 1
            detail = {"worker": self.worker}
            row = StepRow(self.rt.name, self.recovery, seq, WORKER, detail, self.rt.clock.now())
            if self.rt.ledger.append_step(row):
                self.report(row)
                return

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
