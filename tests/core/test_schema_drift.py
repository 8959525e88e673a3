"""What changed in a captured table, and the statement that lets each target follow."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.schema_drift import (
    Change,
    changes_of,
    reads_alike,
    shapes_from_json,
    shapes_to_json,
    stays_out,
)
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec, TargetKind
from cdc_assets.core.table_refs import ShardedTable, TableRef
from cdc_assets.core.target_ddl import drifts_of
from cdc_assets.core.transform import Transform

TABLE = TableRef("shop", "orders")
SPEC = StreamSpec("s", (TABLE,), ServerIdRange(1, 9), "dw")
ID = Column("id", "int", "int(11)", nullable=False)
ITEM = Column("item", "varchar", "varchar(20)", charset="utf8mb4", collation="utf8mb4_bin")
PRICE = Column("price", "int", "int(11)")
ORDERS = TableShape("shop", "orders", (ID, ITEM, PRICE), ("id",))
TARGETS: dict[TargetKind, TableShape] = {
    "mysql": replace(ORDERS, database="dw"),
    "postgres": TableShape("dw", "orders", (
        Column("id", "int4", "integer", nullable=False),
        Column("item", "varchar", "character varying(20)"), Column("price", "int4", "integer"),
    ), ("id",)),
    "iceberg": TableShape("dw", "orders", (
        Column("id", "int", "int", nullable=False), Column("item", "string", "string"),
        Column("price", "int", "int"),
    ), ("id",)),
    "starrocks": TableShape("dw", "orders", (
        Column("id", "int", "int(11)", nullable=False), Column("item", "varchar", "varchar(80)"),
        Column("price", "int", "int(11)"),
    ), ("id",)),
    "kafka": TableShape("dw", "orders", (), ()),
}  # fmt: skip


def with_columns(*columns: Column, key: tuple[str, ...] = ("id",)) -> TableShape:
    return replace(ORDERS, columns=columns, primary_key=key)


def changed(now: TableShape | None, spec: StreamSpec = SPEC) -> tuple[Change, ...]:
    return changes_of(spec, TABLE, (ORDERS,), (now,) if now else ())


def only(now: TableShape | None, spec: StreamSpec = SPEC) -> Change:
    (change,) = changed(now, spec)
    return change


NOTE = Column("note", "varchar", "varchar(9)", charset="utf8mb4", collation="utf8mb4_bin")
BIG = replace(PRICE, data_type="bigint", column_type="bigint(20)")


@pytest.mark.parametrize(
    ("now", "kind", "text"),
    [
        (with_columns(ID, ITEM, PRICE, NOTE), "added",
         "shop.orders.note: new column, varchar(9) CHARACTER SET utf8mb4 NULL"),
        (with_columns(ID, ITEM), "dropped",
         "shop.orders.price: column dropped, it was int(11) NULL"),
        (with_columns(ID, ITEM, replace(PRICE, name="cost")), "renamed",
         "shop.orders.price: renamed to cost, or dropped and cost added in its place"),
        (with_columns(ID, ITEM, BIG), "retyped",
         "shop.orders.price: int(11) NULL, now bigint(20) NULL"),
        (with_columns(ID, ITEM, PRICE, key=("id", "item")), "key",
         "shop.orders: primary key (id), now (id, item)"),
        (None, "gone", "shop.orders: the table is gone, dropped or renamed"),
    ],
)  # fmt: skip
def test_each_change_is_told_in_one_line(now: TableShape | None, kind: str, text: str) -> None:
    change = only(now)
    assert (change.kind, change.text) == (kind, text)
    assert change.harms is (kind != "added")


ADD, DROP, NAME, TYPE = (
    with_columns(ID, ITEM, PRICE, NOTE), with_columns(ID, ITEM),
    with_columns(ID, ITEM, replace(PRICE, name="cost")), with_columns(ID, ITEM, BIG),
)  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "now", "fix"),
    [
        ("mysql", ADD, ("ALTER TABLE `dw`.`orders` ADD COLUMN `note` varchar(9) CHARACTER SET"
                       " utf8mb4 COLLATE utf8mb4_bin NULL;")),
        ("mysql", DROP, "ALTER TABLE `dw`.`orders` DROP COLUMN `price`;"),
        ("mysql", NAME, "ALTER TABLE `dw`.`orders` CHANGE COLUMN `price` `cost` int(11) NULL;"),
        ("mysql", TYPE, "ALTER TABLE `dw`.`orders` MODIFY COLUMN `price` bigint(20) NULL;"),
        ("postgres", ADD, 'ALTER TABLE "dw"."orders" ADD COLUMN "note" varchar(9);'),
        ("postgres", DROP, 'ALTER TABLE "dw"."orders" DROP COLUMN "price";'),
        ("postgres", NAME, 'ALTER TABLE "dw"."orders" RENAME COLUMN "price" TO "cost";'),
        ("postgres", TYPE, ('ALTER TABLE "dw"."orders" ALTER COLUMN "price" TYPE bigint'
                           ' USING "price"::bigint;')),
        ("iceberg", ADD, "ALTER TABLE `lake`.`dw`.`orders` ADD (`note` STRING);"),
        ("iceberg", DROP, "ALTER TABLE `lake`.`dw`.`orders` DROP (`price`);"),
        ("iceberg", NAME, "ALTER TABLE `lake`.`dw`.`orders` RENAME `price` TO `cost`;"),
        ("iceberg", TYPE, "ALTER TABLE `lake`.`dw`.`orders` MODIFY (`price` BIGINT);"),
        ("starrocks", ADD, "ALTER TABLE `dw`.`orders` ADD COLUMN `note` VARCHAR(36) NULL;"),
        ("starrocks", DROP, "ALTER TABLE `dw`.`orders` DROP COLUMN `price`;"),
        ("starrocks", NAME, "ALTER TABLE `dw`.`orders` RENAME COLUMN `price` TO `cost`;"),
        ("starrocks", TYPE, "ALTER TABLE `dw`.`orders` MODIFY COLUMN `price` BIGINT NULL;"),
        ("kafka", ADD, ""),
    ],
)  # fmt: skip
def test_each_target_gets_its_statement(kind: TargetKind, now: TableShape, fix: str) -> None:
    spec = replace(SPEC, target_kind=kind)
    (drift,) = drifts_of(spec, changed(now, spec), {"orders": TARGETS[kind]})
    assert drift.fix == fix
    assert drift.text.startswith("shop.orders.")


def test_a_target_that_follows_already_needs_nothing() -> None:
    there = replace(TARGETS["mysql"], columns=(*ORDERS.columns, NOTE))
    (drift,) = drifts_of(SPEC, changed(ADD), {"orders": there})
    assert drift.fix == ""


def test_a_type_that_no_stream_carries_is_to_be_left_out() -> None:
    now = with_columns(ID, ITEM, PRICE, Column("doc", "json", "json"))
    for kind in ("iceberg", "starrocks"):
        spec = replace(SPEC, target_kind=kind)
        (drift,) = drifts_of(spec, changed(now, spec), {"orders": TARGETS[kind]})
        assert drift.fix.startswith("exclude_columns: orders.doc, because")


def test_a_longer_text_that_the_target_holds_is_no_drift() -> None:
    longer = replace(ITEM, column_type="varchar(80)")
    change = only(with_columns(ID, longer, PRICE))
    assert reads_alike(SPEC, change)
    wide = replace(TARGETS["mysql"], columns=(ID, longer, PRICE))
    assert drifts_of(SPEC, [change], {"orders": wide}) == ()
    (drift,) = drifts_of(SPEC, [change], {"orders": TARGETS["mysql"]})
    assert "MODIFY COLUMN `item` varchar(80)" in drift.fix


def test_a_smaller_integer_is_no_drift_and_an_unsigned_one_is() -> None:
    small = replace(PRICE, data_type="smallint", column_type="smallint(6)")
    assert drifts_of(SPEC, changed(with_columns(ID, ITEM, small)), {"orders": ORDERS}) == ()
    positive = replace(PRICE, column_type="int(10) unsigned")
    (drift,) = drifts_of(SPEC, changed(with_columns(ID, ITEM, positive)), {"orders": ORDERS})
    assert "MODIFY COLUMN `price` int(10) unsigned" in drift.fix


@pytest.mark.parametrize(
    "now",
    [
        with_columns(replace(ID, column_type="int"), ITEM, replace(PRICE, column_type="int")),
        with_columns(replace(ID, name="ID"), replace(ITEM, name="Item"), PRICE),
        with_columns(ID, replace(ITEM, collation="utf8mb4_general_ci"), PRICE),
        with_columns(PRICE, ITEM, ID),
        replace(ORDERS, rows_estimate=7),
    ],
)
def test_what_another_version_writes_otherwise_is_no_change(now: TableShape) -> None:
    assert changed(now) == ()


def test_columns_that_are_not_carried_may_change() -> None:
    spec = replace(SPEC, exclude_columns=("orders.price", "orders.note"))
    assert changed(DROP, spec) == changed(ADD, spec) == ()
    computed = replace(NOTE, generated=True)
    assert changed(with_columns(ID, ITEM, PRICE, computed)) == ()


@pytest.mark.parametrize(
    ("now", "right"),
    [
        (ADD, True),
        (with_columns(ID, ITEM, PRICE, replace(NOTE, has_default=True)), False),
        (with_columns(ID, ITEM, PRICE, replace(NOTE, nullable=False)), False),
        (DROP, True),
        (NAME, False),
        (TYPE, True),
        (with_columns(ID, ITEM, replace(PRICE, data_type="smallint", column_type="smallint(6)")),
         False),
        (with_columns(ID, ITEM, PRICE, key=("id", "price")), False),
        (None, False),
    ],
)  # fmt: skip
def test_reading_again_is_right_only_where_older_rows_say_the_same(
    now: TableShape | None, *, right: bool
) -> None:
    assert only(now).replays(SPEC) is right


USERS = ShardedTable("d_[0-9]", "users", "all_users")
SHARDED = StreamSpec("s", (USERS,), ServerIdRange(1, 9), "dw")


def shard(database: str, *columns: Column) -> TableShape:
    return TableShape(database, "users", (ID, *columns), ("id",))


def test_a_new_shard_of_the_known_columns_is_told_and_harms_nothing() -> None:
    was = (shard("d_1", ITEM), shard("d_2", ITEM, PRICE))
    found = changes_of(SHARDED, USERS, was, (*was, shard("d_3", PRICE)))
    assert [(each.kind, each.source, each.harms) for each in found] == [
        ("new-shard", "d_3.users", False)
    ]


def test_a_new_shard_with_more_brings_more_changes() -> None:
    was = (shard("d_1", ITEM), shard("d_2", ITEM, PRICE))
    more = changes_of(SHARDED, USERS, was, (*was, shard("d_3", BIG, NOTE)))
    assert [(each.kind, each.new.name if each.new else "") for each in more] == [
        ("new-shard", ""), ("retyped", "price"), ("added", "note"),
    ]  # fmt: skip


def test_one_shard_s_change_is_its_own() -> None:
    was = (shard("d_1", ITEM), shard("d_2", ITEM))
    (change,) = changes_of(SHARDED, USERS, was, (shard("d_1", ITEM), shard("d_2")))
    assert (change.kind, change.source) == ("dropped", "d_2.users")
    (gone,) = changes_of(SHARDED, USERS, was, was[:1])
    assert gone.kind == "gone"


# ------------------------------------------------------------ properties

KINDS = [
    ("int", "int(11)"), ("bigint", "bigint(20)"), ("varchar", "varchar(20)"), ("date", "date"),
    ("decimal", "decimal(10,2)"), ("datetime", "datetime(6)"),
]  # fmt: skip
columns = st.builds(
    lambda name, kind, nullable, default: Column(
        name, kind[0], kind[1], nullable, has_default=default
    ),
    st.sampled_from([f"c{number}" for number in range(9)]),
    st.sampled_from(KINDS),
    st.booleans(),
    st.booleans(),
)
tables = st.lists(columns, max_size=6, unique_by=lambda column: column.name).map(
    lambda found: with_columns(ID, *found)
)


@given(tables)
def test_a_table_that_did_not_change_has_no_change(table: TableShape) -> None:
    assert changes_of(SPEC, TABLE, (table,), (replace(table, rows_estimate=3),)) == ()


@given(tables, tables)
def test_every_difference_is_told_once_and_nothing_else(one: TableShape, two: TableShape) -> None:
    found = changes_of(SPEC, TABLE, (one,), (two,))
    was = {column.name: column for column in one.columns}
    now = {column.name: column for column in two.columns}
    gone = [each.old.name for each in found if each.kind in {"dropped", "renamed"} and each.old]
    new = [each.new.name for each in found if each.kind in {"added", "renamed"} and each.new]
    assert sorted(gone) == sorted(was.keys() - now.keys())
    assert sorted(new) == sorted(now.keys() - was.keys())
    retyped = {each.old.name for each in found if each.kind == "retyped" and each.old}
    assert retyped == {
        name
        for name in was.keys() & now.keys()
        if was[name].column_type != now[name].column_type
        or (now[name].nullable and not was[name].nullable)
    }


@given(tables, tables)
def test_what_is_added_one_way_is_dropped_the_other_way(one: TableShape, two: TableShape) -> None:
    there = changes_of(SPEC, TABLE, (one,), (two,))
    back = changes_of(SPEC, TABLE, (two,), (one,))
    added = sorted(each.new.name for each in there if each.kind == "added" and each.new)
    dropped = sorted(each.old.name for each in back if each.kind == "dropped" and each.old)
    assert added == dropped


@given(st.dictionaries(st.sampled_from(["d.a", "d.b"]), st.lists(tables, max_size=3)))
def test_shapes_come_back_from_the_ledger_as_they_were(
    kept: dict[str, list[TableShape]],
) -> None:
    back = shapes_from_json(shapes_to_json(kept))
    assert back == {label: tuple(shapes) for label, shapes in kept.items()}


def test_columns_that_are_not_read_do_not_matter() -> None:
    chosen = replace(SPEC, transforms=(Transform("orders", columns=("item",), filter="price > 1"),))
    assert changed(with_columns(ID, ITEM, PRICE, NOTE), chosen) == ()
    assert only(with_columns(ID, ITEM, BIG), chosen).kind == "retyped"  # the filter reads it
    unread = replace(SPEC, transforms=(Transform("orders", columns=("item",)),))
    assert changed(with_columns(ID, ITEM), unread) == ()
    assert only(with_columns(ID, PRICE), unread).kind == "dropped"


SUMS = QuerySpec("sums", "SELECT item,  COUNT(*)\nFROM orders GROUP BY item")
KNOWN = "INSERT INTO `target.sums`\nSELECT item, COUNT(*) FROM orders GROUP BY item;"


@pytest.mark.parametrize(
    ("sql", "changes", "is_out"),
    [
        (SUMS.sql, {}, True),
        ("SELECT * FROM orders", {}, True),
        ("SELECT item, 'notes' AS n FROM orders", {}, True),
        ("SELECT item, MAX(`Note`) FROM orders GROUP BY item", {}, False),
        ("", {"is_scripted": True}, False),
        (SUMS.sql, {"queries": ()}, False),
    ],
)
def test_a_launch_leaves_out_what_its_queries_do_not_name(
    sql: str, changes: dict[str, object], *, is_out: bool
) -> None:
    spec = replace(SPEC, queries=(replace(SUMS, sql=sql),))
    spec = replace(spec, **changes)  # type: ignore[arg-type] - of the spec
    assert stays_out(spec, only(ADD, spec), KNOWN) is is_out
    assert not stays_out(spec, only(DROP, spec), KNOWN)


def test_a_running_query_may_hold_the_word_without_the_column() -> None:
    """Another table's column is called so."""
    query = replace(SUMS, sql="SELECT users.note FROM orders JOIN users ON users.id = orders.id")
    spec = replace(SPEC, queries=(query,))
    assert stays_out(spec, only(ADD, spec), f"INSERT INTO x\n{query.sql};")
    assert not stays_out(spec, only(ADD, spec), KNOWN)


def test_what_is_left_out_is_told_with_what_takes_it_in() -> None:
    spec = replace(SPEC, queries=(SUMS,))
    targets = {"orders": TARGETS["mysql"]}
    (drift,) = drifts_of(spec, changed(ADD, spec), targets, launched=KNOWN)
    assert (drift.left_out, drift.fix[:12]) == ("copy", "ALTER TABLE ")
    assert drift.advice.endswith(
        "`note` varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL; then materialize the"
        " snapshot with 'again'; or exclude_columns: orders.note"
    )
    (drift,) = drifts_of(spec, changed(ADD, spec), targets, launched=KNOWN, is_at_change=True)
    assert drift.left_out == ""
    only_read = replace(spec, source_only=("orders",))
    (drift,) = drifts_of(only_read, changed(ADD, only_read), {}, launched=KNOWN)
    assert (drift.left_out, drift.fix) == ("query", "")
    assert "no query names it" in drift.text
    (drift,) = drifts_of(only_read, changed(ADD, only_read), {})
    assert drift.left_out == ""
