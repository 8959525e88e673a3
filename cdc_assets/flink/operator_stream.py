"""The operator-state stream of a source reader: the splits that it holds."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from cdc_assets.flink.metadata_format import NamedState
from cdc_assets.flink.split_format import ParsedSplit, read_split
from cdc_assets.flink.wire import ByteReader

READER_STATE = "SourceReaderState"
"""Name of the list state in which Flink keeps a reader's splits."""

_STREAM_VERSION = 6
_HEADER = 9  # version, compression flag, two counts
_ELEMENT_HEADER = 8  # split version, split length


@dataclass(frozen=True)
class Frame:
    """Where one split lies in the stream, of whatever source.

    Args:
        version: Of the split's form.
        length_at: The position of the element's length.
        split_length_at: The position of the split's own length.
        start: The position of the split's first byte.
        end: The position after it.
    """

    version: int
    length_at: int
    split_length_at: int
    start: int
    end: int


@dataclass(frozen=True)
class Element(Frame):
    """One split of Flink CDC's source.

    Args:
        split: What it says.
    """

    split: ParsedSplit


def read_elements(data: bytes, state: NamedState, *, path: str) -> tuple[Element, ...]:
    """Read the splits of a reader of Flink CDC's source.

    Args:
        data: The operator-state stream.
        state: Where in it the elements begin.
        path: What the stream is, for the error text.

    Raises:
        CheckpointUnreadable: The stream is compressed, or not understood.
    """
    return tuple(
        Element(
            frame.version,
            frame.length_at,
            frame.split_length_at,
            frame.start,
            frame.end,
            read_split(
                ByteReader(data, path=path, start=frame.start, end=frame.end), frame.version
            ),
        )
        for frame in read_frames(data, state, path=path)
    )


def read_frames(data: bytes, state: NamedState, *, path: str) -> tuple[Frame, ...]:
    """Find the splits of a reader of any source.

    Args:
        data: The operator-state stream.
        state: Where in it the elements begin.
        path: What the stream is, for the error text.

    Raises:
        CheckpointUnreadable: The stream is compressed, or not understood.
    """
    reader = ByteReader(data, path=path)
    version = reader.i32()
    if version != _STREAM_VERSION:
        message = f"operator state of version {version} is not supported"
        raise reader.fail(message, at=0)
    if reader.boolean("compression flag"):
        message = "operator state is compressed"
        raise reader.fail(message, at=4)
    bounds = (*sorted(state.offsets), len(data))
    if bounds[0] < _HEADER:
        message = f"element at position {bounds[0]} lies in the header"
        raise reader.fail(message, at=4)
    limits = dict(pairwise(bounds))
    return tuple(_frame(data, offset, limits[offset], path) for offset in state.offsets)


def _frame(data: bytes, offset: int, limit: int, path: str) -> Frame:
    if not offset < limit <= len(data):
        message = f"element at position {offset} lies outside the {len(data)} bytes of the state"
        raise ByteReader(data, path=path).fail(message, at=0)
    reader = ByteReader(data, path=path, start=offset, end=limit)
    length = reader.i32()
    version = reader.i32()
    split_length_at = reader.pos
    start, end = reader.block("split")
    if length != end - start + _ELEMENT_HEADER:
        message = f"element of length {length} holds a split of length {end - start}"
        raise reader.fail(message, at=offset)
    return Frame(version, offset, split_length_at, start, end)
