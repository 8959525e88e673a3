"""StarRocks as a target: its own Flink connector against the stand-in.

What is proved is what Flink sends and that it arrives as it was; the server is a stand-in, not
StarRocks. Values are compared as Python objects: what PyMySQL reads at the source must equal
what it reads at the stand-in.
"""

# ruff: noqa: S608 - the names are this file's own

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.preflight import Fault
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.core.transform import Transform
from cdc_assets.core.types import carried
from cdc_assets.errors import ConfigurationError, UnsupportedType
from cdc_assets.flink.client import FlinkClient
from cdc_assets.flink.engine import FlinkEngine, StateFolders
from cdc_assets.flink.gateway import SqlGateway
from cdc_assets.flink.render import StreamRenderer
from cdc_assets.flink.sink_starrocks import StarRocksSink
from cdc_assets.flink.source_sql import SourceAccess
from cdc_assets.lab import starrocks_server
from cdc_assets.lab.lab import down, restart_taskmanager, up
from cdc_assets.lab.stage import Stage
from cdc_assets.lab.starrocks_rows import StarRocksRows
from cdc_assets.lab.workload import Login
from cdc_assets.mysql.client import MySqlSource
from cdc_assets.operations.clock import SystemClock
from cdc_assets.ports import Launch, Server
from cdc_assets.smt.generate import generate
from cdc_assets.targets.starrocks import StarRocksLogin, StarRocksTarget
from tests.integration.targets.replays import TABLE, create_replayed, replay_an_added_column
from tests.integration.targets.ways import way_of
from tests.integration.test_types import (
    GROUPS,
    STREAM_ROWS_FROM,
    Group,
    as_shown,
    create,
    executed,
    insert,
    wait_for_stream,
)

DATABASE = starrocks_server.DATABASE


def is_carried(kind: str) -> bool:
    """Return whether a type is carried into StarRocks."""
    base = kind.replace("(", " ").split()[0]
    try:
        carried(
            "d.t",
            Column("c", base, kind.split(" character set", maxsplit=1)[0]),
            target="starrocks",
        )
    except UnsupportedType:
        return False
    return True


VALUES: Mapping[str, Group] = {
    name: kept
    for name, group in GROUPS.items()
    if (kept := {kind: values for kind, values in group.items() if is_carried(kind)})
} | {
    "types_texts": {
        # The connector reads texts that begin like JSON as JSON where it does not know better.
        "varchar(60)": ['{"a": 1,  "b":2}', "[1,  2]", "{", "[x", "\\N", "null", '"', None],
        "text": ['{"a": 1,  "b":2}', "[1,  2]", "{", "\x01\x02", "a\tb\nc", None],
    },
    "types_ancient": {
        "date": ["0001-01-01", "1582-10-10", "9999-12-31", None],
        "datetime(6)": ["0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", None],
        "datetime": ["2024-01-01 00:00:00", "2024-01-01 10:20:00", None],
    },
}


