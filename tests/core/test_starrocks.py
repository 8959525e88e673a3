"""StarRocks types: which one holds a MySQL column, and whether one that is there does."""

from __future__ import annotations

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.preflight_starrocks import (
    StarRocksFacts,
    StarRocksTable,
    judge_starrocks,
    shape_of,
)
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.starrocks import (
    TableOptions,
    create_table,
    is_column_name,
    is_database_name,
    is_table_name,
    key_bytes,
    misfit,
    query_type,
    starrocks_type,
)
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.core.types import carried
from cdc_assets.errors import ConfigurationError, UnsupportedType


def column(kind: str, name: str = "c", *, nullable: bool = True) -> Column:
    base = kind.replace("(", " ").split()[0]
    charset = "utf8mb4" if base in {"char", "varchar", "text", "mediumtext", "enum"} else None
    return Column(name, base, kind, nullable=nullable, charset=charset)


def there(data_type: str, column_type: str, *, nullable: bool = True) -> Column:
    return Column("c", data_type, column_type, nullable=nullable)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("tinyint(4)", "TINYINT"), ("tinyint(3) unsigned", "SMALLINT"), ("smallint(6)", "SMALLINT"),
        ("smallint(5) unsigned", "INT"), ("mediumint(9)", "INT"), ("mediumint unsigned", "INT"),
        ("int(11)", "INT"), ("int(10) unsigned", "BIGINT"), ("bigint(20)", "BIGINT"),
        ("bigint(20) unsigned", "LARGEINT"), ("decimal(10,5)", "DECIMAL(10, 5)"),
        ("decimal(38,30)", "DECIMAL(38, 30)"), ("decimal(65,30)", "VARCHAR(68)"),
        ("double", "DOUBLE"), ("float", "FLOAT"), ("year(4)", "INT"),
        ("bit(1)", "BOOLEAN"), ("date", "DATE"),
        ("datetime(6)", "DATETIME"),
        ("timestamp(3)", "DATETIME"), ("char(10)", "VARCHAR(40)"),
        ("varchar(255)", "VARCHAR(1020)"), ("varchar(0)", "VARCHAR(4)"),
        ("text", "VARCHAR(262144)"), ("mediumtext", "VARCHAR(1048576)"),
        ("enum('a','bcd')", "VARCHAR(12)"), ("set('a','bcd')", "VARCHAR(24)"),
    ],
)  # fmt: skip
def test_each_type_has_one_that_holds_it(kind: str, wanted: str) -> None:
    assert starrocks_type("d.t", column(kind)) == wanted
    # A table made with it is one that preflight accepts.
    word, _, size = wanted.rstrip(")").partition("(")
    names = {"LARGEINT": ("bigint unsigned", "bigint(20) unsigned"),
             "BOOLEAN": ("tinyint", "tinyint(1)")}  # fmt: skip
    made = names.get(word, (word.lower(), f"{word.lower()}({size})" if size else word.lower()))
    assert misfit(carried("d.t", column(kind), target="starrocks"), there(*made)) == ""


@pytest.mark.parametrize("kind", ["blob", "binary(3)", "bit(8)", "json", "time"])
def test_what_cannot_be_carried_has_no_type(kind: str) -> None:
    with pytest.raises(UnsupportedType):
        starrocks_type("d.t", column(kind))


@pytest.mark.parametrize("kind", ["decimal(10,2)", "double"])
def test_what_starrocks_takes_in_no_key_is_refused_there_only(kind: str) -> None:
    starrocks_type("d.t", column(kind))
    with pytest.raises(UnsupportedType, match="primary key"):
        starrocks_type("d.t", column(kind), is_key=True)


