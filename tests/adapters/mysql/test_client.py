from __future__ import annotations

import struct

import pytest

from cdc_assets.core.position import Coordinates
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.shards import members_of
from cdc_assets.core.source import BinlogFile, FileBirth
from cdc_assets.core.table_refs import ShardedTable, TableRef
from cdc_assets.errors import ConfigurationError, SourceDenied, SourceError, SourceUnreachable
from cdc_assets.mysql.client import MySqlSource
from cdc_assets.ports import Server
from tests.adapters.mysql.conftest import ScriptedServer, event, refused

ENDPOINT = Server("db.example", 3306)
FILE = "mysql-bin-changelog.000007"
IDS = ServerIdRange(5400, 5410)
UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
MYSQL = {
    "SHOW GLOBAL VARIABLES": [
        ("server_id", "101"), ("server_uuid", UUID), ("gtid_mode", "ON"), ("read_only", "OFF"),
    ],
    "SELECT @@GLOBAL.gtid_executed": [(f"{UUID}:1-9", f"{UUID}:1-3")],
    "SHOW MASTER STATUS": [(FILE, 1234, "", "", f"{UUID}:1-9")],
    "SHOW BINARY LOGS": [(FILE, 1234)],
    "SHOW PROCESSLIST": [
        (1, "cdc", "h:1", None, "Binlog Dump GTID", 5, "", None),
        (2, "cdc", "h:2", None, "Binlog Dump", 5, "", None),
        (3, "cdc", "h:3", None, "Query", 0, "", "SHOW PROCESSLIST"),
        (4, "repl", "h:4", None, "Binlog Dump", 5, "", None),
    ],
}  # fmt: skip


def source(**settings: bool) -> MySqlSource:
    return MySqlSource(ENDPOINT, "cdc", "s3cret", **settings)


@pytest.fixture(autouse=True)
def answering(server: ScriptedServer) -> None:
    server.answers |= MYSQL
    server.packets = [event(4), event(15)]


def test_a_view_holds_everything_from_one_connection(server: ScriptedServer) -> None:
    view = source().view(ENDPOINT, file=FILE, readers=IDS)
    assert view.problem == ""
    assert view.identity is not None
    assert (view.identity.server_uuid, view.identity.server_id) == (UUID, 101)
    assert view.end == Coordinates(FILE, 1234)
    assert view.gtid_executed is not None
    assert view.gtid_executed.format() == f"{UUID}:1-9"
    assert view.binlogs is not None
    assert view.binlogs.files == (BinlogFile(FILE, 1234),)
    assert view.birth == FileBirth(FILE, 1_700_000_000, 101)
    assert (view.read_only, view.readers, server.open) == (False, 2, 0)
    assert len([each for each in server.said if each == "SELECT VERSION()"]) == 1


def test_the_binlog_connection_is_counted_before_the_own_one_begins(
    server: ScriptedServer,
) -> None:
    source().view(ENDPOINT, file=FILE, readers=IDS)
    assert server.said.index("SHOW PROCESSLIST") < server.said.index(
        "SET @master_binlog_checksum = 'NONE', @source_binlog_checksum = 'NONE'"
    )


def test_no_reader_is_known_and_some_reader_is_not_with_a_shared_account(
    server: ScriptedServer,
) -> None:
    assert source(shared_account=True).view(ENDPOINT, readers=IDS).readers is None
    server.answers["SHOW PROCESSLIST"] = []
    assert source(shared_account=True).view(ENDPOINT, readers=IDS).readers == 0


@pytest.mark.parametrize(
    ("version", "statement"),
    [
        ("5.6.24-log", "SHOW MASTER STATUS"),
        ("8.0.36", "SHOW MASTER STATUS"),
        ("8.4.3", "SHOW BINARY LOG STATUS"),
        ("9.7.4", "SHOW BINARY LOG STATUS"),
        ("10.11.5-MariaDB-log", "SHOW MASTER STATUS"),
        ("5.5.5-11.4.5-MariaDB", "SHOW MASTER STATUS"),
    ],
)
def test_the_end_is_asked_for_in_the_servers_spelling(
    server: ScriptedServer, version: str, statement: str
) -> None:
    server.answers = {"SELECT VERSION()": [(version,)], statement: [(FILE, 4)]}
    assert source().end(ENDPOINT) == Coordinates(FILE, 4)


def test_mariadb_has_no_uuid_because_its_uid_is_the_port_and_the_network_card(
    server: ScriptedServer,
) -> None:
    server.answers |= {
        "SELECT VERSION()": [("11.4.5-MariaDB-log",)],
        "SHOW GLOBAL VARIABLES": [("server_id", "102"), ("server_uid", "qkWiVXM9EaJutTafOPLf")],
    }
    identity = source().identity(ENDPOINT)
    assert (identity.flavor, identity.server_uuid, identity.server_id) == ("mariadb", None, 102)