@dataclass(frozen=True)
class Place:
    """A lab with the stand-in.

    Attributes:
        stage: The lab.
        port: MySQL port of the stand-in.
        http_port: HTTP port of the front end that it plays.
    """

    stage: Stage
    port: int
    http_port: int

    @property
    def source(self) -> Login:
        """Return the application's login at the source."""
        return self.stage.source

    @property
    def login(self) -> StarRocksLogin:
        """Return the writer's login at the stand-in."""
        account = self.stage.state.accounts["cdc_writer"]
        server = Server("127.0.0.1", self.port)
        load = (f"127.0.0.1:{self.http_port}",)
        return StarRocksLogin(server, load, account.user, account.password)

    def target(self, **changes: object) -> StarRocksTarget:
        """Return the adapter."""
        return StarRocksTarget(replace(self.login, **changes), DATABASE)

    def run(self, *statements: str) -> list[tuple[object, ...]]:
        """Run statements at the stand-in and return the last one's rows."""
        account = self.stage.state.accounts["cdc_writer"]
        return starrocks_server.execute(self.port, account, *statements)

    def rows(
        self, table: str, names: Sequence[str] = (), database: str = DATABASE
    ) -> dict[object, tuple[object, ...]]:
        """Return a whole target table."""
        account = self.stage.state.accounts["cdc_writer"]
        return StarRocksRows(self.port, account, database).rows(table, names)

    def mysql(self) -> MySqlSource:
        """Return the source's adapter."""
        cdc = self.stage.state.accounts["cdc"]
        return MySqlSource(Server(self.source.host, self.source.port), cdc.user, cdc.password)

    def shapes(self, spec: StreamSpec) -> dict[str, TableShape]:
        """Return the captured tables."""
        source = self.mysql()
        return {each.label: each for each in source.shapes(source.endpoint, spec.tables)}

    def faults(self, spec: StreamSpec) -> list[Fault]:
        """Return what preflight says."""
        return list(self.target().faults(spec, self.shapes(spec)))

    def create_targets(self, spec: StreamSpec) -> None:
        """Let the target make the copied tables, as a snapshot does."""
        for table in spec.copied:
            self.run(f"DROP TABLE IF EXISTS `{DATABASE}`.`{table.target_name}`")
        told = {each.field for each in self.faults(spec) if each.severity == "warning"}
        made = self.target().make_missing(spec, tuple(self.shapes(spec).values()))
        assert list(made) == [table.target_name for table in spec.copied]
        assert {f"{DATABASE}.{name}" for name in made} <= told

    def sink(self, **changes: object) -> StarRocksSink:
        """Return the stream's sink."""
        login = self.login
        made = StarRocksSink(
            login.server, login.load_addresses, DATABASE, login.username, login.password
        )
        return replace(made, **changes)

    def gateway(self) -> SqlGateway:
        """Return Flink's SQL gateway."""
        service = self.stage.state.services["sql-gateway"]
        return SqlGateway(f"http://{service.host}:{service.port}")

    def flink(self) -> FlinkClient:
        """Return Flink's job manager."""
        service = self.stage.state.services["jobmanager"]
        return FlinkClient(f"http://{service.host}:{service.port}")

    def engine(self, sink: StarRocksSink) -> FlinkEngine:
        """Return an engine with the real adapters."""
        cdc = self.stage.state.accounts["cdc"]
        folder = self.stage.home / "flink"
        return FlinkEngine(
            client=self.flink(),
            gateway=self.gateway(),
            folders=StateFolders(
                (folder / "checkpoints").as_uri(), (folder / "savepoints").as_uri()
            ),
            source=self.mysql(),
            target=self.target(),
            render=StreamRenderer(SourceAccess(cdc.user, cdc.password), sink),
            clock=SystemClock(),
        )

    def spec(self, *tables: str, **settings: object) -> StreamSpec:
        """Return a stream of tables of the source's database."""
        refs = tuple(TableRef.parse(f"{self.source.database}.{name}") for name in tables)
        made = StreamSpec("sr", refs, ServerIdRange(9300, 9399), DATABASE, target_kind="starrocks")
        return replace(made, **settings)

    @contextmanager
    def running(
        self, spec: StreamSpec, *, sink: StarRocksSink | None = None, readers: int = 1
    ) -> Iterator[tuple[FlinkEngine, str]]:
        """Launch a stream, wait for the end of its snapshot, and cancel it at the end."""
        engine, job_id = self.engine(sink or self.sink()), uuid.uuid4().hex
        engine.launch(Launch(job_id, spec.name, spec, self.mysql().endpoint))
        try:
            wait_for_stream(engine, job_id, readers=readers)
            yield engine, job_id
        finally:
            engine.cancel(job_id, budget_seconds=60)

    def wait_equal(self, engine: FlinkEngine, job_id: str, query: str, table: str) -> None:
        """Wait until a target table holds what a query says of the source."""
        wanted: dict[object, tuple[object, ...]] = {}
        until = time.monotonic() + 60
        while time.monotonic() < until:
            wanted = {row[0]: row for row in executed(self.source, query)}
            if self.rows(table) == wanted:
                return
            view = engine.job(job_id)
            assert view.state == "RUNNING", view.failure
            time.sleep(0.5)
        assert self.rows(table) == wanted


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Start a lab with the stand-in."""
    home = tmp_path_factory.mktemp("lab-starrocks")
    try:
        service = up(home, "mariadb", "starrocks").state.service(starrocks_server.NAME)
        yield Place(Stage(home), service.port, service.control_port or 0)
    finally:
        down(home)


KEYS = "sr_keys"


def first_keys(source: Login) -> None:
    """Write rows with a composite key that is not in the columns' order."""
    executed(
        source,
        f"drop table if exists {KEYS}",
        f"create table {KEYS} (v int, a bigint unsigned, b datetime(6), c varchar(20), d date,"
        " s timestamp(3) not null default current_timestamp(3), primary key (c, a, b, d, s))"
        " charset utf8mb4 collate utf8mb4_general_ci",
        f"insert into {KEYS} values"
        " (1, 18446744073709551615, '2024-01-01 00:00:00.000001', 'Ä', '1000-01-01',"
        " '2038-01-19 03:14:07.999'),"
        " (2, 1, '9999-12-31 23:59:59.999999', 'b', '9999-12-31', '1970-01-01 00:00:01'),"
        " (3, 2, '2024-01-01', 'c', '2024-01-01', '2024-01-01')",
    )


