"""Filters, computed columns and lookups on real servers, into MySQL and into PostgreSQL.

What lands is compared with the same condition and the same expressions, worked out here from
the source's rows.
"""

# ruff: noqa: S608 - the names are this file's own

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

import pytest

from cdc_assets import (
    FlinkResource,
    LedgerResource,
    Lookup,
    MySqlResource,
    MySqlTargetResource,
    PostgresTargetResource,
    QuerySpec,
    ServerIdRange,
    StreamSpec,
    TableRef,
    TargetResource,
    Transform,
)
from cdc_assets.core.preflight import Fault
from cdc_assets.core.table_refs import ShardedTable
from cdc_assets.errors import PreflightFailed
from cdc_assets.flink.client import FlinkClient
from cdc_assets.lab import postgres_server
from cdc_assets.lab.lab import down, up
from cdc_assets.lab.postgres_rows import PostgresRows
from cdc_assets.lab.stage import Stage
from cdc_assets.operations.deploy import deploy
from cdc_assets.operations.launch import newest
from cdc_assets.operations.reconcile import reconcile
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.operations.snapshot import snapshot
from cdc_assets.ports import ReconciliationRow
from cdc_assets.reports import require_ready
from cdc_assets.wiring import StreamConnection, StreamWiring
from tests.integration.targets.sources import sources_of
from tests.integration.test_types import executed

Row = tuple[object, ...]
ORDERS = "etl_orders"
COLUMNS = """(id int primary key, customer_id bigint unsigned, status varchar(10) not null,
 price decimal(10,2) not null, n int not null, made datetime not null, secret varchar(20),
 `odd' col.a;-- %s` int)
 charset utf8mb4 collate utf8mb4_general_ci"""
TARGET = "(id int primary key, status varchar(10), total decimal(21,2), customer varchar(50))"
CUSTOMERS = "(id int primary key, name varchar(50), since date, credit decimal(10,2))"
FILTER = (
    "status IN ('paid', 'Sent') AND (price > 10 OR price IS NULL) AND made > '2021-12-21'"
    " AND `odd' col.a;-- %s` IS NULL"
)
INTO = f"insert into {ORDERS} (id, customer_id, status, price, n, made, secret) values"
TRANSFORM = Transform(
    ORDERS,
    columns=("id", "status"),
    filter=FILTER,
    computed=(("total", "price * n"), ("customer", "customers.name")),
    lookups=(Lookup.parse("customers", "id = customer_id"),),
)
FIRST_ROWS = """(1, 1, 'paid', 20, 2, '2024-01-01', 's'), (2, 2, 'paid', 5, 1, '2024-01-01', 's'),
 (3, 9, 'Sent', 11, 3, '2024-01-01', 's'), (4, 1, 'PAID', 30, 1, '2024-01-01', 's'),
 (5, null, 'paid', 99999999.99, 9, '2021-12-21 00:00:01', 's'),
 (6, 1, 'paid ', 50, 1, '2024-01-01', 's'), (7, 2, 'paid', 50, 1, '2021-12-21', 's'),
 (8, 18446744073709551615, 'paid', 12, 1, '2024-01-01', 's')"""
CHANGES = (
    f"update {ORDERS} set price = 1 where id = 1",  # Leaves the filter.
    f"update {ORDERS} set price = 500 where id = 2",  # Enters it.
    f"update {ORDERS} set n = 7 where id = 3",  # Stays in it.
    f"delete from {ORDERS} where id = 5",
    f"update {ORDERS} set id = 80 where id = 8",
    f"update {ORDERS} set `odd' col.a;-- %s` = 1 where id = 4",
    f"update {ORDERS} set status = 'open', made = '2025-01-01' where id = 7",  # Stays outside.
    f"{INTO} (10, 2, 'paid', 11, 1, '2024-01-01', 's')",
    f"{INTO} (11, 2, 'new', 11, 1, '2024-01-01', 's')",
)


