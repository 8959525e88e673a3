"""ConnectClient: the REST API of one Kafka Connect worker, with a deadline on every call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import quote, urlsplit

import requests

from cdc_assets.errors import ConfigurationError, EngineRejected, EngineUnreachable

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

_MAX_ANSWER_BYTES = 32 * 1024 * 1024
_SHOWN = 500
_OK, _REDIRECT, _BAD_REQUEST, _NOT_FOUND, _CONFLICT = 200, 300, 400, 404, 409
# The worker asks the source whether the settings are right before it answers.
_CREATE_SECONDS = 60.0


@dataclass(frozen=True)
class TaskStatus:
    """A connector's task: `state` as Connect says it, `trace` when it failed."""

    state: str
    trace: str = ""


@dataclass(frozen=True)
class ConnectorStatus:
    """What Connect says of a connector.

    Attributes:
        state: Of the connector itself. A failed task leaves it RUNNING.
        tasks: Empty while it starts, and when it is stopped.
        trace: When the connector itself failed.
    """

    state: str
    tasks: tuple[TaskStatus, ...] = ()
    trace: str = ""


class ConnectClient:
    """A Kafka Connect worker.

    Args:
        url: `http://host:port` of its REST listener.
        timeout_seconds: For one request.
        secrets: Texts that no error may repeat.

    Raises:
        ConfigurationError: The URL cannot be used.
        EngineUnreachable: By every method: no answer in time, or not in Connect's own form.
        EngineRejected: By every method: the worker said no.
    """

    def __init__(
        self, url: str, *, timeout_seconds: float = 10.0, secrets: Sequence[str] = ()
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
            raise ConfigurationError(
                "write it as http://host:port, without an account",
                field="connect.rest_url",
                value=None if parts.username else url,
            )
        self._url = url.rstrip("/")
        self._timeout = timeout_seconds
        self._secrets = tuple(secret for secret in secrets if secret)

    def __repr__(self) -> str:
        """Return the address."""
        return f"ConnectClient({self._url!r})"

    @property
    def url(self) -> str:
        """Return the address."""
        return self._url

    def version(self) -> str:
        """Return the worker's version."""
        found = self._object(self._need("GET", "/"), "/")
        return str(found.get("version", ""))

    def plugins(self) -> frozenset[str]:
        """Return the classes of the connectors that the worker can run."""
        found = cast("Sequence[object]", self._need("GET", "/connector-plugins"))
        return frozenset(
            str(self._object(each, "/connector-plugins").get("class", "")) for each in found
        )

    def connectors(self) -> tuple[str, ...]:
        """Return the names of all connectors."""
        found = self._need("GET", "/connectors")
        if not isinstance(found, list):
            raise self._garbled("/connectors")
        return tuple(str(name) for name in cast("Sequence[object]", found))

    def status(self, name: str) -> ConnectorStatus | None:
        """Return a connector's status, None when there is no such connector."""
        path = f"/connectors/{quote(name)}/status"
        body = self._ask("GET", path)
        if body is None:
            return None
        found = self._object(body, path)
        connector = self._object(found.get("connector"), path)
        tasks = cast("Sequence[object]", found.get("tasks") or ())
        return ConnectorStatus(
            str(connector.get("state", "")),
            tuple(
                TaskStatus(str(task.get("state", "")), self._clean(str(task.get("trace") or "")))
                for task in (self._object(each, path) for each in tasks)
            ),
            self._clean(str(connector.get("trace") or "")),
        )

    def settings(self, name: str) -> Mapping[str, str] | None:
        """Return a connector's configuration, None when there is no such connector."""
        path = f"/connectors/{quote(name)}/config"
        body = self._ask("GET", path)
        if body is None:
            return None
        return {key: str(value) for key, value in self._object(body, path).items()}

    def create(self, name: str, settings: Mapping[str, str], *, stopped: bool) -> bool:
        """Make a connector.

        Args:
            name: Of the connector.
            settings: Its configuration.
            stopped: Whether it must not start yet (Kafka 3.7 and newer).

        Returns:
            False when there is one of this name already.
        """
        state = {"initial_state": "STOPPED"} if stopped else {}
        body = {"name": name, "config": dict(settings), **state}
        try:
            self._need("POST", "/connectors", body, seconds=_CREATE_SECONDS)
        except EngineRejected as error:
            if error.status == _CONFLICT and "already exists" in error.message:
                return False
            raise
        return True

    def offsets(self, name: str) -> object | None:
        """Return the list of a connector's offsets, None when there is no such connector."""
        path = f"/connectors/{quote(name)}/offsets"
        body = self._ask("GET", path)
        return None if body is None else self._object(body, path).get("offsets")

    def set_offsets(
        self, name: str, partition: Mapping[str, object], offset: Mapping[str, object]
    ) -> None:
        """Replace the offset of a connector that is stopped; Connect looks at nothing of it."""
        body = {"offsets": [{"partition": dict(partition), "offset": dict(offset)}]}
        self._need("PATCH", f"/connectors/{quote(name)}/offsets", body)

    def stop(self, name: str) -> bool:
        """Ask a connector to stop, and to note its offset; False when there is no such one."""
        return self._ask("PUT", f"/connectors/{quote(name)}/stop") is not None

    def resume(self, name: str) -> None:
        """Let a stopped connector run."""
        self._need("PUT", f"/connectors/{quote(name)}/resume")

    def delete(self, name: str) -> bool:
        """Remove a connector; False when there is no such one."""
        return self._ask("DELETE", f"/connectors/{quote(name)}") is not None

    # ------------------------------------------------------------ HTTP

    def _need(
        self, method: Method, path: str, body: object = None, *, seconds: float = 0.0
    ) -> object:
        found = self._ask(method, path, body, seconds=seconds)
        if found is None:
            raise EngineRejected(f"{self._place}: {method} {path}: not found", status=_NOT_FOUND)
        return found

    def _ask(
        self, method: Method, path: str, body: object = None, *, seconds: float = 0.0
    ) -> object | None:
        """Return the parsed answer, None for 404 and an empty text for an empty answer."""
        limit = max(seconds, self._timeout)
        try:
            with requests.request(
                method,
                self._url + path,
                json=body,
                timeout=limit,
                allow_redirects=False,
                stream=True,
                headers={"Accept": "application/json"},
            ) as answer:
                content = answer.raw.read(_MAX_ANSWER_BYTES + 1, decode_content=True)
                status = answer.status_code
        except (requests.RequestException, OSError) as error:
            raise EngineUnreachable(
                f"{self._place}: no answer to {method} {path} within {limit:g} s: "
                f"{type(error).__name__}",
                hint="See that the worker runs and that the address is right",
            ) from None  # the cause's arguments hold the request
        return self._judged(method, path, status, bytes(content))

    def _judged(self, method: Method, path: str, status: int, content: bytes) -> object | None:
        if len(content) > _MAX_ANSWER_BYTES:
            raise self._garbled(path)
        try:
            found = cast("object", json.loads(content)) if content.strip() else ""
        except (ValueError, RecursionError):
            raise self._garbled(path) from None
        if _OK <= status < _REDIRECT:
            return found
        said = ""
        if isinstance(found, dict):
            said = str(cast("Mapping[str, object]", found).get("message", ""))
        if status == _NOT_FOUND and said:
            return None
        if status < _BAD_REQUEST or not said:
            raise self._garbled(path)
        raise EngineRejected(
            f"{self._place}: {method} {path}: {self._clean(said)[:_SHOWN]}",
            status=status,
            hint="The worker's log says more",
        )

    @property
    def _place(self) -> str:
        return f"Kafka Connect at {self._url}"

    def _garbled(self, path: str) -> EngineUnreachable:
        return EngineUnreachable(
            f"{self._place}: the answer to {path} is not Kafka Connect's",
            hint="Correct rest_url, and see what listens there",
        )

    def _object(self, body: object, path: str) -> Mapping[str, object]:
        if not isinstance(body, dict):
            raise self._garbled(path)
        return cast("Mapping[str, object]", body)

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text
