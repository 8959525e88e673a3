"""A stream of this package against the job that one writes by hand, for one way of moving rows.

Run with `make bench-ways TARGET=postgres`; `debezium`, `pyflink`, `native` (a pipeline file as
generated SQL against Flink CDC's own client) and `native-home` (this package's use of that client
against one's own) are ways, too. Real servers (StarRocks: the stand-in): a lab is started, and
stopped at the end. The same rows go through both jobs in turns, first as a snapshot, then as a
stream. By hand is what the documents show that the project started from (`hands.py`,
`pipelines.py`). Machines are noisy: read the ratios.
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
from confluent_kafka import Consumer, TopicPartition
from hands import (
    FIRST_ID,
    connect_url,
    delete_connector,
    jars,
    submit_connector,
    submit_script,
    submit_sql,
)
from lab_jobs import BUDGET_SECONDS, cpu_of, process_of, terms_of, wait_streaming, wired
from pipelines import runtime_of, submit_pipeline
from rich.console import Console
from rich.table import Table

from cdc_assets import (
    KafkaConnectResource,
    PyFlinkResource,
    ServerIdRange,
    StreamSpec,
    TableRef,
)
from cdc_assets.core.stream import TargetKind
from cdc_assets.errors import LabError
from cdc_assets.lab import connect_server, flink_cdc, postgres_server
from cdc_assets.lab.cache import Cache
from cdc_assets.lab.dagster_services import environment
from cdc_assets.lab.flink_cdc import HOME_VARIABLE, FlinkCdc
from cdc_assets.lab.home import resolve_home
from cdc_assets.lab.kafka_server import TOPIC_PREFIX
from cdc_assets.lab.lab import down, up
from cdc_assets.lab.pyflink_interpreter import ensure_interpreter, script_environment
from cdc_assets.lab.stage import Stage
from cdc_assets.lab.target_systems import KINDS
from cdc_assets.lab.workload import ORDERS, Login
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.ports import Launch, MakingTarget

_BATCH = 1000
_WARM_ROWS = 2_000
_WARMING = 5  # added to a job's number
_IDS = ServerIdRange(FIRST_ID, FIRST_ID + 49)
_SCRIPT = Path(__file__).with_name("pyflink_stream.py")
# Debezium's snapshot is over some moments after its last record; nothing that both jobs tell.
_CONNECTOR_SECONDS = 5.0
# How the managers of a lab are started when it comes up.
_USUAL: dict[Path, Mapping[str, tuple[str, ...]]] = {}


@dataclass(frozen=True)
class Way:
    """A way of moving rows.

    Attributes:
        target: The lab's target.
        by_hand: Starts the job by hand, given a name and a job id.
        works: The services whose processor time counts; the memory is the last one's.
        needs_home: Whether Flink CDC with its sink `kafka` is needed, which no registry has.
    """

    target: TargetKind
    by_hand: Callable[[Stage, str, str], None] = submit_sql
    works: tuple[str, ...] = ("jobmanager", "taskmanager")
    needs_home: bool = False


WAYS: Mapping[str, Way] = {
    **{kind: Way(kind) for kind in KINDS},
    "debezium": Way("kafka", submit_connector, (connect_server.NAME,)),
    "pyflink": Way("postgres", submit_script),
    "native": Way("kafka", submit_pipeline, needs_home=True),
    "native-home": Way("kafka", submit_pipeline, needs_home=True),
}


@dataclass(frozen=True)
class Measured:
    """What one job did.

    Attributes:
        snapshot: Rows a second from the submission until the target held the first copy.
        stream: Rows a second from the first of as many inserts until the target held them.
        cpu_seconds: Of the processes that run the job, over both.
        megabytes: Resident memory of the one that moves the rows, at the end.
        terms: What makes it comparable: Flink's parallelism, checkpoint interval and mode.
    """

    snapshot: float
    stream: float
    cpu_seconds: float
    megabytes: float
    terms: tuple[object, ...]


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


def measure(stage: Stage, title: str, number: int, rows: int, *, hand: bool) -> Measured:
    """Run one job from its first copy through as many inserts."""
    way, name = WAYS[title], f"orders_{number}"
    debezium = title == "debezium"
    if way.needs_home:
        runtime = runtime_of(stage, name, native=_is_native(title, hand=hand))
    else:
        runtime = _runtime(stage, title, name)
    spec = runtime.spec
    _fill(stage.source, rows)
    shapes = runtime.source.shapes(runtime.source.endpoint, spec.tables)
    if not isinstance(runtime.target, MakingTarget):
        raise LabError(f"{spec.target_kind}: the target makes no tables")
    # Debezium's topics by hand are called by its own rule, and made by the worker.
    arrives = f"{name}.source.orders" if debezium and hand else name
    if arrives == name:
        runtime.target.make_missing(spec, shapes)
    processes = [process_of(stage, each) for each in way.works]
    cpu, job_id = sum(map(cpu_of, processes)), uuid.uuid4().hex
    began = time.monotonic()
    try:
        if hand:
            way.by_hand(stage, name, job_id)
        else:
            launch = Launch(job_id, f"ways:{number}", spec, runtime.source.endpoint)
            runtime.engine.launch(launch)
        alive = None if debezium and hand else job_id
        _wait(runtime, alive, arrives, rows)
        copied = time.monotonic()
        if debezium:
            time.sleep(_CONNECTOR_SECONDS)
        else:
            wait_streaming(runtime, job_id)
        inserted = time.monotonic()
        _double(stage.source, rows)
        _wait(runtime, alive, arrives, 2 * rows)
        ended = time.monotonic()
        return Measured(
            rows / (copied - began),
            rows / (ended - inserted),
            sum(map(cpu_of, processes)) - cpu,
            processes[-1].memory_info().rss / 1e6,
            () if debezium else terms_of(stage, job_id),
        )
    finally:
        if debezium and hand:
            delete_connector(stage, name)
        else:
            runtime.engine.cancel(job_id, budget_seconds=120)


def measure_warm(stage: Stage, title: str, number: int, rows: int, *, hand: bool) -> Measured:
    """Do the same on a cluster that has the right class path, and has run such a job before."""
    way = WAYS[title]
    if way.needs_home and _fit(stage, native=_is_native(title, hand=hand)):
        measure(stage, title, number + _WARMING, _WARM_ROWS, hand=hand)
    return measure(stage, title, number, rows, hand=hand)


def _is_native(title: str, *, hand: bool) -> bool:
    return hand or title == "native-home"


def _fit(stage: Stage, *, native: bool) -> bool:
    """Return whether the cluster was started anew: SQL's connector hides Flink CDC's classes."""
    usual = _USUAL.setdefault(stage.home, flink_cdc.manager_commands(stage.state))
    if not native:
        return flink_cdc.restart_managers(stage.home, usual)
    before = flink_cdc.manager_commands(stage.state)
    flink_cdc.prepare(stage.home)
    return flink_cdc.manager_commands(stage.state) != before


def _runtime(stage: Stage, title: str, name: str) -> StreamRuntime:
    spec = StreamSpec(
        "ways",
        (TableRef("source", "orders", name),),
        _IDS,
        environment(stage.state).get("CDC_TARGET_DATABASE", ""),
        target_kind=WAYS[title].target,
        engine="debezium" if title == "debezium" else "flink",
    )
    from resources.targets import target  # noqa: PLC0415 - reads the environment of this lab

    return wired(stage, spec, target, _engine(stage, title, name))


def _engine(stage: Stage, title: str, name: str) -> PyFlinkResource | KafkaConnectResource | None:
    """Return what runs the stream in place of generated SQL."""
    if title == "debezium":
        return KafkaConnectResource(
            rest_url=connect_url(stage),
            history_directory=str(connect_server.history_folder(stage.home)),
        )
    if title == "pyflink":
        env, cache = environment(stage.state), Cache(stage.state.cache)
        return PyFlinkResource(
            rest_url=env["FLINK_REST_URL"],
            checkpoint_directory=env["FLINK_CHECKPOINT_DIR"],
            savepoint_directory=env["FLINK_SAVEPOINT_DIR"],
            script=str(_SCRIPT),
            python_executable=str(ensure_interpreter(cache)),
            jars=[str(jar) for jar in jars(stage)],
            environment={**script_environment(cache), "WAYS_TARGET": name},
        )
    return None


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


def _wait(runtime: StreamRuntime, job_id: str | None, name: str, rows: int) -> None:
    """Wait until the target holds so many rows."""
    deadline = time.monotonic() + BUDGET_SECONDS
    while time.monotonic() < deadline:
        if (
            _may_hold(runtime, name, rows)
            and runtime.target.count(name, timeout_seconds=60) >= rows
        ):
            return
        view = runtime.engine.job(job_id) if job_id else None
        if view is not None and view.state in {"FAILED", "CANCELED", "GONE"}:
            raise LabError(f"the job is {view.state}: {view.failure}")
        time.sleep(0.25)
    raise LabError(f"the target did not hold {rows} rows in {BUDGET_SECONDS:.0f} s")


def _may_hold(runtime: StreamRuntime, name: str, rows: int) -> bool:
    """Return whether a count is worth it: a topic's reads every record, and takes a processor."""
    if runtime.spec.target_kind != "kafka":
        return True
    env = os.environ
    consumer = Consumer(
        {
            "bootstrap.servers": env["CDC_TARGET_BOOTSTRAP_SERVERS"],
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": env["CDC_TARGET_USER"],
            "sasl.password": env["CDC_TARGET_PASSWORD"],
            "group.id": "ways",  # never joined
        }
    )
    try:
        topic = TOPIC_PREFIX + name
        known = consumer.list_topics(topic, timeout=10).topics[topic]
        ends = [
            consumer.get_watermark_offsets(TopicPartition(topic, each), timeout=10)
            for each in known.partitions
        ]
    finally:
        consumer.close()
    return sum(high - low for low, high in ends) >= rows


