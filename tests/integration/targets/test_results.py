"""Target tables made of what Flink works out, and columns that come, on real servers.

Into MySQL, PostgreSQL, Iceberg and the StarRocks stand-in: each target table is missing and is made
by the snapshot. What lands is compared whole with the same queries at the source.
"""

# ruff: noqa: S608 - the names are this file's own

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from cdc_assets import (
    FlinkResource,
    LedgerResource,
    Lookup,
    MySqlResource,
    MySqlTargetResource,
    QuerySpec,
    ServerIdRange,
    StreamSpec,
    TableRef,
    TargetResource,
    Transform,
)
from cdc_assets.core.preflight import Fault
from cdc_assets.core.recovery import Policy
from cdc_assets.core.stream import TargetKind
from cdc_assets.errors import CdcError, ConfigurationError
from cdc_assets.lab.dagster_services import environment
from cdc_assets.lab.lab import down, up
from cdc_assets.lab.stage import Stage
from cdc_assets.lab.target_system import TARGET_DATABASE
from cdc_assets.operations.deploy import deploy
from cdc_assets.operations.launch import newest
from cdc_assets.operations.reconcile import reconcile
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.operations.schema_apply import follow_schema
from cdc_assets.operations.schema_watch import look_at_schema, watch_schema
from cdc_assets.operations.snapshot import snapshot
from cdc_assets.operations.stop import stop_stream, what_stops
from cdc_assets.reports import require_ready, schema_report
from cdc_assets.wiring import StreamConnection, StreamWiring
from tests.integration.targets.sources import sources_of
from tests.integration.test_types import executed

LOG = logging.getLogger(__name__)
Row = tuple[object, ...]
ORDERS = """create table res_orders (id int primary key, customer_id int, status varchar(10) not
 null, price decimal(10,2), n int not null, made datetime(3) not null)
 charset utf8mb4 collate utf8mb4_bin"""
CUSTOMERS = "create table res_customers (id int primary key, name varchar(50), since date)"
INTO = "insert into res_orders (id, customer_id, status, price, n, made) values"
FIRST_ROWS = """(1, 1, 'paid', 20, 2, '2024-01-01 10:20:30.125'),
 (2, 2, 'paid', 5, 1, '2024-02-29'), (3, 9, 'sent', 11, 7, '1999-12-31 23:59:59'),
 (4, null, 'grün', 99999999.99, 9, '2024-01-01')"""
# Target table, and the same at the source: `names` are the lookup table's rows.
COMPUTED = (
    ("total", "price * n"),
    ("half", "CAST(n AS DOUBLE) / 2"),
    ("is_paid", "status = 'paid'"),
    ("kind", "CASE WHEN n > 5 THEN 'many' ELSE 'few' END"),
    ("word", "UPPER(status)"),
    ("day", "CAST(made AS DATE)"),
    ("later", "TIMESTAMPADD(DAY, 1, made)"),
    ("tiny", "CAST(n AS TINYINT)"),
    ("big", "CAST(res_orders.id AS BIGINT) * 1000000000"),
    ("since", "res_customers.since"),
    ("customer", "res_customers.name"),
)
AT_SOURCE = """SELECT o.id, o.status, price * n, n / 2, status = 'paid', IF(n > 5, 'many', 'few'),
 UPPER(status), DATE(made), made + INTERVAL 1 DAY, n, o.id * 1000000000, %s o.customer_id
 FROM res_orders o WHERE price > 10 ORDER BY o.id"""
TRANSFORM = Transform(
    "res_orders",
    columns=("status",),
    filter="price > 10",
    computed=COMPUTED,
    lookups=(Lookup.parse("res_customers", "id = customer_id"),),
)
STATS = (
    "SELECT CAST(status AS VARCHAR(20)) AS status, COUNT(*) AS n, SUM(price * n) AS total,"
    " MAX(made) AS newest FROM res_orders GROUP BY status"
)
STATS_AT_SOURCE = (
    "SELECT status, COUNT(*), SUM(price * n), MAX(made) FROM res_orders GROUP BY status"
    " ORDER BY status"
)
COUNTS = (
    "select status, count(*), cast(sum(n) as signed) from res_orders group by status"
    " order by status"
)
STAR = "select id, customer_id, status, price, n, made from res_orders where n > 1 order by id"
KINDS: dict[str, tuple[TargetKind, ...]] = {
    "postgres": ("mysql", "postgres"),
    "iceberg": ("iceberg",),
    "starrocks": ("starrocks",),
}


