from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.type_fit import misfit
from cdc_assets.core.types import (
    MySqlType,
    carried,
    is_integer_key,
    natural_type,
    target_column,
)
from cdc_assets.errors import UnsupportedType

INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint")


def column(kind: str, *, charset: str | None = None, nullable: bool = True) -> Column:
    base = kind.split("(", maxsplit=1)[0].split(" ", maxsplit=1)[0]
    return Column("c", base, kind, nullable, charset, f"{charset}_general_ci" if charset else None)


def text(kind: str, charset: str = "utf8mb4") -> Column:
    return column(kind, charset=charset)


@pytest.mark.parametrize(
    ("kind", "flink"),
    [
        ("tinyint(4)", "TINYINT"),
        ("tinyint(1)", "TINYINT"),  # a BOOLEAN would turn 2 and -1 into false
        ("tinyint(3) unsigned", "SMALLINT"),
        ("smallint(5) unsigned", "INT"),
        ("mediumint(8) unsigned", "INT"),
        ("int(11)", "INT"),
        ("int(10) unsigned zerofill", "BIGINT"),
        ("bigint(20)", "BIGINT"),
        ("bigint(20) unsigned", "DECIMAL(20, 0)"),
        ("bigint", "BIGINT"),  # MySQL 8 leaves the width out
        ("decimal(10,2)", "DECIMAL(10, 2)"),
        ("decimal(38,30)", "DECIMAL(38, 30)"),
        ("decimal(39,0)", "STRING"),
        ("decimal(65,30) unsigned", "STRING"),
        ("double", "DOUBLE"),
        ("bit(1)", "BOOLEAN"),
        ("bit(8)", "BYTES"),
        ("binary(4)", "BYTES"),
        ("longblob", "BYTES"),
    ],
)
def test_a_type_has_one_flink_type_in_source_and_sink(kind: str, flink: str) -> None:
    way = carried("d.t", column(kind))
    assert (way.source_type, way.sink_type) == (flink, flink)


@pytest.mark.parametrize("kind", ["char(10)", "varchar(200)", "longtext", "enum('a')", "set('a')"])
def test_texts_are_strings(kind: str) -> None:
    way = carried("d.t", text(kind))
    assert (way.source_type, way.sink_type, way.expression) == ("STRING", "STRING", "{}")


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("date", "DATE"),
        ("datetime", "TIMESTAMP(0)"),
        ("datetime(6)", "TIMESTAMP(6)"),
        ("timestamp(3)", "TIMESTAMP_LTZ(3)"),
    ],
)
def test_moments_are_written_as_text_and_not_through_a_java_calendar(
    kind: str, source: str
) -> None:
    way = carried("d.t", column(kind))
    assert (way.source_type, way.sink_type) == (source, "STRING")
    assert way.expression.endswith("AS STRING)")


@pytest.mark.parametrize("kind", ["date", "datetime(3)", "bigint(20) unsigned"])
def test_a_key_column_is_not_cast(kind: str) -> None:
    way = carried("d.t", column(kind), is_key=True)
    assert way.expression == "{}"
    assert way.source_type == way.sink_type


@pytest.mark.parametrize(
    ("kind", "source", "sink", "expression"),
    [
        ("date", "DATE", "STRING", "CAST({} AS STRING)"),
        ("datetime(6)", "TIMESTAMP(6)", "STRING", "CAST({} AS STRING)"),
        (
            "timestamp(3)",
            "TIMESTAMP_LTZ(3)",
            "STRING",
            "CONCAT(CAST(CAST({} AS TIMESTAMP(3)) AS STRING), '+00')",
        ),
        ("decimal(65,30)", "STRING", "STRING", "{}"),
        ("double(20,5)", "DOUBLE", "DOUBLE", "ROUND({}, 5)"),
        ("double", "DOUBLE", "DOUBLE", "{}"),
        ("bit(1)", "BOOLEAN", "BOOLEAN", "{}"),
    ],
)
def test_postgresql_reads_moments_as_text(
    kind: str, source: str, sink: str, expression: str
) -> None:
    way = carried("d.t", column(kind), target="postgres")
    assert (way.source_type, way.sink_type, way.expression) == (source, sink, expression)


