"""A session at a PostgreSQL server: one connection whose every wait ends by itself."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from cdc_assets.errors import ConfigurationError, TargetError, TargetUnreachable
from cdc_assets.ports import Server

if TYPE_CHECKING:
    import psycopg
    from typing_extensions import LiteralString

Tls = Literal["off", "encrypt", "verify"]
Row = tuple[Any, ...]
_SSL_MODES: dict[Tls, str] = {"off": "disable", "encrypt": "require", "verify": "verify-full"}
# The server ends a statement by itself; the line is cut when that does not arrive.
_GRACE_SECONDS = 2.0
_TIMED_OUT = "57014"
# Connection lost, server shutting down or starting, too many connections.
_LOST = ("08", "57P", "53300")
# Connection failures carry no SQLSTATE; the server's words tell what passes by itself.
_PASSING = ("starting up", "shutting down", "too many clients", "recovery mode", "connection slots")


class TargetDenied(TargetError):
    """The server answered by refusing the login."""


@dataclass(frozen=True)
class PostgresLogin:
    """How to log in.

    Attributes:
        server: Where it is.
        database: The database.
        username: Account.
        password: Kept out of `repr`.
        tls: How connections are encrypted.
        ca_file: Certificate authorities for `verify`; the system's by default.
        connect_timeout_seconds: For a connection.
    """

    server: Server
    database: str
    username: str
    password: str = field(repr=False)
    tls: Tls = "off"
    ca_file: str | None = None
    connect_timeout_seconds: float = 5.0


class Session:
    """An open connection.

    Args:
        connection: In autocommit.
    """

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[Row]:
        """Run a statement whose names are quoted and whose values are `%s`, return its rows."""
        # psycopg wants literals, so that no value is written into a text: here none is.
        query = cast("LiteralString", statement)
        with self._connection.cursor() as cursor:
            # Without values a `%` is a `%`.
            cursor.execute(query, list(values) or None)
            return cursor.fetchall() if cursor.description else []


@contextlib.contextmanager
def open_session(login: PostgresLogin, limit: float) -> Generator[Session, None, None]:
    """Connect, and translate what goes wrong into errors of ours.

    Args:
        login: Where, and as whom.
        limit: How long a statement may take, in seconds.

    Raises:
        TargetUnreachable: No answer in time.
        TargetDenied: The login was refused.
        TargetError: A statement was refused.
        ConfigurationError: The driver is not installed.
    """
    driver = _driver()
    connection: psycopg.Connection[Row] | None = None
    try:
        opened: psycopg.Connection[Row] = driver.connect(
            host=login.server.host,
            port=login.server.port,
            user=login.username,
            password=login.password,
            dbname=login.database,
            autocommit=True,
            connect_timeout=max(2, round(login.connect_timeout_seconds)),  # libpq reads 1 as 2
            sslmode=_SSL_MODES[login.tls],
            sslrootcert=_authorities(login),
            gssencmode="disable",
            application_name="cdc-assets",
            client_encoding="UTF8",
            options=f"-c TimeZone=UTC -c statement_timeout={max(1, round(limit * 1000))}",
        )
        connection = opened
        with _cut_after(opened, limit + _GRACE_SECONDS):
            yield Session(opened)
    except driver.Error as error:
        raise _ours(login.server, error, limit, is_open=connection is not None) from None
    except OSError as error:
        raise TargetUnreachable(f"target {login.server}: {_one_line(error)}") from None
    finally:
        if connection is not None:
            with contextlib.suppress(driver.Error, OSError):
                connection.close()


def _authorities(login: PostgresLogin) -> str:
    """Return the file of the certificate authorities; libpq's own `system` is the wheel's."""
    if login.tls != "verify":
        return ""
    return login.ca_file or ssl.get_default_verify_paths().cafile or "system"


def _driver() -> Any:  # noqa: ANN401 - the module itself
    try:
        import psycopg
    except ImportError as error:
        raise ConfigurationError(
            "the driver of PostgreSQL is not installed",
            field="target",
            hint="pip install 'dagster-cdc-assets[postgres]'",
        ) from error
    return psycopg


@contextlib.contextmanager
def _cut_after(connection: psycopg.Connection[Row], seconds: float) -> Generator[None, None, None]:
    """Cut the line after a time: the driver itself waits for an answer without an end."""
    with socket.socket(fileno=os.dup(connection.fileno())) as line:

        def cut() -> None:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(seconds, cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def _ours(server: Server, error: Exception, limit: float, *, is_open: bool) -> TargetError:
    place, text = f"target {server}", _one_line(error)
    if not is_open:
        # A refusal of the server begins with its severity; everything else came from the net.
        if "FATAL:" in text and not any(words in text for words in _PASSING):
            text = text.partition("FATAL:")[2].strip()
            return TargetDenied(f"{place}: {text}", hint="Check account, password and database")
        return TargetUnreachable(f"{place}: {text}", hint="See that it runs and is reachable")
    code = str(getattr(error, "sqlstate", None) or "")
    if code == _TIMED_OUT:
        return TargetUnreachable(f"{place}: no answer within {limit:g} s")
    if not code or code.startswith(_LOST):
        return TargetUnreachable(f"{place}: {text}", hint="See that it runs and is reachable")
    return TargetError(f"{place}: error {code}: {text}")


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:300]
