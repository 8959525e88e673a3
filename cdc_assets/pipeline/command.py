"""The commands `cdc-assets pipeline`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cdc_assets.errors import ConfigurationError, UnsupportedType
from cdc_assets.pipeline.compile import compile_stream, stream_name

if TYPE_CHECKING:
    from cdc_assets.core.columns import TableShape
    from cdc_assets.core.stream import StreamSpec
    from cdc_assets.pipeline.config import PipelineConfig
    from cdc_assets.pipeline.resolve import Given

_FILE = click.argument("file", type=click.Path(path_type=Path))
_HOME = click.option(
    "--flink-cdc-home",
    "home",
    type=click.Path(path_type=Path),
    help="Folder of an unpacked Flink CDC, which runs FILE itself where its sink is kafka.",
)
_VARIABLE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")


def _given(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that fill in what a file leaves open."""
    for name, text in (
        ("--password", "Its password, as env:NAME only."),
        ("--username", "Account of the source, where the file has none."),
        ("--port", "Port of the source, where the file has none."),
        ("--host", "Host of the source, where the file has none."),
    ):
        command = click.option(name, default="", help=text)(command)
    return command


@click.group()
def pipeline() -> None:
    """Flink CDC pipeline files (YAML): check them, look up their tables."""


@pipeline.command()
@_FILE
@_HOME
def check(file: Path, *, home: Path | None) -> None:
    """Read FILE and say how it runs, and what of it is left out or open.

    What cannot be done is refused.
    """
    from cdc_assets.pipeline.lock import (  # noqa: PLC0415 - loads the driver
        lock_path,
        tables_of,
    )

    config = _read(file, home)
    _say_notes(config)
    click.echo(f"{file}: runs {'by Flink CDC' if config.is_native else 'as Flink SQL'}")
    if not config.is_plain and not lock_path(file).exists():
        click.echo(
            f"open: {config.tables_at.place}: the tables behind the pattern are not looked up yet: "
            f"run cdc-assets pipeline resolve {file}"
        )
        return
    spec = _spec(config, file, tables_of(file, config))
    click.echo(f"{file}: {len(spec.tables)} tables into {len(spec.target_names)} topics")


@pipeline.command()
@_FILE
@_given
@_HOME
@click.option("--offline", is_flag=True, help="Open no connection: no types and no readers.")
def show(file: Path, *, home: Path | None, offline: bool, **options: str) -> None:
    """Show what FILE would capture: tables, topics, readers, and what is refused."""
    from cdc_assets.pipeline.lock import tables_of  # noqa: PLC0415 - loads the driver
    from cdc_assets.pipeline.resolve import look  # noqa: PLC0415 - as above

    config = _read(file, home)
    _say_notes(config)
    if offline:
        _say_topics(_spec(config, file, tables_of(file, config)))
        return
    shapes = look(config, _filled(options))
    names = [(shape.database, shape.name) for shape in shapes]
    spec = _spec(config, file, names)
    _say_topics(spec)
    _say_readers(spec, shapes)
    _say_list(config, file, names)


@pipeline.command()
@_FILE
@_given
@_HOME
@click.option("--max-tables", type=click.IntRange(1, 100_000), default=500, show_default=True)
def resolve(file: Path, *, home: Path | None, max_tables: int, **options: str) -> None:
    """Look up the tables of FILE at the source and write them down beside it."""
    from cdc_assets.pipeline.resolve import resolve  # noqa: PLC0415 - loads the driver

    config = _read(file, home)
    found = resolve(file, _filled(options), max_tables=max_tables, has_home=home is not None)
    _say_topics(_spec(config, file, found.tables))
    what = "written" if found.changed else "unchanged"
    click.echo(f"{found.path}: {len(found.tables)} tables, {what}")


