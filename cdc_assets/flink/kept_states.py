"""Kept states: copies of checkpoints that outlive what Flink deletes.

Flink keeps the newest checkpoint only. What was read before a change at the source can be read
again from a state of before it; so a look that finds no change keeps the state of that moment.
A copy is made before the look, in a folder of its own, and approved after it: one whose look
never ended is never gone on from.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from cdc_assets.errors import CheckpointUnreadable, TransplantRefused
from cdc_assets.flink.directory_copy import inventory_of, publish
from cdc_assets.flink.metadata_format import CHECKPOINT_ID_AT
from cdc_assets.flink.state_files import METADATA_NAME, load_file

_ATTEMPTS = 5
_PENDING = "pending-"
# A look takes seconds; what is this old was left by one that died, or that found a change.
_LEFT_SECONDS = 3600.0


def copy_newest(checkpoints: Path, kept: Path) -> Path | None:
    """Copy the newest complete checkpoint of a job.

    Flink deletes a checkpoint as soon as the next one is complete, so a copy that is not whole is
    thrown away and the next one is taken.

    Args:
        checkpoints: The job's folder, which holds `chk-<n>`.
        kept: Where copies of this job are.

    Returns:
        The copy, None when there is no complete checkpoint.

    Raises:
        CheckpointUnreadable: It cannot be copied.
    """
    _sweep(kept)
    problem = ""
    for _ in range(_ATTEMPTS):
        origin = _newest(checkpoints)
        if origin is None:
            return None
        # Of this look alone: another one may run beside it, a scheduled one beside a deployment.
        pending = _folder(kept)
        try:
            held = inventory_of(origin)
            publish(origin, pending / origin.name, {}, before=held, after=held)
        except (OSError, TransplantRefused) as error:
            problem = str(error)
            held = {}
        if METADATA_NAME in held:
            return pending / origin.name
        shutil.rmtree(pending, ignore_errors=True)
    message = f"no checkpoint could be copied: {problem or 'each was deleted on the way'}"
    raise CheckpointUnreadable(message, path=str(checkpoints))


def approve(kept: Path, path: str) -> None:
    """Move a copy to where it is found, and remove older ones.

    A newer one that another look approved meanwhile stays, and is the one that is found.

    Raises:
        CheckpointUnreadable: It cannot be moved; the older one stays.
    """
    copy = Path(path)
    target = kept / copy.name
    try:
        if not target.exists():  # An earlier look, or one beside this, may have approved it.
            copy.rename(target)
    except OSError as error:
        if not target.exists():
            raise CheckpointUnreadable(f"cannot be kept: {error}", path=path) from error
    shutil.rmtree(copy.parent, ignore_errors=True)
    newest = _newest(kept)
    for other in kept.glob("chk-*"):
        if newest is not None and _number(other) < _number(newest):
            shutil.rmtree(other, ignore_errors=True)


def approved(kept: Path) -> Path | None:
    """Return the newest approved copy; the removal of older ones may have been cut off."""
    return _newest(kept)


def count_on(copy: Path, number: int) -> None:
    """Give a copy the number of a later checkpoint of its job, unless it has it already.

    A job that goes on from a state counts its checkpoints on from the state's number, and
    Iceberg's writer takes those for committed that the job of the state has committed already
    (IcebergFilesCommitter: `max-committed-checkpoint-id`). Rows that are read again would stay
    uncommitted until the count is past them, and be lost where it never gets there.

    Args:
        copy: The copy.
        number: Of the newest checkpoint or savepoint of its job.

    Raises:
        CheckpointUnreadable: It cannot be read or written; it stays as it was.
    """
    file, at = copy / METADATA_NAME, slice(CHECKPOINT_ID_AT, CHECKPOINT_ID_AT + 8)
    data = bytearray(load_file(file))
    if len(data) < at.stop or int.from_bytes(data[at], "big") >= number:
        return
    data[at] = number.to_bytes(8, "big")
    partial = file.with_name(f".{file.name}.{number}")
    try:
        partial.write_bytes(data)
        partial.replace(file)
    except OSError as error:
        raise CheckpointUnreadable(f"cannot be written: {error}", path=str(file)) from error


def _folder(kept: Path) -> Path:
    try:
        kept.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=_PENDING, dir=kept))
    except OSError as error:
        raise CheckpointUnreadable(f"cannot be written: {error}", path=str(kept)) from error


def _sweep(kept: Path) -> None:
    """Remove copies whose looks never ended."""
    for folder in kept.glob(f"{_PENDING}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _LEFT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _newest(checkpoints: Path) -> Path | None:
    found = [path.parent for path in checkpoints.glob(f"chk-*/{METADATA_NAME}")]
    return max(found, key=_number, default=None)


def _number(path: Path) -> int:
    digits = path.name.rpartition("-")[2]
    return int(digits) if digits.isdigit() else 0
