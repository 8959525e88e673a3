"""FakeServer and FakeSource: MySQL servers with binlogs, and an endpoint that can move."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from cdc_assets.core.columns import TableShape
from cdc_assets.core.gtid import GtidSet
from cdc_assets.core.observation import ServerView
from cdc_assets.core.position import Coordinates
from cdc_assets.core.row_sql import Statement
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.source import BinlogFile, BinlogInventory, FileBirth, SourceIdentity
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import CdcError, ConfigurationError, SourceDenied, SourceUnreachable
from cdc_assets.ports import Key, Server
from cdc_assets.testing.faults import Faults, When

Row = Mapping[str, object]
# A table `database.table`, a key, and the row; None deletes it.
Write = tuple[str, Key, Row | None]

HEADER_END = 256
ENDPOINT = Server("orders.example", 3306)


@dataclass(frozen=True)
class RowChange:
    """One row of one transaction.

    Attributes:
        uid: The same on every server that applied it, so that repetitions can be counted.
        table: `database.table`.
        row: The row after the change, None when it is gone.
    """

    uid: str
    table: str
    key: Key
    kind: Literal["insert", "update", "delete"]
    row: Row | None


@dataclass(frozen=True)
class Transaction:
    """One transaction in one server's binlog; `start` and `end` are this server's."""

    uid: str
    file: str
    start: int
    end: int
    changes: tuple[RowChange, ...]
    gtids: GtidSet | None = None


@dataclass
class _File:
    name: str
    birth: FileBirth
    size: int = HEADER_END


class FakeServer:
    """One MySQL server: tables, a binlog, and the switches that a blue/green switchover flips.

    Args:
        name: For people, and part of what makes its transactions known.
        address: Its own endpoint.
        identity: What it says of itself.
        gtid: Whether GTID mode is ON.
        born_at: Creation time of its first binlog file.
        overhead: Bytes per transaction besides its rows; two servers that write one history
            differ in it, so that one's positions mean something else on the other.
    """

    def __init__(
        self,
        name: str,
        address: Server,
        identity: SourceIdentity,
        *,
        gtid: bool = False,
        born_at: int = 1_700_000_000,
        overhead: int = 100,
    ) -> None:
        self.name = name
        self.address = address
        self.identity = identity
        self.read_only = False
        self.reachable = True
        self.tables: dict[str, dict[Key, Row]] = {}
        self.transactions: list[Transaction] = []
        self.gtid_executed = GtidSet() if gtid else None
        self.gtid_purged = GtidSet() if gtid else None
        self._born_at = born_at
        self._overhead = overhead
        self._files: list[_File] = []
        self._written = 0
        self._applied: set[str] = set()
        self.rotate()

    @property
    def end(self) -> Coordinates:
        """Return the last coordinates."""
        return Coordinates(self._files[-1].name, self._files[-1].size)

    @property
    def binlogs(self) -> BinlogInventory:
        """Return the files that are still there."""
        return BinlogInventory(tuple(BinlogFile(file.name, file.size) for file in self._files))

    def birth(self, file: str) -> FileBirth | None:
        """Return the first event of a file."""
        return next((item.birth for item in self._files if item.name == file), None)

    def write(self, table: str, key: Key, row: Row) -> Transaction:
        """Insert or update one row."""
        return self.commit([(table, key, row)])

    def delete(self, table: str, key: Key) -> Transaction:
        """Delete one row."""
        return self.commit([(table, key, None)])

    def commit(self, writes: Iterable[Write]) -> Transaction:
        """Write one transaction.

        Raises:
            SourceDenied: The server is read-only.
        """
        if self.read_only:
            message = f"{self.name}: the server is running with the --read-only option"
            raise SourceDenied(message)
        self._written += 1
        uid = f"{self.name}:{self._written}"
        changes: list[RowChange] = []
        for index, (table, key, row) in enumerate(writes):
            known = key in self.tables.get(table, {})
            kind = "delete" if row is None else "update" if known else "insert"
            changes.append(RowChange(f"{uid}.{index}", table, key, kind, row))
            self._apply(changes[-1])
        gtids = None
        if self.gtid_executed is not None:
            gtids = GtidSet.parse(f"{self.identity.server_uuid}:{self._written}")
        return self._append(Transaction(uid, "", 0, 0, tuple(changes), gtids))

    def replicate_from(self, other: FakeServer) -> None:
        """Apply what the other server has and this one has not, read-only or not."""
        for transaction in other.transactions:
            if transaction.uid not in self._applied:
                for change in transaction.changes:
                    self._apply(change)
                self._append(transaction)

    def rotate(self) -> None:
        """Begin a new binlog file."""
        number = self._number_of_last() + 1
        name = f"mysql-bin-changelog.{number:06d}"
        birth = FileBirth(name, self._born_at + number, self.identity.server_id)
        self._files.append(_File(name, birth))

    def purge_before(self, file: str) -> None:
        """Remove the files before this one, and what is in them."""
        names = [item.name for item in self._files]
        gone = set(names[: names.index(file)])
        for transaction in self.transactions:
            if transaction.file in gone and self.gtid_purged is not None and transaction.gtids:
                self.gtid_purged = self.gtid_purged.union(transaction.gtids)
        self.transactions = [item for item in self.transactions if item.file not in gone]
        self._files = [item for item in self._files if item.name not in gone]

    def _number_of_last(self) -> int:
        return int(self._files[-1].name.rpartition(".")[2]) if self._files else 0

    def _apply(self, change: RowChange) -> None:
        rows = self.tables.setdefault(change.table, {})
        if change.row is None:
            rows.pop(change.key, None)
        else:
            rows[change.key] = change.row

    def _append(self, transaction: Transaction) -> Transaction:
        file = self._files[-1]
        start, size = file.size, self._overhead + 50 * len(transaction.changes)
        file.size += size
        placed = replace(transaction, file=file.name, start=start, end=start + size)
        self.transactions.append(placed)
        self._applied.add(placed.uid)
        if self.gtid_executed is not None and placed.gtids is not None:
            self.gtid_executed = self.gtid_executed.union(placed.gtids)
        return placed


class FakeSource:
    """Several servers and the production endpoint, as `ports.Source` wants it.

    Args:
        servers: The first one is behind the endpoint.
        endpoint: The production endpoint's address.
    """

    def __init__(self, *servers: FakeServer, endpoint: Server = ENDPOINT) -> None:
        self.faults = Faults()
        self.servers = list(servers)
        self.defined: dict[str, TableShape] = {}
        # What each count was asked to count.
        self.conditions: list[Statement | None] = []
        # Binlog connections: job id to server and server ids. The engine keeps them.
        self.connections: dict[str, tuple[FakeServer, ServerIdRange]] = {}
        self._endpoint = endpoint
        self._behind = servers[0]

    @property
    def endpoint(self) -> Server:
        """Return the production endpoint."""
        return self._endpoint

    @property
    def production(self) -> FakeServer:
        """Return the server behind the endpoint."""
        return self._behind

    def move_endpoint(self, server: FakeServer) -> None:
        """Let the endpoint lead to another server."""
        self._behind = server

    def define(self, *shapes: TableShape) -> None:
        """Say what tables look like."""
        self.defined |= {shape.label: shape for shape in shapes}

    def fail_next(
        self, method: str, *, when: When = "before", error: BaseException | None = None
    ) -> None:
        """Let the next call of a method fail; see `Faults.fail_next`."""
        self.faults.fail_next(method, when=when, error=error)

    def server_at(self, address: Server) -> FakeServer:
        """Return the server that answers at an address.

        Raises:
            SourceUnreachable: None does.
        """
        if address == self._endpoint:
            found: FakeServer | None = self._behind
        else:
            found = next((item for item in self.servers if item.address == address), None)
        if found is None or not found.reachable:
            message = f"{address}: connection refused"
            raise SourceUnreachable(message)
        return found

    def view(
        self, server: Server, *, file: str | None = None, readers: ServerIdRange | None = None
    ) -> ServerView:
        """Return everything about one server; a failure is its `problem`."""
        try:
            found = self._answer("view", server)
        except CdcError as error:
            return ServerView(server.host, server.port, problem=str(error))
        return ServerView(
            server.host,
            server.port,
            identity=found.identity,
            birth=found.birth(file) if file else None,
            end=found.end,
            read_only=found.read_only,
            gtid_executed=found.gtid_executed,
            gtid_purged=found.gtid_purged,
            binlogs=found.binlogs,
            readers=None if readers is None else self._count_readers(found, readers),
        )

    def identity(self, server: Server) -> SourceIdentity:
        """Return which server answers there."""
        return self._answer("identity", server).identity

    def birth(self, server: Server, file: str) -> FileBirth | None:
        """Return the first event of a binlog file."""
        return self._answer("birth", server).birth(file)

    def end(self, server: Server) -> Coordinates:
        """Return the server's last coordinates."""
        return self._answer("end", server).end

    def shapes(self, server: Server, tables: Sequence[TableRef]) -> tuple[TableShape, ...]:
        """Return the tables that were defined."""
        self._answer("shapes", server)
        for table in tables:
            if table.label not in self.defined:
                raise ConfigurationError("no such table", field="tables", value=table.label)
        return tuple(self.defined[table.label] for table in tables)

    def max_key(self, server: Server, table: TableRef, key: Sequence[str]) -> Key | None:
        """Return the largest key."""
        del key
        rows = self._answer("max_key", server).tables.get(table.label, {})
        return max(rows, key=_comparable) if rows else None

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
        """Count the rows, up to the key `bound` where one is given; a condition is kept only."""
        del timeout_seconds, key
        self.conditions.append(where)
        return count_up_to(self._answer("count", server).tables.get(table.label, {}), bound)

    def _answer(self, method: str, server: Server) -> FakeServer:
        self.faults.check(method, "before")
        found = self.server_at(server)
        self.faults.check(method, "after")
        return found

    def _count_readers(self, server: FakeServer, ids: ServerIdRange) -> int:
        return sum(
            1
            for connected, used in self.connections.values()
            if connected is server and used.overlaps(ids)
        )


def count_up_to(rows: Iterable[Key], bound: Key | None) -> int:
    """Count keys, up to and with `bound` where one is given."""
    return sum(1 for key in rows if bound is None or _comparable(key) <= _comparable(bound))


def _comparable(key: Key) -> tuple[tuple[int, float, str], ...]:
    # Numbers by value and everything else by its text; a key column has one type anyway.
    return tuple(
        (0, float(part), "") if isinstance(part, (int, float)) else (1, 0.0, str(part))
        for part in key
    )
