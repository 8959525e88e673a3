"""A pipeline file that Flink CDC itself runs: positions, a killed task manager, a switchover.

Flink CDC's Kafka sink is on no package registry. Without a home of one's own
(CDC_ASSETS_FLINK_CDC_HOME) its sink `values` takes its place, which prints each event to the
task manager's output: source, position, job and recovery are the same.
"""

# ruff: noqa: S608 - the names are this file's own

from __future__ import annotations

import json
import logging
import re
import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest

from cdc_assets import FlinkCdcResource, RdsResource
from cdc_assets.core.columns import TableShape
from cdc_assets.errors import EngineRejected
from cdc_assets.flink.client import FlinkClient
from cdc_assets.flink.pipeline_engine import PipelineEngine
from cdc_assets.flink.pipeline_order import PipelineOrder, PipelineRenderer
from cdc_assets.lab import flink_cdc
from cdc_assets.lab.dagster_services import environment
from cdc_assets.lab.debezium_rows import DebeziumRows
from cdc_assets.lab.flink_cdc import HOME_VARIABLE
from cdc_assets.lab.kafka_rows import reader_of
from cdc_assets.lab.kafka_server import TOPIC_PREFIX
from cdc_assets.lab.services import restart_taskmanager
from cdc_assets.lab.source_server import ServerKind
from cdc_assets.lab.workload import seed
from cdc_assets.operations.deploy import deploy
from cdc_assets.operations.launch import newest
from cdc_assets.operations.observe import Memory, observe
from cdc_assets.operations.reconcile import reconcile
from cdc_assets.operations.recover import recover
from cdc_assets.operations.runtime import Budgets, StreamRuntime
from cdc_assets.operations.snapshot import snapshot
from cdc_assets.pipeline_stream import stream_from_pipeline
from cdc_assets.ports import Key, Launch
from cdc_assets.targets.kafka import KafkaTarget
from cdc_assets.wiring import StreamConnection
from tests.integration.targets.kafka_lab import KafkaLab, kafka_lab
from tests.integration.targets.sources import sources_of
from tests.integration.targets.waiting import closing_job, records, switched_over, until
from tests.integration.test_types import executed

LOG = logging.getLogger(__name__)
BUDGETS = Budgets(launch_seconds=60.0, drain_seconds=60.0, reconcile_seconds=30.0)
FILE = """
source:
  type: mysql
  hostname: {host}
  port: {port}
  username: {user}
  password: env:CDC_PW
  tables: source.orders, source.source_table
  server-id: 28701-28704

sink:
  type: kafka
  properties.bootstrap.servers: {servers}
  value.format: debezium-json
  partition.strategy: hash-by-key

route:
  - source-table: source.source_table
    sink-table: customers

pipeline:
  name: native
"""
_EVENT = re.compile(r"DataChangeEvent\{tableId=(\S+), before=\[(.*)\], after=\[(.*)\], op=(\w+),")


class Printed(PipelineRenderer):
    """The same order, with the sink that prints."""

    def order(self, launch: Launch, shapes: Sequence[TableShape]) -> PipelineOrder:
        made = super().order(launch, shapes)
        sink = {"type": "values", "print.enabled": "true"}
        return replace(made, definition={**made.definition, "sink": sink})


@dataclass
class PrintedRows:
    """What the sink that prints was told: the rows of each topic by their first column."""

    log: Path

    def rows(self, topic: str) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for name, before, after, op in _EVENT.findall(self.log.read_text(errors="replace")):
            if name != f"{TOPIC_PREFIX}{topic}":
                continue
            if op == "DELETE":
                found.pop(before.split(", ")[0], None)
            else:
                found[after.split(", ")[0]] = after
        return found

    def shapes(self, names: Sequence[str]) -> tuple[TableShape, ...]:
        return tuple(TableShape("", name, (), ()) for name in names)

    def count(
        self,
        name: str,
        *,
        timeout_seconds: float,
        key: Sequence[str] = (),
        bound: Key | None = None,
    ) -> int:
        assert timeout_seconds > 0
        assert bool(key) or bound is None
        last = None if bound is None else int(str(bound[0]))
        return sum(last is None or int(row) <= last for row in self.rows(name))