def changed_keys(source: Login) -> None:
    """Update, delete and change the key."""
    executed(
        source,
        f"update {KEYS} set v = 10 where c = 'Ä'",
        f"delete from {KEYS} where c = 'b'",
        f"update {KEYS} set a = 18446744073709551614, b = '2025-01-01' where c = 'c'",
        f"update {KEYS} set c = 'ä' where c = 'Ä'",
        f"insert into {KEYS} values (4, 0, '1000-01-01', '{{new', '2000-02-29',"
        " '2024-03-31 02:30:00.001')",
    )


KEY_NAMES = ("c", "v", "a", "b", "d", "s")


def differences(place: Place) -> list[tuple[str, str, object, object]]:
    """Compare all groups on both sides."""
    found: list[tuple[str, str, object, object]] = []
    for name, group in VALUES.items():
        ours = place.rows(name)
        for number, *wanted in executed(place.source, f"select * from {name}"):
            row = ours.get(number, (number, *["no row"] * len(wanted)))[1:]
            phase = "snapshot" if int(str(number)) < STREAM_ROWS_FROM else "stream"
            found += [
                (kind, phase, left, right)
                for kind, left, right in zip(group, wanted, row, strict=True)
                if not is_same(left, as_shown(kind, right))
            ]
    return found


def is_same(left: object, right: object) -> bool:
    """Return whether two values are one; a decimal beyond 38 digits is a text there."""
    if isinstance(left, Decimal) and isinstance(right, str):
        return f"{left:f}" == right
    return left == right and str(left) == str(right)


@pytest.fixture(scope="session")
def carried_twice(place: Place) -> Place:
    """Carry each value through the snapshot, and each once more through the stream."""
    spec = place.spec(*VALUES, KEYS)
    for name, group in VALUES.items():
        create(place.source, name, group)
    insert(place.source, 1, VALUES)
    first_keys(place.source)
    place.create_targets(spec)
    assert [fault for fault in place.faults(spec) if fault.severity == "error"] == []
    with place.running(spec, readers=2) as (engine, job_id):
        insert(place.source, STREAM_ROWS_FROM, VALUES)
        changed_keys(place.source)
        until = time.monotonic() + 60
        counts = [f"select count(*) from {name}" for name in (*VALUES, KEYS)]
        while any(
            executed(place.source, query) != place.run(query.replace("from ", f"from {DATABASE}."))
            for query in counts
        ):
            view = engine.job(job_id)
            assert view.state == "RUNNING", view.failure
            assert time.monotonic() < until, "the target does not follow"
            time.sleep(0.5)
        engine.checkpoint(job_id, budget_seconds=60)
    return place


