"""The birth of a binlog file: its first event, read as a replica would read it.

`SHOW BINLOG EVENTS` shows neither the time nor, on MariaDB, the original server id of the
event, so the event itself is asked for. The account needs REPLICATION SLAVE, which the
readers need anyway.
"""

from __future__ import annotations

import struct
from typing import Protocol, cast

import pymysql

from cdc_assets.core.position import FIRST_EVENT
from cdc_assets.core.source import FileBirth
from cdc_assets.errors import SourceError

_COM_BINLOG_DUMP = 0x12
_NON_BLOCKING = 1
# Server id 0 is no replica: MySQL looks for readers to throw out only when the id is not 0
# or a replica uuid is given, and no reader of a stream has it (mysqlbinlog uses it, too).
_NO_SERVER_ID = 0
_HEADER = struct.Struct("<IBIIIH")  # time, type, server id, size, end, flags
_FORMAT_DESCRIPTION = 15
# A made-up ROTATE event comes first; a server may put a heartbeat in between.
_EVENTS_BEFORE = 8
_GONE = 1236
_EVENT = 0x00
_END = 0xFE


class _Packet(Protocol):
    def get_all_data(self) -> bytes: ...


class _Wire(Protocol):
    """The two private methods of a pymysql connection that send and read one packet.

    python-mysql-replication builds on the same two; pymysql has no public ones.
    """

    def _execute_command(self, command: int, sql: bytes) -> None: ...

    def _read_packet(self) -> _Packet: ...


def read_birth(connection: object, file: str) -> FileBirth | None:
    """Read the first event of a binlog file.

    The connection is good for nothing afterwards: the server goes on sending. Close it.

    Args:
        connection: A pymysql connection.
        file: Name of the binlog file.

    Returns:
        The birth, None when the server does not hold the file.

    Raises:
        SourceError: The server sends something else.
    """
    wire = cast("_Wire", connection)
    name = file.encode()
    request = struct.pack("<IHI", FIRST_EVENT, _NON_BLOCKING, _NO_SERVER_ID) + name
    try:
        wire._execute_command(_COM_BINLOG_DUMP, request)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  see _Wire
        for _ in range(_EVENTS_BEFORE):
            packet = wire._read_packet().get_all_data()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  see _Wire
            if packet[:1] == bytes([_END]):
                return None
            birth = birth_of(packet, file)
            if birth is not None:
                return birth
    except pymysql.err.MySQLError as error:
        if error.args and error.args[0] == _GONE:
            return None
        raise
    raise SourceError(f"{file}: the server sent no format description event")


def birth_of(packet: bytes, file: str) -> FileBirth | None:
    """Return the birth that a packet of a binlog stream holds, None when it is another event.

    Raises:
        SourceError: The packet is too short to be an event.
    """
    if packet[:1] != bytes([_EVENT]) or len(packet) < 1 + _HEADER.size:
        raise SourceError(f"{file}: the server sent {len(packet)} bytes that are no binlog event")
    created_at, kind, server_id, _, _, _ = _HEADER.unpack_from(packet, 1)
    if kind != _FORMAT_DESCRIPTION:
        return None
    return FileBirth(file, created_at, server_id)


def prepare_statements(flavor: str) -> tuple[str, ...]:
    """Return what a session must say before it asks for binlog events.

    Without the first, a server with checksums answers that this replica cannot read them;
    without the second, MariaDB rewrites events for an old replica.
    """
    checksum = "SET @master_binlog_checksum = 'NONE', @source_binlog_checksum = 'NONE'"
    if flavor == "mariadb":
        return (checksum, "SET @mariadb_slave_capability = 4")
    return (checksum,)
