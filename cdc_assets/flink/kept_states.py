"""Kept states: copies of checkpoints that outlive what Flink deletes.

Flink keeps the newest checkpoint only. What was read before a change at the source can be read
again from a state of before it; so a look that finds no change keeps the state of that moment.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from cdc_assets.errors import CheckpointUnreadable, TransplantRefused
from cdc_assets.flink.directory_copy import inventory_of, publish
from cdc_assets.flink.state_files import METADATA_NAME

_ATTEMPTS = 5


def keep_newest(checkpoints: Path, kept: Path) -> Path | None:
    """Copy the newest complete checkpoint of a job.

    Flink deletes a checkpoint as soon as the next one is complete, so a copy that is not whole is
    thrown away and the next one is taken.

    Args:
        checkpoints: The job's folder, which holds `chk-<n>`.
        kept: Where the copy goes, under the checkpoint's name.

    Returns:
        The copy, None when there is no complete checkpoint.

    Raises:
        CheckpointUnreadable: It cannot be copied.
    """
    problem = ""
    for _ in range(_ATTEMPTS):
        origin = _newest(checkpoints)
        if origin is None:
            return None
        target = kept / origin.name
        try:
            held = inventory_of(origin)
            publish(origin, target, {}, before=held, after=held)
        except (OSError, TransplantRefused) as error:
            problem = str(error)
            continue
        if METADATA_NAME not in held:
            shutil.rmtree(target)
            continue
        return target
    message = f"no checkpoint could be copied: {problem or 'each was deleted on the way'}"
    raise CheckpointUnreadable(message, path=str(checkpoints))


def oldest_kept(kept: Path) -> Path | None:
    """Return the copy with the lowest number: of two, the newer one was not approved of."""
    found = [path.parent for path in kept.glob(f"chk-*/{METADATA_NAME}")]
    return min(found, key=_number, default=None)


def remove_kept(kept: Path, paths: Sequence[str]) -> None:
    """Remove copies; what does not lie in the folder is left alone."""
    for path in map(Path, paths):
        if path.parent == kept and path.is_dir():
            # Renamed first, so that a half-removed copy is never taken for a whole one.
            gone = path.with_name(f".{path.name}.gone")
            path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)


def _newest(checkpoints: Path) -> Path | None:
    found = [path.parent for path in checkpoints.glob(f"chk-*/{METADATA_NAME}")]
    return max(found, key=_number, default=None)


def _number(path: Path) -> int:
    digits = path.name.rpartition("-")[2]
    return int(digits) if digits.isdigit() else 0
