"""The component for PostgreSQL."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster.components.testing.utils import create_defs_folder_sandbox

import cdc_assets
from cdc_assets import MySqlToPostgresComponent
from cdc_assets.engines import sink_of
from cdc_assets.environment import resolved
from cdc_assets.flink.sink_postgres import PostgresSink
from cdc_assets.targets.postgres import PostgresTarget

ATTRIBUTES: dict[str, Any] = {
    "stream": "shop",
    "tables": ["shop.orders", "shop.customers:Customer"],
    "server_ids": "5400-5409",
    "source_host": "env:CDC_SOURCE_HOST",
    "source_username": "cdc",
    "source_password": "env:CDC_SOURCE_PASSWORD",
    "target_host": "dw.example",
    "target_username": "writer",
    "target_password": "env:CDC_TARGET_PASSWORD",
    "target_database": "warehouse",
    "target_schema": "sales",
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


def load(**attributes: object) -> dg.Definitions:
    body = {
        "type": "cdc_assets.MySqlToPostgresComponent",
        "attributes": {**ATTRIBUTES, **attributes},
    }
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(
            component_cls=MySqlToPostgresComponent, defs_yaml_contents=body
        )
        with sandbox.load_component_and_build_defs(defs_path=path) as (_, defs):
            return defs


def test_target_tables_are_keyed_by_their_schema() -> None:
    keys = {spec.key.to_user_string() for spec in load().resolve_all_asset_specs()}
    assert {"target/sales/orders", "target/sales/Customer"} <= keys


def test_the_wiring_leads_to_the_sink_and_the_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_TARGET_PASSWORD", "s3cret")
    wiring: Any = (load(target_tls="verify", target_ca_file="/ca.pem").resources or {})["cdc_shop"]
    assert wiring.spec.target_kind == "postgres"
    target = resolved(wiring.target)
    sink = sink_of(target)
    assert isinstance(sink, PostgresSink)
    assert (sink.schema, sink.password, sink.ca_file) == ("sales", "s3cret", "/ca.pem")
    client = target.get_client()
    assert isinstance(client, PostgresTarget)
    assert "s3cret" not in repr((sink, client, wiring))


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("target_password", "hunter2", "write it as env:NAME"),
        ("target_port", "http", "target_port: write a number or env:NAME"),
        ("target_tls", "maybe", "target_tls"),
    ],
)
def test_a_wrong_value_is_refused(attribute: str, value: object, said: str) -> None:
    with pytest.raises(Exception, match=r"(?s).*") as caught:
        load(**{attribute: value})
    error: BaseException | None = caught.value
    texts: list[str] = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__ or error.__context__
    assert said in "\n".join(texts)
    assert "hunter2" not in "\n".join(texts)


def test_a_scaffolded_file_loads_as_it_is() -> None:
    params = {"stream": "sales", "tables": "sales.orders", "target_schema": "dw"}
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(
            component_cls=MySqlToPostgresComponent, scaffold_params=params
        )
        with sandbox.load_component_and_build_defs(defs_path=path) as (_, defs):
            keys = {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()}
    assert "target/dw/orders" in keys


def test_the_catalogue_finds_the_component() -> None:
    assert cdc_assets.MySqlToPostgresComponent.get_spec().tags
