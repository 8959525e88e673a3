"""Render: a stream as Flink SQL. Pure; the same input gives the same text.

The text of a first start and of a restore differ in the startup options and the host only.
Flink finds an operator's state by the place of the operator in the plan, so everything that
shapes the plan (tables, columns, order, parallelism) comes from the stream and the shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.stream import ServerIdRange, StreamSpec, TableRef
from cdc_assets.core.types import Carried, carried, is_integer_key, natural_type
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.quoting import (
    checked_sink_name,
    exact_pattern,
    quote_identifier,
    quote_text,
)
from cdc_assets.ports import Launch, Server

_REDACTED = "***"
# A sink and a captured table may have one name, and both are tables of one Flink session.
_SINK_PREFIX = "target."
# Upserts hold one row per key until the flush; past this many a flush comes early.
_FLUSH_ROWS = 1000
# What an upsert needs from the target's session. Strict: MySQL cuts values short without
# it. NO_AUTO_VALUE_ON_ZERO: a row with the id 0 would get a new id.
_SQL_MODE = "STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION"


@dataclass(frozen=True)
class SourceAccess:
    """How the readers log in.

    Attributes:
        username: The CDC account; one of its own for each stream, see `MySqlSource`.
        password: Kept out of `repr`.
        time_zone: The server's time zone; the connector refuses another one.
        tls: Whether the readers insist on TLS.
        connect_timeout_seconds: For one connection.
        connect_retries: Before the job fails; only the launcher tries again after that.
    """

    username: str
    password: str = field(repr=False)
    time_zone: str = "UTC"
    tls: bool = False
    connect_timeout_seconds: float = 10.0
    connect_retries: int = 1


@dataclass(frozen=True)
class TargetAccess:
    """Where and how rows are written.

    Attributes:
        server: The target server.
        database: Holds the target tables.
        username: Account.
        password: Kept out of `repr`.
        tls: Whether the writer insists on TLS.
        properties: More Connector/J properties.
    """

    server: Server
    database: str
    username: str
    password: str = field(repr=False)
    tls: bool = False
    properties: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class RenderedStream:
    """A job's SQL.

    Attributes:
        ddl: One statement for each table, to run first.
        statement: The statement that starts the job.
        config: Session configuration.
        redacted: All of it for people, without secrets.
    """

    ddl: tuple[str, ...] = field(repr=False)
    statement: str
    config: Mapping[str, str]
    redacted: str


@dataclass(frozen=True)
class StreamRenderer:
    """Renders launches of streams that read one source and write one target."""

    source: SourceAccess
    target: TargetAccess

    def __call__(
        self, launch: Launch, shapes: Sequence[TableShape], target_shapes: Sequence[TableShape]
    ) -> RenderedStream:
        """Return the SQL of a launch.

        Raises:
            ConfigurationError: A table, a column or a name does not fit.
            UnsupportedType: A column cannot be carried.
        """
        return render_stream(launch, shapes, target_shapes, source=self.source, target=self.target)


def render_stream(
    launch: Launch,
    shapes: Sequence[TableShape],
    target_shapes: Sequence[TableShape],
    *,
    source: SourceAccess,
    target: TargetAccess,
) -> RenderedStream:
    """Return the SQL of a launch.

    Args:
        launch: Server and startup: state, coordinates or a GTID set, or the snapshot.
        shapes: The captured tables.
        target_shapes: The target tables.
        source: Account of the readers.
        target: Where rows go.

    Raises:
        ConfigurationError: A table, a column or a name does not fit.
        UnsupportedType: A column cannot be carried.
    """
    spec = launch.spec
    sources = {shape.label: shape for shape in shapes}
    sinks = {shape.name: shape for shape in target_shapes}
    ddl: list[str] = []
    inserts: list[str] = []
    for table, ids in zip(spec.tables, spec.reader_ids(), strict=True):
        columns = carried_columns(spec, table, _found(sources, table.label, "tables"))
        key = _key(sources[table.label])
        options = {
            **_source_options(launch, table, ids, source),
            **_chunking(sources[table.label], is_stateful=spec.stateful),
        }
        ddl.append(
            _create(table.name, [(c.column.name, c.source_type) for c in columns], key, options)
        )
        if table.name in spec.source_only:
            continue
        shape = _found(sinks, table.target_name, "target tables")
        pairs = [(_sink_column(shape, c.column.name), c) for c in columns]
        ddl.append(_copy_sink(spec, shape, pairs, key, target))
        inserts.append(_copy_insert(table, pairs))
    for query in spec.queries:
        shape = _found(sinks, query.target_name, "target tables")
        ddl.append(_query_sink(spec, shape, target))
        inserts.append(_query_insert(shape, query.sql))
    clash = {table.name for table in spec.tables} & {f"{_SINK_PREFIX}{name}" for name in sinks}
    if clash:
        raise ConfigurationError("clashes with a sink", field="tables", value=min(clash))
    if not inserts:
        raise ConfigurationError("nothing is written to the target", field=f"{spec.name}.tables")
    body = "\n".join(f"{insert};" for insert in inserts)
    statement = f"EXECUTE STATEMENT SET BEGIN\n{body}\nEND"
    config = _config(spec)
    text = _for_people(ddl, statement, config, (source.password, target.password))
    return RenderedStream(tuple(ddl), statement, config, text)


def carried_columns(spec: StreamSpec, table: TableRef, shape: TableShape) -> tuple[Carried, ...]:
    """Return how each column of a captured table is carried, without the excluded ones.

    Raises:
        ConfigurationError: The table has no primary key, or a part of it is excluded.
        UnsupportedType: A column cannot be carried.
    """
    key = _key(shape)
    excluded = {name.lower() for name in spec.exclude_columns}
    found: list[Carried] = []
    for column in shape.columns:
        if f"{table.name}.{column.name}".lower() in excluded:
            if column.name in key:
                raise ConfigurationError(
                    "part of the primary key, so it cannot be left out",
                    field=f"{spec.name}.exclude_columns",
                    value=f"{table.name}.{column.name}",
                )
            continue
        found.append(carried(shape.label, column, is_key=column.name in key))
    return tuple(found)


def _key(shape: TableShape) -> tuple[str, ...]:
    if not shape.primary_key:
        raise ConfigurationError(
            "has no primary key, so its rows cannot be told apart",
            field="tables",
            value=shape.label,
            hint="Add one, or leave the table out",
        )
    return shape.primary_key


def _found(shapes: Mapping[str, TableShape], name: str, what: str) -> TableShape:
    shape = shapes.get(name)
    if shape is None:
        raise ConfigurationError("no such table", field=what, value=name)
    return shape


def _sink_column(shape: TableShape, name: str) -> str:
    column = shape.column(name)
    if column is None:
        raise ConfigurationError(
            "the target table has no such column",
            field=shape.label,
            value=name,
            hint="Add it, or leave it out with 'exclude_columns'",
        )
    return checked_sink_name(column.name, field=shape.label)


def _source_options(
    launch: Launch, table: TableRef, ids: ServerIdRange, source: SourceAccess
) -> Mapping[str, str]:
    options = {
        "connector": "mysql-cdc",
        "hostname": launch.server.host,
        "port": str(launch.server.port),
        "username": source.username,
        "password": source.password,
        "database-name": exact_pattern(table.database),
        "table-name": exact_pattern(table.name),
        "server-id": str(ids) if ids.size > 1 else str(ids.first),
        "server-time-zone": source.time_zone,
        "scan.incremental.snapshot.enabled": "true",
        "connect.timeout": f"{round(source.connect_timeout_seconds * 1000)}ms",
        "connect.max-retries": str(source.connect_retries),
        # A server sends a heartbeat with its end position every 0.8 times the keep-alive
        # interval, and the reader notes it once in a heartbeat interval: so the position of
        # an idle stream stands at the server's end within a second.
        "heartbeat.interval": "500ms",
        "debezium.connect.keep.alive.interval.ms": "500",
        # No reconnect by itself: it would take the old position to whatever server is behind
        # the endpoint by then. Only the launcher, which proves the server, connects again.
        "debezium.connect.keep.alive": "false",
        # Beyond 38 digits a decimal travels as text, and this is the text without exponent.
        "debezium.decimal.handling.mode": "string",
        # Without it the years 0 to 99 become 1970 to 2069.
        "debezium.enable.time.adjuster": "false",
        "jdbc.properties.tinyInt1isBit": "false",
    }
    if source.tls:
        options["debezium.database.ssl.mode"] = "required"
        options["jdbc.properties.sslMode"] = "REQUIRED"
    return {**options, **_startup(launch)}


def _startup(launch: Launch) -> Mapping[str, str]:
    """Return the startup options; with state to restore they are not looked at."""
    if launch.restore_path or (launch.coordinates is None and launch.gtid_set is None):
        return {"scan.startup.mode": "initial"}
    options = {"scan.startup.mode": "specific-offset"}
    if launch.gtid_set is not None:
        options["scan.startup.specific-offset.gtid-set"] = launch.gtid_set
    if launch.coordinates is not None:
        options["scan.startup.specific-offset.file"] = launch.coordinates.file
        options["scan.startup.specific-offset.pos"] = str(launch.coordinates.pos)
    return options


def _chunking(shape: TableShape, *, is_stateful: bool) -> Mapping[str, str]:
    """Return how a table is cut into the chunks of its snapshot.

    The connector finds the chunk of a changed row by Java's comparison of the key's first
    column, and cuts by the server's (RecordUtils.splitKeyRangeContains). The two agree on
    integers only: a text key under `utf8mb4_general_ci`, a date or a decimal would be found
    in a wrong chunk, and its change dropped: 190 of 60 000 rows in a trial. Without the
    backfill every change since the snapshot began is delivered, which an upsert takes and
    a running count does not.
    """
    if is_integer_key(shape, shape.primary_key[0]):
        return {}
    if not is_stateful:
        return {"scan.incremental.snapshot.backfill.skip": "true"}
    # Slower, because no index begins with that column, but right.
    other = next((name for name in shape.primary_key if is_integer_key(shape, name)), None)
    return {} if other is None else {"scan.incremental.snapshot.chunk.key-column": other}


def _sink_options(spec: StreamSpec, name: str, target: TargetAccess) -> Mapping[str, str]:
    return {
        "connector": "jdbc",
        "url": jdbc_url(target),
        "username": target.username,
        "password": target.password,
        "table-name": checked_sink_name(name, field="target tables"),
        "sink.buffer-flush.max-rows": str(_FLUSH_ROWS),
        "sink.buffer-flush.interval": f"{round(spec.flush_interval_seconds * 1000)}ms",
        "sink.max-retries": "3",
    }


def jdbc_url(target: TargetAccess) -> str:
    """Return the URL for Connector/J, without the account."""
    properties = {
        "connectionTimeZone": "UTC",
        "forceConnectionTimeZoneToSession": "true",
        "preserveInstants": "false",
        "tinyInt1isBit": "false",
        "characterEncoding": "UTF-8",
        "sessionVariables": f"sql_mode='{_SQL_MODE}'",
        **({"sslMode": "REQUIRED"} if target.tls else {}),
        **target.properties,
    }
    query = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in properties.items())
    return f"jdbc:mysql://{target.server}/{quote(target.database, safe='')}?{query}"


def _copy_sink(
    spec: StreamSpec,
    shape: TableShape,
    pairs: Sequence[tuple[str, Carried]],
    key: Sequence[str],
    target: TargetAccess,
) -> str:
    columns = [(name, way.sink_type) for name, way in pairs]
    sink_key = [name for name, way in pairs if way.column.name in key]
    ordered = sorted(sink_key, key=lambda name: [k.lower() for k in key].index(name.lower()))
    return _create(
        f"{_SINK_PREFIX}{shape.name}", columns, ordered, _sink_options(spec, shape.name, target)
    )


def _copy_insert(table: TableRef, pairs: Sequence[tuple[str, Carried]]) -> str:
    names = ", ".join(quote_identifier(name) for name, _ in pairs)
    values = ", ".join(way.expression.format(quote_identifier(way.column.name)) for _, way in pairs)
    sink = quote_identifier(f"{_SINK_PREFIX}{table.target_name}")
    return f"INSERT INTO {sink} ({names})\nSELECT {values}\nFROM {quote_identifier(table.name)}"


def _query_columns(shape: TableShape) -> Sequence[Column]:
    return [column for column in shape.columns if not column.generated]


def _query_sink(spec: StreamSpec, shape: TableShape, target: TargetAccess) -> str:
    columns = [
        (
            checked_sink_name(column.name, field=shape.label),
            natural_type(shape.label, column),
        )
        for column in _query_columns(shape)
    ]
    return _create(
        f"{_SINK_PREFIX}{shape.name}", columns, _key(shape), _sink_options(spec, shape.name, target)
    )


def _query_insert(shape: TableShape, sql: str) -> str:
    text = sql.strip().rstrip(";").strip()
    if not text or "\x00" in text:
        raise ConfigurationError("the query is empty, or holds a NUL", field=shape.label)
    sink = quote_identifier(f"{_SINK_PREFIX}{shape.name}")
    return f"INSERT INTO {sink}\n{text}"


def _create(
    name: str, columns: Sequence[tuple[str, str]], key: Sequence[str], options: Mapping[str, str]
) -> str:
    lines = [f"  {quote_identifier(column)} {kind}" for column, kind in columns]
    keys = ", ".join(quote_identifier(column) for column in key)
    lines.append(f"  PRIMARY KEY ({keys}) NOT ENFORCED")
    settings = ",\n".join(f"  {quote_text(k)} = {quote_text(v)}" for k, v in options.items())
    body = ",\n".join(lines)
    return f"CREATE TEMPORARY TABLE {quote_identifier(name)} (\n{body}\n) WITH (\n{settings}\n)"


def _config(spec: StreamSpec) -> Mapping[str, str]:
    return {
        "execution.runtime-mode": "streaming",
        "parallelism.default": str(spec.parallelism),
        "execution.checkpointing.interval": f"{round(spec.checkpoint_interval_seconds * 1000)}ms",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        # Without restarts one late checkpoint would end the job.
        "execution.checkpointing.tolerable-failed-checkpoints": "3",
        # A restart by Flink takes the old position to whatever server is behind the endpoint
        # by then; the launcher proves the server first.
        "restart-strategy.type": "none",
        "table.local-time-zone": "UTC",
        # Where all rows of a key come from one reader in order, a materializer only costs a
        # copy of the table in state. A query decides its keys by itself: there the planner
        # knows best.
        "table.exec.sink.upsert-materialize": "AUTO" if spec.queries else "NONE",
    }


def _for_people(
    ddl: Sequence[str], statement: str, config: Mapping[str, str], secrets: Sequence[str]
) -> str:
    settings = [f"SET {quote_text(k)} = {quote_text(v)}" for k, v in config.items()]
    text = "".join(f"{each};\n\n" for each in [*settings, *ddl, statement])
    hidden = quote_text(_REDACTED)
    for secret in sorted({each for each in secrets if each}, key=len, reverse=True):
        text = text.replace(f"'password' = {quote_text(secret)}", f"'password' = {hidden}")
    return text
