"""Store of the StarRocks stand-in: databases, tables, labels and rows, in one DuckDB file."""

# ruff: noqa: S608 - names go through _name, values as parameters

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from cdc_assets.lab.starrocks_body import DELETE, StoredRow, Table
from cdc_assets.lab.starrocks_values import StoredColumn

if TYPE_CHECKING:
    import duckdb

TransactionState = Literal["PREPARE", "PREPARED", "VISIBLE", "ABORTED", "UNKNOWN"]
Model = Literal["PRIMARY KEY", "UNIQUE KEY", "DUPLICATE KEY"]

# Where the stand-in keeps what StarRocks' front end knows.
CATALOG = "_fe"
_DUCK_MEMORY = "256MB"
_ROW_BYTES = 1_048_576
# How long a change of a table takes after its statement was answered.
_ALTER_SECONDS = 1.0
_SETUP = f"""
CREATE SCHEMA IF NOT EXISTS {CATALOG};
CREATE TABLE IF NOT EXISTS {CATALOG}.databases (name VARCHAR);
CREATE TABLE IF NOT EXISTS {CATALOG}.tables (db VARCHAR, name VARCHAR, model VARCHAR, ddl VARCHAR);
CREATE TABLE IF NOT EXISTS {CATALOG}.columns (
  db VARCHAR, name VARCHAR, position INTEGER, col VARCHAR, kind VARCHAR, size BIGINT,
  scale INTEGER, nullable BOOLEAN, is_key BOOLEAN, data_type VARCHAR, column_type VARCHAR);
CREATE SEQUENCE IF NOT EXISTS {CATALOG}.transaction_ids;
CREATE TABLE IF NOT EXISTS {CATALOG}.transactions (
  id BIGINT, db VARCHAR, label VARCHAR, tbl VARCHAR, state VARCHAR, until DOUBLE, rows VARCHAR);
CREATE TABLE IF NOT EXISTS {CATALOG}.alters (
  id BIGINT, db VARCHAR, name VARCHAR, col VARCHAR, kind VARCHAR, size BIGINT, scale INTEGER,
  until DOUBLE, done BOOLEAN);
-- What came in, as hashes: a proof counts what came twice. StarRocks has no such table.
CREATE TABLE IF NOT EXISTS {CATALOG}.received (db VARCHAR, name VARCHAR, row UBIGINT);
-- A load that was not prepared dies with the server.
UPDATE {CATALOG}.transactions SET state = 'ABORTED' WHERE state = 'PREPARE';
"""


class StoreRefused(Exception):
    """What StarRocks would refuse.

    Args:
        number: MySQL error number.
        message: In StarRocks' words.
        status: Status of a load's answer.
    """

    def __init__(self, number: int, message: str, status: str = "FAILED") -> None:
        super().__init__(message)
        self.number = number
        self.status = status


@dataclass(frozen=True)
class Transaction:
    """A load under a label."""

    number: int
    database: str
    label: str
    table: str
    state: TransactionState