@dataclass
class Place:
    """A lab and one kind of target in it."""

    stage: Stage
    kind: TargetKind
    made: list[StreamRuntime] = field(default_factory=list)

    def target(self, kind: TargetKind) -> TargetResource:
        """Return a target as a deployment writes it."""
        state = self.stage.state
        if kind == "mysql":
            there, writer = self.stage.target, state.accounts["cdc_writer"]
            return MySqlTargetResource(
                host=there.host, port=there.port, username=writer.user,
                password=writer.password, database=there.database,
            )  # fmt: skip
        said = environment(state)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in said.items():
                patch.setenv(name, value)
            return _resource(kind)

    def connection(self, spec: StreamSpec, policy: Policy | None = None) -> StreamConnection:
        """Return a stream whose lookup table is in the MySQL server beside the target."""
        state, stage = self.stage.state, self.stage
        cdc, target = state.accounts["cdc"], self.target(self.kind)
        said = environment(state)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in said.items():
                patch.setenv(name, value)
            made = StreamWiring(
                spec=replace(spec, target_kind=self.kind),
                source=MySqlResource(
                    host=stage.source.host, port=stage.source.port,
                    username=cdc.user, password=cdc.password,
                ),
                target=target,
                lookup=self.target("mysql"),
                flink=FlinkResource(
                    rest_url=said["FLINK_REST_URL"],
                    sql_gateway_url=said["FLINK_SQL_GATEWAY_URL"],
                    checkpoint_directory=said["FLINK_CHECKPOINT_DIR"],
                    savepoint_directory=said["FLINK_SAVEPOINT_DIR"],
                ),
                ledger=LedgerResource(url=f"sqlite:///{stage.home}/{spec.name}.db"),
                policy=policy or Policy(),
            ).connect()  # fmt: skip
        self.made.append(made.runtime)
        return made

    def at_source(self, query: str) -> list[Row]:
        """Return what a query says of the source."""
        return list(executed(self.stage.source, query))

    def rows(self, name: str, columns: str = "*") -> list[Row]:
        """Return a target table, ordered by its first column."""
        rt = self.made[-1]
        if self.kind == "mysql":
            return list(executed(self.stage.target, f"select {columns} from {name} order by 1"))
        target: Any = rt.target
        if self.kind == "iceberg":
            wanted = None if columns == "*" else [each.strip() for each in columns.split(",")]
            found = list(target.rows(name, wanted, timeout_seconds=60))
        elif self.kind == "postgres":
            from cdc_assets.targets.postgres_session import open_session  # noqa: PLC0415 - one kind only

            with open_session(target._login, 10) as session:
                found = list(session.rows(f"select {columns} from {name}"))
        else:
            found = list(target._rows(f"select {columns} from `{TARGET_DATABASE}`.`{name}`", ()))
        return sorted(found, key=lambda row: (str(type(row[0])), row[0]))  # type: ignore[return-value]

    def drop(self, *names: str) -> None:
        """Drop target tables through the account that makes them."""
        rt, target = self.made[-1], self.made[-1].target
        assert rt.spec.target_kind == self.kind
        for name in names:
            if self.kind == "mysql":
                executed(self.stage.target, f"drop table if exists {name}")
            elif self.kind == "iceberg":
                lake: Any = target
                if lake._lake.table(name) is not None:
                    lake.alter(f"DROP TABLE `lake`.`{rt.spec.target_database}`.`{name}`")
            elif self.kind == "postgres":
                postgres: Any = target
                postgres.alter(f"drop table if exists {name}")
            else:
                starrocks: Any = target
                with starrocks._session(10) as cursor:
                    cursor.execute(f"DROP TABLE IF EXISTS `{TARGET_DATABASE}`.`{name}`")


def _resource(kind: TargetKind) -> TargetResource:
    from importlib import import_module, reload  # noqa: PLC0415 - beside its use

    return reload(import_module(f"resources.target_{kind}")).target


