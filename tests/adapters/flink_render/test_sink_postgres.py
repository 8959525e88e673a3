from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.render import RenderedStream, StreamRenderer
from cdc_assets.flink.sink_postgres import PostgresSink
from cdc_assets.flink.source_sql import SourceAccess
from cdc_assets.ports import Launch, Server

ID = Column("Id", "bigint", "bigint(20) unsigned", nullable=False)
AT = Column("At", "timestamp", "timestamp(3)")
ON = Column("on_day", "date", "date")
SIZE = Column("size", "double", "double(20,5)")
ORDERS = TableShape("shop", "orders", (ID, AT, ON, SIZE), ("Id",))
PG_ORDERS = TableShape(
    "dw", "Ord ers",
    (Column("id", "numeric", "numeric(20,0)"), Column("at", "timestamptz", "timestamptz"),
     Column("on_day", "date", "date"), Column("size", "float8", "double precision")),
    ("id",),
)  # fmt: skip
PG_COUNTS = TableShape(
    "dw", "counts",
    (Column("day", "date", "date"), Column("n", "int8", "bigint"),
     Column("last", "timestamptz", "timestamp(0) with time zone"),
     Column("made", "int8", "bigint", generated=True)),
    ("day",),
)  # fmt: skip
SPEC = StreamSpec(
    "s", (TableRef("shop", "orders", "Ord ers"),), ServerIdRange(1, 9), "dw",
    target_kind="postgres",
)  # fmt: skip
SINK = PostgresSink(Server("dw.example", 5432), "d w", "dw", "writer", "tar'get")


def render(spec: StreamSpec = SPEC, sink: PostgresSink = SINK) -> RenderedStream:
    launch = Launch("0" * 32, "s", spec, Server("db.example", 3306))
    renderer = StreamRenderer(SourceAccess("cdc", "so'urce"), sink)
    return renderer(launch, (ORDERS,), (PG_ORDERS, PG_COUNTS))


def properties(sink: PostgresSink) -> dict[str, str]:
    query = urlsplit(sink.url.removeprefix("jdbc:")).query
    return {name: values[0] for name, values in parse_qs(query).items()}


def test_columns_have_the_targets_names_and_dates_go_as_text() -> None:
    text = render()
    assert text.statement == (
        "EXECUTE STATEMENT SET BEGIN\n"
        "INSERT INTO `target.Ord ers` (`id`, `at`, `on_day`, `size`)\n"
        "SELECT `Id`, CONCAT(CAST(CAST(`At` AS TIMESTAMP(3)) AS STRING), '+00'),"
        " CAST(`on_day` AS STRING), ROUND(`size`, 5)\n"
        "FROM `orders`;\nEND"
    )
    sink = text.ddl[1]
    assert "`id` DECIMAL(20, 0) NOT NULL" in sink or "`id` DECIMAL(20, 0)" in sink
    assert "PRIMARY KEY (`id`) NOT ENFORCED" in sink
    assert "'table-name' = '\"dw\".\"Ord ers\"'" in sink


def test_text_goes_without_a_type_so_that_the_column_decides() -> None:
    assert properties(SINK)["stringtype"] == "unspecified"
    assert SINK.url.startswith("jdbc:postgresql://dw.example:5432/d%20w?")


@pytest.mark.parametrize(
    ("tls", "ca_file", "wanted"),
    [
        ("off", None, {"sslmode": "disable"}),
        ("encrypt", None, {"sslmode": "require"}),
        ("verify", "/ca.pem", {"sslmode": "verify-full", "sslrootcert": "/ca.pem"}),
        ("verify", None, {"sslfactory": "org.postgresql.ssl.DefaultJavaSSLFactory"}),
    ],
)
def test_tls_is_what_was_asked_for(tls: str, ca_file: str | None, wanted: dict[str, str]) -> None:
    sink = replace(SINK, tls=tls, ca_file=ca_file)
    assert wanted.items() <= properties(sink).items()


def test_no_secret_shows() -> None:
    assert "tar'get" not in repr(SINK)
    assert "tar''get" not in render().redacted
    assert any("tar''get" in ddl for ddl in render().ddl)


def test_a_query_fills_the_types_of_the_target() -> None:
    spec = replace(SPEC, queries=(QuerySpec("counts", "SELECT on_day, COUNT(*) FROM orders"),))
    ddl = render(spec).ddl[-1]
    assert "`day` DATE" in ddl
    assert "`n` BIGINT" in ddl
    assert "`last` TIMESTAMP(1)" in ddl
    assert "made" not in ddl


@pytest.mark.parametrize("schema", ["a:b", "", "x" * 64])
def test_a_schema_that_the_connector_misreads_is_refused(schema: str) -> None:
    with pytest.raises(ConfigurationError, match=r"target\.schema"):
        render(sink=replace(SINK, schema=schema))


def test_a_column_that_needs_quotes_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r"public\.t: .*reserved.*'user'"):
        SINK.checked_column("user", field="public.t")