@pytest.mark.parametrize("mode", ["OFF", "ON_PERMISSIVE", "OFF_PERMISSIVE"])
def test_only_exactly_on_is_gtid(server: ScriptedServer, mode: str) -> None:
    server.answers["SHOW GLOBAL VARIABLES"] = [("server_id", "1"), ("gtid_mode", mode)]
    view = source().view(ENDPOINT)
    assert (view.gtid_executed, view.gtid_purged) == (None, None)
    assert not any(each.startswith("SELECT @@GLOBAL.gtid") for each in server.said)


@pytest.mark.parametrize(("name", "value"), [("read_only", "ON"), ("innodb_read_only", "1")])
def test_each_spelling_of_read_only_counts(server: ScriptedServer, name: str, value: str) -> None:
    server.answers["SHOW GLOBAL VARIABLES"] = [("server_id", "1"), (name, value)]
    assert source().view(ENDPOINT).read_only


def test_a_file_that_the_server_does_not_hold_is_not_asked_for(server: ScriptedServer) -> None:
    assert source().birth(ENDPOINT, "mysql-bin-changelog.000099") is None
    assert server.dumps == []


def test_a_file_that_is_purged_in_between_is_not_there(server: ScriptedServer) -> None:
    server.packets = [b"\xff" + struct.pack("<H", 1236)]
    assert source().birth(ENDPOINT, FILE) is None


def test_the_birth_is_asked_for_without_a_server_id_and_without_blocking(
    server: ScriptedServer,
) -> None:
    source().birth(ENDPOINT, FILE)
    assert server.dumps == [struct.pack("<IHI", 4, 1, 0) + FILE.encode()]


def test_an_event_that_is_no_event_is_an_error(server: ScriptedServer) -> None:
    server.packets = [b"\x00\x01"]
    with pytest.raises(SourceError, match="no binlog event"):
        source().birth(ENDPOINT, FILE)


def test_a_stream_without_a_first_event_is_given_up(server: ScriptedServer) -> None:
    server.packets = [event(27)] * 20
    with pytest.raises(SourceError, match="no format description"):
        source().birth(ENDPOINT, FILE)


def test_a_server_without_binlog_has_no_end(server: ScriptedServer) -> None:
    server.answers |= {"SHOW MASTER STATUS": [], "SHOW BINARY LOGS": refused(1381)}
    view = source().view(ENDPOINT)
    assert (view.end, view.binlogs, view.problem) == (None, None, "")
    with pytest.raises(SourceError, match="no binlog"):
        source().end(ENDPOINT)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (1045, SourceDenied),
        (1130, SourceDenied),
        (1227, SourceDenied),
        (2003, SourceUnreachable),
        (2013, SourceUnreachable),
        (1040, SourceUnreachable),
        (3024, SourceUnreachable),
        (1969, SourceUnreachable),
        (1105, SourceError),
    ],
)
def test_a_refusal_is_told_from_silence(
    server: ScriptedServer, number: int, kind: type[SourceError]
) -> None:
    server.refusal = refused(number, "the server's\nown text")
    with pytest.raises(SourceError) as caught:
        source().identity(ENDPOINT)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert source().view(ENDPOINT).problem == str(caught.value)


def test_no_error_and_no_text_holds_the_password(server: ScriptedServer) -> None:
    server.refusal = refused(1045)
    view = source().view(ENDPOINT)
    with pytest.raises(SourceDenied) as caught:
        source().identity(ENDPOINT)
    shown = f"{view}{caught.value}{caught.value.__cause__}{source()!r}{source().login!r}"
    assert "s3cret" not in shown


def test_a_connection_is_closed_after_an_error(server: ScriptedServer) -> None:
    server.answers["SHOW GLOBAL VARIABLES"] = refused(2013, "gone")
    assert source().view(ENDPOINT).problem
    assert server.open == 0


def test_every_connection_has_its_time_limits(server: ScriptedServer) -> None:
    server.answers["SELECT COUNT(*)"] = [(7,)]
    assert source().count(ENDPOINT, TableRef("d", "t"), timeout_seconds=3) == 7
    assert (server.given["connect_timeout"], server.given["read_timeout"]) == (5, 4.0)
    assert "SET SESSION max_execution_time = 3000" in server.said


def test_mariadb_bounds_statements_in_seconds(server: ScriptedServer) -> None:
    server.answers |= {"SELECT VERSION()": [("10.11.5-MariaDB",)], "SELECT COUNT(*)": [(7,)]}
    source().count(ENDPOINT, TableRef("d", "t"), timeout_seconds=3)
    assert "SET SESSION max_statement_time = 3.000" in server.said


