"""The cache: locked packages on disk, each complete and verified or not there at all.

    <cache>/packages/<name>-<sha256 start>/    the file, or the kept part of the archive
    <cache>/packages/.../.complete.json        every file with its size; written last
    <cache>/tmp/                               work in progress; never read by anything else
    <cache>/.lock                              held while the cache is being filled

A folder appears under its final name by one rename, after the checksum was compared and everything
was unpacked. So an interrupted download leaves only a folder in `tmp`, which the next run removes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from cdc_assets.errors import DownloadFailed, PlatformUnsupported
from cdc_assets.lab.locks import file_lock
from cdc_assets.lab.packages import Client, Package
from cdc_assets.lab.progress import DownloadReport, SilentReport
from cdc_assets.lab.registry_clients import FETCHERS, Fetch

CACHE_VARIABLE = "CDC_ASSETS_CACHE"
_MARKER = ".complete.json"
_LOCK_SECONDS = 3600.0
_CHUNK = 1024 * 1024
# Room for the archive and for what is unpacked from it, both there for a moment.
_ROOM_FACTOR = 4


def default_cache_dir() -> Path:
    """Return the cache folder: `CDC_ASSETS_CACHE`, or `cdc-assets` in the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "cdc-assets"


def check_platform(
    system: str = sys.platform, machine: str | None = None, libc: str | None = None
) -> None:
    """Refuse to run where the packages' programs do not.

    Raises:
        PlatformUnsupported: Not Linux with glibc on x86-64.
    """
    found_machine = platform.machine() if machine is None else machine
    found_libc = platform.libc_ver()[0] if libc is None else libc
    if system != "linux" or found_machine.lower() not in {"x86_64", "amd64"}:
        raise PlatformUnsupported(
            f"the lab runs on Linux x86-64 only, this is {system} {found_machine}",
            hint="The package itself works here; run 'make unit', or point it at your own servers",
        )
    if found_libc != "glibc":
        raise PlatformUnsupported(
            f"the lab needs glibc, this Linux has {found_libc or 'another C library'}",
            hint="Use a Debian, Ubuntu, Fedora or similar system",
        )


class Cache:
    """Downloaded packages of the lab.

    Args:
        root: The cache folder.
        fetchers: The registry clients; tests give their own.
        report: Where progress is told.
    """

    def __init__(
        self,
        root: Path,
        *,
        fetchers: Mapping[Client, Fetch] | None = None,
        report: DownloadReport | None = None,
    ) -> None:
        self.root = root
        self._fetchers = FETCHERS if fetchers is None else fetchers
        self._report = SilentReport() if report is None else report

    def folder(self, package: Package) -> Path:
        """Return where a package is, or would be."""
        return self.root / "packages" / package.folder_name

    def is_complete(self, package: Package) -> bool:
        """Return whether every file of the package is there with its size."""
        folder = self.folder(package)
        try:
            marker = json.loads((folder / _MARKER).read_text(encoding="utf-8"))
            sizes = cast("dict[str, int]", marker["files"])
            return marker["sha256"] == package.sha256 and all(
                (folder / name).stat().st_size == size for name, size in sizes.items()
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False

    def ensure(self, packages: Iterable[Package]) -> int:
        """Fetch what is not complete; return the bytes downloaded.

        Nothing is locked, written or asked of the network when everything is there.

        Raises:
            DownloadFailed: A package cannot be fetched, is not the locked one, or has no room.
        """
        wanted = list(packages)
        if all(self.is_complete(each) for each in wanted):
            return 0
        with self.filling():
            missing = [each for each in wanted if not self.is_complete(each)]
            self._check_room(missing)
            self._report.begin(missing)
            try:
                for package in missing:
                    self._install(package)
            finally:
                self._report.end()
        return sum(each.size for each in missing)

    @contextmanager
    def filling(self) -> Generator[None]:
        """Hold the cache for writing; a full disk becomes one line that names the folder."""
        lock = file_lock(
            self.root / ".lock", timeout_seconds=_LOCK_SECONDS, on_wait=self._report.waiting
        )
        with _disk_errors(self.root), lock:
            # The lock is ours: whatever is in `tmp` was left by a process that is gone.
            shutil.rmtree(self.root / "tmp", ignore_errors=True)
            yield

    @contextmanager
    def work_folder(self) -> Generator[Path]:
        """Give an empty folder on the cache's disk, removed at the end."""
        parent = self.root / "tmp"
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _install(self, package: Package) -> None:
        with self.work_folder() as work:
            download = work / "download"
            download.mkdir()

            def progress(done: int) -> None:
                self._report.advance(package, min(done, package.size))

            file = self._fetchers[package.client](package, download, progress)
            _verify(package, file)
            tree = work / "tree"
            tree.mkdir()
            if package.unpack is None:
                file.replace(tree / file.name)
            else:
                _unpack(package, file, tree)
            _write_marker(package, tree)
            final = self.folder(package)
            final.parent.mkdir(parents=True, exist_ok=True)
            if final.exists():  # incomplete or damaged: never mixed with the new one
                final.replace(work / "damaged")
            tree.replace(final)
        self._report.done(package)

    def _check_room(self, missing: Iterable[Package]) -> None:
        needed = sum(each.size for each in missing) + max(
            (each.size * _ROOM_FACTOR for each in missing), default=0
        )
        self.root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.root).free
        if free < needed:
            raise DownloadFailed(
                f"{self.root}: {needed // 10**6} MB needed, {free // 10**6} MB free",
                hint=f"Make room, or set {CACHE_VARIABLE} to a folder on another disk",
            )


