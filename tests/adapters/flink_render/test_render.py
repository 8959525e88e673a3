from __future__ import annotations

import re
from dataclasses import replace

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.position import Coordinates
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import ConfigurationError, UnsupportedType
from cdc_assets.flink.render import RenderedStream, StreamRenderer
from cdc_assets.flink.sinks import MySqlSink
from cdc_assets.flink.source_sql import SourceAccess
from cdc_assets.ports import Launch, Server

ID = Column("id", "bigint", "bigint(20)", nullable=False)
NAME = Column("name", "varchar", "varchar(50)", charset="utf8mb4", collation="utf8mb4_general_ci")
AT = Column("at", "datetime", "datetime(6)")
ORDERS = TableShape("shop", "orders", (ID, NAME, AT), ("id",))
USERS = TableShape("shop", "users", (ID, NAME), ("id",))
COUNTS = TableShape(
    "dw", "counts", (replace(NAME, nullable=False), Column("n", "bigint", "bigint(20)"), AT),
    ("name",),
)  # fmt: skip
TARGETS = (
    TableShape("dw", "orders", (ID, NAME, AT), ("id",)),
    TableShape("dw", "users", (ID, NAME), ("id",)),
    COUNTS,
)
SPEC = StreamSpec(
    "s",
    (TableRef("shop", "orders"), TableRef("shop", "users")),
    ServerIdRange(5400, 5499),
    "dw",
    parallelism=2,
    readers="per-table",
)
SHARED = replace(SPEC, readers="shared")
COUNTING = replace(
    SPEC, queries=(QuerySpec("counts", "SELECT name, COUNT(*), MAX(`at`) FROM orders;"),)
)
PASSWORDS = ("so'urce", "tar'get")
RENDER = StreamRenderer(
    SourceAccess("cdc", PASSWORDS[0]),
    MySqlSink(Server("dw.example", 3306), "d w", "writer", PASSWORDS[1]),
)
BLUE = Server("db.example", 3306)


def launch(spec: StreamSpec = SPEC, **settings: object) -> Launch:
    return replace(Launch("0" * 32, "s", spec, BLUE), **settings)


def render(spec: StreamSpec = SPEC, **settings: object) -> RenderedStream:
    return RENDER(launch(spec, **settings), (ORDERS, USERS), TARGETS)


def options(ddl: str) -> dict[str, str]:
    """Return the WITH options of a CREATE TABLE."""
    unquoted = [
        (name, value.replace("''", "'"))
        for name, value in re.findall(r"^  '([^']+)' = '((?:[^']|'')*)'", ddl, re.MULTILINE)
    ]
    return dict(unquoted)


def without_startup(text: RenderedStream) -> tuple[object, ...]:
    lines = [
        line
        for ddl in text.ddl
        for line in ddl.splitlines()
        if "scan.startup." not in line and "'hostname'" not in line and "'port'" not in line
    ]
    return ([line.rstrip(",") for line in lines], text.statement, text.config)


def test_a_captured_table_gets_a_source_and_a_sink_and_one_insert() -> None:
    text = render()
    names = [re.match(r"CREATE TEMPORARY TABLE `([^`]+)`", ddl) for ddl in text.ddl]
    assert [name[1] for name in names if name] == [
        "orders", "target.orders", "users", "target.users",
    ]  # fmt: skip
    assert text.statement == (
        "EXECUTE STATEMENT SET BEGIN\n"
        "INSERT INTO `target.orders` (`id`, `name`, `at`)\n"
        "SELECT `id`, `name`, CAST(`at` AS STRING)\n"
        "FROM `orders`;\n"
        "INSERT INTO `target.users` (`id`, `name`)\n"
        "SELECT `id`, `name`\n"
        "FROM `users`;\n"
        "END"
    )


def test_each_table_has_a_block_of_server_ids_of_its_own() -> None:
    ids = [options(ddl).get("server-id") for ddl in render().ddl]
    assert [each for each in ids if each] == ["5400-5401", "5402-5403"]


