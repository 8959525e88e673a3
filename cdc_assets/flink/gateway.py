"""SqlGateway: Flink's SQL Gateway, REST version 2, which Flink 1.20 and 2.x both serve.

A statement is answered in the text of its own author, so the gateway's errors may echo SQL with
passwords in it. Everything that leaves this module is redacted first.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdc_assets.core.failure_text import classify_failure, innermost_cause
from cdc_assets.errors import (
    CheckpointUnreadable,
    ConfigurationError,
    EngineError,
    EngineRejected,
    EngineUnreachable,
    JobExists,
)
from cdc_assets.flink.http import Transport, redacted, shortened
from cdc_assets.flink.models import Payload
from cdc_assets.flink.polling import SystemClock, poll
from cdc_assets.flink.rest import checked_id

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    import requests

    from cdc_assets.flink.http import Json, Method, Reply
    from cdc_assets.flink.polling import Clock

# Flink keeps this option out of its documentation, but each executor obeys it: see
# org.apache.flink.configuration.PipelineOptionsInternal.
JOB_ID_OPTION = "$internal.pipeline.job-id"
JOB_NAME_OPTION = "pipeline.name"
RESTORE_PATH_OPTION = "execution.state-recovery.path"
CLAIM_MODE_OPTION = "execution.state-recovery.claim-mode"
_RESERVED_OPTIONS = frozenset(
    {
        JOB_ID_OPTION,
        JOB_NAME_OPTION,
        RESTORE_PATH_OPTION,
        CLAIM_MODE_OPTION,
        "execution.savepoint.path",
        "execution.savepoint-restore-mode",
    }
)

_TOKEN = re.compile(r"/result/(\d+)")
_HANDLE = re.compile(r"[0-9A-Za-z-]{1,64}")
_DUPLICATE = re.compile(r"DuplicateJobSubmissionException|Job has already been submitted")
# The gateway's answer when it could not reach the job manager: the job may exist or not.
_UNANSWERED = re.compile(
    r"ConnectException|Connection refused|Connection reset|TimeoutException|RetryException"
    r"|UnknownHostException|NoRouteToHostException|ConnectTimeout"
)
_SESSION_GONE = re.compile(r"Session '.*' does not exist")
_MAX_ROWS = 10_000
_HEADLINE_CHARACTERS = 80


class _FlinkSilentError(EngineUnreachable):
    """The gateway answered; Flink did not answer the gateway. Asking again changes nothing."""


class _RestoreRefusedError(EngineRejected):
    """Flink cannot read the state that a job was to go on from."""


@dataclass(frozen=True)
class StatementResult:
    """What a statement returned.

    Args:
        columns: The names of the columns.
        rows: The rows, as JSON values.
        job_id: The job that the statement started, empty when it started none.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Json, ...], ...]
    job_id: str = ""


