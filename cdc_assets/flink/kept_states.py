"""Kept states: copies of checkpoints that outlive what Flink deletes.

Flink keeps the newest checkpoint only. What was read before a change at the source can be read
again from a state of before it; so a look that finds no change keeps the state of that moment.
A copy is made before the look, in a folder of its own, and approved after it: one whose look
never ended is never gone on from.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from cdc_assets.errors import CheckpointUnreadable, TransplantRefused
from cdc_assets.flink.directory_copy import inventory_of, publish
from cdc_assets.flink.state_files import METADATA_NAME

_ATTEMPTS = 5
_PENDING = "pending"


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
    pending = kept / _PENDING
    problem = ""
    for _ in range(_ATTEMPTS):
        shutil.rmtree(pending, ignore_errors=True)
        origin = _newest(checkpoints)
        if origin is None:
            return None
        try:
            held = inventory_of(origin)
            publish(origin, pending / origin.name, {}, before=held, after=held)
        except (OSError, TransplantRefused) as error:
            problem = str(error)
            continue
        if METADATA_NAME in held:
            return pending / origin.name
    message = f"no checkpoint could be copied: {problem or 'each was deleted on the way'}"
    raise CheckpointUnreadable(message, path=str(checkpoints))


def approve(kept: Path, path: str) -> None:
    """Move a copy to where it is found, and remove the one before."""
    copy = Path(path)
    target = kept / copy.name
    if target.exists():
        shutil.rmtree(copy)
    else:
        copy.rename(target)
    for other in kept.iterdir():
        if other != target:
            shutil.rmtree(other, ignore_errors=True)


def approved(kept: Path) -> Path | None:
    """Return the newest approved copy; the removal of older ones may have been cut off."""
    return _newest(kept)


def _newest(checkpoints: Path) -> Path | None:
    found = [path.parent for path in checkpoints.glob(f"chk-*/{METADATA_NAME}")]
    return max(found, key=_number, default=None)


def _number(path: Path) -> int:
    digits = path.name.rpartition("-")[2]
    return int(digits) if digits.isdigit() else 0
