"""Preflight: from facts about servers and tables to faults, each with what mends it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from cdc_assets.core.columns import TableShape
from cdc_assets.core.source import Flavor
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import ShardedTable

Severity = Literal["error", "warning"]
Role = Literal["source", "green"]

DEFAULT_RETENTION_HOURS = 24.0
_OFF = frozenset({"", "0", "OFF", "NO"})
# The connector accepts this much (MySqlValidator.checkTimeZone).
_ZONE_TOLERANCE_SECONDS = 1800


@dataclass(frozen=True)
class Fault:
    """One thing that is not as it must be.

    Attributes:
        field: What it is about, for example `source.binlog_format` or `shop.orders.price`.
        found: What is there.
        wanted: What must be there.
        fix: The statement or the setting that mends it.
        severity: An error stops a launch.
    """

    field: str
    found: str
    wanted: str
    fix: str
    severity: Severity = "error"

    @property
    def text(self) -> str:
        """Return the fault in one line."""
        return f"{self.field}: found {self.found}, wanted {self.wanted}"


def missing_table(
    label: str, wanted: str, statement: str, *, is_made: bool, lacks: str = ""
) -> Fault:
    """Return the fault of a target table that does not exist.

    Args:
        label: Of the table.
        wanted: What must be there.
        statement: The one that makes it, for a person and for the snapshot alike.
        is_made: Whether the snapshot makes it; then it stops nothing.
        lacks: The grant with which the snapshot would make it.
    """
    if is_made:
        return Fault(label, "no such table", f"{wanted}; the snapshot makes it", statement,
                     "warning")  # fmt: skip
    more = f", or {lacks}, and the snapshot makes it" if lacks else ""
    return Fault(label, "no such table", f"{wanted}{more}", statement)


@dataclass(frozen=True)
class Cascade:
    """A foreign key whose action changes rows of a captured table."""

    table: str
    constraint: str
    clause: str


@dataclass(frozen=True)
class ServerFacts:
    """What one server of the source says.

    Attributes:
        role: `green` is checked as the source that it will be.
        address: Where it was asked.
        problem: Why it could not be asked, empty when it answered.
        is_denied: Whether it answered by refusing the account.
        flavor: `mysql` or `mariadb`.
        version: As it says it.
        is_readable: Whether Flink CDC reads this version.
        is_rds: Whether settings are made by parameter groups.
        account: Account as the server names it, `'cdc'@'%'`.
        variables: Global variables.
        may_see_end: Whether the account may ask for the last coordinates.
        may_dump: Whether the account may read the binlog; None where nothing is to read.
        may_select: Whether the account may read a table, by its label.
        retention_hours: How long binlogs are kept; None when not known, inf for ever.
        replicas: Server ids of registered replicas; None when the account may not ask.
        offset_seconds: Of the server's time zone from UTC.
        shapes: Captured tables that exist, by label.
        cascades: Foreign keys of the captured tables that change rows by themselves.
        zero_dates: `database.table.column` names that hold dates with a zero part.
        zero_years: `database.table.column` names of YEAR columns that hold 0000.
        unprobed: Tables that are too large to be looked through for either.
        grants: The account's grants, upper case; empty when not asked.
        uncaptured: Tables that the stream's patterns match and that it does not capture.
    """

    role: Role
    address: str
    problem: str = ""
    is_denied: bool = False
    flavor: Flavor = "mysql"
    version: str = ""
    is_readable: bool = True
    is_rds: bool = False
    account: str = ""
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    may_see_end: bool = True
    may_dump: bool | None = True
    may_select: Mapping[str, bool] = field(default_factory=dict[str, bool])
    retention_hours: float | None = None
    replicas: tuple[int, ...] | None = ()
    offset_seconds: int = 0
    shapes: Mapping[str, TableShape] = field(default_factory=dict[str, TableShape])
    cascades: tuple[Cascade, ...] = ()
    zero_dates: tuple[str, ...] = ()
    zero_years: tuple[str, ...] = ()
    unprobed: tuple[str, ...] = ()
    grants: str = ""
    uncaptured: tuple[str, ...] = ()


@dataclass(frozen=True)
class TargetFacts:
    """What the target says.

    Attributes:
        address: Where it was asked.
        database: Holds the target tables.
        problem: Why it could not be asked, empty when it answered.
        is_read_only: Whether it refuses writes.
        shapes: Target tables that exist, by name.
        unique_indexes: Unique indexes besides the primary key, by table.
        missing_privileges: Privileges that the account lacks, by table.
        account: Account as the server names it.
        create_statements: Statement that makes a target table, by name.
        may_create: Names of missing tables that the account may make.
    """

    address: str
    database: str
    problem: str = ""
    is_read_only: bool = False
    shapes: Mapping[str, TableShape] = field(default_factory=dict[str, TableShape])
    unique_indexes: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict[str, tuple[str, ...]]
    )
    missing_privileges: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict[str, tuple[str, ...]]
    )
    account: str = ""
    create_statements: Mapping[str, str] = field(default_factory=dict[str, str])
    may_create: frozenset[str] = frozenset()


@dataclass(frozen=True)
class PreflightFacts:
    """The input of `judge`.

    Attributes:
        spec: The stream.
        source: The server behind the endpoint.
        target: The target; None where it judges itself.
        green: Green's own endpoint, None without a deployment.
        green_group: Apply status of green's parameter group, None without one.
        wanted_retention_hours: How long binlogs must be kept.
        wanted_offset_seconds: Of the time zone that the stream is told.
    """

    spec: StreamSpec
    source: ServerFacts
    target: TargetFacts | None
    green: ServerFacts | None = None
    green_group: str | None = None
    wanted_retention_hours: float = DEFAULT_RETENTION_HOURS
    wanted_offset_seconds: int = 0


def judge_server(facts: PreflightFacts, server: ServerFacts) -> Iterator[Fault]:
    """Yield the faults of one server of the source, its settings and its account."""
    if server.problem:
        yield _unreachable(server)
        return
    if not server.is_readable and facts.spec.engine != "debezium":
        yield Fault(
            f"{server.role}.version",
            f"{server.flavor} {server.version}",
            "MySQL 5.6 to 8.3, or MariaDB",
            "Use a version that Flink CDC 3.5 reads; Flink CDC 3.6 and newer read MySQL 8.4, and"
            " so does Debezium (Kafka)",
        )
    yield from _settings(server)
    yield from _account(facts, server)
    if facts.spec.engine == "debezium":
        yield from _locks(server)
    yield from _retention(facts, server)
    yield from _server_ids(facts, server)
    offset = server.offset_seconds
    if abs(offset - facts.wanted_offset_seconds) > _ZONE_TOLERANCE_SECONDS:
        yield Fault(
            f"{server.role}.time_zone",
            f"{offset} s from UTC",
            f"{facts.wanted_offset_seconds} s from UTC",
            _set(server, "time_zone", "'+00:00'")
            if not facts.wanted_offset_seconds
            else "Tell the stream the server's time zone, server_time_zone",
        )


def judge_group(facts: PreflightFacts) -> Iterator[Fault]:
    """Yield the fault of green's parameter group."""
    if facts.green_group is not None and facts.green_group != "in-sync":
        yield Fault(
            "green.parameter_group",
            facts.green_group,
            "in-sync",
            "Reboot green before the switchover, so that its parameters apply: "
            "aws rds reboot-db-instance --db-instance-identifier <green>",
        )


