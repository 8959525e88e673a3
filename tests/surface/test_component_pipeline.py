"""A pipeline file as a component, from Python and on the command line."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster.components.testing.utils import create_defs_folder_sandbox

from cdc_assets import (
    ConfigurationError,
    MySqlDatabaseToKafkaComponent,
    build_cdc_definitions,
    stream_from_pipeline,
)
from cdc_assets.cli import cli
from cdc_assets.environment import resolved
from cdc_assets.flink.pipeline_engine import PipelineEngine
from cdc_assets.flink.resource import FlinkCdcResource, FlinkResource
from cdc_assets.ledger.resource import LedgerResource
from cdc_assets.targets.kafka_keys import is_no_delete
from tests.pipeline.files import BATCH, DEFAULT, SINK, SOURCE, TABLES, changed, written

pytestmark = pytest.mark.filterwarnings("ignore")  # loading YAML is beta, says Dagster itself

ATTRIBUTES: dict[str, Any] = {
    "pipeline": "shop.yaml",
    "source_host": "env:CDC_SOURCE_HOST",
    "source_username": "cdc",
    "source_password": "env:CDC_SOURCE_PASSWORD",
    "flink_rest_url": "http://flink.example:8081",
    "flink_sql_gateway_url": "http://flink.example:8083",
    "flink_checkpoint_directory": "file:///state/checkpoints",
    "flink_savepoint_directory": "file:///state/savepoints",
    "ledger_url": "env:CDC_LEDGER_URL",
}
OPEN = {"host": "db.example", "username": "cdc", "password": "env:CDC_SOURCE_PASSWORD"}


def load(text: str = DEFAULT, tables: tuple[Any, ...] = TABLES, **more: object) -> dg.Definitions:
    body = {
        "type": "cdc_assets.MySqlDatabaseToKafkaComponent",
        "attributes": {**ATTRIBUTES, **more},
    }
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(
            component_cls=MySqlDatabaseToKafkaComponent, defs_yaml_contents=body
        )
        written(Path(path), text, tables)
        with sandbox.load_component_and_build_defs(defs_path=path) as (_, defs):
            return defs


def refusal(text: str = DEFAULT, tables: tuple[Any, ...] = TABLES, **more: object) -> str:
    with pytest.raises(Exception, match=r"(?s).*") as caught:
        load(text, tables, **more)
    error: BaseException | None = caught.value
    found: list[str] = []
    while error is not None:
        found.append(str(error))
        error = error.__cause__ or error.__context__
    return "\n".join(found)


def keys(defs: dg.Definitions) -> set[str]:
    return {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()}


def test_a_file_as_it_is_becomes_assets_with_its_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "create_connection", None)
    found = keys(load(SOURCE + BATCH + SINK))
    assert {"source/order_dw/user", "shop/snapshot", "shop/stream"} <= found
    assert {"target/topic_user", "target/topic_order", "target/topic_feedback"} <= found
    prefixed = keys(load(target_topic_prefix="lab.", stream="orders"))
    assert {"target/lab./order_dw.user", "orders/stream"} <= prefixed


@pytest.mark.parametrize(
    ("text", "tables", "more", "what"),
    [
        (DEFAULT, (), {}, "shop.yaml:8:11: source.tables: the tables behind the pattern are not"),
        (DEFAULT, TABLES, {"source_host": ""}, "the placeholder #{hostname} is not filled in"),
        (DEFAULT, TABLES, {"source_password": "hunter2"}, "write it as env:NAME"),
        (DEFAULT, TABLES, {"source_port": 3307}, "the file has a value, and source_port has one"),
        (DEFAULT, TABLES, {"queries": {"q": "x"}}, "the pipeline file says what is captured"),
        (DEFAULT, TABLES, {"server_ids": "1-9"}, "the file has 28601-28604, and 1-9 is given"),
        (DEFAULT, TABLES, {"pipeline": "other.yaml"}, "other.yaml: cannot be read: No such file"),
        (DEFAULT, TABLES, {"target_bootstrap_servers": "x:1"}, "target_bootstrap_servers has one,"),
        (DEFAULT + "  properties.security.protocol: SASL_SSL\n", TABLES,
         {"target_security_protocol": "SSL"}, "target.security_protocol: the file says it, too"),
        (DEFAULT + "\ntransform: []\n", TABLES, {}, "shop.yaml:19:12: transform: cannot be done"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_a_stream_is_refused(
    text: str, tables: tuple[Any, ...], more: dict[str, Any], what: str
) -> None:
    message = refusal(text, tables, **more)
    assert what in message
    assert "hunter2" not in message


def test_the_same_stream_comes_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_SOURCE_PASSWORD", "secret")
    text = SINK + "  properties.security.protocol: SASL_SSL\n  properties.linger.ms: 5\n" + SOURCE
    path = written(tmp_path, text + "pipeline:\n  name: Whole DB\n")
    source = {"host": "db.example", "username": "cdc", "password": dg.EnvVar("CDC_SOURCE_PASSWORD")}
    found = stream_from_pipeline(path, source=source, target={"username": "w", "password": "p"})
    assert found.spec.name == "whole_db"
    assert resolved(found.source).password == "secret"
    assert (found.source.host, found.source.port) == ("db.example", 3306)
    target = resolved(found.target)
    assert (target.security_protocol, target.username) == ("SASL_SSL", "w")
    assert target.create_topics
    assert target.producer_properties == {"linger.ms": "5"}
    assert [note.option for note in found.notes][:1] == ["sink.aliyun.kafka.accessKeyId"]
    defs = build_cdc_definitions(
        streams=found.spec,
        source=found.source,
        target=found.target,
        flink=FlinkResource(
            rest_url="http://f:1", sql_gateway_url="http://f:2",
            checkpoint_directory="file:///c", savepoint_directory="file:///s",
        ),
        ledger=LedgerResource(url="sqlite:///x.db"),
    )  # fmt: skip
    assert "target/order_dw.user" in keys(defs)


def test_what_the_file_leaves_open_must_be_given(tmp_path: Path) -> None:
    path = written(tmp_path, changed("kafka.example:9092", "kafka.example"))
    with pytest.raises(ConfigurationError, match="placeholder"):
        stream_from_pipeline(path)
    path = written(tmp_path, changed("xxxx.kafka.example:9092", "#{servers}"))
    with pytest.raises(ConfigurationError, match=r"placeholder #\{servers\}.*bootstrap_servers"):
        stream_from_pipeline(path, source=OPEN)
    assert stream_from_pipeline(path, source=OPEN, target={"bootstrap_servers": "k:9092"})


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["pipeline", *arguments])
    return result.exit_code, result.output


def test_check_says_what_is_ignored_open_and_next(tmp_path: Path) -> None:
    path = written(tmp_path, tables=())
    code, output = run("check", str(path))
    assert code == 0
    assert "ignored: " in output
    assert "shop.yaml:4:12: source.hostname: holds #{hostname}" in output
    assert "run cdc-assets pipeline resolve" in output
    written(tmp_path)
    code, output = run("check", str(path))
    assert (code, "3 tables into 3 topics" in output) == (0, True)
    path.write_text(changed("tables", "tabels"))
    code, output = run("check", str(path))
    assert code == 2
    assert "shop.yaml:8:11: source.tabels: no such option" in output


def test_show_without_a_connection_lists_tables_and_topics(tmp_path: Path) -> None:
    path = written(tmp_path, SOURCE + BATCH + SINK)
    code, output = run("show", "--offline", str(path))
    assert code == 0
    assert "order_dw.user -> topic_user" in output


def test_a_password_is_not_taken_on_the_command_line(tmp_path: Path) -> None:
    path = written(tmp_path)
    code, output = run("resolve", str(path), "--password", "hunter2")
    assert code == 2
    assert "write it as env:NAME" in output
    assert "hunter2" not in output


def test_a_topic_that_cannot_be_is_refused_by_check(tmp_path: Path) -> None:
    path = written(tmp_path, tables=(("order_dw", "a b"),))
    code, output = run("check", str(path))
    assert code == 2
    assert "order_dw.a b cannot have the topic" in output


def test_resolve_says_what_is_open(tmp_path: Path) -> None:
    code, output = run("resolve", str(written(tmp_path, tables=())))
    assert code == 2
    assert "the placeholder #{hostname} is not filled in" in output
    assert "give --host" in output


def test_a_scaffolded_file_loads_as_it_is() -> None:
    with create_defs_folder_sandbox() as sandbox:
        path = Path(
            sandbox.scaffold_component(
                component_cls=MySqlDatabaseToKafkaComponent,
                scaffold_params={"pipeline": "all.yaml"},
            )
        )
        assert "shop.\\.*" in (path / "all.yaml").read_text()
        with sandbox.load_component_and_build_defs(defs_path=path) as (_, defs):
            assert {"shop/stream", "target/shop.orders"} <= keys(defs)
    assert MySqlDatabaseToKafkaComponent.get_spec().tags


def test_connecting_opens_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "CDC_SOURCE_HOST": "db.example", "CDC_SOURCE_PASSWORD": "a",
        "CDC_LEDGER_URL": f"sqlite:///{tmp_path}/ledger.db",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    defs = load(SOURCE + BATCH + SINK)
    wiring = (defs.resources or {})["cdc_shop"]
    spec = wiring.connect().runtime.spec
    assert spec.target_names == ("topic_feedback", "topic_order", "topic_user")
    assert [each.text for each in spec.chosen_by] == ["order_dw.\\.*"]


HOME = {"flink_cdc_home": "/opt/flink-cdc", "flink_home": "env:FLINK_HOME"}
NATIVE = SOURCE + BATCH + SINK.replace("upsert-kafka\n", "kafka\n", 1)


def test_a_home_lets_flink_cdc_run_a_file_of_change_events(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {
        "CDC_SOURCE_HOST": "db.example", "CDC_SOURCE_PASSWORD": "a", "FLINK_HOME": "/opt/flink",
        "CDC_LEDGER_URL": f"sqlite:///{tmp_path}/ledger.db",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    more = {"flink_sql_gateway_url": "", "flink_jars": ["/jars/udf.jar"], "flink_java": "java17"}
    with create_defs_folder_sandbox() as sandbox:
        body = {
            "type": "cdc_assets.MySqlDatabaseToKafkaComponent",
            "attributes": {**ATTRIBUTES, **HOME, **more},
        }
        path = sandbox.scaffold_component(
            component_cls=MySqlDatabaseToKafkaComponent, defs_yaml_contents=body
        )
        written(Path(path), NATIVE)
        with sandbox.load_component_and_build_defs(defs_path=path) as (_, defs):
            wiring = (defs.resources or {})["cdc_shop"]
            rt = wiring.connect().runtime
    assert {"shop/stream", "target/topic_user"} <= keys(defs)
    checks = defs.resolve_asset_graph().asset_check_keys
    assert "schema_drift" not in {key.name for key in checks}
    assert isinstance(rt.engine, PipelineEngine)
    assert rt.spec.engine == "flink-cdc"
    flink = resolved(wiring.flink)
    assert (flink.flink_cdc_home, flink.flink_home) == ("/opt/flink-cdc", "/opt/flink")
    assert (flink.java, flink.jars) == ("java17", ["/jars/udf.jar"])
    # Its writer has no transactions, and a delete in its topics is an event.
    assert rt.target._policy.delivery == "at-least-once"
    assert rt.target._alive is is_no_delete


def test_tables_that_share_a_topic_are_assets_of_their_own() -> None:
    found = keys(load(NATIVE.replace(BATCH, "") + "  topic: all\n", **HOME))
    assert {f"target/all/order_dw.{name}" for name in ("user", "order", "feedback")} <= found


def test_with_a_home_flink_sql_still_writes_the_upsert_topics() -> None:
    assert "target/topic_user" in keys(load(SOURCE + BATCH + SINK, **HOME))
    message = refusal(SOURCE + BATCH + SINK, **HOME, flink_sql_gateway_url="")
    assert "flink_sql_gateway_url: Flink SQL writes this file's sink" in message


@pytest.mark.parametrize(
    ("text", "more", "what"),
    [
        (NATIVE, {**HOME, "flink_home": ""}, "flink_home is needed"),
        (NATIVE, {**HOME, "exclude_columns": ["user.name"]}, "Write a projection"),
        (NATIVE, {}, "where a flink-cdc home is given"),
        (NATIVE + "  sink.delivery-guarantee: exactly-once\n", HOME, "no transactional id"),
    ],
)
def test_what_flink_cdc_cannot_run_is_refused(
    text: str, more: dict[str, object], what: str
) -> None:
    assert what in refusal(text, **more)


def test_a_stream_and_the_resource_that_runs_it_must_fit(tmp_path: Path) -> None:
    made = stream_from_pipeline(written(tmp_path, NATIVE), source=OPEN, flink_cdc=True)
    assert made.is_native
    parts: dict[str, Any] = {
        "source": made.source,
        "target": made.target,
        "ledger": LedgerResource(url="sqlite:///x.db"),
    }
    folders = {"rest_url": "http://f:1", "checkpoint_directory": "file:///c",
               "savepoint_directory": "file:///s"}  # fmt: skip
    sql = FlinkResource(sql_gateway_url="http://f:2", **folders)
    with pytest.raises(ConfigurationError, match="needs a FlinkCdcResource"):
        build_cdc_definitions(streams=made.spec, flink=sql, **parts)
    native = FlinkCdcResource(
        pipeline=str(tmp_path / "shop.yaml"), flink_cdc_home="/c", flink_home="/f", **folders
    )
    assert "target/topic_user" in keys(
        build_cdc_definitions(streams=made.spec, flink=native, **parts)
    )
    plain = stream_from_pipeline(written(tmp_path), source=OPEN, flink_cdc=True)
    assert not plain.is_native
    with pytest.raises(ConfigurationError, match="needs a FlinkResource"):
        build_cdc_definitions(streams=plain.spec, flink=native, **parts)
    with pytest.raises(ConfigurationError, match="a pipeline file is the job of one stream"):
        build_cdc_definitions(streams=[made.spec, made.spec], flink=native, **parts)


def test_check_says_which_way_a_file_runs(tmp_path: Path) -> None:
    home = tmp_path / "flink-cdc"
    path = written(tmp_path, NATIVE)
    assert run("check", str(path))[0] == 2
    code, output = run("check", str(path), "--flink-cdc-home", str(home))
    assert (code, "has no folder lib" in output) == (2, True)
    (home / "lib").mkdir(parents=True)
    code, output = run("check", str(path), "--flink-cdc-home", str(home))
    assert (code, f"{path}: runs by Flink CDC" in output) == (0, True)
    assert "3 tables into 3 topics" in output
    assert "topic_user" in run("show", "--offline", str(path), "--flink-cdc-home", str(home))[1]
    written(tmp_path, SOURCE + BATCH + SINK)
    code, output = run("check", str(path), "--flink-cdc-home", str(home))
    assert (code, f"{path}: runs as Flink SQL" in output) == (0, True)
    assert "upsert-kafka is written by Flink SQL, not by Flink CDC" in output
