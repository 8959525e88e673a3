"""Debezium: a connector on a real worker, as a stream: copied, moved to green, compared."""

# ruff: noqa: S608 - the names are this file's own

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.flink.client import FlinkClient
from cdc_assets.flink.gateway import SqlGateway
from cdc_assets.lab.cache import Cache
from cdc_assets.lab.connect_server import NAME
from cdc_assets.lab.debezium_rows import Row
from cdc_assets.lab.kafka_server import access_of
from cdc_assets.lab.lab import kill_service, start_service
from cdc_assets.lab.source_server import ServerKind
from cdc_assets.lab.workload import Login, Writer, execute, seed
from cdc_assets.operations.deploy import deploy
from cdc_assets.operations.launch import newest
from cdc_assets.operations.observe import Memory, observe
from cdc_assets.operations.reconcile import reconcile
from cdc_assets.operations.recover import recover
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.operations.snapshot import snapshot
from cdc_assets.operations.stop import stop_stream, what_stops
from tests.integration.targets.debezium_lab import DebeziumLab, debezium_lab
from tests.integration.targets.newest_mysql import newest_mysql
from tests.integration.targets.sources import sources_of
from tests.integration.targets.waiting import closing_job, records, switched_over, until
from tests.integration.test_types import (
    GROUPS,
    STREAM_ROWS_FROM,
    Group,
    create,
    executed,
)

LOG = logging.getLogger(__name__)
DATABASE = "source"
PAGE = Path(__file__).parents[3] / "docs" / "debezium.md"
# What Flink's JSON cannot carry, and Debezium can.
TYPES: Mapping[str, Group] = {
    **GROUPS,
    "types_more": {
        "float": ["3.14", "-1e10", "0", None],
        "time": ["838:59:59", "-838:59:59", "-00:00:01", "13:14:15", "00:00:00", None],
        "time(6)": ["13:14:15.678901", "-00:00:00.000001", None],
        "year": ["1901", "2155", "2024", None],
    },
}


