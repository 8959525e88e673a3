"""PostgreSQL as a target, on a real server: types, names, changes, counts and preflight.

Values are compared as Python objects: what PyMySQL reads at the source must equal what psycopg
reads at the target.
"""

# ruff: noqa: S608 - the names are this file's own

from __future__ import annotations

import ipaddress
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from cdc_assets.core.bounds import is_bounded
from cdc_assets.core.columns import TableShape
from cdc_assets.core.postgres_names import RESERVED, quote_name
from cdc_assets.core.preflight import Fault
from cdc_assets.core.preflight_postgres import create_table
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import TargetUnreachable
from cdc_assets.flink.client import FlinkClient
from cdc_assets.flink.engine import FlinkEngine, StateFolders
from cdc_assets.flink.gateway import SqlGateway
from cdc_assets.flink.render import StreamRenderer
from cdc_assets.flink.sink_postgres import PostgresSink
from cdc_assets.flink.source_sql import SourceAccess
from cdc_assets.lab import postgres_server
from cdc_assets.lab.lab import down, up
from cdc_assets.lab.postgres_rows import PostgresRows
from cdc_assets.lab.stage import Stage
from cdc_assets.lab.workload import Login
from cdc_assets.mysql.client import MySqlSource
from cdc_assets.operations.clock import SystemClock
from cdc_assets.ports import Launch, Server
from cdc_assets.targets.postgres import PostgresTarget
from cdc_assets.targets.postgres_session import PostgresLogin, Tls
from tests.integration.targets.sources import sources_of
from tests.integration.test_types import (
    GROUPS,
    KEYS,
    STREAM_ROWS_FROM,
    Group,
    as_shown,
    changed_keys,
    create,
    executed,
    first_keys,
    insert,
    wait_for_stream,
)

SCHEMA = "public"
OTHER_KEYS = "other_keys"
ANCIENT = {
    "date": ["0001-01-01", "9999-12-31", None],
    "datetime(6)": ["0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", None],
}
# NUL is the one character that PostgreSQL has no place for.
VALUES: Mapping[str, Group] = {
    **{
        name: {
            kind: [each.replace("\0", "") if isinstance(each, str) else each for each in values]
            for kind, values in group.items()
        }
        for name, group in GROUPS.items()
    },
    "types_ancient": ANCIENT,
}


