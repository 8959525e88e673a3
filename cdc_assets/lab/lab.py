"""The lab as a whole: brought up, taken down, switched over."""

from __future__ import annotations

import dataclasses
import shutil
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

from cdc_assets.core.stream import TargetKind
from cdc_assets.errors import LabError, ServiceFailed
from cdc_assets.lab.cache import Cache, check_platform, default_cache_dir
from cdc_assets.lab.data_templates import ensure_template, find_program
from cdc_assets.lab.home import (
    check_home,
    load_state,
    prepare_home,
    resolve_home,
    save_state,
    update_state,
)
from cdc_assets.lab.locks import file_lock
from cdc_assets.lab.mysql_servers import (
    create_source_accounts,
    create_target_accounts,
    provision_replica,
    start_blank,
)
from cdc_assets.lab.packages import load_packages
from cdc_assets.lab.plan import package_groups, plan_lab, server_versions
from cdc_assets.lab.processes import ProcessRecord, is_running, stop, strays
from cdc_assets.lab.progress import report_for_terminal
from cdc_assets.lab.services import (
    kill_service,
    register_service,
    restart_taskmanager,
    start_service,
)
from cdc_assets.lab.source_server import ServerKind
from cdc_assets.lab.state import LabState, Service
from cdc_assets.lab.target_systems import target_system

__all__ = [
    "UpResult",
    "down",
    "kill_service",
    "register_service",
    "restart_taskmanager",
    "start_service",
    "up",
]

_HOME_LOCK_SECONDS = 300.0
_START_SECONDS = 180.0

Tell = Callable[[str], None]


@dataclass(frozen=True)
class UpResult:
    """What `up` found or did.

    Args:
        state: The lab.
        outcome: `started`, `already up`, or `repaired` when some services had died.
        started: The services that were started.
        downloaded_bytes: 0 with a warm cache.
    """

    state: LabState
    outcome: str
    started: tuple[str, ...]
    downloaded_bytes: int = 0


def up(
    home: Path,
    source: ServerKind = "mariadb",
    target: TargetKind = "mysql",
    *,
    beside: Sequence[TargetKind] = (),
    tell: Tell = lambda _text: None,
) -> UpResult:
    """Start a lab, or say that it is up.

    A lab whose processes are all gone is replaced by a new one. If some are alive, the dead ones
    are started again on their data and ports.

    Args:
        home: The lab's folder.
        source: What plays the source.
        target: What rows land in; a MySQL target is there besides.
        beside: More targets of a new lab, for tests that need several on one cluster.
        tell: Receives one line per step.

    Raises:
        CdcError: Something could not be started; what was started is stopped again.
    """
    check_platform()
    home = resolve_home(home)
    check_home(home)
    with file_lock(home / ".up.lock", timeout_seconds=_HOME_LOCK_SECONDS):
        found = _found(home)
        if found is not None and (found.source_kind, found.target_kind) != (source, target):
            raise LabError(
                f"the lab at {home} runs with --source {found.source_kind} "
                f"--target {found.target_kind}",
                hint="Stop it with 'cdc-assets lab down', or use another --home",
            )
        if found is not None:
            return _repair(found, tell)
        return _start_new(home, source, (target, *beside), tell)


def down(home: Path, *, tell: Tell = lambda _text: None) -> list[str]:
    """Stop every process of the lab, and nothing else; return the names of what was running.

    Works without a state file too: each process carries the home in its environment.

    Raises:
        LabError: A process is alive after SIGKILL.
    """
    home = resolve_home(home)
    if not home.is_dir():
        return []
    with file_lock(home / ".up.lock", timeout_seconds=_HOME_LOCK_SECONDS):
        try:
            state = load_state(home)
        except LabError as error:
            tell(f"{error}; stopping by what the processes say about themselves")
            state = None
        services = [] if state is None else list(state.services.values())
        names = [each.name for each in services if is_running(each.process)]
        unrecorded = _stop_everything(home, services)
        names += [f"process {each.pid}" for each in unrecorded]
        if state is not None:
            update_state(home, _without_processes)
    return names


def _found(home: Path) -> LabState | None:
    """Return the lab that is up here; what is left of one that is not is stopped."""
    state = load_state(home)
    services = [] if state is None else list(state.services.values())
    alive = [each.name for each in services if is_running(each.process)]
    if state is not None and alive and state.phase == "up":
        return state
    _stop_everything(home, services)
    return None


