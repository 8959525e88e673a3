"""PostgresRows: a PostgreSQL target's whole tables, as PyMySQL returns the same rows."""

from __future__ import annotations

from datetime import datetime, timezone

from cdc_assets.core.postgres_names import quote_path
from cdc_assets.lab.postgres_server import DATABASE, SCHEMA, connect
from cdc_assets.lab.state import Account

_KEY = """
SELECT a.attname FROM pg_index i JOIN unnest(i.indkey) WITH ORDINALITY k(num, place) ON true
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num
WHERE i.indisprimary AND i.indrelid = %s::regclass ORDER BY k.place
"""


class PostgresRows:
    """Reads target tables.

    Args:
        port: Of the lab's server.
        account: Reads them.
        database: The database.
        schema: Holds the tables.
    """

    def __init__(
        self, port: int, account: Account, *, database: str = DATABASE, schema: str = SCHEMA
    ) -> None:
        self._port = port
        self._account = account
        self._database = database
        self._schema = schema

    def rows(self, table: str) -> dict[object, tuple[object, ...]]:
        """Return all rows by their primary key: its value, or its values as a tuple."""
        path = quote_path(self._schema, table)
        with connect("127.0.0.1", self._port, self._account, database=self._database) as session:
            key = [str(row[0]) for row in session.execute(_KEY, (path,)).fetchall()]
            cursor = session.execute(f"SELECT * FROM {path}".encode())  # noqa: S608 - quoted
            names = [column.name for column in cursor.description or ()]
            places = [names.index(name) for name in key]
            found: dict[object, tuple[object, ...]] = {}
            for row in cursor:
                values = tuple(_plain(value) for value in row)
                of_key = tuple(values[place] for place in places)
                found[of_key[0] if len(of_key) == 1 else of_key] = values
        return found


def _plain(value: object) -> object:
    """Return a value as PyMySQL gives it in a session whose time zone is UTC."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(timezone.utc).replace(tzinfo=None)
    if isinstance(value, bool):
        return b"\x01" if value else b"\x00"  # a boolean is a bit(1) at the source
    return value
