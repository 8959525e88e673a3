"""Fakes of the lab's servers and endpoint, and the stand-in served on a free port."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests

from cdc_assets.errors import LabError, ServiceFailed
from cdc_assets.lab.rds_standin import StandIn, serve
from cdc_assets.lab.rds_state import FileStore
from cdc_assets.lab.switchover_sql import BinlogPosition, Replication

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

BUDGET_SECONDS = 20.0


def replicating_from(source: str) -> Replication:
    return Replication(receiving=True, applying=True, lag_seconds=0, source=source, account="repl")


@dataclass
class FakeServer:
    """Plays one server; `log` is shared, so that tests can read the order of all steps."""

    name: str
    address: str
    log: list[str]
    engine_version: str
    position: BinlogPosition
    writable: bool = True
    upstream: Replication | None = None
    never_catches_up: bool = False
    refuses_read_only: bool = False
    longest_write: int = 0
    fail_on: set[str] = field(default_factory=set)

    def _do(self, step: str) -> None:
        if step in self.fail_on:
            message = f"server {self.name}: {step} failed"
            raise ServiceFailed(message)
        self.log.append(f"{self.name} {step}")

    def version(self) -> str:
        return self.engine_version

    def variables(self, names: Sequence[str]) -> dict[str, str]:
        known = {"binlog_format": "ROW", "gtid_mode": "ON"}
        return {name: known[name] for name in names if name in known}

    def read_only(self) -> bool:
        return not self.writable

    def stop_writes(self, seconds: float) -> bool:
        self._do("stop_writes")
        if self.refuses_read_only:
            time.sleep(min(seconds, 0.05))
            return False
        self.writable = False
        return True

    def allow_writes(self) -> None:
        self._do("allow_writes")
        self.writable = True

    def replication(self) -> Replication | None:
        return self.upstream

    def longest_write_seconds(self) -> int:
        return self.longest_write

    def drop_connections(self, keep: frozenset[str]) -> int:
        self._do(f"drop_connections keep={','.join(sorted(keep))}")
        return 1

    def binlog_position(self) -> BinlogPosition:
        self._do("binlog_position")
        return self.position

    def wait_applied(self, position: BinlogPosition, seconds: float) -> bool:
        self._do(f"wait_applied {position.file}:{position.position}")
        if self.never_catches_up:
            time.sleep(min(seconds, 0.05))
        return not self.never_catches_up

    def stop_applying(self) -> None:
        self._do("stop_applying")

    def stop_replication(self) -> None:
        self._do("stop_replication")
        if self.upstream is not None:
            self.upstream = replace(self.upstream, receiving=False, applying=False)

    def start_replication(self) -> None:
        self._do("start_replication")
        if self.upstream is not None:
            self.upstream = replace(self.upstream, receiving=True, applying=True)

    def forget_replication(self) -> None:
        self._do("forget_replication")
        self.upstream = None


@dataclass
class FakeEndpoint:
    target: str
    log: list[str]
    accepting: bool = True

    def move(self, target: str) -> None:
        self.log.append("endpoint move")
        self.target = target

    def drop(self) -> int:
        self.log.append("endpoint drop")
        return 1

    def accept(self, *, on: bool) -> None:
        self.log.append(f"endpoint accept {on}")
        self.accepting = on


class FakeLab:
    """Two servers, blue at port 3301 and green at 3302, and the endpoint at 3300."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.stopped: list[str] = []
        self.roles: tuple[str, str] | None = None
        self.provision_error: LabError | None = None
        self.provisioning = threading.Event()
        self.provisioning.set()
        self.blue = FakeServer(
            "blue",
            "127.0.0.1:3301",
            self.log,
            "10.11.5",
            BinlogPosition("mysql-bin-changelog.000007", 4711),
        )
        self.green = FakeServer(
            "green",
            "127.0.0.1:3302",
            self.log,
            "11.4.5",
            BinlogPosition("mysql-bin-changelog.000003", 40134574),
            writable=False,
            upstream=replicating_from("127.0.0.1:3301"),
        )
        self.forwarder = FakeEndpoint("127.0.0.1:3301", self.log)

    @property
    def endpoint_address(self) -> tuple[str, int]:
        return "127.0.0.1", 3300

    def server_names(self) -> tuple[str, ...]:
        return "blue", "green"

    def engine(self, server: str) -> str:
        assert server in {"blue", "green"}
        return "mariadb"

    def server_address(self, server: str) -> tuple[str, int]:
        host, port = self.server(server).address.split(":")
        return host, int(port)

    def server(self, server: str) -> FakeServer:
        return {"blue": self.blue, "green": self.green}[server]

    def endpoint(self) -> FakeEndpoint:
        return self.forwarder

    def provision(self, primary: str, replica: str, version: str | None) -> None:
        assert self.provisioning.wait(BUDGET_SECONDS)
        if self.provision_error is not None:
            raise self.provision_error
        server = self.server(replica)
        server.engine_version = version or self.server(primary).engine_version
        server.writable = False
        server.upstream = replicating_from(self.server(primary).address)

    def stop(self, server: str) -> None:
        self.stopped.append(server)

    def keep_roles(self, production: str, old: str) -> None:
        self.roles = (production, old)


