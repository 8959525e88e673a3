"""StarRocksTarget: the port `JudgedTarget` for StarRocks, by its MySQL and HTTP ports."""

# ruff: noqa: S608 - names go through quote, values through the driver

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pymysql
import requests

from cdc_assets.core.columns import TableShape
from cdc_assets.core.preflight import Fault
from cdc_assets.core.preflight_starrocks import (
    PRIMARY,
    DescribedColumn,
    StarRocksFacts,
    StarRocksTable,
    judge_starrocks,
    shape_of,
)
from cdc_assets.core.row_sql import count_rows, text_of
from cdc_assets.core.starrocks import create_table
from cdc_assets.core.stream import StreamSpec
from cdc_assets.errors import CdcError, ConfigurationError, TargetError, TargetUnreachable
from cdc_assets.ports import Key, Server

if TYPE_CHECKING:
    from pymysql.cursors import Cursor

Row = tuple[object, ...]

_UNREACHABLE = frozenset({1040, 1053, 2002, 2003, 2005, 2006, 2013})
_UNKNOWN_DATABASE = frozenset({1049, 5501})
# A label that nobody uses: the question only shows whether the account is let in.
_PROBE = "/api/{}/get_load_state?label=cdc-assets-preflight"
_UNAUTHORIZED = (401, 403)
_ALTERED = re.compile(r"ALTER TABLE `[^`]+`\.`([^`]+)` ")
_ALTER_SECONDS = 120.0
_POLL_SECONDS = 0.3
_CANCELLED = "CANCELLED"


@dataclass(frozen=True)
class StarRocksLogin:
    """Where StarRocks is, and the account.

    Attributes:
        server: MySQL port of a front end.
        load_addresses: HTTP ports of front ends.
        username: Account.
        password: Kept out of `repr`.
    """

    server: Server
    load_addresses: tuple[str, ...]
    username: str
    password: str = field(repr=False)


