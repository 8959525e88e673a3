"""SqlGateway: Flink's SQL Gateway, REST version 2, which Flink 1.20 and 2.x both serve.

One job is one submission in a session of its own, under an id that the caller chose.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from cdc_assets.errors import (
    CheckpointUnreadable,
    ConfigurationError,
    EngineError,
    EngineRejected,
)
from cdc_assets.flink.http import Transport
from cdc_assets.flink.polling import SystemClock
from cdc_assets.flink.rest import checked_id
from cdc_assets.flink.sql_session import (
    GatewayApi,
    RestoreRefusedError,
    SqlSession,
    checked_handle,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    import requests

    from cdc_assets.flink.http import Json
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
        transport = Transport(
            url,
            service="SQL gateway",
            field="sql_gateway_url",
            timeout_seconds=timeout_seconds,
            session=session,
        )
        self._api = GatewayApi(
            transport, secrets=secrets, clock=SystemClock() if clock is None else clock
        )
        self._url = url

    def __repr__(self) -> str:
        """Return the address, without the secrets."""
        return f"SqlGateway({self._url!r})"

    def version(self) -> str:
        """Return the Flink version of the gateway.

        Raises:
            EngineUnreachable: No answer in time, or not a gateway's.
        """
        return self._api.call("GET", "/info", doing="asked for its version").text("version")

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
        opened = self._api.call("POST", "/v2/sessions", body=body, doing="opening a session")
        handle = checked_handle(opened.text("sessionHandle"), self._api.place)
        try:
            yield SqlSession(self._api, handle)
        finally:
            # A session that cannot be closed ends by itself after its idle time. The error of
            # the work done in it, if there is one, is the one to see.
            with contextlib.suppress(EngineError):
                self._api.call("DELETE", f"/v2/sessions/{handle}", doing="closing a session")

    def run_all(self, statements: Sequence[str]) -> None:
        """Run statements one after the other in a session of their own.

        Raises:
            EngineRejected: Flink refused one; the ones before it are done.
            EngineUnreachable: No answer in time.
        """
        with self.open_session() as session:
            for statement in statements:
                session.execute(statement)

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
            except RestoreRefusedError as error:
                raise CheckpointUnreadable(error.message, path=restore_path or "") from None
        if result.job_id != job_id:
            raise EngineRejected(
                f"{self._api.place}: the job runs as {result.job_id or 'no job'}, not as {job_id}",
                hint="Cancel it; this Flink does not obey a chosen job id",
            )
        return job_id
