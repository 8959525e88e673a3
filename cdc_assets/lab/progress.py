"""A download report: a bar on a terminal, one line per package elsewhere; always on stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Protocol

from cdc_assets.lab.packages import Package

_MEGABYTE = 10**6


class DownloadReport(Protocol):
    """What the cache tells while it is filled."""

    def begin(self, packages: Sequence[Package]) -> None:
        """Some packages are about to be fetched."""

    def waiting(self) -> None:
        """Another process holds the cache."""

    def advance(self, package: Package, done: int) -> None:
        """`done` bytes of the package have arrived."""

    def done(self, package: Package) -> None:
        """The package is verified and in its place."""

    def end(self) -> None:
        """Nothing more is fetched."""


class SilentReport:
    """Tells nothing."""

    def begin(self, packages: Sequence[Package]) -> None:
        """Tell nothing."""

    def waiting(self) -> None:
        """Tell nothing."""

    def advance(self, package: Package, done: int) -> None:
        """Tell nothing."""

    def done(self, package: Package) -> None:
        """Tell nothing."""

    def end(self) -> None:
        """Tell nothing."""


class LineReport:
    """One line per package, for logs and pipes."""

    def __init__(self) -> None:
        self._total = 0
        self._arrived = 0

    def begin(self, packages: Sequence[Package]) -> None:
        """Say how much is to come."""
        self._total = sum(each.size for each in packages)
        self._arrived = 0
        self._say(f"downloading {len(packages)} packages, {_megabytes(self._total)} MB")

    def waiting(self) -> None:
        """Say that another process fills the cache."""
        self._say("waiting for another process that fills the cache")

    def advance(self, package: Package, done: int) -> None:
        """Tell nothing: a log wants whole packages."""

    def done(self, package: Package) -> None:
        """Say what arrived, and how much of the total."""
        self._arrived += package.size
        self._say(
            f"{package.coordinates} verified "
            f"({_megabytes(self._arrived)} of {_megabytes(self._total)} MB)"
        )

    def end(self) -> None:
        """Tell nothing."""

    @staticmethod
    def _say(text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


class BarReport(LineReport):
    """One bar over the bytes of all packages, for a terminal."""

    def begin(self, packages: Sequence[Package]) -> None:
        """Show the bar."""
        from rich.console import Console  # noqa: PLC0415 - slow to import, only for a download
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TransferSpeedColumn,
        )

        self._arrived = 0
        self._total = sum(each.size for each in packages)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("downloading", total=self._total)
        self._bar.start()

    def advance(self, package: Package, done: int) -> None:
        """Move the bar."""
        self._bar.update(
            self._task, description=package.name, completed=self._arrived + min(done, package.size)
        )

    def done(self, package: Package) -> None:
        """Move the bar to the end of the package."""
        self._arrived += package.size
        self._bar.update(self._task, completed=self._arrived)

    def end(self) -> None:
        """Leave the bar as it stands."""
        self._bar.stop()


def report_for_terminal() -> DownloadReport:
    """Return the report that fits where stderr goes."""
    return BarReport() if sys.stderr.isatty() else LineReport()


def _megabytes(count: int) -> int:
    return round(count / _MEGABYTE)
