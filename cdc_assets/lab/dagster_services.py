"""Dagster beside the lab: code server, webserver and daemon, each a lab service of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import yaml

from cdc_assets.errors import LabError
from cdc_assets.lab.free_ports import take_ports
from cdc_assets.lab.home import require_state, update_state
from cdc_assets.lab.services import start_service
from cdc_assets.lab.state import LabState, Service
from cdc_assets.lab.target_systems import target_system

CODE_SERVER = "dagster-code"
WEBSERVER = "dagster"
DAEMON = "dagster-daemon"

_INSTANCE = {
    # No questions to the person who opens the UI.
    "nux": {"enabled": False},
    "telemetry": {"enabled": False},
    # Runs start at once, not through the queue that the daemon reads every few seconds.
    "run_coordinator": {
        "module": "dagster._core.run_coordinator",
        "class": "DefaultRunCoordinator",
    },
    "sensors": {"use_threads": True, "num_workers": 4},
}


def environment(state: LabState, *, sensor_seconds: float = 2.0) -> dict[str, str]:
    """Return what `definitions.py` reads from the environment, for this lab."""
    endpoint, rds = state.services["endpoint"], state.services["rds"]
    cdc, stats = state.accounts["cdc"], state.accounts["cdc_stats"]
    jobmanager, gateway = state.services["jobmanager"], state.services["sql-gateway"]
    return {
        "CDC_SOURCE_HOST": endpoint.host,
        "CDC_SOURCE_PORT": str(endpoint.port),
        "CDC_SOURCE_USER": cdc.user,
        "CDC_SOURCE_PASSWORD": cdc.password,
        "CDC_STATS_USER": stats.user,
        "CDC_STATS_PASSWORD": stats.password,
        "CDC_TARGET_KIND": state.target_kind,
        **target_system(state.target_kind).environment(state),
        "FLINK_REST_URL": f"http://{jobmanager.host}:{jobmanager.port}",
        "FLINK_SQL_GATEWAY_URL": f"http://{gateway.host}:{gateway.port}",
        "FLINK_CHECKPOINT_DIR": (state.home / "flink" / "checkpoints").as_uri(),
        "FLINK_SAVEPOINT_DIR": (state.home / "flink" / "savepoints").as_uri(),
        "CDC_LEDGER_URL": f"sqlite:///{state.home / 'ledger.sqlite'}",
        "CDC_RDS_INSTANCE": "lab-mysql",
        "CDC_RDS_ENDPOINT_URL": f"http://{rds.host}:{rds.port}",
        "CDC_SENSOR_SECONDS": str(sensor_seconds),
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "lab",
        "AWS_SECRET_ACCESS_KEY": "lab",
    }


def start_dagster(home: Path, definitions: Path) -> str:
    """Start Dagster on a definitions file and return the UI's URL.

    `dagster dev` leaves its children behind when it is killed (dagster.md section 5), so
    the three processes are started one by one, and each is stopped by its own pid.

    Args:
        home: The lab.
        definitions: The file that holds `defs`.

    Raises:
        LabError: The file does not exist, or a process does not come up.
    """
    if not definitions.is_file():
        raise LabError(f"{definitions} does not exist", hint="Run this in the project's folder")
    state = require_state(home)
    folder = home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dagster.yaml").write_text(yaml.safe_dump(_INSTANCE), encoding="utf-8")
    code_port, web_port = take_ports(state.cache, 2)
    workspace = folder / "workspace.yaml"
    location = {"host": "127.0.0.1", "port": code_port, "location_name": "mysql_cdc"}
    workspace.write_text(
        yaml.safe_dump({"load_from": [{"grpc_server": location}]}), encoding="utf-8"
    )
    env = {**environment(state), "DAGSTER_HOME": str(folder), "PATH": _path(),
           "PYTHONUNBUFFERED": "1"}  # fmt: skip
    for service in _services(home, definitions.resolve(), workspace, (code_port, web_port), env):
        update_state(home, lambda now, service=service: now.with_service(service))
        start_service(home, service.name)
    return f"http://127.0.0.1:{web_port}"


def _path() -> str:
    """Return a PATH in which the interpreter's own scripts come first."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def _services(
    home: Path,
    definitions: Path,
    workspace: Path,
    ports: tuple[int, int],
    env: Mapping[str, str],
) -> tuple[Service, ...]:
    code_port, web_port = ports
    python = (sys.executable, "-m")
    base = Service(
        name=CODE_SERVER,
        kind="Dagster code server",
        version=version("dagster"),
        host="127.0.0.1",
        port=code_port,
        stand_in=False,
        probe="tcp",
        command=(*python, "dagster", "api", "grpc", "-f", str(definitions), "-d",
                 str(definitions.parent), "-p", str(code_port), "-h", "127.0.0.1"),
        log=home / "logs" / "dagster-code.log",
        env=env,
        cwd=definitions.parent,
    )  # fmt: skip
    return (
        base,
        replace(
            base,
            name=DAEMON,
            kind="Dagster daemon",
            port=0,
            probe="none",
            command=(str(Path(sys.executable).parent / "dagster-daemon"), "run", "-w",
                     str(workspace)),
            log=home / "logs" / "dagster-daemon.log",
        ),
        replace(
            base,
            name=WEBSERVER,
            kind="Dagster webserver",
            port=web_port,
            probe="http",
            command=(*python, "dagster_webserver", "-w", str(workspace), "-h", "127.0.0.1",
                     "-p", str(web_port)),
            log=home / "logs" / "dagster-web.log",
        ),
    )  # fmt: skip
