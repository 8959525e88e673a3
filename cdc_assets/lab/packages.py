"""A locked package: what the lab downloads, and how to know that it is the right thing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal, cast

from cdc_assets.errors import LabError

Client = Literal["maven", "npm", "pip"]
_LOCK_FILE = "packages.lock.json"
_LOCK_FORMAT = 1


@dataclass(frozen=True)
class Unpack:
    """Which part of an archive is kept.

    Args:
        strip: Prefix that is cut off every member's name; members without it are left out.
        include: Prefixes, after `strip`, of the members that are kept.
        executable: Members, after `strip`, that get the executable bits.
        inner: A member that is an archive itself, whose members are meant; empty for none.
    """

    strip: str
    include: tuple[str, ...]
    executable: tuple[str, ...]
    inner: str = ""

    def target_name(self, member: str) -> str | None:
        """Return the member's path below the package folder, or None when it is left out."""
        if not member.startswith(self.strip):
            return None
        name = member[len(self.strip) :]
        return name if name and name.startswith(self.include) else None


@dataclass(frozen=True)
class Package:
    """One file of a public registry, locked by size and SHA-256.

    Args:
        name: The lab's own name for it.
        groups: Which parts of the lab need it.
        client: The registry client that fetches it.
        coordinates: The package and version, as the client spells it.
        sha256: Of the file as downloaded.
        size: Of the file as downloaded, in bytes.
        unpack: None for a file that is used as it is.
    """

    name: str
    groups: tuple[str, ...]
    client: Client
    coordinates: str
    sha256: str
    size: int
    unpack: Unpack | None

    @property
    def folder_name(self) -> str:
        """Return the folder in the cache; the checksum in it keeps two locks apart."""
        return f"{self.name}-{self.sha256[:12]}"


def load_packages(groups: Sequence[str] | None = None) -> tuple[Package, ...]:
    """Return the locked packages that the groups need; all of them without groups.

    Raises:
        LabError: The lock file has another format.
    """
    text = files("cdc_assets.lab").joinpath(_LOCK_FILE).read_text(encoding="utf-8")
    document = cast("Mapping[str, object]", json.loads(text))
    if document.get("format") != _LOCK_FORMAT:
        raise LabError(f"{_LOCK_FILE}: format {document.get('format')!r} is not {_LOCK_FORMAT}")
    entries = cast("Sequence[Mapping[str, object]]", document["artifacts"])
    packages = (_package(entry) for entry in entries)
    wanted = None if groups is None else set(groups)
    return tuple(each for each in packages if wanted is None or wanted & set(each.groups))


def _package(entry: Mapping[str, object]) -> Package:
    unpack = cast("Mapping[str, object] | None", entry["unpack"])
    return Package(
        name=cast("str", entry["name"]),
        groups=tuple(cast("Sequence[str]", entry["groups"])),
        client=cast("Client", entry["client"]),
        coordinates=cast("str", entry["package"]),
        sha256=cast("str", entry["sha256"]),
        size=cast("int", entry["size"]),
        unpack=None
        if unpack is None
        else Unpack(
            strip=cast("str", unpack["strip"]),
            include=tuple(cast("Sequence[str]", unpack["include"])),
            executable=tuple(cast("Sequence[str]", unpack["executable"])),
            inner=cast("str", unpack.get("inner", "")),
        ),
    )