class StarRocksTarget:
    """A StarRocks database that rows land in.

    Args:
        login: Where it is, and the account.
        database: Holds the target tables.
        connect_timeout_seconds: For a connection.
        read_timeout_seconds: For a statement.
    """

    def __init__(
        self,
        login: StarRocksLogin,
        database: str,
        *,
        connect_timeout_seconds: float = 5.0,
        read_timeout_seconds: float = 10.0,
    ) -> None:
        self._login = login
        self._database = database
        self._connect_timeout = connect_timeout_seconds
        self._read_timeout = read_timeout_seconds

    def __repr__(self) -> str:
        """Return server, database and account, without the password."""
        return (
            f"StarRocksTarget({self._login.server}, {self._database!r}, {self._login.username!r})"
        )

    def shapes(self, names: Sequence[str]) -> tuple[TableShape, ...]:
        """Return the target tables as StarRocks describes them.

        Raises:
            ConfigurationError: A table does not exist, or is no primary-key table.
            TargetUnreachable: No answer in time.
        """
        found = self.existing(names)
        for name in names:
            table, label = found.get(name), f"{self._database}.{name}"
            if table is None or table.key_kind != PRIMARY:
                what = "no such table" if table is None else "not a primary-key table"
                raise ConfigurationError(
                    f"{what} on {self._login.server}",
                    field="target tables",
                    value=label,
                    hint="'cdc-assets preflight' prints the statement that makes it",
                )
        return tuple(found[name].shape for name in names)

    def existing(self, names: Sequence[str]) -> Mapping[str, StarRocksTable]:
        """Return those of the tables that exist, by name."""
        if not names:
            return {}
        places = ", ".join(["%s"] * len(names))
        text = (
            "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, COLUMN_KEY"
            f" FROM information_schema.columns WHERE TABLE_SCHEMA = %s AND TABLE_NAME IN ({places})"
            " ORDER BY TABLE_NAME, ORDINAL_POSITION"
        )
        rows = self._rows(text, (self._database, *names))
        columns: dict[str, list[DescribedColumn]] = {}
        for table, name, data_type, column_type, nullable, key in (map(text_of, r) for r in rows):
            described = (name, data_type, column_type, nullable.upper() == "YES", key.upper())
            columns.setdefault(table, []).append(described)
        return {name: shape_of(self._database, name, each) for name, each in columns.items()}

    def count(
        self,
        name: str,
        *,
        timeout_seconds: float,
        key: Sequence[str] = (),
        bound: Key | None = None,
    ) -> int:
        """Count the rows of a target table, up to the key `bound` (included) if given.

        Ask with a bound only where StarRocks orders the key as MySQL does: numbers and dates.
        """
        statement = count_rows(self._database, name, key, bound)
        # The hint lets the server end the statement by itself.
        hint = f"SELECT /*+ SET_VAR(query_timeout = {max(1, round(timeout_seconds))}) */ "
        text = hint + statement.text.removeprefix("SELECT ")
        rows = self._rows(text, statement.values, limit=timeout_seconds)
        return int(text_of(rows[0][0]))

    def faults(self, spec: StreamSpec, shapes: Mapping[str, TableShape]) -> Sequence[Fault]:
        """Return everything that keeps the stream from landing there, without changing it."""
        address = str(self._login.server)
        try:
            found = self._rows(
                "SELECT SCHEMA_NAME FROM information_schema.schemata WHERE SCHEMA_NAME = %s",
                (self._database,),
            )
            tables = self.existing(spec.target_names)
        except CdcError as error:
            return judge_starrocks(
                spec, StarRocksFacts(address, self._database, str(error)), shapes
            )
        facts = StarRocksFacts(
            address,
            self._database,
            load_problem=self._load_problem(),
            has_database=bool(found),
            tables=tables,
        )
        return judge_starrocks(spec, facts, shapes)

    def make_missing(self, spec: StreamSpec, shapes: Sequence[TableShape]) -> Sequence[str]:
        """Make the missing target tables, if the stream's settings say so.

        Raises:
            TargetError: StarRocks refuses one.
        """
        if not spec.create_tables:
            return ()
        unmade = spec.unmade(shapes, self.existing(spec.target_names))
        for name, shape in unmade.items():
            self._make(name, create_table(shape, self._database, name))
        return list(unmade)

    def _make(self, name: str, statement: str) -> None:
        try:
            with self._session(self._read_timeout) as cursor:
                cursor.execute(statement.rstrip(";"))
        except TargetUnreachable:
            raise
        except TargetError as error:
            raise TargetError(
                f"cannot make table {self._database}.{name}: {error.message}",
                hint=f"GRANT CREATE TABLE ON DATABASE {self._database} TO USER"
                f" '{self._login.username}'@'%'; or run the statement that"
                " 'cdc-assets preflight' prints, changed as StarRocks wants it",
            ) from None

    def alter(self, statement: str) -> None:
        """Run one statement that changes a target table, and wait until the change is done.

        StarRocks answers before that, shows the column after it only, and takes one change of a
        table at a time. With `fast_schema_evolution` it is done at once.

        Raises:
            TargetError: StarRocks refuses or cancels it, or it takes longer than two minutes.
        """
        found = _ALTERED.match(statement)
        name = found[1] if found else ""
        before = self._wait_altered(name)
        with self._session(self._read_timeout) as cursor:
            cursor.execute(statement.rstrip(";"))
        after = self._wait_altered(name)
        if after.get("JobId") != before.get("JobId") and after.get("State") == _CANCELLED:
            raise TargetError(
                f"target {self._login.server}: the change of {self._database}.{name} was"
                f" cancelled: {_one_line(after.get('Msg', ''))}"
            )

    def _wait_altered(self, name: str) -> Mapping[str, str]:
        """Wait until no change of a table is at work, and return the newest one.

        Its states are those of AlterJobV2: PENDING, WAITING_TXN, RUNNING and others before the
        end, then FINISHED or CANCELLED.
        """
        text = (
            f"SHOW ALTER TABLE COLUMN FROM `{self._database}` WHERE TableName = %s"
            " ORDER BY CreateTime DESC LIMIT 1"
        )
        deadline = time.monotonic() + _ALTER_SECONDS
        while True:
            with self._session(self._read_timeout) as cursor:
                cursor.execute(text, (name,))
                rows = cast("Sequence[Row]", cursor.fetchall())
                heads = [str(head[0]) for head in cursor.description or ()]
            newest = dict(zip(heads, map(text_of, rows[0]), strict=True)) if rows else {}
            if newest.get("State", _CANCELLED) in {"FINISHED", _CANCELLED}:
                return newest
            if time.monotonic() > deadline:
                raise TargetError(
                    f"target {self._login.server}: a change of {self._database}.{name} is"
                    f" {newest['State']} after {_ALTER_SECONDS:.0f} s",
                    hint="The next look goes on when it is done: SHOW ALTER TABLE COLUMN",
                )
            time.sleep(_POLL_SECONDS)

    def _load_problem(self) -> str:
        """Return why nothing can be loaded by HTTP, empty where that seems possible."""
        for address in self._login.load_addresses:
            url = address if "://" in address else f"http://{address}"
            try:
                answer = requests.get(
                    url + _PROBE.format(self._database),
                    auth=(self._login.username, self._login.password),
                    timeout=(self._connect_timeout, self._read_timeout),
                    allow_redirects=False,
                )
            except requests.RequestException as error:
                return f"{address}: {_reason(error)}"
            if answer.status_code in _UNAUTHORIZED:
                return f"{address}: the account {self._login.username!r} is refused"
            if not answer.ok or "json" not in answer.headers.get("content-type", "json"):
                return f"{address}: does not answer as StarRocks, HTTP {answer.status_code}"
        return ""

    def _rows(
        self, text: str, values: Sequence[object], *, limit: float | None = None
    ) -> Sequence[Row]:
        with self._session(limit or self._read_timeout) as cursor:
            cursor.execute(text, tuple(values))
            return cast("Sequence[Row]", cursor.fetchall())

    @contextlib.contextmanager
    def _session(self, limit: float) -> Generator[Cursor, None, None]:
        connection = None
        server = self._login.server
        try:
            connection = pymysql.connect(
                host=server.host,
                port=server.port,
                user=self._login.username,
                password=self._login.password,
                charset="utf8mb4",
                autocommit=True,
                connect_timeout=max(1, round(self._connect_timeout)),
                read_timeout=limit + 1.0,
                write_timeout=limit + 1.0,
                ssl_disabled=True,
                program_name="cdc-assets",
            )
            with connection.cursor() as cursor:
                yield cursor
        except pymysql.err.MySQLError as error:
            raise self._ours(error, limit) from None
        except (OSError, RuntimeError) as error:
            raise TargetUnreachable(f"target {server}: {_one_line(error)}") from None
        finally:
            if connection is not None:
                with contextlib.suppress(pymysql.err.Error, OSError):
                    connection.close()

    def _ours(self, error: pymysql.err.MySQLError, limit: float) -> CdcError:
        first = error.args[0] if error.args else 0
        number = first if isinstance(first, int) else 0
        text = _one_line(error.args[1] if len(error.args) > 1 else error)
        place = f"target {self._login.server}"
        if "timed out" in text or "timeout" in text.lower():
            return TargetUnreachable(f"{place}: no answer within {limit:g} s")
        if number in _UNREACHABLE:
            return TargetUnreachable(f"{place}: {text}", hint="See that it runs and is reachable")
        if number in _UNKNOWN_DATABASE:
            return TargetError(f"{place}: {text}", hint="'cdc-assets preflight' says what to run")
        return TargetError(f"{place}: error {number}: {text}")


def _reason(error: requests.RequestException) -> str:
    """Return why a request failed, without the URL."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return type(error).__name__


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:300]
