"""PipelineConfig: a pipeline definition file, checked. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cdc_assets.core.native_pipeline import NativePipeline
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import MAX_PARALLELISM
from cdc_assets.core.table_patterns import TablePattern
from cdc_assets.pipeline.document import Value, read_document
from cdc_assets.pipeline.native import NATIVE_PARTS, Transforms, native_parts
from cdc_assets.pipeline.options import Way
from cdc_assets.pipeline.reading import Note, Reading, Setting, patterns_of, said, scalar

__all__ = ["Note", "PipelineConfig", "Route", "Setting", "parse_pipeline"]

_MAX_PORT = 65535
_MAX_NAME = 200
_VARIABLE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")
_PROPERTY = "properties."
_SERVERS = "properties.bootstrap.servers"
_PARTS = ("source", "sink", "route", "pipeline")
_ROUTE = ("source-table", "sink-table", "replace-symbol", "description")
_SINKS = ("upsert-kafka", "kafka")


@dataclass(frozen=True)
class Route:
    """Which topic some tables have.

    Attributes:
        patterns: The tables.
        topic: The topic; with a symbol, the form of each one's topic.
        symbol: Replaced by the table's name, empty for none.
        origin: Where the route stands.
    """

    patterns: tuple[TablePattern, ...]
    topic: str
    symbol: str
    origin: Value

    def topic_of(self, table: str) -> str:
        """Return the topic of a table."""
        return self.topic.replace(self.symbol, table) if self.symbol else self.topic


@dataclass(frozen=True)
class PipelineConfig:
    """The whole file.

    Attributes:
        file: Its name.
        way: How it runs.
        name: Of the pipeline, empty without one.
        host: Of the source.
        port: Of the source; empty text for the default.
        username: Of the source's account.
        password: Of the source's account.
        time_zone: Of the source's server.
        tables: Patterns of the captured tables.
        excluded: Patterns of tables that are left out.
        tables_at: Where the patterns stand.
        server_ids: Of the readers; None where the file has none.
        servers: Brokers.
        security: `protocol` and `mechanism`, as far as the file has them.
        transaction_seconds: Of the writer's transactions, None for the default.
        delivery: None for the default.
        properties: More properties of the producer.
        topic: Of all tables together, empty where each has its own.
        routes: In the file's order.
        parallelism: None where the file has none.
        native: What Flink CDC itself is asked for, where it runs the file.
        transforms: The tables of each transform.
        notes: What is left out.
    """

    file: str
    way: Way
    name: str
    host: Setting
    port: Setting | None
    username: Setting
    password: Setting
    time_zone: str
    tables: tuple[TablePattern, ...]
    excluded: tuple[TablePattern, ...]
    tables_at: Value
    server_ids: ServerIdRange | None
    servers: Setting
    security: Mapping[str, str]
    transaction_seconds: float | None
    delivery: str | None
    properties: Mapping[str, str]
    topic: str
    routes: tuple[Route, ...]
    parallelism: int | None
    native: NativePipeline
    transforms: Transforms
    notes: tuple[Note, ...]

    @property
    def is_native(self) -> bool:
        """Return whether Flink CDC itself runs the file."""
        return self.way == "native"

    @property
    def open_settings(self) -> tuple[Setting, ...]:
        """Return what must be filled in beside the file."""
        wanted = (self.host, self.port, self.username, self.password, self.servers)
        return tuple(each for each in wanted if each is not None and each.is_open)

    @property
    def is_plain(self) -> bool:
        """Return whether the file names each table, so that nothing is to be looked up."""
        return all(each.is_plain for each in self.tables) and not self.excluded


def parse_pipeline(content: bytes, *, file: str, has_home: bool = False) -> PipelineConfig:
    """Read a pipeline definition.

    Args:
        content: Of the file.
        file: Its name.
        has_home: Whether there is a Flink CDC that can run it. The file's sink says whether it
            does: `upsert-kafka`, and `kafka` with rows as plain JSON, only Flink SQL can write.

    Raises:
        ConfigurationError: It is malformed, or asks for what cannot be done on its way; says
            option, line and column.
    """
    root = read_document(content, file=file)
    sink = root.entries().get("sink")
    reading = Reading(root, _way(sink) if has_home and sink is not None else "sql")
    is_native = reading.way == "native"
    reading.refuse_unknown(root, "", (*_PARTS, *(NATIVE_PARTS if is_native else ())))
    source, sink = reading.needed(root, "source"), reading.needed(root, "sink")
    if has_home and not is_native:
        kind = reading.needed(sink, "type")
        reason = "is written by Flink SQL, not by Flink CDC: the flink-cdc home is not used"
        reading.notes.append(Note(kind.place, "sink.type", f"{kind.raw} {reason}"))
    pipeline = root.entries().get("pipeline")
    routes = root.entries().get("route")
    return _whole(reading, source, sink, _routes(reading, routes), pipeline)


def _way(sink: Value) -> Way:
    entries = sink.entries()
    kind, form = (entries.get(name) for name in ("type", "value.format"))
    is_kafka = kind is not None and isinstance(kind.raw, str) and kind.raw.lower() == "kafka"
    is_plain = form is not None and isinstance(form.raw, str) and form.raw.lower() == "json"
    return "native" if is_kafka and not is_plain else "sql"


_SOURCE = ("type", "name", "hostname", "port", "username", "password", "tables",
           "tables.exclude", "server-id", "server-time-zone")  # fmt: skip
_SINK = ("type", "name", _SERVERS, "properties.security.protocol", "properties.sasl.mechanism",
         "properties.transaction.timeout.ms", "sink.delivery-guarantee")  # fmt: skip
_NATIVE_SINK = ("topic", "include.schema.changes", "exclude.schema.changes")
_PIPELINE = ("name", "parallelism")
_NATIVE_PIPELINE = ("user-defined-function", "model")


def _whole(
    reading: Reading,
    source: Value,
    sink: Value,
    routes: tuple[Route, ...],
    pipeline: Value | None,
) -> PipelineConfig:
    kind = reading.needed(source, "type")
    if kind.text().lower() != "mysql":
        raise kind.refused("only mysql can be read", show=kind.raw)
    reading.refuse_unknown(source, "source", _SOURCE)
    password = reading.open(source, "password")
    if not password.is_open and not _VARIABLE.fullmatch(password.text):
        raise password.origin.refused("write it as env:NAME, a secret does not belong in a file")
    tables = reading.needed(source, "tables")
    excluded = source.entries().get("tables.exclude")
    ids = reading.maybe_open(source, "server-id")
    zone = source.entries().get("server-time-zone")
    port = reading.maybe_open(source, "port")
    if port is not None and not port.is_open and not port.text.startswith("env:"):
        port.origin.integer(1, _MAX_PORT)
    properties = _sink_properties(reading, sink)
    name, parallelism = _pipeline(reading, pipeline)
    native, transforms = native_parts(reading)
    topic = sink.entries().get("topic")
    if topic is not None and routes:
        raise topic.refused("the file has routes, too", hint="Take out one of the two")
    return PipelineConfig(
        file=reading.root.file,
        way=reading.way,
        name=name,
        host=reading.open(source, "hostname"),
        port=port,
        username=reading.open(source, "username"),
        password=password,
        time_zone="UTC" if zone is None else zone.text(),
        tables=patterns_of(tables),
        excluded=() if excluded is None else patterns_of(excluded),
        tables_at=tables,
        server_ids=None
        if ids is None or ids.is_open
        else said(ids.origin, lambda: ServerIdRange.parse(ids.text)),
        servers=reading.open(sink, _SERVERS),
        security=_security(sink),
        transaction_seconds=_milliseconds(sink.entries().get("properties.transaction.timeout.ms")),
        delivery=_delivery(reading, sink.entries().get("sink.delivery-guarantee")),
        properties=properties,
        topic="" if topic is None else topic.text().strip(),
        routes=routes,
        parallelism=parallelism,
        native=native,
        transforms=transforms,
        notes=tuple(reading.notes),
    )


def _sink_properties(reading: Reading, sink: Value) -> Mapping[str, str]:
    is_native = reading.way == "native"
    kind = reading.needed(sink, "type")
    if kind.text().lower() not in _SINKS:
        raise kind.refused(f"only {' and '.join(_SINKS)} can be written", show=kind.raw)
    if kind.text().lower() == "kafka" and "value.format" not in sink.entries() and not is_native:
        raise kind.refused(
            "cannot be done: without value.format this sink writes Debezium's change events",
            hint="Use upsert-kafka, or add 'value.format: json' for rows as plain JSON; change "
            "events are written where a flink-cdc home is given",
        )
    properties: dict[str, str] = {}
    known = [*_SINK, *(_NATIVE_SINK if is_native else ())]
    for key, value in sink.entries().items():
        if key.startswith(_PROPERTY) and key not in _SINK and not reading.is_special(f"sink.{key}"):
            known.append(key)
            properties[key.removeprefix(_PROPERTY)] = scalar(value)
    reading.refuse_unknown(sink, "sink", known)
    return properties


def _security(sink: Value) -> Mapping[str, str]:
    options = {"security_protocol": "properties.security.protocol",
               "sasl_mechanism": "properties.sasl.mechanism"}  # fmt: skip
    words = {"security_protocol": ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
             "sasl_mechanism": ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")}  # fmt: skip
    found: dict[str, str] = {}
    for name, option in options.items():
        value = sink.entries().get(option)
        if value is not None:
            if value.text() not in words[name]:
                raise value.refused(f"must be {' or '.join(words[name])}", show=value.raw)
            found[name] = value.text()
    return found


def _milliseconds(value: Value | None) -> float | None:
    return None if value is None else value.integer(1000, 10**9) / 1000


def _delivery(reading: Reading, value: Value | None) -> str | None:
    if value is None:
        return None
    word = value.text().strip().lower().replace("_", "-")
    if word not in {"exactly-once", "at-least-once"}:
        raise value.refused("must be exactly-once or at-least-once", show=value.raw)
    if reading.way == "native" and word == "exactly-once":
        raise value.refused(
            "cannot be done: Flink CDC gives its Kafka writer no transactional id",
            hint="Write at-least-once, or use upsert-kafka, which Flink SQL writes",
            show=value.raw,
        )
    return word


def _pipeline(reading: Reading, pipeline: Value | None) -> tuple[str, int | None]:
    if pipeline is None or pipeline.kind == "null":
        return "", None
    more = _NATIVE_PIPELINE if reading.way == "native" else ()
    reading.refuse_unknown(pipeline, "pipeline", (*_PIPELINE, *more))
    name, parallelism = (pipeline.entries().get(key) for key in _PIPELINE)
    if name is not None and len(name.text()) > _MAX_NAME:
        raise name.refused(f"is longer than {_MAX_NAME} characters")
    return (
        "" if name is None else name.text().strip(),
        None if parallelism is None else parallelism.integer(1, MAX_PARALLELISM),
    )


def _routes(reading: Reading, routes: Value | None) -> tuple[Route, ...]:
    if routes is None or routes.kind == "null":
        return ()
    return tuple(_route(reading, each) for each in routes.items())


def _route(reading: Reading, route: Value) -> Route:
    reading.refuse_unknown(route, "route", _ROUTE)
    source, sink = reading.needed(route, "source-table"), reading.needed(route, "sink-table")
    symbol = route.entries().get("replace-symbol")
    topic = sink.text().strip()
    if symbol is not None and symbol.text() not in topic:
        raise symbol.refused("is not in sink-table", hint=f"sink-table is {topic!r}")
    return Route(patterns_of(source), topic, "" if symbol is None else symbol.text(), route)
