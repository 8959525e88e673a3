"""Iceberg tables that a snapshot makes: by Flink SQL, with the secrets, and told without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.iceberg import IcebergCatalog
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.shards import union_of
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import ShardedTable, TableRef
from cdc_assets.errors import EngineRejected, EngineUnreachable, TargetError
from cdc_assets.targets.iceberg import IcebergTarget

CATALOG = IcebergCatalog(uri="http://lake.example", properties={"token": "geheim"})
ID = Column("id", "int", "int(11)", nullable=False)
ORDERS = TableShape("shop", "orders", (ID, Column("n", "bigint", "bigint(20) unsigned")), ("id",))
SPEC = StreamSpec("s", (TableRef("shop", "orders"),), ServerIdRange(1, 9), "dw",
                  target_kind="iceberg")  # fmt: skip
CREATE = (
    "CREATE TABLE `lake`.`dw`.`orders` (\n  `id` INT NOT NULL,\n  `n` DECIMAL(20, 0),\n"
    "  PRIMARY KEY (`id`) NOT ENFORCED\n)"
    " WITH ('format-version'='2', 'write.upsert.enabled'='true')"
)


@dataclass
class FakeLake:
    place: str = "rest catalog http://lake.example"
    tables: dict[str, object] = field(default_factory=dict)
    named: bool = True

    def has_namespace(self) -> bool:
        return self.named

    def table(self, name: str) -> object | None:
        return self.tables.get(name)


@dataclass
class Flink:
    ran: list[str] = field(default_factory=list)
    error: Exception | None = None

    def run(self, statements: Sequence[str]) -> None:
        self.ran.extend(statements)
        if self.error is not None:
            raise self.error


def target(flink: Flink, lake: FakeLake) -> IcebergTarget:
    made = IcebergTarget(CATALOG, "dw").making_with(flink.run)
    made._lake = lake  # type: ignore[assignment]
    return made


def test_a_missing_table_is_made_by_the_printed_statement_with_the_catalog_s_secrets() -> None:
    flink, lake = Flink(), FakeLake()
    made = target(flink, lake)
    (fault,) = made.faults(SPEC, {"shop.orders": ORDERS})
    assert (fault.severity, "geheim" in fault.fix) == ("warning", False)
    assert list(made.make_missing(SPEC, [ORDERS])) == ["orders"]
    catalog, table = flink.ran
    assert "'token'='geheim'" in catalog
    assert table == CREATE
    assert fault.fix.endswith(f"{CREATE};")


def test_a_namespace_is_made_where_it_is_missing() -> None:
    flink = Flink()
    target(flink, FakeLake(named=False)).make_missing(SPEC, [ORDERS])
    assert flink.ran[1] == "CREATE DATABASE IF NOT EXISTS `lake`.`dw`"


def test_what_exists_or_may_not_be_made_is_left_alone() -> None:
    flink = Flink()
    there = target(flink, FakeLake(tables={"orders": object()}))
    assert list(there.make_missing(SPEC, [ORDERS])) == []
    spec = replace(SPEC, create_tables=False)
    assert list(target(flink, FakeLake()).make_missing(spec, [ORDERS])) == []
    assert flink.ran == []


def test_shards_get_one_table_with_where_a_row_is_from() -> None:
    flink = Flink()
    sharded = ShardedTable("d_.", "users", "all_users")
    spec = replace(SPEC, tables=(sharded,))
    union = union_of(sharded, [replace(ORDERS, database="d_1", name="users")])
    assert list(target(flink, FakeLake()).make_missing(spec, [union])) == ["all_users"]
    assert "`database_name` STRING NOT NULL,\n  `table_name` STRING NOT NULL" in flink.ran[1]


def test_a_refusal_names_the_table_and_what_to_do() -> None:
    flink = Flink(error=EngineRejected("SQL gateway: not authorized"))
    with pytest.raises(TargetError, match=r"cannot make table dw\.orders: .*not authorized"):
        target(flink, FakeLake()).make_missing(SPEC, [ORDERS])
    flink.error = EngineUnreachable("no answer")
    with pytest.raises(EngineUnreachable):
        target(flink, FakeLake()).make_missing(SPEC, [ORDERS])


def test_a_table_is_changed_in_a_session_that_knows_the_catalog() -> None:
    flink = Flink()
    made = target(flink, FakeLake())
    made.alter("ALTER TABLE `lake`.`dw`.`orders` ADD (`note` STRING);")
    assert flink.ran[0].startswith("CREATE CATALOG `lake`")
    assert flink.ran[1] == "ALTER TABLE `lake`.`dw`.`orders` ADD (`note` STRING)"
    flink.error = EngineRejected("no right")
    with pytest.raises(TargetError, match="no right"):
        made.alter("ALTER TABLE `lake`.`dw`.`orders` DROP (`note`);")
    with pytest.raises(TargetError, match="no SQL gateway"):
        IcebergTarget(CATALOG, "dw").alter("ALTER TABLE x")