@dataclass(frozen=True)
class Place:
    """A lab with a PostgreSQL server.

    Attributes:
        stage: The lab.
        port: Of the server.
    """

    stage: Stage
    port: int

    @property
    def source(self) -> Login:
        """Return the application's login at the source."""
        return self.stage.source

    def login(self, role: str = "cdc_writer", **changes: object) -> PostgresLogin:
        """Return a login at the target."""
        account = self.stage.state.accounts[role]
        made = PostgresLogin(
            Server("127.0.0.1", self.port),
            postgres_server.DATABASE,
            account.user,
            account.password,
        )
        return replace(made, **changes)

    def target(self, role: str = "cdc_writer", schema: str = SCHEMA) -> PostgresTarget:
        """Return the adapter."""
        return PostgresTarget(self.login(role), schema)

    def run(self, *statements: str, role: str = "app") -> list[tuple[object, ...]]:
        """Run statements at the target and return the last one's rows."""
        account = self.stage.state.accounts[role]
        with postgres_server.connect("127.0.0.1", self.port, account) as connection:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def rows(self, table: str, schema: str = SCHEMA) -> dict[object, tuple[object, ...]]:
        """Return a whole target table."""
        account = self.stage.state.accounts["cdc_writer"]
        return PostgresRows(self.port, account, schema=schema).rows(table)

    def mysql(self) -> MySqlSource:
        """Return the source's adapter."""
        cdc = self.stage.state.accounts["cdc"]
        server = Server(self.source.host, self.source.port)
        return MySqlSource(server, cdc.user, cdc.password)

    def shapes(self, spec: StreamSpec) -> dict[str, TableShape]:
        """Return the captured tables."""
        source = self.mysql()
        return {each.label: each for each in source.shapes(source.endpoint, spec.tables)}

    def faults(self, spec: StreamSpec, role: str = "cdc_writer") -> list[Fault]:
        """Return what preflight says."""
        return list(self.target(role).faults(spec, self.shapes(spec)))

    def sink(self, schema: str = SCHEMA, **changes: object) -> PostgresSink:
        """Return the stream's sink."""
        login = self.login()
        made = PostgresSink(login.server, login.database, schema, login.username, login.password)
        return replace(made, **changes)

    def engine(self, sink: PostgresSink) -> FlinkEngine:
        """Return an engine with the real adapters."""
        state = self.stage.state
        cdc = state.accounts["cdc"]
        flink, gateway = state.services["jobmanager"], state.services["sql-gateway"]
        folder = self.stage.home / "flink"
        return FlinkEngine(
            client=FlinkClient(f"http://{flink.host}:{flink.port}"),
            gateway=SqlGateway(f"http://{gateway.host}:{gateway.port}"),
            folders=StateFolders(
                (folder / "checkpoints").as_uri(), (folder / "savepoints").as_uri()
            ),
            source=self.mysql(),
            target=self.target(schema=sink.schema),
            render=StreamRenderer(SourceAccess(cdc.user, cdc.password), sink),
            clock=SystemClock(),
        )

    def spec(self, *tables: str, first_id: int = 9100, **settings: object) -> StreamSpec:
        """Return a stream of tables of the source's database."""
        refs = tuple(TableRef.parse(f"{self.source.database}.{name}") for name in tables)
        made = StreamSpec(
            "pg", refs, ServerIdRange(first_id, first_id + 99), SCHEMA, target_kind="postgres"
        )
        return replace(made, **settings)

    @contextmanager
    def running(
        self, spec: StreamSpec, *, sink: PostgresSink | None = None, readers: int = 1
    ) -> Iterator[tuple[FlinkEngine, str]]:
        """Launch a stream, wait for the end of its snapshot, and cancel it at the end."""
        engine, job_id = self.engine(sink or self.sink()), uuid.uuid4().hex
        engine.launch(Launch(job_id, spec.name, spec, self.mysql().endpoint))
        try:
            wait_for_stream(engine, job_id, readers=readers)
            yield engine, job_id
        finally:
            engine.cancel(job_id, budget_seconds=60)

    def settle(
        self, engine: FlinkEngine, job_id: str, spec: StreamSpec, schema: str = SCHEMA
    ) -> None:
        """Wait until both sides hold the same keys and the writer has flushed."""
        until = time.monotonic() + 60
        while any(
            len(self.rows(table.target_name, schema)) != len(source_rows(self.source, table.name))
            for table in spec.copied
        ):
            view = engine.job(job_id)
            assert view.state == "RUNNING", view.failure
            assert time.monotonic() < until, "the target does not follow"
            time.sleep(0.5)
        engine.checkpoint(job_id, budget_seconds=60)


def source_rows(source: Login, table: str) -> Sequence[tuple[object, ...]]:
    """Return a whole source table."""
    return executed(source, f"select * from `{table}`")


@pytest.fixture(scope="session", params=sources_of("mariadb"))
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """Start a lab with a PostgreSQL server."""
    home = tmp_path_factory.mktemp(f"lab-postgres-{request.param}")
    try:
        state = up(home, request.param, "postgres").state
        yield Place(Stage(home), state.service("postgres").port)
    finally:
        down(home)


def change(source: Login) -> None:
    """Give the first row of each group the values of the third, and delete the second."""
    for name, group in VALUES.items():
        columns = ", ".join(f"one.c{number} = other.c{number}" for number in range(len(group)))
        executed(
            source,
            f"update {name} one join {name} other on other.id = 3 set {columns} where one.id = 1",
            f"delete from {name} where id = 2",
        )


