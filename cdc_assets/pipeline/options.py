"""Options: what a pipeline may say, and what becomes of what a Flink SQL stream cannot do."""

from __future__ import annotations

from collections.abc import Mapping

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
        "Leave columns out with exclude_columns, compute others in a query of the stream",
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
