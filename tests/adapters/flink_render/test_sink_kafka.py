"""Kafka's side of the SQL: options, secrets, one record for an update, queries that declare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.kafka import KafkaAccess
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec, plan_of
from cdc_assets.core.table_refs import QualifiedTable, TableRef
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.render import RenderedStream, StreamRenderer
from cdc_assets.flink.sink_kafka import SHADED, KafkaSink
from cdc_assets.flink.source_sql import SourceAccess
from cdc_assets.ports import Launch, Server
from tests.adapters.flink_render.test_render import AT, ID, NAME, ORDERS, USERS, options

JOB, BEFORE = "0" * 32, "a" * 32
SPEC = StreamSpec(
    "s",
    (TableRef("shop", "orders"), TableRef("shop", "users", "people")),
    ServerIdRange(5400, 5499),
    "dw.",
    target_kind="kafka",
)
SECURE = KafkaAccess(
    "kafka.example:9093,kafka2.example:9093",
    protocol="SASL_SSL",
    mechanism="SCRAM-SHA-512",
    username="wri'ter",
    password="p\"a\\s's",
    ca="-----BEGIN CERTIFICATE-----\nCA\n",
    certificate="-----BEGIN CERTIFICATE-----\nCLIENT\n",
    key="-----BEGIN PRIVATE KEY-----\nSECRET\n",
)


def render(
    spec: StreamSpec = SPEC,
    *,
    sink: KafkaSink | None = None,
    shapes: Sequence[TableShape] = (ORDERS, USERS),
    restore: str | None = None,
) -> RenderedStream:
    used = sink or KafkaSink(KafkaAccess("kafka.example:9092"), "dw.")
    renderer = StreamRenderer(SourceAccess("cdc", "secret"), used)
    topics = tuple(TableShape("dw.", name, (), ()) for name in spec.target_names)
    launch = Launch(JOB, "s", spec, Server("db.example", 3306), restore_path=restore)
    return renderer(launch, shapes, topics)


def sink_ddl(text: RenderedStream, name: str) -> str:
    return next(ddl for ddl in text.ddl if f"TABLE `target.{name}`" in ddl)


def test_a_topic_is_written_with_plain_decimals_in_key_and_value_and_in_transactions() -> None:
    found = options(sink_ddl(render(), "shop.orders"))
    assert found == {
        "connector": "upsert-kafka",
        "topic": "dw.shop.orders",
        "properties.bootstrap.servers": "kafka.example:9092",
        "key.format": "json",
        "key.json.encode.decimal-as-plain-number": "true",
        "value.format": "json",
        "value.json.encode.decimal-as-plain-number": "true",
        "value.fields-include": "ALL",
        "sink.delivery-guarantee": "exactly-once",
        "sink.transactional-id-prefix": f"cdc-s-dw.shop.orders-{JOB}",
        "properties.transaction.timeout.ms": "900000",
    }


def test_a_chosen_topic_name_stays_and_the_others_are_database_and_table() -> None:
    assert SPEC.target_names == ("shop.orders", "people")
    assert replace(SPEC, parallelism=2).target_names == SPEC.target_names
    assert SPEC.target_label("people") == "dw.people"


def test_tables_of_one_name_in_two_databases_are_two_readers_and_two_topics() -> None:
    refs = (QualifiedTable("shop", "orders"), QualifiedTable("other", "orders"))
    spec = replace(SPEC, tables=refs, exclude_columns=("other.orders.name",))
    shape = TableShape("shop", "orders", (ID, NAME), ("id",))
    text = render(spec, shapes=(shape, replace(shape, database="other")))
    assert [ddl.partition(" (")[0] for ddl in text.ddl] == [
        "CREATE TEMPORARY TABLE `shop.orders`", "CREATE TEMPORARY TABLE `target.shop.orders`",
        "CREATE TEMPORARY TABLE `other.orders`", "CREATE TEMPORARY TABLE `target.other.orders`",
    ]  # fmt: skip
    assert "INSERT INTO `target.other.orders` (`id`)\nSELECT `id`\nFROM `other.orders`" in (
        text.statement
    )


def test_at_least_once_needs_no_transactions() -> None:
    sink = KafkaSink(KafkaAccess("k:1"), delivery="at-least-once")
    found = options(sink_ddl(render(sink=sink), "people"))
    assert found["sink.delivery-guarantee"] == "at-least-once"
    assert not [name for name in found if "transaction" in name]


def test_secrets_reach_flink_and_nobody_else() -> None:
    sink = KafkaSink(SECURE, properties={"compression.type": "gzip"}, shaded_as=SHADED)
    text = render(sink=sink)
    found = options(sink_ddl(text, "people"))
    assert found["properties.sasl.jaas.config"] == (
        "org.apache.flink.kafka.shaded.org.apache.kafka.common.security.scram.ScramLoginModule"
        ' required username="wri\'ter" password="p\\"a\\\\s\'s";'
    )
    assert found["properties.ssl.keystore.key"] == SECURE.key
    assert found["properties.ssl.truststore.certificates"] == SECURE.ca
    assert found["properties.compression.type"] == "gzip"
    for secret in ('p\\"a', "SECRET"):
        assert secret not in text.redacted
        assert secret not in repr(text)
        assert secret not in repr(sink)


@pytest.mark.parametrize("name", ["acks", "transactional.id", "sasl.jaas.config"])
def test_a_property_that_the_stream_sets_itself_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        KafkaSink(KafkaAccess("k:1"), properties={name: "x"})


def test_rows_of_a_shared_reader_are_marked_and_not_filtered() -> None:
    text = render()
    view = next(ddl for ddl in text.ddl if ddl.startswith("CREATE TEMPORARY VIEW `users`"))
    assert "WHERE" not in view
    assert "CASE WHEN `cdc$table` = 'users' THEN 'shop.users' END AS `__table`" in view
    assert "`__table` STRING NOT NULL" in sink_ddl(text, "people")
    assert "(`id`, `name`, `__table`)\nSELECT `id`, `name`, `__table`\nFROM `users`" in (
        text.statement
    )
    assert text.config["table.exec.sink.not-null-enforcer"] == "DROP"


def test_a_reader_of_its_own_writes_the_columns_of_the_table_only() -> None:
    text = render(replace(SPEC, readers="per-table"))
    assert "__table" not in text.redacted
    assert "table.exec.sink.not-null-enforcer" not in text.config


def test_a_table_with_a_column_called_as_the_mark_has_a_reader_of_its_own() -> None:
    own = replace(USERS, columns=(*USERS.columns, Column("__Table", "int", "int(11)")))
    text = render(shapes=(ORDERS, own))
    assert "cdc$table" not in text.redacted
    assert "`__Table` INT" in sink_ddl(text, "people")


def test_a_date_in_a_key_keeps_readers_apart_because_a_zero_date_would_be_dropped() -> None:
    dated = replace(
        ORDERS, columns=(ID, replace(NAME, nullable=False), AT), primary_key=("id", "at")
    )
    text = render(shapes=(dated, USERS))
    assert "cdc$table" not in text.redacted
    third = replace(USERS, name="third")
    spec = replace(SPEC, tables=(*SPEC.tables, TableRef("shop", "third")))
    assert "cdc$table" in render(spec, shapes=(ORDERS, USERS, third)).redacted
    text = render(spec, shapes=(dated, USERS, third))
    assert "cdc$table" not in text.redacted
    assert "table.exec.sink.not-null-enforcer" not in text.config


QUERY = QuerySpec(
    "counts", "SELECT name, COUNT(*) FROM orders GROUP BY name",
    columns=(("name", "STRING"), ("n", "BIGINT")), key=("name",),
)  # fmt: skip


def test_a_query_writes_what_it_declares_and_keeps_tables_on_readers_of_their_own() -> None:
    text = render(replace(SPEC, queries=(QUERY,)))
    ddl = sink_ddl(text, "counts")
    assert "  `name` STRING,\n  `n` BIGINT,\n  PRIMARY KEY (`name`) NOT ENFORCED" in ddl
    assert "cdc$table" not in text.redacted
    assert text.config["table.exec.sink.upsert-materialize"] == "AUTO"
    assert "table.exec.sink.not-null-enforcer" not in text.config


def test_a_query_without_a_declaration_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="counts"):
        replace(SPEC, queries=(QuerySpec("counts", "SELECT 1"),))


@pytest.mark.parametrize(
    ("columns", "key"),
    [
        ((("n", "BIGINT"),), ()),
        ((("n", "BIGINT"),), ("m",)),
        ((("n", "BIGINT"), ("n", "INT")), ("n",)),
        ((("n", "BIGINT) WITH ('x'='y'"),), ("n",)),
        ((("n", "INT UNSIGNED"),), ("n",)),
    ],
)
def test_a_declaration_that_cannot_be_one_is_refused(
    columns: tuple[tuple[str, str], ...], key: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigurationError, match="counts"):
        QuerySpec("counts", "SELECT 1", columns=columns, key=key)


def test_what_goes_on_from_one_state_shares_its_transactional_ids() -> None:
    def prefix(restore: str | None) -> str:
        found = options(sink_ddl(render(restore=restore), "people"))
        return found["sink.transactional-id-prefix"].rpartition("-")[2]

    assert prefix(None) == JOB
    assert prefix(f"/state/savepoints/{BEFORE}/deploy/savepoint-aaaaaa-0123456789ab") == BEFORE
    assert prefix(f"/state/{'b' * 32}/checkpoints/{BEFORE}/chk-7") == BEFORE


def test_the_transactional_ids_do_not_make_another_plan() -> None:
    one, other = render(), render(restore=f"/state/{BEFORE}/chk-7")
    assert one.redacted != other.redacted
    assert plan_of(one.redacted) == plan_of(other.redacted)


@pytest.mark.parametrize("name", ["a b", "é", "x" * 250, "a/b", "a😀"])
def test_a_name_that_kafka_does_not_take_is_refused_with_a_way_out(name: str) -> None:
    spec = replace(SPEC, tables=(TableRef("shop", "orders", name),))
    with pytest.raises(ConfigurationError, match=r"database\.table:topic"):
        render(spec, shapes=(ORDERS,))


def test_any_column_name_is_written() -> None:
    odd = replace(NAME, name="a 'b'.c-d😀")
    text = render(
        replace(SPEC, tables=(TableRef("shop", "orders"),)),
        shapes=(replace(ORDERS, columns=(ID, odd)),),
    )
    assert "`a 'b'.c-d😀` STRING" in sink_ddl(text, "shop.orders")
