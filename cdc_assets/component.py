"""The components: streams as YAML, one component type per target over one base class."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import dagster as dg
from pydantic import BaseModel, Field, field_validator, model_validator

from cdc_assets.component_base import (
    LINK,
    JobAttributes,
    TargetPassword,
    number_or_variable,
    said,
    secret_by_name,
    text_or_variable,
)
from cdc_assets.component_etl import TransformAttributes
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.recovery import Policy
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec, TargetKind
from cdc_assets.core.table_refs import ShardedTable, TableRef
from cdc_assets.debezium.resource import KafkaConnectResource
from cdc_assets.definitions_builder import build_cdc_definitions
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.resource import FlinkResource
from cdc_assets.ledger.resource import LedgerResource
from cdc_assets.mysql.resource import MySqlResource
from cdc_assets.rds.resource import RdsResource
from cdc_assets.targets.resource import (
    MySqlTargetResource,
    PostgresTargetResource,
    TargetResource,
)
from cdc_assets.translator import CdcProps, CdcTranslator


class CdcStreamComponent(dg.Component, JobAttributes, TransformAttributes, dg.Resolvable):
    """What a stream of a database needs whatever its target is; subclasses add the target."""

    tables: list[str] = Field(
        description="Captured tables, each `database.table` or `database.table:target_table`.",
        examples=[["shop.orders", "shop.customers:customer"]],
    )
    server_ids: str | int = Field(  # Dagster turns a text of digits into a number
        description="Replica server ids of the readers, no other stream's and no server's.",
        examples=["5400-5409"],
    )
    source_only: list[str] = Field(
        default_factory=list,
        description="Names of captured tables that only queries read, without a copy.",
    )
    exclude_columns: list[str] = Field(
        default_factory=list, description="`table.column` names that are not carried."
    )
    sharded_tables: list[str] = Field(
        default_factory=list,
        description="Shards that land in one table, each `database_pattern.table_pattern:"
        "target_table` with regular expressions; write the dot between them as `\\.` where a "
        "pattern holds one.",
        examples=[["user_db_[0-9]+.user_table_[0-9]+:all_users"]],
    )
    readers: Literal["auto", "shared", "per-table"] = Field(
        default="auto",
        description="`shared` gives tables of one key one binlog connection, `per-table` gives "
        "each table its own; `auto` shares, but not for a few tables over JDBC.",
    )
    query_keys: dict[str, list[str]] = Field(
        default_factory=dict,
        description="Key columns of each query's target table: with them the snapshot makes it "
        "where it is missing.",
        examples=[{"orders_by_product": ["product"]}],
    )
    create_tables: bool = Field(
        default=True,
        description="Whether the snapshot makes missing target tables, if the target's account "
        "may; existing ones are never changed. Topics have `target_create_topics`.",
    )
    source_host: str = Field(
        description=f"Host name of the production endpoint. {LINK}",
        examples=["db.example", "env:CDC_SOURCE_HOST"],
    )
    source_port: int | str = Field(default=3306, description=f"Its TCP port. {LINK}")
    source_username: str = Field(
        description=f"Account that reads the tables and the binlog. {LINK}", examples=["cdc"]
    )
    source_password: str = Field(
        description="Its password, as `env:NAME` only.",
        examples=["env:CDC_SOURCE_PASSWORD"],
        repr=False,
    )
    source_kind: str = Field(
        default="mysql", description="`mysql` or `mariadb`, shown on the source tables."
    )
    rds_instance: str = Field(
        default="",
        description=f"RDS instance or Aurora cluster; empty without RDS. {LINK}",
        examples=["shop-db"],
    )
    rds_region: str = Field(default="", description=f"Its AWS region. {LINK}")
    schema_cron: str = Field(
        default="*/10 * * * *",
        description="When captured tables are looked at for changes, empty for never.",
    )
    on_added_column: Literal["report", "apply"] = Field(
        default="report",
        description="`apply` adds a column that came at the source to the target, and starts the "
        "stream again from before it; `report` tells the target's statement.",
    )
    on_other_change: Literal["pause_table", "pause", "report"] = Field(
        default="pause_table",
        description="At a change that the running job would write wrongly: `pause_table` goes on "
        "without the table where that loses nothing, `pause` stops the stream with a savepoint, "
        "`report` only tells it.",
    )
    declare_sources: bool = Field(
        default=True,
        description="Set to false where another component declares the same source tables.",
    )

    @field_validator("source_password")
    @classmethod
    def _source_password_comes_from_the_environment(cls, value: str) -> str:
        return secret_by_name(value)

    @field_validator("lookup_password")
    @classmethod
    def _lookup_password_comes_from_the_environment(cls, value: str) -> str:
        return secret_by_name(value) if value else value

    @field_validator("tables")
    @classmethod
    def _tables_can_be_read(cls, value: list[str]) -> list[str]:
        for text in value:
            said(lambda text=text: TableRef.parse(text))
        return value

    @field_validator("sharded_tables")
    @classmethod
    def _sharded_tables_can_be_read(cls, value: list[str]) -> list[str]:
        for text in value:
            said(lambda text=text: ShardedTable.parse(text))
        return value

    @field_validator("server_ids")
    @classmethod
    def _server_ids_can_be_read(cls, value: str | int) -> str:
        said(lambda: ServerIdRange.parse(str(value)))
        return str(value)

    @model_validator(mode="after")
    def _rds_has_a_region(self) -> CdcStreamComponent:
        if self.rds_instance and not self.rds_region:
            message = "rds_region is needed with rds_instance"
            raise ValueError(message)
        return self

    def get_asset_spec(self, props: CdcProps) -> dg.AssetSpec:
        """Return key and looks of one part of the stream; override it to change them."""
        return CdcTranslator().get_asset_spec(props)

    target_kind: ClassVar[TargetKind]

    @abstractmethod
    def target(self) -> TargetResource:
        """Return where rows land."""

    @property
    @abstractmethod
    def target_database_name(self) -> str:
        """Return the name that the target tables' keys carry."""

    def source(self) -> MySqlResource:
        """Return where rows come from."""
        return MySqlResource(
            host=text_or_variable(self.source_host),
            port=number_or_variable(self.source_port, field="source_port"),
            username=text_or_variable(self.source_username),
            password=text_or_variable(self.source_password),
        )

    def query_specs(self) -> tuple[QuerySpec, ...]:
        """Return the queries with the keys of their target tables.

        Raises:
            ConfigurationError: A key is no query's.
        """
        for name in self.query_keys:
            if name not in self.queries:
                raise ConfigurationError("no such query", field="query_keys", value=name)
        return tuple(
            QuerySpec(name, sql, key=tuple(self.query_keys.get(name, ())))
            for name, sql in self.queries.items()
        )

    def spec(self) -> StreamSpec:
        """Return the stream.

        Raises:
            ConfigurationError: The attributes do not make one.
        """
        return StreamSpec(
            name=self.stream,
            tables=(
                *(TableRef.parse(text) for text in self.tables),
                *(ShardedTable.parse(text) for text in self.sharded_tables),
            ),
            server_ids=ServerIdRange.parse(str(self.server_ids)),
            target_kind=type(self).target_kind,
            target_database=self.target_database_name,
            queries=self.query_specs(),
            readers=self.readers,
            parallelism=self.parallelism,
            exclude_columns=tuple(self.exclude_columns),
            transforms=self.transforms(),
            lookup_cache_seconds=self.lookup_cache_seconds,
            source_only=tuple(self.source_only),
            create_tables=self.create_tables,
            checkpoint_interval_seconds=self.checkpoint_interval_seconds,
        )

    def lookup(self) -> TargetResource | None:
        """Return where lookup tables are, None where there are none."""
        if not self.lookups:
            return None
        is_postgres = self.lookup_kind == "postgres"
        place: dict[str, Any] = {
            "host": text_or_variable(self.lookup_host),
            "username": text_or_variable(self.lookup_username),
            "password": text_or_variable(self.lookup_password),
            "database": self.lookup_database,
            **({"db_schema": self.lookup_schema} if is_postgres else {}),
        }
        if self.lookup_port:
            place["port"] = number_or_variable(self.lookup_port, field="lookup_port")
        return (PostgresTargetResource if is_postgres else MySqlTargetResource)(**place)

    def flink(self) -> FlinkResource | None:
        """Return which cluster runs the job; None where something else does."""
        return self.cluster()

    def connect(self) -> KafkaConnectResource | None:
        """Return which Kafka Connect worker runs the stream; None where Flink does."""
        return None

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return what `build_cdc_definitions` returns for these attributes."""
        del context
        return build_cdc_definitions(
            streams=self.spec(),
            source=self.source(),
            target=self.target(),
            flink=self.flink(),
            connect=self.connect(),
            ledger=LedgerResource(url=text_or_variable(self.ledger_url)),
            rds=RdsResource(
                instance=text_or_variable(self.rds_instance),
                region=text_or_variable(self.rds_region),
            )
            if self.rds_instance
            else None,
            lookup=self.lookup(),
            translator=_OfComponent(self),
            source_kind=self.source_kind,
            health_interval_seconds=self.sensor_interval_seconds,
            rds_interval_seconds=self.sensor_interval_seconds,
            sensors_running=self.sensors_running,
            reconcile_cron=self.reconcile_cron,
            declare_sources=self.declare_sources,
            schema_cron=self.schema_cron,
            policy=Policy(
                on_added_column=self.on_added_column, on_other_change=self.on_other_change
            ),
        )


class _OfComponent(CdcTranslator):
    def __init__(self, component: CdcStreamComponent) -> None:
        self._component = component

    def get_asset_spec(self, props: CdcProps) -> dg.AssetSpec:
        return self._component.get_asset_spec(props)


class StreamScaffoldParams(BaseModel):
    """What `dg scaffold defs` asks for, whatever the target."""

    stream: str = Field(default="shop", description="Name of the stream.")
    tables: str = Field(default="shop.orders", description="Captured tables, comma separated.")
    server_ids: str = Field(default="5400-5409", description="Replica server ids of the readers.")
    source_host: str = Field(default="env:CDC_SOURCE_HOST", description="Production endpoint.")

    def target(self) -> Mapping[str, object]:
        """Return the attributes of the target."""
        return {}


def scaffolded(params: StreamScaffoldParams, target: Mapping[str, object]) -> Mapping[str, object]:
    """Return the attributes of a new `defs.yaml`.

    Args:
        params: What was asked for.
        target: The attributes of the target.
    """
    return {
        "stream": params.stream,
        "tables": [text.strip() for text in params.tables.split(",") if text.strip()],
        "server_ids": params.server_ids,
        "source_host": params.source_host,
        "source_username": "env:CDC_SOURCE_USER",
        "source_password": "env:CDC_SOURCE_PASSWORD",
        **target,
        "flink_rest_url": "env:FLINK_REST_URL",
        "flink_sql_gateway_url": "env:FLINK_SQL_GATEWAY_URL",
        "flink_checkpoint_directory": "env:FLINK_CHECKPOINT_DIR",
        "flink_savepoint_directory": "env:FLINK_SAVEPOINT_DIR",
        "ledger_url": "env:CDC_LEDGER_URL",
    }


class StreamScaffolder(dg.Scaffolder[StreamScaffoldParams]):
    """Writes a `defs.yaml`; subclasses say what they ask for."""

    params: ClassVar[type[StreamScaffoldParams]] = StreamScaffoldParams

    @classmethod
    def get_scaffold_params(cls) -> type[StreamScaffoldParams]:
        """Return the options."""
        return cls.params

    def scaffold(self, request: dg.ScaffoldRequest[StreamScaffoldParams]) -> None:
        """Write the file."""
        params = request.params or self.params()
        dg.scaffold_component(request, scaffolded(params, params.target()))


class MySqlTargetAttributes(TargetPassword):
    """The attributes of a component whose target is MySQL."""

    target_kind: ClassVar[TargetKind] = "mysql"

    target_host: str = Field(description=f"Host name of the target. {LINK}")
    target_port: int | str = Field(default=3306, description=f"Its TCP port. {LINK}")
    target_username: str = Field(description=f"Account that writes the target tables. {LINK}")
    target_database: str = Field(
        description="Database that holds the target tables; part of their asset keys."
    )

    @property
    def target_database_name(self) -> str:
        """Return the name that the target tables' keys carry."""
        return self.target_database

    def target(self) -> MySqlTargetResource:
        """Return where rows land."""
        return MySqlTargetResource(
            host=text_or_variable(self.target_host),
            port=number_or_variable(self.target_port, field="target_port"),
            username=text_or_variable(self.target_username),
            password=text_or_variable(self.target_password),
            database=self.target_database,
        )


