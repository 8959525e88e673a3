"""The moto half of the RDS API stand-in: a labelled subclass of moto's RDS backend.

moto keeps what it does well (parsing requests, XML answers, the many fields of a DB instance,
parameter groups). What it leaves out or answers wrongly is replaced here and in
`rds_responses.py`: the filters, the window and the paging of DescribeEvents, resource ids,
endpoints, ParameterApplyStatus, and blue/green deployments, which here switch real servers over.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# moto's parameters and results are untyped dictionaries; our own values are not.

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final, cast

from moto.rds.models import (  # noqa: TID253 - only the stand-in's process imports this module
    DBInstance,
    DBParameterGroup,
    RDSBackend,
)

from cdc_assets.lab.rds_events import utc_now
from cdc_assets.lab.rds_state import ParameterGroupRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdc_assets.lab.rds_deployments import Deployments
    from cdc_assets.lab.rds_journal import Names, Store
    from cdc_assets.lab.rds_registry import Lab
    from cdc_assets.lab.rds_state import DeploymentRecord, InstanceRecord, RdsState

LABEL: Final = "RDS API stand-in"
LABEL_TAG: Final = {"Key": "lab/stand-in", "Value": "true"}
TASK_OF_STATUS: Final = {"PROVISIONING": "IN_PROGRESS", "INVALID_CONFIGURATION": "FAILED"}


class StandInInstance(DBInstance):
    """A DB instance of the stand-in: a real lab server under an RDS name.

    Args:
        backend: The stand-in.
        record: What the stand-in remembers of it.
        address: Host and port that clients use.
    """

    def __init__(
        self, backend: RdsStandInBackend, record: InstanceRecord, address: tuple[str, int]
    ) -> None:
        super().__init__(
            backend,
            db_instance_identifier=record.name,
            db_instance_class="db.t3.small",
            engine=record.engine,
            engine_version=record.version,
            port=address[1],
            allocated_storage=20,
            master_username="admin",
            publicly_accessible=False,
            backup_retention_period=7,
            tags=[LABEL_TAG],
        )
        self.dbi_resource_id = record.resource_id
        self.instance_create_time = datetime.fromisoformat(record.created)
        self.db_parameter_group_name = record.parameter_group
        self._host = address[0]
        self._apply_status = record.apply_status

    @property
    def address(self) -> str:
        """The real host."""
        return self._host

    @property
    def db_parameter_group_status_list(self) -> list[dict[str, str]]:
        """The parameter group and the apply status that the lab has set."""
        return [
            {
                "DBParameterGroupName": str(self.db_parameter_group_name),
                "ParameterApplyStatus": self._apply_status,
            }
        ]


class RdsStandInBackend(RDSBackend):
    """STAND-IN for the RDS API in front of the lab's real servers; it is not RDS.

    Args:
        store: The state.
        lab: The real servers.
        names: Region, account and ARNs.
        deployments: The life of blue/green deployments.
    """

    def __init__(self, store: Store, lab: Lab, names: Names, deployments: Deployments) -> None:
        super().__init__(names.region, names.account)
        self.store = store
        self.names = names
        self.deployments = deployments
        self.moto_lock = threading.RLock()
        self._lab = lab

    def refresh(self) -> None:
        """Make moto's objects from the state; the caller holds `moto_lock`."""
        state = self.store.state
        self.db_parameter_groups.clear()
        for group in state.parameter_groups:
            # The cast: moto's models are made through a `__new__` that is typed as their base.
            made = cast(
                "DBParameterGroup",
                DBParameterGroup(self, group.name, group.description, group.family),
            )
            made.update_parameters(as_parameters(group))
            self.db_parameter_groups[group.name] = made
        self.databases.clear()
        for record in sorted(state.instances, key=lambda instance: instance.name):
            self.databases[record.name] = self._instance(record)

    def keep_parameter_groups(self) -> None:
        """Put moto's parameter groups into the state; a static change waits for a reboot."""
        groups = tuple(_as_record(group) for group in self.db_parameter_groups.values())

        def edit(state: RdsState) -> RdsState:
            known = {group.name: group for group in state.parameter_groups}
            pending = {
                g.name for g in groups if g.name in known and _static(g) != _static(known[g.name])
            }
            instances = tuple(
                replace(i, apply_status="pending-reboot") if i.parameter_group in pending else i
                for i in state.instances
            )
            return replace(state, parameter_groups=groups, instances=instances)

        self.store.change(edit)

    def removed(self, record: InstanceRecord) -> StandInInstance:
        """Return an instance that has just been deleted, as DeleteDBInstance answers it.

        Args:
            record: The instance as it was.
        """
        instance = cast("StandInInstance", StandInInstance(self, record, ("127.0.0.1", 0)))
        instance.status = "deleting"
        return instance

    def deployment_answer(self, record: DeploymentRecord) -> dict[str, object]:
        """Return a deployment with the field names of the API.

        Args:
            record: The deployment.
        """
        answer: dict[str, object] = {
            "BlueGreenDeploymentIdentifier": record.identifier,
            "BlueGreenDeploymentName": record.name,
            "Source": record.source_arn,
            "Status": record.status,
            "CreateTime": datetime.fromisoformat(record.created),
            "SwitchoverDetails": self._switchover_details(record),
            "Tasks": [
                {"Name": name, "Status": TASK_OF_STATUS.get(record.status, "COMPLETED")}
                for name in ("CREATING_READ_REPLICA_OF_SOURCE", "CONFIGURE_BACKUPS")
            ],
            "TagList": [LABEL_TAG],
        }
        if record.target_arn:
            answer["Target"] = record.target_arn
        if record.status_details:
            answer["StatusDetails"] = record.status_details
        if record.status == "DELETING":
            answer["DeleteTime"] = utc_now()
        return answer

    def _switchover_details(self, record: DeploymentRecord) -> list[dict[str, str]]:
        state = self.store.state
        status = "PROVISIONING" if record.status == "PROVISIONING" else record.status
        if status in {"INVALID_CONFIGURATION", "DELETING"}:
            status = "AVAILABLE"
        if state.instance_by_resource(record.source) is None:
            status = "MISSING_SOURCE"
        elif record.target and state.instance_by_resource(record.target) is None:
            status = "MISSING_TARGET"
        detail = {"SourceMember": record.source_arn, "Status": status}
        return [{**detail, "TargetMember": record.target_arn} if record.target_arn else detail]

    def _instance(self, record: InstanceRecord) -> StandInInstance:
        address = (
            self._lab.endpoint_address
            if record.production
            else self._lab.server_address(record.server)
        )
        return cast("StandInInstance", StandInInstance(self, record, address))


def as_parameters(group: ParameterGroupRecord) -> list[dict[str, str]]:
    """Return a group's parameters with the field names of the API.

    Args:
        group: The group.
    """
    return [
        {"ParameterName": name, "ParameterValue": value, "ApplyMethod": method}
        for name, (value, method) in sorted(group.parameters.items())
    ]


def _as_record(group: DBParameterGroup) -> ParameterGroupRecord:
    parameters = cast("Mapping[str, Mapping[str, object]]", group.parameters)
    return ParameterGroupRecord(
        name=group.name,
        family=str(group.family),
        description=group.description,
        parameters={
            name: (str(values.get("ParameterValue", "")), str(values.get("ApplyMethod", "")))
            for name, values in parameters.items()
        },
    )


def _static(group: ParameterGroupRecord) -> set[tuple[str, str]]:
    """Return the parameters of a group that only a reboot applies."""
    return {(k, v) for k, (v, method) in group.parameters.items() if method == "pending-reboot"}
