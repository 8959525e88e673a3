"""Session: one connection to one server, with a deadline on everything, and errors of ours."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, cast

import pymysql
from pymysql.constants import CLIENT

from cdc_assets.core.row_sql import Statement, text_of
from cdc_assets.core.source import SourceIdentity
from cdc_assets.errors import SourceDenied, SourceError, SourceUnreachable
from cdc_assets.mysql.dialect import VARIABLES, Dialect
from cdc_assets.ports import Server

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

Tls = Literal["off", "encrypt", "verify"]
Row = tuple[object, ...]

# Access denied in its forms, and a host that may not connect or was blocked.
_DENIED = frozenset({1044, 1045, 1129, 1130, 1142, 1143, 1227, 1251, 1370, 1698, 3118, 3955, 4151})
# Too many connections, shutdown in progress, and the client's own numbers for a lost server.
_UNREACHABLE = frozenset({1040, 1053, 1152, 1158, 1159, 1160, 1161, 2002, 2003, 2005, 2006, 2013})
_TIMED_OUT = frozenset({1317, 1969, 3024})
_UNKNOWN_STATEMENT = 1064
_CLIENT_SIDE = 2000


@dataclass(frozen=True)
class Login:
    """An account, and how its connections are made.

    Attributes:
        username: Account.
        password: Kept out of `repr`.
        tls: `encrypt` refuses a plain connection, `verify` checks the certificate too.
        ca_file: Certificate authorities, for `verify`.
        connect_timeout_seconds: For the TCP connection and the log-in.
        read_timeout_seconds: For one statement.
    """

    username: str
    password: str = field(repr=False)
    tls: Tls = "off"
    ca_file: str | None = None
    connect_timeout_seconds: float = 5.0
    read_timeout_seconds: float = 10.0

    def tls_context(self) -> ssl.SSLContext | None:
        """Return what a TLS connection checks, None without TLS."""
        if self.tls == "off":
            return None
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.tls == "encrypt":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class Session:
    """One open connection.

    A session is never kept between two looks: the endpoint may have moved in between, and
    a kept connection would go on talking to the old server.
    """

    def __init__(self, connection: Connection[Cursor], server: Server, dialect: Dialect) -> None:
        self._connection = connection
        self._server = server
        self.dialect = dialect

    @property
    def connection(self) -> Connection[Cursor]:
        """Return the driver's connection, for the replication protocol."""
        return self._connection

    def rows(self, statement: str | Statement) -> Sequence[Row]:
        """Run one statement and return its rows."""
        # Given any values, even none, the driver reads `%%` as `%`.
        text, values = (statement, None) if isinstance(statement, str) else statement
        with self._connection.cursor() as cursor:
            cursor.execute(text, values)
            return cast("Sequence[Row]", cursor.fetchall())

    def rows_or_none(self, statement: str | Statement) -> Sequence[Row] | None:
        """Run one statement; None when the account may not, or the server does not know it."""
        try:
            return self.rows(statement)
        except pymysql.err.MySQLError as error:
            if _number(error) in _DENIED | {_UNKNOWN_STATEMENT, 1146, 1193, 1305, 1381}:
                return None
            raise

    @staticmethod
    def is_refusal(error: pymysql.err.MySQLError) -> bool:
        """Return whether an error says that the account may not."""
        return _number(error) in _DENIED

    def variables(self) -> Mapping[str, str]:
        """Return those of the variables that this server has, names in lower case."""
        names = ", ".join(f"'{name}'" for name in VARIABLES)
        rows = self.rows(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")
        return {text_of(row[0]).lower(): text_of(row[1]) for row in rows}

    def identity(self, variables: Mapping[str, str]) -> SourceIdentity:
        """Return which server this is.

        MariaDB's `@@server_uid` (11.4) is left out: it is a hash of the port and the network
        card's address (mysqld.cc, `calculate_server_uid`), so it stays the same for other
        data on the same port and changes when the data moves to another machine.
        """
        return SourceIdentity(
            flavor=self.dialect.flavor,
            version=self.dialect.version,
            server_id=int(variables.get("server_id", "0") or 0),
            server_uuid=variables.get("server_uuid") or None,
        )


@contextlib.contextmanager
def open_session(
    login: Login, server: Server, *, read_timeout_seconds: float | None = None
) -> Generator[Session, None, None]:
    """Connect, and close at the end; the driver's errors become errors of ours.

    Raises:
        SourceUnreachable: No answer in time.
        SourceDenied: The account or a statement was refused.
        SourceError: Anything else that the server says.
    """
    limit = read_timeout_seconds or login.read_timeout_seconds
    connection = None
    try:
        connection = pymysql.connect(
            host=server.host,
            port=server.port,
            user=login.username,
            password=login.password,
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=max(1, round(login.connect_timeout_seconds)),
            # The server's own limit comes first where it has one; this one is the backstop.
            read_timeout=limit + 1.0,
            write_timeout=limit + 1.0,
            ssl=login.tls_context(),
            # Without it the driver negotiates TLS where the server offers it, 0.1 s and more.
            ssl_disabled=login.tls == "off",
            client_flag=CLIENT.MULTI_RESULTS,
            program_name="cdc-assets",
        )
        session = _prepared(connection, server, limit)
        yield session
    except pymysql.err.MySQLError as error:
        raise _ours(error, login, server, limit) from None
    except (OSError, ssl.SSLError, RuntimeError) as error:
        # pymysql raises RuntimeError where a log-in method needs a package that is missing.
        raise SourceUnreachable(f"{server}: {_one_line(error)}") from None
    finally:
        if connection is not None:
            with contextlib.suppress(pymysql.err.Error, OSError):
                connection.close()


def _prepared(connection: Connection[Cursor], server: Server, limit: float) -> Session:
    with connection.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        row = cast("Row | None", cursor.fetchone())
        dialect = Dialect.parse(text_of(row[0]) if row else "")
        cursor.execute("SET SESSION time_zone = '+00:00'")
        bound = dialect.limit_statements(limit)
        if bound:
            cursor.execute(bound)
    return Session(connection, server, dialect)


def _ours(error: pymysql.err.MySQLError, login: Login, server: Server, limit: float) -> SourceError:
    number = _number(error)
    text = _one_line(error.args[1] if len(error.args) > 1 else error)
    place = f"{server}: "
    if number in _DENIED:
        return SourceDenied(
            f"{place}{text}",
            hint=f"Check user {login.username!r}, its password and its grants",
        )
    if number in _TIMED_OUT or "timed out" in text:
        return SourceUnreachable(f"{place}no answer within {limit:g} s")
    if number in _UNREACHABLE or (
        number >= _CLIENT_SIDE and isinstance(error, pymysql.err.OperationalError)
    ):
        return SourceUnreachable(f"{place}{text}", hint="See that the server runs and is reachable")
    return SourceError(f"{place}error {number}: {text}")


def _number(error: pymysql.err.MySQLError) -> int:
    first = error.args[0] if error.args else 0
    return first if isinstance(first, int) else 0


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:300]
