"""Opening the ledger's database: create it once, know it again, refuse everything else."""

from __future__ import annotations

import os
import re
import sqlite3
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool

from cdc_assets.errors import (
    CdcError,
    ConfigurationError,
    LedgerUnreachable,
    LedgerUnreadable,
)
from cdc_assets.ledger import schema
from cdc_assets.ledger.location import LedgerLocation

_WRITE: Final = "cdc_write"
_LOCK: Final = "cdc_assets.ledger"
_LOCK_KEY: Final = 0x6364635F6C656467
_BUSY: Final = ("database is locked", "database table is locked", "database is busy")
_DENIED: Final = re.compile(
    r"access denied|password authentication failed|permission denied|command denied|1045|1142|1044",
    re.IGNORECASE,
)
_ANOTHER: Final = "Set the ledger's URL to another file, or restore this one from a backup"


class LedgerDatabase:
    """An engine on a database that was proved to be a ledger.

    Nothing is opened before the first use, so that loading definitions needs no server.

    Args:
        location: Where it is.
        now: The time, for a new ledger's meta row.
        timeout_seconds: For connecting, for a lock and for each statement.
    """

    def __init__(
        self, location: LedgerLocation, *, now: Callable[[], datetime], timeout_seconds: float
    ) -> None:
        self.location = location
        self._now = now
        self._timeout = timeout_seconds
        self._engine: sa.Engine | None = None
        self._ledger_id = ""

    @property
    def ledger_id(self) -> str:
        """Return the id that was drawn when the ledger was made."""
        with self.errors():
            self._open()
        return self._ledger_id

    @contextmanager
    def reading(self) -> Generator[sa.Connection]:
        """Give a connection for SELECT."""
        with self.errors(), self._open().connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Generator[sa.Connection]:
        """Give a connection in a transaction that is committed at the end."""
        with self.errors():
            engine = self._open().execution_options(**{_WRITE: True})
            with engine.begin() as connection:
                yield connection

    @contextmanager
    def errors(self) -> Generator[None]:
        """Turn the driver's errors into the package's, without a secret in them."""
        try:
            yield
        except SQLAlchemyError as error:
            raise self._error(error) from error
        except (sqlite3.Error, OSError) as error:
            raise self._unreadable(_line(error)) from error

    def close(self) -> None:
        """Close what is open; the next use opens it again."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _open(self) -> sa.Engine:
        if self._engine is None:
            path = self.location.path
            if path is not None:
                if not path.exists():
                    self._create_file(path)
                self._check_file(path)
            engine = _engine(self.location.url, self._timeout)
            try:
                self._ledger_id = self._prove(engine)
            except BaseException:
                engine.dispose()
                raise
            self._engine = engine
        return self._engine

    # ------------------------------------------------------------ SQLite: a file

    def _create_file(self, path: Path) -> None:
        """Make the file complete under another name, then link it into place.

        So an empty or half-made file never bears the ledger's name, and can be told from one that
        was cut off. Linking refuses an existing name: of two creators one wins.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex}")
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            engine = _engine(sa.URL.create("sqlite", database=str(draft)), self._timeout)
            with engine.execution_options(**{_WRITE: True}).begin() as connection:
                schema.metadata.create_all(connection)
                for statement in schema.sqlite_triggers():
                    connection.exec_driver_sql(statement)
                self._insert_meta(connection)
            engine.dispose()
            try:
                os.link(draft, path)
            except FileExistsError:
                return  # another process was first
        finally:
            for suffix in ("", "-wal", "-shm", "-journal"):
                Path(f"{draft}{suffix}").unlink(missing_ok=True)

    def _check_file(self, path: Path) -> None:
        """Refuse a file that was cut off; SQLite notices only when it needs the missing page."""
        with path.open("rb") as stream:
            head = stream.read(100)
            size = os.fstat(stream.fileno()).st_size
        if size == 0:
            raise self._unreadable("the file is empty")
        if not head.startswith(b"SQLite format 3\x00") or len(head) < 100:  # noqa: PLR2004 - header
            raise self._unreadable("the file is not a SQLite database")
        page = int.from_bytes(head[16:18], "big")
        page = 65536 if page == 1 else page
        pages = int.from_bytes(head[28:32], "big")
        # While a write-ahead log is there, the missing pages may be in it.
        log = Path(f"{path}-wal")
        if size < page * pages and not (log.exists() and log.stat().st_size):
            raise self._unreadable(f"the file has {size} of {page * pages} bytes")

    # ------------------------------------------------------------ any database

    def _prove(self, engine: sa.Engine) -> str:
        with engine.connect() as connection:
            tables = frozenset(sa.inspect(connection).get_table_names())
        ours = frozenset(schema.metadata.tables)
        if not tables <= ours:
            shown = ", ".join(sorted(tables - ours)[:3])
            raise self._unreadable(f"it belongs to something else: it has a table {shown}")
        if self.location.path is None and self._meta_missing(engine, tables):
            self._create_on_server(engine)
        return self._read_meta(engine)

    def _meta_missing(self, engine: sa.Engine, tables: frozenset[str]) -> bool:
        """Say whether to create the tables: none is there, or a killed creator left empty ones."""
        with engine.connect() as connection:
            if "meta" in tables and connection.scalar(_count("meta")):
                return False
            filled = sorted(name for name in tables if connection.scalar(_count(name)))
        if filled:
            raise self._unreadable(f"table {filled[0]} has rows and table meta has none")
        return True

    def _create_on_server(self, engine: sa.Engine) -> None:
        with engine.begin() as connection, _creation_lock(connection, self._timeout):
            for table in schema.metadata.sorted_tables:
                connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
                present = {item["name"] for item in sa.inspect(connection).get_indexes(table.name)}
                for index in sorted(table.indexes, key=lambda index: str(index.name)):
                    if index.name not in present:
                        connection.execute(sa.schema.CreateIndex(index))
            if not connection.scalar(_count("meta")):
                self._insert_meta(connection)

    def _insert_meta(self, connection: sa.Connection) -> None:
        connection.execute(
            schema.meta.insert().values(
                id=1,
                version=schema.VERSION,
                ledger_id=str(uuid.uuid4()),
                created_at=self._now(),
            )
        )

    def _read_meta(self, engine: sa.Engine) -> str:
        with engine.connect() as connection:
            inspector = sa.inspect(connection)
            present = set(inspector.get_table_names())
            for table in schema.metadata.sorted_tables:
                if table.name not in present:
                    raise self._unreadable(f"table {table.name} is missing")
            rows = connection.execute(
                sa.select(schema.meta.c.id, schema.meta.c.version, schema.meta.c.ledger_id)
            ).all()
            if len(rows) != 1 or rows[0].id != 1:
                raise self._unreadable(f"table meta has {len(rows)} rows instead of one")
            if rows[0].version != schema.VERSION:
                raise self._unreadable(
                    f"its schema version is {rows[0].version}, this release knows {schema.VERSION}",
                    "Use the release of the package that wrote it",
                )
            for table in schema.metadata.sorted_tables:
                found = {item["name"] for item in inspector.get_columns(table.name)}
                missing = sorted({column.name for column in table.columns} - found)
                if missing:
                    raise self._unreadable(f"table {table.name} has no column {missing[0]}")
        return str(rows[0].ledger_id)

    # ------------------------------------------------------------ errors

    def unreadable(self, reason: str) -> LedgerUnreadable:
        """Return the error for a row that cannot be understood."""
        return self._unreadable(reason)

    def _unreadable(self, reason: str, hint: str = _ANOTHER) -> LedgerUnreadable:
        return LedgerUnreadable(f"ledger {self.location}: {reason}", hint=hint)

    def _error(self, error: SQLAlchemyError) -> CdcError:
        if isinstance(error, PoolTimeout):
            return LedgerUnreachable(f"ledger {self.location}: all connections are in use")
        cause = error.orig if isinstance(error, DBAPIError) else error
        reason = _line(cause if cause is not None else error)
        password = self.location.url.password
        if password:
            reason = reason.replace(str(password), "***")
        if _DENIED.search(reason) and self.location.path is None:
            return LedgerUnreadable(
                f"ledger {self.location}: the account is refused: {reason}",
                hint="Check user, password and grants (SELECT, INSERT, and CREATE the first time)",
            )
        if self.location.path is None:
            if isinstance(error, (OperationalError, InterfaceError)):
                return LedgerUnreachable(f"ledger {self.location}: {reason}")
            return self._unreadable(reason)
        if reason.startswith(_BUSY) or "is full" in reason:
            return LedgerUnreachable(f"ledger {self.location}: {reason}")
        return self._unreadable(reason)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def _count(table: str) -> sa.Select[int]:
    return sa.select(sa.func.count()).select_from(schema.metadata.tables[table])


@contextmanager
def _creation_lock(connection: sa.Connection, seconds: float) -> Generator[None]:
    """Let one creator at a time through: DDL of servers is not safe against another's."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_KEY)))
        yield
        return
    if connection.scalar(sa.select(sa.func.get_lock(_LOCK, int(seconds) or 1))) != 1:
        message = "another process is creating the ledger and does not finish"
        raise LedgerUnreachable(message)
    try:
        yield
    finally:
        connection.execute(sa.select(sa.func.release_lock(_LOCK)))


def _engine(url: sa.URL, timeout_seconds: float) -> sa.Engine:
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
        write = connection.get_execution_options().get(_WRITE)
        # A transaction that reads first and then writes fails at once when another one wrote in
        # between; IMMEDIATE waits for its turn instead.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
    return engine
