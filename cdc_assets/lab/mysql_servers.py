"""MariaDB and MySQL servers: started from a blank data folder, made primary, replica or target."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import cast

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import Cursor, DictCursor

from cdc_assets.errors import ServiceFailed
from cdc_assets.lab.cache import Cache
from cdc_assets.lab.data_templates import (
    ServerProgram,
    ensure_template,
    fill_data_dir,
    find_program,
)
from cdc_assets.lab.home import require_state, update_state
from cdc_assets.lab.processes import stop
from cdc_assets.lab.services import start_service
from cdc_assets.lab.source_server import ServerKind, SourceServer
from cdc_assets.lab.state import Account, LabState, Service

__all__ = [
    "SOURCE_DATABASE",
    "TARGET_DATABASE",
    "ServerKind",
    "SourceServer",
    "create_source_accounts",
    "create_target_accounts",
    "provision_replica",
    "remember_read_only",
    "server_service",
    "start_blank",
]

SOURCE_DATABASE = "source"
TARGET_DATABASE = "target"
BINLOG_NAME = "mysql-bin-changelog"  # the name that RDS uses
_CATCH_UP_SECONDS = 120.0
_NOT_MASTER = 1

# Small and quick: a lab server holds little, and a crash of the machine may lose its last second.
_SERVER_OPTIONS = (
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--default-time-zone=+00:00",
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_general_ci",
    "--max-allowed-packet=64M",
    "--max-connections=600",
    "--innodb-buffer-pool-size=64M",
    "--innodb-flush-log-at-trx-commit=2",
    "--sync-binlog=0",
    "--performance-schema=OFF",
    f"--log-bin={BINLOG_NAME}",
    "--log-slave-updates",
    "--relay-log=relay-bin",
    "--relay-log-recovery",
    "--slave-net-timeout=10",
    # Relative to the data folder: a socket's full path may not exceed 107 characters.
    "--socket=server.sock",
    "--pid-file=server.pid",
)
_SOURCE_OPTIONS = ("--binlog-format=ROW", "--binlog-row-image=FULL")
_MYSQL_OPTIONS = (
    "--explicit-defaults-for-timestamp=OFF",
    # In tables, a replica's position moves with its data: a killed one goes on where it was.
    "--master-info-repository=TABLE",
    "--relay-log-info-repository=TABLE",
)
_GTID_OPTIONS = ("--gtid-mode=ON", "--enforce-gtid-consistency")
_READ_ONLY = "--read-only"
# The demo counts repeated writes in the target's binlog, which only statements show as they came.
_TARGET_OPTIONS = (
    "--binlog-format=STATEMENT",
    "--sql-mode=STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION",
)


def server_service(server: SourceServer, program: ServerProgram, *, log: Path) -> Service:
    """Return the service that runs a server on its data folder."""
    is_target = server.name == "target"
    options = list(_SERVER_OPTIONS)
    options += _TARGET_OPTIONS if is_target else _SOURCE_OPTIONS
    if server.kind == "mysql":
        options += _MYSQL_OPTIONS if is_target else (*_MYSQL_OPTIONS, *_GTID_OPTIONS)
    command = [str(program.executable), *program.base_options, *options]
    command += [f"--datadir={server.data_dir}", f"--port={server.port}"]
    command += [f"--server-id={server.server_id}"]
    return Service(
        name=server.name,
        kind=f"{server.kind} server",
        version=server.version,
        host=server.host,
        port=server.port,
        stand_in=False,
        probe="mysql",
        command=tuple(command),
        log=log,
        env=program.env,
    )


def start_blank(
    home: Path, server: SourceServer, *, cancelled: Callable[[], bool] = lambda: False
) -> None:
    """Start a server on a fresh data folder; its only account is the administrator.

    The slot's state gets the server and its process. Nothing of this reaches the binlog, so a
    replica that starts blank does the same for itself.
    """
    state = require_state(home)
    cache = Cache(state.cache)
    program = find_program(cache, server.kind, server.version)
    fill_data_dir(ensure_template(cache, program), server.data_dir)
    service = server_service(server, program, log=home / "logs" / f"{server.name}.log")
    update_state(home, lambda now: now.with_server(server).with_service(service))
    # The server reads it before it listens, so no moment exists with an open account.
    init = home / "secrets" / f"{server.name}.init.sql"
    init.touch(mode=0o600)
    init.write_text(
        "set sql_log_bin=0;\n"
        f"grant all on *.* to '{server.admin_user}'@'%' "
        f"identified by '{server.admin_password}' with grant option;\n",
        encoding="utf-8",
    )
    try:
        start_service(home, server.name, extra=(f"--init-file={init}",), cancelled=cancelled)
    finally:
        init.unlink(missing_ok=True)


def create_source_accounts(server: SourceServer, accounts: Mapping[str, Account]) -> None:
    """Create the source database and its accounts, in the binlog, so that replicas get them."""
    database = f"`{SOURCE_DATABASE}`"
    with closing(server.connect()) as connection:
        _execute(connection, f"create database {database}")
        _grant(connection, accounts["app"], f"all on {database}.*")
        # One account for each stream: a server tells binlog readers apart by account only.
        for role in ("cdc", "cdc_stats"):
            _grant(connection, accounts[role], "replication slave, replication client on *.*")
            _grant(connection, accounts[role], f"select on {database}.*")
        _grant(connection, accounts["repl"], "replication slave on *.*")


def create_target_accounts(server: SourceServer, accounts: Mapping[str, Account]) -> None:
    """Create the target database and its accounts."""
    database = f"`{TARGET_DATABASE}`"
    with closing(server.connect()) as connection:
        _execute(connection, f"create database {database}")
        _grant(connection, accounts["app"], f"all on {database}.*")
        _grant(
            connection, accounts["cdc_writer"], f"select, insert, update, delete on {database}.*"
        )


def provision_replica(
    home: Path,
    primary: SourceServer,
    replica_name: str,
    version: str | None,
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> SourceServer:
    """Make a slot a fresh replica of a primary: blank, caught up, read-only.

    The slot keeps its port and gets a new server id: with an old one it would skip, as its own,
    the events that it once wrote and that come back through the primary's binlog.

    Args:
        home: The lab.
        primary: The server to replicate from; its binlog must reach back to its first file.
        replica_name: The slot, `blue` or `green`.
        version: The replica's version; None for the primary's.
        cancelled: Asked while waiting; True ends the wait with an error.

    Returns:
        The replica.

    Raises:
        ServiceFailed: The primary's history is not complete, the replica does not start, or it
            does not catch up.
        LabError: The lab has no such slot.
    """
    _require_whole_history(primary)
    state = require_state(home)
    old = state.service(replica_name)
    planned = state.servers[replica_name]
    server_id = planned.server_id
    if old.process is not None:
        stop([old.process])
        server_id = _take_server_id(home)
    replica = dataclasses.replace(
        planned, kind=primary.kind, version=version or primary.version, server_id=server_id
    )
    start_blank(home, replica, cancelled=cancelled)
    _start_replication(primary, replica, state.accounts["repl"])
    _wait_caught_up(primary, replica, cancelled)
    with closing(replica.connect()) as connection:
        _execute(connection, "set global read_only=1")
    remember_read_only(home, replica_name, on=True)
    return replica


def remember_read_only(home: Path, name: str, *, on: bool) -> None:
    """Let the next start of a server be read-only or not: `set global` ends with the process.

    Call it beside every `set global read_only`, so that a killed and restarted server does not
    change its role.
    """

    def change(state: LabState) -> LabState:
        service = state.service(name)
        command = tuple(each for each in service.command if each != _READ_ONLY)
        command = (*command, _READ_ONLY) if on else command
        return state.with_service(dataclasses.replace(service, command=command))

    update_state(home, change)


def _take_server_id(home: Path) -> int:
    def take(state: LabState) -> LabState:
        return dataclasses.replace(state, next_server_id=state.next_server_id + 1)

    return update_state(home, take).next_server_id - 1


def _require_whole_history(primary: SourceServer) -> None:
    with closing(primary.connect()) as connection:
        first = str(_rows(connection, "show binary logs")[0]["Log_name"])
    if int(first.rpartition(".")[2]) != _NOT_MASTER:
        raise ServiceFailed(
            f"{primary.name}: its binlog starts at {first}, older files were purged",
            hint="A lab replica starts blank and needs the whole binlog; start a new lab",
        )


def _start_replication(primary: SourceServer, replica: SourceServer, account: Account) -> None:
    if primary.kind == "mariadb":
        # MariaDB 11.4 asks for TLS by default and would try again for ever.
        how = f"master_log_file='{BINLOG_NAME}.000001', master_log_pos=4, master_ssl=0"
    else:
        how = "master_auto_position=1"
    with closing(replica.connect()) as connection:
        _execute(
            connection,
            f"change master to master_host='{primary.host}', master_port={primary.port}, "
            f"master_user='{account.user}', master_password='{account.password}', "
            f"master_connect_retry=1, {how}",
        )
        _execute(connection, "start slave")


def _wait_caught_up(
    primary: SourceServer, replica: SourceServer, cancelled: Callable[[], bool]
) -> None:
    with closing(primary.connect()) as connection:
        goal = _rows(connection, "show master status")[0]
    file, position = str(goal["File"]), int(str(goal["Position"]))
    deadline = time.monotonic() + _CATCH_UP_SECONDS
    with closing(replica.connect()) as connection:
        while True:
            status = _rows(connection, "show slave status")[0]
            _raise_on_replication_error(replica, status)
            at = str(status["Relay_Master_Log_File"]), int(str(status["Exec_Master_Log_Pos"]))
            if at >= (file, position):
                return
            if cancelled() or time.monotonic() > deadline:
                raise ServiceFailed(
                    f"{replica.name} stands at {at[0]}:{at[1]}, {primary.name} at "
                    f"{file}:{position}: not caught up within {_CATCH_UP_SECONDS:.0f} s"
                )
            time.sleep(0.1)


def _raise_on_replication_error(replica: SourceServer, status: Mapping[str, object]) -> None:
    for kind in ("IO", "SQL"):
        if int(str(status[f"Last_{kind}_Errno"])):
            raise ServiceFailed(
                f"{replica.name} cannot replicate: {status[f'Last_{kind}_Error']}",
                hint="See 'show slave status' there",
            )


def _grant(connection: Connection[Cursor], account: Account, rights: str) -> None:
    _execute(
        connection,
        f"grant {rights} to '{account.user}'@'%' identified by '{account.password}'",
    )


def _execute(connection: Connection[Cursor], statement: str) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    except pymysql.MySQLError as error:
        # The statement may hold a password: only its first words are told.
        words = " ".join(statement.split()[:3])
        raise ServiceFailed(f"port {connection.port}: '{words} ...' failed: {error}") from None


def _rows(connection: Connection[Cursor], statement: str) -> Sequence[Mapping[str, object]]:
    with connection.cursor(DictCursor) as cursor:
        cursor.execute(statement)
        return cast("Sequence[Mapping[str, object]]", cursor.fetchall())
