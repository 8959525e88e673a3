"""ScriptProcess: one run of a user's script in an interpreter of its own.

The order goes in by standard input. Arguments are seen by everyone on the machine, the
environment goes to every child (PyFlink's Java process, for one) and into dumps, and a file
stays behind when the launcher dies.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cdc_assets.errors import ConfigurationError
from cdc_assets.flink import interpreter

# What a process needs of its surroundings; Dagster's own environment holds every password.
_PASSED_ON = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"),
    *("JAVA_HOME", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "HADOOP_CLASSPATH"),
)
_MOST_OUTPUT = 256 * 1024
_GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class ScriptCommand:
    """What is run.

    Attributes:
        python: The interpreter that has PyFlink.
        script: The user's file.
        order: For the standard input; it holds passwords.
        environment: Variables of the user, beside those that every process needs.
    """

    python: str
    script: Path
    order: str = field(repr=False)
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


@dataclass(frozen=True)
class ScriptEnd:
    """How a run ended.

    Attributes:
        code: Exit code, None when the time was up and the process was killed.
        output: The end of what it wrote, both streams; may hold secrets.
    """

    code: int | None
    output: str = field(repr=False)


class ScriptRunner(Protocol):
    """Runs a script; inside of a Dagster run another runner adds Dagster Pipes."""

    def __call__(self, command: ScriptCommand, *, budget_seconds: float) -> ScriptEnd:
        """Run the script and wait for its end.

        Raises:
            ConfigurationError: The interpreter cannot be started.
        """
        ...


def run_script(command: ScriptCommand, *, budget_seconds: float) -> ScriptEnd:
    """Run a script and wait for its end; nothing that it started outlives the call.

    Args:
        command: What is run.
        budget_seconds: After so long it is killed.

    Raises:
        ConfigurationError: The interpreter cannot be started.
    """
    with tempfile.TemporaryDirectory(prefix="cdc-script-") as folder:
        try:
            return run_child(
                [command.python, "-u", str(command.script)],
                command.order,
                _environment(command, folder),
                folder=folder,
                budget_seconds=budget_seconds,
            )
        except OSError as error:
            raise ConfigurationError(
                f"cannot be started: {error.strerror}",
                field="python_executable",
                value=command.python,
                hint="Make an interpreter with 'cdc-assets pyflink venv'",
            ) from None


def run_child(
    arguments: Sequence[str],
    order: str,
    environment: Mapping[str, str],
    *,
    folder: str,
    budget_seconds: float,
) -> ScriptEnd:
    """Run a program and wait for its end; nothing that it started outlives the call.

    Args:
        arguments: The program and its arguments.
        order: For the standard input.
        environment: All of its variables.
        folder: Where it runs; private, and removed by the caller.
        budget_seconds: After so long it is killed.

    Raises:
        OSError: It cannot be started.
    """
    with tempfile.TemporaryFile(dir=folder) as output:
        process = subprocess.Popen(  # noqa: S603 - what the deployment names
            arguments,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
            start_new_session=True,  # so that what it starts dies with it
        )
        try:
            code = _waited(process, order, budget_seconds)
        finally:
            _end(process)
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - _MOST_OUTPUT))
        return ScriptEnd(code, output.read().decode(errors="replace"))


def passed_on() -> dict[str, str]:
    """Return what a process needs of its surroundings; the rest may hold passwords."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


def _waited(process: subprocess.Popen[bytes], order: str, seconds: float) -> int | None:
    try:
        process.communicate(order.encode(), timeout=seconds)
    except subprocess.TimeoutExpired:
        return None
    return process.returncode


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the script's own process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_SECONDS)


def _environment(command: ScriptCommand, folder: str) -> Mapping[str, str]:
    own = {**passed_on(), **command.environment}
    path = [str(Path(interpreter.__file__).parent), own.get("PYTHONPATH", "")]
    return {
        **own,
        "PYTHONPATH": os.pathsep.join(part for part in path if part),
        "CDC_ASSETS_ORDER": "stdin",
        # Without it the worker of Python functions looks for this process after its end.
        "_python_worker_execution_mode": "process",
        # Flink's client logs there, by default into the interpreter's own packages.
        "FLINK_LOG_DIR": folder,
    }