@pytest.fixture(
    scope="session", params=[(s, t) for s in sources_of("mariadb") for t in KINDS], ids="-".join
)
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """Start a lab for one kind of target; a MySQL target is in each."""
    source, target = request.param
    home = tmp_path_factory.mktemp(f"lab-results-{source}-{target}")
    try:
        up(home, source, target)
        yield Stage(home)
    finally:
        down(home)


@pytest.fixture
def places(stage: Stage) -> Iterator[list[Place]]:
    """Return the kinds of target of the lab, over new source tables."""
    executed(
        stage.source,
        "drop table if exists res_orders",
        ORDERS,
        f"{INTO} {FIRST_ROWS}",
    )
    executed(
        stage.target,
        "drop table if exists res_customers",
        CUSTOMERS,
        "insert into res_customers values (1, 'Ada', '2020-01-01'), (2, 'Bo', null)",
    )
    server = stage.state.servers["target"]
    writer = stage.state.accounts["cdc_writer"]
    admin = replace(stage.target, user=server.admin_user, password=server.admin_password)
    executed(admin, f"grant create, alter on {TARGET_DATABASE}.* to '{writer.user}'@'%'")
    if "postgres" in stage.state.services:
        from cdc_assets.lab import postgres_server  # noqa: PLC0415 - one lab only

        service = stage.state.service("postgres")
        account = stage.state.accounts["admin"]
        with postgres_server.connect("127.0.0.1", service.port, account) as session:
            session.execute(f"grant create on schema public to {writer.user}".encode())
    found = [Place(stage, kind) for kind in KINDS[stage.state.target_kind]]
    try:
        yield found
    finally:
        for place in found:
            for rt in place.made:
                row = newest(rt)
                if row is not None and rt.engine.job(row.job_id).state == "RUNNING":
                    rt.engine.cancel(row.job_id, budget_seconds=60)


def spec_of(name: str, first_id: int, **settings: Any) -> StreamSpec:  # noqa: ANN401 - of the spec
    made = StreamSpec(
        name,
        (TableRef("source", "res_orders"),),
        ServerIdRange(first_id, first_id + 9),
        TARGET_DATABASE,
        checkpoint_interval_seconds=1.0,
        flush_interval_seconds=0.5,
    )
    return replace(made, **settings)


def plain(row: Row) -> Row:
    """Return a row whose values compare over drivers: truth as a number, moments without a zone."""
    values: list[object] = []
    for value in row:
        if isinstance(value, bytes) and len(value) == 1:  # BIT(1) of MySQL
            values.append(value[0])
        else:
            values.append(int(value) if isinstance(value, bool) else value)
    return tuple(values)


def wanted_orders(stage: Stage) -> list[Row]:
    names = {
        row[0]: row[1:]
        for row in executed(stage.target, "select id, name, since from res_customers")
    }
    found = executed(stage.source, AT_SOURCE.replace("%s ", ""))
    return [
        (*row[:3], float(str(row[3])), *row[4:-1], *reversed(names.get(row[-1], (None, None))))
        for row in found
    ]


def settle(place: Place, name: str, wanted: Any) -> None:  # noqa: ANN401 - a function of rows
    """Wait until a target table holds what it must."""
    rt = place.made[-1]
    until = time.monotonic() + 60
    while True:
        found, want = [plain(row) for row in place.rows(name)], [plain(row) for row in wanted()]
        if found == want:
            return
        row = newest(rt)
        assert row is not None
        view = rt.engine.job(row.job_id)
        assert view.state == "RUNNING", view.failure
        assert time.monotonic() < until, (found, want)
        time.sleep(0.5)


def errors(found: Sequence[Fault]) -> list[str]:
    return [fault.text for fault in found if fault.severity == "error"]