def test_tables_that_share_a_reader_are_views_of_it() -> None:
    wide = replace(USERS, columns=(ID, NAME, Column("at", "datetime", "datetime(0)")))
    text = RENDER(launch(SHARED), (ORDERS, wide), (TARGETS[0], replace(ORDERS, name="users")))
    assert [re.sub(r"\s.*", "", ddl.split("TEMPORARY ")[1]) for ddl in text.ddl] == [
        "TABLE", "VIEW", "VIEW", "TABLE", "TABLE",
    ]  # fmt: skip
    reader, orders, users = text.ddl[:3]
    assert "`cdc$table` STRING METADATA FROM 'table_name' VIRTUAL" in reader
    assert options(reader)["table-name"] == "(?:orders|users)"
    assert options(reader)["server-id"] == "5400-5401"
    assert orders == (
        "CREATE TEMPORARY VIEW `orders` AS\nSELECT `id`, `name`, `at`\n"
        "FROM `reader.1`\nWHERE `cdc$table` = 'orders'"
    )
    assert "CAST(`at` AS TIMESTAMP(0)) AS `at`" in users


def test_a_writer_behind_a_shared_reader_flushes_with_the_checkpoints_only() -> None:
    # A flush between the two halves of an update would show a table without the row.
    names = ("sink.buffer-flush.max-rows", "sink.buffer-flush.interval")
    apart, together = (
        next(options(ddl) for ddl in render(spec).ddl if "TABLE `target.orders`" in ddl)
        for spec in (SPEC, SHARED)
    )
    assert [apart[name] for name in names] == ["1000", "1000ms"]
    assert [together[name] for name in names] == ["0", "0"]


def test_a_shared_readers_own_column_keeps_clear_of_the_tables_columns() -> None:
    odd = replace(ORDERS, columns=(ID, NAME, AT, replace(NAME, name="CDC$table")))
    text = RENDER(launch(replace(SHARED, exclude_columns=())), (odd, USERS), (
        replace(odd, database="dw"), TARGETS[1]))  # fmt: skip
    assert "WHERE `cdc$table$` = 'users'" in text.ddl[2]


def test_a_reader_never_reconnects_by_itself_and_its_job_never_restarts() -> None:
    text = render()
    source = options(text.ddl[0])
    assert source["debezium.connect.keep.alive"] == "false"
    assert text.config["restart-strategy.type"] == "none"


@pytest.mark.parametrize(
    ("spec", "reuses"),
    [
        (SPEC, "true"),
        (SHARED, "true"),
        # State holds rows, and so does a lookup's cache.
        (COUNTING, None),
    ],
)
def test_rows_are_reused_only_where_no_operator_keeps_them(
    spec: StreamSpec, reuses: str | None
) -> None:
    assert render(spec).config.get("pipeline.object-reuse") == reuses


def test_readers_of_one_server_do_not_wait_for_each_others_pooled_connections() -> None:
    # More than 20 readers at the connector's default fail after its connect timeout.
    assert int(options(render().ddl[0])["connection.pool.size"]) >= 200


def test_an_idle_position_follows_the_servers_end() -> None:
    source = options(render().ddl[0])
    keep_alive = int(source["debezium.connect.keep.alive.interval.ms"])
    assert source["heartbeat.interval"] == f"{keep_alive}ms"
    assert keep_alive <= 1000


@pytest.mark.parametrize(
    ("settings", "startup"),
    [
        ({}, {"mode": "initial"}),
        ({"restore_path": "file:/sp"}, {"mode": "initial"}),
        (
            {"coordinates": Coordinates("bin.000007", 154)},
            {
                "mode": "specific-offset",
                "specific-offset.file": "bin.000007",
                "specific-offset.pos": "154",
            },
        ),
        (
            {"coordinates": Coordinates("bin.000007", 154), "gtid_set": "u:1-7"},
            {
                "mode": "specific-offset",
                "specific-offset.gtid-set": "u:1-7",
                "specific-offset.file": "bin.000007",
                "specific-offset.pos": "154",
            },
        ),
        (
            {"restore_path": "file:/sp", "coordinates": Coordinates("bin.000007", 154)},
            {"mode": "initial"},
        ),
    ],
)
def test_the_startup_options_say_where_to_begin(
    settings: dict[str, object], startup: dict[str, str]
) -> None:
    source = options(render(**settings).ddl[0])
    found = {k.removeprefix("scan.startup."): v for k, v in source.items() if "startup" in k}
    assert found == startup


