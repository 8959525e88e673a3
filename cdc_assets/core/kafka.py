"""Kafka: how a cluster is reached, and what a topic may be called. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from cdc_assets.errors import ConfigurationError

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
Delivery = Literal["exactly-once", "at-least-once"]

# What brokers allow unless they are told otherwise (`transaction.max.timeout.ms`).
DEFAULT_TRANSACTION_SECONDS = 900.0
# Begins every transactional id of the package, so that one ACL covers them.
TRANSACTIONAL_ID_PREFIX = "cdc-"
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_SERVER = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s,:/\[\]]+):[0-9]{1,5}")


@dataclass(frozen=True)
class KafkaAccess:
    """How to reach a cluster and log in; certificates and keys as PEM text.

    Attributes:
        servers: `host:port`, comma separated.
        protocol: How connections are made.
        mechanism: With SASL, how the account proves itself.
        username: With SASL.
        password: Kept out of `repr`.
        ca: Certificate authorities; empty for those of the machine.
        certificate: Of the client, with its chain; empty without one.
        key: The client's private key, PKCS#8, not encrypted; kept out of `repr`.
    """

    servers: str
    protocol: Protocol = "PLAINTEXT"
    mechanism: Mechanism = "PLAIN"
    username: str = ""
    password: str = field(default="", repr=False)
    ca: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        """Refuse what no client could use."""
        parts = [part.strip() for part in self.servers.split(",")]
        if not all(_SERVER.fullmatch(part) for part in parts):
            raise ConfigurationError(
                "write it as host:port, several comma separated",
                field="bootstrap_servers",
                value=self.servers,
            )
        if self.has_sasl and not (self.username and self.password):
            raise ConfigurationError(
                f"{self.protocol} needs a user name and a password", field="username"
            )
        if bool(self.certificate) != bool(self.key):
            raise ConfigurationError(
                "a client certificate and its private key come together", field="client_pem_file"
            )

    @property
    def has_sasl(self) -> bool:
        """Return whether an account logs in."""
        return self.protocol.startswith("SASL")

    @property
    def has_tls(self) -> bool:
        """Return whether connections are encrypted."""
        return self.protocol.endswith("SSL")


def topic_of(prefix: str, name: str) -> str:
    """Return the topic of a target name.

    Raises:
        ConfigurationError: Kafka does not take the name.

    Example:
        >>> topic_of("lab.", "shop.orders")
        'lab.shop.orders'
    """
    topic = f"{prefix}{name}"
    if not _TOPIC.fullmatch(topic) or topic in {".", ".."}:
        raise ConfigurationError(
            "Kafka takes letters, digits, '.', '_' and '-', at most 249",
            field="topic",
            value=topic,
            hint="Name the topic yourself: database.table:topic",
        )
    return topic


def jaas_text(value: str) -> str:
    """Return a quoted value for a JAAS configuration."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def transactional_id(stream: str, topic: str, job_id: str) -> str:
    """Return what the transactional ids of one job's writer to one topic begin with.

    A writer that begins without state tries all ids with its prefix from checkpoint 1 on,
    each a request, so a new beginning needs a new prefix: the id of its job. A writer that
    goes on from state ends the transactions that are open under its own prefix and under the
    one in the state; with the id of the job that left the state, it meets every launch that
    went on from there before it.
    """
    return f"{TRANSACTIONAL_ID_PREFIX}{stream}-{topic}-{job_id}"
