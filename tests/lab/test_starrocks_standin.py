"""The StarRocks stand-in: what it does with loads, and that it refuses what StarRocks refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pymysql
import pytest
import requests

from cdc_assets.errors import TargetError, TargetUnreachable
from cdc_assets.lab.free_ports import take_ports
from cdc_assets.lab.starrocks_rows import StarRocksRows
from cdc_assets.lab.starrocks_server import execute, prepare, service
from cdc_assets.lab.state import Account, Service
from cdc_assets.ports import Server
from cdc_assets.targets.starrocks import StarRocksLogin, StarRocksTarget

ACCOUNT = Account("writer", "pass'word")
TABLE = """CREATE TABLE `d`.`t` (
  `id` INT NOT NULL COMMENT "", `name` VARCHAR(8) NULL COMMENT "", `n` TINYINT NULL,
  `big` LARGEINT NULL, `p` DECIMAL(10, 2) NULL, `day` DATE NULL, `at` DATETIME NULL,
  `flag` BOOLEAN NULL, `f` DOUBLE NULL
) ENGINE=olap PRIMARY KEY(`id`) COMMENT "" DISTRIBUTED BY HASH(`id`) BUCKETS 1
PROPERTIES ("replication_num" = "1")"""
JSON = {"format": "json", "strip_outer_array": "true", "strict_mode": "true"}


@dataclass
class StandIn:
    """A running stand-in."""

    service: Service
    process: subprocess.Popen[bytes]

    @property
    def port(self) -> int:
        return self.service.port

    @property
    def fe(self) -> str:
        return f"http://127.0.0.1:{self.service.control_port}"

    def sql(self, *statements: str) -> list[tuple[object, ...]]:
        return execute(self.port, ACCOUNT, *statements)

    def put(self, path: str, body: object, **headers: str) -> dict[str, object]:
        """Load as the connector does: the front end sends the request to the back end."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"expect": "100-continue", **{k: v for k, v in headers.items() if v}}
        auth = (ACCOUNT.user, ACCOUNT.password)
        first = requests.put(
            self.fe + path, auth=auth, headers=sent, timeout=10, allow_redirects=False
        )
        if first.status_code != 307:
            return dict(first.json())
        there = first.headers["location"]
        return dict(requests.put(there, data=content, auth=auth, headers=sent, timeout=10).json())

    def load(self, rows: object, label: str = "", **headers: str) -> dict[str, object]:
        return self.put("/api/d/t/_stream_load", rows, **{**JSON, "label": label, **headers})

    def step(self, step: str, label: str, **headers: str) -> str:
        sent = {"db": "d", "table": "t", "label": label, **headers}
        auth = (ACCOUNT.user, ACCOUNT.password)
        url = f"{self.fe}/api/transaction/{step}"
        return str(requests.post(url, auth=auth, headers=sent, timeout=10).json()["Status"])

    def rows(self) -> dict[object, tuple[object, ...]]:
        return StarRocksRows(self.port, ACCOUNT, "d").rows("t", ("id", "name"))

    def state(self, label: str) -> str:
        auth = (ACCOUNT.user, ACCOUNT.password)
        url = f"{self.fe}/api/d/get_load_state?label={label}"
        return str(requests.get(url, auth=auth, timeout=10).json()["state"])


def start(made: Service) -> StandIn:
    process = subprocess.Popen(list(made.command), env={**os.environ, **made.env})
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with suppress(pymysql.MySQLError):
            execute(made.port, ACCOUNT, "SELECT 1")
            return StandIn(made, process)
        time.sleep(0.05)
    process.kill()
    process.wait(10)
    pytest.fail("the stand-in did not start")


def stop(running: StandIn, number: int = signal.SIGTERM) -> None:
    running.process.send_signal(number)
    running.process.wait(20)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("starrocks")


@pytest.fixture(scope="module")
def running(home: Path) -> Iterator[StandIn]:
    prepare(home, {"writer": ACCOUNT})
    found = start(service(home, *take_ports(home, 3)))
    try:
        found.sql("CREATE DATABASE `d`", TABLE)
        yield found
    finally:
        stop(found)


@pytest.fixture
def standin(running: StandIn) -> StandIn:
    running.sql("TRUNCATE TABLE `d`.`t`")
    return running


