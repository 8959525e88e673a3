"""Switchovers: the same switchover many times over, with faults, and one line of figures."""

from __future__ import annotations

import random
import signal
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click

from cdc_assets.core.stream import TargetKind
from cdc_assets.errors import CdcError, LabError, ProofFailed
from cdc_assets.lab.cache import check_platform
from cdc_assets.lab.comparison import compare
from cdc_assets.lab.dagster_api import DagsterApi
from cdc_assets.lab.dagster_services import DAEMON, start_dagster
from cdc_assets.lab.demo import Story
from cdc_assets.lab.endpoint_control import EndpointControl
from cdc_assets.lab.home import resolve_home
from cdc_assets.lab.lab import down, kill_service, start_service, up
from cdc_assets.lab.source_server import ServerKind
from cdc_assets.lab.stage import COMPARED, STREAMS, Stage, TimeLine, first_green_row
from cdc_assets.lab.target_systems import KINDS
from cdc_assets.lab.workload import Writer, seed, wait_for_order

FAULTS = ("jobmanager", "taskmanager", "dagster-daemon", "connection")
_ORDERS = 2_000
_ROW_SECONDS = 300.0
_CLOSED_SECONDS = 420.0
# A fault falls between a moment before the switchover and well after its usual end.
_FAULT_WINDOW = (0.0, 14.0)
_DOWN_SECONDS = 2.0


@dataclass(frozen=True)
class Round:
    """One switchover.

    Attributes:
        seconds: From the end of the switchover to the first green row at the target.
        repeated: Row writes that the target received again in this round.
    """

    number: int
    source: ServerKind
    fault: str
    lost: int
    doubled: int
    repeated: int
    seconds: float


class Proof:
    """Many switchovers in a row on one lab; each one's new green is made of the last one's blue."""

    def __init__(
        self,
        home: Path,
        source: ServerKind,
        target: TargetKind,
        definitions: Path,
        story: Story,
    ) -> None:
        self._home = home
        self._source: ServerKind = source
        self._story = story
        up(home, source, target, tell=story.tell)
        self._stage = Stage(home)
        seed(self._stage.source, orders=_ORDERS)
        self._stage.landing.create_tables()
        api = DagsterApi(start_dagster(home, definitions))
        keys = [[stream, part] for stream in STREAMS for part in ("snapshot", "stream")]
        api.materialize(keys, tell=_ignore, budget_seconds=300.0)
        self._next = _ORDERS + 1
        self._repeated = 0

    def run(self, number: int, fault: str, *, fresh: bool) -> Round:
        """Switch over once under the writer, with a fault or without, and compare everything."""
        stage, story = self._stage, self._story
        if not fresh:
            stage.new_deployment()
        closed = {stream: stage.closed_recoveries(stream) for stream in STREAMS}
        writer = Writer(stage.source, first_id=self._next)
        line = TimeLine(stage, story.tell)
        writer.start()
        line.start()
        try:
            time.sleep(4.0)
            before = stage.server_id()
            saboteur = Saboteur(self._home, fault, story.tell)
            saboteur.start()
            switched = stage.switch_over(stage.available_deployment())
            after = stage.server_id()
            if after == before:
                raise LabError(f"the endpoint still leads to server_id {before}")
            seen = wait_for_order(
                stage.landing.has_order_from,
                first_green_row(writer, after),
                budget_seconds=_ROW_SECONDS,
            )
            saboteur.join(timeout=120)
            for stream in STREAMS:
                stage.wait_closed(stream, closed[stream] + 1, budget_seconds=_CLOSED_SECONDS)
            time.sleep(2.0)
        finally:
            writer.stop()
            line.stop()
        self._next = writer.next_id + 1
        return self._judge(number, fault, seen - switched.ended)

    def _judge(self, number: int, fault: str, seconds: float) -> Round:
        stage = self._stage
        stage.settle(budget_seconds=120.0)
        found = compare(stage.source, stage.landing, COMPARED)
        _, repeated = stage.landing.repeated_writes() or (0, 0)
        new, self._repeated = repeated - self._repeated, repeated
        return Round(
            number,
            self._source,
            fault,
            sum(difference.lost for difference in found),
            sum(difference.doubled for difference in found),
            new,
            max(0.0, seconds),
        )