def as_printed(value: object) -> str:
    """Return a value as Java shows it."""
    if not isinstance(value, datetime):
        return "null" if value is None else str(value)
    text = value.isoformat()
    if not value.microsecond:
        return text if value.second else text.removesuffix(":00")
    return text if value.microsecond % 1000 else text[:-3]


@dataclass(frozen=True)
class NativeLab:
    """A lab with Flink CDC beside it."""

    lab: KafkaLab
    cdc: flink_cdc.FlinkCdc

    @property
    def version(self) -> tuple[int, ...]:
        """Return Flink CDC's version."""
        (jar,) = (self.cdc.cdc_home / "lib").glob("flink-cdc-dist-*.jar")
        return tuple(int(part) for part in jar.stem.rpartition("-")[2].split("."))

    def connection(self, folder: Path, text: str = FILE) -> StreamConnection:
        """Return the stream of the file as a deployment wires it."""
        stage, state = self.lab.stage, self.lab.stage.state
        cdc, access = state.accounts["cdc"], self.lab.access("cdc_writer")
        path = folder / "native.yaml"
        path.write_text(
            text.format(
                host=stage.source.host,
                port=stage.source.port,
                user=cdc.user,
                servers=access.servers,
            )
        )
        made = stream_from_pipeline(
            path,
            flink_cdc=True,
            target={
                "topic_prefix": TOPIC_PREFIX,
                "security_protocol": access.protocol,
                "username": access.username,
                "password": access.password,
            },
        )
        assert made.is_native
        flink = state.services["jobmanager"]
        rds = RdsResource(
            instance="lab-mysql",
            region="us-east-1",
            endpoint_url=environment(state)["CDC_RDS_ENDPOINT_URL"],
        )
        wiring = replace(
            self.lab.wiring(made.spec),
            source=made.source,
            target=made.target,
            flink=FlinkCdcResource(
                rest_url=f"http://{flink.host}:{flink.port}",
                checkpoint_directory=(stage.home / "flink" / "checkpoints").as_uri(),
                savepoint_directory=(stage.home / "flink" / "savepoints").as_uri(),
                pipeline=str(path),
                flink_cdc_home=str(self.cdc.cdc_home),
                flink_home=str(self.cdc.flink_home),
                java=str(self.cdc.java),
            ),
            rds=rds,
            budgets=BUDGETS,
        )
        return wiring.connect()

    def runtime(self, connection: StreamConnection) -> StreamRuntime:
        """Return the stream, where there is no Kafka sink with the one that prints."""
        rt, engine = connection.runtime, connection.runtime.engine
        if self.cdc.has_kafka:
            return rt
        assert isinstance(engine, PipelineEngine)
        target = PrintedRows(self.lab.stage.home / "logs" / "taskmanager.out")
        # The one part that is another one here; everything else is as it was wired.
        parts = vars(engine)
        own = cast("PipelineRenderer", parts["_render"])
        printed = Printed(own.source, own.sink, own.said, own.rest_url, own.checkpoints)
        parts.update(_render=printed, _target=target)
        return replace(rt, target=target)

    def landed(self, rt: StreamRuntime, topic: str) -> Mapping[str, str]:
        """Return what landed, as the sink that prints shows it, by the first column."""
        if isinstance(rt.target, PrintedRows):
            return rt.target.rows(topic)
        found: dict[str, str] = {}
        for key, value in records(self.lab.target("app"), topic):
            fields, event = cast("dict[str, object]", key), cast("dict[str, object]", value)
            after = cast("dict[str, object]", event["after"])
            found[str(fields["id"])] = ", ".join(str(each) for each in (after or {}).values())
        return {key: row for key, row in found.items() if row}

    def repeats(self, rt: StreamRuntime) -> int:
        """Count the events that came more than once."""
        if isinstance(rt.target, PrintedRows):
            seen = Counter(_EVENT.findall(rt.target.log.read_text(errors="replace")))
        else:
            topics = [table.target_name for table in rt.spec.tables]
            seen = Counter(
                json.dumps(record)
                for topic in topics
                for record in records(self.lab.target("app"), topic)
            )
        return sum(count - 1 for count in seen.values())

    def differing(self, rt: StreamRuntime) -> list[str]:
        """Compare what landed with the source's rows, every column; return what differs."""
        if isinstance(rt.target, KafkaTarget):
            return self._differing_topics(rt)
        found: list[str] = []
        for table in rt.spec.tables:
            here = executed(self.lab.stage.source, f"select * from {table.name}")
            assert isinstance(rt.target, PrintedRows)
            wanted = {str(row[0]): [as_printed(value) for value in row] for row in here}
            there = {key: row.split(", ") for key, row in rt.target.rows(table.target_name).items()}
            if wanted != there:
                found.append(table.name)
        return found

    def _differing_topics(self, rt: StreamRuntime) -> list[str]:
        shapes = rt.source.shapes(rt.source.endpoint, rt.spec.tables)
        names = [table.target_name for table in rt.spec.tables]
        # Flink CDC writes values as Flink's JSON does.
        rows = DebeziumRows(
            self.lab.target("app"), dict(zip(names, shapes, strict=True)), reader_of
        )
        return [
            table.name
            for table in rt.spec.tables
            if rows.rows(table.target_name)
            != {
                (row[0],): row
                for row in executed(self.lab.stage.source, f"select * from {table.name}")
            }
        ]