def create_targets(place: Place, spec: StreamSpec) -> None:
    """Create the target tables as preflight would."""
    for table, shape in zip(spec.tables, place.shapes(spec).values(), strict=True):
        path = f"{quote_name(SCHEMA)}.{quote_name(table.target_name)}"
        place.run(f"drop table if exists {path}", create_table(shape, SCHEMA, table.target_name))


def differences(place: Place) -> list[tuple[str, str, object, object]]:
    """Compare all groups on both sides."""
    found: list[tuple[str, str, object, object]] = []
    for name, group in VALUES.items():
        ours = place.rows(name)
        for number, *wanted in source_rows(place.source, name):
            row = ours.get(number, (number, *["no row"] * len(wanted)))[1:]
            phase = "snapshot" if int(str(number)) < STREAM_ROWS_FROM else "stream"
            found += [
                (kind, phase, left, right)
                for kind, left, found_there in zip(group, wanted, row, strict=True)
                for right in (as_shown(kind, found_there),)
                if left != right or (isinstance(left, float) and str(left) != str(right))
            ]
    return found


def other_keys(source: Login) -> None:
    """Write rows whose keys are of the remaining kinds."""
    executed(
        source,
        f"drop table if exists {OTHER_KEYS}",
        f"create table {OTHER_KEYS} (d date, t datetime, s timestamp(3) not null default"
        " current_timestamp(3), n decimal(65,30), b varbinary(10), u tinyint unsigned, w int,"
        " primary key (d, t, s, n, b, u)) charset utf8mb4",
        f"insert into {OTHER_KEYS} values"
        " ('0001-01-01', '1000-01-01', '1970-01-01 00:00:01', 0.000000000000000000000000000001,"
        " x'00ff', 255, 1),"
        " ('9999-12-31', '9999-12-31 23:59:59', '2038-01-19 03:14:07.999',"
        f" {'9' * 35}.5, '', 0, 2), ('2024-03-31', '2024-03-31 02:30:00', '2024-03-31 02:30:00',"
        " -1, 'x', 1, 3)",
    )


def changed_other_keys(source: Login) -> None:
    """Update, delete and change the keys."""
    executed(
        source,
        f"update {OTHER_KEYS} set w = 10 where u = 255",
        f"delete from {OTHER_KEYS} where u = 0",
        f"update {OTHER_KEYS} set d = '1582-10-15', t = '1582-10-04 00:00:00',"
        " s = '2024-01-01 00:00:00.001' where u = 1",
        f"insert into {OTHER_KEYS} values ('1969-12-31', '1969-12-31', '1999-01-01', 7, 'new',"
        " 2, 4)",
    )


@pytest.fixture(scope="session")
def carried_twice(place: Place) -> Place:
    """Carry each value through the snapshot, and each once more through the stream."""
    spec = place.spec(*VALUES, KEYS, OTHER_KEYS)
    for name, group in VALUES.items():
        create(place.source, name, group)
    insert(place.source, 1, VALUES)
    first_keys(place.source)
    other_keys(place.source)
    create_targets(place, spec)
    assert place.faults(spec) == []
    with place.running(spec, readers=3) as (engine, job_id):
        insert(place.source, STREAM_ROWS_FROM, VALUES)
        change(place.source)
        changed_keys(place.source)
        changed_other_keys(place.source)
        place.settle(engine, job_id, spec)
    return place


def test_each_type_is_right_in_snapshot_and_in_stream(carried_twice: Place) -> None:
    """All types in one job; what differs is listed by type and phase."""
    assert differences(carried_twice) == []


