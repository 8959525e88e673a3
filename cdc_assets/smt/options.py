"""Options: which settings of the Flink connectors a rule may have, and which values. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.errors import ConfigurationError
from cdc_assets.smt.ini import Entry

Check = Callable[[Entry], None]

SINK_PREFIX = "flink.starrocks."
CDC_PREFIX = "flink.cdc."
_PROPERTIES = "sink.properties."
_GENERATED_SINK = frozenset({"connector", "table-name", "database-name"})
_GENERATED_CDC = frozenset({
    "connector", "hostname", "port", "username", "password", "database-name", "table-name",
})  # fmt: skip
_HOST = r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}"
_JDBC_URL = re.compile(rf"jdbc:mysql://{_HOST}(?:,{_HOST})*(?:[/?].*)?")
_LOAD_URL = re.compile(rf"(?:https?://)?{_HOST}(?:;(?:https?://)?{_HOST})*")
_HEADER = re.compile(r"[A-Za-z0-9_.-]+")


def _text(entry: Entry) -> None:
    if not entry.value:
        raise entry.refused("is empty")


def _whole(low: int, high: int) -> Check:
    def check(entry: Entry) -> None:
        if not re.fullmatch(r"-?[0-9]{1,18}", entry.value):
            raise entry.refused("is not a whole number")
        if not low <= int(entry.value) <= high:
            raise entry.refused(f"must be {low} to {high}")

    return check


def _one_of(*words: str) -> Check:
    def check(entry: Entry) -> None:
        if entry.value not in words:
            raise entry.refused(f"must be {' or '.join(words)}")

    return check


def _form(pattern: re.Pattern[str], form: str) -> Check:
    def check(entry: Entry) -> None:
        if not pattern.fullmatch(entry.value):
            raise entry.refused(f"write it as {form}")

    return check


def _server_id(entry: Entry) -> None:
    try:
        ServerIdRange.parse(entry.value)
    except ConfigurationError as error:
        raise entry.refused(error.message.partition(": ")[2] or error.message) from None


_boolean = _one_of("true", "false")
_positive = _whole(1, 2**62)
_SINK: dict[str, Check] = {
    "jdbc-url": _form(_JDBC_URL, "jdbc:mysql://host:port"),
    "load-url": _form(_LOAD_URL, "host:port, several with ; between them"),
    "username": _text,
    "password": lambda _: None,
    "sink.version": _one_of("V1", "V2", "AUTO"),
    "sink.semantic": _one_of("at-least-once", "exactly-once"),
    "sink.label-prefix": _form(re.compile(r"[-_A-Za-z0-9]+"), "letters, digits, '-' and '_'"),
    "sink.buffer-flush.max-bytes": _whole(67_108_864, 10_737_418_240),
    "sink.buffer-flush.max-rows": _whole(64_000, 5_000_000),
    "sink.buffer-flush.interval-ms": _whole(1_000, 3_600_000),
    "sink.buffer-flush.enqueue-timeout-ms": _positive,
    "sink.max-retries": _whole(0, 1_000),
    "sink.retry.interval-ms": _positive,
    "sink.connect.timeout-ms": _whole(100, 60_000),
    "sink.socket.timeout-ms": _whole(-1, 2**31 - 1),
    "sink.wait-for-continue.timeout-ms": _whole(3_000, 60_000),
    "sink.io.thread-count": _whole(1, 1_000),
    "sink.chunk-limit": _positive,
    "sink.scan-frequency.ms": _positive,
    "sink.parallelism": _whole(1, 128),
    "sink.metric.histogram-window-size": _positive,
    "sink.ignore.update-before": _boolean,
    "sink.at-least-once.use-transaction-stream-load": _boolean,
    "sink.exactly-once.enable-label-gen": _boolean,
    "sink.exactly-once.enable-abort-lingering-txn": _boolean,
    "sink.exactly-once.check-num-lingering-txn": _whole(-1, 2**31 - 1),
    "sink.use.new-sink-api": _boolean,
    "sink.wrap-json-as-array": _boolean,
}
_NEEDED = ("jdbc-url", "load-url", "username", "password")
_PROPERTY: dict[str, Check] = {
    "format": _one_of("csv", "json"),
    "strip_outer_array": _one_of("true"),
    "max_filter_ratio": _form(re.compile(r"0|1|0\.[0-9]+"), "a number from 0 to 1"),
}
# They say what a row's fields are, which the connector says itself.
_REFUSED_PROPERTIES = frozenset({"columns", "jsonpaths", "json_root"})
_duration = _form(re.compile(r"[0-9]+ ?(?:ms|s|min|h)"), "30s")
_CDC: dict[str, Check] = {
    "server-id": _server_id,
    "server-time-zone": _text,
    "scan.startup.mode": _one_of("initial", "latest-offset"),
    "scan.incremental.snapshot.enabled": _one_of("true"),
    "scan.incremental.snapshot.chunk.size": _positive,
    "scan.incremental.snapshot.chunk.key-column": _text,
    "scan.incremental.snapshot.backfill.skip": _boolean,
    "scan.incremental.close-idle-reader.enabled": _boolean,
    "scan.snapshot.fetch.size": _positive,
    "connect.timeout": _duration,
    "connect.max-retries": _whole(0, 1_000),
    "connection.pool.size": _whole(1, 1_000),
    "heartbeat.interval": _duration,
}
_CDC_FAMILIES = ("debezium.", "jdbc.properties.")


def sink_option(entry: Entry) -> tuple[str, str]:
    """Return a `flink.starrocks.*` line as an option of the sink.

    Raises:
        ConfigurationError: There is no such option, or the value does not fit.
    """
    name, value = entry.key.removeprefix(SINK_PREFIX), entry.value
    if name in _GENERATED_SINK:
        raise entry.refused("is generated", hint="Take the line out", show=False)
    if name == "jdbc-url":
        # The tool's own example has a blank in it.
        value = re.sub(r"\Ajdbc:\s+mysql:", "jdbc:mysql:", value)
        entry = Entry(entry.section, entry.key, value, entry.line, entry.file)
    if name.startswith(_PROPERTIES):
        _check_property(entry, name.removeprefix(_PROPERTIES))
        return name, value
    check = _SINK.get(name)
    if check is None:
        raise entry.refused(
            "no such option of the StarRocks connector 1.2.10",
            hint=f"There are {', '.join(_SINK)} and {_PROPERTIES}*",
            show=False,
        )
    check(entry)
    return name, value


def _check_property(entry: Entry, header: str) -> None:
    if header in _REFUSED_PROPERTIES or not _HEADER.fullmatch(header):
        raise entry.refused("not a property that a rule may set", hint="Take the line out")
    _PROPERTY.get(header, _text)(entry)


def cdc_option(entry: Entry) -> tuple[str, str]:
    """Return a `flink.cdc.*` line as an option of the source.

    Raises:
        ConfigurationError: There is no such option, or the value does not fit.
    """
    name = entry.key.removeprefix(CDC_PREFIX)
    if name in _GENERATED_CDC:
        raise entry.refused("comes from [db]", hint="Take the line out", show=False)
    if name.startswith(_CDC_FAMILIES):
        _text(entry)
        return name, entry.value
    check = _CDC.get(name)
    if check is None:
        raise entry.refused(
            "no such option of the source",
            hint=f"There are {', '.join(_CDC)} and {', '.join(f + '*' for f in _CDC_FAMILIES)}",
            show=False,
        )
    check(entry)
    return name, entry.value


def missing_options(options: dict[str, str]) -> tuple[str, ...]:
    """Return the options of the sink that must be there and are not."""
    return tuple(name for name in _NEEDED if name not in options)
