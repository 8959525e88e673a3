from __future__ import annotations

from dataclasses import replace

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.iceberg import (
    IcebergCatalog,
    IcebergTable,
    checked_name,
    create_catalog_sql,
    flink_type,
    iceberg_type,
    is_secret,
    misfit,
    pairs_of,
)
from cdc_assets.core.iceberg_faults import judge_tables
from cdc_assets.core.preflight import Fault
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.core.types import carried
from cdc_assets.errors import ConfigurationError, UnsupportedType

REST = IcebergCatalog(uri="http://lake:8181")
ORDERS = TableShape(
    "shop",
    "orders",
    (
        Column("id", "bigint", "bigint(20)", nullable=False),
        Column("total", "decimal", "decimal(10,2)"),
        Column("at", "timestamp", "timestamp(3)"),
    ),
    ("id",),
)
COPY = TableShape(
    "dw",
    "orders",
    (
        Column("id", "long", "long", nullable=False),
        Column("total", "decimal", "decimal(10, 2)"),
        Column("at", "timestamptz", "timestamptz"),
    ),
    ("id",),
)
SPEC = StreamSpec("s", (TableRef("shop", "orders"),), ServerIdRange(1, 9), "dw",
                  target_kind="iceberg")  # fmt: skip


def faults(
    table: IcebergTable | None, spec: StreamSpec = SPEC, *, has_namespace: bool = True
) -> list[Fault]:
    tables = {} if table is None else {"orders": table}
    return list(judge_tables(spec, {ORDERS.label: ORDERS}, tables, REST,
                             has_namespace=has_namespace))  # fmt: skip


def changed(**columns: Column) -> IcebergTable:
    found = tuple(columns.get(each.name, each) for each in COPY.columns)
    return IcebergTable(replace(COPY, columns=found))


def test_a_table_that_fits_has_no_fault() -> None:
    assert faults(IcebergTable(COPY)) == []


def test_a_missing_table_comes_with_the_statements_that_make_it() -> None:
    (fault,) = faults(None, has_namespace=False)
    assert fault.fix == (
        "CREATE CATALOG `lake` WITH ('type'='iceberg', 'catalog-type'='rest',"
        " 'uri'='http://lake:8181');\n"
        "CREATE DATABASE IF NOT EXISTS `lake`.`dw`;\n"
        "CREATE TABLE `lake`.`dw`.`orders` (\n"
        "  `id` BIGINT NOT NULL,\n"
        "  `total` DECIMAL(10, 2),\n"
        "  `at` TIMESTAMP_LTZ(6),\n"
        "  PRIMARY KEY (`id`) NOT ENFORCED\n"
        ") WITH ('format-version'='2', 'write.upsert.enabled'='true');"
    )


@pytest.mark.parametrize(
    ("table", "field"),
    [
        (IcebergTable(COPY, format_version=1), "dw.orders.format-version"),
        (IcebergTable(COPY, format_version=3), "dw.orders.format-version"),
        (IcebergTable(replace(COPY, primary_key=())), "dw.orders.identifier-fields"),
        (IcebergTable(replace(COPY, primary_key=("id", "at"))), "dw.orders.identifier-fields"),
        (IcebergTable(COPY, partition_columns=("at",)), "dw.orders.partition-spec"),
        (changed(total=Column("total", "decimal", "decimal(8, 2)")), "dw.orders.total"),
        (changed(total=Column("total", "string", "string")), "dw.orders.total"),
        (changed(at=Column("at", "timestamp", "timestamp")), "dw.orders.at"),
        (changed(at=Column("at", "timestamptz", "timestamptz", nullable=False)), "dw.orders.at"),
        (changed(id=Column("id", "int", "int", nullable=False)), "dw.orders.id"),
        (IcebergTable(replace(COPY, columns=COPY.columns[:2])), "dw.orders.at"),
        (
            IcebergTable(
                replace(COPY, columns=(*COPY.columns, Column("x", "int", "int", nullable=False)))
            ),
            "dw.orders.x",
        ),
    ],
)
def test_what_does_not_fit_is_named(table: IcebergTable, field: str) -> None:
    assert [(fault.field, fault.severity) for fault in faults(table)] == [(field, "error")]


def test_a_partition_of_the_key_and_more_columns_are_no_fault() -> None:
    more = replace(COPY, columns=(*COPY.columns, Column("x", "int", "int")))
    assert faults(IcebergTable(more, partition_columns=("id",))) == []


