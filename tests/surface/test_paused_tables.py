"""A paused table as Dagster and the command line show it."""

from __future__ import annotations

import json

import dagster as dg
import pytest

from cdc_assets.checks import build_health_check, build_reconciliation_checks, build_schema_check
from cdc_assets.core.recovery import Policy
from tests.operations.world import ORDERS, WIDE, paused, shop
from tests.surface.stage import Stage
from tests.surface.test_checks import run as run_checks
from tests.surface.test_cli import Run, error_of, run

__all__ = ["run"]  # a fixture


@pytest.fixture
def stage(instance: dg.DagsterInstance) -> Stage:
    return Stage(paused().lab, instance)


def test_each_check_says_which_table_is_paused_and_the_stream_runs(stage: Stage) -> None:
    checks = run_checks(stage, build_schema_check(stage.graph), build_health_check(stage.graph))
    drift, health = checks["schema_drift"], checks["health"]
    assert (drift.passed, drift.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert f"- {ORDERS}: paused since " in str(drift.description)
    assert "MODIFY COLUMN `size` bigint(20)" in str(drift.metadata["cdc/target_ddl"].value)
    assert health.passed
    assert f"running; {ORDERS}: paused since " in str(health.description)


def test_the_row_count_of_a_paused_table_is_inconclusive(stage: Stage) -> None:
    job = dg.Definitions(
        assets=[target.spec for target in stage.graph.targets],
        asset_checks=build_reconciliation_checks(stage.graph),
        jobs=[dg.define_asset_job("job", selection=dg.AssetSelection.all_asset_checks())],
        resources=stage.resources,
    ).resolve_job_def("job")
    result = job.execute_in_process(instance=stage.instance, raise_on_error=False)
    found = {each.asset_key.path[-1]: each for each in result.get_asset_check_evaluations()}
    assert (found["orders"].passed, found["orders"].severity) == (False, dg.AssetCheckSeverity.WARN)
    assert f"Inconclusive: {ORDERS}: paused since " in str(found["orders"].description)
    assert found["items"].passed
    assert found["users"].passed


def test_a_check_pauses_one_table_by_the_policy(instance: dg.DagsterInstance) -> None:
    seen = shop()
    stage = Stage(seen.lab, instance)
    stage.access.policy = Policy(on_other_change="pause_table")
    seen.change()
    found = run_checks(stage, build_schema_check(stage.graph))["schema_drift"]
    assert found.metadata["cdc/act"].value == "table paused"
    assert f"incarnation 3 runs without: {ORDERS}" in str(found.description)
    assert len(seen.lab.engine.live) == 1


def test_the_command_line_shows_the_pause(run: Run) -> None:
    for command in ("explain", "positions"):
        assert f"{ORDERS}: paused since " in run(command, "orders").stdout
    assert json.loads(run("positions", "orders", "--json").stdout)["paused"]
    said = run("schema", "orders").stdout
    assert said.startswith(f"error: {ORDERS}: paused since ")
    assert "MODIFY COLUMN `size` bigint(20) NULL;" in said
    assert f"then: cdc-assets resume-table orders {ORDERS}" in said


def test_resume_table_says_what_it_would_do_and_does_it_when_told(run: Run, stage: Stage) -> None:
    assert "does not follow yet" in error_of(run("resume-table", "orders", "orders"), 2)
    there = stage.lab.target.defined["orders"]
    assert there.columns[-1].data_type == "int"
    stage.lab.target.define(type(there)(there.database, there.name, (there.columns[0], WIDE),
                                        there.primary_key))  # fmt: skip
    said = run("resume-table", "orders", "orders").stdout
    assert said.startswith("would do: incarnation 3 is stopped")
    assert len(stage.lab.ledger.incarnations("orders")) == 3
    said = run("resume-table", "orders", "orders", "--execute").stdout
    assert "caught up: " in said
    assert '"tables"' not in said
    assert "incarnation 5 reads orders again" in said
    assert len(stage.lab.engine.live) == 1
    assert "as incarnation 5 found them" in run("schema", "orders").stdout
