"""MySqlSource: the port `Source` for MySQL 5.6 to 9.x and MariaDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cdc_assets.core.columns import TableShape
from cdc_assets.core.gtid import GtidSet
from cdc_assets.core.observation import ServerView
from cdc_assets.core.position import Coordinates
from cdc_assets.core.row_sql import (
    DescribedRows,
    Statement,
    count_rows,
    describe_tables,
    largest_key,
    list_tables,
    shapes_of,
    text_of,
)
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.shards import members_of, union_of
from cdc_assets.core.source import BinlogFile, BinlogInventory, FileBirth, SourceIdentity
from cdc_assets.core.table_refs import ShardedTable, TableRef
from cdc_assets.errors import CdcError, ConfigurationError, SourceError
from cdc_assets.mysql.births import prepare_statements, read_birth
from cdc_assets.mysql.session import Login, Session, Tls, open_session
from cdc_assets.ports import Key, Server

_OFF = frozenset({"", "0", "OFF", "NO"})
_DUMP_COMMANDS = frozenset({"Binlog Dump", "Binlog Dump GTID"})


class MySqlSource:
    """The source cluster, asked with the account that the readers use.

    Every call opens a connection of its own, and a call asks everything on that one
    connection: an endpoint that moves in the middle cannot mix two servers' answers.

    Args:
        endpoint: The production endpoint.
        username: The CDC account.
        password: Its password.
        shared_account: Whether other streams or people use the account, too. The readers
            do not register as replicas, so no server says which of them has which server
            id; their connections are told apart by the account only. With a shared
            account "none" is still known, and any other number is not.
        tls: How connections are encrypted.
        ca_file: Certificate authorities, for `verify`.
        connect_timeout_seconds: For a connection.
        read_timeout_seconds: For a statement.
    """

    def __init__(
        self,
        endpoint: Server,
        username: str,
        password: str,
        *,
        shared_account: bool = False,
        tls: Tls = "off",
        ca_file: str | None = None,
        connect_timeout_seconds: float = 5.0,
        read_timeout_seconds: float = 10.0,
    ) -> None:
        self._endpoint = endpoint
        self._shared = shared_account
        self._login = Login(
            username, password, tls, ca_file, connect_timeout_seconds, read_timeout_seconds
        )

    def __repr__(self) -> str:
        """Return the endpoint and the account, without the password."""
        return f"MySqlSource({self._endpoint}, {self._login.username!r})"

    @property
    def endpoint(self) -> Server:
        """Return the production endpoint."""
        return self._endpoint

    @property
    def login(self) -> Login:
        """Return the account, for what is asked beyond the port."""
        return self._login

    def view(
        self, server: Server, *, file: str | None = None, readers: ServerIdRange | None = None
    ) -> ServerView:
        """Ask one server for everything that an observation needs; never raises."""
        try:
            with open_session(self._login, server) as session:
                return self._view(session, server, file, want_readers=readers is not None)
        except CdcError as error:
            return ServerView(server.host, server.port, problem=str(error))

    def _view(
        self, session: Session, server: Server, file: str | None, *, want_readers: bool
    ) -> ServerView:
        variables = session.variables()
        has_gtid = variables.get("gtid_mode", "").upper() == "ON"
        executed, purged = _gtid_sets(session) if has_gtid else (None, None)
        readers = self._readers(session) if want_readers else None
        binlogs = _inventory(session)
        return ServerView(
            host=server.host,
            port=server.port,
            identity=session.identity(variables),
            end=_end(session),
            read_only=is_read_only(variables),
            gtid_executed=executed,
            gtid_purged=purged,
            binlogs=binlogs,
            readers=readers,
            # Last: the connection is spent by it.
            birth=_birth(session, binlogs, file) if file else None,
        )

    def identity(self, server: Server) -> SourceIdentity:
        """Return which server answers there."""
        with open_session(self._login, server) as session:
            return session.identity(session.variables())

    def birth(self, server: Server, file: str) -> FileBirth | None:
        """Return the first event of a binlog file, None when the server does not hold it."""
        with open_session(self._login, server) as session:
            return _birth(session, _inventory(session), file)

    def end(self, server: Server) -> Coordinates:
        """Return the server's last coordinates.

        Raises:
            SourceError: The server writes no binlog.
        """
        with open_session(self._login, server) as session:
            found = _end(session)
        if found is None:
            raise SourceError(f"{server}: the server writes no binlog", hint="Switch log_bin on")
        return found

    def gtid_position(self, server: Server, place: Coordinates) -> str:
        """Return MariaDB's GTID position of a place in its binlog; empty on MySQL.

        Raises:
            SourceError: The server does not know the place.
        """
        with open_session(self._login, server) as session:
            if session.dialect.flavor != "mariadb":
                return ""
            asked = Statement("SELECT BINLOG_GTID_POS(%s, %s)", (place.file, place.pos))
            found = session.rows(asked)[0][0]
        if found is None:
            raise SourceError(f"{server}: no GTID position is known of {place}")
        return text_of(found)

    def shapes(self, server: Server, tables: Sequence[TableRef]) -> tuple[TableShape, ...]:
        """Return the tables as the server describes them.

        Raises:
            ConfigurationError: A table does not exist.
        """
        with open_session(self._login, server) as session:
            found = describe(session, tables)
        for table in tables:
            if table.label not in found:
                raise ConfigurationError(
                    f"no such table on {server}, or the account may not see it",
                    field="tables",
                    value=table.label,
                    hint="Write it as the server spells it; views cannot be captured",
                )
        return tuple(found[table.label] for table in tables)

    def max_key(self, server: Server, table: TableRef, key: Sequence[str]) -> Key | None:
        """Return the largest primary key, None when the table is empty.

        Raises:
            ConfigurationError: The table is sharded: the shards' keys have no common order.
        """
        if isinstance(table, ShardedTable):
            raise ConfigurationError("shards have no largest key", field="tables",
                                     value=table.label)  # fmt: skip
        with open_session(self._login, server) as session:
            rows = session.rows(largest_key(table.database, table.name, key))
        return tuple(rows[0]) if rows else None

    def count(
        self,
        server: Server,
        table: TableRef,
        *,
        timeout_seconds: float,
        key: Sequence[str] = (),
        bound: Key | None = None,
        where: Statement | None = None,
    ) -> int:
        """Count the rows of a table, up to the key `bound` and meeting `where` where given."""
        with open_session(self._login, server, read_timeout_seconds=timeout_seconds) as session:
            statements = [count_rows(table.database, table.name, key, bound, where)]
            if isinstance(table, ShardedTable):
                found = describe(session, [table]).get(table.label)
                shards = members_of(found) if found is not None else ()
                statements = [count_rows(each.database, each.name, where=where) for each in shards]
            return sum(int(text_of(session.rows(each)[0][0])) for each in statements)

    def _readers(self, session: Session) -> int | None:
        # The account's own threads are shown without the PROCESS privilege; with it, real
        # replicas of other accounts are shown, too, and are no readers of ours.
        rows = session.rows("SHOW PROCESSLIST")
        count = sum(
            1
            for row in rows
            if text_of(row[4]) in _DUMP_COMMANDS and text_of(row[1]) == self._login.username
        )
        return None if self._shared and count else count


def describe(session: Session, tables: Sequence[TableRef]) -> Mapping[str, TableShape]:
    """Return those of the tables that exist, by their label; shards as one table."""
    plain = [table for table in tables if not isinstance(table, ShardedTable)]
    sharded = [table for table in tables if isinstance(table, ShardedTable)]
    found = _described(session, [(table.database, table.name) for table in plain])
    rows = session.rows(list_tables()) if sharded else ()
    names = sorted((text_of(row[0]), text_of(row[1])) for row in rows)
    for table in sharded:
        members = _described(session, [each for each in names if table.matches(*each)])
        if members:
            found[table.label] = union_of(table, list(members.values()))
    return found


def _described(session: Session, names: Sequence[tuple[str, str]]) -> dict[str, TableShape]:
    found: dict[str, TableShape] = {}
    for database in sorted({each for each, _ in names}):
        statements = describe_tables(database, [name for each, name in names if each == database])
        shapes = shapes_of(database, DescribedRows(*(session.rows(each) for each in statements)))
        found |= {shape.label: shape for shape in shapes.values()}
    return found


def is_read_only(variables: Mapping[str, str]) -> bool:
    """Return whether a server refuses the writes of ordinary accounts."""
    return any(
        variables.get(name, "").upper() not in _OFF for name in ("read_only", "innodb_read_only")
    )


def _gtid_sets(session: Session) -> tuple[GtidSet, GtidSet]:
    # SHOW VARIABLES cuts long values; a SELECT does not.
    row = session.rows("SELECT @@GLOBAL.gtid_executed, @@GLOBAL.gtid_purged")[0]
    return GtidSet.parse(text_of(row[0])), GtidSet.parse(text_of(row[1]))


def _end(session: Session) -> Coordinates | None:
    rows = session.rows(session.dialect.show_end)
    return Coordinates(text_of(rows[0][0]), int(text_of(rows[0][1]))) if rows else None


def _inventory(session: Session) -> BinlogInventory | None:
    rows = session.rows_or_none("SHOW BINARY LOGS")
    if rows is None:
        return None
    return BinlogInventory(tuple(BinlogFile(text_of(r[0]), int(text_of(r[1]))) for r in rows))


def _birth(session: Session, binlogs: BinlogInventory | None, file: str) -> FileBirth | None:
    if binlogs is None or binlogs.size_of(file) is None:
        return None
    for statement in prepare_statements(session.dialect.flavor):
        session.rows(statement)
    return read_birth(session.connection, file)
