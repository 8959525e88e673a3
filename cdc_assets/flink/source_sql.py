"""Source SQL: a reader as the DDL of one `mysql-cdc` table, and a view for each table. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cdc_assets.core.readers import TABLE_FIELD, Reader, TableColumns, own_value
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.table_refs import ShardedTable
from cdc_assets.flink.quoting import exact_pattern, quote_identifier, quote_text
from cdc_assets.ports import Launch

# Names of the columns that say which table a row of a shared reader comes from.
_TABLE_COLUMN = "cdc$table"
# A reader with this option follows the binlog and its tables' columns, and emits no row
# (MySqlStreamingChangeEventSource of Flink CDC 3.5: no handler for events of rows).
_NO_ROWS = {"debezium.skipped.operations": "c,u,d"}


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


def reader_sql(
    launch: Launch, reader: Reader, number: int, source: SourceAccess, *, is_marked: bool = False
) -> tuple[str, ...]:
    """Return the statements that make a reader's tables known under their own names.

    A reader of one table is that table. A shared reader is a table of its own, and each
    captured table is a view of it that gives its columns their own types back.

    Args:
        launch: Server and startup.
        reader: Its tables and columns.
        number: Of the reader, from 1.
        source: Account.
        is_marked: Whether the views hold the rows of all tables, with `TABLE_FIELD` set in
            their own, instead of their own rows only.
    """
    options = reader_options(launch, reader, source)
    if not reader.is_shared:
        name = reader.tables[0].table.alias
        known = [
            f"{quote_identifier(each)} STRING NOT NULL METADATA FROM {quote_text(each)} VIRTUAL"
            for each in reader.tables[0].metadata
        ]
        return (create_table(name, reader.columns, reader.key, options, more=known),)
    name, marker = f"reader.{number}", _marker(reader)
    metadata = f"{quote_identifier(marker)} STRING METADATA FROM 'table_name' VIRTUAL"
    ddl = create_table(name, reader.columns, reader.key, options, more=(metadata,))
    view = _marked_view if is_marked else _view
    return (
        ddl,
        *(
            view(name, _condition(marker, each, is_written=_is_written(launch, each)), reader, each)
            for each in reader.tables
        ),
    )


def reader_options(launch: Launch, reader: Reader, source: SourceAccess) -> Mapping[str, str]:
    """Return the options of a reader's DDL in one launch: server, account, start and chunks."""
    is_read = any(_is_written(launch, each) for each in reader.tables)
    return {
        **_source_options(launch, reader, source),
        **startup_options(launch),
        **_chunking(reader, is_stateful=launch.spec.stateful),
        **({} if is_read else _NO_ROWS),
    }


def _is_written(launch: Launch, each: TableColumns) -> bool:
    return launch.only in {"", each.table.label}


def _condition(marker: str, each: TableColumns, *, is_written: bool) -> str:
    """Return what is true for the rows of a table, and for none where it is not to be written.

    The plan stays what it is, because state fits no other one. No table's name ends with a
    space (MySQL manual, "Schema Object Names").
    """
    name = each.table.name if is_written else f"{each.table.name} "
    return f"{quote_identifier(marker)} = {quote_text(name)}"


def _marker(reader: Reader) -> str:
    taken = {name.lower() for name, _ in reader.columns}
    marker = _TABLE_COLUMN
    while marker.lower() in taken:
        marker += "$"
    return marker


def _view(origin: str, is_own: str, reader: Reader, each: TableColumns) -> str:
    return (
        f"CREATE TEMPORARY VIEW {quote_identifier(each.table.alias)} AS\n"
        f"SELECT {_values(reader, each)}\nFROM {quote_identifier(origin)}\n"
        f"WHERE {is_own}"
    )


def _marked_view(origin: str, is_own: str, reader: Reader, each: TableColumns) -> str:
    field = f"CASE WHEN {is_own} THEN {quote_text(each.table.label)} END"
    return (
        f"CREATE TEMPORARY VIEW {quote_identifier(each.table.alias)} AS\n"
        f"SELECT {_values(reader, each)}, {field} AS {quote_identifier(TABLE_FIELD)}\n"
        f"FROM {quote_identifier(origin)}"
    )


def _values(reader: Reader, each: TableColumns) -> str:
    columns = [
        (own_value(way, reader.type_of(way.column.name), quoted), quoted)
        for way in each.known
        for quoted in (quote_identifier(way.column.name),)
    ]
    return ", ".join(value if value == name else f"{value} AS {name}" for value, name in columns)


