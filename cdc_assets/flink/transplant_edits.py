"""Rewrite the binlog offsets of a checkpoint: spans in, bytes out, no files touched.

A replaced offset changes, from the inside out: the length of its JSON text, the length of the
split around it, the length of the element around that, the positions of all later elements in
the same stream, and the length of the handle that holds the stream. Nothing else changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cdc_assets.errors import TransplantRefused
from cdc_assets.flink.checkpoint_parser import ParsedCheckpoint, ParsedReader, ParsedSource
from cdc_assets.flink.enumerator_format import HEADER_LENGTH_AT, EnumeratorState
from cdc_assets.flink.metadata_format import (
    FILE,
    INLINE,
    RELATIVE_FILE,
    StreamHandle,
)
from cdc_assets.flink.split_format import (
    OffsetSpan,
    ParsedBinlogSplit,
    ParsedSplit,
)
from cdc_assets.flink.state_files import METADATA_NAME
from cdc_assets.flink.wire import Edit, apply_edits, moved, write_i32, write_i64, write_utf


@dataclass(frozen=True)
class Rewritten:
    """The bytes that differ in the copy.

    Args:
        metadata: The new `_metadata`.
        files: New state files, by their path relative to the copy.
    """

    metadata: bytes
    files: dict[str, bytes]


def split_spans(split: ParsedSplit) -> tuple[OffsetSpan, ...]:
    """Return the offsets of a split that are positions to be replaced."""
    if isinstance(split, ParsedBinlogSplit):
        return split.spans()
    return () if split.high_watermark is None else (split.high_watermark,)


def source_spans(source: ParsedSource) -> tuple[OffsetSpan, ...]:
    """Return every offset of a source that is replaced, in the order in which `rewrite` goes."""
    found: list[OffsetSpan] = []
    for reader in source.readers:
        for element in reader.elements:
            found += split_spans(element.split)
    if source.enumerator is not None:
        for nested in source.enumerator.nested:
            found += split_spans(nested.split)
        found += source.enumerator.finished
    return tuple(found)


def rewrite(parsed: ParsedCheckpoint, texts: Sequence[bytes]) -> Rewritten:
    """Return the checkpoint's bytes with other offsets.

    Args:
        parsed: The checkpoint.
        texts: One JSON text for each offset, in the order of `source_spans` over the sources.

    Raises:
        TransplantRefused: A state lies where it cannot be rewritten.
    """
    job = _Rewriting(parsed, iter(texts))
    for source in parsed.sources:
        for reader in source.readers:
            job.reader(reader)
        if source.enumerator is not None:
            job.coordinator(source, source.enumerator)
    return Rewritten(apply_edits(parsed.files.metadata, job.edits), job.files)


class _Rewriting:
    """Collects the edits of `_metadata` and the new state files."""

    def __init__(self, parsed: ParsedCheckpoint, texts: Iterator[bytes]) -> None:
        self.parsed = parsed
        self.texts = texts
        self.edits: list[Edit] = []
        self.files: dict[str, bytes] = {}

    def reader(self, reader: ParsedReader) -> None:
        edits: list[Edit] = []
        for element in reader.elements:
            inner = self.offsets(split_spans(element.split))
            growth = sum(edit.growth for edit in inner)
            split_length = element.end - element.start + growth
            header = element.start - element.split_length_at + 4  # split version and length
            edits += (
                _i32_at(element.length_at, split_length + header),
                _i32_at(element.split_length_at, split_length),
                *inner,
            )
        for state in reader.handle.states:
            positions = b"".join(write_i64(moved(offset, edits)) for offset in state.offsets)
            at = state.offsets_at
            self.edits.append(Edit(at, at + len(positions), positions))
        self.stream(reader.stream, apply_edits(reader.data, edits))

    def coordinator(self, source: ParsedSource, state: EnumeratorState) -> None:
        edits: list[Edit] = []
        for nested in state.nested:
            inner = self.offsets(split_spans(nested.split))
            length = nested.end - nested.start + sum(edit.growth for edit in inner)
            edits += (_i32_at(nested.length_at, length), *inner)
        edits += self.offsets(state.finished)
        body = len(source.enumerator_data) - HEADER_LENGTH_AT - 4
        growth = sum(edit.growth for edit in edits)
        edits.append(_i32_at(HEADER_LENGTH_AT, body + growth))
        self.stream(source.operator.coordinator, apply_edits(source.enumerator_data, edits))

    def offsets(self, spans: Sequence[OffsetSpan]) -> list[Edit]:
        edits: list[Edit] = []
        for span in spans:
            text = next(self.texts)
            edits.append(Edit(span.start, span.end, write_i32(len(text)) + text))
        return edits

    def stream(self, handle: StreamHandle, data: bytes) -> None:
        """Put new bytes behind a handle."""
        if handle.kind == INLINE:
            end = handle.data_start + handle.size
            self.edits.append(Edit(handle.length_at, end, write_i32(len(data)) + data))
            return
        name = self.file_name(handle)
        self.files[name] = data
        if handle.kind == RELATIVE_FILE:
            self.edits.append(Edit(handle.length_at, handle.length_at + 8, write_i64(len(data))))
        else:
            # An absolute path would lead back to the original; a relative one moves with the copy.
            moved_handle = bytes([RELATIVE_FILE]) + write_utf(name) + write_i64(len(data))
            self.edits.append(Edit(handle.start, handle.end, moved_handle))

    def file_name(self, handle: StreamHandle) -> str:
        """Return where in the copy the state file goes."""
        files = self.parsed.files
        if handle.kind not in (FILE, RELATIVE_FILE) or files.directory is None:
            message = f"source state behind a handle of type {handle.kind} cannot be rewritten"
            raise TransplantRefused(message)
        path, root = files.file_of(handle), files.directory.resolve()
        if path is None or not path.resolve().is_relative_to(root):
            message = f"source state lies outside the savepoint: {handle.path}"
            raise TransplantRefused(message)
        name = path.resolve().relative_to(root)
        if name.as_posix() in (METADATA_NAME, ".") or self.users(path) != 1:
            message = f"state file {handle.path} is used more than once"
            raise TransplantRefused(message)
        return name.as_posix()

    def users(self, path: Path) -> int:
        """Return how many handles of the whole checkpoint name a file."""
        files = self.parsed.files
        paths = [
            files.file_of(handle)
            for operator in self.parsed.metadata.operators
            for handle in operator.streams()
            if handle.kind in (FILE, RELATIVE_FILE)
        ]
        return sum(one is not None and one.resolve() == path.resolve() for one in paths)


def _i32_at(position: int, value: int) -> Edit:
    return Edit(position, position + 4, write_i32(value))