class Saboteur(threading.Thread):
    """Kills one thing at a random moment around the switchover, and starts it again soon after."""

    def __init__(self, home: Path, fault: str, tell: Callable[[str], None]) -> None:
        super().__init__(name="saboteur", daemon=True)
        self._home = home
        self._fault = fault
        self._tell = tell

    def run(self) -> None:
        """Do it."""
        if self._fault == "none":
            return
        first, last = _FAULT_WINDOW
        time.sleep(random.SystemRandom().uniform(first, last))
        self._tell(f"fault: {self._fault} is killed")
        try:
            self._strike()
        except CdcError as error:
            self._tell(f"fault: {error}")

    def _strike(self) -> None:
        if self._fault == "connection":
            from cdc_assets.lab.home import require_state  # noqa: PLC0415 - only here

            service = require_state(self._home).services["endpoint"]
            EndpointControl(service.host, service.control_port or 0, 5.0).drop()
            return
        name = DAEMON if self._fault == "dagster-daemon" else self._fault
        kill_service(self._home, name, signal.SIGKILL)
        time.sleep(_DOWN_SECONDS)
        start_service(self._home, name)
        self._tell(f"fault: {self._fault} is up again")


def _ignore(_: str) -> None:
    """Tell nothing."""


def last_line(rounds: list[Round]) -> str:
    """Return the line of figures that the run ends with."""
    seconds = [found.seconds for found in rounds]
    return (
        f"switchovers {len(rounds)}, rows lost {sum(found.lost for found in rounds)}, "
        f"rows doubled {sum(found.doubled for found in rounds)}, first green row median "
        f"{statistics.median(seconds):.1f} s, worst {max(seconds):.1f} s"
    )


def plan(count: int) -> list[tuple[ServerKind, str]]:
    """Return source and fault of each round: half on each source, a fault in every second one.

    Example:
        >>> plan(4)
        [('mariadb', 'none'), ('mariadb', 'jobmanager'), ('mysql', 'none'), ('mysql', 'jobmanager')]
    """
    half = (count + 1) // 2
    return _turns("mariadb", half) + _turns("mysql", count - half)


def _turns(source: ServerKind, count: int) -> list[tuple[ServerKind, str]]:
    faults = [FAULTS[(turn // 2) % len(FAULTS)] if turn % 2 else "none" for turn in range(count)]
    return [(source, fault) for fault in faults]


def run_rounds(
    home: Path,
    wanted: Sequence[tuple[ServerKind, str]],
    target: TargetKind,
    definitions: Path,
    story: Story,
) -> list[Round]:
    """Run the rounds, each with its source and fault, on one lab per kind of source."""
    rounds: list[Round] = []
    proof: Proof | None = None
    last: ServerKind | None = None
    for number, (source, fault) in enumerate(wanted, start=1):
        fresh = source != last
        if fresh:
            down(home)
            proof = Proof(home, source, target, definitions, story)
            last = source
        if proof is None:
            raise LabError("no lab")
        story.head(f"switchover {number} of {len(wanted)}: {source}, fault: {fault}")
        done = proof.run(number, fault, fresh=fresh)
        rounds.append(done)
        story.tell(
            f"switchover {number}: lost {done.lost}, doubled {done.doubled}, repeated "
            f"{done.repeated}, first green row after {done.seconds:.1f} s, fault: {fault}"
        )
    return rounds


@click.command("switchovers")
@click.argument("count", type=click.IntRange(1, 200), default=20)
@click.option("--source", type=click.Choice(["mariadb", "mysql"]), default=None,
              help="Only this source; default half of the rounds on each.")  # fmt: skip
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
def switchovers(
    *,
    count: int,
    source: ServerKind | None,
    target: TargetKind,
    home: Path | None,
    definitions: Path,
) -> None:
    """Switch over COUNT times under a writer, half of them with a fault, and count lost rows."""
    check_platform()
    story = Story()
    folder = home or resolve_home(None).with_name("switchovers")
    try:
        wanted = [each for each in plan(count) if source is None or source == each[0]]
        rounds = run_rounds(folder, wanted, target, definitions, story)
    finally:
        with suppress(KeyboardInterrupt):
            down(folder)
    story.plain(last_line(rounds))
    if any(found.lost or found.doubled for found in rounds):
        raise ProofFailed("rows were lost or doubled")
