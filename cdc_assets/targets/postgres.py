"""PostgresTarget: the port `JudgedTarget` for PostgreSQL."""

# ruff: noqa: S608 - names go through quote_name, values through the driver

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.postgres_names import folded, quote_name, quote_path
from cdc_assets.core.preflight import Fault
from cdc_assets.core.preflight_postgres import (
    OLDEST_VERSION,
    PostgresFacts,
    PostgresTable,
    create_table,
    judge_postgres,
)
from cdc_assets.core.stream import StreamSpec
from cdc_assets.errors import ConfigurationError, TargetError, TargetUnreachable
from cdc_assets.ports import Key, Server
from cdc_assets.targets.postgres_session import (
    PostgresLogin,
    Row,
    Session,
    TargetDenied,
    open_session,
)

_SERVER = """
SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),
  pg_is_in_recovery(), current_setting('transaction_read_only') = 'on', current_user,
  n.oid IS NOT NULL, coalesce(has_schema_privilege(n.oid, 'USAGE'), false),
  coalesce(has_schema_privilege(n.oid, 'CREATE'), false)
FROM (SELECT 1) one LEFT JOIN pg_namespace n ON n.nspname = %s
"""
_RELATIONS = """
SELECT c.oid, c.relname, c.relkind::text, greatest(c.reltuples, 0)::bigint,
  row_security_active(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = ANY(%s::text[]) AND c.relkind IN ('r','p','v','m','f','S','c')
"""
_COLUMNS = """
SELECT a.attrelid, a.attname, t.typname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
  a.attgenerated <> '' OR a.attidentity = 'a',
  a.attnotnull AND NOT a.atthasdef AND a.attidentity = '',
  NOT coalesce(l.collisdeterministic, true)
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_collation l ON l.oid = a.attcollation
WHERE a.attrelid = ANY(%s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""
_INDEXES = """
SELECT i.indrelid, c.relname, i.indisprimary, i.indimmediate,
  ARRAY(SELECT a.attname::text FROM unnest(i.indkey) WITH ORDINALITY k(num, place)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num
        WHERE k.place <= i.indnkeyatts ORDER BY k.place)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = ANY(%s::oid[]) AND (i.indisunique OR i.indisexclusion)
ORDER BY i.indrelid, c.relname
"""
_FOREIGN_KEYS = """
SELECT conrelid, conname FROM pg_constraint
WHERE contype = 'f' AND conrelid = ANY(%s::oid[]) ORDER BY conrelid, conname
"""
_PRIVILEGES = """
SELECT c.oid, v.verb
FROM pg_class c CROSS JOIN (VALUES (1, 'SELECT'), (2, 'INSERT'), (3, 'UPDATE')) v(place, verb)
WHERE c.oid = ANY(%s::oid[]) AND EXISTS (SELECT 1 FROM pg_attribute a
  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    AND NOT has_column_privilege(c.oid, a.attnum, v.verb))
