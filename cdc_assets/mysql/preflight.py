"""Gather: asks source, green and target everything that `core.preflight` judges."""

# ruff: noqa: S608 - names go through quote_name, values through the driver

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pymysql

from cdc_assets.core.columns import TableShape
from cdc_assets.core.preflight import (
    DEFAULT_RETENTION_HOURS,
    Cascade,
    PreflightFacts,
    Role,
    ServerFacts,
    TargetFacts,
)
from cdc_assets.core.preflight_tables import carried_names
from cdc_assets.core.row_sql import Statement, list_tables, quote_name, table_name, text_of
from cdc_assets.core.shards import members_of
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_patterns import matching
from cdc_assets.errors import CdcError, ConfigurationError, SourceDenied, SourceError
from cdc_assets.mysql.births import prepare_statements, read_birth
from cdc_assets.mysql.client import MySqlSource, describe
from cdc_assets.mysql.session import Session, open_session
from cdc_assets.ports import Server

# A look for zero dates reads the whole table; beyond this many rows it is left to a person.
_PROBED_ROWS = 2_000_000
_PROBE_SECONDS = 30.0
_ZERO = ("zero_dates", "MAX(DAYOFMONTH({0}) = 0 OR MONTH({0}) = 0 OR YEAR({0}) = 0)")
_ZERO_YEAR = ("zero_years", "MAX({0} = 0)")
# By data type: the fact, and the expression that is 1 where a row makes it one.
_LOOKS = {**dict.fromkeys(("date", "datetime", "timestamp"), (_ZERO,)), "year": (_ZERO_YEAR,)}
_CASCADE = re.compile(
    r"CONSTRAINT `((?:[^`]|``)+)` FOREIGN KEY[^\n]*?"
    r"(ON (?:DELETE|UPDATE) (?:CASCADE|SET NULL|SET DEFAULT))"
)