def test_each_type_is_right_in_snapshot_and_in_stream(carried_twice: Place) -> None:
    """All types in one job; what differs is listed by type and phase."""
    found = differences(carried_twice)
    assert not found, "\n".join(map(str, found))


def test_keys_of_every_kind_are_updated_deleted_and_changed(carried_twice: Place) -> None:
    """The key's columns are elsewhere in StarRocks' table, and in its order there."""
    names = ", ".join(KEY_NAMES)
    wanted = sorted(executed(carried_twice.source, f"select {names} from {KEYS}"))
    assert sorted(carried_twice.rows(KEYS, KEY_NAMES).values()) == wanted


def test_counts_agree_up_to_a_bound(carried_twice: Place) -> None:
    """A count with a bound is MySQL's, for numbers."""
    target, source = carried_twice.target(), carried_twice.mysql()
    table = TableRef(carried_twice.source.database, "types_int")
    for bound in (None, (3,), (STREAM_ROWS_FROM,)):
        here = source.count(source.endpoint, table, timeout_seconds=5, key=("id",), bound=bound)
        there = target.count("types_int", timeout_seconds=5, key=("id",), bound=bound)
        assert here == there


def orders(source: Login) -> None:
    """Create the seed's order table."""
    executed(
        source,
        "drop table if exists sr_orders",
        "create table sr_orders (order_id int primary key, product_id int not null, order_date"
        " datetime not null, customer_name varchar(255) not null, product_name varchar(255) not"
        " null, price decimal(10,5)) charset utf8mb4",
        "insert into sr_orders values (1, 1, '2021-12-20', 'a', 'pen', 1.5),"
        " (2, 1, '2021-12-22', 'b', 'pen', 1.5), (3, 2, '2021-12-23 10:00:00', 'c', 'ink', 9),"
        " (4, 3, '2021-12-24', 'd', 'cup', null)",
    )


def changed_orders(source: Login) -> None:
    """Insert, update and delete orders so that counts go up, down and to nothing."""
    executed(
        source,
        "insert into sr_orders values (5, 2, '2022-01-01', 'e', 'ink', 9),"
        " (6, 9, '2022-01-02', 'f', 'bag', 99.99999)",
        "update sr_orders set product_id = 2, product_name = 'ink' where order_id = 1",
        "delete from sr_orders where order_id = 4",
        "update sr_orders set price = 0.00001 where order_id = 2",
    )


RANKING = (
    "SELECT product_id, product_name, COUNT(*) FROM sr_orders GROUP BY product_id, product_name"
)
FILTER = (
    "SELECT order_id, customer_name FROM sr_orders"
    " WHERE order_date > TIMESTAMP '2021-12-21 00:00:00'"
)
RANKING_TABLE = (
    f"CREATE TABLE `{DATABASE}`.`ranking` (`product_id` INT NOT NULL, `product_name` STRING NOT"
    " NULL, `sales_cnt` BIGINT NOT NULL) ENGINE=olap PRIMARY KEY(`product_id`)"
    " DISTRIBUTED BY HASH(`product_id`) BUCKETS 1"
)
LATE_TABLE = (
    f"CREATE TABLE `{DATABASE}`.`late_orders` (`order_id` INT NOT NULL, `customer_name`"
    " VARCHAR(1020) NULL) ENGINE=olap PRIMARY KEY(`order_id`) DISTRIBUTED BY HASH(`order_id`)"
)


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_copies_a_ranking_and_a_filter_are_one_job(place: Place, delivery: str) -> None:
    """The seed's sales ranking and WHERE, beside the plain copy, kept up with all changes."""
    spec = place.spec(
        "sr_orders",
        queries=(QuerySpec("ranking", RANKING), QuerySpec("late_orders", FILTER)),
    )
    orders(place.source)
    for name, made in (("ranking", RANKING_TABLE), ("late_orders", LATE_TABLE)):
        place.run(f"DROP TABLE IF EXISTS `{DATABASE}`.`{name}`", made)
    place.create_targets(spec)
    assert place.faults(spec) == []
    sink = place.sink(
        delivery=delivery,
        options_by_table={"ranking": {"sink.buffer-flush.interval-ms": "2000"}},
    )
    with place.running(spec, sink=sink) as (engine, job_id):
        changed_orders(place.source)
        copied = "select * from sr_orders"
        ranked = "select product_id, product_name, count(*) from sr_orders group by 1, 2"
        late = "select order_id, customer_name from sr_orders where order_date > '2021-12-21'"
        for query, table in ((copied, "sr_orders"), (ranked, "ranking"), (late, "late_orders")):
            place.wait_equal(engine, job_id, query, table)


