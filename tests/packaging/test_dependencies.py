"""The dependencies: one Dagster version, two locks that agree, a reason for each."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
UV_LOCK: dict[str, Any] = tomllib.loads((ROOT / "uv.lock").read_text())
PROJECT = PYPROJECT["project"]
DAGSTER = "1.13.27"
DAGSTER_LIBRARIES = "0.29.27"  # how the same release is numbered in the 0.x packages

Pins = dict[tuple[str, str], set[str]]


def asked_for() -> list[Requirement]:
    """Return every requirement that pyproject.toml states, extras and groups included."""
    extras = [text for texts in PROJECT["optional-dependencies"].values() for text in texts]
    groups = [text for texts in PYPROJECT["dependency-groups"].values() for text in texts]
    return [Requirement(text) for text in [*PROJECT["dependencies"], *extras, *groups]]


def pins_of_requirements_lock() -> Pins:
    """Return the hashes of each (name, version) of requirements.lock."""
    pins: Pins = defaultdict(set)
    current = ("", "")
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if pin := re.match(r"([\w.-]+)==([^\s;]+)", line):
            current = (canonicalize_name(pin[1]), pin[2])
        if digest := re.search(r"--hash=(sha256:[0-9a-f]{64})", line):
            pins[current].add(digest[1])
    return dict(pins)


def pins_of_uv_lock() -> Pins:
    """Return the hashes of each (name, version) of uv.lock, the project itself left out."""
    pins: Pins = {}
    for package in UV_LOCK["package"]:
        if "registry" in package["source"]:
            files = [
                *package.get("wheels", []),
                *([package["sdist"]] if "sdist" in package else []),
            ]
            pins[package["name"], package["version"]] = {file["hash"] for file in files}
    return pins


PINS = pins_of_requirements_lock()


def test_every_pin_has_a_hash() -> None:
    pinned = re.findall(r"^[\w.-]+==", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    assert len(pinned) == len(PINS) > 100
    assert all(PINS.values())


def test_both_locks_hold_the_same_pins_and_hashes() -> None:
    assert pins_of_uv_lock() == PINS


@pytest.mark.parametrize("requirement", asked_for(), ids=str)
def test_the_lock_holds_what_is_asked_for(requirement: Requirement) -> None:
    versions = [v for name, v in PINS if name == canonicalize_name(requirement.name)]
    assert versions
    assert [v for v in versions if v not in requirement.specifier] == []


def test_the_lock_was_made_from_the_requirements_of_today() -> None:
    (own,) = [p for p in UV_LOCK["package"] if p["name"] == PROJECT["name"]]
    locked = own["metadata"]["requires-dist"] + own["metadata"]["requires-dev"]["dev"]
    assert {(entry["name"], entry.get("specifier", "")) for entry in locked} == {
        (canonicalize_name(r.name), _as_in(locked, r)) for r in asked_for()
    }


def _as_in(locked: list[dict[str, str]], requirement: Requirement) -> str:
    """Return the specifier as the lock spells it, if it means the same as the requirement's."""
    for entry in locked:
        same_name = entry["name"] == canonicalize_name(requirement.name)
        if same_name and Requirement(f"x{entry.get('specifier', '')}").specifier == (
            requirement.specifier
        ):
            return entry.get("specifier", "")
    return f"missing: {requirement}"


def test_the_dagster_family_has_one_version() -> None:
    family = {(name, version) for name, version in PINS if name.split("-")[0] == "dagster"}
    assert len(family) >= 4
    assert {version for _, version in family} <= {DAGSTER, DAGSTER_LIBRARIES}
    asked = {str(r.specifier) for r in asked_for() if r.name.split("-")[0] == "dagster"}
    assert asked == {f"=={DAGSTER}"}


def test_the_installed_dagster_is_the_locked_one() -> None:
    installed = {
        (canonicalize_name(d.name), d.version)
        for d in distributions()
        if d.name.startswith("dagster") and canonicalize_name(d.name) != PROJECT["name"]
    }
    assert installed
    assert installed <= set(PINS)


def test_the_design_page_gives_a_reason_for_each_dependency() -> None:
    page = (ROOT / "docs" / "design.md").read_text()
    section = page.split("## Dependencies", 1)[1].split("\n## ", 1)[0]
    explained = set(re.findall(r"`([\w.-]+)(?:\[[\w,]+\])?`", section))
    assert {r.name for r in asked_for()} - explained == set()