def test_a_count_up_to_a_key_spells_the_order_out(server: ScriptedServer) -> None:
    server.answers["SELECT COUNT(*)"] = [(7,)]
    table = TableRef("d", "t%")
    assert source().count(ENDPOINT, table, timeout_seconds=1, key=("a", "b"), bound=(1, "x")) == 7
    assert server.said[-1] == (
        "SELECT COUNT(*) FROM `d`.`t%` WHERE (`a` < 1 OR (`a` = 1 AND (`b` <= 'x')))"
    )


def test_the_largest_key_of_an_empty_table_is_none(server: ScriptedServer) -> None:
    assert source().max_key(ENDPOINT, TableRef("d", "t"), ("a",)) is None
    server.answers["SELECT `a`"] = [(5,)]
    assert source().max_key(ENDPOINT, TableRef("d", "t"), ("a",)) == (5,)


def described(server: ScriptedServer, kind: str = "BASE TABLE") -> None:
    server.answers |= {
        "SELECT TABLE_NAME, TABLE_TYPE": [("orders", kind, 12)],
        "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE": [
            ("orders", b"b", "int", "int(11)", "NO", None, None, ""),
            ("orders", "a", "varchar", "varchar(9)", "YES", "latin1", "latin1_bin", ""),
            ("orders", "g", "int", "int(11)", "YES", None, None, "VIRTUAL GENERATED"),
            ("orders", "d", "int", "int(11)", "YES", None, None, "DEFAULT_GENERATED"),
        ],
        "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.STATISTICS": [
            ("orders", "b"), ("orders", "a"),
        ],
    }  # fmt: skip


def test_a_table_is_described_with_its_key_in_key_order(server: ScriptedServer) -> None:
    described(server)
    (shape,) = source().shapes(ENDPOINT, [TableRef("shop", "orders")])
    assert (shape.label, shape.primary_key, shape.rows_estimate) == ("shop.orders", ("b", "a"), 12)
    assert [(c.name, c.nullable, c.charset, c.generated) for c in shape.columns] == [
        ("b", False, None, False), ("a", True, "latin1", False), ("g", True, None, True),
        ("d", True, None, False),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["VIEW", "SYSTEM VERSIONED"])
def test_a_view_is_no_table(server: ScriptedServer, kind: str) -> None:
    described(server, kind)
    with pytest.raises(ConfigurationError, match=r"shop\.orders"):
        source().shapes(ENDPOINT, [TableRef("shop", "orders")])


def test_an_unknown_table_is_named(server: ScriptedServer) -> None:
    with pytest.raises(ConfigurationError, match=r"shop\.nope"):
        source().shapes(ENDPOINT, [TableRef("shop", "nope")])
    assert server.open == 0


SHARDS = ShardedTable("user_db_[0-9]+", "orders", "all_orders")


def test_shards_are_found_by_their_pattern_and_described_as_one(server: ScriptedServer) -> None:
    described(server)
    server.answers["SELECT TABLE_SCHEMA, TABLE_NAME"] = [
        ("user_db_2", "orders"), ("user_db_1", b"orders"), ("shop", "orders"), ("user_db_1", "x"),
    ]  # fmt: skip
    (shape,) = source().shapes(ENDPOINT, [SHARDS])
    assert shape.label == "user_db_[0-9]+.orders"
    assert [each.label for each in members_of(shape)] == ["user_db_1.orders", "user_db_2.orders"]
    assert shape.primary_key == ("database_name", "table_name", "b", "a")
    server.answers["SELECT COUNT(*)"] = [(7,)]
    assert source().count(ENDPOINT, SHARDS, timeout_seconds=1) == 14
    with pytest.raises(ConfigurationError, match="no largest key"):
        source().max_key(ENDPOINT, SHARDS, shape.primary_key)


def test_a_pattern_that_matches_nothing_is_named(server: ScriptedServer) -> None:
    server.answers["SELECT TABLE_SCHEMA, TABLE_NAME"] = [("shop", "orders")]
    with pytest.raises(ConfigurationError, match=r"no such table.*user_db_"):
        source().shapes(ENDPOINT, [SHARDS])
    assert source().count(ENDPOINT, SHARDS, timeout_seconds=1) == 0


def test_the_gtid_of_a_place_is_mariadbs(server: ScriptedServer) -> None:
    place = Coordinates("mysql-bin.000007", 400)
    source = MySqlSource(Server("db", 3306), "cdc", "pw")
    assert source.gtid_position(Server("db", 3306), place) == ""
    server.answers |= {"SELECT VERSION()": [("11.4.5-MariaDB",)]}
    server.answers |= {"SELECT BINLOG_GTID_POS": [("0-102-7",)]}
    assert source.gtid_position(Server("db", 3306), place) == "0-102-7"
    server.answers |= {"SELECT BINLOG_GTID_POS": [(None,)]}
    with pytest.raises(SourceError, match=r"no GTID position is known of mysql-bin\.000007:400"):
        source.gtid_position(Server("db", 3306), place)
