from __future__ import annotations

import pytest

from cdc_assets.core.columns import Column
from cdc_assets.core.postgres_types import (
    PostgresType,
    misfit,
    query_type,
    target_column,
    target_type,
)

# format_type's words, and the typname behind them.
NAMES = {
    "smallint": "int2", "integer": "int4", "bigint": "int8", "boolean": "bool",
    "double precision": "float8", "real": "float4", "character varying": "varchar",
    "character": "bpchar", "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
}  # fmt: skip


def mysql(kind: str, *, nullable: bool = True) -> Column:
    return Column("c", kind.partition("(")[0].split()[0], kind, nullable=nullable)


def postgres(kind: str, *, nullable: bool = True, generated: bool = False) -> Column:
    plain, _, rest = kind.partition("(")
    plain = plain.strip() + rest.partition(")")[2]
    return Column("c", NAMES.get(plain, plain), kind, nullable=nullable, generated=generated)


def test_the_types_of_a_server_are_read() -> None:
    assert PostgresType.parse(postgres("numeric(20,8)")) == PostgresType("numeric", 20, 8)
    seen = PostgresType.parse(postgres("timestamp(3) without time zone"))
    assert seen == PostgresType("timestamp", 3)
    assert PostgresType.parse(postgres("text")) == PostgresType("text")


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("tinyint(4)", "smallint"), ("tinyint(3) unsigned", "smallint"), ("smallint", "smallint"),
        ("smallint unsigned", "integer"), ("mediumint unsigned", "integer"), ("int", "integer"),
        ("int unsigned", "bigint"), ("bigint", "bigint"), ("bigint unsigned", "numeric(20,0)"),
        ("decimal", "numeric(10,0)"), ("decimal(65,30)", "numeric(65,30)"),
        ("double", "double precision"), ("float", "real"), ("year(4)", "smallint"),
        ("bit(1)", "boolean"), ("bit(64)", "bytea"),
        ("date", "date"), ("datetime", "timestamp(0)"), ("timestamp(6)", "timestamptz(6)"),
        ("char(10)", "varchar(10)"), ("varchar(200)", "varchar(200)"), ("longtext", "text"),
        ("char(0)", "text"), ("enum('a')", "text"), ("set('a')", "text"), ("binary(4)", "bytea"),
        ("varbinary(9)", "bytea"), ("tinyblob", "bytea"),
    ],
)  # fmt: skip
def test_a_target_column_holds_what_it_is_made_for(kind: str, wanted: str) -> None:
    assert target_type(mysql(kind)) == wanted
    full = wanted.replace("varchar", "character varying")
    for short, size in (("timestamptz", " with time zone"), ("timestamp", " without time zone")):
        if full.startswith(f"{short}("):
            full = full.replace(short, "timestamp") + size
            break
    assert misfit(mysql(kind), postgres(full)) == ""


def test_a_column_definition_is_quoted_in_lower_case() -> None:
    column = Column("OrderId", "bigint", "bigint(20)", nullable=False)
    assert target_column(column) == '"orderid" bigint NOT NULL'


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("int", "bigint"), ("int", "numeric"), ("int", "numeric(10,0)"),
        ("bigint unsigned", "numeric(22,2)"), ("decimal(10,2)", "numeric"),
        ("varchar(10)", "text"), ("varchar(10)", "character varying"),
        ("text", "character varying(65535)"), ("enum('abc','b')", "character varying(3)"),
        ("set('ab','c')", "character varying(5)"), ("datetime", "timestamp without time zone"),
        ("timestamp", "timestamp(0) without time zone"), ("binary(2)", "bytea"),
    ],
)  # fmt: skip
def test_a_wider_column_fits(source: str, target: str) -> None:
    assert misfit(mysql(source), postgres(target)) == ""


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        ("bigint", "integer", "narrower"), ("int unsigned", "integer", "narrower"),
        ("tinyint", "boolean", "is not smallint"), ("bigint unsigned", "bigint", "narrower"),
        ("bigint unsigned", "numeric(20,1)", "narrower"), ("int", "numeric(9,0)", "narrower"),
        ("decimal(10,2)", "numeric(10,1)", "narrower"), ("decimal(10,2)", "integer", "is not"),
        ("double", "real", "is not"), ("double", "numeric", "is not"),
        ("varchar(10)", "character varying(9)", "narrower"), ("char(4)", "character(4)", "is not"),
        ("text", "jsonb", "is not text"), ("datetime(6)", "timestamp(3) without time zone",
                                          "narrower"),
        ("datetime", "timestamp with time zone", "is not"), ("date", "text", "is not date"),
        ("bit(8)", "boolean", "is not bytea"), ("bit(1)", "smallint", "is not boolean"),
        ("varbinary(4)", "text", "is not bytea"), ("enum('abc')", "character varying(2)",
                                                   "narrower"),
    ],
)  # fmt: skip
def test_a_column_that_cannot_hold_every_value_is_told(
    source: str, target: str, reason: str
) -> None:
    assert reason in misfit(mysql(source), postgres(target))


def test_a_column_that_refuses_null_or_any_value_is_told() -> None:
    assert "NOT NULL" in misfit(mysql("int"), postgres("integer", nullable=False))
    assert misfit(mysql("int", nullable=False), postgres("integer", nullable=False)) == ""
    assert "computes" in misfit(mysql("int"), postgres("integer", generated=True))


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("bigint", "BIGINT"), ("boolean", "BOOLEAN"), ("numeric(20,8)", "DECIMAL(20, 8)"),
        ("numeric", "STRING"), ("numeric(65,0)", "STRING"), ("numeric(3,5)", "STRING"),
        ("timestamp(0) without time zone", "TIMESTAMP(1)"), ("date", "DATE"),
        ("timestamp with time zone", "TIMESTAMP(6)"), ("jsonb", "STRING"), ("uuid", "STRING"),
        ("bytea", "BYTES"), ("real", "FLOAT"), ("time(0) without time zone", "STRING"),
    ],
)  # fmt: skip
def test_a_query_fills_any_column(kind: str, wanted: str) -> None:
    assert query_type(postgres(kind)) == wanted
