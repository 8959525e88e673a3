"""Payloads: what Flink's REST API and SQL Gateway send, turned into values.

Fields that Flink 1.20 and 2.x both send are read; others are left alone. A field that is missing
or of another type means that something else answers there, so it is an `EngineUnreachable`.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, TypeGuard, get_args

from cdc_assets.core.failure_text import innermost_cause
from cdc_assets.core.job import (
    Checkpoint,
    CheckpointCounts,
    CheckpointFacts,
    CheckpointStatus,
    ClusterFacts,
    ExceptionFacts,
    JobFacts,
    JobSettings,
    JobStatus,
    JobSummary,
    RestoredCheckpoint,
    VertexFacts,
)
from cdc_assets.errors import EngineUnreachable

if TYPE_CHECKING:
    from cdc_assets.flink.http import Json

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# What Flink writes for a checkpoint that lives in the job manager's memory.
_NO_PATH = "<checkpoint-not-externally-addressable>"
# The interval of a job that takes no checkpoints by itself: Java's Long.MAX_VALUE.
_NEVER = 2**63 - 1
_WRONG_SERVER = "See that the address is Flink's own and its version is supported"


class Payload:
    """A JSON object that is read field by field.

    Args:
        value: The parsed JSON.
        where: What it is, for the error: `Flink REST at http://...: /jobs/overview`.
    """

    def __init__(self, value: Json, where: str) -> None:
        if not isinstance(value, dict):
            raise EngineUnreachable(f"{where}: not a JSON object", hint=_WRONG_SERVER)
        self._value = value
        self._where = where

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string field."""
        value = self._value.get(key)
        if isinstance(value, str):
            return value
        if value is None and default is not None:
            return default
        raise self._bad(key, "a text")

    def integer(self, key: str, default: int | None = None) -> int:
        """Return a whole-number field."""
        value = self._value.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if value is None and default is not None:
            return default
        raise self._bad(key, "a whole number")

    def number(self, key: str) -> float | None:
        """Return a metric: a number, or a text that holds one; None for anything else."""
        value = self._value.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            return None
        try:
            figure = float(value)
        except ValueError:
            return None
        return figure if math.isfinite(figure) else None

    def flag(self, key: str, *, default: bool) -> bool:
        """Return a field that is true or false."""
        value = self._value.get(key)
        if isinstance(value, bool):
            return value
        if value is None:
            return default
        raise self._bad(key, "true or false")

    def time(self, key: str) -> datetime | None:
        """Return a field in epoch milliseconds; None where Flink writes -1 or nothing."""
        milliseconds = self.integer(key, -1)
        if milliseconds < 0:
            return None
        try:
            return _EPOCH + timedelta(milliseconds=milliseconds)
        except OverflowError:
            raise self._bad(key, "a time") from None

    def child(self, key: str) -> Payload:
        """Return a field that is an object."""
        return Payload(self._value.get(key), f"{self._where}: {key}")

    def optional(self, key: str) -> Payload | None:
        """Return a field that is an object, or None."""
        return None if self._value.get(key) is None else self.child(key)

    def children(self, key: str) -> tuple[Payload, ...]:
        """Return a field that is a list of objects."""
        value = self._value.get(key)
        if not isinstance(value, list):
            raise self._bad(key, "a list")
        return payloads(value, f"{self._where}: {key}")

    def values(self, key: str) -> tuple[Json, ...]:
        """Return a field that is a list of anything."""
        value = self._value.get(key)
        if not isinstance(value, list):
            raise self._bad(key, "a list")
        return tuple(value)

    def has(self, key: str) -> bool:
        """Return whether the field is there and not null."""
        return self._value.get(key) is not None

    def counts(self, key: str) -> tuple[tuple[str, int], ...]:
        """Return a field of name-to-number pairs, those that are not 0."""
        child = self.optional(key)
        if child is None:
            return ()
        return tuple(
            (name, count)
            for name in sorted(child._value)  # noqa: SLF001  the same class
            if (count := child.integer(name))
        )

    def texts(self) -> dict[str, str]:
        """Return the fields that are texts."""
        return {key: value for key, value in self._value.items() if isinstance(value, str)}

    def unknown(self, key: str, value: str) -> EngineUnreachable:
        """Return the error for a word that Flink is not known to use there."""
        return EngineUnreachable(
            f"{self._where}: field {key!r} has the unknown value {value[:40]!r}", hint=_WRONG_SERVER
        )

    def _bad(self, key: str, expected: str) -> EngineUnreachable:
        return EngineUnreachable(
            f"{self._where}: field {key!r} is not {expected}", hint=_WRONG_SERVER
        )


def payloads(value: Json, where: str) -> tuple[Payload, ...]:
    """Return a JSON list of objects, each to be read field by field."""
    if not isinstance(value, list):
        raise EngineUnreachable(f"{where}: not a JSON list", hint=_WRONG_SERVER)
    return tuple(Payload(item, where) for item in value)


def cluster_facts(payload: Payload) -> ClusterFacts:
    """Read `GET /overview`."""
    return ClusterFacts(
        version=payload.text("flink-version"),
        task_managers=payload.integer("taskmanagers"),
        slots_total=payload.integer("slots-total"),
        slots_available=payload.integer("slots-available"),
        jobs_running=payload.integer("jobs-running"),
    )