@pytest.mark.parametrize(
    ("kind", "target", "reason"),
    [
        ("bigint(20)", there("int", "int(11)"), "does not load BIGINT"),
        ("int(11)", there("bigint", "bigint(20)"), ""),
        ("int(11)", there("tinyint", "tinyint(4)"), "narrower"),
        ("int(11)", there("smallint", "smallint(6)"), "narrower"),
        ("smallint(6)", there("int", "int(11)"), "does not load SMALLINT"),
        ("tinyint(4)", there("tinyint", "tinyint(1)"), "narrower"),  # BOOLEAN
        ("bit(1)", there("tinyint", "tinyint(4)"), ""),
        ("bigint(20) unsigned", there("bigint", "bigint(20)"), "does not load DECIMAL"),
        ("bigint(20) unsigned", there("decimal", "decimal(38, 0)"), ""),
        ("bigint(20) unsigned", there("decimal", "decimal(19, 0)"), "narrower"),
        ("decimal(10,5)", there("decimal", "decimal128(12, 5)"), ""),
        ("decimal(10,5)", there("decimal", "decimal(10, 4)"), "narrower"),
        ("decimal(10,5)", there("decimal", "decimal(9, 5)"), "narrower"),
        ("varchar(20)", there("varchar", "varchar(79)"), "narrower"),
        ("varchar(20)", there("varchar", "varchar(65533)"), ""),
        ("varchar(20)", there("datetime", "datetime"), "is not VARCHAR"),
        ("datetime", there("varchar", "varchar(99)"), "is not DATETIME"),
        ("datetime", there("date", "date"), "is not DATETIME"),
        ("date", there("datetime", "datetime"), "is not DATE"),
        ("varchar(20)", there("json", "json"), "is not VARCHAR"),
        ("double", there("float", "float"), "does not load DOUBLE"),
        ("int(11)", there("int", "int(11)", nullable=False), "NOT NULL"),
        ("int(11)", there("array", "array<int(11)>"), "is not INT"),
    ],
)
def test_a_column_that_is_there_is_judged(kind: str, target: Column, reason: str) -> None:
    found = misfit(carried("d.t", column(kind), target="starrocks"), target)
    assert (reason in found) if reason else (found == "")


def test_a_table_without_a_key_or_with_a_backtick_has_no_statement() -> None:
    with pytest.raises(ConfigurationError, match="primary key"):
        create_table(TableShape("d", "t", (column("int"),), ()), "d", "t")
    bad = TableShape("d", "t", (column("int", "a`b"),), ("a`b",))
    with pytest.raises(ConfigurationError, match="not a StarRocks name"):
        create_table(bad, "d", "t")


def test_a_statement_leaves_out_what_is_excluded() -> None:
    shape = TableShape("d", "t", (column("int", "a"), column("int", "b")), ("a",))
    made = create_table(shape, "d", "t", exclude=["B"], options=TableOptions(partition="(`a`) ()"))
    assert "`b`" not in made
    assert "PARTITION BY RANGE (`a`) ()\nDISTRIBUTED BY HASH(`a`)\n" in made


def test_names_that_the_connector_cannot_load_are_known() -> None:
    assert is_table_name("order_2024")
    assert not any(map(is_table_name, ("", "a b", "a.b", "a/b", "é", "a`b", "a" * 257)))
    assert is_database_name("_dw")
    assert not is_database_name("1dw")
    assert is_column_name("größe 1.0")
    assert not any(map(is_column_name, ("", "__OP", "a=b", "a\nb", "a`b", "a*")))


def test_the_bytes_of_a_key_are_counted() -> None:
    names = ("a", "b", "c")
    kinds = ("int", "bigint unsigned", "varchar(40)")
    columns = tuple(column(kind, name) for kind, name in zip(kinds, names, strict=True))
    assert key_bytes(TableShape("d", "t", columns, names)) == 4 + 16 + 160


def test_a_query_fills_starrocks_types() -> None:
    shape = TableShape("d", "t", (), ())
    assert query_type(shape, there("decimal", "decimal64(18, 4)")) == "DECIMAL(18, 4)"
    assert query_type(shape, there("tinyint", "tinyint(1)")) == "BOOLEAN"
    assert query_type(shape, there("datetime", "datetime")) == "TIMESTAMP(6)"
    with pytest.raises(UnsupportedType):
        query_type(shape, there("array", "array<int(11)>"))


