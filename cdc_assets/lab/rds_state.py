"""What the RDS API stand-in remembers: one JSON file in the data folder of the lab's home.

A new lab empties that folder, so a lab never meets the events of an earlier one.

The file is replaced as a whole, so that a killed process leaves either the old state or the new
one. The rename of a switchover is one such replacement: before it the switchover is rolled back
after a kill, after it the switchover is completed.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from cdc_assets.errors import ServiceFailed
from cdc_assets.lab.rds_events import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STATE_FILE: Final = Path("data") / "rds_state.json"
FORMAT: Final = 1

DeploymentStatus = Literal[
    "PROVISIONING",
    "AVAILABLE",
    "SWITCHOVER_IN_PROGRESS",
    "SWITCHOVER_COMPLETED",
    "INVALID_CONFIGURATION",
    "SWITCHOVER_FAILED",
    "DELETING",
]


@dataclass(frozen=True)
class InstanceRecord:
    """One DB instance of the API and the lab server behind it.

    Attributes:
        name: DBInstanceIdentifier; changes at a switchover.
        resource_id: DbiResourceId; stays with the server.
        server: Name of the lab server, a key of `servers` in the lab's state file.
        engine: `mariadb` or `mysql`.
        version: EngineVersion, as the server reports it.
        created: Time of creation, ISO 8601.
        parameter_group: Name of its DB parameter group.
        apply_status: ParameterApplyStatus.
        production: Whether the source endpoint belongs to it.
    """

    name: str
    resource_id: str
    server: str
    engine: str
    version: str
    created: str
    parameter_group: str
    apply_status: str = "in-sync"
    production: bool = False

    def renamed(self, name: str, *, production: bool) -> InstanceRecord:
        """Return the record under another name and role."""
        return replace(self, name=name, production=production)


@dataclass(frozen=True)
class DeploymentRecord:
    """One blue/green deployment; its members are known by resource id, which a rename keeps.

    Attributes:
        identifier: BlueGreenDeploymentIdentifier.
        name: BlueGreenDeploymentName.
        source: Resource id of blue.
        target: Resource id of green; empty while green is being provisioned.
        source_arn: ARN of blue, kept for the time after its deletion.
        target_arn: ARN of green, kept for the time after its deletion.
        status: Status.
        status_details: StatusDetails; empty for none.
        created: CreateTime, ISO 8601.
        timeout_seconds: SwitchoverTimeout of the switchover that runs, 0 when none runs.
        renamed: Whether the switchover that runs has passed the rename.
        old_names: Names of blue and green before the rename, for the events.
    """

    identifier: str
    name: str
    source: str
    target: str
    source_arn: str
    target_arn: str
    status: DeploymentStatus
    created: str
    status_details: str = ""
    timeout_seconds: int = 0
    renamed: bool = False
    old_names: tuple[str, str] = ("", "")

    def with_status(self, status: DeploymentStatus, details: str = "") -> DeploymentRecord:
        """Return the record with another status.

        Args:
            status: The new status.
            details: StatusDetails.
        """
        return replace(self, status=status, status_details=details)


@dataclass(frozen=True)
class ParameterGroupRecord:
    """One DB parameter group with the parameters that were set.

    Attributes:
        name: DBParameterGroupName.
        family: DBParameterGroupFamily.
        description: Description.
        parameters: ParameterName to ParameterValue and ApplyMethod.
    """

    name: str
    family: str
    description: str
    parameters: dict[str, tuple[str, str]] = field(default_factory=dict[str, "tuple[str, str]"])


@dataclass(frozen=True)
class Settings:
    """Lab-only switches, set through `POST /lab/settings` and `POST /lab/suppress`.

    Attributes:
        switchover_timeout_cap_seconds: A switchover times out after that time if it is shorter
            than its SwitchoverTimeout, which boto3 does not send below 30; 0 for no cap.
        allowed_lag_seconds: Guardrail: replica lag that a switchover starts with.
        long_write_seconds: Guardrail: age of an open writing transaction on blue.
        hold_seconds: How long connections stay refused after green has caught up. The lab's servers
            need 0.1 s for what AWS needs 1.6 s for at best (measured, Aurora MySQL 3.04), and a
            client that never meets a refused connection is no test.
        pause_green_apply: Stop green's applier after the guardrails: a real cause of a time-out.
        suppress_coordinates: The next switchover emits no coordinates event.
        delay_coordinates_seconds: The next switchover's coordinates event comes that much later.
        emit_process_lines: Emit also the lines that accounts get beyond the published tables.
    """

    switchover_timeout_cap_seconds: float = 0.0
    allowed_lag_seconds: int = 30
    long_write_seconds: int = 60
    hold_seconds: float = 1.0
    pause_green_apply: bool = False
    suppress_coordinates: bool = False
    delay_coordinates_seconds: float = 0.0
    emit_process_lines: bool = True

    def changed(self, values: Mapping[str, object]) -> Settings:
        """Return the settings with some of them replaced.

        Args:
            values: Setting to value.

        Returns:
            The new settings.

        Raises:
            ValueError: A setting is unknown, or a value has another type.
        """
        known: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        for name, value in values.items():
            if name not in known:
                message = f"unknown setting {name!r}; known are {', '.join(sorted(known))}"
                raise ValueError(message)
            kind = type(known[name]).__name__
            # JSON has one kind of number: 2 is a good value for a float.
            given = float(value) if kind == "float" and type(value) is int else value
            negative = isinstance(given, int | float) and given < 0
            if type(given).__name__ != kind or negative:
                message = f"{name}: must be a {kind}, 0 or more (got {value!r})"
                raise ValueError(message)
            known[name] = given
        return Settings(**known)


@dataclass(frozen=True)
class RdsState:
    """Everything that the stand-in remembers.

    Attributes:
        instances: DB instances.
        deployments: Blue/green deployments.
        parameter_groups: DB parameter groups.
        events: All events, in the order in which they were written.
        settings: Lab-only switches.
    """

    instances: tuple[InstanceRecord, ...] = ()
    deployments: tuple[DeploymentRecord, ...] = ()
    parameter_groups: tuple[ParameterGroupRecord, ...] = ()
    events: tuple[Event, ...] = ()
    settings: Settings = field(default_factory=Settings)

    def instance(self, name: str) -> InstanceRecord | None:
        """Return the instance of that name; case does not matter, as on AWS."""
        return next((i for i in self.instances if i.name.lower() == name.lower()), None)

    def instance_by_resource(self, resource_id: str) -> InstanceRecord | None:
        """Return the instance with that resource id."""
        return next((i for i in self.instances if i.resource_id == resource_id), None)

    def deployment(self, identifier: str) -> DeploymentRecord | None:
        """Return the deployment with that identifier."""
        wanted = identifier.lower()
        return next((d for d in self.deployments if d.identifier.lower() == wanted), None)

    def with_instance(self, record: InstanceRecord) -> RdsState:
        """Return the state with one instance added, or replaced by resource id."""
        others = tuple(i for i in self.instances if i.resource_id != record.resource_id)
        return replace(self, instances=(*others, record))

    def without_instance(self, resource_id: str) -> RdsState:
        """Return the state without one instance."""
        return replace(
            self, instances=tuple(i for i in self.instances if i.resource_id != resource_id)
        )

    def with_deployment(self, record: DeploymentRecord) -> RdsState:
        """Return the state with one deployment added or replaced."""
        others = tuple(d for d in self.deployments if d.identifier != record.identifier)
        return replace(self, deployments=(*others, record))

    def without_deployment(self, identifier: str) -> RdsState:
        """Return the state without one deployment."""
        return replace(
            self, deployments=tuple(d for d in self.deployments if d.identifier != identifier)
        )

    def with_parameter_group(self, record: ParameterGroupRecord) -> RdsState:
        """Return the state with one parameter group added or replaced."""
        return replace(self, parameter_groups=(*self.without_parameter_group(record.name), record))

    def without_parameter_group(self, name: str) -> tuple[ParameterGroupRecord, ...]:
        """Return the parameter groups but one."""
        return tuple(g for g in self.parameter_groups if g.name != name)

    def with_events(self, *events: Event) -> RdsState:
        """Return the state with more events."""
        return replace(self, events=(*self.events, *events))

    def with_settings(self, settings: Settings) -> RdsState:
        """Return the state with other settings."""
        return replace(self, settings=settings)


def save(state: RdsState, home: Path) -> None:
    """Replace the state file.

    Args:
        state: What to remember.
        home: The lab's home folder.

    Raises:
        ServiceFailed: The file cannot be written.
    """
    document = {
        "format": FORMAT,
        "stand_in": True,
        "instances": [asdict(i) for i in state.instances],
        "deployments": [asdict(d) for d in state.deployments],
        "parameter_groups": [asdict(g) for g in state.parameter_groups],
        "events": [e.as_record() for e in state.events],
        "settings": asdict(state.settings),
    }
    path = home / STATE_FILE
    draft = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with draft.open("w", encoding="utf-8") as stream:
            json.dump(document, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except OSError as error:
        message = f"{path}: the state of the RDS API stand-in cannot be written ({error.strerror})"
        raise ServiceFailed(message) from error


def load(home: Path) -> RdsState | None:
    """Read the state file.

    Args:
        home: The lab's home folder.

    Returns:
        The state, or nothing when there is no file yet.

    Raises:
        ServiceFailed: The file cannot be understood.
    """
    path = home / STATE_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        return _read(cast("dict[str, object]", json.loads(text)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        message = f"{path}: the state of the RDS API stand-in cannot be read ({error})"
        hint = "Run 'cdc-assets lab down', then 'cdc-assets lab up'"
        raise ServiceFailed(message, hint=hint) from error


def _read(document: dict[str, object]) -> RdsState:
    if document["format"] != FORMAT:
        message = f"format {document['format']!r}, expected {FORMAT}"
        raise ValueError(message)
    deployments = _records(document, "deployments")
    for record in deployments:
        record["old_names"] = tuple(record["old_names"])
    groups = _records(document, "parameter_groups")
    for record in groups:
        record["parameters"] = _pairs(record["parameters"])
    return RdsState(
        instances=tuple(InstanceRecord(**r) for r in _records(document, "instances")),
        deployments=tuple(DeploymentRecord(**r) for r in deployments),
        parameter_groups=tuple(ParameterGroupRecord(**r) for r in groups),
        events=tuple(Event.from_record(r) for r in _records(document, "events")),
        settings=Settings().changed(cast("dict[str, object]", document["settings"])),
    )


def _pairs(values: dict[str, list[str]]) -> dict[str, tuple[str, str]]:
    return {name: (value, method) for name, (value, method) in values.items()}


def _records(document: dict[str, object], key: str) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", document[key])


class FileStore:
    """The state in memory and in its file, changed together.

    Args:
        home: The lab's home folder.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._lock = threading.RLock()
        self._state = load(home) or RdsState()

    @property
    def state(self) -> RdsState:
        """The state now."""
        return self._state

    def change(self, edit: Callable[[RdsState], RdsState]) -> RdsState:
        """Replace the state by what `edit` makes of it; keep the old one if `edit` raises.

        Args:
            edit: Makes the new state of the old one.

        Returns:
            The new state.

        Raises:
            ServiceFailed: The file cannot be written; the old state stays.
        """
        with self._lock:
            changed = edit(self._state)
            if changed is not self._state:
                save(changed, self._home)
                self._state = changed
            return self._state