@contextmanager
def _disk_errors(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            reason = "the disk is full"
        elif error.errno in {errno.EACCES, errno.EROFS, errno.EPERM}:
            reason = "the folder cannot be written"
        else:
            raise
        raise DownloadFailed(
            f"{folder}: {reason} ({error.strerror})",
            hint=f"Make room, or set {CACHE_VARIABLE} to a folder on another disk",
        ) from error
    except DownloadFailed as error:
        # pip and npm have words for a full disk of their own.
        if "no space left" in error.message.lower():
            raise DownloadFailed(
                f"{folder}: the disk is full ({error.message})",
                hint=f"Make room, or set {CACHE_VARIABLE} to a folder on another disk",
            ) from error
        raise


def _verify(package: Package, file: Path) -> None:
    size = file.stat().st_size
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    found = digest.hexdigest()
    if (size, found) != (package.size, package.sha256):
        raise DownloadFailed(
            f"{package.coordinates}: expected sha256 {package.sha256} ({package.size} bytes), "
            f"found {found} ({size} bytes)",
            hint="Nothing of it was kept; run it again, and look at the registry mirror in use",
        )


def _unpack(package: Package, file: Path, tree: Path) -> None:
    unpack = package.unpack
    if unpack is None:
        return
    try:
        archive = _inner(file, unpack.inner) if unpack.inner else file
        for name, content in _members(archive, unpack.target_name):
            target = tree / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as output:
                shutil.copyfileobj(content, output, _CHUNK)
        for name in unpack.executable:
            (tree / name).chmod(0o755)
    except (zipfile.BadZipFile, tarfile.TarError, FileNotFoundError, KeyError) as error:
        raise DownloadFailed(f"{package.coordinates} cannot be unpacked: {error}") from error


def _inner(file: Path, name: str) -> Path:
    """Take an archive out of an archive, beside it."""
    inner = file.with_name(f"inner-{Path(name).name}")
    for _, content in _members(file, lambda member: member if member == name else None):
        with inner.open("wb") as output:
            shutil.copyfileobj(content, output, _CHUNK)
    return inner


def _members(
    file: Path, target_name: Callable[[str], str | None]
) -> Generator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                name = None if entry.is_dir() else target_name(entry.filename)
                if name is not None:
                    with archive.open(entry) as content:
                        yield name, content
        return
    with tarfile.open(file) as archive:
        # A link is unpacked as the file that it leads to, inside the archive.
        for member in archive.getmembers():
            is_file = member.isfile() or member.issym()
            name = target_name(member.name) if is_file else None
            content = archive.extractfile(member) if name is not None else None
            if name is not None and content is not None:
                yield name, content


def _write_marker(package: Package, tree: Path) -> None:
    files = {
        path.relative_to(tree).as_posix(): path.stat().st_size
        for path in sorted(tree.rglob("*"))
        if path.is_file()
    }
    text = json.dumps({"sha256": package.sha256, "files": files}, indent=0)
    (tree / _MARKER).write_text(text, encoding="utf-8")