class Served:
    """The stand-in on a free port, with a boto3 client for it."""

    def __init__(self, home: Path, lab: FakeLab) -> None:
        self.home = home
        self.lab = lab
        store = FileStore(home)
        quick = {"hold_seconds": 0.0}
        store.change(lambda state: state.with_settings(state.settings.changed(quick)))
        self.app = StandIn(store, lab)
        self.app.start()
        self._server = serve(self.app, 0)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.client = self.client_in("us-east-1")

    def client_in(self, region: str) -> Any:  # noqa: ANN401 - boto3 makes its clients at run time
        return boto3.client(
            "rds",
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id="x",
            aws_secret_access_key="x",
        )

    def post(self, route: str, document: object) -> requests.Response:
        return requests.post(f"{self.url}{route}", json=document, timeout=BUDGET_SECONDS)

    def deployment(self) -> dict[str, Any]:
        return self.client.describe_blue_green_deployments()["BlueGreenDeployments"][-1]

    def settled(self) -> dict[str, Any]:
        """Return the newest deployment once no background work runs."""
        self.app.deployments.join(BUDGET_SECONDS)
        return self.deployment()

    def switch(self, **parameters: int) -> dict[str, Any]:
        identifier = self.deployment()["BlueGreenDeploymentIdentifier"]
        self.client.switchover_blue_green_deployment(
            BlueGreenDeploymentIdentifier=identifier, **parameters
        )
        return self.settled()

    def messages(self, source_type: str) -> list[str]:
        events = self.client.describe_events(SourceType=source_type)["Events"]
        return [event["Message"] for event in events]

    def instances(self) -> dict[str, Any]:
        found = self.client.describe_db_instances()["DBInstances"]
        return {instance["DBInstanceIdentifier"]: instance for instance in found}

    def close(self) -> None:
        self.client.close()
        self.app.deployments.join(BUDGET_SECONDS)
        self._server.shutdown()
        self._thread.join(BUDGET_SECONDS)
        self._server.server_close()


@pytest.fixture
def lab() -> FakeLab:
    return FakeLab()


@pytest.fixture
def serve_standin(tmp_path: Path) -> Iterator[Callable[[FakeLab], Served]]:
    """Serve a stand-in; a second call with the same lab is a restart on the same home."""
    with contextlib.ExitStack() as stack:

        def start(lab: FakeLab) -> Served:
            served = Served(tmp_path, lab)
            stack.callback(served.close)
            return served

        yield start


@pytest.fixture
def standin(lab: FakeLab, serve_standin: Callable[[FakeLab], Served]) -> Served:
    return serve_standin(lab)
