"""Copy a directory with some files replaced, so that it appears whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from cdc_assets.errors import TransplantRefused

Inventory = dict[str, str]
"""SHA-256 of each file, by its path relative to the directory."""

_CHUNK = 1024 * 1024


def digest_of(data: bytes) -> str:
    """Return the SHA-256 of some bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def inventory_of(directory: Path) -> Inventory:
    """Return the digest of every file in a directory and below it.

    Raises:
        TransplantRefused: It holds something that is neither a file nor a directory.
        OSError: It cannot be read.
    """
    found: Inventory = {}
    for path in _walk(directory):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            message = f"{path} is neither a file nor a directory"
            raise TransplantRefused(message)
        if path.is_file():
            found[path.relative_to(directory).as_posix()] = _digest_file(path)
    return found


def publish(
    origin: Path,
    target: Path,
    changed: Mapping[str, bytes],
    *,
    before: Inventory,
    after: Inventory,
) -> bool:
    """Copy `origin` to `target` with other bytes in some files.

    The copy is written under another name, read back, and renamed; a half-written one of an
    earlier call is thrown away. The original is compared with `before` first.

    Args:
        origin: The directory to copy.
        target: Where to.
        changed: New bytes, by path relative to the directory.
        before: What the original held when it was read.
        after: What the copy must hold.

    Returns:
        Whether the copy was there already, exactly as it must be.

    Raises:
        TransplantRefused: The target is something else, or the original changed.
        OSError: The copy cannot be written.
    """
    if target.resolve().is_relative_to(origin.resolve()):
        message = f"{target} lies inside the savepoint"
        raise TransplantRefused(message)
    if os.path.lexists(target):
        return _is_done(target, after)
    partial = target.with_name(f".{target.name}.partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove(partial)
    try:
        _copy(origin, partial, changed)
        if inventory_of(partial) != after or inventory_of(origin) != before:
            message = f"{origin} changed while it was copied"
            raise TransplantRefused(message, hint="Run it again once nothing writes there")
        try:
            partial.rename(target)
        except FileExistsError:
            return _is_done(target, after)
        except OSError:
            if not os.path.lexists(target):
                raise
            return _is_done(target, after)
        _sync(target.parent)
    finally:
        _remove(partial)
    return False


def _is_done(target: Path, after: Inventory) -> bool:
    if target.is_symlink() or not target.is_dir() or inventory_of(target) != after:
        message = f"{target} exists and is not the expected copy"
        raise TransplantRefused(message, hint="Remove it, or choose another name")
    return True


def _copy(origin: Path, partial: Path, changed: Mapping[str, bytes]) -> None:
    partial.mkdir()
    shutil.copymode(origin, partial)
    for path in _walk(origin):
        name = path.relative_to(origin)
        copy = partial / name
        if path.is_dir():
            copy.mkdir()
        elif name.as_posix() in changed:
            copy.write_bytes(changed[name.as_posix()])
        else:
            shutil.copyfile(path, copy)
        shutil.copymode(path, copy)
        _sync(copy)
    _sync(partial)


def _walk(directory: Path) -> list[Path]:
    """Return everything below a directory, parents before children."""
    if not directory.is_dir():
        message = f"{directory} is not a directory"
        raise TransplantRefused(message)
    return sorted(directory.rglob("*"))


def _digest_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    """Put a file or a directory on the disk, so that a crash cannot leave half a copy."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if os.path.lexists(path):
        shutil.rmtree(path)
