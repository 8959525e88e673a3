from __future__ import annotations

from dataclasses import replace

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.preflight import PreflightFacts, ServerFacts
from cdc_assets.core.preflight_tables import judge
from cdc_assets.core.readers import plan_readers
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.shards import ShardedShape, members_of, union_of
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import ShardedTable, TableRef
from cdc_assets.errors import ConfigurationError

USERS = ShardedTable("user_db_[0-9]+", "user_table_[0-9]+", "all_users")
ID = Column("id", "int", "int(11)", nullable=False)
NAME = Column("name", "varchar", "varchar(255)", nullable=False, charset="utf8mb4",
              collation="utf8mb4_general_ci")  # fmt: skip
EMAIL = Column("email", "varchar", "varchar(255)", charset="utf8mb4")


def shard(number: int, *columns: Column, key: tuple[str, ...] = ("id",)) -> TableShape:
    return TableShape(f"user_db_{number}", "user_table_1", columns, key, rows_estimate=10)


def union(*members: TableShape) -> ShardedShape:
    return union_of(USERS, members)


def test_the_union_has_every_column_and_says_where_a_row_is_from() -> None:
    found = union(shard(1, ID, NAME), shard(2, ID, NAME, replace(EMAIL, nullable=False)))
    assert [each.name for each in found.columns] == [
        "database_name", "table_name", "id", "name", "email",
    ]  # fmt: skip
    assert found.primary_key == ("database_name", "table_name", "id")
    assert found.label == USERS.label
    assert found.rows_estimate == 20
    assert found.conflicts == ()
    email = found.column("email")
    assert email is not None
    assert email.nullable  # a shard does not have it


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ("int(11)", "bigint(20)", "bigint(20)"),
        ("bigint(20)", "int(11) unsigned", "bigint(20)"),
        ("varchar(10)", "varchar(200)", "varchar(200)"),
        ("decimal(10,2)", "decimal(20,4)", "decimal(20,4)"),
        ("datetime", "datetime(6)", "datetime(6)"),
    ],
)
def test_the_larger_type_holds_both(one: str, other: str, wanted: str) -> None:
    columns = [Column("v", kind.partition("(")[0], kind) for kind in (one, other)]
    for left, right in (columns, reversed(columns)):
        found = union(shard(1, ID, left), shard(2, ID, right))
        column = found.column("v")
        assert found.conflicts == ()
        assert column is not None
        assert column.column_type == wanted


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("int(11)", "varchar(10)"),
        ("bit(1)", "bit(8)"),
        ("timestamp", "datetime"),
        ("bigint(20)", "bigint(20) unsigned"),
        ("blob", "text"),
    ],
)
def test_types_that_no_type_holds_are_a_conflict(one: str, other: str) -> None:
    columns = [Column("v", kind.partition("(")[0], kind) for kind in (one, other)]
    found = union(*(shard(number, ID, each) for number, each in enumerate(columns)))
    assert found.conflicts == (("v", f"{one} in one shard, {other} in user_db_1.user_table_1"),)


def test_another_key_is_a_conflict() -> None:
    found = union(shard(1, ID, NAME), shard(2, ID, NAME, key=("id", "name")))
    assert [name for name, _ in found.conflicts] == ["PRIMARY"]


def test_a_column_called_like_the_place_is_a_conflict() -> None:
    found = union(shard(1, ID, Column("Table_Name", "int", "int(11)")))
    assert [name for name, _ in found.conflicts] == ["table_name"]


def test_a_plain_table_stands_for_itself() -> None:
    plain = shard(1, ID)
    assert members_of(plain) == (plain,)
    assert members_of(union(plain)) == (plain,)


def spec(*tables: TableRef) -> StreamSpec:
    return StreamSpec("s", tables or (USERS,), ServerIdRange(1, 9), "dw", target_kind="iceberg")


def test_the_source_s_key_is_the_shards_and_the_place_is_not_read() -> None:
    (reader,) = plan_readers(spec(), [union(shard(1, ID, NAME), shard(2, ID, NAME))])
    (each,) = reader.tables
    assert reader.key == ("id",)
    assert each.key == ("database_name", "table_name", "id")
    assert reader.columns == (("id", "INT"), ("name", "STRING"))
    assert each.cut_by == (True,)


def test_shards_share_their_reader_with_no_other_table() -> None:
    other = TableShape("user_db_1", "plain", (ID, NAME), ("id",))
    readers = plan_readers(spec(TableRef("user_db_1", "plain"), USERS),
                           [other, union(shard(1, ID, NAME))])  # fmt: skip
    assert len(readers) == 2


def test_shards_that_are_not_one_table_are_refused_and_named() -> None:
    shape = union(shard(1, ID, NAME), shard(2, ID, replace(NAME, column_type="int(11)")))
    with pytest.raises(ConfigurationError, match="name: the shards are not one table"):
        plan_readers(spec(), [shape])
    facts = PreflightFacts(spec(), ServerFacts("source", "db:3306", shapes={shape.label: shape}),
                           None)  # fmt: skip
    assert f"{USERS.label}.name" in [fault.field for fault in judge(facts)]


@pytest.mark.parametrize("text", ["user_db_[0-9]+.user_table_[0-9]+:all", r"a.*\.b.?:all"])
def test_patterns_are_read(text: str) -> None:
    assert ShardedTable.parse(text).alias == "all"


@pytest.mark.parametrize(
    "text", ["a.b", "a.*.b.*:t", "ab:t", "a.b[:t", "a,b.c:t", "a.b{1,2}:t", "a b.c:t", "a.(b:t", ""]
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        ShardedTable.parse(text)


def test_a_pattern_is_for_whole_names_whatever_their_case() -> None:
    assert USERS.matches("USER_DB_1", "user_table_12")
    assert not USERS.matches("my_user_db_1", "user_table_1")
    assert not USERS.matches("user_db_1", "user_table_1_old")
