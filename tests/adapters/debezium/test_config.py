"""The configuration of a connector: what it captures, where it writes, what it never shows."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.position import Coordinates
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.stream import StreamSpec, plan_of
from cdc_assets.core.table_refs import ShardedTable
from cdc_assets.debezium.config import (
    Access,
    Beginning,
    ConnectorName,
    connector_settings,
    redacted,
)
from cdc_assets.errors import ConfigurationError
from cdc_assets.ports import Launch, Server
from tests.adapters.debezium.conftest import ACCESS, stream

JOB = "0123456789abcdef" * 2


def launch_of(spec: StreamSpec, number: int = 7) -> Launch:
    return Launch(JOB, f"{spec.name}:{number}", spec, Server("db.example", 3306))


def shape_of(database: str, name: str, *columns: str, key: tuple[str, ...] = ("id",)) -> TableShape:
    return TableShape(
        database, name, tuple(Column(c, "int", "int(11)") for c in ("id", *columns)), key
    )


def settings(
    spec: StreamSpec, *shapes: TableShape, access: Access = ACCESS, start: Beginning | None = None
) -> dict[str, str]:
    return connector_settings(launch_of(spec), "mysql", access, shapes, start or Beginning())


def topic(found: dict[str, str], table: str) -> str:
    """Return where a table's records go, as Connect's RegexRouter works it out."""
    name = f"{found['topic.prefix']}.{table}"
    for route in found["transforms"].split(","):
        pattern = found[f"transforms.{route}.regex"]
        target = found[f"transforms.{route}.replacement"].replace("$1", r"\1")
        match = re.fullmatch(pattern, name)
        name = match.expand(target) if match else name
    return name


def test_nothing_connects_again_by_itself() -> None:
    found = settings(stream())
    assert found["connect.keep.alive"] == "false"
    assert found["errors.max.retries"] == "0"
    assert found["tasks.max"] == "1"
    assert found["database.server.id"] == "5400"


def test_topics_are_called_as_flink_would_call_them() -> None:
    found = settings(stream("shop.orders", "shop.customers:clients"))
    assert topic(found, "shop.orders") == "lab.shop.orders"
    assert topic(found, "shop.customers") == "lab.clients"
    bare = settings(stream("shop.orders"), access=replace(ACCESS, topic_prefix=""))
    assert topic(bare, "shop.orders") == "shop.orders"


def test_a_topic_that_would_be_routed_twice_is_refused() -> None:
    found = stream("shop.a:orders.b")
    with pytest.raises(ConfigurationError, match=r"orders\.topics: begins with 'orders\.'"):
        settings(found, access=replace(ACCESS, topic_prefix=""))
    assert topic(settings(found), "shop.a") == "lab.orders.b"


def test_only_the_named_tables_and_columns_are_captured() -> None:
    spec = replace(stream("my-shop.ord.ers"), exclude_columns=("ord.ers.secret,one",))
    found = settings(spec, shape_of("my-shop", "ord.ers", "secret,one"))
    assert re.fullmatch(found["table.include.list"], "my-shop.ord.ers")
    assert not re.fullmatch(found["table.include.list"], "my-shop.ordXers")
    assert re.fullmatch(found["database.include.list"], "my-shop")
    assert found["column.exclude.list"] == r"my\-shop\.ord\.ers\.secret\,one"


@pytest.mark.parametrize("name", ["or ders", "bestellung_ü", "a$b", "x/y", "😀"])
def test_a_table_whose_topic_debezium_would_rename_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="tables: Debezium takes") as caught:
        settings(stream(f"shop.{name}:topic"))
    assert name in str(caught.value)


def test_a_table_without_a_key_and_an_excluded_key_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"tables: has no primary key.*shop\.orders"):
        settings(stream(), shape_of("shop", "orders", key=()))
    spec = replace(stream(), exclude_columns=("orders.ID",))
    with pytest.raises(ConfigurationError, match=r"orders\.exclude_columns: part of the primary"):
        settings(spec, shape_of("shop", "orders"))


def test_the_password_is_not_shown() -> None:
    found = settings(stream())
    assert found["database.password"] == "s3cret"
    assert "s3cret" not in redacted(found)
    assert "s3cret" not in repr(ACCESS)
    assert "database.password=***" in redacted(found)


def test_launches_at_other_places_have_one_plan() -> None:
    first = Beginning(history="a")
    later = Beginning('{"file": "x.000001", "pos": 4}', "b", rebuilds=True)
    moved = replace(launch_of(stream()), server=Server("other", 3307), coordinates=None)
    one = redacted(settings(stream(), start=first))
    other = redacted(connector_settings(moved, "mysql", ACCESS, (), later))
    assert one != other
    assert plan_of(one) == plan_of(other)
    changed = redacted(settings(replace(stream(), exclude_columns=("orders.x",)), start=first))
    assert plan_of(changed) != plan_of(one)


def test_a_name_tells_stream_incarnation_and_job() -> None:
    launch = replace(launch_of(stream()), coordinates=Coordinates("a.000001", 4))
    name = ConnectorName.of(launch)
    assert str(name) == f"cdc-orders-7-{JOB}"
    assert ConnectorName.parse(str(name)) == name
    assert ConnectorName.parse("someone-elses") is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"target_kind": "mysql"}, "orders.target"),
        ({"queries": (QuerySpec("q", "SELECT 1", (("n", "INT"),), ("n",)),)}, "orders.queries"),
        ({"source_only": ("orders",)}, "orders.source_only"),
        ({"parallelism": 2}, "orders.parallelism"),
        ({"tables": (ShardedTable("a", "b", "c"),)}, "orders.sharded_tables"),
    ],
)
def test_what_a_connector_cannot_do_is_refused_by_name(
    change: dict[str, object], field: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"{field}: Debezium's connector"):
        replace(stream(), **change)
