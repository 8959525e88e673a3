"""Streams that look up, aggregate and join go through a switchover, and equal the source after it.

Dagster's sensors recover them; nothing here calls recovery. The writer goes on all the time.
"""

# ruff: noqa: S608 - the names are this file's own

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pymysql.cursors import Cursor

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.iceberg import IcebergCatalog
from cdc_assets.core.stream import TargetKind
from cdc_assets.lab import iceberg_server, postgres_server, starrocks_server
from cdc_assets.lab.dagster_api import DagsterApi
from cdc_assets.lab.dagster_services import environment, start_dagster
from cdc_assets.lab.iceberg_landing import Columns, create_tables
from cdc_assets.lab.iceberg_rows import IcebergRows
from cdc_assets.lab.kafka_rows import KafkaRows
from cdc_assets.lab.kafka_server import access_of
from cdc_assets.lab.lab import down, up
from cdc_assets.lab.postgres_rows import PostgresRows
from cdc_assets.lab.services import restart_taskmanager
from cdc_assets.lab.stage import Stage
from cdc_assets.lab.starrocks_rows import StarRocksRows
from cdc_assets.lab.workload import PRODUCTS, Writer, seed
from cdc_assets.operations.reconcile_topics import reconcile_result
from cdc_assets.operations.topics import TopicRuntime
from cdc_assets.ports import IncarnationRow, Verdict
from cdc_assets.targets.iceberg import IcebergTarget
from cdc_assets.targets.kafka import KafkaTarget
from cdc_assets.targets.kafka_client import KafkaClient
from tests.integration.targets.stateful_streams import (
    BESIDE,
    DATABASE,
    JOINED_PREFIX,
    SHOP_ACCOUNT,
    definitions,
)
from tests.integration.targets.waiting import until
from tests.integration.test_types import executed
from tests.pipeline.files import SINK, SOURCE, changed

LOG = logging.getLogger(__name__)
Row = tuple[object, ...]
STREAMS = ("etl", "ranking", "shop")
ALWAYS = ("joins", "topic_joins")
_ORDERS = 500
_USERS = 20
# Orders that no writer touches: one leaves the filter on blue, one on green, one enters it there.
LEAVES_BLUE, LEAVES_GREEN, ENTERS_GREEN, STAYS = range(9_000_001, 9_000_005)
# Query at the source, table at the target; the lookup table lies beside the target tables.
COMPARED = {
    "sales": "SELECT product, COUNT(*), CAST(SUM(quantity) AS SIGNED), SUM(price * quantity)"
    " FROM source.orders GROUP BY product ORDER BY product",
    "user_product": "SELECT o.id, product, u.name FROM order_dw.`order` o"
    " LEFT JOIN order_dw.`user` u ON o.user_id = u.id ORDER BY o.id",
    "user_feedback": "SELECT f.id, f.comment, u.name FROM order_dw.feedback f"
    " LEFT JOIN order_dw.`user` u ON f.user_id = u.id ORDER BY f.id",
}
TARGETS = (
    "create table products (name varchar(40) primary key, title varchar(60))",
    (
        "create table small_orders (id bigint primary key, product varchar(40) not null,"
        " quantity int not null, total decimal(21,2), title varchar(60))"
    ),
    (
        "create table sales (product varchar(40) primary key, n bigint, quantity int,"
        " revenue decimal(38,2))"
    ),
    "create table best_sellers (place bigint primary key, product varchar(40), quantity int)",
    (
        "create table user_product (order_id bigint primary key, product varchar(50),"
        " user_name varchar(50)) charset utf8mb4"
    ),
    (
        "create table user_feedback (feedback_id bigint primary key, comment varchar(50),"
        " user_name varchar(50)) charset utf8mb4"
    ),
)

JOINED: dict[str, Columns] = {
    "user_product": (("order_id", "long"), ("product", "string"), ("user_name", "string")),
    "user_feedback": (("feedback_id", "long"), ("comment", "string"), ("user_name", "string")),
}


