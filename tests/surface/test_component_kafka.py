"""The Kafka component: YAML in, topics as assets out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster.components.testing.utils import create_defs_folder_sandbox

import cdc_assets
from cdc_assets import KafkaTargetResource, MySqlToKafkaComponent
from cdc_assets.assets import snapshot_check
from cdc_assets.translator import TargetAsset

pytestmark = pytest.mark.filterwarnings("ignore")  # loading YAML is beta, says Dagster itself

ATTRIBUTES: dict[str, Any] = {
    "stream": "shop",
    "tables": ["shop.orders", "shop.customers:customers"],
    "server_ids": "5400-5409",
    "source_host": "env:CDC_SOURCE_HOST",
    "source_username": "cdc",
    "source_password": "env:CDC_SOURCE_PASSWORD",
    "target_bootstrap_servers": "env:CDC_TARGET_BOOTSTRAP_SERVERS",
    "target_security_protocol": "SASL_SSL",
    "target_username": "writer",
    "target_password": "env:CDC_TARGET_PASSWORD",
    "target_topic_prefix": "dw.",
    "flink_rest_url": "http://flink.example:8081",
    "flink_sql_gateway_url": "http://flink.example:8083",
    "flink_checkpoint_directory": "file:///state/checkpoints",
    "flink_savepoint_directory": "file:///state/savepoints",
    "ledger_url": "env:CDC_LEDGER_URL",
}


def load(**attributes: object) -> dg.Definitions:
    body = {
        "type": "cdc_assets.MySqlToKafkaComponent",
        "attributes": {**ATTRIBUTES, **attributes},
    }
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(
            component_cls=MySqlToKafkaComponent, defs_yaml_contents=body
        )
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


def test_topics_are_assets_called_as_the_topics() -> None:
    defs = load()
    specs = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
    assert {"target/dw./shop.orders", "target/dw./customers"} <= set(specs)
    topic = specs["target/dw./shop.orders"]
    assert topic.kinds == {"kafka"}
    assert topic.metadata["dagster/table_name"] == "dw.shop.orders"
    checks = {key.name for key in defs.resolve_asset_graph().asset_check_keys}
    assert {"row_count_shop_orders", "row_count_customers", "row_count"} <= checks
    dg.Definitions.validate_loadable(defs)


def test_without_a_prefix_keys_have_no_empty_part() -> None:
    keys = {spec.key.to_user_string() for spec in load(target_topic_prefix="")
            .resolve_all_asset_specs()}  # fmt: skip
    assert "target/shop.orders" in keys


@pytest.mark.parametrize(
    ("one", "other"), [("shop.a-b", "shop.a.b"), ("a-b", "a_b"), ("a-b", "a b")]
)
def test_names_of_checks_stay_apart(one: str, other: str) -> None:
    names = {snapshot_check(TargetAsset(name, dg.AssetSpec("x"), None)) for name in (one, other)}
    assert len(names) == 2
    assert all(name.replace("_", "").isalnum() for name in names)


def test_a_query_declares_its_columns_and_key_in_yaml() -> None:
    defs = load(
        queries={"sales": "SELECT product, COUNT(*) FROM orders GROUP BY product"},
        query_columns={"sales": {"product": "STRING", "n": "BIGINT"}},
        query_keys={"sales": ["product"]},
    )
    keys = {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()}
    assert "target/dw./sales" in keys


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"target_password": "hush"}, "env:NAME"),
        ({"queries": {"sales": "SELECT 1"}}, "sales"),
        ({"query_columns": {"sales": {"n": "INT"}}}, "no such query"),
        ({"target_security_protocol": "TLS"}, "SASL_SSL"),
        ({"target_delivery": "exactly_once"}, "at-least-once"),
        ({"target_brokers": "x"}, "target_brokers"),
        ({"tables": ["shop.orders:t", "shop.users:t"]}, "named twice"),
    ],
)
def test_what_cannot_be_used_is_refused(attributes: dict[str, object], said: str) -> None:
    text = refusal(**attributes)
    assert said in text
    assert "hush" not in text.replace("hush_", "")


def test_settings_without_a_login_need_no_password() -> None:
    component = MySqlToKafkaComponent(**{
        **ATTRIBUTES, "target_security_protocol": "PLAINTEXT", "target_username": "",
        "target_password": "", "target_bootstrap_servers": "k:1", "target_partitions": 3,
    })  # fmt: skip
    target = component.target()
    assert isinstance(target, KafkaTargetResource)
    assert target.access().protocol == "PLAINTEXT"
    assert target.partitions == 3


def test_a_scaffolded_file_loads_as_it_is() -> None:
    params = {"stream": "sales", "tables": "sales.orders, sales.items", "server_ids": "10-20"}
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(
            component_cls=MySqlToKafkaComponent, scaffold_params=params
        )
        assert "target_create_topics: true" in (path / "defs.yaml").read_text()
        with sandbox.load_component_and_build_defs(defs_path=path) as (_, defs):
            keys = {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()}
    assert {"sales/stream", "target/sales.items"} <= keys
    assert cdc_assets.MySqlToKafkaComponent.get_spec().tags


def test_connecting_opens_nothing_and_keeps_the_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {
        "CDC_SOURCE_HOST": "db.example", "CDC_SOURCE_PASSWORD": "a", "CDC_TARGET_PASSWORD": "b",
        "CDC_TARGET_BOOTSTRAP_SERVERS": "k.example:1", "CDC_LEDGER_URL": f"sqlite:///{tmp_path}/ledger.db",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    defs = load(target_topic_settings={"segment.ms": "1000"})
    wiring = (defs.resources or {})["cdc_shop"]
    assert wiring.connect() is wiring.connect()
    assert wiring.connect().runtime.spec.target_names == ("shop.orders", "customers")


def test_yaml_says_whether_the_latest_values_are_enough() -> None:
    wiring: Any = (load(latest_values_only=True).resources or {})["cdc_shop"]
    assert wiring.spec.latest_values_only
    assert [table.target_name for table in wiring.spec.tables] == ["shop.orders", "customers"]
    wiring = (load().resources or {})["cdc_shop"]
    assert not wiring.spec.latest_values_only


CONNECT = {
    **dict.fromkeys(
        ("flink_rest_url", "flink_sql_gateway_url", "flink_checkpoint_directory",
         "flink_savepoint_directory"),
        "",
    ),
    "connect_rest_url": "http://connect.example:8083",
    "connect_history_directory": "/var/lib/cdc",
}  # fmt: skip


def test_a_connect_worker_takes_the_place_of_flink() -> None:
    defs = load(**CONNECT)
    spec = next(each for each in defs.resolve_all_asset_specs()
                if each.key == dg.AssetKey(["shop", "stream"]))  # fmt: skip
    assert "debezium" in spec.kinds
    assert "connector" in (spec.description or "")


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"connect_rest_url": "http://connect.example:8083"}, "leave flink_"),
        ({**CONNECT, "connect_history_directory": ""}, "connect_history_directory is needed"),
        ({**CONNECT, "connect_rest_url": "", "connect_history_directory": ""},
         "flink_checkpoint_directory, flink_savepoint_directory is needed"),
        ({**CONNECT, "parallelism": 2}, "shop.parallelism: Debezium's connector"),
        ({**CONNECT, "queries": {"q": "SELECT 1"}, "query_columns": {"q": {"n": "INT"}},
          "query_keys": {"q": ["n"]}}, "shop.queries: Debezium's connector"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(attributes: dict[str, Any], said: str) -> None:
    assert said in refusal(**attributes)
