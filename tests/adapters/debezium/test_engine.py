"""The engine over a worker that is played, and a source that is in memory."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cdc_assets.core.position import Coordinates
from cdc_assets.debezium.client import ConnectClient
from cdc_assets.debezium.engine import DebeziumEngine
from cdc_assets.debezium.offsets import ConnectorState, offset_at
from cdc_assets.errors import (
    CheckpointUnreadable,
    EngineRejected,
    EngineUnreachable,
    SavepointFailed,
    TransplantRefused,
)
from cdc_assets.operations.deploy import deploy
from cdc_assets.operations.observe import Memory, observe
from cdc_assets.operations.recover import recover
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.operations.snapshot import snapshot
from cdc_assets.ports import Launch, Server
from cdc_assets.testing.builders import FILE, BlueGreen
from cdc_assets.testing.source import FakeServer
from tests.adapters.debezium.conftest import ACCESS, Connector, Worker, stream
from tests.operations.world import BUDGETS

JOBS = [f"{number:032x}" for number in range(20)]
PARTITION = {"server": "orders"}


def order(lab: BlueGreen, number: int, **more: object) -> Launch:
    return Launch(JOBS[number], f"orders:{number}", stream(), lab.source.endpoint, **more)


def name_of(number: int) -> str:
    return f"cdc-orders-{number}-{JOBS[number]}"


def put(worker: Worker, number: int, **offset: object) -> None:
    entry = {"partition": PARTITION, "offset": {"file": FILE, "pos": 256, **offset}}
    worker.connectors[name_of(number)].offsets = [entry]


def test_a_snapshot_begins_without_an_offset(
    engine: DebeziumEngine, lab: BlueGreen, worker: Worker
) -> None:
    assert engine.launch(order(lab, 1)) == JOBS[1]
    connector = worker.connectors[name_of(1)]
    assert connector.config["snapshot.mode"] == "initial"
    assert connector.config["connector.class"].endswith("MySqlConnector")
    assert engine.job(JOBS[1]).state == "RUNNING"
    with pytest.raises(SavepointFailed, match="no offset"):
        engine.checkpoint(JOBS[1], budget_seconds=1)
    put(worker, 1, snapshot="INITIAL", snapshot_completed=False)
    assert engine.checkpoint(JOBS[1], budget_seconds=1).snapshot_running
    put(worker, 1, ts_sec=7)
    view = engine.checkpoint(JOBS[1], budget_seconds=1)
    assert not view.snapshot_running
    assert engine.read_state(view.path) == view


def test_a_start_at_coordinates_reads_the_tables_anew_and_proves_the_offset(
    engine: DebeziumEngine, lab: BlueGreen, worker: Worker
) -> None:
    lab.insert(1, 2, 3)
    engine.launch(order(lab, 2, coordinates=Coordinates(FILE, 256)))
    connector = worker.connectors[name_of(2)]
    assert connector.config["snapshot.mode"] == "recovery"
    assert connector.config["schema.history.internal.file.filename"].endswith(
        f"/{name_of(2)}.jsonl"
    )
    assert connector.offsets == [{"partition": PARTITION, "offset": {"file": FILE, "pos": 256}}]
    assert connector.state == "RUNNING"
    calls = [call for call in worker.calls if call[0] != "GET"]
    path = f"/connectors/{name_of(2)}"
    assert calls == [("POST", "/connectors"), ("PATCH", f"{path}/offsets"),
                     ("PUT", f"{path}/resume")]  # fmt: skip


def test_a_state_goes_on_with_its_schema_history(
    engine: DebeziumEngine, lab: BlueGreen, worker: Worker
) -> None:
    engine.launch(order(lab, 1))
    put(worker, 1, event=2, row=1, server_id=101)
    stopped = engine.stop(JOBS[1], purpose="x", budget_seconds=5)
    assert engine.stop(JOBS[1], purpose="x", budget_seconds=5) == stopped
    assert engine.job(JOBS[1]).state == "FINISHED"
    engine.launch(order(lab, 2, restore_path=stopped.path))
    first, second = worker.connectors[name_of(1)], worker.connectors[name_of(2)]
    assert second.offsets == first.offsets
    history = "schema.history.internal.file.filename"
    assert second.config[history] == first.config[history]
    assert second.config["snapshot.mode"] == "initial"


def test_what_never_ran_after_coordinates_has_no_schema_history(
    engine: DebeziumEngine, lab: BlueGreen, worker: Worker
) -> None:
    engine.launch(order(lab, 2, coordinates=Coordinates(FILE, 256)))
    left = engine.stop(JOBS[2], purpose="x", budget_seconds=5)
    engine.launch(order(lab, 3, restore_path=left.path))
    assert worker.connectors[name_of(3)].config["snapshot.mode"] == "recovery"


def test_a_place_that_the_server_does_not_hold_is_refused_before_anything_starts(
    engine: DebeziumEngine, lab: BlueGreen, worker: Worker
) -> None:
    for place in (Coordinates("other.000009", 4), Coordinates(FILE, 10**6)):
        with pytest.raises(EngineRejected, match="does not hold"):
            engine.launch(order(lab, 2, coordinates=place))
    copying = ConnectorState({"file": FILE, "pos": 256, "snapshot": True}, "h")
    with pytest.raises(EngineRejected, match="initial copy"):
        engine.launch(order(lab, 2, restore_path=copying.path))
    with pytest.raises(CheckpointUnreadable):
        engine.launch(order(lab, 2, restore_path="/flink/chk-1"))
    assert worker.connectors == {}


def test_an_offset_that_the_worker_did_not_keep_is_not_started(
    engine: DebeziumEngine, lab: BlueGreen, worker: Worker
) -> None:
    path = f"/connectors/{name_of(2)}/offsets"
    worker.forced[("PATCH", path)] = (200, {"message": "altered"})
    with pytest.raises(EngineRejected, match="was given the offset"):
        engine.launch(order(lab, 2, coordinates=Coordinates(FILE, 256)))
    assert worker.connectors[name_of(2)].state == "STOPPED"
    del worker.forced[("PATCH", path)]
    engine.launch(order(lab, 2, coordinates=Coordinates(FILE, 256)))
    assert worker.connectors[name_of(2)].state == "RUNNING"


def test_a_second_launch_adopts_the_connector_where_it_is(
    engine: DebeziumEngine, lab: BlueGreen, worker: Worker
) -> None:
    lab.insert(1, 2)
    launch = order(lab, 2, coordinates=Coordinates(FILE, 256))
    engine.launch(launch)
    put(worker, 2, pos=300)
    engine.launch(launch)
    engine.stop(JOBS[2], purpose="x", budget_seconds=5)
    engine.launch(launch)
    connector = worker.connectors[name_of(2)]
    assert connector.state == "STOPPED"
    assert connector.offsets[0]["offset"]["pos"] == 300


def test_an_older_connector_is_stopped_before_a_newer_one_is_made(
    engine: DebeziumEngine, lab: BlueGreen, worker: Worker
) -> None:
    worker.connectors["someone-elses"] = Connector({}, "RUNNING")
    for number in range(1, 9):
        engine.launch(order(lab, number))
    states = {name: connector.state for name, connector in worker.connectors.items()}
    assert states.pop("someone-elses") == "RUNNING"
    assert states.pop(name_of(8)) == "RUNNING"
    assert set(states) == {name_of(number) for number in range(3, 8)}
    assert set(states.values()) == {"STOPPED"}
    with pytest.raises(EngineRejected, match=rf"connector {name_of(8)} .* two copies never run"):
        engine.launch(order(lab, 7, coordinates=Coordinates(FILE, 256)))


def test_a_failed_task_is_a_failed_job_with_its_cause(
    engine: DebeziumEngine, lab: BlueGreen, worker: Worker
) -> None:
    engine.launch(order(lab, 1))
    worker.fail(
        name_of(1),
        "org.apache.kafka.connect.errors.ConnectException: An exception occurred\n\tat a\n"
        "Caused by: io.debezium.DebeziumException: Error code: 1236; SQLSTATE: HY000.\n\tat b\n"
        "Caused by: com.github.shyiko.mysql.binlog.network.ServerException: Could not find first "
        "log file name in binary log index file\n\tat c",
    )
    view = engine.job(JOBS[1])
    assert (view.state, view.failure_class) == ("FAILED", "needs-new-position")
    assert view.failure.startswith("ServerException: Could not find first log file name")


@pytest.mark.parametrize(
    "said",
    [
        ("RUNNING", [], "INITIALIZING"),
        ("RUNNING", ["RUNNING"], "RUNNING"),
        ("RUNNING", ["UNASSIGNED"], "INITIALIZING"),
        ("RUNNING", ["RESTARTING"], "RESTARTING"),
        ("RUNNING", ["FAILED"], "FAILED"),
        ("FAILED", [], "FAILED"),
        ("PAUSED", ["PAUSED"], "SUSPENDED"),
        ("PAUSED", ["RUNNING"], "SUSPENDED"),
        ("STOPPED", ["RUNNING"], "CANCELLING"),
        ("STOPPED", [], "FINISHED"),
        ("UNASSIGNED", [], "INITIALIZING"),
    ],
)
def test_the_tasks_decide_what_the_state_is(
    engine: DebeziumEngine, lab: BlueGreen, worker: Worker, said: tuple[str, list[str], str]
) -> None:
    state, tasks, found = said
    engine.launch(order(lab, 1))
    connector = worker.connectors[name_of(1)]
    connector.state = state
    connector.tasks = [{"id": 0, "state": task} for task in tasks]
    assert engine.job(JOBS[1]).state == found


def test_a_worker_that_is_down_is_unknown_never_failed(lab: BlueGreen) -> None:
    kept = ConnectorState(offset_at(Coordinates(FILE, 300)), "h").path
    engine = DebeziumEngine(
        client=ConnectClient("http://127.0.0.1:1", timeout_seconds=1),
        spec=stream(),
        source=lab.source,
        access=ACCESS,
        clock=lab.clock,
        remembered=lambda job_id: kept if job_id == JOBS[1] else "",
    )
    assert engine.job(JOBS[1]).state == "UNKNOWN"
    assert engine.wait_running(JOBS[1], budget_seconds=5).state == "UNKNOWN"
    remembered = engine.latest_state(JOBS[1])
    assert remembered is not None
    assert remembered.splits[0].pos == 300
    assert engine.latest_state(JOBS[2]) is None
    for call in (
        lambda: engine.launch(order(lab, 1)),
        lambda: engine.stop(JOBS[1], purpose="x", budget_seconds=1),
        lambda: engine.cancel(JOBS[1], budget_seconds=1),
        lambda: engine.checkpoint(JOBS[1], budget_seconds=1),
    ):
        with pytest.raises(EngineUnreachable):
            call()
    (fault,) = engine.faults({})
    assert fault.field == "connect.rest_url"
    assert "no answer" in fault.found


def test_a_worker_that_was_started_again_knows_no_connector(
    engine: DebeziumEngine, lab: BlueGreen, worker: Worker
) -> None:
    engine.launch(order(lab, 1))
    worker.connectors.clear()
    assert engine.job(JOBS[1]).state == "GONE"
    assert engine.latest_state(JOBS[1]) is None
    engine.cancel(JOBS[1], budget_seconds=1)
    with pytest.raises(SavepointFailed, match="no such connector"):
        engine.stop(JOBS[1], purpose="x", budget_seconds=1)


def test_a_connector_that_does_not_stop_is_told(
    engine: DebeziumEngine, lab: BlueGreen, worker: Worker
) -> None:
    engine.launch(order(lab, 1))
    worker.forced[("PUT", f"/connectors/{name_of(1)}/stop")] = (204, None)
    with pytest.raises(SavepointFailed, match="did not stop within 3 s"):
        engine.stop(JOBS[1], purpose="x", budget_seconds=3)
    with pytest.raises(SavepointFailed, match="did not stop"):
        engine.launch(order(lab, 2))
    assert name_of(2) not in worker.connectors


def test_a_state_is_never_rewritten(engine: DebeziumEngine) -> None:
    with pytest.raises(TransplantRefused, match="no state to be rewritten"):
        engine.transplant("x", name="y", coordinates=Coordinates(FILE, 4), drained=())


def test_preflight_names_a_missing_connector_and_a_table_that_cannot_be_captured(
    engine: DebeziumEngine, worker: Worker
) -> None:
    assert engine.faults({}) == []
    worker.plugins = []
    (fault,) = engine.faults({})
    assert fault.field == "connect.plugins"
    assert "debezium-connector-mysql" in fault.fix


# ---------------------------------------------------------------- with the operations


def world(lab: BlueGreen, client: ConnectClient, worker: Worker) -> StreamRuntime:
    """Return a stream whose connectors read the fake servers, without delivering rows."""
    spec = stream()
    places = {(s.address.host, s.address.port): s for s in (lab.blue, lab.green)}

    def server_of(connector: Connector) -> FakeServer:
        host, port = connector.config["database.hostname"], connector.config["database.port"]
        if Server(host, int(port)) == lab.source.endpoint:
            return lab.source.production
        return places[(host, int(port))]

    def read(connector: Connector) -> None:
        end = server_of(connector).end
        entry = {"file": end.file, "pos": end.pos, "ts_sec": 5}
        connector.offsets = [{"partition": PARTITION, "offset": entry}]

    def connect() -> None:
        lab.source.connections.clear()
        for name, connector in worker.connectors.items():
            if connector.state == "RUNNING":
                lab.source.connections[name] = (server_of(connector), spec.server_ids)

    worker.after = connect
    worker.read = read
    ledger = lab.ledger

    def remembered(job_id: str) -> str:
        numbers = [row.number for row in ledger.incarnations("orders") if row.job_id == job_id]
        rows = ledger.positions("orders")
        return next((row.path for row in rows if row.incarnation in numbers and row.path), "")

    engine = DebeziumEngine(
        client=client,
        spec=spec,
        source=lab.source,
        access=ACCESS,
        clock=lab.clock,
        remembered=remembered,
    )
    return StreamRuntime(
        spec=spec,
        engine=engine,
        source=lab.source,
        target=lab.target,
        ledger=ledger,
        clock=lab.clock,
        feed=lab.feed,
        budgets=replace(BUDGETS, reconcile_seconds=1.0),
    )


def running(worker: Worker) -> Connector:
    """Return the one connector that runs."""
    (found,) = [each for each in worker.connectors.values() if each.state == "RUNNING"]
    return found


def test_a_switchover_drains_old_blue_and_goes_on_at_the_coordinates(
    lab: BlueGreen, client: ConnectClient, worker: Worker
) -> None:
    rt = world(lab, client, worker)
    lab.insert(1, 2, 3)
    snapshot(rt)
    deploy(rt)
    lab.insert(4, 5)
    rt.engine.stop(rt.ledger.incarnations("orders")[-1].job_id, purpose="x", budget_seconds=5)
    lab.insert(6, 7)
    worker.connectors[next(iter(worker.connectors))].state = "STOPPED"
    coordinates = lab.switch_over()
    outcome = recover(rt, worker="w")
    assert outcome.decision == "Relaunch"
    kinds = [row.kind for row in rt.ledger.incarnations("orders")]
    assert kinds == ["snapshot", "stream", "drain", "stream"]
    drained = rt.ledger.incarnations("orders")[2]
    assert drained.host == lab.blue.address.host
    now = running(worker)
    assert now.config["snapshot.mode"] == "recovery"
    start = json.loads(now.config["cdc.start"])
    assert start == {"file": coordinates.file, "pos": coordinates.pos}
    assert observe(rt, Memory()).observation.job.state == "RUNNING"


def test_a_worker_started_again_goes_on_from_what_the_ledger_remembers(
    lab: BlueGreen, client: ConnectClient, worker: Worker
) -> None:
    rt = world(lab, client, worker)
    lab.insert(1, 2, 3)
    snapshot(rt)
    deployed = deploy(rt)
    worker.connectors.clear()
    lab.insert(4)
    outcome = recover(rt, worker="w")
    assert outcome.decision == "Resume"
    start = json.loads(running(worker).config["cdc.start"])
    assert start["pos"] == deployed.positions[0].coordinates.pos


def test_a_stream_that_runs_as_it_is_written_is_left_alone(
    lab: BlueGreen, client: ConnectClient, worker: Worker
) -> None:
    rt = world(lab, client, worker)
    snapshot(rt)
    first = deploy(rt)
    assert not first.adopted
    assert deploy(rt).adopted
    changed = replace(rt.spec, exclude_columns=("orders.item",))
    engine = DebeziumEngine(
        client=client, spec=changed, source=lab.source, access=ACCESS, clock=lab.clock
    )
    again = deploy(replace(rt, spec=changed, engine=engine))
    assert not again.adopted
    assert running(worker).config["column.exclude.list"] == r"shop\.orders\.item"
