"""Pipeline files on a real lab: topics, records, tombstones, and joins over the topics."""

# ruff: noqa: S608 - the names are this file's own

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from cdc_assets.cli import cli
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.topic_stream import TopicStreamSpec, topic_tables
from cdc_assets.errors import CdcError
from cdc_assets.flink.resource import FlinkResource
from cdc_assets.lab.kafka_rows import KafkaRows
from cdc_assets.lab.kafka_server import TOPIC_PREFIX
from cdc_assets.lab.services import restart_taskmanager
from cdc_assets.lab.workload import Login
from cdc_assets.ledger.resource import LedgerResource
from cdc_assets.operations.deploy import deploy
from cdc_assets.operations.launch import newest
from cdc_assets.operations.reconcile import reconcile
from cdc_assets.operations.runtime import Budgets, StreamRuntime
from cdc_assets.operations.snapshot import snapshot
from cdc_assets.operations.topics import (
    Launched,
    TopicRuntime,
    deploy_topics,
    look_at_topics,
)
from cdc_assets.pipeline_stream import stream_from_pipeline
from cdc_assets.targets.kafka_client import KafkaClient
from cdc_assets.targets.resource import MySqlTargetResource
from cdc_assets.topic_assets import TopicWiring
from tests.integration.targets.kafka_lab import KafkaLab, kafka_lab
from tests.integration.targets.test_kafka import topic
from tests.integration.targets.waiting import closing_job, until
from tests.integration.test_types import executed
from tests.pipeline.files import BATCH, EACH, SINK, SOURCE, changed

