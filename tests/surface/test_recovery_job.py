"""The recovery job."""

from __future__ import annotations

import dagster as dg

from cdc_assets.errors import ConfigurationError, Superseded
from tests.surface.stage import Stage, failure_of

TARGET = dg.AssetKey(["target", "warehouse", "orders"])
STREAM = dg.AssetKey(["orders", "stream"])


def steps(stage: Stage) -> list[str]:
    records = stage.instance.fetch_observations(STREAM, limit=100).records
    found = [record.asset_observation.metadata.get("cdc/step") for record in records]
    return [value.value for value in reversed(found) if value is not None]


def test_a_switchover_without_gtid_is_recovered_without_loss(stage: Stage) -> None:
    stage.deploy(1, 2)
    stage.lab.insert(3)
    stage.lab.switch_over()
    stage.lab.insert(4)
    assert stage.recover().success
    assert stage.lab.target.lost(stage.lab.green, stage.lab.spec) == []


def test_each_step_is_reported_on_the_stream_asset(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.switch_over()
    assert stage.recover().success
    told = steps(stage)
    assert told[0] == "worker"
    assert told[-1] == "closed"
    assert {"decided", "stopped", "drained", "reading", "reconciled"} <= set(told)


def test_the_row_counts_after_it_are_reported_on_the_target_tables(stage: Stage) -> None:
    stage.deploy(1, 2)
    stage.lab.switch_over()
    assert stage.recover().success
    check = dg.AssetCheckKey(TARGET, "row_count")
    (record,) = stage.instance.event_log_storage.get_asset_check_execution_history(check, limit=5)
    evaluation = record.event.asset_check_evaluation
    assert evaluation.passed
    assert evaluation.metadata["cdc/recovery"].value == "orders:2"
    (proved,) = stage.instance.fetch_materializations(TARGET, limit=1).records
    assert proved.asset_materialization.metadata["dagster/row_count"].value == 2


def test_the_new_incarnation_is_a_materialization_of_the_stream(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.switch_over()
    assert stage.recover().success
    newest = stage.lab.ledger.incarnations("orders")[-1]
    (record,) = stage.instance.fetch_materializations(STREAM, limit=1).records
    metadata = record.asset_materialization.metadata
    assert metadata["cdc/incarnation"].value == newest.number
    assert metadata["cdc/recovery"].value == "orders:2"


def test_what_blocks_it_is_one_line_without_a_trace(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.switch_over(emit=False)
    stage.lab.feed.emit_garbled("Binary log coordinates in green: ?")
    said = failure_of(stage.recover())
    assert "coordinates event cannot be read" in said
    assert "\n" not in said


def test_a_stream_that_was_never_launched_is_refused(stage: Stage) -> None:
    assert "was never launched" in failure_of(stage.recover())


def test_an_unset_variable_is_named(stage: Stage) -> None:
    stage.access.problem = ConfigurationError("environment variable FLINK_REST_URL is not set")
    assert "FLINK_REST_URL is not set" in failure_of(stage.recover())


def test_a_run_that_a_person_starts_is_known_to_the_sensors(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.switch_over()
    result = stage.recover()
    assert stage.instance.get_run_by_id(result.run_id).tags["cdc/recovery"] == "orders:2"


def test_a_healthy_stream_is_left_alone(stage: Stage) -> None:
    stage.deploy(1)
    assert stage.recover().success
    assert len(stage.lab.ledger.incarnations("orders")) == 2


def test_a_worker_that_was_taken_for_dead_ends_without_a_failure(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.switch_over()
    stage.lab.engine.fail_next("launch", error=Superseded("recovery orders:2: worker x took over"))
    assert stage.recover().success