@pytest.mark.parametrize(
    ("kind", "flink"),
    [("date", "DATE"), ("datetime", "TIMESTAMP(3)"), ("datetime(6)", "TIMESTAMP(6)")],
)
def test_a_key_of_postgresql_is_not_cast(kind: str, flink: str) -> None:
    way = carried("d.t", column(kind), is_key=True, target="postgres")
    assert (way.source_type, way.sink_type, way.expression) == (flink, flink, "{}")


def test_bits_are_turned_round() -> None:
    assert "REVERSE" in carried("d.t", column("bit(20)")).expression


def test_the_years_of_the_binlog_begin_with_1901() -> None:
    way = carried("d.t", column("year(4)"))
    assert way.expression.format("`y`") == "CASE WHEN `y` = 1900 THEN 0 ELSE `y` END"


@pytest.mark.parametrize("kind", ["float", "year(4)"])
def test_what_needs_a_cast_or_is_not_exact_is_no_key(kind: str) -> None:
    assert carried("d.t", column(kind)).source_type
    with pytest.raises(UnsupportedType, match="key"):
        carried("d.t", column(kind), is_key=True)


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (column("time(3)"), "negative"),
        (column("json"), "differently"),
        (column("point"), "spatial"),
        (column("inet6"), "not proved"),
        (column("vector(3)"), "not proved"),
        (text("enum('a,b','c')"), "comma"),
        (text("varchar(10)", "sjis"), "character set sjis"),
        (Column("c", "int", "int(11)", generated=True), "computes"),
    ],
)
def test_what_is_not_right_in_both_phases_is_refused_by_name(refused: Column, reason: str) -> None:
    with pytest.raises(UnsupportedType, match=reason) as caught:
        carried("shop.orders", refused)
    assert (caught.value.table, caught.value.column) == ("shop.orders", "c")
    assert "shop.orders.c" in str(caught.value)
    assert refused.column_type in str(caught.value)


def test_a_column_that_the_reader_does_not_find_is_refused() -> None:
    with pytest.raises(UnsupportedType, match="backtick"):
        carried("shop.orders", Column("a`b", "int", "int(11)"))


@pytest.mark.parametrize(
    ("kind", "flink"),
    [("datetime(3)", "TIMESTAMP(3)"), ("timestamp", "TIMESTAMP(0)"), ("bigint(20)", "BIGINT")],
)
def test_a_query_fills_a_column_with_the_columns_own_type(kind: str, flink: str) -> None:
    assert natural_type("d.t", column(kind)) == flink


def test_enum_values_are_read_with_their_quotes() -> None:
    values = MySqlType.parse(text("enum('it''s','','A B')")).values
    assert values == ("it's", "", "A B")


@given(
    base=st.sampled_from(INTEGERS),
    width=st.integers(1, 255),
    unsigned=st.booleans(),
    zerofill=st.booleans(),
)
def test_any_spelling_of_an_integer_is_read(
    *, base: str, width: int, unsigned: bool, zerofill: bool
) -> None:
    rest = (" unsigned" if unsigned or zerofill else "") + (" zerofill" if zerofill else "")
    kind = MySqlType.parse(column(f"{base}({width}){rest}"))
    assert (kind.base, kind.size, kind.unsigned) == (base, width, unsigned or zerofill)


