"""ChildEngine: Flink, with jobs that a process of its own submits.

The process submits and ends. Whether the job is there, Flink says, not the process: what a
process prints is for people.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence

from cdc_assets.core.failure_text import classify_failure, innermost_cause
from cdc_assets.core.job import TERMINAL_STATUSES, JobGone
from cdc_assets.errors import (
    CdcError,
    CheckpointUnreadable,
    EngineRejected,
    EngineUnreachable,
)
from cdc_assets.flink.client import FlinkClient
from cdc_assets.flink.engine import Describer, FlinkControl, StateFolders
from cdc_assets.flink.http import redacted, shortened
from cdc_assets.flink.script_process import ScriptEnd
from cdc_assets.ports import Clock, Launch, Target

_DUPLICATE = re.compile(r"DuplicateJobSubmissionException|Job has already been submitted")


class ChildEngine(FlinkControl, ABC):
    """Flink, with jobs that a process of its own submits; a subclass runs it.

    Args:
        client: REST.
        folders: Where state lies.
        source: Describes the captured tables.
        target: Describes the target tables.
        budget_seconds: A process that takes longer is killed.
        secrets: Texts that no error may repeat.
        clock: Time.
    """

    def __init__(
        self,
        *,
        client: FlinkClient,
        folders: StateFolders,
        source: Describer,
        target: Target,
        budget_seconds: float,
        secrets: Sequence[str],
        clock: Clock,
    ) -> None:
        super().__init__(client=client, folders=folders, source=source, target=target, clock=clock)
        self._budget_seconds = budget_seconds
        self._secrets = tuple(secrets)

    @abstractmethod
    def _run(self, launch: Launch) -> ScriptEnd:
        """Run the process and wait for its end."""

    @abstractmethod
    def _name_of(self, launch: Launch) -> str:
        """Return what failed, for errors."""

    @abstractmethod
    def _trace_of(self, text: str) -> str:
        """Return the Java stack trace in an output, empty without one."""

    @property
    @abstractmethod
    def _hints(self) -> tuple[str, str]:
        """Return the next step after a failure, and after an end without a job."""

    def _reason_of(self, trace: str) -> str:
        """Return what a Java stack trace says in one line."""
        return innermost_cause(trace)

    def _submit(self, launch: Launch) -> None:
        """Run the process, and see that its job is there.

        Raises:
            EngineRejected: It failed, or submitted no job of the launch's id.
            CheckpointUnreadable: Flink cannot read the state to go on from.
            EngineUnreachable: Flink did not answer; the job may or may not exist.
        """
        before = self._known()
        end = self._run(launch)
        status = self._client.status(launch.job_id)
        if isinstance(status, JobGone):
            raise self._nothing(launch, end, sorted(self._known() - before))
        if end.code and status in TERMINAL_STATUSES and not _DUPLICATE.search(end.output):
            raise self._failure_of(launch, end)

    def _known(self) -> set[str]:
        return {job.job_id for job in self._client.jobs()}

    def _nothing(self, launch: Launch, end: ScriptEnd, others: Sequence[str]) -> CdcError:
        """Return the error for a process that left no job of the launch's id."""
        if end.code:
            return self._failure_of(launch, end)
        name = self._name_of(launch)
        if end.code is None:
            return EngineUnreachable(
                f"{name} did not end within {self._budget_seconds:.0f} s and was killed",
                hint="It must submit and end; see that Flink answers",
            )
        seen = f"; jobs that appeared meanwhile: {', '.join(others)}" if others else ""
        return EngineRejected(
            f"{name} submitted no job under its id{seen}",
            hint=self._hints[1],
        )

    def _failure_of(self, launch: Launch, end: ScriptEnd) -> CdcError:
        """Return what the output of a failure means: Java's innermost cause, or the end."""
        text = redacted(end.output, self._secrets)
        name = self._name_of(launch)
        trace = self._trace_of(text)
        if "\n\tat " not in trace:
            reason = _last_line(text) or f"it ended with code {end.code}"
            return EngineRejected(f"{name}: {shortened(reason)}", hint=self._hints[0])
        reason, failure = shortened(self._reason_of(trace)), classify_failure(trace)
        if failure.kind == "state-unreadable":
            return CheckpointUnreadable(reason, path=launch.restore_path or "")
        if failure.failure_class == "transient":
            return EngineUnreachable(f"{name}: {reason}", hint=failure.advice)
        hint = self._hints[0] if failure.kind == "unknown" else failure.advice
        return EngineRejected(f"{name}: {reason}", hint=hint)


def _last_line(text: str) -> str:
    """Return the last line, which in Python is the error; without the module of its class."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return re.sub(r"^(?:[a-z_]\w*\.)+(?=[A-Z])", "", lines[-1]) if lines else ""