class Shop(Writer):
    """Writes orders for the lab's tables, and orders, users and feedback for the database."""

    def _one(self, cursor: Cursor, server_id: int) -> None:
        super()._one(cursor, server_id)
        number = self.next_id
        user, older = number % _USERS + 1, number - 40
        cursor.execute(f"INSERT INTO {DATABASE}.`order` VALUES (%s, %s, %s)",
                       (number, PRODUCTS[number % 5], user))  # fmt: skip
        for every, statement, values in (
            (3, f"INSERT INTO {DATABASE}.feedback VALUES (%s, %s, %s)", (number, user, "fine")),
            (7, f"UPDATE {DATABASE}.`user` SET name = %s WHERE id = %s", (f"new {number}", user)),
            (11, f"DELETE FROM {DATABASE}.`order` WHERE id = %s", (older,)),
            (13, f"UPDATE {DATABASE}.`order` SET user_id = %s WHERE id = %s", (user, older + 1)),
            (29, f"DELETE FROM {DATABASE}.`user` WHERE id = %s", (_USERS,)),
            (31, f"REPLACE INTO {DATABASE}.`user` VALUES (%s, 'again')", (_USERS,)),
        ):
            if number % every == 0:
                cursor.execute(statement, values)


@dataclass(frozen=True)
class Deployed:
    """A lab on which the deployment runs."""

    stage: Stage
    defs: dg.Definitions

    @property
    def beside_it(self) -> tuple[str, ...]:
        """Return the joins into other targets than MySQL and Kafka, of a lab that has them."""
        return others(self.stage)

    @property
    def joining(self) -> tuple[str, ...]:
        """Return every stream of joins."""
        return (*ALWAYS, *self.beside_it)

    def joins(self, stream: str = "joins") -> TopicRuntime:
        """Return a stream of joins, connected."""
        return self._wiring(stream).connect()

    def _wiring(self, stream: str) -> Any:  # noqa: ANN401 - whatever the resource is
        return (self.defs.resources or {})[f"topics_{stream}"]

    def count(self, stream: str, name: str) -> Verdict:
        """Compare the rows of a join with its topic."""
        rt = self.joins(stream)
        table = self._wiring(stream).topics.counted_by(name)
        found = reconcile_result(rt, rt.ledger.incarnations(stream)[-1], name, table)
        LOG.info("%s.%s: %s: %s", stream, name, found.verdict, found.reason)
        return found.verdict

    def counts(self, streams: Sequence[str], *names: str) -> Counter[Verdict]:
        """Compare joins with their topics, beside each other: each waits for a checkpoint."""
        with ThreadPoolExecutor(len(streams) * len(names)) as pool:
            return Counter(pool.map(self.count, *zip(*product(streams, names), strict=True)))

    def joined_topic(self) -> list[Row]:
        """Return what the join's topic stands for."""
        state = self.stage.state
        access = access_of(state.service("kafka"), state.accounts["app"])
        columns = (Column("order_id", "bigint", "bigint"),
                   Column("product", "varchar", "varchar(50)"),
                   Column("user_name", "varchar", "varchar(50)"))  # fmt: skip
        shape = TableShape("", "user_product", columns, ("order_id",))
        target = KafkaTarget(KafkaClient(access, 5.0, 10.0), JOINED_PREFIX)
        found = KafkaRows(target, {"user_product": shape}).rows("user_product")
        return [found[key] for key in sorted(found)]  # type: ignore[type-var] - integers

    def beside(self) -> Iterator[tuple[str, Mapping[object, Row]]]:
        """Yield each result in the other targets, its label and its rows by key."""
        state, app = self.stage.state, self.stage.state.accounts["app"]
        if not self.beside_it:
            return
        catalog = IcebergCatalog(uri=iceberg_server.catalog_uri(state.service("iceberg").port))
        readers: dict[TargetKind, Callable[[str], Mapping[object, Row]]] = {
            "postgres": PostgresRows(state.service("postgres").port, app).rows,
            "iceberg": IcebergRows(IcebergTarget(catalog, BESIDE["iceberg"])).rows,
            "starrocks": StarRocksRows(
                state.service("starrocks").port, app, BESIDE["starrocks"]
            ).rows,
        }
        for kind, rows in readers.items():
            for name in JOINED:
                yield f"{kind}.{name}", rows(name)

    def differing(self) -> list[str]:
        """Return the target tables that differ from the same query at the source."""
        source, target = self.stage.source, self.stage.target
        joined: dict[str, Sequence[Row]] = {
            name: executed(source, COMPARED[name]) for name in JOINED
        }
        found = [
            name
            for name, query in COMPARED.items()
            if executed(source, query) != executed(target, f"SELECT * FROM {name} ORDER BY 1")
        ]
        if self.joined_topic() != list(joined["user_product"]):
            found.append("the topic user_product")
        for label, rows in self.beside():
            if dict(rows) != {row[0]: row for row in joined[label.partition(".")[2]]}:
                found.append(label)
        orders = executed(
            source,
            "SELECT id, product, quantity, price * quantity FROM orders"
            " WHERE quantity <= 5 AND price < 900 ORDER BY id",
        )
        titles = dict(executed(target, "SELECT * FROM products"))
        wanted = [(*order, titles.get(order[1])) for order in orders]
        if wanted != list(self.small_orders()):
            found.append("small_orders")
        best = executed(
            source,
            "SELECT product, CAST(SUM(quantity) AS SIGNED) AS q FROM orders GROUP BY product"
            " ORDER BY q DESC, product LIMIT 3",
        )
        if [(place, *row) for place, row in enumerate(best, 1)] != list(
            executed(target, "SELECT * FROM best_sellers ORDER BY 1")
        ):
            found.append("best_sellers")
        return found

    def small_orders(self) -> Sequence[Row]:
        """Return what the filter, the computed column and the lookup made."""
        return executed(self.stage.target, "SELECT * FROM small_orders ORDER BY id")

    def small_order(self, number: int) -> Row | None:
        """Return one of them."""
        return next((row for row in self.small_orders() if row[0] == number), None)


