"""Demo: the seed's story, live: snapshot, stream, blue/green switchover, recovery, proof."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click
from rich.console import Console

from cdc_assets.core.stream import TargetKind
from cdc_assets.errors import LabError, ProofFailed
from cdc_assets.lab.cache import check_platform
from cdc_assets.lab.comparison import compare
from cdc_assets.lab.dagster_api import DagsterApi
from cdc_assets.lab.dagster_services import start_dagster
from cdc_assets.lab.home import resolve_home
from cdc_assets.lab.lab import down, up
from cdc_assets.lab.source_server import ServerKind
from cdc_assets.lab.stage import (
    COMPARED,
    STREAMS,
    Stage,
    TimeLine,
    first_green_row,
)
from cdc_assets.lab.target_systems import KINDS, target_system
from cdc_assets.lab.workload import Writer, add_customer, execute, seed, wait_for_order

_ORDERS = 2_000
_NEW_CUSTOMERS = range(11, 16)
_AT_GREEN_SECONDS = 120.0
_RECOVERY_SECONDS = 150.0
_CHANGE_SECONDS = 30.0


class Story:
    """Tells what happens, with the time since the beginning."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._began = time.monotonic()

    def tell(self, text: str) -> None:
        """Print one line."""
        self._console.print(f"[{time.monotonic() - self._began:6.1f} s] {text}", markup=False)

    def head(self, text: str) -> None:
        """Print the beginning of a part."""
        self._console.print(f"\n== {text}", markup=False)

    def plain(self, text: str) -> None:
        """Print a line without the time."""
        self._console.print(text, markup=False)


def run_demo(
    home: Path,
    source: ServerKind,
    definitions: Path,
    *,
    story: Story,
    target: TargetKind = "mysql",
) -> bool:
    """Play the demonstration; the lab is left up.

    Returns:
        Whether source and target are equal, row by row.

    Raises:
        CdcError: Something did not come up, or did not happen in time.
    """
    title = target_system(target).title
    story.head(f"Lab: {source} as source, {title} as target, Flink 1.20, RDS API stand-in")
    up(home, source, target, tell=story.tell)
    stage = Stage(home)
    seed(stage.source, orders=_ORDERS)
    stage.landing.create_tables()
    url = start_dagster(home, definitions)
    story.tell(f"Dagster UI: {url}")
    api = DagsterApi(url)
    _copy_and_stream(api, story)
    story.head("Insert, update, delete")
    _changes(stage, story)
    writer = Writer(stage.source, first_id=_ORDERS + 1)
    writer.start()
    story.tell("a writer adds 100 rows a second through the endpoint from here on")
    line = TimeLine(stage, story.tell)
    line.start()
    try:
        time.sleep(6.0)
        seconds = _switch(stage, writer, story)
        _wait_recovered(stage, story)
        add_customer(stage.source, 17)
        story.tell("row 17 was written on green")
        time.sleep(3.0)
    finally:
        writer.stop()
        line.stop()
    return _prove(stage, writer, story, seconds)


def _copy_and_stream(api: DagsterApi, story: Story) -> None:
    story.head("Snapshot and stream, materialized through Dagster")
    keys = [[stream, part] for stream in STREAMS for part in ("snapshot", "stream")]
    story.tell(f"materialize {', '.join('/'.join(key) for key in keys)}")
    api.materialize(keys, tell=lambda text: story.tell(f"  {text}"), budget_seconds=240.0)


def _changes(stage: Stage, story: Story) -> None:
    for number in _NEW_CUSTOMERS:
        add_customer(stage.source, number)
    execute(stage.source, "UPDATE source_table SET customer_name = 'changed' WHERE id = 3")
    execute(stage.source, "DELETE FROM source_table WHERE id = 4")
    began = time.monotonic()
    while time.monotonic() - began < _CHANGE_SECONDS:
        found = stage.landing.rows("target_table")
        changed = sum(1 for row in found.values() if row[1] == "changed")
        if (len(found), _NEW_CUSTOMERS[-1] in found, changed) == (14, True, 1):
            story.tell(f"rows 11 to 15, the update and the delete arrived after "
                       f"{time.monotonic() - began:.1f} s")  # fmt: skip
            return
        time.sleep(0.2)
    raise LabError("the first changes did not arrive at the target in time")


