"""Materializing the snapshot and the stream, through Dagster."""

from __future__ import annotations

from typing import Any

import dagster as dg

from cdc_assets.core.preflight import Fault
from tests.surface.stage import Stage, failure_of

TARGET = dg.AssetKey(["target", "warehouse", "orders"])
SNAPSHOT = dg.AssetKey(["orders", "snapshot"])
STREAM = dg.AssetKey(["orders", "stream"])
AGAIN = {"ops": {"orders_snapshot": {"config": {"again": True}}}}


def materializations(stage: Stage, key: dg.AssetKey) -> list[Any]:
    records = stage.instance.fetch_materializations(key, limit=10).records
    return [record.asset_materialization for record in records]


def test_snapshot_and_stream_run_in_one_go(stage: Stage) -> None:
    stage.lab.insert(1, 2, 3)
    result = stage.materialize("snapshot", "stream")
    assert result.success
    assert stage.lab.engine.job(stage.lab.engine.live[0]).state == "RUNNING"
    (deployed,) = materializations(stage, STREAM)
    assert deployed.metadata["cdc/incarnation"].value == 2
    job_id = deployed.metadata["cdc/job_id"].value
    assert deployed.metadata["cdc/job_url"].value.endswith(f"/#/job/running/{job_id}/overview")


def test_the_snapshot_records_savepoint_position_and_rows(stage: Stage) -> None:
    stage.lab.insert(1, 2, 3)
    assert stage.materialize("snapshot").success
    (taken,) = materializations(stage, SNAPSHOT)
    assert taken.metadata["cdc/savepoint"].value.startswith("file:///savepoints/")
    assert "mysql-bin-changelog.000001" in taken.metadata["cdc/position"].value
    assert taken.metadata["dagster/row_count"].value == 3


def test_the_snapshot_shows_its_progress(stage: Stage) -> None:
    stage.lab.insert(1)
    assert stage.materialize("snapshot").success
    records = stage.instance.fetch_observations(SNAPSHOT, limit=10).records
    texts = [record.asset_observation.metadata["cdc/progress"].value for record in records]
    assert texts
    assert all("rows" in text and "splits" in text for text in texts)


def test_a_proved_target_table_shows_rows_columns_and_lineage(stage: Stage) -> None:
    stage.lab.insert(1, 2)
    assert stage.materialize("snapshot").success
    (proved,) = materializations(stage, TARGET)
    assert proved.metadata["dagster/row_count"].value == 2
    columns = proved.metadata["dagster/column_schema"].value.columns
    assert [column.name for column in columns] == ["id", "item"]
    lineage = proved.metadata["dagster/column_lineage"].value.deps_by_column
    assert lineage["item"][0].asset_key == dg.AssetKey(["source", "shop", "orders"])


def test_a_drifted_snapshot_blocks_the_stream(stage: Stage) -> None:
    stage.lab.insert(1, 2)
    stage.lab.target.load("orders", (0,), {"id": 0, "item": "stray"})
    result = stage.materialize("snapshot", "stream")
    assert not result.success
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    drifted = checks["row_count_orders"]
    assert not drifted.passed
    assert drifted.severity == dg.AssetCheckSeverity.ERROR
    assert materializations(stage, STREAM) == []


def test_a_second_snapshot_is_refused_in_one_line(stage: Stage) -> None:
    stage.deploy(1)
    result = stage.materialize("snapshot")
    assert not result.success
    said = failure_of(result)
    assert "was launched before" in said
    assert "\n" not in said


def test_again_copies_over_a_stream_that_has_ended(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.engine.fail(stage.lab.engine.live[0], "disk full")
    assert stage.materialize("snapshot", config=AGAIN).success
    assert [row.kind for row in stage.lab.ledger.incarnations("orders")] == [
        "snapshot",
        "stream",
        "snapshot",
    ]


def test_a_stream_without_snapshot_is_refused_in_one_line(stage: Stage) -> None:
    assert "Materialize its snapshot first" in failure_of(stage.materialize("stream"))


def test_a_stream_that_runs_is_left_alone(stage: Stage) -> None:
    stage.deploy(1)
    before = stage.lab.engine.live
    assert stage.materialize("stream").success
    assert stage.lab.engine.live == before
    assert len(stage.lab.ledger.incarnations("orders")) == 2


def test_a_preflight_error_stops_the_launch_and_names_every_fault(stage: Stage) -> None:
    stage.access.findings = [
        Fault("source.binlog_format", "STATEMENT", "ROW", "SET GLOBAL binlog_format = 'ROW'"),
        Fault("shop.orders", "no primary key", "one", "Add one"),
        Fault("source.retention", "1 h", "24 h", "", "warning"),
    ]
    said = failure_of(stage.materialize("snapshot"))
    assert "nothing was started" in said
    assert "SET GLOBAL binlog_format = 'ROW'" in said
    assert "(2) shop.orders: found no primary key" in said
    assert "retention" not in said
    assert "\n" not in said
    assert stage.lab.engine.jobs == {}
    assert stage.lab.ledger.incarnations("orders") == ()


def test_a_preflight_warning_stops_nothing(stage: Stage) -> None:
    stage.lab.insert(1)
    stage.access.findings = [Fault("source.retention", "1 h", "24 h", "", "warning")]
    assert stage.materialize("snapshot").success


def test_the_run_that_moves_a_stream_says_so_in_its_tags(stage: Stage) -> None:
    stage.lab.insert(1)
    result = stage.materialize("snapshot")
    assert stage.instance.get_run_by_id(result.run_id).tags["cdc/work"] == "orders"
