"""Writes `_metadata` files the way Flink and Flink CDC do, for the tests of the reader.

It shares no code with the reader, so that an error in one shows against the other.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

FIXTURES = Path(__file__).parents[2] / "fixtures" / "checkpoints"
_FIXTURE = (FIXTURES / "flink-1.20.4-v4-binlog" / "_metadata").read_bytes()
PROPERTIES = _FIXTURE[_FIXTURE.index(b"\xac\xed\x00\x05") :]

Storage = Literal["inline", "relative", "absolute"]
NEVER = '{"ts_sec":"0","file":"","pos":"-9223372036854775808","kind":"NON_STOPPING"}'


class Out:
    """Java's DataOutput."""

    def __init__(self) -> None:
        self.data = bytearray()

    def __len__(self) -> int:
        return len(self.data)

    def i8(self, value: int) -> None:
        self.data += struct.pack(">b", value)

    def i32(self, value: int) -> None:
        self.data += struct.pack(">i", value)

    def i64(self, value: int) -> None:
        self.data += struct.pack(">q", value)

    def utf(self, text: str) -> None:
        raw = java_utf8(text)
        self.data += struct.pack(">H", len(raw)) + raw

    def block(self, data: bytes) -> None:
        self.i32(len(data))
        self.data += data


def java_utf8(text: str) -> bytes:
    out = b""
    for char in text:
        code = ord(char)
        if code == 0:
            out += b"\xc0\x80"
        elif code > 0xFFFF:
            code -= 0x10000
            for half in (0xD800 + (code >> 10), 0xDC00 + (code & 0x3FF)):
                out += chr(half).encode("utf-8", "surrogatepass")
        else:
            out += char.encode()
    return out


def offset(file: str = "bin.000001", pos: int = 4, **more: str | int | None) -> str:
    """Return an offset's JSON as Flink CDC writes it; `more` adds or replaces keys."""
    fields: dict[str, str | None] = {
        "transaction_id": None,
        "ts_sec": "0",
        "file": file,
        "pos": str(pos),
        "kind": "SPECIFIC",
        "row": "0",
        "event": "0",
    }
    fields |= {key: None if value is None else str(value) for key, value in more.items()}
    return json.dumps(fields, separators=(",", ":"))


@dataclass
class Finished:
    table: tuple[str, str]
    split_id: str
    watermark: str


@dataclass
class Binlog:
    starting: str = field(default_factory=offset)
    ending: str | None = NEVER
    finished: list[Finished] = field(default_factory=list)
    tables: list[tuple[str, str]] = field(default_factory=list)
    total: int | None = None
    suspended: bool = False

    def write(self) -> bytes:
        out = Out()
        out.i32(2)
        out.utf("binlog-split")
        out.utf("")
        write_offset(out, self.starting)
        write_offset(out, self.ending)
        out.i32(len(self.finished))
        for one in self.finished:
            out.utf(quoted(one.table))
            out.utf(one.split_id)
            out.utf("aced0005")
            out.utf("aced0005")
            write_offset(out, one.watermark)
        write_schemas(out, self.tables)
        out.i32(len(self.finished) if self.total is None else self.total)
        out.i8(self.suspended)
        return bytes(out.data)


@dataclass
class Snapshot:
    table: tuple[str, str] = ("shop", "orders")
    split_id: str = "shop.orders:0"
    watermark: str | None = None

    def write(self) -> bytes:
        out = Out()
        out.i32(1)
        out.utf(quoted(self.table, "`"))
        out.utf(self.split_id)
        out.utf("ROW<`id` BIGINT NOT NULL>")
        out.utf("aced")
        out.utf("aced")
        write_offset(out, self.watermark)
        write_schemas(out, [])
        return bytes(out.data)


@dataclass
class KafkaSplit:
    """A partition as Kafka's source keeps it, split version 0."""

    topic: str = "lab.order"
    partition: int = 0
    offset: int = 0

    def write(self) -> bytes:
        out = Out()
        out.utf(self.topic)
        out.i32(self.partition)
        out.i64(self.offset)
        out.i64(-(2**63))  # never stops
        return bytes(out.data)


@dataclass
class Coordinator:
    flag: int = 3
    processed: list[tuple[str, str]] = field(default_factory=list)
    remaining: list[Snapshot] = field(default_factory=list)
    assigned: list[Snapshot] = field(default_factory=list)
    finished: list[tuple[str, str]] = field(default_factory=list)
    status: int = 1
    tables_remaining: list[tuple[str, str]] = field(default_factory=list)
    splitting: tuple[str, str] | None = None
    binlog_assigned: bool = True

    def write(self) -> bytes:
        body = Out()
        body.i32(4)
        body.i32(self.flag)
        if self.flag != 2:
            self.write_snapshot(body)
        if self.flag != 1:
            body.i8(self.binlog_assigned)
        out = Out()
        out.i32(1)
        out.i32(5)
        out.block(bytes(body.data))
        return bytes(out.data)

    def write_snapshot(self, out: Out) -> None:
        write_tables(out, self.processed)
        out.i32(len(self.remaining))
        for split in self.remaining:
            out.block(split.write())
        out.i32(len(self.assigned))
        for split in self.assigned:
            out.utf(split.split_id)
            out.block(split.write())
        out.i32(len(self.finished))
        for split_id, watermark in self.finished:
            out.utf(split_id)
            write_offset(out, watermark)
        out.i32(self.status)
        write_tables(out, self.tables_remaining)
        out.i8(0)
        write_schemas(out, self.processed)
        out.i8(self.splitting is not None)
        if self.splitting:
            out.utf(quoted(self.splitting))
            out.utf("aced")
            out.i32(7)


