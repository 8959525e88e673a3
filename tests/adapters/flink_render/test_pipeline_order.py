"""What Flink CDC is told: every setting that recovery needs, and no secret in any text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.kafka import KafkaAccess
from cdc_assets.core.native_pipeline import NativePipeline
from cdc_assets.core.position import Coordinates
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec, plan_of
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.pipeline_order import PipelineRenderer
from cdc_assets.flink.sink_kafka import CDC_SHADED, KafkaSink
from cdc_assets.flink.source_sql import SourceAccess
from cdc_assets.ports import Launch, Server

ID = Column("id", "bigint", "bigint(20)", nullable=False)
NAME = Column("name", "varchar", "varchar(50)", charset="utf8mb4", collation="utf8mb4_general_ci")
SHAPES = tuple(TableShape("shop", name, (ID, NAME), ("id",)) for name in ("users", "or$ders"))
SPEC = StreamSpec(
    "shop",
    (TableRef("shop", "users", "people"), TableRef("shop", "or$ders", "shop.orders")),
    ServerIdRange(5400, 5409),
    "lab.",
    target_kind="kafka",
    engine="flink-cdc",
    parallelism=2,
)
PASSWORDS = ("source-geheim", "target-geheim")
SINK = KafkaSink(
    KafkaAccess("kafka.example:9092", "SASL_PLAINTEXT", "PLAIN", "writer", PASSWORDS[1]),
    "lab.",
    shaded_as=CDC_SHADED,
)
RENDER = PipelineRenderer(
    SourceAccess("cdc", PASSWORDS[0]),
    SINK,
    NativePipeline(
        source={"scan.snapshot.fetch.size": "10"},
        sink={"value.format": "canal-json"},
        transforms=({"source-table": "shop.users", "filter": "id > 1"},),
        pipeline={"schema.change.behavior": "evolve"},
    ),
    "http://flink.example:8081",
    "file:///state/checkpoints",
)
JOB = "0" * 31 + "1"
LAUNCH = Launch(JOB, "shop:1", SPEC, Server("db.example", 3306))


def told(render: PipelineRenderer = RENDER, **more: object) -> Mapping[str, Any]:
    return json.loads(render.order(replace(LAUNCH, **more), SHAPES).definition_text)


def test_the_source_reads_the_streams_tables_from_the_launchs_place() -> None:
    source = told(coordinates=Coordinates("bin.000007", 400))["source"]
    assert (
        source.items()
        >= {
            "type": "mysql",
            "hostname": "db.example",
            "port": "3306",
            "username": "cdc",
            "password": PASSWORDS[0],
            "tables": "shop.users,shop.or[$]ders",
            "server-id": "5400-5401",
            "scan.startup.mode": "specific-offset",
            "scan.startup.specific-offset.file": "bin.000007",
            "scan.startup.specific-offset.pos": "400",
            "debezium.connect.keep.alive": "false",
            "heartbeat.interval": "500ms",
            "scan.snapshot.fetch.size": "10",
        }.items()
    )
    # The SQL connector's own options are unknown to the pipeline's source, which refuses them.
    assert not {"connector", "database-name", "scan.incremental.snapshot.enabled"} & source.keys()
    assert told()["source"]["scan.startup.mode"] == "initial"
    state = told(restore_path="/state/chk-7", coordinates=Coordinates("bin.000007", 400))
    assert state["source"]["scan.startup.mode"] == "initial"


def test_the_sink_logs_in_with_the_classes_that_its_jar_has() -> None:
    sink = told()["sink"]
    assert sink["properties.bootstrap.servers"] == "kafka.example:9092"
    assert (sink["type"], sink["value.format"]) == ("kafka", "canal-json")
    assert sink["sink.delivery-guarantee"] == "at-least-once"
    package = "org.apache.flink.cdc.connectors.kafka.shaded.org.apache.kafka.common.security.plain"
    assert sink["properties.sasl.jaas.config"].startswith(f"{package}.PlainLoginModule required")
    plain = told(replace(RENDER, sink=replace(SINK, shaded_as="")))["sink"]
    assert plain["properties.sasl.jaas.config"].startswith("org.apache.kafka.common.security")


def test_each_table_has_a_route_of_its_own_to_its_topic() -> None:
    assert told()["route"] == [
        {"source-table": "shop.users", "sink-table": "lab.people"},
        {"source-table": "shop.or[$]ders", "sink-table": "lab.shop.orders"},
    ]
    bare = replace(RENDER, sink=replace(SINK, prefix=""))
    spec = replace(SPEC, tables=(TableRef("shop", "users", "shop.users"),))
    assert "route" not in told(bare, spec=spec)


def test_one_topic_needs_no_routes_and_has_the_prefix() -> None:
    found = told(replace(RENDER, said=NativePipeline(sink={"topic": "all"})))
    assert "route" not in found
    assert found["sink"]["topic"] == "lab.all"


def test_transforms_and_the_pipelines_own_settings_are_handed_on() -> None:
    found = told()
    assert found["transform"] == [{"source-table": "shop.users", "filter": "id > 1"}]
    assert found["pipeline"] == {
        "local-time-zone": "UTC",
        "schema.change.behavior": "evolve",
        "name": "shop:1",
        "parallelism": "2",
        "operator.uid.prefix": "shop",
    }


def test_flink_is_told_job_checkpoints_and_state() -> None:
    launch = replace(LAUNCH, restore_path="/state/chk-7")
    settings = json.loads(RENDER.order(launch, SHAPES).settings_text)
    assert (
        settings.items()
        >= {
            "$internal.pipeline.job-id": JOB,
            "rest.address": "flink.example",
            "rest.port": "8081",
            "execution.checkpointing.interval": "3000ms",
            "execution.checkpointing.dir": "file:///state/checkpoints",
            "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
            "restart-strategy.type": "none",
            "execution.state-recovery.path": "file:///state/chk-7",
            "execution.state-recovery.claim-mode": "NO_CLAIM",
        }.items()
    )
    assert not any(password in json.dumps(settings) for password in PASSWORDS)


def test_a_setting_of_the_launch_cannot_be_given() -> None:
    with pytest.raises(ConfigurationError, match="made by the launch itself"):
        told(replace(RENDER, settings={"rest.port": "1"}))


def test_keys_other_than_integers_keep_the_changes_of_the_snapshot() -> None:
    word = replace(SHAPES[0], primary_key=("name",))
    found = json.loads(RENDER.order(LAUNCH, [word]).definition_text)["source"]
    assert found["scan.incremental.snapshot.backfill.skip"] == "true"
    assert "scan.incremental.snapshot.backfill.skip" not in told()["source"]
    chosen = NativePipeline(source={"scan.incremental.snapshot.chunk.key-column": "shop.users:id"})
    order = replace(RENDER, said=chosen).order(LAUNCH, [word])
    assert "scan.incremental.snapshot.backfill.skip" not in order.definition_text


@pytest.mark.parametrize("name", ["a b", "a.b", "größe😀", "a,b"])
def test_a_name_that_patterns_cannot_say_is_refused(name: str) -> None:
    spec = replace(SPEC, tables=(TableRef("shop", name, "topic"),))
    with pytest.raises(ConfigurationError, match="patterns cannot say"):
        told(spec=spec)


def test_a_topic_with_too_many_dots_is_refused() -> None:
    spec = replace(SPEC, tables=(TableRef("shop", "users", "a.b.c"),))
    with pytest.raises(ConfigurationError, match="at most three parts"):
        told(spec=spec)


def test_what_people_read_holds_no_secret_and_is_one_text_for_all_launches() -> None:
    first = RENDER.for_people(LAUNCH, SHAPES)
    other = replace(
        LAUNCH, job_id="f" * 32, name="shop:2", server=Server("green.example", 3307),
        coordinates=Coordinates("bin.000001", 4),
    )  # fmt: skip
    assert plan_of(first) == plan_of(RENDER.for_people(other, SHAPES))
    assert not any(password in first for password in PASSWORDS)
    assert not any(password in repr(RENDER.order(LAUNCH, SHAPES)) for password in PASSWORDS)
    changed = replace(RENDER, said=replace(RENDER.said, transforms=()))
    assert plan_of(changed.for_people(LAUNCH, SHAPES)) != plan_of(first)
