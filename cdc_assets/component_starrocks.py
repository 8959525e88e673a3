"""MySqlToStarRocksComponent: a stream into StarRocks as YAML."""

from __future__ import annotations

from typing import ClassVar

import dagster as dg
from pydantic import Field

from cdc_assets.component import CdcStreamComponent, DatabaseScaffoldParams, StreamScaffolder
from cdc_assets.component_base import (
    LINK,
    TargetPassword,
    number_or_variable,
    text_or_variable,
    written,
)
from cdc_assets.core.starrocks import Delivery, LoadFormat
from cdc_assets.core.stream import TargetKind
from cdc_assets.targets.resource import StarRocksTargetResource


class StarRocksTargetAttributes(TargetPassword):
    """The attributes of a component whose target is StarRocks."""

    target_kind: ClassVar[TargetKind] = "starrocks"

    target_host: str = Field(
        description=f"Host name of a front end. {LINK}", examples=["fe.example"]
    )
    target_query_port: int | str = Field(default=9030, description=f"Its MySQL port. {LINK}")
    target_http_port: int | str = Field(
        default=8030, description=f"Its HTTP port, which loads go to. {LINK}"
    )
    target_username: str = Field(description=f"Account that loads the target tables. {LINK}")
    target_database: str = Field(
        description="Database that holds the target tables; part of their asset keys."
    )
    target_delivery: Delivery = Field(
        default="at-least-once",
        description="`exactly-once` is for streams with queries: rows then become visible with "
        "Flink's checkpoints.",
    )
    target_load_format: LoadFormat = Field(
        default="json", description="`json`, or `csv`, which is smaller and escapes nothing."
    )
    # Dagster turns a text of digits into a number.
    target_sink_options: dict[str, dict[str, str | int | float | bool]] = Field(
        default_factory=dict,
        description="More options of StarRocks' connector, by target table; `*` is for all.",
        examples=[{"orders": {"sink.buffer-flush.interval-ms": "5000"}}],
    )

    @property
    def target_database_name(self) -> str:
        """Return the name that the target tables' keys carry."""
        return self.target_database

    def target(self) -> StarRocksTargetResource:
        """Return where rows land."""
        return StarRocksTargetResource(
            host=text_or_variable(self.target_host),
            query_port=number_or_variable(self.target_query_port, field="target_query_port"),
            http_port=number_or_variable(self.target_http_port, field="target_http_port"),
            username=text_or_variable(self.target_username),
            password=text_or_variable(self.target_password),
            database=self.target_database,
            delivery=self.target_delivery,
            load_format=self.target_load_format,
            sink_options={
                table: {name: written(value) for name, value in options.items()}
                for table, options in self.target_sink_options.items()
            },
        )


class MySqlToStarRocksScaffoldParams(DatabaseScaffoldParams):
    """What `dg scaffold defs` asks for; each one is an option of the command."""

    target_host: str = Field(default="env:CDC_TARGET_HOST", description="A front end.")


class MySqlToStarRocksScaffolder(StreamScaffolder):
    """Writes a `defs.yaml` that loads as it is."""

    params = MySqlToStarRocksScaffoldParams


@dg.scaffold_with(MySqlToStarRocksScaffolder)
class MySqlToStarRocksComponent(StarRocksTargetAttributes, CdcStreamComponent):
    """A MySQL change stream into StarRocks that survives an RDS blue/green upgrade.

    Example:
        ```yaml
        type: cdc_assets.MySqlToStarRocksComponent

        attributes:
          stream: shop
          tables: [shop.orders, "shop.customers:customer"]
          server_ids: 5400-5409
          source_host: db.example
          source_username: cdc
          source_password: env:CDC_SOURCE_PASSWORD
          target_host: fe.example
          target_username: writer
          target_password: env:CDC_TARGET_PASSWORD
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
            description="A MySQL change stream into StarRocks that survives a blue/green upgrade.",
            tags=["cdc", "flink", "mysql", "starrocks", "rds"],
        )
