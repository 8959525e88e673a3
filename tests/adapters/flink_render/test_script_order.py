"""What a PyFlink script is told: every setting that recovery needs, and no secret in any text."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.position import Coordinates
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec, plan_of
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.script_order import ScriptRenderer
from cdc_assets.flink.sink_postgres import PostgresSink
from cdc_assets.flink.source_sql import SourceAccess
from cdc_assets.ports import Launch, Server

ID = Column("id", "int", "int(11)", nullable=False)
NAME = Column("name", "varchar", "varchar(50)", charset="utf8mb4", collation="utf8mb4_general_ci")
SOURCES = tuple(TableShape("mydb", name, (ID, NAME), ("id",)) for name in ("users", "orders"))
TARGETS = tuple(TableShape("public", name, (ID, NAME), ("id",)) for name in ("users", "orders"))
SPEC = StreamSpec(
    "users",
    (TableRef("mydb", "users"), TableRef("mydb", "orders")),
    ServerIdRange(5400, 5499),
    "public",
    target_kind="postgres",
    is_scripted=True,
)
PASSWORDS = ("source-geheim", "target-geheim")
RENDER = ScriptRenderer(
    SourceAccess("cdc", PASSWORDS[0]),
    PostgresSink(Server("dw.example", 5432), "dw", "public", "writer", PASSWORDS[1]),
    "http://flink.example:8081",
    "file:///state/checkpoints",
    jars=("file:///jars/a.jar", "file:///jars/b.jar"),
)
BLUE = Server("db.example", 3306)
JOB = "0" * 31 + "1"
SCRIPT = "t_env.execute_sql('INSERT INTO b SELECT * FROM a')\n"


def launch(**settings: object) -> Launch:
    return replace(Launch(JOB, "users:1", SPEC, BLUE), **settings)


def told(**settings: object) -> dict[str, dict[str, dict[str, str]]]:
    return json.loads(RENDER.order(launch(**settings), SOURCES, TARGETS).to_json())


def test_the_settings_that_a_recovery_needs_are_the_launchs_own() -> None:
    settings: dict[str, object] = dict(told()["settings"])
    assert (
        settings.items()
        >= {
            "$internal.pipeline.job-id": JOB,
            "pipeline.name": "users:1",
            "execution.target": "remote",
            "rest.address": "flink.example",
            "rest.port": "8081",
            "rest.retry.max-attempts": "0",
            "execution.checkpointing.interval": "3000ms",
            "execution.checkpointing.dir": "file:///state/checkpoints",
            "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
            "restart-strategy.type": "none",
            "pipeline.jars": "file:///jars/a.jar;file:///jars/b.jar",
        }.items()
    )
    assert "execution.state-recovery.path" not in settings


def test_a_launch_from_state_restores_it_and_leaves_it_to_its_owner() -> None:
    settings: dict[str, object] = dict(told(restore_path="/state/chk-7")["settings"])
    assert settings["execution.state-recovery.path"] == "file:///state/chk-7"
    assert settings["execution.state-recovery.claim-mode"] == "NO_CLAIM"


def test_each_table_gets_a_source_with_server_start_and_ids_of_its_own() -> None:
    sources = told(coordinates=Coordinates("bin.000007", 400))["sources"]
    users, orders = sources["mydb.users"], sources["mydb.orders"]
    assert (
        users.items()
        >= {
            "connector": "mysql-cdc",
            "hostname": "db.example",
            "port": "3306",
            "username": "cdc",
            "password": PASSWORDS[0],
            "scan.startup.mode": "specific-offset",
            "scan.startup.specific-offset.file": "bin.000007",
            "scan.startup.specific-offset.pos": "400",
            "debezium.connect.keep.alive": "false",
            "server-id": "5400",
        }.items()
    )
    assert orders["server-id"] == "5401"


def test_each_target_gets_the_options_of_its_kind() -> None:
    users = told()["targets"]["users"]
    assert users["connector"] == "jdbc"
    assert users["url"].startswith("jdbc:postgresql://dw.example:5432/dw?")
    assert (users["username"], users["password"]) == ("writer", PASSWORDS[1])


def test_a_stream_of_a_script_keeps_its_state_over_a_switchover() -> None:
    assert SPEC.resume_form == "transplant"
    assert told()["settings"]["table.exec.sink.upsert-materialize"] == "AUTO"


def test_what_people_read_holds_no_secret_wherever_it_stands() -> None:
    order = RENDER.order(launch(), SOURCES, TARGETS)
    script = f"{SCRIPT}# 'password' = '{PASSWORDS[1]}'\n"
    text = RENDER.for_people(order, script)
    assert SCRIPT in text
    assert [each for each in PASSWORDS if each in text or each in repr(order)] == []


def test_two_launches_of_one_script_are_one_plan_and_another_script_is_another() -> None:
    first = RENDER.for_people(RENDER.order(launch(), SOURCES, TARGETS), SCRIPT)
    other = launch(
        job_id="f" * 32,
        name="users:2",
        server=Server("green.example", 3307),
        restore_path="/state/chk-7",
    )
    second = RENDER.for_people(RENDER.order(other, SOURCES, TARGETS), SCRIPT)
    third = RENDER.for_people(RENDER.order(other, SOURCES, TARGETS), SCRIPT + "# changed\n")
    assert plan_of(first) == plan_of(second) != plan_of(third)


@pytest.mark.parametrize(
    "key", ["execution.checkpointing.interval", "$internal.pipeline.job-id", "rest.port"]
)
def test_a_setting_of_the_launch_cannot_be_given(key: str) -> None:
    render = replace(RENDER, settings={key: "1"})
    with pytest.raises(ConfigurationError, match="made by the launch itself"):
        render.order(launch(), SOURCES, TARGETS)


def test_other_settings_are_handed_on() -> None:
    render = replace(RENDER, settings={"table.exec.state.ttl": "1 d"})
    order = render.order(launch(), SOURCES, TARGETS)
    assert order.settings["table.exec.state.ttl"] == "1 d"


def test_an_address_with_a_path_is_refused() -> None:
    render = replace(RENDER, rest_url="https://proxy.example/flink/")
    with pytest.raises(ConfigurationError, match="without a path"):
        render.order(launch(), SOURCES, TARGETS)