def test_a_restore_differs_from_a_first_start_in_host_and_startup_only() -> None:
    first = render(COUNTING)
    restored = render(COUNTING, restore_path="file:/sp", server=Server("other", 3307))
    moved = render(COUNTING, coordinates=Coordinates("bin.000007", 154))
    assert without_startup(first) == without_startup(restored) == without_startup(moved)


def test_the_same_launch_gives_the_same_text() -> None:
    assert render(COUNTING) == render(COUNTING)


def test_a_query_fills_its_table_as_it_is() -> None:
    text = render(COUNTING)
    assert "INSERT INTO `target.counts`\nSELECT name, COUNT(*), MAX(`at`) FROM orders;\n" in (
        text.statement
    )
    assert "  `at` TIMESTAMP(6)" in text.ddl[-1]
    assert "PRIMARY KEY (`name`) NOT ENFORCED" in text.ddl[-1]


def test_rows_are_materialized_in_state_only_where_a_query_needs_it() -> None:
    name = "table.exec.sink.upsert-materialize"
    assert (render().config[name], render(COUNTING).config[name]) == ("NONE", "AUTO")


def test_a_table_that_only_queries_read_is_not_copied() -> None:
    text = render(replace(COUNTING, source_only=("orders",)))
    assert "target.orders" not in text.statement
    assert "target.counts" in text.statement


def test_excluded_columns_are_neither_read_nor_written() -> None:
    text = render(replace(SPEC, exclude_columns=("Orders.NAME",)))
    assert "`name`" not in text.ddl[0]
    assert "`name`" in text.ddl[2]


def test_a_part_of_the_key_cannot_be_excluded() -> None:
    with pytest.raises(ConfigurationError, match="primary key"):
        render(replace(SPEC, exclude_columns=("orders.id",)))


def test_no_text_for_people_holds_a_password() -> None:
    text = render(COUNTING)
    for password in PASSWORDS:
        assert password not in text.redacted
        assert password.replace("'", "''") not in text.redacted
        assert password not in f"{text!r}{RENDER!r}"
    assert text.redacted.count("'password' = '***'") == 5


def test_the_text_for_people_holds_everything_else() -> None:
    text = render(COUNTING)
    assert text.statement in text.redacted
    assert all(f"SET '{name}'" in text.redacted for name in text.config)


@pytest.mark.parametrize("odd", ["my-db", "a.b", "x,y", "r[0-9]+", 'a "b" $(1)'])
def test_odd_names_are_quoted_and_matched_exactly(odd: str) -> None:
    table = TableRef(odd, odd, "orders")
    spec = replace(SPEC, tables=(table,))
    shape = replace(ORDERS, database=odd, name=odd)
    text = RENDER(launch(spec), (shape,), TARGETS)
    source = options(text.ddl[0])
    assert not set(source["table-name"]) & set('-.,[]+ "(')
    assert source["database-name"] == source["table-name"]
    assert f"FROM `{odd.replace('`', '``')}`" in text.statement


def test_a_column_that_cannot_be_carried_is_named() -> None:
    shape = replace(ORDERS, columns=(ID, Column("price", "json", "json")))
    with pytest.raises(UnsupportedType, match=r"shop\.orders\.price"):
        RENDER(launch(), (shape, USERS), TARGETS)


@pytest.mark.parametrize(
    ("shapes", "targets", "named"),
    [
        ((ORDERS,), TARGETS, r"shop\.users"),
        ((ORDERS, USERS), TARGETS[:1], "users"),
        ((replace(ORDERS, primary_key=()), USERS), TARGETS, r"shop\.orders"),
        ((ORDERS, USERS), (replace(TARGETS[0], columns=(ID,)), *TARGETS[1:]), "name"),
    ],
)
def test_what_does_not_fit_is_named(
    shapes: tuple[TableShape, ...], targets: tuple[TableShape, ...], named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named):
        RENDER(launch(), shapes, targets)


def test_a_sink_column_is_spelled_as_the_target_spells_it() -> None:
    target = replace(TARGETS[0], columns=(replace(ID, name="ID"), NAME, AT), primary_key=("ID",))
    text = RENDER(launch(), (ORDERS, USERS), (target, *TARGETS[1:]))
    assert "INSERT INTO `target.orders` (`ID`, `name`, `at`)" in text.statement
    assert "PRIMARY KEY (`ID`)" in text.ddl[1]