@dataclass(frozen=True)
class Place:
    """A lab with a MySQL and a PostgreSQL target.

    Attributes:
        stage: The lab.
        port: Of PostgreSQL.
    """

    stage: Stage
    port: int

    def target(self, kind: str) -> TargetResource:
        """Return a target as a deployment writes it."""
        writer = self.stage.state.accounts["cdc_writer"]
        if kind == "postgres":
            return PostgresTargetResource(
                host="127.0.0.1", port=self.port, username=writer.user, password=writer.password,
                database=postgres_server.DATABASE,
            )  # fmt: skip
        there = self.stage.target
        return MySqlTargetResource(
            host=there.host, port=there.port, username=writer.user, password=writer.password,
            database=there.database,
        )  # fmt: skip

    def connection(self, kind: str, spec: StreamSpec) -> StreamConnection:
        """Return a stream whose lookup tables are beside its target tables."""
        state, stage = self.stage.state, self.stage
        cdc, target = state.accounts["cdc"], self.target(kind)
        flink, gateway = state.services["jobmanager"], state.services["sql-gateway"]
        return StreamWiring(
            spec=replace(spec, target_kind=target.kind),
            source=MySqlResource(
                host=stage.source.host, port=stage.source.port,
                username=cdc.user, password=cdc.password,
            ),
            target=target,
            lookup=target,
            flink=FlinkResource(
                rest_url=f"http://{flink.host}:{flink.port}",
                sql_gateway_url=f"http://{gateway.host}:{gateway.port}",
                checkpoint_directory=(stage.home / "flink" / "checkpoints").as_uri(),
                savepoint_directory=(stage.home / "flink" / "savepoints").as_uri(),
            ),
            ledger=LedgerResource(url=f"sqlite:///{stage.home}/etl-{spec.name}.db"),
        ).connect()  # fmt: skip

    def run(self, kind: str, *statements: str) -> None:
        """Run statements at a target."""
        if kind == "mysql":
            executed(self.stage.target, *statements)
            return
        account = self.stage.state.accounts["app"]
        with postgres_server.connect("127.0.0.1", self.port, account) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def rows(self, kind: str, table: str) -> list[Row]:
        """Return a whole target table."""
        if kind == "mysql":
            return list(executed(self.stage.target, f"select * from {table} order by 1"))
        account = self.stage.state.accounts["cdc_writer"]
        found = PostgresRows(self.port, account, schema="public").rows(table)
        return [found[key] for key in sorted(found)]  # type: ignore[type-var] - integers

    def jobs(self) -> list[str]:
        """Return the ids of all jobs that Flink knows."""
        flink = self.stage.state.services["jobmanager"]
        client = FlinkClient(f"http://{flink.host}:{flink.port}")
        return sorted(job.job_id for job in client.jobs())

    def expected(self, kind: str) -> list[Row]:
        """Work out what a target must hold."""
        names = {row[0]: row[1] for row in self.rows(kind, "customers")}
        found = executed(self.stage.source, f"select * from {ORDERS} order by id")
        kept = [row for row in found if passes(row)]
        return [
            (number, status, Decimal(str(price)) * int(str(n)), names.get(customer))
            for number, customer, status, price, n, *_ in kept
        ]


def passes(row: Row) -> bool:
    """Return whether an order meets the filter, byte by byte where it compares texts."""
    _, _, status, price, _, made, *_ = row
    return status in {"paid", "Sent"} and price > 10 and made > datetime(2021, 12, 21)  # type: ignore[operator]  # noqa: DTZ001 - the columns are not NULL and have no zone


@pytest.fixture(scope="session", params=sources_of("mariadb"))
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """Start a lab with both targets."""
    home = tmp_path_factory.mktemp(f"lab-etl-{request.param}")
    try:
        state = up(home, request.param, "postgres").state
        yield Place(Stage(home), state.service("postgres").port)
    finally:
        down(home)


