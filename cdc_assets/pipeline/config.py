"""PipelineConfig: a pipeline definition file, checked. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import MAX_PARALLELISM
from cdc_assets.core.table_patterns import TablePattern, parse_patterns
from cdc_assets.errors import ConfigurationError
from cdc_assets.pipeline.document import Value, read_document
from cdc_assets.pipeline.options import (
    IGNORED,
    IGNORED_PREFIXES,
    ONLY,
    REFUSED,
    REFUSED_PREFIXES,
)

T = TypeVar("T")

_MAX_PORT = 65535
_MAX_NAME = 200
_VARIABLE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")
_PROPERTY = "properties."
_SERVERS = "properties.bootstrap.servers"
_PARTS = ("source", "sink", "route", "pipeline")
_ROUTE = ("source-table", "sink-table", "replace-symbol", "description")
_SINKS = ("upsert-kafka", "kafka")


@dataclass(frozen=True)
class Setting:
    """A value that the file has, or leaves to be filled in.

    Attributes:
        text: The value, `env:NAME` for an environment variable; empty while it is open.
        origin: Where it stands.
    """

    text: str = field(repr=False)
    origin: Value

    @property
    def is_open(self) -> bool:
        """Return whether the file has no value."""
        return not self.text

    def or_else(self, given: str, *, option: str) -> str:
        """Return the file's value, or the one that was given beside it.

        Args:
            given: From the component or the command line; empty for none.
            option: What gives it, for errors.

        Raises:
            ConfigurationError: Both have one, or neither.
        """
        if not self.is_open and given:
            raise self.origin.refused(
                f"the file has a value, and {option} has one, too", hint="Take out one of the two"
            )
        if self.is_open and not given:
            there = self.origin.placeholder
            raise self.origin.refused(
                f"the placeholder {there} is not filled in" if there else "is empty",
                hint=f"Write the value or env:NAME into the file, or give {option}",
            )
        return self.text or given


@dataclass(frozen=True)
class Note:
    """What the file says and the stream does not do, without harm.

    Attributes:
        place: `file:line:column`.
        option: Its dotted name.
        reason: Why not.
    """

    place: str
    option: str
    reason: str


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
        routes: In the file's order.
        parallelism: None where the file has none.
        notes: What is left out.
    """

    file: str
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
    routes: tuple[Route, ...]
    parallelism: int | None
    notes: tuple[Note, ...]

    @property
    def open_settings(self) -> tuple[Setting, ...]:
        """Return what must be filled in beside the file."""
        wanted = (self.host, self.port, self.username, self.password, self.servers)
        return tuple(each for each in wanted if each is not None and each.is_open)

    @property
    def is_plain(self) -> bool:
        """Return whether the file names each table, so that nothing is to be looked up."""
        return all(each.is_plain for each in self.tables) and not self.excluded


def parse_pipeline(content: bytes, *, file: str) -> PipelineConfig:
    """Read a pipeline definition.

    Raises:
        ConfigurationError: It is malformed, or asks for what a Flink SQL stream cannot do; says
            option, line and column.
    """
    root = read_document(content, file=file)
    reading = _Reading(root)
    reading.refuse_unknown(root, "", _PARTS)
    source, sink = reading.needed(root, "source"), reading.needed(root, "sink")
    pipeline = root.entries().get("pipeline")
    routes = root.entries().get("route")
    return _whole(reading, source, sink, _routes(reading, routes), pipeline)


class _Reading:
    """Reads options and keeps what is left out."""

    def __init__(self, root: Value) -> None:
        self.root = root
        self.notes: list[Note] = []

    def refuse_unknown(self, part: Value, name: str, own: Sequence[str]) -> None:
        """Refuse every option that is not among `own`, and note what is ignored."""
        for key, value in part.entries().items():
            option = f"{name}.{key}" if name else key
            if key in own:
                continue
            if not self._is_left_out(option, value):
                raise value.refused(
                    "no such option", hint=f"There are {', '.join(own)}, besides what is ignored"
                )

    def _is_left_out(self, option: str, value: Value) -> bool:
        if option in IGNORED:
            self.notes.append(Note(value.place, option, IGNORED[option]))
            return True
        for prefix, reason in IGNORED_PREFIXES.items():
            if option.startswith(prefix):
                self.notes.append(Note(value.place, option, reason))
                return True
        refusal = REFUSED.get(option) or next(
            (why for prefix, why in REFUSED_PREFIXES.items() if option.startswith(prefix)), None
        )
        if refusal is not None:
            raise value.refused(f"cannot be done: {refusal[0]}", hint=refusal[1])
        if option.lower() in ONLY:
            words, hint = ONLY[option.lower()]
            word = value.raw.strip().lower() if isinstance(value.raw, str) else ""
            if word not in words:
                raise value.refused(
                    f"cannot be done: only {' or '.join(words)}", hint=hint, show=word or None
                )
            return True
        return False

    def needed(self, part: Value, key: str) -> Value:
        found = part.entries().get(key)
        if found is None:
            name = f"{part.field}.{key}" if part.field else key
            raise ConfigurationError(
                "is missing", field=name, file=part.place if part.field else part.file
            )
        return found

    def open(self, part: Value, key: str) -> Setting:
        """Return a value that may be left to be filled in."""
        return self._setting(self.needed(part, key))

    def maybe_open(self, part: Value, key: str) -> Setting | None:
        value = part.entries().get(key)
        return None if value is None else self._setting(value)

    def _setting(self, value: Value) -> Setting:
        is_open = bool(value.placeholder) or value.kind == "null"
        return Setting("" if is_open else value.text().strip(), value)


