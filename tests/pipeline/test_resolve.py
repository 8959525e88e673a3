"""Resolve and show: what is asked of the source, written down and said."""

from __future__ import annotations

from pathlib import Path

import pymysql
import pytest
from click.testing import CliRunner

from cdc_assets.cli import cli
from cdc_assets.errors import ConfigurationError
from cdc_assets.pipeline.lock import lock_path, read_lock, write_lock
from cdc_assets.pipeline.resolve import Given, resolve
from tests.adapters.mysql.conftest import ScriptedServer
from tests.pipeline.files import BATCH, SINK, SOURCE, TABLES, changed, written

GIVEN = Given(host="db.example", username="cdc", password="env:PW")
OPTIONS = ("--host", "db.example", "--username", "cdc", "--password", "env:PW")
COLUMNS = {
    "feedback": (("id", "bigint(20)"), ("user_id", "bigint(20)"), ("comment", "varchar(50)")),
    "order": (("id", "bigint(20)"), ("product", "varchar(50)"), ("user_id", "bigint(20)")),
    "user": (("id", "bigint(20)"), ("name", "varchar(50)")),
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> ScriptedServer:
    found = ScriptedServer({
        "SELECT VERSION()": [("8.0.36",)],
        "SELECT TABLE_SCHEMA, TABLE_NAME": [*TABLES, ("other", "t")],
    })  # fmt: skip
    described(found, COLUMNS)
    monkeypatch.setattr(pymysql, "connect", found.connect)
    monkeypatch.setenv("PW", "secret")
    return found


def described(
    server: ScriptedServer, tables: dict[str, tuple[tuple[str, str], ...]], key: str = "id"
) -> None:
    server.answers |= {
        "SELECT TABLE_NAME, TABLE_TYPE": [(name, "BASE TABLE", 2) for name in tables],
        "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE": [
            (name, column, kind.partition("(")[0], kind, "NO", None, None, "")
            for name, columns in tables.items()
            for column, kind in columns
        ],
        "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.STATISTICS": [
            (name, key) for name in tables
        ],
    }


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["pipeline", *arguments])
    assert "secret" not in result.output
    return result.exit_code, result.output


def test_the_matching_tables_are_written_down_once(tmp_path: Path, server: ScriptedServer) -> None:
    path = written(tmp_path, tables=())
    found = resolve(path, GIVEN)
    assert (found.tables, found.changed) == (TABLES, True)
    assert (server.given["host"], server.given["port"]) == ("db.example", 3306)
    assert server.given["password"] == "secret"
    assert read_lock(lock_path(path)) == TABLES
    assert not resolve(path, GIVEN).changed
    code, output = run("resolve", str(path), *OPTIONS)
    assert (code, "3 tables, unchanged" in output) == (0, True)


def test_a_list_is_not_written_when_a_table_has_no_topic(
    tmp_path: Path, server: ScriptedServer
) -> None:
    server.answers["SELECT TABLE_SCHEMA, TABLE_NAME"] = [*TABLES, ("order_dw", "a b")]
    path = written(tmp_path, tables=())
    with pytest.raises(ConfigurationError, match="cannot have the topic"):
        resolve(path, GIVEN)
    assert not lock_path(path).exists()


def test_a_pattern_that_matches_nothing_keeps_the_list(
    tmp_path: Path, server: ScriptedServer
) -> None:
    server.answers["SELECT TABLE_SCHEMA, TABLE_NAME"] = [("other", "t")]
    path = written(tmp_path)
    code, output = run("resolve", str(path), *OPTIONS)
    assert code == 2
    assert "shop.yaml:8:11: source.tables: order_dw.\\.* matches no table" in output
    assert read_lock(lock_path(path)) == TABLES


def test_an_unset_variable_is_named(
    tmp_path: Path, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PW")
    code, output = run("resolve", str(written(tmp_path)), *OPTIONS)
    assert (code, "environment variable PW is not set" in output) == (2, True)
    assert server.said == []


def test_show_says_topics_readers_and_what_changed(tmp_path: Path, server: ScriptedServer) -> None:
    path = written(tmp_path, SOURCE + BATCH + SINK, tables=())
    code, output = run("show", str(path), *OPTIONS)
    assert code == 0
    assert "order_dw.user -> topic_user" in output
    assert "reader 1 (server id 28601, key id): " in output
    assert "is not written yet" in output
    assert not lock_path(path).exists()
    write_lock(lock_path(path), [*TABLES[1:], ("order_dw", "vanished")])
    _, output = run("show", str(path), *OPTIONS)
    assert "order_dw.feedback" in output.partition("new since")[2]
    assert "order_dw.vanished" in output.partition("gone since")[2]
    assert server.open == 0


def test_show_names_every_column_and_table_that_cannot_be_carried(
    tmp_path: Path, server: ScriptedServer
) -> None:
    described(server, COLUMNS | {"user": (("id", "bigint(20)"), ("y", "json"), ("t", "time"))})
    keys = server.answers["SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.STATISTICS"]
    assert isinstance(keys, list)
    keys.remove(("order", "id"))
    code, output = run("show", str(written(tmp_path)), *OPTIONS)
    assert code == 0
    refused = [line for line in output.splitlines() if line.startswith("refused: ")]
    assert [line.split()[1] for line in refused] == [
        "tables:", "order_dw.user.y:", "order_dw.user.t:",
    ]  # fmt: skip
    assert "has no primary key" in refused[0]
    assert "reader" not in output


def test_host_and_port_may_be_variables(
    tmp_path: Path, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = changed("#{hostname}", "env:DB_HOST", SOURCE + SINK)
    text = changed("port: 3306", "port: env:DB_PORT", text)
    path = written(tmp_path, text, tables=())
    monkeypatch.setenv("DB_HOST", "elsewhere")
    monkeypatch.setenv("DB_PORT", "3307")
    resolve(path, Given(username="cdc", password="env:PW"))
    assert (server.given["host"], server.given["port"]) == ("elsewhere", 3307)
    monkeypatch.setenv("DB_PORT", "x")
    with pytest.raises(ConfigurationError, match="is not a port"):
        resolve(path, Given(username="cdc", password="env:PW"))