UNION ALL SELECT c.oid, 'DELETE' FROM pg_class c
WHERE c.oid = ANY(%s::oid[]) AND NOT has_table_privilege(c.oid, 'DELETE')
"""
_VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE")
_KINDS = {"v": "view", "m": "materialized view", "f": "foreign table", "S": "sequence",
          "c": "composite type"}  # fmt: skip
_TABLES = frozenset({"r", "p"})


class PostgresTarget:
    """A schema of a PostgreSQL database that rows land in.

    Args:
        login: Where it is, and as whom.
        schema: Holds the target tables.
        read_timeout_seconds: For an answer, row counts aside.
    """

    def __init__(
        self, login: PostgresLogin, schema: str, *, read_timeout_seconds: float = 10.0
    ) -> None:
        self._login = login
        self._schema = schema
        self._read_timeout = read_timeout_seconds

    def __repr__(self) -> str:
        """Return server, database, schema and account, without the password."""
        login = self._login
        place = f"{login.server}, {login.database!r}, {self._schema!r}, {login.username!r}"
        return f"PostgresTarget({place})"

    @property
    def server(self) -> Server:
        """Return where it is."""
        return self._login.server

    @property
    def schema(self) -> str:
        """Return the schema that holds the target tables."""
        return self._schema

    def shapes(self, names: Sequence[str]) -> tuple[TableShape, ...]:
        """Return the target tables as the server describes them.

        Raises:
            ConfigurationError: A table does not exist.
            TargetUnreachable: No answer in time.
        """
        with open_session(self._login, self._read_timeout) as session:
            found = _tables(session, self._schema, names)[0]
        for name in names:
            if name not in found:
                raise ConfigurationError(
                    f"no such table on {self.server}",
                    field="target tables",
                    value=f"{self._schema}.{name}",
                    hint="'cdc-assets preflight' prints the statement that makes it",
                )
        return tuple(found[name].shape for name in names)

    def count(
        self,
        name: str,
        *,
        timeout_seconds: float,
        key: Sequence[str] = (),
        bound: Key | None = None,
    ) -> int:
        """Count the rows of a target table, up to the key `bound` (included) if given.

        The bound is compared as PostgreSQL orders values: for numbers and moments that is
        MySQL's order, for texts it is not (`core.bounds`).
        """
        path = quote_path(self._schema, name)
        with open_session(self._login, timeout_seconds) as session:
            if bound is None or not key:
                return int(session.rows(f"SELECT count(*) FROM {path}")[0][0])
            if len(key) != len(bound):
                raise ConfigurationError(
                    f"{len(bound)} values for {len(key)} key columns", field=name
                )
            columns = ", ".join(quote_name(folded(column)) for column in key)
            places = ", ".join(["%s"] * len(key))
            # A row comparison, from which PostgreSQL reads a range of the index.
            statement = f"SELECT count(*) FROM {path} WHERE ({columns}) <= ".replace("%", "%%")
            return int(session.rows(f"{statement}({places})", bound)[0][0])

    def faults(self, spec: StreamSpec, shapes: Mapping[str, TableShape]) -> Sequence[Fault]:
        """Return everything that keeps the stream from landing there; nothing is changed."""
        return judge_postgres(spec, self.facts(spec.target_names), shapes)

    def make_missing(self, spec: StreamSpec, shapes: Sequence[TableShape]) -> Sequence[str]:
        """Make the missing target tables, if the stream's settings say so.

        The account owns what it makes, so it may write there.

        Raises:
            TargetError: The server refuses one.
        """
        if not spec.create_tables:
            return ()
        with open_session(self._login, self._read_timeout) as session:
            known, _ = _tables(session, self._schema, spec.target_names)
            account = str(session.rows("SELECT current_user")[0][0])
        unmade = spec.unmade(shapes, known)
        for name, shape in unmade.items():
            self._make(name, create_table(shape, self._schema, name), account)
        return list(unmade)

    def _make(self, name: str, statement: str, account: str) -> None:
        try:
            with open_session(self._login, self._read_timeout) as session:
                session.rows(statement)
        except TargetUnreachable:
            raise
        except TargetError as error:
            raise TargetError(
                f"cannot make table {self._schema}.{name}: {error.message}",
                hint=f"GRANT CREATE ON SCHEMA {quote_name(self._schema)} TO"
                f" {quote_name(account)}; or run the statement that"
                " 'cdc-assets preflight' prints",
            ) from None

    def alter(self, statement: str) -> None:
        """Run one statement that changes a target table."""
        with open_session(self._login, self._read_timeout) as session:
            session.rows(statement)

    def facts(self, names: Sequence[str]) -> PostgresFacts:
        """Return what the server says of itself and of the tables; no answer is a fact, too."""
        nothing = PostgresFacts(str(self.server), self._schema)
        try:
            with open_session(self._login, self._read_timeout) as session:
                facts = _server(session, nothing)
                if facts.version < OLDEST_VERSION or not facts.has_schema:
                    return facts
                tables, others = _tables(session, self._schema, names)
                return replace(facts, tables=tables, not_tables=others)
        except TargetDenied as error:
            return replace(nothing, problem=error.message, is_denied=True)
        except TargetError as error:
            return replace(nothing, problem=error.message)


def _server(session: Session, facts: PostgresFacts) -> PostgresFacts:
    row = session.rows(_SERVER, (facts.schema,))[0]
    version, encoding, standby, read_only, account, exists, usable, creates = row
    return replace(
        facts,
        version=int(version),
        encoding=str(encoding),
        is_standby=bool(standby),
        is_read_only=bool(read_only),
        account=str(account),
        has_schema=bool(exists),
        may_use_schema=bool(usable),
        may_create=bool(creates),
    )


def _tables(
    session: Session, schema: str, names: Sequence[str]
) -> tuple[dict[str, PostgresTable], dict[str, str]]:
    """Return the tables among the names, and what the names that are no tables stand for."""
    relations = session.rows(_RELATIONS, (schema, list(names)))
    others = {
        str(name): _KINDS.get(str(kind), "relation")
        for _, name, kind, *_ in relations
        if kind not in _TABLES
    }
    ours = [row for row in relations if row[2] in _TABLES]
    oids = [row[0] for row in ours]
    columns = _by_table(session.rows(_COLUMNS, (oids,)))
    indexes = _by_table(session.rows(_INDEXES, (oids,)))
    foreign = _by_table(session.rows(_FOREIGN_KEYS, (oids,)))
    missing = _by_table(session.rows(_PRIVILEGES, (oids, oids)))
    tables: dict[str, PostgresTable] = {}
    for oid, name, _, estimate, is_filtered in ours:
        primary = next((row for row in indexes.get(oid, ()) if row[2]), None)
        lacking = {str(row[1]) for row in missing.get(oid, ())}
        own = columns.get(oid, ())
        tables[str(name)] = PostgresTable(
            shape=TableShape(
                schema,
                str(name),
                tuple(_column(row) for row in own),
                tuple(str(each) for each in primary[4]) if primary else (),
                int(estimate),
            ),
            unique=tuple(str(row[1]) for row in indexes.get(oid, ()) if not row[2]),
            foreign_keys=tuple(str(row[1]) for row in foreign.get(oid, ())),
            must_write=tuple(str(row[1]) for row in own if row[6]),
            missing_privileges=tuple(verb for verb in _VERBS if verb in lacking),
            has_deferrable_key=primary is not None and not primary[3],
            loose_columns=tuple(str(row[1]) for row in own if row[7]),
            is_filtered=bool(is_filtered),
        )
    return tables, others


def _by_table(rows: Sequence[Row]) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = {}
    for row in rows:
        found.setdefault(int(row[0]), []).append(row)
    return found


def _column(row: Row) -> Column:
    _, name, base, full, nullable, generated, *_ = row
    return Column(
        name=str(name),
        data_type=str(base),
        column_type=str(full),
        nullable=bool(nullable),
        generated=bool(generated),
    )