def test_tables_are_made_of_what_flink_works_out(places: list[Place]) -> None:
    """A filter with computed columns of each type and a lookup."""
    for number, place in enumerate(places):
        spec = spec_of(f"res_copy_{place.kind}", 9400 + 10 * number, transforms=(TRANSFORM,))
        connection = place.connection(spec)
        place.drop("res_orders")
        assert errors(connection.preflight(anew=True)) == [], place.kind
        made: list[str] = []
        snapshot(connection.runtime, made=made.extend)
        assert made == ["res_orders"]
        assert errors(connection.preflight()) == []
        deploy(connection.runtime)
        executed(
            place.stage.source,
            f"{INTO} (10, 2, 'new', 12.5, 6, '2024-03-31 02:30:00.5')",
            "update res_orders set price = 1 where id = 1",
            "update res_orders set n = 100, price = 500 where id = 2",
            "delete from res_orders where id = 4",
        )
        settle(place, "res_orders", lambda place=place: wanted_orders(place.stage))
        row = newest(connection.runtime)
        assert row is not None
        (verdict,) = reconcile(connection.runtime, row)
        assert verdict.verdict == "InSync", verdict
        # Columns that the stream does not read: of the lookup table, and outside `columns`.
        executed(place.stage.target, "alter table res_customers add column more int null first")
        executed(place.stage.source, "alter table res_orders add column more int null")
        seen = follow_schema(connection.runtime)
        assert (seen.look.drifts, schema_report(seen).passed) == ((), True), seen
        assert deploy(connection.runtime).adopted
        stop_stream(connection.runtime, what_stops(connection.runtime))
        assert errors(connection.preflight()) == []
        assert not deploy(connection.runtime).adopted
        executed(place.stage.source, "update res_orders set more = 1, n = 3 where id in (3, 10)")
        settle(place, "res_orders", lambda place=place: wanted_orders(place.stage))
        executed(place.stage.target, "alter table res_customers drop column more")
        executed(place.stage.source, "alter table res_orders drop column more",
                 "delete from res_orders", f"{INTO} {FIRST_ROWS}")  # fmt: skip


def test_a_table_is_made_for_a_query_with_a_key(places: list[Place]) -> None:
    for number, place in enumerate(places):
        queries = (QuerySpec("res_stats", STATS, key=("status",)),)
        spec = spec_of(f"res_query_{place.kind}", 9420 + 10 * number, queries=queries,
                       source_only=("res_orders",))  # fmt: skip
        connection = place.connection(spec)
        place.drop("res_stats")
        assert errors(connection.preflight(anew=True)) == []
        made: list[str] = []
        snapshot(connection.runtime, made=made.extend)
        assert made == ["res_stats"]
        deploy(connection.runtime)
        executed(place.stage.source, f"{INTO} (11, 2, 'paid', 1.25, 1, '2030-01-01')",
                 "update res_orders set status = 'open' where id = 3")  # fmt: skip
        settle(place, "res_stats", lambda place=place: place.at_source(STATS_AT_SOURCE))
        executed(place.stage.source, "delete from res_orders", f"{INTO} {FIRST_ROWS}")


def test_what_a_target_cannot_hold_is_refused_by_table_and_column(places: list[Place]) -> None:
    for place in places:
        wrong = replace(TRANSFORM, lookups=(), computed=(("pair", "CAST(made AS TIME)"),))
        spec = spec_of(f"res_wrong_{place.kind}", 9480, transforms=(wrong,))
        connection = place.connection(spec)
        place.drop("res_orders", "res_stats")
        found = list(connection.preflight(anew=True))
        assert any(".res_orders.pair: found type TIME" in text for text in errors(found))
        with pytest.raises(CdcError, match="no target has a type for it"):
            snapshot(connection.runtime)
        assert newest(connection.runtime) is None
        # Without a key there is no table, and the refusal of before.
        keyless = (QuerySpec("res_stats", STATS),)
        spec = replace(spec, transforms=(), queries=keyless, source_only=("res_orders",))
        found = list(place.connection(replace(spec, name=f"res_keyless_{place.kind}")).preflight())
        with pytest.raises(CdcError, match=r"res_stats: found no such table"):
            require_ready("x", found)


