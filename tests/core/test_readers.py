from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.readers import Reader, common_type, plan_readers
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.core.transform import Transform
from cdc_assets.errors import ConfigurationError

ID = Column("id", "bigint", "bigint(20)", nullable=False)
TEXT = Column("note", "varchar", "varchar(50)", charset="utf8mb4")
COUNT = Column("n", "int", "int(11)")


def shape(name: str, *columns: Column, key: tuple[str, ...] = ("id",)) -> TableShape:
    return TableShape("shop", name, columns or (ID,), key)


def plan(*shapes: TableShape, ids: str = "5400-5499", **settings: object) -> tuple[Reader, ...]:
    spec = StreamSpec(
        "s",
        tuple(TableRef(each.database, each.name) for each in shapes),
        ServerIdRange.parse(ids),
        "dw",
    )
    return plan_readers(replace(spec, **{"readers": "shared", **settings}), shapes)


def names(readers: tuple[Reader, ...]) -> list[list[str]]:
    return [[each.table.name for each in reader.tables] for reader in readers]


def test_tables_of_one_key_share_a_reader_and_their_columns_are_read_once() -> None:
    (reader,) = plan(shape("a", ID, TEXT), shape("b", ID, COUNT, TEXT), shape("c", ID))
    assert names((reader,)) == [["a", "b", "c"]]
    assert reader.columns == (("id", "BIGINT"), ("note", "STRING"), ("n", "INT"))
    assert reader.key == ("id",)


def test_a_hundred_tables_of_one_key_need_one_server_id() -> None:
    readers = plan(*(shape(f"t{number}") for number in range(100)), ids="5400")
    assert len(readers) == 1
    assert str(readers[0].server_ids) == "5400-5400"


@pytest.mark.parametrize(
    ("kind", "tables", "readers"),
    [("mysql", 8, 8), ("postgres", 8, 8), ("mysql", 9, 1), ("iceberg", 2, 1), ("starrocks", 2, 1)],
)
def test_by_itself_a_stream_shares_where_it_costs_nothing(
    kind: str, tables: int, readers: int
) -> None:
    shapes = [shape(f"t{number}") for number in range(tables)]
    assert len(plan(*shapes, readers="auto", target_kind=kind)) == readers


def test_each_table_has_its_own_reader_where_the_stream_says_so() -> None:
    assert names(plan(shape("a"), shape("b"), readers="per-table")) == [["a"], ["b"]]


UNLIKE_KEYS = {
    "name": shape("b", replace(ID, name="order_id"), key=("order_id",)),
    "composite": shape("b", ID, replace(COUNT, nullable=False), key=("id", "n")),
    "type": shape("b", replace(ID, column_type="bigint(20) unsigned")),
}


@pytest.mark.parametrize("other", UNLIKE_KEYS.values(), ids=UNLIKE_KEYS)
def test_unlike_keys_share_a_reader_whose_key_is_all_of_them(other: TableShape) -> None:
    (reader,) = plan(shape("a"), other, shape("c"))
    assert reader.key == tuple(dict.fromkeys(("id", *other.primary_key)))


@pytest.mark.parametrize("other", UNLIKE_KEYS.values(), ids=UNLIKE_KEYS)
def test_tables_of_unlike_keys_have_readers_of_their_own_into_topics(other: TableShape) -> None:
    found = plan(shape("a"), other, shape("c"), target_kind="kafka")
    assert names(found) == [["a", "c"], ["b"]]


@pytest.mark.parametrize("other", UNLIKE_KEYS.values(), ids=UNLIKE_KEYS)
def test_tables_of_unlike_keys_have_readers_of_their_own_for_queries(other: TableShape) -> None:
    found = plan(shape("a"), other, shape("c"), queries=(QuerySpec("q", "SELECT 1"),))
    assert names(found) == [["a", "c"], ["b"]]


@pytest.mark.parametrize(
    "other",
    [
        shape("b", replace(TEXT, name="id")),
        replace(shape("b"), database="crm"),
        shape("b", replace(TEXT, nullable=False), key=("note",)),
        shape("b", ID, replace(ID, name="at"), key=("at",)),
    ],
    ids=["text", "database", "cut by a text", "a key that may be empty elsewhere"],
)
def test_what_fits_no_common_reader_is_another_one(other: TableShape) -> None:
    assert names(
        plan(shape("a", ID, replace(ID, name="at", nullable=True)), other, shape("c"))
    ) == [
        ["a", "c"],
        ["b"],
    ]


def test_composite_keys_of_another_order_are_one_reader_but_not_into_topics() -> None:
    columns = (ID, replace(COUNT, nullable=False))
    one, two, turned = (
        shape("a", *columns, key=("id", "n")),
        shape("b", *columns, key=("id", "n")),
        shape("c", *columns, key=("n", "id")),
    )
    assert names(plan(one, two, turned)) == [["a", "b", "c"]]
    assert names(plan(one, two, turned, target_kind="kafka")) == [["a", "b"], ["c"]]


def test_tables_of_unlike_keys_have_readers_of_their_own_where_flink_keeps_their_rows() -> None:
    """Without the key it would look for a row by all its columns."""
    tables = (shape("a", ID, COUNT), shape("b", ID, replace(COUNT, nullable=False), key=("n",)))
    tables = (replace(tables[0], columns=(ID, replace(COUNT, nullable=False))), tables[1])
    assert names(plan(*tables, target_kind="iceberg")) == [["a", "b"]]
    filtered = (Transform("a", filter="n > 1"),)
    assert names(plan(*tables, target_kind="iceberg", transforms=filtered)) == [["a"], ["b"]]