LOG = logging.getLogger(__name__)
DATABASE = "order_dw"
NAMES = ("feedback", "order", "user")
# Variant: routes, topics of NAMES, server ids.
VARIANTS = {
    "default": ("", [f"{DATABASE}.{name}" for name in NAMES], "28601-28604"),
    "each": (EACH, ["feedback3", "order2", "user1"], "28611-28614"),
    "batch": (BATCH, [f"topic_{name}" for name in NAMES], "28621-28624"),
}
JOINS = {
    "user_product": (
        (
            "SELECT `order`.key_id AS order_id, value_product AS product,"
            " `user`.value_name AS user_name"
            " FROM `order` LEFT JOIN `user` ON `order`.value_user_id = `user`.key_id"
        ),
        (
            "SELECT `order`.id, product, `user`.name"
            " FROM `order` LEFT JOIN `user` ON `order`.user_id = `user`.id ORDER BY 1"
        ),
    ),
    "user_feedback": (
        (
            "SELECT feedback.key_id AS feedback_id, value_comment AS `comment`,"
            " `user`.value_name AS user_name"
            " FROM feedback LEFT JOIN `user` ON feedback.value_user_id = `user`.key_id"
        ),
        (
            "SELECT feedback.id, comment, `user`.name"
            " FROM feedback LEFT JOIN `user` ON feedback.user_id = `user`.id ORDER BY 1"
        ),
    ),
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Generator[KafkaLab]:
    with kafka_lab(tmp_path_factory.mktemp("pipeline"), "mariadb") as running:
        make_database(running)
        yield running


def make_database(lab: KafkaLab) -> None:
    state = lab.stage.state
    cdc, app = state.accounts["cdc"], state.accounts["app"]
    with closing(state.servers["blue"].connect()) as connection, connection.cursor() as cursor:
        for statement in (
            f"create database {DATABASE} charset utf8mb4",
            "create database joined charset utf8mb4",
            f"grant all on {DATABASE}.* to '{app.user}'@'%'",
            f"grant all on joined.* to '{app.user}'@'%'",
            f"grant select on {DATABASE}.* to '{cdc.user}'@'%'",
        ):
            cursor.execute(statement)
    executed(
        shop(lab),
        "create table `user` (id bigint not null primary key, name varchar(50) not null)",
        "create table `order` (id bigint not null primary key, product varchar(50) not null,"
        " user_id bigint not null)",
        "create table `feedback` (id bigint not null primary key, user_id bigint not null,"
        " comment varchar(50) not null)",
        "insert into `user` values (1, 'Tom'), (2, 'Jerry')",
        "insert into `order` values (1, 'Football', 2), (2, 'Basket', 1)",
        "insert into `feedback` values (1, 1, 'Good.'), (2, 2, 'Very good')",
    )


def shop(lab: KafkaLab) -> Login:
    return replace(lab.stage.source, database=DATABASE)


def written(lab: KafkaLab, folder: Path, variant: str) -> Path:
    """Write a variant of the file; what it leaves open is given beside it."""
    routes, _, ids = VARIANTS[variant]
    servers = lab.access("cdc_writer").servers
    text = changed("28601-28604", ids, SOURCE) + routes + SINK
    text = changed("3306", str(lab.stage.source.port), text)
    path = folder / f"{variant}.yaml"
    path.write_text(changed("xxxx.kafka.example:9092", servers, text))
    return path


def on_the_command_line(lab: KafkaLab, command: str, path: Path) -> str:
    cdc = lab.stage.state.accounts["cdc"]
    given = ["--host", lab.stage.source.host, "--username", cdc.user, "--password", "env:CDC_PW"]
    done = CliRunner().invoke(
        cli, ["pipeline", command, str(path), *given], env={"CDC_PW": cdc.password}
    )
    assert done.exit_code == 0, done.output
    return done.output


def looked_up(lab: KafkaLab, folder: Path, variant: str) -> StreamRuntime:
    """Look up the tables and return the stream, ready to be launched."""
    path = written(lab, folder, variant)
    assert "3 tables, written" in on_the_command_line(lab, "resolve", path)
    cdc, access = lab.stage.state.accounts["cdc"], lab.access("cdc_writer")
    made = stream_from_pipeline(
        path,
        stream=f"{variant}_variant",
        source={"host": lab.stage.source.host, "username": cdc.user, "password": cdc.password},
        target={
            "topic_prefix": TOPIC_PREFIX,
            "security_protocol": access.protocol,
            "username": access.username,
            "password": access.password,
        },
    )
    wiring = replace(lab.wiring(made.spec), source=made.source, target=made.target)
    connection = wiring.connect()
    assert [fault.text for fault in connection.preflight() if fault.severity == "error"] == []
    return connection.runtime


@contextmanager
def running(rt: StreamRuntime) -> Iterator[StreamRuntime]:
    """Copy the tables and leave the stream running."""
    with closing_job(rt):
        assert {row.verdict for row in snapshot(rt).reconciliations} == {"InSync"}
        deploy(rt)
        yield rt


def differences(lab: KafkaLab, rt: StreamRuntime) -> list[str]:
    """Compare the latest record of each key with the source's rows, every column."""
    shapes = rt.source.shapes(rt.source.endpoint, rt.spec.tables)
    pairs = list(zip(rt.spec.tables, shapes, strict=True))
    rows = KafkaRows(lab.target("app"), {table.target_name: shape for table, shape in pairs})
    return [
        table.label
        for table, _ in pairs
        if rows.rows(table.target_name)
        != {(row[0],): row for row in executed(shop(lab), f"select * from `{table.name}`")}
    ]


@pytest.mark.parametrize("variant", ["each", "batch"])
def test_a_variant_fills_the_topics_that_its_routes_name(
    lab: KafkaLab, tmp_path: Path, variant: str
) -> None:
    rt = looked_up(lab, tmp_path, variant)
    assert [table.target_name for table in rt.spec.tables] == VARIANTS[variant][1]
    # Ends with a savepoint; how changes go on from there is the next test's.
    assert [row.verdict for row in snapshot(rt).reconciliations] == ["InSync"] * 3
    assert differences(lab, rt) == []


def test_a_whole_database_lands_in_compacted_topics_and_is_joined_there(
    lab: KafkaLab, tmp_path: Path
) -> None:
    with running(looked_up(lab, tmp_path, "default")) as rt:
        shown = on_the_command_line(lab, "show", tmp_path / "default.yaml")
        assert "reader 1 (server id 28601, key id): order_dw.feedback, order_dw.order" in shown
        settings = KafkaClient(lab.access("admin"), 5.0, 10.0).settings(
            [f"{TOPIC_PREFIX}{name}" for name in VARIANTS["default"][1]]
        )
        assert {each["cleanup.policy"] for each in settings.values()} == {"compact"}
        one_record_for_an_update_and_one_tombstone_for_a_delete(lab, rt)
        a_table_made_later_is_named_by_the_preflight(lab, tmp_path)
        joins_follow_the_source(lab, rt)


def one_record_for_an_update_and_one_tombstone_for_a_delete(
    lab: KafkaLab, rt: StreamRuntime
) -> None:
    def said(name: str, key: int) -> list[object]:
        found = topic(lab, f"{DATABASE}.{name}")
        return [value for at, value in found if at == {"id": key}]

    mark = {"__table": f"{DATABASE}.user"}
    executed(
        shop(lab),
        "insert into `user` values (3, 'Spike')",
        "update `user` set name = 'Spike II' where id = 3",
        "update `user` set name = 'Spike III' where id = 3",
        "insert into `feedback` values (3, 3, 'Woof')",
        "delete from `feedback` where id = 3",
    )
    until(lambda: len(said("user", 3)) >= 3 and len(said("feedback", 3)) >= 2)
    assert said("user", 3) == [
        {"id": 3, "name": name, **mark} for name in ("Spike", "Spike II", "Spike III")
    ]
    assert said("user", 1) == [{"id": 1, "name": "Tom", **mark}]
    assert said("feedback", 3)[1:] == [None]
    assert differences(lab, rt) == []
    row = newest(rt)
    assert row is not None
    verdicts = reconcile(rt, row, tables=rt.spec.tables)
    assert [each.verdict for each in verdicts] == ["InSync"] * 3


def a_table_made_later_is_named_by_the_preflight(lab: KafkaLab, folder: Path) -> None:
    executed(shop(lab), "create table late (id int primary key)")
    assert "new since" in on_the_command_line(lab, "show", folder / "default.yaml")
    cdc = lab.stage.state.accounts["cdc"]
    source = {"host": lab.stage.source.host, "username": cdc.user, "password": cdc.password}
    made = stream_from_pipeline(folder / "default.yaml", stream="late", source=source)
    wiring = replace(lab.wiring(made.spec), source=made.source)
    faults = [f for f in wiring.connect().preflight() if f.field == f"{DATABASE}.late"]
    assert [fault.severity for fault in faults] == ["warning"]
    assert "pipeline resolve" in faults[0].fix
    executed(shop(lab), "drop table late")


def joined(lab: KafkaLab, stream: StreamRuntime) -> TopicRuntime:
    """Return the joins as one job over the stream's topics, into a database."""
    target = replace(lab.stage.source, database="joined")
    executed(
        target,
        "create table user_product (order_id bigint primary key, product varchar(50),"
        " user_name varchar(50)) charset utf8mb4",
        "create table user_feedback (feedback_id bigint primary key, comment varchar(50),"
        " user_name varchar(50)) charset utf8mb4",
    )
    shapes = stream.source.shapes(stream.source.endpoint, stream.spec.tables)
    spec = TopicStreamSpec(
        "joins",
        topic_tables(stream.spec, shapes),
        tuple(QuerySpec(name, queries[0]) for name, queries in JOINS.items()),
        parallelism=2,
    )
    wiring = lab.wiring(stream.spec)
    reader = lab.access("app")
    flink = wiring.flink
    assert isinstance(flink, FlinkResource)
    return TopicWiring(
        spec,
        lab.resource(username=reader.username, password=reader.password),
        MySqlTargetResource(
            host=target.host, port=target.port, username=target.user,
            password=target.password, database="joined",
        ),
        flink,
        LedgerResource(url=f"sqlite:///{lab.stage.home}/joins.db"),
        Budgets(),
    ).connect()  # fmt: skip


def joins_follow_the_source(lab: KafkaLab, stream: StreamRuntime) -> None:
    rt = joined(lab, stream)
    target = replace(lab.stage.source, database="joined")

    def equal() -> bool:
        return all(
            executed(target, f"select * from {name} order by 1") == executed(shop(lab), wanted)
            for name, (_, wanted) in JOINS.items()
        )

    assert look_at_topics(rt).condition == "never"
    began = time.monotonic()
    first = deploy_topics(rt)
    try:
        assert (first.incarnation, first.restored_from) == (1, "initial")
        until(equal)
        LOG.info("joins equal to the source %.1f s after the launch", time.monotonic() - began)
        assert deploy_topics(rt).adopted
        assert look_at_topics(rt).is_healthy
        executed(
            shop(lab),
            "update `user` set name = 'Thomas' where id = 1",
            "insert into `order` values (3, 'Racket', 3), (4, 'Net', 99)",
            "update `order` set user_id = 3 where id = 1",
            "delete from `order` where id = 2",
            "delete from `user` where id = 2",
        )
        until(equal)
        restart_taskmanager(lab.stage.home)
        until(lambda: look_at_topics(rt).condition == "ended")
        executed(shop(lab), "update `user` set name = 'Tom II' where id = 1")
        again = relaunched(rt)
        assert again.incarnation > 1
        assert "/chk-" in again.restored_from
        assert rt.engine.job(stream.ledger.incarnations(stream.name)[-1].job_id).state == "FAILED"
        deploy(stream)
        until(equal)
    finally:
        rows = rt.ledger.incarnations(rt.name)
        rt.engine.cancel(rows[-1].job_id, budget_seconds=60)
    assert look_at_topics(rt).condition == "stopped"


def relaunched(rt: TopicRuntime) -> Launched:
    """Launch again as the sensor does, while the task manager comes up."""
    deadline = time.monotonic() + 90
    while True:
        try:
            return deploy_topics(rt)
        except CdcError:
            assert time.monotonic() < deadline
            time.sleep(1)
