"""StarRocksSystem: the StarRocks stand-in as the lab's target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cdc_assets.core.stream import TargetKind
from cdc_assets.lab import starrocks_server
from cdc_assets.lab.cache import Cache
from cdc_assets.lab.landing import Landing
from cdc_assets.lab.starrocks_landing import StarRocksLanding
from cdc_assets.lab.state import Account, LabState, Service
from cdc_assets.lab.target_system import TARGET_DATABASE, TargetSystem


class StarRocksSystem(TargetSystem):
    """A local server that plays StarRocks; it is not StarRocks."""

    kind: TargetKind = "starrocks"
    title = "StarRocks (a stand-in)"
    groups = (starrocks_server.PACKAGE_GROUP,)
    jars = starrocks_server.CONNECTORS
    ports = starrocks_server.PORTS
    service_names = (starrocks_server.NAME,)

    def services(
        self, home: Path, cache: Cache, ports: Sequence[int], accounts: Mapping[str, Account]
    ) -> list[Service]:
        """Return the stand-in."""
        del cache, accounts
        return [starrocks_server.service(home, *ports)]

    def prepare(self, state: LabState) -> None:
        """Write who may log in."""
        starrocks_server.prepare(state.home, state.accounts)

    def make(self, state: LabState) -> None:
        """Create the database."""
        port = state.service(starrocks_server.NAME).port
        starrocks_server.create_database(port, state.accounts["app"])

    def environment(self, state: LabState) -> Mapping[str, str]:
        """Return host, ports and the writer's account."""
        server, writer = state.service(starrocks_server.NAME), state.accounts["cdc_writer"]
        return {
            "CDC_TARGET_HOST": server.host,
            "CDC_TARGET_PORT": str(server.port),
            "CDC_TARGET_HTTP_PORT": str(server.control_port),
            "CDC_TARGET_USER": writer.user,
            "CDC_TARGET_PASSWORD": writer.password,
            "CDC_TARGET_DATABASE": TARGET_DATABASE,
        }

    def endpoint(self, state: LabState) -> Mapping[str, object]:
        """Return host, ports, account and database."""
        server, app = state.service(starrocks_server.NAME), state.accounts["app"]
        place = {"host": server.host, "port": server.port, "http_port": server.control_port}
        return {
            **place, "database": TARGET_DATABASE, "user": app.user, "password": app.password,
        }  # fmt: skip

    def landing(self, state: LabState) -> Landing:
        """Return the tables as the application sees them."""
        port = state.service(starrocks_server.NAME).port
        return StarRocksLanding(port, state.accounts["app"])