@pytest.fixture(scope="module", params=sources_of("mariadb"))
def lab(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[NativeLab]:
    source: ServerKind = request.param
    with (
        kafka_lab(tmp_path_factory.mktemp(f"native-{source}"), source) as running,
        pytest.MonkeyPatch.context() as patch,
    ):
        variables = environment(running.stage.state)
        for name in ("AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, variables[name])
        patch.setenv("CDC_PW", running.stage.state.accounts["cdc"].password)
        assert has_sql_connector(running)
        cdc = flink_cdc.prepare(running.stage.home)
        assert not has_sql_connector(running)
        yield NativeLab(running, cdc)


def has_sql_connector(lab: KafkaLab) -> bool:
    flink = lab.stage.state.services["jobmanager"]
    found = FlinkClient(f"http://{flink.host}:{flink.port}").class_path()
    assert any("flink-dist" in path for path in found)
    return any("flink-sql-connector-mysql-cdc" in path for path in found)


def test_flink_cdc_runs_the_file_and_the_stream_follows_a_switchover(
    lab: NativeLab, tmp_path: Path
) -> None:
    stage = lab.lab.stage
    seed(stage.source, orders=500)
    connection = lab.connection(tmp_path)
    faults = [each.text for each in connection.preflight() if each.severity == "error"]
    missing = [] if lab.cdc.has_kafka else ["flink-cdc-pipeline-connector-kafka"]
    assert len(faults) == len(missing), faults
    assert all(name in fault for name, fault in zip(missing, faults, strict=True))
    rt = lab.runtime(connection)
    with closing_job(rt):
        began = time.monotonic()
        assert {row.verdict for row in snapshot(rt).reconciliations} == {"InSync"}
        LOG.info("snapshot in %.1f s", time.monotonic() - began)
        began = time.monotonic()
        assert deploy(rt).restored_from.startswith(str(stage.home / "flink" / "savepoints"))
        LOG.info("deployed in %.1f s", time.monotonic() - began)
        assert deploy(rt).adopted
        executed(
            stage.source,
            "insert into orders values (9001, 'bolt', 2, null, 1.50, '2024-02-29 13:14:15.678')",
            "update orders set price = 99.99, note = 'changed' where id = 1",
            "update source_table set customer_name = 'another' where id = 2",
            "delete from orders where id = 3",
        )
        until(lambda: lab.differing(rt) == [])
        the_position_is_the_servers_end_and_in_the_ledger(rt)
        a_killed_task_manager_is_gone_on_from(lab, rt)
        a_switchover_loses_and_repeats_nothing(lab, rt)
        nobody_reads_a_password(lab, rt)


def the_position_is_the_servers_end_and_in_the_ledger(rt: StreamRuntime) -> None:
    def recorded() -> bool:
        end = rt.source.end(rt.source.endpoint)
        observe(rt, Memory())  # as the health sensor does
        (last, *_) = rt.ledger.positions(rt.name, limit=1)
        LOG.info("the server's end %s, recorded %s", end, last.position.coordinates)
        return last.position.coordinates == end

    until(recorded)


def a_killed_task_manager_is_gone_on_from(lab: NativeLab, rt: StreamRuntime) -> None:
    stage = lab.lab.stage
    before = newest(rt)
    assert before is not None
    restart_taskmanager(stage.home)
    until(lambda: rt.engine.job(before.job_id).state == "FAILED")
    executed(stage.source, "update orders set note = 'while it was down' where id = 2")
    began = time.monotonic()
    assert recover(rt, worker="test").decision == "Resume"
    LOG.info("went on %.1f s after the recovery began", time.monotonic() - began)
    after = newest(rt)
    assert after is not None
    assert after.number > before.number
    until(lambda: lab.differing(rt) == [])


def a_switchover_loses_and_repeats_nothing(lab: NativeLab, rt: StreamRuntime) -> None:
    stage = lab.lab.stage
    before = lab.repeats(rt)
    outcome, written = switched_over(stage, rt, first_id=20_001)
    by_place = stage.state.source_kind == "mariadb"
    assert outcome.decision == ("Relaunch" if by_place else "Resume")
    until(lambda: lab.differing(rt) == [])
    row = newest(rt)
    assert row is not None
    verdicts = reconcile(rt, row)
    assert [found.verdict for found in verdicts] == ["InSync", "InSync"]
    # The connection was closed, so the savepoint held all that was read and written.
    assert lab.repeats(rt) == before
    LOG.info("%d events repeated by a killed task manager", before)
    LOG.info("%d rows written, %s", written, [found.reason for found in verdicts])


def nobody_reads_a_password(lab: NativeLab, rt: StreamRuntime) -> None:
    secrets = [lab.lab.stage.state.accounts[role].password for role in ("cdc", "cdc_writer")]
    told = [row.sql for row in rt.ledger.incarnations(rt.name)]
    logs = (lab.lab.stage.home / "logs").rglob("*")
    told += [each.read_text(errors="replace") for each in logs if each.is_file()]
    assert [secret for secret in secrets if any(secret in text for text in told)] == []


TRANSFORM = """
transform:
  - source-table: source.people
    projection: id, UPPER(name) AS loud
    filter: id > 1
"""


def test_a_transform_of_the_file_is_carried_out_and_rows_are_not_counted(
    lab: NativeLab, tmp_path: Path
) -> None:
    stage = lab.lab.stage
    executed(
        stage.source,
        "create table people (id bigint primary key, name varchar(20), age int)",
        "insert into people values (1, 'tom', 7), (2, 'jerry', 8), (3, 'spike', 9)",
    )
    text = FILE.replace("source.orders, source.source_table", "source.people")
    text = text.replace("28701-28704", "28711-28714").replace("name: native", "name: people")
    text = text.partition("\nroute:")[0] + TRANSFORM + "\npipeline:\n  name: people\n"
    rt = lab.runtime(lab.connection(tmp_path, text))
    with closing_job(rt):
        (found,) = snapshot(rt).reconciliations
        assert (found.verdict, found.reason.partition(":")[0]) == ("Inconclusive", "transformed")
        deploy(rt)
        executed(
            stage.source,
            "insert into people values (4, 'butch', 1)",
            "update people set name = 'tuffy' where id = 2",
            "delete from people where id = 3",
        )
        until(lambda: lab.landed(rt, "source.people") == {"2": "2, TUFFY", "4": "4, BUTCH"})


def test_what_flink_cdc_refuses_is_said_in_its_words_and_starts_nothing(
    lab: NativeLab, tmp_path: Path
) -> None:
    executed(
        lab.lab.stage.source,
        "create table refused (id bigint primary key, name varchar(20))",
    )
    text = FILE.replace("source.orders, source.source_table", "source.refused")
    text = text.replace("28701-28704", "28721-28724").partition("\nroute:")[0]
    text = text.replace("  server-id", "  scan.snapshot.fetch.size: many\n  server-id")
    text += "\npipeline:\n  name: refused\n"
    rt = lab.runtime(lab.connection(tmp_path, text))
    said = r"submission of stream 'refused': .*'many' for key 'scan\.snapshot\.fetch\.size'"
    with pytest.raises(EngineRejected, match=said):
        snapshot(rt)
    row = newest(rt)
    assert row is not None
    assert rt.engine.job(row.job_id).state == "GONE"


NEWER = """\
  metadata.list: op_ts
  include-comments.enabled: true
  treat-tinyint1-as-boolean.enabled: false
  use.legacy.json.format: false
  scan.parse.online.schema.changes.enabled: true
  scan.incremental.snapshot.unbounded-chunk-first.enabled: true
  server-id"""


def test_a_text_as_key_and_newer_options_run_since_3_5_and_older_versions_refuse_them(
    lab: NativeLab, tmp_path: Path
) -> None:
    source = lab.lab.stage.source
    executed(
        source,
        "create table codes (code varchar(20) primary key, flag tinyint(1) comment 'said')",
        "insert into codes values ('a', 2), ('B', 0), ('c', null)",
    )
    text = FILE.replace("source.orders, source.source_table", "source.codes")
    text = text.replace("28701-28704", "28741-28744").partition("\nroute:")[0]
    text += "\npipeline:\n  name: codes\n"
    if lab.version < (3, 5):
        with pytest.raises(EngineRejected, match=r"scan\.incremental\.snapshot\.backfill\.skip"):
            snapshot(lab.runtime(lab.connection(tmp_path, text)))
        return
    text = text.replace("  server-id", NEWER)
    text = text.replace(
        "debezium-json", "debezium-json\n  debezium-json.include-schema.enabled: true"
    )
    rt = lab.runtime(lab.connection(tmp_path, text))

    def found() -> dict[str, object]:
        events = [cast("dict[str, Any]", value)["payload"] for _, value in records(
            lab.lab.target("app"), "source.codes")]  # fmt: skip
        rows = [(each["after"] or {**each["before"], "flag": "gone"}) for each in events]
        return {row["code"]: row["flag"] for row in rows}

    with closing_job(rt):
        assert {row.verdict for row in snapshot(rt).reconciliations} == {"InSync"}
        deploy(rt)
        executed(
            source,
            "insert into codes values ('é', 5)",
            "update codes set flag = 7 where code = 'b'",
            "delete from codes where code = 'c'",
        )
        until(lambda: found() == {"a": 2, "B": 7, "c": "gone", "é": 5})
        row = newest(rt)
        assert row is not None
        assert [each.verdict for each in reconcile(rt, row)] == ["InSync"]


def test_canals_events_of_several_tables_go_into_one_topic(lab: NativeLab, tmp_path: Path) -> None:
    if not lab.cdc.has_kafka:
        pytest.skip(f"no registry has Flink CDC's sink kafka; name a home in {HOME_VARIABLE}")
    source = lab.lab.stage.source
    for name in ("first", "second"):
        executed(
            source,
            f"create table {name} (id bigint primary key, name varchar(20))",
            f"insert into {name} values (1, '{name}')",
        )
    text = FILE.replace("source.orders, source.source_table", "source.first, source.second")
    text = text.replace("28701-28704", "28731-28734").partition("\nroute:")[0]
    text = text.replace("debezium-json", "canal-json").replace("hash-by-key", "all-to-zero")
    text += "  topic: everything\n\npipeline:\n  name: one_topic\n  parallelism: 2\n"
    rt = lab.runtime(lab.connection(tmp_path, text))
    with closing_job(rt):
        assert {row.verdict for row in snapshot(rt).reconciliations} == {"Inconclusive"}
        deploy(rt)
        executed(source, "update first set name = 'other'", "delete from second")
        wanted = {
            ("first", "INSERT", "first"), ("second", "INSERT", "second"),
            ("first", "UPDATE", "other"), ("second", "DELETE", "second"),
        }  # fmt: skip

        def found() -> set[tuple[object, ...]]:
            events = [cast("dict[str, Any]", value) for _, value in records(
                lab.lab.target("app"), "everything")]  # fmt: skip
            rows = [(each, (each["data"] or each["old"])[0]) for each in events]
            return {(each["table"], each["type"], row["name"]) for each, row in rows}

        until(lambda: found() == wanted)