def test_a_row_that_leaves_a_filter_is_deleted(place: Place) -> None:
    """The connector leaves out the old half of an update where nothing says otherwise."""
    executed(
        place.source,
        "drop table if exists sr_filtered",
        "create table sr_filtered (id int primary key, price decimal(10,2), n int not null)",
        "insert into sr_filtered values (1, 20, 1), (2, 5, 1), (3, 30, 3), (4, 40, 4)",
    )
    place.run(
        f"DROP TABLE IF EXISTS `{DATABASE}`.`sr_filtered`",
        f"CREATE TABLE `{DATABASE}`.`sr_filtered` (`id` INT NOT NULL, `total` DECIMAL(21, 2) NULL)"
        " ENGINE=olap PRIMARY KEY(`id`) DISTRIBUTED BY HASH(`id`)",
    )
    transform = Transform(
        "sr_filtered", columns=("id",), filter="price > 10", computed=(("total", "price * n"),)
    )
    spec = place.spec("sr_filtered", transforms=(transform,))
    assert place.faults(spec) == []
    with place.running(spec) as (engine, job_id):
        executed(
            place.source,
            "update sr_filtered set price = 1 where id = 1",
            "update sr_filtered set price = 50 where id = 2",
            "update sr_filtered set n = 9 where id = 3",
            "delete from sr_filtered where id = 4",
            "insert into sr_filtered values (5, 11, 1), (6, 2, 1)",
            *(f"update sr_filtered set n = {each} where id = 2" for each in range(20, 60)),
        )
        wanted = "select id, price * n from sr_filtered where price > 10"
        place.wait_equal(engine, job_id, wanted, "sr_filtered")


def test_exactly_once_is_refused_where_the_stream_may_start_without_state(place: Place) -> None:
    """A prepared transaction is in Flink's state only."""
    spec = place.spec("sr_orders")
    with pytest.raises(ConfigurationError, match="exactly-once needs"):
        place.sink(delivery="exactly-once").options(spec, "sr_orders")


def test_csv_carries_texts_with_every_usual_separator(place: Place) -> None:
    """The separators are characters that texts hardly hold."""
    executed(
        place.source,
        "drop table if exists sr_csv",
        "create table sr_csv (id int primary key, t varchar(50)) charset utf8mb4",
        r"insert into sr_csv values (1, 'a\tb\nc,d;\\N|\'\"'), (2, null), (3, '')",
    )
    spec = place.spec("sr_csv")
    place.create_targets(spec)
    with place.running(spec, sink=place.sink(load_format="csv")) as (engine, job_id):
        executed(
            place.source, "insert into sr_csv values (4, 'é😀')", "delete from sr_csv where id = 2"
        )
        place.wait_equal(engine, job_id, "select * from sr_csv", "sr_csv")


