"""What the stand-in registers: the lab's real servers as DB instances and parameter groups."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Final, Protocol

from cdc_assets.lab.rds_events import EventTexts, utc_now
from cdc_assets.lab.rds_state import DeploymentRecord, InstanceRecord, ParameterGroupRecord

if TYPE_CHECKING:
    from cdc_assets.lab.rds_journal import Names
    from cdc_assets.lab.rds_state import RdsState
    from cdc_assets.lab.switchover import Endpoint
    from cdc_assets.lab.switchover_sql import SwitchoverServer

PRODUCTION: Final = "lab-mysql"
DEPLOYMENT_NAME: Final = "lab-upgrade"
ALPHANUMERIC: Final = string.ascii_lowercase + string.digits
RESOURCE_ALPHABET: Final = string.ascii_uppercase + "234567"
# What a preflight asks a parameter group for, and AWS's spelling where it differs.
PARAMETERS: Final = {
    "binlog_format": "binlog_format",
    "binlog_row_image": "binlog_row_image",
    "binlog_row_metadata": "binlog_row_metadata",
    "enforce_gtid_consistency": "enforce_gtid_consistency",
    "gtid_mode": "gtid-mode",
    "log_slave_updates": "log_slave_updates",
    "time_zone": "time_zone",
}


class Lab(Protocol):
    """What the stand-in needs of the lab that it stands in front of."""

    @property
    def endpoint_address(self) -> tuple[str, int]:
        """Host and port of the source endpoint."""
        ...

    def server_names(self) -> tuple[str, ...]:
        """Return the lab's names of the source servers, production first."""
        ...

    def engine(self, server: str) -> str:
        """Return `mariadb` or `mysql`."""
        ...

    def server_address(self, server: str) -> tuple[str, int]:
        """Return the server's own host and port."""
        ...

    def server(self, server: str) -> SwitchoverServer:
        """Return the statements on one server."""
        ...

    def endpoint(self) -> Endpoint:
        """Return the control of the source endpoint."""
        ...

    def provision(self, primary: str, replica: str, version: str | None) -> None:
        """Make `replica` an empty server of that version that replicates from `primary`."""
        ...

    def stop(self, server: str) -> None:
        """Stop a server for good."""
        ...

    def keep_roles(self, production: str, old: str) -> None:
        """Make a later start of the processes come up in the roles of a finished switchover."""
        ...


class Registry:
    """Makes records of the lab's servers.

    Args:
        lab: The real servers.
        names: ARNs and identifiers.
    """

    def __init__(self, lab: Lab, names: Names) -> None:
        self._lab = lab
        self._names = names

    def pair(self) -> tuple[InstanceRecord, InstanceRecord, tuple[ParameterGroupRecord, ...]]:
        """Return production, green and their parameter groups, as the servers are now.

        Raises:
            ServiceFailed: A server does not answer.
        """
        blue_server, green_server = self._lab.server_names()[:2]
        blue = self.instance(PRODUCTION, blue_server, production=True)
        green = self.instance(self.green_name(), green_server, production=False)
        return blue, green, (self.parameter_group(blue), self.parameter_group(green))

    def with_pair(
        self,
        state: RdsState,
        blue: InstanceRecord,
        green: InstanceRecord,
        groups: tuple[ParameterGroupRecord, ...],
    ) -> RdsState:
        """Return the state with a replicating pair and one deployment, AVAILABLE.

        Args:
            state: The state before.
            blue: Production.
            green: Its replica.
            groups: Their parameter groups.
        """
        deployment = DeploymentRecord(
            identifier=self.deployment_identifier(),
            name=DEPLOYMENT_NAME,
            source=blue.resource_id,
            target=green.resource_id,
            source_arn=self._names.db(blue.name),
            target_arn=self._names.db(green.name),
            status="AVAILABLE",
            created=utc_now().isoformat(),
        )
        texts = EventTexts(deployment.identifier, self._names.deployment(deployment.identifier))
        state = self.with_instance(state, blue, groups[0])
        state = self.with_instance(state, green, groups[1])
        return state.with_deployment(deployment).with_events(texts.created())

    def green_name(self) -> str:
        """Return a new name for a green instance."""
        return self._names.random(f"{PRODUCTION}-green-", ALPHANUMERIC, 6)

    def deployment_identifier(self) -> str:
        """Return a new BlueGreenDeploymentIdentifier, which says that a stand-in made it.

        The id is what people see of a deployment in the UI, the ledger and `explain`.
        """
        return self._names.random("bgd-standin", ALPHANUMERIC, 9)

    def instance(self, name: str, server: str, *, production: bool) -> InstanceRecord:
        """Return a new instance with a resource id of its own.

        Args:
            name: DBInstanceIdentifier.
            server: The lab's name of the server.
            production: Whether the source endpoint belongs to it.

        Raises:
            ServiceFailed: The server does not answer.
        """
        engine = self._lab.engine(server)
        version = self._lab.server(server).version()
        return InstanceRecord(
            name=name,
            resource_id=self._names.random("db-", RESOURCE_ALPHABET, 26),
            server=server,
            engine=engine,
            version=version,
            created=utc_now().isoformat(),
            parameter_group=f"lab-{family(engine, version).replace('.', '-')}",
            production=production,
        )

    def parameter_group(self, record: InstanceRecord) -> ParameterGroupRecord:
        """Return the instance's parameter group with what the server really has.

        Args:
            record: The instance.

        Raises:
            ServiceFailed: The server does not answer.
        """
        found = self._lab.server(record.server).variables(tuple(PARAMETERS))
        return ParameterGroupRecord(
            name=record.parameter_group,
            family=family(record.engine, record.version),
            description="Parameters of the lab's source servers (RDS API stand-in)",
            parameters={PARAMETERS[k]: (v, "pending-reboot") for k, v in found.items()},
        )

    @staticmethod
    def with_instance(
        state: RdsState, record: InstanceRecord, group: ParameterGroupRecord
    ) -> RdsState:
        """Return the state with an instance, and its parameter group if that is new.

        Args:
            state: The state before.
            record: The instance.
            group: Its parameter group.
        """
        if all(g.name != group.name for g in state.parameter_groups):
            state = state.with_parameter_group(group)
        return state.with_instance(record)


def family(engine: str, version: str) -> str:
    """Return the parameter group family.

    Args:
        engine: `mariadb` or `mysql`.
        version: EngineVersion.

    Example:
        >>> family("mariadb", "10.11.5")
        'mariadb10.11'
    """
    return engine + ".".join(version.split(".")[:2])
