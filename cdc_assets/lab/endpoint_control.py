"""The synchronous client of the source endpoint's control port."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import cast

from cdc_assets.errors import ServiceFailed

ANSWER_LIMIT_BYTES = 64 * 1024


@dataclass(frozen=True)
class EndpointStatus:
    """What the endpoint does now.

    Attributes:
        target: `host:port` that new connections go to.
        connections: How many connections it carries.
        accepting: Whether it takes new connections.
    """

    target: str
    connections: int
    accepting: bool


@dataclass(frozen=True)
class EndpointControl:
    """Moves, drops and closes the source endpoint.

    Attributes:
        host: Host of the control port.
        port: The control port.
        timeout_seconds: Limit of each command, connect included.

    Example:
        >>> EndpointControl("127.0.0.1", 4001).port
        4001
    """

    host: str
    port: int
    timeout_seconds: float = 5.0

    def status(self) -> EndpointStatus:
        """Return the endpoint's status.

        Raises:
            ServiceFailed: The endpoint did not answer, or refused.
        """
        return _status(self._ask({"cmd": "status"}))

    def move(self, target: str) -> EndpointStatus:
        """Send new connections to `target`; existing ones stay until they are dropped.

        Args:
            target: `host:port`.

        Raises:
            ServiceFailed: The endpoint did not answer, or refused.
        """
        return _status(self._ask({"cmd": "move", "target": target}))

    def drop(self) -> int:
        """Close every existing connection on both sides.

        Returns:
            How many connections were closed.

        Raises:
            ServiceFailed: The endpoint did not answer, or refused.
        """
        return _number(self._ask({"cmd": "drop"}), "dropped")

    def accept(self, *, on: bool) -> EndpointStatus:
        """Take new connections, or close them at once.

        Args:
            on: Whether to take them.

        Raises:
            ServiceFailed: The endpoint did not answer, or refused.
        """
        return _status(self._ask({"cmd": "accept", "on": on}))

    def _ask(self, command: dict[str, object]) -> dict[str, object]:
        place = f"source endpoint control {self.host}:{self.port}"
        hint = "Look at 'cdc-assets lab status'"
        try:
            with socket.create_connection((self.host, self.port), self.timeout_seconds) as link:
                link.settimeout(self.timeout_seconds)
                link.sendall(json.dumps(command).encode() + b"\n")
                with link.makefile("rb") as stream:
                    line = stream.readline(ANSWER_LIMIT_BYTES)
            reply: object = json.loads(line)
        except (OSError, ValueError) as error:
            message = f"{place}: no answer to {command['cmd']!r} ({error})"
            raise ServiceFailed(message, hint=hint) from error
        if not isinstance(reply, dict):
            message = f"{place}: the answer to {command['cmd']!r} is not an object"
            raise ServiceFailed(message, hint=hint)
        answer = cast("dict[str, object]", reply)
        if "error" in answer:
            message = f"{place}: {answer['error']}"
            raise ServiceFailed(message, hint=hint)
        return answer


def _status(answer: dict[str, object]) -> EndpointStatus:
    return EndpointStatus(
        target=str(answer.get("target", "")),
        connections=_number(answer, "connections"),
        accepting=answer.get("accepting") is True,
    )


def _number(answer: dict[str, object], key: str) -> int:
    value = answer.get(key)
    if not isinstance(value, int):
        message = f"source endpoint control: {key!r} is missing in the answer {answer!r}"
        raise ServiceFailed(message, hint="Look at 'cdc-assets lab status'")
    return value
