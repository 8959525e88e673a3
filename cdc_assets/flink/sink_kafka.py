"""The Kafka sink: compacted topics of JSON records, one record for each change. Pure.

The readers' key is the sink's key, so the planner drops the old half of an update before
the writer (`DropUpdateBefore`): no tombstone between two values, and no buffer that would
have to swallow it, and intermediate values with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.kafka import (
    DEFAULT_TRANSACTION_SECONDS,
    Delivery,
    KafkaAccess,
    jaas_text,
    topic_of,
    transactional_id,
)
from cdc_assets.core.stream import StreamSpec
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.sinks import JOB_ID

_LOGIN_MODULES = {"PLAIN": "plain.PlainLoginModule"}
_SCRAM_MODULE = "scram.ScramLoginModule"
# The connector's jar for SQL holds Kafka's client under names of its own; Flink CDC's connector,
# too: under the same ones since 3.3, under others before.
SHADED = "org.apache.flink.kafka.shaded."
CDC_SHADED = "org.apache.flink.cdc.connectors.kafka.shaded."
_JAAS, _KEY = "properties.sasl.jaas.config", "properties.ssl.keystore.key"
# These belong to what is proved; a stream that sets them otherwise is another one.
_OWN = frozenset({
    "acks", "bootstrap.servers", "enable.idempotence", "sasl.jaas.config", "sasl.mechanism",
    "security.protocol", "transaction.timeout.ms", "transactional.id",
})  # fmt: skip


@dataclass(frozen=True)
class KafkaSink:
    """`upsert-kafka` into topics with a prefix.

    Attributes:
        access: Cluster and account.
        prefix: Before each topic's name.
        delivery: `exactly-once` writes in transactions that end with each checkpoint.
        transaction_seconds: After which the broker gives up a transaction that is left open.
        properties: More properties of the producer.
        shaded_as: What the connector's jar puts before the names of Kafka's classes, if it
            renames them.
    """

    access: KafkaAccess
    prefix: str = ""
    delivery: Delivery = "exactly-once"
    transaction_seconds: float = DEFAULT_TRANSACTION_SECONDS
    properties: Mapping[str, str] = field(default_factory=dict[str, str])
    shaded_as: str = ""

    def __post_init__(self) -> None:
        """Refuse properties that the stream sets itself."""
        clash = sorted(_OWN & set(self.properties))
        if clash:
            raise ConfigurationError(
                "the stream sets it itself", field="producer_properties", value=clash
            )

    @property
    def secrets(self) -> Sequence[tuple[str, str]]:
        """Return the options that hold a password or a private key."""
        security = self._security()
        return tuple((name, security[name]) for name in (_JAAS, _KEY) if name in security)

    @property
    def has_columns(self) -> bool:
        """Return that a topic has none."""
        return False

    def options(self, spec: StreamSpec, name: str) -> Mapping[str, str]:
        """Return the options of a topic's DDL."""
        topic = topic_of(self.prefix, name)
        return {
            "connector": "upsert-kafka",
            "topic": topic,
            **self.producer_options(),
            **_json("key"),
            **_json("value"),
            "value.fields-include": "ALL",
            "sink.delivery-guarantee": self.delivery,
            **(_buffer(spec) if spec.latest_values_only and spec.is_filtered(name) else {}),
            **(self._transactions(spec, topic) if self.delivery == "exactly-once" else {}),
        }

    def producer_options(self) -> Mapping[str, str]:
        """Return brokers, login and more properties of the producer."""
        return {
            "properties.bootstrap.servers": self.access.servers,
            **self._security(),
            **{f"properties.{key}": value for key, value in self.properties.items()},
        }

    def reading(self, name: str) -> Mapping[str, str]:
        """Return the options of a table that reads a topic from its beginning.

        Flink reads records of transactions that were given up unless it is told not to.
        """
        return {
            "connector": "upsert-kafka",
            "topic": topic_of(self.prefix, name),
            "properties.bootstrap.servers": self.access.servers,
            **self._security(),
            "properties.isolation.level": "read_committed",
            "key.format": "json",
            "value.format": "json",
            "value.fields-include": "ALL",
        }

    def checked_column(self, name: str, *, field: str) -> str:  # noqa: ARG002 - of the protocol
        """Return the name: a JSON object takes any."""
        return name

    def query_type(self, shape: TableShape, column: Column) -> NoReturn:
        """Refuse: a topic has no columns to look at, so queries declare theirs."""
        raise ConfigurationError("a topic has no columns", field=shape.label, value=column.name)

    def _transactions(self, spec: StreamSpec, topic: str) -> Mapping[str, str]:
        return {
            "sink.transactional-id-prefix": transactional_id(spec.name, topic, JOB_ID),
            "properties.transaction.timeout.ms": str(round(self.transaction_seconds * 1000)),
        }

    def _security(self) -> Mapping[str, str]:
        access = self.access
        if access.protocol == "PLAINTEXT":
            return {}
        options = {"properties.security.protocol": access.protocol}
        if access.has_sasl:
            options["properties.sasl.mechanism"] = access.mechanism
            options[_JAAS] = self._jaas()
        # As text, so that Flink's machines need no files.
        if access.has_tls and access.ca:
            options["properties.ssl.truststore.type"] = "PEM"
            options["properties.ssl.truststore.certificates"] = access.ca
        if access.has_tls and access.key:
            options["properties.ssl.keystore.type"] = "PEM"
            options["properties.ssl.keystore.certificate.chain"] = access.certificate
            options[_KEY] = access.key
        return options

    def _jaas(self) -> str:
        access = self.access
        module = _LOGIN_MODULES.get(access.mechanism, _SCRAM_MODULE)
        package = f"{self.shaded_as}org.apache.kafka.common.security"
        user, password = jaas_text(access.username), jaas_text(access.password)
        return f"{package}.{module} required username={user} password={password};"


def _buffer(spec: StreamSpec) -> Mapping[str, str]:
    """Return what makes one record of the two halves of an update.

    The writer's timer does not come in between (ReducingUpsertWriter), a full buffer would.
    """
    return {
        "sink.buffer-flush.max-rows": str(2**31 - 1),
        "sink.buffer-flush.interval": f"{round(spec.flush_interval_seconds * 1000)}ms",
    }


def _json(part: str) -> Mapping[str, str]:
    # Without it 100.00 is written as 1E+2.
    return {f"{part}.format": "json", f"{part}.json.encode.decimal-as-plain-number": "true"}
