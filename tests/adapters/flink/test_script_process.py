"""One run of a script: what goes in, what it sees, and that nothing of it stays."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import psutil
import pytest

from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.script_process import ScriptCommand, run_script

SECRET = "geheim-word"


def command(tmp_path: Path, text: str, **environment: str) -> ScriptCommand:
    script = tmp_path / "stream.py"
    script.write_text(text)
    return ScriptCommand(sys.executable, script, json.dumps({"secret": SECRET}), environment)


def test_the_order_is_on_the_standard_input_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDC_TARGET_PASSWORD", SECRET)
    look = (
        "import json, os, sys\n"
        "print(json.load(sys.stdin)['secret'])\n"
        f"print([x for x in [*sys.argv, *os.environ.values()] if {SECRET!r} in x])\n"
    )
    end = run_script(command(tmp_path, look), budget_seconds=30)
    assert (end.code, end.output.split()) == (0, [SECRET, "[]"])
    assert SECRET not in repr(end)


def test_a_script_finds_the_module_and_its_own_variables(tmp_path: Path) -> None:
    look = "import os, cdc_stream\nprint(cdc_stream.__name__, os.environ['REGION'])\n"
    end = run_script(command(tmp_path, look, REGION="eu"), budget_seconds=30)
    assert end.output == "cdc_stream eu\n"


def test_output_and_errors_of_a_failed_script_are_kept(tmp_path: Path) -> None:
    end = run_script(command(tmp_path, "print('one')\nraise KeyError('two')\n"), budget_seconds=30)
    assert end.code == 1
    assert end.output.startswith("one\n")
    assert end.output.endswith("KeyError: 'two'\n")


def test_a_script_that_does_not_end_is_killed_with_everything_that_it_started(
    tmp_path: Path,
) -> None:
    pid = tmp_path / "pid"
    text = (
        "import pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(pid)!r}).write_text(str(child.pid))\n"
        "time.sleep(600)\n"
    )
    end = run_script(command(tmp_path, text), budget_seconds=3)
    assert end.code is None
    child = int(pid.read_text())
    gone, alive = psutil.wait_procs([psutil.Process(child)] if psutil.pid_exists(child) else [], 20)
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []
    assert len(gone) <= 1


def test_what_a_script_leaves_running_ends_with_it(tmp_path: Path) -> None:
    text = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid)\n"
    )
    end = run_script(command(tmp_path, text), budget_seconds=30)
    child = int(end.output)
    left = [psutil.Process(child)] if psutil.pid_exists(child) else []
    _, alive = psutil.wait_procs(left, 20)
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []


def test_a_script_ends_with_the_launcher_that_is_interrupted(tmp_path: Path) -> None:
    """As by Ctrl-C, which does not reach a process in a session of its own."""
    pid = tmp_path / "pid"
    text = (
        "import os, pathlib, time\n"
        f"pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(600)\n"
    )

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def when_it_runs() -> None:
        deadline = time.monotonic() + 20
        while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        threading.Thread(target=when_it_runs, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            run_script(command(tmp_path, text), budget_seconds=60)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not psutil.pid_exists(int(pid.read_text()))


def test_an_interpreter_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = ScriptCommand(str(tmp_path / "python"), tmp_path / "stream.py", "{}")
    with pytest.raises(ConfigurationError, match="python_executable: cannot be started"):
        run_script(missing, budget_seconds=30)