def job_summary(payload: Payload) -> JobSummary:
    """Read one entry of `GET /jobs/overview`."""
    return JobSummary(
        job_id=payload.text("jid"),
        name=payload.text("name"),
        status=job_status(payload, "state"),
        started_at=payload.time("start-time"),
        tasks=tuple(pair for pair in payload.counts("tasks") if pair[0] != "total"),
    )


def job_facts(payload: Payload, status: JobStatus) -> JobFacts:
    """Read `GET /jobs/:id`, whose own status may be old."""
    return JobFacts(
        job_id=payload.text("jid"),
        name=payload.text("name"),
        status=status,
        started_at=payload.time("start-time"),
        ended_at=payload.time("end-time"),
        vertices=tuple(
            VertexFacts(
                vertex_id=vertex.text("id"),
                name=vertex.text("name"),
                parallelism=vertex.integer("parallelism"),
                status=vertex.text("status"),
                tasks=vertex.counts("tasks"),
            )
            for vertex in payload.children("vertices")
        ),
    )


def job_settings(checkpointing: Payload | None, config: Payload) -> JobSettings:
    """Read `GET /jobs/:id/config`, and `.../checkpoints/config`, None where Flink has none."""
    interval = _NEVER if checkpointing is None else checkpointing.integer("interval")
    kept = None if checkpointing is None else checkpointing.optional("externalization")
    execution = config.optional("execution-config")
    given = None if execution is None else execution.optional("user-config")
    return JobSettings(
        checkpoint_seconds=None if interval >= _NEVER else interval / 1000,
        externalized=kept is not None
        and kept.flag("enabled", default=False)
        and not kept.flag("delete_on_cancellation", default=False),
        parameters={} if given is None else given.texts(),
    )


def exception_facts(payload: Payload) -> tuple[ExceptionFacts, ...]:
    """Read the `exceptionHistory` of `GET /jobs/:id/exceptions`, newest first.

    The older fields `root-exception` and `all-exceptions` are gone in Flink 2.
    """
    history = payload.optional("exceptionHistory")
    if history is None:
        return ()
    entries: list[Payload] = []
    for entry in history.children("entries"):
        entries.append(entry)
        # Failures of other tasks at the same moment; the cause may be among them.
        if entry.has("concurrentExceptions"):
            entries.extend(entry.children("concurrentExceptions"))
    return tuple(
        ExceptionFacts(
            name=entry.text("exceptionName"),
            cause=innermost_cause(entry.text("stacktrace", "")),
            stack_trace=entry.text("stacktrace", ""),
            occurred_at=entry.time("timestamp"),
            task_name=entry.text("taskName", ""),
            task_manager=entry.text("endpoint", ""),
        )
        for entry in entries
    )


def checkpoint_facts(job_id: str, payload: Payload) -> CheckpointFacts:
    """Read `GET /jobs/:id/checkpoints`."""
    counts = payload.child("counts")
    latest = payload.child("latest")
    restored = latest.optional("restored")
    return CheckpointFacts(
        job_id=job_id,
        counts=CheckpointCounts(
            restored=counts.integer("restored", 0),
            total=counts.integer("total", 0),
            in_progress=counts.integer("in_progress", 0),
            completed=counts.integer("completed", 0),
            failed=counts.integer("failed", 0),
        ),
        latest_completed=_optional_checkpoint(latest.optional("completed")),
        latest_savepoint=_optional_checkpoint(latest.optional("savepoint")),
        latest_failed=_optional_checkpoint(latest.optional("failed")),
        restored=None
        if restored is None
        else RestoredCheckpoint(
            checkpoint_id=restored.integer("id"),
            is_savepoint=restored.flag("is_savepoint", default=False),
            external_path=_path(restored),
            restored_at=restored.time("restore_timestamp"),
        ),
        history=tuple(checkpoint(entry) for entry in payload.children("history")),
    )


def checkpoint(payload: Payload) -> Checkpoint:
    """Read one checkpoint of the list."""
    return Checkpoint(
        checkpoint_id=payload.integer("id"),
        status=_checkpoint_status(payload),
        is_savepoint=payload.flag("is_savepoint", default=False),
        external_path=_path(payload),
        triggered_at=payload.time("trigger_timestamp"),
        acknowledged_at=payload.time("latest_ack_timestamp"),
        ends_job=payload.text("checkpoint_type", "") == "SYNC_SAVEPOINT",
        discarded=payload.flag("discarded", default=False),
        state_size_bytes=payload.integer("state_size", 0),
        failure_message=payload.text("failure_message", ""),
    )


def _optional_checkpoint(payload: Payload | None) -> Checkpoint | None:
    return None if payload is None else checkpoint(payload)


def _path(payload: Payload) -> str:
    path = payload.text("external_path", "")
    return "" if path == _NO_PATH else path


def job_status(payload: Payload, key: str) -> JobStatus:
    """Read one of Flink's job states."""
    value = payload.text(key)
    if _is_job_status(value):
        return value
    raise payload.unknown(key, value)


def _checkpoint_status(payload: Payload) -> CheckpointStatus:
    value = payload.text("status")
    if _is_checkpoint_status(value):
        return value
    raise payload.unknown("status", value)


def _is_job_status(value: str) -> TypeGuard[JobStatus]:
    return value in get_args(JobStatus)


def _is_checkpoint_status(value: str) -> TypeGuard[CheckpointStatus]:
    return value in get_args(CheckpointStatus)