class StarRocksStore:
    """Everything that the stand-in holds; one lock, because one connection.

    Args:
        path: Of the DuckDB file.
    """

    def __init__(self, path: Path) -> None:
        import duckdb

        self._scratch = tempfile.TemporaryDirectory(prefix="starrocks-")
        settings: dict[str, str | bool | int | float | list[str]] = {
            "autoinstall_known_extensions": False,
            "memory_limit": _DUCK_MEMORY,
            "temp_directory": self._scratch.name,
            "threads": "1",
        }
        self._connection = duckdb.connect(str(path), config=settings)
        self._lock = threading.RLock()
        self._pending: dict[tuple[str, str], list[StoredRow]] = {}
        self._connection.execute(_SETUP)

    def close(self) -> None:
        """Write everything down."""
        with self._lock:
            self._connection.close()
            self._scratch.cleanup()

    # ---------------------------------------------------------------- statements

    def query(self, sql: str) -> tuple[list[tuple[object, ...]], list[tuple[str, str]]]:
        """Run a SELECT in DuckDB's words; return rows, and names with DuckDB's types."""
        with self._lock:
            self._finish_alters()
            found = self._connection.execute(sql)
            heads = [(str(each[0]), str(each[1])) for each in found.description or ()]
            return cast("list[tuple[object, ...]]", found.fetchall()), heads

    def create_database(self, name: str, *, exists_ok: bool) -> None:
        """Create a database."""
        with self._lock:
            if self._has_database(name):
                if exists_ok:
                    return
                raise StoreRefused(1007, f"Can't create database '{name}'; database exists")
            self._connection.execute(f"CREATE SCHEMA {_name(name)}")
            self._run(f"INSERT INTO {CATALOG}.databases VALUES (?)", name)

    def drop_database(self, name: str, *, missing_ok: bool) -> None:
        """Drop a database with its tables."""
        with self._lock:
            if not self._has_database(name):
                if missing_ok:
                    return
                raise StoreRefused(1008, f"Can't drop database '{name}'; database doesn't exist")
            self._connection.execute(f"DROP SCHEMA {_name(name)} CASCADE")
            self._run(f"DELETE FROM {CATALOG}.databases WHERE name = ?", name)
            for table in ("tables", "columns", "transactions", "alters"):
                self._run(f"DELETE FROM {CATALOG}.{table} WHERE db = ?", name)

    def create_table(self, table: Table, ddl: str, *, exists_ok: bool) -> None:
        """Create a table; its statement was judged before."""
        with self._lock:
            self._require_database(table.database)
            if self.table(table.database, table.name) is not None:
                if exists_ok:
                    return
                raise StoreRefused(1050, f"Table '{table.name}' already exists")
            columns = ", ".join(f"{_name(c.name)} {c.duck_type}" for c in table.columns)
            place = _place(table.database, table.name)
            self._connection.execute(f"CREATE TABLE {place} ({columns})")
            row = (table.database, table.name, table.model, ddl)
            self._run(f"INSERT INTO {CATALOG}.tables VALUES (?, ?, ?, ?)", *row)
            for position, column in enumerate(table.columns, start=1):
                self._describe(table, position, column)

    def _describe(self, table: Table, position: int, c: StoredColumn) -> None:
        self._run(
            f"INSERT INTO {CATALOG}.columns VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(table.database, table.name, position, c.name, c.kind, c.size, c.scale),
            *(c.nullable, c.is_key, c.data_type, c.column_type),
        )

    def add_column(self, database: str, name: str, column: StoredColumn) -> None:
        """Begin to add a column; nobody sees it before the change is done.

        Raises:
            StoreRefused: Another change is at work (InvalidOlapTableStateException), or there is
                such a column (SchemaChangeHandler.addColumnInternal).
        """
        with self._lock:
            table = self.require_table(database, name)
            newest = self.newest_alter(database, name)
            if newest is not None and newest[2] != "FINISHED":
                raise StoreRefused(
                    1064,
                    f'A schema change operation is in progress on the table "{name}". Please wait'
                    " until the current operation completes.",
                )
            if column.name.lower() in {each.name.lower() for each in table.columns}:
                raise StoreRefused(
                    1064, f"Can not add column which already exists in base table: {column.name}"
                )
            self._run(
                f"INSERT INTO {CATALOG}.alters SELECT nextval('{CATALOG}.transaction_ids'),"
                " ?, ?, ?, ?, ?, ?, ?, false",
                *(database, name, column.name, column.kind, column.size, column.scale),
                time.time() + _ALTER_SECONDS,
            )

    def newest_alter(self, database: str, name: str) -> tuple[object, ...] | None:
        """Return number, table, state and message of a table's newest change."""
        with self._lock:
            self._finish_alters()
            rows = self._run(
                "SELECT id, name, CASE WHEN done THEN 'FINISHED' ELSE 'RUNNING' END, ''"
                f" FROM {CATALOG}.alters WHERE db = ? AND name = ? ORDER BY id DESC LIMIT 1",
                database,
                name,
            )
        return rows[0] if rows else None

    def _finish_alters(self) -> None:
        """Make columns visible whose time has come; rows that are there have NULL in them."""
        due = self._run(
            f"UPDATE {CATALOG}.alters SET done = true WHERE NOT done AND until < ?"
            " RETURNING db, name, col, kind, size, scale",
            time.time(),
        )
        for database, name, *parts in due:
            table = self.require_table(str(database), str(name))
            column = StoredColumn(*cast("tuple[str, str, int, int]", tuple(parts)))
            place = _place(table.database, table.name)
            self._connection.execute(
                f"ALTER TABLE {place} ADD COLUMN {_name(column.name)} {column.duck_type}"
            )
            self._describe(table, len(table.columns) + 1, column)

    def drop_table(self, database: str, name: str, *, missing_ok: bool) -> None:
        """Drop a table."""
        with self._lock:
            if self.table(database, name) is None:
                if missing_ok:
                    return
                raise StoreRefused(1051, f"Unknown table '{database}.{name}'")
            self._connection.execute(f"DROP TABLE {_place(database, name)}")
            for table in ("tables", "columns", "alters"):
                self._run(f"DELETE FROM {CATALOG}.{table} WHERE db = ? AND name = ?",
                          database, name)  # fmt: skip

    def truncate(self, database: str, name: str) -> None:
        """Delete all rows of a table."""
        with self._lock:
            self.require_table(database, name)
            self._connection.execute(f"DELETE FROM {_place(database, name)}")

    def table(self, database: str, name: str) -> Table | None:
        """Return a table, None when there is none."""
        with self._lock:
            self._finish_alters()
            found = self._run(
                f"SELECT model FROM {CATALOG}.tables WHERE db = ? AND name = ?", database, name
            )
            if not found:
                return None
            columns = self._run(
                f"SELECT col, kind, size, scale, nullable, is_key FROM {CATALOG}.columns"
                " WHERE db = ? AND name = ? ORDER BY position",
                database,
                name,
            )
        parts = tuple(StoredColumn(*cast("tuple[str, str, int, int, bool, bool]", c))
                      for c in columns)  # fmt: skip
        return Table(database, name, str(found[0][0]), parts)

    def require_table(self, database: str, name: str) -> Table:
        """Return a table.

        Raises:
            StoreRefused: There is none.
        """
        self._require_database(database)
        table = self.table(database, name)
        if table is None:
            raise StoreRefused(1146, f"Unknown table '{database}.{name}'")
        return table

    def ddl(self, database: str, name: str) -> str:
        """Return the statement that made a table."""
        self.require_table(database, name)
        rows = self._run(f"SELECT ddl FROM {CATALOG}.tables WHERE db = ? AND name = ?",
                         database, name)  # fmt: skip
        return str(rows[0][0])

    # ---------------------------------------------------------------- transactions

    def begin(self, database: str, table: str, label: str, seconds: float) -> Transaction:
        """Open a transaction.

        Raises:
            StoreRefused: The label is used, or there is no such table.
        """
        with self._lock:
            self.require_table(database, table)
            found = self.transaction(database, label)
            if found.state not in {"UNKNOWN", "ABORTED"}:
                raise StoreRefused(
                    1105,
                    f"Label [{label}] has already been used, relate to txn: {found.number}",
                    "LABEL_ALREADY_EXISTS",
                )
            self._run(f"DELETE FROM {CATALOG}.transactions WHERE db = ? AND label = ?",
                      database, label)  # fmt: skip
            number = int(str(self._run(f"SELECT nextval('{CATALOG}.transaction_ids')")[0][0]))
            self._run(
                f"INSERT INTO {CATALOG}.transactions VALUES (?, ?, ?, ?, 'PREPARE', ?, '')",
                *(number, database, label, table, time.time() + seconds),
            )
            self._pending[database, label] = []
            return Transaction(number, database, label, table, "PREPARE")

    def add(self, database: str, label: str, rows: Iterable[StoredRow]) -> Transaction:
        """Add rows to an open transaction."""
        with self._lock:
            found = self._require(database, label, "PREPARE")
            self._pending[database, label].extend(rows)
            return found

    def prepare(self, database: str, label: str) -> Transaction:
        """Write a transaction down; it outlives the server from now on."""
        with self._lock:
            found = self._require(database, label, "PREPARE", "PREPARED")
            if found.state == "PREPARE":
                rows = json.dumps(self._pending.pop((database, label)))
                self._set(found, "PREPARED", rows)
            return found

    def commit(self, database: str, label: str) -> Transaction:
        """Make a prepared transaction visible; a second commit changes nothing."""
        with self._lock:
            found = self._require(database, label, "PREPARED", "VISIBLE")
            if found.state == "VISIBLE":
                return found
            text = self._run(
                f"SELECT rows FROM {CATALOG}.transactions WHERE db = ? AND label = ?",
                database,
                label,
            )[0][0]
            rows = [tuple(row) for row in cast("list[list[str | None]]", json.loads(str(text)))]
            table = self.require_table(database, found.table)
            self._connection.execute("BEGIN")
            try:
                self._apply(table, rows)
                self._set(found, "VISIBLE", "")
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            return found

    def rollback(self, database: str, label: str) -> Transaction:
        """Throw a transaction away."""
        with self._lock:
            found = self._require(database, label, "PREPARE", "PREPARED")
            self._pending.pop((database, label), None)
            self._set(found, "ABORTED", "")
            return found

    def transaction(self, database: str, label: str) -> Transaction:
        """Return a transaction; one whose time is over is aborted by that."""
        with self._lock:
            rows = self._run(
                f"SELECT id, tbl, state, until FROM {CATALOG}.transactions"
                " WHERE db = ? AND label = ?",
                database,
                label,
            )
            if not rows:
                return Transaction(0, database, label, "", "UNKNOWN")
            number, table, state, until = rows[0]
            found = Transaction(int(str(number)), database, label, str(table),
                                cast("TransactionState", state))  # fmt: skip
            if found.state == "PREPARE" and float(str(until)) < time.time():
                self._pending.pop((database, label), None)
                self._set(found, "ABORTED", "")
                return Transaction(found.number, database, label, found.table, "ABORTED")
            return found

    def _require(self, database: str, label: str, *states: TransactionState) -> Transaction:
        found = self.transaction(database, label)
        if found.state in {"UNKNOWN", "ABORTED"}:
            raise StoreRefused(1105, f"transaction with label {label} not exist", "TXN_NOT_EXISTS")
        if found.state not in states:
            raise StoreRefused(
                1105, f"transaction status is {found.state}, expect {' or '.join(states)}"
            )
        return found

    def _set(self, found: Transaction, state: TransactionState, rows: str) -> None:
        self._run(
            f"UPDATE {CATALOG}.transactions SET state = ?, rows = ? WHERE db = ? AND label = ?",
            *(state, rows, found.database, found.label),
        )

    def _apply(self, table: Table, rows: Sequence[StoredRow]) -> None:
        """Write rows: of one key only the last counts, and it replaces what is there."""
        if not rows:
            return
        place = _place(table.database, table.name)
        if not table.is_upserted:
            self._stage(table, rows)
            self._insert(table, place)
            return
        at = [i for i, column in enumerate(table.columns) if column.is_key]
        last = {tuple(row[i] for i in at): row for row in rows}
        self._stage(table, list(last.values()))
        same = " AND ".join(
            f"t.{_name(c.name)} IS NOT DISTINCT FROM s.{_name(c.name)}" for c in table.key
        )
        self._connection.execute(f"DELETE FROM {place} AS t USING staged AS s WHERE {same}")
        self._insert(table, place)

    def _stage(self, table: Table, rows: Sequence[StoredRow]) -> None:
        # A file, because DuckDB takes a parameter's list 200 times slower.
        file = Path(self._scratch.name, "rows.json")
        names = [f"c{i}" for i in range(len(table.columns) + 1)]
        # A load that began before a column was added has no value for it.
        full = [(*row[:-1], *[None] * (len(names) - len(row)), row[-1]) for row in rows]
        lines = [json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in full]
        with file.open("w", encoding="utf-8") as out:
            out.writelines(lines)
        # DuckDB allocates as much as it is told that a row may have.
        longest = max(_ROW_BYTES, max(map(len, lines)) + 1)
        columns = ", ".join(f"{name}: 'VARCHAR'" for name in names)
        values = ", ".join(
            f"{name}::{c.duck_type} AS {_name(c.name)}"
            for name, c in zip(names, table.columns, strict=False)
        )
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE staged AS SELECT {values}, {names[-1]} AS __op FROM"
            " read_json(?, format = 'newline_delimited', maximum_object_size = ?,"
            f" columns = {{{columns}}})",
            [str(file), longest],
        )
        self._run(
            f"INSERT INTO {CATALOG}.received SELECT ?, ?, hash(staged) FROM staged",
            *(table.database, table.name),
        )

    def _insert(self, table: Table, place: str) -> None:
        names = ", ".join(_name(column.name) for column in table.columns)
        self._connection.execute(
            f"INSERT INTO {place} ({names}) SELECT {names} FROM staged WHERE __op <> '{DELETE}'"
        )

    def _run(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        # The connection holds one result: another thread's statement would replace it.
        with self._lock:
            found: duckdb.DuckDBPyConnection = self._connection.execute(sql, list(values))
            return cast("list[tuple[object, ...]]", found.fetchall())

    def _has_database(self, name: str) -> bool:
        return bool(self._run(f"SELECT 1 FROM {CATALOG}.databases WHERE name = ?", name))

    def _require_database(self, name: str) -> None:
        if not self._has_database(name):
            raise StoreRefused(1049, f"Unknown database '{name}'")


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _place(database: str, name: str) -> str:
    return f"{_name(database)}.{_name(name)}"