def test_it_says_what_it_is(standin: StandIn) -> None:
    assert "not StarRocks" in requests.get(standin.fe, timeout=5).text
    assert "stand-in" in str(standin.sql("select current_version() as ver")[0][0])
    assert standin.service.stand_in
    assert ACCOUNT.password not in " ".join(standin.service.command)


def test_a_load_upserts_and_deletes_by_key(standin: StandIn) -> None:
    first = standin.load([{"id": 1, "name": "a", "__op": 0}, {"id": 2, "name": "b", "__op": 0}])
    assert (first["Status"], first["NumberLoadedRows"]) == ("Success", 2)
    standin.load([{"id": 1, "name": "A"}, {"id": 2, "__op": 1}, {"id": 3, "name": "x"},
                  {"id": 3, "name": "c"}])  # fmt: skip
    assert standin.rows() == {1: (1, "A"), 3: (3, "c")}


def test_values_come_back_as_mysql_gives_them(standin: StandIn) -> None:
    row = {"id": 1, "name": "é😀", "n": -128, "big": 2**64 - 1, "p": Decimal("1.50"),
           "day": "1582-10-10", "at": "2024-01-01T00:00", "flag": 1, "f": 0.1}  # fmt: skip
    text = json.dumps([row], default=float).encode()
    assert standin.load(text)["Status"] == "Success"
    found = StarRocksRows(standin.port, ACCOUNT, "d").rows("t")[1]
    assert found[1:5] == ("é😀", -128, 2**64 - 1, Decimal("1.50"))
    assert [str(value) for value in found[5:7]] == ["1582-10-10", "2024-01-01 00:00:00"]
    assert found[7:] == (b"\x01", 0.1)


def test_decimals_of_38_digits_are_kept(standin: StandIn) -> None:
    standin.sql(
        "DROP TABLE IF EXISTS `d`.`wide`",
        "CREATE TABLE `d`.`wide` (`id` INT NOT NULL, `a` DECIMAL(38, 0) NULL, `b` DECIMAL(38, 30)"
        " NULL) PRIMARY KEY(`id`) DISTRIBUTED BY HASH(`id`)",
    )
    body = f'[{{"id":1,"a":{"9" * 38},"b":1E-30}},{{"id":2,"a":{"1" + "0" * 38}}}]'
    answer = standin.put("/api/d/wide/_stream_load", body.encode(), max_filter_ratio="0.5", **JSON)
    assert answer["NumberFilteredRows"] == 1
    row = StarRocksRows(standin.port, ACCOUNT, "d").rows("wide")
    assert row == {1: (1, Decimal("9" * 38), Decimal("1E-30"))}


def test_loads_and_questions_at_the_same_time_do_not_mix(standin: StandIn) -> None:
    def work(number: int) -> object:
        answer = standin.load([{"id": number, "name": "x"}])
        standin.sql("SELECT COUNT(*) FROM `d`.`t`")
        return answer["Status"]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(100))) == {"Success"}
    assert len(standin.rows()) == 100


