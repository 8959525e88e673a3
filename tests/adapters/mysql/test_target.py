from __future__ import annotations

from dataclasses import replace

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import ConfigurationError, TargetError, TargetUnreachable
from cdc_assets.ports import Server
from cdc_assets.targets.mysql import MySqlTarget, create_table_sql
from tests.adapters.mysql.conftest import ScriptedServer, refused

ID = Column("id", "bigint", "bigint(20)", nullable=False)
NOTE = Column("no`te", "varchar", "varchar(9)", charset="utf8mb4", collation="utf8mb4_bin")
ORDERS = TableShape("dw", "orders", (ID, NOTE), ("id",))


def target() -> MySqlTarget:
    return MySqlTarget(Server("dw.example", 3306), "dw", "writer", "s3cret")


def test_the_statement_for_a_target_table_quotes_its_names() -> None:
    assert create_table_sql(ORDERS, "d`w", "orders") == (
        "CREATE TABLE `d``w`.`orders` (\n"
        "  `id` bigint(20) NOT NULL,\n"
        "  `no``te` varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,\n"
        "  PRIMARY KEY (`id`)\n"
        ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
    )


def test_excluded_columns_are_left_out_without_regard_to_case() -> None:
    spec = replace(SPEC, exclude_columns=("orders.NO`TE",))
    source = replace(ORDERS, database="shop")
    assert "no``te" in create_table_sql(SPEC.as_made([source])["orders"], "dw", "orders")
    assert "no``te" not in create_table_sql(spec.as_made([source])["orders"], "dw", "orders")


def test_a_missing_target_table_is_named(server: ScriptedServer) -> None:
    with pytest.raises(ConfigurationError, match=r"dw\.orders"):
        target().shapes(["orders"])
    assert server.open == 0


def test_a_count_is_bounded_on_the_server_where_it_can_be(server: ScriptedServer) -> None:
    server.answers |= {
        "SELECT COUNT(*)": [(3,)],
        "SHOW SESSION VARIABLES": [("max_statement_time", "0")],
    }
    assert target().count("orders", timeout_seconds=2) == 3
    assert "SET SESSION max_statement_time = 2.000" in server.said


def test_unique_indexes_are_listed_by_table(server: ScriptedServer) -> None:
    server.answers["SELECT DISTINCT"] = [("a", "u1"), ("a", "u2"), ("b", "u1")]
    assert target().unique_indexes(["a", "b"]) == {"a": ("u1", "u2"), "b": ("u1",)}


def test_privileges_are_tried_without_writing(server: ScriptedServer) -> None:
    server.answers |= {
        "EXPLAIN DELETE": refused(1142),
        "EXPLAIN INSERT": refused(1364),  # after the privileges: a column without default
    }
    assert target().missing_privileges([ORDERS]) == {"orders": ("DELETE",)}
    tried = [each for each in server.said if "orders" in each]
    assert len(tried) == 4
    assert all(each.startswith("EXPLAIN ") for each in tried)


@pytest.mark.parametrize(("value", "expected"), [("ON", True), ("1", True), ("OFF", False)])
def test_read_only_is_read(server: ScriptedServer, value: str, *, expected: bool) -> None:
    server.answers["SHOW GLOBAL VARIABLES"] = [("read_only", value)]
    assert target().is_read_only() is expected


@pytest.mark.parametrize(
    ("number", "kind"), [(2003, TargetUnreachable), (3024, TargetUnreachable), (1045, TargetError)]
)
def test_errors_are_the_targets_and_hold_no_password(
    server: ScriptedServer, number: int, kind: type[TargetError]
) -> None:
    server.refusal = refused(number)
    with pytest.raises(TargetError) as caught:
        target().count("orders", timeout_seconds=1)
    assert type(caught.value) is kind
    assert "s3cret" not in f"{caught.value}{target()!r}"


SPEC = StreamSpec("s", (TableRef("shop", "orders"),), ServerIdRange(1, 1), "dw")
SOURCE = TableShape("shop", "orders", (ID, NOTE), ("id",))
MADE = create_table_sql(SOURCE, "dw", "orders")


def test_the_right_to_make_a_table_is_tried_with_a_statement_that_never_makes_one(
    server: ScriptedServer,
) -> None:
    server.answers |= {
        "CREATE TABLE `dw`.`mine`": refused(1060),
        "CREATE TABLE `dw`.`theirs`": refused(1142),
        "CREATE TABLE `dw`.`frozen`": refused(1290),
    }
    assert target().may_create(["mine", "theirs", "frozen"]) == {"mine"}
    assert all("(c INT, c INT)" in each for each in server.said if each.startswith("CREATE"))


def test_a_missing_table_is_made_by_the_statement_that_preflight_prints(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = [{}, {"orders": ORDERS}]
    monkeypatch.setattr(MySqlTarget, "existing", lambda *_: there.pop(0))
    assert target().make_missing(SPEC, [SOURCE]) == ["orders"]
    assert [each for each in server.said if each.startswith("CREATE")] == [MADE]
    assert there == []


def test_nothing_is_made_that_exists_or_that_the_stream_may_not_make(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert target().make_missing(replace(SPEC, create_tables=False), [SOURCE]) == ()
    monkeypatch.setattr(MySqlTarget, "existing", lambda *_: {"orders": ORDERS})
    assert list(target().make_missing(SPEC, [SOURCE])) == []
    assert not [each for each in server.said if each.startswith("CREATE")]


def test_a_refused_table_is_named_with_the_grant(server: ScriptedServer) -> None:
    server.answers |= {"CREATE TABLE": refused(1142), "SELECT CURRENT_USER": [("w@%",)]}
    with pytest.raises(TargetError, match=r"dw\.orders.*1142.*GRANT CREATE ON `dw`\.\* TO 'w'@'%'"):
        target().make_missing(SPEC, [SOURCE])


def test_a_made_table_that_may_not_be_written_is_named_with_the_grant(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = [{}, {"orders": ORDERS}]
    monkeypatch.setattr(MySqlTarget, "existing", lambda *_: there.pop(0))
    server.answers |= {"EXPLAIN DELETE": refused(1142), "SELECT CURRENT_USER": [("w@%",)]}
    with pytest.raises(TargetError, match=r"GRANT DELETE ON `dw`\.`orders`"):
        target().make_missing(SPEC, [SOURCE])
