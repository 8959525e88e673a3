"""A generated job against the job that one writes by hand, for one kind of target.

Run with `make bench-ways TARGET=postgres`. Real servers (StarRocks: the stand-in): a lab is
started, and stopped at the end. The same rows go through both jobs in turns, first as a
snapshot, then as a stream. By hand is what the documents show that the project started from:
one `mysql-cdc` table, one target table with the connector's own defaults, one INSERT.
Machines are noisy: read the ratios.
"""

from __future__ import annotations

import os
import statistics
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click
from lab_jobs import BUDGET_SECONDS, cpu_of, process_of, wait_streaming, wired
from rich.console import Console
from rich.table import Table

from cdc_assets import (
    ServerIdRange,
    StreamSpec,
    TableRef,
)
from cdc_assets.core.stream import TargetKind
from cdc_assets.errors import LabError
from cdc_assets.lab import postgres_server
from cdc_assets.lab.dagster_services import environment
from cdc_assets.lab.home import resolve_home
from cdc_assets.lab.lab import down, up
from cdc_assets.lab.stage import Stage
from cdc_assets.lab.target_systems import KINDS
from cdc_assets.lab.workload import ORDERS, Login
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.ports import Launch, MakingTarget

_BATCH = 1000
_IDS = ServerIdRange(8000, 8099)
_COLUMNS = (
    "id BIGINT, product STRING, quantity INT, note STRING, price DECIMAL(10, 2), "
    "changed_at TIMESTAMP(6), PRIMARY KEY (id) NOT ENFORCED"
)


@dataclass(frozen=True)
class Measured:
    """What one job did.

    Attributes:
        snapshot: Rows a second from the submission until the target held the first copy.
        stream: Rows a second from the first of as many inserts until the target held them.
        cpu_seconds: Of job manager and task manager, over both.
        megabytes: Resident memory of the task manager at the end.
    """

    snapshot: float
    stream: float
    cpu_seconds: float
    megabytes: float


def by_hand(stage: Stage, name: str) -> tuple[list[str], str]:
    """Return the statements that one writes by hand: DDL, and the INSERT."""
    env = environment(stage.state)
    source = {
        "connector": "mysql-cdc",
        "hostname": env["CDC_SOURCE_HOST"],
        "port": env["CDC_SOURCE_PORT"],
        "username": env["CDC_SOURCE_USER"],
        "password": env["CDC_SOURCE_PASSWORD"],
        "database-name": "source",
        "table-name": "orders",
        "server-id": str(_IDS.first),
        "server-time-zone": "UTC",
    }
    ddl = [_table("orders_source", source)]
    kind = stage.state.target_kind
    if kind == "iceberg":
        catalog = {"type": "iceberg", "catalog-type": "rest", "uri": env["CDC_TARGET_URI"]}
        ddl.append(f"CREATE CATALOG by_hand WITH ({_options(catalog)})")
        place = f"by_hand.`{env['CDC_TARGET_DATABASE']}`.`{name}`"
        # The table's own property makes the connector upsert, as in a table made by hand.
        hint = " /*+ OPTIONS('upsert-enabled' = 'true') */"
        return ddl, f"INSERT INTO {place}{hint} SELECT * FROM orders_source"  # noqa: S608 - own names
    ddl.append(_table("orders_sink", _HANDS[kind](env, name)))
    return ddl, "INSERT INTO orders_sink SELECT * FROM orders_source"


def _mysql(env: Mapping[str, str], name: str) -> dict[str, str]:
    return _jdbc(env, name, "mysql")


def _postgres(env: Mapping[str, str], name: str) -> dict[str, str]:
    return _jdbc(env, name, "postgresql")


def _jdbc(env: Mapping[str, str], name: str, scheme: str) -> dict[str, str]:
    place = f"{env['CDC_TARGET_HOST']}:{env['CDC_TARGET_PORT']}/{env['CDC_TARGET_DATABASE']}"
    return {
        "connector": "jdbc",
        "url": f"jdbc:{scheme}://{place}",
        "table-name": name,
        "username": env["CDC_TARGET_USER"],
        "password": env["CDC_TARGET_PASSWORD"],
    }