@pytest.mark.parametrize(
    "value",
    [
        {"n": 128}, {"n": "x"}, {"n": 1.5}, {"name": "123456789"}, {"name": "ééééé"},
        {"p": 123456789}, {"day": "2024-02-30"}, {"at": "yesterday"}, {"flag": 2}, {"big": 2**127},
        {"f": "inf"},
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_fails_the_load(
    standin: StandIn, value: dict[str, object]
) -> None:
    answer = standin.load([{"id": 1}, {"id": 2, **value}])
    assert (answer["Status"], answer["Message"]) == ("Fail", "too many filtered rows")
    assert (answer["NumberTotalRows"], answer["NumberFilteredRows"]) == (2, 1)
    assert "Error:" in requests.get(str(answer["ErrorURL"]), timeout=5).text
    assert standin.rows() == {}


def test_without_strict_mode_such_a_value_becomes_null_as_in_starrocks(standin: StandIn) -> None:
    assert standin.load([{"id": 1, "name": "123456789"}], strict_mode="false")["Status"] == (
        "Success"
    )
    assert standin.rows() == {1: (1, None)}


def test_some_rows_may_be_filtered_where_the_load_says_so(standin: StandIn) -> None:
    answer = standin.load([{"id": 1}, {"name": "no key"}], max_filter_ratio="0.5")
    assert (answer["Status"], answer["NumberFilteredRows"]) == ("Success", 1)


@pytest.mark.parametrize(
    ("body", "headers", "said"),
    [
        (b"[{", {}, "Failed to parse json"),
        (b"", {}, "empty body"),
        (b'[{"id":1}]', {"strip_outer_array": "false"}, "strip_outer_array=true"),
        (b'{"id":1}', {}, "should be array type"),
        (b"[1]", {}, "too many filtered rows"),
        (b'[{"id":1}]', {"partial_update": "true"}, "partial updates"),
        (b"\xff", {"format": "csv"}, "not UTF-8"),
        (b'[{"id":1,"__op":7}]', {}, "too many filtered rows"),
    ],
)
def test_a_body_that_starrocks_refuses_is_refused(
    standin: StandIn, body: bytes, headers: dict[str, str], said: str
) -> None:
    answer = standin.load(body, **headers)
    assert answer["Status"] == "Fail"
    assert said in str(answer["Message"])


def test_csv_is_split_and_nothing_is_unescaped(standin: StandIn) -> None:
    names = "`id`,`name`,__op"
    csv = {"format": "csv", "columns": names}
    assert standin.load(b"1\ta\t0\n2\t\\N\t0\n", **csv)["Status"] == "Success"
    assert standin.rows() == {1: (1, "a"), 2: (2, None)}
    assert standin.load(b"3\ta\tb\t0\n", **csv)["Status"] == "Fail"
    special = {**csv, "column_separator": "\\x01", "row_delimiter": "\\x02"}
    assert standin.load(b"3\x01a\tb\x010\x02", **special)["Status"] == "Success"
    assert standin.rows()[3] == (3, "a\tb")


def test_a_label_is_used_once(standin: StandIn) -> None:
    assert standin.load([{"id": 1}], label="once")["Status"] == "Success"
    again = standin.load([{"id": 2}], label="once")
    assert (again["Status"], again["ExistingJobStatus"]) == ("Label Already Exists", "FINISHED")
    assert standin.step("begin", "once") == "LABEL_ALREADY_EXISTS"
    assert standin.state("once") == "VISIBLE"
    assert standin.state("never") == "UNKNOWN"
    assert standin.rows() == {1: (1, None)}


def test_a_transaction_shows_its_rows_with_the_commit_only(standin: StandIn) -> None:
    assert standin.step("begin", "t1") == "OK"
    sent = {**JSON, "db": "d", "table": "t", "label": "t1"}
    assert standin.put("/api/transaction/load", [{"id": 1}], **sent)["Status"] == "OK"
    assert standin.put("/api/transaction/load", [{"id": 2}], **sent)["Status"] == "OK"
    assert standin.step("commit", "t1") == "FAILED"  # not prepared
    assert standin.step("prepare", "t1") == "OK"
    assert (standin.state("t1"), standin.rows()) == ("PREPARED", {})
    assert standin.step("commit", "t1") == "OK"
    assert standin.step("commit", "t1") == "OK"  # again, after an answer that was lost
    assert sorted(standin.rows()) == [1, 2]
    assert standin.step("rollback", "t1") == "FAILED"


def test_a_transaction_that_is_thrown_away_or_too_old_is_gone(standin: StandIn) -> None:
    sent = {**JSON, "db": "d", "table": "t"}
    standin.step("begin", "t2")
    assert standin.step("rollback", "t2") == "OK"
    assert standin.step("prepare", "t2") == "TXN_NOT_EXISTS"
    assert standin.step("begin", "t3", timeout="0") == "OK"
    late = standin.put("/api/transaction/load", [{"id": 1}], label="t3", **sent)
    assert late["Status"] == "TXN_NOT_EXISTS"
    assert standin.step("commit", "never") == "TXN_NOT_EXISTS"
    assert standin.step("begin", "") == "INVALID_ARGUMENT"  # how the connector probes


def test_wrong_places_and_accounts_are_refused(standin: StandIn) -> None:
    answer = standin.put("/api/d/missing/_stream_load", [{"id": 1}], **JSON)
    assert "Unknown table" in str(answer["Message"])
    answer = standin.put("/api/nowhere/t/_stream_load", [{"id": 1}], **JSON)
    assert "Unknown database" in str(answer["Message"])
    url = f"{standin.fe}/api/d/t/_stream_load"
    bad = requests.put(url, auth=("writer", "x"), timeout=5, allow_redirects=False)
    assert bad.status_code == 401
    good = (ACCOUNT.user, ACCOUNT.password)
    bare = requests.put(url, auth=good, timeout=5, allow_redirects=False)
    assert bare.json()["Message"] == "There is no 100-continue header"
    with pytest.raises(pymysql.MySQLError):
        execute(standin.port, Account("writer", "wrong"), "SELECT 1")


KEYED = "PRIMARY KEY(`a`) DISTRIBUTED BY HASH(`a`) "
ONE = 'PROPERTIES ("replication_num" = "1")'


@pytest.mark.parametrize(
    ("columns", "rest", "said"),
    [
        ("`b` INT, `a` INT NOT NULL", KEYED + ONE, "Key columns must be the first"),
        ("`a` DECIMAL(9, 2) NOT NULL", KEYED + ONE, "type not support"),
        ("`a` DOUBLE NOT NULL", KEYED + ONE, "type not support"),
        ("`a` INT NULL", KEYED + ONE, "cannot be nullable"),
        ("`a` INT NOT NULL", KEYED + 'PROPERTIES ("replication_num" = "9")', "alive backend is 3"),
        ("`a` INT NOT NULL, `b` VARCHAR(2000000)", KEYED + ONE, "Varchar size must be"),
        ("`a` INT NOT NULL, `b` DECIMAL(39, 2)", KEYED + ONE, "1 to 38"),
        ("`a` INT NOT NULL, `A` INT", KEYED + ONE, "Duplicate column"),
        ("`a` INT NOT NULL, `b` GEOMETRY", KEYED + ONE, "no type"),
        ("`a` INT NOT NULL, `b` INT", "PRIMARY KEY(`a`) DISTRIBUTED BY HASH(`b`) " + ONE,
         "is not key column"),
    ],
)  # fmt: skip
def test_a_table_that_starrocks_refuses_is_refused(
    standin: StandIn, columns: str, rest: str, said: str
) -> None:
    with pytest.raises(pymysql.MySQLError, match=said):
        standin.sql(f"CREATE TABLE `d`.`bad` ({columns}) ENGINE=olap {rest}")


def test_other_models_keep_every_row(standin: StandIn) -> None:
    standin.sql(
        "DROP TABLE IF EXISTS `d`.`dup`",
        "CREATE TABLE `d`.`dup` (`id` INT NULL, `name` VARCHAR(9) NULL) DUPLICATE KEY(`id`)"
        " DISTRIBUTED BY HASH(`id`)",
    )
    for _ in range(2):
        standin.put("/api/d/dup/_stream_load", [{"id": 1, "__op": 1}], **JSON)
    assert standin.sql("SELECT COUNT(*) FROM `d`.`dup`") == [(2,)]


def test_what_is_there_can_be_asked_for(standin: StandIn) -> None:
    with pytest.raises(pymysql.MySQLError, match="already exists"):
        standin.sql(TABLE)
    assert standin.sql("SHOW CREATE TABLE `d`.`t`")[0][0] == "t"
    with pytest.raises(pymysql.MySQLError, match="Unknown table"):
        standin.sql("SELECT * FROM `d`.`missing`")
    with pytest.raises(pymysql.MySQLError, match="syntax"):
        standin.sql("SELEC 1 FROM")


def test_the_adapter_describes_and_counts(standin: StandIn) -> None:
    login = StarRocksLogin(
        Server("127.0.0.1", standin.port), (f"127.0.0.1:{standin.service.control_port}",),
        ACCOUNT.user, ACCOUNT.password,
    )  # fmt: skip
    target = StarRocksTarget(login, "d")
    (shape,) = target.shapes(["t"])
    assert shape.primary_key == ("id",)
    kinds = {column.name: column.column_type for column in shape.columns}
    assert (kinds["big"], kinds["flag"]) == ("bigint(20) unsigned", "tinyint(1)")
    standin.load([{"id": number} for number in range(5)])
    assert target.count("t", timeout_seconds=5) == 5
    assert target.count("t", timeout_seconds=5, key=("id",), bound=(2,)) == 3
    with pytest.raises(TargetError, match=r"Unknown table|missing"):
        target.count("missing", timeout_seconds=5)
    wrong = StarRocksTarget(StarRocksLogin(login.server, (), "writer", "no"), "d")
    with pytest.raises(TargetError) as refused:
        wrong.count("t", timeout_seconds=5)
    assert ACCOUNT.password not in str(refused.value)
    away = StarRocksTarget(StarRocksLogin(Server("127.0.0.1", 1), (), "u", "p"), "d")
    with pytest.raises(TargetUnreachable):
        away.count("t", timeout_seconds=5)


def test_a_column_is_added_after_the_answer_and_one_change_at_a_time(standin: StandIn) -> None:
    standin.sql("DROP TABLE IF EXISTS `d`.`grows`", TABLE.replace("`t`", "`grows`"))
    login = StarRocksLogin(Server("127.0.0.1", standin.port), (), ACCOUNT.user, ACCOUNT.password)
    target = StarRocksTarget(login, "d")
    add = "ALTER TABLE `d`.`grows` ADD COLUMN `{}` VARCHAR(12) NULL;"
    sent = {**JSON, "db": "d", "table": "grows", "label": "older"}
    standin.step("begin", "older", table="grows")
    standin.put("/api/transaction/load", [{"id": 1, "name": "a"}], **sent)
    standin.sql(add.format("note"))
    assert target.shapes(["grows"])[0].column("note") is None
    with pytest.raises(pymysql.MySQLError, match="schema change operation is in progress"):
        standin.sql(add.format("other"))
    # The adapter waits for the change at work, and for its own.
    target.alter(add.format("other"))
    shape = target.shapes(["grows"])[0]
    assert [column.name for column in shape.columns[-2:]] == ["note", "other"]
    with pytest.raises(TargetError, match="Can not add column which already exists"):
        target.alter(add.format("NOTE"))
    with pytest.raises(TargetError, match="NOT NULL"):
        target.alter("ALTER TABLE `d`.`grows` ADD COLUMN `must` INT NOT NULL;")
    with pytest.raises(TargetError, match="Unknown table"):
        target.alter("ALTER TABLE `d`.`missing` ADD COLUMN `c` INT NULL;")
    standin.step("prepare", "older", table="grows")
    assert standin.step("commit", "older", table="grows") == "OK"
    standin.put("/api/d/grows/_stream_load", [{"id": 2, "other": "x"}], **JSON)
    assert standin.sql("SELECT id, name, note, other FROM `d`.`grows` ORDER BY id") == [
        (1, "a", None, None),
        (2, None, None, "x"),
    ]


def test_prepared_transactions_outlive_a_kill_and_open_ones_do_not(home: Path) -> None:
    folder = home / "killed"
    prepare(folder, {"writer": ACCOUNT})
    made = service(folder, *take_ports(home, 3))
    first = start(made)
    sent = {**JSON, "db": "d", "table": "t"}
    try:
        first.sql("CREATE DATABASE `d`", TABLE)
        for label, row in (("kept", 1), ("lost", 2)):
            first.step("begin", label)
            first.put("/api/transaction/load", [{"id": row}], label=label, **sent)
        first.step("prepare", "kept")
    finally:
        stop(first, signal.SIGKILL)
    second = start(made)
    try:
        assert (second.state("kept"), second.state("lost")) == ("PREPARED", "ABORTED")
        assert second.step("commit", "kept") == "OK"
        assert second.step("prepare", "lost") == "TXN_NOT_EXISTS"
        assert list(second.rows()) == [1]
    finally:
        stop(second)


def test_many_connections_at_once_are_answered(standin: StandIn) -> None:
    connections = [
        pymysql.connect(host="127.0.0.1", port=standin.port, user=ACCOUNT.user,
                        password=ACCOUNT.password, ssl_disabled=True)
        for _ in range(20)
    ]  # fmt: skip
    try:
        for connection in connections:
            with closing(connection.cursor()) as cursor:
                cursor.execute("SELECT COUNT(*) FROM `d`.`t`")
                assert cursor.fetchone() == (0,)
    finally:
        for connection in connections:
            connection.close()
