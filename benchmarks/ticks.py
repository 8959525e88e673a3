"""How long the sensors' ticks take, and how long definitions take to load.

Run with `make bench-ticks`. Real servers: the lab is started with both streams under the steady
writer, and stopped at the end. Ticks are timed by Dagster itself. Loading is compared with
a workspace that defines nothing, in the same run. Machines are noisy: read the ratios.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import click
import requests
from rich.console import Console

from cdc_assets.errors import LabError
from cdc_assets.lab.dagster_api import DagsterApi
from cdc_assets.lab.dagster_services import start_dagster
from cdc_assets.lab.home import resolve_home
from cdc_assets.lab.lab import down, up
from cdc_assets.lab.stage import STREAMS, Stage
from cdc_assets.lab.workload import Writer, seed

_ORDERS = 2_000
_AIM_SECONDS = 1.0
_SECONDS = 60
_QUERY = """
{ sensorsOrError(repositorySelector:
    {repositoryLocationName: "mysql_cdc", repositoryName: "__repository__"}) {
  ... on Sensors { results { name sensorState { ticks(limit: 100) {
    status timestamp endTimestamp } } } } } }"""


def ticks(url: str, since: float) -> dict[str, list[float]]:
    """Return the seconds of each sensor's ticks that began after a moment and have ended."""
    reply = requests.post(f"{url}/graphql", json={"query": _QUERY}, timeout=_SECONDS).json()
    return {
        sensor["name"]: [
            tick["endTimestamp"] - tick["timestamp"]
            for tick in sensor["sensorState"]["ticks"]
            if tick["timestamp"] > since and tick["endTimestamp"] is not None
        ]
        for sensor in reply["data"]["sensorsOrError"]["results"]
    }


def loading(folder: Path) -> float:
    """Return the seconds that `dagster definitions validate` takes."""
    began = time.monotonic()
    done = subprocess.run(  # noqa: S603 - this interpreter's own command
        [str(Path(sys.executable).with_name("dagster")), "definitions", "validate",
         "-w", "workspace.yaml"],
        cwd=folder, capture_output=True, text=True, timeout=10 * _SECONDS, check=False,
    )  # fmt: skip
    if done.returncode:
        raise LabError(f"dagster definitions validate ended with {done.returncode}")
    return time.monotonic() - began


def empty_workspace(folder: Path) -> Path:
    """Return a folder whose workspace defines nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "definitions.py").write_text("import dagster as dg\n\ndefs = dg.Definitions()\n")
    (folder / "workspace.yaml").write_text(
        "load_from:\n  - python_file:\n      relative_path: definitions.py\n"
    )
    return folder


@click.command()
@click.option("--seconds", default=120, show_default=True, help="How long ticks are watched.")
@click.option("--home", type=click.Path(path_type=Path), default=None, help="The lab's folder.")
def main(*, seconds: int, home: Path | None) -> None:
    """Measure, and print ratios."""
    console = Console(highlight=False, soft_wrap=True)
    folder = home or resolve_home(None).with_name("ticks")
    root = Path(__file__).parents[1]
    try:
        up(folder, tell=console.print)
        empty = empty_workspace(folder / "empty")
        pairs = [(loading(root), loading(empty)) for _ in range(3)]
        stage = Stage(folder)
        seed(stage.source, orders=_ORDERS)
        stage.landing.create_tables()
        url = start_dagster(folder, root / "definitions.py")
        keys = [[stream, part] for stream in STREAMS for part in ("snapshot", "stream")]
        DagsterApi(url).materialize(keys, tell=lambda _: None, budget_seconds=300.0)
        writer = Writer(stage.source, first_id=_ORDERS + 1)
        writer.start()
        try:
            since = time.time()
            time.sleep(seconds)
            found = ticks(url, since)
        finally:
            writer.stop()
    finally:
        down(folder)
    for name, taken in sorted(found.items()):
        if not taken:
            console.print(f"{name}: no tick within {seconds} s")
            continue
        console.print(
            f"{name}: {len(taken)} ticks, median {statistics.median(taken):.2f} s, "
            f"worst {max(taken):.2f} s, {max(taken) / _AIM_SECONDS:.2f} x the aim of 1 s"
        )
    ours, none = (statistics.median(each) for each in zip(*pairs, strict=True))
    console.print(f"definitions validate: {ours:.1f} s, {ours / none:.2f} x an empty workspace")


if __name__ == "__main__":
    main()
