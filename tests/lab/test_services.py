"""Services start from the state file, are stopped by their pid, and say what is wrong."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import sys
from collections.abc import Callable

import pytest

from cdc_assets.errors import ServiceFailed
from cdc_assets.lab.free_ports import is_free, take_ports
from cdc_assets.lab.home import require_state, save_state
from cdc_assets.lab.lab import down, kill_service, register_service, start_service
from cdc_assets.lab.mysql_servers import remember_read_only
from cdc_assets.lab.processes import ProcessRecord, is_running, record_of, wait_gone
from cdc_assets.lab.state import LabState

Sleeper = Callable[..., ProcessRecord]


def own_record() -> ProcessRecord:
    record = record_of(os.getpid())
    assert record is not None
    return record


def with_free_port(state: LabState, name: str) -> LabState:
    (port,) = take_ports(state.cache, 1)
    return state.with_service(dataclasses.replace(state.service(name), port=port))


def test_a_service_is_started_recorded_and_killed(lab_state: LabState) -> None:
    home = lab_state.home
    save_state(with_free_port(lab_state, "endpoint"))
    start_service(home, "endpoint")
    record = require_state(home).service("endpoint").process
    assert is_running(record)
    kill_service(home, "endpoint", signal.SIGKILL)
    assert not is_running(record)


def test_a_service_is_not_started_twice(lab_state: LabState) -> None:
    save_state(with_free_port(lab_state, "endpoint"))
    start_service(lab_state.home, "endpoint")
    with pytest.raises(ServiceFailed, match="endpoint is running already"):
        start_service(lab_state.home, "endpoint")
    down(lab_state.home)


def test_a_taken_port_is_named_and_nothing_is_started(
    lab_state: LabState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdc_assets.lab.services._PORT_SECONDS", 0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        service = dataclasses.replace(lab_state.service("rds"), port=port)
        save_state(lab_state.with_service(service))
        with pytest.raises(ServiceFailed, match=f"rds: port {port} on 127.0.0.1 is in use"):
            start_service(lab_state.home, "rds")
    assert require_state(lab_state.home).service("rds").process is None


def test_a_service_that_dies_at_once_is_told_with_its_last_words(lab_state: LabState) -> None:
    state = with_free_port(lab_state, "rds")
    service = dataclasses.replace(
        state.service("rds"),
        probe="tcp",
        command=(sys.executable, "-c", "raise SystemExit('Error: no licence')"),
    )
    save_state(state.with_service(service))
    with pytest.raises(ServiceFailed, match="Error: no licence"):
        start_service(lab_state.home, "rds")


def test_a_service_that_is_not_running_cannot_be_killed(lab_state: LabState) -> None:
    save_state(lab_state)
    with pytest.raises(ServiceFailed, match="blue is not running"):
        kill_service(lab_state.home, "blue")


def test_down_stops_recorded_registered_and_unrecorded_processes(
    lab_state: LabState, sleeper: Sleeper
) -> None:
    home = lab_state.home
    recorded, registered, unrecorded = sleeper(), sleeper(), sleeper(home=home)
    bystander = sleeper()
    save_state(lab_state.with_process("blue", recorded))
    register_service(
        home, name="dagster", kind="UI", port=3000, pid=registered.pid, log=home / "log"
    )
    assert down(home) == ["blue", "dagster", f"process {unrecorded.pid}"]
    assert [is_running(each) for each in (recorded, registered, unrecorded)] == [False] * 3
    assert is_running(bystander)
    assert require_state(home).phase == "down"


def test_down_leaves_a_process_alone_that_got_a_recycled_pid(lab_state: LabState) -> None:
    stale = dataclasses.replace(own_record(), started=own_record().started - 3600)
    save_state(lab_state.with_process("blue", stale))
    assert down(lab_state.home) == []
    assert require_state(lab_state.home).service("blue").process is None


def test_down_works_without_a_readable_state(lab_state: LabState, sleeper: Sleeper) -> None:
    record = sleeper(home=lab_state.home)
    (lab_state.home / "lab.json").write_text("garbage")
    told: list[str] = []
    assert down(lab_state.home, tell=told.append) == [f"process {record.pid}"]
    assert "stopping by what the processes say" in told[0]
    assert not is_running(record)


def test_down_without_a_lab_stops_nothing(lab_state: LabState) -> None:
    assert down(lab_state.home / "absent") == []


def test_a_process_that_does_not_exist_cannot_be_registered(
    lab_state: LabState, sleeper: Sleeper
) -> None:
    save_state(lab_state)
    record = sleeper()
    os.kill(record.pid, signal.SIGKILL)
    assert wait_gone([record], seconds=60) == []
    with pytest.raises(ServiceFailed, match="there is no process"):
        register_service(
            lab_state.home, name="x", kind="x", port=1, pid=record.pid, log=lab_state.home / "log"
        )


def test_a_server_keeps_its_role_over_a_restart(lab_state: LabState) -> None:
    save_state(lab_state)
    home = lab_state.home
    for on, times in ((True, 1), (True, 1), (False, 0)):
        remember_read_only(home, "green", on=on)
        assert require_state(home).service("green").command.count("--read-only") == times


def test_ports_taken_one_after_the_other_differ_and_are_free(lab_state: LabState) -> None:
    first, second = take_ports(lab_state.cache, 8), take_ports(lab_state.cache, 8)
    assert len({*first, *second}) == 16
    assert all(is_free(port) for port in (*first, *second))
