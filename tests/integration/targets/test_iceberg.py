"""Iceberg tables on real servers: every type, versions and positions, shards, faults."""

# ruff: noqa: S608 - the names are this file's own

from __future__ import annotations

import time
import uuid
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import pytest

from cdc_assets.core.columns import TableShape
from cdc_assets.core.iceberg import IcebergCatalog, create_catalog_sql
from cdc_assets.core.position import Position
from cdc_assets.core.readers import plan_readers
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import ShardedTable, TableRef
from cdc_assets.core.transform import Lookup, Transform
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.client import FlinkClient
from cdc_assets.flink.engine import FlinkEngine, StateFolders
from cdc_assets.flink.gateway import SqlGateway
from cdc_assets.flink.lookup_sql import LookupTables
from cdc_assets.flink.render import StreamRenderer
from cdc_assets.flink.sink_iceberg import IcebergSink
from cdc_assets.flink.sinks import MySqlSink
from cdc_assets.flink.source_sql import SourceAccess
from cdc_assets.lab import iceberg_server
from cdc_assets.lab.iceberg_rows import IcebergRows
from cdc_assets.lab.lab import down, up
from cdc_assets.lab.services import kill_service, start_service
from cdc_assets.lab.source_server import ServerKind
from cdc_assets.lab.state import LabState
from cdc_assets.lab.workload import Login
from cdc_assets.ledger.client import SqlLedger
from cdc_assets.mysql.client import MySqlSource
from cdc_assets.operations.as_of import table_as_of
from cdc_assets.operations.clock import SystemClock
from cdc_assets.operations.launch import Start, launch, newest
from cdc_assets.operations.positions import record_state
from cdc_assets.operations.reconcile import reconcile
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.ports import Launch, Server
from cdc_assets.targets.iceberg import IcebergTarget
from cdc_assets.targets.mysql import MySqlTarget
from tests.integration.targets.replays import TABLE, create_replayed, replay_an_added_column
from tests.integration.targets.sources import sources_of
from tests.integration.test_types import (
    GROUPS,
    KEYS,
    KEYS_TABLE,
    STREAM_ROWS_FROM,
    changed_keys,
    create,
    executed,
    first_keys,
    insert,
    wait_for_stream,
)

DATABASE = "source"


@dataclass(frozen=True)
class Lab:
    """A lab with an Iceberg catalog, and the adapters on it."""

    state: LabState
    catalog: IcebergCatalog
    namespace: str

    @property
    def app(self) -> Login:
        endpoint, account = self.state.services["endpoint"], self.state.accounts["app"]
        return Login(endpoint.host, endpoint.port, account.user, account.password, DATABASE)

    @property
    def admin(self) -> Login:
        server = self.state.servers["blue"]
        return Login(server.host, server.port, server.admin_user, server.admin_password, DATABASE)

    @property
    def source(self) -> MySqlSource:
        endpoint, cdc = self.state.services["endpoint"], self.state.accounts["cdc"]
        return MySqlSource(Server(endpoint.host, endpoint.port), cdc.user, cdc.password)

    @property
    def target(self) -> IcebergTarget:
        return IcebergTarget(self.catalog, self.namespace)

    @property
    def gateway(self) -> SqlGateway:
        service = self.state.services["sql-gateway"]
        return SqlGateway(f"http://{service.host}:{service.port}")

    @property
    def engine(self) -> FlinkEngine:
        return self.engine_with(None)

    def engine_with(self, lookups: LookupTables | None) -> FlinkEngine:
        cdc, flink = self.state.accounts["cdc"], self.state.services["jobmanager"]
        home = self.state.home
        return FlinkEngine(
            client=FlinkClient(f"http://{flink.host}:{flink.port}"),
            gateway=self.gateway,
            folders=StateFolders(
                (home / "flink" / "checkpoints").as_uri(), (home / "flink" / "savepoints").as_uri()
            ),
            source=self.source,
            target=self.target,
            render=StreamRenderer(
                SourceAccess(cdc.user, cdc.password),
                IcebergSink(self.catalog, self.namespace),
                lookups,
            ),
            clock=SystemClock(),
        )

    def run_sql(self, *statements: str) -> None:
        """Run Flink SQL as a person would, in one session."""
        with self.gateway.open_session() as session:
            for statement in statements:
                session.execute(statement)

    def make_tables(self, spec: StreamSpec) -> None:
        """Let the target make the copied tables, as a snapshot does."""
        found = self.source.shapes(self.source.endpoint, spec.tables)
        shapes = {shape.label: shape for shape in found}
        faults = self.target.faults(spec, shapes)
        assert {each.severity for each in faults} == {"warning"}
        made = self.target.making_with(self.gateway.run_all).make_missing(spec, found)
        assert list(made) == [table.target_name for table in spec.copied]
        assert self.target.faults(spec, shapes) == ()


