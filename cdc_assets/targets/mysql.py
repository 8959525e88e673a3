"""MySqlTarget: the port `Target` for MySQL and MariaDB."""

# ruff: noqa: S608 - names go through quote_name, values through the driver

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Literal, cast

import pymysql

from cdc_assets.core.columns import TableShape
from cdc_assets.core.row_sql import (
    DescribedRows,
    Statement,
    count_rows,
    describe_tables,
    quote_name,
    shapes_of,
    text_of,
)
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.types import target_column
from cdc_assets.errors import ConfigurationError, TargetError, TargetUnreachable
from cdc_assets.ports import Key, Server

if TYPE_CHECKING:
    from pymysql.cursors import Cursor

Tls = Literal["off", "encrypt", "verify"]
Row = tuple[object, ...]

_UNREACHABLE = frozenset({1040, 1053, 2002, 2003, 2005, 2006, 2013})
_DENIED = frozenset({1044, 1045, 1142, 1143, 1227})
_VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE")
_TIMED_OUT = frozenset({1317, 1969, 3024})
_DUPLICATE_COLUMN = 1060


class MySqlTarget:
    """A MySQL or MariaDB database that rows land in.

    Args:
        server: Where it is.
        database: Holds the target tables.
        username: Account.
        password: Its password.
        tls: How connections are encrypted.
        ca_file: Certificate authorities, for `verify`.
        connect_timeout_seconds: For a connection.
        read_timeout_seconds: For a statement.
    """

    def __init__(
        self,
        server: Server,
        database: str,
        username: str,
        password: str,
        *,
        tls: Tls = "off",
        ca_file: str | None = None,
        connect_timeout_seconds: float = 5.0,
        read_timeout_seconds: float = 10.0,
    ) -> None:
        self._server = server
        self._database = database
        self._username = username
        self._password = password
        self._tls = tls
        self._ca_file = ca_file
        self._connect_timeout = connect_timeout_seconds
        self._read_timeout = read_timeout_seconds

    def __repr__(self) -> str:
        """Return server, database and account, without the password."""
        return f"MySqlTarget({self._server}, {self._database!r}, {self._username!r})"

    @property
    def server(self) -> Server:
        """Return where it is."""
        return self._server

    @property
    def database(self) -> str:
        """Return the database that holds the target tables."""
        return self._database

    def shapes(self, names: Sequence[str]) -> tuple[TableShape, ...]:
        """Return the target tables as the server describes them.

        Raises:
            ConfigurationError: A table does not exist.
            TargetUnreachable: No answer in time.
        """
        found = self.existing(names)
        for name in names:
            if name not in found:
                raise ConfigurationError(
                    f"no such table on {self._server}, or the account may not see it",
                    field="target tables",
                    value=f"{self._database}.{name}",
                    hint="'cdc-assets preflight' prints the statement that makes it",
                )
        return tuple(found[name] for name in names)

    def existing(self, names: Sequence[str]) -> dict[str, TableShape]:
        """Return those of the tables that exist, by name."""
        if not names:
            return {}
        with self._session(self._read_timeout) as cursor:
            rows = [_rows(cursor, each) for each in describe_tables(self._database, names)]
        return dict(shapes_of(self._database, DescribedRows(*rows)))

    def unique_indexes(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the names of unique indexes besides the primary key, by table."""
        if not names:
            return {}
        places = ", ".join(["%s"] * len(names))
        statement = Statement(
            "SELECT DISTINCT TABLE_NAME, INDEX_NAME FROM information_schema.STATISTICS"
            f" WHERE TABLE_SCHEMA = %s AND TABLE_NAME IN ({places})"
            " AND NON_UNIQUE = 0 AND INDEX_NAME <> 'PRIMARY' ORDER BY TABLE_NAME, INDEX_NAME",
            (self._database, *names),
        )
        found: dict[str, tuple[str, ...]] = {}
        with self._session(self._read_timeout) as cursor:
            for table, index in _rows(cursor, statement):
                found[text_of(table)] = (*found.get(text_of(table), ()), text_of(index))
        return found

    def missing_privileges(self, shapes: Sequence[TableShape]) -> dict[str, tuple[str, ...]]:
        """Return what the account may not do with the tables, by table; nothing is written.

        EXPLAIN checks the privileges of the statement that it explains.
        """
        found: dict[str, tuple[str, ...]] = {}
        with self._session(self._read_timeout) as cursor:
            for shape in shapes:
                missing = tuple(verb for verb in _VERBS if not _may(cursor, shape, verb))
                if missing:
                    found[shape.name] = missing
        return found

    def account(self) -> str:
        """Return the account as the server names it."""
        with self._session(self._read_timeout) as cursor:
            name = text_of(_rows(cursor, Statement("SELECT CURRENT_USER()"))[0][0])
        user, _, host = name.rpartition("@")
        return f"'{user}'@'{host}'"

    def create_statement(self, shape: TableShape, name: str) -> str:
        """Return the statement that makes a target table for a source table."""
        return create_table_sql(shape, self._database, name) + ";"

    def may_create(self, names: Sequence[str]) -> frozenset[str]:
        """Return those of the tables that the account may make; nothing is made.

        The server looks at the privileges of a CREATE TABLE before its columns, and two columns
        of one name are always refused. No list of grants tells as much: it leaves out roles.
        """
        found: set[str] = set()
        if not names:
            return frozenset()
        with self._session(self._read_timeout) as cursor:
            for name in names:
                table = f"{quote_name(self._database)}.{quote_name(name)}"
                try:
                    cursor.execute(f"CREATE TABLE {table} (c INT, c INT)")
                except pymysql.err.MySQLError as error:
                    if error.args and error.args[0] == _DUPLICATE_COLUMN:
                        found.add(name)
        return frozenset(found)

    def make_missing(self, spec: StreamSpec, shapes: Sequence[TableShape]) -> Sequence[str]:
        """Make the missing target tables, if the stream's settings say so.

        Raises:
            TargetError: The server refuses one, or the account may not write what was made.
        """
        if not spec.create_tables:
            return ()
        unmade = spec.unmade(shapes, self.existing(spec.target_names))
        for name, shape in unmade.items():
            self._make(name, self.create_statement(shape, name))
        made = list(unmade)
        if made:
            self._require_writable(made)
        return made

    def _make(self, name: str, statement: str) -> None:
        try:
            with self._session(self._read_timeout) as cursor:
                cursor.execute(statement.rstrip(";"))
        except TargetUnreachable:
            raise
        except TargetError as error:
            raise TargetError(
                f"cannot make table {self._database}.{name}: {error.message}",
                hint=f"GRANT CREATE ON {quote_name(self._database)}.* TO {self.account()}; or run"
                " the statement that 'cdc-assets preflight' prints",
            ) from None

    def alter(self, statement: str) -> None:
        """Run one statement that changes a target table."""
        with self._session(self._read_timeout) as cursor:
            cursor.execute(statement.rstrip(";"))

    def _require_writable(self, names: Sequence[str]) -> None:
        missing = self.missing_privileges(self.shapes(names))
        for name, verbs in missing.items():
            table = f"{quote_name(self._database)}.{quote_name(name)}"
            raise TargetError(
                f"table {self._database}.{name} was made, and the account may not"
                f" {', '.join(verbs)} there",
                hint=f"GRANT {', '.join(verbs)} ON {table} TO {self.account()};",
            )

    def is_read_only(self) -> bool:
        """Return whether the target refuses the writes of ordinary accounts."""
        statement = Statement(
            "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('read_only', 'innodb_read_only')"
        )
        with self._session(self._read_timeout) as cursor:
            return any(text_of(r[1]).upper() not in {"OFF", "0"} for r in _rows(cursor, statement))

    def count(
        self,
        name: str,
        *,
        timeout_seconds: float,
        key: Sequence[str] = (),
        bound: Key | None = None,
    ) -> int:
        """Count the rows of a target table, up to the key `bound` (included) if given."""
        with self._session(timeout_seconds) as cursor:
            rows = _rows(cursor, count_rows(self._database, name, key, bound))
        return int(text_of(rows[0][0]))

    @contextlib.contextmanager
    def _session(self, limit: float) -> Generator[Cursor, None, None]:
        connection = None
        try:
            connection = pymysql.connect(
                host=self._server.host,
                port=self._server.port,
                user=self._username,
                password=self._password,
                database=self._database,
                charset="utf8mb4",
                autocommit=True,
                connect_timeout=max(1, round(self._connect_timeout)),
                read_timeout=limit + 1.0,
                write_timeout=limit + 1.0,
                ssl=self._tls_context(),
                program_name="cdc-assets",
                init_command="SET SESSION time_zone = '+00:00'",
            )
            with connection.cursor() as cursor:
                _bound(cursor, limit)
                yield cursor
        except pymysql.err.MySQLError as error:
            raise self._ours(error, limit) from None
        except (OSError, RuntimeError) as error:
            raise TargetUnreachable(f"target {self._server}: {_one_line(error)}") from None
        finally:
            if connection is not None:
                with contextlib.suppress(pymysql.err.Error, OSError):
                    connection.close()

    def _tls_context(self) -> ssl.SSLContext | None:
        if self._tls == "off":
            return None
        context = ssl.create_default_context(cafile=self._ca_file)
        if self._tls == "encrypt":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _ours(self, error: pymysql.err.MySQLError, limit: float) -> TargetError:
        first = error.args[0] if error.args else 0
        number = first if isinstance(first, int) else 0
        text = _one_line(error.args[1] if len(error.args) > 1 else error)
        place = f"target {self._server}"
        if number in _TIMED_OUT or "timed out" in text:
            return TargetUnreachable(f"{place}: no answer within {limit:g} s")
        if number in _UNREACHABLE:
            return TargetUnreachable(f"{place}: {text}", hint="See that it runs and is reachable")
        return TargetError(f"{place}: error {number}: {text}")


def create_table_sql(shape: TableShape, database: str, name: str) -> str:
    """Return the statement that makes a target table for a source table.

    Indexes besides the primary key, defaults and AUTO_INCREMENT are left out: a target
    needs none of them, and a second unique index makes an upsert hit another row.

    Args:
        shape: The source table.
        database: The target database.
        name: The target table.
    """
    columns = [f"  {quote_name(each.name)} {target_column(each)}" for each in shape.columns]
    if shape.primary_key:
        key = ", ".join(quote_name(column) for column in shape.primary_key)
        columns.append(f"  PRIMARY KEY ({key})")
    body = ",\n".join(columns)
    return (
        f"CREATE TABLE {quote_name(database)}.{quote_name(name)} (\n{body}\n)"
        " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
    )


def _may(cursor: Cursor, shape: TableShape, verb: str) -> bool:
    table = f"{quote_name(shape.database)}.{quote_name(shape.name)}"
    column = quote_name(shape.columns[0].name)
    statement = {
        "SELECT": f"EXPLAIN SELECT {column} FROM {table}",
        "INSERT": f"EXPLAIN INSERT INTO {table} ({column}) VALUES (NULL)",
        "UPDATE": f"EXPLAIN UPDATE {table} SET {column} = {column} WHERE 1 = 0",
        "DELETE": f"EXPLAIN DELETE FROM {table} WHERE 1 = 0",
    }[verb]
    try:
        cursor.execute(statement.replace("%", "%%"), ())
        cursor.fetchall()
    except pymysql.err.MySQLError as error:
        # Anything else than a refusal comes after the privileges were checked.
        return bool(error.args) and error.args[0] not in _DENIED
    return True


def _rows(cursor: Cursor, statement: Statement) -> Sequence[Row]:
    cursor.execute(statement.text, statement.values)
    return cast("Sequence[Row]", cursor.fetchall())


def _bound(cursor: Cursor, limit: float) -> None:
    """Let the server end a statement by itself; MySQL 5.6 has no such limit."""
    found = _rows(
        cursor,
        Statement(
            "SHOW SESSION VARIABLES WHERE Variable_name IN"
            " ('max_statement_time', 'max_execution_time')"
        ),
    )
    names = {text_of(row[0]).lower() for row in found}
    if "max_statement_time" in names:
        cursor.execute(f"SET SESSION max_statement_time = {limit:.3f}")
    elif "max_execution_time" in names:
        cursor.execute(f"SET SESSION max_execution_time = {max(1, int(limit * 1000))}")


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:300]