def test_a_filtered_table_shares_with_tables_of_its_key_only() -> None:
    """Below the filter the rows of the others have NULL in the key, which Flink reads first."""
    tables = (shape("a", ID, COUNT), shape("b", replace(ID, name="n"), key=("n",)), shape("c", ID))
    tables = (replace(tables[0], columns=(ID, replace(COUNT, nullable=False))), *tables[1:])
    filtered = (Transform("a", filter="id > 1"),)
    found = plan(*tables, target_kind="starrocks", transforms=filtered)
    assert names(found) == [["a", "c"], ["b"]]


def test_a_transformed_table_has_a_reader_of_its_own_into_topics() -> None:
    """Its rows are dropped by a mark of its own."""
    tables = (shape("a", ID, COUNT), shape("b", ID, COUNT), shape("c", ID))
    filtered = (Transform("b", filter="id > 1"),)
    found = plan(*tables, target_kind="kafka", transforms=filtered)
    assert names(found) == [["a", "c"], ["b"]]
    projected = (Transform("b", columns=("id",)),)
    assert len(plan(*tables, target_kind="kafka", transforms=projected)) == 1


def test_a_name_for_unlike_types_is_another_reader() -> None:
    text = replace(TEXT, name="n")
    assert names(plan(shape("a", ID, COUNT), shape("b", ID, text), shape("c", ID, text))) == [
        ["a"],
        ["b", "c"],
    ]


def test_a_name_for_narrow_and_wide_integers_is_read_as_the_wide_one() -> None:
    wide = replace(COUNT, data_type="bigint", column_type="bigint(20) unsigned")
    (reader,) = plan(shape("a", ID, COUNT), shape("b", ID, wide))
    assert dict(reader.columns)["n"] == "DECIMAL(20, 0)"


def test_names_that_differ_in_case_are_two_columns() -> None:
    (reader,) = plan(shape("a", ID, COUNT), shape("b", ID, replace(COUNT, name="N")))
    assert [name for name, _ in reader.columns] == ["id", "n", "N"]


@given(st.integers(1, 8), st.integers(1, 8), st.integers(-3, 20), st.integers(1, 10_000))
def test_each_subtask_has_an_id_of_its_own_or_the_range_is_refused(
    tables: int, parallelism: int, spare: int, first: int
) -> None:
    # Each table has a key of its own name, so none shares a reader into a topic.
    shapes = [
        shape(f"t{number}", replace(ID, name=f"id{number}"), key=(f"id{number}",))
        for number in range(tables)
    ]
    size = max(1, tables * parallelism + spare)
    span = ServerIdRange(first, first + size - 1)
    if size < tables * parallelism:
        with pytest.raises(ConfigurationError, match="server_ids"):
            plan(*shapes, ids=str(span), parallelism=parallelism, target_kind="kafka")
        return
    readers = plan(*shapes, ids=str(span), parallelism=parallelism, target_kind="kafka")
    blocks = [reader.server_ids for reader in readers]
    used = [number for block in blocks for number in range(block.first, block.last + 1)]
    assert len(used) == len(set(used)) == tables * parallelism
    assert all(span.first <= number <= span.last for number in used)
    assert all(block.size == parallelism for block in blocks)


_INTEGERS = {"TINYINT": 2**7, "SMALLINT": 2**15, "INT": 2**31, "BIGINT": 2**63}


def largest(kind: str) -> Decimal:
    """Return the largest value of a numeric type."""
    if kind in _INTEGERS:
        return Decimal(_INTEGERS[kind] - 1)
    size, scale = (int(part) for part in kind[8:-1].split(", "))
    return Decimal(10**size - 1).scaleb(-scale)


def finest(kind: str) -> int:
    """Return the digits after the point."""
    return 0 if kind in _INTEGERS else int(kind[8:-1].split(", ")[1])


decimals = st.integers(1, 38).flatmap(
    lambda size: st.integers(0, size).map(lambda scale: f"DECIMAL({size}, {scale})")
)
numbers = st.one_of(st.sampled_from(sorted(_INTEGERS)), decimals)


@given(numbers, numbers)
def test_a_common_numeric_type_holds_both_exactly(one: str, other: str) -> None:
    wide = common_type(one, other)
    assert wide == common_type(other, one)
    if wide is None:
        assert max(largest(one), largest(other)).adjusted() + 1 + max(
            finest(one), finest(other)
        ) > 38 or {one, other} & set(_INTEGERS)
        return
    assert largest(wide) >= max(largest(one), largest(other))
    assert finest(wide) >= max(finest(one), finest(other))


@pytest.mark.parametrize(
    ("one", "other", "wide"),
    [
        ("TIMESTAMP(0)", "TIMESTAMP(6)", "TIMESTAMP(6)"),
        ("TIMESTAMP_LTZ(3)", "TIMESTAMP_LTZ(0)", "TIMESTAMP_LTZ(3)"),
        ("TIMESTAMP(3)", "TIMESTAMP_LTZ(3)", None),
        ("DATE", "TIMESTAMP(0)", None),
        ("BOOLEAN", "TINYINT", None),
        ("DOUBLE", "DECIMAL(10, 2)", None),
        ("STRING", "BYTES", None),
        ("DOUBLE", "DOUBLE", "DOUBLE"),
    ],
)
def test_common_types_of_other_kinds(one: str, other: str, wide: str | None) -> None:
    assert common_type(one, other) == common_type(other, one) == wide
