"""Compile and lock: tables, topics and routes of a pipeline; what cannot be a stream."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_patterns import TableName
from cdc_assets.core.table_refs import QualifiedTable
from cdc_assets.errors import ConfigurationError
from cdc_assets.pipeline.compile import compile_stream, slug, table_refs
from cdc_assets.pipeline.lock import lock_path, read_lock, tables_of, write_lock
from cdc_assets.pipeline.matching import captured
from cdc_assets.pipeline.resolve import read_pipeline
from tests.pipeline.files import (
    BATCH,
    DEFAULT,
    EACH,
    SINK,
    SOURCE,
    TABLES,
    changed,
    config,
    written,
)


def topics(text: str, tables: tuple[TableName, ...] = TABLES) -> list[str]:
    return [table.target_name for table in table_refs(config(text), tables)]


def said(text: str, tables: tuple[TableName, ...] = TABLES) -> str:
    with pytest.raises(ConfigurationError) as caught:
        compile_stream(config(text), tables, stream="s")
    return str(caught.value)


def route(source: str, sink: str, symbol: str = "") -> str:
    more = f"\n    replace-symbol: {symbol}" if symbol else ""
    return f"\nroute:\n  - source-table: {source}\n    sink-table: {sink}{more}\n"


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ("", ["order_dw.feedback", "order_dw.order", "order_dw.user"]),
        (EACH, ["feedback3", "order2", "user1"]),
        (BATCH, ["topic_feedback", "topic_order", "topic_user"]),
        (route("order_dw.user", "people"), ["order_dw.feedback", "order_dw.order", "people"]),
    ],
)
def test_each_table_has_the_topic_that_its_route_says(routes: str, expected: list[str]) -> None:
    assert topics(SOURCE + routes + SINK) == expected


def test_a_pipeline_becomes_a_stream() -> None:
    spec = compile_stream(
        config(SOURCE + BATCH + SINK + "pipeline:\n  name: Whole DB\n  parallelism: 2\n"),
        TABLES,
        stream="shop",
        prefix="lab.",
        exclude_columns=("user.secret",),
    )
    assert spec.target_kind == "kafka"
    assert (spec.parallelism, spec.server_ids) == (2, ServerIdRange(28601, 28604))
    assert spec.target_label("topic_user") == "lab.topic_user"
    assert [each.text for each in spec.chosen_by] == ["order_dw.\\.*"]
    assert spec.exclude_columns == ("user.secret",)


@pytest.mark.parametrize(
    ("text", "names", "what"),
    [
        ("Whole DB → Kafka", "whole_db_kafka", ""),
        ("42 tables", "tables", ""),
        ("Ünï", "n", ""),
        ("数据", "", ""),
        ("x" * 90, "x" * 63, ""),
    ],
)
def test_a_stream_is_called_after_its_pipeline(text: str, names: str, what: str) -> None:
    del what
    assert slug(text) == names
    if names:
        StreamSpec(names, TABLES_REFS, ServerIdRange(1, 9), "")


TABLES_REFS = table_refs(config(DEFAULT), TABLES)


@pytest.mark.parametrize(
    ("routes", "what"),
    [
        (route("order_dw.\\.*", "all"),
         "order_dw.feedback and order_dw.order would share the topic all"),
        (route("order_dw.\\.*", "t.<>", "<>") + "  - {source-table: order_dw.user, sink-table: u}",
         "order_dw.user has another topic by another route: t.user and u"),
        (route("order_dw.users", "u"), "order_dw.users matches none of the captured tables"),
        (route("order_dw.user", "o rder"), "order_dw.user cannot have the topic 'o rder'"),
        (route("order_dw.user", "a.b") + "  - {source-table: order_dw.order, sink-table: a_b}",
         "topics that Kafka takes for one: a_b and a.b"),
        (route("order_dw.user", "order_dw.order"), "would share the topic order_dw.order"),
        (route("order_dw.user", ".." ), "cannot have the topic '..'"),
        (route("order_dw.user", "t" * 250), "at most 249"),
    ],
)  # fmt: skip
def test_a_route_that_cannot_be_is_refused_where_it_stands(routes: str, what: str) -> None:
    message = said(SOURCE + routes + SINK)
    assert what in message
    assert message.startswith("p.yaml:1"), message


@pytest.mark.parametrize(
    "name",
    ["a b", 'quo"te', "tick`s", "it's", "\N{GRINNING FACE}", "ä", "a/b", "a,b", "semi;colon"],
)
def test_a_name_that_kafka_refuses_needs_a_route(name: str) -> None:
    tables = (("d", name),)
    text = changed("order_dw.\\.*", "d.\\.+")
    assert "cannot have the topic" in said(text, tables)
    routed = text + route("d.\\.+", "named")
    spec = compile_stream(config(routed), tables, stream="s")
    assert (spec.tables[0].name, spec.tables[0].target_name) == (name, "named")


@pytest.mark.parametrize("name", ["order", "user", "select", "x.y", "x-y", "t" * 64, "__table"])
def test_reserved_words_dots_and_long_names_are_plain_topics(name: str) -> None:
    text = changed("order_dw.\\.*", "order_dw.[a-z_.-]+".replace("z_.", "z_\\."))
    assert topics(text, (("order_dw", name),)) == [f"order_dw.{name}"]


def test_tables_of_one_name_in_two_databases_are_told_apart() -> None:
    text = changed("order_dw.\\.*", "shop_[ab].orders, shop_a.users")
    tables = (("shop_a", "orders"), ("shop_a", "users"), ("shop_b", "orders"))
    spec = compile_stream(config(text), tables, stream="s")
    assert [table.alias for table in spec.tables] == ["shop_a.orders", "users", "shop_b.orders"]
    assert isinstance(spec.tables[0], QualifiedTable)


def test_ids_and_parallelism_stand_in_one_place() -> None:
    ids, tables = ServerIdRange(1, 4), TABLES
    with pytest.raises(ConfigurationError, match=r"source\.server-id: the file has 28601-28604"):
        compile_stream(config(DEFAULT), tables, stream="s", server_ids=ids)
    without = config(changed("  server-id: 28601-28604\n", ""))
    assert compile_stream(without, tables, stream="s", server_ids=ids).server_ids == ids
    with pytest.raises(ConfigurationError, match="each reader needs ids"):
        compile_stream(without, tables, stream="s")
    small = config(changed("28601-28604", "28601") + "pipeline:\n  parallelism: 2\n")
    with pytest.raises(ConfigurationError, match="needs ids up to"):
        compile_stream(small, tables, stream="s")


def test_a_pattern_that_matches_nothing_or_too_much_is_refused() -> None:
    known = [*TABLES, ("mysql", "user"), ("sys", "x")]
    assert captured(config(DEFAULT), known) == TABLES
    for text, names, what in (
        (changed("order_dw.\\.*", "order_dw.\\.*, other.\\.*"), known, r"other\.\\\.\* matches no"),
        (DEFAULT, [("other", "x")], "matches no table that the account may see"),
        (DEFAULT, [("order_dw", f"t{n}") for n in range(501)], "501 tables, which is more than"),
        (changed("  server", "  tables.exclude: order_dw.\\.*\n  server"), known, "left out"),
    ):
        with pytest.raises(ConfigurationError, match=what):
            captured(config(text), names)
    left = changed("  server", "  tables.exclude: order_dw.f\\.*\n  server")
    assert captured(config(left), known) == TABLES[1:]


def test_plain_names_need_no_list_and_patterns_do(tmp_path: Path) -> None:
    text = changed("order_dw.\\.*", "order_dw.user,order_dw.order")
    plain = written(tmp_path, text, tables=())
    assert tables_of(plain, read_pipeline(plain)) == TABLES[1:]
    path = written(tmp_path, tables=())
    with pytest.raises(ConfigurationError, match=r"shop\.yaml:8:11: source\.tables.*Run cdc"):
        tables_of(path, read_pipeline(path))
    written(tmp_path)
    assert tables_of(path, read_pipeline(path)) == TABLES


def test_a_list_that_does_not_fit_the_patterns_any_more_is_refused(tmp_path: Path) -> None:
    for text in (
        changed("order_dw.\\.*", "order_dw.[ou]\\.*"),
        changed("order_dw.\\.*", "order_dw.\\.*, more.\\.*"),
        changed("  server", "  tables.exclude: order_dw.user\n  server"),
    ):
        path = written(tmp_path, text)
        with pytest.raises(ConfigurationError, match="is not the list of"):
            tables_of(path, read_pipeline(path))


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b'{"tables": []}', b'{"tables": "order_dw.user"}', b"\xff",
        b'{"tables": [["order_dw"]]}', b'{"tables": [["order_dw", 1]]}', b'{"tables": [["", "x"]]}',
        b'{"tables": [["a", "b"], ["a", "b"]]}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_damaged_list_is_refused(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path)
    lock_path(path).write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"shop\.tables\.json: .*pipeline resolve"):
        tables_of(path, read_pipeline(path))


def test_a_list_keeps_every_name_and_says_whether_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "x.tables.json"
    names = tuple(sorted([("d", 'quo"te'), ("d", "a b"), ("d", "\N{GRINNING FACE}"), ("d", "\n")]))
    assert write_lock(path, names)
    assert read_lock(path) == names
    assert not write_lock(path, names)
    assert write_lock(path, names[:1])
    assert json.loads(path.read_text())["tables"] == [list(names[0])]
    assert [each.name for each in tmp_path.iterdir()] == ["x.tables.json"]