def others(stage: Stage) -> tuple[str, ...]:
    """Return the streams of joins into targets that only one of the labs has."""
    return tuple(f"{kind}_joins" for kind in BESIDE if kind in stage.state.services)


def make_source(stage: Stage) -> None:
    """Make the tables of both databases, and an account for the third stream."""
    state = stage.state
    cdc, app = state.accounts["cdc"], state.accounts["app"]
    with closing(state.servers["blue"].connect()) as connection, connection.cursor() as cursor:
        for statement in (
            f"create database {DATABASE} charset utf8mb4",
            f"grant all on {DATABASE}.* to '{app.user}'@'%'",
            (
                f"grant replication slave, replication client on *.* to '{SHOP_ACCOUNT}'@'%'"
                f" identified by '{cdc.password}'"
            ),
            f"grant select on {DATABASE}.* to '{SHOP_ACCOUNT}'@'%'",
        ):
            cursor.execute(statement)
    seed(stage.source, orders=_ORDERS)
    executed(
        replace(stage.source, database=DATABASE),
        "create table `user` (id bigint not null primary key, name varchar(50) not null)",
        "create table `order` (id bigint not null primary key, product varchar(50) not null,"
        " user_id bigint not null)",
        "create table `feedback` (id bigint not null primary key, user_id bigint not null,"
        " comment varchar(50) not null)",
        *(f"insert into `user` values ({n}, 'user {n}')" for n in range(1, _USERS + 1)),
        *(f"insert into `order` values ({n}, 'anvil', {n % 25})" for n in range(1, 200)),
        *(f"insert into `feedback` values ({n}, {n % 25}, 'good')" for n in range(1, 50)),
    )
    add = "insert into orders values ({}, 'bolt', {}, 'kept', 10, '2024-01-01')"
    executed(
        stage.source,
        *(add.format(number, 1) for number in (LEAVES_BLUE, LEAVES_GREEN, STAYS)),
        add.format(ENTERS_GREEN, 9),
    )