def test_an_added_column_does_not_stop_a_query_s_stream(places: list[Place]) -> None:
    """Neither its check nor its next launch; the query's table stays equal to the source."""
    for number, place in enumerate(places):
        source = place.stage.source
        # All columns are named, so that a further one would move the plan.
        everything = (
            "SELECT status, COUNT(*) AS orders, SUM(n) AS n FROM (SELECT * FROM res_orders)"
            " GROUP BY status"
        )
        queries = (
            QuerySpec("res_counts", everything.replace("SELECT status", "SELECT CAST(status AS"
                      " VARCHAR(20)) AS status"), key=("status",)),
            QuerySpec("res_star", "SELECT * FROM res_orders WHERE n > 1", key=("id",)),
        )  # fmt: skip
        spec = spec_of(f"res_added_{place.kind}", 9490 + 20 * number, queries=queries,
                       source_only=("res_orders",))  # fmt: skip
        connection = place.connection(spec, Policy(on_added_column="apply"))
        place.drop("res_counts", "res_star")
        rt = connection.runtime
        assert errors(connection.preflight(anew=True)) == []
        snapshot(rt)
        deploy(rt)
        executed(
            source,
            "alter table res_orders add column extra int null",
            "insert into res_orders values (20, 1, 'paid', 20, 2, '2024-01-01', 5)",
        )
        seen = follow_schema(rt)
        report = schema_report(seen)
        assert (seen.act, report.passed) == ("", True), report
        assert "extra: new column" in report.text
        assert "no query names it" in report.text
        assert deploy(rt).adopted
        stop_stream(rt, what_stops(rt))
        executed(source, "insert into res_orders values (21, 1, 'sent', 20, 2, '2024-01-01', 6)")
        assert errors(connection.preflight()) == []
        done = deploy(rt)
        assert not done.adopted
        executed(source, "update res_orders set extra = 7, n = 9 where id = 20",
                 "delete from res_orders where id = 2")  # fmt: skip
        settle(place, "res_counts", lambda place=place: place.at_source(COUNTS))
        settle(place, "res_star", lambda place=place: place.at_source(STAR))
        assert schema_report(watch_schema(rt)).passed
        # A query that names the column wants a new snapshot, and nothing is stopped for it.
        named = (queries[0], replace(queries[1], sql="SELECT id, extra FROM res_orders"))
        with pytest.raises(ConfigurationError, match="extra: new column"):
            deploy(replace(rt, spec=replace(rt.spec, queries=named)))
        assert rt.engine.job(done.job_id).state == "RUNNING"
        executed(source, "alter table res_orders drop column extra", "delete from res_orders",
                 f"{INTO} {FIRST_ROWS}")  # fmt: skip


class Writer(threading.Thread):
    """Inserts, updates and deletes until it is told to stop."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(daemon=True)
        self.stage, self.done, self.more, self.rows = stage, threading.Event(), "", 0

    def run(self) -> None:
        while not self.done.wait(0.03):
            number = 1000 + self.rows
            self.rows += 1
            executed(
                self.stage.source,
                f"{INTO} ({number}, 1, 'paid', 20, {number % 9}, '2024-01-01')",
                f"update res_orders set n = n + 1{self.more} where id = {number - 7}",
                f"delete from res_orders where id = {number - 20}",
            )


def test_a_column_is_applied_under_a_writer(places: list[Place]) -> None:
    """Rows written between the column and the look are read again with it."""
    for number, place in enumerate(places):
        source = place.stage.source
        spec = spec_of(f"res_apply_{place.kind}", 9540 + 20 * number)
        connection = place.connection(spec, Policy(on_added_column="apply"))
        place.drop("res_orders")
        rt = connection.runtime
        snapshot(rt)
        deploy(rt)
        writer = Writer(place.stage)
        writer.start()
        try:
            time.sleep(3)
            assert watch_schema(rt).look.drifts == ()
            executed(source, "alter table res_orders add column note varchar(20) null")
            writer.more = ", note = concat('größe ', id)"
            time.sleep(3)
            before = writer.rows
            start = time.monotonic()
            seen = follow_schema(rt)
            LOG.info("%s: applied in %.1f s, %d", place.kind, time.monotonic() - start, before)
            assert seen.act == "applied", seen
            assert "ADD" in seen.ran[0]
            time.sleep(3)
        finally:
            writer.done.set()
            writer.join(30)
        assert writer.rows > before
        everything = "select * from res_orders order by id"
        settle(place, "res_orders", lambda p=place, q=everything: p.at_source(q))
        noted = executed(source, "select count(*) from res_orders where note is not null")
        assert list(noted) != [(0,)]
        assert look_at_schema(rt).drifts == ()
        executed(source, "alter table res_orders drop column note",
                 "delete from res_orders where id >= 1000")  # fmt: skip
