"""Preflight of a PostgreSQL target: from facts to faults, each with what mends it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.postgres_names import (
    folded,
    quote_name,
    quote_path,
    unwritable_column,
    unwritable_table,
)
from cdc_assets.core.postgres_types import misfit, target_column, target_type
from cdc_assets.core.preflight import Fault, missing_table
from cdc_assets.core.preflight_tables import carried_names
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.core.transform_check import written_names

# Columns that the server computes are described since this version.
OLDEST_VERSION = 120000


@dataclass(frozen=True)
class PostgresTable:
    """What the target says of one table.

    Attributes:
        shape: Its columns and primary key.
        unique: Unique indexes and exclusion constraints besides the primary key.
        foreign_keys: Constraints that tie its rows to another table's.
        must_write: Columns that are NOT NULL and have no default.
        missing_privileges: What the account lacks.
        has_deferrable_key: Whether the primary key is checked at the end of a transaction.
        loose_columns: Columns whose collation takes unlike texts for equal.
        is_filtered: Whether row security hides rows from the account, or refuses them.
    """

    shape: TableShape
    unique: tuple[str, ...] = ()
    foreign_keys: tuple[str, ...] = ()
    must_write: tuple[str, ...] = ()
    missing_privileges: tuple[str, ...] = ()
    has_deferrable_key: bool = False
    loose_columns: tuple[str, ...] = ()
    is_filtered: bool = False


@dataclass(frozen=True)
class PostgresFacts:
    """What the target says.

    Attributes:
        address: Where it was asked.
        schema: Holds the target tables.
        problem: Why it could not be asked, empty when it answered.
        is_denied: Whether it answered by refusing the login.
        version: `server_version_num`.
        encoding: Of the database.
        is_standby: Whether it replays another server.
        is_read_only: Whether the account's sessions refuse writes.
        account: Name of the role.
        has_schema: Whether the schema exists.
        may_use_schema: Whether the account may see what is in it.
        may_create: Whether the account may make tables there.
        tables: Target tables that exist, by name.
        not_tables: Names that stand for a view or another relation, with its kind.
    """

    address: str
    schema: str
    problem: str = ""
    is_denied: bool = False
    version: int = OLDEST_VERSION
    encoding: str = "UTF8"
    is_standby: bool = False
    is_read_only: bool = False
    account: str = ""
    has_schema: bool = True
    may_use_schema: bool = True
    may_create: bool = False
    tables: Mapping[str, PostgresTable] = field(default_factory=dict[str, PostgresTable])
    not_tables: Mapping[str, str] = field(default_factory=dict[str, str])


def create_table(shape: TableShape, schema: str, name: str) -> str:
    """Return the statement that makes a target table for a source table.

    Column names are in lower case, because the connector writes them without quotes. Indexes
    besides the primary key and defaults are left out: a target needs none of them.

    Args:
        shape: The source table.
        schema: The target schema.
        name: The target table.
    """
    # Other names are told of by the preflight.
    chosen = [each for each in shape.columns if not unwritable_column(folded(each.name))]
    lines = [f"  {target_column(column)}" for column in chosen]
    if shape.primary_key:
        key = ", ".join(quote_name(folded(column)) for column in shape.primary_key)
        lines.append(f"  PRIMARY KEY ({key})")
    return f"CREATE TABLE {quote_path(schema, name)} (\n" + ",\n".join(lines) + "\n)"


def judge_postgres(
    spec: StreamSpec, facts: PostgresFacts, shapes: Mapping[str, TableShape]
) -> tuple[Fault, ...]:
    """Return everything that keeps the stream from landing, in a fixed order.

    Args:
        spec: The stream.
        facts: What the target says.
        shapes: The captured tables that exist, by `database.table`.
    """
    return tuple(_faults(spec, facts, shapes))


def _faults(
    spec: StreamSpec, facts: PostgresFacts, shapes: Mapping[str, TableShape]
) -> Iterator[Fault]:
    if facts.problem:
        yield _unreachable(facts)
        return
    yield from _server(facts)
    for name in spec.target_names:
        if reason := unwritable_table(name):
            yield Fault(
                "target tables", f"{name}: {reason}", "a name that can be written",
                "Name the target table by database.table:target_table",
            )  # fmt: skip
    if facts.version < OLDEST_VERSION or not facts.has_schema:
        return
    for table in spec.copied:
        source = shapes.get(table.label)
        if source is not None and not unwritable_table(table.target_name):
            yield from _copy(spec, facts, table, source)
    for query in spec.queries:
        if not unwritable_table(query.target_name):
            yield from _query(spec, facts, query.target_name)


def _unreachable(facts: PostgresFacts) -> Fault:
    if facts.is_denied:
        return Fault(
            "target.account",
            facts.problem,
            "an account that may log in",
            "Correct user name, password and database, or the server's pg_hba.conf",
        )
    return Fault(
        "target.host",
        facts.problem,
        "a target that answers",
        "Check host, port, security group and that the server runs",
    )


def _server(facts: PostgresFacts) -> Iterator[Fault]:
    schema, account = quote_name(facts.schema), quote_name(facts.account or "?")
    if facts.version < OLDEST_VERSION:
        yield Fault(
            "target.version", str(facts.version), f"{OLDEST_VERSION} or newer",
            "Use PostgreSQL 12 or newer",
        )  # fmt: skip
    if facts.encoding != "UTF8":
        yield Fault(
            "target.encoding", facts.encoding, "UTF8",
            "CREATE DATABASE <name> ENCODING 'UTF8' TEMPLATE template0;",
        )  # fmt: skip
    if facts.is_standby:
        yield Fault("target.host", "a standby", "the primary", "Name the primary's host")
    elif facts.is_read_only:
        yield Fault(
            "target.default_transaction_read_only", "on", "off",
            f"ALTER ROLE {account} SET default_transaction_read_only = off;",
        )  # fmt: skip
    if reason := unwritable_table(facts.schema):
        yield Fault("target.schema", f"{facts.schema}: {reason}", "a name that can be written",
                    "Use another schema")  # fmt: skip
    elif not facts.has_schema:
        yield Fault("target.schema", f"no schema {facts.schema}", "a schema",
                    f"CREATE SCHEMA {schema};")  # fmt: skip
    elif not facts.may_use_schema:
        yield Fault(
            "target.grants", f"{facts.account} without USAGE on schema {facts.schema}", "USAGE",
            f"GRANT USAGE ON SCHEMA {schema} TO {account};",
        )  # fmt: skip


def _copy(
    spec: StreamSpec, facts: PostgresFacts, table: TableRef, source: TableShape
) -> Iterator[Fault]:
    name = table.target_name
    columns = carried_names(spec, table, source)
    writable: list[Column] = []
    for column in columns:
        reason = unwritable_column(folded(column.name))
        if reason:
            yield Fault(
                f"{source.label}.{column.name}",
                f"a name that no target column can have: {reason}",
                "a name that PostgreSQL reads without quotes",
                f"Exclude it: exclude_columns: {table.name}.{column.name}; a query can carry it"
                " under another name",
            )
        else:
            writable.append(column)
    found = facts.tables.get(name)
    if found is None:
        statement = create_table(spec.as_made([source])[name], facts.schema, name)
        yield _no_table(facts, name, f"{statement};", makes=spec.makes(name))
        return
    yield from _table(facts, found)
    yield from _pair(found, source, writable, written_names(spec, table))


def _no_table(facts: PostgresFacts, name: str, statement: str, *, makes: bool = False) -> Fault:
    kind, wanted = facts.not_tables.get(name), "a table with the stream's columns"
    label = f"{facts.schema}.{name}"
    if kind:
        return Fault(label, f"a {kind}, no table", wanted, statement)
    role = quote_name(facts.account or "?")
    grant = f"GRANT CREATE ON SCHEMA {quote_name(facts.schema)} TO {role}"
    return missing_table(
        label, wanted, statement, is_made=makes and facts.may_create, lacks=grant if makes else ""
    )


def _query(spec: StreamSpec, facts: PostgresFacts, name: str) -> Iterator[Fault]:
    found, made = facts.tables.get(name), spec.as_made(()).get(name)
    if found is None:
        path = quote_path(facts.schema, name)
        statement = (
            f"CREATE TABLE {path} (<the query's columns>, PRIMARY KEY (<key>))"
            if made is None
            else create_table(made, facts.schema, name)
        )
        yield _no_table(facts, name, f"{statement};", makes=spec.makes(name))
        return
    yield from _table(facts, found)
    shape = found.shape
    if not shape.primary_key:
        yield Fault(
            shape.label, "no primary key", "the query's key as primary key",
            f"ALTER TABLE {_path(shape)} ADD PRIMARY KEY (<columns>);",
        )  # fmt: skip
    for column in shape.columns:
        if not column.generated and (reason := unwritable_column(column.name)):
            yield _rename(shape, column.name, reason)


def _table(facts: PostgresFacts, found: PostgresTable) -> Iterator[Fault]:
    shape, alter = found.shape, f"ALTER TABLE {_path(found.shape)}"
    if found.missing_privileges:
        text = ", ".join(found.missing_privileges)
        yield Fault(
            "target.grants",
            f"{facts.account} without {text} on {shape.label}",
            text,
            f"GRANT {text} ON {_path(shape)} TO {quote_name(facts.account or '?')};",
        )
    for index in found.unique:
        # Rows of a batch arrive by key, not in the source's order: a value that moves from one
        # row to another is there twice for a moment, and the server refuses that.
        yield Fault(
            f"{shape.label}.{index}", "a unique index besides the primary key",
            "the primary key as the only one",
            f"{alter} DROP CONSTRAINT IF EXISTS {quote_name(index)}; DROP INDEX IF EXISTS"
            f" {quote_path(shape.database, index)}; -- one that is not unique is fine",
        )  # fmt: skip
    for name in found.foreign_keys:
        yield Fault(
            f"{shape.label}.{name}", "a foreign key", "none: tables are filled in any order",
            f"{alter} DROP CONSTRAINT {quote_name(name)};",
        )  # fmt: skip
    if found.has_deferrable_key:
        key = ", ".join(quote_name(name) for name in shape.primary_key)
        yield Fault(
            f"{shape.label}.PRIMARY", "a deferrable primary key",
            "a primary key that is checked at once: ON CONFLICT takes no other",
            f"Drop the constraint, then {alter} ADD PRIMARY KEY ({key});",
        )  # fmt: skip
    for name in found.loose_columns:
        if name in shape.primary_key:
            yield Fault(
                f"{shape.label}.{name}", "a collation that takes unlike texts for equal",
                'a deterministic collation, for example "C", so that no two keys become one',
                f'{alter} ALTER COLUMN {quote_name(name)} TYPE text COLLATE "C";',
            )  # fmt: skip
    if found.is_filtered:
        yield Fault(
            shape.label, f"row security for {facts.account}", "none, or policies for all rows",
            f"{alter} DISABLE ROW LEVEL SECURITY;", "warning",
        )  # fmt: skip


def _pair(
    found: PostgresTable, source: TableShape, columns: list[Column], computed: set[str]
) -> Iterator[Fault]:
    shape, alter = found.shape, f"ALTER TABLE {_path(found.shape)}"
    for column in columns:
        other = shape.column(column.name)
        if other is None:
            yield Fault(
                f"{shape.label}.{folded(column.name)}", "no such column", target_type(column),
                f"{alter} ADD COLUMN {target_column(column)};",
            )  # fmt: skip
        elif reason := unwritable_column(other.name):
            yield _rename(shape, other.name, reason)
        elif reason := misfit(column, other):
            yield Fault(
                f"{shape.label}.{other.name}", reason, f"a column that holds {column.column_type}",
                _change(alter, column, other, reason),
            )  # fmt: skip
    wanted = [name.lower() for name in source.primary_key]
    if sorted(wanted) != sorted(name.lower() for name in shape.primary_key):
        keys = ", ".join(quote_name(folded(name)) for name in source.primary_key)
        drop = "Drop the primary key, then " if shape.primary_key else ""
        yield Fault(
            f"{shape.label}.PRIMARY",
            f"primary key ({', '.join(shape.primary_key)})",
            f"primary key ({', '.join(source.primary_key)})",
            f"{drop}{alter} ADD PRIMARY KEY ({keys});",
        )
    written = {column.name.lower() for column in columns} | computed
    for name in found.must_write:
        if name.lower() not in written:
            yield Fault(
                f"{shape.label}.{name}", "NOT NULL without a default, and the stream does not"
                " write it", "a default value, or NULL allowed",
                f"{alter} ALTER COLUMN {quote_name(name)} DROP NOT NULL;",
            )  # fmt: skip


def _rename(shape: TableShape, name: str, reason: str) -> Fault:
    other = folded(name)
    new = quote_name(other) if not unwritable_column(other) else "<name>"
    return Fault(
        f"{shape.label}.{name}", reason, "a name that PostgreSQL reads without quotes",
        f"ALTER TABLE {_path(shape)} RENAME COLUMN {quote_name(name)} TO {new};",
    )  # fmt: skip


def _change(alter: str, column: Column, other: Column, reason: str) -> str:
    name = quote_name(other.name)
    if other.generated:
        return f"{alter} DROP COLUMN {name}; {alter} ADD COLUMN {target_column(column)};"
    if reason.startswith("it is NOT NULL"):
        return f"{alter} ALTER COLUMN {name} DROP NOT NULL;"
    kind = target_type(column)
    return f"{alter} ALTER COLUMN {name} TYPE {kind} USING {name}::{kind};"


def _path(shape: TableShape) -> str:
    return quote_path(shape.database, shape.name)