def make_target(stage: Stage) -> None:
    """Make the target tables, and the lookup table, which has no title for one product."""
    titles = [f"('{name}', 'The {name}')" for name in PRODUCTS[:-1]]
    executed(stage.target, *TARGETS, f"insert into products values {', '.join(titles)}")
    state, app = stage.state, stage.state.accounts["app"]
    if not others(stage):
        return
    # What PostgreSQL and StarRocks both call the types of Iceberg.
    kinds = {"long": "BIGINT NOT NULL", "string": "VARCHAR(200) NULL"}
    with postgres_server.connect("127.0.0.1", state.service("postgres").port, app) as session:
        for name, columns in JOINED.items():
            text = ", ".join(f"{column} {kinds[kind]}" for column, kind in columns)
            key, database = columns[0][0], BESIDE["starrocks"]
            session.execute(f"create table {name} ({text}, primary key ({key}))".encode())
            starrocks_server.execute(
                state.service("starrocks").port, app,
                f"CREATE DATABASE IF NOT EXISTS `{database}`",
                f"CREATE TABLE `{database}`.`{name}` ({text}) ENGINE=olap PRIMARY KEY (`{key}`)"
                f' DISTRIBUTED BY HASH (`{key}`) PROPERTIES ("replication_num" = "1")',
            )  # fmt: skip
    uri = iceberg_server.catalog_uri(state.service("iceberg").port)
    create_tables(uri, BESIDE["iceberg"], JOINED)


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def deployed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployed]:
    """Start a lab, and the deployment on it."""
    home = tmp_path_factory.mktemp(f"lab-switchover-{request.param}")
    try:
        # Once is enough: the joins do not see the source.
        beside = tuple(BESIDE) if request.param == "mysql" else ()
        state = up(home, request.param, "kafka", beside=beside).state
        stage = Stage(home)
        make_source(stage)
        make_target(stage)
        tables = ",".join(f"{DATABASE}.{name}" for name in ("feedback", "order", "user"))
        text = changed(f"{DATABASE}.\\.*", tables, changed("  port: 3306\n", "", SOURCE)) + SINK
        servers = environment(state)["CDC_TARGET_BOOTSTRAP_SERVERS"]
        (home / "shop.yaml").write_text(changed("xxxx.kafka.example:9092", servers, text))
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment(state).items():
                patch.setenv(name, value)
            api = DagsterApi(start_dagster(home, Path(__file__).with_name("stateful_streams.py")))
            parts = [[stream, part] for stream in STREAMS for part in ("snapshot", "stream")]
            api.materialize(parts, tell=LOG.info, budget_seconds=300)
            parts = [[stream, "stream"] for stream in (*ALWAYS, *others(stage))]
            api.materialize(parts, tell=LOG.info, budget_seconds=180)
            yield Deployed(stage, definitions(home))
    finally:
        down(home)


def forms(stage: Stage) -> dict[str, str]:
    """Return how each stream went on."""
    return {
        stream: next(
            "state" if step.detail.get("lineage") == "gtid" else str(step.detail["form"])
            for step in stage.ledger.steps(stream)
            if step.step == "decided"
        )
        for stream in STREAMS
    }


