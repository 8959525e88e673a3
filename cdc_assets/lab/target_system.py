"""Target system: what a lab runs besides the source for one kind of target.

The MySQL target server is always there. Another kind adds its packages, its jars on Flink's
class path, its services and its accounts, says what `definitions.py` reads from the
environment, and how the demonstration reads what landed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from cdc_assets.core.stream import TargetKind
from cdc_assets.lab.cache import Cache
from cdc_assets.lab.landing import Landing, MySqlLanding
from cdc_assets.lab.state import Account, LabState, Service
from cdc_assets.lab.workload import Login

TARGET_DATABASE = "target"


class TargetSystem(ABC):
    """One kind of target in the lab."""

    kind: TargetKind
    title: str
    groups: tuple[str, ...] = ()
    jars: tuple[str, ...] = ()
    ports: int = 0
    service_names: tuple[str, ...] = ()

    def services(
        self, home: Path, cache: Cache, ports: Sequence[int], accounts: Mapping[str, Account]
    ) -> list[Service]:
        """Return the services to start, in this order."""
        del home, cache, ports, accounts
        return []

    def prepare(self, state: LabState) -> None:
        """Write what the services need before they start."""
        del state

    def make(self, state: LabState) -> None:
        """Make accounts and databases when the services answer."""
        del state

    @abstractmethod
    def environment(self, state: LabState) -> Mapping[str, str]:
        """Return what `resources/targets.py` reads."""

    def endpoint(self, state: LabState) -> Mapping[str, object]:
        """Return what `lab status --json` says of it, with the application's account."""
        raise NotImplementedError

    @abstractmethod
    def landing(self, state: LabState) -> Landing:
        """Return the demonstration's target tables."""


class MySqlSystem(TargetSystem):
    """The MySQL target server."""

    kind: TargetKind = "mysql"
    title = "MySQL 5.6"

    def environment(self, state: LabState) -> Mapping[str, str]:
        """Return host, port and the writer's account."""
        server, writer = state.servers["target"], state.accounts["cdc_writer"]
        return {
            "CDC_TARGET_HOST": server.host,
            "CDC_TARGET_PORT": str(server.port),
            "CDC_TARGET_USER": writer.user,
            "CDC_TARGET_PASSWORD": writer.password,
            "CDC_TARGET_DATABASE": TARGET_DATABASE,
        }

    def landing(self, state: LabState) -> Landing:
        """Return the tables as the application sees them."""
        server, app = state.servers["target"], state.accounts["app"]
        place = (server.host, server.port)
        return MySqlLanding(
            Login(*place, app.user, app.password, TARGET_DATABASE),
            Login(*place, server.admin_user, server.admin_password, TARGET_DATABASE),
        )