def _kafka(env: Mapping[str, str], name: str) -> dict[str, str]:
    login = f'username="{env["CDC_TARGET_USER"]}" password="{env["CDC_TARGET_PASSWORD"]}"'
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    return {
        "connector": "upsert-kafka",
        "topic": env["CDC_TARGET_TOPIC_PREFIX"] + name,
        "properties.bootstrap.servers": env["CDC_TARGET_BOOTSTRAP_SERVERS"],
        "properties.security.protocol": "SASL_PLAINTEXT",
        "properties.sasl.mechanism": "PLAIN",
        "properties.sasl.jaas.config": f"{module} required {login};",
        "key.format": "json",
        "value.format": "json",
    }


def _starrocks(env: Mapping[str, str], name: str) -> dict[str, str]:
    return {
        "connector": "starrocks",
        "jdbc-url": f"jdbc:mysql://{env['CDC_TARGET_HOST']}:{env['CDC_TARGET_PORT']}",
        "load-url": f"{env['CDC_TARGET_HOST']}:{env['CDC_TARGET_HTTP_PORT']}",
        "database-name": env["CDC_TARGET_DATABASE"],
        "table-name": name,
        "username": env["CDC_TARGET_USER"],
        "password": env["CDC_TARGET_PASSWORD"],
        "sink.properties.format": "json",
        "sink.properties.strip_outer_array": "true",
        # The seed waits 15 s; this measures work, not waiting.
        "sink.buffer-flush.interval-ms": "1000",
    }


_HANDS: Mapping[TargetKind, Callable[[Mapping[str, str], str], dict[str, str]]] = {
    "kafka": _kafka,
    "mysql": _mysql,
    "postgres": _postgres,
    "starrocks": _starrocks,
}


def _table(name: str, options: Mapping[str, str]) -> str:
    return f"CREATE TEMPORARY TABLE {name} ({_COLUMNS}) WITH ({_options(options)})"


def _options(options: Mapping[str, str]) -> str:
    return ", ".join(f"'{key}' = '{value}'" for key, value in options.items())


