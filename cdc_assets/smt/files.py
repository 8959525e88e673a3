"""Files: what `starrocks-create.*.sql` and `flink-create.*.sql` hold. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.starrocks import TableOptions, create_table, quote
from cdc_assets.core.types import Carried, carried
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.quoting import exact_pattern, quote_identifier, quote_text
from cdc_assets.smt.config import SmtConfig
from cdc_assets.smt.matching import TargetTable

_CATALOG = "default_catalog"
_SHARD_TYPE = "STRING"
# What the types need: see flink/source_sql.py, where each is explained.
_SOURCE_DEFAULTS = {
    "scan.incremental.snapshot.enabled": "true",
    "debezium.decimal.handling.mode": "string",
    "debezium.enable.time.adjuster": "false",
    "jdbc.properties.tinyInt1isBit": "false",
}
_SETTINGS = {
    "table.local-time-zone": "UTC",
    # Rows of a key come in order; a materializer would only keep a copy of each table.
    "table.exec.sink.upsert-materialize": "NONE",
    # Without checkpoints a snapshot of more than one chunk never ends.
    "execution.checkpointing.interval": "10s",
}


def render_files(
    config: SmtConfig, targets: Sequence[TargetTable], *, one_job: bool = True
) -> Mapping[str, str]:
    """Return the text of each file by its name, numbered by the rules and `all`.

    Args:
        config: The source.
        targets: The tables.
        one_job: Whether a file's INSERTs are one Flink job, or one each as the tool has it.

    Raises:
        ConfigurationError: The server ids are too few.
        UnsupportedType: A column cannot be carried.
    """
    ids = _server_ids(targets)
    found: dict[str, str] = {}
    numbers = sorted({target.rule.number for target in targets})
    groups = {str(n): [t for t in targets if t.rule.number == n] for n in numbers}
    for suffix, group in {**groups, "all": list(targets)}.items():
        found[f"starrocks-create.{suffix}.sql"] = _starrocks_file(config, group)
        found[f"flink-create.{suffix}.sql"] = _flink_file(config, group, ids, one_job=one_job)
    return found


def _starrocks_file(config: SmtConfig, targets: Sequence[TargetTable]) -> str:
    statements = [
        f"CREATE DATABASE IF NOT EXISTS {quote(name)}"
        for name in dict.fromkeys(target.database for target in targets)
    ]
    for target in targets:
        rule = target.rule
        unknown = set(rule.distributed_by) - set(target.key)
        if unknown:
            raise rule.refused(
                f"distributed_by names {min(unknown)!r}, which is not in the primary key of "
                f"{target.label}"
            )
        options = TableOptions(
            buckets=rule.buckets or config.be_num,
            replication=config.replication,
            decimal_v3=config.use_decimal_v3,
            distributed_by=rule.distributed_by,
            partition=rule.partition,
            properties=rule.properties,
        )
        statements.append(
            create_table(
                target.shape, target.database, target.name, options=options, first=target.first
            )
        )
    return "".join(f"{statement};\n\n" for statement in statements)


def _flink_file(
    config: SmtConfig,
    targets: Sequence[TargetTable],
    ids: Mapping[str, ServerIdRange],
    *,
    one_job: bool,
) -> str:
    statements = [f"SET {quote_text(k)} = {quote_text(v)}" for k, v in _SETTINGS.items()]
    statements += [
        f"CREATE DATABASE IF NOT EXISTS {quote_identifier(_CATALOG)}.{quote_identifier(name)}"
        for name in dict.fromkeys(target.database for target in targets)
    ]
    inserts: list[str] = []
    for target in targets:
        ways = _ways(target)
        tables = [_source(config, target, ways, ids.get(target.label)), _sink(target, ways)]
        if one_job:
            statements += tables
            inserts.append(_insert(target, ways))
        else:
            statements += [*tables, _insert(target, ways)]
    if inserts:
        body = "".join(f"{insert};\n" for insert in inserts)
        statements.append(f"EXECUTE STATEMENT SET\nBEGIN\n{body}END")
    return "".join(f"{statement};\n\n" for statement in statements)


def _ways(target: TargetTable) -> tuple[Carried, ...]:
    """Return how each column of the sources goes through Flink, the key's columns first."""
    key = set(target.shape.primary_key)
    columns = target.columns[len(target.first) :]
    return tuple(
        carried(target.shape.label, column, is_key=column.name in key, target="starrocks")
        for column in columns
    )


