"""FlinkClient: Flink's REST API, answered in values.

A job that the cluster does not know is the value `JobGone`. A cluster that does not answer, or
answers something that is not Flink's protocol, is the error `EngineUnreachable`. The two are
never mixed up: only a job that is known to be gone may be started again.

Flink serves most of a job's pages from a cache of `web.refresh-interval` (3 s by default), so
they may show a job RUNNING that is over. What decisions hang on, the status, is asked from
`/jobs/:id/status` and `/jobs/overview`, which are not cached.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from cdc_assets.core.job import CheckpointFacts, JobGone, LaunchOutcome
from cdc_assets.errors import EngineRejected, SavepointFailed
from cdc_assets.flink.http import Transport
from cdc_assets.flink.metrics import job_figures, progress_of
from cdc_assets.flink.models import (
    checkpoint_facts,
    cluster_facts,
    exception_facts,
    job_facts,
    job_settings,
    job_status,
    job_summary,
    payloads,
)
from cdc_assets.flink.polling import SystemClock, poll
from cdc_assets.flink.rest import JobApi, checked_id
from cdc_assets.flink.triggers import (
    carry_out,
    checkpoint_trigger,
    savepoint_of_stop,
    savepoint_trigger,
    stop_trigger,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

    from cdc_assets.core.job import (
        ClusterFacts,
        ExceptionFacts,
        JobFacts,
        JobSettings,
        JobStatus,
        JobSummary,
        LaunchState,
        SourceProgress,
    )
    from cdc_assets.flink.polling import Clock

SavepointFormat = Literal["CANONICAL", "NATIVE"]
CancelOutcome = Literal["ACCEPTED", "ALREADY_OVER", "GONE"]

_CONFLICT = 409
_NO_CHECKPOINTING = re.compile(r"Checkpointing (?:has|was|is) not (?:been )?enabled", re.IGNORECASE)
_END_STATES: Mapping[JobStatus, LaunchState] = {
    "FINISHED": "FINISHED",
    "FAILED": "FAILED",
    "CANCELED": "CANCELED",
}


class FlinkClient:
    """Flink's REST API at one address.

    Args:
        rest_url: `http://host:port` of the job manager, or of a proxy before it.
        timeout_seconds: The deadline of one request.
        session: A prepared session, for a proxy that asks for a login.
        clock: Where the time of polling comes from.

    Raises:
        ConfigurationError: When the URL is not usable.

    Example:
        >>> FlinkClient("http://127.0.0.1:8081", timeout_seconds=5)
        FlinkClient('http://127.0.0.1:8081')
    """

    def __init__(
        self,
        rest_url: str,
        timeout_seconds: float = 10.0,
        session: requests.Session | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        transport = Transport(
            rest_url,
            service="Flink REST",
            field="rest_url",
            timeout_seconds=timeout_seconds,
            session=session,
        )
        self._api = JobApi(transport)
        self._url = rest_url
        self._clock = SystemClock() if clock is None else clock

    def __repr__(self) -> str:
        """Return the address, without anything that the session holds."""
        return f"FlinkClient({self._url!r})"

    def overview(self) -> ClusterFacts:
        """Return what the cluster says about itself.

        Raises:
            EngineUnreachable: No answer in time, or not Flink's.
        """
        return cluster_facts(self._api.get("/overview"))

    def setting(self, key: str) -> str | None:
        """Return one setting of the job manager's configuration, None when it is not set.

        Args:
            key: Flink's name of it.

        Raises:
            EngineUnreachable: No answer in time, or not Flink's.
        """
        found = payloads(self._api.json("/jobmanager/config"), "Flink's configuration")
        return next((each.text("value") for each in found if each.text("key") == key), None)

    def class_path(self) -> tuple[str, ...]:
        """Return the class path of the job manager, as far as it says it.

        Raises:
            EngineUnreachable: No answer in time, or not Flink's.
        """
        found = self._api.get("/jobmanager/environment").values("classpath")
        return tuple(path for each in found for path in str(each).split(":"))

    def jobs(self) -> tuple[JobSummary, ...]:
        """Return the jobs that the cluster knows, ended ones included.

        Raises:
            EngineUnreachable: No answer in time, or not Flink's.
        """
        entries = self._api.get("/jobs/overview").children("jobs")
        return tuple(job_summary(entry) for entry in entries)

    def status(self, job_id: str) -> JobStatus | JobGone:
        """Return the status that a job has now.

        Args:
            job_id: 32 hexadecimal digits.

        Raises:
            EngineUnreachable: No answer in time, or not Flink's.
        """
        payload = self._api.get_of_job(job_id, "/status")
        return payload if isinstance(payload, JobGone) else job_status(payload, "status")

    def job(self, job_id: str) -> JobFacts | JobGone:
        """Return what Flink says about a job; its status is that of now.

        Args:
            job_id: 32 hexadecimal digits.

        Raises:
            EngineUnreachable: No answer in time, or not Flink's.
        """
        payload = self._api.get_of_job(job_id, "")
        if isinstance(payload, JobGone):
            return payload
        status = self.status(job_id)
        return status if isinstance(status, JobGone) else job_facts(payload, status)

    def settings_of(self, job_id: str) -> JobSettings | JobGone:
        """Return what a job was really submitted with, whoever submitted it.

        Args:
            job_id: 32 hexadecimal digits.

        Raises:
            EngineUnreachable: No answer in time, or not Flink's.
        """
        config = self._api.get_of_job(job_id, "/config")
        if isinstance(config, JobGone):
            return config
        try:
            checkpointing = self._api.get_of_job(job_id, "/checkpoints/config")
        except EngineRejected as error:
            if not _NO_CHECKPOINTING.search(error.message):
                raise
            checkpointing = None
        if isinstance(checkpointing, JobGone):
            return checkpointing
        return job_settings(checkpointing, config)

    def exceptions(self, job_id: str, *, limit: int = 20) -> tuple[ExceptionFacts, ...] | JobGone:
        """Return the recorded failures of a job, newest first.

        Args:
            job_id: The job.
            limit: How many entries of the history are asked for.

        Raises:
            EngineUnreachable: No answer in time, or not Flink's.
        """
        payload = self._api.get_of_job(job_id, "/exceptions", {"maxExceptions": str(limit)})
        return payload if isinstance(payload, JobGone) else exception_facts(payload)

    def checkpoints(self, job_id: str) -> CheckpointFacts | JobGone:
        """Return what Flink says about a job's checkpoints; it may be some seconds old.

        Args:
            job_id: The job.

        Raises:
            EngineUnreachable: No answer in time, or not Flink's.
        """
        try:
            payload = self._api.get_of_job(job_id, "/checkpoints")
        except EngineRejected as error:
            if _NO_CHECKPOINTING.search(error.message):
                return CheckpointFacts(job_id, enabled=False)
            raise
        return payload if isinstance(payload, JobGone) else checkpoint_facts(job_id, payload)

    def take_checkpoint(self, job_id: str, *, trigger_id: str, budget_seconds: float) -> int:
        """Take a checkpoint now, wait for it, and return its number.

        The number leads to the files: Flink puts them into `<dir>/<job id>/chk-<number>`. The
        page of details is not asked: Flink 1.20 answers it for checkpoints that its cached
        statistics do not hold yet from a second cache whose key is the number without the
        job id, so it can be another job's checkpoint (seen; runtime/rest/handler/job/
        checkpoints/CheckpointStatsCache).

        Args:
            job_id: The job; each of its tasks must run.
            trigger_id: 32 hexadecimal digits; a repeated call with the same id takes one only.
            budget_seconds: How long to wait.

        Raises:
            SavepointFailed: Flink could not complete it, or not within the budget.
            EngineRejected: The job is gone.
            EngineUnreachable: No answer in time.
        """
        trigger = checkpoint_trigger(job_id, trigger_id)
        done = carry_out(self._api, trigger, budget_seconds=budget_seconds, clock=self._clock)
        return done.integer("checkpointId")

    def savepoint(
        self,
        job_id: str,
        directory: str,
        *,
        trigger_id: str,
        savepoint_format: SavepointFormat = "CANONICAL",
        budget_seconds: float,
    ) -> str:
        """Take a savepoint and let the job run on.

        Args:
            job_id: The job.
            directory: The folder that gets it, as a URL that Flink's machines can write.
            trigger_id: 32 hexadecimal digits; a repeated call with the same id takes one only.
            savepoint_format: CANONICAL can be read by each state backend.
            budget_seconds: How long to wait.

        Returns:
            The path of the savepoint.

        Raises:
            SavepointFailed: Flink could not complete it, or not within the budget.
            EngineRejected: The job is gone.
            EngineUnreachable: No answer in time.
        """
        trigger = savepoint_trigger(job_id, trigger_id, directory, savepoint_format)
        done = carry_out(self._api, trigger, budget_seconds=budget_seconds, clock=self._clock)
        return done.text("location")

    def stop_with_savepoint(
        self,
        job_id: str,
        directory: str,
        *,
        trigger_id: str,
        savepoint_format: SavepointFormat = "CANONICAL",
        budget_seconds: float,
    ) -> str:
        """Take a savepoint and end the job with it; the sources are not drained.

        A repeated call returns the same savepoint: by its trigger id, and, after Flink forgot
        that, by the statistics of the ended job, as long as Flink knows the job.

        Args:
            job_id: The job.
            directory: The folder that gets it, as a URL that Flink's machines can write.
            trigger_id: 32 hexadecimal digits.
            savepoint_format: CANONICAL keeps the state in `_metadata` itself when it is small.
            budget_seconds: How long to wait.

        Returns:
            The path of the savepoint.

        Raises:
            SavepointFailed: Flink could not complete it, or not within the budget. The job may
                still run.
            EngineRejected: The job is gone.
            EngineUnreachable: No answer in time.
        """
        trigger = stop_trigger(job_id, trigger_id, directory, savepoint_format)
        try:
            done = carry_out(self._api, trigger, budget_seconds=budget_seconds, clock=self._clock)
        except SavepointFailed:
            if self.status(job_id) != "FINISHED":
                raise
            path = savepoint_of_stop(self._api, job_id, directory, clock=self._clock)
            if path is None:
                raise
            return path
        return done.text("location")

    def cancel(self, job_id: str) -> CancelOutcome:
        """Ask Flink to cancel a job; it is not over when this returns.

        Args:
            job_id: The job.

        Returns:
            ACCEPTED also for a job that was canceled before; ALREADY_OVER for one that ended in
            another way.

        Raises:
            EngineRejected: Flink refused.
            EngineUnreachable: No answer in time.
        """
        try:
            reply = self._api.change("PATCH", job_id, "", params={"mode": "cancel"})
        except EngineRejected as error:
            if error.status == _CONFLICT:
                return "ALREADY_OVER"
            raise
        return "GONE" if isinstance(reply, JobGone) else "ACCEPTED"

    def wait_terminal(self, job_id: str, *, budget_seconds: float) -> JobStatus | JobGone:
        """Wait until a job is over.

        Args:
            job_id: The job.
            budget_seconds: How long to wait.

        Returns:
            A terminal status, or that the job is gone.

        Raises:
            EngineRejected: It is not over within the budget.
            EngineUnreachable: The last call in the budget had no answer.
        """
        last: list[JobStatus] = []

        def over() -> JobStatus | JobGone | None:
            status = self.status(job_id)
            if isinstance(status, JobGone) or status in _END_STATES:
                return status
            last.append(status)
            return None

        status = poll(over, budget_seconds=budget_seconds, clock=self._clock)
        if status is None:
            raise EngineRejected(
                f"job {job_id} is still {last[-1]} after {budget_seconds:g} s",
                hint="Do not start the stream again while it is there",
            )
        return status

    def wait_running(self, job_id: str, *, budget_seconds: float) -> LaunchOutcome:
        """Wait until each task of a job runs, or until it cannot any more.

        Args:
            job_id: The job.
            budget_seconds: How long to wait.

        Returns:
            The outcome, with the newest recorded failure unless the job runs.

        Raises:
            EngineUnreachable: The last call in the budget had no answer.
        """
        checked_id(job_id)
        last: list[JobStatus] = []

        def settled() -> LaunchOutcome | None:
            found = [job for job in self.jobs() if job.job_id == job_id]
            if not found:
                return LaunchOutcome(job_id, "GONE")
            last.append(found[0].status)
            if found[0].is_up:
                return LaunchOutcome(job_id, "RUNNING", found[0].status)
            state = _END_STATES.get(found[0].status)
            return None if state is None else LaunchOutcome(job_id, state, found[0].status)

        outcome = poll(settled, budget_seconds=budget_seconds, clock=self._clock)
        if outcome is None:
            outcome = LaunchOutcome(job_id, "PENDING", last[-1] if last else None)
        if outcome.state in {"RUNNING", "FINISHED", "GONE"}:
            return outcome
        failures = self.exceptions(job_id)
        cause = None if isinstance(failures, JobGone) or not failures else failures[0]
        return LaunchOutcome(job_id, outcome.state, outcome.status, cause)

    def restarts(self, job_id: str) -> int | None:
        """Return how often Flink itself restarted a job; None while Flink has no figure.

        Args:
            job_id: The job; Flink has no figure either for one that it does not know.

        Raises:
            EngineUnreachable: No answer in time, or not Flink's.
        """
        return job_figures(self._api, checked_id(job_id), "numRestarts").get("numRestarts")

    def source_progress(self, job_id: str) -> tuple[SourceProgress, ...] | JobGone:
        """Return how many records each source of a job has handed on, some seconds ago.

        Args:
            job_id: The job.

        Returns:
            One entry per source operator; none while the tasks report nothing yet.

        Raises:
            EngineUnreachable: No answer in time, or not Flink's.
        """
        facts = self.job(job_id)
        if isinstance(facts, JobGone):
            return facts
        return tuple(
            progress
            for vertex in facts.sources
            for progress in progress_of(self._api, job_id, vertex)
        )
