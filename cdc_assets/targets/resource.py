"""The resources of the targets, one for each kind."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
from pydantic import Field

from cdc_assets.core import starrocks
from cdc_assets.core.iceberg import CatalogKind, IcebergCatalog, pairs_of
from cdc_assets.core.kafka import (
    DEFAULT_TRANSACTION_SECONDS,
    Delivery,
    KafkaAccess,
    Mechanism,
    Protocol,
    jaas_text,
)
from cdc_assets.core.stream import TargetKind
from cdc_assets.errors import ConfigurationError
from cdc_assets.ports import JudgedTarget, Server
from cdc_assets.targets.iceberg import IcebergTarget
from cdc_assets.targets.kafka import KafkaTarget, TopicPolicy
from cdc_assets.targets.kafka_client import KafkaClient
from cdc_assets.targets.mysql import MySqlTarget, Tls
from cdc_assets.targets.postgres import PostgresTarget
from cdc_assets.targets.postgres_session import PostgresLogin
from cdc_assets.targets.starrocks import StarRocksLogin, StarRocksTarget

_PEM = re.compile(r"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----\n?", re.DOTALL)


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


class KafkaTargetResource(TargetResource):
    """Compacted topics that rows land in, one for each table.

    Example:
        >>> KafkaTargetResource(
        ...     bootstrap_servers="kafka.example:9093",
        ...     security_protocol="SASL_SSL",
        ...     username="writer",
        ...     password=dg.EnvVar("CDC_TARGET_PASSWORD"),
        ... ).delivery
        'exactly-once'
    """

    kind: ClassVar[TargetKind] = "kafka"

    bootstrap_servers: str = Field(description="Brokers, `host:port`, comma separated.")
    topic_prefix: str = Field(
        default="", description="Before each topic's name, which is `database.table` by default."
    )
    security_protocol: Protocol = Field(
        default="PLAINTEXT", description="`PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`."
    )
    sasl_mechanism: Mechanism = Field(
        default="PLAIN", description="`PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`, with SASL."
    )
    username: str = Field(default="", description="Account, with SASL.")
    password: str = Field(default="", description="Its password; give it as EnvVar.", repr=False)
    ca_file: str | None = Field(
        default=None, description="PEM file of the certificate authorities, with TLS."
    )
    client_pem_file: str | None = Field(
        default=None,
        description="PEM file with the client's certificate and its private key (PKCS#8, not "
        "encrypted), where the brokers ask for one.",
    )
    delivery: Delivery = Field(
        default="exactly-once",
        description="`exactly-once` shows records with each checkpoint to readers of committed "
        "records; `at-least-once` shows them at once and may repeat some.",
    )
    transaction_timeout_seconds: float = Field(
        default=DEFAULT_TRANSACTION_SECONDS,
        gt=0,
        description="When brokers give up a transaction that is left open. Must be longer than a "
        "recovery takes, and at most their `transaction.max.timeout.ms`.",
    )
    create_topics: bool = Field(
        default=False, description="Whether a snapshot makes missing topics, compacted."
    )
    partitions: int | None = Field(
        default=None, gt=0, description="Of new topics; the brokers' default where it is left out."
    )
    replication_factor: int | None = Field(
        default=None, gt=0, description="Of new topics; the brokers' default where it is left out."
    )
    topic_settings: Mapping[str, str] = Field(
        default_factory=dict[str, str], description="More settings of new topics."
    )
    producer_properties: Mapping[str, str] = Field(
        default_factory=dict[str, str],
        description="More properties of Flink's producer, such as `compression.type`.",
    )
    shaded_connector: bool = Field(
        default=False,
        description="True where Flink runs `flink-sql-connector-kafka`, which renames the classes "
        "of Kafka's client.",
    )
    connect_timeout_seconds: float = Field(
        default=5.0, gt=0, description="How long a connection may take."
    )
    read_timeout_seconds: float = Field(
        default=10.0, gt=0, description="How long an answer may take, row counts aside."
    )

    @property
    def namespace(self) -> str:
        """Return the prefix of the topics."""
        return self.topic_prefix

    def secret_values(self) -> Sequence[str]:
        """Return the password, also as Flink is told it, and the private key."""
        told = jaas_text(self.password)[1:-1]
        texts = dict.fromkeys((self.password, told, self.access().key))
        return tuple(text for text in texts if text)

    def access(self) -> KafkaAccess:
        """Return cluster and account, with the files' texts.

        Raises:
            ConfigurationError: A file cannot be read, or the settings do not fit together.
        """
        client = _text_of("client_pem_file", self.client_pem_file)
        certificates, key = _parted(client)
        return KafkaAccess(
            servers=self.bootstrap_servers,
            protocol=self.security_protocol,
            mechanism=self.sasl_mechanism,
            username=self.username,
            password=self.password,
            ca=_text_of("ca_file", self.ca_file),
            certificate=certificates,
            key=key,
        )

    def get_client(self) -> KafkaTarget:
        """Return the target; nothing is opened before its first use."""
        policy = TopicPolicy(
            creates=self.create_topics,
            partitions=self.partitions,
            replication=self.replication_factor,
            settings=self.topic_settings,
            delivery=self.delivery,
            transaction_seconds=self.transaction_timeout_seconds,
        )
        client = KafkaClient(self.access(), self.connect_timeout_seconds, self.read_timeout_seconds)
        return KafkaTarget(client, self.topic_prefix, policy=policy)


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
    delivery: starrocks.Delivery = Field(
        default="at-least-once",
        description="`exactly-once` is for streams with queries: rows then become visible with "
        "Flink's checkpoints.",
    )
    load_format: starrocks.LoadFormat = Field(
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


def _text_of(field: str, path: str | None) -> str:
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not PEM text"
        raise ConfigurationError(f"cannot be read: {reason}", field=field, value=path) from None


def _parted(text: str) -> tuple[str, str]:
    """Return the certificates and the private key of a PEM file."""
    blocks = _PEM.findall(text)
    keys = [block for block in blocks if "PRIVATE KEY-----" in block]
    return "".join(block for block in blocks if block not in keys), "".join(keys)
