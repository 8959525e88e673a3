"""One table is paused and the others go on, under a writer, on real servers and a stand-in.

Contents are compared whole at the end: what PyMySQL reads at the source must equal what is read at
the target.
"""

# ruff: noqa: S608 - the names are this file's own

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pymysql
import pytest
from pymysql.cursors import Cursor

from cdc_assets import RdsResource
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import ReaderSharing, StreamSpec, TargetKind
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import ConfigurationError
from cdc_assets.lab.dagster_services import environment
from cdc_assets.lab.lab import down, up
from cdc_assets.lab.stage import Stage
from cdc_assets.lab.target_system import TARGET_DATABASE
from cdc_assets.lab.workload import Login
from cdc_assets.operations.deploy import deploy
from cdc_assets.operations.launch import newest
from cdc_assets.operations.paused import paused_tables
from cdc_assets.operations.reconcile import reconcile
from cdc_assets.operations.recover import recover
from cdc_assets.operations.resume_table import plan_resume, resume_table
from cdc_assets.operations.runtime import Budgets, StreamRuntime
from cdc_assets.operations.schema_apply import follow_schema
from cdc_assets.operations.schema_watch import look_at_schema
from cdc_assets.operations.snapshot import snapshot
from cdc_assets.targets.kafka import KafkaTarget
from tests.integration.targets.sources import sources_of, takes_all
from tests.integration.targets.ways import Way, way_of
from tests.integration.test_types import executed

TABLES = ("kept_items", "kept_orders", "kept_users")
log = logging.getLogger(__name__)
COLUMNS = "id int primary key, name varchar(40) not null, n int"
WIDER = "id int not null, name varchar(160) not null, n bigint"
BIG = 5_000_000_000
LATER_COMMITTED = {"kafka", "iceberg"}
BUDGETS = Budgets(switchover_seconds=120.0, silence_seconds=60.0)


@dataclass
class Writer:
    """Inserts, updates and deletes rows of all tables until it is told to stop.

    Attributes:
        login: Of the source.
        columns: What the tables' columns besides the key are called, and the largest number.
    """

    login: Login
    columns: dict[str, tuple[str, str, int]] = field(
        default_factory=lambda: dict.fromkeys(TABLES, ("name", "n", 1000))
    )
    lock: threading.Lock = field(default_factory=threading.Lock)
    done: threading.Event = field(default_factory=threading.Event)
    rows: int = 0
    problem: str = ""

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        while not self.done.wait(0.2):
            try:
                with closing(self.login.connect(timeout_seconds=30)) as connection:
                    self.write(connection)
            except pymysql.MySQLError as error:
                # A switchover: what was cut off is written in no second turn.
                self.problem = repr(error)
                self.rows += 1

    def write(self, connection: pymysql.Connection[Cursor]) -> None:
        while not self.done.wait(0.02):
            with self.lock, connection.cursor() as cursor:
                # One transaction: a savepoint can fall into the middle of it.
                connection.begin()
                for statement in self.statements(self.rows + 100):
                    cursor.execute(statement)
                connection.commit()
            self.rows += 1

    def statements(self, key: int) -> Iterator[str]:
        for table, (name, number, most) in self.columns.items():
            value = most - key
            yield (f"insert into {table} (id, {name}, {number}) values ({key}, 'row {key} é',"
                   f" {value})")  # fmt: skip
            yield f"update {table} set {number} = {value + 1} where id = {key - 7}"
            yield f"delete from {table} where id = {key - 31} and id % 3 = 0"

    def change(self, table: str, statement: str, columns: tuple[str, str, int]) -> None:
        """Change a table between two rows."""
        with self.lock:
            executed(self.login, statement)
            self.columns[table] = columns


@dataclass
class Kept:
    """A stream of three tables under a writer."""

    way: Way
    writer: Writer

    @property
    def rt(self) -> StreamRuntime:
        return self.way.rt

    def unequal(self) -> list[str]:
        return [name for name in TABLES if self.way.landed(name) != self.way.wanted(name)]

    def state(self) -> str:
        row = newest(self.rt)
        assert row is not None
        view = self.rt.engine.job(row.job_id)
        return f"incarnation {row.number} {view.state} {view.failure}"

    def wait_rows(self, *tables: str, more: int = 40) -> None:
        """Wait until the writer's next rows have arrived in these tables."""
        key = self.writer.rows + 100 + more
        until = time.monotonic() + 60
        while any(max(row[0] for row in self.way.landed(name).values()) < key for name in tables):  # type: ignore[type-var]
            assert time.monotonic() < until, (self.state(), tables, self.writer.problem)
            time.sleep(0.3)

    def settle(self) -> None:
        """Stop the writer, and wait until all contents are equal."""
        self.writer.done.set()
        self.writer.thread.join(timeout=30)
        until = time.monotonic() + 60
        while self.unequal():
            assert time.monotonic() < until, (self.unequal(), self.state())
            time.sleep(0.3)


