"""The StarRocks sink: which options its tables have."""

from __future__ import annotations

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.render import render_stream
from cdc_assets.flink.sink_starrocks import StarRocksSink
from cdc_assets.flink.source_sql import SourceAccess
from cdc_assets.ports import Launch, Server

SINK = StarRocksSink(Server("fe", 9030), ("fe:8030", "fe2:8030"), "dw", "writer", "pw's")
SPEC = StreamSpec(
    "s", (TableRef("shop", "orders"),), ServerIdRange(1, 9), "dw", target_kind="starrocks"
)
STATEFUL = StreamSpec(
    "s",
    SPEC.tables,
    SPEC.server_ids,
    "dw",
    target_kind="starrocks",
    queries=(QuerySpec("ranking", "SELECT id, COUNT(*) FROM orders GROUP BY id"),),
)
SOURCE = TableShape(
    "shop",
    "orders",
    (
        Column("at", "datetime", "datetime(3)"),
        Column("id", "bigint", "bigint(20) unsigned", nullable=False),
        Column("seen", "timestamp", "timestamp"),
    ),
    ("id",),
)
TARGET = TableShape(
    "dw",
    "orders",
    (
        Column("ID", "bigint unsigned", "bigint(20) unsigned"),
        Column("at", "datetime", "datetime"),
        Column("seen", "datetime", "datetime"),
    ),
    ("ID",),
)


def test_a_table_is_loaded_as_json_and_strictly() -> None:
    options = SINK.options(SPEC, "orders")
    assert options["jdbc-url"] == "jdbc:mysql://fe:9030"
    assert options["load-url"] == "fe:8030;fe2:8030"
    assert options["sink.properties.format"] == "json"
    assert options["sink.properties.strip_outer_array"] == "true"
    assert options["sink.properties.strict_mode"] == "true"
    assert options["sink.buffer-flush.interval-ms"] == "1000"
    assert "pw's" not in repr(SINK)


def test_a_table_may_have_options_of_its_own() -> None:
    more = {"*": {"sink.max-retries": "5"}, "orders": {"sink.buffer-flush.interval-ms": "2000"}}
    sink = StarRocksSink(Server("fe", 1), ("fe:2",), "dw", "u", "p", options_by_table=more)
    assert sink.options(SPEC, "orders")["sink.buffer-flush.interval-ms"] == "2000"
    assert sink.options(SPEC, "others")["sink.buffer-flush.interval-ms"] == "1000"
    assert sink.options(SPEC, "others")["sink.max-retries"] == "5"


@pytest.mark.parametrize("key", ["password", "table-name", "sink.semantic", "connector"])
def test_only_the_loads_own_options_can_be_added(key: str) -> None:
    sink = StarRocksSink(
        Server("fe", 1), ("fe:2",), "dw", "u", "p", options_by_table={"*": {key: "x"}}
    )
    with pytest.raises(ConfigurationError, match=r"sink_options"):
        sink.options(SPEC, "orders")


def test_exactly_once_is_for_streams_that_keep_their_state() -> None:
    sink = StarRocksSink(Server("fe", 1), ("fe:2",), "dw", "u", "p", delivery="exactly-once")
    assert sink.options(STATEFUL, "orders")["sink.semantic"] == "exactly-once"
    with pytest.raises(ConfigurationError, match=r"s\.delivery"):
        sink.options(SPEC, "orders")


@pytest.mark.parametrize("name", ["a b", "a.b", "é", "a`b", "a/b", ""])
def test_a_table_name_that_cannot_be_loaded_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot load this name"):
        SINK.options(SPEC, name)


def test_a_column_name_that_cannot_be_loaded_is_refused() -> None:
    assert SINK.checked_column("größe", field="f") == "größe"
    with pytest.raises(ConfigurationError, match="exclude_columns"):
        SINK.checked_column("__op", field="f")


def test_the_rendered_job_names_the_targets_columns_and_hides_the_password() -> None:
    launch = Launch("0" * 32, "s", SPEC, Server("mysql", 3306))
    made = render_stream(
        launch, [SOURCE], [TARGET], source=SourceAccess("cdc", "secret"), sink=SINK
    )
    sink = made.ddl[-1]
    assert "`at` STRING" in sink
    assert "`ID` DECIMAL(20, 0)" in sink  # as StarRocks spells it: the connector asks by name
    assert "`seen` STRING" in sink
    assert "PRIMARY KEY (`ID`) NOT ENFORCED" in sink
    assert "CAST(CAST(`seen` AS TIMESTAMP(0)) AS STRING)" in made.statement
    assert "pw''s" not in made.redacted
    assert "pw's" not in made.redacted
