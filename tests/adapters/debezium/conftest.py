"""A Kafka Connect worker played over real HTTP: it answers as a stand-alone worker 4.1 does."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.debezium.client import ConnectClient
from cdc_assets.debezium.config import CONNECTORS, Access
from cdc_assets.debezium.engine import DebeziumEngine
from cdc_assets.testing.builders import BlueGreen

ALTERED = "The Connect framework-managed offsets for this connector have been altered successfully."
Answer = tuple[int, object]


@dataclass
class Connector:
    """One connector: what the worker knows of it."""

    config: dict[str, str]
    state: str
    tasks: list[dict[str, object]] = field(default_factory=list)
    offsets: list[dict[str, Any]] = field(default_factory=list)


class Worker:
    """The worker's connectors, and what a test does to them.

    Attributes:
        connectors: By name.
        calls: Method and path of each request.
        bodies: What was sent with them.
        forced: Answers given instead, by method and path; a callable is asked.
        read: Lets a running connector read on, before its offsets are shown.
        after: Called after each request.
    """

    def __init__(self) -> None:
        self.connectors: dict[str, Connector] = {}
        self.calls: list[tuple[str, str]] = []
        self.bodies: list[object] = []
        self.forced: dict[tuple[str, str], Answer] = {}
        self.plugins = sorted(CONNECTORS.values())
        self.read: Callable[[Connector], None] = lambda _: None
        self.after: Callable[[], None] = lambda: None

    def serve(self, method: str, path: str, body: Any) -> Answer:  # noqa: ANN401 - any JSON
        """Answer one request."""
        found = self._answer(method, path, body)
        self.after()
        return found

    def _answer(self, method: str, path: str, body: Any) -> Answer:  # noqa: ANN401 - any JSON
        self.calls.append((method, path))
        self.bodies.append(body)
        if (method, path) in self.forced:
            return self.forced[(method, path)]
        parts = path.strip("/").split("/")
        if path == "/":
            return 200, {"version": "4.1.0", "commit": "x", "kafka_cluster_id": "y"}
        if path == "/connector-plugins":
            return 200, [{"class": name, "type": "source", "version": "3"} for name in self.plugins]
        if parts == ["connectors"]:
            return self._create(body) if method == "POST" else (200, list(self.connectors))
        found = self.connectors.get(parts[1])
        if found is None:
            return 404, {"error_code": 404, "message": f"Unknown connector {parts[1]}"}
        return self._of(found, method, parts[1], parts[2] if len(parts) > 2 else "", body)

    def _create(self, body: dict[str, Any]) -> Answer:
        name = body["name"]
        if name in self.connectors:
            return 409, {"error_code": 409, "message": f"Connector {name} already exists"}
        stopped = body.get("initial_state") == "STOPPED"
        self.connectors[name] = Connector(dict(body["config"]), "STOPPED" if stopped else "RUNNING")
        if not stopped:
            self.connectors[name].tasks = [_task()]
        return 201, {"name": name, "config": body["config"], "tasks": [], "type": "source"}

    def _of(  # noqa: C901 - one case for each request
        self,
        found: Connector,
        method: str,
        name: str,
        what: str,
        body: Any,  # noqa: ANN401 - any JSON
    ) -> Answer:
        match method, what:
            case "GET", "status":
                return 200, {
                    "name": name,
                    "connector": {"state": found.state, "worker_id": "127.0.0.1:1"},
                    "tasks": found.tasks,
                    "type": "source",
                }
            case "GET", "config":
                return 200, {"name": name, **found.config}
            case "GET", "offsets":
                if found.state == "RUNNING" and found.tasks and found.tasks[0]["state"] != "FAILED":
                    self.read(found)
                return 200, {"offsets": found.offsets}
            case "PATCH", "offsets":
                if found.state != "STOPPED":
                    return 400, {"error_code": 400, "message": "must be in the STOPPED state"}
                found.offsets = body["offsets"]  # and nothing of it is looked at
                return 200, {"message": ALTERED}
            case "PUT", "stop":
                if found.state == "RUNNING":
                    self.read(found)
                found.state, found.tasks = "STOPPED", []
                return 204, None
            case "PUT", "resume":
                found.state, found.tasks = "RUNNING", [_task()]
                return 202, None
            case "DELETE", "":
                del self.connectors[name]
                return 204, None
            case _:
                return 405, {"error_code": 405, "message": "HTTP 405 Method Not Allowed"}

    def fail(self, name: str, trace: str) -> None:
        """Let a connector's task fail: the connector itself stays RUNNING."""
        self.connectors[name].tasks = [{**_task(), "state": "FAILED", "trace": trace}]


def _task() -> dict[str, object]:
    return {"id": 0, "state": "RUNNING", "worker_id": "127.0.0.1:1"}


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def url(worker: Worker) -> Iterator[str]:
    """Serve the worker and return its address."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, said = worker.serve(self.command, self.path, body)
            content = said if isinstance(said, bytes) else json.dumps(said).encode()
            if status == 204 or said is None:
                content = b""
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


@pytest.fixture
def client(url: str) -> ConnectClient:
    return ConnectClient(url, timeout_seconds=5.0, secrets=("s3cret",))


def stream(*tables: str) -> StreamSpec:
    refs = tuple(TableRef.parse(table) for table in tables or ("shop.orders",))
    ids = ServerIdRange(5400, 5409)
    return StreamSpec("orders", refs, ids, "", target_kind="kafka", engine="debezium")


ACCESS = Access("cdc", "s3cret", "/var/lib/cdc", topic_prefix="lab.")


@pytest.fixture
def lab() -> BlueGreen:
    return BlueGreen()


@pytest.fixture
def engine(client: ConnectClient, lab: BlueGreen) -> DebeziumEngine:
    return DebeziumEngine(
        client=client, spec=stream(), source=lab.source, access=ACCESS, clock=lab.clock
    )
