"""Kafka: what arrives in topics on a real broker, what is refused, and what a kill costs."""

# ruff: noqa: S608 - the names are this file's own

from __future__ import annotations

import json
import logging
import os
import random
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from decimal import Decimal

import pytest
import requests
from confluent_kafka import Producer

from cdc_assets import MySqlTargetResource
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.core.transform import Lookup, Transform
from cdc_assets.core.types import MySqlType
from cdc_assets.errors import ConfigurationError, TargetUnreachable
from cdc_assets.lab.kafka_rows import KafkaRows, reader_of
from cdc_assets.lab.kafka_server import TOPIC_PREFIX
from cdc_assets.lab.services import restart_taskmanager
from cdc_assets.lab.source_server import ServerKind
from cdc_assets.lab.workload import Login
from cdc_assets.operations.deploy import deploy
from cdc_assets.operations.launch import newest
from cdc_assets.operations.reconcile import reconcile
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.operations.snapshot import snapshot
from cdc_assets.targets.kafka import KafkaTarget, TopicPolicy
from cdc_assets.targets.kafka_client import KafkaClient
from tests.integration.targets.kafka_lab import KafkaLab, kafka_lab
from tests.integration.targets.replays import TABLE, create_replayed, replay_an_added_column
from tests.integration.targets.sources import sources_of
from tests.integration.targets.waiting import closing_job, records, until
from tests.integration.test_types import GROUPS, STREAM_ROWS_FROM, create, executed, insert

LOG = logging.getLogger(__name__)
DATABASE = "source"
# More by hand, within the limit of one test.
KILLS = int(os.environ.get("CDC_ASSETS_KILLS", "2"))