@pytest.fixture(scope="session")
def kept_stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    source, target = request.param
    home = tmp_path_factory.mktemp(f"lab-paused-{source}-{target}")
    try:
        up(home, source, target)
        yield Stage(home)
    finally:
        down(home)


@pytest.fixture
def kept(
    request: pytest.FixtureRequest,
    kept_stage: Stage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Kept]:
    """Return a stream that runs, under a writer; each table has a reader, or all share one."""
    stage = kept_stage
    kind, _, readers = request.param.partition(" ")
    values = environment(stage.state)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, values[name])
    rds = RdsResource(
        instance=values["CDC_RDS_INSTANCE"],
        region=values["AWS_REGION"],
        endpoint_url=values["CDC_RDS_ENDPOINT_URL"],
    )
    spec = spec_of(stage, kind, readers)
    with way_of(stage, spec, tmp_path / "ledger.db", rds=rds, budgets=BUDGETS) as way:
        for name in TABLES:
            way.at_source(
                f"drop table if exists {name}",
                f"create table {name} ({COLUMNS}) charset utf8mb4",
                f"insert into {name} values (1, 'first', 1)",
            )
            way.drop(name)
            if kind == "starrocks":  # the stand-in changes no table
                way.at_target(f"create table {name} ({WIDER}) primary key (id)"
                              " distributed by hash (id)")  # fmt: skip
        way.grant("create")
        made = Kept(way, Writer(stage.source))
        try:
            snapshot(way.rt)
            deploy(way.rt)
            made.writer.thread.start()
            yield made
        finally:
            made.writer.done.set()


def spec_of(stage: Stage, kind: TargetKind, readers: ReaderSharing) -> StreamSpec:
    return StreamSpec(
        f"kept_{kind}_{readers.replace('-', '_')}",
        tuple(TableRef(stage.source.database, name) for name in TABLES),
        ServerIdRange(9700, 9719),
        TARGET_DATABASE,
        target_kind=kind,
        readers=readers,
        checkpoint_interval_seconds=1.0,
        flush_interval_seconds=0.3,
    )


def on_each(*cases: tuple[str, str]) -> pytest.MarkDecorator:
    """Run a test on each lab, named by its target, and each kind of stream on it."""
    return pytest.mark.parametrize(
        ("kept_stage", "kept"),
        [((source, lab), kind) for source in sources_of("mariadb") for lab, kind in cases],
        indirect=True,
        ids=[f"{source} {kind}" for source in sources_of("mariadb") for _, kind in cases],
    )


def repeats(rt: StreamRuntime, table: str) -> tuple[int, int]:
    """Return how many records a topic holds, and how many of them came before, value and all."""
    assert isinstance(rt.target, KafkaTarget)
    topic = f"{rt.spec.tables[0].database}.{table}"
    found = list(rt.target.records(topic, timeout_seconds=60))
    return len(found), len(found) - len(set(found))


def a_rename_is_copied_anew(kept: Kept) -> None:
    """Only a new snapshot of this one table is right."""
    rt, way, writer = kept.rt, kept.way, kept.writer
    assert follow_schema(rt).act == ""
    writer.change(
        "kept_users", "alter table kept_users change name title varchar(40) not null",
        ("title", "n", 1000),
    )  # fmt: skip
    # The renamed column arrives as NULL, which most targets refuse: all tables stand still.
    until = time.monotonic() + 60
    while way.kind not in LATER_COMMITTED and "FAILED" not in kept.state():
        assert time.monotonic() < until, kept.state()
        time.sleep(0.3)
    seen = follow_schema(rt)
    assert seen.act == "table paused", seen
    kept.wait_rows("kept_items", "kept_orders")
    if way.kind == "starrocks":
        with pytest.raises(ConfigurationError, match="the target does not follow yet"):
            plan_resume(rt, "kept_users", again=True)
    else:
        (look,) = look_at_schema(rt).paused
        way.at_target(*look.unmet)
        with pytest.raises(ConfigurationError, match=r"renamed to title.*--again"):
            plan_resume(rt, "kept_users")
        with pytest.raises(ConfigurationError, match="holds rows"):
            plan_resume(rt, "kept_users", again=True)
    if way.kind == "starrocks" or (way.kind in LATER_COMMITTED and not rt.spec.shares_readers):
        way.drop("kept_users")
        assert "into a table that is made" in plan_resume(rt, "kept_users", again=True).text
    else:
        way.empty("kept_users")
    began = time.monotonic()
    resume_table(rt, "kept_users", worker="test", again=True)
    log.info("copied anew and resumed in %.1f s", time.monotonic() - began)


