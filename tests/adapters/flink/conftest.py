"""A transport adapter that answers with recorded payloads, and a clock that nobody waits for.

The payloads were recorded from Flink 1.20.3 and its SQL gateway; stack traces are shortened to
two frames per cause, paths are made neutral.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse

from cdc_assets.flink.client import FlinkClient
from cdc_assets.flink.gateway import SqlGateway

if TYPE_CHECKING:
    from collections.abc import Iterator

PAYLOADS = Path(__file__).parent / "payloads"


class Answer(Protocol):
    status: int
    body: bytes
    headers: dict[str, str]


class Recorded:
    """One answer: a status, a body and headers."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.body = body
        self.headers = {"content-type": "application/json; charset=UTF-8", **(headers or {})}


def recorded(name: str, **replacements: str) -> Recorded:
    content = json.loads((PAYLOADS / f"{name}.json").read_text())
    text = json.dumps(content["body"])
    for old, new in replacements.items():
        text = text.replace(old, new)
    return Recorded(content["status"], text.encode())


def answer(body: object, status: int = 200) -> Recorded:
    return Recorded(status, json.dumps(body).encode())


class Payloads(Protocol):
    def __call__(self, name: str, **replacements: str) -> Recorded: ...


class Replies(Protocol):
    def __call__(self, body: object, status: int = 200) -> Recorded: ...


class FakeServer(BaseAdapter):
    """Answers by method and path; the last answer of a path is given again and again."""

    def __init__(self) -> None:
        super().__init__()
        self._answers: dict[tuple[str, str], list[Answer | Exception]] = {}
        self.calls: list[tuple[str, str]] = []
        self.bodies: dict[tuple[str, str], list[Any]] = {}
        self.queries: dict[tuple[str, str], list[dict[str, list[str]]]] = {}
        self.timeouts: list[object] = []

    def on(self, method: str, path: str, *answers: Answer | Exception) -> None:
        self._answers[(method, path)] = list(answers)

    def send(self, request: requests.PreparedRequest, **kwargs: object) -> requests.Response:
        parts = urlsplit(str(request.url))
        key = (str(request.method), parts.path)
        self.calls.append(key)
        self.timeouts.append(kwargs.get("timeout"))
        self.queries.setdefault(key, []).append(parse_qs(parts.query))
        body = json.loads(request.body) if request.body else None
        self.bodies.setdefault(key, []).append(body)
        if key not in self._answers:
            pytest.fail(f"unexpected request {key}")
        queue = self._answers[key]
        found = queue.pop(0) if len(queue) > 1 else queue[0]
        if isinstance(found, Exception):
            raise found
        response = requests.Response()
        response.status_code = found.status
        response.headers.update(found.headers)
        response.url = str(request.url)
        response.request = request
        response.raw = HTTPResponse(
            body=io.BytesIO(found.body), status=found.status, headers=found.headers,
            preload_content=False,
        )  # fmt: skip
        return response

    def close(self) -> None:
        pass


class FakeClock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def session(server: FakeServer) -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.trust_env = False
        made.mount("http://", server)
        made.mount("https://", server)
        yield made


@pytest.fixture
def flink(session: requests.Session, clock: FakeClock) -> FlinkClient:
    return FlinkClient("http://flink.test:8081", 10, session, clock=clock)


@pytest.fixture
def gateway(session: requests.Session, clock: FakeClock) -> SqlGateway:
    return SqlGateway("http://gateway.test:8083", 10, session, secrets=["geheim"], clock=clock)


@pytest.fixture
def payload() -> Payloads:
    return recorded


@pytest.fixture
def reply() -> Replies:
    return answer