class TargetProbe(Protocol):
    """What a preflight asks of a target; `targets.mysql.MySqlTarget` answers it."""

    @property
    def server(self) -> Server:
        """Return where it is."""
        ...

    @property
    def database(self) -> str:
        """Return the database that holds the target tables."""
        ...

    def account(self) -> str:
        """Return the account as the server names it."""
        ...

    def existing(self, names: Sequence[str]) -> Mapping[str, TableShape]:
        """Return those of the tables that exist."""
        ...

    def unique_indexes(self, names: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """Return unique indexes besides the primary key, by table."""
        ...

    def missing_privileges(self, shapes: Sequence[TableShape]) -> Mapping[str, tuple[str, ...]]:
        """Return what the account may not do, by table."""
        ...

    def is_read_only(self) -> bool:
        """Return whether it refuses writes."""
        ...

    def may_create(self, names: Sequence[str]) -> frozenset[str]:
        """Return those of the tables that the account may make."""
        ...

    def create_statement(self, shape: TableShape, name: str) -> str:
        """Return the statement that makes a target table for a source table."""
        ...


def gather(
    source: MySqlSource,
    spec: StreamSpec,
    target: TargetProbe | None,
    *,
    green: Server | None = None,
    green_group: str | None = None,
    wanted_retention_hours: float = DEFAULT_RETENTION_HOURS,
    server_time_zone: str = "UTC",
) -> PreflightFacts:
    """Ask everything; a server that does not answer is a fact, too.

    Args:
        source: The source, at its endpoint.
        spec: The stream.
        target: The target; None where it judges itself.
        green: Green's own endpoint, where a deployment has one.
        green_group: Apply status of green's parameter group, as RDS says it.
        wanted_retention_hours: How long binlogs must be kept.
        server_time_zone: What the stream is told of the server's time zone.

    Raises:
        ConfigurationError: The time zone does not exist.
    """
    facts = _server_facts(source, source.endpoint, "source", spec)
    return PreflightFacts(
        spec=spec,
        source=facts,
        target=None if target is None else _target_facts(target, spec, facts),
        green=None if green is None else _server_facts(source, green, "green", spec),
        green_group=green_group,
        wanted_retention_hours=wanted_retention_hours,
        wanted_offset_seconds=_offset_of(server_time_zone),
    )


def _offset_of(name: str) -> int:
    try:
        offset = datetime.now(timezone.utc).astimezone(ZoneInfo(name)).utcoffset()
    except (ZoneInfoNotFoundError, ValueError):
        raise ConfigurationError(
            "no such time zone", field="server_time_zone", value=name
        ) from None
    return round(offset.total_seconds()) if offset else 0


def _server_facts(source: MySqlSource, server: Server, role: Role, spec: StreamSpec) -> ServerFacts:
    nothing = ServerFacts(role, str(server))
    try:
        with open_session(source.login, server) as session:
            facts = _asked(session, nothing, spec)
        return replace(facts, **_looked_through(source, server, spec, facts))
    except SourceDenied as error:
        return replace(nothing, problem=error.message, is_denied=True)
    except CdcError as error:
        return replace(nothing, problem=error.message)


def _asked(session: Session, facts: ServerFacts, spec: StreamSpec) -> ServerFacts:
    variables = session.variables()
    is_rds = "/rdsdbbin" in variables.get("basedir", "") or "aurora_version" in variables
    shapes = describe(session, spec.tables)
    may_select = {
        label: all(_may_select(session, each) for each in members_of(shape))
        for label, shape in shapes.items()
    }
    readable = [
        each for label, may in may_select.items() if may for each in members_of(shapes[label])
    ]
    replicas = session.rows_or_none(session.dialect.show_replicas)
    end = session.rows_or_none(session.dialect.show_end)
    return replace(
        facts,
        flavor=session.dialect.flavor,
        version=session.dialect.version,
        is_readable=session.dialect.is_readable_by_flink_cdc,
        is_rds=is_rds,
        account=_account(session),
        variables=variables,
        may_see_end=end is not None,
        may_select=may_select,
        retention_hours=_retention(session, variables, is_rds=is_rds),
        replicas=None if replicas is None else tuple(int(text_of(row[0])) for row in replicas),
        offset_seconds=_offset(session),
        grants=_grants(session) if spec.engine == "debezium" else "",
        shapes=shapes,
        cascades=tuple(each for shape in readable for each in _cascades(session, shape)),
        uncaptured=_uncaptured(session, spec),
        # Last: the connection is spent by it.
        may_dump=_may_dump(session, text_of(end[0][0])) if end else _has_replication(session),
    )


def _uncaptured(session: Session, spec: StreamSpec) -> tuple[str, ...]:
    if not spec.chosen_by:
        return ()
    names = [(text_of(row[0]), text_of(row[1])) for row in session.rows(list_tables())]
    known = {(table.database, table.name) for table in spec.tables}
    left_out = set(matching(spec.left_out, names))
    found = (name for name in matching(spec.chosen_by, names) if name not in known | left_out)
    return tuple(".".join(name) for name in found)


def _account(session: Session) -> str:
    name = text_of(session.rows("SELECT CURRENT_USER()")[0][0])
    user, _, host = name.rpartition("@")
    return f"'{user}'@'{host}'"


def _may_select(session: Session, shape: TableShape) -> bool:
    """Say whether the account may read the whole table; the reader sends these two, too."""
    table = table_name(shape.database, shape.name)
    statements = (f"SELECT * FROM {table} LIMIT 0", f"SHOW CREATE TABLE {table}")
    return all(session.rows_or_none(Statement(each)) is not None for each in statements)


def _may_dump(session: Session, file: str) -> bool:
    try:
        for statement in prepare_statements(session.dialect.flavor):
            session.rows(statement)
        read_birth(session.connection, file)
    except pymysql.err.MySQLError as error:
        if session.is_refusal(error):
            return False
        raise
    return True


def _has_replication(session: Session) -> bool:
    """Say from the grants what cannot be tried: without a file name nothing can be read."""
    grants = _grants(session)
    return "REPLICATION SLAVE" in grants or "ALL PRIVILEGES ON *.*" in grants


def _grants(session: Session) -> str:
    return " ".join(text_of(row[0]).upper() for row in session.rows("SHOW GRANTS"))


def _offset(session: Session) -> int:
    session.rows("SET SESSION time_zone = @@GLOBAL.time_zone")
    row = session.rows("SELECT TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), NOW())")[0]
    session.rows("SET SESSION time_zone = '+00:00'")
    return int(text_of(row[0]) or 0)


def _retention(session: Session, variables: Mapping[str, str], *, is_rds: bool) -> float | None:
    """Return for how many hours binlogs are kept, None when not known, inf for ever."""
    name = "binlog retention hours"
    table = Statement("SELECT value FROM mysql.rds_configuration WHERE name = %s", (name,))
    for statement in (table, "CALL mysql.rds_show_configuration"):
        rows = session.rows_or_none(statement)
        if rows:
            value = rows[0][0] if statement is table else _named(rows, name)
            return float(text_of(value) or 0)  # NULL: RDS keeps nothing
    if is_rds:
        return None  # RDS does not look at the server's own variables
    seconds = float(variables.get("binlog_expire_logs_seconds", "0") or 0)
    days = float(variables.get("expire_logs_days", "0") or 0)
    found = max(seconds / 3600, days * 24)
    return found or math.inf


def _named(rows: Sequence[Sequence[object]], name: str) -> object:
    return next((row[1] for row in rows if text_of(row[0]) == name), None)


def _cascades(session: Session, shape: TableShape) -> Sequence[Cascade]:
    # information_schema shows foreign keys only to accounts that may do more than SELECT.
    rows = session.rows(Statement(f"SHOW CREATE TABLE {table_name(shape.database, shape.name)}"))
    return [
        Cascade(shape.label, match[1].replace("``", "`"), match[2])
        for match in _CASCADE.finditer(text_of(rows[0][1]))
    ]


def _looked_through(
    source: MySqlSource, server: Server, spec: StreamSpec, facts: ServerFacts
) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {"zero_dates": [], "zero_years": [], "unprobed": []}
    for table in spec.tables:
        shape = facts.shapes.get(table.label)
        if shape is None or not facts.may_select.get(table.label):
            continue
        carried = {column.name for column in carried_names(spec, table, shape)}
        carried |= set(spec.transform_of(table).reads([c.name for c in shape.columns]))
        for each in members_of(shape):
            looks = [
                (fact, column.name, look.format(quote_name(column.name).replace("%", "%%")))
                for column in each.columns
                if column.name in carried
                for fact, look in _LOOKS.get(column.data_type, ())
            ]
            if not looks:
                continue
            if each.rows_estimate > _PROBED_ROWS:
                found["unprobed"].append(each.label)
                continue
            try:
                values = _looked(source, server, each, [look for _, _, look in looks])
            except SourceError:
                found["unprobed"].append(each.label)
                continue
            for (fact, name, _), value in zip(looks, values, strict=True):
                if text_of(value) == "1":
                    found[fact].append(f"{each.label}.{name}")
    return {fact: tuple(names) for fact, names in found.items()}


def _looked(
    source: MySqlSource, server: Server, table: TableShape, looks: Sequence[str]
) -> Sequence[object]:
    statement = Statement(
        f"SELECT {', '.join(looks)} FROM {table_name(table.database, table.name)}"
    )
    with open_session(source.login, server, read_timeout_seconds=_PROBE_SECONDS) as session:
        return session.rows(statement)[0]


def _target_facts(target: TargetProbe, spec: StreamSpec, source: ServerFacts) -> TargetFacts:
    nothing = TargetFacts(str(target.server), target.database)
    try:
        shapes = target.existing(spec.target_names)
        facts = replace(
            nothing,
            is_read_only=target.is_read_only(),
            shapes=shapes,
            unique_indexes=target.unique_indexes(spec.target_names),
            missing_privileges=target.missing_privileges(tuple(shapes.values())),
            account=target.account(),
            may_create=target.may_create(
                [name for name in spec.target_names if spec.makes(name) and name not in shapes]
            ),
        )
    except CdcError as error:
        return replace(nothing, problem=error.message)
    made = spec.as_made(tuple(source.shapes.values()))
    statements = {name: target.create_statement(shape, name) for name, shape in made.items()}
    return replace(facts, create_statements=statements)
