from __future__ import annotations

import re

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.iceberg import IcebergCatalog
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.shards import union_of
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import ShardedTable, TableRef
from cdc_assets.errors import ConfigurationError, UnsupportedType
from cdc_assets.flink.render import StreamRenderer, render_stream
from cdc_assets.flink.sink_iceberg import IcebergSink
from cdc_assets.flink.sinks import WholeTableSink
from cdc_assets.flink.source_sql import SourceAccess
from cdc_assets.ports import Launch, Server

ID = Column("id", "int", "int(11)", nullable=False)
NAME = Column("name", "varchar", "varchar(50)", charset="utf8mb4")
USERS = ShardedTable("user_db_[0-9]+|users", "user_table_[0-9]+", "all_users")
CATALOG = IcebergCatalog(uri="http://lake:8181", properties={"token": "t'0ken"})
SINK = IcebergSink(CATALOG, "dw")
SOURCE = SourceAccess("cdc", "secret")
STRING = ("string", "string")


def spec(*tables: TableRef, **settings: object) -> StreamSpec:
    return StreamSpec("s", tables, ServerIdRange(5400, 5499), "dw", target_kind="iceberg",
                      **settings)  # fmt: skip


def launch(stream: StreamSpec) -> Launch:
    return Launch("0" * 32, "s", stream, Server("db.example", 3306))


def test_the_sink_names_every_column_in_the_table_s_order_and_types() -> None:
    assert isinstance(SINK, WholeTableSink)
    source = TableShape("shop", "orders", (ID, NAME), ("id",))
    target = TableShape("dw", "orders", (
        Column("name", *STRING), Column("more", "timestamptz", "timestamptz"),
        Column("id", "int", "int", nullable=False),
    ), ("id",))  # fmt: skip
    text = StreamRenderer(SOURCE, SINK)(launch(spec(TableRef("shop", "orders"))), [source],
                                        [target])  # fmt: skip
    assert text.ddl[-1].startswith(
        "CREATE TEMPORARY TABLE `target.orders` (\n  `name` STRING,\n  `more` TIMESTAMP_LTZ(6),\n"
        "  `id` INT NOT NULL,\n  PRIMARY KEY (`id`) NOT ENFORCED\n)"
    )
    assert "INSERT INTO `target.orders` (`id`, `name`)\nSELECT `id`, `name`" in text.statement
    options = dict(re.findall(r"^  '([^']+)' = '((?:[^']|'')*)'", text.ddl[-1], re.MULTILINE))
    assert options == {
        "connector": "iceberg",
        "catalog-name": "cdc_assets",
        "catalog-database": "dw",
        "catalog-table": "orders",
        "catalog-type": "rest",
        "uri": "http://lake:8181",
        "token": "t''0ken",
        "upsert-enabled": "true",
        "distribution-mode": "hash",
        "write-format": "parquet",
    }
    assert "0ken" not in text.redacted


def test_shards_are_one_source_whose_place_is_a_part_of_the_key() -> None:
    shape = union_of(USERS, [TableShape("user_db_1", "user_table_1", (ID, NAME), ("id",))])
    target = TableShape("dw", "all_users", (
        Column("database_name", *STRING, nullable=False),
        Column("table_name", *STRING, nullable=False),
        Column("id", "int", "int", nullable=False), Column("name", *STRING),
    ), ("database_name", "table_name", "id"))  # fmt: skip
    text = render_stream(launch(spec(USERS)), [shape], [target], source=SOURCE, sink=SINK)
    source, sink = text.ddl
    assert source.startswith(
        "CREATE TEMPORARY TABLE `all_users` (\n  `id` INT,\n  `name` STRING,\n"
        "  `database_name` STRING NOT NULL METADATA FROM 'database_name' VIRTUAL,\n"
        "  `table_name` STRING NOT NULL METADATA FROM 'table_name' VIRTUAL,\n"
        "  PRIMARY KEY (`id`) NOT ENFORCED\n)"
    )
    assert "'database-name' = '(?:user_db_[0-9]+|users)'" in source
    assert "'table-name' = '(?:user_table_[0-9]+)'" in source
    assert "PRIMARY KEY (`database_name`, `table_name`, `id`) NOT ENFORCED" in sink
    assert "SELECT `database_name`, `table_name`, `id`, `name`\nFROM `all_users`" in text.statement


def test_shards_are_read_by_a_query_under_the_target_s_name() -> None:
    stream = spec(USERS, queries=(QuerySpec("n", "SELECT 'a', COUNT(*) FROM all_users"),),
                  source_only=("all_users",))  # fmt: skip
    shape = union_of(USERS, [TableShape("user_db_1", "user_table_1", (ID,), ("id",))])
    target = TableShape("dw", "n", (Column("k", *STRING, nullable=False),
                                    Column("n", "long", "long")), ("k",))  # fmt: skip
    text = render_stream(launch(stream), [shape], [target], source=SOURCE, sink=SINK)
    assert "  `n` BIGINT,\n" in text.ddl[-1]
    assert text.statement.count("INSERT") == 1


def test_a_stream_into_iceberg_goes_on_with_its_state() -> None:
    # The writer keeps in it what a checkpoint holds and no commit does.
    assert spec(TableRef("shop", "orders")).resume_form == "transplant"


def test_names_and_types_that_iceberg_cannot_hold_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="hold this name"):
        SINK.options(spec(USERS), "a.b")
    with pytest.raises(ConfigurationError, match="hold this name"):
        SINK.checked_column("a$b", field="x")
    with pytest.raises(UnsupportedType):
        SINK.query_type(TableShape("dw", "t", (), ()), Column("c", "uuid", "uuid"))
