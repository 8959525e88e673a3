"""KafkaLanding: the demonstration's topics on the lab's broker."""

from __future__ import annotations

import json
from typing import cast

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.kafka import KafkaAccess
from cdc_assets.lab.kafka_rows import KafkaRows
from cdc_assets.lab.kafka_server import TOPIC_PREFIX
from cdc_assets.lab.landing import Rows
from cdc_assets.targets.kafka import KafkaTarget
from cdc_assets.targets.kafka_client import KafkaClient

_SECONDS = 60.0
# A topic without a name of its own is called after database and table.
_TOPICS = {"orders": "source.orders"}
_ORDERS = (
    Column("id", "bigint", "bigint(20)"),
    Column("product", "varchar", "varchar(40)"),
    Column("quantity", "int", "int(11)"),
    Column("note", "varchar", "varchar(80)"),
    Column("price", "decimal", "decimal(10,2)"),
    Column("changed_at", "datetime", "datetime(6)"),
)
_CUSTOMERS = (
    Column("id", "int", "int(11)"),
    Column("customer_name", "varchar", "varchar(100)"),
    Column("ctime", "datetime", "datetime"),
)
_BY_PRODUCT = (
    Column("product", "varchar", "varchar(40)"),
    Column("order_count", "bigint", "bigint(20)"),
    Column("quantity", "int", "int(11)"),
)
_SHAPES = {
    "source.orders": TableShape("source", "orders", _ORDERS, ("id",)),
    "target_table": TableShape("source", "source_table", _CUSTOMERS, ("id",)),
    "orders_by_product": TableShape("source", "orders_by_product", _BY_PRODUCT, ("product",)),
}


class KafkaLanding:
    """The lab's topics, as a consumer of committed records sees them.

    Args:
        access: The application's account.
    """

    title = "Kafka 4.1"

    def __init__(self, access: KafkaAccess) -> None:
        self._target = KafkaTarget(KafkaClient(access, 5.0, 30.0), TOPIC_PREFIX)

    def create_tables(self) -> None:
        """Do nothing: the snapshot makes the topics."""

    def rows(self, table: str) -> Rows:
        """Return what a topic stands for, by the first column."""
        found = KafkaRows(self._target, _SHAPES).rows(_TOPICS.get(table, table))
        return {row[0]: row for row in found.values()}

    def has_order_from(self, number: int) -> bool:
        """Return whether an order with this key or a larger one is visible."""
        records = self._target.records("source.orders", timeout_seconds=_SECONDS)
        return any(_id_of(key) >= number for key, value in records if value is not None)

    def repeated_writes(self) -> tuple[int, int]:
        """Count records; the workload's row writes are all distinct."""
        records = [
            (topic, *record)
            for topic in ("source.orders", "target_table")
            for record in self._target.records(topic, timeout_seconds=_SECONDS)
        ]
        return len(records), len(records) - len(set(records))


def _id_of(key: bytes) -> int:
    return int(cast("dict[str, int]", json.loads(key))["id"])
