"""PythonEnvironment: an interpreter of its own for PyFlink, made and looked at.

PyFlink 1.20 pins numpy 1.24, protobuf 4 and others that Dagster's world has left behind, and
has no wheel for a Python newer than 3.11. The two never share an environment.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import cast

from cdc_assets.core.preflight import Fault
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.script_engine import Script

# The newest first: 3.11 is PyFlink 1.20's newest, and dagster-pipes wants 3.10.
PYTHONS = ("3.11", "3.10")
_HINT = "Install Python 3.11, or name its interpreter"
_PROBE_SECONDS = 60.0
_INSTALL_SECONDS = 1800.0
_PROBE = """
import importlib.metadata, importlib.util, json, sys
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
print(json.dumps({
    "python": "%d.%d" % sys.version_info[:2],
    "flink": version("apache-flink"),
    "pkg_resources": importlib.util.find_spec("pkg_resources") is not None,
    "pipes": importlib.util.find_spec("dagster_pipes") is not None,
}))
"""


def find_python(candidates: Sequence[str] | None = None) -> str:
    """Return an interpreter that PyFlink can be installed for.

    Args:
        candidates: Programs to try; this interpreter and the versions on PATH by default.

    Raises:
        ConfigurationError: None is of a version that PyFlink has wheels for.
    """
    tried = candidates or (sys.executable, *(f"python{version}" for version in PYTHONS))
    for program in tried:
        found = shutil.which(program)
        if found and _probed(found).get("python") in PYTHONS:
            return found
    raise ConfigurationError(
        f"PyFlink 1.20 needs Python {' or '.join(PYTHONS)}, and none of {', '.join(tried)} is that",
        hint=_HINT,
    )


def make_environment(folder: Path, python: str, *, without: Sequence[str] = ()) -> Path:
    """Make a virtual environment with PyFlink, every package checked against its SHA-256.

    Args:
        folder: Of the environment; must be empty or not there.
        python: Makes it.
        without: Packages that are left out, because what they hold is somewhere else.

    Returns:
        Its interpreter.

    Raises:
        ConfigurationError: A step failed.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConfigurationError("is not empty", field="folder", value=str(folder))
    _run([python, "-m", "venv", str(folder)], "making the environment")
    interpreter = folder / "bin" / "python"
    lock = files("cdc_assets.flink.interpreter").joinpath("requirements.lock").read_text("utf-8")
    # Some packages are sources only. They are built with this setuptools: an isolated build
    # would fetch one of its own, past the checksums.
    for only, doing in ((("setuptools",), "installing setuptools"), ((), "installing PyFlink")):
        chosen = folder / "requirements.lock"
        chosen.write_text(_chosen(lock, only, without), encoding="utf-8")
        command = [str(interpreter), "-m", "pip", "install", "--disable-pip-version-check"]
        command += ["--no-input", "--no-deps", "--no-build-isolation", "--require-hashes"]
        _run([*command, "--quiet", "--requirement", str(chosen)], doing)
    return interpreter


def _chosen(lock: str, only: Sequence[str], without: Sequence[str]) -> str:
    """Return some packages of a lock: an entry is a line and its continuations."""
    entries = lock.replace("\\\n", "\x00").splitlines()
    named = [(entry.partition("==")[0].strip(), entry) for entry in entries]
    kept = [entry for name, entry in named if name not in without and (not only or name in only)]
    return "\n".join([*kept, ""]).replace("\x00", "\\\n")


def _run(command: Sequence[str], doing: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - an interpreter and its own modules
            command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"{doing}: {type(error).__name__}", hint=_HINT) from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        telling = next((line for line in said if "error" in line.lower()), said[-1])
        # An index's address may hold an account.
        words = ("<address>" if "://" in word else word for word in telling.split())
        raise ConfigurationError(
            f"{doing}: {' '.join(words)[:300]}", hint="Check the network and pip's settings"
        )


def script_faults(script: Script, flink_version: str) -> Iterator[Fault]:
    """Yield what keeps a script from being run.

    Args:
        script: The script.
        flink_version: Of the cluster, empty when it is not known.
    """
    try:
        script.text()
    except ConfigurationError as error:
        yield Fault("flink.script", str(error), "a file that can be read", "Correct the path")
    found = _probed(script.python)
    if not found:
        yield Fault(
            "flink.python_executable",
            f"{script.python} is no Python that can be started",
            "an interpreter that has PyFlink",
            "cdc-assets pyflink venv <folder>",
        )
        return
    version = str(found["flink"])
    if _release(version) != _release(flink_version or version) or not version:
        yield Fault(
            "flink.python_executable",
            f"apache-flink {version or 'is not installed'} in {script.python}",
            f"apache-flink {flink_version or '1.20'}, the cluster's own version",
            "cdc-assets pyflink venv <folder>",
        )
    for module, name in (("pkg_resources", "setuptools<81"), ("pipes", "dagster-pipes")):
        if not found[module]:
            yield Fault(
                "flink.python_executable",
                f"no {name} in {script.python}",
                name,
                f"{script.python} -m pip install '{name}'",
            )
    if not _has_java(script.environment):
        yield Fault(
            "flink.environment",
            "no java on PATH and no JAVA_HOME",
            "Java 11 or 17",
            'Name it: environment={"JAVA_HOME": "<folder>"}',
        )


def _release(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _has_java(environment: Mapping[str, str]) -> bool:
    home = environment.get("JAVA_HOME") or os.environ.get("JAVA_HOME", "")
    path = environment.get("PATH") or os.environ.get("PATH", "")
    if home and (Path(home) / "bin" / "java").is_file():
        return True
    return shutil.which("java", path=path) is not None


def _probed(program: str) -> Mapping[str, object]:
    """Return what an interpreter says of itself, empty for none."""
    try:
        done = subprocess.run(  # noqa: S603 - an interpreter that the deployment names
            [program, "-c", _PROBE],
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
        return cast("Mapping[str, object]", json.loads(done.stdout)) if not done.returncode else {}
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return {}
