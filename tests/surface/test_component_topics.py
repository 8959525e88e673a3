"""The components of streams over topics: YAML in, what `build_topic_definitions` returns out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster.components.testing.utils import create_defs_folder_sandbox

import cdc_assets
from cdc_assets import (
    KafkaToIcebergComponent,
    KafkaToKafkaComponent,
    KafkaToMySqlComponent,
    KafkaToPostgresComponent,
    KafkaToStarRocksComponent,
    TopicStreamComponent,
)
from tests.surface.test_component import patterns

pytestmark = pytest.mark.filterwarnings("ignore")  # loading YAML is beta, says Dagster itself

KINDS = [KafkaToMySqlComponent, KafkaToPostgresComponent, KafkaToKafkaComponent,
         KafkaToIcebergComponent, KafkaToStarRocksComponent]  # fmt: skip
JOIN = (
    "SELECT `order`.key_id, value_product, `user`.value_name FROM `order`"
    " LEFT JOIN `user` ON `order`.value_user_id = `user`.key_id"
)
ATTRIBUTES: dict[str, Any] = {
    "stream": "joins",
    "source_bootstrap_servers": "env:CDC_BROKERS",
    "source_topic_prefix": "lab.",
    "source_security_protocol": "SASL_SSL",
    "source_username": "reader",
    "source_password": "env:CDC_SOURCE_PASSWORD",
    "topics": {"order": "dw.order", "user": "dw.user"},
    "topic_columns": {
        "order": {"id": "BIGINT", "product": "STRING", "user_id": "BIGINT"},
        "user": {"id": "BIGINT", "name": "STRING"},
    },
    "topic_keys": {"order": ["id"], "user": ["id"]},
    "queries": {"user_product": JOIN},
    "rows_of": {"user_product": "order"},
    "flink_rest_url": "http://flink.example:8081",
    "flink_sql_gateway_url": "http://flink.example:8083",
    "flink_checkpoint_directory": "file:///state/checkpoints",
    "flink_savepoint_directory": "file:///state/savepoints",
    "ledger_url": "env:CDC_LEDGER_URL",
}
JDBC = {
    "target_host": "dw.example",
    "target_username": "writer",
    "target_password": "env:CDC_TARGET_PASSWORD",
    "target_database": "warehouse",
}
TARGETS: dict[type[TopicStreamComponent], dict[str, Any]] = {
    KafkaToMySqlComponent: JDBC,
    KafkaToPostgresComponent: {**JDBC, "target_schema": "warehouse"},
    KafkaToStarRocksComponent: JDBC,
    KafkaToIcebergComponent: {"target_uri": "http://lake:8181", "target_database": "warehouse"},
    KafkaToKafkaComponent: {
        "target_bootstrap_servers": "k:9092",
        "target_topic_prefix": "warehouse",
        "query_columns": {
            "user_product": {"order_id": "BIGINT", "product": "STRING", "user_name": "STRING"}
        },
        "query_keys": {"user_product": ["order_id"]},
    },
}


def load(
    kind: type[TopicStreamComponent] = KafkaToMySqlComponent, **attributes: object
) -> dg.Definitions:
    body = {
        "type": f"cdc_assets.{kind.__name__}",
        "attributes": {**ATTRIBUTES, **TARGETS[kind], **attributes},
    }
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(component_cls=kind, defs_yaml_contents=body)
        with sandbox.load_component_and_build_defs(defs_path=path) as (_, defs):
            return defs


def refusal(**attributes: object) -> str:
    with pytest.raises(Exception, match=r"(?s).*") as caught:
        load(**attributes)
    error: BaseException | None = caught.value
    found: list[str] = []
    while error is not None:
        found.append(str(error))
        error = error.__cause__ or error.__context__
    return "\n".join(found)


def keys(defs: dg.Definitions) -> set[str]:
    return {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()}


@pytest.mark.parametrize("kind", KINDS)
def test_yaml_gives_the_same_stream_for_each_target(kind: type[TopicStreamComponent]) -> None:
    defs = load(kind)
    assert {"joins/stream", "target/warehouse/user_product"} <= keys(defs)
    graph = defs.resolve_asset_graph()
    assert graph.get(dg.AssetKey(["joins", "stream"])).parent_keys == {
        dg.AssetKey(["target", "lab.", "dw.order"]), dg.AssetKey(["target", "lab.", "dw.user"]),
    }  # fmt: skip
    assert {key.name for key in graph.asset_check_keys} == {"health", "row_count"}
    assert {sensor.name for sensor in defs.sensors or ()} == {"health_joins"}
    assert [each.name for each in defs.schedules or ()] == ["reconcile_joins_schedule"]
    wiring: Any = (defs.resources or {})["topics_joins"]
    assert wiring.topics.counted_by("user_product").topic == "dw.order"
    assert isinstance(wiring.source.password, dg.EnvVar)
    dg.Definitions.validate_loadable(defs)


def test_yaml_and_python_make_one_stream() -> None:
    wiring: Any = (load(parallelism=2, key_prefix="k_", value_prefix="v_").resources or {})[
        "topics_joins"
    ]
    order = cdc_assets.TopicTable(
        "order", "dw.order", (("id", "BIGINT"), ("product", "STRING"), ("user_id", "BIGINT")),
        ("id",),
    )  # fmt: skip
    user = cdc_assets.TopicTable("user", "dw.user", (("id", "BIGINT"), ("name", "STRING")), ("id",))
    assert wiring.topics == cdc_assets.TopicStreamSpec(
        "joins", (order, user), (cdc_assets.QuerySpec("user_product", JOIN),),
        key_prefix="k_", value_prefix="v_", parallelism=2, rows_of={"user_product": "order"},
    )  # fmt: skip


def test_a_topic_may_be_another_asset_and_the_schedule_may_be_left_out() -> None:
    defs = load(topic_assets={"dw.user": "lake/users"}, reconcile_cron="", sensors_running=True)
    assert dg.AssetKey(["lake", "users"]) in defs.resolve_asset_graph().get(
        dg.AssetKey(["joins", "stream"])
    ).parent_keys  # fmt: skip
    assert list(defs.schedules or ()) == []
    (sensor,) = defs.sensors or ()
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"source_password": "hush"}, "env:NAME"),
        ({"target_password": "hush"}, "env:NAME"),
        ({"ledger_url": "sqlite:///hush"}, "env:NAME"),
        ({"topic_keys": {"order": ["id"]}}, "topic_keys: is needed for each topic (got 'user')"),
        ({"topics": {"order": "dw.order"}}, "topic_columns: no such topic (got 'user')"),
        ({"topic_keys": {"order": ["id"], "user": ["nr"]}}, "a key that is made of them"),
        ({"topic_columns": {"order": {"id": "BIGINT"}, "user": {"id": "INT) WITH ("}}},
         "not a Flink type"),
        ({"rows_of": {"user_product": "orders"}}, "joins.rows_of.user_product: not among"),
        ({"rows_of": {"sold": "order"}}, "joins.rows_of: no query fills it"),
        ({"queries": {}, "rows_of": {}}, "name at least one query"),
        ({"server_ids": "5400-5409"}, "server_ids"),
        ({"reconcile_cron": "hourly"}, "is not a cron expression"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_stream_of_topics_is_refused(
    attributes: dict[str, Any], said: str
) -> None:
    text = refusal(**attributes)
    assert said in text
    assert "hush" not in text


@pytest.mark.parametrize("kind", KINDS)
def test_a_scaffolded_file_loads_as_it_is(kind: type[TopicStreamComponent]) -> None:
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(component_cls=kind, scaffold_params={"stream": "names"})
        with sandbox.load_component_and_build_defs(defs_path=path) as (_, defs):
            assert "names/stream" in keys(defs)
    assert kind.get_spec().tags


def test_the_schema_of_the_yaml_file_refuses_what_is_no_type() -> None:
    schema = KafkaToMySqlComponent.get_model_cls().model_json_schema()
    (pattern,) = {each["pattern"] for each in patterns(schema["properties"]["topic_columns"])}
    assert re.search(pattern, "DECIMAL(10, 2)")
    assert not re.search(pattern, "STRING) WITH (")


def test_connecting_opens_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "CDC_BROKERS": "k.example:9093", "CDC_SOURCE_PASSWORD": "a", "CDC_TARGET_PASSWORD": "b",
        "CDC_LEDGER_URL": f"sqlite:///{tmp_path}/ledger.db",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    wiring: Any = (load().resources or {})["topics_joins"]
    runtime = wiring.connect()
    assert runtime.topic_names == ("dw.order", "dw.user")
    assert runtime.spec.target_names == ("user_product",)
