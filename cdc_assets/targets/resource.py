"""The resources of the targets, one for each kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import dagster as dg
from pydantic import Field

from cdc_assets.core.starrocks import Delivery, LoadFormat
from cdc_assets.core.stream import TargetKind
from cdc_assets.ports import JudgedTarget, Server
from cdc_assets.targets.mysql import MySqlTarget, Tls
from cdc_assets.targets.starrocks import StarRocksLogin, StarRocksTarget


class TargetResource(dg.ConfigurableResource[Any]):
    """Where rows land; one subclass for each kind of target."""

    kind: ClassVar[TargetKind]

    @property
    def namespace(self) -> str:
        """Return the database, schema or prefix that the target tables are in."""
        raise NotImplementedError

    def secret_values(self) -> Sequence[str]:
        """Return what must not show in any log or error."""
        raise NotImplementedError

    def get_client(self) -> MySqlTarget | JudgedTarget:
        """Return the target; nothing is opened before its first use."""
        raise NotImplementedError


class MySqlTargetResource(TargetResource):
    """A MySQL or MariaDB database that rows land in.

    Example:
        >>> MySqlTargetResource(
        ...     host="dw.example",
        ...     username="writer",
        ...     password=dg.EnvVar("CDC_TARGET_PASSWORD"),
        ...     database="dw",
        ... ).port
        3306
    """

    kind: ClassVar[TargetKind] = "mysql"

    host: str = Field(description="Host name.")
    port: int = Field(default=3306, description="TCP port.")
    username: str = Field(description="Account that writes the target tables.")
    password: str = Field(description="Its password; give it as EnvVar.", repr=False)
    database: str = Field(description="Database that holds the target tables.")
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

    @property
    def namespace(self) -> str:
        """Return the database that holds the target tables."""
        return self.database

    def secret_values(self) -> Sequence[str]:
        """Return the password."""
        return (self.password,)

    def get_client(self) -> MySqlTarget:
        """Return the target; nothing is opened before its first use."""
        return MySqlTarget(
            Server(self.host, self.port),
            self.database,
            self.username,
            self.password,
            tls=self.tls,
            ca_file=self.ca_file,
            connect_timeout_seconds=self.connect_timeout_seconds,
            read_timeout_seconds=self.read_timeout_seconds,
        )


class StarRocksTargetResource(TargetResource):
    """A StarRocks database that rows land in, in primary-key tables.

    Example:
        >>> StarRocksTargetResource(
        ...     host="fe.example",
        ...     username="writer",
        ...     password=dg.EnvVar("CDC_TARGET_PASSWORD"),
        ...     database="dw",
        ... ).http_port
        8030
    """

    kind: ClassVar[TargetKind] = "starrocks"

    host: str = Field(description="Host name of a front end.")
    query_port: int = Field(default=9030, description="Its MySQL port.")
    http_port: int = Field(default=8030, description="Its HTTP port, which loads go to.")
    load_addresses: list[str] = Field(
        default_factory=list,
        description="`host:port` of more front ends; empty for `host` and `http_port` alone.",
    )
    username: str = Field(description="Account that loads the target tables.")
    password: str = Field(description="Its password; give it as EnvVar.", repr=False)
    database: str = Field(description="Database that holds the target tables.")
    delivery: Delivery = Field(
        default="at-least-once",
        description="`exactly-once` is for streams with queries: rows then become visible with "
        "Flink's checkpoints.",
    )
    load_format: LoadFormat = Field(
        default="json", description="`json`, or `csv`, which is smaller and escapes nothing."
    )
    sink_options: dict[str, dict[str, str]] = Field(
        default_factory=dict,
        description="More options of StarRocks' connector, by target table; `*` is for all.",
    )
    connect_timeout_seconds: float = Field(
        default=3.0, gt=0, description="How long a connection may take."
    )
    read_timeout_seconds: float = Field(
        default=10.0, gt=0, description="How long an answer may take, row counts aside."
    )

    @property
    def namespace(self) -> str:
        """Return the database that holds the target tables."""
        return self.database

    @property
    def all_load_addresses(self) -> tuple[str, ...]:
        """Return the HTTP ports that loads go to."""
        return tuple(self.load_addresses) or (f"{self.host}:{self.http_port}",)

    def secret_values(self) -> Sequence[str]:
        """Return the password."""
        return (self.password,)

    def get_client(self) -> StarRocksTarget:
        """Return the target; nothing is opened before its first use."""
        login = StarRocksLogin(
            Server(self.host, self.query_port),
            self.all_load_addresses,
            self.username,
            self.password,
        )
        return StarRocksTarget(
            login,
            self.database,
            connect_timeout_seconds=self.connect_timeout_seconds,
            read_timeout_seconds=self.read_timeout_seconds,
        )
