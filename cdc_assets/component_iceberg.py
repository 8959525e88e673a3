"""MySqlToIcebergComponent: a stream into Iceberg as YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import dagster as dg
from pydantic import Field, field_validator, model_validator

from cdc_assets.component import CdcStreamComponent, StreamScaffolder, StreamScaffoldParams
from cdc_assets.component_base import LINK, secret_by_name, text_or_variable
from cdc_assets.core.iceberg import is_secret
from cdc_assets.core.stream import TargetKind
from cdc_assets.targets.resource import IcebergTargetResource


class IcebergTargetAttributes(dg.Model):
    """The attributes of a component whose target is Iceberg."""

    target_kind: ClassVar[TargetKind] = "iceberg"

    target_catalog: Literal["rest", "hadoop"] = Field(
        default="rest", description="`rest`, or `hadoop` where the tables' folders are the catalog."
    )
    target_uri: str = Field(
        default="",
        description=f"Address of the REST catalog. {LINK}",
        examples=["http://lake.example:8181"],
    )
    target_warehouse: str = Field(
        default="",
        description="Folder of a hadoop catalog as a URL; in a REST catalog its warehouse, if "
        f"any. {LINK}",
        examples=["file:///lake"],
    )
    target_database: str = Field(
        description="Namespace that holds the target tables; part of their asset keys."
    )
    target_token: str = Field(
        default="", description="Bearer token of the REST catalog, as `env:NAME` only.", repr=False
    )
    target_credential: str = Field(
        default="", description="`id:secret` of the REST catalog, as `env:NAME` only.", repr=False
    )
    target_properties: dict[str, str] = Field(
        default_factory=dict,
        description="More catalog properties, as Iceberg names them in Java and in Python alike.",
        examples=[{"s3.endpoint": "http://s3.example"}],
    )
    target_secret_properties: str = Field(
        default="",
        description="Secret ones as `name=value;name=value`, as `env:NAME` only.",
        examples=["env:CDC_TARGET_PROPERTIES"],
        repr=False,
    )

    @field_validator("target_token", "target_credential", "target_secret_properties")
    @classmethod
    def _target_secrets_come_from_the_environment(cls, value: str) -> str:
        return secret_by_name(value) if value else value

    @field_validator("target_properties")
    @classmethod
    def _properties_hold_no_secret(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if is_secret(name):
                message = f"{name} belongs into target_secret_properties"
                raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _catalog_can_be_found(self) -> IcebergTargetAttributes:
        wanted = "target_uri" if self.target_catalog == "rest" else "target_warehouse"
        if not getattr(self, wanted):
            message = f"{wanted} is needed with target_catalog {self.target_catalog}"
            raise ValueError(message)
        return self

    @property
    def target_database_name(self) -> str:
        """Return the name that the target tables' keys carry."""
        return self.target_database

    def target(self) -> IcebergTargetResource:
        """Return where rows land."""
        return IcebergTargetResource(
            catalog=self.target_catalog,
            uri=text_or_variable(self.target_uri),
            warehouse=text_or_variable(self.target_warehouse),
            database=self.target_database,
            token=text_or_variable(self.target_token),
            credential=text_or_variable(self.target_credential),
            properties=self.target_properties,
            secret_properties=text_or_variable(self.target_secret_properties),
        )


class MySqlToIcebergScaffoldParams(StreamScaffoldParams):
    """What `dg scaffold defs` asks for; each one is an option of the command."""

    target_uri: str = Field(default="env:CDC_TARGET_URI", description="Address of the catalog.")
    target_database: str = Field(
        default="warehouse", description="Namespace that holds the target tables."
    )

    def target(self) -> Mapping[str, object]:
        """Return the attributes of the target."""
        return {
            "target_uri": self.target_uri,
            "target_database": self.target_database,
        }


class MySqlToIcebergScaffolder(StreamScaffolder):
    """Writes a `defs.yaml` that loads as it is."""

    params = MySqlToIcebergScaffoldParams


@dg.scaffold_with(MySqlToIcebergScaffolder)
class MySqlToIcebergComponent(IcebergTargetAttributes, CdcStreamComponent):
    """A MySQL change stream into Iceberg that survives an RDS blue/green upgrade.

    Example:
        ```yaml
        type: cdc_assets.MySqlToIcebergComponent

        attributes:
          stream: users
          tables: [shop.orders]
          sharded_tables: ["user_db_[0-9]+.user_table_[0-9]+:all_users"]
          server_ids: 5400-5409
          source_host: db.example
          source_username: cdc
          source_password: env:CDC_SOURCE_PASSWORD
          target_uri: http://lake.example:8181
          target_database: warehouse
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
            description="A MySQL change stream into Iceberg that survives a blue/green upgrade.",
            tags=["cdc", "flink", "iceberg", "mysql", "rds"],
        )
