"""The interpreter of PyFlink: what it is made from, and what preflight says of one."""

from __future__ import annotations

import re
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from cdc_assets.errors import ConfigurationError
from cdc_assets.flink import python_environment
from cdc_assets.flink.python_environment import find_python, make_environment, script_faults
from cdc_assets.flink.script_engine import Script
from cdc_assets.lab.flink_cluster import FLINK_VERSION

LOCK = files("cdc_assets.flink.interpreter").joinpath("requirements.lock").read_text("utf-8")


def test_every_package_of_the_lock_has_a_hash() -> None:
    entries = re.split(r"\n(?=\S)", LOCK)
    assert len(entries) > 30
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_lock_has_the_flink_of_the_lab() -> None:
    for name in ("apache-flink", "apache-flink-libraries"):
        assert f"\n{name}=={FLINK_VERSION} " in LOCK


def test_packages_can_be_chosen_and_left_out() -> None:
    lock = (
        "a==1 \\\n    --hash=sha256:1\nb==2 ; x \\\n    --hash=sha256:2 \\\n    --hash=sha256:3\n"
    )
    assert python_environment._chosen(lock, (), ("b",)) == "a==1 \\\n    --hash=sha256:1\n"
    assert python_environment._chosen(lock, ("b",), ()).startswith("b==2 ; x \\\n    --hash")
    assert python_environment._chosen(lock, (), ()) == lock


def test_without_a_python_that_pyflink_knows_the_versions_are_named(tmp_path: Path) -> None:
    program = tmp_path / "python9"
    program.write_text('#!/bin/sh\necho \'{"python": "3.13"}\'\n')
    program.chmod(0o755)
    with pytest.raises(ConfigurationError, match=r"PyFlink 1\.20 needs Python 3\.11 or 3\.10"):
        find_python([str(program), "python-that-is-not-there"])


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(ConfigurationError, match="folder: is not empty"):
        make_environment(tmp_path, sys.executable)
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]


def interpreter(folder: Path, flink: str, pipes: str = "true") -> str:
    """Return a program that answers as an interpreter does."""
    program = folder / "python"
    answer = f'{{"python": "3.11", "flink": "{flink}", "pkg_resources": true, "pipes": {pipes}}}'
    program.write_text(f"#!/bin/sh\necho '{answer}'\n")
    program.chmod(0o755)
    return str(program)


def faults(folder: Path, python: str, *, java: bool = True) -> list[str]:
    """Return what preflight finds."""
    script, home = folder / "stream.py", folder / "java"
    script.touch()
    (home / "bin").mkdir(parents=True)
    if java:
        (home / "bin" / "java").touch()
    variables = {"JAVA_HOME": str(home), "PATH": str(folder / "nothing")}
    found = script_faults(Script(script, python, variables), FLINK_VERSION)
    return [f"{fault.field}: {fault.found}" for fault in found]


def test_an_interpreter_of_the_clusters_release_is_ready(tmp_path: Path) -> None:
    assert faults(tmp_path, interpreter(tmp_path, "1.20.1")) == []


@pytest.mark.parametrize(
    ("flink", "pipes", "said"),
    [
        ("", "true", "apache-flink is not installed"),
        ("1.19.3", "true", "apache-flink 1.19.3"),
        ("1.20.3", "false", "no dagster-pipes"),
    ],
)
def test_what_an_interpreter_lacks_is_a_fault(
    tmp_path: Path, flink: str, pipes: str, said: str
) -> None:
    (fault,) = faults(tmp_path, interpreter(tmp_path, flink, pipes))
    assert fault.startswith(f"flink.python_executable: {said}")


def test_an_interpreter_that_cannot_be_started_is_a_fault(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, str(tmp_path / "no-python"))
    assert "is no Python that can be started" in fault


def test_a_host_without_java_is_a_fault(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, interpreter(tmp_path, "1.20.3"), java=False)
    assert "no java on PATH" in fault


def test_a_script_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    script = Script(tmp_path / "none.py", interpreter(tmp_path, "1.20.3"))
    assert next(script_faults(script, "")).field == "flink.script"
