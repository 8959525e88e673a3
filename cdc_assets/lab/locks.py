"""A lock between processes: one file, held by `flock`, given up by itself when the holder dies."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from cdc_assets.errors import LabError

_RETRY_SECONDS = 0.1


@contextmanager
def file_lock(
    path: Path, *, timeout_seconds: float, on_wait: Callable[[], None] | None = None
) -> Generator[None]:
    """Hold an exclusive lock on a file.

    Args:
        path: The lock file; it is created, and never removed (removing it would break the lock).
        timeout_seconds: How long to wait for another holder.
        on_wait: Called once when the lock is held by another process.

    Raises:
        LabError: Another process held the lock for the whole time.
    """
    import fcntl  # noqa: PLC0415 - absent on Windows, where the lab is refused with a clear line

    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + timeout_seconds
        told = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told and on_wait is not None:
                    on_wait()
                told = True
            if time.monotonic() > deadline:
                raise LabError(
                    f"{path} is locked by another process for more than {timeout_seconds:.0f} s",
                    hint="Wait for it to end, or stop it",
                )
            time.sleep(_RETRY_SECONDS)
        yield
    finally:
        os.close(handle)
