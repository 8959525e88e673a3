"""The resources of the targets, one for each kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import dagster as dg
from pydantic import Field

from cdc_assets.core.iceberg import CatalogKind, IcebergCatalog, pairs_of
from cdc_assets.core.stream import TargetKind
from cdc_assets.ports import JudgedTarget, Server
from cdc_assets.targets.iceberg import IcebergTarget
from cdc_assets.targets.mysql import MySqlTarget, Tls
from cdc_assets.targets.postgres import PostgresTarget
from cdc_assets.targets.postgres_session import PostgresLogin


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


class PostgresTargetResource(TargetResource):
    """A schema of a PostgreSQL database that rows land in.

    Example:
        >>> PostgresTargetResource(
        ...     host="dw.example",
        ...     username="writer",
        ...     password=dg.EnvVar("CDC_TARGET_PASSWORD"),
        ...     database="dw",
        ... ).port
        5432
    """

    kind: ClassVar[TargetKind] = "postgres"

    host: str = Field(description="Host name.")
    port: int = Field(default=5432, description="TCP port.")
    username: str = Field(description="Role that writes the target tables.")
    password: str = Field(description="Its password; give it as EnvVar.", repr=False)
    database: str = Field(description="Database that holds the schema.")
    db_schema: str = Field(default="public", description="Schema that holds the target tables.")
    tls: Tls = Field(
        default="off",
        description=(
            "`off`, `encrypt` (refuses a plain connection) or `verify` (checks the certificate)."
        ),
    )
    ca_file: str | None = Field(
        default=None,
        description="File of the certificate authorities, for `verify`; Flink's task managers "
        "read it at the same path.",
    )
    connect_timeout_seconds: float = Field(
        default=3.0, gt=0, description="How long a connection may take."
    )
    read_timeout_seconds: float = Field(
        default=10.0, gt=0, description="How long an answer may take, row counts aside."
    )

    @property
    def namespace(self) -> str:
        """Return the schema that holds the target tables."""
        return self.db_schema

    def secret_values(self) -> Sequence[str]:
        """Return the password."""
        return (self.password,)

    def get_client(self) -> PostgresTarget:
        """Return the target; nothing is opened before its first use."""
        login = PostgresLogin(
            Server(self.host, self.port),
            self.database,
            self.username,
            self.password,
            tls=self.tls,
            ca_file=self.ca_file,
            connect_timeout_seconds=self.connect_timeout_seconds,
        )
        return PostgresTarget(login, self.db_schema, read_timeout_seconds=self.read_timeout_seconds)


class IcebergTargetResource(TargetResource):
    """A namespace of an Iceberg catalog that rows land in.

    Example:
        >>> IcebergTargetResource(uri="http://lake.example:8181", database="dw").catalog
        'rest'
    """

    kind: ClassVar[TargetKind] = "iceberg"

    catalog: CatalogKind = Field(
        default="rest", description="`rest`, or `hadoop` where the tables' folders are the catalog."
    )
    uri: str = Field(default="", description="Address of the REST catalog.")
    warehouse: str = Field(
        default="",
        description="Folder of a hadoop catalog as a URL; in a REST catalog its warehouse, if any.",
    )
    database: str = Field(description="Namespace that holds the target tables; one name.")
    token: str = Field(
        default="", description="Bearer token of the REST catalog; give it as EnvVar.", repr=False
    )
    credential: str = Field(
        default="", description="`id:secret` of the REST catalog; give it as EnvVar.", repr=False
    )
    properties: dict[str, str] = Field(
        default_factory=dict,
        description=(
            "More catalog properties, such as `s3.endpoint`, as Iceberg names them in Java and in"
            " Python alike."
        ),
    )
    secret_properties: str = Field(
        default="",
        description="Secret ones as `name=value;name=value`; give them as EnvVar.",
        repr=False,
    )
    read_timeout_seconds: float = Field(
        default=10.0, gt=0, description="How long an answer may take, row counts aside."
    )

    @property
    def namespace(self) -> str:
        """Return the namespace that holds the target tables."""
        return self.database

    @property
    def lake(self) -> IcebergCatalog:
        """Return which catalog holds the tables."""
        secrets = {"token": self.token, "credential": self.credential}
        given = {name: value for name, value in secrets.items() if value}
        hidden = pairs_of(self.secret_properties)
        properties = {**self.properties, **hidden, **given}
        return IcebergCatalog(
            self.catalog, self.uri, self.warehouse, properties, hidden=tuple(hidden)
        )

    def secret_values(self) -> Sequence[str]:
        """Return token, credential and the secret properties."""
        return tuple(value for _, value in self.lake.secrets)

    def get_client(self) -> IcebergTarget:
        """Return the target; nothing is opened before its first use."""
        return IcebergTarget(
            self.lake, self.database, read_timeout_seconds=self.read_timeout_seconds
        )
