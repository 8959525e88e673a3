"""Transforms of copied tables: what can be written, and what fits the source's schema."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.preflight import Fault
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.readers import describe_table
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.core.transform import Lookup, Transform, transforms_of
from cdc_assets.core.transform_check import require_sound, transform_faults, written_names
from cdc_assets.errors import ConfigurationError

EMOJI = "📦" * 20
LONG = "n" * 64
TYPES = {
    "id": "int", "amount": "decimal", "note": "text", "select": "int", 'a"b.c d': "int",
    EMOJI: "int", LONG: "int", "shape": "geometry", "bits": "bit(9)", "rate": "double(10,2)",
    "part": "float", "born": "year",
}  # fmt: skip
ORDERS = TableShape(
    "shop",
    "orders",
    tuple(Column(name, kind.partition("(")[0], kind) for name, kind in TYPES.items()),
    ("id",),
)
TABLE = TableRef("shop", "orders")


def spec(*transforms: Transform, **settings: object) -> StreamSpec:
    made = StreamSpec("s", (TABLE,), ServerIdRange(1, 9), "dw", transforms=transforms)
    return replace(made, **settings)


def faults(*transforms: Transform, **settings: object) -> list[Fault]:
    return list(transform_faults(spec(*transforms, **settings), {ORDERS.label: ORDERS}))


def test_names_of_every_kind_can_be_used_in_backticks() -> None:
    text = f'`select` > 1 AND `a"b.c d` = 2 AND `{EMOJI}` = 3 AND {LONG} = orders.`id`'
    transform = Transform("orders", filter=text)
    assert faults(transform) == []
    assert transform.reads([column.name for column in ORDERS.columns]) == (
        "id", "select", 'a"b.c d', EMOJI, LONG,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("transform", "field", "said"),
    [
        (Transform("orders", filter="amuont > 1"), "s.filters.orders", "amuont in 'amuont > 1'"),
        (Transform("orders", filter="Amount > 1"), "s.filters.orders", "no column of shop.orders"),
        (Transform("orders", computed=(("x", "b + 1"),)), "s.computed.orders.x", "b in 'b + 1'"),
        (Transform("orders", computed=(("Note", "'x'"),)), "s.computed.orders.Note", "is copied"),
        (Transform("orders", columns=("id", "nothing")), "s.columns.orders", "nothing, no column"),
        (Transform("orders", filter="bits IS NULL"), "s.filters.orders", "bit(9)"),
        (Transform("orders", filter="rate > 1"), "s.filters.orders", "double(10,2)"),
        (Transform("orders", filter="part > 1"), "s.filters.orders", "6 significant digits"),
        (Transform("orders", filter="born > 1"), "s.filters.orders", "type year"),
        (Transform("orders", filter="shape IS NULL"), "s.filters.orders", "spatial"),
        (
            Transform("orders", lookups=(Lookup("c", (("id", "customer"),)),)),
            "s.lookups.orders.c",
            "customer, no column",
        ),
        (
            Transform("orders", lookups=(Lookup("orders", (("id", "id"),)),)),
            "s.lookups.orders.orders",
            "the name of the captured table",
        ),
    ],
)
def test_what_does_not_fit_is_named_with_table_and_column(
    transform: Transform, field: str, said: str
) -> None:
    (fault,) = faults(transform)
    assert fault.field == field
    assert said in fault.text
    assert "\n" not in fault.text
    with pytest.raises(ConfigurationError, match=field.replace(".", r"\.")):
        require_sound(spec(transform), (ORDERS,))


def test_a_wrong_spelling_is_answered_with_the_right_one() -> None:
    (fault,) = faults(Transform("orders", filter="AMOUNT > 1"))
    assert fault.fix == "Write amount"


def test_a_topic_takes_a_filter_over_the_key_only() -> None:
    assert faults(Transform("orders", filter="id > 1"), target_kind="kafka") == []
    (fault,) = faults(Transform("orders", filter="id > 1 OR amount > 1"), target_kind="kafka")
    assert "amount" in fault.found
    assert "tombstone" in fault.wanted
    anything = Transform("orders", filter="amount > 1")
    assert faults(anything, target_kind="kafka", latest_values_only=True) == []


def test_a_topic_takes_no_filter_where_rows_could_be_dropped_that_it_takes() -> None:
    transform = Transform("orders", filter="id > 1")
    queries = (QuerySpec("q", "SELECT 1", (("n", "INT"),), ("n",)),)
    (fault,) = faults(transform, target_kind="kafka", queries=queries)
    assert "beside the query q" in fault.found
    day = replace(ORDERS, columns=(Column("id", "date", "date"), Column("__table", "int", "int")))
    found = list(transform_faults(spec(transform, target_kind="kafka"), {day.label: day}))
    assert ["zero date" in found[0].wanted, "__table" in found[1].found] == [True, True]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"filters": {"orders": "1=1; DROP TABLE x"}}, "filters.orders"),
        ({"filters": {"orders": " "}}, "empty"),
        ({"columns": {"orders": ["id", "ID"]}}, "named twice"),
        ({"columns": {"orders": [""]}}, "an empty name"),
        ({"computed": {"orders": {"x": "1, 2"}}}, "one expression"),
        ({"computed": {"orders": {"x": "customers.name"}}}, "neither the table nor"),
        ({"lookups": {"orders": {"c": "id"}}}, "lookup_column = column"),
        ({"lookups": {"orders": {"c": "id = a AND"}}}, "lookup_column = column"),
        ({"lookups": {"orders": {"c": "id > a"}}}, "lookup_column = column"),
        (
            {"filters": {"orders": "c.vip = 1"}, "lookups": {"orders": {"c": "id = customer"}}},
            "its own table only",
        ),
        ({"columns": {"": ["id"]}}, "name the table"),
    ],
)
def test_what_cannot_be_a_transform_is_refused(given: dict[str, object], said: str) -> None:
    parts: dict[str, object] = {"columns": {}, "filters": {}, "computed": {}, "lookups": {}}
    with pytest.raises(ConfigurationError, match=said) as caught:
        transforms_of(**{**parts, **given})  # type: ignore[arg-type] - some are wrong on purpose
    assert "\n" not in str(caught.value)


def test_transforms_belong_to_copied_tables_once() -> None:
    one = Transform("orders", filter="id > 1")
    with pytest.raises(ConfigurationError, match="named twice"):
        spec(one, one)
    with pytest.raises(ConfigurationError, match="not among the copied tables"):
        spec(Transform("users", filter="id > 1"))
    with pytest.raises(ConfigurationError, match="not among the copied tables"):
        spec(one, source_only=("orders",), queries=(QuerySpec("q", "SELECT 1"),))
    with pytest.raises(ConfigurationError, match="must not be negative"):
        spec(one, lookup_cache_seconds=-1.0)


def test_columns_that_only_expressions_need_are_read_and_not_copied() -> None:
    transform = Transform(
        "orders", columns=("note",), filter="amount > 1", computed=(("x", "`select` + 1"),)
    )
    found = describe_table(spec(transform), TABLE, ORDERS)
    assert [way.column.name for way in found.columns] == ["id", "note"]
    assert [way.column.name for way in found.only_read] == ["amount", "select"]
    assert written_names(spec(transform), TABLE) == {"x"}
    assert transform.origins == {"x": ("select",)}


def test_a_transformed_copy_stays_a_copy() -> None:
    made = spec(Transform("orders", filter="amount > 1"))
    assert made.resume_form == "specific-offset"
    assert not made.stateful
    assert made.is_filtered("orders")
    assert not spec(Transform("orders", columns=("id",))).is_filtered("orders")


def test_iceberg_keeps_the_last_row_of_each_key_below_a_filter_or_a_query() -> None:
    plain = spec(target_kind="iceberg")
    assert not plain.materializes
    assert replace(plain, transforms=(Transform("orders", filter="id > 1"),)).materializes
    assert replace(plain, queries=(QuerySpec("q", "SELECT 1"),)).materializes
    assert not spec(Transform("orders", filter="id > 1")).materializes


def test_a_table_with_computed_columns_is_not_made_by_itself() -> None:
    assert spec().makes("orders")
    assert spec(Transform("orders", filter="id > 1")).makes("orders")
    assert not spec(Transform("orders", computed=(("total", "amount * 2"),))).makes("orders")
    assert not spec(create_tables=False).makes("orders")
    assert not spec().makes("sums")
