"""A missing target table: when the snapshot makes it, and when a person must."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.iceberg import IcebergCatalog
from cdc_assets.core.iceberg_faults import judge_tables
from cdc_assets.core.preflight import Fault, PreflightFacts
from cdc_assets.core.preflight_postgres import PostgresFacts, judge_postgres
from cdc_assets.core.preflight_starrocks import StarRocksFacts, judge_starrocks
from cdc_assets.core.preflight_tables import judge
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.type_fit import misfit
from tests.core.test_preflight import DW, GOOD, ORDERS, SPEC

MISSING = replace(DW, shapes={}, create_statements={"orders": "CREATE TABLE ..."})
SHAPES = {"shop.orders": ORDERS}


def mysql(**changes: object) -> tuple[Fault, ...]:
    facts: PreflightFacts = replace(GOOD, target=replace(MISSING, may_create=frozenset({"orders"})))
    return judge(replace(facts, **changes))


def test_what_the_snapshot_makes_is_a_warning_with_its_statement() -> None:
    (fault,) = mysql()
    assert (fault.severity, fault.field, fault.found) == ("warning", "dw.orders", "no such table")
    assert "the snapshot makes it" in fault.wanted
    assert fault.fix == "CREATE TABLE ..."


def test_without_the_right_to_make_it_the_grant_is_named() -> None:
    (fault,) = mysql(target=MISSING)
    assert fault.severity == "error"
    assert "GRANT CREATE ON `dw`.* TO 'w'@'%'" in fault.wanted


def test_a_stream_that_may_not_make_tables_wants_them_made_and_no_grant() -> None:
    (fault,) = mysql(spec=replace(SPEC, create_tables=False))
    assert (fault.severity, "GRANT" in fault.wanted) == ("error", False)


def test_a_query_s_table_is_never_made() -> None:
    spec = replace(SPEC, queries=(QuerySpec("sums", "SELECT 1"),))
    (_, fault) = mysql(spec=spec, target=replace(MISSING, may_create=frozenset({"orders", "sums"})))
    assert (fault.field, fault.severity) == ("dw.sums", "error")


def test_a_table_that_is_to_be_made_is_judged_as_it_will_be() -> None:
    odd = replace(ORDERS, columns=(*ORDERS.columns, Column("a b", "int", "int")))
    (_, fault) = mysql(source=replace(GOOD.source, shapes={"shop.orders": odd}))
    assert fault.found == "a name that Flink's JDBC connector cannot write"


@pytest.mark.parametrize(
    ("may", "makes", "severity"),
    [(True, True, "warning"), (False, True, "error"), (True, False, "error")],
)
def test_postgresql_makes_it_with_the_right_to(may: bool, makes: bool, severity: str) -> None:  # noqa: FBT001
    facts = PostgresFacts("dw:5432", "dw", account="writer", may_create=may)
    spec = replace(SPEC, create_tables=makes, target_kind="postgres")
    (fault,) = judge_postgres(spec, facts, SHAPES)
    assert (fault.severity, fault.found) == (severity, "no such table")
    assert ('GRANT CREATE ON SCHEMA "dw" TO "writer"' in fault.wanted) is (makes and not may)


@pytest.mark.parametrize(("makes", "severity"), [(True, "warning"), (False, "error")])
def test_starrocks_and_iceberg_say_who_makes_it(makes: bool, severity: str) -> None:  # noqa: FBT001
    spec = replace(SPEC, create_tables=makes, target_kind="starrocks")
    (fault,) = judge_starrocks(spec, StarRocksFacts("fe:9030", "dw"), SHAPES)
    assert (fault.severity, fault.fix[:12]) == (severity, "CREATE TABLE")
    spec = replace(spec, target_kind="iceberg")
    lake = IcebergCatalog(uri="http://lake", properties={"token": "geheim"})
    (fault,) = judge_tables(spec, SHAPES, {}, lake)
    assert (fault.severity, "geheim" in fault.fix) == (severity, False)


def test_a_shape_without_columns_to_carry_is_still_a_table() -> None:
    shape = TableShape("shop", "orders", (ORDERS.columns[0],), ("id",))
    (fault,) = mysql(source=replace(GOOD.source, shapes={"shop.orders": shape}))
    assert fault.severity == "warning"


@pytest.mark.parametrize(
    "kind",
    [
        "tinyint(1)", "int(11) unsigned", "bigint(20) unsigned", "decimal(65,30)", "bit(20)",
        "double", "double(20,5)", "date", "datetime(6)", "timestamp(3)", "char(10)", "longtext",
        "enum('a','b')", "set('a','b')", "binary(4)", "varbinary(9)", "longblob",
    ],
)  # fmt: skip
def test_what_the_snapshot_makes_for_a_type_passes_the_next_preflight(kind: str) -> None:
    column = Column("c", kind.partition("(")[0], kind)
    assert misfit(column, column) == ""


def test_digits_of_a_double_are_the_same_or_none() -> None:
    found = [
        misfit(Column("c", "double", "double(20,5)"), Column("c", "double", kind)) == ""
        for kind in ("double", "double(20,5)", "double(30,5)", "double(20,4)", "double(10,5)")
    ]
    assert found == [True, True, True, False, False]
