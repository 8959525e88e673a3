"""The command `cdc-assets generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.group()
def generate() -> None:
    """Write files for other tools."""


@generate.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the files, instead of output_dir."
)
@click.option(
    "--shards",
    type=click.Choice(["merge", "columns", "apart"]),
    default="merge",
    show_default=True,
    help="Tables that differ in a number only: one target table, one with columns that say which "
    "shard a row is from, or a table for each.",
)
@click.option(
    "--one-job/--job-per-table",
    default=True,
    show_default=True,
    help="Whether a file's INSERTs are one Flink job.",
)
@click.option("--max-tables", type=click.IntRange(1, 100_000), default=200, show_default=True)
@click.option("--force", is_flag=True, help="Replace files that hold something else.")
def starrocks(config: Path, **options: Any) -> None:  # noqa: ANN401 - click's values
    """Write StarRocks and Flink SQL from a StarRocks Migration Tool configuration.

    CONFIG is its INI file; the tables are read from the MySQL server in it. Passwords may be
    written as env:NAME; the files then hold ${NAME}, to be filled in by envsubst.
    """
    from cdc_assets.smt.generate import generate as write  # noqa: PLC0415 - loads the driver

    done = write(
        config,
        folder=options["out"],
        shards=options["shards"],
        one_job=options["one_job"],
        max_tables=options["max_tables"],
        force=options["force"],
    )
    for target in done.targets:
        sources = ", ".join(shape.label for shape in target.sources)
        click.echo(f"table-rule.{target.rule.number}: {sources} -> {target.label}")
    for warning in done.warnings:
        click.echo(f"warning: {warning}", err=True)
    if done.variables:
        names = ", ".join(done.variables)
        click.echo(f"the flink-create files refer to {names}: fill them in with envsubst")
    click.echo(f"{len(done.files)} SMT-compatible files in {done.folder}")
