"""The ledger's tables: append-only, the same on SQLite, PostgreSQL and MySQL.

Keys stay within 767 bytes per column, the limit of old InnoDB row formats at four bytes per
character; whatever may be longer is part of a key by its digest only. Text is compared byte by
byte, so MySQL gets a binary collation.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import MEDIUMTEXT
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

VERSION: Final = 1

STREAM_LENGTH: Final = 64
RECOVERY_LENGTH: Final = 128
NAME_LENGTH: Final = 255
_DIGEST_LENGTH: Final = 64


class UtcText(TypeDecorator[datetime]):
    """A moment as text of fixed width, so that text order is time order.

    A DATETIME column would lose the time zone on SQLite and the fraction on old MySQL.
    """

    impl = sa.String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        """Write `2026-01-31T12:00:00.000000+00:00`."""
        del dialect
        if value is None:
            return None
        return value.astimezone(timezone.utc).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        """Read it back, aware and in UTC."""
        del dialect
        return None if value is None else datetime.fromisoformat(value).astimezone(timezone.utc)


metadata = sa.MetaData()

# MySQL's TEXT ends at 64 KiB, which a long GTID set or rendered SQL exceeds.
_LONG = sa.Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")
# SQLite counts up only in an INTEGER column.
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _table(name: str, *items: sa.Column[Any] | sa.UniqueConstraint | sa.Index) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        *items,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        sqlite_autoincrement=True,
    )


def _stream() -> sa.Column[Any]:
    return sa.Column("stream", sa.String(STREAM_LENGTH), nullable=False)


def _at(name: str) -> sa.Column[Any]:
    return sa.Column(name, UtcText(), nullable=False)


def _text(name: str, length: int = NAME_LENGTH, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length), nullable=nullable)


def _long(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, _LONG, nullable=nullable)


def _number(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _identity() -> tuple[sa.Column[Any], ...]:
    return (
        _text("flavor", 16),
        _text("version"),
        _number("server_id"),
        _text("server_uuid", nullable=True),
        _text("resource_id", nullable=True),
    )


def _digest() -> sa.Column[Any]:
    return _text("digest", _DIGEST_LENGTH)


# One row, id 1: a second one breaks the primary key, so two creators cannot both succeed.
meta = _table(
    "meta",
    _number("version"),
    _text("ledger_id", 36),
    _at("created_at"),
)

incarnations = _table(
    "incarnations",
    _stream(),
    _number("number"),
    _text("job_id", 64),
    _text("kind", 16),
    _text("host"),
    _number("port"),
    *_identity(),
    _long("restored_from"),
    _long("sql_text"),
    _text("recovery", RECOVERY_LENGTH),
    _at("opened_at"),
    sa.UniqueConstraint("stream", "number", name="incarnations_fence"),
)

positions = _table(
    "positions",
    _stream(),
    _number("incarnation"),
    _number("checkpoint_id"),
    _long("path"),
    _long("tables"),
    sa.Column("savepoint", sa.Boolean(), nullable=False),
    _text("file"),
    _number("pos"),
    _long("gtid_set", nullable=True),
    _number("skip_events"),
    _number("skip_rows"),
    *_identity(),
    _text("birth_file", nullable=True),
    _number("birth_created_at", nullable=True),
    _number("birth_server_id", nullable=True),
    _at("observed_at"),
    _digest(),
    sa.UniqueConstraint("stream", "incarnation", "digest", name="positions_once"),
)

steps = _table(
    "steps",
    _stream(),
    _text("recovery", RECOVERY_LENGTH),
    _number("seq"),
    _text("step", 64),
    _long("detail"),
    _at("at"),
    sa.UniqueConstraint("stream", "recovery", "seq", name="steps_once"),
)

decisions = _table(
    "decisions",
    _stream(),
    _number("incarnation"),
    _text("kind", 32),
    _long("reason"),
    _long("detail"),
    _at("at"),
    sa.Index("decisions_stream", "stream"),
)

reconciliations = _table(
    "reconciliations",
    _stream(),
    _text("source_table"),
    _text("target_table"),
    _text("verdict", 16),
    _text("method", 32),
    _number("source_count", nullable=True),
    _number("target_count", nullable=True),
    _long("reason"),
    _text("recovery", RECOVERY_LENGTH),
    _at("at"),
    sa.Index("reconciliations_stream", "stream"),
)

# The API has no event id, so the digest of (source_id, date, message) stands for one.
events = _table(
    "events",
    _text("source_id"),
    _text("source_type", 64),
    _at("date"),
    _long("message"),
    _at("first_seen"),
    _digest(),
    sa.UniqueConstraint("digest", name="events_once"),
    sa.Index("events_date", "date"),
)

deployments = _table(
    "deployments",
    _text("deployment_id", 128),
    _text("status", 32),
    _text("source"),
    _text("target"),
    _at("created_at"),
    _text("name"),
    _long("members"),
    _text("source_resource_id"),
    _text("target_resource_id"),
    _at("seen_at"),
    sa.Index("deployments_by_id", "deployment_id"),
)

polls = _table(
    "polls",
    _text("feed", 128),
    _at("since"),
    _at("until"),
    sa.Index("polls_feed", "feed"),
)

intents = _table(
    "intents",
    _stream(),
    _text("intent", 8),
    _long("reason"),
    _at("at"),
    sa.Index("intents_stream", "stream"),
)


def sqlite_triggers() -> tuple[str, ...]:
    """Return the statements that make SQLite refuse to change or remove a row.

    On a server the same is a matter of grants: give the account SELECT and INSERT only.
    """
    return tuple(
        f"CREATE TRIGGER {table.name}_no_{verb.lower()} BEFORE {verb} ON {table.name} "
        f"BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
        for table in metadata.sorted_tables
        for verb in ("UPDATE", "DELETE")
    )