def test_a_killed_task_manager_loses_nothing(place: Place) -> None:
    """The job is launched again from its last checkpoint, exactly-once, and ends equal."""
    executed(
        place.source,
        "drop table if exists sr_killed",
        "create table sr_killed (id int primary key auto_increment, n int) charset utf8mb4",
        "insert into sr_killed (n) values (1), (2)",
    )
    place.run(
        f"DROP TABLE IF EXISTS `{DATABASE}`.`totals`",
        f"CREATE TABLE `{DATABASE}`.`totals` (`n` INT NOT NULL, `many` BIGINT NULL) ENGINE=olap"
        " PRIMARY KEY(`n`) DISTRIBUTED BY HASH(`n`)",
    )
    query = QuerySpec("totals", "SELECT n, COUNT(*) FROM sr_killed GROUP BY n")
    spec = place.spec("sr_killed", queries=(query,))
    place.create_targets(spec)
    sink = place.sink(delivery="exactly-once")
    with place.running(spec, sink=sink) as (engine, job_id):
        for number in range(200):
            executed(place.source, f"insert into sr_killed (n) values ({number % 7})")
        restart_taskmanager(place.stage.home)
        state = engine.latest_state(job_id)
    assert state is not None
    again = uuid.uuid4().hex
    launch = Launch(again, spec.name, spec, place.mysql().endpoint, restore_path=state.path)
    try:
        engine.launch(launch)
        running = engine.wait_running(again, budget_seconds=90)
        assert running.state == "RUNNING", running.failure
        place.wait_equal(engine, again, "select * from sr_killed", "sr_killed")
        place.wait_equal(engine, again, "select n, count(*) from sr_killed group by n", "totals")
    finally:
        engine.cancel(again, budget_seconds=60)


def lookup(faults: Sequence[Fault]) -> dict[str, str]:
    """Return what mends each fault."""
    return {fault.field: fault.fix for fault in faults if fault.severity == "error"}


def test_preflight_names_every_fault_and_its_fix_mends_it(place: Place) -> None:
    """A missing table, a wrong model, columns that do not fit, another key."""
    executed(
        place.source,
        "drop table if exists sr_pre",
        "create table sr_pre (v varchar(20), id int primary key, n bigint, u int) charset utf8mb4",
        "drop table if exists sr_dec",
        "create table sr_dec (d decimal(9,2) primary key, m mediumtext) charset utf8mb4",
    )
    spec, label = place.spec("sr_pre"), f"{DATABASE}.sr_pre"
    place.run(f"DROP TABLE IF EXISTS `{DATABASE}`.`sr_pre`")
    (missing,) = place.faults(spec)
    assert missing.field == label
    place.run(missing.fix.rstrip(";"))
    assert place.faults(spec) == []

    place.run(f"DROP TABLE `{DATABASE}`.`sr_pre`",
              f"CREATE TABLE `{DATABASE}`.`sr_pre` (`id` INT NULL, `v` VARCHAR(80) NULL)"
              " DUPLICATE KEY(`id`) DISTRIBUTED BY HASH(`id`)")  # fmt: skip
    (model,) = place.faults(spec)
    assert "DUPLICATE KEY" in model.found
    for statement in model.fix.split(";\n"):
        place.run(statement.rstrip(";"))
    assert place.faults(spec) == []

    place.run(f"DROP TABLE `{DATABASE}`.`sr_pre`",
              f"CREATE TABLE `{DATABASE}`.`sr_pre` (`u` INT NOT NULL, `v` VARCHAR(20) NULL,"
              " `n` INT NULL, `extra` INT NOT NULL) PRIMARY KEY(`u`)"
              " DISTRIBUTED BY HASH(`u`)")  # fmt: skip
    found = lookup(place.faults(spec))
    assert set(found) == {
        f"{label}.PRIMARY", f"{label}.id", f"{label}.v", f"{label}.n", f"{label}.u",
        f"{label}.extra",
    }  # fmt: skip
    assert found[f"{label}.v"].endswith("MODIFY COLUMN `v` VARCHAR(80) NULL;")

    decimal = {fault.field: fault for fault in place.faults(place.spec("sr_dec"))}
    name = place.source.database
    assert "StarRocks takes no such type" in decimal[f"{name}.sr_dec.d"].wanted
    assert decimal[f"{name}.sr_dec.m"].severity == "warning"


