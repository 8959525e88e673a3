"""Render: a stream as Flink SQL. Pure; the same input gives the same text.

The text of a first start and of a restore differ in the startup options and the host only.
Flink finds an operator's state by the place of the operator in the plan, so everything that
shapes the plan (tables, columns, order, parallelism) comes from the stream and the shapes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cdc_assets.core.columns import TableShape
from cdc_assets.core.readers import TABLE_FIELD, TableColumns, key_of, plan_readers
from cdc_assets.core.stream import QuerySpec, StreamSpec
from cdc_assets.core.types import Carried
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.quoting import quote_identifier, quote_text
from cdc_assets.flink.sinks import JOB_ID, Sink, WholeTableSink
from cdc_assets.flink.source_sql import SourceAccess, create_table, reader_sql
from cdc_assets.ports import Launch

_REDACTED = "***"
# The folder of a job's checkpoints or savepoints.
_JOB = re.compile(r"/([0-9a-f]{32})(?=/)")
_TABLE_MARK = (TABLE_FIELD, "STRING NOT NULL")
# Rows of other tables have NULL there. Elsewhere a sink's column must not be NULL only in
# the key, and no key of a captured table is.
_DROP_OTHERS = {"table.exec.sink.not-null-enforcer": "DROP"}
# A sink and a captured table may have one name, and both are tables of one Flink session.
_SINK_PREFIX = "target."


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
    sink: Sink

    def __call__(
        self, launch: Launch, shapes: Sequence[TableShape], target_shapes: Sequence[TableShape]
    ) -> RenderedStream:
        """Return the SQL of a launch.

        Raises:
            ConfigurationError: A table, a column or a name does not fit.
            UnsupportedType: A column cannot be carried.
        """
        return render_stream(launch, shapes, target_shapes, source=self.source, sink=self.sink)


def render_stream(
    launch: Launch,
    shapes: Sequence[TableShape],
    target_shapes: Sequence[TableShape],
    *,
    source: SourceAccess,
    sink: Sink,
) -> RenderedStream:
    """Return the SQL of a launch.

    Args:
        launch: Server and startup: state, coordinates or a GTID set, or the snapshot.
        shapes: The captured tables.
        target_shapes: The target tables.
        source: Account of the readers.
        sink: Where rows go.

    Raises:
        ConfigurationError: A table, a column or a name does not fit.
        UnsupportedType: A column cannot be carried.
    """
    spec = launch.spec
    sinks = {shape.name: shape for shape in target_shapes}
    ddl: list[str] = []
    copies: dict[str, str] = {}
    readers = plan_readers(spec, shapes)
    # What reads these tables is their copies only: queries have readers of their own.
    marked = not sink.has_columns and any(reader.is_shared for reader in readers)
    for number, reader in enumerate(readers, start=1):
        is_marked = marked and reader.is_shared
        ddl.extend(reader_sql(launch, reader, number, source, is_marked=is_marked))
        for each in reader.tables:
            if each.table.alias not in spec.source_only:
                shape = _found(sinks, each.table.target_name)
                pairs = [(_sink_column(sink, shape, way), way) for way in each.columns]
                more = (_TABLE_MARK,) if is_marked else ()
                ddl.append(_copy_sink(launch, shape, pairs, each.key, sink, more=more))
                copies[each.table.alias] = _copy_insert(each, pairs, more)
    # In the order of the tables, whatever readers they share.
    inserts = [copies[table.alias] for table in spec.copied]
    for query in spec.queries:
        shape = _found(sinks, query.target_name)
        ddl.append(_query_sink(launch, shape, query, sink))
        inserts.append(_query_insert(shape, query.sql))
    clash = {table.alias for table in spec.tables} & {f"{_SINK_PREFIX}{name}" for name in sinks}
    if clash:
        raise ConfigurationError("clashes with a sink", field="tables", value=min(clash))
    if not inserts:
        raise ConfigurationError("nothing is written to the target", field=f"{spec.name}.tables")
    body = "\n".join(f"{insert};" for insert in inserts)
    statement = f"EXECUTE STATEMENT SET BEGIN\n{body}\nEND"
    config = {**_config(spec), **(_DROP_OTHERS if marked else {})}
    secrets = (("password", source.password), *sink.secrets)
    text = _for_people(ddl, statement, config, secrets)
    return RenderedStream(tuple(ddl), statement, config, text)


def render_queries(
    launch: Launch,
    ddl: Sequence[str],
    target_shapes: Sequence[TableShape],
    *,
    sink: Sink,
    secrets: Sequence[tuple[str, str]] = (),
) -> RenderedStream:
    """Return the SQL of a job of queries only, whose tables are read by other DDL.

    Args:
        launch: Name, queries and state.
        ddl: What makes the tables that the queries read.
        target_shapes: The target tables.
        sink: Where rows go.
        secrets: Options of the DDL that nobody may see, as names and values.

    Raises:
        ConfigurationError: A target table or a name does not fit.
    """
    sinks = {shape.name: shape for shape in target_shapes}
    statements, inserts = list(ddl), list[str]()
    for query in launch.spec.queries:
        shape = _found(sinks, query.target_name)
        statements.append(_query_sink(launch, shape, query, sink))
        inserts.append(_query_insert(shape, query.sql))
    body = "\n".join(f"{insert};" for insert in inserts)
    statement = f"EXECUTE STATEMENT SET BEGIN\n{body}\nEND"
    config = _config(launch.spec)
    text = _for_people(statements, statement, config, (*secrets, *sink.secrets))
    return RenderedStream(tuple(statements), statement, config, text)


def _found(shapes: Mapping[str, TableShape], name: str) -> TableShape:
    shape = shapes.get(name)
    if shape is None:
        raise ConfigurationError("no such table", field="target tables", value=name)
    return shape


def _sink_column(sink: Sink, shape: TableShape, way: Carried) -> str:
    name = way.column.name
    if not sink.has_columns:
        return sink.checked_column(name, field=shape.label)
    column = shape.column(name)
    if column is None:
        raise ConfigurationError(
            "the target table has no such column",
            field=shape.label,
            value=name,
            hint="Add it, or leave it out with 'exclude_columns'",
        )
    return sink.checked_column(column.name, field=shape.label)


def _options(launch: Launch, name: str, sink: Sink) -> Mapping[str, str]:
    options = sink.options(launch.spec, name)
    found = _JOB.findall(launch.restore_path or "")
    owner = found[-1] if found else launch.job_id
    return {key: value.replace(JOB_ID, owner) for key, value in options.items()}


def _copy_sink(
    launch: Launch,
    shape: TableShape,
    pairs: Sequence[tuple[str, Carried]],
    key: Sequence[str],
    sink: Sink,
    *,
    more: Sequence[tuple[str, str]],
) -> str:
    columns = (
        [(column.name, sink.column_type(shape, column)) for column in shape.columns]
        if isinstance(sink, WholeTableSink)
        else [*((name, way.sink_type) for name, way in pairs), *more]
    )
    sink_key = [name for name, way in pairs if way.column.name in key]
    ordered = sorted(sink_key, key=lambda name: [k.lower() for k in key].index(name.lower()))
    options = _options(launch, shape.name, sink)
    return create_table(f"{_SINK_PREFIX}{shape.name}", columns, ordered, options)


def _copy_insert(
    each: TableColumns, pairs: Sequence[tuple[str, Carried]], more: Sequence[tuple[str, str]]
) -> str:
    plain = [quote_identifier(name) for name, _ in more]
    written = [way.expression.format(quote_identifier(way.column.name)) for _, way in pairs]
    names = ", ".join([*(quote_identifier(name) for name, _ in pairs), *plain])
    values = ", ".join([*written, *plain])
    target = quote_identifier(f"{_SINK_PREFIX}{each.table.target_name}")
    origin = quote_identifier(each.table.alias)
    return f"INSERT INTO {target} ({names})\nSELECT {values}\nFROM {origin}"


def _query_sink(launch: Launch, shape: TableShape, query: QuerySpec, sink: Sink) -> str:
    if sink.has_columns:
        key = key_of(shape)
        columns = [(c.name, sink.query_type(shape, c)) for c in shape.columns if not c.generated]
    else:
        key, columns = query.key, list(query.columns)
    checked = [(sink.checked_column(name, field=shape.label), kind) for name, kind in columns]
    options = _options(launch, shape.name, sink)
    return create_table(f"{_SINK_PREFIX}{shape.name}", checked, key, options)


def _query_insert(shape: TableShape, sql: str) -> str:
    text = sql.strip().rstrip(";").strip()
    if not text or "\x00" in text:
        raise ConfigurationError("the query is empty, or holds a NUL", field=shape.label)
    sink = quote_identifier(f"{_SINK_PREFIX}{shape.name}")
    return f"INSERT INTO {sink}\n{text}"


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
    ddl: Sequence[str],
    statement: str,
    config: Mapping[str, str],
    secrets: Sequence[tuple[str, str]],
) -> str:
    settings = [f"SET {quote_text(k)} = {quote_text(v)}" for k, v in config.items()]
    text = "".join(f"{each};\n\n" for each in [*settings, *ddl, statement])
    hidden = quote_text(_REDACTED)
    for name, secret in sorted(set(secrets), key=lambda pair: len(pair[1]), reverse=True):
        if secret:
            option = quote_text(name)
            text = text.replace(f"{option} = {quote_text(secret)}", f"{option} = {hidden}")
    return text
