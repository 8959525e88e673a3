"""SourceIdentity and BinlogInventory: what a server is, and what it still holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# A binlog file begins with a magic of 4 bytes; the first event stands at 4.
FIRST_EVENT = 4
# What a signed 64-bit column of the ledger holds; no binlog file is longer.
MAX_OFFSET = 2**63 - 1

# `kafka`: of a stream that reads topics; the uuid is the cluster's id.
Flavor = Literal["mysql", "mariadb", "kafka"]
Sameness = Literal["same", "different", "unknown"]


@dataclass(frozen=True)
class FileBirth:
    """The first event of a binlog file, which tells it from another of the same name.

    The format description event carries the creation time and the server id of the
    server that wrote the file (MySQL internals, "Format_description_event"). It does
    not change over restarts: the file is never rewritten.

    Attributes:
        file: Name of the binlog file.
        created_at: Seconds since 1970, UTC.
        server_id: `server_id` of the writer at that time.
    """

    file: str
    created_at: int
    server_id: int


@dataclass(frozen=True)
class SourceIdentity:
    """Which server, and so which binlog history, a position is about.

    Attributes:
        flavor: `mysql`, `mariadb`, or `kafka` for a cluster of brokers.
        version: As the server says it. Not part of the identity: an upgrade in place
            keeps the binlogs.
        server_id: Set by a person, so never enough alone.
        server_uuid: `@@server_uuid`; None on MariaDB. Its `@@server_uid` (11.4) is a hash
            of the port and the network card's address: other data on the same port has
            the same one, and data that moves to another machine gets another.
        resource_id: RDS `DbiResourceId` or `DbClusterResourceId`, when known. It stays
            with the server when a switchover moves its name.
    """

    flavor: Flavor
    version: str
    server_id: int
    server_uuid: str | None = None
    resource_id: str | None = None

    def label(self) -> str:
        """Return a short text for people."""
        mark = self.server_uuid or self.resource_id or "no uuid"
        return f"{self.flavor} {self.version} server_id={self.server_id} ({mark})"


def same_server(
    recorded: SourceIdentity,
    recorded_birth: FileBirth | None,
    found: SourceIdentity,
    found_birth: FileBirth | None,
) -> Sameness:
    """Say whether `found` is the server that `recorded` was, with the same binlogs.

    Another birth of the recorded binlog file proves another binlog history, also on one server:
    after RESET MASTER its file names begin anew, and an old position means something else. Then
    a uuid decides where both sides have one. Without it (MariaDB 10.11) the birth decides:
    `found` must hold a file of that name with the same first event. A missing file proves
    nothing: it may be purged, or the server may be another one. A resource id comes last,
    because it is what the RDS API says of a name, not what the server says of itself, and the
    two change at different moments.

    Args:
        recorded: Identity beside the position.
        recorded_birth: Birth of the position's file when the position was recorded.
        found: Identity of the server now.
        found_birth: Birth of the file of the same name on that server now.
    """
    if recorded.flavor != found.flavor:
        return "different"
    births = bool(recorded_birth and found_birth and recorded_birth.file == found_birth.file)
    if births and recorded_birth != found_birth:
        return "different"
    if recorded.server_uuid and found.server_uuid:
        return "same" if recorded.server_uuid == found.server_uuid else "different"
    if births:
        return "same"
    if recorded.resource_id and found.resource_id:
        return "same" if recorded.resource_id == found.resource_id else "different"
    if recorded.server_id != found.server_id:
        return "different"
    return "unknown"


@dataclass(frozen=True)
class BinlogFile:
    """One binlog file and its size in bytes."""

    name: str
    size: int


@dataclass(frozen=True)
class BinlogInventory:
    """The binlog files that a server still holds, oldest first."""

    files: tuple[BinlogFile, ...]

    def size_of(self, name: str) -> int | None:
        """Return the size of a file in bytes, None when the server does not hold it."""
        return next((file.size for file in self.files if file.name == name), None)

    def covers(self, name: str, pos: int) -> bool:
        """Return whether reading from this place is possible: the file is there, and long enough.

        A server answers error 1236 to a position past the end of its file, and reads
        rubbish or skips silently from a position inside another server's file; the
        second cannot be seen here and needs `same_server`.
        """
        size = self.size_of(name)
        return size is not None and FIRST_EVENT <= pos <= size
