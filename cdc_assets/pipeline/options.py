"""Options: what a pipeline may say on each way that it can run, and what becomes of the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# As Flink SQL, or handed to Flink CDC itself.
Way = Literal["sql", "native"]

_LANDS = "a captured table has one topic"
_READER = "the stream sets up its readers itself, so that a recovery can trust them"
_SPEED = "it changes speed only, and the stream has its own value"
_TOPICS = "topics are made through the brokers, not through the service's own API"
_FIXED = "the SQL of a running stream has fixed columns"

# Left out without harm; what `check` says of each.
IGNORED: Mapping[str, str] = {
    "source.scan.incremental.snapshot.chunk.size": _SPEED,
    "source.scan.snapshot.fetch.size": _SPEED,
    "source.scan.incremental.snapshot.unbounded-chunk-first.enabled": _SPEED,
    "source.scan.incremental.close-idle-reader.enabled": _SPEED,
    "source.chunk-meta.group.size": _SPEED,
    "source.connection.pool.size": _SPEED,
    "source.connect.timeout": _READER,
    "source.connect.max-retries": _READER,
    "source.heartbeat.interval": _READER,
}
IGNORED_PREFIXES: Mapping[str, str] = {"sink.aliyun.": _TOPICS}

# Why, and what to do instead.
REFUSED: Mapping[str, tuple[str, str]] = {
    "transform": (
        "a stream from a pipeline copies rows as they are",
        "Leave columns out with exclude_columns, or give a flink-cdc home and the sink kafka",
    ),
    "source.scan.newly-added-table.enabled": (
        _FIXED, "Run 'cdc-assets pipeline resolve' and take a new snapshot when tables are added",
    ),
    "source.scan.binlog.newly-added-table.enabled": (
        _FIXED, "Run 'cdc-assets pipeline resolve' and take a new snapshot when tables are added",
    ),
    "source.metadata.list": ("records hold the columns of the table only", "Take it out"),
    "source.scan.read-changelog-as-append-only.enabled": (
        "an upsert topic has tombstones for deletes", "Take it out",
    ),
    "source.scan.incremental.snapshot.backfill.skip": (_READER, "Take it out"),
    "source.scan.incremental.snapshot.chunk.key-column": (_READER, "Take it out"),
    "source.scan.startup.timestamp-millis": (
        "a stream begins with a snapshot", "Take it out; scan.startup.mode is initial",
    ),
    "sink.topic": (f"one topic for all tables: {_LANDS}", "Take it out, or name topics in route"),
    "sink.sink.tableId-to-topic.mapping": ("routes say the same", "Write it as route entries"),
    "sink.sink.custom-header": ("Flink SQL writes no such header", "Take it out"),
    "sink.properties.group.id": ("a writer has no consumer group", "Take it out"),
    "sink.properties.transactional.id": (
        "a stream has transactional ids of its own, so that a recovery finds its transactions",
        "Take it out",
    ),
    "pipeline.user-defined-function": ("only a transform calls one", "Take it out"),
    "pipeline.model": ("only a transform calls one", "Take it out"),
    "pipeline.operator.uid.prefix": ("Flink SQL names its operators by the plan", "Take it out"),
}  # fmt: skip
REFUSED_PREFIXES: Mapping[str, tuple[str, str]] = {
    "source.debezium.": (_READER, "Take it out"),
    "source.jdbc.properties.": (_READER, "Take it out"),
    "source.scan.startup.specific-offset.": (
        "a stream begins with a snapshot", "Take it out; scan.startup.mode is initial",
    ),
    "source.chunk-key.even-distribution.": (_READER, "Take it out"),
    "sink.properties.ssl.": (
        "certificates are read on Dagster's machine",
        "Take it out; give target_ca_file and target_client_pem_file to the component",
    ),
    "sink.properties.sasl.": (
        "it may hold a password",
        "Take it out; give target_username and target_password (env:NAME) to the component",
    ),
    "sink.debezium-json.": ("records hold the row as plain JSON", "Take it out"),
    "sink.canal-json.": ("records hold the row as plain JSON", "Take it out"),
}  # fmt: skip

# Taken with these values only: what the stream does anyway.
ONLY: Mapping[str, tuple[tuple[str, ...], str]] = {
    "source.scan.startup.mode": (
        ("initial",), "A stream begins with a snapshot and goes on from its own position",
    ),
    "source.schema-change.enabled": (("false",), f"Write false: {_FIXED}"),
    "source.include-comments.enabled": (("false",), "A topic has no place for comments"),
    "source.treat-tinyint1-as-boolean.enabled": (
        ("false",), "TINYINT(1) is written as a number, so that 2 stays 2",
    ),
    "source.use.legacy.json.format": (
        ("true", "false"), "JSON columns are refused by table and column",
    ),
    "source.scan.parse.online.schema.changes.enabled": (("false",), f"Write false: {_FIXED}"),
    "sink.key.format": (("json",), "Keys are JSON"),
    "sink.value.format": (
        ("json",), "Values are the row as JSON; see docs/debezium.md for change events",
    ),
    "sink.partition.strategy": (("hash-by-key",), "Kafka's producer puts a key into one partition"),
    "sink.properties.acks": (("all", "-1"), "Every record is kept by all replicas"),
    "sink.properties.enable.idempotence": (("true",), "Transactions need it"),
    "sink.sink.add-tableid-to-header-enabled": (("false",), "Flink SQL writes no such header"),
    "pipeline.schema.change.behavior": (
        ("ignore",), f"Write ignore: {_FIXED}; a changed table needs a new snapshot",
    ),
    "pipeline.execution.runtime-mode": (("streaming",), "A stream has no end"),
    "pipeline.local-time-zone": (("utc",), "Points in time are written in UTC"),
}  # fmt: skip


@dataclass(frozen=True)
class Rules:
    """What becomes of the options that the stream does not set by itself.

    Attributes:
        ignored: Left out, and why.
        ignored_prefixes: The same by the beginning of the name.
        refused: Why, and what to do instead.
        refused_prefixes: The same by the beginning of the name.
        only: Taken with some values, which the stream has anyway.
        words: Handed on with one of these values.
        passed: Handed on as they are.
    """

    ignored: Mapping[str, str]
    ignored_prefixes: Mapping[str, str]
    refused: Mapping[str, tuple[str, str]]
    refused_prefixes: Mapping[str, tuple[str, str]]
    only: Mapping[str, tuple[tuple[str, ...], str]]
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    passed: frozenset[str] = frozenset()


_NEW_TABLES = "a stream has fixed tables"
_UID = "operators are called after the stream, so that state is found again"
_NATIVE_SOURCE = frozenset(
    f"source.{name}"
    for name in (
        "scan.incremental.snapshot.chunk.size", "scan.snapshot.fetch.size",
        "scan.incremental.snapshot.unbounded-chunk-first.enabled",
        "scan.incremental.snapshot.backfill.skip", "scan.incremental.snapshot.chunk.key-column",
        "scan.incremental.close-idle-reader.enabled", "connection.pool.size",
        "chunk-meta.group.size", "chunk-key.even-distribution.factor.upper-bound",
        "chunk-key.even-distribution.factor.lower-bound", "schema-change.enabled",
        "metadata.list", "scan.parse.online.schema.changes.enabled", "include-comments.enabled",
        "treat-tinyint1-as-boolean.enabled", "use.legacy.json.format",
    )
)  # fmt: skip
SQL = Rules(IGNORED, IGNORED_PREFIXES, REFUSED, REFUSED_PREFIXES, ONLY)
NATIVE = Rules(
    ignored={name: reason for name, reason in IGNORED.items() if reason == _READER},
    ignored_prefixes=IGNORED_PREFIXES,
    refused={
        "source.scan.newly-added-table.enabled": (_NEW_TABLES, "Take it out"),
        "source.scan.binlog.newly-added-table.enabled": (_NEW_TABLES, "Take it out"),
        **{
            name: REFUSED[name]
            for name in (
                "source.scan.startup.timestamp-millis", "sink.sink.tableId-to-topic.mapping",
                "sink.properties.group.id", "sink.properties.transactional.id",
            )
        },
        "pipeline.operator.uid.prefix": (_UID, "Take it out"),
        "pipeline.schema.operator.uid": (_UID, "Take it out"),
        "pipeline.route-mode": ("each table has a route of its own", "Take it out"),
    },
    refused_prefixes={
        prefix: REFUSED_PREFIXES[prefix]
        for prefix in (
            "source.debezium.", "source.jdbc.properties.", "source.scan.startup.specific-offset.",
            "sink.properties.ssl.", "sink.properties.sasl.",
        )
    },
    only={
        name: ONLY[name]
        for name in (
            "source.scan.startup.mode", "sink.properties.acks",
            "sink.properties.enable.idempotence", "pipeline.execution.runtime-mode",
        )
    },
    words={
        "sink.value.format": ("debezium-json", "canal-json"),
        "sink.key.format": ("json", "csv"),
        "sink.partition.strategy": ("all-to-zero", "hash-by-key"),
        "pipeline.schema.change.behavior": (
            "ignore", "lenient", "try_evolve", "evolve", "exception",
        ),
    },
    passed=_NATIVE_SOURCE | {
        "sink.sink.add-tableId-to-header-enabled", "sink.sink.custom-header",
        "sink.debezium-json.include-schema.enabled",
        "pipeline.schema-operator.rpc-timeout", "pipeline.local-time-zone",
    },
)  # fmt: skip
RULES: Mapping[Way, Rules] = {"sql": SQL, "native": NATIVE}
