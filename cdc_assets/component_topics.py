"""The components of streams over topics: joins as YAML, one component type per target."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import dagster as dg
from pydantic import BaseModel, Field, field_validator

from cdc_assets.component import MySqlTargetAttributes
from cdc_assets.component_base import (
    LINK,
    FlinkType,
    JobAttributes,
    secret_by_name,
    text_or_variable,
)
from cdc_assets.component_iceberg import IcebergTargetAttributes
from cdc_assets.component_kafka import KafkaTargetAttributes
from cdc_assets.component_postgres import PostgresTargetAttributes
from cdc_assets.component_starrocks import StarRocksTargetAttributes
from cdc_assets.core.kafka import Mechanism, Protocol
from cdc_assets.core.topic_stream import TopicStreamSpec, TopicTable
from cdc_assets.errors import ConfigurationError
from cdc_assets.ledger.resource import LedgerResource
from cdc_assets.targets.resource import KafkaTargetResource, TargetResource
from cdc_assets.topic_assets import build_topic_definitions

_PLACE = {
    "target_host": "env:CDC_TARGET_HOST",
    "target_username": "env:CDC_TARGET_USER",
    "target_password": "env:CDC_TARGET_PASSWORD",
    "target_database": "warehouse",
}


class TopicStreamComponent(dg.Component, JobAttributes, dg.Resolvable):
    """What a stream over topics needs whatever its target is; subclasses add the target."""

    topics: dict[str, str] = Field(
        description="Compacted topics, by the name that queries call each; without the prefix.",
        examples=[{"order": "order_dw.order", "user": "order_dw.user"}],
    )
    topic_columns: dict[str, dict[str, FlinkType]] = Field(
        description="Columns of each topic's records, name and Flink type.",
        examples=[{"user": {"id": "BIGINT", "name": "STRING"}}],
    )
    topic_keys: dict[str, list[str]] = Field(
        description="Key columns of each topic, in key order.", examples=[{"user": ["id"]}]
    )
    rows_of: dict[str, str] = Field(
        default_factory=dict,
        description="The topic, by target table, that a result has one row for each row of, under "
        "the same key; its rows are counted then.",
        examples=[{"user_product": "order"}],
    )
    key_prefix: str = Field(
        default="key_", description="Before the names of key columns in queries."
    )
    value_prefix: str = Field(
        default="value_", description="Before the names of the other columns in queries."
    )
    topic_assets: dict[str, str] = Field(
        default_factory=dict,
        description="Asset key of a topic, its parts divided by `/`, where it is not "
        "`target/<prefix>/<topic>`.",
        examples=[{"order_dw.user": "lake/users"}],
    )
    source_bootstrap_servers: str = Field(
        description=f"Brokers, `host:port`, comma separated. {LINK}",
        examples=["kafka.example:9092"],
    )
    source_topic_prefix: str = Field(
        default="", description="Before each topic's name; part of the asset keys."
    )
    source_security_protocol: Protocol = Field(
        default="PLAINTEXT", description="`PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`."
    )
    source_sasl_mechanism: Mechanism = Field(
        default="PLAIN", description="`PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`."
    )
    source_username: str = Field(
        default="", description=f"Account that may read the topics, with SASL. {LINK}"
    )
    source_password: str = Field(
        default="",
        description="Its password, as `env:NAME` only.",
        examples=["env:CDC_SOURCE_PASSWORD"],
        repr=False,
    )
    source_ca_file: str = Field(
        default="", description="PEM file of the certificate authorities, with TLS."
    )
    source_client_pem_file: str = Field(
        default="", description="PEM file with the client's certificate and private key."
    )
    source_shaded_connector: bool = Field(
        default=False, description="True where Flink runs flink-sql-connector-kafka."
    )

    @field_validator("source_password")
    @classmethod
    def _source_password_comes_from_the_environment(cls, value: str) -> str:
        return secret_by_name(value) if value else value

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return what `dg list components` shows: the first line of the class's docstring."""
        about = (cls.__doc__ or "").partition("\n")[0]
        return dg.ComponentTypeSpec(description=about, tags=["flink", "kafka"])

    @abstractmethod
    def target(self) -> TargetResource:
        """Return where rows land."""

    def source(self) -> KafkaTargetResource:
        """Return the brokers that hold the topics."""
        return KafkaTargetResource(
            bootstrap_servers=text_or_variable(self.source_bootstrap_servers),
            topic_prefix=self.source_topic_prefix,
            security_protocol=self.source_security_protocol,
            sasl_mechanism=self.source_sasl_mechanism,
            username=text_or_variable(self.source_username),
            password=text_or_variable(self.source_password),
            ca_file=self.source_ca_file or None,
            client_pem_file=self.source_client_pem_file or None,
            shaded_connector=self.source_shaded_connector,
        )

    def spec(self) -> TopicStreamSpec:
        """Return the stream.

        Raises:
            ConfigurationError: The attributes do not make one.
        """
        for field, given in (("topic_columns", {*self.topic_columns}),
                             ("topic_keys", {*self.topic_keys})):  # fmt: skip
            for name in sorted(given ^ {*self.topics}):
                what = "is needed for each topic" if name in self.topics else "no such topic"
                raise ConfigurationError(what, field=field, value=name)
        return TopicStreamSpec(
            name=self.stream,
            tables=tuple(
                TopicTable(
                    name,
                    topic,
                    columns=tuple(self.topic_columns[name].items()),
                    key=tuple(self.topic_keys[name]),
                )
                for name, topic in self.topics.items()
            ),
            queries=self.query_specs(),
            key_prefix=self.key_prefix,
            value_prefix=self.value_prefix,
            parallelism=self.parallelism,
            checkpoint_interval_seconds=self.checkpoint_interval_seconds,
            rows_of=self.rows_of,
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return what `build_topic_definitions` returns for these attributes."""
        del context
        return build_topic_definitions(
            stream=self.spec(),
            source=self.source(),
            target=self.target(),
            flink=self.cluster(),
            ledger=LedgerResource(url=text_or_variable(self.ledger_url)),
            topic_keys={
                topic: dg.AssetKey(key.split("/")) for topic, key in self.topic_assets.items()
            },
            sensor_interval_seconds=self.sensor_interval_seconds,
            sensors_running=self.sensors_running,
            reconcile_cron=self.reconcile_cron,
        )


class TopicStreamScaffoldParams(BaseModel):
    """What `dg scaffold defs` asks for; each one is an option of the command."""

    stream: str = Field(default="joins", description="Name of the stream.")
    source_bootstrap_servers: str = Field(
        default="env:CDC_SOURCE_BOOTSTRAP_SERVERS", description="Brokers, host:port."
    )


class TopicStreamScaffolder(dg.Scaffolder[TopicStreamScaffoldParams]):
    """Writes a `defs.yaml` that loads as it is: orders with the names of their customers."""

    target: ClassVar[Mapping[str, object]] = _PLACE

    @classmethod
    def get_scaffold_params(cls) -> type[TopicStreamScaffoldParams]:
        """Return the options."""
        return TopicStreamScaffoldParams

    def scaffold(self, request: dg.ScaffoldRequest[TopicStreamScaffoldParams]) -> None:
        """Write the file."""
        params = request.params or TopicStreamScaffoldParams()
        dg.scaffold_component(request, _attributes(params, type(self).target))


class _IntoKafka(TopicStreamScaffolder):
    target: ClassVar[Mapping[str, object]] = {
        "query_columns": {"order_names": {"id": "BIGINT", "name": "STRING"}},
        "query_keys": {"order_names": ["id"]},
        "target_bootstrap_servers": "env:CDC_TARGET_BOOTSTRAP_SERVERS",
        "target_create_topics": True,
    }


class _IntoIceberg(TopicStreamScaffolder):
    target: ClassVar[Mapping[str, object]] = {
        "target_uri": "env:CDC_TARGET_URI",
        "target_database": "warehouse",
    }


def _attributes(
    params: TopicStreamScaffoldParams, target: Mapping[str, object]
) -> Mapping[str, object]:
    return {
        "stream": params.stream,
        "source_bootstrap_servers": params.source_bootstrap_servers,
        "topics": {"orders": "shop.orders", "customers": "shop.customers"},
        "topic_columns": {
            "orders": {"id": "BIGINT", "customer_id": "BIGINT"},
            "customers": {"id": "BIGINT", "name": "STRING"},
        },
        "topic_keys": {"orders": ["id"], "customers": ["id"]},
        "queries": {
            "order_names": "SELECT orders.key_id AS id, customers.value_name AS name FROM orders "
            "LEFT JOIN customers ON orders.value_customer_id = customers.key_id"
        },
        "rows_of": {"order_names": "orders"},
        **target,
        "flink_rest_url": "env:FLINK_REST_URL",
        "flink_sql_gateway_url": "env:FLINK_SQL_GATEWAY_URL",
        "flink_checkpoint_directory": "env:FLINK_CHECKPOINT_DIR",
        "flink_savepoint_directory": "env:FLINK_SAVEPOINT_DIR",
        "ledger_url": "env:CDC_LEDGER_URL",
    }


@dg.scaffold_with(TopicStreamScaffolder)
class KafkaToMySqlComponent(MySqlTargetAttributes, TopicStreamComponent):
    """Joins and aggregates over compacted topics, into MySQL.

    Key columns are called `key_...` in queries, the others `value_...`. All queries are one
    Flink job, and each topic is read once.

    Example:
        ```yaml
        type: cdc_assets.KafkaToMySqlComponent

        attributes:
          stream: joins
          source_bootstrap_servers: kafka.example:9092
          topics: {order: order_dw.order, user: order_dw.user}
          topic_columns:
            order: {id: BIGINT, product: STRING, user_id: BIGINT}
            user: {id: BIGINT, name: STRING}
          topic_keys: {order: [id], user: [id]}
          queries:
            user_product: >-
              SELECT `order`.key_id, value_product, `user`.value_name FROM `order`
              LEFT JOIN `user` ON `order`.value_user_id = `user`.key_id
          rows_of: {user_product: order}
          target_host: dw.example
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


@dg.scaffold_with(TopicStreamScaffolder)
class KafkaToPostgresComponent(PostgresTargetAttributes, TopicStreamComponent):
    """Joins and aggregates over compacted topics, into PostgreSQL."""


@dg.scaffold_with(_IntoKafka)
class KafkaToKafkaComponent(KafkaTargetAttributes, TopicStreamComponent):
    """Joins and aggregates over compacted topics, into topics."""


@dg.scaffold_with(_IntoIceberg)
class KafkaToIcebergComponent(IcebergTargetAttributes, TopicStreamComponent):
    """Joins and aggregates over compacted topics, into Iceberg."""


@dg.scaffold_with(TopicStreamScaffolder)
class KafkaToStarRocksComponent(StarRocksTargetAttributes, TopicStreamComponent):
    """Joins and aggregates over compacted topics, into StarRocks."""