def test_lookups_aggregates_and_joins_equal_the_source_after_a_switchover(
    deployed: Deployed,
) -> None:
    stage = deployed.stage
    until(lambda: deployed.differing() == [])
    assert deployed.small_order(LEAVES_BLUE) is not None
    assert deployed.small_order(ENTERS_GREEN) is None
    before = {each: deployed.joins(each).ledger.incarnations(each) for each in deployed.joining}
    writer = Shop(stage.source, first_id=_ORDERS + 1, rows_per_second=50)
    writer.start()
    try:
        time.sleep(4)
        verdicts = deployed.counts(deployed.joining, "user_product")
        executed(stage.source, f"update orders set quantity = 9 where id = {LEAVES_BLUE}")
        began = time.monotonic()
        stage.switch_over(stage.available_deployment())
        executed(
            stage.source,
            f"update orders set quantity = 9 where id = {LEAVES_GREEN}",
            f"update orders set quantity = 2 where id = {ENTERS_GREEN}",
        )
        for stream in STREAMS:
            stage.wait_closed(stream, 1, budget_seconds=240)
        LOG.info("all recoveries closed %.1f s after the switchover", time.monotonic() - began)
        verdicts += deployed.counts(deployed.joining, "user_product")
        time.sleep(4)
    finally:
        writer.stop()
    LOG.info("%d row writes; verdicts on the joins while it wrote: %s", writer.written, verdicts)
    assert verdicts["Drifted"] == 0
    until(lambda: deployed.differing() == [], seconds=120)
    time.sleep(4)  # a row that comes twice or too late would show by now
    assert deployed.differing() == []
    for number in (LEAVES_BLUE, LEAVES_GREEN):
        assert deployed.small_order(number) is None
    assert deployed.small_order(ENTERS_GREEN) is not None
    # The joins read topics: they ran on, and their jobs are the same.
    for each, rows in before.items():
        assert deployed.joins(each).ledger.incarnations(each) == rows
        assert deployed.joins(each).engine.job(rows[-1].job_id).state == "RUNNING"
    gtid = stage.state.source_kind == "mysql"
    assert forms(stage) == (
        dict.fromkeys(STREAMS, "state") if gtid else
        {"etl": "specific-offset", "ranking": "transplant", "shop": "specific-offset"}
    )  # fmt: skip
    if deployed.beside_it:
        assert deployed.counts(deployed.beside_it, *JOINED) == {"InSync": 6}
        the_joins_go_on_after_a_killed_task_manager(deployed)
    the_rows_of_a_join_are_counted_by_its_topic(deployed)
    a_lookup_is_as_of_the_moment_when_the_row_passes(deployed)


def the_joins_go_on_after_a_killed_task_manager(deployed: Deployed) -> None:
    """As the sensors do it, each from its newest checkpoint."""
    stage = deployed.stage

    def newest(stream: str) -> IncarnationRow:
        return deployed.joins(stream).ledger.incarnations(stream)[-1]

    before = {each: newest(each).number for each in deployed.joining}
    restart_taskmanager(stage.home)
    executed(
        replace(stage.source, database=DATABASE),
        "update `user` set name = 'while it was down' where id = 1",
        "insert into `order` values (9000001, 'late', 1)",
        "delete from feedback where id = 1",
    )
    began = time.monotonic()
    until(lambda: all(newest(each).number > before[each] for each in deployed.joining), seconds=120)
    until(lambda: deployed.differing() == [], seconds=120)
    LOG.info("all results right %.1f s after the kill", time.monotonic() - began)
    assert all("/chk-" in newest(each).restored_from for each in deployed.joining)


def the_rows_of_a_join_are_counted_by_its_topic(deployed: Deployed) -> None:
    """As the schedule does it; a row that is taken away from the result is drift."""
    stage, job = deployed.stage, deployed.defs.resolve_job_def("reconcile_joins")

    def said() -> dict[str, str]:
        with dg.instance_for_test() as instance:
            result = job.execute_in_process(instance=instance)
            return {
                found.asset_key.path[-1]: str(found.description).partition(":")[0]
                for found in result.get_asset_check_evaluations()
            }

    assert said() == {"user_product": "InSync", "user_feedback": "InSync"}
    lost = executed(stage.target, "SELECT * FROM user_product ORDER BY 1 LIMIT 1")[0]
    executed(stage.target, f"DELETE FROM user_product WHERE order_id = {lost[0]}")
    assert said() == {"user_product": "Drifted", "user_feedback": "InSync"}


def a_lookup_is_as_of_the_moment_when_the_row_passes(deployed: Deployed) -> None:
    """What changes in the lookup table shows with the next change of a row, not before."""
    stage = deployed.stage
    executed(stage.target, "update products set title = 'Another' where name = 'bolt'")
    executed(stage.source, f"update orders set quantity = 3 where id = {ENTERS_GREEN}")

    def title(number: int) -> object:
        row = deployed.small_order(number)
        return row[-1] if row else None

    until(lambda: title(ENTERS_GREEN) == "Another")
    assert title(STAYS) == "The bolt"