@pytest.fixture(scope="session", params=sources_of("mysql"))
def lake(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Lab, None, None]:
    source: ServerKind = request.param
    home = tmp_path_factory.mktemp(f"lake-{source}")
    try:
        state = up(home, source, "iceberg").state
        uri = iceberg_server.catalog_uri(state.service(iceberg_server.SERVICE).port)
        yield Lab(state, IcebergCatalog(uri=uri), iceberg_server.NAMESPACE)
    finally:
        down(home)


def hadoop_of(lab: Lab) -> Lab:
    """Return the same lab with a hadoop catalog."""
    url = iceberg_server.hadoop_warehouse_url(lab.state.home)
    return Lab(lab.state, IcebergCatalog("hadoop", warehouse=url), lab.namespace)


def by_key(login: Login, shape: TableShape) -> dict[object, tuple[object, ...]]:
    """Return the rows of a source table as `IcebergRows` does."""
    names = [column.name for column in shape.columns]
    places = [names.index(name) for name in shape.primary_key]
    rows = executed(login, f"select * from `{shape.name}`")
    return {
        row[places[0]] if len(places) == 1 else tuple(row[place] for place in places): tuple(row)
        for row in rows
    }


def differing(
    lab: Lab, shapes: Sequence[TableShape]
) -> list[tuple[str, str, object, object, object]]:
    """Compare every value of tables; return table, column type, key and both values."""
    reader = IcebergRows(lab.target, {shape.name: shape for shape in shapes})
    found: list[tuple[str, str, object, object, object]] = []
    for shape in shapes:
        ours = reader.rows(shape.name)
        wanted = by_key(lab.app, shape)
        assert len(wanted) >= 1
        more = ours.keys() - wanted.keys()
        found += [(shape.name, "row", key, None, ours[key]) for key in more]
        for key, row in wanted.items():
            other = ours.get(key, (None,) * len(row))
            found += [
                (shape.name, column.column_type, key, left, right)
                for column, left, right in zip(shape.columns, row, other, strict=True)
                if left != right or type(left) is not type(right)
            ]
    return found


def settle(lab: Lab, engine: FlinkEngine, job_id: str, names: Mapping[str, str]) -> None:
    """Wait until both sides hold the same numbers of rows, and for one checkpoint more."""
    until = time.monotonic() + 90
    while True:
        engine.checkpoint(job_id, budget_seconds=60)
        time.sleep(1.0)  # the commit comes after the checkpoint
        ours = {name: lab.target.count(name, timeout_seconds=30) for name in names}
        wanted = {
            name: executed(lab.app, f"select count(*) from {origin}")[0][0]
            for name, origin in names.items()
        }
        if ours == wanted:
            break
        view = engine.job(job_id)
        assert view.state == "RUNNING", view.failure
        assert time.monotonic() < until, f"{ours} is not {wanted}"
    engine.checkpoint(job_id, budget_seconds=60)
    time.sleep(1.0)


@pytest.fixture
def typed(lake: Lab) -> Generator[tuple[Lab, StreamSpec], None, None]:
    """Carry each value through the snapshot, and each once more through the stream."""
    names = (*GROUPS, KEYS)
    spec = StreamSpec(
        "types",
        tuple(TableRef(DATABASE, name) for name in names),
        ServerIdRange(9100, 9199),
        lake.namespace,
        target_kind="iceberg",
    )
    engine, job_id = lake.engine, uuid.uuid4().hex
    try:
        for name, group in GROUPS.items():
            create(lake.app, name, group)
        insert(lake.app, 1)
        first_keys(lake.app)
        lake.make_tables(spec)
        engine.launch(Launch(job_id, "types", spec, lake.source.endpoint))
        planned = plan_readers(spec, lake.source.shapes(lake.source.endpoint, spec.tables))
        wait_for_stream(engine, job_id, readers=len(planned))
        insert(lake.app, STREAM_ROWS_FROM)
        changed_keys(lake.app)
        settle(lake, engine, job_id, {name: name for name in names})
        yield lake, spec
    finally:
        engine.cancel(job_id, budget_seconds=60)
        executed(lake.app, f"drop table if exists {', '.join(names)}")


