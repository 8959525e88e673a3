"""Which savepoints may have their binlog position rewritten.

Everything that is not known to be safe is refused: a wrong position loses or doubles rows
without any error.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from cdc_assets.errors import TransplantRefused
from cdc_assets.flink.checkpoint_parser import ParsedCheckpoint, ParsedSource
from cdc_assets.flink.metadata_format import (
    NULL,
    PARTITIONABLE,
    SPLIT_DISTRIBUTE,
    OperatorStateHandle,
)
from cdc_assets.flink.operator_stream import READER_STATE
from cdc_assets.flink.transplant_edits import source_spans

WRITABLE_VERSIONS = (4, 6)
FIRST_EVENT = 4
_MAX_POS = (1 << 63) - 1
_FILE = re.compile(r"[A-Za-z0-9_.\-]{1,200}\.[0-9]{1,12}")


def check_coordinates(file: str, pos: int) -> None:
    """Raise `TransplantRefused` unless the coordinates are ones that a server would print."""
    if not _FILE.fullmatch(file) or not FIRST_EVENT <= pos <= _MAX_POS:
        message = f"{file[:80]!r}:{pos} are not binlog coordinates"
        raise TransplantRefused(message)


def check_checkpoint(
    parsed: ParsedCheckpoint, expected: Collection[tuple[str, int]] | None
) -> None:
    """Raise `TransplantRefused`, with every reason, unless the checkpoint may be rewritten.

    Args:
        parsed: The checkpoint.
        expected: Positions (file, pos) of which each source must hold one; None asks for nothing.
    """
    reasons = list(_reasons(parsed, expected))
    if reasons:
        raise TransplantRefused(
            f"savepoint {parsed.files.path}: {'; '.join(reasons)}",
            hint="The state cannot move to another server; take a new snapshot",
        )


def _reasons(
    parsed: ParsedCheckpoint, expected: Collection[tuple[str, int]] | None
) -> Iterator[str]:
    version = parsed.metadata.version
    if version not in WRITABLE_VERSIONS:
        yield f"format {version} is not one of {WRITABLE_VERSIONS}"
    if not parsed.sources:
        yield "no MySQL source is in it"
    ids = [operator.operator_id for operator in parsed.metadata.operators]
    if len(set(ids)) != len(ids):
        yield "an operator is in it twice"
    for source in parsed.sources:
        label = f"source {source.operator.operator_id}"
        for reason in (
            *_position_reasons(source, expected),
            *_snapshot_reasons(source),
            *_structure_reasons(source),
        ):
            yield f"{label}: {reason}"


def _position_reasons(
    source: ParsedSource, expected: Collection[tuple[str, int]] | None
) -> Iterator[str]:
    binlog = source.state.binlog
    if binlog is None:
        yield "no reader has begun to read the binlog"
        return
    if binlog.ending is None or binlog.ending.kind != "NON_STOPPING":
        yield "the reader stops at a position"
    if binlog.suspended:
        yield "the reader is suspended for newly added tables"
    if binlog.finished_split_count != binlog.total_finished_split_size:
        yield (
            f"the reader knows {binlog.finished_split_count} of "
            f"{binlog.total_finished_split_size} finished splits"
        )
    for span in source_spans(source):
        if span.offset.gtids:
            yield "an offset holds GTIDs: restore on the new server without a transplant"
            break
    kinds = {span.offset.kind for span in source_spans(source)} - {"SPECIFIC"}
    if kinds:
        yield f"an offset is of kind {', '.join(sorted(kinds))}"
    if any(span.start < 0 or not span.offset.file for span in source_spans(source)):
        yield "an offset names no binlog file, or is of an old format"
    place = (binlog.starting.file, binlog.starting.pos)
    if expected is not None and place not in expected:
        wanted = ", ".join(f"{file}:{pos}" for file, pos in expected)
        yield f"it stands at {place[0]}:{place[1]}, not at {wanted}"


def _snapshot_reasons(source: ParsedSource) -> Iterator[str]:
    state, progress = source.state, source.state.progress
    if state.snapshot_splits_unread or state.snapshot_splits_read:
        yield "readers hold snapshot splits"
    if progress is None:
        yield source.problem or "no coordinator state"
    elif progress.kind == "snapshot":
        yield "the source copies a snapshot and ends"
    elif not progress.finished:
        yield f"the snapshot is not finished ({progress.status})"
    elif not progress.binlog_split_assigned:
        yield "the binlog split was not assigned"


def _structure_reasons(source: ParsedSource) -> Iterator[str]:
    operator = source.operator
    if operator.fully_finished or any(subtask.finished for subtask in operator.subtasks):
        yield "a subtask has finished"
    for subtask in operator.subtasks:
        if any(keyed.kind != NULL for keyed in subtask.keyed):
            yield "it has keyed state"
        if subtask.raw is not None and subtask.raw.kind != NULL:
            yield "it has raw operator state"
        if subtask.channels:
            yield "it has in-flight records of an unaligned checkpoint"
        if subtask.managed is not None:
            yield from _handle_reasons(subtask.managed)


def _handle_reasons(handle: OperatorStateHandle) -> Iterator[str]:
    if handle.kind not in (NULL, PARTITIONABLE):
        yield f"its operator state is behind a handle of type {handle.kind}"
    for state in handle.states:
        if state.name != READER_STATE and state.offsets:
            yield f"it has an unknown operator state {state.name[:60]!r}"
        if state.name == READER_STATE and state.mode != SPLIT_DISTRIBUTE:
            yield f"its reader state has mode {state.mode}"
