"""IcebergSystem: an Iceberg REST catalog as the lab's target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cdc_assets.core.stream import TargetKind
from cdc_assets.lab import iceberg_server
from cdc_assets.lab.cache import Cache
from cdc_assets.lab.iceberg_landing import IcebergLanding
from cdc_assets.lab.landing import Landing
from cdc_assets.lab.state import Account, LabState, Service
from cdc_assets.lab.target_system import TargetSystem


class IcebergSystem(TargetSystem):
    """A REST catalog with its tables in the lab's folder."""

    kind: TargetKind = "iceberg"
    title = "Iceberg (REST catalog)"
    groups = (iceberg_server.PACKAGE_GROUP,)
    jars = iceberg_server.CONNECTORS
    ports = 1
    service_names = (iceberg_server.SERVICE,)

    def services(
        self, home: Path, cache: Cache, ports: Sequence[int], accounts: Mapping[str, Account]
    ) -> list[Service]:
        """Return the catalog's server."""
        del accounts
        return [iceberg_server.service(home, cache, ports[0])]

    def prepare(self, state: LabState) -> None:
        """Make the folders."""
        iceberg_server.prepare(state.home)

    def environment(self, state: LabState) -> Mapping[str, str]:
        """Return the catalog's address and the namespace."""
        return {
            "CDC_TARGET_URI": iceberg_server.catalog_uri(
                state.service(iceberg_server.SERVICE).port
            ),
            "CDC_TARGET_DATABASE": iceberg_server.NAMESPACE,
        }

    def endpoint(self, state: LabState) -> Mapping[str, object]:
        """Return the catalog's address and the namespace."""
        port = state.service(iceberg_server.SERVICE).port
        uri = iceberg_server.catalog_uri(port)
        return {"host": "127.0.0.1", "port": port, "uri": uri,
                "database": iceberg_server.NAMESPACE}  # fmt: skip

    def landing(self, state: LabState) -> Landing:
        """Return the tables."""
        return IcebergLanding(state.service(iceberg_server.SERVICE).port)
