"""The splits of Flink CDC's MySQL source, as its `MySqlSplitSerializer` writes them.

Every offset keeps the span of its JSON text, because a transplant replaces just that.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Literal, cast

from cdc_assets.flink.wire import ByteReader

OffsetKind = Literal["SPECIFIC", "EARLIEST", "LATEST", "TIMESTAMP", "NON_STOPPING"]

SPLIT_VERSIONS = (1, 2, 3, 4)
SNAPSHOT_SPLIT = 1
BINLOG_SPLIT = 2
_TOTAL_SINCE = 3
_SUSPENDED_SINCE = 4

_KINDS: tuple[OffsetKind, ...] = ("SPECIFIC", "EARLIEST", "LATEST", "TIMESTAMP", "NON_STOPPING")
_NEVER = -(1 << 63)
_NUMBER = re.compile(r"-?[0-9]{1,19}")
_MAX_JSON = 64 * 1024 * 1024  # a GTID set of a very old cluster is far below


@dataclass(frozen=True)
class BinlogOffset:
    """A place in the binlog, as Flink CDC records it.

    Args:
        file: Binlog file; empty for `EARLIEST` and `NON_STOPPING`.
        pos: Start of the transaction that is being read.
        event: Events of that transaction that were read already.
        row: Rows of the event after them that were read already.
        gtids: GTID set as text, None on a server without GTID.
        ts_sec: Time of the event; 0 when not known.
        server_id: Server id in the event; None when not recorded.
        kind: What sort of place it is.
        raw: The JSON text; empty for a state of split version 1, which has none.
    """

    file: str
    pos: int
    event: int
    row: int
    gtids: str | None
    ts_sec: int
    server_id: int | None
    kind: OffsetKind
    raw: str


@dataclass(frozen=True)
class OffsetSpan:
    """An offset and where it was read.

    Args:
        offset: The value.
        start: The position of its length field; -1 for split version 1.
        end: The position after its JSON text.
    """

    offset: BinlogOffset
    start: int
    end: int


@dataclass(frozen=True)
class FinishedSplit:
    """A snapshot split that the binlog reader knows to be copied.

    Args:
        table: `database.table`.
        split_id: Its id.
        high_watermark: Events at or before this place are in the copy already.
    """

    table: str
    split_id: str
    high_watermark: OffsetSpan


@dataclass(frozen=True)
class ParsedBinlogSplit:
    """A binlog split with spans.

    Args:
        split_id: Its id, `binlog-split`.
        starting: The read position.
        ending: Where reading stops, normally never.
        finished: Snapshot splits that are copied.
        tables: Captured tables, `database.table`, sorted.
        total_finished: How many finished splits there must be in the end.
        suspended: Whether the reader waits for newly added tables.
    """

    split_id: str
    starting: OffsetSpan | None
    ending: OffsetSpan | None
    finished: tuple[FinishedSplit, ...]
    tables: tuple[str, ...]
    total_finished: int
    suspended: bool

    def spans(self) -> tuple[OffsetSpan, ...]:
        """Return every offset but the ending one."""
        starting = () if self.starting is None else (self.starting,)
        return (*starting, *(one.high_watermark for one in self.finished))


@dataclass(frozen=True)
class ParsedSnapshotSplit:
    """A snapshot split with the span of its high watermark.

    Args:
        table: `database.table`.
        split_id: Its id.
        high_watermark: None while the split is not read.
    """

    table: str
    split_id: str
    high_watermark: OffsetSpan | None


ParsedSplit = ParsedBinlogSplit | ParsedSnapshotSplit


def read_split(reader: ByteReader, version: int) -> ParsedSplit:
    """Read one split that fills the reader to its end.

    Args:
        reader: The cursor, over the split's bytes only.
        version: The version that was stored beside it.

    Raises:
        CheckpointUnreadable: The bytes are not a split of Flink CDC's MySQL source.
    """
    if version not in SPLIT_VERSIONS:
        message = f"split version {version} is not supported (readable: {SPLIT_VERSIONS})"
        raise reader.fail(message)
    at = reader.pos
    kind = reader.i32()
    if kind == BINLOG_SPLIT:
        split: ParsedSplit = _binlog_split(reader, version)
    elif kind == SNAPSHOT_SPLIT:
        split = _snapshot_split(reader, version)
    else:
        message = f"split of unknown kind {kind}; only MySQL sources of Flink CDC are understood"
        raise reader.fail(message, at=at)
    reader.expect_end("the split")
    return split


def _binlog_split(reader: ByteReader, version: int) -> ParsedBinlogSplit:
    split_id = reader.utf()
    reader.utf()  # split key type, always empty
    starting, ending = read_offset(reader, version), read_offset(reader, version)
    finished = tuple(
        _finished_split(reader, version) for _ in range(reader.count("finished split", item_size=9))
    )
    tables = read_schemas(reader, version)
    total, suspended = len(finished), False
    if version >= _TOTAL_SINCE:
        total = reader.i32()
    if (
        version >= _SUSPENDED_SINCE and reader.remaining
    ):  # Flink CDC up to 2.2.0 did not write the flag
        suspended = reader.boolean("suspended flag")
    return ParsedBinlogSplit(split_id, starting, ending, finished, tables, total, suspended)


def _finished_split(reader: ByteReader, version: int) -> FinishedSplit:
    table, split_id = table_name(reader), reader.utf()
    reader.utf()  # first key
    reader.utf()  # last key
    at = reader.pos
    watermark = read_offset(reader, version)
    if watermark is None:
        message = f"finished split {split_id!r} has no high watermark"
        raise reader.fail(message, at=at)
    return FinishedSplit(table, split_id, watermark)


def _snapshot_split(reader: ByteReader, version: int) -> ParsedSnapshotSplit:
    table, split_id = table_name(reader), reader.utf()
    reader.utf()  # key type
    reader.utf()  # first key
    reader.utf()  # last key
    watermark = read_offset(reader, version)
    read_schemas(reader, version)
    return ParsedSnapshotSplit(table, split_id, watermark)


def read_schemas(reader: ByteReader, version: int) -> tuple[str, ...]:
    """Skip table schemas and return the tables' names, sorted."""
    tables: list[str] = []
    for _ in range(reader.count("table schema", item_size=4)):
        tables.append(table_name(reader))
        if version == 1:
            reader.utf()
        else:
            reader.block("table schema")
    return tuple(sorted(tables))


