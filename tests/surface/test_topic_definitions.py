"""Streams of topics on the Dagster surface: assets, health check and sensor."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import dagster as dg
import pytest

from cdc_assets import (
    FlinkResource,
    KafkaTargetResource,
    LedgerResource,
    MySqlTargetResource,
    build_topic_definitions,
)
from cdc_assets.core.columns import TableShape
from cdc_assets.errors import CdcError, TargetUnreachable
from cdc_assets.operations.runtime import Budgets
from cdc_assets.operations.topics import TopicRuntime
from cdc_assets.topic_assets import TopicWiring, topic_definitions_of
from tests.operations.test_topics import SPEC, World

KEY = dg.AssetKey(["joins", "stream"])
SOURCE = KafkaTargetResource(bootstrap_servers="k:9092", topic_prefix="lab.")
TARGET = MySqlTargetResource(
    host="dw.example", username="w", password=dg.EnvVar("CDC_TARGET_PASSWORD"), database="dw"
)
FLINK = FlinkResource(
    rest_url="http://f:1", sql_gateway_url="http://f:2",
    checkpoint_directory="file:///c", savepoint_directory="file:///s",
)  # fmt: skip
LEDGER = LedgerResource(url=dg.EnvVar("CDC_LEDGER_URL"))


@dataclass(frozen=True)
class FakeWiring(TopicWiring):
    """A stream of topics over fakes."""

    world: World = field(default_factory=World)
    problems: list[CdcError] = field(default_factory=list)

    def connect(self) -> TopicRuntime:
        if self.problems:
            raise self.problems[0]
        return self.world.rt


@pytest.fixture
def wiring() -> FakeWiring:
    return FakeWiring(SPEC, SOURCE, TARGET, FLINK, LEDGER, Budgets())


def definitions(wiring: FakeWiring) -> dg.Definitions:
    return topic_definitions_of(wiring, topic_keys={})


def deployed(
    wiring: FakeWiring, instance: dg.DagsterInstance, *, again: bool = False
) -> dg.ExecuteInProcessResult:
    return definitions(wiring).resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        asset_selection=[KEY],
        raise_on_error=False,
        run_config={"ops": {"joins_topics": {"config": {"again": again}}}},
    )  # fmt: skip


def tick(wiring: FakeWiring, instance: dg.DagsterInstance, cursor: str | None = None) -> object:
    defs = definitions(wiring)
    sensor = defs.resolve_sensor_def("health_joins")
    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"topics_joins": wiring}, definitions=defs
    )
    return sensor.evaluate_tick(context)


def test_results_depend_on_the_job_and_the_job_on_its_topics() -> None:
    defs = build_topic_definitions(
        stream=SPEC, source=SOURCE, target=TARGET, flink=FLINK, ledger=LEDGER
    )
    graph = defs.resolve_asset_graph()
    assert graph.get(KEY).parent_keys == {dg.AssetKey(["target", "lab.", "dw.user"])}
    assert graph.get(dg.AssetKey(["target", "dw", "n"])).parent_keys == {KEY}
    assert {key.name for key in graph.asset_check_keys} == {"health", "row_count"}
    assert [each.cron_schedule for each in defs.schedules or ()] == ["0 * * * *"]
    dg.Definitions.validate_loadable(defs)
    named = build_topic_definitions(
        stream=SPEC, source=SOURCE, target=TARGET, flink=FLINK, ledger=LEDGER,
        topic_keys={"dw.user": dg.AssetKey("users")},
    )  # fmt: skip
    assert (
        build_topic_definitions(
            stream=SPEC, source=SOURCE, target=TARGET, flink=FLINK, ledger=LEDGER, reconcile_cron=""
        ).schedules
        == []
    )
    assert named.resolve_asset_graph().get(KEY).parent_keys == {dg.AssetKey("users")}


def test_materializing_deploys_once_and_again_begins_anew(
    wiring: FakeWiring, instance: dg.DagsterInstance
) -> None:
    for _ in range(2):
        assert deployed(wiring, instance).success
    event = instance.get_latest_materialization_event(KEY)
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["cdc/incarnation"].value == 1
    assert deployed(wiring, instance, again=True).success
    assert len(wiring.world.rt.ledger.incarnations("joins")) == 2


def test_an_error_is_one_line(wiring: FakeWiring, instance: dg.DagsterInstance) -> None:
    wiring.problems.append(TargetUnreachable("k:9092: no answer"))
    result = deployed(wiring, instance)
    assert not result.success
    failure = result.get_step_failure_events()[0].step_failure_data.user_failure_data
    assert failure is not None
    assert failure.description == "k:9092: no answer"


def test_the_sensor_reports_what_changed_and_launches_what_ended(
    wiring: FakeWiring, instance: dg.DagsterInstance
) -> None:
    assert "not deployed yet" in tick(wiring, instance).skip_message
    deployed(wiring, instance)
    first = tick(wiring, instance)
    assert [event.passed for event in first.asset_events] == [True]
    assert first.run_requests == []
    assert tick(wiring, instance, first.cursor).asset_events == []
    job_id = wiring.world.rt.ledger.incarnations("joins")[0].job_id
    wiring.world.engine.fail(job_id, "task manager lost")
    ended = tick(wiring, instance, first.cursor)
    assert [event.passed for event in ended.asset_events] == [False]
    (request,) = ended.run_requests
    assert request.asset_selection == [KEY]
    assert request.run_key.startswith("joins/1/")
    wiring.problems.append(TargetUnreachable("k:9092: no answer"))
    assert "the next tick looks again" in tick(wiring, instance, ended.cursor).skip_message


def test_the_health_check_says_what_the_sensor_says(
    wiring: FakeWiring, instance: dg.DagsterInstance
) -> None:
    deployed(wiring, instance)
    job = definitions(wiring).resolve_implicit_global_asset_job_def()
    check = dg.AssetCheckKey(KEY, "health")

    def passed() -> bool:
        selection = dg.AssetSelection.checks(check)
        made = dg.define_asset_job("looks", selection=selection)
        defs = dg.Definitions.merge(definitions(wiring), dg.Definitions(jobs=[made]))
        result = defs.resolve_job_def("looks").execute_in_process(instance=instance)
        return result.get_asset_check_evaluations()[0].passed

    assert job is not None
    assert passed()
    row = wiring.world.rt.ledger.incarnations("joins")[0]
    wiring.world.engine.fail(row.job_id, "task manager lost")
    assert not passed()


def counts(wiring: FakeWiring, instance: dg.DagsterInstance) -> list[tuple[bool, str]]:
    """Run the job of the schedule."""
    job = definitions(wiring).resolve_job_def("reconcile_joins")
    result = job.execute_in_process(instance=instance)
    return [
        (found.passed, str(found.description)) for found in result.get_asset_check_evaluations()
    ]


def test_a_result_is_counted_by_the_topic_that_it_names_only(
    wiring: FakeWiring, instance: dg.DagsterInstance
) -> None:
    assert counts(wiring, instance) == [
        (False, "Inconclusive: transformed: a query fills n, and rows_of names no topic for it")
    ]
    counted = replace(wiring, topics=replace(SPEC, rows_of={"n": "user"}))
    assert counts(counted, instance) == [
        (False, "Inconclusive: not deployed: materialize the stream")
    ]
    deployed(counted, instance)
    counted.world.broker.put("dw.user", 1, 2)
    target = counted.world.lab.target
    target.define(TableShape("dw", "n", (), ("id",)))
    for key in (1, 2):
        target.load("n", (key,), {"id": key})
    ((passed, text),) = counts(counted, instance)
    assert (passed, text.partition(",")[0]) == (True, "InSync: 2 rows of dw.user up to key (2")
    event = instance.get_latest_materialization_event(dg.AssetKey(["target", "dw", "n"]))
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["dagster/row_count"].value == 2
    target.tables["n"].clear()
    ((passed, text),) = counts(counted, instance)
    assert (passed, text.partition(":")[0]) == (False, "Drifted")
