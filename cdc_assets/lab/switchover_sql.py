"""The statements that a switchover needs from one real server.

`SwitchoverServer` is what the procedure in `switchover.py` asks for; `SqlServer` does it on
MariaDB 10.11 and 11.4 and on MySQL 5.6 and 5.7, the lab's servers. Each call opens its own
connection: a switchover kills connections, and a fresh one per step costs about 2 ms on loopback.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import pymysql
from pymysql.cursors import DictCursor

from cdc_assets.errors import ServiceFailed

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

LOCK_WAIT_TIMEOUT: Final = 1205
NO_SUCH_THREAD: Final = 1094
# Accounts of the server's own threads: they are not clients.
SERVER_THREADS: Final = frozenset({"system user", "event_scheduler", "unauthenticated user", ""})


@dataclass(frozen=True)
class BinlogPosition:
    """Where a server's binlog ends.

    Attributes:
        file: Binlog file.
        position: Position in it.
        gtid_set: MySQL's executed set, or MariaDB's `gtid_binlog_pos`; empty without GTID.
    """

    file: str
    position: int
    gtid_set: str = ""


@dataclass(frozen=True)
class Replication:
    """What a replica says about its replication.

    Attributes:
        receiving: Whether the receiver thread runs.
        applying: Whether the applier thread runs.
        lag_seconds: Seconds behind the source; None when the replica does not know.
        source: `host:port` of its source.
        account: The account it reads with.
        error: The last error of either thread.
    """

    receiving: bool
    applying: bool
    lag_seconds: int | None
    source: str
    account: str
    error: str = ""


class SwitchoverServer(Protocol):
    """What a switchover asks of one server."""

    @property
    def address(self) -> str:
        """`host:port` of the server itself."""
        ...

    def version(self) -> str:
        """Return the version, without build suffixes."""
        ...

    def variables(self, names: Sequence[str]) -> dict[str, str]:
        """Return those global variables that the server knows."""
        ...

    def read_only(self) -> bool:
        """Return whether clients cannot write."""
        ...

    def stop_writes(self, seconds: float) -> bool:
        """Make the server read-only; return whether it was done in time."""
        ...

    def allow_writes(self) -> None:
        """Let clients write."""
        ...

    def replication(self) -> Replication | None:
        """Return the replication's state, or nothing on a server that replicates nothing."""
        ...

    def longest_write_seconds(self) -> int:
        """Return the age of the oldest open transaction that has changed rows."""
        ...

    def drop_connections(self, keep: frozenset[str]) -> int:
        """Kill the connections of all accounts but those in `keep`; return how many."""
        ...

    def binlog_position(self) -> BinlogPosition:
        """Return where the binlog ends."""
        ...

    def wait_applied(self, position: BinlogPosition, seconds: float) -> bool:
        """Wait until the source's position is applied; return whether it is."""
        ...

    def stop_applying(self) -> None:
        """Stop the applier thread only."""
        ...

    def stop_replication(self) -> None:
        """Stop both replication threads, keeping their configuration."""
        ...

    def start_replication(self) -> None:
        """Start both replication threads."""
        ...

    def forget_replication(self) -> None:
        """Stop replication and remove its configuration."""
        ...