@pytest.fixture(scope="module", params=sources_of("mariadb"))
def lab(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[KafkaLab]:
    source: ServerKind = request.param
    with kafka_lab(tmp_path_factory.mktemp(f"kafka-{source}"), source) as running:
        yield running


def spec_of(name: str, *tables: str, first: int, **more: object) -> StreamSpec:
    refs = tuple(TableRef(DATABASE, table) for table in tables)
    return StreamSpec(name, refs, ServerIdRange(first, first + 39), "", target_kind="kafka", **more)


@contextmanager
def running(lab: KafkaLab, spec: StreamSpec, **target: object) -> Iterator[StreamRuntime]:
    """Copy the tables and leave the stream running."""
    rt = lab.runtime(spec, **target)
    with closing_job(rt):
        assert {row.verdict for row in snapshot(rt).reconciliations} <= {"InSync", "Inconclusive"}
        deploy(rt)
        yield rt


def topic(lab: KafkaLab, name: str) -> list[tuple[object, object]]:
    """Return a topic's committed records."""
    return records(lab.target(), name)


def plan(lab: KafkaLab, job_id: str) -> str:
    flink = lab.stage.state.services["jobmanager"]
    answer = requests.get(f"http://127.0.0.1:{flink.port}/jobs/{job_id}/plan", timeout=10).json()
    return "\n".join(node["description"] for node in answer["plan"]["nodes"])


def test_each_value_of_each_type_arrives_once_by_snapshot_and_once_by_stream(
    lab: KafkaLab,
) -> None:
    source = lab.stage.source
    try:
        for name, group in GROUPS.items():
            create(source, name, group)
        insert(source, 1)
        with running(lab, spec_of("types", *GROUPS, first=9100)) as rt:
            insert(source, STREAM_ROWS_FROM)
            refs = rt.spec.tables
            shapes = {
                ref.target_name: shape
                for ref, shape in zip(refs, rt.source.shapes(rt.source.endpoint, refs), strict=True)
            }
            rows = KafkaRows(lab.target("app"), shapes)
            for name in GROUPS:
                wanted = {(row[0],): row for row in executed(source, f"select * from {name}")}
                until(
                    lambda n=name, w=wanted: (
                        rt.target.count(f"{DATABASE}.{n}", timeout_seconds=60) == len(w)
                    )
                )
                found = rows.rows(f"{DATABASE}.{name}")
                differing = {
                    (key, column.column_type): (left, right)
                    for key, row in wanted.items()
                    for column, left, right in zip(
                        shapes[f"{DATABASE}.{name}"].columns, row, found[key], strict=True
                    )
                    if left != right or type(left) is not type(right)
                }
                assert differing == {}, name
                assert all(MySqlType.parse(c).base for c in shapes[f"{DATABASE}.{name}"].columns)
    finally:
        executed(source, f"drop table if exists {', '.join(GROUPS)}")


def test_an_update_is_one_record_also_where_tables_share_a_reader(lab: KafkaLab) -> None:
    source = lab.stage.source
    tables = ("one_a", "one_b", "one_c")
    executed(
        source,
        f"drop table if exists {', '.join(tables)}",
        "create table one_a (id int primary key, n decimal(10,2), t varchar(20))",
        "create table one_b (id int primary key, m bigint)",
        "create table one_c (x int, y varchar(5), v int, primary key (x, y))",
        "insert into one_a values (1, 100, 'a'), (2, 12.5, 'b'), (3, 0, null)",
        "insert into one_b values (1, 1), (2, 2)",
        "insert into one_c values (1, 'k', 1)",
    )
    with running(lab, spec_of("one", *tables, first=9200, parallelism=2)) as rt:
        row = newest(rt)
        assert row is not None
        text = plan(lab, row.job_id)
        assert text.count("TableSourceScan") == 2
        assert text.count("DropUpdateBefore") == 2
        assert "Materialize" not in text
        with closing(source.connect()) as connection, connection.cursor() as cursor:
            for number in range(50):
                cursor.execute("update one_a set n = %s where id = 1", (number,))
            cursor.execute("delete from one_a where id = 2")
            cursor.execute("update one_a set id = 9 where id = 3")
            cursor.execute("update one_b set m = 5 where id = 2")
            cursor.execute("update one_c set y = 'z' where x = 1")
        until(lambda: len(topic(lab, "source.one_a")) == 3 + 50 + 1 + 2)
        records = topic(lab, "source.one_a")
        mark = {"__table": "source.one_a"}
        assert [v for k, v in records if k == {"id": 1}] == [
            {"id": 1, "n": n, "t": "a", **mark} for n in (100, *range(50))
        ]
        assert [v for k, v in records if k == {"id": 2}][1:] == [None]
        assert [v for k, v in records if k == {"id": 3}][1:] == [None]
        assert [v for k, v in records if k == {"id": 9}] == [{"id": 9, "n": 0, "t": None, **mark}]
        assert [v for k, v in topic(lab, "source.one_b") if k == {"id": 2}] == [
            {"id": 2, "m": 2, "__table": "source.one_b"},
            {"id": 2, "m": 5, "__table": "source.one_b"},
        ]
        # A reader of its own: no filter, so no mark.
        first_row = ({"x": 1, "y": "k"}, {"x": 1, "y": "k", "v": 1})
        assert first_row in topic(lab, "source.one_c")
        assert lab.target().count("source.one_a", timeout_seconds=60) == 2
        assert lab.target().count("source.one_a", timeout_seconds=60, key=("id",), bound=(8,)) == 1
        first = rt.spec.tables[0]
        until(lambda: reconcile(rt, row, tables=(first,))[0].verdict == "InSync")
    executed(source, f"drop table {', '.join(tables)}")


def test_a_filter_over_the_key_and_a_computed_column_keep_one_record_for_an_update(
    lab: KafkaLab,
) -> None:
    source, there = lab.stage.source, lab.stage.target
    executed(
        there,
        "drop table if exists people",
        "create table people (id int primary key, name varchar(20)) charset utf8mb4",
        "insert into people values (1, 'Ada'), (2, 'Bo')",
    )
    lookup = MySqlTargetResource(
        host=there.host, port=there.port, username=there.user, password=there.password,
        database=there.database,
    )  # fmt: skip
    executed(
        source,
        "drop table if exists sifted, beside",
        "create table sifted (id int primary key, price decimal(10,2), n int not null)",
        "create table beside (id int primary key)",
        "insert into sifted values (1, 5, 1), (2, 6, 1), (3, 7, 2)",
        "insert into beside values (1)",
    )
    transform = Transform(
        "sifted",
        columns=("id",),
        filter="id > 1",
        computed=(
            ("total", "CAST(price * n AS DECIMAL(12, 2))"),
            ("who", "CAST(people.name AS STRING)"),
        ),
        lookups=(Lookup.parse("people", "id = n"),),
    )
    spec = spec_of("sifted", "sifted", "beside", first=9260, transforms=(transform,))
    connection = replace(lab.wiring(spec), lookup=lookup).connect()
    assert connection.preflight() == []
    other = replace(spec, transforms=(replace(transform, filter="price > 5"),))
    (fault,) = replace(lab.wiring(other), lookup=lookup).connect().preflight()
    assert fault.field == "sifted.filters.sifted"
    assert "outside the primary key" in fault.text
    rt = connection.runtime
    with closing_job(rt):
        assert {row.verdict for row in snapshot(rt).reconciliations} == {"InSync"}
        deploy(rt)
        executed(
            source,
            "update sifted set n = 10 where id = 1",
            "update sifted set n = 10 where id = 2",
            "update sifted set id = 0 where id = 3",
            "insert into beside values (2)",
        )
        until(lambda: ({"id": 3}, None) in topic(lab, "source.sifted"))
        until(lambda: len(topic(lab, "source.beside")) == 2)
        found, mark = topic(lab, "source.sifted"), {"__table": "source.sifted"}
        assert sorted(found, key=str) == sorted(
            [
                ({"id": 2}, {"id": 2, "total": 6, "who": "Ada", **mark}),
                ({"id": 2}, {"id": 2, "total": 60, "who": None, **mark}),
                ({"id": 3}, {"id": 3, "total": 14, "who": "Bo", **mark}),
                ({"id": 3}, None),
            ],
            key=str,
        )
    executed(source, "drop table sifted, beside")


def test_any_filter_is_taken_where_the_last_value_of_a_second_is_enough(lab: KafkaLab) -> None:
    source = lab.stage.source
    executed(
        source,
        "drop table if exists latest",
        "create table latest (id int primary key, price decimal(10,2) not null)",
        "insert into latest values (1, 10), (2, 3)",
    )
    transforms = (Transform("latest", filter="price > 5"),)
    spec = spec_of("latest", "latest", first=9240, transforms=transforms, latest_values_only=True)
    assert lab.wiring(spec).connect().preflight() == []
    one, two = ({"id": 1, "price": 10}, {"id": 1, "price": 20}), {"id": 2, "price": 6}
    with running(lab, spec) as rt:
        executed(source, "update latest set price = 20 where id = 1")
        until(lambda: ({"id": 1}, one[1]) in topic(lab, "source.latest"))
        executed(source, "update latest set price = 1 where id = 1")
        executed(source, "update latest set price = 6 where id = 2")
        until(lambda: ({"id": 2}, two) in topic(lab, "source.latest"))
        found = topic(lab, "source.latest")
        assert [value for key, value in found if key == {"id": 1}] == [*one, None]
        assert [value for key, value in found if key == {"id": 2}] == [two]
        row = newest(rt)
        assert row is not None
        assert [each.verdict for each in reconcile(rt, row)] == ["InSync"]
    executed(source, "drop table latest")


def test_a_query_fills_a_topic_with_the_columns_that_it_declares(lab: KafkaLab) -> None:
    source = lab.stage.source
    executed(
        source,
        "drop table if exists sold",
        "create table sold (id int primary key, product varchar(20) not null, price decimal(10,2))",
        "insert into sold values (1, 'ball', 10), (2, 'ball', 2.5), (3, 'net', 7)",
    )
    query = QuerySpec(
        "sales",
        "SELECT product, COUNT(*), SUM(price) FROM sold GROUP BY product",
        columns=(("product", "STRING"), ("n", "BIGINT"), ("total", "DECIMAL(38, 2)")),
        key=("product",),
    )
    spec = replace(spec_of("sales", "sold", first=9300), queries=(query,), source_only=("sold",))
    with running(lab, spec):
        executed(source, "insert into sold values (4, 'net', 1)", "delete from sold where id = 1")
        executed(source, "update sold set product = 'net' where id = 2")
        until(lambda: ({"product": "ball"}, None) in topic(lab, "sales"))
        latest = {json.dumps(key): value for key, value in topic(lab, "sales")}
        assert latest['{"product": "net"}'] == {"product": "net", "n": 3, "total": 10.5}
    executed(source, "drop table sold")


def test_a_stream_writes_through_tls_with_a_certificate_of_its_own(lab: KafkaLab) -> None:
    source, secured = lab.stage.source, lab.secured
    executed(
        source,
        "drop table if exists hidden",
        "create table hidden (id int primary key)",
        "insert into hidden values (1), (2)",
    )
    settings = {
        "bootstrap_servers": f"127.0.0.1:{secured.port}",
        "security_protocol": "SASL_SSL",
        "ca_file": str(secured.ca_file),
        "client_pem_file": str(secured.client_file),
    }
    spec = spec_of("hidden", "hidden", first=9350)
    assert lab.wiring(spec, **settings).connect().preflight() == []
    with running(lab, spec, **settings) as rt:
        executed(source, "insert into hidden values (3)")
        until(lambda: rt.target.count("source.hidden", timeout_seconds=30) == 3)
        row = newest(rt)
        assert row is not None
        assert "PRIVATE KEY" not in row.sql
        assert "jaas.config' = '***'" in row.sql
    no_certificate = lab.resource(**{**settings, "client_pem_file": None}).get_client()
    assert [fault.field for fault in no_certificate.faults(spec, {})] == [
        "target.bootstrap_servers"
    ]
    executed(source, "drop table hidden")


def fault_fields(target: KafkaTarget, spec: StreamSpec) -> dict[str, str]:
    return {fault.field: fault.fix for fault in target.faults(spec, {})}


def test_preflight_says_what_is_wrong_with_topics_and_how_to_mend_it(lab: KafkaLab) -> None:
    admin = KafkaClient(lab.access("admin"), 5.0, 10.0)
    admin.create(
        ["lab.bad_policy"], partitions=1, replication=1, settings={"cleanup.policy": "delete"}
    )
    admin.create(
        ["lab.bad_isr", "elsewhere"],
        partitions=1,
        replication=1,
        settings={"cleanup.policy": "compact", "min.insync.replicas": "2"},
    )
    refs = ("missing", "policy:bad_policy", "isr:bad_isr")
    spec = StreamSpec(
        "faulty",
        tuple(TableRef.parse(f"source.{ref}") for ref in refs),
        ServerIdRange(1, 9),
        "",
        target_kind="kafka",
    )
    found = fault_fields(lab.target(policy=TopicPolicy(partitions=2)), spec)
    assert set(found) == {
        "lab.source.missing",
        "lab.bad_policy.cleanup.policy",
        "lab.bad_policy.partitions",
        "lab.bad_isr.partitions",
        "lab.bad_isr.min.insync.replicas",
    }
    assert "--create --topic lab.source.missing" in found["lab.source.missing"]
    assert "--config cleanup.policy=compact" in found["lab.source.missing"]
    with pytest.raises(ConfigurationError, match="no such topic"):
        lab.target().shapes(["source.missing"])
    # A topic that only others may use is one that is not there.
    other = replace(spec, tables=(TableRef("source", "x", "elsewhere"),))
    assert set(fault_fields(lab.target(prefix=""), other)) == {"elsewhere"}


def test_preflight_says_what_the_account_may_not_do(lab: KafkaLab) -> None:
    KafkaClient(lab.access("admin"), 5.0, 10.0).create(
        ["lab.seen"], partitions=1, replication=1, settings={"cleanup.policy": "compact"}
    )
    spec = StreamSpec(
        "seen", (TableRef("source", "x", "seen"),), ServerIdRange(1, 9), "", target_kind="kafka"
    )
    assert fault_fields(lab.target(), spec) == {}
    faults = lab.target("app").faults(spec, {})
    assert [fault.wanted for fault in faults] == ["DESCRIBE_CONFIGS, WRITE", "WRITE, DESCRIBE"]
    assert "--resource-pattern-type prefixed" in faults[1].fix
    slow = lab.target(policy=TopicPolicy(transaction_seconds=3600))
    assert set(fault_fields(slow, spec)) == {"target.transaction_timeout"}
    once = lab.target(policy=TopicPolicy(transaction_seconds=3600, delivery="at-least-once"))
    assert fault_fields(once, spec) == {}


def test_preflight_tells_a_refused_login_from_a_silent_broker(lab: KafkaLab) -> None:
    spec = spec_of("nobody", "x", first=1)
    access = replace(lab.access("app"), password="wrong-one")
    refused = KafkaTarget(KafkaClient(access, 3.0, 3.0), TOPIC_PREFIX).faults(spec, {})
    assert [fault.field for fault in refused] == ["target.bootstrap_servers"]
    assert "user name" in refused[0].fix
    assert "wrong-one" not in str(refused)
    nobody = replace(access, servers="127.0.0.1:1")
    silent = KafkaTarget(KafkaClient(nobody, 1.0, 1.0), TOPIC_PREFIX).faults(spec, {})
    assert "refused" in silent[0].found


def test_a_count_waits_for_an_open_transaction(lab: KafkaLab) -> None:
    KafkaClient(lab.access("admin"), 5.0, 10.0).create(
        ["lab.open"], partitions=2, replication=1, settings={"cleanup.policy": "compact"}
    )
    access = lab.access("cdc_writer")
    writer = Producer({
        "bootstrap.servers": access.servers, "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "PLAIN", "sasl.username": access.username,
        "sasl.password": access.password, "transactional.id": "cdc-open", "log_level": 0,
    })  # fmt: skip
    writer.init_transactions(20)
    writer.begin_transaction()
    for number in range(10):
        writer.produce("lab.open", key=f'{{"id":{number}}}', value="{}")
    writer.flush(10)
    with pytest.raises(TargetUnreachable, match="in time"):
        lab.target().count("open", timeout_seconds=2)
    commit = threading.Timer(1.0, lambda: writer.commit_transaction(20))
    commit.start()
    assert lab.target().count("open", timeout_seconds=30) == 10
    commit.join()
    writer.begin_transaction()
    writer.produce("lab.open", key='{"id":99}', value="{}")
    writer.flush(10)
    writer.abort_transaction(20)
    assert lab.target().count("open", timeout_seconds=30) == 10


class Counting(threading.Thread):
    """Raises counters one by one, and remembers how far each came."""

    def __init__(self, source: Login, keys: int) -> None:
        super().__init__(name="counting", daemon=True)
        self._source = source
        self._halt = threading.Event()
        self.reached = dict.fromkeys(range(keys), 0)

    def run(self) -> None:
        """Write until stopped."""
        draw = random.Random(7)
        with closing(self._source.connect()) as connection, connection.cursor() as cursor:
            while not self._halt.wait(0.002):
                key = draw.randrange(len(self.reached))
                cursor.execute("update counters set n = n + 1 where id = %s", (key,))
                self.reached[key] += 1

    def stop(self) -> None:
        self._halt.set()
        self.join(timeout=30)


def test_killed_task_managers_neither_lose_nor_repeat_a_committed_record(lab: KafkaLab) -> None:
    source = lab.stage.source
    executed(
        source,
        "drop table if exists counters",
        "create table counters (id int primary key, n int)",
        f"insert into counters values {', '.join(f'({key}, 0)' for key in range(40))}",
    )
    with running(lab, spec_of("kills", "counters", first=9400, parallelism=2)) as rt:
        writer = Counting(source, 40)
        writer.start()
        draw = random.Random(11)
        for _ in range(KILLS):
            time.sleep(draw.uniform(2, 8))
            restart_taskmanager(lab.stage.home)
            row = newest(rt)
            assert row is not None
            until(lambda r=row: rt.engine.job(r.job_id).state in {"FAILED", "GONE"})
            deploy(rt)
        writer.stop()
        total = sum(writer.reached.values())
        until(lambda: len(topic(lab, "source.counters")) >= total + 40, seconds=90)
        seen: dict[int, list[int]] = {}
        for key, value in topic(lab, "source.counters"):
            assert isinstance(key, dict)
            assert isinstance(value, dict)
            seen.setdefault(key["id"], []).append(value["n"])
        lost = sum(len(set(range(n + 1)) - set(seen[key])) for key, n in writer.reached.items())
        repeated = sum(len(values) - len(set(values)) for values in seen.values())
        disordered = sum(values != sorted(values) for values in seen.values())
        LOG.info("%d kills, %d updates: %d lost, %d repeated", KILLS, total, lost, repeated)
        assert (lost, repeated, disordered) == (0, 0, 0)
    executed(source, "drop table counters")


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_a_column_that_comes_is_read_again_from_before_it(lab: KafkaLab, delivery: str) -> None:
    source = lab.stage.source
    create_replayed(source)
    tables = (TableRef(DATABASE, TABLE, f"replayed_{delivery}"),)
    name = f"replayed_{delivery.partition('-')[0]}"
    spec = StreamSpec(name, tables, ServerIdRange(9700, 9709), "", target_kind="kafka",
                      checkpoint_interval_seconds=1.0)  # fmt: skip
    rt = lab.runtime(spec, delivery=delivery)

    def rows() -> dict[object, tuple[object, ...]]:
        (shape,) = rt.source.shapes(rt.source.endpoint, spec.tables)
        latest = dict(lab.target().records(spec.tables[0].target_name, timeout_seconds=60))
        found: dict[object, tuple[object, ...]] = {}
        for value in latest.values():
            # A record of before the column has no such field.
            fields = {} if value is None else json.loads(value, parse_float=Decimal)
            row = tuple(
                None if fields.get(each.name) is None else reader_of(each)(fields[each.name])
                for each in shape.columns
            )
            if fields:
                found[row[0]] = row
        return found

    try:
        replay_an_added_column(rt, source, rows, pytest.fail)  # a topic has no columns
    finally:
        row = newest(rt)
        if row is not None:
            rt.engine.cancel(row.job_id, budget_seconds=60)