@given(st.text(max_size=80))
def test_an_unknown_type_is_refused_and_never_a_crash(kind: str) -> None:
    with pytest.raises(UnsupportedType):
        carried("d.t", Column("c", "thing", f"thing {kind}"))


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (column("int(11)"), column("int(11)")),
        (column("int(11)"), column("bigint(20)")),
        (column("int(10) unsigned"), column("bigint(20)")),
        (column("bigint(20) unsigned"), column("decimal(20,0)")),
        (column("decimal(10,2)"), column("decimal(12,2)")),
        (column("datetime(3)"), column("datetime(6)")),
        (column("timestamp(3)"), column("datetime(3)")),
        (column("year(4)"), column("smallint(6)")),
        (column("float"), column("double")),
        (column("binary(4)"), column("binary(4)")),
        (column("varbinary(50)"), column("blob")),
        (text("varchar(50)"), text("varchar(60)")),
        (text("varchar(50)", "utf8"), text("text")),
        (text("enum('a')"), text("enum('a','b')")),
        (text("enum('a')"), text("varchar(1)")),
        (column("int(11)", nullable=False), column("int(11)")),
    ],
)
def test_a_target_column_that_holds_every_value_fits(source: Column, target: Column) -> None:
    assert misfit(source, target) == ""


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        (column("bigint(20)"), column("int(11)"), "narrower"),
        (column("int(11)"), column("int(10) unsigned"), "narrower"),
        (column("bigint(20) unsigned"), column("bigint(20)"), "narrower"),
        (column("bigint(20) unsigned"), column("decimal(19,0)"), "is not"),
        (column("decimal(10,2)"), column("decimal(10,3)"), "narrower"),
        (column("datetime(6)"), column("datetime(3)"), "narrower"),
        (column("datetime"), column("timestamp"), "is not"),
        (column("year(4)"), column("tinyint(4)"), "is not"),
        (column("float"), column("float(7,4)"), "narrower"),
        (column("double"), column("float"), "is not"),
        (column("binary(4)"), column("binary(5)"), "narrower"),
        (column("binary(4)"), column("varbinary(4)"), "is not"),
        (column("bit(20)"), column("bit(8)"), "narrower"),
        (text("varchar(50)"), text("varchar(49)"), "narrower"),
        (text("varchar(50)"), text("char(50)"), "narrower"),
        (text("text"), text("varchar(2000)"), "narrower"),
        (text("enum('a','b')"), text("enum('a')"), "narrower"),
        (text("varchar(50)"), text("varchar(50)", "utf8"), "character set utf8 is not utf8mb4"),
        (text("varchar(50)", "latin1"), text("varchar(50)"), "is not latin1"),
        (column("int(11)"), column("int(11)", nullable=False), "NOT NULL"),
        (column("int(11)"), Column("c", "int", "int(11)", generated=True), "computes"),
        (column("int(11)"), text("varchar(20)"), "is not"),
    ],
)
def test_a_target_column_that_cannot_hold_every_value_says_why(
    source: Column, target: Column, reason: str
) -> None:
    assert reason in misfit(source, target)


KINDS = st.sampled_from([f"{base}{rest}" for base in INTEGERS for rest in ("", " unsigned")])


def bounds(kind: str) -> tuple[int, int]:
    bits = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
    half = 2 ** (bits[kind.split(" ", maxsplit=1)[0]] - 1)
    return (0, 2 * half - 1) if "unsigned" in kind else (-half, half - 1)


@given(KINDS, KINDS)
def test_an_integer_fits_exactly_where_its_range_does(left: str, right: str) -> None:
    low, high = bounds(left)
    other_low, other_high = bounds(right)
    reason = misfit(column(left), column(right))
    assert (reason == "") == (other_low <= low and high <= other_high)


def test_a_target_column_keeps_type_character_set_and_collation() -> None:
    column = Column("c", "varchar", "varchar(9)", nullable=False, charset="latin1")
    made = target_column(replace(column, collation="latin1_bin"))
    assert made == "varchar(9) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL"


def test_a_timestamp_that_is_not_null_gets_a_default_that_each_server_takes() -> None:
    made = target_column(column("timestamp(3)", nullable=False))
    assert made == "timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)"


def test_only_integers_cut_a_snapshot_safely() -> None:
    shape = TableShape(
        "d", "t", (Column("n", "bigint", "bigint(20)"), Column("d", "decimal", "decimal(9,0)")), ()
    )
    assert is_integer_key(shape, "n")
    assert not is_integer_key(shape, "d")
    assert not is_integer_key(shape, "missing")
