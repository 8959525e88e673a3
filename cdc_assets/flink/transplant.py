"""Move a savepoint to another server: a copy whose binlog positions are rewritten.

Without GTID a start at the new server's coordinates drops all Flink state, so that counts and
joins are wrong from then on. A transplant keeps it: in a copy of the savepoint every position
is replaced, the snapshot's high watermarks too, because the reader drops events at or before
them and the new server's positions may be smaller than the old one's.

Preconditions: the old server was drained to its frozen end, and the savepoint was taken then.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cdc_assets.errors import CheckpointUnreadable, TransplantRefused
from cdc_assets.flink.checkpoint_parser import ParsedCheckpoint, parse_checkpoint
from cdc_assets.flink.directory_copy import digest_of, inventory_of, publish
from cdc_assets.flink.metadata_format import FILE, SEGMENT
from cdc_assets.flink.source_state import CheckpointState, SourceState
from cdc_assets.flink.split_format import BinlogOffset, parse_offset
from cdc_assets.flink.state_files import METADATA_NAME, Load, load_file
from cdc_assets.flink.transplant_edits import Rewritten, rewrite, source_spans
from cdc_assets.flink.transplant_rules import check_checkpoint, check_coordinates


@dataclass(frozen=True)
class TransplantedSource:
    """What was replaced in one source.

    Args:
        operator_id: The source operator.
        tables: Its captured tables.
        before: Its position in the original.
        offsets_replaced: How many offsets were replaced, high watermarks included.
    """

    operator_id: str
    tables: tuple[str, ...]
    before: BinlogOffset
    offsets_replaced: int


@dataclass(frozen=True)
class TransplantReport:
    """A finished transplant.

    Args:
        savepoint: The original's directory, unchanged.
        target: The copy's directory.
        file: Binlog file of the new position.
        pos: Offset in it.
        sources: What was replaced.
        files_rewritten: Files of the copy that differ from the original's.
        keeps_using: Files outside the copy that it refers to; they must stay as long as it does.
        already_done: Whether the copy was there, finished, from an earlier call.
        digest: SHA-256 over the copy's files.
    """

    savepoint: Path
    target: Path
    file: str
    pos: int
    sources: tuple[TransplantedSource, ...]
    files_rewritten: tuple[str, ...]
    keeps_using: tuple[str, ...]
    already_done: bool
    digest: str


def transplant(
    savepoint: Path,
    target: Path,
    coordinates_file: str,
    coordinates_pos: int,
    *,
    expected: Collection[tuple[str, int]] | None = None,
) -> TransplantReport:
    """Copy a savepoint and rewrite every binlog position in the copy.

    Calling it again after it was killed finishes the work; calling it again after it finished
    changes nothing and says so.

    Args:
        savepoint: Directory of the original (or its `_metadata`); it is never written to.
        target: Directory of the copy, on the same file system as its parent.
        coordinates_file: Binlog file on the new server.
        coordinates_pos: Offset in it, the end of the last event that the old server had too.
        expected: Positions (file, pos) at which the old server was proved to be drained; each
            source must stand at one of them. None asks for nothing.

    Returns:
        What was replaced.

    Raises:
        TransplantRefused: The savepoint is not fully understood, is not drained, changed while
            it was copied, or the target is something else already.
    """
    check_coordinates(coordinates_file, coordinates_pos)
    origin = savepoint.parent if savepoint.name == METADATA_NAME else savepoint
    text = offset_text(coordinates_file, coordinates_pos)
    with _refusing(f"savepoint {origin}"):
        before = inventory_of(origin)
        parsed = parse_checkpoint(origin)
        check_checkpoint(parsed, expected)
        new = rewrite(parsed, [text.encode()] * len(_offsets(parsed)))
        _verify(parsed, new, parse_offset(text))
    with _refusing(f"target {target}"):
        changed = {METADATA_NAME: new.metadata, **new.files}
        after = before | {name: digest_of(data) for name, data in changed.items()}
        done = publish(origin, target, changed, before=before, after=after)
        if parse_checkpoint(target).state != _moved(parsed.state, parse_offset(text)):
            message = f"{target} does not read back"
            raise TransplantRefused(message)
    return TransplantReport(
        savepoint=origin,
        target=target,
        file=coordinates_file,
        pos=coordinates_pos,
        sources=_sources(parsed),
        files_rewritten=tuple(sorted(changed)),
        keeps_using=_outside(parsed),
        already_done=done,
        digest=digest_of(json.dumps(after, sort_keys=True).encode()),
    )


@contextmanager
def _refusing(what: str) -> Generator[None]:
    """Turn what goes wrong with files and bytes into one refusal."""
    try:
        yield
    except CheckpointUnreadable as error:
        message = f"{what} is not readable: {error.message}"
        raise TransplantRefused(message, hint=error.hint) from error
    except OSError as error:
        message = f"{what}: {error.strerror or error}"
        raise TransplantRefused(message, hint="Free space or grant access, then go on") from error


def offset_text(file: str, pos: int) -> str:
    """Return the JSON text of a position; every value is text, as Flink CDC writes it.

    `ts_sec` is 0 and no server id is named, so that Flink CDC compares the position with events
    by file and offset, never by the time of events on different servers.
    """
    fields = {
        "transaction_id": None,
        "ts_sec": "0",
        "file": file,
        "pos": str(pos),
        "kind": "SPECIFIC",
        "row": "0",
        "event": "0",
    }
    return json.dumps(fields, separators=(",", ":"))


# ---- what the copy must say -------------------------------------------------------------------


def _offsets(parsed: ParsedCheckpoint) -> list[BinlogOffset]:
    return [span.offset for source in parsed.sources for span in source_spans(source)]


def _moved(state: CheckpointState, offset: BinlogOffset) -> CheckpointState:
    """Return what the copy must say: the same, with every position replaced."""
    return replace(state, sources=tuple(_moved_source(one, offset) for one in state.sources))


def _moved_source(source: SourceState, offset: BinlogOffset) -> SourceState:
    if source.binlog is None:
        return source
    finished = tuple(replace(one, offset=offset) for one in source.binlog.finished_splits)
    return replace(source, binlog=replace(source.binlog, starting=offset, finished_splits=finished))


def _verify(parsed: ParsedCheckpoint, new: Rewritten, offset: BinlogOffset) -> None:
    """Raise unless the new bytes say what is wanted and lead back to the old ones.

    The way back proves that no byte changed but the offsets and the lengths around them.
    """
    root = parsed.files.directory or Path()
    old = _offsets(parsed)
    again = parse_checkpoint(root, load=_overlay(root, new))
    if again.state != _moved(parsed.state, offset) or _offsets(again) != [offset] * len(old):
        message = "the rewritten positions do not read back"
        raise TransplantRefused(message)
    texts = [one.raw.encode() for one in old]
    same, back = rewrite(parsed, texts), rewrite(again, texts)
    relocated = any(
        stream.kind == FILE
        for source in parsed.sources
        for stream in (*(reader.stream for reader in source.readers), source.operator.coordinator)
    )
    if back != same or not (relocated or same.metadata == parsed.files.metadata):
        message = "the rewritten savepoint does not lead back to the original"
        raise TransplantRefused(message)


def _overlay(root: Path, new: Rewritten) -> Load:
    """Return a loader that sees the new bytes in place of the original's files."""
    fresh = {root.resolve() / name: data for name, data in new.files.items()}
    fresh[root.resolve() / METADATA_NAME] = new.metadata

    def load(path: Path) -> bytes:
        data = fresh.get(path.resolve())
        return load_file(path) if data is None else data

    return load


# ---- the report -------------------------------------------------------------------------------


def _sources(parsed: ParsedCheckpoint) -> tuple[TransplantedSource, ...]:
    return tuple(
        TransplantedSource(
            operator_id=source.operator.operator_id,
            tables=source.state.binlog.tables,
            before=source.state.binlog.starting,
            offsets_replaced=len(source_spans(source)),
        )
        for source in parsed.sources
        if source.state.binlog is not None
    )


def _outside(parsed: ParsedCheckpoint) -> tuple[str, ...]:
    """Return the absolute paths that stay in the copy, of states other than the sources'."""
    sources = {source.operator.operator_id for source in parsed.sources}
    found = {
        stream.path
        for operator in parsed.metadata.operators
        if operator.operator_id not in sources
        for stream in operator.streams()
        if stream.kind in (FILE, SEGMENT)
    }
    return tuple(sorted(found))
