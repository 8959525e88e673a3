"""PostgresLanding: the demonstration's tables on the lab's PostgreSQL server."""

from __future__ import annotations

from cdc_assets.lab.landing import COPIED_TARGETS, Rows
from cdc_assets.lab.postgres_rows import PostgresRows
from cdc_assets.lab.postgres_server import connect
from cdc_assets.lab.state import Account

_ORDERS = (
    "CREATE TABLE orders (id bigint PRIMARY KEY, product varchar(40) NOT NULL, "
    "quantity integer NOT NULL, note varchar(80), price numeric(10,2), changed_at timestamp(6))"
)
_TARGET_TABLE = (
    "CREATE TABLE target_table (id integer PRIMARY KEY, customer_name varchar(100), "
    "ctime timestamp(0))"
)
_ORDERS_BY_PRODUCT = (
    "CREATE TABLE orders_by_product (product varchar(40) PRIMARY KEY, "
    "order_count bigint NOT NULL, quantity integer NOT NULL)"
)
# Each row write leaves its text; an equal text again is the same row write, received again.
_NOTE = (
    "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN "
    "INSERT INTO public.seen VALUES (TG_TABLE_NAME || ' ' || TG_OP || ' ' || "
    "CASE TG_OP WHEN 'DELETE' THEN OLD::text ELSE NEW::text END); RETURN NULL; END $$"
)
_STATEMENTS = (
    _TARGET_TABLE,
    _ORDERS,
    _ORDERS_BY_PRODUCT,
    "CREATE TABLE seen (line text NOT NULL)",
    _NOTE,
    *(
        f"CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON {name} FOR EACH ROW "
        f"EXECUTE FUNCTION note()"
        for name in COPIED_TARGETS
    ),
)


class PostgresLanding:
    """The lab's PostgreSQL target.

    Args:
        port: Of the server.
        account: Owns the schema.
    """

    title = "PostgreSQL 17"

    def __init__(self, port: int, account: Account) -> None:
        self._port = port
        self._account = account
        self._rows = PostgresRows(port, account)

    def create_tables(self) -> None:
        """Make the target tables, and what counts the row writes."""
        with connect("127.0.0.1", self._port, self._account) as session:
            for statement in _STATEMENTS:
                session.execute(statement.encode())

    def rows(self, table: str) -> Rows:
        """Return a whole table by its key."""
        return self._rows.rows(table)

    def has_order_from(self, number: int) -> bool:
        """Return whether an order with this key or a larger one is visible."""
        with connect("127.0.0.1", self._port, self._account) as session:
            found = session.execute("SELECT 1 FROM orders WHERE id >= %s LIMIT 1", (number,))
            return found.fetchone() is not None

    def repeated_writes(self) -> tuple[int, int]:
        """Count row writes by a trigger; the workload's writes are all distinct."""
        with connect("127.0.0.1", self._port, self._account) as session:
            # An upsert over an equal row is an UPDATE where the first one was an INSERT.
            row = session.execute(
                "SELECT count(*), count(DISTINCT regexp_replace(line, ' (INSERT|UPDATE) ', ' ')) "
                "FROM seen"
            ).fetchone()
        total, distinct = (int(value) for value in row) if row else (0, 0)
        return total, total - distinct
