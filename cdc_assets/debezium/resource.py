"""KafkaConnectResource: which Kafka Connect worker runs the connectors."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg
from pydantic import Field

from cdc_assets.debezium.client import ConnectClient


class KafkaConnectResource(dg.ConfigurableResource[ConnectClient]):
    """A stand-alone Kafka Connect worker with Debezium's connectors, in the place of Flink.

    Example:
        >>> KafkaConnectResource(
        ...     rest_url="http://connect:8083", history_directory="/var/lib/cdc"
        ... ).timeout_seconds
        10.0
    """

    rest_url: str = Field(description="`http://host:port` of the worker's REST listener.")
    history_directory: str = Field(
        description="Folder on the worker's machine where connectors keep their schema histories."
    )
    source_password_reference: str = Field(
        default="",
        description=(
            "How the worker's own config provider finds the source's password, for example "
            "`${file:/etc/cdc.properties:password}`. Without it the password itself is a part of "
            "the connector's configuration, which Connect shows to everyone who reaches its REST."
        ),
    )
    timeout_seconds: float = Field(default=10.0, gt=0, description="Deadline of one request.")

    def get_client(self, *, secrets: Sequence[str] = ()) -> ConnectClient:
        """Return the client.

        Args:
            secrets: Texts that no error message may repeat.
        """
        return ConnectClient(self.rest_url, timeout_seconds=self.timeout_seconds, secrets=secrets)