@pytest.fixture(autouse=True)
def orders(place: Place) -> None:
    """Make the source table and the lookup tables anew."""
    executed(
        place.stage.source,
        f"drop table if exists {ORDERS}",
        f"create table {ORDERS} {COLUMNS}",
        f"{INTO} {FIRST_ROWS}",
    )
    for kind in ("mysql", "postgres"):
        place.run(
            kind,
            f"drop table if exists {ORDERS}",
            "drop table if exists customers",
            f"create table {ORDERS} {TARGET}",
            f"create table customers {CUSTOMERS}",
            "insert into customers values (1, 'Ada', '2020-01-01', 5), (2, 'Bo', null, null)",
        )


def spec_of(name: str, *transforms: Transform, first_id: int, **settings: object) -> StreamSpec:
    """Return a stream of the orders."""
    made = StreamSpec(
        name,
        (TableRef("source", ORDERS),),
        ServerIdRange(first_id, first_id + 9),
        "target",
        transforms=transforms,
    )
    return replace(made, **settings)


def verdicts(rt: StreamRuntime) -> Sequence[ReconciliationRow]:
    """Compare the counts."""
    row = newest(rt)
    assert row is not None
    return reconcile(rt, row)


def settle(place: Place, kind: str) -> None:
    """Wait until the target holds what it must."""
    until = time.monotonic() + 60
    while place.rows(kind, ORDERS) != place.expected(kind) and time.monotonic() < until:
        time.sleep(0.5)
    assert place.rows(kind, ORDERS) == place.expected(kind)


@pytest.mark.parametrize("kind", ["mysql", "postgres"])
def test_rows_enter_and_leave_the_filter_and_are_counted_by_it(place: Place, kind: str) -> None:
    """Snapshot, changes, a redeployment and changes again; the copy stays without state."""
    spec = spec_of(f"etl_{kind}", TRANSFORM, first_id=9300 if kind == "mysql" else 9320)
    assert spec.resume_form == "specific-offset"
    connection = place.connection(kind, spec)
    assert connection.preflight() == []
    rt = connection.runtime
    try:
        done = snapshot(rt)
        assert [(row.verdict, row.source_count) for row in done.reconciliations] == [("InSync", 4)]
        assert place.rows(kind, ORDERS) == place.expected(kind)
        deploy(rt)
        executed(place.stage.source, *CHANGES)
        settle(place, kind)
        (verdict,) = verdicts(rt)
        assert (verdict.verdict, verdict.source_count, verdict.target_count) == ("InSync", 4, 4)
        # What changes in the lookup table stays as it was in rows that are written already.
        place.run(kind, "update customers set name = 'Bob' where id = 2")
        executed(place.stage.source, f"update {ORDERS} set n = 2 where id = 10")
        until = time.monotonic() + 60
        while (10, "paid", Decimal(22), "Bob") not in place.rows(kind, ORDERS):
            assert time.monotonic() < until
            time.sleep(0.5)
        assert (2, "paid", Decimal(500), "Bo") in place.rows(kind, ORDERS)
        place.run(kind, f"delete from {ORDERS} where id = 2")
        assert verdicts(rt)[0].verdict == "Drifted"
    finally:
        row = newest(rt)
        if row is not None:
            rt.engine.cancel(row.job_id, budget_seconds=60)


def test_a_filter_that_can_be_read_in_two_ways_is_not_counted(place: Place) -> None:
    """The copy works, and its count says `transformed`."""
    transform = replace(TRANSFORM, filter="UPPER(status) = 'PAID'")
    rt = place.connection("mysql", spec_of("etl_two", transform, first_id=9340)).runtime
    done = snapshot(rt)
    (verdict,) = done.reconciliations
    assert verdict.verdict == "Inconclusive"
    assert verdict.reason.startswith("transformed: ")
    assert [row[0] for row in place.rows("mysql", ORDERS)] == [1, 2, 4, 5, 7, 8]


def faults(place: Place, **settings: object) -> list[Fault]:
    """Return what preflight says of a stream with a change, which starts nothing."""
    spec = spec_of("etl_faulty", first_id=9360, **settings)
    before = place.jobs()
    found = list(place.connection("mysql", spec).preflight())
    assert place.jobs() == before
    for fault in found:
        assert "\n" not in fault.text
    return found


