"""The component of streams into Kafka."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import dagster as dg
from pydantic import Field, field_validator, model_validator

from cdc_assets.component import CdcStreamComponent, StreamScaffolder, StreamScaffoldParams
from cdc_assets.component_base import (
    LINK,
    FlinkType,
    JobAttributes,
    secret_by_name,
    text_or_variable,
    written,
)
from cdc_assets.core.kafka import DEFAULT_TRANSACTION_SECONDS, Delivery, Mechanism, Protocol
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.stream import StreamSpec, TargetKind
from cdc_assets.debezium.resource import KafkaConnectResource
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.resource import FlinkResource
from cdc_assets.targets.resource import KafkaTargetResource

_FLINK = [
    "http://flink:8081", "http://flink:8083", "file:///state/checkpoints",
    "file:///state/savepoints",
]  # fmt: skip


class KafkaTargetAttributes(JobAttributes):
    """The attributes of a component whose target is Kafka; a topic has no columns of its own."""

    target_kind: ClassVar[TargetKind] = "kafka"

    query_columns: dict[str, dict[str, FlinkType]] = Field(
        default_factory=dict,
        description="Columns of each query's topic, name and Flink type, in the query's order.",
        examples=[{"orders_by_product": {"product": "STRING", "n": "BIGINT"}}],
    )
    query_keys: dict[str, list[str]] = Field(
        default_factory=dict,
        description="Key columns of each query's topic.",
        examples=[{"orders_by_product": ["product"]}],
    )
    target_bootstrap_servers: str = Field(
        description=f"Brokers, `host:port`, comma separated. {LINK}",
        examples=["kafka.example:9092"],
    )
    target_topic_prefix: str = Field(
        default="", description="Before each topic's name; part of the asset keys."
    )
    target_security_protocol: Protocol = Field(
        default="PLAINTEXT", description="`PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`."
    )
    target_sasl_mechanism: Mechanism = Field(
        default="PLAIN", description="`PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`."
    )
    target_username: str = Field(default="", description=f"Account, with SASL. {LINK}")
    target_password: str = Field(
        default="",
        description="Its password, as `env:NAME` only.",
        examples=["env:CDC_TARGET_PASSWORD"],
        repr=False,
    )
    target_ca_file: str = Field(
        default="", description="PEM file of the certificate authorities, with TLS."
    )
    target_client_pem_file: str = Field(
        default="", description="PEM file with the client's certificate and private key."
    )
    target_delivery: Delivery = Field(
        default="exactly-once",
        description="`exactly-once` (in transactions, seen with each checkpoint) or "
        "`at-least-once`.",
    )
    target_transaction_timeout_seconds: float = Field(
        default=DEFAULT_TRANSACTION_SECONDS,
        description="At most the brokers' transaction.max.timeout.ms, and longer than a recovery.",
    )
    target_create_topics: bool = Field(
        default=False, description="Whether a snapshot makes missing topics, compacted."
    )
    target_partitions: int | None = Field(default=None, description="Of new topics.")
    target_replication_factor: int | None = Field(default=None, description="Of new topics.")
    target_topic_settings: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="More settings of new topics."
    )
    target_producer_properties: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="More properties of Flink's producer."
    )
    target_shaded_connector: bool = Field(
        default=False, description="True where Flink runs flink-sql-connector-kafka."
    )

    @field_validator("target_password")
    @classmethod
    def _target_password_comes_from_the_environment(cls, value: str) -> str:
        return secret_by_name(value) if value else value

    @property
    def target_database_name(self) -> str:
        """Return the prefix of the topics."""
        return self.target_topic_prefix

    def query_specs(self) -> tuple[QuerySpec, ...]:
        """Return the queries with their declared columns and keys."""
        for name in (*self.query_columns, *self.query_keys):
            if name not in self.queries:
                raise ConfigurationError("no such query", field="query_columns", value=name)
        return tuple(
            QuerySpec(
                name,
                sql,
                columns=tuple(self.query_columns.get(name, {}).items()),
                key=tuple(self.query_keys.get(name, ())),
            )
            for name, sql in self.queries.items()
        )

    def target(self) -> KafkaTargetResource:
        """Return where rows land."""
        return KafkaTargetResource(
            bootstrap_servers=text_or_variable(self.target_bootstrap_servers),
            topic_prefix=self.target_topic_prefix,
            security_protocol=self.target_security_protocol,
            sasl_mechanism=self.target_sasl_mechanism,
            username=text_or_variable(self.target_username),
            password=text_or_variable(self.target_password),
            ca_file=self.target_ca_file or None,
            client_pem_file=self.target_client_pem_file or None,
            delivery=self.target_delivery,
            transaction_timeout_seconds=self.target_transaction_timeout_seconds,
            create_topics=self.target_create_topics,
            partitions=self.target_partitions,
            replication_factor=self.target_replication_factor,
            topic_settings={k: written(v) for k, v in self.target_topic_settings.items()},
            producer_properties={k: written(v) for k, v in self.target_producer_properties.items()},
            shaded_connector=self.target_shaded_connector,
        )


class MySqlToKafkaScaffoldParams(StreamScaffoldParams):
    """What `dg scaffold defs` asks for; each one is an option of the command."""

    target_bootstrap_servers: str = Field(
        default="env:CDC_TARGET_BOOTSTRAP_SERVERS", description="Brokers, host:port."
    )

    def target(self) -> Mapping[str, object]:
        """Return the attributes of the target."""
        return {
            "target_bootstrap_servers": self.target_bootstrap_servers,
            "target_create_topics": True,
        }


class MySqlToKafkaScaffolder(StreamScaffolder):
    """Writes a `defs.yaml` that loads as it is."""

    params = MySqlToKafkaScaffoldParams


@dg.scaffold_with(MySqlToKafkaScaffolder)
class MySqlToKafkaComponent(KafkaTargetAttributes, CdcStreamComponent):
    """A MySQL change stream into compacted Kafka topics, one for each table.

    A table's topic is `database.table` after the prefix, or the name after the colon.

    Example:
        ```yaml
        type: cdc_assets.MySqlToKafkaComponent

        attributes:
          stream: shop
          tables: [shop.orders, "shop.customers:customers"]
          server_ids: 5400-5409
          source_host: db.example
          source_username: cdc
          source_password: env:CDC_SOURCE_PASSWORD
          target_bootstrap_servers: kafka.example:9093
          target_security_protocol: SASL_SSL
          target_username: writer
          target_password: env:CDC_TARGET_PASSWORD
          target_create_topics: true
          flink_rest_url: http://flink:8081
          flink_sql_gateway_url: http://flink:8083
          flink_checkpoint_directory: file:///state/checkpoints
          flink_savepoint_directory: file:///state/savepoints
          ledger_url: env:CDC_LEDGER_URL
          rds_instance: shop-db
          rds_region: eu-central-1
        ```
    """

    flink_rest_url: str = Field(
        default="", description=f"Address of Flink's job manager. {LINK}", examples=_FLINK[:1]
    )
    flink_sql_gateway_url: str = Field(
        default="", description=f"Address of Flink's SQL gateway. {LINK}", examples=_FLINK[1:2]
    )
    flink_checkpoint_directory: str = Field(
        default="", description=f"Folder of the checkpoints as a URL. {LINK}", examples=_FLINK[2:3]
    )
    flink_savepoint_directory: str = Field(
        default="", description=f"Folder of the savepoints as a URL. {LINK}", examples=_FLINK[3:]
    )
    connect_rest_url: str = Field(
        default="",
        description="Address of a Kafka Connect worker, which runs Debezium's connector in Flink's "
        f"place. {LINK}",
        examples=["http://connect:8083"],
    )
    connect_history_directory: str = Field(
        default="",
        description="Folder on the worker's machine for the connectors' schema histories. " + LINK,
        examples=["/var/lib/cdc"],
    )
    connect_password_reference: str = Field(
        default="",
        description="How the worker's own config provider finds the source's password; without it "
        "Connect's REST shows the password.",
        examples=["${file:/etc/cdc.properties:password}"],
    )
    latest_values_only: bool = Field(
        default=False,
        description="Whether a filtered topic may get the last value of a key only, of those "
        "within a second; any filter is taken then.",
    )

    @model_validator(mode="after")
    def _flink_or_connect_runs_it(self) -> MySqlToKafkaComponent:
        flink = self._flink_settings()
        worker = {
            "connect_rest_url": self.connect_rest_url,
            "connect_history_directory": self.connect_history_directory,
        }
        by_connect = any(worker.values())
        if by_connect and any(flink.values()):
            message = "Flink or Kafka Connect runs the stream: leave flink_* or connect_* out"
            raise ValueError(message)
        missing = [name for name, value in (worker if by_connect else flink).items() if not value]
        if missing:
            message = f"{', '.join(missing)} is needed"
            raise ValueError(message)
        return self

    def _flink_settings(self) -> Mapping[str, str]:
        """Return what Flink needs to run the stream."""
        return {
            "flink_rest_url": self.flink_rest_url,
            "flink_sql_gateway_url": self.flink_sql_gateway_url,
            "flink_checkpoint_directory": self.flink_checkpoint_directory,
            "flink_savepoint_directory": self.flink_savepoint_directory,
        }

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return what `dg list components` shows."""
        return dg.ComponentTypeSpec(
            description="A MySQL change stream into compacted Kafka topics.",
            tags=["cdc", "flink", "kafka", "mysql", "rds"],
        )

    def spec(self) -> StreamSpec:
        """Return the stream.

        Raises:
            ConfigurationError: The attributes do not make one.
        """
        return replace(super().spec(), latest_values_only=self.latest_values_only)

    def flink(self) -> FlinkResource | None:
        """Return which cluster runs the job; None where a worker does."""
        return None if self.connect_rest_url else super().flink()

    def connect(self) -> KafkaConnectResource | None:
        """Return which Kafka Connect worker runs the stream; None where Flink does."""
        if not self.connect_rest_url:
            return None
        return KafkaConnectResource(
            rest_url=text_or_variable(self.connect_rest_url),
            history_directory=text_or_variable(self.connect_history_directory),
            source_password_reference=self.connect_password_reference,
        )