@pytest.mark.parametrize("table", [KEYS, OTHER_KEYS])
def test_rows_with_composite_keys_are_updated_deleted_and_moved(
    carried_twice: Place, table: str
) -> None:
    """A changed key is the old row gone and the new one there."""
    ours = list(carried_twice.rows(table).values())
    wanted = source_rows(carried_twice.source, table)
    assert sorted(map(repr_of, ours)) == sorted(map(repr_of, wanted))


def repr_of(row: Sequence[object]) -> str:
    """Return a row so that equal numbers are equal texts."""
    return repr([float(str(v)) if isinstance(v, int) or hasattr(v, "quantize") else v
                 for v in row])  # fmt: skip


def lookup(faults: Sequence[Fault]) -> dict[str, str]:
    """Return the fixes by what they mend."""
    return {fault.field: fault.fix for fault in faults}


def test_reserved_words_are_the_servers_own(place: Place) -> None:
    """Two of the four categories cannot stand where a column stands without quotes."""
    rows = place.run("select word from pg_get_keywords() where catcode in ('R', 'T')")
    assert {str(row[0]) for row in rows} == RESERVED


ODD_TABLES = ('Or"der.s', "user", "grüße 😀", "A$b", "o'clock", "per%cent", "back`tick", "q!")
ODD_COLUMNS = ("OrderId", "größe", "a$b", "_x", "values", "year")


def test_tables_and_columns_of_odd_names_are_filled(place: Place) -> None:
    """Whatever schema and table are called; columns in any case. Preflight prints the table."""
    source, schema = place.source, "Sch 'e.\"ma"
    columns = ", ".join(f"`{name}` varchar(20)" for name in ODD_COLUMNS)
    names = [f"odd_{number}" for number in range(len(ODD_TABLES))]
    for name in names:
        executed(
            source,
            f"drop table if exists {name}",
            f"create table {name} (`Id` int primary key, {columns}) charset utf8mb4",
            f"insert into {name} values (1, '{name}', 'b', 'c', 'd', 'e', 'f')",
        )
    place.run(
        f"create schema {quote_name(schema)} authorization app",
        f"grant usage on schema {quote_name(schema)} to cdc_writer",
        role="admin",
    )
    tables = tuple(
        TableRef(source.database, name, odd) for name, odd in zip(names, ODD_TABLES, strict=True)
    )
    spec = place.spec("unused", tables=tables, target_database=schema)
    target = place.target(schema=schema)
    for missing in target.faults(spec, place.shapes(spec)):
        assert missing.found == "no such table"
        place.run(missing.fix)
    assert target.faults(spec, place.shapes(spec)) == ()
    with place.running(spec, sink=place.sink(schema)) as (engine, job_id):
        for name in names:
            executed(source, f"insert into {name} values (2, '{name}', 'B', 'C', 'D', 'E', 'F')")
        place.settle(engine, job_id, spec, schema)
    for table in tables:
        ours = sorted(place.rows(table.target_name, schema).values())
        assert ours == sorted(source_rows(source, table.name))
        assert target.count(table.target_name, timeout_seconds=5, key=("Id",), bound=(1,)) == 1


QUERY_TABLE = """
CREATE TABLE sales (product varchar(20) PRIMARY KEY, orders bigint NOT NULL, amount numeric(20,2),
  total text, last timestamp, last_at timestamptz, first_day date, is_big boolean, info jsonb,
  tags text[], id uuid, share double precision, made timestamptz DEFAULT now(),
  doubled bigint GENERATED ALWAYS AS (orders * 2) STORED)
"""
QUERY = """
SELECT product, COUNT(*), SUM(price), CAST(SUM(price) AS STRING), MAX(`at`), MAX(`at`), MIN(`day`),
  SUM(price) > 10, CONCAT('{"n": ', CAST(COUNT(*) AS STRING), '}'),
  CONCAT('{', MAX(product), ',x}'), '00000000-0000-0000-0000-000000000001', AVG(price * 1.0E0),
  TIMESTAMP '2024-01-01 00:00:00'
FROM sold GROUP BY product
"""


