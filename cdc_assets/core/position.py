"""Position: where a stream is in a server's binlog, and how two positions compare."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from cdc_assets.core.gtid import GtidSet
from cdc_assets.core.source import (
    FIRST_EVENT,
    MAX_OFFSET,
    FileBirth,
    SourceIdentity,
    same_server,
)
from cdc_assets.errors import UnreadablePosition

Order = Literal["BEFORE", "SAME", "AFTER", "DIVERGED"]

_FILE = re.compile(r"[^/\\\s\x00]{1,200}\.[0-9]{1,12}")


@dataclass(frozen=True)
class Coordinates:
    """(binlog file, byte offset): physical, meaningful on one server only.

    Raises:
        UnreadablePosition: The file name has no number, or the offset is not from 4 to 2^63 - 1.
    """

    file: str
    pos: int

    def __post_init__(self) -> None:
        """Refuse what no server would print."""
        if not _FILE.fullmatch(self.file):
            raise UnreadablePosition(f"{self.file[:80]!r} is not a binlog file name")
        if not FIRST_EVENT <= self.pos <= MAX_OFFSET:
            raise UnreadablePosition(f"{self.pos} is not an offset in {self.file}")

    @property
    def base(self) -> str:
        """Return the file name without its number."""
        return self.file.rpartition(".")[0]

    @property
    def number(self) -> int:
        """Return the number of the file: 999999 is followed by 1000000, so text order is wrong."""
        return int(self.file.rpartition(".")[2])

    def __str__(self) -> str:
        """Return `file:pos`."""
        return f"{self.file}:{self.pos}"


@dataclass(frozen=True)
class Position:
    """The resumable value that is recorded.

    Attributes:
        coordinates: Start of the transaction being read, or end of the last one.
        identity: The server that `coordinates` are about.
        birth: First event of the file, where it could be read.
        gtid_set: Transactions finished before; None on a server without GTID.
        skip_events: Events of the open transaction that were read already.
        skip_rows: Rows of the next event that were read already.
    """

    coordinates: Coordinates
    identity: SourceIdentity
    birth: FileBirth | None = None
    gtid_set: GtidSet | None = None
    skip_events: int = 0
    skip_rows: int = 0

    @property
    def in_transaction(self) -> bool:
        """Return whether a part of the open transaction was read already."""
        return bool(self.skip_events or self.skip_rows)

    def with_gtid_set(self, gtid_set: GtidSet | None) -> Position:
        """Return a copy with another GTID set."""
        return replace(self, gtid_set=gtid_set)

    def __str__(self) -> str:
        """Return the position in one line for people."""
        skip = f"+{self.skip_events}e{self.skip_rows}r" if self.in_transaction else ""
        gtids = f" gtid {self.gtid_set.format()}" if self.gtid_set else ""
        return f"{self.coordinates}{skip}{gtids} on server_id={self.identity.server_id}"


def compare_coordinates(left: Coordinates, right: Coordinates) -> Order:
    """Order two coordinates of one server; other base names are DIVERGED."""
    if left.base != right.base:
        return "DIVERGED"
    return _order((left.number, left.pos), (right.number, right.pos))


def compare(left: Position, right: Position) -> Order:
    """Say where `left` is, seen from `right`.

    Where both carry a GTID set, inclusion decides, on any pair of servers; two sets of
    which neither includes the other are DIVERGED. Without GTID the coordinates decide,
    and only when both are proved to be about the same server. Everything else is
    DIVERGED: there is no order, and none is guessed.
    """
    if left.gtid_set is not None and right.gtid_set is not None:
        return _compare_gtid(left, left.gtid_set, right, right.gtid_set)
    if same_server(left.identity, left.birth, right.identity, right.birth) != "same":
        return "DIVERGED"
    order = compare_coordinates(left.coordinates, right.coordinates)
    if order != "SAME":
        return order
    return _order((left.skip_events, left.skip_rows), (right.skip_events, right.skip_rows))


def _compare_gtid(left: Position, a: GtidSet, right: Position, b: GtidSet) -> Order:
    if a == b:
        return _compare_open(left, right)
    if b.contains(a):
        return "BEFORE"
    if a.contains(b):
        return "AFTER"
    return "DIVERGED"


def _compare_open(left: Position, right: Position) -> Order:
    """Order two positions after the same transactions by how far the next one was read.

    Two servers may write one transaction as different events, and may have different next
    transactions, so two parts of a transaction are only compared at one place of one server.
    """
    if left.in_transaction and right.in_transaction:
        same = same_server(left.identity, left.birth, right.identity, right.birth)
        if same != "same" or left.coordinates != right.coordinates:
            return "DIVERGED"
    return _order((left.skip_events, left.skip_rows), (right.skip_events, right.skip_rows))


def _order(left: tuple[int, int], right: tuple[int, int]) -> Order:
    if left == right:
        return "SAME"
    return "BEFORE" if left < right else "AFTER"


def reached(position: Position, end: Coordinates, files: tuple[str, ...] = ()) -> bool:
    """Say whether a drained position is at the frozen end of its server.

    The caller has proved that both are about one server. A read-only old blue may
    rotate to a fresh file that holds a header only (recovery.md L13), so a position at
    the start of a later file of the same server is past the end, too.

    Args:
        position: The stream's position.
        end: The server's last coordinates, read twice and unchanged.
        files: Names of the files that the server holds, to refuse one it does not.
    """
    if files and position.coordinates.file not in files:
        return False
    order = compare_coordinates(position.coordinates, end)
    return order == "AFTER" or (order == "SAME" and not position.in_transaction)
