"""The SQL of filters, computed columns and lookups."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.kafka import KafkaAccess
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.core.transform import Lookup, Transform
from cdc_assets.errors import ConfigurationError, UnsupportedType
from cdc_assets.flink.lookup_sql import LookupTables
from cdc_assets.flink.render import RenderedStream, StreamRenderer
from cdc_assets.flink.sink_kafka import KafkaSink
from cdc_assets.flink.sink_postgres import PostgresSink
from cdc_assets.flink.sink_starrocks import StarRocksSink
from cdc_assets.flink.sinks import MySqlSink, Sink
from cdc_assets.flink.source_sql import SourceAccess
from cdc_assets.ports import Launch, Server

ID = Column("id", "int", "int(11)", nullable=False)
CUSTOMER = Column("customer_id", "bigint", "bigint(20)")
PRICE = Column("price", "decimal", "decimal(10,2)")
TEXT = Column("note", "varchar", "varchar(50)", charset="utf8mb4")
ORDERS = TableShape("shop", "orders", (ID, CUSTOMER, PRICE, TEXT), ("id",))
TOTAL = Column("total", "decimal", "decimal(20,2)")
NAME = Column("name", "varchar", "varchar(50)", charset="utf8mb4")
TARGET = TableShape("dw", "orders", (ID, TOTAL, NAME), ("id",))
CUSTOMERS = TableShape("dw", "customers", (ID, NAME), ("id",))
SOURCE = SourceAccess("cdc", "source-secret")
SINK = MySqlSink(Server("dw.example", 3306), "dw", "writer", "target-secret")
LOOKUP = replace(SINK, password="lookup-secret")
TRANSFORM = Transform(
    "orders",
    columns=("id",),
    filter="price > 10 OR note = 'a;b'",
    computed=(("total", "price * 2"), ("name", "customers.name")),
    lookups=(Lookup.parse("customers", "id = customer_id"),),
)
SPEC = StreamSpec(
    "s", (TableRef("shop", "orders"),), ServerIdRange(1, 9), "dw", transforms=(TRANSFORM,)
)


def render(
    transform: Transform = TRANSFORM,
    *,
    sink: Sink = SINK,
    lookup: TableShape = CUSTOMERS,
    target: TableShape = TARGET,
    lookup_sink: Sink = LOOKUP,
    **settings: object,
) -> RenderedStream:
    spec = replace(SPEC, transforms=(transform,), **settings)
    tables = LookupTables(lookup_sink, lambda _: (lookup,))
    launch = Launch("0" * 32, "s", spec, Server("db.example", 3306))
    return StreamRenderer(SOURCE, sink, tables)(launch, (ORDERS,), (target,))


def test_rows_are_filtered_and_then_looked_up_as_they_pass() -> None:
    text = render()
    assert text.statement == (
        "EXECUTE STATEMENT SET BEGIN\n"
        "INSERT INTO `target.orders` (`id`, `total`, `name`)\n"
        "SELECT `orders`.`id`, (price * 2), (customers.name)\n"
        "FROM (SELECT *, CASE WHEN `customer_id` BETWEEN -2147483648 AND 2147483647"
        " THEN CAST(`customer_id` AS INT) END AS `cdc$key.1.0`, PROCTIME() AS `cdc$now`"
        " FROM `orders`\nWHERE (price > 10 OR note = 'a;b')) AS `orders`\n"
        "LEFT JOIN `lookup.orders.customers` FOR SYSTEM_TIME AS OF `orders`.`cdc$now`"
        " AS `customers` ON `customers`.`id` = `orders`.`cdc$key.1.0`;\n"
        "END"
    )
    ddl = next(each for each in text.ddl if "`lookup.orders.customers`" in each)
    assert "`id` INT,\n  `name` STRING,\n  PRIMARY KEY (`id`) NOT ENFORCED" in ddl
    assert "sink." not in ddl
    assert "lookup.cache" not in ddl
    assert "'table-name' = 'customers'" in ddl


def test_rows_are_not_reused_beside_a_lookups_cache() -> None:
    assert "pipeline.object-reuse" not in render().config
    assert "pipeline.object-reuse" in render(replace(TRANSFORM, computed=(), lookups=())).config


def test_the_password_of_the_lookup_tables_is_not_shown() -> None:
    text = render()
    assert any("lookup-secret" in each for each in text.ddl)
    assert "secret" not in text.redacted


def test_lookups_are_remembered_for_as_long_as_the_stream_says() -> None:
    (ddl,) = (each for each in render(lookup_cache_seconds=1.5).ddl if "`lookup." in each)
    assert "'lookup.partial-cache.expire-after-write' = '1500ms'" in ddl
    assert "'lookup.partial-cache.cache-missing-key' = 'false'" in ddl


def test_only_columns_that_are_needed_are_read() -> None:
    source = render(replace(TRANSFORM, filter="", computed=(), lookups=())).ddl[0]
    assert re.findall(r"^  `(\w+)` ", source, re.MULTILINE) == ["id"]
    assert re.findall(r"^  `(\w+)` ", render().ddl[0], re.MULTILINE) == [
        "id", "customer_id", "price", "note",
    ]  # fmt: skip


def test_each_text_can_be_asked_about_by_itself() -> None:
    probes = {probe.field: probe for probe in render().probes}
    assert list(probes) == ["filters.orders", "computed.orders.total", "computed.orders.name"]
    assert probes["filters.orders"].select == (
        "SELECT 1 AS `c`\nFROM `orders`\nWHERE (price > 10 OR note = 'a;b')"
    )
    assert probes["computed.orders.total"].columns == (("total", "DECIMAL(20, 2)"),)
    assert "WHERE" not in probes["computed.orders.total"].select


def test_a_filtered_copy_flushes_with_checkpoints_over_jdbc() -> None:
    held = "'sink.buffer-flush.max-rows' = '0'"
    assert held in render().ddl[-1]
    assert held not in render(replace(TRANSFORM, filter="")).ddl[-1]


def test_starrocks_is_told_not_to_leave_out_the_old_half_of_an_update() -> None:
    sink = StarRocksSink(
        Server("fe", 9030), ("fe:8030",), "dw", "writer", "target-secret",
        options_by_table={"*": {"sink.ignore.update-before": "true"}},
    )  # fmt: skip
    option = "sink.ignore.update-before"
    assert sink.options(SPEC, "orders")[option] == "false"
    assert sink.options(replace(SPEC, transforms=()), "orders")[option] == "true"
    query = replace(SPEC, transforms=(), queries=(QuerySpec("sums", "SELECT 1"),))
    assert sink.options(query, "sums")[option] == "false"


def test_a_computed_column_of_a_topic_says_its_type() -> None:
    sink = KafkaSink(KafkaAccess("kafka:9092"))
    topic = TableShape("", "shop.orders", (), ())
    transform = Transform("orders", columns=("id",), computed=(("total", "price * 2"),))
    with pytest.raises(ConfigurationError, match=r"orders\.total: a topic has no columns"):
        render(transform, sink=sink, target=topic, target_kind="kafka")
    cast = replace(transform, computed=(("total", "CAST(price * 2 AS DECIMAL(12, 2))"),))
    text = render(cast, sink=sink, target=topic, target_kind="kafka")
    assert "`total` DECIMAL(12, 2)" in text.ddl[-1]


def test_a_topic_gets_the_rows_that_the_filter_takes_and_one_record_for_an_update() -> None:
    """Below a WHERE Flink keeps both halves of an update, so the sink drops the other rows."""
    topic = TableShape("", "shop.orders", (), ())
    transform = Transform("orders", columns=("id",), filter="id > 1")
    text = render(
        transform, sink=KafkaSink(KafkaAccess("kafka:9092")), target=topic, target_kind="kafka"
    )
    assert "WHERE" not in text.statement
    assert "SELECT `id`, CASE WHEN (id > 1) THEN 'shop.orders' END\n" in text.statement
    assert "`__table` STRING NOT NULL" in text.ddl[-1]
    assert text.config["table.exec.sink.not-null-enforcer"] == "DROP"
    joined = replace(
        transform,
        computed=(("name", "CAST(customers.name AS STRING)"),),
        lookups=TRANSFORM.lookups,
    )
    text = render(
        joined, sink=KafkaSink(KafkaAccess("kafka:9092")), target=topic, target_kind="kafka"
    )
    # The lookup table has a column `id`, too.
    assert "(SELECT *, CASE WHEN `customer_id`" in text.statement
    assert "CASE WHEN (id > 1) THEN 'shop.orders' END AS `__table`, PROCTIME()" in text.statement
    assert "(CAST(customers.name AS STRING)), `orders`.`__table`\n" in text.statement


def test_a_topic_that_may_get_the_latest_values_only_makes_one_record_of_both_halves() -> None:
    topic = TableShape("", "shop.orders", (), ())
    transform = Transform("orders", columns=("id",), filter="price > 1")
    sink = KafkaSink(KafkaAccess("kafka:9092"))
    text = render(transform, sink=sink, target=topic, target_kind="kafka", latest_values_only=True)
    assert "WHERE (price > 1)" in text.statement
    assert "__table" not in text.ddl[-1]
    assert "'sink.buffer-flush.interval' = '1000ms'" in text.ddl[-1]
    assert "table.exec.sink.not-null-enforcer" not in text.config
    plain = Transform("orders", columns=("id",))
    text = render(plain, sink=sink, target=topic, target_kind="kafka", latest_values_only=True)
    assert "buffer-flush" not in text.ddl[-1]


@pytest.mark.parametrize(
    ("transform", "lookup", "said"),
    [
        (TRANSFORM, replace(CUSTOMERS, primary_key=()), "could become several"),
        (TRANSFORM, replace(CUSTOMERS, name="others"), "no such table"),
        (TRANSFORM, replace(CUSTOMERS, columns=(ID,)), "no such column in dw.customers"),
        (
            TRANSFORM,
            replace(CUSTOMERS, columns=(replace(ID, name="Id"), NAME)),
            "there is Id",
        ),
        (
            replace(TRANSFORM, lookups=(Lookup.parse("customers", "id = note"),)),
            CUSTOMERS,
            "STRING in shop.orders, INT in dw.customers",
        ),
        (replace(TRANSFORM, computed=(("nothing", "1"),)), CUSTOMERS, "has no such column"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    transform: Transform, lookup: TableShape, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        render(transform, lookup=lookup)


def test_a_lookup_reads_what_the_postgres_driver_hands_out_as_it_is() -> None:
    sink = PostgresSink(Server("pg", 5432), "dw", "public", "writer", "lookup-secret")
    shape = replace(
        CUSTOMERS, columns=(Column("id", "int4", "integer"), Column("name", "uuid", "uuid"))
    )
    with pytest.raises(UnsupportedType, match="a lookup cannot read it"):
        render(lookup=shape, lookup_sink=sink)
    good = replace(shape, columns=(shape.columns[0], Column("name", "text", "text")))
    assert any(
        "`lookup.orders.customers`" in each for each in render(lookup=good, lookup_sink=sink).ddl
    )


def test_lookups_need_a_place() -> None:
    launch = Launch("0" * 32, "s", SPEC, Server("db.example", 3306))
    with pytest.raises(ConfigurationError, match="say where the lookup tables are"):
        StreamRenderer(SOURCE, SINK)(launch, (ORDERS,), (TARGET,))


@pytest.mark.parametrize(
    "sql", ["SELECT 1; INSERT INTO x SELECT 1", "SELECT 1 ; -- a", "; SELECT 1"]
)
def test_a_query_is_one_statement(sql: str) -> None:
    queries = (QuerySpec("orders", sql),)
    spec = replace(SPEC, transforms=(), source_only=("orders",), queries=queries)
    launch = Launch("0" * 32, "s", spec, Server("db.example", 3306))
    with pytest.raises(ConfigurationError, match="write one query"):
        StreamRenderer(SOURCE, SINK)(launch, (ORDERS,), (TARGET,))


def test_a_semicolon_in_a_text_or_a_comment_ends_no_query() -> None:
    queries = (QuerySpec("orders", "SELECT id, ';' FROM orders -- a; b\n WHERE `a;b` = 1;"),)
    spec = replace(SPEC, transforms=(), source_only=("orders",), queries=queries)
    launch = Launch("0" * 32, "s", spec, Server("db.example", 3306))
    assert "';'" in StreamRenderer(SOURCE, SINK)(launch, (ORDERS,), (TARGET,)).statement