def _source_options(launch: Launch, reader: Reader, source: SourceAccess) -> Mapping[str, str]:
    database, table = _patterns(reader)
    return {
        "connector": "mysql-cdc",
        "database-name": database,
        "table-name": table,
        "scan.incremental.snapshot.enabled": "true",
        **connection_options(launch, reader.server_ids, source),
        # Beyond 38 digits a decimal travels as text, and this is the text without exponent.
        "debezium.decimal.handling.mode": "string",
        # Without it the years 0 to 99 become 1970 to 2069.
        "debezium.enable.time.adjuster": "false",
        "jdbc.properties.tinyInt1isBit": "false",
    }


def connection_options(
    launch: Launch, ids: ServerIdRange, source: SourceAccess
) -> Mapping[str, str]:
    """Return how Flink CDC connects, in SQL and in a pipeline alike; recovery leans on it."""
    options = {
        "hostname": launch.server.host,
        "port": str(launch.server.port),
        "username": source.username,
        "password": source.password,
        "server-id": str(ids) if ids.size > 1 else str(ids.first),
        "server-time-zone": source.time_zone,
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
        # A poll of the reader's queue returns when a batch is full or this time is over. At
        # Debezium's 500 ms a chunk of a few rows takes a second, and a change waits for half.
        "debezium.poll.interval.ms": "20",
        # All readers of one account and server in a job manager share one pool, which keeps
        # the size of the first that asked. Each one's start holds a connection while it asks
        # for a second: at the default, 20, more readers than that wait for each other until
        # they fail. It grows by need (PooledDataSourceFactory: one idle connection).
        "connection.pool.size": "1000",
    }
    if source.tls:
        options["debezium.database.ssl.mode"] = "required"
        options["jdbc.properties.sslMode"] = "REQUIRED"
    return options


def _patterns(reader: Reader) -> tuple[str, str]:
    """Return the regular expressions of database and table; the connector joins them by a dot."""
    first = reader.tables[0].table
    if isinstance(first, ShardedTable):
        return f"(?:{first.database})", f"(?:{first.name})"
    names = [exact_pattern(each.table.name) for each in reader.tables]
    table = names[0] if len(names) == 1 else f"(?:{'|'.join(names)})"
    return exact_pattern(reader.database), table


def startup_options(launch: Launch) -> Mapping[str, str]:
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


def _chunking(reader: Reader, *, is_stateful: bool) -> Mapping[str, str]:
    """Return how a reader's tables are cut into the chunks of their snapshot.

    The connector finds the chunk of a changed row by Java's comparison of the key's first
    column, and cuts by the server's (RecordUtils.splitKeyRangeContains). The two agree on
    integers only: a text key under `utf8mb4_general_ci`, a date or a decimal would be found
    in a wrong chunk, and its change dropped: 190 of 60 000 rows in a trial. Without the
    backfill every change since the snapshot began is delivered, which an upsert takes and
    a running count does not.
    """
    is_integer = reader.cut_by
    if is_integer[0]:
        return {}
    if not is_stateful:
        return {"scan.incremental.snapshot.backfill.skip": "true"}
    # Slower, because no index begins with that column, but right.
    other = next((name for name, good in zip(reader.key, is_integer, strict=True) if good), None)
    return {} if other is None else {"scan.incremental.snapshot.chunk.key-column": other}


def create_table(
    name: str,
    columns: Sequence[tuple[str, str]],
    key: Sequence[str],
    options: Mapping[str, str],
    *,
    more: Sequence[str] = (),
) -> str:
    """Return the DDL of a temporary table.

    Args:
        name: Of the table.
        columns: Name and type of each physical column.
        key: Primary key.
        options: Of the connector, in clear text.
        more: Other columns, as they stand in the DDL.
    """
    lines = [f"  {quote_identifier(column)} {kind}" for column, kind in columns]
    lines.extend(f"  {line}" for line in more)
    keys = ", ".join(quote_identifier(column) for column in key)
    lines.append(f"  PRIMARY KEY ({keys}) NOT ENFORCED")
    settings = ",\n".join(f"  {quote_text(k)} = {quote_text(v)}" for k, v in options.items())
    body = ",\n".join(lines)
    return f"CREATE TEMPORARY TABLE {quote_identifier(name)} (\n{body}\n) WITH (\n{settings}\n)"
