from __future__ import annotations

from dataclasses import replace

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.preflight import Fault
from cdc_assets.core.preflight_postgres import (
    PostgresFacts,
    PostgresTable,
    create_table,
    judge_postgres,
)
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef

ID = Column("Id", "bigint", "bigint(20)", nullable=False)
NAME = Column("name", "varchar", "varchar(50)", charset="utf8mb4")
ORDERS = TableShape("shop", "orders", (ID, NAME), ("Id",))
PG_ID = Column("id", "int8", "bigint", nullable=False)
PG_NAME = Column("name", "varchar", "character varying(50)")
SHAPE = TableShape("dw", "orders", (PG_ID, PG_NAME), ("id",))
SPEC = StreamSpec(
    "s",
    (TableRef("shop", "orders"),),
    ServerIdRange(5400, 5410),
    "dw",
    target_kind="postgres",
)
GOOD = PostgresFacts(
    "dw:5432",
    "dw",
    version=170011,
    account="writer",
    tables={"orders": PostgresTable(SHAPE, must_write=("id",))},
)
CREATE = (
    'CREATE TABLE "dw"."orders" (\n  "id" bigint NOT NULL,\n  "name" varchar(50),\n'
    '  PRIMARY KEY ("id")\n);'
)


def judge(
    facts: PostgresFacts = GOOD, spec: StreamSpec = SPEC, source: TableShape = ORDERS
) -> tuple[Fault, ...]:
    return judge_postgres(spec, facts, {source.label: source})


def only(
    facts: PostgresFacts = GOOD, spec: StreamSpec = SPEC, source: TableShape = ORDERS
) -> Fault:
    faults = judge(facts, spec, source)
    assert len(faults) == 1, [fault.text for fault in faults]
    return faults[0]


def with_table(**changes: object) -> PostgresFacts:
    return replace(GOOD, tables={"orders": replace(GOOD.tables["orders"], **changes)})


def with_shape(*columns: Column, key: tuple[str, ...] = ("id",)) -> PostgresFacts:
    return with_table(shape=replace(SHAPE, columns=columns, primary_key=key))


def test_a_ready_target_has_no_fault() -> None:
    assert judge() == ()


def test_a_target_without_an_answer_is_one_fault() -> None:
    fault = only(replace(GOOD, problem="no answer within 10 s"))
    assert (fault.field, fault.found) == ("target.host", "no answer within 10 s")


def test_a_refused_login_is_a_fault_of_the_account() -> None:
    assert only(replace(GOOD, problem="no", is_denied=True)).field == "target.account"


@pytest.mark.parametrize(
    ("changes", "field", "fix"),
    [
        ({"version": 110005}, "target.version", "PostgreSQL 12"),
        ({"encoding": "SQL_ASCII"}, "target.encoding", "ENCODING 'UTF8'"),
        ({"is_standby": True, "is_read_only": True}, "target.host", "primary"),
        (
            {"is_read_only": True},
            "target.default_transaction_read_only",
            'ALTER ROLE "writer" SET default_transaction_read_only = off;',
        ),
        ({"has_schema": False}, "target.schema", 'CREATE SCHEMA "dw";'),
        ({"may_use_schema": False}, "target.grants", 'GRANT USAGE ON SCHEMA "dw" TO "writer";'),
    ],
)
def test_a_server_that_is_not_ready_is_told_with_what_mends_it(
    changes: dict[str, object], field: str, fix: str
) -> None:
    fault = only(replace(GOOD, **changes))
    assert fault.field == field
    assert fix in fault.fix


def test_a_schema_that_cannot_be_written_is_refused() -> None:
    assert "parameter" in judge(replace(GOOD, schema="a:b"))[0].found


def test_a_missing_table_comes_with_its_statement() -> None:
    fault = only(replace(GOOD, tables={}))
    assert (fault.field, fault.found, fault.fix) == ("dw.orders", "no such table", CREATE)


def test_a_view_is_no_table() -> None:
    assert only(replace(GOOD, tables={}, not_tables={"orders": "view"})).found == "a view, no table"


def test_excluded_columns_are_left_out_of_the_statement() -> None:
    spec = replace(SPEC, exclude_columns=("orders.name",))
    assert "name" not in only(replace(GOOD, tables={}), spec).fix


