"""The lab's PostgreSQL server: initialised, started, given accounts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cdc_assets.errors import ServiceFailed
from cdc_assets.lab import unprivileged
from cdc_assets.lab.cache import Cache
from cdc_assets.lab.packages import load_packages
from cdc_assets.lab.state import Account, Service

if TYPE_CHECKING:
    import psycopg
    from psycopg.rows import TupleRow

PACKAGE_GROUP = "postgres"
# On Flink's class path.
CONNECTORS = ("postgresql-jdbc",)
VERSION = "17.11"
DATABASE = "target"
SCHEMA = "public"
_SERVER_PACKAGE = "postgresql-17.11"
_INITDB_SECONDS = 120
_READY_SECONDS = 60.0
_CONNECT_SECONDS = 3
# Small and quick: a lab server holds little, and a crash of the machine may lose its data.
_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    # A socket's full path may not exceed 107 characters; nothing here needs one.
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def service(home: Path, cache: Cache, port: int, *, name: str = "postgres") -> Service:
    """Return the service that runs the server on its data folder."""
    settings = [part for key, value in _SETTINGS.items() for part in ("-c", f"{key}={value}")]
    program = str(_program(cache, "postgres"))
    return Service(
        name=name,
        kind="PostgreSQL server",
        version=VERSION,
        host="127.0.0.1",
        port=port,
        stand_in=False,
        probe="tcp",
        command=_as_ordinary_user(
            [program, "-D", str(data_folder(home, name)), "-p", str(port), *settings]
        ),
        log=home / "logs" / f"{name}.log",
    )


def data_folder(home: Path, name: str = "postgres") -> Path:
    """Return the server's data folder."""
    return home / "data" / name


def prepare(home: Path, cache: Cache, admin: Account, *, name: str = "postgres") -> None:
    """Initialise the data folder; its only account is the administrator.

    Raises:
        ServiceFailed: `initdb` failed.
    """
    data = data_folder(home, name)
    data.mkdir(parents=True, mode=0o700)
    password = home / "secrets" / f"{name}.password"
    password.parent.mkdir(mode=0o700, exist_ok=True)
    password.touch(mode=0o600)
    password.write_text(f"{admin.password}\n", encoding="utf-8")
    if os.geteuid() == 0:
        user, group = unprivileged.ordinary_user()
        os.chown(data, user, group)
    options = ["-D", str(data), "-U", admin.user, f"--pwfile={password}", "-A", "scram-sha-256"]
    options += ["--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
    try:
        result = subprocess.run(  # noqa: S603 - fixed command, no shell
            _as_ordinary_user([str(_program(cache, "initdb")), *options]),
            capture_output=True,
            text=True,
            timeout=_INITDB_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceFailed(f"{name}: initdb took over {_INITDB_SECONDS} s") from error
    finally:
        password.unlink(missing_ok=True)
    if result.returncode != 0:
        said = [line for line in result.stderr.splitlines() if "error" in line.lower()]
        last = (said or result.stderr.splitlines() or ["no message"])[-1]
        raise ServiceFailed(f"{name}: initdb failed: {last}")


def create_accounts(port: int, accounts: Mapping[str, Account], *, host: str = "127.0.0.1") -> None:
    """Wait until the server answers, and create the target database and its accounts.

    The role `app` owns the schema and makes the tables; `cdc_writer` may read and write rows of
    the tables that `app` makes, and nothing else.
    """
    app, writer = accounts["app"], accounts["cdc_writer"]
    admin = accounts["admin"]
    with wait_ready(host, port, admin) as connection:
        for account in (app, writer):
            _role(connection, account)
        _run(connection, f'CREATE DATABASE "{DATABASE}" OWNER "{app.user}"')
    with connect(host, port, app) as connection:
        rights = "SELECT, INSERT, UPDATE, DELETE ON TABLES"
        _run(connection, f'ALTER DEFAULT PRIVILEGES GRANT {rights} TO "{writer.user}"')


def wait_ready(host: str, port: int, admin: Account) -> psycopg.Connection[TupleRow]:
    """Return a connection to the administration database as soon as the server gives one.

    Raises:
        ServiceFailed: It gives none.
    """
    import psycopg

    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            return connect(host, port, admin, database="postgres")
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                text = " ".join(str(error).split())[:200]
                raise ServiceFailed(f"PostgreSQL on port {port} did not answer: {text}") from None
        time.sleep(0.2)


def connect(
    host: str, port: int, account: Account, *, database: str = DATABASE
) -> psycopg.Connection[TupleRow]:
    """Connect, in autocommit, with UTC as the session's time zone."""
    import psycopg

    return psycopg.connect(
        host=host,
        port=port,
        user=account.user,
        password=account.password,
        dbname=database,
        autocommit=True,
        connect_timeout=_CONNECT_SECONDS,
        sslmode="prefer",
        gssencmode="disable",
        options="-c TimeZone=UTC",
    )


def _role(connection: psycopg.Connection[TupleRow], account: Account) -> None:
    from psycopg import sql

    statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
        sql.Identifier(account.user), sql.Literal(account.password)
    )
    connection.execute(statement)


def _run(connection: psycopg.Connection[TupleRow], statement: str) -> None:
    # The driver wants literals, so that no value is written into a text: here only our names are.
    connection.execute(statement.encode())


def _as_ordinary_user(command: Sequence[str]) -> tuple[str, ...]:
    if os.geteuid() != 0:
        return tuple(command)
    return (sys.executable, "-I", unprivileged.__file__, *command)


def _program(cache: Cache, name: str) -> Path:
    package = next(each for each in load_packages() if each.name == _SERVER_PACKAGE)
    return cache.folder(package) / "bin" / name
