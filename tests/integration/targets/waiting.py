"""What the tests of several targets do and wait for, and what they leave behind: nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cdc_assets.lab.stage import Stage
from cdc_assets.lab.workload import Writer
from cdc_assets.operations.launch import newest
from cdc_assets.operations.recover import Outcome, recover
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.ports import StepRow
from cdc_assets.targets.kafka import KafkaTarget


def until(what: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Wait until it is true."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.5)


@contextmanager
def closing_job(rt: StreamRuntime) -> Iterator[None]:
    """Cancel the stream at the end."""
    try:
        yield
    finally:
        row = newest(rt)
        if row is not None:
            rt.engine.cancel(row.job_id, budget_seconds=60)


def switched_over(stage: Stage, rt: StreamRuntime, *, first_id: int) -> tuple[Outcome, int]:
    """Upgrade the source under a writer and recover the stream; return how, and the rows written.

    Args:
        stage: The lab.
        rt: The stream, which runs.
        first_id: Of the writer's orders.
    """
    writer = Writer(stage.source, first_id=first_id)

    def end_when_reading(step: StepRow) -> None:
        if step.step == "reading":
            time.sleep(2)
            writer.stop()

    writer.start()
    try:
        time.sleep(3)
        stage.switch_over(stage.available_deployment())
        outcome = recover(rt, worker="test", report=end_when_reading)
    finally:
        writer.stop()
    return outcome, writer.written


def records(target: KafkaTarget, topic: str) -> list[tuple[object, object]]:
    """Return a topic's committed records."""
    found = target.records(topic, timeout_seconds=60)
    return [(json.loads(key), None if value is None else json.loads(value)) for key, value in found]