_SOURCE = ("type", "name", "hostname", "port", "username", "password", "tables",
           "tables.exclude", "server-id", "server-time-zone")  # fmt: skip
_SINK = ("type", "name", _SERVERS, "properties.security.protocol", "properties.sasl.mechanism",
         "properties.transaction.timeout.ms", "sink.delivery-guarantee")  # fmt: skip
_PIPELINE = ("name", "parallelism")


def _whole(
    reading: _Reading,
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
    return PipelineConfig(
        file=reading.root.file,
        name=name,
        host=reading.open(source, "hostname"),
        port=port,
        username=reading.open(source, "username"),
        password=password,
        time_zone="UTC" if zone is None else zone.text(),
        tables=_patterns(tables),
        excluded=() if excluded is None else _patterns(excluded),
        tables_at=tables,
        server_ids=None
        if ids is None or ids.is_open
        else _said(ids.origin, lambda: ServerIdRange.parse(ids.text)),
        servers=reading.open(sink, _SERVERS),
        security=_security(sink),
        transaction_seconds=_milliseconds(sink.entries().get("properties.transaction.timeout.ms")),
        delivery=_delivery(sink.entries().get("sink.delivery-guarantee")),
        properties=properties,
        routes=routes,
        parallelism=parallelism,
        notes=tuple(reading.notes),
    )


def _sink_properties(reading: _Reading, sink: Value) -> Mapping[str, str]:
    kind = reading.needed(sink, "type")
    if kind.text().lower() not in _SINKS:
        raise kind.refused(f"only {' and '.join(_SINKS)} can be written", show=kind.raw)
    if kind.text().lower() == "kafka" and "value.format" not in sink.entries():
        raise kind.refused(
            "cannot be done: without value.format this sink writes Debezium's change events",
            hint="Use upsert-kafka, or add 'value.format: json' for rows as plain JSON",
        )
    properties: dict[str, str] = {}
    known = [*_SINK]
    for key, value in sink.entries().items():
        option = f"sink.{key}"
        special = option in {*REFUSED, *ONLY} or option.startswith(tuple(REFUSED_PREFIXES))
        if key.startswith(_PROPERTY) and key not in _SINK and not special:
            known.append(key)
            properties[key.removeprefix(_PROPERTY)] = (
                value.raw if value.kind == "bool" and isinstance(value.raw, str) else value.text()
            )
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


def _delivery(value: Value | None) -> str | None:
    if value is None:
        return None
    word = value.text().strip().lower().replace("_", "-")
    if word not in {"exactly-once", "at-least-once"}:
        raise value.refused("must be exactly-once or at-least-once", show=value.raw)
    return word


def _pipeline(reading: _Reading, pipeline: Value | None) -> tuple[str, int | None]:
    if pipeline is None or pipeline.kind == "null":
        return "", None
    reading.refuse_unknown(pipeline, "pipeline", _PIPELINE)
    name, parallelism = (pipeline.entries().get(key) for key in _PIPELINE)
    if name is not None and len(name.text()) > _MAX_NAME:
        raise name.refused(f"is longer than {_MAX_NAME} characters")
    return (
        "" if name is None else name.text().strip(),
        None if parallelism is None else parallelism.integer(1, MAX_PARALLELISM),
    )


def _routes(reading: _Reading, routes: Value | None) -> tuple[Route, ...]:
    if routes is None or routes.kind == "null":
        return ()
    return tuple(_route(reading, each) for each in routes.items())


def _route(reading: _Reading, route: Value) -> Route:
    reading.refuse_unknown(route, "route", _ROUTE)
    source, sink = reading.needed(route, "source-table"), reading.needed(route, "sink-table")
    symbol = route.entries().get("replace-symbol")
    topic = sink.text().strip()
    if symbol is not None and symbol.text() not in topic:
        raise symbol.refused("is not in sink-table", hint=f"sink-table is {topic!r}")
    return Route(_patterns(source), topic, "" if symbol is None else symbol.text(), route)


def _patterns(value: Value) -> tuple[TablePattern, ...]:
    return _said(value, lambda: parse_patterns(value.text()))


def _said(value: Value, call: Callable[[], T]) -> T:
    """Let an error say where its value stands."""
    try:
        return call()
    except ConfigurationError as error:
        if error.file:
            raise
        raise value.refused(error.message, hint=error.hint) from None
