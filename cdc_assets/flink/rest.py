"""JobApi: single requests to Flink's REST API, with what a refusal means.

Gone and unreachable are told apart here. Flink has three spellings of "no such job": a 404 from
most pages, a 500 from `/jobs/:id/status`, and a failure inside an asynchronous operation that was
accepted. Any other 404 or 500 proves nothing about the job.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cdc_assets.core.failure_text import innermost_cause
from cdc_assets.core.job import JobGone
from cdc_assets.errors import ConfigurationError, EngineRejected, EngineUnreachable
from cdc_assets.flink.http import shortened
from cdc_assets.flink.models import Payload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdc_assets.flink.http import Json, Method, Reply, Transport

_ID = re.compile(r"[0-9a-f]{32}")
_SERVER_ERROR = 500


class JobApi:
    """Requests about one cluster's jobs.

    Args:
        transport: Where the cluster is.
    """

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    def get(self, path: str) -> Payload:
        """Return the JSON object of a page that is not about one job."""
        return Payload(self.json(path), self.where(path))

    def json(self, path: str, params: Mapping[str, str] | None = None) -> Json:
        """Return the JSON of a page."""
        reply = self._http.request("GET", path, params=params)
        self._refuse("GET", path, reply)
        return reply.body

    def get_of_job(
        self, job_id: str, path: str, params: Mapping[str, str] | None = None
    ) -> Payload | JobGone:
        """Return the JSON object of one of a job's pages.

        Args:
            job_id: The job.
            path: What follows `/jobs/:id`.
            params: The query.
        """
        full = f"/jobs/{checked_id(job_id)}{path}"
        reply = self._http.request("GET", full, params=params)
        if says_gone(job_id, *reply.errors):
            return JobGone(job_id)
        self._refuse("GET", full, reply)
        return Payload(reply.body, self.where(full))

    def change(
        self,
        method: Method,
        job_id: str,
        path: str,
        *,
        body: Mapping[str, Json] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Reply | JobGone:
        """Ask for a change of a job."""
        full = f"/jobs/{checked_id(job_id)}{path}"
        reply = self._http.request(method, full, body=body, params=params)
        if says_gone(job_id, *reply.errors):
            return JobGone(job_id)
        self._refuse(method, full, reply)
        return reply

    def where(self, path: str) -> str:
        """Return how errors name a page."""
        return f"{self._http.place}: {path}"

    def _refuse(self, method: Method, path: str, reply: Reply) -> None:
        """Raise what a bad answer means; do nothing for a good one."""
        if reply.is_good:
            return
        reason = "; ".join(innermost_cause(error) for error in reply.errors[-1:])
        message = shortened(f"{self.where(f'{method} {path}')}: status {reply.status}: {reason}")
        # Flink answers 5xx while a job manager is elected or starts: nothing is known then.
        # A refusal without a reason is a proxy's.
        if reply.status >= _SERVER_ERROR or not reply.errors:
            raise EngineUnreachable(message.rstrip(": "), hint="The next tick asks again")
        raise EngineRejected(message, status=reply.status, hint="Look at the job in Flink's UI")


def says_gone(job_id: str, *texts: str) -> bool:
    """Return whether Flink says that it does not know the job.

    Example:
        >>> says_gone("ab", "org.apache.flink.runtime.rest.NotFoundException: Job ab not found")
        True
        >>> says_gone("ab", "Unable to load requested file /jobs/ab.")
        False
    """
    signs = (f"Job {job_id} not found", f"Could not find Flink job ({job_id})")
    return any(sign in text for sign in signs for text in texts)


def checked_id(identifier: str) -> str:
    """Return an id that is safe in a path: 32 hexadecimal digits."""
    if not _ID.fullmatch(identifier):
        raise ConfigurationError("not 32 hexadecimal digits", field="job_id", value=identifier)
    return identifier
