"""The lock file names packages, never a registry."""

from __future__ import annotations

import re
from importlib.resources import files
from itertools import chain
from pathlib import Path

import pytest

from cdc_assets.errors import ServiceFailed
from cdc_assets.lab.cache import Cache
from cdc_assets.lab.data_templates import find_program, known_versions
from cdc_assets.lab.packages import load_packages
from cdc_assets.lab.plan import package_groups, server_versions
from cdc_assets.lab.source_server import ServerKind
from cdc_assets.lab.target_systems import KINDS


def test_every_package_is_locked_by_size_and_checksum() -> None:
    packages = load_packages()
    assert packages
    for package in packages:
        assert re.fullmatch(r"[0-9a-f]{64}", package.sha256)
        assert package.size > 0
    assert len({each.name for each in packages}) == len(packages)


def test_the_lock_file_holds_no_address() -> None:
    text = files("cdc_assets.lab").joinpath("packages.lock.json").read_text(encoding="utf-8")
    assert "://" not in text


@pytest.mark.parametrize("kind", ["mariadb", "mysql"])
def test_a_lab_needs_only_the_packages_of_its_source(kind: ServerKind) -> None:
    names = {each.name for each in load_packages(package_groups(kind))}
    assert ("mariadb-10.11.5" in names) == (kind == "mariadb")
    assert {"mysql-5.6.24", "flink-1.20.3"} <= names


def test_a_lab_of_several_targets_needs_the_packages_of_each() -> None:
    groups = [{*package_groups("mariadb", kind)} for kind in KINDS]
    assert {*package_groups("mariadb", *KINDS)} == {*chain(*groups)}
    assert len({frozenset(each) for each in groups}) == len(KINDS)


@pytest.mark.parametrize("kind", ["mariadb", "mysql"])
def test_every_server_of_a_lab_is_locked(kind: ServerKind, tmp_path: Path) -> None:
    for server_kind, version in server_versions(kind):
        assert find_program(Cache(tmp_path), server_kind, version).version == version


def test_an_unknown_version_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    assert known_versions("mariadb") == ["10.11.5", "11.4.5"]
    with pytest.raises(ServiceFailed, match=r"no mariadb 12\.0.*10\.11\.5, 11\.4\.5"):
        find_program(Cache(tmp_path), "mariadb", "12.0")
