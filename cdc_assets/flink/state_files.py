"""The files that a checkpoint consists of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cdc_assets.errors import CheckpointUnreadable
from cdc_assets.flink.metadata_format import (
    EMPTY_SEGMENT,
    FILE,
    INLINE,
    NULL,
    RELATIVE_FILE,
    SEGMENT,
    StreamHandle,
)

METADATA_NAME = "_metadata"
MAX_FILE_BYTES = 512 * 1024 * 1024
"""Reader and coordinator state is kilobytes; more than this is not loaded into memory."""

Load = Callable[[Path], bytes]


def local_path(uri: str) -> Path:
    """Return the local file or directory that Flink names.

    Flink prints paths without percent-encoding, so nothing is decoded.

    Args:
        uri: `file:/dir`, `file:///dir` or an absolute path.

    Raises:
        CheckpointUnreadable: It lies in another file system, or is not absolute.

    Example:
        >>> local_path("file:/data/chk-7").as_posix()
        '/data/chk-7'
    """
    scheme, colon, rest = uri.partition(":")
    if colon and "/" not in scheme:
        if scheme.lower() != "file":
            message = f"state in the file system {scheme!r} cannot be read"
            raise CheckpointUnreadable(
                message, path=uri, hint="Keep checkpoints and savepoints on a file: path"
            )
        host, slash, tail = rest[2:].partition("/") if rest.startswith("//") else ("", "", rest)
        if host not in ("", "localhost"):
            message = f"state on the host {host!r} cannot be read"
            raise CheckpointUnreadable(message, path=uri)
        uri = slash + tail
    if not uri.startswith("/") or "\x00" in uri:
        message = "not an absolute path"
        raise CheckpointUnreadable(message, path=repr(uri))
    return Path("/" + uri.lstrip("/"))


def load_file(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        CheckpointUnreadable: It is missing, unreadable or too large to be such a file.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            message = f"{size} bytes are more than the limit of {MAX_FILE_BYTES}"
            raise CheckpointUnreadable(message, path=str(path))
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CheckpointUnreadable(f"cannot be opened: {reason}", path=str(path)) from None


@dataclass(frozen=True)
class StateFiles:
    """Finds the bytes behind a handle.

    Args:
        metadata: The bytes of `_metadata`.
        directory: The directory it lies in; None if the bytes came from elsewhere.
        load: Reads a file.
        path: Name of the metadata file, for error texts.
    """

    metadata: bytes
    directory: Path | None
    load: Load = load_file
    path: str = METADATA_NAME

    def bytes_of(self, handle: StreamHandle, what: str) -> bytes | None:
        """Return the bytes behind a handle, None if it stands for no state.

        Args:
            handle: The handle.
            what: Whose state it is, for the error text.

        Raises:
            CheckpointUnreadable: The file is missing or has another size, or the handle is of
                a type that such a state never has.
        """
        if handle.kind in (NULL, EMPTY_SEGMENT):
            return None
        if handle.kind == INLINE:
            return self.metadata[handle.data_start : handle.data_start + handle.size]
        file = self.file_of(handle)
        if file is None:
            message = f"{what} has a state handle of type {handle.kind}"
            raise CheckpointUnreadable(message, path=self.path, at=handle.start)
        data = self.load(file)
        if handle.kind == SEGMENT:
            data = data[handle.segment_start : handle.segment_start + handle.size]
        if len(data) != handle.size:
            message = f"{what}: {len(data)} bytes instead of the {handle.size} that are recorded"
            raise CheckpointUnreadable(message, path=str(file))
        return data

    def file_of(self, handle: StreamHandle) -> Path | None:
        """Return the file behind a handle, None if it is not a file.

        Raises:
            CheckpointUnreadable: The path is not local, or leaves the directory.
        """
        if handle.kind in (FILE, SEGMENT):
            return local_path(handle.path)
        if handle.kind != RELATIVE_FILE:
            return None
        parts = Path(handle.path).parts
        bad = not parts or handle.path.startswith("/") or ".." in parts or "\x00" in handle.path
        if self.directory is None or bad:
            message = f"relative state file {handle.path!r} cannot be found"
            raise CheckpointUnreadable(message, path=self.path, at=handle.start)
        return self.directory / handle.path