def _source(
    config: SmtConfig,
    target: TargetTable,
    ways: Sequence[Carried],
    ids: ServerIdRange | None,
) -> str:
    lines = [
        f"{quote_identifier(column.name)} {_SHARD_TYPE} METADATA VIRTUAL" for column in target.first
    ]
    lines += [_line(way.column.name, way.source_type, way) for way in ways]
    databases = list(dict.fromkeys(shape.database for shape in target.sources))
    names = list(dict.fromkeys(shape.name for shape in target.sources))
    options = {
        "connector": "mysql-cdc",
        "hostname": config.host,
        "port": str(config.port),
        "username": config.user,
        "password": config.password.written,
        "database-name": _pattern(databases),
        "table-name": _pattern(names),
        **_SOURCE_DEFAULTS,
        **target.rule.cdc,
    }
    if ids is not None:
        options["server-id"] = str(ids) if ids.size > 1 else str(ids.first)
    return _table(f"{target.name}_src", target, lines, target.shape.primary_key, options)


def _sink(target: TargetTable, ways: Sequence[Carried]) -> str:
    lines = [f"{quote_identifier(c.name)} {_SHARD_TYPE} NOT NULL" for c in target.first]
    lines += [_line(way.column.name, way.sink_type, way) for way in ways]
    options = {
        "connector": "starrocks",
        "database-name": target.database,
        "table-name": target.name,
        **target.rule.sink,
        "password": target.rule.sink_password.written,
    }
    return _table(f"{target.name}_sink", target, lines, target.key, options)


def _insert(target: TargetTable, ways: Sequence[Carried]) -> str:
    expressions = [quote_identifier(column.name) for column in target.first]
    expressions += [way.expression.format(quote_identifier(way.column.name)) for way in ways]
    plain = all(way.expression == "{}" for way in ways)
    selected = "*" if plain else ", ".join(expressions)
    into, origin = _name(target, f"{target.name}_sink"), _name(target, f"{target.name}_src")
    return f"INSERT INTO {into} SELECT {selected} FROM {origin}"  # noqa: S608 - names are quoted


def _line(name: str, kind: str, way: Carried) -> str:
    return f"{quote_identifier(name)} {kind} {'NULL' if way.column.nullable else 'NOT NULL'}"


def _table(
    name: str,
    target: TargetTable,
    lines: Sequence[str],
    key: Sequence[str],
    options: Mapping[str, str],
) -> str:
    keys = ", ".join(quote_identifier(column) for column in key)
    body = ",\n".join(f"  {line}" for line in [*lines, f"PRIMARY KEY({keys}) NOT ENFORCED"])
    settings = ",\n".join(f"  {quote_text(k)} = {quote_text(v)}" for k, v in options.items())
    return f"CREATE TABLE IF NOT EXISTS {_name(target, name)} (\n{body}\n) with (\n{settings}\n)"


def _name(target: TargetTable, name: str) -> str:
    return ".".join(map(quote_identifier, (_CATALOG, target.database, name)))


def _pattern(names: Sequence[str]) -> str:
    # The rule's own pattern cannot be used: the connector puts database and table together
    # as `database\.table`, where a `$` in the middle matches nothing.
    patterns = [exact_pattern(name) for name in names]
    return patterns[0] if len(patterns) == 1 else f"(?:{'|'.join(patterns)})"


def _server_ids(targets: Sequence[TargetTable]) -> Mapping[str, ServerIdRange]:
    """Return the ids of each target's reader: a rule's range, divided among its tables."""
    found: dict[str, ServerIdRange] = {}
    by_range: dict[str, list[TargetTable]] = {}
    for target in targets:
        if "server-id" in target.rule.cdc:
            by_range.setdefault(target.rule.cdc["server-id"], []).append(target)
    for text, group in by_range.items():
        ids = ServerIdRange.parse(text)
        size = ids.size // len(group)
        if not size:
            raise group[0].rule.refused(
                f"flink.cdc.server-id {text} holds {ids.size} ids for {len(group)} tables",
                hint="Use one id for each table and each subtask of its reader",
            )
        for index, target in enumerate(group):
            found[target.label] = ids.block(index, size)
    ranges = [ServerIdRange.parse(text) for text in by_range]
    for index, left in enumerate(ranges):
        for right in ranges[index + 1 :]:
            if left.overlaps(right):
                raise ConfigurationError(
                    f"{left} and {right} of two rules overlap", field="flink.cdc.server-id"
                )
    return found
