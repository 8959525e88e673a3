"""Config: a connector's configuration from a stream. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cdc_assets.core.columns import TableShape
from cdc_assets.core.kafka import topic_of
from cdc_assets.core.readers import key_of
from cdc_assets.core.source import Flavor
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import ConfigurationError
from cdc_assets.ports import Launch

CONNECTORS: Mapping[Flavor, str] = {
    "mysql": "io.debezium.connector.mysql.MySqlConnector",
    "mariadb": "io.debezium.connector.mariadb.MariaDbConnector",
}
START = "cdc.start"
HISTORY_FILE = "schema.history.internal.file.filename"
SNAPSHOT_MODE = "snapshot.mode"
# Reads the tables' columns, no rows, and goes on from the offset.
REBUILD = "recovery"
_GO_ON = "initial"
_PASSWORD = "database.password"  # noqa: S105 - the name of a setting
_JSON = "org.apache.kafka.connect.json.JsonConverter"
_ROUTER = "org.apache.kafka.connect.transforms.RegexRouter"
_NAME = re.compile(r"cdc-(?P<stream>[a-z][a-z0-9_]*)-(?P<number>[0-9]+)-(?P<job_id>[0-9a-f]{32})")
# Debezium writes any other sign of a table's name as `_` in the topic's.
_PLAIN = re.compile(r"[A-Za-z0-9._-]+")
_WORD = re.compile(r"[^A-Za-z0-9_]")
_HEARTBEAT_MS = "500"


@dataclass(frozen=True)
class Access:
    """How connectors reach the source, and where they keep their schema histories.

    Attributes:
        username: Account that reads the tables and the binlog.
        password: Its password, or how the worker's own config provider finds it, such as
            `${file:/etc/cdc.properties:password}`.
        tls: `off`, `encrypt` or `verify`.
        connect_seconds: For a connection.
        history_directory: Folder on the worker.
        topic_prefix: Before each topic's name.
    """

    username: str
    password: str = field(repr=False)
    history_directory: str
    topic_prefix: str = ""
    tls: str = "off"
    connect_seconds: float = 10.0


@dataclass(frozen=True)
class Beginning:
    """Where a connector begins.

    Attributes:
        offset: The offset as text, empty for a copy of the tables first.
        history: Name of the schema history.
        rebuilds: Whether the schema history is made anew from the tables' columns of now.
    """

    offset: str = ""
    history: str = ""
    rebuilds: bool = False


@dataclass(frozen=True)
class ConnectorName:
    """A connector's name, taken apart."""

    stream: str
    number: int
    job_id: str

    @classmethod
    def of(cls, launch: Launch) -> ConnectorName:
        """Return the name of a launch."""
        return cls(launch.spec.name, int(launch.name.rpartition(":")[2]), launch.job_id)

    @classmethod
    def parse(cls, text: str) -> ConnectorName | None:
        """Read a name; None for a connector of someone else."""
        match = _NAME.fullmatch(text)
        return cls(match["stream"], int(match["number"]), match["job_id"]) if match else None

    def __str__(self) -> str:
        """Return the name."""
        return f"cdc-{self.stream}-{self.number}-{self.job_id}"


def connector_settings(
    launch: Launch, flavor: Flavor, access: Access, shapes: Sequence[TableShape], start: Beginning
) -> dict[str, str]:
    """Return a connector's configuration, in clear text.

    Args:
        launch: The incarnation.
        flavor: Of the server.
        access: Account and folders.
        shapes: The captured tables.
        start: Where it begins.

    Raises:
        ConfigurationError: A table has no primary key, or a name that Debezium would change.
    """
    spec = launch.spec
    settings = {
        "connector.class": CONNECTORS[flavor],
        "tasks.max": "1",
        # Of its own, whatever the worker's default is.
        **{
            f"{part}.converter{option}": value
            for part in ("key", "value")
            for option, value in (
                ("", _JSON), (".schemas.enable", "false"), (".decimal.format", "NUMERIC"),
            )
        },
        "topic.prefix": spec.name,
        "database.hostname": launch.server.host,
        "database.port": str(launch.server.port),
        "database.user": access.username,
        _PASSWORD: access.password,
        **_driver(flavor, access.tls),
        "database.server.id": str(spec.server_ids.first),
        **_captured(spec, shapes),
        "include.schema.changes": "false",
        "tombstones.on.delete": "true",
        "connect.timeout.ms": str(round(access.connect_seconds * 1000)),
        # Nothing connects again by itself: it would take the old position to whatever server is
        # behind the endpoint by then. Only the launcher, which proves the server, does.
        "connect.keep.alive": "false",
        "errors.max.retries": "0",
        # The server says every 0.8 times this where its binlog ends, and the connector notes it
        # once in a heartbeat interval, in a record of a topic of its own.
        "connect.keep.alive.interval.ms": _HEARTBEAT_MS,
        "heartbeat.interval.ms": _HEARTBEAT_MS,
        "topic.heartbeat.prefix": topic_of(access.topic_prefix, "__heartbeat"),
        # The default writes decimals as base64 of their digits.
        "decimal.handling.mode": "string",
        # The default makes negative numbers of those above 2^63 - 1.
        "bigint.unsigned.handling.mode": "precise",
        # Without it the years 0 to 99 become 1970 to 2069.
        "enable.time.adjuster": "false",
        # Connect makes the heartbeat topic by itself.
        "topic.creation.default.replication.factor": "-1",
        "topic.creation.default.partitions": "-1",
        "topic.creation.default.cleanup.policy": "compact",
        **_routes(spec, access.topic_prefix),
        SNAPSHOT_MODE: REBUILD if start.rebuilds else _GO_ON,
        "schema.history.internal": "io.debezium.storage.file.history.FileSchemaHistory",
        HISTORY_FILE: f"{access.history_directory.rstrip('/')}/{start.history}.jsonl",
        "schema.history.internal.store.only.captured.tables.ddl": "true",
        # Of no meaning to Connect: what the launch told the connector to begin with.
        START: start.offset,
    }  # fmt: skip
    return dict(sorted(settings.items()))