def _unreachable(server: ServerFacts) -> Fault:
    if server.is_denied:
        return Fault(
            f"{server.role}.account",
            server.problem,
            "an account that may log in",
            "Correct user name and password, or: CREATE USER 'cdc'@'%' IDENTIFIED BY '...';",
        )
    return Fault(
        f"{server.role}.host",
        server.problem,
        "a server that answers",
        "Check host, port, security group and that the server runs",
    )


def _settings(server: ServerFacts) -> Iterator[Fault]:
    variables = server.variables
    if variables.get("log_bin", "").upper() in _OFF:
        fix = (
            "Set a backup retention period of 1 day or more (RDS), binlog_format=ROW (Aurora)"
            if server.is_rds
            else "Start the server with --log-bin"
        )
        yield Fault(f"{server.role}.log_bin", "OFF", "ON", fix)
        return
    wanted = {
        "binlog_format": ("ROW", "'ROW'", ()),
        "binlog_row_image": ("FULL", "'FULL'", ("",)),
        "binlog_row_value_options": ("''", "''", ("",)),
        "binlog_transaction_compression": ("OFF", "OFF", tuple(_OFF)),
        "log_bin_compress": ("OFF", "OFF", tuple(_OFF)),
    }
    for name, (text, value, others) in wanted.items():
        found = variables.get(name, "").upper()
        if found not in {text, *others} and (found or name in variables):
            yield Fault(f"{server.role}.{name}", found, text, _set(server, name, value))
    mode = variables.get("gtid_mode", "").upper()
    if mode.endswith("PERMISSIVE"):
        yield Fault(
            f"{server.role}.gtid_mode",
            mode,
            "ON or OFF",
            f"Until then it is read by file and position: {_set(server, 'gtid_mode', 'ON')}",
            "warning",
        )


