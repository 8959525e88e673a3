"""MySqlResource: which MySQL or MariaDB endpoint is the source, and with which account."""

from __future__ import annotations

import dagster as dg
from pydantic import Field

from cdc_assets.mysql.client import MySqlSource
from cdc_assets.mysql.session import Tls
from cdc_assets.ports import Server


class MySqlResource(dg.ConfigurableResource[MySqlSource]):
    """The source's production endpoint; the same account reads every server of the source.

    Example:
        >>> MySqlResource(
        ...     host="db.example", username="cdc", password=dg.EnvVar("CDC_SOURCE_PASSWORD")
        ... ).port
        3306
    """

    host: str = Field(description="Host name of the production endpoint, never of one server.")
    port: int = Field(default=3306, description="TCP port of the endpoint.")
    username: str = Field(description="Account that reads the tables and the binlog.")
    password: str = Field(description="Its password; give it as EnvVar.", repr=False)
    shared_account: bool = Field(
        default=False,
        description=(
            "Whether anything else reads the binlog with this account. With an account of its "
            "own, a stream's lost connection is seen at once."
        ),
    )
    time_zone: str = Field(
        default="UTC", description="The server's time zone; the readers refuse another one."
    )
    tls: Tls = Field(
        default="off",
        description=(
            "`off`, `encrypt` (refuses a plain connection) or `verify` (checks the certificate)."
        ),
    )
    ca_file: str | None = Field(
        default=None, description="File of the certificate authorities, for `verify`."
    )
    connect_timeout_seconds: float = Field(
        default=3.0, gt=0, description="How long a connection may take."
    )
    read_timeout_seconds: float = Field(
        default=10.0, gt=0, description="How long an answer may take, row counts aside."
    )

    def get_client(self) -> MySqlSource:
        """Return the source; nothing is opened before its first use."""
        return MySqlSource(
            Server(self.host, self.port),
            self.username,
            self.password,
            shared_account=self.shared_account,
            tls=self.tls,
            ca_file=self.ca_file,
            connect_timeout_seconds=self.connect_timeout_seconds,
            read_timeout_seconds=self.read_timeout_seconds,
        )
