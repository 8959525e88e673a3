"""The PyFlink components, and what a script changes in the definitions of a stream."""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster.components.testing.utils import create_defs_folder_sandbox

from cdc_assets import (
    CdcStreamComponent,
    LedgerResource,
    MySqlResource,
    MySqlTargetResource,
    PyFlinkResource,
    PyFlinkToMySqlComponent,
    PyFlinkToPostgresComponent,
    ServerIdRange,
    StreamSpec,
    TableRef,
    build_cdc_definitions,
)
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.script_engine import ScriptEngine

ATTRIBUTES: dict[str, Any] = {
    "stream": "shop",
    "tables": ["shop.users"],
    "results": ["domains"],
    "server_ids": "5400-5409",
    "source_host": "db.example",
    "source_username": "cdc",
    "source_password": "env:CDC_SOURCE_PASSWORD",
    "target_host": "dw.example",
    "target_username": "writer",
    "target_password": "env:CDC_TARGET_PASSWORD",
    "target_database": "warehouse",
    "script": "stream.py",
    "python_executable": "env:PYFLINK_PYTHON",
    "jars": ["/opt/jars/mysql-cdc.jar"],
    "flink_rest_url": "http://flink.example:8081",
    "flink_checkpoint_directory": "file:///state/checkpoints",
    "flink_savepoint_directory": "file:///state/savepoints",
    "ledger_url": "env:CDC_LEDGER_URL",
}
KINDS = [PyFlinkToMySqlComponent, PyFlinkToPostgresComponent]


@pytest.fixture(autouse=True)
def dagster_may_warn_of_itself() -> Iterator[None]:
    """Loading YAML attaches code references, which Dagster itself calls beta."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def load(kind: type[CdcStreamComponent], **attributes: object) -> tuple[Path, dg.Definitions]:
    """Return the folder of a component's file, and its definitions."""
    body = {
        "type": f"cdc_assets.{kind.__name__}",
        "attributes": {**ATTRIBUTES, **attributes},
    }
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(component_cls=kind, defs_yaml_contents=body)
        with sandbox.load_component_and_build_defs(defs_path=path) as (_, defs):
            return Path(path), defs


def wiring_of(defs: dg.Definitions) -> Any:  # noqa: ANN401 - whatever the resource is
    return (defs.resources or {})["cdc_shop"]


@pytest.mark.parametrize("kind", KINDS)
def test_copies_and_results_of_a_script_are_assets(kind: type[CdcStreamComponent]) -> None:
    _, defs = load(kind)
    keys = {spec.key.path[-1] for spec in defs.resolve_all_asset_specs()}
    assert keys == {"users", "snapshot", "stream", "domains"}
    assert wiring_of(defs).spec.is_scripted


def test_a_relative_script_lies_beside_its_file() -> None:
    folder, defs = load(PyFlinkToPostgresComponent)
    assert Path(wiring_of(defs).flink.script) == folder / "stream.py"


def test_a_connected_stream_is_launched_by_its_script(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("CDC_SOURCE_PASSWORD", "CDC_TARGET_PASSWORD"):
        monkeypatch.setenv(name, "geheim-word")
    monkeypatch.setenv("PYFLINK_PYTHON", sys.executable)
    monkeypatch.setenv("CDC_LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")
    _, defs = load(PyFlinkToPostgresComponent)
    engine: Any = wiring_of(defs).connect().runtime.engine
    assert isinstance(engine, ScriptEngine)
    assert engine._script.python == sys.executable
    assert engine._render.jars == ("file:///opt/jars/mysql-cdc.jar",)


def test_queries_belong_into_the_script() -> None:
    with pytest.raises(Exception, match=r"(?s).*") as caught:
        load(PyFlinkToPostgresComponent, queries={"x": "SELECT 1"})
    found, error = [str(caught.value)], caught.value.__cause__
    while error is not None:
        found.append(str(error))
        error = error.__cause__
    assert "write the queries in the script" in "\n".join(found)


@pytest.mark.parametrize("kind", KINDS)
def test_a_scaffolded_file_loads_as_it_is_with_a_script_that_fits(
    kind: type[CdcStreamComponent],
) -> None:
    params = {"stream": "sales", "tables": "shop.users:people"}
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(component_cls=kind, scaffold_params=params)
        text = (Path(path) / "stream.py").read_text()
        with sandbox.load_component_and_build_defs(defs_path=path) as (_, defs):
            keys = {spec.key.path[-1] for spec in defs.resolve_all_asset_specs()}
    assert keys == {"users", "people", "snapshot", "stream"}
    ast.parse(text)
    assert "source_options('shop.users')" in text
    assert "target_options('people')" in text


def test_a_script_is_the_job_of_one_stream() -> None:
    specs = [
        StreamSpec(name, (TableRef("shop", name),), ServerIdRange(first, first + 9), "dw")
        for name, first in (("one", 10), ("two", 20))
    ]
    with pytest.raises(ConfigurationError, match="a script is the job of one stream"):
        build_cdc_definitions(
            streams=specs,
            source=MySqlResource(host="db", username="cdc", password="x"),
            target=MySqlTargetResource(host="dw", username="w", password="x", database="dw"),
            flink=PyFlinkResource(
                rest_url="http://flink:8081",
                checkpoint_directory="file:///c",
                savepoint_directory="file:///s",
                script="stream.py",
                python_executable="python",
            ),
            ledger=LedgerResource(url="sqlite://"),
        )