def test_each_type_is_right_in_snapshot_and_in_stream(typed: tuple[Lab, StreamSpec]) -> None:
    lab, spec = typed
    shapes = lab.source.shapes(lab.source.endpoint, spec.tables)
    found = differing(lab, shapes)
    assert not found, "\n".join(map(str, found))
    keys = next(shape for shape in shapes if shape.name == "types_int")
    count = lab.target.count(keys.name, timeout_seconds=30, key=("id",), bound=(STREAM_ROWS_FROM,))
    rows = executed(lab.app, f"select count(*) from {keys.name} where id <= {STREAM_ROWS_FROM}")
    assert count == rows[0][0]


def people_of(lab: Lab) -> tuple[Login, LookupTables]:
    """Make a lookup table on the lab's MySQL target."""
    server, admin = lab.state.servers["target"], lab.state.servers["target"].admin_user
    login = Login(server.host, server.port, admin, server.admin_password, "target")
    executed(
        login,
        "drop table if exists people",
        "create table people (id int primary key, name varchar(20)) charset utf8mb4",
        "insert into people values (1, 'Ada'), (2, 'Bo')",
    )
    place = Server(server.host, server.port)
    target = MySqlTarget(place, "target", login.user, login.password)
    sink = MySqlSink(place, "target", login.user, login.password)
    return login, LookupTables(sink, target.shapes)


def test_a_row_that_leaves_a_filter_is_deleted(lake: Lab) -> None:
    """Iceberg's upsert leaves out the old half of an update, so Flink makes a delete of it.

    Also of a row whose looked-up column would be another one by now.
    """
    name = "filtered"
    executed(
        lake.app,
        f"drop table if exists {name}",
        f"create table {name} (id int primary key, price decimal(10,2), n int not null)",
        f"insert into {name} values (1, 20, 1), (2, 5, 1), (3, 30, 2), (4, 40, 4)",
    )
    login, lookups = people_of(lake)
    plain = StreamSpec(
        "filtered",
        (TableRef(DATABASE, name),),
        ServerIdRange(9220, 9229),
        lake.namespace,
        target_kind="iceberg",
        transforms=(Transform(name, columns=("id", "price"), filter="price > 10"),),
    )
    lake.make_tables(plain)
    lake.run_sql(
        create_catalog_sql(lake.catalog, "c"),
        f"ALTER TABLE `c`.`{lake.namespace}`.`{name}` ADD (`total` DECIMAL(21, 2), `who` STRING)",
    )
    computed = replace(
        plain.transforms[0],
        computed=(("total", "price * n"), ("who", "people.name")),
        lookups=(Lookup.parse("people", "id = n"),),
    )
    spec = replace(plain, transforms=(computed,))
    engine, job_id = lake.engine_with(lookups), uuid.uuid4().hex
    assert engine.faults(Launch(job_id, "filtered", spec, lake.source.endpoint)) == ()
    engine.launch(Launch(job_id, "filtered", spec, lake.source.endpoint))
    try:
        wait_for_stream(engine, job_id, readers=1)
        executed(login, "update people set name = 'Al' where id = 1")
        executed(
            lake.app,
            f"update {name} set price = 1 where id = 1",
            f"update {name} set price = 50 where id = 2",
            f"update {name} set price = 31 where id = 3",
            f"delete from {name} where id = 4",
            f"insert into {name} values (5, 11, 9), (6, 2, 1)",
        )
        wanted = {
            2: (2, Decimal("50.00"), Decimal("50.00"), "Al"),
            3: (3, Decimal("31.00"), Decimal("62.00"), "Bo"),
            5: (5, Decimal("11.00"), Decimal("99.00"), None),
        }
        reader = IcebergRows(lake.target)
        until = time.monotonic() + 60
        while reader.rows(name) != wanted:
            assert time.monotonic() < until, reader.rows(name)
            assert engine.job(job_id).state == "RUNNING"
            time.sleep(1.0)
    finally:
        engine.cancel(job_id, budget_seconds=60)
        executed(lake.app, f"drop table {name}")