def test_preflight_says_when_the_target_is_not_there(place: Place) -> None:
    """The MySQL port, the HTTP port, the account, the database."""
    spec = place.spec("sr_orders")
    orders(place.source)
    shapes = place.shapes(spec)
    (away,) = place.target(server=Server("127.0.0.1", 1)).faults(spec, shapes)
    assert away.field == "target.host"
    (denied,) = place.target(password="wrong").faults(spec, shapes)
    assert denied.field == "target.host"
    assert "wrong" not in denied.text
    ports = lookup(place.target(load_addresses=("127.0.0.1:1",)).faults(spec, shapes))
    assert "target.http_port" in ports
    absent = StarRocksTarget(place.login, "absent").faults(spec, shapes)
    assert lookup(absent)["target_database"] == "CREATE DATABASE `absent`;"


def test_a_value_that_does_not_fit_stops_the_job_and_is_not_stored_as_something_else(
    place: Place,
) -> None:
    """Without strict mode StarRocks would store NULL."""
    executed(
        place.source,
        "drop table if exists sr_narrow",
        "create table sr_narrow (id int primary key, t varchar(20)) charset utf8mb4",
        "insert into sr_narrow values (1, 'fits')",
    )
    place.run(
        f"DROP TABLE IF EXISTS `{DATABASE}`.`sr_narrow`",
        f"CREATE TABLE `{DATABASE}`.`sr_narrow` (`id` INT NOT NULL, `t` VARCHAR(4) NULL)"
        " PRIMARY KEY(`id`) DISTRIBUTED BY HASH(`id`)",
    )
    sink = place.sink(options_by_table={"*": {"sink.max-retries": "0"}})
    with place.running(place.spec("sr_narrow"), sink=sink) as (engine, job_id):
        executed(place.source, "insert into sr_narrow values (2, 'does not fit')")
        until = time.monotonic() + 90
        while engine.job(job_id).state == "RUNNING" and time.monotonic() < until:
            time.sleep(0.5)
        view = engine.job(job_id)
        assert view.state == "FAILED"
        assert "too many filtered rows" in str(view.failure)
    assert place.rows("sr_narrow") == {1: (1, "fits")}


CONFIG = """\
[db]
host = {host}
port = {port}
user = {user}
password = env:SR_SOURCE_PASSWORD
[other]
be_num = 3
use_decimal_v3 = true
[table-rule.1]
database = ^{database}$
table = ^smt_orders$
flink.cdc.server-id = 9401-9402
{sink}
[table-rule.2]
database = ^{database}$
table = ^course_[0-9]*$
flink.cdc.server-id = 9403-9404
{sink}
"""
SINK = """\
flink.starrocks.jdbc-url = jdbc: mysql://127.0.0.1:{port}
flink.starrocks.load-url = 127.0.0.1:{http}
flink.starrocks.username = {user}
flink.starrocks.password = env:SR_TARGET_PASSWORD
flink.starrocks.sink.buffer-flush.interval-ms = 1000
"""


