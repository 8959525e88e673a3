"""FakeFeed: RDS events and deployments that a test sets by hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from cdc_assets.core.observation import DeploymentStatus, DeploymentView
from cdc_assets.core.position import Coordinates
from cdc_assets.errors import CdcError
from cdc_assets.ports import Server
from cdc_assets.testing.faults import Faults, When


@dataclass
class FakeFeed:
    """What RDS says, as `ports.EventFeed` wants it.

    Attributes:
        view: The deployment, None when there is none.
        instances: Endpoint and resource id by name.
        problem: Raised by every call while it is set.
        polls: How often it was polled.
    """

    view: DeploymentView | None = None
    instances: dict[str, tuple[Server, str]] = field(
        default_factory=dict[str, "tuple[Server, str]"]
    )
    problem: CdcError | None = None
    polls: int = 0
    faults: Faults = field(default_factory=Faults)

    def fail_next(
        self, method: str, *, when: When = "before", error: BaseException | None = None
    ) -> None:
        """Let the next call of a method fail; see `Faults.fail_next`."""
        self.faults.fail_next(method, when=when, error=error)

    def announce(self, deployment_id: str, source_name: str, green_name: str) -> None:
        """Let a deployment be available."""
        self.view = DeploymentView(
            deployment_id, "AVAILABLE", source_name=source_name, green_name=green_name
        )

    def set_status(self, status: DeploymentStatus, *, old_name: str = "") -> None:
        """Change the deployment's status."""
        self.view = replace(self._known(), status=status, old_name=old_name)

    def emit(self, *coordinates: Coordinates) -> None:
        """Let coordinates events arrive; equal ones count once."""
        view = self._known()
        distinct = dict.fromkeys((*view.coordinates, *coordinates))
        self.view = replace(view, coordinates=tuple(distinct))

    def emit_garbled(self, text: str) -> None:
        """Let a coordinates event arrive that cannot be read."""
        view = self._known()
        self.view = replace(view, garbled=(*view.garbled, text))

    def poll(self) -> None:
        """Count the call."""
        self._answer("poll")
        self.polls += 1

    def deployment(self) -> DeploymentView | None:
        """Return the deployment."""
        self._answer("deployment")
        return self.view

    def instance(self, name: str) -> tuple[Server, str] | None:
        """Return endpoint and resource id of an instance."""
        self._answer("instance")
        return self.instances.get(name)

    def _known(self) -> DeploymentView:
        if self.view is None:
            message = "announce a deployment first"
            raise ValueError(message)
        return self.view

    def _answer(self, method: str) -> None:
        self.faults.check(method, "before")
        if self.problem is not None:
            raise self.problem
        self.faults.check(method, "after")
