"""The commands that the pages name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE))


def make_targets_named_in(page: str) -> set[str]:
    return set(re.findall(r"(?:^|`|\$ )make ([a-z-]+)", (ROOT / page).read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/design.md"])
def test_every_make_command_of_a_page_is_a_target(page: str) -> None:
    named = make_targets_named_in(page)
    assert named
    assert named - TARGETS == set()


def test_the_readme_names_the_two_commands() -> None:
    assert {"demo", "test"} <= make_targets_named_in("README.md")


def test_ci_runs_what_a_person_runs() -> None:
    assert re.search(r"^make test\b", (ROOT / ".ci" / "run").read_text(), flags=re.MULTILINE)


def test_every_target_without_a_file_is_phony() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, flags=re.MULTILINE)
    assert set(phony.split()) == TARGETS
