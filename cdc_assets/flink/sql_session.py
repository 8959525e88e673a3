"""SqlSession: statements of one session of a SQL Gateway, and what its refusals mean."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdc_assets.core.failure_text import classify_failure, innermost_cause
from cdc_assets.errors import EngineError, EngineRejected, EngineUnreachable, JobExists
from cdc_assets.flink.http import Transport, redacted, shortened
from cdc_assets.flink.models import Payload
from cdc_assets.flink.polling import poll

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cdc_assets.flink.http import Json, Method, Reply
    from cdc_assets.flink.polling import Clock

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


class FlinkSilentError(EngineUnreachable):
    """The gateway answered; Flink did not answer the gateway. Asking again changes nothing."""


class RestoreRefusedError(EngineRejected):
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


class GatewayApi:
    """Requests to one SQL Gateway.

    The gateway answers in the words of the statement, so an error may echo SQL with passwords in
    it. Everything that leaves this class is redacted first.

    Args:
        transport: Where the gateway is.
        secrets: Values that must not appear in any error.
        clock: Where the time of polling comes from.
    """

    def __init__(self, transport: Transport, *, secrets: Sequence[str], clock: Clock) -> None:
        self._http = transport
        self._secrets = tuple(secrets)
        self._clock = clock

    @property
    def place(self) -> str:
        """The gateway and its address, as errors show them."""
        return self._http.place

    @property
    def clock(self) -> Clock:
        """Where the time of polling comes from."""
        return self._clock

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
        """Send one request.

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
            return FlinkSilentError(message, hint="See that Flink runs; ask for the job by its id")
        failure = classify_failure(trace)
        if failure.kind == "state-unreadable":
            return RestoreRefusedError(reason, status=reply.status, hint=failure.advice)
        hint = "Correct the statement" if failure.kind == "unknown" else failure.advice
        if _SESSION_GONE.search(reason):
            hint = "The session ended by its idle time, or the gateway was restarted"
        return EngineRejected(message, status=reply.status, hint=hint)


class SqlSession:
    """An open session of a gateway; `SqlGateway.open_session` makes it.

    Args:
        api: The gateway.
        handle: The gateway's name for the session.
    """

    def __init__(self, api: GatewayApi, handle: str) -> None:
        self._api = api
        self._path = f"/v2/sessions/{handle}"

    def configure(
        self, statement: str, *, doing: str = "", timeout_seconds: float | None = None
    ) -> None:
        """Run a statement that changes the session: SET, CREATE, DROP, USE, ADD JAR.

        Args:
            statement: One statement.
            doing: What for, as errors say it; by default the statement's beginning.
            timeout_seconds: A deadline of its own; the gateway answers when it is done.

        Raises:
            EngineRejected: The gateway refused it.
            EngineUnreachable: No answer in time.
        """
        self._api.call(
            "POST",
            f"{self._path}/configure-session",
            body={"statement": statement},
            doing=doing or self._api.headline(statement),
            timeout_seconds=timeout_seconds,
        )

    def execute(
        self,
        statement: str,
        execution_config: Mapping[str, str] | None = None,
        *,
        doing: str = "",
        budget_seconds: float = 60.0,
    ) -> StatementResult:
        """Run a statement and return its rows.

        Args:
            statement: One statement; a query must be bounded.
            execution_config: Flink settings of this statement only.
            doing: What for, as errors say it; by default the statement's beginning.
            budget_seconds: How long to wait for the end of the result.

        Returns:
            The rows, and the job that the statement started.

        Raises:
            EngineRejected: The gateway refused it, or the result is too large.
            EngineUnreachable: No answer in time, or no end within the budget.
            JobExists: The job id of the settings was submitted before.
        """
        doing = doing or self._api.headline(statement)
        body: dict[str, Json] = {
            "statement": statement,
            "executionConfig": dict(execution_config or {}),
        }
        started = self._api.call("POST", f"{self._path}/statements", body=body, doing=doing)
        handle = checked_handle(started.text("operationHandle"), doing)
        operation = f"{self._path}/operations/{handle}"
        reader = _ResultReader(self._api, f"{operation}/result", doing)
        done = poll(reader.advance, budget_seconds=budget_seconds, clock=self._api.clock)
        if done is None:
            with contextlib.suppress(EngineError):  # the error to see is the one below
                self._api.call("POST", f"{operation}/cancel", doing=f"giving up {doing}")
            raise EngineUnreachable(
                f"{doing}: not done after {budget_seconds:g} s",
                hint="It may still be done later; send it again only under the same job id",
            )
        if isinstance(done, FlinkSilentError):
            raise done
        return done


class _ResultReader:
    """Follows the pages of one result."""

    def __init__(self, api: GatewayApi, path: str, doing: str) -> None:
        self._api = api
        self._path = path
        self._doing = doing
        self._token = "0"  # noqa: S105  a page number, Flink calls it token
        self._columns: tuple[str, ...] = ()
        self._rows: list[tuple[Json, ...]] = []
        self._job_id = ""

    def advance(self) -> StatementResult | FlinkSilentError | None:
        """Read pages until the result ends, or is not ready."""
        while True:
            try:
                page = self._api.call(
                    "GET",
                    f"{self._path}/{self._token}",
                    params={"rowFormat": "JSON"},
                    doing=self._doing,
                )
            except FlinkSilentError as error:
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


def checked_handle(text: str, where: str) -> str:
    """Return a handle that is safe in a path."""
    if not _HANDLE.fullmatch(text):
        raise EngineUnreachable(f"{where}: the handle is not one of the SQL gateway's")
    return text
