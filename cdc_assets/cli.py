"""The console script `cdc-assets`."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import click
from rich.console import Console
from rich.table import Table

from cdc_assets.errors import CdcError, ConfigurationError
from cdc_assets.pipeline.command import pipeline
from cdc_assets.smt.command import generate

_STOP_PURPOSE = "person"


class CdcGroup(click.Group):
    """A group whose errors are one line, and whose lab commands load only when they are called."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; an error of the package is one line on stderr."""
        try:
            return cast("object", super().invoke(ctx))
        except CdcError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, those of the lab last."""
        return [*super().list_commands(ctx), *_LAB]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; one of the lab is imported here."""
        if cmd_name in _LAB:
            return _lab_command(cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing the lab."""
        del ctx
        own = [(name, self.commands[name].get_short_help_str()) for name in sorted(self.commands)]
        with formatter.section("Commands"):
            formatter.write_dl([*own, *((name, text) for name, (_, text) in _LAB.items())])


def _import_lab() -> click.Command:
    from cdc_assets.lab.commands import lab  # noqa: PLC0415 - the extra `lab` may be missing

    return lab


def _import_demo() -> click.Command:
    from cdc_assets.lab.demo import demo  # noqa: PLC0415 - the extra `lab` may be missing

    return demo


def _import_switchovers() -> click.Command:
    from cdc_assets.lab.switchovers import switchovers  # noqa: PLC0415 - the extra `lab` may be missing

    return switchovers


def _import_kills() -> click.Command:
    from cdc_assets.lab.kills import kills  # noqa: PLC0415 - the extra `lab` may be missing

    return kills


_LAB: Mapping[str, tuple[Callable[[], click.Command], str]] = {
    "lab": (_import_lab, "Real servers on this machine: up, status, switchover, down."),
    "demo": (_import_demo, "A stream that survives a blue/green upgrade, live."),
    "kills": (_import_kills, "Many kills of the task manager under load, counted."),
    "switchovers": (_import_switchovers, "Many switchovers in a row, with faults, counted."),
}


def _lab_command(name: str) -> click.Command:
    load, _ = _LAB[name]
    try:
        return load()
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"needs the module {error.name!r}, which is not installed",
            field=f"cdc-assets {name}",
            hint="Install dagster-cdc-assets[lab]",
        ) from None


@click.group(cls=CdcGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dagster-cdc-assets")
@click.option(
    "--definitions",
    "definitions",
    type=click.Path(path_type=Path),
    default=Path("definitions.py"),
    show_default=True,
    help="The deployment's definitions file, or its folder.",
)
@click.pass_context
def cli(ctx: click.Context, definitions: Path) -> None:
    """MySQL change streams that survive a blue/green upgrade."""
    ctx.obj = definitions


cli.add_command(generate)
cli.add_command(pipeline)

_STREAM = click.argument("stream")
_JSON = click.option("--json", "as_json", is_flag=True, help="For programs.")


@cli.command()
@click.pass_obj
def streams(definitions: Path) -> None:
    """List the streams of the definitions file."""
    from cdc_assets.definitions_file import streams_of  # noqa: PLC0415 - loads Dagster

    table = _table("stream", "tables", "target tables", "server ids", "goes on by")
    for name, access in sorted(streams_of(definitions).items()):
        spec = access.spec
        tables = ", ".join(each.label for each in spec.tables)
        names = ", ".join(spec.target_names)
        table.add_row(name, tables, names, str(spec.server_ids), spec.resume_form)
    _print(table)


@cli.command()
@_STREAM
@_JSON
@click.pass_obj
def explain(definitions: Path, stream: str, *, as_json: bool) -> None:
    """Say what would be done now and why, without doing it."""
    from cdc_assets.core.explanation import explain as put_into_words  # noqa: PLC0415 - as above
    from cdc_assets.definitions_file import stream_of  # noqa: PLC0415 - loads Dagster
    from cdc_assets.operations.look import look_twice  # noqa: PLC0415 - as above
    from cdc_assets.operations.recover import open_recovery  # noqa: PLC0415 - as above

    rt = stream_of(definitions, stream).connect().runtime
    seen, decision = look_twice(rt)
    recovery = open_recovery(rt)
    rows = rt.ledger.steps(stream, recovery.recovery_id) if recovery else ()
    said = put_into_words(seen.observation, decision, recovery, [row.step for row in rows])
    if as_json:
        _print_json(dataclasses.asdict(said) | {"facts": [list(fact) for fact in said.facts]})
        return
    click.echo(f"stream {said.stream}: {said.decision}: {said.reason}")
    for name, value in said.facts:
        click.echo(f"  {name:<18} {value}")
    if not said.steps:
        click.echo("  next               nothing")
    for number, step in enumerate(said.steps, 1):
        click.echo(f"  {'next' if number == 1 else '':<18} {number}. {step}")


@cli.command()
@_STREAM
@_JSON
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.pass_obj
def positions(definitions: Path, stream: str, *, as_json: bool, limit: int) -> None:
    """Print the ledger of a stream: incarnations, positions, recoveries, row counts."""
    from cdc_assets.definitions_file import stream_of  # noqa: PLC0415 - loads Dagster
    from cdc_assets.operations.paused import paused_tables  # noqa: PLC0415 - as above

    rt = stream_of(definitions, stream).connect().runtime
    ledger, paused = rt.ledger, paused_tables(rt)
    intent, reason = ledger.intent(stream)
    incarnations = ledger.incarnations(stream)[-limit:]
    seen = ledger.positions(stream, limit=limit)
    steps = ledger.steps(stream)[-limit:]
    verdicts = ledger.reconciliations(stream, limit=limit)
    if as_json:
        _print_json(
            {
                "stream": stream,
                "ledger": ledger.ledger_id,
                "intent": {"intent": intent, "reason": reason},
                "paused": [each.text for each in paused],
                "incarnations": [dataclasses.asdict(row) for row in incarnations],
                "positions": [
                    dataclasses.asdict(row) | {"position": str(row.position)} for row in seen
                ],
                "steps": [dataclasses.asdict(row) for row in steps],
                "reconciliations": [dataclasses.asdict(row) for row in verdicts],
            }
        )
        return
    click.echo(f"stream {stream}, ledger {ledger.ledger_id}, automation {intent} {reason}".strip())
    for each in paused:
        click.echo(each.text)
    launches = _table("incarnation", "kind", "opened", "server", "began with", "job")
    for row in incarnations:
        launches.add_row(str(row.number), row.kind, _time(row.opened_at), f"{row.host}:{row.port}",
                         row.restored_from, row.job_id)  # fmt: skip
    places = _table("incarnation", "seen", "tables", "position", "checkpoint or savepoint")
    for place in seen:
        places.add_row(str(place.incarnation), _time(place.observed_at), place.tables,
                       str(place.position), place.path)  # fmt: skip
    recoveries = _table("recovery", "at", "step", "detail")
    # What tables were at a launch is long, and 'cdc-assets schema' compares it.
    for step in (each for each in steps if each.step != "schema"):
        recoveries.add_row(step.recovery, _time(step.at), step.step, _detail(step.detail))
    counts = _table("table", "at", "verdict", "source", "target", "reason")
    for verdict in verdicts:
        counts.add_row(verdict.table, _time(verdict.at), verdict.verdict,
                       _number(verdict.source_count), _number(verdict.target_count),
                       verdict.reason)  # fmt: skip
    for table in (launches, places, recoveries, counts):
        if table.row_count:
            _print(table)


@cli.command("as-of")
@_STREAM
@click.argument("table")
@click.argument("position")
@click.option("--incarnation", type=int, help="Whose server a file:offset is about; the newest.")
@_JSON
@click.pass_obj
def as_of(
    definitions: Path,
    stream: str,
    table: str,
    position: str,
    *,
    incarnation: int | None,
    as_json: bool,
) -> None:
    """Say which version of a target TABLE holds everything up to a binlog POSITION."""
    from cdc_assets.definitions_file import stream_of  # noqa: PLC0415 - loads Dagster
    from cdc_assets.operations.as_of import position_at, table_as_of  # noqa: PLC0415 - as above

    rt = stream_of(definitions, stream).connect().runtime
    copied = next((each for each in rt.spec.copied if each.target_name == table), None)
    if copied is None:
        raise ConfigurationError("no copied table of the stream", field="table", value=table)
    found = table_as_of(rt, copied, position_at(rt, position, incarnation=incarnation))
    if as_json:
        held = None if found.position is None else str(found.position)
        _print_json(dataclasses.asdict(found) | {"position": held})
        return
    held = "an unknown position" if found.position is None else str(found.position)
    click.echo(f"snapshot {found.version.snapshot_id} of {table}: checkpoint "
               f"{found.checkpoint_id} of incarnation {found.incarnation}, holds everything up to "
               f"{held} and nothing after {position}")  # fmt: skip


@cli.command()
@_STREAM
@click.pass_obj
def preflight(definitions: Path, stream: str) -> None:
    """Check source, target and stream, and print what mends each fault."""
    from cdc_assets.definitions_file import stream_of  # noqa: PLC0415 - loads Dagster
    from cdc_assets.errors import PreflightFailed  # noqa: PLC0415 - beside it

    faults = stream_of(definitions, stream).connect().preflight()
    for fault in faults:
        click.echo(f"{fault.severity}: {' '.join(fault.text.split())}")
        for line in fault.fix.splitlines():
            click.echo(f"    {line}")
    errors = sum(fault.severity == "error" for fault in faults)
    if errors:
        raise PreflightFailed(f"stream {stream!r} is not ready: {errors} of the above stop it")
    click.echo(f"stream {stream} is ready")


@cli.command()
@_STREAM
@click.pass_obj
def schema(definitions: Path, stream: str) -> None:
    """Say what changed in the captured tables since the launch; nothing is done about it."""
    from cdc_assets.definitions_file import stream_of  # noqa: PLC0415 - loads Dagster
    from cdc_assets.operations.schema_watch import look_at_schema  # noqa: PLC0415 - as above

    look = look_at_schema(stream_of(definitions, stream).connect().runtime)
    if look.problem:
        raise ConfigurationError(f"stream {stream!r}: {look.problem}")
    for drift in look.drifts:
        level = "note" if drift.left_out == "query" else "warning"
        click.echo(f"{'error' if drift.change.harms else level}: {drift.change.text}")
        click.echo(f"    {drift.advice}")
    for each in look.paused:
        click.echo(f"error: {each.text}")
        for drift in each.drifts:
            click.echo(f"    {drift.text}")
        click.echo(f"    then: cdc-assets resume-table {stream} {each.pause.table}")
    if not look.drifts:
        click.echo(f"stream {stream}: the tables are as incarnation {look.incarnation} found them")


@cli.command("resume-table")
@_STREAM
@click.argument("table")
@click.option(
    "--again", is_flag=True, help="Copy the table anew; its target must be empty, or gone."
)
@click.option("--execute", is_flag=True, help="Do it; without this it is only said.")
@click.pass_obj
def resume_table(definitions: Path, stream: str, table: str, *, again: bool, execute: bool) -> None:
    """Bring a paused TABLE to where the others are, and go on with all of them."""
    from cdc_assets.definitions_file import stream_of  # noqa: PLC0415 - loads Dagster
    from cdc_assets.operations import resume_table as operation  # noqa: PLC0415 - as above

    rt = stream_of(definitions, stream).connect().runtime
    if not execute:
        plan = operation.plan_resume(rt, table, again=again)
        click.echo(f"would do: {plan.text}; add --execute to do it")
        return
    done = operation.resume_table(
        rt,
        table,
        worker=f"{socket.gethostname()}:{os.getpid()}",
        again=again,
        report=lambda row: click.echo(f"{row.step}: {_detail(row.detail)}"),
    )
    click.echo(f"stream {stream}: incarnation {done.incarnation} reads {table} again, from "
               f"{done.restored_from}")  # fmt: skip


@cli.command()
@_STREAM
@click.option("--reason", default="by hand", show_default=True, help="For the ledger.")
@click.pass_obj
def hold(definitions: Path, stream: str, reason: str) -> None:
    """Stop automation: nothing is recovered until 'release'. The job runs on."""
    _set_intent(definitions, stream, "hold", reason)
    click.echo(f"stream {stream}: automation holds; 'cdc-assets release {stream}' ends it")


@cli.command()
@_STREAM
@click.option("--reason", default="by hand", show_default=True, help="For the ledger.")
@click.pass_obj
def release(definitions: Path, stream: str, reason: str) -> None:
    """Allow automation again."""
    _set_intent(definitions, stream, "run", reason)
    click.echo(f"stream {stream}: automation runs")


def _set_intent(definitions: Path, stream: str, intent: Any, reason: str) -> None:  # noqa: ANN401
    from cdc_assets.definitions_file import stream_of  # noqa: PLC0415 - loads Dagster

    stream_of(definitions, stream).connect().runtime.ledger.set_intent(stream, intent, reason)


@cli.command()
@_STREAM
@click.option("--execute", is_flag=True, help="Do it; without this it is only said.")
@click.pass_obj
def stop(definitions: Path, stream: str, *, execute: bool) -> None:
    """Stop a stream with a savepoint; materializing the stream asset starts it again."""
    from cdc_assets.definitions_file import stream_of  # noqa: PLC0415 - loads Dagster
    from cdc_assets.operations.stop import stop_stream, what_stops  # noqa: PLC0415 - as above

    rt = stream_of(definitions, stream).connect().runtime
    row = what_stops(rt)
    if not execute:
        click.echo(
            f"would stop incarnation {row.number} (job {row.job_id}) of stream {stream} with a "
            "savepoint; add --execute to do it"
        )
        return
    path = stop_stream(rt, row)
    click.echo(f"stream {stream}: incarnation {row.number} stopped, savepoint {path}")


@cli.group()
def pyflink() -> None:
    """Interpreters for streams whose SQL is a PyFlink script."""


@pyflink.command("venv")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--python", help="Interpreter that makes it; the first fitting one by default.")
def make_interpreter(folder: Path, python: str | None) -> None:
    """Make a virtual environment with PyFlink in FOLDER: 0.7 GB, checked against checksums."""
    from cdc_assets.flink.python_environment import find_python, make_environment  # noqa: PLC0415 - as above

    made = make_environment(folder, find_python([python] if python else None))
    click.echo(f"python_executable: {made.absolute()}")


def _detail(detail: Mapping[str, object]) -> str:
    """Return a step's detail without what tables were: that is long."""
    shown = {name: value for name, value in detail.items() if name != "tables"}
    return json.dumps(shown, default=str)


def _table(*headings: str) -> Table:
    table = Table(title_justify="left")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _print(table: Table) -> None:
    console = Console()
    # A pipe has no width: rows stay on one line there.
    Console(width=None if console.is_terminal else 240).print(table)


def _print_json(value: Mapping[str, Any]) -> None:
    click.echo(json.dumps(value, indent=2, default=str))


def _time(moment: object) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment is not None else ""


def _number(value: int | None) -> str:
    return "?" if value is None else str(value)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line."""
    cli(prog_name="cdc-assets", args=list(sys.argv[1:] if args is None else args))
