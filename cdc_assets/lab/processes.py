"""A supervised process: started detached, known by pid and start time, stopped by that only."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cdc_assets.errors import LabError, ServiceFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import psutil

# Every process of a lab carries the lab's home in its environment. A process that was started but
# not yet written to the state file (its parent was killed in between) is found by it.
HOME_VARIABLE = "CDC_ASSETS_LAB_PROCESS_OF"
# Most processes end, and some services answer, within a few milliseconds.
_FIRST_POLL_SECONDS, _POLL_SECONDS = 0.005, 0.1
_EXEC_SECONDS = 5.0
# A start time read twice may differ by rounding; a pid is not used again within this time.
_SAME_START_SECONDS = 1.0


@dataclass(frozen=True)
class ProcessRecord:
    """One process, so that another one with the same pid is never taken for it.

    Args:
        pid: Process id.
        started: Start time, seconds since the epoch, as `psutil` reports it.
    """

    pid: int
    started: float


def record_of(pid: int) -> ProcessRecord | None:
    """Return the record of a live process, None when there is none."""
    import psutil

    process = _process(pid)
    try:
        return None if process is None else ProcessRecord(pid, process.create_time())
    except psutil.Error:
        return None


def start(
    command: Sequence[str],
    *,
    home: Path,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> ProcessRecord:
    """Start a process in a session of its own, its output appended to a log file.

    Raises:
        ServiceFailed: The program cannot be started.
    """
    import psutil

    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **(env or {}), HOME_VARIABLE: str(home)}
    try:
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 - the lab's own command lines, no shell
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=cwd,
                start_new_session=True,
            )
    except OSError as error:
        raise ServiceFailed(f"{command[0]} cannot be started: {error.strerror}") from error
    # The child is detached on purpose: without this, Popen warns when it is garbage-collected.
    process.returncode = 0
    # A child that ended at once is a zombie until `_reap`, and still tells when it was started.
    child = psutil.Process(process.pid)
    _wait_for_environment(child)
    return ProcessRecord(child.pid, child.create_time())


def is_running(record: ProcessRecord | None) -> bool:
    """Return whether exactly this process is alive (a zombie is not)."""
    return record is not None and _same_process(record) is not None


def send_signal(record: ProcessRecord, number: int) -> bool:
    """Send a signal to exactly this process; return whether it was alive."""
    process = _same_process(record)
    if process is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)
    return True


def wait_gone(records: Iterable[ProcessRecord], seconds: float) -> list[ProcessRecord]:
    """Wait for processes to end; return those that are still alive after the time."""
    alive = [each for each in records if is_running(each)]
    deadline = time.monotonic() + seconds
    pauses = _pauses()
    while alive and time.monotonic() < deadline:
        time.sleep(next(pauses))
        alive = [each for each in alive if is_running(each)]
    return alive


def stop(
    records: Sequence[ProcessRecord], *, term_seconds: float = 10.0, kill_seconds: float = 5.0
) -> None:
    """Stop processes and their descendants: SIGTERM, and SIGKILL for what is left.

    Raises:
        LabError: A process is alive after SIGKILL and its time.
    """
    family = _with_descendants(records)
    for record in records:
        send_signal(record, signal.SIGTERM)
        send_signal(record, signal.SIGCONT)  # a stopped process does not see SIGTERM
    wait_gone(records, term_seconds)
    left = [each for each in family if is_running(each)]
    for record in left:
        send_signal(record, signal.SIGKILL)
    left = wait_gone(left, kill_seconds)
    if left:
        pids = ", ".join(str(each.pid) for each in left)
        raise LabError(f"process {pids} is alive after SIGKILL", hint="Look at it with 'ps'")


def strays(home: Path) -> list[ProcessRecord]:
    """Return the live processes that carry this home in their environment."""
    import psutil

    found: list[ProcessRecord] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.environ().get(HOME_VARIABLE) == str(home):
                found.append(ProcessRecord(process.pid, process.create_time()))
    return found


def memory_bytes(record: ProcessRecord) -> int:
    """Return the resident memory of a process, 0 when it is gone."""
    import psutil

    process = _same_process(record)
    if process is None:
        return 0
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def wait_ready(
    check: Callable[[], bool],
    *,
    name: str,
    record: ProcessRecord,
    log: Path,
    seconds: float,
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Wait until a service answers.

    Raises:
        ServiceFailed: It died, did not answer in time, or the start was cancelled.
    """
    deadline = time.monotonic() + seconds
    pauses = _pauses()
    while not check():
        if cancelled():
            raise ServiceFailed(f"{name}: the start was cancelled")
        if not is_running(record):
            raise ServiceFailed(f"{name} died while starting: {last_line(log)}", hint=f"See {log}")
        if time.monotonic() > deadline:
            raise ServiceFailed(f"{name} did not answer within {seconds:.0f} s", hint=f"See {log}")
        time.sleep(next(pauses))


def last_line(log: Path) -> str:
    """Return the last line of a log that says something, for a one-line error."""
    try:
        text = log.read_bytes()[-4000:].decode("utf-8", "replace")
    except OSError:
        return "no log"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["empty log"])[-1][:300]


def _pauses() -> Iterator[float]:
    """Return how long to wait between looks: short at first, then longer."""
    seconds = _FIRST_POLL_SECONDS
    while True:
        yield seconds
        seconds = min(2 * seconds, _POLL_SECONDS)


def _wait_for_environment(process: psutil.Process) -> None:
    """Wait until a new process can be found by its home.

    `Popen` returns in the middle of the child's exec, a moment before the kernel shows its
    environment.
    """
    import psutil

    deadline = time.monotonic() + _EXEC_SECONDS
    with suppress(psutil.Error, OSError):
        while not process.environ() and time.monotonic() < deadline:
            if process.status() == psutil.STATUS_ZOMBIE:
                return
            time.sleep(_FIRST_POLL_SECONDS)


def _process(pid: int) -> psutil.Process | None:
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            _reap(pid)
            return None
    except psutil.Error:
        return None
    return process


def _reap(pid: int) -> None:
    """Collect a dead child of this process, so that it does not stay a zombie."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _same_process(record: ProcessRecord) -> psutil.Process | None:
    import psutil

    process = _process(record.pid)
    try:
        if process is None or abs(process.create_time() - record.started) > _SAME_START_SECONDS:
            return None
    except psutil.Error:
        return None
    return process


def _with_descendants(records: Sequence[ProcessRecord]) -> list[ProcessRecord]:
    import psutil

    family = list(records)
    for record in records:
        process = _same_process(record)
        with suppress(psutil.Error):
            children = [] if process is None else process.children(recursive=True)
            family += [ProcessRecord(each.pid, each.create_time()) for each in children]
    return family
