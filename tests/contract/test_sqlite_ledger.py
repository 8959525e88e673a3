"""The ledger as a SQLite file: its creation, its refusals, its URL."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from cdc_assets.errors import ConfigurationError, LedgerUnreachable, LedgerUnreadable
from cdc_assets.ledger import schema
from cdc_assets.ledger.client import SqlLedger
from cdc_assets.ledger.location import LedgerLocation
from cdc_assets.ports import IncarnationRow
from cdc_assets.testing.builders import identity, position_row

INCARNATION = IncarnationRow(
    "orders", 1, "a" * 32, "stream", "orders.example", 3306, identity(), "initial", ""
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the bytes of a ledger with a few hundred positions, written once and closed."""
    path = tmp_path_factory.mktemp("content") / "ledger.db"
    ledger = SqlLedger(str(path))
    ledger.open_incarnation(INCARNATION)
    ledger.record_positions([position_row(number) for number in range(300)])
    ledger.close()
    assert [item.name for item in path.parent.iterdir()] == ["ledger.db"]
    return path.read_bytes()


@pytest.fixture
def filled(path: Path, content: bytes) -> Path:
    """Return a ledger file with a few hundred positions."""
    path.parent.mkdir(mode=0o700)
    path.write_bytes(content)
    return path


def refused(path: Path, match: str) -> None:
    with pytest.raises(LedgerUnreadable, match=match) as caught:
        SqlLedger(str(path)).incarnations("orders")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_making_a_client_opens_nothing(path: Path) -> None:
    SqlLedger(str(path))
    SqlLedger("mysql://cdc:secret@127.0.0.1:1/ledger")
    SqlLedger("postgresql://cdc:secret@127.0.0.1:1/ledger")
    assert not path.parent.exists()


def test_file_and_folder_are_for_their_owner_only(path: Path) -> None:
    previous = os.umask(0)
    try:
        SqlLedger(f"sqlite:///{path}").set_intent("orders", "hold", "")
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [item.name for item in path.parent.iterdir()] == ["ledger.db"]


def test_the_file_uses_a_write_ahead_log(filled: Path) -> None:
    with closing(sqlite3.connect(filled)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("table", sorted(schema.metadata.tables))
@pytest.mark.parametrize("statement", ["UPDATE {} SET id = id", "DELETE FROM {}"])
def test_no_row_can_be_changed_or_removed(filled: Path, table: str, statement: str) -> None:
    with closing(sqlite3.connect(filled)) as connection:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        marks = ", ".join("?" for _ in columns)
        values = [900 + index for index in range(len(columns))]
        connection.execute(f"INSERT INTO {table} VALUES ({marks})", values)  # noqa: S608 - names from the schema
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement.format(table))


