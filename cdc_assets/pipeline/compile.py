"""Compile: a pipeline and its tables as a stream. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cdc_assets.core.kafka import topic_of
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_patterns import TableName
from cdc_assets.core.table_refs import QualifiedTable, TableRef
from cdc_assets.errors import ConfigurationError
from cdc_assets.pipeline.config import PipelineConfig, Route

_MAX_STREAM = 63


def stream_name(config: PipelineConfig, stem: str) -> str:
    """Return a stream's name: the pipeline's, or the file's, as far as a name can hold it.

    Raises:
        ConfigurationError: Neither has a letter in it.

    Example:
        >>> slug("MySQL to Kafka Pipeline")
        'mysql_to_kafka_pipeline'
    """
    found = slug(config.name) or slug(stem)
    if not found:
        raise ConfigurationError("give the stream a name", field="pipeline.name", file=config.file)
    return found


def slug(text: str) -> str:
    """Return a text as a stream's name, empty where nothing of it can be one."""
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_").lstrip("0123456789_")
    return plain[:_MAX_STREAM].rstrip("_")


def table_refs(config: PipelineConfig, names: Sequence[TableName]) -> tuple[TableRef, ...]:
    """Return the tables with their topics.

    Raises:
        ConfigurationError: A route matches nothing, a table has two topics, two tables have
            one, or a topic cannot be called so.
    """
    found: list[TableRef] = []
    used: set[int] = set()
    plain = [name for _, name in names]
    for database, table in names:
        routes = [r for r in config.routes if any(p.matches((database, table)) for p in r.patterns)]
        used.update(id(route) for route in routes)
        topics = list(dict.fromkeys(route.topic_of(table) for route in routes))
        if config.topic:
            topics = [config.topic]
        if len(topics) > 1:
            raise routes[-1].origin.refused(
                f"{database}.{table} has another topic by another route: {' and '.join(topics)}",
                hint="A captured table has one topic; narrow one of the two routes",
            )
        kind = QualifiedTable if plain.count(table) > 1 else TableRef
        found.append(kind(database, table, topics[0] if topics else f"{database}.{table}"))
        _refuse_topic(config, found[-1], routes)
    for route in config.routes:
        if id(route) not in used:
            raise route.origin.refused(
                f"{', '.join(p.text for p in route.patterns)} matches none of the captured tables",
                hint="Mend source-table, or take the route out",
            )
    for patterns, at in config.transforms:
        if not any(pattern.matches(name) for pattern in patterns for name in names):
            raise at.refused(
                f"{', '.join(p.text for p in patterns)} matches none of the captured tables",
                hint="Mend source-table, or take the transform out",
            )
    if not config.is_native:  # Flink CDC's records say which table they are of.
        _refuse_doubles(config, found)
    return tuple(found)


def _refuse_topic(config: PipelineConfig, table: TableRef, routes: Sequence[Route]) -> None:
    try:
        topic_of("", table.target_name)
    except ConfigurationError as error:
        origin = routes[0].origin if routes else config.tables_at
        raise origin.refused(
            f"{table.label} cannot have the topic {table.target_name!r}: "
            "Kafka takes letters, digits, '.', '_' and '-', at most 249",
            hint="Name its topic in a route, or leave it out with tables.exclude",
        ) from error


def _refuse_doubles(config: PipelineConfig, tables: Sequence[TableRef]) -> None:
    seen: dict[str, TableRef] = {}
    for table in tables:
        # Kafka's own metrics take a.b and a_b for one.
        other = seen.setdefault(table.target_name.replace(".", "_"), table)
        if other is table:
            continue
        route = next(
            (r for r in config.routes
             if any(p.matches((table.database, table.name)) for p in r.patterns)), None
        )  # fmt: skip
        same = other.target_name == table.target_name
        what = "would share the topic" if same else "would have topics that Kafka takes for one:"
        topics = table.target_name if same else f"{other.target_name} and {table.target_name}"
        raise (route.origin if route else config.tables_at).refused(
            f"{other.label} and {table.label} {what} {topics}",
            hint="Rows of one key would overwrite each other, and unlike keys cannot be told "
            "apart; give each table its own topic, with replace-symbol for instance",
        )


def compile_stream(
    config: PipelineConfig,
    names: Sequence[TableName],
    *,
    stream: str,
    prefix: str = "",
    server_ids: ServerIdRange | None = None,
    parallelism: int | None = None,
    exclude_columns: Sequence[str] = (),
    checkpoint_interval_seconds: float = 3.0,
) -> StreamSpec:
    """Return the stream.

    Args:
        config: The pipeline.
        names: The captured tables.
        stream: The stream's name.
        prefix: Before each topic's name.
        server_ids: Where the pipeline has none.
        parallelism: Where the pipeline has none.
        exclude_columns: `table.column` names that are not carried.
        checkpoint_interval_seconds: Flink's checkpoint interval.

    Raises:
        ConfigurationError: They do not make a stream.
    """
    both = (
        ("source.server-id", config.server_ids, server_ids),
        ("pipeline.parallelism", config.parallelism, parallelism),
    )
    for what, mine, given in both:
        if mine is not None and given is not None:
            raise ConfigurationError(
                f"the file has {mine}, and {given} is given, too", field=what, file=config.file
            )
    ids = config.server_ids or server_ids
    if ids is None:
        raise ConfigurationError(
            "is missing: each reader needs ids of its own", field="source.server-id",
            file=config.file, hint="Write 5400-5409, or give server_ids",
        )  # fmt: skip
    if config.is_native and exclude_columns:
        raise ConfigurationError(
            "Flink CDC leaves no columns out by name", field="exclude_columns",
            value=list(exclude_columns), hint="Write a projection into the file's transform",
        )  # fmt: skip
    tables = table_refs(config, names)
    shared = len({table.target_name for table in tables}) < len(tables)
    uncounted = config.native.uncounted or ("tables share a topic" if shared else "")
    return StreamSpec(
        name=stream,
        tables=tables,
        engine="flink-cdc" if config.is_native else "flink",
        uncounted=uncounted if config.is_native else "",
        server_ids=ids,
        target_kind="kafka",
        target_database=prefix,
        parallelism=config.parallelism or parallelism or 1,
        exclude_columns=tuple(exclude_columns),
        checkpoint_interval_seconds=checkpoint_interval_seconds,
        chosen_by=config.tables,
        left_out=config.excluded,
    )