def _account(facts: PreflightFacts, server: ServerFacts) -> Iterator[Fault]:
    missing = [
        name
        for name, has in (
            ("REPLICATION CLIENT", server.may_see_end),
            ("REPLICATION SLAVE", server.may_dump is not False),
        )
        if not has
    ]
    if missing:
        text = ", ".join(missing)
        yield Fault(
            f"{server.role}.grants",
            f"{server.account} without {text}",
            text,
            f"GRANT {text} ON *.* TO {server.account};",
        )
    for table in facts.spec.tables:
        place = f"{_quoted(table.database)}.{_quoted(table.name)}"
        if isinstance(table, ShardedTable):
            place = "<database>.<table>"
        grant = f"GRANT SELECT ON {place} TO {server.account};"
        if table.label not in server.shapes:
            yield Fault(
                f"{server.role}.tables",
                f"no table {table.label}, or no right to see it",
                "a table (a view cannot be captured)",
                f"Correct the name; if the table is there: {grant}",
            )
        elif not server.may_select.get(table.label, True):
            yield Fault(f"{server.role}.grants", f"no SELECT on {table.label}", "SELECT", grant)


def _locks(server: ServerFacts) -> Iterator[Fault]:
    """Yield rights that Debezium's snapshot needs: it locks, so that no row is missed."""
    if not server.grants or "ALL PRIVILEGES ON *.*" in server.grants:
        return
    missing = [name for name in ("RELOAD", "LOCK TABLES") if name not in server.grants]
    if missing:
        text = ", ".join(missing)
        yield Fault(
            f"{server.role}.grants",
            f"{server.account} without {text}",
            f"{text}, for the moment in which Debezium's snapshot begins",
            f"GRANT {text} ON *.* TO {server.account};",
        )


def _retention(facts: PreflightFacts, server: ServerFacts) -> Iterator[Fault]:
    wanted, found = facts.wanted_retention_hours, server.retention_hours
    if found is not None and found >= wanted:
        return
    hours = f"{wanted:g}"
    if server.is_rds:
        fix = f"CALL mysql.rds_set_configuration('binlog retention hours', {hours});"
    elif "binlog_expire_logs_seconds" in server.variables:
        fix = f"SET GLOBAL binlog_expire_logs_seconds = {round(wanted * 3600)};"
    else:
        fix = f"SET GLOBAL expire_logs_days = {-(-round(wanted) // 24)};"
    if found is None:
        fix = f"GRANT SELECT ON mysql.rds_configuration TO {server.account}; {fix}"
        yield Fault(f"{server.role}.retention", "not known", f"{hours} h", fix, "warning")
    else:
        yield Fault(f"{server.role}.retention", f"{found:g} h", f"{hours} h or more", fix)


def _server_ids(facts: PreflightFacts, server: ServerFacts) -> Iterator[Fault]:
    ids = facts.spec.server_ids
    own = int(server.variables.get("server_id", "0") or 0)
    taken = [("the server itself", own), *(("a replica", each) for each in server.replicas or ())]
    for who, number in taken:
        if ids.first <= number <= ids.last:
            yield Fault(
                f"{facts.spec.name}.server_ids",
                f"{number} is used by {who} ({server.address})",
                f"{ids} free for the readers",
                "Give the stream another range",
            )


def _set(server: ServerFacts, name: str, value: str) -> str:
    if server.is_rds:
        return f"Set {name} = {value} in the parameter group, and reboot if it says so"
    return f"SET GLOBAL {name} = {value};"


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
