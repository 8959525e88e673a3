"""StateView from a checkpoint's bytes, and the newest complete state in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cdc_assets.errors import CheckpointUnreadable
from cdc_assets.flink.checkpoint import CheckpointState, SourceState, read_checkpoint
from cdc_assets.flink.state_files import local_path
from cdc_assets.ports import SplitPosition, StateView

_METADATA = "_metadata"


def view_of(path: str, state: CheckpointState) -> StateView:
    """Return what operations need of a parsed checkpoint.

    Raises:
        CheckpointUnreadable: A source's binlog position is of a kind that is no place.
    """
    progresses = [source.progress for source in state.sources if source.progress is not None]
    return StateView(
        path=path,
        checkpoint_id=state.checkpoint_id,
        splits=tuple(_split(path, source) for source in state.sources if _begun(source)),
        snapshot_running=not state.sources or not all(_finished(s) for s in state.sources),
        splits_done=sum(progress.splits_finished for progress in progresses),
        splits_total=sum(progress.splits_total for progress in progresses),
    )


def _begun(source: SourceState) -> bool:
    """Say whether the reader stands at a place; before its first event it can be a start mode."""
    return source.binlog is not None and bool(source.binlog.starting.file)


def _finished(source: SourceState) -> bool:
    copied = source.progress is None or source.progress.finished
    return copied and _begun(source)


def _split(path: str, source: SourceState) -> SplitPosition:
    binlog = source.binlog
    if binlog is None or binlog.starting.kind != "SPECIFIC":
        kind = binlog.starting.kind if binlog else "none"
        raise CheckpointUnreadable(f"a source stands at an offset of kind {kind}", path=path)
    start = binlog.starting
    return SplitPosition(
        tables=binlog.tables,
        file=start.file,
        pos=start.pos,
        gtids=start.gtids,
        skip_events=start.event,
        skip_rows=start.row,
        finished=_finished(source),
        usable_without_state=source.usable_without_state,
        reason=source.reason,
    )


def read_view(path: str, *, reads_binlog: bool = True) -> StateView:
    """Read a checkpoint or savepoint by the path that Flink prints.

    Args:
        path: Of the folder.
        reads_binlog: False for a job with other sources than MySQL; its view has no splits.

    Raises:
        CheckpointUnreadable: It cannot be read or parsed.
    """
    return view_of(path, read_checkpoint(local_path(path), reads_binlog=reads_binlog))


def _complete(folder: Path) -> Iterator[Path]:
    """Return the states below a folder that have their `_metadata`.

    Flink writes `_metadata` last, so a state without it is not complete and never will be.
    """
    if folder.is_dir():
        yield from (found.parent for found in folder.glob(f"*/{_METADATA}"))


def newest_view(
    checkpoints: Path | None, savepoints: Path, *, reads_binlog: bool = True
) -> StateView | None:
    """Read the newest complete state of one job, by Flink's own number.

    Checkpoints and savepoints of a job share one counter. Flink deletes old checkpoints
    while this reads, so one that vanishes is passed over.

    Args:
        checkpoints: The job's checkpoint folder, which holds `chk-<n>`; None for savepoints
            only.
        savepoints: The job's savepoint folder, which holds one folder per purpose.
        reads_binlog: False for a job with other sources than MySQL; its view has no splits.

    Raises:
        CheckpointUnreadable: The newest state is there and cannot be parsed.
    """
    for _ in range(3):
        chosen = _newest(checkpoints, savepoints, reads_binlog=reads_binlog)
        if chosen is None:
            return None
        path, state = chosen
        if path.is_dir():
            return view_of(str(path), state)
    return None


def _newest(
    checkpoints: Path | None, savepoints: Path, *, reads_binlog: bool
) -> tuple[Path, CheckpointState] | None:
    found = [] if checkpoints is None else [*_complete(checkpoints)]
    if savepoints.is_dir():
        for purpose in savepoints.iterdir():
            found.extend(_complete(purpose))
    best: tuple[Path, CheckpointState] | None = None
    for path in sorted(found, key=_number, reverse=True):
        # Checkpoint folders carry their number: only the newest of them needs reading.
        if path.name.startswith("chk-") and best and _number(path) <= best[1].checkpoint_id:
            continue
        try:
            state = read_checkpoint(path, reads_binlog=reads_binlog)
        except CheckpointUnreadable:
            if not (path / _METADATA).exists():
                continue
            raise
        if best is None or state.checkpoint_id > best[1].checkpoint_id:
            best = (path, state)
    return best


def _number(path: Path) -> int:
    digits = path.name.rpartition("-")[2]
    return int(digits) if path.name.startswith("chk-") and digits.isdigit() else 0
