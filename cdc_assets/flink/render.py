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
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.readers import TABLE_FIELD, TableColumns, key_of, plan_readers
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.transform_check import require_sound
from cdc_assets.core.types import Carried
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.copy_sql import (
    SINK_PREFIX,
    Copy,
    Probe,
    computed_columns,
    copy_sink,
)
from cdc_assets.flink.lookup_sql import LookupTables, lookup_joins
from cdc_assets.flink.quoting import quote_identifier, quote_text
from cdc_assets.flink.sinks import JOB_ID, Sink
from cdc_assets.flink.source_sql import SourceAccess, create_table, reader_sql
from cdc_assets.ports import Launch

_REDACTED = "***"
# The folder of a job's checkpoints or savepoints.
_JOB = re.compile(r"/([0-9a-f]{32})(?=/)")
_TABLE_MARK = (TABLE_FIELD, "STRING NOT NULL")
# Rows of other tables have NULL there. Elsewhere a sink's column must not be NULL only in
# the key, and no key of a captured table is.
_DROP_OTHERS = {"table.exec.sink.not-null-enforcer": "DROP"}
# A row of a shared reader goes to every table's statement, and Flink copies it for each one.
# Copies hold no row longer than its call: the JDBC and upsert-kafka writers copy what they
# buffer when rows are reused (GenericJdbcSinkFunction, KafkaDynamicSink), the others write bytes.
_REUSE_ROWS = {"pipeline.object-reuse": "true"}
# What is not code in a query: texts, quoted names and comments.
_NO_CODE = re.compile(r"'(?:[^']|'')*'|`(?:[^`]|``)*`|--[^\n]*|//[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True)
class RenderedStream:
    """A job's SQL.

    Attributes:
        ddl: One statement for each table, to run first.
        statement: The statement that starts the job.
        config: Session configuration.
        redacted: All of it for people, without secrets.
        probes: What people wrote of it, each text in a query of its own.
    """

    ddl: tuple[str, ...] = field(repr=False)
    statement: str
    config: Mapping[str, str]
    redacted: str
    probes: tuple[Probe, ...] = ()


@dataclass(frozen=True)
class StreamRenderer:
    """Renders launches of streams that read one source and write one target."""

    source: SourceAccess
    sink: Sink
    lookups: LookupTables | None = None

    def __call__(
        self, launch: Launch, shapes: Sequence[TableShape], target_shapes: Sequence[TableShape]
    ) -> RenderedStream:
        """Return the SQL of a launch.

        Raises:
            ConfigurationError: A table, a column or a name does not fit.
            UnsupportedType: A column cannot be carried.
        """
        return render_stream(
            launch,
            shapes,
            target_shapes,
            source=self.source,
            sink=self.sink,
            lookups=self.lookups,
        )


def render_stream(
    launch: Launch,
    shapes: Sequence[TableShape],
    target_shapes: Sequence[TableShape],
    *,
    source: SourceAccess,
    sink: Sink,
    lookups: LookupTables | None = None,
) -> RenderedStream:
    """Return the SQL of a launch.

    Args:
        launch: Server and startup: state, coordinates or a GTID set, or the snapshot.
        shapes: The captured tables.
        target_shapes: The target tables.
        source: Account of the readers.
        sink: Where rows go.
        lookups: Where lookup tables are.

    Raises:
        ConfigurationError: A table, a column or a name does not fit.
        UnsupportedType: A column cannot be carried.
    """
    spec = launch.spec
    require_sound(spec, shapes)
    looked_up = _lookup_shapes(spec, lookups)
    sinks = {shape.name: shape for shape in target_shapes}
    ddl: list[str] = []
    copies: dict[str, Copy] = {}
    readers = plan_readers(spec, shapes)
    # What reads these tables is their copies only: queries have readers of their own.
    marked = not sink.has_columns and any(reader.is_shared for reader in readers)
    for number, reader in enumerate(readers, start=1):
        is_marked = marked and reader.is_shared
        ddl.extend(reader_sql(launch, reader, number, source, is_marked=is_marked))
        for each in reader.tables:
            if each.table.alias not in spec.source_only:
                shape = _found(sinks, each.table.target_name)
                is_sieved = not sink.has_columns and _sieves(spec, each)
                copy = Copy(
                    each,
                    pairs=tuple((_sink_column(sink, shape, way), way) for way in each.columns),
                    computed=computed_columns(sink, shape, each),
                    more=(_TABLE_MARK,) if is_marked or is_sieved else (),
                    lookups=lookup_joins(spec, each, lookups.sink, looked_up) if lookups else (),
                    is_sieved=is_sieved,
                )
                ddl.extend(lookup.ddl for lookup in copy.lookups)
                ddl.append(copy_sink(sink, shape, copy, sink_options(launch, shape.name, sink)))
                copies[each.table.alias] = copy
    # In the order of the tables, whatever readers they share.
    inserts = [copies[table.alias].insert for table in spec.copied]
    probes = [probe for table in spec.copied for probe in copies[table.alias].probes]
    for query in spec.queries:
        shape = _found(sinks, query.target_name)
        made, insert, probe = _query(launch, shape, query, sink)
        ddl.append(made)
        inserts.append(insert)
        probes.append(probe)
    clash = {table.alias for table in spec.tables} & {f"{SINK_PREFIX}{name}" for name in sinks}
    if clash:
        raise ConfigurationError("clashes with a sink", field="tables", value=min(clash))
    if not inserts:
        raise ConfigurationError("nothing is written to the target", field=f"{spec.name}.tables")
    body = "\n".join(f"{insert};" for insert in inserts)
    statement = f"EXECUTE STATEMENT SET BEGIN\n{body}\nEND"
    drops = marked or any(copy.is_sieved for copy in copies.values())
    config = {
        **job_settings(spec),
        **(_DROP_OTHERS if drops else {}),
        **(_REUSE_ROWS if _only_copies(spec) else {}),
    }
    secrets = [("password", source.password), *sink.secrets]
    secrets += lookups.sink.secrets if lookups else ()
    text = _for_people(ddl, statement, config, secrets)
    return RenderedStream(tuple(ddl), statement, config, text, tuple(probes))


def _only_copies(spec: StreamSpec) -> bool:
    """Return whether no operator of the job keeps rows, in state or in a cache."""
    return not (spec.stateful or spec.materializes or spec.lookup_tables)


def _sieves(spec: StreamSpec, each: TableColumns) -> bool:
    """Return whether a topic's writer drops the rows of a filter, and no WHERE is needed."""
    return bool(each.transform.filter) and not spec.latest_values_only


def _lookup_shapes(spec: StreamSpec, lookups: LookupTables | None) -> Mapping[str, TableShape]:
    if not spec.lookup_tables:
        return {}
    if lookups is None:
        raise ConfigurationError(
            "say where the lookup tables are",
            field=f"{spec.name}.lookups",
            value=", ".join(spec.lookup_tables),
            hint="Give 'lookup', in a component 'lookup_host' and what belongs to it",
        )
    return {shape.name: shape for shape in lookups.describe(spec.lookup_tables)}


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
        made, insert, _ = _query(launch, shape, query, sink)
        statements.append(made)
        inserts.append(insert)
    body = "\n".join(f"{insert};" for insert in inserts)
    statement = f"EXECUTE STATEMENT SET BEGIN\n{body}\nEND"
    config = job_settings(launch.spec)
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


def sink_options(launch: Launch, name: str, sink: Sink) -> Mapping[str, str]:
    """Return the options of a target table's DDL in one launch."""
    options = sink.options(launch.spec, name)
    found = _JOB.findall(launch.restore_path or "")
    owner = found[-1] if found else launch.job_id
    return {key: value.replace(JOB_ID, owner) for key, value in options.items()}


def _query(
    launch: Launch, shape: TableShape, query: QuerySpec, sink: Sink
) -> tuple[str, str, Probe]:
    """Return the DDL of a query's target table, the INSERT, and what Flink is asked about it."""
    columns, sql = _query_columns(shape, query, sink), _query_text(shape, query.sql)
    key = key_of(shape) if sink.has_columns else query.key
    name = f"{SINK_PREFIX}{shape.name}"
    ddl = create_table(name, columns, key, sink_options(launch, shape.name, sink))
    field = f"queries.{query.target_name}"
    probe = Probe(field, query.sql, sql, tuple(columns), is_query=True, target=query.target_name)
    return ddl, f"INSERT INTO {quote_identifier(name)}\n{sql}", probe


def _query_columns(shape: TableShape, query: QuerySpec, sink: Sink) -> list[tuple[str, str]]:
    if sink.has_columns:
        columns = [(c.name, sink.query_type(shape, c)) for c in shape.columns if not c.generated]
    else:
        columns = list(query.columns)
    return [(sink.checked_column(name, field=shape.label), kind) for name, kind in columns]


def _query_text(shape: TableShape, sql: str) -> str:
    text = sql.strip().rstrip(";").strip()
    if not text or "\x00" in text:
        raise ConfigurationError("the query is empty, or holds a NUL", field=shape.label)
    # The statement set would take what follows as a statement of its own.
    if ";" in _NO_CODE.sub(" ", text):
        raise ConfigurationError(
            "write one query", field=shape.label, value=" ".join(text.split())[:200]
        )
    # A comment would swallow the semicolon that ends it.
    return f"{text}\n" if "--" in text or "//" in text else text


def job_settings(spec: StreamSpec) -> Mapping[str, str]:
    """Return the settings that every job of a stream runs with."""
    materialize = "FORCE" if spec.materializes else "AUTO" if spec.stateful else "NONE"
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
        "table.exec.sink.upsert-materialize": materialize,
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