EACH = (
    ("postgres", "mysql shared"),
    ("postgres", "postgres per-table"),
    ("kafka", "kafka shared"),
    ("iceberg", "iceberg per-table"),
    ("starrocks", "starrocks shared"),
)
OTHER_READERS = (
    ("postgres", "mysql per-table"),
    ("kafka", "kafka per-table"),
    ("iceberg", "iceberg shared"),
    ("starrocks", "starrocks per-table"),
)


@on_each(*EACH, *(OTHER_READERS if takes_all() else ()))
def test_one_table_is_paused_under_a_writer_and_resumed_without_a_loss(kept: Kept) -> None:
    rt, way, writer = kept.rt, kept.way, kept.writer
    database = way.stage.source.database
    kept.wait_rows(*TABLES)
    assert follow_schema(rt).act == ""  # keeps a state of before
    kept.wait_rows(*TABLES)

    # Another type: numbers that the running job would cut.
    writer.change("kept_orders", "alter table kept_orders modify n bigint", ("name", "n", BIG))
    kept.wait_rows("kept_items")
    began = time.monotonic()
    seen = follow_schema(rt)
    assert seen.act == "table paused", seen
    took = time.monotonic() - began
    (pause,) = paused_tables(rt)
    log.info("paused in %.1f s: %s", took, pause.text)
    before = way.landed("kept_orders")
    kept.wait_rows("kept_items", "kept_users")
    assert way.landed("kept_orders") == before
    row = newest(rt)
    assert row is not None
    verdicts = {each.table: each for each in reconcile(rt, row)}
    assert verdicts[f"{database}.kept_orders"].reason == pause.text
    assert {each.verdict for each in verdicts.values()} <= {"InSync", "Inconclusive"}
    (look,) = look_at_schema(rt).paused
    way.at_target(*look.unmet)
    began = time.monotonic()
    assert "read again from" in plan_resume(rt, "kept_orders").text
    resume_table(rt, "kept_orders", worker="test")
    log.info("resumed in %.1f s", time.monotonic() - began)
    kept.wait_rows(*TABLES)
    assert look_at_schema(rt).paused == ()

    a_rename_is_copied_anew(kept)
    kept.wait_rows(*TABLES)
    kept.settle()
    assert way.landed("kept_orders") != {}
    row = newest(rt)
    assert row is not None
    verdicts = {each.table: each for each in reconcile(rt, row)}
    assert {each.verdict for each in verdicts.values()} == {"InSync"}
    kinds = [each.kind for each in rt.ledger.incarnations(rt.name)]
    log.info("%s rounds of rows, incarnations: %s", writer.rows, ", ".join(kinds))
    assert kinds.count("catch-up") == 2
    if way.kind == "kafka":
        counted = {name: repeats(rt, name) for name in TABLES}
        log.info("records, and how many of them came again: %s", counted)
        # Four starts at the oldest place, each between two transactions of the writer.
        written, again = counted["kept_items"]
        assert again * 50 < written
        # What was written between the look that kept a state and the pause.
        assert counted["kept_orders"][1] > again


@on_each(("iceberg", "iceberg shared"), *(OTHER_READERS[:1] if takes_all() else ()))
def test_a_switchover_leaves_a_table_paused_and_loses_no_row_of_the_others(kept: Kept) -> None:
    rt, way, writer = kept.rt, kept.way, kept.writer
    kept.wait_rows(*TABLES)
    assert follow_schema(rt).act == ""
    writer.change("kept_orders", "alter table kept_orders modify n bigint", ("name", "n", BIG))
    assert follow_schema(rt).act == "table paused"
    kept.wait_rows("kept_items", "kept_users")
    way.stage.switch_over(way.stage.available_deployment())
    outcome = recover(rt, worker="test")
    by_place = way.stage.state.source_kind == "mariadb"
    assert outcome.decision == ("Relaunch" if by_place else "Resume")
    kept.wait_rows("kept_items", "kept_users")
    (pause,) = paused_tables(rt)
    (look,) = look_at_schema(rt).paused
    way.at_target(*look.unmet)
    with pytest.raises(ConfigurationError, match=r"cannot be read again.*--again"):
        plan_resume(rt, "kept_orders")
    way.empty("kept_orders")
    resume_table(rt, "kept_orders", worker="test", again=True)
    kept.wait_rows(*TABLES)
    kept.settle()
    log.info("%s: %s; %s rounds of rows", outcome.decision, pause.text, writer.rows)
