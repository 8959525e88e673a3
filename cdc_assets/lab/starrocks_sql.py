"""MySQL port of the StarRocks stand-in: the statements that its clients send."""

# ruff: noqa: S608 - the stand-in's own names

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, cast

import sqlglot
from mysql_mimic import ResultColumn, ResultSet, Session
from mysql_mimic.errors import MysqlError
from mysql_mimic.types import ColumnType
from sqlglot import exp
from sqlglot.errors import SqlglotError

from cdc_assets.lab.starrocks_ddl import added_column, table_of
from cdc_assets.lab.starrocks_store import CATALOG, StarRocksStore, StoreRefused

# Said wherever a person asks for a version.
VERSION = "3.3.5 cdc-assets-stand-in"
SERVER_VERSION = "8.0.33-cdc-assets-stand-in-for-StarRocks"
_VIEW_TEXTS = (
    f"""CREATE OR REPLACE VIEW {CATALOG}.information_columns AS
SELECT c.db AS TABLE_SCHEMA, c.name AS TABLE_NAME, c.col AS COLUMN_NAME,
  c.position::BIGINT AS ORDINAL_POSITION,
  CASE WHEN NOT c.is_key THEN '' WHEN t.model = 'PRIMARY KEY' THEN 'PRI'
    WHEN t.model = 'UNIQUE KEY' THEN 'UNI' ELSE 'DUP' END AS COLUMN_KEY,
  c.data_type AS DATA_TYPE, c.column_type AS COLUMN_TYPE,
  CASE WHEN c.nullable THEN 'YES' ELSE 'NO' END AS IS_NULLABLE,
  NULL::VARCHAR AS CHARACTER_SET_NAME, NULL::VARCHAR AS COLLATION_NAME, '' AS EXTRA,
  c.size AS COLUMN_SIZE, c.scale::BIGINT AS DECIMAL_DIGITS
FROM {CATALOG}.columns AS c JOIN {CATALOG}.tables AS t ON t.db = c.db AND t.name = c.name""",
    f"""CREATE OR REPLACE VIEW {CATALOG}.information_tables AS
SELECT db AS TABLE_SCHEMA, name AS TABLE_NAME, 'BASE TABLE' AS TABLE_TYPE, 0::BIGINT AS TABLE_ROWS
FROM {CATALOG}.tables""",
    f"""CREATE OR REPLACE VIEW {CATALOG}.information_received AS
SELECT db AS TABLE_SCHEMA, name AS TABLE_NAME, COUNT(*) AS RECEIVED,
  COUNT(*) - COUNT(DISTINCT row) AS AGAIN
FROM {CATALOG}.received GROUP BY db, name""",
    f"""CREATE OR REPLACE VIEW {CATALOG}.information_schemata AS
SELECT name AS SCHEMA_NAME FROM {CATALOG}.databases""",
)
_VIEWS = {
    "columns": "information_columns",
    "tables": "information_tables",
    "schemata": "information_schemata",
    # The stand-in's own: row writes of loads, and how many of them came again.
    "stand_in_received": "information_received",
}
"""Tables of `information_schema` that are there; others do not exist."""

# The one form of it that clients here send; sqlglot does not know the statement.
_ALTERS = re.compile(
    r"\s*SHOW\s+ALTER\s+TABLE\s+COLUMN\s+FROM\s+`(?P<db>[^`]+)`\s+WHERE\s+TableName\s*=\s*"
    r"['\"](?P<name>[^'\"]+)['\"]\s+ORDER\s+BY\s+CreateTime\s+DESC\s+LIMIT\s+1\s*;?\s*",
    re.IGNORECASE,
)


def prepare_views(store: StarRocksStore) -> None:
    """Make `information_schema` known."""
    for text in _VIEW_TEXTS:
        store.query(text)


def session_factory(store: StarRocksStore) -> Callable[[], Session]:
    """Return what makes a session for each connection."""

    class StandInSession(Session):
        """One connection to the stand-in."""

        async def handle_query(self, sql: str, attrs: dict[str, str]) -> Any:  # noqa: ANN401 - mysql-mimic's
            """Answer a statement of StarRocks' here, everything else there."""
            try:
                found = await asyncio.to_thread(answer, store, sql, self.database)
            except StoreRefused as error:
                raise MysqlError(str(error), code=cast("Any", error.number)) from None
            return await super().handle_query(sql, attrs) if found is None else found

    return StandInSession


Answer = tuple[list[tuple[object, ...]], list[str]]


def answer(store: StarRocksStore, sql: str, database: str | None) -> Any:  # noqa: ANN401 - as above
    """Return the answer to a statement, None for one that mysql-mimic answers.

    Raises:
        StoreRefused: What StarRocks would refuse.
    """
    import duckdb

    asked = _ALTERS.fullmatch(sql)
    if asked is not None:
        found = store.newest_alter(asked["db"], asked["name"])
        rows: list[tuple[object, ...]] = [] if found is None else [found]
        return rows, ["JobId", "TableName", "State", "Msg"]
    try:
        parsed = sqlglot.parse_one(sql.strip().rstrip(";"), read="starrocks")
    except SqlglotError as error:
        raise StoreRefused(1064, f"Getting syntax error: {_one_line(error)}") from None
    changed = _changed(store, parsed, sql, database)
    if changed is not None:
        return changed
    if not isinstance(parsed, exp.Query):
        return None
    if not list(parsed.find_all(exp.Table)):
        return _static(parsed)
    try:
        return _typed(*store.query(_in_duckdb(parsed, database)))
    except duckdb.CatalogException as error:
        raise StoreRefused(1146, f"Unknown table: {_one_line(error)}") from None
    except duckdb.Error as error:
        raise StoreRefused(1064, _one_line(error)) from None