@pytest.fixture(scope="module", params=sources_of("mariadb"))
def lab(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[DebeziumLab]:
    source: ServerKind = request.param
    with (
        debezium_lab(tmp_path_factory.mktemp(f"debezium-{source}"), source) as running,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name in ("AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, running.environment[name])
        yield running


def spec_of(name: str, *tables: str, first: int, **more: object) -> StreamSpec:
    refs = tuple(TableRef.parse(f"{DATABASE}.{table}") for table in tables)
    ids = ServerIdRange(first, first)
    return StreamSpec(name, refs, ids, "", target_kind="kafka", engine="debezium", **more)


@contextmanager
def running(rt: StreamRuntime) -> Iterator[StreamRuntime]:
    """Copy the tables and leave the stream running."""
    with closing_job(rt):
        assert {row.verdict for row in snapshot(rt).reconciliations} == {"InSync"}
        deploy(rt)
        yield rt


def events(lab: DebeziumLab, topic: str) -> list[tuple[object, object]]:
    return records(lab.target(), topic)


def content(lab: DebeziumLab, rt: StreamRuntime, table: TableRef) -> dict[Row, Row]:
    (shape,) = rt.source.shapes(rt.source.endpoint, [table])
    return lab.rows({table.target_name: shape}).rows(table.target_name)


def differing(
    lab: DebeziumLab, rt: StreamRuntime, source: Login | None = None
) -> dict[object, object]:
    """Return source and topic where they differ, by table, key and column type."""
    source = source or lab.stage.source
    found: dict[object, object] = {}
    for table in rt.spec.tables:
        (shape,) = rt.source.shapes(rt.source.endpoint, [table])
        here = {(row[0],): row for row in executed(source, f"select * from {table.name}")}
        there = content(lab, rt, table)
        if set(here) != set(there):
            found[table.name] = (sorted(set(here) - set(there)), sorted(set(there) - set(here)))
            continue
        found |= {
            (table.name, key, column.column_type): (left, right)
            for key, row in here.items()
            for column, left, right in zip(shape.columns, row, there[key], strict=True)
            if left != right or type(left) is not type(right)
        }
    return found


def repeats(lab: DebeziumLab, topic: str) -> int:
    """Count change events that are in a topic more than once, by their place in the binlog."""
    places = Counter(
        (json.dumps(key), value["op"], json.dumps(value["after"]), json.dumps(value["before"]))
        for key, value in events(lab, topic)
        if isinstance(value, dict) and value["op"] != "r"
    )
    return sum(count - 1 for count in places.values())


def test_a_stream_is_copied_switched_over_and_equal(lab: DebeziumLab) -> None:
    stage = lab.stage
    seed(stage.source, orders=500)
    spec = spec_of("shop", "orders", "source_table:customers", first=9500)
    connection = lab.wiring(spec).connect()
    assert [fault for fault in connection.preflight() if fault.severity == "error"] == []
    with running(connection.runtime) as rt:
        outcome, written = switched_over(stage, rt, first_id=501)
        by_place = stage.state.source_kind == "mariadb"
        assert outcome.decision == ("Relaunch" if by_place else "Resume")
        until(lambda: differing(lab, rt) == {})
        row = newest(rt)
        assert row is not None
        assert {found.verdict for found in reconcile(rt, row)} == {"InSync"}
        again = sum(repeats(lab, table.target_name) for table in rt.spec.tables)
        LOG.info("%d rows written, %d events repeated", written, again)
        assert again == 0  # the connection was closed, so the offset held all that was read
        # Columns after the switchover need a schema history that is right for green.
        execute(stage.source, "alter table orders add column extra int")
        execute(stage.source, "update orders set extra = 7 where id = 1")
        until(lambda: differing(lab, rt) == {})
        observe(rt, Memory())  # as the health sensor does: it records the position
        kill_service(stage.home, NAME)
        execute(stage.source, "update orders set extra = 8 where id = 1")
        until(lambda: rt.engine.job(row.job_id).state == "UNKNOWN")
        assert "no answer" in str(connection.preflight())
        start_service(stage.home, NAME)
        until(lambda: rt.engine.job(row.job_id).state == "GONE")
        assert recover(rt, worker="test").decision == "Resume"
        until(lambda: differing(lab, rt) == {})
        again = sum(repeats(lab, table.target_name) for table in rt.spec.tables)
        LOG.info("%d events repeated after a killed worker", again)


def fill(source: Login, first_id: int) -> None:
    """Insert the values of all types: row by row the next value of each column, then the last."""
    with closing(source.connect(timeout_seconds=30)) as connection, connection.cursor() as cursor:
        for name, group in TYPES.items():
            for number in range(max(len(values) for values in group.values())):
                row = [values[min(number, len(values) - 1)] for values in group.values()]
                marks = ", ".join(["%s"] * (len(row) + 1))
                cursor.execute(f"insert into {name} values ({marks})", [first_id + number, *row])


def test_each_value_of_each_type_arrives_once_by_snapshot_and_once_by_stream(
    lab: DebeziumLab,
) -> None:
    source = lab.stage.source
    try:
        for name, group in TYPES.items():
            create(source, name, group)
        fill(source, 1)
        with running(lab.wiring(spec_of("types", *TYPES, first=9501)).connect().runtime) as rt:
            fill(source, STREAM_ROWS_FROM)
            deadline = time.monotonic() + 20
            while found := differing(lab, rt):
                if time.monotonic() > deadline:
                    break
                time.sleep(0.5)
            assert found == {}
    finally:
        execute(source, f"drop table if exists {', '.join(TYPES)}")


def documented_job(lab: DebeziumLab) -> tuple[list[str], str, dict[str, str]]:
    """Return DDL, INSERT and settings of the page's Flink SQL job, with the lab's addresses."""
    text = PAGE.read_text().partition("```sql\n")[2].partition("```")[0]
    state = lab.stage.state
    broker = access_of(state.service("kafka"), state.accounts["app"])
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required "
    login += f'username="{broker.username}" password="{broker.password}";'
    target, writer = state.servers["target"], state.accounts["cdc_writer"]
    security = (
        "'properties.security.protocol' = 'SASL_PLAINTEXT', 'properties.sasl.mechanism' = 'PLAIN', "
        f"'properties.sasl.jaas.config' = '{login}',"
    )
    for old, new in (
        ("kafka.example:9092", broker.servers),
        ("'topic' = 'shop.orders',", f"'topic' = 'lab.source.sold', {security}"),
        ("dw.example:3306/warehouse", f"{target.host}:{target.port}/target?useSSL=false"),
        ("'writer'", f"'{writer.user}'"),
        ("'...'", f"'{writer.password}'"),
    ):
        assert old in text
        text = text.replace(old, new)
    parts = [part.strip() for part in text.split(";\n")]
    statements = [part for part in parts if part]
    settings = dict(re.findall(r"SET '(.+)' = '(.+)'", statements[0]))
    return statements[1:-1], statements[-1].removesuffix(";"), settings


def test_the_flink_sql_job_of_the_page_reads_the_events(lab: DebeziumLab) -> None:
    stage, source = lab.stage, lab.stage.source
    execute(stage.target_admin, "drop table if exists sales")
    execute(stage.target_admin,
            "create table sales (product varchar(40) primary key, orders bigint, "
            "total decimal(38,2))")  # fmt: skip
    executed(
        source,
        "drop table if exists sold",
        "create table sold (id bigint primary key, product varchar(20), price decimal(10,2), "
        "sold_at timestamp(3) null)",
        "insert into sold values (1, 'ball', 100, '2024-02-29 13:14:15.678'), (2, 'net', 7, null)",
    )
    flink, gateway = stage.state.services["jobmanager"], stage.state.services["sql-gateway"]
    cluster = FlinkClient(f"http://{flink.host}:{flink.port}")
    job = uuid.uuid4().hex
    with running(lab.wiring(spec_of("sold", "sold", first=9502)).connect().runtime):
        ddl, insertion, settings = documented_job(lab)
        try:
            SqlGateway(f"http://{gateway.host}:{gateway.port}").submit_job(
                ddl, insertion, job_id=job, job_name="sales", config=settings
            )
            executed(
                source,
                "insert into sold values (3, 'ball', 2.5, now(3)), (4, 'net', 1, now(3))",
                "update sold set product = 'net', price = 12.34 where id = 1",
                "delete from sold where id = 2",
            )
            query = "select product, count(*), sum(price) from sold group by product order by 1"
            wanted = executed(source, query)
            until(lambda: executed(stage.target, "select * from sales order by 1") == wanted)
        finally:
            cluster.cancel(job)
    execute(source, "drop table sold")


def test_the_newest_mysql_is_copied_and_followed_across_a_stop(
    lab: DebeziumLab, tmp_path: Path
) -> None:
    cache, account = Cache(lab.stage.state.cache), lab.stage.state.accounts["cdc"]
    with newest_mysql(cache, tmp_path, account.user, account.password) as source:
        seed(source, orders=20_000)
        spec = spec_of("newest", "orders:newest", "source_table:newest_customers", first=9503)
        login: dict[str, object] = {
            "host": source.host, "port": source.port,
            "username": source.user, "password": source.password,
        }  # fmt: skip
        connection = lab.wiring(spec, **login).connect()
        assert [fault for fault in connection.preflight() if fault.severity == "error"] == []
        with running(connection.runtime) as rt:
            writer = Writer(source, first_id=20_001)
            writer.start()
            try:
                time.sleep(3)
                stop_stream(rt, what_stops(rt))
                time.sleep(1)
                deploy(rt)
                time.sleep(3)
            finally:
                writer.stop()
            executed(
                source,
                "update orders set id = -id where id <= 100",
                "delete from orders where id between 101 and 200",
            )
            until(lambda: differing(lab, rt, source) == {})
            row = newest(rt)
            assert row is not None
            assert row.restored_from.startswith("debezium:")
            assert {found.verdict for found in reconcile(rt, row)} == {"InSync"}
            assert [repeats(lab, table.target_name) for table in spec.tables] == [0, 0]
            LOG.info("%s: %d rows written", row.identity.version, writer.written)
