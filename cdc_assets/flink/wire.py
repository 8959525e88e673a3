"""Java's `DataInput` over a byte buffer, and edits of such a buffer.

Positions are byte offsets into the buffer; spans are half-open: `[start, end)`.
For example the span `[4, 8)` holds the four bytes of an `i32` that begins at 4.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cdc_assets.errors import CheckpointUnreadable

_FOUR_BYTE_LEAD = 0xF0
_CODEC = "modified-utf-8"
_I8, _I32, _I64 = struct.Struct(">b"), struct.Struct(">i"), struct.Struct(">q")


class ByteReader:
    """A cursor over a buffer that raises `CheckpointUnreadable` instead of running over its end.

    Args:
        data: The buffer.
        path: What the buffer is, for the error text.
        start: Where reading begins.
        end: Where it ends; the end of the buffer if None.

    Example:
        >>> ByteReader(bytes([0, 0, 0, 7])).i32()
        7
    """

    def __init__(
        self, data: bytes, *, path: str = "_metadata", start: int = 0, end: int | None = None
    ) -> None:
        self.data = data
        self.path = path
        self.pos = start
        self.end = len(data) if end is None else end

    def fail(self, message: str, *, at: int | None = None) -> CheckpointUnreadable:
        """Return the error for what was found at the cursor, or at `at`."""
        return CheckpointUnreadable(message, path=self.path, at=self.pos if at is None else at)

    @property
    def remaining(self) -> int:
        """The number of bytes that are left."""
        return self.end - self.pos

    def take(self, size: int, what: str = "bytes") -> bytes:
        """Return the next `size` bytes.

        Raises:
            CheckpointUnreadable: The size is negative or more than what is left.
        """
        start = self.pos
        if not 0 <= size <= self.end - start:
            message = f"{what} of length {size}, but {self.remaining} bytes are left"
            raise self.fail(message)
        self.pos = start + size
        return self.data[start : self.pos]

    def i8(self) -> int:
        """Return the next signed byte."""
        return self._number(_I8)

    def i32(self) -> int:
        """Return the next signed 32-bit integer."""
        return self._number(_I32)

    def i64(self) -> int:
        """Return the next signed 64-bit integer."""
        return self._number(_I64)

    def i64s(self, count: int) -> tuple[int, ...]:
        """Return the next `count` signed 64-bit integers; `count` was checked by `count()`."""
        return struct.unpack(f">{count}q", self.take(count * _I64.size, "integers"))

    def _number(self, layout: struct.Struct) -> int:
        if layout.size > self.end - self.pos:
            self.take(layout.size, "integer")
        value: int = layout.unpack_from(self.data, self.pos)[0]
        self.pos += layout.size
        return value

    def boolean(self, what: str) -> bool:
        """Return the next byte as a boolean; anything but 0 and 1 is corruption."""
        at = self.pos
        value = self.i8()
        if value not in (0, 1):
            message = f"{what} is {value}, expected 0 or 1"
            raise self.fail(message, at=at)
        return value == 1

    def count(self, what: str, *, item_size: int = 1) -> int:
        """Return a list's length, checked against the bytes that its items need at least.

        The check keeps a garbage length from allocating memory.
        """
        at = self.pos
        value = self.i32()
        if not 0 <= value * item_size <= self.remaining:
            message = f"{what} count {value} does not fit the {self.remaining} bytes that are left"
            raise self.fail(message, at=at)
        return value

    def utf(self) -> str:
        """Return the next modified UTF-8 string (16-bit byte length, then the bytes)."""
        at = self.pos
        size: int = struct.unpack(">H", self.take(2, "string length"))[0]
        try:
            return decode_modified_utf8(self.take(size, "string"))
        except UnicodeError:
            message = "string is not modified UTF-8"
            raise self.fail(message, at=at) from None

    def block(self, what: str) -> tuple[int, int]:
        """Skip an `i32` length and that many bytes; return the span of the bytes."""
        at = self.pos
        size = self.i32()
        if not 0 <= size <= self.remaining:
            message = f"{what} of length {size}, but {self.remaining} bytes are left"
            raise self.fail(message, at=at)
        start = self.pos
        self.pos += size
        return start, self.pos

    def expect_end(self, what: str) -> None:
        """Raise unless every byte was read."""
        if self.remaining:
            message = f"{self.remaining} bytes follow {what}"
            raise self.fail(message)


def decode_modified_utf8(raw: bytes) -> str:
    """Return the text of Java's modified UTF-8.

    NUL is the two bytes C0 80, and a character above U+FFFF is two surrogates of three bytes.

    Raises:
        UnicodeError: The bytes are not modified UTF-8.

    Example:
        >>> decode_modified_utf8("café".encode())
        'café'
    """
    if raw.isascii():
        return raw.decode("ascii")
    if any(byte >= _FOUR_BYTE_LEAD for byte in raw):
        raise UnicodeDecodeError(_CODEC, raw, 0, len(raw), "four-byte sequence")
    text = raw.replace(b"\xc0\x80", b"\x00").decode("utf-8", "surrogatepass")
    return text.encode("utf-16-be", "surrogatepass").decode("utf-16-be")


def encode_modified_utf8(text: str) -> bytes:
    """Return Java's modified UTF-8 of a text, without its length.

    Example:
        >>> len(encode_modified_utf8(chr(0)))
        2
    """
    units = text.encode("utf-16-be", "surrogatepass")
    chars = (units[i] << 8 | units[i + 1] for i in range(0, len(units), 2))
    return b"".join(
        b"\xc0\x80" if char == 0 else chr(char).encode("utf-8", "surrogatepass") for char in chars
    )


def write_i32(value: int) -> bytes:
    """Return a signed 32-bit integer."""
    return struct.pack(">i", value)


def write_i64(value: int) -> bytes:
    """Return a signed 64-bit integer."""
    return struct.pack(">q", value)


def write_utf(text: str) -> bytes:
    """Return a modified UTF-8 string with its 16-bit length."""
    raw = encode_modified_utf8(text)
    return struct.pack(">H", len(raw)) + raw


@dataclass(frozen=True)
class Edit:
    """The replacement of the span `[start, end)` of a buffer.

    Args:
        start: The first byte that is replaced.
        end: The first byte after it that is kept.
        data: What stands there afterwards.
    """

    start: int
    end: int
    data: bytes

    @property
    def growth(self) -> int:
        """By how many bytes the buffer grows."""
        return len(self.data) - (self.end - self.start)


def apply_edits(data: bytes, edits: Iterable[Edit]) -> bytes:
    """Return the buffer with every edit made; all spans are in the old buffer's positions.

    Raises:
        ValueError: Two edits overlap, or one lies outside the buffer.

    Example:
        >>> apply_edits(b"abcd", [Edit(1, 3, b"X")])
        b'aXd'
    """
    pieces: list[bytes] = []
    at = 0
    for edit in sorted(edits, key=lambda one: (one.start, one.end)):
        if not at <= edit.start <= edit.end <= len(data):
            message = f"edit [{edit.start}, {edit.end}) overlaps another or lies outside"
            raise ValueError(message)
        pieces += (data[at : edit.start], edit.data)
        at = edit.end
    pieces.append(data[at:])
    return b"".join(pieces)


def moved(position: int, edits: Sequence[Edit]) -> int:
    """Return where a position of the old buffer stands after the edits.

    The position must be a boundary that no edit spans.

    Example:
        >>> moved(3, [Edit(1, 2, b"long")])
        6
    """
    return position + sum(edit.growth for edit in edits if edit.start < position)
