"""Opening the ledger's database: create it once, know it again, refuse everything else."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from cdc_assets.errors import (
    CdcError,
    LedgerUnreachable,
    LedgerUnreadable,
)
from cdc_assets.ledger import schema
from cdc_assets.ledger.engine import WRITING, make_engine, problem_of_file
from cdc_assets.ledger.location import LedgerLocation

Row = Mapping[str, object]

_LOCK_KEY: Final = 0x6364635F6C656467
# Of a transaction that another one got in the way of.
_ATTEMPTS: Final = 5
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

    def append(self, table: sa.Table, row: Row) -> None:
        """Insert a row that has no key of its own."""
        with self.errors(), self._writing() as connection:
            connection.execute(table.insert().values(dict(row)))

    def append_once(self, table: sa.Table, rows: Sequence[Row], key: Sequence[str]) -> list[bool]:
        """Insert the rows whose key is not there yet, all or none of them.

        The unique constraint decides, not the look before it: where another process was faster,
        the whole transaction is tried again, and its look then finds that row.

        Args:
            table: The table.
            rows: Column values.
            key: The columns of its unique constraint.

        Returns:
            For each row whether it is new.
        """
        with self.errors():
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    with self._writing() as connection:
                        return [_insert_if_new(connection, table, row, key) for row in rows]
                except (IntegrityError, OperationalError) as error:
                    if attempt == _ATTEMPTS or not _worth_another_try(error):
                        raise
        return []

    @contextmanager
    def _writing(self) -> Generator[sa.Connection]:
        engine = self._open().execution_options(**{WRITING: True})
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
                problem = problem_of_file(path)
                if problem:
                    raise self._unreadable(problem)
            engine = make_engine(self.location.url, self._timeout)
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
            engine = make_engine(sa.URL.create("sqlite", database=str(draft)), self._timeout)
            with engine.execution_options(**{WRITING: True}).begin() as connection:
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

    # ------------------------------------------------------------ any database

    def _prove(self, engine: sa.Engine) -> str:
        with engine.connect() as connection:
            tables = frozenset(sa.inspect(connection).get_table_names())
        ours = frozenset(schema.metadata.tables)
        if not tables <= ours:
            shown = ", ".join(sorted(tables - ours)[:3])
            raise self._unreadable(f"it belongs to something else: it has a table {shown}")
        if self.location.path is None and not self._has_meta(engine, tables):
            self._create_on_server(engine)
        return self._read_meta(engine)

    @staticmethod
    def _has_meta(engine: sa.Engine, tables: frozenset[str]) -> bool:
        with engine.connect() as connection:
            return "meta" in tables and _has_rows(connection, "meta")

    def _create_on_server(self, engine: sa.Engine) -> None:
        """Create the tables, unless another process did so while the lock was waited for.

        DDL of MySQL is not undone, so a killed creator may have left some of them, empty.
        """
        with engine.connect() as connection, _creation_lock(connection, self._timeout):
            present = frozenset(sa.inspect(connection).get_table_names())
            if "meta" in present and _has_rows(connection, "meta"):
                return
            for name in sorted(present & frozenset(schema.metadata.tables)):
                if _has_rows(connection, name):
                    raise self._unreadable(f"table {name} has rows and table meta has none")
            for table in schema.metadata.sorted_tables:
                connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
                indexes = {item["name"] for item in sa.inspect(connection).get_indexes(table.name)}
                for index in sorted(table.indexes, key=lambda index: str(index.name)):
                    if index.name not in indexes:
                        connection.execute(sa.schema.CreateIndex(index))
            self._insert_meta(connection)
            # Inside the lock: whoever waits for it must see the row.
            connection.commit()

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


def _has_rows(connection: sa.Connection, table: str) -> bool:
    any_row = sa.select(sa.literal(1)).select_from(schema.metadata.tables[table]).limit(1)
    return connection.scalar(any_row) is not None


def _insert_if_new(
    connection: sa.Connection, table: sa.Table, row: Row, key: Sequence[str]
) -> bool:
    taken = sa.select(sa.literal(1)).select_from(table)
    for name in key:
        taken = taken.where(table.c[name] == row[name])
    if connection.scalar(taken) is not None:
        return False
    connection.execute(table.insert().values(dict(row)))
    return True


def _worth_another_try(error: DBAPIError) -> bool:
    if isinstance(error, IntegrityError):
        return True
    # MySQL's deadlock and lock wait, by number; PostgreSQL's deadlock and serialization failure.
    cause = error.orig
    number: object = cause.args[0] if cause is not None and cause.args else None
    state: object = getattr(cause, "sqlstate", None)
    return number in {1205, 1213} or state in {"40001", "40P01"}


@contextmanager
def _creation_lock(connection: sa.Connection, seconds: float) -> Generator[None]:
    """Let one creator at a time through: DDL of servers is not safe against another's."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_KEY)))
        yield
        return
    # The name is the server's, not the database's, and has room for 64 characters.
    database = str(connection.engine.url.database)
    name = f"cdc_assets.ledger.{hashlib.sha256(database.encode()).hexdigest()[:16]}"
    if connection.scalar(sa.select(sa.func.get_lock(name, int(seconds) or 1))) != 1:
        message = "another process is creating the ledger and does not finish"
        raise LedgerUnreachable(message)
    try:
        yield
    finally:
        connection.execute(sa.select(sa.func.release_lock(name)))