def _read(file: Path, home: Path | None) -> PipelineConfig:
    from cdc_assets.pipeline.resolve import read_pipeline  # noqa: PLC0415 - loads the driver

    if home is not None and not (home / "lib").is_dir():
        raise ConfigurationError(
            "has no folder lib", field="--flink-cdc-home", value=str(home),
            hint="Name the folder of an unpacked distribution",
        )  # fmt: skip
    return read_pipeline(file, has_home=home is not None)


def _filled(options: dict[str, str]) -> Given:
    from cdc_assets.pipeline.resolve import Given  # noqa: PLC0415 - loads the driver

    password = options["password"]
    if password and not _VARIABLE.fullmatch(password):
        # On the command line everyone on the machine could read it.
        raise ConfigurationError("write it as env:NAME", field="--password")
    return Given(options["host"], options["port"], options["username"], password)


def _spec(config: PipelineConfig, file: Path, names: Sequence[tuple[str, str]]) -> StreamSpec:
    from cdc_assets.core.server_ids import ServerIdRange  # noqa: PLC0415 - beside the others

    # Only the component knows the range where the file has none; any will do to show topics.
    ids = None if config.server_ids else ServerIdRange(1, 2**32 - 1)
    return compile_stream(config, names, stream=stream_name(config, file.stem), server_ids=ids)


def _say_notes(config: PipelineConfig) -> None:
    for note in config.notes:
        click.echo(f"ignored: {note.place}: {note.option}: {note.reason}")
    for setting in config.open_settings:
        there = setting.origin.placeholder or "nothing"
        click.echo(
            f"open: {setting.origin.place}: {setting.origin.field}: holds {there}; write the "
            "value or env:NAME, or give it in the component"
        )


def _say_topics(spec: StreamSpec) -> None:
    for table in spec.tables:
        click.echo(f"{table.label} -> {table.target_name}")


def _say_readers(spec: StreamSpec, shapes: Sequence[TableShape]) -> None:
    if spec.engine == "flink-cdc":
        click.echo(
            f"one reader for all tables, server ids {spec.server_ids}; types are Flink CDC's"
        )
        return
    from cdc_assets.core.readers import plan_readers  # noqa: PLC0415 - beside the others

    refused = _refusals(spec, shapes)
    for text in refused:
        click.echo(f"refused: {text}")
    if refused:
        return
    for number, reader in enumerate(plan_readers(spec, shapes), start=1):
        tables = ", ".join(each.table.label for each in reader.tables)
        key, ids = ", ".join(reader.key), reader.server_ids
        word = f"server ids {ids}" if ids.size > 1 else f"server id {ids.first}"
        click.echo(f"reader {number} ({word}, key {key}): {tables}")


def _refusals(spec: StreamSpec, shapes: Sequence[TableShape]) -> list[str]:
    """Return every column and table that cannot be carried, not the first one only."""
    from cdc_assets.core.readers import describe_table  # noqa: PLC0415 - beside the others

    by_label = {shape.label: shape for shape in shapes}
    found: list[str] = []
    for table in spec.tables:
        left: StreamSpec | Any = spec
        while True:
            try:
                describe_table(left, table, by_label[table.label])
            except UnsupportedType as error:
                found.append(str(error))
                column = f"{table.alias}.{error.column}"
                left = replace(left, exclude_columns=(*left.exclude_columns, column))
            except ConfigurationError as error:
                found.append(str(error))
                break
            else:
                break
    return found


def _say_list(config: PipelineConfig, file: Path, names: Sequence[tuple[str, str]]) -> None:
    from cdc_assets.pipeline.lock import lock_path, read_lock  # noqa: PLC0415 - beside the others

    path = lock_path(file)
    if config.is_plain:
        return
    if not path.exists():
        click.echo(f"open: {path} is not written yet: run cdc-assets pipeline resolve {file}")
        return
    known = set(read_lock(path))
    for word, tables in (("new", set(names) - known), ("gone", known - set(names))):
        for database, table in sorted(tables):
            click.echo(f"{word} since {path}: {database}.{table}")
