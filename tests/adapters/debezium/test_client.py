"""Connect's REST: what each answer means, and what a wrong or missing one becomes."""

from __future__ import annotations

import pytest

from cdc_assets.debezium.client import ConnectClient, ConnectorStatus, TaskStatus
from cdc_assets.errors import ConfigurationError, EngineRejected, EngineUnreachable
from tests.adapters.debezium.conftest import Worker

PARTITION, OFFSET = {"server": "orders"}, {"file": "a.000001", "pos": 4}


def test_a_connector_from_its_making_to_its_end(client: ConnectClient, worker: Worker) -> None:
    assert client.version() == "4.1.0"
    assert client.connectors() == ()
    assert client.create("one", {"a": "b"}, stopped=True)
    assert client.status("one") == ConnectorStatus("STOPPED")
    client.set_offsets("one", PARTITION, OFFSET)
    assert client.offsets("one") == [{"partition": PARTITION, "offset": OFFSET}]
    client.resume("one")
    assert client.status("one") == ConnectorStatus("RUNNING", (TaskStatus("RUNNING"),))
    assert client.settings("one") == {"name": "one", "a": "b"}
    assert client.stop("one")
    assert client.delete("one")
    assert client.connectors() == ()
    assert worker.connectors == {}


def test_a_connector_that_is_not_there_is_none(client: ConnectClient) -> None:
    assert client.status("gone") is None
    assert client.settings("gone") is None
    assert client.offsets("gone") is None
    assert not client.stop("gone")
    assert not client.delete("gone")
    with pytest.raises(EngineRejected, match="not found"):
        client.resume("gone")


def test_a_second_connector_of_a_name_is_not_made(client: ConnectClient) -> None:
    assert client.create("one", {}, stopped=False)
    assert not client.create("one", {}, stopped=False)


def test_a_failed_task_tells_its_trace_without_the_password(
    client: ConnectClient, worker: Worker
) -> None:
    client.create("one", {}, stopped=False)
    worker.fail("one", "a.B: user cdc, password s3cret\n\tat x")
    status = client.status("one")
    assert status is not None
    assert status.state == "RUNNING"
    assert status.tasks == (TaskStatus("FAILED", "a.B: user cdc, password ***\n\tat x"),)


def test_a_refusal_says_what_the_worker_said_without_the_password(
    client: ConnectClient, worker: Worker
) -> None:
    said = "Connector configuration is invalid: s3cret\nis wrong"
    worker.forced[("POST", "/connectors")] = (400, {"error_code": 400, "message": said})
    with pytest.raises(EngineRejected, match=r"invalid: \*\*\* is wrong") as caught:
        client.create("one", {"database.password": "s3cret"}, stopped=False)
    assert caught.value.status == 400
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>"),
        (200, b"[" * 100_000),
        (200, []),
        (302, {}),
        (404, b""),
        (404, {}),
        (500, b"oops"),
        (503, {"error": "down"}),
    ],
)
def test_what_is_not_connects_answer_is_no_answer(
    client: ConnectClient, worker: Worker, answer: tuple[int, object]
) -> None:
    worker.forced[("GET", "/connectors/one/status")] = answer
    with pytest.raises(EngineUnreachable, match="not Kafka Connect's") as caught:
        client.status("one")
    assert caught.value.recoverability == "TRANSIENT"


def test_a_worker_that_is_down_is_named() -> None:
    with pytest.raises(
        EngineUnreachable, match=r"Kafka Connect at http://127\.0\.0\.1:1"
    ) as caught:
        ConnectClient("http://127.0.0.1:1", timeout_seconds=1).connectors()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["", "connect:8083", "ftp://connect", "http://", "http://cdc:s3cret@connect:8083"]
)
def test_an_address_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"connect\.rest_url: write it as") as caught:
        ConnectClient(url)
    assert "s3cret" not in str(caught.value)