def redacted(settings: Mapping[str, str]) -> str:
    """Return a configuration as lines, without the password."""
    shown = {name: "***" if name == _PASSWORD else value for name, value in settings.items()}
    return "\n".join(f"{name}={value}" for name, value in shown.items())


def history_of(settings: Mapping[str, str]) -> str:
    """Return the name of a connector's schema history."""
    return settings.get(HISTORY_FILE, "").rpartition("/")[2].removesuffix(".jsonl")


def _driver(flavor: Flavor, tls: str) -> Mapping[str, str]:
    by_flavor = {
        "mysql": {"off": "disabled", "encrypt": "required", "verify": "verify_identity"},
        "mariadb": {"off": "disable", "encrypt": "trust", "verify": "verify-full"},
    }
    settings = {"database.ssl.mode": by_flavor[flavor][tls]}
    if flavor == "mariadb":
        # Its driver makes dates of YEAR, and an exception of the year 0.
        settings["driver.yearIsDateType"] = "false"
    if flavor == "mysql" and tls == "off":
        # `caching_sha2_password` asks for the server's key when the connection is plain.
        settings["driver.allowPublicKeyRetrieval"] = "true"
    return settings


def _captured(spec: StreamSpec, shapes: Sequence[TableShape]) -> Mapping[str, str]:
    for shape in shapes:
        key_of(shape)
        _refuse_excluded_key(spec, shape)
    databases = sorted({table.database for table in spec.tables})
    found = {
        "database.include.list": ",".join(_exact(name) for name in databases),
        "table.include.list": ",".join(
            f"{_exact(table.database)}\\.{_exact(table.name)}" for table in spec.tables
        ),
    }
    if spec.exclude_columns:
        found["column.exclude.list"] = ",".join(_excluded(spec, shapes))
    return found


def _excluded(spec: StreamSpec, shapes: Sequence[TableShape]) -> Sequence[str]:
    named = {name.lower() for name in spec.exclude_columns}
    return [
        f"{_exact(shape.database)}\\.{_exact(shape.name)}\\.{_exact(column.name)}"
        for shape in shapes
        for column in shape.columns
        if f"{shape.name}.{column.name}".lower() in named
    ]


def _refuse_excluded_key(spec: StreamSpec, shape: TableShape) -> None:
    named = {name.lower() for name in spec.exclude_columns}
    for name in shape.primary_key:
        if f"{shape.name}.{name}".lower() in named:
            raise ConfigurationError(
                "part of the primary key, so it cannot be left out",
                field=f"{spec.name}.exclude_columns",
                value=f"{shape.name}.{name}",
            )


def _routes(spec: StreamSpec, prefix: str) -> Mapping[str, str]:
    r"""Return what gives records the stream's topics; Debezium's are `stream.database.table`.

    The heartbeat's topic does not begin like that, and keeps its name.
    """
    routes: list[tuple[str, str, str]] = []
    for table in spec.tables:
        _refuse_name(table)
        if table.target_name != table.label:
            topic = topic_of(prefix, table.target_name)
            _refuse_second_route(spec, prefix, topic)
            routes.append((f"route{len(routes)}", _exact(f"{spec.name}.{table.label}"), topic))
    routes.append(("route", f"{_exact(spec.name)}\\.(.+)", f"{prefix}$1"))
    found = {"transforms": ",".join(name for name, _, _ in routes)}
    for name, pattern, topic in routes:
        found[f"transforms.{name}.type"] = _ROUTER
        found[f"transforms.{name}.regex"] = pattern
        found[f"transforms.{name}.replacement"] = topic
    return found


def _refuse_second_route(spec: StreamSpec, prefix: str, topic: str) -> None:
    own = f"{spec.name}."
    if topic.startswith(own) and topic != prefix + topic.removeprefix(own):
        raise ConfigurationError(
            f"begins with {own!r}, by which the connector's records are found",
            field=f"{spec.name}.topics",
            value=topic,
            hint="Name the topic, or the stream, otherwise",
        )


def _refuse_name(table: TableRef) -> None:
    if not _PLAIN.fullmatch(table.label):
        raise ConfigurationError(
            "Debezium takes letters, digits, '.', '_' and '-' in the names of topics only",
            field="tables",
            value=table.label,
            hint="Leave the table out, or let Flink run the stream",
        )


def _exact(name: str) -> str:
    """Return a regular expression for exactly this name, safe in a list with commas."""
    return _WORD.sub(lambda match: f"\\{match[0]}", name)