def test_a_query_fills_a_table_of_any_types(place: Place) -> None:
    """A count and sums by group, kept right while rows change; text where Flink has no type."""
    source = place.source
    executed(
        source,
        "drop table if exists sold",
        "create table sold (id int primary key, product varchar(20) not null, price decimal(10,2),"
        " at datetime(3), `day` date)",
        "insert into sold values (1, 'bolt', 1.50, '2024-01-01 10:00:00.5', '2024-01-01'),"
        " (2, 'bolt', 2.25, '2024-03-31 02:30:00', '0001-01-01'), (3, 'nut', 20, null, null)",
    )
    place.run("drop table if exists sales", QUERY_TABLE)
    queries = (QuerySpec("sales", QUERY),)
    spec = place.spec("sold", source_only=("sold",), queries=queries, first_id=9400)
    assert place.faults(spec) == []
    with place.running(spec) as (engine, job_id):
        executed(
            source,
            "insert into sold values (4, 'nut', 5, '2025-01-01 00:00:00', '2025-01-01')",
            "update sold set product = 'nut' where id = 2",
            "delete from sold where id = 3",
        )
        until = time.monotonic() + 60
        wanted = [("bolt", 1, "1.50"), ("nut", 2, "7.25")]
        query = "select product, orders, amount::text from sales order by 1"
        while place.run(query) != wanted:
            assert engine.job(job_id).state == "RUNNING", engine.job(job_id).failure
            assert time.monotonic() < until, place.run(query)
            time.sleep(0.5)
    details = (
        "total, last::text, last_at::text, first_day::text, is_big, info::text, tags::text,"
        " id::text, share, doubled"
    )
    assert place.run(f"select {details} from sales where product = 'nut'") == [
        ("7.25", "2025-01-01 00:00:00", "2025-01-01 00:00:00+00", "0001-01-01", False,
         '{"n": 2}', "{nut,x}", "00000000-0000-0000-0000-000000000001", 3.625, 4),
    ]  # fmt: skip


def ready_table(place: Place) -> StreamSpec:
    """Make a source table and its target, and return the stream."""
    executed(
        place.source,
        "drop table if exists pre",
        "create table pre (id int primary key, a varchar(20), b decimal(10,2))",
        "insert into pre values (1, 'x', 1.25), (2, 'y', null)",
    )
    spec = place.spec("pre")
    create_targets(place, spec)
    return spec


@pytest.mark.parametrize(
    ("breaking", "field"),
    [
        ("drop table pre", "public.pre"),
        ("alter table pre drop column a", "public.pre.a"),
        ("alter table pre alter column a type varchar(19)", "public.pre.a"),
        ("alter table pre alter column b type numeric(9,2)", "public.pre.b"),
        ("alter table pre alter column b type integer", "public.pre.b"),
        ("alter table pre alter column a set not null", "public.pre.a"),
        ('alter table pre rename column a to "A"', "public.pre.A"),
        ("alter table pre drop constraint pre_pkey", "public.pre.PRIMARY"),
        ("create unique index u on pre (a)", "public.pre.u"),
        ("alter table pre add constraint u unique (a)", "public.pre.u"),
        ("alter table pre add constraint x exclude (a with =)", "public.pre.x"),
        ("alter table pre add column z int not null", "public.pre.z"),
        ("alter table pre add constraint f foreign key (id) references pre", "public.pre.f"),
        ("revoke insert, delete on pre from cdc_writer", "target.grants"),
        ("revoke all on pre from cdc_writer", "target.grants"),
    ],
)  # fmt: skip
def test_each_fault_is_mended_by_what_preflight_prints(
    place: Place, breaking: str, field: str
) -> None:
    """The statement is run as it is printed; after it there is no fault."""
    spec = ready_table(place)
    assert place.faults(spec) == []
    place.run(*breaking.split(";"))
    (fault,) = place.faults(spec)
    assert fault.field == field
    place.run(fault.fix)
    assert place.faults(spec) == []


