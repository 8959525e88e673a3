"""MySqlToIcebergComponent: YAML in, the same objects as `build_cdc_definitions` out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster.components.testing.utils import create_defs_folder_sandbox

from cdc_assets import MySqlToIcebergComponent

ATTRIBUTES: dict[str, Any] = {
    "stream": "users",
    "tables": ["shop.orders"],
    "sharded_tables": ["user_db_[0-9]+.user_table_[0-9]+:all_users"],
    "server_ids": "5400-5409",
    "source_host": "env:CDC_SOURCE_HOST",
    "source_username": "cdc",
    "source_password": "env:CDC_SOURCE_PASSWORD",
    "target_uri": "http://lake.example:8181",
    "target_database": "warehouse",
    "target_token": "env:CDC_TARGET_TOKEN",
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
        "type": "cdc_assets.MySqlToIcebergComponent",
        "attributes": {**ATTRIBUTES, **attributes},
    }
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(
            component_cls=MySqlToIcebergComponent, defs_yaml_contents=body
        )
        with sandbox.load_component_and_build_defs(defs_path=path) as (_, defs):
            return defs


def test_yaml_gives_the_graph_of_a_stream() -> None:
    keys = {spec.key.to_user_string() for spec in load().resolve_all_asset_specs()}
    assert keys == {
        "source/shop/orders",
        "source/shards/all_users",
        "users/snapshot",
        "users/stream",
        "target/warehouse/orders",
        "target/warehouse/all_users",
    }


def test_the_stream_connects(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SOURCE_HOST", "SOURCE_PASSWORD", "TARGET_TOKEN"):
        monkeypatch.setenv(f"CDC_{name}", "so-secret")
    monkeypatch.setenv("CDC_LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    wiring: Any = (load(target_properties={"s3.endpoint": "http://s3"}).resources or {})[
        "cdc_users"
    ]
    runtime = wiring.connect().runtime
    text = repr(runtime.target)
    assert text == "IcebergTarget(rest catalog http://lake.example:8181, 'warehouse')"
    assert "so-secret" not in repr(wiring)
    assert runtime.spec.resume_form == "transplant"


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("target_token", "s3cr3t", "env:NAME"),
        ("target_secret_properties", "a=s3cr3t", "env:NAME"),
        ("target_properties", {"s3.secret-access-key": "s3cr3t"}, "target_secret_properties"),
        ("target_uri", "", "target_uri is needed"),
        ("target_catalog", "hadoop", "target_warehouse is needed"),
        ("sharded_tables", ["a,b.c:t"], "sharded tables"),
        ("sharded_tables", ["a.b"], "sharded tables"),
    ],
)
def test_a_wrong_attribute_is_told(attribute: str, value: object, said: str) -> None:
    with pytest.raises(Exception, match=r"(?s).*") as caught:
        load(**{attribute: value})
    error: BaseException = caught.value
    found = [str(error)]
    while (cause := error.__cause__ or error.__context__) is not None:
        found.append(str(cause))
        error = cause
    text = "\n".join(found)
    assert said in text
    assert "s3cr3t" not in text