@pytest.mark.parametrize("shards", ["merge", "columns"])
def test_files_from_a_migration_tools_configuration_run(
    place: Place, tmp_path_factory: pytest.TempPathFactory, shards: str
) -> None:
    """The generated files are run as they are, with the passwords filled in."""
    executed(
        place.source,
        "drop table if exists smt_orders, course_1, course_2",
        "create table smt_orders (name varchar(20), id bigint unsigned primary key, at"
        " timestamp(3) null, price decimal(10,5)) charset utf8mb4",
        "insert into smt_orders values ('a', 18446744073709551615, '2024-01-01 10:00:00.5', 1.5)",
        *(f"create table course_{n} (id int primary key, t varchar(9)) charset utf8mb4"
          for n in (1, 2)),
        "insert into course_1 values (1, 'one'), (3, 'x')",
        "insert into course_2 values (2, 'two')",
    )  # fmt: skip
    database, login = place.source.database, place.login
    folder = tmp_path_factory.mktemp("smt")
    cdc = place.stage.state.accounts["cdc"]
    sink = SINK.format(port=place.port, http=place.http_port, user=login.username)
    config = folder / "prod.conf"
    config.write_text(
        CONFIG.format(host=place.source.host, port=place.source.port, user=cdc.user,
                      database=database, sink=sink)
    )  # fmt: skip
    secrets = {"SR_SOURCE_PASSWORD": cdc.password, "SR_TARGET_PASSWORD": login.password}
    done = generate(config, folder=folder / "result", shards=shards, environment=secrets)
    assert done.variables == ("SR_SOURCE_PASSWORD", "SR_TARGET_PASSWORD")
    texts = {name: (folder / "result" / name).read_text() for name in done.files}
    assert not any(cdc.password in text or login.password in text for text in texts.values())

    place.run(f"DROP DATABASE IF EXISTS `{database}`")
    for statement in texts["starrocks-create.all.sql"].split(";\n\n"):
        if statement.strip():
            place.run(statement)
    flink = texts["flink-create.all.sql"]
    for name, value in secrets.items():
        flink = flink.replace(f"${{{name}}}", value)
    job_id = run_sql(place, flink)
    try:
        executed(
            place.source,
            "update smt_orders set name = 'b', price = 0.00001",
            "insert into smt_orders values ('c', 1, null, null)",
            "delete from course_1 where id = 3",
            "update course_2 set t = 'TWO'",
        )
        columns = ("id", "name", "at", "price")
        wanted = {
            r[0]: r for r in executed(place.source, "select id, name, at, price from smt_orders")
        }
        key = ("database_name", "table_name") if shards == "columns" else ()
        merged = {
            (*((database, "course_1") if key else ()), 1, "one"),
            (*((database, "course_2") if key else ()), 2, "TWO"),
        }
        until = time.monotonic() + 60
        while time.monotonic() < until and (
            place.rows("smt_orders", columns, database) != wanted
            or set(place.rows("course__auto_shard", (), database).values()) != merged
        ):
            time.sleep(0.5)
        assert place.rows("smt_orders", columns, database) == wanted
        assert set(place.rows("course__auto_shard", (), database).values()) == merged
    finally:
        place.engine(place.sink()).cancel(job_id, budget_seconds=60)


def run_sql(place: Place, text: str) -> str:
    """Run a SQL file as the SQL client would, and return the id of the job that it starts."""
    with place.gateway().open_session() as session:
        for statement in filter(str.strip, text.split(";\n\n")):
            result = session.execute(statement, {}, budget_seconds=60)
    return result.job_id


def test_a_column_that_comes_is_read_again_from_before_it(place: Place, tmp_path: Path) -> None:
    create_replayed(place.source)
    # The stand-in changes no table, so the target has the column from the beginning.
    place.run(
        f"DROP TABLE IF EXISTS `{DATABASE}`.`{TABLE}`",
        f"CREATE TABLE `{DATABASE}`.`{TABLE}` (id INT NOT NULL, item VARCHAR(160), price"
        " DECIMAL(10, 2), note VARCHAR(80)) PRIMARY KEY (id) DISTRIBUTED BY HASH (id)",
    )
    spec = place.spec(TABLE, name="replayed", checkpoint_interval_seconds=1.0)
    with way_of(place.stage, spec, tmp_path / "ledger.db") as way:

        def rows() -> dict[object, tuple[object, ...]]:
            (shape,) = way.rt.source.shapes(way.rt.source.endpoint, spec.tables)
            return place.rows(TABLE, [column.name for column in shape.columns])

        replay_an_added_column(way.rt, place.source, rows, pytest.fail)