def _repair(state: LabState, tell: Tell) -> UpResult:
    dead = [
        each.name
        for each in state.services.values()
        if not is_running(each.process) and each.probe != "none"
    ]
    if not dead:
        return UpResult(state, "already up", ())
    for name in dead:
        tell(f"{name} is gone, starting it again")
        start_service(state.home, name)
    return UpResult(update_state(state.home, lambda now: now), "repaired", tuple(dead))


def _start_new(
    home: Path, source: ServerKind, targets: Sequence[TargetKind], tell: Tell
) -> UpResult:
    cache = Cache(default_cache_dir(), report=report_for_terminal())
    packages = load_packages(package_groups(source, *targets))
    downloaded = cache.ensure(packages)
    for kind, version in server_versions(source):
        ensure_template(cache, find_program(cache, kind, version))
    prepare_home(home)
    state = plan_lab(home, cache, source, targets[0], targets[1:])
    save_state(state)
    with _stopped_on_failure(home):
        _start_all(home, state, targets, tell)
        state = update_state(home, lambda now: now.with_phase("up"))
    return UpResult(state, "started", tuple(state.services), downloaded)


@contextmanager
def _stopped_on_failure(home: Path) -> Generator[None]:
    """Stop what was started when the start fails, is interrupted, or gets SIGTERM."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    in_main = threading.current_thread() is threading.main_thread()
    signals = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in signals}
    if in_main:
        signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except BaseException:  # KeyboardInterrupt too: nothing may outlive a start that failed
        if in_main:  # an impatient second Ctrl-C would leave the rest running
            for number in signals:
                signal.signal(number, signal.SIG_IGN)
        state = load_state(home)
        _stop_everything(home, [] if state is None else list(state.services.values()))
        update_state(home, _without_processes)
        raise
    finally:
        if in_main:
            for number, handler in before.items():
                signal.signal(number, handler)


def _start_all(home: Path, state: LabState, targets: Sequence[TargetKind], tell: Tell) -> None:
    """Start the services, each as soon as what it needs is there."""
    stop_waiting = threading.Event()
    cancelled = stop_waiting.is_set

    def plain(name: str) -> None:
        start_service(home, name, cancelled=cancelled)
        tell(f"{name} is ready")

    def source_servers() -> None:
        blue = state.servers["blue"]
        start_blank(home, blue, cancelled=cancelled)
        create_source_accounts(blue, state.accounts)
        tell("blue is ready")
        green = state.servers["green"]
        provision_replica(home, blue, "green", green.version, cancelled=cancelled)
        tell("green is ready, caught up with blue")
        plain("rds")

    def target() -> None:
        server = state.servers["target"]
        start_blank(home, server, cancelled=cancelled)
        create_target_accounts(server, state.accounts)
        tell("target is ready")

    def landing(kind: TargetKind) -> None:
        system = target_system(kind)
        system.prepare(state)
        for name in system.service_names:
            plain(name)
        system.make(state)

    jobs: list[Callable[[], None]] = [
        lambda: plain("jobmanager"),
        lambda: plain("taskmanager"),
        lambda: plain("sql-gateway"),
        source_servers,
        target,
        lambda: plain("endpoint"),
        *(partial(landing, kind) for kind in targets),
    ]
    with ThreadPoolExecutor(max_workers=len(jobs), thread_name_prefix="lab-up") as pool:
        futures = [pool.submit(job) for job in jobs]
        try:
            _wait_for_all(futures)
        finally:
            stop_waiting.set()


def _wait_for_all(futures: list[Future[None]]) -> None:
    done, running = wait(futures, timeout=_START_SECONDS, return_when=FIRST_EXCEPTION)
    for future in done:
        future.result()
    if running:
        raise ServiceFailed(
            f"the lab was not ready within {_START_SECONDS:.0f} s",
            hint="See the folder 'logs' in the lab's home",
        )


def _stop_everything(home: Path, services: list[Service]) -> list[ProcessRecord]:
    """Stop what is written down, then what is not; return the latter."""
    records = [each.process for each in services if each.process is not None]
    stop([each for each in records if is_running(each)])
    left: list[ProcessRecord] = strays(home)
    if left:  # started, but not written down: their parent was killed in between
        stop(left)
    shutil.rmtree(home / "secrets", ignore_errors=True)
    return left


def _without_processes(state: LabState) -> LabState:
    services = {
        name: dataclasses.replace(each, process=None) for name, each in state.services.items()
    }
    return dataclasses.replace(state, phase="down", services=services)
