"""A process is known by pid and start time, so that no other one is ever stopped."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cdc_assets.errors import ServiceFailed
from cdc_assets.lab.processes import (
    ProcessRecord,
    is_running,
    last_line,
    record_of,
    send_signal,
    start,
    stop,
    strays,
    wait_gone,
    wait_ready,
)

Sleeper = Callable[..., ProcessRecord]

IGNORES_TERM = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('deaf', flush=True); time.sleep(120)"
)
HAS_A_CHILD = (
    "import subprocess, sys, time; "
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(120)']); "
    "print(child.pid, flush=True); time.sleep(120)"
)


def wait_for_text(log: Path) -> str:
    deadline = time.monotonic() + 60
    while not (log.exists() and log.read_text().strip()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return log.read_text().strip()


def test_a_started_process_runs_in_a_session_of_its_own(sleeper: Sleeper) -> None:
    record = sleeper()
    assert is_running(record)
    assert os.getsid(record.pid) == record.pid


def test_a_stopped_process_is_gone(sleeper: Sleeper) -> None:
    record = sleeper()
    stop([record])
    assert not is_running(record)
    assert record_of(record.pid) is None


def test_a_process_that_ignores_sigterm_is_killed(sleeper: Sleeper, tmp_path: Path) -> None:
    record = sleeper(sys.executable, "-c", IGNORES_TERM)
    wait_for_text(tmp_path / "sleeper.log")
    stop([record], term_seconds=0.2)
    assert not is_running(record)


def test_a_stopped_parent_leaves_no_child(sleeper: Sleeper, tmp_path: Path) -> None:
    record = sleeper(sys.executable, "-c", HAS_A_CHILD)
    child = record_of(int(wait_for_text(tmp_path / "sleeper.log")))
    assert child is not None
    stop([record])
    assert not is_running(child)


def test_a_suspended_process_is_stopped(sleeper: Sleeper) -> None:
    record = sleeper()
    send_signal(record, signal.SIGSTOP)
    stop([record])
    assert not is_running(record)


def test_a_recycled_pid_is_not_the_recorded_process(sleeper: Sleeper) -> None:
    record = sleeper()
    before = dataclasses.replace(record, started=record.started - 3600)
    assert not is_running(before)
    assert not send_signal(before, signal.SIGKILL)
    stop([before])
    assert is_running(record)


def test_a_killed_child_counts_as_gone_before_it_is_collected(sleeper: Sleeper) -> None:
    record = sleeper()
    os.kill(record.pid, signal.SIGKILL)
    assert wait_gone([record], seconds=60) == []


def test_a_process_that_was_never_written_down_is_found_by_its_home(
    sleeper: Sleeper, tmp_path: Path
) -> None:
    home, other = tmp_path / "home", tmp_path / "home-2"
    record = sleeper(home=home)
    sleeper(home=other)
    assert [each.pid for each in strays(home)] == [record.pid]


def test_a_missing_program_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ServiceFailed, match="no-such-program cannot be started"):
        start(["no-such-program"], home=tmp_path, log=tmp_path / "log")


def test_waiting_for_a_process_that_died_tells_its_last_error(
    sleeper: Sleeper, tmp_path: Path
) -> None:
    record = sleeper(sys.executable, "-c", "raise SystemExit('Error: no room')")
    with pytest.raises(ServiceFailed, match="thing died while starting: Error: no room"):
        wait_ready(
            lambda: False, name="thing", record=record, log=tmp_path / "sleeper.log", seconds=60
        )


def test_waiting_ends_with_its_budget(sleeper: Sleeper, tmp_path: Path) -> None:
    with pytest.raises(ServiceFailed, match="did not answer within 0 s"):
        wait_ready(
            lambda: False, name="thing", record=sleeper(), log=tmp_path / "sleeper.log", seconds=0
        )


def test_waiting_ends_when_the_start_is_cancelled(sleeper: Sleeper, tmp_path: Path) -> None:
    with pytest.raises(ServiceFailed, match="was cancelled"):
        wait_ready(
            lambda: False,
            name="thing",
            record=sleeper(),
            log=tmp_path / "sleeper.log",
            seconds=60,
            cancelled=lambda: True,
        )


def test_the_last_line_prefers_an_error(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("starting\nERROR: cannot bind\nshutting down\n\n")
    assert last_line(log) == "ERROR: cannot bind"
    assert last_line(tmp_path / "absent") == "no log"