def test_a_relative_path_keeps_its_meaning_when_the_working_directory_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ledger = SqlLedger("ledger.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    ledger.set_intent("orders", "hold", "")
    assert (tmp_path / "ledger.db").exists()


# ---------------------------------------------------------------- corrupt and foreign


def test_an_empty_file_is_refused_not_filled(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    refused(path, "the file is empty")
    assert path.stat().st_size == 0


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("this is a shopping list\n" * 100)
    refused(path, "not a SQLite database")


@pytest.mark.parametrize("size", [1, 50, 99, 100, 2048, 4096, 4097, 40960])
def test_a_truncated_file_is_refused(filled: Path, size: int) -> None:
    data = filled.read_bytes()
    assert len(data) > size
    filled.write_bytes(data[:size])
    refused(filled, "not a SQLite database|bytes")


def test_a_file_that_lacks_its_last_page_is_refused(filled: Path) -> None:
    filled.write_bytes(filled.read_bytes()[:-4096])
    refused(filled, "bytes")


def test_overwritten_pages_are_refused(filled: Path) -> None:
    data = bytearray(filled.read_bytes())
    data[100:4096] = b"\xff" * (4096 - 100)
    filled.write_bytes(data)
    refused(filled, "malformed")


def test_a_row_that_cannot_be_understood_is_refused(filled: Path) -> None:
    with closing(sqlite3.connect(filled)) as connection:
        connection.execute("DROP TRIGGER positions_no_update")
        connection.execute("UPDATE positions SET file = 'nonsense' WHERE id = 7")
        connection.commit()
    with pytest.raises(LedgerUnreadable, match="'nonsense' is not a binlog file name"):
        SqlLedger(str(filled)).positions("orders", limit=1000)


def test_the_database_of_something_else_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE runs (id INTEGER)")
    before = path.read_bytes()
    refused(path, "belongs to something else: it has a table runs")
    assert path.read_bytes()[100:] == before[100:]


def test_an_empty_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE x (id INTEGER)")
        connection.execute("DROP TABLE x")
    refused(path, "is missing")


@pytest.mark.parametrize(
    ("statement", "match"),
    [
        ("DROP TABLE meta", "meta is missing"),
        ("DROP TABLE intents", "intents is missing"),
        ("ALTER TABLE steps DROP COLUMN detail", "steps has no column detail"),
        ("UPDATE meta SET version = 99", "schema version is 99, this release knows 1"),
        ("DELETE FROM meta", "meta has 0 rows"),
        ("CREATE TABLE another (id INTEGER)", "a table another"),
    ],
)
def test_a_changed_schema_is_refused(filled: Path, statement: str, match: str) -> None:
    with closing(sqlite3.connect(filled)) as connection:
        connection.execute("DROP TRIGGER meta_no_update")
        connection.execute("DROP TRIGGER meta_no_delete")
        connection.execute(statement)
        connection.commit()
    refused(filled, match)


def test_a_folder_in_the_place_of_the_file_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    refused(path, "directory")


def test_a_parent_that_is_a_file_is_refused(path: Path) -> None:
    path.parent.touch()
    refused(path, "exists|directory")


def test_a_locked_ledger_is_unreachable_not_unreadable(filled: Path) -> None:
    ledger = SqlLedger(str(filled), timeout_seconds=0.05)
    with closing(sqlite3.connect(filled, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnreachable, match="locked") as caught:
            ledger.set_intent("orders", "hold", "")
        assert ledger.intent("orders") == ("run", "")  # a reader does not wait for a writer
        connection.execute("ROLLBACK")
    assert caught.value.recoverability == "TRANSIENT"
    ledger.set_intent("orders", "hold", "")


@pytest.mark.parametrize(
    "row",
    [
        replace(INCARNATION, stream="x" * 65),
        replace(INCARNATION, recovery="x" * 129),
        replace(INCARNATION, job_id="x" * 65),
    ],
)
def test_a_key_that_a_server_would_cut_off_is_refused(path: Path, row: IncarnationRow) -> None:
    with pytest.raises(ConfigurationError, match="longer than"):
        SqlLedger(str(path)).open_incarnation(row)
    assert SqlLedger(str(path)).incarnations(row.stream) == ()


# ---------------------------------------------------------------- the URL


@pytest.mark.parametrize(
    "url",
    [
        "mysql://cdc:s3cret@db.example:3306/ledger?ssl_ca=x&password=s3cret",
        "postgresql://cdc:s3cret@db.example/ledger",
    ],
)
def test_the_password_is_never_shown(url: str) -> None:
    ledger = SqlLedger(url)
    for shown in (repr(ledger), ledger.location, repr(LedgerLocation.parse(url))):
        assert "s3cret" not in shown
        assert "cdc" in shown
        assert "db.example" in shown


def test_a_server_that_does_not_answer_is_unreachable_and_its_password_is_not_shown() -> None:
    ledger = SqlLedger("mysql://cdc:s3cret@127.0.0.1:1/ledger", timeout_seconds=2)
    with pytest.raises(LedgerUnreachable, match=r"cdc:\*\*\*@127\.0\.0\.1:1/ledger") as caught:
        ledger.intent("orders")
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(caught.value.__cause__)


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("", "names no file"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///file:x?mode=memory", "names no file"),
        ("mysql://cdc:s3cret@db.example", "names no database"),
        ("mongodb://cdc:s3cret@db.example/ledger", "does not support"),
        ("mysql://cdc:s3cret@db.example:port/ledger", "cannot be read"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_repeating_it(url: str, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match) as caught:
        SqlLedger(url)
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(caught.value.__context__ if caught.value.__cause__ else "")


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("mysql://u@h/d", "mysql+pymysql"),
        ("mariadb://u@h/d", "mariadb+pymysql"),
        ("postgres://u@h/d", "postgresql+psycopg"),
        ("postgresql://u@h/d", "postgresql+psycopg"),
        ("mysql+pymysql://u@h/d", "mysql+pymysql"),
    ],
)
def test_the_driver_is_one_that_the_package_brings(url: str, driver: str) -> None:
    assert LedgerLocation.parse(url).url.drivername == driver
