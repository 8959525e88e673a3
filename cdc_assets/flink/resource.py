"""FlinkResource: which Flink cluster runs the jobs, and where it keeps state."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg
from pydantic import Field

from cdc_assets.flink.client import FlinkClient
from cdc_assets.flink.engine import StateFolders
from cdc_assets.flink.gateway import SqlGateway


class FlinkResource(dg.ConfigurableResource[FlinkClient]):
    """A Flink cluster with its SQL gateway.

    Example:
        >>> FlinkResource(
        ...     rest_url="http://flink:8081",
        ...     sql_gateway_url="http://flink:8083",
        ...     checkpoint_directory="file:///state/checkpoints",
        ...     savepoint_directory="file:///state/savepoints",
        ... ).timeout_seconds
        10.0
    """

    rest_url: str = Field(description="`http://host:port` of the job manager's REST API.")
    sql_gateway_url: str = Field(description="`http://host:port` of the SQL gateway.")
    checkpoint_directory: str = Field(
        description=(
            "Folder of the checkpoints as a URL, for example `file:///state/checkpoints`. "
            "Flink writes it, and this process reads it."
        )
    )
    savepoint_directory: str = Field(
        description="Folder of the savepoints as a URL. Flink and this process write it."
    )
    timeout_seconds: float = Field(default=10.0, gt=0, description="Deadline of one request.")

    def get_client(self) -> FlinkClient:
        """Return the client of the REST API."""
        return FlinkClient(self.rest_url, timeout_seconds=self.timeout_seconds)

    def get_gateway(self, *, secrets: Sequence[str] = ()) -> SqlGateway:
        """Return the client of the SQL gateway.

        Args:
            secrets: Texts that no error message may repeat.
        """
        return SqlGateway(
            self.sql_gateway_url, timeout_seconds=self.timeout_seconds, secrets=secrets
        )

    def get_folders(self) -> StateFolders:
        """Return where state lies."""
        return StateFolders(self.checkpoint_directory, self.savepoint_directory)