def _switch(stage: Stage, writer: Writer, story: Story) -> float:
    """Switch over, and return how long after its end the first green row was visible."""
    story.head("Blue/green switchover through the RDS API")
    deployment = stage.available_deployment()
    before = stage.server_id()
    add_customer(stage.source, 16)
    story.tell(f"row 16 was written on blue (server_id {before}), after the last checkpoint")
    story.tell(f"switchover_blue_green_deployment({deployment})")
    switched = stage.switch_over(deployment)
    story.tell(f"switchover completed after {switched.ended - switched.began:.1f} s; nothing in "
               "this script calls recovery")  # fmt: skip
    after = stage.server_id()
    if after == before:
        raise LabError(f"the endpoint still leads to server_id {before}")
    story.tell(f"the endpoint leads to green (server_id {after})")
    seen = wait_for_order(
        stage.landing.has_order_from,
        first_green_row(writer, after),
        budget_seconds=_AT_GREEN_SECONDS,
    )
    first = writer.first_row_on(after)
    ended = min(switched.ended, first[1] if first else switched.ended)
    story.tell(f"first green row visible at the target, {seen - ended:.1f} s after the switchover")
    return seen - ended


def _wait_recovered(stage: Stage, story: Story) -> None:
    for stream in STREAMS:
        stage.wait_closed(stream, 1, budget_seconds=_RECOVERY_SECONDS)
        story.tell(f"stream {stream}: recovery closed")


def _prove(stage: Stage, writer: Writer, story: Story, seconds: float) -> bool:
    story.head("Proof: both sides row by row, and the target's binlog")
    stage.settle()
    found = compare(stage.source, stage.landing, COMPARED)
    for difference in found:
        story.tell(
            f"{difference.table}: {difference.rows} rows, lost {difference.lost}, "
            f"doubled {difference.doubled}"
        )
    counted = stage.landing.repeated_writes()
    lost = sum(difference.lost for difference in found)
    doubled = sum(difference.doubled for difference in found)
    story.plain(f"\nwriter: {writer.written} row writes, {writer.refused} refused by a break")
    if counted is None:
        story.plain("rows repeated: this target keeps no trace of a row that came twice")
    else:
        story.plain(f"target: {counted[0]} row writes received")
        story.plain(f"rows repeated {counted[1]}")
    story.plain(f"rows lost {lost}")
    story.plain(f"rows doubled {doubled}")
    story.plain(f"first green row visible {seconds:.1f} s after switchover")
    return lost == 0 and doubled == 0


@click.command("demo")
@click.option("--source", type=click.Choice(["mariadb", "mysql"]), default="mariadb",
              show_default=True, help="What plays the source.")  # fmt: skip
@click.option(
    "--target",
    type=click.Choice(KINDS),
    default="mysql",
    show_default=True,
    help="What rows land in.",
)
@click.option("--keep", is_flag=True, help="Leave lab and Dagster running at the end.")
@click.option("--home", type=click.Path(path_type=Path), default=None, help="The lab's folder.")
@click.option("--definitions", type=click.Path(path_type=Path), default=Path("definitions.py"),
              show_default=True, help="The Dagster definitions of the two streams.")  # fmt: skip
def demo(
    *,
    source: ServerKind,
    target: TargetKind,
    keep: bool,
    home: Path | None,
    definitions: Path,
) -> None:
    """Play the main job on real servers, with a blue/green switchover in the middle."""
    check_platform()
    story = Story()
    folder = home or resolve_home(None).with_name("demo")
    down(folder)
    equal = False
    try:
        equal = run_demo(folder, source, definitions, story=story, target=target)
        if keep:
            story.plain(f"the lab goes on; stop it with: cdc-assets lab down --home {folder}")
    finally:
        if not keep:
            _down(folder, story.tell)
    if not equal:
        raise ProofFailed("source and target differ")


def _down(home: Path, tell: Callable[[str], None]) -> None:
    with suppress(KeyboardInterrupt):
        down(home, tell=tell)