def let_create(stage: Stage) -> None:
    """Give the writer the right to make its tables, which the lab's demonstration does not need."""
    state = stage.state
    writer = state.accounts["cdc_writer"].user
    if state.target_kind == "mysql":
        with closing(stage.target_admin.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(f"GRANT CREATE ON target.* TO '{writer}'@'%'")
    if state.target_kind == "postgres":
        port = int(environment(state)["CDC_TARGET_PORT"])
        with postgres_server.connect("127.0.0.1", port, state.accounts["app"]) as session:
            session.execute(f"GRANT CREATE ON SCHEMA {postgres_server.SCHEMA} TO {writer}".encode())


def measure(stage: Stage, number: int, rows: int, *, hand: bool) -> Measured:
    """Run one job from its first copy through as many inserts."""
    name = f"orders_{number}"
    spec = StreamSpec(
        "ways",
        (TableRef("source", "orders", name),),
        _IDS,
        environment(stage.state).get("CDC_TARGET_DATABASE", ""),
        target_kind=stage.state.target_kind,
    )
    from resources.targets import target  # noqa: PLC0415 - reads the environment of this lab

    runtime = wired(stage, spec, target)
    _fill(stage.source, rows)
    shapes = runtime.source.shapes(runtime.source.endpoint, spec.tables)
    if not isinstance(runtime.target, MakingTarget):
        raise LabError(f"{spec.target_kind}: the target makes no tables")
    runtime.target.make_missing(spec, shapes)
    processes = [process_of(stage, each) for each in ("jobmanager", "taskmanager")]
    cpu, job_id = sum(map(cpu_of, processes)), uuid.uuid4().hex
    began = time.monotonic()
    try:
        if hand:
            ddl, insert = by_hand(stage, name)
            _submit(stage, ddl, insert, job_id)
        else:
            runtime.engine.launch(Launch(job_id, name, spec, runtime.source.endpoint))
        _wait(runtime, job_id, name, rows)
        copied = time.monotonic()
        wait_streaming(runtime, job_id)
        inserted = time.monotonic()
        _double(stage.source, rows)
        _wait(runtime, job_id, name, 2 * rows)
        ended = time.monotonic()
        return Measured(
            rows / (copied - began),
            rows / (ended - inserted),
            sum(map(cpu_of, processes)) - cpu,
            processes[1].memory_info().rss / 1e6,
        )
    finally:
        runtime.engine.cancel(job_id, budget_seconds=120)


def _submit(stage: Stage, ddl: list[str], insert: str, job_id: str) -> None:
    from cdc_assets.flink.gateway import SqlGateway  # noqa: PLC0415 - the job by hand only

    gateway = SqlGateway(environment(stage.state)["FLINK_SQL_GATEWAY_URL"])
    gateway.submit_job(
        ddl,
        insert,
        job_id=job_id,
        job_name="by hand",
        config={"execution.checkpointing.interval": "3s", "table.local-time-zone": "UTC"},
    )


def _fill(login: Login, rows: int) -> None:
    with closing(login.connect(timeout_seconds=60)) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS orders")
        cursor.execute(ORDERS)
        for first in range(0, rows, _BATCH):
            cursor.executemany(
                "INSERT INTO orders VALUES (%s, %s, %s, %s, %s, UTC_TIMESTAMP(6))",
                [
                    (n, f"product {n % 50}", n % 9, f"note number {n}", n % 997)
                    for n in range(first, min(rows, first + _BATCH))
                ],
            )


def _double(login: Login, rows: int) -> None:
    with closing(login.connect(timeout_seconds=120)) as connection, connection.cursor() as cursor:
        for first in range(0, rows, 10 * _BATCH):
            cursor.execute(
                "INSERT INTO orders SELECT id + %s, product, quantity, note, price, changed_at"
                " FROM orders WHERE id >= %s AND id < %s",
                (rows, first, min(rows, first + 10 * _BATCH)),
            )


def _wait(runtime: StreamRuntime, job_id: str, name: str, rows: int) -> None:
    """Wait until the target holds so many rows."""
    deadline = time.monotonic() + BUDGET_SECONDS
    while time.monotonic() < deadline:
        if runtime.target.count(name, timeout_seconds=60) >= rows:
            return
        view = runtime.engine.job(job_id)
        if view.state in {"FAILED", "CANCELED", "GONE"}:
            raise LabError(f"the job is {view.state}: {view.failure}")
        time.sleep(0.25)
    raise LabError(f"the target did not hold {rows} rows in {BUDGET_SECONDS:.0f} s")


def show(console: Console, kind: str, rows: int, found: list[tuple[Measured, Measured]]) -> None:
    """Print the medians of both jobs, and the ratio of each pair's figures."""
    table = Table(title=f"{kind}: {rows} rows, then {rows} more, {len(found)} turns")
    for head in ("job", "snapshot rows/s", "stream rows/s", "CPU s", "task manager MB"):
        table.add_column(head, justify="left" if head == "job" else "right")
    for place, title in enumerate(("generated", "by hand")):
        ours = [pair[place] for pair in found]
        table.add_row(
            title,
            f"{statistics.median(each.snapshot for each in ours):.0f}",
            f"{statistics.median(each.stream for each in ours):.0f}",
            f"{statistics.median(each.cpu_seconds for each in ours):.1f}",
            f"{statistics.median(each.megabytes for each in ours):.0f}",
        )
    console.print(table)
    ratios = [
        statistics.median(take(one) / take(other) for one, other in found)
        for take in (lambda m: m.snapshot, lambda m: m.stream, lambda m: m.cpu_seconds)
    ]
    console.print(
        f"ways {kind}: generated against by hand: snapshot {ratios[0]:.2f} x, "
        f"stream {ratios[1]:.2f} x, CPU {ratios[2]:.2f} x"
    )


@click.command()
@click.option("--target", type=click.Choice(KINDS), default="mysql", show_default=True)
@click.option("--rows", default=150_000, show_default=True, help="Rows of each phase.")
@click.option("--turns", default=3, show_default=True, help="Runs of each job.")
@click.option("--home", type=click.Path(path_type=Path), default=None, help="The lab's folder.")
def main(*, target: TargetKind, rows: int, turns: int, home: Path | None) -> None:
    """Measure, and print ratios."""
    console = Console(highlight=False, soft_wrap=True)
    folder = home or resolve_home(None).with_name("ways")
    found: list[tuple[Measured, Measured]] = []
    try:
        up(folder, "mariadb", target, tell=console.print)
        stage = Stage(folder)
        os.environ.update(environment(stage.state))
        let_create(stage)
        # The first jobs of a cluster load and compile classes; they are not counted.
        measure(stage, 1, 2_000, hand=False)
        measure(stage, 2, 2_000, hand=True)
        for turn in range(turns):
            pair = {
                hand: measure(stage, 10 * turn + 10 + hand, rows, hand=hand)
                for hand in ((False, True) if turn % 2 == 0 else (True, False))
            }
            found.append((pair[False], pair[True]))
            console.print(f"turn {turn + 1}: generated {pair[False]}, by hand {pair[True]}")
    finally:
        down(folder)
    show(console, target, rows, found)


if __name__ == "__main__":
    main()
