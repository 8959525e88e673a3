"""The journal of a switchover: its progress in the stand-in's state, names and events."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from cdc_assets.lab.rds_events import (
    DB_INSTANCE,
    ApiFault,
    Event,
    EventTexts,
    coordinates_event,
    delayed,
    utc_now,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_assets.lab.rds_state import DeploymentRecord, RdsState
    from cdc_assets.lab.switchover_sql import BinlogPosition


class Store(Protocol):
    """Where the state lives; `change` is atomic and survives a kill."""

    @property
    def state(self) -> RdsState:
        """The state now."""
        ...

    def change(self, edit: Callable[[RdsState], RdsState]) -> RdsState:
        """Replace the state by what `edit` makes of it; keep the old one if `edit` raises."""
        ...


@dataclass(frozen=True)
class Names:
    """Builds ARNs and identifiers.

    Attributes:
        region: AWS region that the stand-in plays.
        account: AWS account that it plays.
    """

    region: str
    account: str

    def db(self, name: str) -> str:
        """Return the ARN of a DB instance."""
        return f"arn:aws:rds:{self.region}:{self.account}:db:{name}"

    def deployment(self, identifier: str) -> str:
        """Return the ARN of a deployment."""
        return f"arn:aws:rds:{self.region}:{self.account}:deployment:{identifier}"

    @staticmethod
    def random(prefix: str, alphabet: str, length: int) -> str:
        """Return `prefix` and that many random characters."""
        return prefix + "".join(secrets.choice(alphabet) for _ in range(length))


class SwitchoverJournal:
    """Writes the progress of one switchover into the state and its events.

    Args:
        store: The state.
        names: ARNs.
        identifier: The deployment.
    """

    def __init__(self, store: Store, names: Names, identifier: str) -> None:
        self._store = store
        self._names = names
        self._identifier = identifier

    def dropping_connections(self) -> None:
        """Emit the line that accounts get when connections are closed.

        Its beginning is real; its source, its category and what follows "at" are assumed.
        """

        def edit(state: RdsState) -> RdsState:
            if not state.settings.emit_process_lines:
                return state
            blue = known_deployment(state, self._identifier).old_names[0]
            return state.with_events(
                Event(
                    blue,
                    DB_INSTANCE,
                    "Starting to terminate connections and user processes in the blue "
                    f"environment at {utc_now():%Y-%m-%d %H:%M:%S} UTC.",
                    ("notification",),
                    self._names.db(blue),
                    utc_now(),
                )
            )

        self._store.change(edit)

    def renamed(self, coordinates: BinlogPosition) -> None:
        """Rename blue and green and emit green's coordinates, in one replacement of the state.

        Args:
            coordinates: Where green's binlog ends.
        """

        def edit(state: RdsState) -> RdsState:
            record = known_deployment(state, self._identifier)
            blue = state.instance_by_resource(record.source)
            green = state.instance_by_resource(record.target)
            if blue is None or green is None:
                raise wrong_state(record)
            old_name = _free_old_name(state, blue.name)
            settings = state.settings
            if not settings.suppress_coordinates:
                event = coordinates_event(
                    green.name, self._names.db(green.name), coordinates.file, coordinates.position
                )
                state = state.with_events(delayed(event, settings.delay_coordinates_seconds))
            # Names move, resource ids stay with the servers.
            state = state.with_instance(blue.renamed(old_name, production=False))
            state = state.with_instance(green.renamed(blue.name, production=True))
            once = {"suppress_coordinates": False, "delay_coordinates_seconds": 0.0}
            return state.with_settings(settings.changed(once)).with_deployment(
                replace(
                    record,
                    renamed=True,
                    source_arn=self._names.db(old_name),
                    target_arn=self._names.db(blue.name),
                )
            )

        self._store.change(edit)

    def completed(self) -> None:
        """Emit the completed events and set the status."""

        def edit(state: RdsState) -> RdsState:
            record = known_deployment(state, self._identifier)
            blue, green = record.old_names
            old_blue = record.source_arn.rpartition(":")[2]
            texts = EventTexts(record.identifier, self._names.deployment(record.identifier))
            done = replace(
                record.with_status("SWITCHOVER_COMPLETED", "Switchover completed"),
                timeout_seconds=0,
                renamed=False,
            )
            events = texts.completed(blue, green, old_blue)
            return state.with_deployment(done).with_events(*events)

        self._store.change(edit)


def known_deployment(state: RdsState, identifier: str) -> DeploymentRecord:
    """Return a deployment.

    Args:
        state: The state.
        identifier: BlueGreenDeploymentIdentifier.

    Returns:
        Its record.

    Raises:
        ApiFault: There is no such deployment.
    """
    record = state.deployment(identifier)
    if record is None:
        message = (
            f"BlueGreenDeploymentIdentifier {identifier} doesn't refer to an existing "
            "blue/green deployment."
        )
        raise ApiFault("BlueGreenDeploymentNotFoundFault", message)
    return record


def wrong_state(record: DeploymentRecord) -> ApiFault:
    """Return the fault for a deployment whose status does not allow what was asked.

    Args:
        record: The deployment.
    """
    message = (
        f"The blue/green deployment {record.identifier} can't be switched over or deleted "
        f"in status {record.status}."
    )
    return ApiFault("InvalidBlueGreenDeploymentStateFault", message)


def _free_old_name(state: RdsState, name: str) -> str:
    number = 1
    while state.instance(f"{name}-old{number}") is not None:
        number += 1
    return f"{name}-old{number}"