def test_a_narrow_column_is_widened_in_place_where_iceberg_can() -> None:
    (fault,) = faults(changed(total=Column("total", "decimal", "decimal(8, 2)")))
    assert fault.fix == "ALTER TABLE `lake`.`dw`.`orders` MODIFY (`total` DECIMAL(10, 2));"
    (fault,) = faults(changed(total=Column("total", "string", "string")))
    assert "DROP" in fault.fix


def test_a_query_s_table_needs_a_key_and_types_that_a_query_fills() -> None:
    spec = replace(SPEC, queries=(QuerySpec("counts", "SELECT 1"),), source_only=("orders",))
    (missing,) = faults(None, spec)
    assert missing.field == "dw.counts"
    shape = TableShape("dw", "counts", (Column("n", "list", "list<long>"),), ())
    found = judge_tables(spec, {}, {"counts": IcebergTable(shape)}, REST)
    assert [fault.field for fault in found] == ["dw.counts.identifier-fields", "dw.counts.n"]


def test_a_wider_column_holds_a_value_and_a_key_is_exact() -> None:
    way = carried("shop.orders", Column("n", "int", "int(11)"), target="iceberg")
    assert misfit(way, Column("n", "long", "long"), is_key=False) == ""
    assert misfit(way, Column("n", "decimal", "decimal(10, 0)"), is_key=False) == ""
    assert misfit(way, Column("n", "decimal", "decimal(10, 2)"), is_key=False)
    assert misfit(way, Column("n", "long", "long", nullable=False), is_key=True)


@pytest.mark.parametrize(
    ("flink", "iceberg"),
    [("INT", "int"), ("TIMESTAMP(0)", "timestamp"), ("TIMESTAMP_LTZ(6)", "timestamptz"),
     ("DECIMAL(38, 4)", "decimal(38, 4)"), ("BYTES", "binary"), ("BOOLEAN", "boolean")],
)  # fmt: skip
def test_types_go_there_and_back(flink: str, iceberg: str) -> None:
    assert iceberg_type(flink) == iceberg
    back = flink_type(COPY, Column("c", iceberg, iceberg))
    assert iceberg_type(back) == iceberg
    assert flink_type(COPY, Column("c", iceberg, iceberg, nullable=False)) == f"{back} NOT NULL"


@pytest.mark.parametrize("kind", ["struct<1: a: optional int>", "uuid", "time", "fixed[4]", "map"])
def test_a_type_that_a_stream_does_not_fill_is_refused(kind: str) -> None:
    with pytest.raises(UnsupportedType):
        flink_type(COPY, Column("c", "x", kind))


@pytest.mark.parametrize("name", ["a.b", "a/b", "a$b", "", "a`b", "-a", "a b", "a\x00"])
def test_a_name_that_iceberg_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError):
        checked_name(name, field="x")


@pytest.mark.parametrize("name", ["a", "_a-1", "größe"])
def test_a_name_that_iceberg_can_hold_is_taken(name: str) -> None:
    assert checked_name(name, field="x") == name


def test_secrets_are_in_no_statement_and_no_repr() -> None:
    properties = {"token": "t0ken", "s3.endpoint": "http://s3", "odd": "0dd"}
    catalog = IcebergCatalog(uri="http://lake", properties=properties, hidden=("odd",))
    assert catalog.secrets == (("token", "t0ken"), ("odd", "0dd"))
    text = create_catalog_sql(catalog, "lake") + repr(catalog)
    assert "t0ken" not in text
    assert "0dd" not in text
    assert "http://s3" in text


@pytest.mark.parametrize("text", ["a", "a=", "=b", "a=b;c"])
def test_a_broken_list_of_secrets_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"part \d is not name=value") as error:
        pairs_of(text)
    assert "got" not in str(error.value)


def test_a_catalog_needs_its_place() -> None:
    with pytest.raises(ConfigurationError, match="address"):
        IcebergCatalog()
    with pytest.raises(ConfigurationError, match="folder"):
        IcebergCatalog("hadoop")


@pytest.mark.parametrize("name", ["s3.secret-access-key", "adls.account-key", "oauth2-token"])
def test_a_secret_is_told_by_its_name(name: str) -> None:
    assert is_secret(name)
