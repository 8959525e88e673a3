"""The status is a contract: outside tools read it."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable

import pytest
from click.testing import CliRunner

from cdc_assets.lab.commands import lab
from cdc_assets.lab.home import save_state
from cdc_assets.lab.processes import ProcessRecord, record_of
from cdc_assets.lab.state import LabState
from cdc_assets.lab.status import lab_status, status_of

Sleeper = Callable[..., ProcessRecord]
SERVICE_KEYS = {"name", "kind", "version", "host", "port", "pid", "state", "stand_in"}
DATABASES = ("source", "blue", "green", "target_mysql")
URLS = ("flink", "sql_gateway", "rds", "dagster")


def test_the_json_has_exactly_the_shape_of_the_contract(lab_state: LabState) -> None:
    save_state(lab_state)
    result = CliRunner().invoke(lab, ["status", "--json", "--home", str(lab_state.home)])
    found = json.loads(result.stdout)
    assert set(found) == {"home", "services", "endpoints", "accounts"}
    assert found["home"] == str(lab_state.home)
    assert all(set(each) == SERVICE_KEYS for each in found["services"])
    assert set(found["endpoints"]) == {*DATABASES, *URLS}
    for name in DATABASES:
        assert set(found["endpoints"][name]) == {"host", "port", "user", "password", "database"}
    for name in URLS:
        assert set(found["endpoints"][name]) == {"url"}


def test_databases_are_reached_as_the_application(lab_state: LabState) -> None:
    endpoints = status_of(lab_state)["endpoints"]
    assert endpoints["source"]["port"] == lab_state.service("endpoint").port
    assert endpoints["source"]["database"] == "source"
    assert endpoints["target_mysql"]["database"] == "target"
    assert {endpoints[name]["user"] for name in ("source", "blue", "green")} == {"app"}


def test_there_is_no_dagster_url_until_something_registers_it(lab_state: LabState) -> None:
    assert status_of(lab_state)["endpoints"]["dagster"] == {"url": None}
    service = dataclasses.replace(lab_state.service("rds"), name="dagster", port=3000)
    found = status_of(lab_state.with_service(service))
    assert found["endpoints"]["dagster"] == {"url": "http://127.0.0.1:3000"}


def test_a_dead_process_is_stopped_and_has_no_pid(lab_state: LabState, sleeper: Sleeper) -> None:
    alive = sleeper()
    own = record_of(os.getpid())
    assert own is not None
    recycled = dataclasses.replace(own, started=own.started - 3600)
    state = lab_state.with_process("blue", alive).with_process("green", recycled)
    shown = {each["name"]: (each["state"], each["pid"]) for each in status_of(state)["services"]}
    assert shown["blue"] == ("running", alive.pid)
    assert shown["green"] == ("stopped", None)
    assert shown["target"] == ("stopped", None)


def test_stand_ins_are_labelled_in_both_forms(lab_state: LabState) -> None:
    save_state(lab_state)
    found = lab_status(lab_state.home)
    assert found is not None
    assert {each["name"] for each in found["services"] if each["stand_in"]} == {"endpoint", "rds"}
    result = CliRunner().invoke(lab, ["status", "--home", str(lab_state.home)])
    assert result.output.count("(stand-in)") == 2


def test_the_table_shows_no_password(lab_state: LabState) -> None:
    save_state(lab_state)
    result = CliRunner().invoke(lab, ["status", "--home", str(lab_state.home)])
    assert "secret-of" not in result.output


@pytest.mark.parametrize("command", ["status", "switchover"])
def test_a_command_without_a_lab_says_so_in_one_line(lab_state: LabState, command: str) -> None:
    result = CliRunner().invoke(lab, [command, "--home", str(lab_state.home)])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: no lab at")
    assert result.stderr.count("\n") == 1


def test_a_missing_extra_is_named_in_one_line(
    lab_state: LabState, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = ProcessRecord(pid=os.getpid(), started=0.0)
    save_state(lab_state.with_process("blue", record))
    monkeypatch.setitem(sys.modules, "psutil", None)
    result = CliRunner().invoke(lab, ["status", "--home", str(lab_state.home)])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: psutil is not installed. Install the extra 'lab'")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [["up", "--source", "oracle"], ["switchover", "--timeout", "29"], ["up", "--home", __file__]],
)
def test_bad_options_exit_with_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(lab, arguments).exit_code == 2
