"""One binlog reader for many tables, against one reader for each, against one large table.

Run with `make bench-fanout`. Real servers: a lab is started, and stopped at the end. The same
rows go through three jobs, one after the other: N tables over a shared reader, the same N
tables with a reader each (as they are written by hand), and one table that holds as many
rows. Machines are noisy: read the ratios.
"""

from __future__ import annotations

import os
import time
import uuid
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import click
from lab_jobs import BUDGET_SECONDS, cpu_of, process_of, wait_streaming, wired
from rich.console import Console
from rich.table import Table

from cdc_assets import (
    MySqlTargetResource,
    ServerIdRange,
    StreamSpec,
    TableRef,
)
from cdc_assets.core.readers import plan_readers
from cdc_assets.errors import CdcError, EngineUnreachable, LabError
from cdc_assets.lab.dagster_services import environment
from cdc_assets.lab.home import resolve_home
from cdc_assets.lab.lab import down, up
from cdc_assets.lab.plan import HEAP_VARIABLE
from cdc_assets.lab.stage import Stage
from cdc_assets.lab.workload import Login
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.ports import Launch

_BATCH = 500
_COLUMNS = "id BIGINT PRIMARY KEY, round INT NOT NULL, note VARCHAR(80), price DECIMAL(10,2)"


@dataclass(frozen=True)
class Case:
    """One job of the comparison."""

    title: str
    spec: StreamSpec
    rows_per_table: int

    @property
    def rows(self) -> int:
        """Return the rows of all its tables."""
        return self.rows_per_table * len(self.spec.tables)


@dataclass(frozen=True)
class Measured:
    """What one job did.

    Attributes:
        connections: Binlog connections at the source, as the server lists them.
        start_seconds: From the submission until the target held the first copy.
        stream_seconds: From the first of as many updates as there are rows until the target
            held them all.
        cpu_seconds: Of job manager and task manager, over both.
        megabytes: Resident memory of both at the end.
    """

    readers: int
    connections: int
    start_seconds: float
    stream_seconds: float
    cpu_seconds: float
    megabytes: float


def cases(tables: int, rows: int) -> tuple[Case, ...]:
    """Return the three jobs."""
    many = StreamSpec(
        "fanout",
        tuple(TableRef("source", f"fan_{number:03}") for number in range(tables)),
        ServerIdRange(8000, 8000 + tables),
        "target",
        readers="shared",
    )
    one = replace(many, tables=(TableRef("source", "single"),))
    return (
        Case("shared reader", many, rows),
        Case("one table", one, rows * tables),
        # The last: where the cluster does not bear it, the others are measured.
        Case("reader per table", replace(many, readers="per-table"), rows),
    )


def target_of(stage: Stage) -> MySqlTargetResource:
    """Return the lab's MySQL target."""
    env = environment(stage.state)
    return MySqlTargetResource(
        host=env["CDC_TARGET_HOST"],
        port=int(env["CDC_TARGET_PORT"]),
        username=env["CDC_TARGET_USER"],
        password=env["CDC_TARGET_PASSWORD"],
        database="target",
    )


def measure(stage: Stage, case: Case) -> Measured:
    """Run one job from its first copy through one update of every row."""
    runtime = wired(stage, case.spec, target_of(stage))
    names = [table.name for table in case.spec.tables]
    _create(stage.source, names)
    _create(stage.target, names)
    for name in names:
        _fill(stage.source, name, case.rows_per_table)
    processes = [process_of(stage, name) for name in ("jobmanager", "taskmanager")]
    cpu, job_id = sum(map(cpu_of, processes)), uuid.uuid4().hex
    began = time.monotonic()
    try:
        runtime.engine.launch(Launch(job_id, case.title, case.spec, runtime.source.endpoint))
        _wait(stage, case, runtime, job_id, number=0)
        copied = time.monotonic()
        shapes = runtime.source.shapes(runtime.source.endpoint, case.spec.tables)
        readers = len(plan_readers(case.spec, shapes))
        wait_streaming(runtime, job_id, readers)
        connections = _connections(stage)
        updated = time.monotonic()
        for name in names:
            _update(stage.source, name, case.rows_per_table)
        _wait(stage, case, runtime, job_id, number=1)
        ended = time.monotonic()
        return Measured(
            readers,
            connections,
            copied - began,
            ended - updated,
            sum(map(cpu_of, processes)) - cpu,
            sum(each.memory_info().rss for each in processes) / 1e6,
        )
    finally:
        # A cluster that does not answer is the finding, and must not hide it.
        with suppress(EngineUnreachable):
            runtime.engine.cancel(job_id, budget_seconds=120)


def _create(login: Login, names: list[str]) -> None:
    with closing(login.connect(timeout_seconds=60)) as connection, connection.cursor() as cursor:
        for name in names:
            cursor.execute(f"DROP TABLE IF EXISTS {name}")
            cursor.execute(f"CREATE TABLE {name} ({_COLUMNS})")


