"""The command: what is read and written, and what is not."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cdc_assets.cli import cli
from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import ConfigurationError
from cdc_assets.smt import generate as module

PASSWORD = "s3cret!"
CONFIG = """\
[db]
host = 127.0.0.1
port = 1
user = reader
password = s3cret!
[table-rule.1]
database = shop
table = {pattern}
flink.starrocks.jdbc-url=jdbc:mysql://fe:9030
flink.starrocks.load-url=fe:8030
flink.starrocks.username=writer
flink.starrocks.password=env:SR_PASSWORD
"""


class Answers:
    """A session that knows the tables of one server."""

    def rows(self, text: str) -> Sequence[tuple[object, ...]]:
        assert "information_schema.TABLES" in text
        return [("shop", "orders"), ("shop", "a" * 40), ("mysql", "user"), ("sys", "x")]


def describe(_: object, tables: Sequence[TableRef]) -> Mapping[str, TableShape]:
    columns = (Column("id", "int", "int(11)", nullable=False),)
    return {t.label: TableShape(t.database, t.name, columns, ("id",)) for t in tables}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def opened(*_: object) -> Iterator[Answers]:
        yield Answers()

    monkeypatch.setattr(module, "open_session", opened)
    monkeypatch.setattr(module, "describe", describe)


def written(folder: Path, pattern: str = "^orders$") -> Path:
    file = folder / "prod.conf"
    file.write_text(CONFIG.format(pattern=pattern))
    return file


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["generate", "starrocks", *map(str, arguments)])


@pytest.mark.usefixtures("server")
def test_the_files_are_written_for_their_owner_only(tmp_path: Path) -> None:
    done = run(written(tmp_path), "--out", tmp_path / "result")
    assert done.exit_code == 0, done.output
    files = sorted((tmp_path / "result").iterdir())
    assert [file.name for file in files] == [
        "flink-create.1.sql",
        "flink-create.all.sql",
        "starrocks-create.1.sql",
        "starrocks-create.all.sql",
    ]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert "table-rule.1: shop.orders -> shop.orders" in done.output
    assert "SR_PASSWORD: fill them in with envsubst" in done.output
    assert PASSWORD not in done.output


@pytest.mark.usefixtures("server")
def test_a_file_that_was_changed_by_hand_is_kept(tmp_path: Path) -> None:
    config, out = written(tmp_path), tmp_path / "result"
    assert run(config, "--out", out).exit_code == 0
    assert run(config, "--out", out).exit_code == 0  # the same content is no other content
    changed = out / "flink-create.1.sql"
    changed.write_text("-- mine")
    refused = run(config, "--out", out)
    assert refused.exit_code == 2
    assert "another content" in refused.output
    assert changed.read_text() == "-- mine"
    assert run(config, "--out", out, "--force").exit_code == 0
    assert changed.read_text() != "-- mine"


@pytest.mark.usefixtures("server")
def test_a_pattern_that_never_ends_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MATCH_SECONDS", 0.2)
    with pytest.raises(ConfigurationError, match="takes longer than"):
        module.generate(written(tmp_path, "(a+)+b"), folder=tmp_path / "result")
    assert not (tmp_path / "result").exists()


@pytest.mark.usefixtures("server")
def test_tables_of_the_server_itself_are_never_taken(tmp_path: Path) -> None:
    file = written(tmp_path, ".*")
    file.write_text(file.read_text().replace("database = shop", "database = .*"))
    done = module.generate(file, folder=tmp_path / "result")
    assert {target.database for target in done.targets} == {"shop"}


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda folder: folder / "missing.conf", "missing.conf: cannot be read"),
        (lambda folder: folder, "cannot be read"),
        (written, "127.0.0.1:1"),  # nobody listens there
    ],
)
def test_an_error_is_one_line_without_a_password(
    tmp_path: Path, prepare: object, said: str
) -> None:
    assert callable(prepare)
    done = run(prepare(tmp_path), "--out", tmp_path / "result")
    assert done.exit_code == 2
    assert re.search(re.escape(said), done.output)
    assert done.output.count("\n") == 1
    assert PASSWORD not in done.output
    assert not (tmp_path / "result").exists()


def test_a_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    file = written(tmp_path)
    file.write_text(file.read_text().replace(f"password = {PASSWORD}", "password = env:NOT_THERE"))
    with pytest.raises(ConfigurationError, match="env:NOT_THERE: is not set"):
        module.generate(file, folder=tmp_path, environment={})
