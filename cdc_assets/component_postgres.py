"""MySqlToPostgresComponent: a stream into PostgreSQL as YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import dagster as dg
from pydantic import Field

from cdc_assets.component import CdcStreamComponent, DatabaseScaffoldParams, StreamScaffolder
from cdc_assets.component_base import LINK, TargetPassword, number_or_variable, text_or_variable
from cdc_assets.core.stream import TargetKind
from cdc_assets.targets.resource import PostgresTargetResource


class PostgresTargetAttributes(TargetPassword):
    """The attributes of a component whose target is PostgreSQL."""

    target_kind: ClassVar[TargetKind] = "postgres"

    target_host: str = Field(description=f"Host name of the target. {LINK}")
    target_port: int | str = Field(default=5432, description=f"Its TCP port. {LINK}")
    target_username: str = Field(description=f"Role that writes the target tables. {LINK}")
    target_database: str = Field(
        description=f"Database that holds the schema. {LINK}", examples=["warehouse"]
    )
    target_schema: str = Field(
        default="public",
        description="Schema that holds the target tables; part of their asset keys.",
    )
    target_tls: Literal["off", "encrypt", "verify"] = Field(
        default="off", description="How connections to the target are encrypted."
    )
    target_ca_file: str = Field(
        default="",
        description="File of the certificate authorities for `verify`; Flink's task managers "
        "read it at the same path. Empty for the system's own.",
    )

    @property
    def target_database_name(self) -> str:
        """Return the name that the target tables' keys carry."""
        return self.target_schema

    def target(self) -> PostgresTargetResource:
        """Return where rows land."""
        return PostgresTargetResource(
            host=text_or_variable(self.target_host),
            port=number_or_variable(self.target_port, field="target_port"),
            username=text_or_variable(self.target_username),
            password=text_or_variable(self.target_password),
            database=text_or_variable(self.target_database),
            db_schema=self.target_schema,
            tls=self.target_tls,
            ca_file=self.target_ca_file or None,
        )


class MySqlToPostgresScaffoldParams(DatabaseScaffoldParams):
    """What `dg scaffold defs` asks for; each one is an option of the command."""

    target_database: str = Field(default="warehouse", description="Database of the target.")
    target_schema: str = Field(default="public", description="Holds the target tables.")

    def target(self) -> Mapping[str, object]:
        """Return the attributes of the target."""
        return {**super().target(), "target_schema": self.target_schema}


class MySqlToPostgresScaffolder(StreamScaffolder):
    """Writes a `defs.yaml` that loads as it is."""

    params = MySqlToPostgresScaffoldParams


@dg.scaffold_with(MySqlToPostgresScaffolder)
class MySqlToPostgresComponent(PostgresTargetAttributes, CdcStreamComponent):
    """A MySQL change stream into PostgreSQL that survives an RDS blue/green upgrade.

    Example:
        ```yaml
        type: cdc_assets.MySqlToPostgresComponent

        attributes:
          stream: shop
          tables: [shop.orders, "shop.customers:customer"]
          server_ids: 5400-5409
          source_host: db.example
          source_username: cdc
          source_password: env:CDC_SOURCE_PASSWORD
          target_host: dw.example
          target_username: writer
          target_password: env:CDC_TARGET_PASSWORD
          target_database: warehouse
          target_schema: shop
          flink_rest_url: http://flink:8081
          flink_sql_gateway_url: http://flink:8083
          flink_checkpoint_directory: file:///state/checkpoints
          flink_savepoint_directory: file:///state/savepoints
          ledger_url: env:CDC_LEDGER_URL
        ```
    """

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return what `dg list components` shows."""
        return dg.ComponentTypeSpec(
            description="A MySQL change stream into PostgreSQL that survives a blue/green upgrade.",
            tags=["cdc", "flink", "mysql", "postgres", "rds"],
        )
