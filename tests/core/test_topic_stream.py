"""TopicStreamSpec: topics as tables, with prefixes; and its SQL."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.kafka import KafkaAccess
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.core.topic_stream import TopicStreamSpec, TopicTable, topic_tables
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.sink_kafka import KafkaSink
from cdc_assets.flink.topic_sql import TopicRenderer
from cdc_assets.ports import Launch, Server

USER = TopicTable("user", "dw.user", (("id", "BIGINT"), ("name", "STRING")), ("id",))
ORDER = TopicTable(
    "order", "dw.order", (("id", "BIGINT"), ("product", "STRING"), ("user_id", "BIGINT")), ("id",)
)
QUERY = QuerySpec(
    "bought",
    "SELECT `order`.key_id, value_product, `user`.value_name FROM `order` LEFT JOIN `user`"
    " ON `order`.value_user_id = `user`.key_id",
    columns=(("order_id", "BIGINT"), ("product", "STRING"), ("user_name", "STRING")),
    key=("order_id",),
)
ACCESS = KafkaAccess(
    "k:9092", protocol="SASL_PLAINTEXT", username="reader", password="reader-secret"
)
WRITER = KafkaAccess("k:9092", protocol="SASL_PLAINTEXT", username="w", password="writer-secret")


def rendered(spec: TopicStreamSpec, path: str | None = None) -> tuple[str, str, str]:
    stream = spec.as_stream("kafka", "dw.")
    order = Launch("0" * 32, "x:1", stream, Server("k", 9092), restore_path=path)
    renderer = TopicRenderer(spec, KafkaSink(ACCESS, "lab."), KafkaSink(WRITER, "out."))
    targets = [TableShape("out.", name, (), ()) for name in stream.target_names]
    made = renderer(order, (), targets)
    return "\n".join(made.ddl), made.statement, made.redacted


def test_a_topic_is_read_whole_with_prefixes_for_key_and_value() -> None:
    ddl, statement, redacted = rendered(TopicStreamSpec("bought", (USER, ORDER), (QUERY,)))
    assert "'connector' = 'upsert-kafka'" in ddl
    assert "'topic' = 'lab.dw.order'" in ddl
    assert "'properties.isolation.level' = 'read_committed'" in ddl
    assert (
        "CREATE TEMPORARY VIEW `order` AS\nSELECT `id` AS `key_id`, `product` AS `value_product`,"
        " `user_id` AS `value_user_id`\nFROM `topic.order`"
    ) in ddl
    assert "'topic' = 'out.bought'" in ddl
    assert statement.startswith("EXECUTE STATEMENT SET BEGIN\nINSERT INTO `target.bought`\nSELECT")
    assert "mysql-cdc" not in ddl
    assert "reader-secret" in ddl
    assert "secret" not in redacted


def test_all_queries_are_one_job() -> None:
    other = QuerySpec("names", "SELECT key_id, value_name FROM `user`",
                      columns=(("id", "BIGINT"), ("name", "STRING")), key=("id",))  # fmt: skip
    _, statement, _ = rendered(TopicStreamSpec("both", (USER, ORDER), (QUERY, other)))
    assert statement.count("INSERT INTO") == 2


def test_prefixes_may_be_others_or_none() -> None:
    spec = TopicStreamSpec("x", (USER,), (QUERY,), key_prefix="", value_prefix="")
    assert spec.renamed(USER) == (("id", "id"), ("name", "name"))
    clash = TopicTable("t", "t", (("id", "INT"), ("k_id", "INT")), ("id",))
    with pytest.raises(ConfigurationError, match="one name"):
        TopicStreamSpec("x", (clash,), (QUERY,), key_prefix="k_", value_prefix="")


@pytest.mark.parametrize(
    ("table", "what"),
    [
        (lambda: TopicTable("t", "t", (("id", "INT"),), ()), "a key that is made of them"),
        (lambda: TopicTable("t", "t", (("id", "INT"),), ("x",)), "a key that is made of them"),
        (lambda: TopicTable("t", "t", (("id", "INT"), ("id", "INT")), ("id",)), "each column once"),
        (lambda: TopicTable("t", "t", (("id", "INT) WITH ("),), ("id",)), "not a Flink type"),
        (lambda: TopicStreamSpec("x", (USER,), ()), "at least one query"),
        (lambda: TopicStreamSpec("x", (), (QUERY,)), "at least one topic"),
        (lambda: TopicStreamSpec("x", (USER, USER), (QUERY,)), "named twice"),
        (lambda: TopicStreamSpec("X y", (USER,), (QUERY,)), "lower case letters"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_stream_of_topics_is_refused(table: object, what: str) -> None:
    assert callable(table)
    with pytest.raises(ConfigurationError, match=what):
        table()


def test_a_result_names_the_topic_that_it_has_the_rows_of() -> None:
    spec = TopicStreamSpec("x", (USER, ORDER), (QUERY,), rows_of={"bought": "order"})
    assert spec.counted_by("bought") == ORDER
    assert TopicStreamSpec("x", (USER, ORDER), (QUERY,)).counted_by("bought") is None
    with pytest.raises(ConfigurationError, match=r"x\.rows_of: no query fills it.*sold"):
        replace(spec, rows_of={"sold": "order"})
    with pytest.raises(ConfigurationError, match=r"x\.rows_of\.bought: not among the tables.*dw"):
        replace(spec, rows_of={"bought": "dw.order"})


@pytest.mark.parametrize(
    ("kind", "is_bounded"),
    [("BIGINT", True), ("DECIMAL(20, 0)", True), ("DECIMAL(10, 2)", False), ("STRING", False),
     ("TIMESTAMP(3)", False), ("DATE", False)],
)  # fmt: skip
def test_only_keys_of_whole_numbers_bound_a_count(kind: str, *, is_bounded: bool) -> None:
    table = TopicTable("t", "t", (("a", "INT"), ("b", kind), ("c", "STRING")), ("a", "b"))
    assert table.is_bounded is is_bounded


def test_hostile_names_are_quoted() -> None:
    odd = TopicTable("a`b'c", "odd", (("i`d", "INT"), ("v'", "STRING")), ("i`d",))
    ddl, _, _ = rendered(TopicStreamSpec("x", (odd,), (QUERY,)))
    assert "CREATE TEMPORARY VIEW `a``b'c` AS\nSELECT `i``d` AS `key_i``d`" in ddl
    taken = TopicTable("target.bought", "t", USER.columns, USER.key)
    with pytest.raises(ConfigurationError, match="clashes"):
        rendered(TopicStreamSpec("x", (taken,), (QUERY,)))


def test_the_topics_of_a_stream_are_described_as_it_writes_them() -> None:
    spec = StreamSpec(
        "shop", (TableRef("d", "t", "named"),), ServerIdRange(1, 9), "", target_kind="kafka",
        exclude_columns=("t.secret",),
    )  # fmt: skip
    shape = TableShape(
        "d", "t",
        (Column("id", "bigint", "bigint unsigned"), Column("at", "timestamp", "timestamp(3)"),
         Column("raw", "blob", "blob"), Column("secret", "int", "int")),
        ("id",),
    )  # fmt: skip
    assert topic_tables(spec, [shape]) == (
        TopicTable(
            "t", "named",
            (("id", "DECIMAL(20, 0)"), ("at", "TIMESTAMP_LTZ(3)"), ("raw", "BYTES")), ("id",),
        ),
    )  # fmt: skip