def test_the_statement_of_every_type_is_one_statement() -> None:
    text = create_table(ORDERS, 'a"b', "c.d")
    assert text.startswith('CREATE TABLE "a""b"."c.d" (')


@pytest.mark.parametrize(
    ("changes", "field", "fix"),
    [
        (
            {"missing_privileges": ("INSERT", "DELETE")},
            "target.grants",
            'GRANT INSERT, DELETE ON "dw"."orders" TO "writer";',
        ),
        ({"unique": ("u",)}, "dw.orders.u", 'DROP INDEX IF EXISTS "dw"."u"'),
        ({"foreign_keys": ("f",)}, "dw.orders.f", 'DROP CONSTRAINT "f";'),
        ({"has_deferrable_key": True}, "dw.orders.PRIMARY", "ADD PRIMARY KEY"),
        ({"loose_columns": ("id", "name")}, "dw.orders.id", 'COLLATE "C"'),
        ({"must_write": ("id", "z")}, "dw.orders.z", 'ALTER COLUMN "z" DROP NOT NULL;'),
    ],
)
def test_what_a_table_has_too_much_or_too_little_of_is_told(
    changes: dict[str, object], field: str, fix: str
) -> None:
    fault = only(with_table(**changes))
    assert (fault.field, fault.severity) == (field, "error")
    assert fix in fault.fix


def test_row_security_is_a_warning() -> None:
    assert only(with_table(is_filtered=True)).severity == "warning"


@pytest.mark.parametrize(
    ("columns", "fix"),
    [
        ((PG_ID,), 'ADD COLUMN "name" varchar(50);'),
        (
            (PG_ID, replace(PG_NAME, column_type="character varying(5)")),
            'ALTER COLUMN "name" TYPE varchar(50) USING "name"::varchar(50);',
        ),
        ((PG_ID, replace(PG_NAME, nullable=False)), 'ALTER COLUMN "name" DROP NOT NULL;'),
        ((PG_ID, replace(PG_NAME, generated=True)), 'DROP COLUMN "name"'),
        ((PG_ID, replace(PG_NAME, name="Name")), 'RENAME COLUMN "Name" TO "name";'),
    ],
)
def test_a_column_that_does_not_fit_comes_with_what_mends_it(
    columns: tuple[Column, ...], fix: str
) -> None:
    assert fix in only(with_shape(*columns)).fix


def test_another_primary_key_is_told() -> None:
    fault = only(with_shape(PG_ID, PG_NAME, key=()))
    assert fault.fix == 'ALTER TABLE "dw"."orders" ADD PRIMARY KEY ("id");'
    assert only(with_shape(PG_ID, PG_NAME, key=("name",))).fix.startswith("Drop the primary key")


def test_a_source_column_that_no_target_column_can_be_called_is_refused_by_name() -> None:
    source = replace(ORDERS, columns=(ID, NAME, Column("order", "int", "int(11)")))
    fault = only(source=source)
    assert fault.field == "shop.orders.order"
    assert "exclude_columns: orders.order" in fault.fix
    assert judge(source=source, spec=replace(SPEC, exclude_columns=("orders.order",))) == ()


def test_a_target_table_that_the_connector_misreads_is_refused_by_name() -> None:
    spec = replace(SPEC, tables=(TableRef("shop", "orders", "a:b"),))
    assert only(spec=spec).found.startswith("a:b: ")


def test_the_table_of_a_query_needs_a_key_and_plain_names() -> None:
    spec = replace(SPEC, queries=(QuerySpec("counts", "SELECT 1"),))
    assert only(spec=spec).fix.startswith('CREATE TABLE "dw"."counts" (<the query')
    bad = replace(SHAPE, name="counts", columns=(replace(PG_ID, name="Id"),), primary_key=())
    facts = replace(GOOD, tables={**GOOD.tables, "counts": PostgresTable(bad)})
    assert [fault.field for fault in judge(facts, spec)] == ["dw.counts", "dw.counts.Id"]


def test_a_captured_table_that_is_not_there_is_not_judged() -> None:
    assert judge_postgres(SPEC, replace(GOOD, tables={}), {}) == ()
