"""PipelineConfig: what a file may say, and what is refused by name, line and column."""

from __future__ import annotations

import pytest

from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.errors import ConfigurationError
from cdc_assets.pipeline.options import ONLY, REFUSED
from tests.pipeline.files import BATCH, DEFAULT, EACH, SINK, SOURCE, changed, config


def said(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        config(text)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("routes", ["", EACH, BATCH])
def test_the_three_variants_are_taken_as_they_are(routes: str) -> None:
    found = config(SOURCE + routes + SINK)
    assert [(each.database, each.table) for each in found.tables] == [("order_dw", ".*")]
    assert found.server_ids == ServerIdRange(28601, 28604)
    assert [each.origin.field for each in found.open_settings] == [
        "source.hostname", "source.username", "source.password",
    ]  # fmt: skip
    assert [note.option for note in found.notes] == [
        "sink.aliyun.kafka.accessKeyId", "sink.aliyun.kafka.accessKeySecret",
    ]  # fmt: skip
    assert found.servers.text == "xxxx.kafka.example:9092"


def test_the_parts_may_come_in_any_order() -> None:
    one, other = config(SOURCE + BATCH + SINK), config(SINK + BATCH + SOURCE)
    assert one.tables == other.tables
    assert [route.topic for route in one.routes] == [route.topic for route in other.routes]


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        (changed("type: mysql", "type: postgres"), "p.yaml:2:9: source.type", "only mysql"),
        (changed("type: mysql", "tpye: mysql"), "p.yaml:2:3: source", "type"),
        (changed("type: upsert-kafka", "type: doris"), "p.yaml:12:9: sink.type", "only upsert"),
        (changed("type: upsert-kafka", "type: kafka"), "p.yaml:12:9", "Debezium's change events"),
        (changed("port: 3306", "port: 70000"), "p.yaml:5:9: source.port", "1 to 65535"),
        (changed("port: 3306", "port: [1]"), "p.yaml:5:9: source.port", "must be a text"),
        (changed("server-id: 28601-28604", "server-id: 5-1"), "p.yaml:9:14", "smaller one first"),
        (changed("#{password}", "hunter2"), "p.yaml:7:13: source.password", "env:NAME"),
        (changed("order_dw.\\.*", "order_dw"), "p.yaml:8:11: source.tables", "database.table"),
        (changed("order_dw.\\.*", "a.b.c"), "p.yaml:8:11: source.tables", "database.table"),
        (changed("order_dw.\\.*", "a.["), "p.yaml:8:11", "not a regular expression"),
        (changed("order_dw.\\.*", "a.b,,c.d"), "p.yaml:8:11", "missing before or after"),
        (changed("order_dw.\\.*", "\\.*.\\.*"), "p.yaml:8:11", "own tables in information_schema"),
        (changed("order_dw.\\.*", "mysql.user"), "p.yaml:8:11", "own tables in mysql"),
        (changed("order_dw.\\.*", "a.(x+)+y"), "p.yaml:8:11", "longer to match"),
        (changed("order_dw.\\.*", "a.((x|y)z)*"), "p.yaml:8:11", "longer to match"),
        (changed("order_dw.\\.*", "a." + "x*" * 6), "p.yaml:8:11", "longer to match"),
        (changed("order_dw.\\.*", "a." + "x" * 600), "p.yaml:8:11", "longer than 500"),
        (changed("order_dw.\\.*", "a.b\\"), "p.yaml:8:11", "ends with"),
        (DEFAULT + "transform:\n  - source-table: a.b\n", "p.yaml:19:3: transform", "as they are"),
        (DEFAULT + "piepline:\n  name: x\n", "p.yaml:19:3: piepline", "no such option"),
        (DEFAULT + "pipeline:\n  parallelism: 0\n", "p.yaml:19:16", "from 1 to 128"),
        (DEFAULT + "pipeline:\n  parallelism: two\n", "p.yaml:19:16", "whole number"),
        (DEFAULT + "pipeline:\n  schema.change.behavior: evolve\n", "p.yaml:19:27", "ignore"),
        (DEFAULT + "pipeline: 5\n", "p.yaml:18:11: pipeline", "keys and values"),
        (DEFAULT + "  topic: all\n", "p.yaml:18:10: sink.topic", "one topic for all"),
        (DEFAULT + "  partition.strategy: all-to-zero\n", "p.yaml:18:23", "hash-by-key"),
        (DEFAULT + "  value.format: canal-json\n", "p.yaml:18:17: sink.value.format", "only json"),
        (DEFAULT + "  properties.ssl.keystore.location: /x\n", "p.yaml:18:37", "target_ca_file"),
        (DEFAULT + "  properties.sasl.jaas.config: x y 'z';\n", "p.yaml:18:32", "target_password"),
        (DEFAULT + "  properties.acks: 1\n", "p.yaml:18:20", "only all or -1"),
        (DEFAULT + "  sink.delivery-guarantee: none\n", "p.yaml:18:28", "exactly-once or"),
        (DEFAULT + "route: order_dw.user\n", "p.yaml:18:8: route", "must be a list"),
        (DEFAULT + "route:\n  - sink-table: x\n", "p.yaml:19:5: route[1].source-table", "missing"),
        (DEFAULT + BATCH.replace("<>\n    rep", "x\n    rep"), "p.yaml:22:21", "not in sink-table"),
        (DEFAULT + EACH.replace("user1", "user1\n    to: x"), "p.yaml:22:9: route[1]", "no such"),
        (SINK, "p.yaml: source", "is missing"),
        (SOURCE, "p.yaml: sink", "is missing"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_by_name_line_and_column(
    text: str, place: str, what: str
) -> None:
    message = said(text)
    assert message.startswith(place), message
    assert what in message, message
    assert "hunter2" not in message


@pytest.mark.parametrize("option", sorted(REFUSED))
def test_every_refused_option_says_what_to_do_instead(option: str) -> None:
    part, _, name = option.partition(".")
    text = DEFAULT
    if not name:
        text += f"{part}: x\n"
    elif part == "source":
        text = changed("  type: mysql\n", f"  type: mysql\n  {name}: x\n")
    elif part == "sink":
        text += f"  {name}: x\n"
    else:
        text += f"pipeline:\n  {name}: x\n"
    message = said(text)
    assert f"{option}: cannot be done: " in message
    assert REFUSED[option][1] in message


@pytest.mark.parametrize("option", sorted(name for name in ONLY if name.startswith("source.")))
def test_an_option_that_asks_for_what_a_stream_does_is_taken(option: str) -> None:
    words, hint = ONLY[option]
    name = option.removeprefix("source.")
    for word in words:
        config(changed("  type: mysql\n", f"  type: mysql\n  {name}: {word}\n"))
    message = said(changed("  type: mysql\n", f"  type: mysql\n  {name}: other\n"))
    assert hint in message


def test_properties_of_the_producer_are_carried_and_security_is_read() -> None:
    found = config(
        DEFAULT
        + "  properties.compression.type: lz4\n  properties.linger.ms: 5\n"
        + "  properties.security.protocol: SASL_SSL\n  properties.sasl.mechanism: SCRAM-SHA-512\n"
        + "  properties.transaction.timeout.ms: 60000\n  sink.delivery-guarantee: AT_LEAST_ONCE\n"
    )
    assert found.properties == {"compression.type": "lz4", "linger.ms": "5"}
    assert found.security == {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512"}
    assert (found.transaction_seconds, found.delivery) == (60.0, "at-least-once")


def test_a_value_in_the_file_and_another_beside_it_are_refused() -> None:
    found = config(changed("hostname: #{hostname}", "hostname: db.example"))
    assert found.host.or_else("", option="source_host") == "db.example"
    with pytest.raises(ConfigurationError, match=r"p\.yaml:4:13: source\.hostname.*Take out one"):
        found.host.or_else("other", option="source_host")
    with pytest.raises(ConfigurationError, match=r"placeholder #\{username\} is not filled in"):
        found.username.or_else("", option="source_username")
    assert found.username.or_else("cdc", option="source_username") == "cdc"


def test_patterns_separate_at_dots_and_commas_that_are_not_escaped() -> None:
    found = config(
        changed("order_dw.\\.*", "'[app|web]_[0-9]+.order_\\.*, b.x{1\\,3}, c.(?:orders|users)'")
    ).tables
    assert [(each.database, each.table) for each in found] == [
        ("[app|web]_[0-9]+", "order_.*"), ("b", "x{1,3}"), ("c", "(?:orders|users)"),
    ]  # fmt: skip
    assert found[0].matches(("a_17", "ORDER_LINES"))
    assert not found[0].matches(("a_17", "an_order_"))
    assert found[1].matches(("b", "xxx"))
    assert not found[1].matches(("b", "xxxx"))
