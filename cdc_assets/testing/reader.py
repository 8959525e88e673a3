"""BinlogReader: how a source of a fake job reads one server's binlog."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cdc_assets.core.gtid import GtidSet
from cdc_assets.core.position import Coordinates
from cdc_assets.ports import SplitPosition
from cdc_assets.testing.source import FakeServer, RowChange, Transaction


class ReaderFailed(Exception):
    """The server refused the position; it ends a fake job and never reaches a caller."""


@dataclass(frozen=True)
class BinlogReader:
    """The position of one captured table's reader.

    Attributes:
        table: `database.table`.
        at: Where it reads: end of the last transaction, or start of the one it is in.
        gtids: Transactions finished before, None when it reads by coordinates.
        skip: Changes of the transaction at `at` that were read already.
        pending: Position after that transaction, which the next heartbeat makes known.
    """

    table: str
    at: Coordinates
    gtids: GtidSet | None = None
    skip: int = 0
    pending: tuple[Coordinates, GtidSet | None] | None = None

    @classmethod
    def start(cls, table: str, at: Coordinates, gtids: str | None = None) -> BinlogReader:
        """Begin at coordinates without state."""
        return cls(table, at, None if gtids is None else GtidSet.parse(gtids))

    @classmethod
    def at_end(cls, table: str, server: FakeServer) -> BinlogReader:
        """Begin at a server's end, as after a snapshot."""
        return cls(table, server.end, server.gtid_executed)

    def read(
        self, server: FakeServer, *, limit: int | None, lagging: bool
    ) -> tuple[BinlogReader, Sequence[RowChange]]:
        """Read on.

        Returns:
            The reader after it, and the changes of its table.

        Raises:
            ReaderFailed: The server does not hold the position.
        """
        ahead = self._ahead(server)
        todo = ahead if limit is None else ahead[:limit]
        if not todo:
            return self.settled(), ()  # a heartbeat
        changes: list[RowChange] = []
        reader = self
        for transaction in todo:
            fresh = transaction.changes
            if reader._is_in(transaction):
                fresh = fresh[reader.skip :]
            changes.extend(change for change in fresh if change.table == self.table)
            reader = reader._after(transaction, server)
        return (reader if lagging else reader.settled()), changes

    def split(self, *, finished: bool) -> SplitPosition:
        """Return the position as a checkpoint holds it."""
        return SplitPosition(
            (self.table,),
            self.at.file,
            self.at.pos,
            None if self.gtids is None else self.gtids.format(),
            skip_events=self.skip,
            skip_rows=0,
            finished=finished,
            # A start inside a transaction reads it from its beginning: rows come again.
            usable_without_state=finished,
            reason="" if finished else "it is inside a snapshot",
        )

    def checkpointed(self) -> BinlogReader:
        """Return what a checkpoint keeps: the position after the open transaction is not in it."""
        return self if self.pending is None else replace(self, pending=None)

    def _ahead(self, server: FakeServer) -> list[Transaction]:
        if self.gtids is not None and server.gtid_purged is not None:
            done = self.gtids
            if self.pending is not None and self.pending[1] is not None:
                done = self.pending[1]
            if server.gtid_purged.subtract(done):
                message = "Cannot replicate because the master purged required binary logs"
                raise ReaderFailed(message)
            return [
                item for item in server.transactions if item.gtids and item.gtids.subtract(done)
            ]
        at = self.at if self.pending is None else self.pending[0]
        size = server.binlogs.size_of(at.file)
        if size is None:
            message = (
                f"The connector is trying to read binlog starting at {at}, but this is no longer "
                f"available on the server"
            )
            raise ReaderFailed(message)
        if at.pos > size:
            message = f"Client requested master to start replication from impossible position {at}"
            raise ReaderFailed(message)
        # A position of another server may fall between two transactions: nothing fails then, and
        # what comes before the next boundary is silently not read.
        return [item for item in server.transactions if _place(item) >= (at.number, at.pos)]

    def _is_in(self, transaction: Transaction) -> bool:
        if self.skip == 0 or self.pending is not None:
            return False
        if self.gtids is not None and transaction.gtids is not None:
            return True  # the first one ahead is the one that was open
        return (transaction.file, transaction.start) == (self.at.file, self.at.pos)

    def _after(self, transaction: Transaction, server: FakeServer) -> BinlogReader:
        before = self.settled()
        gtids = before.gtids if server.gtid_executed is not None else None
        done = gtids
        if gtids is not None and transaction.gtids is not None:
            done = gtids.union(transaction.gtids)
        return replace(
            before,
            at=Coordinates(transaction.file, transaction.start),
            gtids=gtids,
            skip=len(transaction.changes),
            pending=(Coordinates(transaction.file, transaction.end), done),
        )

    def settled(self) -> BinlogReader:
        """Return the reader at the end of the transaction that it has read."""
        if self.pending is None:
            return self
        at, gtids = self.pending
        return replace(self, at=at, gtids=gtids, skip=0, pending=None)


def _place(transaction: Transaction) -> tuple[int, int]:
    return int(transaction.file.rpartition(".")[2]), transaction.start