@dataclass(frozen=True)
class SqlServer:
    """A real server, reached with its administrator's account.

    Attributes:
        name: The lab's name of the server.
        host: Host.
        port: The server's own port.
        user: Administrator.
        password: Password of the administrator; not in `repr`.
        timeout_seconds: Limit of a connect and of a statement that does not wait on purpose.
    """

    name: str
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    timeout_seconds: float = 10.0

    @property
    def address(self) -> str:
        """`host:port` of the server itself."""
        return f"{self.host}:{self.port}"

    def version(self) -> str:
        """Return the version, without build suffixes."""
        return str(self._value("SELECT VERSION()")).split("-", 1)[0]

    def variables(self, names: Sequence[str]) -> dict[str, str]:
        """Return those global variables that the server knows."""
        rows = self._rows("SHOW GLOBAL VARIABLES")
        found = {str(row["Variable_name"]): str(row["Value"]) for row in rows}
        return {name: found[name] for name in names if name in found}

    def read_only(self) -> bool:
        """Return whether clients cannot write."""
        return str(self._value("SELECT @@global.read_only")) == "1"

    def stop_writes(self, seconds: float) -> bool:
        """Make the server read-only; return whether it was done in time.

        The statement waits for commits in progress. A transaction that is still open afterwards
        cannot commit: the server refuses it (error 1290).

        Args:
            seconds: How long to wait for statements that hold write locks.
        """
        wait = max(1, int(seconds))
        try:
            with self._connection(wait + self.timeout_seconds) as connection:
                _execute(connection, "SET SESSION lock_wait_timeout = %s", (wait,))
                _execute(connection, "SET GLOBAL read_only = 1")
        except pymysql.err.OperationalError as error:
            if error.args and error.args[0] == LOCK_WAIT_TIMEOUT:
                return False
            raise self._failed(error) from error
        except pymysql.err.Error as error:
            raise self._failed(error) from error
        return True

    def allow_writes(self) -> None:
        """Let clients write."""
        self._rows("SET GLOBAL read_only = 0")

    def replication(self) -> Replication | None:
        """Return the replication's state, or nothing on a server that replicates nothing."""
        rows = self._rows("SHOW SLAVE STATUS")
        if not rows:
            return None
        row = rows[0]
        lag = row["Seconds_Behind_Master"]
        return Replication(
            receiving=row["Slave_IO_Running"] == "Yes",
            applying=row["Slave_SQL_Running"] == "Yes",
            lag_seconds=None if lag is None else int(str(lag)),
            source=f"{row['Master_Host']}:{row['Master_Port']}",
            account=str(row["Master_User"]),
            error=str(row.get("Last_IO_Error") or row.get("Last_SQL_Error") or ""),
        )

    def longest_write_seconds(self) -> int:
        """Return the age of the oldest open transaction that has changed rows."""
        value = self._value(
            "SELECT COALESCE(MAX(TIMESTAMPDIFF(SECOND, trx_started, NOW())), 0)"
            " FROM information_schema.INNODB_TRX WHERE trx_rows_modified > 0"
        )
        return int(str(value))

    def drop_connections(self, keep: frozenset[str]) -> int:
        """Kill the connections of all accounts but those in `keep`; return how many.

        Args:
            keep: Accounts that stay connected, besides the administrator.
        """
        spared = keep | SERVER_THREADS | {self.user}
        killed = 0
        with self._guarded() as connection:
            rows = _execute(connection, "SELECT ID, USER FROM information_schema.PROCESSLIST")
            for row in rows:
                if str(row["USER"]) in spared:
                    continue
                try:
                    _execute(connection, "KILL CONNECTION %s", (int(str(row["ID"])),))
                except pymysql.err.MySQLError as error:
                    if not error.args or error.args[0] != NO_SUCH_THREAD:
                        raise
                    continue
                killed += 1
        return killed

    def binlog_position(self) -> BinlogPosition:
        """Return where the binlog ends."""
        with self._guarded() as connection:
            rows = _execute(connection, "SHOW MASTER STATUS")
            if not rows:
                message = f"server {self.name} ({self.address}): it writes no binlog"
                raise ServiceFailed(message, hint="Start the lab again")
            row = rows[0]
            gtid_set = row.get("Executed_Gtid_Set")
            if gtid_set is None:
                gtid_set = _execute(connection, "SELECT @@global.gtid_binlog_pos AS g")[0]["g"]
        return BinlogPosition(
            str(row["File"]), int(str(row["Position"])), str(gtid_set or "").replace("\n", "")
        )

    def wait_applied(self, position: BinlogPosition, seconds: float) -> bool:
        """Wait until the source's position is applied; return whether it is.

        Args:
            position: Where the source's binlog ends.
            seconds: How long to wait; 1 at least.
        """
        wait = max(1, int(seconds))
        mariadb = "-" in position.gtid_set and ":" not in position.gtid_set
        with self._guarded(wait + self.timeout_seconds) as connection:
            if position.gtid_set and not mariadb:
                # NULL means that no applier runs, -1 that the time is over.
                statement = "SELECT WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS(%s, %s) AS done"
                return _reached(_execute(connection, statement, (position.gtid_set, wait)))
            statement = "SELECT MASTER_POS_WAIT(%s, %s, %s) AS done"
            arguments = (position.file, position.position, wait)
            if _reached(_execute(connection, statement, arguments)):
                return True
            if not mariadb:
                return False
            # A MariaDB replica that started by GTID and has had no event since does not know
            # the source's file and position yet; its GTID position is right nevertheless.
            statement = "SELECT MASTER_GTID_WAIT(%s, 0) AS done"
            return _reached(_execute(connection, statement, (position.gtid_set,)))

    def stop_applying(self) -> None:
        """Stop the applier thread only."""
        self._rows("STOP SLAVE SQL_THREAD")

    def stop_replication(self) -> None:
        """Stop both replication threads, keeping their configuration."""
        self._rows("STOP SLAVE")

    def start_replication(self) -> None:
        """Start both replication threads."""
        self._rows("START SLAVE")

    def forget_replication(self) -> None:
        """Stop replication and remove its configuration."""
        self._rows("STOP SLAVE")
        self._rows("RESET SLAVE ALL")

    def _rows(self, statement: str) -> list[dict[str, object]]:
        with self._guarded() as connection:
            return _execute(connection, statement)

    def _value(self, statement: str) -> object:
        return next(iter(self._rows(statement)[0].values()))

    @contextmanager
    def _connection(
        self, read_seconds: float | None = None
    ) -> Generator[pymysql.Connection[DictCursor]]:
        connection = pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            autocommit=True,
            cursorclass=DictCursor,
            # Without this each connect builds a TLS context: 20 ms of CPU, on loopback for nothing.
            ssl_disabled=True,
            connect_timeout=int(self.timeout_seconds),
            read_timeout=read_seconds or self.timeout_seconds,
            write_timeout=self.timeout_seconds,
        )
        with closing(connection):
            yield connection

    @contextmanager
    def _guarded(
        self, read_seconds: float | None = None
    ) -> Generator[pymysql.Connection[DictCursor]]:
        try:
            with self._connection(read_seconds) as connection:
                yield connection
        except (pymysql.err.Error, OSError) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> ServiceFailed:
        text = " ".join(str(part) for part in error.args)
        message = f"server {self.name} ({self.address}): {text}"
        return ServiceFailed(message, hint="Look at 'cdc-assets lab status'")


def _execute(
    connection: pymysql.Connection[DictCursor],
    statement: str,
    arguments: tuple[object, ...] | None = None,
) -> list[dict[str, object]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments)
        return [dict(row) for row in cursor.fetchall()]


def _reached(rows: Sequence[Mapping[str, object]]) -> bool:
    value = rows[0]["done"]
    return value is not None and int(str(value)) >= 0
