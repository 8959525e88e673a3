"""What the tests of several targets wait for, and what they leave behind: nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cdc_assets.operations.launch import newest
from cdc_assets.operations.runtime import StreamRuntime
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


def records(target: KafkaTarget, topic: str) -> list[tuple[object, object]]:
    """Return a topic's committed records."""
    found = target.records(topic, timeout_seconds=60)
    return [(json.loads(key), None if value is None else json.loads(value)) for key, value in found]