def test_a_composite_key_keeps_its_order() -> None:
    columns = (ID, replace(ID, name="a"), replace(ID, name="b"))
    shape = TableShape("shop", "orders", columns, ("b", "id"))
    target = TableShape("dw", "orders", columns, ("id", "b"))
    text = RENDER(launch(), (shape, USERS), (target, *TARGETS[1:]))
    assert "PRIMARY KEY (`b`, `id`)" in text.ddl[0]
    assert "PRIMARY KEY (`b`, `id`)" in text.ddl[1]


def keyed(*key: Column) -> tuple[TableShape, tuple[TableShape, ...]]:
    shape = TableShape("shop", "orders", key, tuple(column.name for column in key))
    return shape, (replace(shape, database="dw"), *TARGETS[1:])


def test_a_text_key_is_read_without_backfill_unless_a_query_counts_its_rows() -> None:
    shape, targets = keyed(replace(NAME, nullable=False), ID)
    copied = options(RENDER(launch(), (shape, USERS), targets).ddl[0])
    assert copied["scan.incremental.snapshot.backfill.skip"] == "true"
    assert "scan.incremental.snapshot.chunk.key-column" not in copied
    counting = replace(SPEC, queries=(QuerySpec("counts", "SELECT 1"),))
    counted = options(RENDER(launch(counting), (shape, USERS), targets).ddl[0])
    assert counted["scan.incremental.snapshot.chunk.key-column"] == "id"
    assert "scan.incremental.snapshot.backfill.skip" not in counted


def test_an_integer_key_needs_neither() -> None:
    source = options(render().ddl[0])
    assert not [name for name in source if "backfill" in name or "key-column" in name]


def test_a_source_table_that_is_named_like_a_sink_is_refused() -> None:
    spec = replace(SPEC, tables=(TableRef("shop", "target.orders", "orders"),))
    with pytest.raises(ConfigurationError, match="clashes"):
        RENDER(launch(spec), (replace(ORDERS, name="target.orders"),), TARGETS)


def test_the_writers_session_is_strict_in_utc_and_keeps_the_id_zero() -> None:
    url = RENDER.sink.options(SPEC, "orders")["url"]
    assert url.startswith("jdbc:mysql://dw.example:3306/d%20w?")
    assert "STRICT_ALL_TABLES" in url
    assert "NO_AUTO_VALUE_ON_ZERO" in url
    assert "connectionTimeZone=UTC&forceConnectionTimeZoneToSession=true" in url


def test_tls_is_asked_of_readers_and_writer() -> None:
    renderer = StreamRenderer(replace(RENDER.source, tls=True), replace(RENDER.sink, tls=True))
    text = renderer(launch(), (ORDERS, USERS), TARGETS)
    assert options(text.ddl[0])["debezium.database.ssl.mode"] == "required"
    assert "sslMode=REQUIRED" in options(text.ddl[1])["url"]


def test_a_catch_up_is_the_same_job_and_the_other_readers_emit_no_row() -> None:
    """Flink finds state by an operator's place, so nothing but options of readers differs."""
    whole, only = render(SPEC), render(SPEC, only="shop.users")
    assert only.statement == whole.statement
    assert only.config == whole.config
    ((old, new),) = differing(whole, only)
    assert options(new) == {**options(old), "debezium.skipped.operations": "c,u,d"}
    assert options(old)["table-name"] == "orders"
    assert old.partition(" WITH (")[0] == new.partition(" WITH (")[0]


def test_a_catch_up_of_a_shared_reader_takes_no_row_for_another_table_s() -> None:
    """No name ends with a space, and two views stay two: equal ones would be planned as one."""
    whole, only = render(SHARED), render(SHARED, only="shop.users")
    assert only.statement == whole.statement
    ((old, new),) = differing(whole, only)
    assert old.count("= 'orders'") == 1
    assert new == old.replace("= 'orders'", "= 'orders '")


def differing(whole: RenderedStream, only: RenderedStream) -> list[tuple[str, str]]:
    return [(old, new) for old, new in zip(whole.ddl, only.ddl, strict=True) if old != new]