def test_a_deferrable_key_is_a_fault(place: Place) -> None:
    """ON CONFLICT does not take it."""
    spec = ready_table(place)
    place.run(
        "alter table pre drop constraint pre_pkey",
        "alter table pre add primary key (id) deferrable",
    )
    assert lookup(place.faults(spec)).keys() == {"public.pre.PRIMARY"}


def test_privileges_on_each_column_are_enough(place: Place) -> None:
    """Table-wide grants are not asked for."""
    spec = ready_table(place)
    place.run(
        "revoke all on pre from cdc_writer",
        "grant select (id, a, b), insert (id, a, b), update (id, a, b) on pre to cdc_writer",
        "grant delete on pre to cdc_writer",
    )
    assert place.faults(spec) == []


def test_a_server_that_is_not_ready_is_told(place: Place) -> None:
    """Missing schema, no right to it, a read-only account, a wrong password or database."""
    spec = ready_table(place)
    shapes = place.shapes(spec)
    absent = PostgresTarget(place.login(), "absent").faults(spec, shapes)
    assert lookup(absent) == {"target.schema": 'CREATE SCHEMA "absent";'}
    place.run("create schema hidden authorization app", role="admin")
    hidden = PostgresTarget(place.login(), "hidden").faults(spec, shapes)
    assert hidden[0].fix == 'GRANT USAGE ON SCHEMA "hidden" TO "cdc_writer";'
    place.run("alter role cdc_writer set default_transaction_read_only = on", role="admin")
    (fault,) = place.faults(spec)
    place.run(fault.fix, role="admin")
    assert place.faults(spec) == []
    for change in ({"password": "wrong"}, {"database": "absent"}, {"username": "nobody"}):
        (fault,) = PostgresTarget(place.login(**change), SCHEMA).faults(spec, shapes)
        assert fault.field == "target.account"
        assert place.login().password not in fault.text
    (fault,) = PostgresTarget(place.login(server=Server("127.0.0.1", 1)), SCHEMA).faults(
        spec, shapes
    )
    assert fault.field == "target.host"


def test_a_statement_that_takes_too_long_is_given_up(place: Place) -> None:
    """A locked table answers no count."""
    ready_table(place)
    account = place.stage.state.accounts["app"]
    with postgres_server.connect("127.0.0.1", place.port, account) as holder:
        holder.execute("begin")
        holder.execute("lock table pre in access exclusive mode")
        with pytest.raises(TargetUnreachable, match="no answer within 1 s"):
            place.target().count("pre", timeout_seconds=1)


@pytest.mark.parametrize("table", [*VALUES, KEYS, OTHER_KEYS])
def test_rows_up_to_a_key_are_counted_alike(carried_twice: Place, table: str) -> None:
    """Up to each key of the source, where keys have one order on both sides."""
    source, target = carried_twice.mysql(), carried_twice.target()
    ref = TableRef(carried_twice.source.database, table)
    (shape,) = source.shapes(source.endpoint, [ref])
    assert is_bounded(shape) == (table not in {KEYS, OTHER_KEYS})
    assert target.count(table, timeout_seconds=5) == len(source_rows(carried_twice.source, table))
    if is_bounded(shape):
        for row in source_rows(carried_twice.source, table):
            upto = {"key": shape.primary_key, "bound": (row[0],), "timeout_seconds": 5.0}
            assert target.count(table, **upto) == source.count(source.endpoint, ref, **upto)