def _changed(
    store: StarRocksStore, parsed: object, sql: str, database: str | None
) -> Answer | None:
    """Answer a statement about the catalog, None for another one."""
    if isinstance(parsed, exp.Create):
        return _create(store, parsed, sql, database)
    if isinstance(parsed, exp.Drop):
        return _drop(store, parsed, database)
    if isinstance(parsed, exp.Alter):
        table = parsed.this
        store.add_column(table.db or database or "", table.name, added_column(parsed))
        return _nothing()
    if isinstance(parsed, exp.TruncateTable):
        for table in cast("list[exp.Table]", parsed.expressions):
            store.truncate(table.db or database or "", table.name)
        return _nothing()
    if isinstance(parsed, exp.Show) and parsed.name.upper() == "CREATE TABLE":
        name = str(parsed.args["target"].name)
        place = parsed.args.get("db")
        text = store.ddl(place.name if place is not None else database or "", name)
        return [(name, text)], ["Table", "Create Table"]
    return None


def _static(parsed: exp.Query) -> Answer | None:
    """Answer the two questions about versions; the rest needs no StarRocks."""
    text = parsed.sql(dialect="starrocks").lower()
    if "current_version()" in text:
        return [(VERSION,)], [str(parsed.expressions[0].alias_or_name)]
    return None


def _in_duckdb(parsed: exp.Query, database: str | None) -> str:
    for table in parsed.find_all(exp.Table):
        schema = (table.db or database or "").lower()
        if schema == "information_schema":
            view = _VIEWS.get(table.name.lower())
            if view is None:
                raise StoreRefused(1146, f"Unknown table 'information_schema.{table.name}'")
            table.set("this", exp.to_identifier(view))
            table.set("db", exp.to_identifier(CATALOG))
        elif not table.db and database:
            table.set("db", exp.to_identifier(database, quoted=True))
    return parsed.sql(dialect="duckdb")


def _typed(rows: list[tuple[object, ...]], heads: list[tuple[str, str]]) -> Any:  # noqa: ANN401
    kinds = {
        "BIGINT": ColumnType.LONGLONG,
        "INTEGER": ColumnType.LONG,
        "SMALLINT": ColumnType.SHORT,
        "TINYINT": ColumnType.TINY,
        "DOUBLE": ColumnType.DOUBLE,
        "FLOAT": ColumnType.DOUBLE,
        "DATE": ColumnType.DATE,
    }
    columns: list[ResultColumn] = []
    texts: list[Callable[[Any], object]] = []
    for name, kind in heads:
        if kind in kinds:
            columns.append(ResultColumn(name, kinds[kind]))
            texts.append(_as_it_is)
        elif kind == "BOOLEAN":
            columns.append(ResultColumn(name, ColumnType.TINY))
            texts.append(int)
        elif kind.startswith(("DECIMAL", "HUGEINT")):
            columns.append(ResultColumn(name, ColumnType.DECIMAL, text_encoder=_encoded))
            texts.append(str)
        elif kind.startswith("TIMESTAMP"):
            columns.append(ResultColumn(name, ColumnType.DATETIME, text_encoder=_encoded))
            texts.append(str)
        else:
            columns.append(ResultColumn(name, ColumnType.VARCHAR))
            texts.append(str)
    shown = [
        tuple(None if v is None else text(v) for v, text in zip(row, texts, strict=True))
        for row in rows
    ]
    return ResultSet(rows=shown, columns=columns)


def _as_it_is(value: object) -> object:
    return value


def _encoded(_column: object, value: object) -> bytes:
    return str(value).encode()


def _create(store: StarRocksStore, parsed: exp.Create, sql: str, database: str | None) -> Answer:
    kind = str(parsed.args.get("kind", "")).upper()
    exists_ok = bool(parsed.args.get("exists"))
    if kind in {"DATABASE", "SCHEMA"}:
        # The name of a database is parsed as that of a table.
        store.create_database(str(parsed.this.db or parsed.this.name), exists_ok=exists_ok)
        return _nothing()
    if kind != "TABLE":
        raise StoreRefused(1064, f"the stand-in does not create a {kind.lower()}")
    store.create_table(table_of(parsed, database), sql.strip().rstrip(";"), exists_ok=exists_ok)
    return _nothing()


def _drop(store: StarRocksStore, parsed: exp.Drop, database: str | None) -> Answer:
    kind = str(parsed.args.get("kind", "")).upper()
    missing_ok = bool(parsed.args.get("exists"))
    table = parsed.find(exp.Table)
    if table is None:
        raise StoreRefused(1064, "Getting syntax error: nothing to drop")
    if kind in {"DATABASE", "SCHEMA"}:
        store.drop_database(str(table.db or table.name), missing_ok=missing_ok)
    elif kind == "TABLE":
        store.drop_table(table.db or database or "", table.name, missing_ok=missing_ok)
    else:
        raise StoreRefused(1064, f"the stand-in does not drop a {kind.lower()}")
    return _nothing()


def _nothing() -> Answer:
    return [], []


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:300]
