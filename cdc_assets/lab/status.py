"""The lab's status: services and endpoints, in the shape that outside tools rely on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict, cast

from cdc_assets.lab.home import load_state
from cdc_assets.lab.mysql_servers import SOURCE_DATABASE, TARGET_DATABASE
from cdc_assets.lab.processes import is_running
from cdc_assets.lab.state import LabState, Service
from cdc_assets.lab.target_systems import target_system


class ServiceStatus(TypedDict):
    """One process; `state` is `running` or `stopped`."""

    name: str
    kind: str
    version: str
    host: str
    port: int
    pid: int | None
    state: str
    stand_in: bool


class DatabaseEndpoint(TypedDict):
    """Where and how to log in to a database."""

    host: str
    port: int
    user: str
    password: str
    database: str


class UrlEndpoint(TypedDict):
    """Where an HTTP service is; None when it does not run in this lab."""

    url: str | None


class Login(TypedDict):
    """An account."""

    user: str
    password: str


class TargetEndpoints(TypedDict, total=False):
    """The way into a target that is not MySQL."""

    target_postgres: Mapping[str, object]
    target_kafka: Mapping[str, object]
    target_iceberg: Mapping[str, object]
    target_starrocks: Mapping[str, object]


class Endpoints(TargetEndpoints):
    """Every way into the lab."""

    source: DatabaseEndpoint
    blue: DatabaseEndpoint
    green: DatabaseEndpoint
    target_mysql: DatabaseEndpoint
    flink: UrlEndpoint
    sql_gateway: UrlEndpoint
    rds: UrlEndpoint
    dagster: UrlEndpoint


class LabStatus(TypedDict):
    """The whole status; a contract, so names and shapes do not change."""

    home: str
    services: list[ServiceStatus]
    endpoints: Endpoints
    accounts: dict[str, Login]


def lab_status(home: Path) -> LabStatus | None:
    """Return the status of the lab in a folder, None when there never was one.

    Raises:
        LabError: The state file cannot be read.
    """
    state = load_state(home)
    return None if state is None else status_of(state)


def status_of(state: LabState) -> LabStatus:
    """Return the status that a state describes, with each process looked at now."""
    return {
        "home": str(state.home),
        "services": [_service(each) for each in state.services.values()],
        "endpoints": {
            **_other_target(state),
            "source": _database(state, "endpoint", SOURCE_DATABASE),
            "blue": _database(state, "blue", SOURCE_DATABASE),
            "green": _database(state, "green", SOURCE_DATABASE),
            "target_mysql": _database(state, "target", TARGET_DATABASE),
            "flink": _url(state, "jobmanager"),
            "sql_gateway": _url(state, "sql-gateway"),
            "rds": _url(state, "rds"),
            "dagster": _url(state, "dagster"),
        },
        "accounts": {
            role: {"user": account.user, "password": account.password}
            for role, account in state.accounts.items()
        },
    }


def _other_target(state: LabState) -> TargetEndpoints:
    """Return the endpoint of a target that is not MySQL, as `target_<kind>`."""
    kind = state.target_kind
    if kind == "mysql":
        return {}
    return cast("TargetEndpoints", {f"target_{kind}": target_system(kind).endpoint(state)})


def _service(service: Service) -> ServiceStatus:
    alive = is_running(service.process)
    return {
        "name": service.name,
        "kind": service.kind,
        "version": service.version,
        "host": service.host,
        "port": service.port,
        "pid": service.process.pid if alive and service.process is not None else None,
        "state": "running" if alive else "stopped",
        "stand_in": service.stand_in,
    }


def _database(state: LabState, name: str, database: str) -> DatabaseEndpoint:
    service, account = state.service(name), state.accounts["app"]
    return {
        "host": service.host,
        "port": service.port,
        "user": account.user,
        "password": account.password,
        "database": database,
    }


def _url(state: LabState, name: str) -> UrlEndpoint:
    service = state.services.get(name)
    return {"url": None if service is None else f"http://{service.host}:{service.port}"}
