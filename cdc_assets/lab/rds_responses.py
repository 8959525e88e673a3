"""The operations of the RDS API that the stand-in answers, on top of moto's responses.

Only the operations in `OPERATIONS` exist: moto would answer others from memory, with no server
behind them.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# moto's parameters and results are untyped dictionaries; our own values are not.

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final, TypeVar

from moto.core.responses import (  # noqa: TID253 - only the stand-in's process imports this module
    ActionResult,
    PaginatedResult,
)
from moto.rds.exceptions import RDSClientError  # noqa: TID253 - as above
from moto.rds.responses import RDSResponse  # noqa: TID253 - as above

from cdc_assets.lab.rds_backend import as_parameters
from cdc_assets.lab.rds_events import ApiFault, EventQuery, describe_events, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cdc_assets.lab.rds_backend import RdsStandInBackend
    from cdc_assets.lab.rds_state import DeploymentRecord

T = TypeVar("T")
OPERATIONS: Final = frozenset(
    {
        "CreateBlueGreenDeployment",
        "CreateDBParameterGroup",
        "DeleteBlueGreenDeployment",
        "DeleteDBInstance",
        "DeleteDBParameterGroup",
        "DescribeBlueGreenDeployments",
        "DescribeDBClusters",
        "DescribeDBInstances",
        "DescribeDBParameterGroups",
        "DescribeDBParameters",
        "DescribeEvents",
        "ListTagsForResource",
        "ModifyDBParameterGroup",
        "SwitchoverBlueGreenDeployment",
    }
)
DEPLOYMENT_FILTERS: Final = (
    "blue-green-deployment-identifier",
    "blue-green-deployment-name",
    "source",
    "target",
)


class RdsStandInResponse(RDSResponse):
    """Answers the operations in `OPERATIONS`; `backend_of_lab` is set by `response_class`."""

    backend_of_lab: RdsStandInBackend

    @property
    def backend(self) -> RdsStandInBackend:
        """The one backend of this process, whatever account the request is signed for."""
        return self.backend_of_lab

    def describe_events(self) -> ActionResult:
        """DescribeEvents with AWS's filters, window and paging."""
        given = self.params
        _refuse_filters(given.get("Filters"), ())
        query = EventQuery(
            source_identifier=given.get("SourceIdentifier"),
            source_type=given.get("SourceType"),
            start_time=_utc(given.get("StartTime")),
            end_time=_utc(given.get("EndTime")),
            duration_minutes=given.get("Duration"),
            categories=tuple(given.get("EventCategories") or ()),
            max_records=given.get("MaxRecords"),
            marker=given.get("Marker"),
        )
        page = _faulty(lambda: describe_events(self.backend.store.state.events, query, utc_now()))
        answer: dict[str, object] = {"Events": [event.as_api() for event in page.events]}
        if page.marker is not None:
            answer["Marker"] = page.marker
        return ActionResult(answer)

    def describe_blue_green_deployments(self) -> ActionResult:
        """DescribeBlueGreenDeployments with its four filters."""
        given = self.params
        backend = self.backend
        filters = {f["Name"]: list(f["Values"]) for f in given.get("Filters") or ()}
        _refuse_filters(given.get("Filters"), DEPLOYMENT_FILTERS)
        identifier = given.get("BlueGreenDeploymentIdentifier")
        found = [
            record
            for record in sorted(backend.store.state.deployments, key=lambda d: d.created)
            if _selected(record, filters)
            and (identifier is None or record.identifier.lower() == str(identifier).lower())
        ]
        if identifier is not None and not found:
            message = (
                f"BlueGreenDeploymentIdentifier {identifier} doesn't refer to an existing "
                "blue/green deployment."
            )
            raise RDSClientError("BlueGreenDeploymentNotFoundFault", message)
        answers = [backend.deployment_answer(record) for record in found]
        return PaginatedResult({"BlueGreenDeployments": answers})

    def create_blue_green_deployment(self) -> ActionResult:
        """CreateBlueGreenDeployment: a free lab server becomes green."""
        given = self.params
        record = _faulty(
            lambda: self.backend.deployments.create(
                str(given["BlueGreenDeploymentName"]),
                str(given["Source"]),
                given.get("TargetEngineVersion"),
            )
        )
        return self._deployment(record)

    def switchover_blue_green_deployment(self) -> ActionResult:
        """SwitchoverBlueGreenDeployment: the real servers are switched in the background."""
        given = self.params
        record = _faulty(
            lambda: self.backend.deployments.switch_over(
                str(given["BlueGreenDeploymentIdentifier"]), given.get("SwitchoverTimeout")
            )
        )
        return self._deployment(record)

    def delete_blue_green_deployment(self) -> ActionResult:
        """DeleteBlueGreenDeployment."""
        given = self.params
        record = _faulty(
            lambda: self.backend.deployments.delete(
                str(given["BlueGreenDeploymentIdentifier"]),
                delete_target=bool(given.get("DeleteTarget")),
            )
        )
        return self._deployment(record)

    def describe_db_instances(self) -> ActionResult:
        """DescribeDBInstances over the real servers."""
        with self.backend.moto_lock:
            self.backend.refresh()
            return super().describe_db_instances()

    def delete_db_instance(self) -> ActionResult:
        """DeleteDBInstance: really stops the server."""
        given = self.params
        if not given.get("SkipFinalSnapshot"):
            message = (
                "The lab takes no snapshots: SkipFinalSnapshot must be true."
                if given.get("FinalDBSnapshotIdentifier")
                else "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified."
            )
            raise RDSClientError("InvalidParameterCombination", message)
        name = str(given["DBInstanceIdentifier"])
        record = _faulty(lambda: self.backend.deployments.delete_instance(name))
        return ActionResult({"DBInstance": self.backend.removed(record)})

    def list_tags_for_resource(self) -> ActionResult:
        """ListTagsForResource."""
        with self.backend.moto_lock:
            self.backend.refresh()
            return super().list_tags_for_resource()

    def create_db_parameter_group(self) -> ActionResult:
        """CreateDBParameterGroup, kept in the state."""
        return self._with_groups(super().create_db_parameter_group)

    def modify_db_parameter_group(self) -> ActionResult:
        """ModifyDBParameterGroup, kept in the state; the servers' variables do not change."""
        return self._with_groups(super().modify_db_parameter_group)

    def delete_db_parameter_group(self) -> ActionResult:
        """DeleteDBParameterGroup, kept in the state."""
        name = str(self.params["DBParameterGroupName"]).lower()
        user = next(
            (i.name for i in self.backend.store.state.instances if i.parameter_group == name), None
        )
        if user is not None:
            message = f"DB parameter group {name} is used by DB instance {user}."
            raise RDSClientError("InvalidDBParameterGroupState", message)
        return self._with_groups(super().delete_db_parameter_group)

    def describe_db_parameter_groups(self) -> ActionResult:
        """DescribeDBParameterGroups."""
        with self.backend.moto_lock:
            self.backend.refresh()
            return super().describe_db_parameter_groups()

    def describe_db_parameters(self) -> ActionResult:
        """DescribeDBParameters: what was set, with Source `user`; no engine defaults."""
        given = self.params
        name = str(given["DBParameterGroupName"]).lower()
        groups = self.backend.store.state.parameter_groups
        group = next((g for g in groups if g.name == name), None)
        if group is None:
            message = f"DBParameterGroup not found: {name}"
            raise RDSClientError("DBParameterGroupNotFound", message)
        _refuse_filters(given.get("Filters"), ("parameter-name",))
        wanted = {v for f in given.get("Filters") or () for v in f["Values"]}
        parameters = [
            {**parameter, "Source": "user", "IsModifiable": True}
            for parameter in as_parameters(group)
            if given.get("Source") in {None, "user"}
            and (not wanted or parameter["ParameterName"] in wanted)
        ]
        return ActionResult({"Parameters": parameters})

    def _with_groups(self, operation: Callable[[], ActionResult]) -> ActionResult:
        with self.backend.moto_lock:
            self.backend.refresh()
            result = operation()
            self.backend.keep_parameter_groups()
            return result

    def _deployment(self, record: DeploymentRecord) -> ActionResult:
        return ActionResult({"BlueGreenDeployment": self.backend.deployment_answer(record)})


