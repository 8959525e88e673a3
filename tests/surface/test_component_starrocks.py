"""The StarRocks component: YAML in, the same objects as from Python out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster.components.testing.utils import create_defs_folder_sandbox
from pydantic import ValidationError

import cdc_assets
from cdc_assets import MySqlToStarRocksComponent, StarRocksTargetResource
from cdc_assets.engines import sink_of
from cdc_assets.environment import resolved
from cdc_assets.flink.sink_starrocks import StarRocksSink
from cdc_assets.targets.starrocks import StarRocksTarget

ATTRIBUTES: dict[str, Any] = {
    "stream": "shop",
    "tables": ["shop.orders"],
    "server_ids": "5400-5409",
    "source_host": "env:CDC_SOURCE_HOST",
    "source_username": "cdc",
    "source_password": "env:CDC_SOURCE_PASSWORD",
    "target_host": "fe.example",
    "target_query_port": "env:CDC_TARGET_PORT",
    "target_username": "writer",
    "target_password": "env:CDC_TARGET_PASSWORD",
    "target_database": "warehouse",
    "target_sink_options": {"orders": {"sink.buffer-flush.interval-ms": "5000"}},
    "flink_rest_url": "http://flink.example:8081",
    "flink_sql_gateway_url": "http://flink.example:8083",
    "flink_checkpoint_directory": "file:///state/checkpoints",
    "flink_savepoint_directory": "file:///state/savepoints",
    "ledger_url": "env:CDC_LEDGER_URL",
}


@pytest.fixture(autouse=True)
def dagster_may_warn_of_itself() -> Iterator[None]:
    """Loading YAML attaches code references, which Dagster itself calls beta."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_yaml_gives_the_graph_of_a_stream() -> None:
    body = {"type": "cdc_assets.MySqlToStarRocksComponent", "attributes": ATTRIBUTES}
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(
            component_cls=MySqlToStarRocksComponent, defs_yaml_contents=body
        )
        with sandbox.load_component_and_build_defs(defs_path=path) as (_, defs):
            keys = {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()}
    assert {"shop/snapshot", "shop/stream", "target/warehouse/orders"} <= keys


def test_the_attributes_become_the_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_TARGET_PORT", "9031")
    monkeypatch.setenv("CDC_TARGET_PASSWORD", "secret")
    component = MySqlToStarRocksComponent(**ATTRIBUTES)
    assert component.spec().target_kind == "starrocks"
    resource = resolved(component.target())
    sink = sink_of(resource)
    assert isinstance(sink, StarRocksSink)
    assert (sink.server.port, sink.load_addresses) == (9031, ("fe.example:8030",))
    assert sink.options(component.spec(), "orders")["sink.buffer-flush.interval-ms"] == "5000"
    target = resource.get_client()
    assert isinstance(target, StarRocksTarget)
    assert "secret" not in repr((target, sink, resource))
    assert list(resource.secret_values()) == ["secret"]


def test_more_front_ends_take_loads() -> None:
    resource = StarRocksTargetResource(
        host="fe1", username="u", password="p", database="d", load_addresses=["fe1:1", "fe2:2"]
    )
    assert resource.all_load_addresses == ("fe1:1", "fe2:2")
    assert resource.namespace == "d"


@pytest.mark.parametrize(
    "wrong",
    [
        {"target_password": "clear"},
        {"target_delivery": "at-most-once"},
        {"target_load_format": "xml"},
        {"target_sink_options": {"orders": "fast"}},
        {"target_port": 9030},
    ],
)
def test_a_wrong_attribute_is_refused_without_its_value(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        MySqlToStarRocksComponent(**{**ATTRIBUTES, **wrong})
    assert next(iter(wrong)) in str(caught.value)
    assert "clear" not in str(caught.value)


def test_the_public_names_are_there() -> None:
    assert {"MySqlToStarRocksComponent", "StarRocksTargetResource"} <= set(cdc_assets.__all__)
    assert isinstance(MySqlToStarRocksComponent.get_spec(), dg.ComponentTypeSpec)
