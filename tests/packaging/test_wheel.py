"""What a user gets: the wheel, its public names and its entry points."""

from __future__ import annotations

import configparser
import subprocess
import sys
import types
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import cdc_assets

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "--target",
        "wheel",
        "--directory",
        folder,
    ]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def files_of(wheel: zipfile.ZipFile) -> set[str]:
    return {name for name in wheel.namelist() if ".dist-info/" not in name}


def test_the_only_top_level_name_is_the_package(wheel: zipfile.ZipFile) -> None:
    assert {name.split("/")[0] for name in files_of(wheel)} == {"cdc_assets"}


def test_the_wheel_says_that_it_is_typed(wheel: zipfile.ZipFile) -> None:
    assert "cdc_assets/py.typed" in files_of(wheel)


def test_the_wheel_holds_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    on_disk = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "cdc_assets").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files_of(wheel) == on_disk


def test_every_folder_with_code_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "cdc_assets").rglob("*.py")}
    assert [folder.name for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_wheel_announces_the_command_and_the_component_library(wheel: zipfile.ZipFile) -> None:
    name = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    announced = configparser.ConfigParser()
    announced.read_string(wheel.read(name).decode())
    assert announced["console_scripts"]["cdc-assets"] == "cdc_assets.cli:main"
    assert announced["dagster_dg_cli.registry_modules"]["cdc_assets"] == "cdc_assets"


def test_the_command_can_be_imported() -> None:
    (command,) = entry_points(group="console_scripts", name="cdc-assets")
    assert callable(command.load())


def test_every_exported_name_exists_once() -> None:
    exported = list(cdc_assets.__all__)
    assert len(exported) == len(set(exported))
    assert [name for name in exported if not hasattr(cdc_assets, name)] == []


def test_every_public_name_is_exported() -> None:
    public = {
        name
        for name, value in vars(cdc_assets).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public - {"annotations"} <= set(cdc_assets.__all__)