def response_class(backend: RdsStandInBackend) -> type[RdsStandInResponse]:
    """Return the class whose `dispatch` answers requests for one backend.

    Args:
        backend: The stand-in.
    """
    return type("BoundRdsStandInResponse", (RdsStandInResponse,), {"backend_of_lab": backend})


def _faulty(call: Callable[[], T]) -> T:
    try:
        return call()
    except ApiFault as fault:
        raise RDSClientError(fault.code, fault.message) from fault


def _utc(value: datetime | None) -> datetime | None:
    if value is None:
        return None
    return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value


def _refuse_filters(filters: Any, known: tuple[str, ...]) -> None:  # noqa: ANN401 - moto's value
    for item in filters or ():
        if item["Name"] not in known:
            message = f"Unrecognized filter name: {item['Name']}"
            raise RDSClientError("InvalidParameterValue", message)


def _selected(record: DeploymentRecord, filters: Mapping[str, list[str]]) -> bool:
    values = {
        "blue-green-deployment-identifier": {record.identifier},
        "blue-green-deployment-name": {record.name},
        "source": {record.source_arn, record.source_arn.rpartition(":")[2]},
        "target": {record.target_arn, record.target_arn.rpartition(":")[2]},
    }
    return all(values[name] & set(wanted) for name, wanted in filters.items())
