"""The RDS event sensor: one behaviour per test."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg
import pytest

from cdc_assets.dispatch import Limits
from cdc_assets.errors import EventFeedError, EventFeedUnreachable, UnreadablePosition
from cdc_assets.ports import EventRow
from tests.surface.stage import Stage

STREAM = dg.AssetKey(["orders", "stream"])


def event(stage: Stage, message: str, *, age: float = 0) -> None:
    now = stage.lab.clock.now()
    date = now - timedelta(seconds=age)
    stage.lab.ledger.record_events([EventRow("orders", "db-instance", date, message, now)])


def test_an_unreadable_cursor_stops_the_tick(stage: Stage) -> None:
    stage.cursors["rds"] = "[]"
    with pytest.raises(UnreadablePosition, match="cursor of its rds sensor"):
        stage.tick("rds")


def test_a_deployment_that_appears_is_reported_on_the_stream_and_its_source_tables(
    stage: Stage,
) -> None:
    stage.deploy(1)
    data = stage.tick("rds")
    keys = [event.asset_key for event in data.asset_events]
    assert keys == [STREAM, dg.AssetKey(["source", "shop", "orders"])]
    assert data.asset_events[0].metadata["cdc/deployment_status"].value == "AVAILABLE"
    assert data.run_requests == []


def test_a_second_tick_does_nothing(stage: Stage) -> None:
    stage.deploy(1)
    stage.tick("rds")
    data = stage.tick("rds")
    assert data.asset_events == []
    assert data.run_requests == []


def test_a_switchover_on_its_way_wakes_the_recovery(stage: Stage) -> None:
    stage.deploy(1)
    stage.tick("rds")
    stage.lab.begin_switchover()
    (request,) = stage.tick("rds").run_requests
    assert request.job_name == "recover_orders"
    assert request.tags["cdc/recovery"] == "orders:2"


def test_a_recovery_that_is_awake_is_not_requested_twice(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.begin_switchover()
    (request,) = stage.tick("rds").run_requests
    stage.start_run(request)
    assert stage.tick("rds").run_requests == []
    assert stage.tick("health").run_requests == []


def test_a_switchover_that_ended_between_two_ticks_wakes_the_recovery(stage: Stage) -> None:
    stage.deploy(1)
    stage.tick("rds")
    stage.lab.switch_over()
    assert len(stage.tick("rds").run_requests) == 1


def test_a_switchover_that_ended_before_the_first_tick_is_old_news(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.feed.set_status("SWITCHOVER_COMPLETED")
    assert stage.tick("rds").run_requests == []
    assert stage.tick("rds").run_requests == []


def test_a_stream_that_was_never_launched_is_not_recovered(stage: Stage) -> None:
    stage.lab.begin_switchover()
    assert stage.tick("rds").run_requests == []


def test_a_person_who_holds_automation_is_obeyed(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.ledger.set_intent("orders", "hold", "maintenance")
    stage.lab.begin_switchover()
    assert stage.tick("rds").run_requests == []


def test_a_dead_worker_is_left_to_the_next_tick(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.begin_switchover()
    (request,) = stage.tick("rds").run_requests
    stage.start_run(request)
    at_once = Limits(stale_seconds=-1, starting_seconds=-1, pause_seconds=0)
    (again,) = stage.tick("rds", limits=at_once).run_requests
    assert again.run_key == "orders:2/2"


def test_each_new_event_is_reported_once(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.feed.view = None
    event(stage, "Binary log coordinates")
    first = stage.tick("rds")
    assert [seen.metadata["cdc/event"].value for seen in first.asset_events] == [
        "Binary log coordinates"
    ]
    assert stage.tick("rds").asset_events == []
    stage.lab.clock.sleep(30)
    event(stage, "a late one", age=600)
    (late,) = stage.tick("rds").asset_events
    assert late.asset_key == STREAM
    assert "a late one" in late.description


def test_rds_that_does_not_answer_is_said_and_not_raised(stage: Stage) -> None:
    stage.lab.feed.problem = EventFeedUnreachable("RDS does not answer")
    assert "RDS does not answer" in stage.tick("rds").skip_message


def test_rds_that_refuses_the_account_turns_the_tick_red(stage: Stage) -> None:
    stage.lab.feed.problem = EventFeedError("not authorized to perform rds:DescribeEvents")
    with pytest.raises(EventFeedError):
        stage.tick("rds")


def test_a_stream_without_rds_is_skipped(stage: Stage) -> None:
    stage.lab.feed = None
    assert "has no RDS to watch" in stage.tick("rds").skip_message


def test_of_two_sensors_that_look_at_one_moment_only_one_requests(stage: Stage) -> None:
    stage.deploy(1)
    stage.tick("rds")
    stage.lab.switch_over()
    assert len(stage.tick("health").run_requests) == 1
    data = stage.tick("rds")
    assert data.run_requests == []
    assert "another sensor asked" in data.skip_message
