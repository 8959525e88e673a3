"""The health sensor: one behaviour per test."""

from __future__ import annotations

import dagster as dg
import pytest

from cdc_assets.dispatch import Limits
from cdc_assets.errors import (
    ConfigurationError,
    LedgerUnreachable,
    LedgerUnreadable,
    UnreadablePosition,
)
from tests.surface.stage import Stage, Tick

AT_ONCE = Limits(stale_seconds=-1, starting_seconds=-1, pause_seconds=0)


def kinds(data: Tick) -> list[str]:
    return [type(event).__name__ for event in data.asset_events]


def test_an_unreadable_cursor_stops_the_tick_and_names_the_sensor(stage: Stage) -> None:
    stage.deploy(1)
    stage.cursors["health"] = "{not json"
    with pytest.raises(UnreadablePosition, match="cursor of its health sensor cannot be read"):
        stage.tick("health")


def test_a_cursor_of_another_shape_is_not_reset(stage: Stage) -> None:
    stage.deploy(1)
    stage.cursors["health"] = '{"version": 1, "memory": {}}'
    with pytest.raises(UnreadablePosition):
        stage.tick("health")


def test_the_first_tick_reports_health_and_position(stage: Stage) -> None:
    stage.deploy(1, 2)
    data = stage.tick("health")
    observation, check = data.asset_events
    assert observation.asset_key == dg.AssetKey(["orders", "stream"])
    assert observation.metadata["cdc/incarnation"].value == 2
    assert "mysql-bin-changelog.000001" in observation.metadata["cdc/position"].value
    assert check.check_name == "health"
    assert check.passed


def test_a_second_tick_reports_nothing(stage: Stage) -> None:
    stage.deploy(1)
    stage.tick("health")
    data = stage.tick("health")
    assert data.asset_events == []
    assert data.run_requests == []
    assert "running" in data.skip_message


def test_a_stream_without_changes_is_reported_on_the_heartbeat(stage: Stage) -> None:
    stage.deploy(1)
    stage.tick("health")
    stage.lab.clock.sleep(299)
    assert stage.tick("health").asset_events == []
    stage.lab.clock.sleep(2)
    assert kinds(stage.tick("health")) == ["AssetObservation", "AssetMaterialization"]


def test_the_heartbeat_of_a_job_without_new_checkpoints_is_no_progress(stage: Stage) -> None:
    stage.deploy(1)
    stage.tick("health")
    stage.lab.engine.auto_checkpoint = False
    stage.lab.clock.sleep(100)
    stage.tick("health")
    stage.lab.clock.sleep(201)
    data = stage.tick("health")
    assert "AssetMaterialization" not in kinds(data)


def test_a_stream_that_was_never_launched_is_skipped(stage: Stage) -> None:
    data = stage.tick("health")
    assert "not deployed" in data.skip_message
    assert data.asset_events == []


def test_a_snapshot_that_is_not_deployed_yet_is_left_alone(stage: Stage) -> None:
    stage.lab.insert(1)
    assert stage.materialize("snapshot").success
    assert stage.tick("health").run_requests == []


