"""Engines: how each database is connected to, and what a SQLite file looks like from outside."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.pool import NullPool

from cdc_assets.errors import ConfigurationError

WRITING: Final = "cdc_write"
"""Execution option of a connection that is going to write."""

_HEADER: Final = 100
_BIGGEST_PAGE: Final = 65536


def problem_of_file(path: Path) -> str:
    """Say what is wrong with a SQLite file, empty when nothing is.

    SQLite takes an empty file for an empty database, and notices that a file was cut off only
    when it needs a page that is missing.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEADER)
        size = stream.seek(0, 2)
    if size == 0:
        return "the file is empty"
    if not head.startswith(b"SQLite format 3\x00") or len(head) < _HEADER:
        return "the file is not a SQLite database"
    page = int.from_bytes(head[16:18], "big")
    whole = (_BIGGEST_PAGE if page == 1 else page) * int.from_bytes(head[28:32], "big")
    # While a write-ahead log is there, the missing pages may be in it.
    log = Path(f"{path}-wal")
    if size < whole and not (log.exists() and log.stat().st_size):
        return f"the file has {size} of {whole} bytes"
    return ""


def make_engine(url: sa.URL, timeout_seconds: float) -> sa.Engine:
    """Return an engine; nothing is opened yet.

    Args:
        url: Its driver is one that the package brings.
        timeout_seconds: For connecting, for a lock and for each statement.

    Raises:
        ConfigurationError: The driver is not installed.
    """
    backend = url.get_backend_name()
    if backend == "sqlite":
        return _sqlite_engine(url, timeout_seconds)
    arguments: dict[str, object] = {"connect_timeout": max(1, int(timeout_seconds))}
    if backend == "postgresql":
        arguments["options"] = f"-c statement_timeout={int(timeout_seconds * 1000)}"
    else:
        arguments |= {"read_timeout": timeout_seconds, "write_timeout": timeout_seconds}
    try:
        return sa.create_engine(
            url,
            hide_parameters=True,
            # Under MySQL's default a row that another process just wrote stays invisible.
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,
            pool_size=2,
            pool_timeout=timeout_seconds,
            connect_args=arguments,
        )
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"needs the Python package {error.name!r}, which is not installed",
            field="ledger.url",
            value=url.drivername,
            hint="pip install 'dagster-cdc-assets[postgres]'" if backend == "postgresql" else "",
        ) from error


def _sqlite_engine(url: sa.URL, timeout_seconds: float) -> sa.Engine:
    # No pool: a connection must not be carried over a fork, and opening a file is cheap.
    engine = sa.create_engine(
        url,
        hide_parameters=True,
        poolclass=NullPool,
        connect_args={"timeout": timeout_seconds},
    )

    def connected(connection: sqlite3.Connection, record: object) -> None:
        del record
        # The driver begins by itself only before some statements, and never IMMEDIATE.
        connection.isolation_level = None
        mode: tuple[str] = connection.execute("PRAGMA journal_mode").fetchone()
        if mode[0] != "wal":
            connection.execute("PRAGMA journal_mode = WAL")
        # A fence that a power failure takes back is no fence.
        connection.execute("PRAGMA synchronous = FULL")

    def begun(connection: sa.Connection) -> None:
        write = connection.get_execution_options().get(WRITING)
        # A transaction that reads first and then writes fails at once when another one wrote in
        # between; IMMEDIATE waits for its turn instead.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
    return engine
