"""The lab's state: what was started, where, and with which accounts; written as one JSON file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from cdc_assets.core.stream import TargetKind
from cdc_assets.errors import LabError
from cdc_assets.lab.processes import ProcessRecord
from cdc_assets.lab.source_server import ServerKind, SourceServer

STATE_FORMAT = 2
Phase = Literal["starting", "up", "down"]
Probe = Literal["mysql", "jobmanager", "taskmanager", "http", "control", "tcp", "none"]


@dataclass(frozen=True)
class Account:
    """A login.

    Args:
        user: Name.
        password: Random, made for this lab, never shown except by `lab status --json`.
    """

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Service:
    """One process of the lab and how to start it again.

    Args:
        name: Unique in the lab.
        kind: What it is, in words that a person reads in the status.
        version: Of the program.
        host: Always 127.0.0.1.
        port: The port that clients use.
        stand_in: True when it plays a system that is not there.
        probe: How to ask whether it is ready.
        command: Command line, without any secret.
        env: Additional environment, without any secret.
        log: Where its output goes.
        control_port: A second port for steering it, None when there is none.
        cwd: Working directory, None for the caller's.
        process: The running process, None before it is started.
    """

    name: str
    kind: str
    version: str
    host: str
    port: int
    stand_in: bool
    probe: Probe
    command: tuple[str, ...]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    control_port: int | None = None
    cwd: Path | None = None
    process: ProcessRecord | None = None


@dataclass(frozen=True)
class LabState:
    """Everything that another process needs to know about a lab.

    Args:
        home: The lab's folder.
        cache: The cache folder that the lab was started from.
        phase: `starting` until everything is ready, `down` after a stop.
        source_kind: What plays the source.
        target_kind: What rows land in.
        services: By name.
        servers: The database servers by slot: `blue`, `green`, `target`.
        accounts: By role: `admin`, `app`, `cdc`, `cdc_writer`, `repl`.
        next_server_id: The server id that the next fill of a slot gets.
    """

    home: Path
    cache: Path
    phase: Phase
    source_kind: ServerKind
    services: Mapping[str, Service]
    servers: Mapping[str, SourceServer]
    accounts: Mapping[str, Account]
    next_server_id: int
    target_kind: TargetKind = "mysql"

    def with_phase(self, phase: Phase) -> LabState:
        """Return a copy in another phase."""
        return dataclasses.replace(self, phase=phase)

    def with_service(self, service: Service) -> LabState:
        """Return a copy with one service added or replaced."""
        return dataclasses.replace(self, services={**self.services, service.name: service})

    def with_server(self, server: SourceServer) -> LabState:
        """Return a copy with one server replaced."""
        return dataclasses.replace(self, servers={**self.servers, server.name: server})

    def with_process(self, name: str, process: ProcessRecord | None) -> LabState:
        """Return a copy in which a service runs as another process."""
        return self.with_service(dataclasses.replace(self.services[name], process=process))

    def service(self, name: str) -> Service:
        """Return a service.

        Raises:
            LabError: The lab has no such service.
        """
        try:
            return self.services[name]
        except KeyError:
            raise LabError(
                f"lab at {self.home} has no service {name!r}",
                hint=f"It has {', '.join(self.services)}",
            ) from None


def to_json(state: LabState) -> str:
    """Return the state as JSON text; it holds passwords."""
    document = {"format": STATE_FORMAT, **dataclasses.asdict(state)}
    return json.dumps(document, indent=1, default=str) + "\n"


def from_json(text: str, *, path: Path) -> LabState:
    """Read a state back.

    Raises:
        LabError: The text is not a state of this format.
    """
    try:
        document = cast("Mapping[str, object]", json.loads(text))
        if document["format"] != STATE_FORMAT:
            raise LabError(
                f"{path}: format {document['format']!r} is not {STATE_FORMAT}",
                hint="Stop it with the version that started it, or delete the folder",
            )
        return _state(document)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabError(
            f"{path} is not a lab's state file ({error!r})",
            hint="Run 'cdc-assets lab down' with the same --home, then delete the folder",
        ) from error


def _state(document: Mapping[str, object]) -> LabState:
    services = cast("Mapping[str, Mapping[str, object]]", document["services"])
    servers = cast("Mapping[str, Mapping[str, object]]", document["servers"])
    accounts = cast("Mapping[str, Mapping[str, str]]", document["accounts"])
    return LabState(
        home=Path(cast("str", document["home"])),
        cache=Path(cast("str", document["cache"])),
        phase=cast("Phase", document["phase"]),
        source_kind=cast("ServerKind", document["source_kind"]),
        target_kind=cast("TargetKind", document["target_kind"]),
        services={name: _service(entry) for name, entry in services.items()},
        servers={name: _server(entry) for name, entry in servers.items()},
        accounts={
            name: Account(user=entry["user"], password=entry["password"])
            for name, entry in accounts.items()
        },
        next_server_id=cast("int", document["next_server_id"]),
    )


def _service(entry: Mapping[str, object]) -> Service:
    process = cast("Mapping[str, object] | None", entry["process"])
    cwd = cast("str | None", entry["cwd"])
    return Service(
        name=cast("str", entry["name"]),
        kind=cast("str", entry["kind"]),
        version=cast("str", entry["version"]),
        host=cast("str", entry["host"]),
        port=cast("int", entry["port"]),
        stand_in=cast("bool", entry["stand_in"]),
        probe=cast("Probe", entry["probe"]),
        command=tuple(cast("Sequence[str]", entry["command"])),
        log=Path(cast("str", entry["log"])),
        env=cast("Mapping[str, str]", entry["env"]),
        control_port=cast("int | None", entry["control_port"]),
        cwd=None if cwd is None else Path(cwd),
        process=None
        if process is None
        else ProcessRecord(
            pid=cast("int", process["pid"]), started=cast("float", process["started"])
        ),
    )


def _server(entry: Mapping[str, object]) -> SourceServer:
    return SourceServer(
        name=cast("str", entry["name"]),
        kind=cast("ServerKind", entry["kind"]),
        version=cast("str", entry["version"]),
        host=cast("str", entry["host"]),
        port=cast("int", entry["port"]),
        admin_user=cast("str", entry["admin_user"]),
        admin_password=cast("str", entry["admin_password"]),
        data_dir=Path(cast("str", entry["data_dir"])),
        server_id=cast("int", entry["server_id"]),
    )
