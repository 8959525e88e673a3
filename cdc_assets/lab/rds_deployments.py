"""Blue/green deployments of the RDS API stand-in: their life, over real servers.

No HTTP and no moto in here: `rds_backend.py` turns these values into the API's answers.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cdc_assets.errors import LabError
from cdc_assets.lab.rds_events import DB_INSTANCE, ApiFault, Event, EventTexts, utc_now
from cdc_assets.lab.rds_journal import SwitchoverJournal, known_deployment, wrong_state
from cdc_assets.lab.rds_registry import Registry
from cdc_assets.lab.rds_state import DeploymentRecord
from cdc_assets.lab.switchover import Switchover, SwitchoverCanceled

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_assets.lab.rds_journal import Names, Store
    from cdc_assets.lab.rds_registry import Lab
    from cdc_assets.lab.rds_state import InstanceRecord, RdsState
    from cdc_assets.lab.switchover import Timing

LOG: Final = logging.getLogger(__name__)
SHORTEST_TIMEOUT: Final = 30
LONGEST_TIMEOUT: Final = 3600
DEFAULT_TIMEOUT: Final = 300


class Deployments:
    """The life of deployments and of the instances that they rename.

    Args:
        store: The state.
        lab: The real servers.
        names: ARNs.
    """

    def __init__(self, store: Store, lab: Lab, names: Names) -> None:
        self._store = store
        self._lab = lab
        self._names = names
        self._registry = Registry(lab, names)
        self._workers: list[threading.Thread] = []
        self.last_timing: Timing | None = None

    # ------------------------------------------------------------------ start

    def start(self) -> None:
        """Register the lab's pair at the first start; later finish or undo what a kill left."""
        if self._store.state.instances:
            self._recover()
            return
        pair = self._registry.pair()
        self._store.change(lambda state: self._registry.with_pair(state, *pair))

    def _recover(self) -> None:
        for deployment in self._store.state.deployments:
            if deployment.status == "PROVISIONING":
                self._creation_failed(deployment.identifier, "the stand-in was stopped meanwhile")
            if deployment.status != "SWITCHOVER_IN_PROGRESS":
                continue
            switchover = self._switchover(deployment)
            if deployment.renamed:
                self._run_in_background(
                    lambda s=switchover, d=deployment: self._finish(s, d), deployment.identifier
                )
            else:
                switchover.roll_back_after_kill()
                self._canceled(deployment.identifier, "an internal error")

    def join(self, seconds: float) -> None:
        """Wait for background work; used by tests and at an orderly end.

        Args:
            seconds: Limit for each worker.
        """
        for worker in list(self._workers):
            worker.join(seconds)

    # ------------------------------------------------------------------ deployments

    def create(self, name: str, source_arn: str, version: str | None) -> DeploymentRecord:
        """Start the creation of a deployment: a free server becomes green.

        Args:
            name: BlueGreenDeploymentName.
            source_arn: ARN of the production instance.
            version: TargetEngineVersion.

        Returns:
            The deployment, PROVISIONING.

        Raises:
            ApiFault: The call cannot be done now.
        """
        identifier = self._registry.deployment_identifier()
        chosen: list[str] = []

        def add(state: RdsState) -> RdsState:
            source = self._source_for_creation(state, name, source_arn)
            chosen[:] = [source.server, self._free_server(state)]
            return state.with_deployment(
                DeploymentRecord(
                    identifier=identifier,
                    name=name,
                    source=source.resource_id,
                    target="",
                    source_arn=source_arn,
                    target_arn="",
                    status="PROVISIONING",
                    created=utc_now().isoformat(),
                )
            )

        state = self._store.change(add)
        primary, replica = chosen
        self._run_in_background(
            lambda: self._provision(identifier, primary, replica, version), identifier
        )
        return known_deployment(state, identifier)

    def switch_over(self, identifier: str, timeout_seconds: int | None) -> DeploymentRecord:
        """Start a switchover.

        Args:
            identifier: BlueGreenDeploymentIdentifier.
            timeout_seconds: SwitchoverTimeout.

        Returns:
            The deployment, SWITCHOVER_IN_PROGRESS.

        Raises:
            ApiFault: Unknown deployment, wrong status or a time-out out of range.
        """
        timeout = DEFAULT_TIMEOUT if timeout_seconds is None else timeout_seconds

        def begin(state: RdsState) -> RdsState:
            if not SHORTEST_TIMEOUT <= timeout <= LONGEST_TIMEOUT:
                message = (
                    f"Invalid value {timeout} for SwitchoverTimeout. "
                    f"Must be between {SHORTEST_TIMEOUT} and {LONGEST_TIMEOUT}"
                )
                raise ApiFault("InvalidParameterValue", message)
            record = known_deployment(state, identifier)
            blue = state.instance_by_resource(record.source)
            green = state.instance_by_resource(record.target)
            if record.status not in {"AVAILABLE", "SWITCHOVER_FAILED"} or not (blue and green):
                raise wrong_state(record)
            record = replace(
                record.with_status("SWITCHOVER_IN_PROGRESS"),
                timeout_seconds=timeout,
                renamed=False,
                old_names=(blue.name, green.name),
            )
            started = self._texts(record).started(blue.name, green.name)
            return state.with_deployment(record).with_events(*started)

        record = known_deployment(self._store.change(begin), identifier)
        self._run_in_background(lambda: self._run_switchover(record), identifier)
        return record

    def delete(self, identifier: str, *, delete_target: bool) -> DeploymentRecord:
        """Delete a deployment; its instances stay unless `delete_target` is set.

        Args:
            identifier: BlueGreenDeploymentIdentifier.
            delete_target: Delete green too; refused after a switchover.

        Returns:
            The deployment, DELETING.

        Raises:
            ApiFault: Unknown deployment or wrong status.
        """
        record = known_deployment(self._store.state, identifier)
        if record.status in {"PROVISIONING", "SWITCHOVER_IN_PROGRESS", "DELETING"}:
            raise wrong_state(record)
        if delete_target and record.status == "SWITCHOVER_COMPLETED":
            message = (
                "You can't specify DeleteTarget if the blue/green deployment status is "
                "SWITCHOVER_COMPLETED."
            )
            raise ApiFault("InvalidParameterCombination", message)
        green = self._store.state.instance_by_resource(record.target)
        if delete_target and green is not None:
            self._lab.stop(green.server)
            self._store.change(lambda state: state.without_instance(green.resource_id))
        elif green is not None and record.status != "SWITCHOVER_COMPLETED":
            self._lab.server(green.server).forget_replication()
        deleted = self._texts(record).deleted()
        self._store.change(lambda s: s.without_deployment(identifier).with_events(deleted))
        return record.with_status("DELETING")

    def delete_instance(self, name: str) -> InstanceRecord:
        """Delete an instance that no deployment needs: its server is stopped.

        Args:
            name: DBInstanceIdentifier.

        Returns:
            The instance as it was.

        Raises:
            ApiFault: Unknown instance, production, or part of a deployment that still needs it.
        """
        state = self._store.state
        record = state.instance(name)
        if record is None:
            raise ApiFault("DBInstanceNotFound", f"DBInstance {name} not found.")
        if record.production:
            message = f"{record.name} is the lab's production instance and cannot be deleted."
            raise ApiFault("InvalidDBInstanceState", message)
        for deployment in state.deployments:
            members = (deployment.source, deployment.target)
            if record.resource_id in members and deployment.status != "SWITCHOVER_COMPLETED":
                message = (
                    f"{record.name} is part of the blue/green deployment {deployment.identifier} "
                    f"in status {deployment.status}; delete the deployment or switch it over first."
                )
                raise ApiFault("InvalidDBInstanceState", message)
        self._lab.stop(record.server)
        arn = self._names.db(record.name)
        gone = Event(record.name, DB_INSTANCE, "DB instance deleted", ("deletion",), arn, utc_now())
        self._store.change(lambda s: s.without_instance(record.resource_id).with_events(gone))
        return record

    # ------------------------------------------------------------------ background work

    def _run_in_background(self, work: Callable[[], None], identifier: str) -> None:
        def run() -> None:
            try:
                work()
            except Exception:
                # The edge of the thread: nothing above it would report the failure.
                LOG.exception("deployment %s: background work failed", identifier)

        worker = threading.Thread(target=run, name=f"deployment-{identifier}", daemon=True)
        self._workers = [w for w in self._workers if w.is_alive()] + [worker]
        worker.start()

    def _run_switchover(self, record: DeploymentRecord) -> None:
        try:
            cap = self._store.state.settings.switchover_timeout_cap_seconds
            limit = min(record.timeout_seconds, cap or record.timeout_seconds)
            timing = self._switchover(record).run(limit)
        except SwitchoverCanceled as error:
            self._canceled(record.identifier, error.reason)
        else:
            self.last_timing = timing
            LOG.info("deployment %s: %s", record.identifier, timing)
            self._keep_roles(record)

    def _finish(self, switchover: Switchover, record: DeploymentRecord) -> None:
        switchover.finish()
        self._keep_roles(record)

    def _keep_roles(self, record: DeploymentRecord) -> None:
        state = self._store.state
        blue = state.instance_by_resource(record.source)
        green = state.instance_by_resource(record.target)
        if blue is not None and green is not None:
            self._lab.keep_roles(production=green.server, old=blue.server)

    def _switchover(self, record: DeploymentRecord) -> Switchover:
        state = self._store.state
        blue = state.instance_by_resource(record.source)
        green = state.instance_by_resource(record.target)
        if blue is None or green is None:
            raise wrong_state(record)
        return Switchover(
            self._lab.server(blue.server),
            self._lab.server(green.server),
            self._lab.endpoint(),
            SwitchoverJournal(self._store, self._names, record.identifier),
            state.settings,
        )

    def _canceled(self, identifier: str, reason: str) -> None:
        def edit(state: RdsState) -> RdsState:
            record = known_deployment(state, identifier)
            events = self._texts(record).canceled(*record.old_names, reason)
            failed = replace(record.with_status("SWITCHOVER_FAILED", reason), timeout_seconds=0)
            return state.with_deployment(failed).with_events(*events)

        self._store.change(edit)

    def _provision(self, identifier: str, primary: str, replica: str, version: str | None) -> None:
        try:
            self._lab.provision(primary, replica, version)
            green = self._registry.instance(self._registry.green_name(), replica, production=False)
            group = self._registry.parameter_group(green)
        except LabError as error:
            self._creation_failed(identifier, str(error))
            return

        def edit(state: RdsState) -> RdsState:
            record = replace(
                known_deployment(state, identifier).with_status("AVAILABLE"),
                target=green.resource_id,
                target_arn=self._names.db(green.name),
            )
            state = self._registry.with_instance(state, green, group).with_deployment(record)
            return state.with_events(self._texts(record).created())

        self._store.change(edit)

    def _creation_failed(self, identifier: str, reason: str) -> None:
        reason = reason.rstrip(".")

        def edit(state: RdsState) -> RdsState:
            record = known_deployment(state, identifier)
            event = self._texts(record).creation_failed(reason)
            failed = record.with_status("INVALID_CONFIGURATION", reason)
            return state.with_deployment(failed).with_events(event)

        self._store.change(edit)

    # ------------------------------------------------------------------ checks

    def _texts(self, record: DeploymentRecord) -> EventTexts:
        return EventTexts(record.identifier, self._names.deployment(record.identifier))

    def _source_for_creation(self, state: RdsState, name: str, source_arn: str) -> InstanceRecord:
        if any(d.name == name for d in state.deployments):
            message = f"A blue/green deployment with the specified name {name} already exists."
            raise ApiFault("BlueGreenDeploymentAlreadyExistsFault", message)
        source = next((i for i in state.instances if self._names.db(i.name) == source_arn), None)
        if source is None:
            raise ApiFault("DBInstanceNotFound", f"DBInstance {source_arn} not found.")
        busy = next(
            (d for d in state.deployments if source.resource_id in (d.source, d.target)), None
        )
        if busy is not None:
            message = (
                f"{source.name} belongs to the blue/green deployment {busy.identifier} "
                f"in status {busy.status}; delete that deployment first."
            )
            raise ApiFault("InvalidDBInstanceState", message)
        if not source.production:
            message = f"The source DB instance {source_arn} isn't supported: it is not production."
            raise ApiFault("SourceDatabaseNotSupportedFault", message)
        return source

    def _free_server(self, state: RdsState) -> str:
        used = {i.server: i.name for i in state.instances}
        free = [s for s in self._lab.server_names() if s not in used]
        if not free:
            spare = sorted(i.name for i in state.instances if not i.production)
            message = (
                "The lab has two source servers and both are in use; "
                f"delete the DB instance {', '.join(spare)} first."
            )
            raise ApiFault("InstanceQuotaExceeded", message)
        return free[0]