def test_composite_bounds_of_numbers_and_moments_count_alike(place: Place) -> None:
    """The row comparison of PostgreSQL means what the spelled-out one of MySQL means."""
    executed(
        place.source,
        "drop table if exists bounded",
        "create table bounded (D date, n decimal(65,30), t timestamp(6) null, i bigint unsigned,"
        " primary key (D, n, i))",
        "insert into bounded values ('0001-01-01', -1.5, '2024-01-01', 18446744073709551615),"
        " ('2024-01-01', 1, null, 0), ('2024-01-01', 1.000000000000000000000000000001, null, 1),"
        f" ('2024-01-01', {'9' * 35}.5, null, 18446744073709551614), ('9999-12-31', 0, null, 7)",
    )
    spec = place.spec("bounded", first_id=9450)
    create_targets(place, spec)
    source, target = place.mysql(), place.target()
    with place.running(spec) as (engine, job_id):
        place.settle(engine, job_id, spec)
    (shape,) = place.shapes(spec).values()
    assert is_bounded(shape)
    for row in source_rows(place.source, "bounded"):
        bound = (row[0], row[1], row[3])
        upto = {"key": shape.primary_key, "bound": bound, "timeout_seconds": 5.0}
        assert target.count("bounded", **upto) == source.count(
            source.endpoint, spec.tables[0], **upto
        )


def test_a_nul_character_stops_the_stream_and_says_why(place: Place) -> None:
    """No row is lost or changed by it, and the row's content is not in the error."""
    executed(
        place.source,
        "drop table if exists nuls",
        "create table nuls (id int primary key, a varchar(50)) charset utf8mb4",
        "insert into nuls values (1, 'private words')",
    )
    spec = place.spec("nuls", first_id=9470)
    create_targets(place, spec)
    with place.running(spec) as (engine, job_id):
        executed(place.source, "insert into nuls values (2, 'private words\\0')")
        until = time.monotonic() + 60
        while engine.job(job_id).state == "RUNNING":
            assert time.monotonic() < until
            time.sleep(0.5)
        view = engine.job(job_id)
        assert (view.state, view.failure_class) == ("FAILED", "needs-operator")
        assert "0x00" in view.failure
        assert "private" not in view.failure


@pytest.fixture
def certificate(place: Place) -> Iterator[str]:
    """Let the server speak TLS with a certificate of its own, and return the file."""
    now = datetime.now(timezone.utc)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    data = postgres_server.data_folder(place.stage.home)
    (data / "server.crt").write_bytes(made.public_bytes(Encoding.PEM))
    secret = data / "server.key"
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    secret.chmod(0o600)
    owner = data.stat()
    os.chown(secret, owner.st_uid, owner.st_gid)
    place.run("alter system set ssl = on", "select pg_reload_conf()", role="admin")
    yield str(data / "server.crt")
    place.run("alter system reset ssl", "select pg_reload_conf()", role="admin")


@pytest.mark.parametrize("tls", ["encrypt", "verify"])
def test_rows_and_questions_go_over_tls(place: Place, certificate: str, tls: Tls) -> None:
    """The stream and the adapter both insist on it, and `verify` looks at the certificate."""
    spec = replace(ready_table(place), server_ids=ServerIdRange(9480, 9489))
    ca_file = certificate if tls == "verify" else None
    login = place.login(tls=tls, ca_file=ca_file)
    target = PostgresTarget(login, SCHEMA)
    until = time.monotonic() + 20
    while target.faults(spec, place.shapes(spec)):  # the server reads its settings again
        assert time.monotonic() < until
        time.sleep(0.2)
    sink = place.sink(tls=tls, ca_file=ca_file)
    with place.running(spec, sink=sink) as (engine, job_id):
        place.settle(engine, job_id, spec)
        seen = place.run(
            "select count(*) from pg_stat_ssl s join pg_stat_activity a using (pid)"
            " where a.usename = 'cdc_writer' and a.application_name = 'cdc-assets' and s.ssl",
            role="admin",
        )
    assert seen[0][0] == 1
    if tls == "verify":
        unknown = replace(login, ca_file=None)
        (fault,) = PostgresTarget(unknown, SCHEMA).faults(spec, place.shapes(spec))
        assert "certificate" in fault.found