def test_a_failed_job_requests_one_recovery(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.engine.fail(stage.lab.engine.live[0], "disk full")
    data = stage.tick("health")
    (request,) = data.run_requests
    assert request.job_name == "recover_orders"
    assert request.run_key == "orders:2/1"
    assert request.tags["cdc/recovery"] == "orders:2"
    assert request.tags["cdc/stream"] == "orders"
    assert [event.passed for event in data.asset_events[1:]] == [False]


def test_a_switchover_without_gtid_requests_a_recovery(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.switch_over()
    data = stage.tick("health")
    assert [request.run_key for request in data.run_requests] == ["orders:2/1"]
    assert data.asset_events[0].metadata["cdc/decision"].value == "Relaunch"


def test_while_the_recovery_run_is_at_work_no_other_is_requested(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.switch_over()
    (request,) = stage.tick("health").run_requests
    run_id = stage.start_run(request)
    data = stage.tick("health")
    assert data.run_requests == []
    assert f"run {run_id[:8]} is at work" in data.skip_message


def test_a_dead_run_is_followed_by_the_next_attempt(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.switch_over()
    (request,) = stage.tick("health").run_requests
    stage.start_run(request)
    (again,) = stage.tick("health", limits=AT_ONCE).run_requests
    assert again.run_key == "orders:2/2"
    assert again.tags["cdc/recovery"] == "orders:2"


def test_requests_keep_a_pause_between_them(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.switch_over()
    (request,) = stage.tick("health").run_requests
    stage.start_run(request, dg.DagsterRunStatus.FAILURE)
    data = stage.tick("health", limits=Limits(pause_seconds=3600, longest_pause_seconds=3600))
    assert data.run_requests == []
    assert "the next one comes after 3600 s" in data.skip_message


def test_a_recovery_whose_worker_died_is_taken_up_again(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.switch_over()
    (request,) = stage.tick("health").run_requests
    stage.lab.engine.fail_next("launch")
    assert not stage.recover().success
    stage.start_run(request)
    (again,) = stage.tick("health", limits=AT_ONCE).run_requests
    assert again.tags["cdc/recovery"] == "orders:2"
    assert stage.recover().success
    assert stage.lab.target.lost(stage.lab.green, stage.lab.spec) == []


def test_flink_that_does_not_answer_never_requests_a_recovery(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.switch_over()
    stage.lab.engine.reachable = False
    data = stage.tick("health")
    assert data.run_requests == []
    assert "unknown is not failed" in data.skip_message


def test_a_blocked_recovery_is_not_requested_again(stage: Stage) -> None:
    stage.deploy(1)
    lab = stage.lab
    lab.switch_over(emit=False)
    lab.feed.emit_garbled("Binary log coordinates in green: file ?")
    assert not stage.recover().success
    for _ in range(3):
        data = stage.tick("health", limits=AT_ONCE)
        assert data.run_requests == []
    lab.feed.view = None
    lab.feed.announce("bgd-1", "orders", "orders-green-abc123")
    lab.feed.set_status("SWITCHOVER_COMPLETED", old_name="orders-old1")
    lab.feed.emit(lab.green.end)
    assert len(stage.tick("health", limits=AT_ONCE).run_requests) == 1


def test_a_person_who_holds_automation_is_obeyed(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.ledger.set_intent("orders", "hold", "maintenance")
    stage.lab.switch_over()
    data = stage.tick("health")
    assert data.run_requests == []
    assert "a person stopped automation" in data.skip_message


def test_a_stream_that_is_being_deployed_is_not_recovered(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.engine.fail(stage.lab.engine.live[0], "disk full")
    stage.instance.create_run_for_job(
        job_def=stage.job, tags={"cdc/work": "orders"}, status=dg.DagsterRunStatus.STARTED
    )
    data = stage.tick("health")
    assert data.run_requests == []
    assert "at work on the stream" in data.skip_message


def test_an_unset_variable_is_said_and_not_raised(stage: Stage) -> None:
    stage.access.problem = ConfigurationError("environment variable CDC_LEDGER_URL is not set")
    assert "CDC_LEDGER_URL is not set" in stage.tick("health").skip_message


def test_a_ledger_that_does_not_answer_is_said_and_not_raised(stage: Stage) -> None:
    stage.access.problem = LedgerUnreachable("the ledger is busy")
    assert "the ledger is busy" in stage.tick("health").skip_message


def test_a_corrupt_ledger_turns_the_tick_red(stage: Stage) -> None:
    stage.access.problem = LedgerUnreadable("ledger.db is not a ledger")
    with pytest.raises(LedgerUnreadable):
        stage.tick("health")


def test_a_silent_stall_is_reported_within_two_ticks(stage: Stage) -> None:
    stage.deploy(1)
    stage.tick("health")
    lab = stage.lab
    lab.engine.on_disconnect = "stall"
    lab.engine.disconnect(lab.engine.live[0])
    assert stage.tick("health").run_requests == []
    lab.clock.sleep(4)  # the daemon's shortest pause, 5 s, less what two looks may differ
    data = stage.tick("health")
    assert "silent stall" in data.asset_events[0].description
    assert len(data.run_requests) == 1


def test_a_reason_whose_numbers_change_is_reported_once(stage: Stage) -> None:
    stage.deploy(1)
    lab = stage.lab
    lab.engine.on_disconnect = "stall"
    lab.engine.disconnect(lab.engine.live[0])
    stage.tick("health")
    lab.clock.sleep(6)
    stage.tick("health")
    lab.clock.sleep(7)
    assert stage.tick("health").asset_events == []


def test_while_a_recovery_is_at_work_no_person_is_called(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.switch_over()
    stage.lab.engine.fail_next("launch")
    assert not stage.recover().success
    _, check = stage.tick("health").asset_events
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert check.description.startswith("recovery orders:2 is at work")


def test_a_blocked_recovery_calls_a_person(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.switch_over(emit=False)
    stage.lab.feed.emit_garbled("Binary log coordinates in green: file ?")
    assert not stage.recover().success
    _, check = stage.tick("health").asset_events
    assert check.severity == dg.AssetCheckSeverity.ERROR