class SqlGateway:
    """One SQL Gateway.

    Args:
        url: `http://host:port` of the gateway, or of a proxy before it.
        timeout_seconds: The deadline of one request.
        session: A prepared session, for a proxy that asks for a login.
        secrets: Values that must not appear in any error.
        clock: Where the time of polling comes from.

    Raises:
        ConfigurationError: When the URL is not usable.

    Example:
        >>> SqlGateway("http://127.0.0.1:8083", timeout_seconds=5, secrets=["geheim"])
        SqlGateway('http://127.0.0.1:8083')
    """

    def __init__(
        self,
        url: str,
        timeout_seconds: float = 10.0,
        session: requests.Session | None = None,
        *,
        secrets: Sequence[str] = (),
        clock: Clock | None = None,
    ) -> None:
        self._http = Transport(
            url,
            service="SQL gateway",
            field="sql_gateway_url",
            timeout_seconds=timeout_seconds,
            session=session,
        )
        self._url = url
        self._secrets = tuple(secrets)
        self._clock = SystemClock() if clock is None else clock

    def __repr__(self) -> str:
        """Return the address, without the secrets."""
        return f"SqlGateway({self._url!r})"

    def version(self) -> str:
        """Return the Flink version of the gateway.

        Raises:
            EngineUnreachable: No answer in time, or not a gateway's.
        """
        return self.call("GET", "/info", doing="asked for its version").text("version")

    @contextlib.contextmanager
    def open_session(self, properties: Mapping[str, str] | None = None) -> Generator[SqlSession]:
        """Open a session and close it at the end; jobs that it started run on.

        Args:
            properties: Flink settings of the session.

        Yields:
            The session.

        Raises:
            EngineRejected: The gateway refused the session.
            EngineUnreachable: No answer in time.
        """
        body: dict[str, Json] = {"properties": dict(properties or {})}
        opened = self.call("POST", "/v2/sessions", body=body, doing="opening a session")
        handle = _handle(opened.text("sessionHandle"), self._http.place)
        try:
            yield SqlSession(self, handle)
        finally:
            # A session that cannot be closed ends by itself after its idle time. The error of
            # the work done in it, if there is one, is the one to see.
            with contextlib.suppress(EngineError):
                self.call("DELETE", f"/v2/sessions/{handle}", doing="closing a session")

    def submit_job(
        self,
        ddl: Sequence[str],
        statement: str,
        *,
        job_id: str,
        job_name: str,
        restore_path: str | None = None,
        config: Mapping[str, str] | None = None,
        budget_seconds: float = 60.0,
    ) -> str:
        """Start one job under an id that the caller chose.

        The job's settings go with the statement, not with the session, so that none of them
        sticks to a later statement; the session is new as well.

        Args:
            ddl: CREATE statements, one each.
            statement: One INSERT, or one EXECUTE STATEMENT SET.
            job_id: 32 hexadecimal digits, new for each incarnation.
            job_name: The name in Flink's UI; it holds no secret.
            restore_path: A savepoint or retained checkpoint to go on from; it is not claimed,
                so Flink never deletes it.
            config: More settings of the job.
            budget_seconds: How long to wait for the submission.

        Returns:
            The job id.

        Raises:
            JobExists: A job with this id was submitted before; it is not doubled.
            CheckpointUnreadable: Flink cannot read the restore path. The job is then in Flink's
                list as FAILED, so the next attempt needs an id of its own.
            EngineRejected: Flink refused a statement or the job.
            EngineUnreachable: No answer; the job may exist, or appear later. Submitting again
                under the same id is safe, under another id it is not.
            ConfigurationError: The id or a setting is not usable.
        """
        options = dict(config or {})
        for key in sorted(options.keys() & _RESERVED_OPTIONS):
            raise ConfigurationError("this setting is made by the launch itself", field=key)
        options |= {JOB_ID_OPTION: checked_id(job_id), JOB_NAME_OPTION: job_name}
        # By default the gateway sends a submission again for a minute while the job manager is
        # away, also after its session was closed: the job would appear when nobody waits for it.
        options |= {"rest.retry.max-attempts": "0"}
        if restore_path is not None:
            options |= {RESTORE_PATH_OPTION: restore_path, CLAIM_MODE_OPTION: "NO_CLAIM"}
        with self.open_session() as session:
            for text in ddl:
                session.configure(text)
            try:
                result = session.execute(statement, options, budget_seconds=budget_seconds)
            except _RestoreRefusedError as error:
                raise CheckpointUnreadable(error.message, path=restore_path or "") from None
        if result.job_id != job_id:
            raise EngineRejected(
                f"{self._http.place}: the job runs as {result.job_id or 'no job'}, not as {job_id}",
                hint="Cancel it; this Flink does not obey a chosen job id",
            )
        return job_id

    def call(
        self,
        method: Method,
        path: str,
        *,
        doing: str,
        body: Mapping[str, Json] | None = None,
        params: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> Payload:
        """Send one request of a session.

        Args:
            method: The HTTP method.
            path: The path below the gateway's address.
            doing: What for, as errors say it.
            body: Sent as JSON.
            params: The query.
            timeout_seconds: A deadline of its own for a request that may take long.

        Returns:
            The answer.

        Raises:
            EngineRejected: The gateway refused; JobExists when the job was there before.
            EngineUnreachable: No answer in time, or the gateway had none from Flink.
        """
        reply = self._http.request(
            method, path, body=body, params=params, timeout_seconds=timeout_seconds
        )
        if not reply.is_good:
            raise self._refusal(reply, doing)
        return Payload(reply.body, f"{self._http.place}: {doing}")

    def headline(self, statement: str) -> str:
        """Return the beginning of a statement, up to its columns and options."""
        head = re.split(r"\(|\bWITH\b", statement, maxsplit=1, flags=re.IGNORECASE)[0]
        return redacted(" ".join(head.split()), self._secrets)[:_HEADLINE_CHARACTERS].strip()

    @property
    def clock(self) -> Clock:
        """Where the time of polling comes from."""
        return self._clock

    def _refusal(self, reply: Reply, doing: str) -> EngineError:
        # The first item is a summary that says nothing, the last one holds the stack trace.
        trace = redacted(reply.errors[-1], self._secrets) if reply.errors else ""
        reason = shortened(redacted(innermost_cause(trace), self._secrets))
        message = f"{self._http.place}: {doing}: {reason or f'status {reply.status}'}"
        if _DUPLICATE.search(trace):
            return JobExists(message, status=reply.status)
        if not reply.errors:
            return EngineUnreachable(message, hint="See that the gateway runs")
        if _UNANSWERED.search(reason):
            return _FlinkSilentError(message, hint="See that Flink runs; ask for the job by its id")
        failure = classify_failure(trace)
        if failure.kind == "state-unreadable":
            return _RestoreRefusedError(reason, status=reply.status, hint=failure.advice)
        hint = "Correct the statement" if failure.kind == "unknown" else failure.advice
        if _SESSION_GONE.search(reason):
            hint = "The session ended by its idle time, or the gateway was restarted"
        return EngineRejected(message, status=reply.status, hint=hint)


class SqlSession:
    """An open session of a gateway; `SqlGateway.open_session` makes it.

    Args:
        gateway: The gateway.
        handle: The gateway's name for the session.
    """

    def __init__(self, gateway: SqlGateway, handle: str) -> None:
        self._gateway = gateway
        self._path = f"/v2/sessions/{handle}"

    def configure(self, statement: str, *, timeout_seconds: float | None = None) -> None:
        """Run a statement that changes the session: SET, CREATE, DROP, USE, ADD JAR.

        Args:
            statement: One statement.
            timeout_seconds: A deadline of its own; the gateway answers when it is done.

        Raises:
            EngineRejected: The gateway refused it.
            EngineUnreachable: No answer in time.
        """
        self._gateway.call(
            "POST",
            f"{self._path}/configure-session",
            body={"statement": statement},
            doing=self._gateway.headline(statement),
            timeout_seconds=timeout_seconds,
        )

    def execute(
        self,
        statement: str,
        execution_config: Mapping[str, str] | None = None,
        *,
        budget_seconds: float = 60.0,
    ) -> StatementResult:
        """Run a statement and return its rows.

        Args:
            statement: One statement; a query must be bounded.
            execution_config: Flink settings of this statement only.
            budget_seconds: How long to wait for the end of the result.

        Returns:
            The rows, and the job that the statement started.

        Raises:
            EngineRejected: The gateway refused it, or the result is too large.
            EngineUnreachable: No answer in time, or no end within the budget.
            JobExists: The job id of the settings was submitted before.
        """
        doing = self._gateway.headline(statement)
        body: dict[str, Json] = {
            "statement": statement,
            "executionConfig": dict(execution_config or {}),
        }
        started = self._gateway.call("POST", f"{self._path}/statements", body=body, doing=doing)
        handle = _handle(started.text("operationHandle"), doing)
        operation = f"{self._path}/operations/{handle}"
        reader = _ResultReader(self._gateway, f"{operation}/result", doing)
        done = poll(reader.advance, budget_seconds=budget_seconds, clock=self._gateway.clock)
        if done is None:
            with contextlib.suppress(EngineError):  # the error to see is the one below
                self._gateway.call("POST", f"{operation}/cancel", doing=f"giving up {doing}")
            raise EngineUnreachable(
                f"{doing}: not done after {budget_seconds:g} s",
                hint="It may still be done later; send it again only under the same job id",
            )
        if isinstance(done, _FlinkSilentError):
            raise done
        return done


class _ResultReader:
    """Follows the pages of one result."""

    def __init__(self, gateway: SqlGateway, path: str, doing: str) -> None:
        self._gateway = gateway
        self._path = path
        self._doing = doing
        self._token = "0"  # noqa: S105  a page number, Flink calls it token
        self._columns: tuple[str, ...] = ()
        self._rows: list[tuple[Json, ...]] = []
        self._job_id = ""

    def advance(self) -> StatementResult | _FlinkSilentError | None:
        """Read pages until the result ends, or is not ready."""
        while True:
            try:
                page = self._gateway.call(
                    "GET",
                    f"{self._path}/{self._token}",
                    params={"rowFormat": "JSON"},
                    doing=self._doing,
                )
            except _FlinkSilentError as error:
                return error  # raised, it would be taken for a gateway that is away for a moment
            kind = page.text("resultType")
            if kind == "NOT_READY":
                return None
            self._job_id = page.text("jobID", "") or self._job_id
            before = len(self._rows)
            if page.has("results"):
                self._take(page.child("results"))
            following = _TOKEN.search(page.text("nextResultUri", ""))
            if kind == "EOS" or following is None:
                return StatementResult(self._columns, tuple(self._rows), self._job_id)
            self._token = following[1]
            if len(self._rows) == before:
                return None  # while a query runs, each page is empty and leads to one more

    def _take(self, results: Payload) -> None:
        self._columns = tuple(column.text("name") for column in results.children("columns"))
        self._rows.extend(row.values("fields") for row in results.children("data"))
        if len(self._rows) > _MAX_ROWS:
            raise EngineRejected(f"{self._doing}: more than {_MAX_ROWS} rows", hint="Limit it")


def _handle(text: str, where: str) -> str:
    """Return a handle that is safe in a path."""
    if not _HANDLE.fullmatch(text):
        raise EngineUnreachable(f"{where}: the handle is not one of the SQL gateway's")
    return text