SHARDS = ("user_db_1.user_table_1", "user_db_1.user_table_2", "user_db_2.user_table_1",
          "user_db_2.user_table_2")  # fmt: skip
USER = ("id int not null primary key, name varchar(255) not null default 'flink',"
        " address varchar(1024), phone_number varchar(512)")  # fmt: skip
ALL_USERS = "all_users"


@pytest.fixture(params=["rest", "hadoop"])
def sharded(
    request: pytest.FixtureRequest, lake: Lab, tmp_path: Path
) -> Generator[tuple[Lab, StreamRuntime], None, None]:
    """The seed's shards, one without an e-mail, one with a wider key."""
    lab = lake if request.param == "rest" else hadoop_of(lake)
    cdc = lab.state.accounts["cdc"].user
    spec = StreamSpec(
        "users",
        (ShardedTable("user_db_[0-9]+", "user_table_[0-9]+", ALL_USERS),),
        ServerIdRange(9200, 9209),
        lab.namespace,
        target_kind="iceberg",
    )
    ledger = SqlLedger(f"sqlite:///{tmp_path / 'ledger.db'}")
    rt = StreamRuntime(spec, lab.engine, lab.source, lab.target, ledger, SystemClock())
    drop = [f"drop database if exists user_db_{number}" for number in (1, 2)]
    try:
        executed(lab.admin, *drop)
        for number in (1, 2):
            executed(lab.admin, f"create database user_db_{number} charset utf8mb4",
                     f"grant select on user_db_{number}.* to '{cdc}'@'%'")  # fmt: skip
        for number, shard in enumerate(SHARDS):
            more = "" if shard == "user_db_2.user_table_1" else ", email varchar(255)"
            kind = USER.replace("id int", "id bigint") if number == 1 else USER
            executed(
                lab.admin,
                f"create table {shard} ({kind}{more}) charset utf8mb4",
                f"insert into {shard} (id, name, address) values"
                f" (11100, 'user_{number}', 'Shanghai'), ({number + 1}, 'other_{number}', null)",
            )
        lab.make_tables(spec)
        yield lab, rt
    finally:
        row = newest(rt)
        if row is not None:
            rt.engine.cancel(row.job_id, budget_seconds=60)
        executed(lab.admin, *drop)
        lab.run_sql(create_catalog_sql(lab.catalog, "lake").rstrip(";"),
                    f"drop table if exists lake.{lab.namespace}.{ALL_USERS}")  # fmt: skip


def users(lab: Lab, more: Sequence[str] = ()) -> set[tuple[object, ...]]:
    """Return the rows of all shards as they must be in the one table."""
    found: set[tuple[object, ...]] = set()
    for shard in (*SHARDS, *more):
        email = "null" if shard == "user_db_2.user_table_1" else "email"
        database, _, table = shard.partition(".")
        query = f"select id, name, address, phone_number, {email} from {shard}"
        found |= {(database, table, *row) for row in executed(lab.admin, query)}
    return found


def wait_for_users(lab: Lab, rt: StreamRuntime, more: Sequence[str] = ()) -> None:
    """Wait until the one table holds what the shards hold, and record the position."""
    until = time.monotonic() + 60
    row = newest(rt)
    assert row is not None
    assert rt.engine.wait_running(row.job_id, budget_seconds=60).state == "RUNNING"
    while True:
        state = rt.engine.checkpoint(row.job_id, budget_seconds=60)
        record_state(rt, row, state, savepoint=False)
        time.sleep(1.0)
        found = set(IcebergRows(lab.target).rows(ALL_USERS).values())
        if found == users(lab, more):
            # The position of before may lie before the last changes.
            state = rt.engine.checkpoint(row.job_id, budget_seconds=60)
            record_state(rt, row, state, savepoint=False)
            return
        view = rt.engine.job(row.job_id)
        assert view.state == "RUNNING", view.failure
        assert time.monotonic() < until, found ^ users(lab, more)


def position_of(rt: StreamRuntime) -> Position:
    return rt.ledger.positions(rt.name, limit=1)[0].position


