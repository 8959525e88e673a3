"""The silent stall on real servers: how many ticks the health sensor needs to report it."""

from __future__ import annotations

import time

import requests

from cdc_assets.lab.comparison import compare
from cdc_assets.lab.endpoint_control import EndpointControl
from cdc_assets.lab.stage import COMPARED, STREAMS, Stage
from cdc_assets.lab.status import lab_status
from cdc_assets.lab.workload import Login
from tests.integration.conftest import Played

READERS = """SELECT COUNT(*) FROM information_schema.processlist
WHERE command LIKE 'Binlog Dump%%' AND user IN (%s, %s)"""
SEEN = """query Seen($asset: [String!]!, $sensor: SensorSelector!) {
  assetOrError(assetKey: {path: $asset}) {
    ... on Asset { assetObservations(limit: 50) { timestamp description } }
  }
  sensorOrError(sensorSelector: $sensor) {
    ... on Sensor { sensorState { ticks(limit: 50) { timestamp } } }
  }
}"""


def connections(stage: Stage) -> int:
    """Return how many binlog connections the streams have, on any server."""
    found = 0
    users = [stage.state.accounts[role].user for role in ("cdc", "cdc_stats")]
    for name in ("blue", "green"):
        server = stage.state.servers[name]
        login = Login(server.host, server.port, server.admin_user, server.admin_password, "source")
        with login.connect() as connection, connection.cursor() as cursor:
            cursor.execute(READERS, users)
            row = cursor.fetchone()
            found += int(row[0]) if row else 0
    return found


def unread_since(stage: Stage) -> float:
    """Wait until no stream is connected; a server notices a closed connection with a delay."""
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline:
        if connections(stage) == 0:
            return time.time()
        time.sleep(0.05)
    message = "the dropped connections are still there"
    raise AssertionError(message)


def job_state(stage: Stage, stream: str) -> str:
    """Return what Flink says of the newest incarnation's job."""
    service = stage.state.services["jobmanager"]
    job = stage.ledger.incarnations(stream)[-1].job_id
    url = f"http://{service.host}:{service.port}/jobs/{job}"
    return str(requests.get(url, timeout=10).json()["state"])


def seen(stage: Stage, stream: str) -> tuple[list[tuple[float, str]], list[float]]:
    """Return the stream's observations, and when its health sensor's ticks began."""
    status = lab_status(stage.home)
    assert status is not None
    sensor = {
        "repositoryName": "__repository__",
        "repositoryLocationName": "mysql_cdc",
        "sensorName": f"health_{stream}",
    }
    reply = requests.post(
        f"{status['endpoints']['dagster']['url']}/graphql",
        json={"query": SEEN, "variables": {"asset": [stream, "stream"], "sensor": sensor}},
        timeout=30,
    ).json()["data"]
    observations = reply["assetOrError"]["assetObservations"]
    ticks = reply["sensorOrError"]["sensorState"]["ticks"]
    return (
        [(int(each["timestamp"]) / 1000, each["description"] or "") for each in observations],
        [each["timestamp"] for each in ticks],
    )


def ticks_until_reported(stage: Stage, stream: str, since: float) -> int:
    """Wait for the report of the stall, and count the ticks that began until then."""
    deadline = time.monotonic() + 120.0
    while time.monotonic() < deadline:
        observations, ticks = seen(stage, stream)
        reports = [at for at, text in observations if at > since and "silent stall" in text]
        if reports:
            return sum(since < tick < min(reports) for tick in ticks)
        time.sleep(0.5)
    message = f"the stall of {stream} was not reported"
    raise AssertionError(message)


def test_a_silent_stall_is_reported_within_two_ticks(played: Played) -> None:
    """RUNNING without a binlog connection: only the source shows it, and the sensor looks there."""
    stage = played.stage
    before = {stream: stage.closed_recoveries(stream) for stream in STREAMS}
    endpoint = stage.state.services["endpoint"]
    assert endpoint.control_port is not None
    assert connections(stage) >= 3  # one for each captured table
    EndpointControl(endpoint.host, endpoint.control_port, 5.0).drop()
    since = unread_since(stage)
    assert [job_state(stage, stream) for stream in STREAMS] == ["RUNNING", "RUNNING"]
    assert [ticks_until_reported(stage, stream, since) <= 2 for stream in STREAMS] == [True, True]
    for stream in STREAMS:
        stage.wait_closed(stream, before[stream] + 1, budget_seconds=240.0)
    stage.settle(budget_seconds=90.0)
    found = compare(stage.source, stage.landing, COMPARED)
    assert [(each.lost, each.doubled) for each in found] == [(0, 0)] * len(COMPARED)
