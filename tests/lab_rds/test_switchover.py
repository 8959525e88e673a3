"""Switchover of the stand-in, asked through boto3, over fake servers."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import requests
from botocore.exceptions import ClientError

from cdc_assets.errors import ServiceFailed
from cdc_assets.lab.rds_state import FileStore, Settings
from cdc_assets.lab.switchover import Switchover
from cdc_assets.lab.switchover_sql import BinlogPosition

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import FakeLab, Served

COORDINATES = (
    "Binary log coordinates in green environment after switchover: "
    "file mysql-bin-changelog.000003 and position 40134574"
)


def green_name(standin: Served) -> str:
    (name,) = [name for name in standin.instances() if name.startswith("lab-mysql-green-")]
    return name


def test_steps_come_in_order(standin: Served, lab: FakeLab) -> None:
    lab.log.clear()
    standin.switch()
    assert lab.log == [
        "blue stop_writes",
        "blue binlog_position",
        "green wait_applied mysql-bin-changelog.000007:4711",
        "blue binlog_position",
        "green stop_replication",
        "green binlog_position",
        "endpoint accept False",
        "endpoint drop",
        "blue drop_connections keep=repl",
        "green drop_connections keep=",
        "blue binlog_position",
        "green forget_replication",
        "endpoint move",
        "endpoint accept True",
        "green allow_writes",
    ]


def test_the_reply_is_in_progress_and_the_end_is_completed(standin: Served) -> None:
    identifier = standin.deployment()["BlueGreenDeploymentIdentifier"]
    reply = standin.client.switchover_blue_green_deployment(
        BlueGreenDeploymentIdentifier=identifier
    )
    assert reply["BlueGreenDeployment"]["Status"] == "SWITCHOVER_IN_PROGRESS"
    assert standin.settled()["Status"] == "SWITCHOVER_COMPLETED"


def test_blue_is_frozen_and_green_takes_the_endpoint(standin: Served, lab: FakeLab) -> None:
    standin.switch()
    assert not lab.blue.writable
    assert lab.green.writable
    assert lab.green.upstream is None
    assert lab.forwarder.target == lab.green.address
    assert lab.forwarder.accepting
    assert lab.roles == ("green", "blue")


def test_names_change_and_resource_ids_stay_with_the_servers(standin: Served) -> None:
    before = standin.instances()
    green = green_name(standin)
    standin.switch()
    after = standin.instances()
    assert set(after) == {"lab-mysql", "lab-mysql-old1"}
    assert after["lab-mysql-old1"]["DbiResourceId"] == before["lab-mysql"]["DbiResourceId"]
    assert after["lab-mysql"]["DbiResourceId"] == before[green]["DbiResourceId"]
    assert before["lab-mysql"]["DbiResourceId"] != before[green]["DbiResourceId"]
    assert after["lab-mysql"]["EngineVersion"] == "11.4.5"


def test_addresses_are_real_before_and_after(standin: Served) -> None:
    before = standin.instances()
    assert before["lab-mysql"]["Endpoint"]["Port"] == 3300
    assert before[green_name(standin)]["Endpoint"]["Port"] == 3302
    standin.switch()
    after = standin.instances()
    assert after["lab-mysql"]["Endpoint"]["Port"] == 3300
    assert after["lab-mysql-old1"]["Endpoint"]["Port"] == 3301
    assert {i["Endpoint"]["Address"] for i in after.values()} == {"127.0.0.1"}


def test_arns_of_the_deployment_follow_the_rename(standin: Served) -> None:
    green = green_name(standin)
    before = standin.deployment()
    assert before["Source"].endswith(":db:lab-mysql")
    assert before["Target"].endswith(f":db:{green}")
    after = standin.switch()
    assert after["Source"].endswith(":db:lab-mysql-old1")
    assert after["Target"].endswith(":db:lab-mysql")
    (detail,) = after["SwitchoverDetails"]
    assert detail == {
        "SourceMember": after["Source"],
        "TargetMember": after["Target"],
        "Status": "SWITCHOVER_COMPLETED",
    }


def test_a_taken_old_name_counts_on(
    lab: FakeLab, serve_standin: Callable[[FakeLab], Served], tmp_path: Path
) -> None:
    first = serve_standin(lab)
    blue = next(i for i in FileStore(tmp_path).state.instances if i.production)
    spare = replace(blue, name="lab-mysql-old1", resource_id="db-SPARE", production=False)
    first.close()
    FileStore(tmp_path).change(lambda state: state.with_instance(spare))
    second = serve_standin(lab)
    second.switch()
    assert {"lab-mysql-old1", "lab-mysql-old2"} <= set(second.instances())


def test_events_have_the_texts_and_types_of_aws(standin: Served) -> None:
    green = green_name(standin)
    standin.switch()
    assert standin.messages("blue-green-deployment")[1:] == [
        f"Switchover from lab-mysql to {green} started.",
        f"Switchover from primary lab-mysql to {green} started.",
        (
            f"Switchover from primary lab-mysql to {green} completed. "
            f"Renamed lab-mysql to lab-mysql-old1 and {green} to lab-mysql."
        ),
        "Switchover completed on blue/green deployment.",
    ]
    found = standin.client.describe_events(SourceType="blue-green-deployment")["Events"]
    assert [event["EventCategories"] for event in found] == [["creation"]] + [["notification"]] * 4
    identifier = standin.deployment()["BlueGreenDeploymentIdentifier"]
    assert {event["SourceIdentifier"] for event in found} == {identifier}


def test_the_coordinates_come_on_the_old_green_name_without_category(standin: Served) -> None:
    green = green_name(standin)
    standin.switch()
    found = standin.client.describe_events(SourceType="db-instance", SourceIdentifier=green)
    (event,) = found["Events"]
    assert event["Message"] == COORDINATES
    assert event["EventCategories"] == []
    assert event["SourceArn"].endswith(f":db:{green}")
    assert green not in standin.instances()


def test_the_coordinates_are_those_at_the_end_of_replication(standin: Served, lab: FakeLab) -> None:
    allow_writes = lab.green.allow_writes

    def write_at_once() -> None:
        allow_writes()
        lab.green.position = BinlogPosition("mysql-bin-changelog.000003", 99999999)

    lab.green.allow_writes = write_at_once  # type: ignore[method-assign] # a write on green
    standin.switch()
    assert COORDINATES in standin.messages("db-instance")


def test_catch_up_is_waited_for_again_when_blue_moves(standin: Served, lab: FakeLab) -> None:
    wait = lab.green.wait_applied
    moved: list[int] = []

    def wait_and_move(position: BinlogPosition, seconds: float) -> bool:
        if not moved:
            moved.append(1)
            lab.blue.position = replace(lab.blue.position, position=5000)
        return wait(position, seconds)

    lab.green.wait_applied = wait_and_move  # type: ignore[method-assign] # an administrator writes
    standin.switch()
    waits = [step for step in lab.log if "wait_applied" in step]
    assert [step.rpartition(":")[2] for step in waits] == ["4711", "5000"]


def test_connections_stay_refused_for_the_time_that_the_lab_asks_for(
    standin: Served, lab: FakeLab
) -> None:
    standin.post("/lab/settings", {"hold_seconds": 0.2})
    standin.switch()
    shown = requests.get(f"{standin.url}/lab/state", timeout=10).json()["last_switchover"]
    assert shown["writes_stopped_seconds"] >= 0.2
    assert lab.forwarder.accepting


def test_a_hold_beyond_the_timeout_rolls_back(standin: Served, lab: FakeLab) -> None:
    standin.post("/lab/settings", {"hold_seconds": 60, "switchover_timeout_cap_seconds": 0.2})
    assert standin.switch()["Status"] == "SWITCHOVER_FAILED"
    assert_as_before(standin, lab)


def test_suppressed_coordinates_stay_away_once(standin: Served) -> None:
    assert standin.post("/lab/suppress", {"coordinates": True}).ok
    assert standin.switch()["Status"] == "SWITCHOVER_COMPLETED"
    assert COORDINATES not in standin.messages("db-instance")
    state = FileStore(standin.home).state
    assert not state.settings.suppress_coordinates


def test_delayed_coordinates_are_not_visible_before_their_time(standin: Served) -> None:
    assert standin.post("/lab/suppress", {"delay_seconds": 900}).ok
    standin.switch()
    assert COORDINATES not in standin.messages("db-instance")
    (event,) = [e for e in FileStore(standin.home).state.events if e.message == COORDINATES]
    completed = FileStore(standin.home).state.events[-1]
    assert 890 < (event.date - completed.date).total_seconds() < 901


# ---------------------------------------------------------------- guardrails and roll back


def break_guardrail(lab: FakeLab, name: str) -> None:
    upstream = lab.green.upstream
    assert upstream is not None
    match name:
        case "no replication":
            lab.green.upstream = None
        case "other source":
            lab.green.upstream = replace(upstream, source="127.0.0.1:9")
        case "applier stopped":
            lab.green.upstream = replace(upstream, applying=False, error="duplicate key")
        case "unknown lag":
            lab.green.upstream = replace(upstream, lag_seconds=None)
        case "lag":
            lab.green.upstream = replace(upstream, lag_seconds=31)
        case "green writable":
            lab.green.writable = True
        case "external replication":
            lab.blue.upstream = upstream
        case _:
            lab.blue.longest_write = 61


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no replication", "green not replicating from blue"),
        ("other source", "green not replicating from blue"),
        ("applier stopped", "replication on green not being healthy: duplicate key"),
        ("unknown lag", "replica lag on green being unknown"),
        ("lag", "replica lag on green being 31 seconds"),
        ("green writable", "green being open for writes (read_only is 0)"),
        ("external replication", "external replication on blue"),
        ("long write", "a long-running write on blue, open for 61 seconds"),
    ],
)
def test_a_failed_guardrail_cancels_before_anything_changes(
    standin: Served, lab: FakeLab, name: str, reason: str
) -> None:
    break_guardrail(lab, name)
    lab.log.clear()
    green = green_name(standin)
    after = standin.switch()
    assert after["Status"] == "SWITCHOVER_FAILED"
    assert after["StatusDetails"] == reason
    assert lab.log == []
    assert lab.blue.writable
    assert standin.messages("blue-green-deployment")[-2:] == [
        f"Switchover from primary lab-mysql to {green} was canceled due to {reason}.",
        "Switchover canceled on blue/green deployment.",
    ]


def test_cancel_events_are_failures(standin: Served, lab: FakeLab) -> None:
    lab.green.upstream = None
    standin.switch()
    found = standin.client.describe_events(EventCategories=["failure"])["Events"]
    assert len(found) == 2


def assert_as_before(standin: Served, lab: FakeLab) -> None:
    assert lab.blue.writable
    assert not lab.green.writable
    assert lab.green.upstream is not None
    assert lab.green.upstream.receiving
    assert lab.green.upstream.applying
    assert lab.forwarder.accepting
    assert lab.forwarder.target == lab.blue.address
    assert "lab-mysql-old1" not in standin.instances()
    assert standin.messages("db-instance") == [
        message
        for message in standin.messages("db-instance")
        if message.startswith("Starting to terminate connections")
    ]


def test_a_time_out_rolls_everything_back(standin: Served, lab: FakeLab) -> None:
    lab.green.never_catches_up = True
    standin.post("/lab/settings", {"switchover_timeout_cap_seconds": 0.3})
    after = standin.switch(SwitchoverTimeout=30)
    assert after["Status"] == "SWITCHOVER_FAILED"
    assert "timeout of 0.3 seconds" in after["StatusDetails"]
    assert_as_before(standin, lab)


def test_writes_that_cannot_be_stopped_roll_back(standin: Served, lab: FakeLab) -> None:
    lab.blue.refuses_read_only = True
    standin.post("/lab/settings", {"switchover_timeout_cap_seconds": 0.3})
    assert standin.switch()["Status"] == "SWITCHOVER_FAILED"
    assert "blue drop_connections keep=repl" in lab.log
    assert_as_before(standin, lab)


@pytest.mark.parametrize(
    ("server", "step"),
    [
        ("blue", "stop_writes"),
        ("blue", "drop_connections keep=repl"),
        ("green", "drop_connections keep="),
        ("blue", "binlog_position"),
        ("green", "wait_applied mysql-bin-changelog.000007:4711"),
        ("green", "stop_replication"),
        ("green", "binlog_position"),
    ],
)
def test_a_server_that_fails_before_the_rename_rolls_back(
    standin: Served, lab: FakeLab, server: str, step: str
) -> None:
    lab.server(server).fail_on.add(step)
    after = standin.switch()
    assert after["Status"] == "SWITCHOVER_FAILED"
    assert f"{step} failed" in after["StatusDetails"]
    assert_as_before(standin, lab)


def test_a_write_after_the_catch_up_rolls_back(standin: Served, lab: FakeLab) -> None:
    # read_only does not bind an administrator; such a row would stay behind on old blue.
    def write(keep: frozenset[str]) -> int:
        lab.blue.position = replace(lab.blue.position, position=4712)
        return len(keep)

    lab.blue.drop_connections = write  # type: ignore[method-assign] # the last moment for it
    after = standin.switch()
    assert after["Status"] == "SWITCHOVER_FAILED"
    assert (
        "from mysql-bin-changelog.000007:4711 to mysql-bin-changelog.000007:4712"
        in (after["StatusDetails"])
    )
    assert_as_before(standin, lab)


def test_after_a_failure_the_deployment_can_be_switched_over(standin: Served, lab: FakeLab) -> None:
    lab.green.fail_on.add("stop_replication")
    standin.switch()
    lab.green.fail_on.clear()
    assert standin.switch()["Status"] == "SWITCHOVER_COMPLETED"


def test_a_paused_applier_is_started_again_by_the_roll_back(standin: Served, lab: FakeLab) -> None:
    lab.green.never_catches_up = True
    standin.post(
        "/lab/settings", {"pause_green_apply": True, "switchover_timeout_cap_seconds": 0.3}
    )
    standin.switch()
    assert lab.log.index("green stop_applying") < lab.log.index("blue stop_writes")
    assert lab.log[-1] == "green start_replication"


def test_roll_back_goes_on_after_a_step_that_fails(standin: Served, lab: FakeLab) -> None:
    lab.green.fail_on |= {"binlog_position", "start_replication"}
    standin.switch()
    assert lab.blue.writable
    assert lab.forwarder.accepting


@pytest.mark.parametrize("seconds", [30, 3600])
def test_the_border_timeouts_are_accepted(standin: Served, seconds: int) -> None:
    assert standin.switch(SwitchoverTimeout=seconds)["Status"] == "SWITCHOVER_COMPLETED"


def test_a_longer_timeout_is_refused(standin: Served) -> None:
    with pytest.raises(ClientError, match="InvalidParameterValue"):
        standin.switch(SwitchoverTimeout=3601)


def test_a_second_switchover_of_the_same_deployment_is_refused(standin: Served) -> None:
    standin.switch()
    with pytest.raises(ClientError, match="InvalidBlueGreenDeploymentStateFault"):
        standin.switch()


def test_an_unknown_deployment_is_not_found(standin: Served) -> None:
    with pytest.raises(ClientError, match="BlueGreenDeploymentNotFoundFault"):
        standin.client.switchover_blue_green_deployment(BlueGreenDeploymentIdentifier="bgd-none")


class Journal:
    def __init__(self) -> None:
        self.steps: list[str] = []

    def dropping_connections(self) -> None:
        self.steps.append("dropping")

    def renamed(self, coordinates: BinlogPosition) -> None:
        self.steps.append(f"renamed {coordinates.file}:{coordinates.position}")

    def completed(self) -> None:
        self.steps.append("completed")


def test_after_the_rename_a_dead_endpoint_is_waited_for(lab: FakeLab) -> None:
    failures = [ServiceFailed("endpoint does not answer")] * 50
    move = lab.forwarder.move

    def fail_first(target: str) -> None:
        if failures:
            raise failures.pop()
        move(target)

    lab.forwarder.move = fail_first  # type: ignore[method-assign] # killed, then started again
    journal, slept = Journal(), list[float]()
    switchover = Switchover(
        lab.blue, lab.green, lab.forwarder, journal, Settings(), sleep=slept.append
    )
    switchover.run(30)
    assert journal.steps == ["dropping", "renamed mysql-bin-changelog.000003:40134574", "completed"]
    assert lab.green.writable
    assert not lab.blue.writable
    assert max(slept[1:]) == 2.0


# ---------------------------------------------------------------- a killed process


def begin_and_kill(home: Path, *, renamed: bool) -> None:
    """Leave the state that a process killed in the middle of a switchover leaves."""

    def edit(state: Any) -> Any:  # noqa: ANN401 - RdsState both
        (record,) = state.deployments
        blue = state.instance_by_resource(record.source)
        green = state.instance_by_resource(record.target)
        record = replace(
            record.with_status("SWITCHOVER_IN_PROGRESS"),
            timeout_seconds=300,
            old_names=(blue.name, green.name),
            renamed=renamed,
        )
        if renamed:
            state = state.with_instance(blue.renamed("lab-mysql-old1", production=False))
            state = state.with_instance(green.renamed("lab-mysql", production=True))
            arn = record.source_arn
            record = replace(record, source_arn=f"{arn}-old1", target_arn=arn)
        return state.with_deployment(record)

    FileStore(home).change(edit)


def test_a_kill_before_the_rename_is_rolled_back_at_the_next_start(
    lab: FakeLab, serve_standin: Callable[[FakeLab], Served], tmp_path: Path
) -> None:
    serve_standin(lab).close()
    begin_and_kill(tmp_path, renamed=False)
    lab.blue.writable = False
    lab.forwarder.accepting = False
    lab.green.stop_replication()
    again = serve_standin(lab)
    assert again.settled()["Status"] == "SWITCHOVER_FAILED"
    assert_as_before(again, lab)


def test_a_kill_after_the_rename_is_completed_at_the_next_start(
    lab: FakeLab, serve_standin: Callable[[FakeLab], Served], tmp_path: Path
) -> None:
    serve_standin(lab).close()
    begin_and_kill(tmp_path, renamed=True)
    lab.blue.writable = False
    lab.forwarder.accepting = False
    again = serve_standin(lab)
    assert again.settled()["Status"] == "SWITCHOVER_COMPLETED"
    assert lab.green.writable
    assert lab.forwarder.accepting
    assert lab.forwarder.target == lab.green.address
    assert lab.roles == ("green", "blue")
    assert re.search(
        r"Renamed lab-mysql to lab-mysql-old1", "".join(again.messages("blue-green-deployment"))
    )


def test_events_names_and_ids_survive_a_restart(
    lab: FakeLab, serve_standin: Callable[[FakeLab], Served]
) -> None:
    first = serve_standin(lab)
    first.switch()
    events = first.client.describe_events()["Events"]
    ids = {name: i["DbiResourceId"] for name, i in first.instances().items()}
    deployment = first.deployment()
    first.close()
    second = serve_standin(lab)
    assert second.client.describe_events()["Events"] == events
    assert {name: i["DbiResourceId"] for name, i in second.instances().items()} == ids
    assert second.deployment() == deployment
