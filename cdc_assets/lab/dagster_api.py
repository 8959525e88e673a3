"""DagsterApi: the few GraphQL calls that a demonstration needs, over the webserver."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import requests

from cdc_assets.errors import LabError

_ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
_LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on InvalidSubsetError { message }
  }
}"""
_RUN = """
query Run($id: ID!, $cursor: String) {
  runOrError(runId: $id) { __typename ... on Run { status } }
  logsForRun(runId: $id, afterCursor: $cursor) {
    __typename
    ... on EventConnection {
      cursor
      events {
        __typename
        ... on MessageEvent { message level }
        ... on ExecutionStepFailureEvent { error { message cause { message } } }
        ... on ObservationEvent { description }
      }
    }
  }
}"""


class DagsterApi:
    """One Dagster webserver.

    Args:
        url: Its address.
        location: Code location.
    """

    def __init__(self, url: str, *, location: str = "mysql_cdc") -> None:
        self._url = f"{url}/graphql"
        self._location = location
        self._session = requests.Session()

    def materialize(
        self,
        keys: Sequence[Sequence[str]],
        *,
        tell: Callable[[str], None],
        budget_seconds: float,
    ) -> None:
        """Materialize assets in one run and wait for its end.

        Args:
            keys: Asset keys.
            tell: Gets the messages of the run's log.
            budget_seconds: How long to wait.

        Raises:
            LabError: The run was refused, failed, or did not end.
        """
        selection = {
            "repositoryLocationName": self._location,
            "repositoryName": "__repository__",
            "pipelineName": "__ASSET_JOB",
            "assetSelection": [{"path": list(key)} for key in keys],
            # None takes the checks that belong to the assets.
            "assetCheckSelection": None,
        }
        params = {"selector": selection, "runConfigData": {}, "mode": "default"}
        reply = self._call(_LAUNCH, {"params": params})
        launched = cast("Mapping[str, object]", reply["launchRun"])
        if launched["__typename"] != "LaunchRunSuccess":
            raise LabError(f"Dagster refused the run: {launched}")
        run = cast("Mapping[str, str]", launched["run"])
        self._follow(run["runId"], tell, budget_seconds)

    def _follow(self, run_id: str, tell: Callable[[str], None], budget_seconds: float) -> None:
        deadline = time.monotonic() + budget_seconds
        cursor: str | None = None
        failure = ""
        while time.monotonic() < deadline:
            reply = self._call(_RUN, {"id": run_id, "cursor": cursor})
            logs = cast("Mapping[str, object]", reply["logsForRun"])
            cursor = cast("str | None", logs.get("cursor")) or cursor
            for event in cast("list[Mapping[str, object]]", logs.get("events") or []):
                failure = _failure(event) or failure
                if event["__typename"] == "LogMessageEvent" and event.get("level") != "DEBUG":
                    tell(str(event["message"]))
            status = cast("Mapping[str, str]", reply["runOrError"]).get("status", "")
            if status in _ENDED:
                if status != "SUCCESS":
                    raise LabError(f"run {run_id} is {status}: {failure}", hint="See the UI")
                return
            time.sleep(0.3)
        raise LabError(f"run {run_id} did not end within {budget_seconds:.0f} s", hint="See the UI")

    def _call(self, query: str, variables: Mapping[str, object]) -> Mapping[str, object]:
        try:
            reply = self._session.post(
                self._url, json={"query": query, "variables": dict(variables)}, timeout=30
            )
            body = cast("Mapping[str, object]", reply.json())
        except (requests.RequestException, ValueError) as error:
            raise LabError(f"{self._url} does not answer: {type(error).__name__}") from error
        if body.get("errors"):
            raise LabError(f"Dagster refused a query: {str(body['errors'])[:500]}")
        return cast("Mapping[str, object]", body["data"])


def _failure(event: Mapping[str, object]) -> str:
    if event["__typename"] != "ExecutionStepFailureEvent":
        return ""
    error = cast("Mapping[str, object] | None", event.get("error")) or {}
    cause = cast("Mapping[str, object] | None", error.get("cause")) or {}
    return " ".join(str(cause.get("message") or error.get("message") or "").split())[:500]