class DatabaseScaffoldParams(StreamScaffoldParams):
    """What `dg scaffold defs` asks for a target that is a database on a server."""

    target_host: str = Field(default="env:CDC_TARGET_HOST", description="Target server.")
    target_database: str = Field(default="warehouse", description="Holds the target tables.")

    def target(self) -> Mapping[str, object]:
        """Return the attributes of the target."""
        return {
            "target_host": self.target_host,
            "target_username": "env:CDC_TARGET_USER",
            "target_password": "env:CDC_TARGET_PASSWORD",
            "target_database": self.target_database,
        }


class MySqlToMySqlScaffolder(StreamScaffolder):
    """Writes a `defs.yaml` that loads as it is."""

    params = DatabaseScaffoldParams


@dg.scaffold_with(MySqlToMySqlScaffolder)
class MySqlToMySqlComponent(MySqlTargetAttributes, CdcStreamComponent):
    """A MySQL change stream into MySQL that survives an RDS blue/green upgrade.

    Example:
        ```yaml
        type: cdc_assets.MySqlToMySqlComponent

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
          flink_rest_url: http://flink:8081
          flink_sql_gateway_url: http://flink:8083
          flink_checkpoint_directory: file:///state/checkpoints
          flink_savepoint_directory: file:///state/savepoints
          ledger_url: env:CDC_LEDGER_URL
          rds_instance: shop-db
          rds_region: eu-central-1
        ```
    """

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return what `dg list components` shows."""
        return dg.ComponentTypeSpec(
            description="A MySQL change stream into MySQL that survives a blue/green upgrade.",
            tags=["cdc", "flink", "mysql", "rds"],
        )