def test_shards_land_in_one_table_and_it_is_read_as_of_a_position(
    sharded: tuple[Lab, StreamRuntime],
) -> None:
    lab, rt = sharded
    (table,) = rt.spec.tables
    row = launch(rt, "snapshot", Start(rt.source.endpoint))
    wait_for_stream(rt.engine, row.job_id, readers=1)
    wait_for_users(lab, rt)
    before, first = users(lab), position_of(rt)
    executed(
        lab.admin,
        "insert into user_db_1.user_table_1 (id, name, email) values (11101, 'new', 'a@foo.com')",
        "update user_db_1.user_table_2 set address = 'Beijing' where id = 11100",
        "delete from user_db_2.user_table_1 where id = 11100",
        "update user_db_2.user_table_2 set id = 18 where id = 11100",
    )
    wait_for_users(lab, rt)
    after, second = users(lab), position_of(rt)
    assert before != after

    # The same again from the state, with what was not committed when it stopped.
    executed(lab.admin, "update user_db_1.user_table_1 set name = 'once' where id = 11101")
    stopped = rt.engine.stop(row.job_id, purpose="test", budget_seconds=60)
    positions = record_state(rt, row, stopped, savepoint=True)
    row = launch(rt, "stream", Start(rt.source.endpoint, positions[0], stopped.path))
    executed(lab.admin, "update user_db_1.user_table_1 set name = 'twice' where id = 11101")
    # A shard that is made later is captured, too.
    later = "user_db_2.user_table_30"
    executed(
        lab.admin,
        f"create table {later} ({USER}, email varchar(255)) charset utf8mb4",
        f"insert into {later} (id, name) values (1, 'later')",
    )
    wait_for_users(lab, rt, [later])
    third = position_of(rt)

    reader = IcebergRows(lab.target)
    for wanted, rows in ((first, before), (second, after), (third, users(lab, [later]))):
        found = table_as_of(rt, table, wanted)
        content = reader.rows(ALL_USERS, snapshot_id=found.version.snapshot_id)
        assert set(content.values()) == rows, found
    assert [each.verdict for each in reconcile(rt, row)] == ["InSync"]


def test_a_savepoint_is_transplanted_with_the_writers_state(
    sharded: tuple[Lab, StreamRuntime],
) -> None:
    lab, rt = sharded
    row = launch(rt, "snapshot", Start(rt.source.endpoint))
    wait_for_stream(rt.engine, row.job_id, readers=1)
    wait_for_users(lab, rt)
    stopped = rt.engine.stop(row.job_id, purpose="test", budget_seconds=60)
    positions = record_state(rt, row, stopped, savepoint=True)
    path = stopped.path
    if positions[0].gtid_set is None:  # with GTID the state moves as it is
        end, held = rt.source.end(rt.source.endpoint), [positions[0].coordinates]
        path = rt.engine.transplant(path, name="moved", coordinates=end, drained=held).path
    executed(lab.admin, "update user_db_1.user_table_1 set name = 'moved' where id = 11100")
    launch(rt, "stream", Start(rt.source.endpoint, positions[0], path))
    wait_for_users(lab, rt)


def test_nothing_is_lost_or_repeated_when_the_writer_is_killed(
    sharded: tuple[Lab, StreamRuntime],
) -> None:
    lab, rt = sharded
    row = launch(rt, "snapshot", Start(rt.source.endpoint))
    wait_for_stream(rt.engine, row.job_id, readers=1)
    wait_for_users(lab, rt)
    number, path, position = 100_000, "", None
    for _ in range(3):
        assert rt.engine.wait_running(row.job_id, budget_seconds=60).state == "RUNNING"
        until = time.monotonic() + 5
        while time.monotonic() < until:
            executed(
                lab.admin,
                *(f"insert into {shard} (id, name) values ({number}, 'a')" for shard in SHARDS),
                f"update {SHARDS[0]} set name = '{number}', address = uuid()"
                f" where id > {number - 9}",
                f"delete from {SHARDS[1]} where id < {number - 9} and id > 100000",
            )
            number += 1
            time.sleep(0.01)
        kill_service(lab.state.home, "taskmanager")
        start_service(lab.state.home, "taskmanager")
        until = time.monotonic() + 60
        while rt.engine.job(row.job_id).state not in {"FAILED", "GONE"}:
            assert time.monotonic() < until, "the job outlives its task manager"
            time.sleep(0.5)
        state = rt.engine.latest_state(row.job_id)
        if state is not None:  # killed before its first checkpoint, it leaves the one it began with
            path, position = state.path, record_state(rt, row, state, savepoint=False)[0]
        assert path
        row = launch(rt, "stream", Start(rt.source.endpoint, position, path))
    wait_for_users(lab, rt)
    assert lab.target.count(ALL_USERS, timeout_seconds=30) == len(users(lab))


