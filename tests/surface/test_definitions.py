"""The reference deployment: it loads anywhere, and its graph is what the pages show."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cdc_assets import (
    FlinkResource,
    KafkaConnectResource,
    KafkaTargetResource,
    LedgerResource,
    MySqlResource,
    StarRocksTargetResource,
)
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.debezium.engine import DebeziumEngine
from cdc_assets.definitions_builder import Surface, build_cdc_definitions, definitions_of
from cdc_assets.definitions_file import streams_of
from cdc_assets.errors import ConfigurationError
from cdc_assets.translator import CdcProps, CdcTranslator, StreamGraph
from cdc_assets.wiring import StreamConnection, StreamWiring

ROOT = Path(__file__).parents[2]
LOAD = """
import socket
def refuse(*args, **options):
    raise SystemExit("loading opened a socket")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
import definitions
import dagster
dagster.Definitions.validate_loadable(definitions.defs)
"""
GRAPH = {
    "source/source/orders": [],
    "source/source/source_table": [],
    "shop/snapshot": ["source/source/orders", "source/source/source_table"],
    "shop/stream": ["shop/snapshot"],
    "target/target/orders": ["shop/stream"],
    "target/target/target_table": ["shop/stream"],
    "stats/snapshot": ["source/source/orders"],
    "stats/stream": ["stats/snapshot"],
    "target/target/orders_by_product": ["stats/stream"],
}
KINDS = {
    "source/source/orders": {"mysql"},
    "shop/snapshot": {"flink"},
    "shop/stream": {"flink"},
    "target/target/orders": {"mysql"},
}


@pytest.fixture(scope="module")
def defs() -> dg.Definitions:
    found = list(streams_of(ROOT).values())
    return definitions_of(found, Surface(), watch_rds=True)


def test_it_loads_without_environment_and_without_network() -> None:
    bare = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/nonexistent")}
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        cwd=ROOT,
        env=bare,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0


def test_the_graph_leads_from_source_tables_to_target_tables(defs: dg.Definitions) -> None:
    specs = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
    assert {
        key: sorted(dep.asset_key.to_user_string() for dep in spec.deps)
        for key, spec in specs.items()
    } == GRAPH
    assert {key: set(specs[key].kinds) for key in KINDS} == KINDS


def test_every_asset_of_a_stream_carries_its_tag_and_group(defs: dg.Definitions) -> None:
    for spec in defs.resolve_all_asset_specs():
        if spec.key.path[0] == "source":
            assert spec.group_name == "source"
        else:
            assert spec.tags["cdc/stream"] == spec.group_name


def test_checks_sensors_jobs_and_schedules_are_there(defs: dg.Definitions) -> None:
    checks = {check.to_user_string() for check in defs.resolve_asset_graph().asset_check_keys}
    assert checks == {
        "target/target/orders:row_count",
        "target/target/target_table:row_count",
        "target/target/orders_by_product:row_count",
        "shop/snapshot:row_count_orders",
        "shop/snapshot:row_count_target_table",
        "shop/stream:health",
        "shop/stream:schema_drift",
        "stats/stream:health",
        "stats/stream:schema_drift",
    }
    assert {sensor.name for sensor in defs.sensors or ()} == {
        "health_shop", "health_stats", "rds_events_shop", "rds_events_stats",
    }  # fmt: skip
    assert {job.name for job in defs.jobs or ()} == {"recover_shop", "recover_stats"}
    assert {schedule.name for schedule in defs.schedules or ()} == {
        "reconcile_shop_schedule", "reconcile_stats_schedule", "schema_shop_schedule",
        "schema_stats_schedule",
    }  # fmt: skip


def test_the_file_keeps_to_its_size() -> None:
    assert len((ROOT / "definitions.py").read_text().splitlines()) <= 40
    for path in (ROOT / "resources").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 30


def test_the_deployment_uses_public_names_only() -> None:
    for path in [ROOT / "definitions.py", *(ROOT / "resources").glob("*.py")]:
        modules = re.findall(r"^(?:from|import) (cdc_assets[\w.]*)", path.read_text(), re.MULTILINE)
        assert set(modules) <= {"cdc_assets"}


def test_a_wrong_interval_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_SENSOR_SECONDS", "soon")
    with pytest.raises(ConfigurationError, match="CDC_SENSOR_SECONDS"):
        streams_of(ROOT)


@dataclass(frozen=True)
class Unconnected:
    spec: StreamSpec

    def connect(self, *, patience_seconds: float | None = None) -> StreamConnection:
        raise NotImplementedError


def access(name: str, ids: str, *, target: str = "orders") -> Unconnected:
    table = TableRef("shop", "orders", target)
    return Unconnected(StreamSpec(name, (table,), ServerIdRange.parse(ids), "dw"))


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (access("other", "5405-5415", target="copy"), "overlaps with 5405-5415"),
        (access("shop", "6000-6001", target="copy"), "streams: named twice"),
        (access("other", "6000-6001"), "target tables: named twice"),
    ],
)
def test_streams_that_would_meet_are_refused(second: Unconnected, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        definitions_of([access("shop", "5400-5409"), second], Surface(), watch_rds=False)


def test_each_stream_has_its_own_source_account() -> None:
    found: Any = streams_of(ROOT)
    assert found["shop"].source is not found["stats"].source
    assert not found["shop"].shares_account


def test_a_table_that_two_streams_read_is_declared_once() -> None:
    streams = [access("one", "1-1"), access("two", "2-2", target="copy")]
    dg.Definitions.validate_loadable(definitions_of(streams, Surface(), watch_rds=False))


def test_a_translator_that_changes_keys_changes_them_everywhere() -> None:
    class Prefixed(CdcTranslator):
        def get_asset_spec(self, props: CdcProps) -> dg.AssetSpec:
            spec = super().get_asset_spec(props)
            return spec.replace_attributes(key=spec.key.with_prefix("prod"))

    stream = access("shop", "1-1")
    surface = Surface(translator=Prefixed())
    made = definitions_of([stream], surface, watch_rds=False)
    dg.Definitions.validate_loadable(made)
    keys = {spec.key.to_user_string() for spec in made.resolve_all_asset_specs()}
    assert {key.split("/")[0] for key in keys} == {"prod"}


def test_a_query_is_shown_on_its_target_table() -> None:
    spec = StreamSpec(
        "stats",
        (TableRef("shop", "orders"),),
        ServerIdRange(1, 1),
        "dw",
        queries=(QuerySpec("sums", "SELECT SUM(quantity) FROM orders"),),
    )
    (sums,) = [each for each in StreamGraph.build(spec).targets if each.name == "sums"]
    assert "SELECT SUM" in sums.spec.metadata["cdc/query"].value
    assert sums.table is None


def built(**engines: object) -> dg.Definitions:
    """Return the definitions of one stream into Kafka."""
    return build_cdc_definitions(
        streams=StreamSpec("shop", (TableRef("shop", "orders"),), ServerIdRange(1, 1), ""),
        source=MySqlResource(host="db", username="cdc", password="x"),
        target=KafkaTargetResource(bootstrap_servers="kafka:9092"),
        ledger=LedgerResource(url="sqlite:///ledger.db"),
        **engines,
    )


def test_each_stream_may_land_elsewhere() -> None:
    def landing(target: object) -> dg.Definitions:
        return build_cdc_definitions(
            streams=[
                StreamSpec("shop", (TableRef("shop", "orders"),), ServerIdRange(1, 1), ""),
                StreamSpec("late", (TableRef("shop", "orders"),), ServerIdRange(2, 2), "dw"),
            ],
            source=MySqlResource(host="db", username="cdc", password="x"),
            target=target,  # pyright: ignore[reportArgumentType]
            flink=FlinkResource(
                rest_url="http://f", sql_gateway_url="http://g",
                checkpoint_directory="file:///c", savepoint_directory="file:///s",
            ),
            ledger=LedgerResource(url="sqlite:///ledger.db"),
        )  # fmt: skip

    kafka = KafkaTargetResource(bootstrap_servers="kafka:9092")
    starrocks = StarRocksTargetResource(host="fe", username="w", password="x", database="dw")
    defs = landing({"shop": kafka, "late": starrocks})
    kinds = {spec.key.path[-1]: spec.kinds for spec in defs.resolve_all_asset_specs()
             if spec.key.path[0] == "target"}  # fmt: skip
    assert {kind for each in kinds.values() for kind in each} >= {"kafka", "starrocks"}
    with pytest.raises(ConfigurationError) as raised:
        landing({"shop": kafka})
    assert (raised.value.field, raised.value.value) == ("target", "late")


def test_either_flink_or_a_connect_worker_runs_a_stream() -> None:
    worker = KafkaConnectResource(rest_url="http://connect:8083", history_directory="/var/lib/cdc")
    flink = FlinkResource(
        rest_url="http://f", sql_gateway_url="http://g", checkpoint_directory="file:///c",
        savepoint_directory="file:///s",
    )  # fmt: skip
    specs = {spec.key: spec for spec in built(connect=worker).resolve_all_asset_specs()}
    assert specs[dg.AssetKey(["shop", "stream"])].kinds == {"debezium"}
    for engines in ({}, {"connect": worker, "flink": flink}):
        with pytest.raises(ConfigurationError, match="flink: give one of flink and connect"):
            built(**engines)
    connection = StreamWiring(
        spec=StreamSpec("shop", (TableRef("shop", "orders"),), ServerIdRange(1, 1), "",
                        target_kind="kafka"),
        source=MySqlResource(host="127.0.0.1", port=1, username="cdc", password="x"),
        target=KafkaTargetResource(bootstrap_servers="127.0.0.1:1"),
        flink=None,
        worker=worker,
        ledger=LedgerResource(url="sqlite:///ledger.db"),
    ).connect()  # fmt: skip
    assert connection.runtime.spec.engine == "debezium"
    assert isinstance(connection.runtime.engine, DebeziumEngine)
    assert connection.job_url("a" * 32) is None
