"""A lab service: started from the state file, asked whether it is ready, killed for fault tests."""

from __future__ import annotations

import json
import secrets
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import pymysql
import requests

from cdc_assets.errors import LabError, ServiceFailed
from cdc_assets.lab.free_ports import is_free
from cdc_assets.lab.home import require_state, update_state
from cdc_assets.lab.processes import (
    is_running,
    send_signal,
    start,
    stop,
    wait_gone,
    wait_ready,
)
from cdc_assets.lab.state import LabState, Service

_READY_SECONDS = 90.0
_PROBE_SECONDS = 2.0
_GONE_SECONDS = 15.0
_PORT_SECONDS = 5.0


def start_service(
    home: Path,
    name: str,
    *,
    extra: Sequence[str] = (),
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Start a service of the lab as its state describes it, and wait until it answers.

    Args:
        home: The lab.
        name: The service.
        extra: Options for this start only.
        cancelled: Asked while waiting; True ends the wait with an error.

    Raises:
        ServiceFailed: It is running already, its port is taken, or it does not come up.
    """
    before = require_state(home)
    home, service = before.home, before.service(name)
    if is_running(service.process):
        raise ServiceFailed(f"{name} is running already", hint="Stop it first")
    _require_free_ports(service)
    options = list(extra)
    resource_id = ""
    if service.probe == "taskmanager":
        # The job manager lists a killed task manager for some seconds: a name of its own tells
        # the new one from it.
        resource_id = f"lab-{secrets.token_hex(4)}"
        options += ["-D", f"taskmanager.resource-id={resource_id}"]
    if cancelled():
        raise ServiceFailed(f"{name}: the start was cancelled")
    record = start(
        [*service.command, *options], home=home, log=service.log, env=service.env, cwd=service.cwd
    )
    state = update_state(home, lambda now: now.with_process(name, record))
    try:
        wait_ready(
            lambda: is_ready(state, service, resource_id),
            name=name,
            record=record,
            log=service.log,
            seconds=_READY_SECONDS,
            cancelled=cancelled,
        )
    except LabError:
        stop([record])
        raise


def kill_service(home: Path, name: str, number: int | None = None) -> None:
    """Send a signal to a service; after SIGKILL or SIGTERM, wait until it is gone.

    Args:
        home: The lab.
        name: The service.
        number: The signal, SIGKILL without it.

    Raises:
        ServiceFailed: It is not running, or is still there after the signal.
    """
    if number is None:
        number = signal.SIGKILL  # no default value: Windows has none, and must load this module
    service = require_state(home).service(name)
    record = service.process
    if record is None or not send_signal(record, number):
        raise ServiceFailed(f"{name} is not running", hint="See 'cdc-assets lab status'")
    if number in {signal.SIGKILL, signal.SIGTERM} and wait_gone([record], _GONE_SECONDS):
        raise ServiceFailed(f"{name} is alive {_GONE_SECONDS:.0f} s after signal {number}")


def register_service(
    home: Path,
    *,
    name: str,
    kind: str,
    port: int,
    pid: int,
    log: Path,
    version: str = "",
    command: Sequence[str] = (),
) -> Service:
    """Add a process that something else started, so that the status shows it and `down` stops it.

    The service named `dagster` is the one whose URL the status gives under `endpoints.dagster`.

    Raises:
        ServiceFailed: There is no such process.
    """
    from cdc_assets.lab.processes import record_of  # noqa: PLC0415 - only here

    record = record_of(pid)
    if record is None:
        raise ServiceFailed(f"{name}: there is no process {pid} to register")
    service = Service(
        name=name,
        kind=kind,
        version=version,
        host="127.0.0.1",
        port=port,
        stand_in=False,
        probe="none",
        command=tuple(command),
        log=log,
        process=record,
    )
    update_state(home, lambda now: now.with_service(service))
    return service


def is_ready(state: LabState, service: Service, resource_id: str = "") -> bool:
    """Ask a service whether it does its work.

    Args:
        state: The lab.
        service: The service.
        resource_id: The task manager that is meant; without it, any will do.
    """
    match service.probe:
        case "mysql":
            return _answers_sql(state, service)
        case "jobmanager":
            return "slots-total" in _get_json(f"{_rest_url(state)}/overview")
        case "taskmanager":
            return _has_task_manager(state, resource_id)
        case "http":
            return _answers_http(f"http://{service.host}:{service.port}/")
        case "control":
            return service.control_port is not None and _answers_control(
                service.host, service.control_port
            )
        case "tcp":
            return _accepts(service.host, service.port)
        case "none":
            return True


def restart_taskmanager(home: Path) -> None:
    """Kill the task manager and start it again."""
    kill_service(home, "taskmanager")
    start_service(home, "taskmanager")


def _require_free_ports(service: Service) -> None:
    # A killed process is dead a moment before the last of its threads gives up the port.
    deadline = time.monotonic() + _PORT_SECONDS
    for port in (service.port, service.control_port):
        while port is not None and not is_free(port):
            if time.monotonic() > deadline:
                raise ServiceFailed(
                    f"{service.name}: port {port} on {service.host} is in use by another program",
                    hint="Run 'cdc-assets lab down', then 'cdc-assets lab up' for new ports",
                )
            time.sleep(0.1)


def _rest_url(state: LabState) -> str:
    manager = state.service("jobmanager")
    return f"http://{manager.host}:{manager.port}"


def _has_task_manager(state: LabState, resource_id: str) -> bool:
    answer = _get_json(f"{_rest_url(state)}/taskmanagers")
    managers = cast("Sequence[Mapping[str, object]]", answer.get("taskmanagers", ()))
    return any(
        resource_id in {"", each.get("id")} and bool(each.get("slotsNumber")) for each in managers
    )


def _get_json(url: str) -> dict[str, object]:
    try:
        answer = requests.get(url, timeout=_PROBE_SECONDS)
        return cast("dict[str, object]", answer.json()) if answer.ok else {}
    except (requests.RequestException, ValueError):
        return {}


def _answers_http(url: str) -> bool:
    try:
        requests.get(url, timeout=_PROBE_SECONDS)
    except requests.RequestException:
        return False
    return urlsplit(url).port is not None


def _answers_sql(state: LabState, service: Service) -> bool:
    try:
        with closing(state.servers[service.name].connect(read_seconds=5)) as connection:
            connection.ping(reconnect=False)
    except (pymysql.MySQLError, OSError):
        return False
    return True


def _answers_control(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_PROBE_SECONDS) as connection:
            connection.sendall(b'{"cmd": "status"}\n')
            with connection.makefile("rb") as answers:
                return isinstance(json.loads(answers.readline() or b"null"), dict)
    except (OSError, ValueError):
        return False


def _accepts(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_PROBE_SECONDS):
            return True
    except OSError:
        return False