def table_name(reader: ByteReader) -> str:
    """Read a quoted table id and return it as `database.table`."""
    at = reader.pos
    text = reader.utf()
    parts = _unquoted(text)
    if parts is None:
        message = f"{text[:80]!r} is not a table id"
        raise reader.fail(message, at=at)
    return ".".join(parts)


def _unquoted(text: str) -> list[str] | None:
    """Split `"db"."t"` or the same in backticks; a doubled quote stands for one."""
    parts: list[str] = []
    at = 0
    while at < len(text):
        quote = text[at]
        if quote not in ('"', "`"):
            end = text.find(".", at)
            end = len(text) if end < 0 else end
            part, at = text[at:end], end
        else:
            match = re.compile(f"{quote}((?:[^{quote}]|{quote}{quote})*){quote}").match(text, at)
            if match is None:
                return None
            part, at = match.group(1).replace(quote * 2, quote), match.end()
        parts.append(part)
        if at < len(text) and text[at] != ".":
            return None
        at += 1
    return parts or None


def read_offset(reader: ByteReader, version: int) -> OffsetSpan | None:
    """Read an offset that may be absent.

    Raises:
        CheckpointUnreadable: The offset is not what Flink CDC writes.
    """
    if not reader.boolean("offset flag"):
        return None
    if version == 1:
        file, pos = reader.utf(), reader.i64()
        return OffsetSpan(BinlogOffset(file, pos, 0, 0, None, 0, None, "SPECIFIC", ""), -1, -1)
    at = reader.pos
    start, end = reader.block("offset")
    if end - start > _MAX_JSON:
        message = f"offset of {end - start} bytes"
        raise reader.fail(message, at=at)
    try:
        offset = parse_offset(reader.data[start:end].decode())
    except (ValueError, RecursionError) as error:
        message = f"offset is not readable: {error}"
        raise reader.fail(message, at=start) from None
    return OffsetSpan(offset, at, end)


def parse_offset(raw: str) -> BinlogOffset:
    """Return the offset of a JSON text.

    Args:
        raw: An object whose values are strings, numbers or null; unknown keys are ignored.

    Raises:
        ValueError: It is not such an object.

    Example:
        >>> parse_offset('{"file":"bin.000001","pos":"4","kind":"SPECIFIC"}').pos
        4
    """
    value: object = json.loads(raw)
    if not isinstance(value, dict):
        message = "not a JSON object"
        raise ValueError(message)  # noqa: TRY004 - callers turn every ValueError into one error
    fields = cast("dict[str, object]", value)
    file = _text(fields, "file") or ""
    pos = _number(fields, "pos") or 0
    return BinlogOffset(
        file=file,
        pos=pos,
        event=_number(fields, "event") or 0,
        row=_number(fields, "row") or 0,
        gtids=_text(fields, "gtids") or None,
        ts_sec=_number(fields, "ts_sec") or 0,
        server_id=_number(fields, "server_id"),
        kind=_kind(_text(fields, "kind"), file, pos),
        raw=raw,
    )


def _kind(name: str | None, file: str, pos: int) -> OffsetKind:
    """Return the kind; an offset without one was written by Flink CDC before 2.3."""
    if name is None:
        if not file and pos in (_NEVER, 0):
            return "NON_STOPPING" if pos else "EARLIEST"
        return "SPECIFIC"
    for kind in _KINDS:
        if kind == name:
            return kind
    message = f"unknown kind {name[:40]!r}"
    raise ValueError(message)


def _text(fields: dict[str, object], key: str) -> str | None:
    value = fields.get(key)
    if value is not None and not isinstance(value, str):
        message = f"{key} is not text"
        raise ValueError(message)
    return value


def _number(fields: dict[str, object], key: str) -> int | None:
    value = fields.get(key)
    if value is None:
        return None
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not _NEVER <= value < -_NEVER:
        message = f"{key} is not a 64-bit number"
        raise ValueError(message)
    return value
