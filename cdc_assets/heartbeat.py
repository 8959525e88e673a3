"""Heartbeat: a run says in its log that its process lives, and a sensor reads it there.

A run whose process was killed stays STARTED in Dagster for ever, and a wait of minutes is
normal inside a recovery. Only a sign of life tells the two apart.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Protocol

import dagster as dg

BEAT_SECONDS = 5.0


class Log(Protocol):
    """The part of Dagster's log that is needed here."""

    def debug(self, msg: str) -> None:
        """Write one line."""
        ...


@contextmanager
def heartbeat(log: Log, *, every_seconds: float = BEAT_SECONDS) -> Generator[None]:
    """Write a sign of life into a run's log while the block runs.

    Args:
        log: `context.log` of the run.
        every_seconds: Between two signs.
    """
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(every_seconds):
            try:
                log.debug("at work")
            except Exception:  # noqa: BLE001, S112 - a busy event log must not end the signs
                continue

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(BEAT_SECONDS)


def last_sign(instance: dg.DagsterInstance, run_id: str) -> datetime | None:
    """Return when a run last wrote anything into its log."""
    newest = instance.get_records_for_run(run_id, limit=1, ascending=False).records
    if not newest:
        return None
    return datetime.fromtimestamp(newest[0].event_log_entry.timestamp, tz=timezone.utc)
