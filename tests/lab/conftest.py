"""A lab state for tests: complete, and nothing of it runs."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cdc_assets.lab.processes import ProcessRecord, start, stop
from cdc_assets.lab.source_server import SourceServer
from cdc_assets.lab.state import Account, LabState, Service

SLEEP = (sys.executable, "-c", "import time; time.sleep(120)")
Sleeper = Callable[..., ProcessRecord]


@pytest.fixture
def lab_state(tmp_path: Path) -> LabState:
    home = tmp_path / "home"
    home.mkdir()
    accounts = {
        role: Account(user=role, password=f"secret-of-{role}")
        for role in ("admin", "app", "cdc", "cdc_writer", "repl")
    }
    servers = {
        name: SourceServer(
            name=name,
            kind="mariadb",
            version="10.11.5",
            host="127.0.0.1",
            port=port,
            admin_user="admin",
            admin_password=accounts["admin"].password,
            data_dir=home / "data" / name,
            server_id=port,
        )
        for name, port in (("blue", 101), ("green", 102), ("target", 103))
    }
    plain = Service(
        name="",
        kind="a kind",
        version="1",
        host="127.0.0.1",
        port=0,
        stand_in=False,
        probe="none",
        command=SLEEP,
        log=home / "logs" / "service.log",
    )
    names = (*servers, "jobmanager", "taskmanager", "sql-gateway", "endpoint", "rds")
    services = {
        name: dataclasses.replace(
            plain, name=name, port=20000 + index, stand_in=name in {"endpoint", "rds"}
        )
        for index, name in enumerate(names)
    }
    return LabState(
        home=home,
        cache=tmp_path / "cache",
        phase="up",
        source_kind="mariadb",
        services=services,
        servers=servers,
        accounts=accounts,
        next_server_id=104,
    )


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Sleeper]:
    """Start harmless processes, each stopped at the end of the test."""
    started: list[ProcessRecord] = []

    def begin(*command: str, home: Path | None = None) -> ProcessRecord:
        record = start(command or SLEEP, home=home or tmp_path, log=tmp_path / "sleeper.log")
        started.append(record)
        return record

    yield begin
    stop(started, term_seconds=0)