ORDERS = "fix_orders"


@pytest.fixture
def unfit(lake: Lab) -> Generator[tuple[Lab, StreamSpec], None, None]:
    """A table of format version 1, without its key, too narrow and with a column missing."""
    spec = StreamSpec("fix", (TableRef(DATABASE, ORDERS),), ServerIdRange(9300, 9309),
                      lake.namespace, target_kind="iceberg")  # fmt: skip
    place = f"lake.{lake.namespace}"
    catalog = create_catalog_sql(lake.catalog, "lake").rstrip(";")
    try:
        executed(
            lake.app,
            f"drop table if exists {ORDERS}",
            f"create table {ORDERS} (id bigint, part int, price decimal(20,2), note text,"
            " primary key (id, part)) charset utf8mb4",
        )
        lake.run_sql(
            catalog,
            f"create database if not exists {place}",
            f"create table {place}.{ORDERS} (id bigint not null, part int not null,"
            " price decimal(10,2), more string not null, primary key (id) not enforced)"
            " with ('format-version'='1')",
        )
        yield lake, spec
    finally:
        lake.run_sql(catalog, f"drop table if exists {place}.{ORDERS}")
        executed(lake.app, f"drop table if exists {ORDERS}")


def test_what_the_preflight_says_mends_a_table_that_does_not_fit(
    unfit: tuple[Lab, StreamSpec],
) -> None:
    lab, spec = unfit
    shapes = {each.label: each for each in lab.source.shapes(lab.source.endpoint, spec.tables)}
    faults = lab.target.faults(spec, shapes)
    parts = sorted(fault.field.rpartition(".")[2] for fault in faults)
    assert parts == ["format-version", "identifier-fields", "more", "note", "price"]
    catalog = create_catalog_sql(lab.catalog, "lake").rstrip(";")
    lab.run_sql(catalog, *(fault.fix.partition(";")[0] for fault in faults))
    assert lab.target.faults(spec, shapes) == ()


def test_a_target_without_its_tables_has_a_fault_and_no_launch(lake: Lab) -> None:
    spec = StreamSpec("none", (TableRef(DATABASE, KEYS),), ServerIdRange(9400, 9409), "nowhere",
                      target_kind="iceberg")  # fmt: skip
    target = IcebergTarget(lake.catalog, "nowhere")
    with pytest.raises(ConfigurationError, match="no such table"):
        target.shapes([KEYS])
    executed(lake.app, f"drop table if exists {KEYS}", KEYS_TABLE)
    shapes = {each.label: each for each in lake.source.shapes(lake.source.endpoint, spec.tables)}
    (fault,) = target.faults(spec, shapes)
    executed(lake.app, f"drop table {KEYS}")
    assert "no namespace nowhere" in fault.found
    gone = IcebergTarget(IcebergCatalog(uri="http://127.0.0.1:9"), "nowhere")
    assert [fault.field for fault in gone.faults(spec, shapes)] == ["target.catalog"]


def test_a_column_that_comes_is_read_again_from_before_it(lake: Lab, tmp_path: Path) -> None:
    create_replayed(lake.app)
    spec = StreamSpec(
        "replayed", (TableRef(DATABASE, TABLE),), ServerIdRange(9300, 9309), lake.namespace,
        target_kind="iceberg", checkpoint_interval_seconds=1.0,
    )  # fmt: skip
    target = lake.target.making_with(lake.gateway.run_all)
    ledger = SqlLedger(f"sqlite:///{tmp_path / 'ledger.db'}")
    rt = StreamRuntime(spec, lake.engine, lake.source, target, ledger, SystemClock())

    def rows() -> Mapping[object, tuple[object, ...]]:
        (shape,) = lake.source.shapes(lake.source.endpoint, spec.tables)
        return IcebergRows(lake.target, {TABLE: shape}).rows(TABLE)

    try:
        replay_an_added_column(rt, lake.app, rows, target.alter)
    finally:
        row = newest(rt)
        if row is not None:
            rt.engine.cancel(row.job_id, budget_seconds=60)
