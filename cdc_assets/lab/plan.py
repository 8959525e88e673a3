"""The plan of a new lab: ports, accounts and services, decided before anything is started."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from cdc_assets.core.stream import TargetKind
from cdc_assets.errors import ConfigurationError
from cdc_assets.lab.cache import Cache
from cdc_assets.lab.data_templates import find_program
from cdc_assets.lab.flink_cluster import FlinkPorts, flink_services, write_configuration
from cdc_assets.lab.free_ports import HOST, take_ports
from cdc_assets.lab.mysql_servers import server_service
from cdc_assets.lab.source_server import ServerKind, SourceServer
from cdc_assets.lab.state import Account, LabState, Service
from cdc_assets.lab.target_systems import target_system

# A job of a hundred readers needs more memory than the demonstration.
HEAP_VARIABLE = "CDC_ASSETS_LAB_HEAP_FACTOR"
_MOST_HEAP = 8
# The source servers' versions before and after the upgrade. For MySQL both sides are the one
# version that the registries hold: the switchover is real, the upgrade is not.
VERSIONS: dict[ServerKind, tuple[str, str]] = {
    "mariadb": ("10.11.5", "11.4.5"),
    "mysql": ("5.6.24", "5.6.24"),
}
TARGET_VERSION = "5.6.24"
ROLES = ("admin", "app", "cdc", "cdc_stats", "cdc_writer", "repl")
_FIRST_SERVER_ID = 101
_PORTS = 11


def package_groups(source: ServerKind, *targets: TargetKind) -> list[str]:
    """Return the groups of packages that a lab needs; a MySQL target is always there."""
    groups = (group for kind in targets for group in target_system(kind).groups)
    return sorted({source, "mysql", "flink", *groups})


def server_versions(source: ServerKind) -> list[tuple[ServerKind, str]]:
    """Return every server program that a lab runs."""
    return [*((source, version) for version in VERSIONS[source]), ("mysql", TARGET_VERSION)]


def plan_lab(
    home: Path,
    cache: Cache,
    source: ServerKind,
    target: TargetKind = "mysql",
    beside: Sequence[TargetKind] = (),
) -> LabState:
    """Decide everything about a new lab; writes only Flink's configuration."""
    systems = [target_system(kind) for kind in (target, *beside)]
    taken = take_ports(cache.root, _PORTS + sum(system.ports for system in systems))
    blue_port, green_port, target_port, endpoint, control, rds, *flink = taken[:_PORTS]
    accounts = {role: Account(user=role, password=secrets.token_urlsafe(18)) for role in ROLES}
    admin = accounts["admin"]

    def server(
        name: str, kind: ServerKind, version: str, port: int, server_id: int
    ) -> SourceServer:
        return SourceServer(
            name=name,
            kind=kind,
            version=version,
            host=HOST,
            port=port,
            admin_user=admin.user,
            admin_password=admin.password,
            data_dir=home / "data" / name,
            server_id=server_id,
        )

    before, after = VERSIONS[source]
    servers = [
        server("blue", source, before, blue_port, _FIRST_SERVER_ID),
        server("green", source, after, green_port, _FIRST_SERVER_ID + 1),
        server("target", "mysql", TARGET_VERSION, target_port, _FIRST_SERVER_ID + 2),
    ]
    ports = FlinkPorts(*flink)
    heap_factor = _heap_factor()
    # With as many more threads, two cores leave a process without a word for longer.
    write_configuration(home, ports, patience=heap_factor)
    jars = [jar for system in systems for jar in system.jars]
    others = iter(taken[_PORTS:])
    services = [
        *(
            server_service(
                each,
                find_program(cache, each.kind, each.version),
                log=home / "logs" / f"{each.name}.log",
            )
            for each in servers
        ),
        *flink_services(home, cache, ports, jars, heap_factor=heap_factor),
        _endpoint(home, endpoint, control, blue_port),
        _rds(home, rds),
        *(
            service
            for system in systems
            for service in system.services(home, cache, [*islice(others, system.ports)], accounts)
        ),
    ]
    return LabState(
        home=home,
        cache=cache.root,
        phase="starting",
        source_kind=source,
        services={each.name: each for each in services},
        servers={each.name: each for each in servers},
        accounts=accounts,
        next_server_id=_FIRST_SERVER_ID + len(servers),
        target_kind=target,
    )


def _heap_factor() -> int:
    text = os.environ.get(HEAP_VARIABLE, "1")
    if not text.isdigit() or not 1 <= int(text) <= _MOST_HEAP:
        raise ConfigurationError(
            f"must be a number from 1 to {_MOST_HEAP}", field=HEAP_VARIABLE, value=text
        )
    return int(text)


def _endpoint(home: Path, port: int, control: int, target: int) -> Service:
    arguments = ["--listen", f"{HOST}:{port}", "--control", f"{HOST}:{control}"]
    return Service(
        name="endpoint",
        kind="TCP forwarder, plays the RDS writer endpoint",
        version="",
        host=HOST,
        port=port,
        stand_in=True,
        probe="control",
        command=(
            *(sys.executable, "-m", "cdc_assets.lab.endpoint"),
            *arguments,
            *("--target", f"{HOST}:{target}"),
        ),
        log=home / "logs" / "endpoint.log",
        env=_python_env(),
        control_port=control,
    )


def _rds(home: Path, port: int) -> Service:
    return Service(
        name="rds",
        kind="RDS API, played by a local server",
        version="",
        host=HOST,
        port=port,
        stand_in=True,
        probe="http",
        command=(
            *(sys.executable, "-m", "cdc_assets.lab.rds_standin"),
            *("--home", str(home), "--port", str(port)),
        ),
        log=home / "logs" / "rds.log",
        env=_python_env(),
    )


def _python_env() -> dict[str, str]:
    """Return the environment in which a child finds this very package, installed or not."""
    root = str(Path(__file__).resolve().parents[2])
    known = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{root}{os.pathsep}{known}" if known else root}
