"""The main job on real servers: a switchover under a writer, then faults on the same lab."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from cdc_assets.lab.comparison import compare
from cdc_assets.lab.dagster_services import environment
from cdc_assets.lab.endpoint_control import EndpointControl
from cdc_assets.lab.lab import kill_service, start_service
from cdc_assets.lab.stage import COMPARED, STREAMS, Stage
from cdc_assets.lab.status import lab_status
from cdc_assets.lab.workload import Writer
from tests.integration.conftest import DEFINITIONS, Played

SCRIPT = Path(sys.executable).with_name("cdc-assets")


def cli(played: Played, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the command line on the lab, with the deployment's environment."""
    env = {**environment(played.stage.state), "PATH": ""}
    return subprocess.run(
        [str(SCRIPT), "--definitions", str(DEFINITIONS), *args],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def counts(stage: Stage) -> list[tuple[str, int, int]]:
    """Return what is lost and doubled, table by table."""
    stage.settle(budget_seconds=90.0)
    return [(d.table, d.lost, d.doubled) for d in compare(stage.source, stage.landing, COMPARED)]


NOTHING = [(table, 0, 0) for table in COMPARED]


def test_the_switchover_loses_doubles_and_repeats_nothing(played: Played) -> None:
    """The last lines are the contract of `make demo`."""
    assert played.equal
    assert played.lines[-4:-1] == ("rows repeated 0", "rows lost 0", "rows doubled 0")
    assert re.fullmatch(r"first green row visible \d+\.\d s after switchover", played.lines[-1])


def test_the_recoveries_were_requested_by_the_sensors(played: Played) -> None:
    """Nothing in the demonstration calls recovery, so each worker is a Dagster run."""
    for stream in STREAMS:
        workers = [
            str(step.detail["worker"])
            for step in played.stage.ledger.steps(stream)
            if step.step == "worker"
        ]
        assert workers
        assert all(re.fullmatch(r"[0-9a-f-]{36}", worker) for worker in workers)


def test_the_form_of_going_on_follows_the_source_and_the_state(played: Played) -> None:
    """Without GTID: coordinates, or the transplant where there is state. With GTID: the state."""
    forms = {
        stream: next(
            step.detail for step in played.stage.ledger.steps(stream) if step.step == "decided"
        )
        for stream in STREAMS
    }
    if played.source == "mysql":
        assert all(detail["lineage"] == "gtid" for detail in forms.values())
    else:
        assert (forms["shop"]["form"], forms["stats"]["form"]) == ("specific-offset", "transplant")


def test_every_recorded_position_names_its_server(played: Played) -> None:
    """A position without the identity of its server is not a position."""
    for stream in STREAMS:
        rows = played.stage.ledger.positions(stream)
        assert len(rows) > 3
        assert {row.position.identity.server_id for row in rows} == {101, 102}


def test_the_status_has_the_shape_that_outside_tests_use(played: Played) -> None:
    """Names and types of `lab status --json`."""
    status = json.loads(json.dumps(lab_status(played.stage.home)))
    assert set(status) >= {"home", "services", "endpoints"}
    for service in status["services"]:
        assert set(service) == {
            "name", "kind", "version", "host", "port", "pid", "state", "stand_in",
        }  # fmt: skip
        assert service["host"] == "127.0.0.1"
        assert service["state"] == "running", service["name"]
    assert {s["name"] for s in status["services"] if s["stand_in"]} == {"rds", "endpoint"}
    for name in ("source", "blue", "green", "target_mysql"):
        assert set(status["endpoints"][name]) == {"host", "port", "user", "password", "database"}
    for name in ("flink", "sql_gateway", "rds", "dagster"):
        assert status["endpoints"][name]["url"].startswith("http://127.0.0.1:")


def test_the_command_line_explains_and_prints_the_ledger(played: Played) -> None:
    """Nothing to do is said, positions are printed, and no password is."""
    for stream in STREAMS:
        explained = cli(played, "explain", stream)
        assert explained.returncode == 0, explained.stderr
        assert "running" in explained.stdout
        positions = cli(played, "positions", stream)
        assert positions.returncode == 0, positions.stderr
        assert "mysql-bin-changelog." in positions.stdout
        for account in played.stage.state.accounts.values():
            assert account.password not in explained.stdout + positions.stdout


def test_preflight_finds_the_lab_ready(played: Played) -> None:
    """The lab's own accounts and settings are what preflight asks for."""
    found = cli(played, "preflight", "shop")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "ready" in found.stdout


def test_no_password_is_in_the_dagster_storage_or_the_logs(played: Played) -> None:
    """Secrets stay out of event logs, cursors, metadata, process output and the ledger."""
    home = played.stage.home
    passwords = [each.password.encode() for each in played.stage.state.accounts.values()]
    files = [*(home / "dagster").rglob("*"), *(home / "logs").glob("*"), home / "ledger.sqlite"]
    found = [
        str(path.relative_to(home))
        for path in files
        if path.is_file() and any(word in path.read_bytes() for word in passwords)
    ]
    assert found == []


@pytest.mark.parametrize("fault", ["taskmanager", "jobmanager", "connection"])
def test_a_fault_outside_a_switchover_is_recovered_without_loss(played: Played, fault: str) -> None:
    """A killed part of Flink, or a connection that closed silently, under the writer."""
    stage = played.stage
    before = {stream: stage.closed_recoveries(stream) for stream in STREAMS}
    writer = Writer(stage.source, first_id=next_order(stage))
    writer.start()
    try:
        time.sleep(2.0)
        strike(stage.home, fault)
        for stream in STREAMS:
            stage.wait_closed(stream, before[stream] + 1, budget_seconds=240.0)
        time.sleep(2.0)
    finally:
        writer.stop()
    assert counts(stage) == NOTHING


def next_order(stage: Stage) -> int:
    """Return a key of `orders` that was never used."""
    with stage.source.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT MAX(id) FROM orders")
        row = cursor.fetchone()
    return int(row[0] if row else 0) + 1000


def strike(home: Path, fault: str) -> None:
    """Kill one thing, and start it again as a supervisor would."""
    if fault == "connection":
        service = Stage(home).state.services["endpoint"]
        assert service.control_port is not None
        EndpointControl(service.host, service.control_port, 5.0).drop()
        return
    kill_service(home, fault, signal.SIGKILL)
    time.sleep(2.0)
    start_service(home, fault)


def test_the_ui_answers_and_knows_the_assets(played: Played) -> None:
    """The graph is there, with the stream's health check passed or being mended."""
    status = lab_status(played.stage.home)
    assert status is not None
    url = f"{status['endpoints']['dagster']['url']}/graphql"
    query = "{ assetNodes { assetKey { path } } }"
    reply = requests.post(url, json={"query": query}, timeout=30).json()
    keys = {"/".join(node["assetKey"]["path"]) for node in reply["data"]["assetNodes"]}
    assert {"shop/snapshot", "shop/stream", "stats/snapshot", "stats/stream"} <= keys
    assert {"target/target/orders", "target/target/target_table"} <= keys
