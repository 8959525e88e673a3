"""The executable checks."""

from __future__ import annotations

import dagster as dg

from cdc_assets.checks import (
    build_health_check,
    build_reconciliation_checks,
    build_schema_check,
)
from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.recovery import Policy
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.translator import StreamGraph
from tests.surface.stage import Stage

TARGET = dg.AssetKey(["target", "warehouse", "orders"])


def run(stage: Stage, *checks: dg.AssetChecksDefinition) -> dict[str, dg.AssetCheckEvaluation]:
    job = dg.Definitions(
        assets=[stage.graph.deployment, *(target.spec for target in stage.graph.targets)],
        asset_checks=list(checks),
        jobs=[dg.define_asset_job("job", selection=dg.AssetSelection.checks(*checks))],
        resources=stage.resources,
    ).resolve_job_def("job")
    result = job.execute_in_process(instance=stage.instance, raise_on_error=False)
    return {each.check_name: each for each in result.get_asset_check_evaluations()}


def test_equal_row_counts_pass_and_show_the_count(stage: Stage) -> None:
    stage.deploy(1, 2)
    found = run(stage, *build_reconciliation_checks(stage.graph))["row_count"]
    assert found.passed
    assert found.metadata["cdc/source_rows"].value == 2
    (record,) = stage.instance.fetch_materializations(TARGET, limit=5).records
    assert record.asset_materialization.metadata["dagster/row_count"].value == 2


def test_a_missing_row_fails_as_an_error(stage: Stage) -> None:
    stage.deploy(1, 2)
    stage.lab.target.load("orders", (0,), {"id": 0, "item": "stray"})
    found = run(stage, *build_reconciliation_checks(stage.graph))["row_count"]
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.ERROR
    assert found.description.startswith("Drifted")


def test_a_stream_that_was_never_launched_is_inconclusive(stage: Stage) -> None:
    found = run(stage, *build_reconciliation_checks(stage.graph))["row_count"]
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert found.description.startswith("Inconclusive")


def test_health_passes_while_the_stream_runs(stage: Stage) -> None:
    stage.deploy(1)
    assert run(stage, build_health_check(stage.graph))["health"].passed


def test_health_sees_a_silent_stall_without_any_memory(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.engine.on_disconnect = "stall"
    stage.lab.engine.disconnect(stage.lab.engine.live[0])
    found = run(stage, build_health_check(stage.graph))["health"]
    assert not found.passed
    assert "silent stall" in found.description


def test_health_that_needs_a_person_is_an_error(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.engine.fail(stage.lab.engine.live[0], "wrong type", "needs-operator")
    found = run(stage, build_health_check(stage.graph))["health"]
    assert found.severity == dg.AssetCheckSeverity.ERROR
    assert "wrong type" in found.description


def test_a_table_that_a_query_fills_is_inconclusive_because_it_is_transformed(
    stage: Stage,
) -> None:
    spec = StreamSpec(
        "stats",
        (TableRef("shop", "orders"),),
        ServerIdRange(1, 1),
        "dw",
        queries=(QuerySpec("sums", "SELECT 1"),),
        source_only=("orders",),
    )
    graph = StreamGraph.build(spec)
    (check,) = build_reconciliation_checks(graph)
    resources = {"cdc_stats": stage.resources["cdc_" + stage.graph.stream.name]}
    job = dg.Definitions(
        assets=[graph.deployment, *(target.spec for target in graph.targets)],
        asset_checks=[check],
        jobs=[dg.define_asset_job("job", selection=dg.AssetSelection.checks(check))],
        resources=resources,
    ).resolve_job_def("job")
    (found,) = job.execute_in_process(instance=stage.instance).get_asset_check_evaluations()
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert found.description == "Inconclusive: transformed: a query fills sums"


ADDED = (Column("id", "int", "int(11)", nullable=False), Column("item", "text", "text"),
         Column("note", "int", "int(11)"))  # fmt: skip


def drift(stage: Stage) -> dg.AssetCheckEvaluation:
    return run(stage, build_schema_check(stage.graph))["schema_drift"]


def test_tables_as_they_were_at_the_launch_pass(stage: Stage) -> None:
    stage.deploy(1)
    found = drift(stage)
    assert found.passed
    assert "as incarnation 2 was launched with" in str(found.description)


def test_an_added_column_is_a_warning_with_the_target_s_statement(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.source.define(TableShape("shop", "orders", ADDED, ("id",)))
    found = drift(stage)
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "shop.orders.note: new column" in str(found.description)
    assert "ADD COLUMN `note`" in str(found.metadata["cdc/target_ddl"].value)


def test_a_dropped_column_is_an_error_and_the_stream_pauses(stage: Stage) -> None:
    stage.deploy(1)
    stage.lab.source.define(TableShape("shop", "orders", ADDED[:1], ("id",)))
    found = drift(stage)
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert found.metadata["cdc/act"].value == "paused"
    assert stage.lab.engine.live == ()
    health = run(stage, build_health_check(stage.graph))["health"]
    assert "automation holds: schema drift: shop.orders.item: column dropped" in str(
        health.description
    )
    assert "nothing to recover" not in stage.tick("health").skip_message


def test_a_stream_that_was_never_launched_is_inconclusive_here_too(stage: Stage) -> None:
    found = drift(stage)
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert str(found.description).startswith("Inconclusive: not deployed")


def test_an_added_column_is_applied_by_policy(stage: Stage) -> None:
    stage.access.policy = Policy(on_added_column="apply")
    stage.deploy(1)
    stage.lab.source.define(TableShape("shop", "orders", ADDED, ("id",)))
    found = drift(stage)
    assert found.passed
    assert found.metadata["cdc/act"].value == "applied"
    assert len(stage.lab.target.altered) == 1
    assert len(stage.lab.engine.live) == 1