@dataclass
class Reader:
    """The managed operator state of a source subtask; `others` are further named states."""

    splits: list[Binlog | Snapshot | KafkaSplit] = field(default_factory=list)
    storage: Storage = "inline"
    others: dict[str, list[bytes]] = field(default_factory=dict)
    compressed: bool = False
    split_version: int = 4
    handle: int = 4
    mode: int = 0

    def write(self) -> tuple[bytes, list[tuple[str, int, list[int]]]]:
        out = Out()
        out.i32(6)
        out.i8(self.compressed)
        out.data += struct.pack(">h", 1 + len(self.others)) + b"meta" + struct.pack(">h", 0)
        names = sorted(self.others)
        before, after = names[::2], names[1::2]
        states = [(name, 0, self._elements(out, self.others[name])) for name in before]
        offsets: list[int] = []
        for split in self.splits:
            offsets.append(len(out))
            data = split.write()
            out.i32(len(data) + 8)
            out.i32(self.split_version)
            out.block(data)
        states.append(("SourceReaderState", self.mode, offsets))
        states += [(name, 1, self._elements(out, self.others[name])) for name in after]
        return bytes(out.data), states

    def _elements(self, out: Out, elements: list[bytes]) -> list[int]:
        offsets: list[int] = []
        for element in elements:
            offsets.append(len(out))
            out.block(element)
        return offsets


@dataclass
class Subtask:
    index: int = 0
    reader: Reader | None = None
    raw: bytes | None = None
    keyed: tuple[bytes, bytes] = (b"\x00", b"\x00")
    inputs: list[bytes] = field(default_factory=list)
    outputs: list[bytes] = field(default_factory=list)
    finished: bool = False


@dataclass
class Operator:
    id: str = "cbc357ccb763df2852fee8c4fc7d55f2"
    name: str = ""
    uid: str = ""
    parallelism: int = 1
    max_parallelism: int = 128
    coordinator: Coordinator | bytes | None = None
    coordinator_storage: Storage = "inline"
    subtasks: list[Subtask] = field(default_factory=list)
    fully_finished: bool = False


@dataclass
class Job:
    version: int = 4
    checkpoint_id: int = 7
    masters: list[bytes] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)

    def write(self, directory: Path) -> bytes:
        """Write `_metadata` and its files to a directory; return the bytes of `_metadata`."""
        directory.mkdir(parents=True, exist_ok=True)
        out = Out()
        out.i32(0x4960672D)
        out.i32(self.version)
        out.i64(self.checkpoint_id)
        out.i32(len(self.masters))
        for master in self.masters:
            out.data += struct.pack(">I", 0xC96B1696)
            out.block(master)
        out.i32(len(self.operators))
        for operator in self.operators:
            _Writer(out, directory, self.version).operator(operator)
        if self.version >= 4:
            out.data += PROPERTIES
        (directory / "_metadata").write_bytes(out.data)
        return bytes(out.data)


@dataclass
class _Writer:
    out: Out
    directory: Path
    version: int

    def operator(self, one: Operator) -> None:
        out = self.out
        if self.version >= 5:
            out.utf(one.name)
            out.utf(one.uid)
        out.data += bytes.fromhex(one.id)
        out.i32(one.parallelism)
        out.i32(one.max_parallelism)
        state = one.coordinator
        if state is None:
            out.i8(0)
        else:
            data = state if isinstance(state, bytes) else state.write()
            self.stream(data, one.coordinator_storage, f"{one.id}-coordinator")
        if one.fully_finished:
            out.i32(-1)
            return
        out.i32(len(one.subtasks))
        for subtask in one.subtasks:
            self.subtask(one, subtask)

    def subtask(self, operator: Operator, one: Subtask) -> None:
        out = self.out
        if one.finished:
            out.i32(-one.index - 1)
            return
        out.i32(one.index)
        out.i32(one.reader is not None)
        if one.reader is not None:
            self.reader(one.reader, f"{operator.id}-{one.index}")
        out.i32(one.raw is not None)
        out.data += one.raw or b""
        out.data += one.keyed[0] + one.keyed[1]
        for channels in (one.inputs, one.outputs):
            out.i32(len(channels))
            out.data += b"".join(channels)

    def reader(self, one: Reader, name: str) -> None:
        out = self.out
        data, states = one.write()
        out.i8(one.handle)
        out.i32(len(states))
        for state, mode, offsets in states:
            out.utf(state)
            out.i8(mode)
            out.i32(len(offsets))
            for position in offsets:
                out.i64(position)
        if one.handle == 17:
            out.utf("taskowned")
            out.utf("shared")
            out.i8(0)
        self.stream(data, one.storage, name)

    def stream(self, data: bytes, storage: Storage, name: str) -> None:
        out = self.out
        if storage == "inline":
            out.data += inline(data)
            return
        path = self.directory / name
        path.write_bytes(data)
        if storage == "relative":
            out.data += relative(name, len(data))
        else:
            out.data += absolute(f"file:{path}", len(data))


