"""Kills: the task manager is killed many times under the writer, and everything is counted."""

from __future__ import annotations

import random
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click

from cdc_assets.core.stream import TargetKind
from cdc_assets.errors import LabError, ProofFailed
from cdc_assets.lab.cache import check_platform
from cdc_assets.lab.comparison import compare
from cdc_assets.lab.dagster_api import DagsterApi
from cdc_assets.lab.dagster_services import start_dagster
from cdc_assets.lab.demo import Story
from cdc_assets.lab.home import resolve_home
from cdc_assets.lab.lab import down, kill_service, start_service, up
from cdc_assets.lab.source_server import ServerKind
from cdc_assets.lab.stage import COMPARED, STREAMS, Stage, TimeLine
from cdc_assets.lab.starrocks_landing import StarRocksLanding
from cdc_assets.lab.target_systems import KINDS, target_system
from cdc_assets.lab.workload import Writer, seed

_ORDERS = 2_000
_KILLED = "taskmanager"
# The step of a recovery at which its job reads the binlog (`operations.go_on`).
_READING = "reading"
# Checkpoints are 3 s apart, so a kill falls anywhere between two of them.
_LOAD_WINDOW = (2.0, 6.0)
_DOWN_SECONDS = 2.0
_START_SECONDS = 90.0
_READING_SECONDS = 180.0
_CLOSED_SECONDS = 300.0
_SETTLE_SECONDS = 120.0


@dataclass(frozen=True)
class Tally:
    """What many kills left at the target.

    Attributes:
        kills: Of the task manager.
        written: Row writes of the writer.
        received: Row writes that the target received; None where nothing tells.
        repeated: How many of these it had received before.
    """

    target: TargetKind
    kills: int
    written: int
    lost: int
    doubled: int
    received: int | None
    repeated: int | None

    @property
    def line(self) -> str:
        """Return the line of figures that the run ends with."""
        again = "unknown" if self.repeated is None else f"{self.repeated} of {self.received}"
        return (
            f"kills {self.kills}, target {self.target}, rows written {self.written}, "
            f"rows lost {self.lost}, rows doubled {self.doubled}, rows repeated {again}"
        )


def run_kills(
    home: Path,
    count: int,
    *,
    source: ServerKind,
    target: TargetKind,
    definitions: Path,
    story: Story,
) -> Tally:
    """Kill the task manager under load until the count is reached; the sensors recover.

    Returns:
        What a comparison of whole tables found at the end.

    Raises:
        CdcError: Something did not come up, or a recovery did not close in time.
    """
    title = target_system(target).title
    story.head(f"Lab: {source} as source, {title} as target")
    up(home, source, target, tell=story.tell)
    stage = Stage(home)
    seed(stage.source, orders=_ORDERS)
    stage.landing.create_tables()
    api = DagsterApi(start_dagster(home, definitions))
    keys = [[stream, part] for stream in STREAMS for part in ("snapshot", "stream")]
    api.materialize(keys, tell=lambda _: None, budget_seconds=300.0)
    writer = Writer(stage.source, first_id=_ORDERS + 1)
    line = TimeLine(stage, story.tell)
    writer.start()
    line.start()
    try:
        for number in range(1, count + 1):
            seconds = _kill_once(stage, home)
            story.tell(f"kill {number} of {count}: both streams read again after {seconds:.1f} s")
    finally:
        writer.stop()
        line.stop()
    for stream in STREAMS:
        stage.wait_closed(stream, 1, budget_seconds=_CLOSED_SECONDS)
    stage.settle(budget_seconds=_SETTLE_SECONDS)
    found = compare(stage.source, stage.landing, COMPARED)
    if isinstance(stage.landing, StarRocksLanding):
        names = stage.landing.exactly_once
        loaded, again = stage.landing.repeated_writes(names)
        story.tell(f"{', '.join(names)}, exactly-once: rows loaded {loaded}, of them again {again}")
    received, repeated = stage.landing.repeated_writes() or (None, None)
    return Tally(
        target,
        count,
        writer.written,
        sum(difference.lost for difference in found),
        sum(difference.doubled for difference in found),
        received,
        repeated,
    )


def _kill_once(stage: Stage, home: Path) -> float:
    """Kill after a random time under load; return how long it took until both streams read again.

    The recovery then compares row counts; the next kill may fall into that.
    """
    before = {stream: _readings(stage, stream) for stream in STREAMS}
    time.sleep(random.SystemRandom().uniform(*_LOAD_WINDOW))
    began = time.monotonic()
    kill_service(home, _KILLED, signal.SIGKILL)
    _start_again(home)
    while any(_readings(stage, stream) <= before[stream] for stream in STREAMS):
        if time.monotonic() - began > _READING_SECONDS:
            raise LabError(f"a stream did not read again within {_READING_SECONDS:.0f} s")
        time.sleep(0.2)
    return time.monotonic() - began


def _start_again(home: Path) -> None:
    """Start the killed one, whose port may be taken for a moment by what is left of it."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        time.sleep(_DOWN_SECONDS)
        try:
            start_service(home, _KILLED)
        except LabError:
            if time.monotonic() > deadline:
                raise
            continue
        return


def _readings(stage: Stage, stream: str) -> int:
    """Return how many recoveries came as far as a job that reads."""
    return sum(1 for step in stage.ledger.steps(stream) if step.step == _READING)


@click.command("kills")
@click.argument("count", type=click.IntRange(1, 200), default=20)
@click.option("--source", type=click.Choice(["mariadb", "mysql"]), default="mariadb",
              show_default=True, help="What plays the source.")  # fmt: skip
@click.option(
    "--target",
    type=click.Choice(KINDS),
    default="mysql",
    show_default=True,
    help="What rows land in.",
)
@click.option("--home", type=click.Path(path_type=Path), default=None, help="The lab's folder.")
@click.option("--definitions", type=click.Path(path_type=Path), default=Path("definitions.py"),
              show_default=True, help="The Dagster definitions of the two streams.")  # fmt: skip
def kills(
    *, count: int, source: ServerKind, target: TargetKind, home: Path | None, definitions: Path
) -> None:
    """Kill the task manager COUNT times under a writer, and count lost and repeated rows."""
    check_platform()
    story = Story()
    folder = home or resolve_home(None).with_name("kills")
    down(folder)
    try:
        tally = run_kills(
            folder, count, source=source, target=target, definitions=definitions, story=story
        )
    finally:
        with suppress(KeyboardInterrupt):
            down(folder)
    story.plain(tally.line)
    if tally.lost or tally.doubled:
        raise ProofFailed("rows were lost or doubled")