def show(console: Console, kind: str, rows: int, found: list[tuple[Measured, Measured]]) -> None:
    """Print the medians of both jobs, and the ratio of each pair's figures."""
    table = Table(title=f"{kind}: {rows} rows, then {rows} more, {len(found)} turns")
    for head in ("job", "snapshot rows/s", "stream rows/s", "CPU s", "MB"):
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
@click.option("--way", type=click.Choice(list(WAYS)), default="mysql", show_default=True)
@click.option("--rows", default=150_000, show_default=True, help="Rows of each phase.")
@click.option("--turns", default=3, show_default=True, help="Runs of each job.")
@click.option("--home", type=click.Path(path_type=Path), default=None, help="The lab's folder.")
def main(*, way: str, rows: int, turns: int, home: Path | None) -> None:
    """Measure, and print ratios."""
    console = Console(highlight=False, soft_wrap=True)
    cdc_home = Path(os.environ.get(HOME_VARIABLE, ""))
    if WAYS[way].needs_home and not FlinkCdc(cdc_home, cdc_home, cdc_home).has_kafka:
        console.print(
            f"ways {way}: skipped, no Flink CDC with the sink kafka; name its folder in "
            f"{HOME_VARIABLE}"
        )
        return
    folder = home or resolve_home(None).with_name("ways")
    found: list[tuple[Measured, Measured]] = []
    try:
        up(folder, "mariadb", WAYS[way].target, tell=console.print)
        if way == "debezium":
            connect_server.start(folder)
        stage = Stage(folder)
        os.environ.update(environment(stage.state))
        let_create(stage)
        # The first jobs of a cluster load and compile classes; they are not counted.
        measure_warm(stage, way, 1, _WARM_ROWS, hand=False)
        measure_warm(stage, way, 2, _WARM_ROWS, hand=True)
        for turn in range(turns):
            pair = {
                hand: measure_warm(stage, way, 10 * turn + 10 + hand, rows, hand=hand)
                for hand in ((False, True) if turn % 2 == 0 else (True, False))
            }
            if pair[False].terms != pair[True].terms:
                raise LabError(f"not comparable: {pair[False].terms}, {pair[True].terms}")
            found.append((pair[False], pair[True]))
            console.print(f"turn {turn + 1}: generated {pair[False]}, by hand {pair[True]}")
    finally:
        down(folder)
    show(console, way, rows, found)


if __name__ == "__main__":
    main()