SOURCE = TableShape(
    "shop",
    "orders",
    (column("int(11)", "id", nullable=False), column("varchar(20)", "name")),
    ("id",),
)


def spec(*tables: str, **more: object) -> StreamSpec:
    refs = tuple(TableRef.parse(text) for text in tables or ("shop.orders",))
    return StreamSpec(
        "s", refs, ServerIdRange(1, 9), "dw", target_kind="starrocks", **more  # type: ignore[arg-type]
    )  # fmt: skip


def table(*columns: tuple[str, str, str, bool, str], name: str = "orders") -> StarRocksTable:
    return shape_of("dw", name, columns)


GOOD = table(("id", "int", "int(11)", False, "PRI"), ("name", "varchar", "varchar(80)", True, ""))
SHAPES = {"shop.orders": SOURCE}


def found(facts: StarRocksFacts, one: StreamSpec | None = None) -> dict[str, str]:
    return {fault.field: fault.found for fault in judge_starrocks(one or spec(), facts, SHAPES)}


def test_a_table_that_fits_has_no_fault() -> None:
    assert found(StarRocksFacts("fe:9030", "dw", tables={"orders": GOOD})) == {}


@pytest.mark.parametrize(
    ("kind", "word"), [("DUP", "DUPLICATE"), ("UNI", "UNIQUE"), ("AGG", "AGG")]
)
def test_a_table_of_another_model_is_a_fault_that_its_fix_mends(kind: str, word: str) -> None:
    other = table(
        ("id", "int", "int(11)", False, kind), ("name", "varchar", "varchar(80)", True, "")
    )
    (fault,) = judge_starrocks(spec(), StarRocksFacts("fe", "dw", tables={"orders": other}), SHAPES)
    assert word in fault.found
    assert fault.fix.startswith("DROP TABLE `dw`.`orders`;\nCREATE TABLE")


def test_everything_that_is_missing_is_named() -> None:
    facts = StarRocksFacts("fe", "dw", has_database=False, load_problem="fe:8030: no connection")
    assert set(found(facts)) == {"target_database", "target.http_port", "dw.orders"}
    assert set(found(StarRocksFacts("fe", "dw", problem="refused"))) == {"target.host"}
    names = found(StarRocksFacts("fe", "d w"), spec("shop.orders:or ders"))
    assert set(names) == {"target_database", "target tables"}


def test_columns_of_a_pair_are_judged() -> None:
    facts = StarRocksFacts(
        "fe",
        "dw",
        tables={
            "orders": table(
                ("name", "varchar", "varchar(20)", False, "PRI"),
                ("extra", "int", "int(11)", False, ""),
            )
        },
    )
    assert set(found(facts)) == {
        "dw.orders.PRIMARY", "dw.orders.id", "dw.orders.name", "dw.orders.extra",
    }  # fmt: skip


def test_a_long_key_and_a_long_text_are_warned_of() -> None:
    long = TableShape(
        "shop", "orders", (column("varchar(64)", "id"), column("mediumtext", "t")), ("id",)
    )
    faults = judge_starrocks(spec(), StarRocksFacts("fe", "dw"), {"shop.orders": long})
    assert {(f.field, f.severity) for f in faults} == {
        ("shop.orders.PRIMARY", "warning"),
        ("shop.orders.t", "warning"),
        ("dw.orders", "warning"),  # the snapshot makes it
    }


def test_the_table_of_a_query_must_be_there_with_types_that_a_query_fills() -> None:
    one = spec(queries=(QuerySpec("ranking", "SELECT 1"),))
    facts = StarRocksFacts("fe", "dw", tables={"orders": GOOD})
    assert found(facts, one) == {"dw.ranking": "no such table"}
    ranking = table(("p", "int", "int(11)", False, "DUP"), ("h", "hll", "hll", True, ""),
                    name="ranking")  # fmt: skip
    facts = StarRocksFacts("fe", "dw", tables={"orders": GOOD, "ranking": ranking})
    assert set(found(facts, one)) == {"dw.ranking", "dw.ranking.h"}
