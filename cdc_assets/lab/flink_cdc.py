"""Flink CDC itself beside the lab's cluster: its client, its connectors, and a fit class path.

Flink CDC's distribution is on no package registry, its modules are. They are put together as the
distribution does it: one jar of modules and what they need, the connectors beside it. A home of
one's own, with other connectors, is named by an environment variable.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cdc_assets.lab.cache import Cache, default_cache_dir
from cdc_assets.lab.flink_cluster import FLINK_VERSION, find_java
from cdc_assets.lab.home import require_state, update_state
from cdc_assets.lab.packages import load_packages
from cdc_assets.lab.services import kill_service, start_service
from cdc_assets.lab.state import LabState

PACKAGE_GROUP = "flink-cdc"
FLINK_CDC_VERSION = "3.2.0"
HOME_VARIABLE = "CDC_ASSETS_FLINK_CDC_HOME"
_MODULES = "cdc-dist-"
_CONNECTORS = "flink-cdc-pipeline-connector-"
_DRIVER = "mysql-connector-j"
_SQL_CONNECTOR = "flink-sql-connector-mysql-cdc"
_SERVICES = "META-INF/services/"
# Signatures of the single jars do not hold for all of them together.
_LEFT_OUT = ("META-INF/MANIFEST.MF", "META-INF/INDEX.LIST", "module-info.class")
_SIGNED = (".SF", ".RSA", ".DSA")


@dataclass(frozen=True)
class FlinkCdc:
    """What a stream needs to be run by Flink CDC.

    Attributes:
        cdc_home: Flink CDC.
        flink_home: The Flink of its client.
        java: The program.
    """

    cdc_home: Path
    flink_home: Path
    java: Path

    @property
    def has_kafka(self) -> bool:
        """Return whether the sink `kafka` is there; no registry has its jar."""
        return any((self.cdc_home / "lib").glob(f"{_CONNECTORS}kafka-*.jar"))


def prepare(home: Path) -> FlinkCdc:
    """Make Flink CDC ready beside a running lab, and its cluster fit for it.

    Flink CDC's classes must not be found in the connector for SQL, so that one is taken off the
    class path: from then on the lab runs no streams by SQL.

    Args:
        home: Of the lab.

    Raises:
        CdcError: A package cannot be fetched, or the cluster does not come up again.
    """
    state = require_state(home)
    cache = Cache(default_cache_dir())
    cache.ensure(load_packages([PACKAGE_GROUP]))
    own = os.environ.get(HOME_VARIABLE)
    cdc_home = Path(own).absolute() if own else assemble(state, cache)
    commands = manager_commands(state)
    restart_managers(
        state.home,
        {name: without_jar(command, _SQL_CONNECTOR) for name, command in commands.items()},
    )
    return FlinkCdc(cdc_home, _folder(cache, f"flink-{FLINK_VERSION}"), find_java())


def assemble(state: LabState, cache: Cache) -> Path:
    """Put a home together from the locked packages."""
    home = state.home / "flink-cdc"
    library = home / "lib"
    library.mkdir(parents=True, exist_ok=True)
    jars = {each.name: _jar(cache, each.name) for each in load_packages([PACKAGE_GROUP])}
    modules = [jar for name, jar in jars.items() if name.startswith(_MODULES)]
    merge(modules, library / f"flink-cdc-dist-{FLINK_CDC_VERSION}.jar")
    others = [jar for name, jar in jars.items() if not name.startswith(_MODULES)]
    for jar in (*others, _jar(cache, _DRIVER)):
        link = library / jar.name
        if not link.exists():
            link.symlink_to(jar)
    return home


def merge(jars: Iterable[Path], target: Path) -> None:
    """Write one jar with everything in several; lists of services are joined."""
    services: dict[str, list[bytes]] = {}
    seen: set[str] = set()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as merged:
        for jar in jars:
            with zipfile.ZipFile(jar) as archive:
                for entry in archive.infolist():
                    name = entry.filename
                    if entry.is_dir() or name in _LEFT_OUT or name.endswith(_SIGNED):
                        continue
                    if name.startswith(_SERVICES):
                        services.setdefault(name, []).append(archive.read(entry))
                    elif name not in seen:
                        seen.add(name)
                        merged.writestr(name, archive.read(entry))
        for name, parts in services.items():
            merged.writestr(name, b"\n".join(parts))


def without_jar(command: Sequence[str], name: str) -> tuple[str, ...]:
    """Return a Java command whose class path has no jar of this name."""
    at = list(command).index("-cp") + 1
    kept = [path for path in command[at].split(":") if not Path(path).name.startswith(name)]
    return (*command[:at], ":".join(kept), *command[at + 1 :])


def manager_commands(state: LabState) -> Mapping[str, tuple[str, ...]]:
    """Return how the cluster's managers are started, the job manager first."""
    return {name: state.service(name).command for name in ("jobmanager", "taskmanager")}


def restart_managers(home: Path, commands: Mapping[str, tuple[str, ...]]) -> bool:
    """Start the cluster's managers anew with these commands; return False if they have them.

    Args:
        home: Of the lab.
        commands: As `manager_commands` returned them, changed or not.
    """
    state = require_state(home)
    if commands == manager_commands(state):
        return False
    for name in reversed([*commands]):
        kill_service(home, name)
    for name, command in commands.items():
        service = replace(state.service(name), command=command, process=None)
        update_state(home, lambda now, service=service: now.with_service(service))
        start_service(home, name)
    return True


def _jar(cache: Cache, name: str) -> Path:
    return next(iter(sorted(_folder(cache, name).glob("*.jar"))))


def _folder(cache: Cache, name: str) -> Path:
    return cache.folder(next(each for each in load_packages() if each.name == name))