@pytest.mark.parametrize(
    ("transform", "field", "said"),
    [
        (replace(TRANSFORM, filter="amount > 1"), f"filters.{ORDERS}", "amount"),
        (replace(TRANSFORM, filter="Price > 1"), f"filters.{ORDERS}", "Price"),
        (replace(TRANSFORM, filter="price > 'a' + 1"), f"filters.{ORDERS}", "Flink"),
        (replace(TRANSFORM, filter="price"), f"filters.{ORDERS}", "must be a condition"),
        (replace(TRANSFORM, filter="nothing(price) > 1"), f"filters.{ORDERS}", "nothing"),
        (
            replace(TRANSFORM, computed=(("total", "price * m"),)),
            f"computed.{ORDERS}.total",
            "m in",
        ),
        (
            replace(TRANSFORM, computed=(("total", "price * price * price"),)),
            f"computed.{ORDERS}.total",
            "would be lost",
        ),
        (
            replace(TRANSFORM, computed=(("customer", "customers.nom"),)),
            f"lookups.{ORDERS}.customers",
            "nom",
        ),
        (
            replace(TRANSFORM, computed=(("customer", "id"),)),
            f"computed.{ORDERS}.customer",
            "a column of two tables",
        ),
        (
            replace(TRANSFORM, lookups=(Lookup.parse("customers", "name = status"),)),
            f"lookups.{ORDERS}.customers",
            "primary key",
        ),
        (replace(TRANSFORM, columns=("id", "state")), f"columns.{ORDERS}", "state"),
    ],
)
def test_what_does_not_fit_the_schema_is_named_before_anything_starts(
    place: Place, transform: Transform, field: str, said: str
) -> None:
    found = faults(place, transforms=(transform,))
    fault = next(each for each in found if each.severity == "error")
    assert fault.field.endswith(field), fault
    assert said in fault.text, fault


def test_a_query_with_an_unknown_column_is_refused_before_anything_starts(place: Place) -> None:
    place.run("mysql", "drop table if exists sums", "create table sums (status varchar(10)"
              " primary key, n bigint, total decimal(38,2))")  # fmt: skip
    queries = (QuerySpec("sums", f"SELECT status, COUNT(*), SUM(prize) FROM {ORDERS} GROUP BY 1"),)
    found = faults(place, queries=queries, source_only=(ORDERS,))
    with pytest.raises(PreflightFailed, match="prize") as caught:
        require_ready("etl_faulty", found)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    swapped = (QuerySpec("sums", f"SELECT status, SUM(price) total, COUNT(*) n FROM {ORDERS}"
                                 " GROUP BY status"),)  # fmt: skip
    (fault,) = faults(place, queries=swapped, source_only=(ORDERS,))
    assert "total in the place of n" in fault.text


def test_shards_are_counted_by_their_filter(place: Place) -> None:
    """Also where the target is MySQL, whose keys have the source's order."""
    source = place.stage.source
    for number in (1, 2):
        executed(
            source,
            f"drop table if exists etl_shard_{number}",
            f"create table etl_shard_{number} (id int primary key, v int)",
            f"insert into etl_shard_{number} values (1, 5), (2, 50)",
        )
    place.run(
        "mysql",
        "drop table if exists etl_shards",
        "create table etl_shards (database_name varchar(64), table_name varchar(64), id int, v int,"
        " primary key (database_name, table_name, id)) charset utf8mb4 collate utf8mb4_bin",
    )
    spec = StreamSpec(
        "etl_shards",
        (ShardedTable("source", "etl_shard_[0-9]", "etl_shards"),),
        ServerIdRange(9380, 9389),
        "target",
        transforms=(Transform("etl_shards", filter="v > 10"),),
    )
    connection = place.connection("mysql", spec)
    assert connection.preflight() == []
    (verdict,) = snapshot(connection.runtime).reconciliations
    assert (verdict.verdict, verdict.source_count, verdict.target_count) == ("InSync", 2, 2)