def inline(data: bytes) -> bytes:
    out = Out()
    out.i8(1)
    out.utf("5f0f1e9c-handle")
    out.block(data)
    return bytes(out.data)


def relative(name: str, size: int) -> bytes:
    out = Out()
    out.i8(6)
    out.utf(name)
    out.i64(size)
    return bytes(out.data)


def absolute(path: str, size: int) -> bytes:
    out = Out()
    out.i8(2)
    out.i64(size)
    out.utf(path)
    return bytes(out.data)


def segment(path: str, start: int, size: int) -> bytes:
    out = Out()
    out.i8(15)
    out.i64(start)
    out.i64(size)
    out.i32(1)
    out.utf(path)
    out.utf("logical-id")
    return bytes(out.data)


def key_groups(kind: int, stream: bytes) -> bytes:
    """Types 3, 7 and 12."""
    out = Out()
    out.i8(kind)
    out.i32(0)
    out.i32(2)
    out.i64(11)
    out.i64(22)
    out.data += stream
    if kind == 12:
        out.utf("handle-id")
    return bytes(out.data)


def incremental(kind: int, meta: bytes, shared: list[bytes], private: list[bytes]) -> bytes:
    """Types 5 and 11."""
    out = Out()
    out.i8(kind)
    out.i64(7)
    out.utf("b0f5e3f0-0000-0000-0000-000000000000")
    out.i32(0)
    out.i32(128)
    if kind == 11:
        out.i64(12345)
    out.data += meta
    for files in (shared, private):
        out.i32(len(files))
        for number, stream in enumerate(files):
            out.utf(f"{number:06}.sst")
            out.data += stream
    if kind == 11:
        out.utf("handle-id")
    return bytes(out.data)


def changelog(kind: int, base: list[bytes], delta: list[bytes]) -> bytes:
    """Types 8 and 14."""
    out = Out()
    out.i8(kind)
    out.i32(0)
    out.i32(128)
    out.i64(99)
    for handles in (base, delta):
        out.i32(len(handles))
        out.data += b"".join(handles)
    out.i64(3)
    if kind == 14:
        out.i64(7)
    out.utf("handle-id")
    return bytes(out.data)


def changelog_bytes(changes: list[bytes]) -> bytes:
    """Type 9."""
    out = Out()
    out.i8(9)
    out.i32(0)
    out.i32(128)
    out.i64(1)
    out.i64(2)
    out.i32(len(changes))
    for change in changes:
        out.i32(5)
        out.block(change)
    out.utf("handle-id")
    return bytes(out.data)


def changelog_files(kind: int, streams: list[bytes]) -> bytes:
    """Types 10 and 13."""
    out = Out()
    out.i8(kind)
    out.i32(0)
    out.i32(128)
    out.i32(len(streams))
    for stream in streams:
        out.i64(17)
        out.data += stream
    out.i64(100)
    out.i64(50)
    out.utf("handle-id")
    if kind == 13:
        out.utf("filesystem")
    return bytes(out.data)


def channel(version: int, stream: bytes, *, merged: bool = False) -> bytes:
    """In-flight records of an unaligned checkpoint."""
    out = Out()
    if version >= 6:
        out.i8(3 if merged else 1)
    out.i32(0)
    if merged and version >= 6:
        out.i64(64)
        out.data += stream
        out.block(b"offsets")
        return bytes(out.data)
    out.i32(0)
    out.i32(0)
    out.i32(1)
    out.i64(0)
    out.i64(64)
    out.data += stream
    return bytes(out.data)


def quoted(table: tuple[str, str], quote: str = '"') -> str:
    return ".".join(quote + part.replace(quote, quote * 2) + quote for part in table)


def write_offset(out: Out, text: str | None) -> None:
    out.i8(text is not None)
    if text is not None:
        out.block(text.encode())


def write_schemas(out: Out, tables: list[tuple[str, str]]) -> None:
    out.i32(len(tables))
    for table in tables:
        out.utf(quoted(table))
        out.block(b'{"type":"CREATE"}')


def write_tables(out: Out, tables: list[tuple[str, str]]) -> None:
    out.i32(len(tables))
    for table in tables:
        out.utf(quoted(table))
