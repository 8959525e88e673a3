"""Types of Flink's, as the source columns that target tables are made of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.iceberg_faults import creation
from cdc_assets.core.postgres_types import target_type
from cdc_assets.core.preflight_postgres import create_table as postgres_table
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.results import judge_results, provisional, result_column, wanted_results
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.starrocks import create_table as starrocks_table
from cdc_assets.core.starrocks import starrocks_type
from cdc_assets.core.stream import StreamSpec, TargetKind
from cdc_assets.core.table_refs import TableRef
from cdc_assets.core.transform import Transform
from cdc_assets.core.types import natural_type
from cdc_assets.errors import ConfigurationError, UnsupportedType
from cdc_assets.targets.mysql import create_table_sql

ID = Column("id", "int", "int(11)", nullable=False)
ORDERS = TableShape("shop", "orders", (ID, Column("n", "int", "int(11)"),
                    Column("secret", "int", "int(11)")), ("id",))  # fmt: skip
COMPUTED = Transform("orders", columns=("n",), computed=(("Total", "n * 2"),))
SUMS = QuerySpec("sums", "SELECT n, COUNT(*) AS c FROM orders GROUP BY n", key=("n",))


def spec(kind: TargetKind = "mysql", **settings: object) -> StreamSpec:
    made = StreamSpec("shop", (TableRef("shop", "orders"),), ServerIdRange(1, 9), "dw",
                      target_kind=kind, transforms=(COMPUTED,), queries=(SUMS,))  # fmt: skip
    return replace(made, **settings)


# docs/etl.md, "Tables that are made", says the same.
TYPES = {
    "BOOLEAN": ("bit(1)", "boolean", "BOOLEAN", "BOOLEAN"),
    "TINYINT": ("tinyint(4)", "smallint", "INT", "TINYINT"),
    "SMALLINT": ("smallint(6)", "smallint", "INT", "SMALLINT"),
    "INT NOT NULL": ("int(11)", "integer", "INT", "INT"),
    "BIGINT": ("bigint(20)", "bigint", "BIGINT", "BIGINT"),
    "FLOAT": ("double", "real", "FLOAT", "FLOAT"),
    "DOUBLE": ("double", "double precision", "DOUBLE", "DOUBLE"),
    "DECIMAL(38, 2)": ("decimal(38,2)", "numeric(38,2)", "DECIMAL(38, 2)", "DECIMAL(38, 2)"),
    "CHAR(4)": ("varchar(4)", "varchar(4)", "STRING", "VARCHAR(16)"),
    "VARCHAR(255)": ("varchar(255)", "varchar(255)", "STRING", "VARCHAR(1020)"),
    "VARCHAR(256)": ("longtext", "text", "STRING", "VARCHAR(1048576)"),
    "STRING": ("longtext", "text", "STRING", "VARCHAR(1048576)"),
    "BYTES": ("longblob", "bytea", "BYTES", ""),
    "VARBINARY(9)": ("longblob", "bytea", "BYTES", ""),
    "DATE": ("date", "date", "DATE", "DATE"),
    "TIMESTAMP(0)": ("datetime", "timestamp(0)", "TIMESTAMP(6)", "DATETIME"),
    "TIMESTAMP(3)": ("datetime(3)", "timestamp(3)", "TIMESTAMP(6)", "DATETIME"),
    "TIMESTAMP_LTZ(3)": ("datetime(3)", "timestamp(3)", "TIMESTAMP_LTZ(6)", "DATETIME"),
}


@pytest.mark.parametrize("kind", TYPES)
def test_each_type_has_its_column_in_each_target(kind: str) -> None:
    mysql, postgres, iceberg, starrocks = TYPES[kind]
    column = result_column("mysql", "dw.t", "c", kind)
    assert (column.column_type, column.nullable) == (mysql, True)
    natural_type("dw.t", column)  # a query can fill it
    assert target_type(result_column("postgres", "dw.t", "c", kind)) == postgres
    made = TableShape("", "t", (ID, result_column("iceberg", "dw.t", "c", kind)), ("id",))
    (create,) = creation("dw", "t", made, has_namespace=True)
    assert f"  `c` {iceberg},\n" in create
    if not starrocks:
        with pytest.raises(UnsupportedType, match="no form for bytes"):
            result_column("starrocks", "dw.t", "c", kind)
        return
    assert starrocks_type("dw.t", result_column("starrocks", "dw.t", "c", kind)) == starrocks


@pytest.mark.parametrize(
    ("target", "kind", "is_key", "reason"),
    [
        ("postgres", "ARRAY<INT>", False, "no target has a type"),
        ("iceberg", "ROW<`a` INT>", False, "no target has a type"),
        ("mysql", "TIME(0)", False, "no target has a type"),
        ("mysql", "NULL", False, "no target has a type"),
        ("mysql", "TIMESTAMP(9)", False, "TIMESTAMP(6)"),
        ("mysql", "DECIMAL(38, 31)", False, "30 digits"),
        ("mysql", "STRING", True, "needs a length"),
        ("mysql", "VARCHAR(769)", True, "needs a length"),
        ("iceberg", "DOUBLE", True, "no key"),
        ("postgres", "BYTES", True, "no key"),
        ("starrocks", "DECIMAL(10, 2)", True, "in a primary key"),
    ],
)
def test_what_a_target_cannot_hold_is_refused(
    target: TargetKind, kind: str, reason: str, *, is_key: bool
) -> None:
    with pytest.raises(UnsupportedType) as refused:
        result_column(target, "dw.t", "c", kind, is_key=is_key)
    assert reason in refused.value.reason
    columns, (fault,) = judge_results(spec(target), "t", [("c", kind)], ("c",) if is_key else ())
    assert columns == ()
    assert (fault.field, fault.severity) == ("dw.t.c", "error")


def test_a_key_is_not_null_and_must_be_among_the_columns() -> None:
    (n, c), faults = judge_results(spec(), "sums", [("n", "INT"), ("c", "BIGINT")], ("n",))
    assert (n.nullable, c.nullable, faults) == (False, True, ())
    _, faults = judge_results(spec(), "sums", [("EXPR$1", "BIGINT")], ("n",))
    assert [fault.found for fault in faults] == ["n in the key", "EXPR$1, a column without a name"]


def test_tables_are_made_with_results_only() -> None:
    plain = spec()
    assert wanted_results(plain) == {"orders": (), "sums": ("n",)}
    assert not plain.makes("orders")
    assert plain.unmade([ORDERS], ()) == {}
    total = result_column("mysql", "dw.orders", "Total", "BIGINT")
    sums, _ = judge_results(plain, "sums", [("n", "INT"), ("c", "BIGINT")], ("n",))
    known = replace(plain, results=(("orders", (total,)), ("sums", sums)))
    made = known.unmade([ORDERS], ())
    assert list(made) == ["orders", "sums"]
    assert list(known.unmade([ORDERS], ("orders",))) == ["sums"]
    assert create_table_sql(made["orders"], "dw", "orders") == (
        "CREATE TABLE `dw`.`orders` (\n  `id` int(11) NOT NULL,\n  `n` int(11) NULL,\n"
        "  `Total` bigint(20) NULL,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
    )
    assert '"total" bigint,' in postgres_table(made["orders"], "dw", "orders")
    assert "`n` INT NOT NULL" in starrocks_table(made["sums"], "dw", "sums")
    assert replace(known, create_tables=False).unmade([ORDERS], ()) == {}
    for other in ({"create_tables": False}, {"target_kind": "kafka"}, {"is_scripted": True}):
        assert wanted_results(replace_plain(plain, **other)) == {}


def replace_plain(made: StreamSpec, **settings: object) -> StreamSpec:
    """Return a stream with other settings; a topic's query declares its columns."""
    query = QuerySpec("sums", SUMS.sql, (("n", "INT"), ("c", "BIGINT")), ("n",))
    return replace(made, queries=(query,), **settings)


def test_a_table_that_flink_is_asked_with_has_each_column_as_a_text() -> None:
    shape = provisional(spec("postgres"), "orders", [ORDERS])
    assert [column.name for column in shape.columns] == ["id", "n", "secret", "total"]
    assert {column.column_type for column in shape.columns} == {"text"}
    assert provisional(spec("iceberg"), "sums", [ORDERS]).primary_key == ("n",)
    keyless = replace(spec(), queries=(replace(SUMS, key=()),))
    assert provisional(keyless, "sums", [ORDERS]).primary_key == ("key",)


def test_a_key_needs_no_columns_and_columns_need_a_key() -> None:
    assert SUMS.key == ("n",)
    with pytest.raises(ConfigurationError, match="a key that is made of them"):
        QuerySpec("sums", "SELECT 1", (("n", "INT"),))
