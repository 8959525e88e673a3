"""A scripted server: statements in, rows or errors out, at the seam where the driver connects."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pymysql
import pytest

Rows = Sequence[Sequence[object]]


def refused(number: int, text: str = "refused") -> pymysql.err.MySQLError:
    """Return the driver's error for a server's error number."""
    return pymysql.err.OperationalError(number, text)


def event(kind: int, *, created_at: int = 1_700_000_000, server_id: int = 101) -> bytes:
    """Return a packet of a binlog stream with one event's header."""
    return b"\x00" + struct.pack("<IBIIIH", created_at, kind, server_id, 120, 124, 0)


@dataclass
class ScriptedServer:
    """What the next connections are answered.

    Attributes:
        answers: Rows or an error, by the beginning of a statement; the longest one counts.
        packets: What a binlog dump sends.
        refusal: Raised when a connection is opened.
        said: Every statement.
        dumps: Every binlog dump request.
        given: How the last connection was opened.
        open: Connections that are not closed.
    """

    answers: dict[str, object] = field(default_factory=dict)
    packets: list[bytes] = field(default_factory=list)
    refusal: Exception | None = None
    said: list[str] = field(default_factory=list)
    dumps: list[bytes] = field(default_factory=list)
    given: Mapping[str, object] = field(default_factory=dict)
    open: int = 0

    def connect(self, **given: object) -> ScriptedConnection:
        """Stand in for `pymysql.connect`."""
        self.given = given
        if self.refusal is not None:
            raise self.refusal
        self.open += 1
        return ScriptedConnection(self)

    def answer(self, statement: str) -> Rows:
        """Return the rows of a statement, or raise its error."""
        self.said.append(statement)
        known = [start for start in self.answers if statement.startswith(start)]
        found = self.answers[max(known, key=len)] if known else ()
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[return-value]  # an error was raised above


class ScriptedConnection:
    """One connection; a cursor of its own and the two private methods that births use."""

    def __init__(self, server: ScriptedServer) -> None:
        self._server = server
        self._rows: Rows = ()

    def cursor(self) -> contextlib.AbstractContextManager[ScriptedConnection]:
        return contextlib.nullcontext(self)

    def execute(self, statement: str, values: Sequence[object] | None = None) -> None:
        text = statement if values is None else statement % tuple(map(repr, values))
        self._rows = self._server.answer(text)

    def fetchall(self) -> Rows:
        return self._rows

    def fetchone(self) -> Sequence[object] | None:
        return self._rows[0] if self._rows else None

    def close(self) -> None:
        self._server.open -= 1

    def _execute_command(self, command: int, sql: bytes) -> None:
        assert command == 0x12
        self._server.dumps.append(sql)

    def _read_packet(self) -> ScriptedPacket:
        packet = self._server.packets.pop(0)
        if packet[:1] == b"\xff":
            raise refused(struct.unpack_from("<H", packet, 1)[0])
        return ScriptedPacket(packet)


@dataclass(frozen=True)
class ScriptedPacket:
    """One packet."""

    data: bytes

    def get_all_data(self) -> bytes:
        return self.data


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> ScriptedServer:
    """Return a server that says MySQL 8.0 and nothing else; the driver connects to it."""
    scripted = ScriptedServer({"SELECT VERSION()": [("8.0.36",)]})
    monkeypatch.setattr(pymysql, "connect", scripted.connect)
    return scripted
