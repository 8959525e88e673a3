"""The component: YAML in, the same objects as `build_cdc_definitions` out."""

from __future__ import annotations

import re
import socket
import warnings
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster.components.testing.utils import create_defs_folder_sandbox

import cdc_assets
from cdc_assets import MySqlToMySqlComponent

ATTRIBUTES: dict[str, Any] = {
    "stream": "shop",
    "tables": ["shop.orders", "shop.customers:customer"],
    "server_ids": "5400-5409",
    "source_host": "env:CDC_SOURCE_HOST",
    "source_port": "env:CDC_SOURCE_PORT",
    "source_username": "cdc",
    "source_password": "env:CDC_SOURCE_PASSWORD",
    "target_host": "dw.example",
    "target_username": "writer",
    "target_password": "env:CDC_TARGET_PASSWORD",
    "target_database": "warehouse",
    "flink_rest_url": "http://flink.example:8081",
    "flink_sql_gateway_url": "http://flink.example:8083",
    "flink_checkpoint_directory": "file:///state/checkpoints",
    "flink_savepoint_directory": "file:///state/savepoints",
    "ledger_url": "env:CDC_LEDGER_URL",
    "rds_instance": "shop-db",
    "rds_region": "eu-central-1",
}


@pytest.fixture(autouse=True)
def dagster_may_warn_of_itself() -> Iterator[None]:
    """Loading YAML attaches code references, which Dagster itself calls beta."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def load(**attributes: object) -> dg.Definitions:
    body = {
        "type": "cdc_assets.MySqlToMySqlComponent",
        "attributes": {**ATTRIBUTES, **attributes},
    }
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(
            component_cls=MySqlToMySqlComponent, defs_yaml_contents=body
        )
        with sandbox.load_component_and_build_defs(defs_path=path) as (_, defs):
            return defs


def refusal(**attributes: object) -> str:
    """Return the messages of the error that loading ends with, and of its causes."""
    # Dagster wraps what pydantic raises, in a class of its own.
    with pytest.raises(Exception, match=r"(?s).*") as caught:
        load(**attributes)
    error: BaseException = caught.value
    found = [str(error)]
    while (error_ := error.__cause__ or error.__context__) is not None:
        found.append(str(error_))
        error = error_
    return "\n".join(found)


def test_yaml_gives_the_graph_of_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        message = "loading opened a socket"
        raise AssertionError(message)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    keys = {spec.key.to_user_string() for spec in load().resolve_all_asset_specs()}
    assert keys == {
        "source/shop/customers",
        "source/shop/orders",
        "shop/snapshot",
        "shop/stream",
        "target/warehouse/customer",
        "target/warehouse/orders",
    }


def test_yaml_gives_sensors_job_schedule_and_checks() -> None:
    defs = load()
    assert {sensor.name for sensor in defs.sensors or ()} == {"health_shop", "rds_events_shop"}
    assert [schedule.name for schedule in defs.schedules or ()] == [
        "reconcile_shop_schedule", "schema_shop_schedule",
    ]  # fmt: skip
    assert "recover_shop" in {job.name for job in defs.jobs or ()}


def test_yaml_says_what_happens_at_a_change_of_the_schema() -> None:
    wiring = (load().resources or {})["cdc_shop"]
    assert wiring.spec.create_tables
    assert (wiring.policy.on_added_column, wiring.policy.on_other_change) == (
        "report",
        "pause_table",
    )
    changed = load(create_tables=False, on_added_column="apply", on_other_change="report",
                   schema_cron="")  # fmt: skip
    wiring = (changed.resources or {})["cdc_shop"]
    assert not wiring.spec.create_tables
    assert (wiring.policy.on_added_column, wiring.policy.on_other_change) == ("apply", "report")
    assert [each.name for each in changed.schedules or ()] == ["reconcile_shop_schedule"]
    assert "schema_cron" in refusal(schema_cron="never")
    assert "on_added_column" in refusal(on_added_column="always")


def test_yaml_says_the_key_of_a_query_s_table() -> None:
    queries = {"sums": "SELECT customer_id, COUNT(*) AS n FROM orders GROUP BY customer_id"}
    made = load(queries=queries, query_keys={"sums": ["customer_id"]})
    (query,) = (made.resources or {})["cdc_shop"].spec.queries
    assert query.key == ("customer_id",)
    assert "no such query" in refusal(queries=queries, query_keys={"sum": ["customer_id"]})


def test_without_an_rds_instance_there_is_no_event_sensor() -> None:
    defs = load(rds_instance="", rds_region="")
    assert [sensor.name for sensor in defs.sensors or ()] == ["health_shop"]


def test_secrets_stay_in_the_environment() -> None:
    wiring: Any = (load().resources or {})["cdc_shop"]
    assert isinstance(wiring.source.password, dg.EnvVar)
    assert "CDC_SOURCE_PASSWORD" not in repr(wiring)


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("source_password", "hunter2", "write it as env:NAME"),
        ("target_password", "hunter2", "write it as env:NAME"),
        ("ledger_url", "mysql://root:hunter2@db/ledger", "write it as env:NAME"),
        ("tables", ["orders"], "write it as database.table"),
        ("server_ids", "many", "write it as 5400-5499"),
        ("stream", "Shop!", "use lower case letters"),
        ("source_port", "http", "write a number or env:NAME"),
        ("rds_region", "", "rds_region"),
        ("reconcile_cron", "hourly", "is not a cron expression"),
        ("sensor_interval_seconds", 0, "must be at least 1"),
        ("parallelism", 0, "must be 1 to 128"),
        ("source_only", ["nothing"], "not among the tables"),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence(attribute: str, value: object, said: str) -> None:
    text = refusal(**{attribute: value})
    assert said in text
    assert "hunter2" not in text


def test_a_range_of_server_ids_that_cannot_be_enough_is_refused() -> None:
    shared = refusal(server_ids="5400", parallelism=2, readers="shared")
    assert "needs ids up to 5401" in shared
    assert "needs ids up to 5401" in refusal(server_ids="5400", readers="per-table")


def test_a_misspelt_attribute_is_refused() -> None:
    assert "targett_host" in refusal(targett_host="dw")


def test_a_scaffolded_file_loads_as_it_is() -> None:
    params = {"stream": "sales", "tables": "sales.orders, sales.items", "server_ids": "10-20"}
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(
            component_cls=MySqlToMySqlComponent, scaffold_params=params
        )
        assert "env:CDC_SOURCE_PASSWORD" in (path / "defs.yaml").read_text()
        with sandbox.load_component_and_build_defs(defs_path=path) as (_, defs):
            keys = {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()}
    assert {"sales/stream", "source/sales/items"} <= keys


def test_two_components_may_read_one_table() -> None:
    first = load()
    second = load(
        stream="other", server_ids="6000-6009", target_database="other", declare_sources=False
    )
    dg.Definitions.validate_loadable(dg.Definitions.merge(first, second))


def test_a_subclass_changes_how_assets_look() -> None:
    class Renamed(MySqlToMySqlComponent):
        def get_asset_spec(self, props: cdc_assets.CdcProps) -> dg.AssetSpec:
            return super().get_asset_spec(props).replace_attributes(group_name="mine")

    defs = Renamed(**ATTRIBUTES).build_defs(None)  # type: ignore[arg-type] - not looked at
    assert {spec.group_name for spec in defs.resolve_all_asset_specs()} == {"mine"}


def test_the_catalogue_finds_the_component() -> None:
    assert "MySqlToMySqlComponent" in dir(cdc_assets)
    assert cdc_assets.MySqlToMySqlComponent.get_spec().tags


def test_yaml_says_what_is_done_to_rows() -> None:
    defs = load(
        columns={"orders": ["id"]},
        filters={"orders": "amount > 1"},
        computed={"orders": {"total": "a * b", "one": 1, "name": "people.name"}},
        lookups={"orders": {"people": "id = customer"}},
        lookup_cache_seconds=5,
        lookup_kind="postgres",
        lookup_host="env:LOOKUP_HOST",
        lookup_username="reader",
        lookup_password="env:LOOKUP_PASSWORD",
        lookup_database="warehouse",
    )
    wiring: Any = (defs.resources or {})["cdc_shop"]
    (transform,) = wiring.spec.transforms
    assert transform == cdc_assets.Transform(
        "orders",
        columns=("id",),
        filter="amount > 1",
        # The file that the test writes is sorted.
        computed=(("name", "people.name"), ("one", "1"), ("total", "a * b")),
        lookups=(cdc_assets.Lookup("people", (("id", "customer"),)),),
    )
    assert wiring.spec.lookup_cache_seconds == 5
    assert isinstance(wiring.lookup, cdc_assets.PostgresTargetResource)
    assert isinstance(wiring.lookup.password, dg.EnvVar)
    assert wiring.lookup.port == 5432
    specs = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
    orders = specs["target/warehouse/orders"]
    assert orders.metadata["cdc/filter"] == dg.MetadataValue.md("```sql\namount > 1\n```")
    assert "cdc/filter" not in specs["target/warehouse/customer"].metadata


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("filters", {"orders": "1=1; DROP TABLE x"}, "filters.orders: ';' at character 4"),
        ("filters", {"orders": "1=1 -- x"}, "no comments"),
        ("filters", {"nothing": "a > 1"}, "not among the copied tables"),
        ("computed", {"orders": {"x": "a, b"}}, "computed.orders.x: ',' outside of parentheses"),
        ("lookups", {"orders": {"people": "id"}}, "write it as lookup_column = column"),
        ("lookups", {"orders": {"people": "id = a"}}, "lookup_host is needed with lookups"),
        ("lookup_password", "hunter2", "write it as env:NAME"),
        ("lookup_kind", "oracle", "lookup_kind"),
        ("columns", {"orders": "id"}, "columns"),
        ("filters", ["a > 1"], "filters"),
    ],
)
def test_a_wrong_transform_is_refused_in_one_sentence(
    attribute: str, value: object, said: str
) -> None:
    text = refusal(**{attribute: value})
    assert said in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("text", "is_good"),
    [
        ("amount > 1 AND s = 'a;b -- \" x' AND `a-;b` <> 'it''s'", True),
        ("a - 1 > b / 2 || ''", True),
        ("1=1; DROP TABLE x", False),
        ("1=1 -- x", False),
        ("1=1 /* x */", False),
        ("1=1 // x", False),
        ("a = 'open", False),
    ],
)
def test_the_schema_of_the_yaml_file_refuses_what_is_no_expression(
    text: str, *, is_good: bool
) -> None:
    """`dg check yaml` looks at the schema only, and names file and line."""
    model: Any = MySqlToMySqlComponent.get_model_cls()
    schema = model.model_json_schema()
    (pattern,) = {each["pattern"] for each in patterns(schema["properties"]["filters"])}
    assert bool(re.search(pattern, text)) is is_good


def patterns(node: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - JSON
    if isinstance(node, dict):
        if "pattern" in node:
            yield node
        for each in node.values():
            yield from patterns(each)
    elif isinstance(node, list):
        for each in node:
            yield from patterns(each)