def _fill(login: Login, name: str, rows: int) -> None:
    with closing(login.connect(timeout_seconds=60)) as connection, connection.cursor() as cursor:
        for first in range(0, rows, _BATCH):
            cursor.executemany(
                f"INSERT INTO {name} VALUES (%s, 0, %s, %s)",  # noqa: S608 - the benchmark's own names
                [(n, f"row {n}", n % 997) for n in range(first, min(rows, first + _BATCH))],
            )


def _update(login: Login, name: str, rows: int) -> None:
    with closing(login.connect(timeout_seconds=60)) as connection, connection.cursor() as cursor:
        for first in range(0, rows, _BATCH):
            cursor.execute(
                f"UPDATE {name} SET round = 1 WHERE id >= %s AND id < %s",  # noqa: S608 - as above
                (first, first + _BATCH),
            )


def _wait(stage: Stage, case: Case, runtime: StreamRuntime, job_id: str, *, number: int) -> None:
    """Wait until the target holds every row of a round."""
    rows, login = case.rows, stage.target
    query = " UNION ALL ".join(
        f"SELECT COUNT(*) AS n FROM {table.name} WHERE round = {number}"  # noqa: S608 - as above
        for table in case.spec.tables
    )
    deadline = time.monotonic() + BUDGET_SECONDS
    with closing(login.connect(timeout_seconds=60)) as connection, connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute(f"SELECT SUM(n) FROM ({query}) AS counted")  # noqa: S608 - as above
            row = cursor.fetchone()
            if row is not None and int(row[0]) == rows:
                return
            view = runtime.engine.job(job_id)
            if view.state in {"FAILED", "CANCELED", "GONE"}:
                raise LabError(f"the job is {view.state}: {view.failure}")
            time.sleep(0.2)
    raise LabError(f"the target did not hold {rows} rows in {BUDGET_SECONDS:.0f} s")


def _connections(stage: Stage) -> int:
    state = stage.state
    blue, user = state.servers["blue"], state.accounts["cdc"].user
    admin = Login(blue.host, blue.port, blue.admin_user, blue.admin_password, "source")
    with closing(admin.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST"
            " WHERE USER = %s AND COMMAND LIKE 'Binlog Dump%%'",
            (user,),
        )
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def show(console: Console, found: list[tuple[Case, Measured]]) -> None:
    """Print the figures, and each job's share of the first one's."""
    table = Table(title="one reader for many tables")
    for head in ("job", "readers", "binlog connections", "first copy rows/s", "stream rows/s",
                 "CPU s", "MB"):  # fmt: skip
        table.add_column(head, justify="left" if head == "job" else "right")
    for case, one in found:
        table.add_row(
            case.title,
            str(one.readers),
            str(one.connections),
            f"{case.rows / one.start_seconds:.0f}",
            f"{case.rows / one.stream_seconds:.0f}",
            f"{one.cpu_seconds:.1f}",
            f"{one.megabytes:.0f}",
        )
    console.print(table)
    shared = found[0]
    for case, one in found[1:]:
        first = (shared[0].rows / shared[1].start_seconds) / (case.rows / one.start_seconds)
        stream = (shared[0].rows / shared[1].stream_seconds) / (case.rows / one.stream_seconds)
        console.print(
            f"shared reader against {case.title}: first copy {first:.2f} x, stream {stream:.2f} x, "
            f"CPU {shared[1].cpu_seconds / one.cpu_seconds:.2f} x, connections "
            f"{shared[1].connections} : {one.connections}"
        )


@click.command()
@click.option("--tables", default=100, show_default=True, help="How many tables.")
@click.option("--rows", default=2000, show_default=True, help="Rows of each table.")
@click.option("--home", type=click.Path(path_type=Path), default=None, help="The lab's folder.")
def main(*, tables: int, rows: int, home: Path | None) -> None:
    """Measure, and print ratios."""
    console = Console(highlight=False, soft_wrap=True)
    folder = home or resolve_home(None).with_name("fanout")
    found: list[tuple[Case, Measured]] = []
    # A reader for each of a hundred tables: as much memory as the job by hand asks for.
    os.environ.setdefault(HEAP_VARIABLE, "4")
    try:
        up(folder, "mariadb", tell=console.print)
        stage = Stage(folder)
        # The first job of a cluster loads and compiles classes; it is not counted.
        measure(stage, cases(2, 100)[0])
        for case in cases(tables, rows):
            console.print(f"{case.title}: {len(case.spec.tables)} tables, {case.rows} rows")
            try:
                found.append((case, measure(stage, case)))
            except CdcError as error:
                # Too many readers for the lab's task manager are a result, too.
                console.print(f"{case.title}: not measured: {error}")
    finally:
        down(folder)
    if found:
        show(console, found)


if __name__ == "__main__":
    main()
