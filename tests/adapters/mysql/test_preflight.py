"""What is asked of the servers, and how the answers become facts."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.preflight import Cascade, ServerFacts
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_patterns import parse_patterns
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import ConfigurationError
from cdc_assets.mysql.client import MySqlSource
from cdc_assets.mysql.preflight import gather
from cdc_assets.ports import Server
from cdc_assets.targets.mysql import MySqlTarget
from tests.adapters.mysql.conftest import ScriptedServer, event, refused

SPEC = StreamSpec("s", (TableRef("shop", "orders"),), ServerIdRange(5400, 5410), "dw")
FILE = "mysql-bin-changelog.000007"
CREATE = """CREATE TABLE `orders` (
  `id` int(11) NOT NULL COMMENT 'ON DELETE CASCADE',
  CONSTRAINT `f``k` FOREIGN KEY (`p`) REFERENCES `par` (`id`) ON DELETE CASCADE,
  CONSTRAINT `plain` FOREIGN KEY (`p`) REFERENCES `par` (`id`)
)"""


@pytest.fixture(autouse=True)
def answering(server: ScriptedServer) -> None:
    server.answers |= {
        "SHOW GLOBAL VARIABLES": [("server_id", "101"), ("log_bin", "ON")],
        "SELECT TABLE_NAME, TABLE_TYPE": [("orders", "BASE TABLE", 12)],
        "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE": [
            ("orders", "id", "int", "int(11)", "NO", None, None, ""),
            ("orders", "d", "date", "date", "YES", None, None, ""),
        ],
        "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.STATISTICS": [("orders", "id")],
        "SELECT CURRENT_USER()": [("cdc@%",)],
        "SHOW CREATE TABLE": [("orders", CREATE)],
        "SHOW REPLICAS": [(7, "host", 3306, 1, "uuid")],
        "SHOW MASTER STATUS": [(FILE, 99)],
        "SELECT TIMESTAMPDIFF": [(0,)],
        "SELECT value FROM mysql.rds_configuration": refused(1142),
        "CALL mysql.rds_show_configuration": refused(1305),
        "SELECT MAX(DAYOFMONTH(": [(0,)],
    }
    server.packets = [event(4), event(15)] * 4


def facts(**settings: str) -> ServerFacts:
    source = MySqlSource(Server("db", 3306), "cdc", "pw")
    target = MySqlTarget(Server("dw", 3306), "dw", "writer", "pw")
    return gather(source, SPEC, target, **settings).source


def test_tables_that_the_patterns_match_and_the_stream_leaves_are_named(
    server: ScriptedServer,
) -> None:
    server.answers["SELECT TABLE_SCHEMA, TABLE_NAME"] = [
        ("shop", "orders"), ("shop", "late"), ("shop", "tmp_x"), ("other", "t"),
    ]  # fmt: skip
    assert facts().uncaptured == ()
    spec = replace(
        SPEC,
        chosen_by=parse_patterns("shop.\\.*"),
        left_out=parse_patterns("shop.tmp_\\.*"),
    )
    source = MySqlSource(Server("db", 3306), "cdc", "pw")
    assert gather(source, spec, None).source.uncaptured == ("shop.late",)


def test_a_ready_server_is_described() -> None:
    found = facts()
    assert found.problem == ""
    assert found.account == "'cdc'@'%'"
    assert found.replicas == (7,)
    assert found.may_dump is True
    assert found.retention_hours == math.inf
    assert found.cascades == (Cascade("shop.orders", "f`k", "ON DELETE CASCADE"),)
    assert (found.zero_dates, found.unprobed) == ((), ())


def test_replicas_that_may_not_be_asked_for_are_not_known(server: ScriptedServer) -> None:
    server.answers["SHOW REPLICAS"] = refused(1227)  # MariaDB 10.5: REPLICATION MASTER ADMIN
    assert facts().replicas is None


def test_a_refused_binlog_dump_is_a_missing_grant(server: ScriptedServer) -> None:
    server.packets = [b"\xff" + (1227).to_bytes(2, "little")]
    assert facts().may_dump is False


def test_without_the_end_the_grants_say_whether_the_binlog_may_be_read(
    server: ScriptedServer,
) -> None:
    server.answers |= {
        "SHOW MASTER STATUS": refused(1227),
        "SHOW GRANTS": [("GRANT SELECT, REPLICATION SLAVE ON *.* TO 'cdc'@'%'",)],
    }
    found = facts()
    assert (found.may_see_end, found.may_dump) == (False, True)


def test_a_table_that_may_be_described_only_may_not_be_read(server: ScriptedServer) -> None:
    server.answers["SELECT * FROM `shop`.`orders`"] = refused(1142)
    found = facts()
    assert found.may_select == {"shop.orders": False}
    assert found.cascades == ()


@pytest.mark.parametrize(
    ("variables", "hours"),
    [
        ({"binlog_expire_logs_seconds": "7200"}, 2),
        ({"expire_logs_days": "2"}, 48),
        ({"binlog_expire_logs_seconds": "0", "expire_logs_days": "0"}, math.inf),
    ],
)
def test_retention_is_read_from_the_servers_variables(
    server: ScriptedServer, variables: dict[str, str], hours: float
) -> None:
    server.answers["SHOW GLOBAL VARIABLES"] = [("server_id", "1"), *variables.items()]
    assert facts().retention_hours == hours


@pytest.mark.parametrize(("value", "hours"), [("24", 24), (None, 0)])
def test_retention_of_rds_is_its_own_setting(
    server: ScriptedServer, value: str | None, hours: float
) -> None:
    server.answers["SELECT value FROM mysql.rds_configuration"] = [(value,)]
    server.answers["SHOW GLOBAL VARIABLES"] = [("server_id", "1"), ("expire_logs_days", "9")]
    assert facts().retention_hours == hours


def test_retention_of_rds_is_not_known_without_the_right_to_read_it(
    server: ScriptedServer,
) -> None:
    server.answers["SHOW GLOBAL VARIABLES"] = [("server_id", "1"), ("basedir", "/rdsdbbin/mysql/")]
    found = facts()
    assert found.is_rds
    assert found.retention_hours is None


def test_zero_dates_are_looked_for_column_by_column(server: ScriptedServer) -> None:
    server.answers["SELECT MAX(DAYOFMONTH("] = [(1,)]
    assert facts().zero_dates == ("shop.orders.d",)


def test_the_year_0000_is_looked_for(server: ScriptedServer) -> None:
    server.answers["SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE"] = [
        ("orders", "id", "int", "int(11)", "NO", None, None, ""),
        ("orders", "y", "year", "year(4)", "YES", None, None, ""),
    ]
    server.answers["SELECT MAX(`y` = 0"] = [(1,)]
    assert facts().zero_years == ("shop.orders.y",)


def test_a_look_that_takes_too_long_is_left_to_a_person(server: ScriptedServer) -> None:
    server.answers["SELECT MAX(DAYOFMONTH("] = refused(3024)
    assert facts().unprobed == ("shop.orders",)


def test_a_large_table_is_not_looked_through(server: ScriptedServer) -> None:
    server.answers["SELECT TABLE_NAME, TABLE_TYPE"] = [("orders", "BASE TABLE", 9_000_000)]
    assert facts().unprobed == ("shop.orders",)
    assert not any(each.startswith("SELECT MAX") for each in server.said)


@pytest.mark.parametrize(("number", "denied"), [(1045, True), (2003, False)])
def test_a_refused_log_in_is_told_from_a_silent_host(
    server: ScriptedServer, number: int, *, denied: bool
) -> None:
    server.refusal = refused(number)
    found = facts()
    assert found.problem
    assert found.is_denied is denied


def test_an_unknown_time_zone_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="server_time_zone"):
        facts(server_time_zone="Mars/Olympus")


def test_the_target_table_of_each_captured_table_is_offered() -> None:
    source = MySqlSource(Server("db", 3306), "cdc", "pw")
    target = MySqlTarget(Server("dw", 3306), "dw", "writer", "pw")
    statements = gather(source, SPEC, target).target.create_statements
    assert statements["orders"].startswith("CREATE TABLE `dw`.`orders`")


def test_the_captured_tables_are_described() -> None:
    column = Column("d", "date", "date")
    assert facts().shapes["shop.orders"] == TableShape(
        "shop", "orders", (Column("id", "int", "int(11)", nullable=False), column), ("id",), 12
    )


def test_the_grants_are_asked_for_a_connector_only(server: ScriptedServer) -> None:
    server.answers["SHOW GRANTS"] = [("GRANT Reload ON *.* TO `cdc`@`%`",)]
    assert facts().grants == ""
    spec = replace(SPEC, target_kind="kafka", engine="debezium")
    found = gather(MySqlSource(Server("db", 3306), "cdc", "pw"), spec, None).source
    assert found.grants == "GRANT RELOAD ON *.* TO `CDC`@`%`"
