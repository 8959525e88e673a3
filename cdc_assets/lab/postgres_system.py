"""PostgresSystem: PostgreSQL as the lab's target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cdc_assets.core.stream import TargetKind
from cdc_assets.lab import postgres_server
from cdc_assets.lab.cache import Cache
from cdc_assets.lab.landing import Landing
from cdc_assets.lab.postgres_landing import PostgresLanding
from cdc_assets.lab.state import Account, LabState, Service
from cdc_assets.lab.target_system import TARGET_DATABASE, TargetSystem


class PostgresSystem(TargetSystem):
    """A PostgreSQL server."""

    kind: TargetKind = "postgres"
    title = "PostgreSQL 17"
    groups = ("postgres",)
    jars = ("postgresql-jdbc",)
    ports = 1
    service_names = ("postgres",)

    def services(
        self, home: Path, cache: Cache, ports: Sequence[int], accounts: Mapping[str, Account]
    ) -> list[Service]:
        """Return the server."""
        del accounts
        return [postgres_server.service(home, cache, ports[0])]

    def prepare(self, state: LabState) -> None:
        """Initialise the data folder."""
        postgres_server.prepare(state.home, Cache(state.cache), state.accounts["admin"])

    def make(self, state: LabState) -> None:
        """Create the database and the accounts."""
        postgres_server.create_accounts(state.service("postgres").port, state.accounts)

    def environment(self, state: LabState) -> Mapping[str, str]:
        """Return host, port and the writer's account."""
        server, writer = state.service("postgres"), state.accounts["cdc_writer"]
        return {
            "CDC_TARGET_HOST": server.host,
            "CDC_TARGET_PORT": str(server.port),
            "CDC_TARGET_USER": writer.user,
            "CDC_TARGET_PASSWORD": writer.password,
            "CDC_TARGET_DATABASE": TARGET_DATABASE,
        }

    def endpoint(self, state: LabState) -> Mapping[str, object]:
        """Return host, port, account and database."""
        server, app = state.service("postgres"), state.accounts["app"]
        place = {"host": server.host, "port": server.port, "database": TARGET_DATABASE}
        return {**place, "user": app.user, "password": app.password}

    def landing(self, state: LabState) -> Landing:
        """Return the tables as the application sees them."""
        return PostgresLanding(state.service("postgres").port, state.accounts["app"])
