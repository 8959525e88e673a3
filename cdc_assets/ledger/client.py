"""SqlLedger: the ledger in a SQL database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import TypeVar, cast

import sqlalchemy as sa

from cdc_assets.core.observation import Intent
from cdc_assets.errors import FenceTaken, UnreadablePosition
from cdc_assets.ledger import rows, schema
from cdc_assets.ledger.connection import LedgerDatabase
from cdc_assets.ledger.location import LedgerLocation
from cdc_assets.ports import (
    DecisionRow,
    DeploymentRow,
    EventRow,
    IncarnationRow,
    PollRow,
    PositionRow,
    ReconciliationRow,
    StepRow,
)

Row = TypeVar("Row")


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


class SqlLedger:
    """Append-only ledger on SQLite, PostgreSQL or MySQL, as `ports.Ledger` wants it.

    Nothing is opened before the first use. A SQLite file is created with its folder, for its
    owner only; on a server the database exists, is empty, and the tables are created.

    Args:
        url: `sqlite:////path/ledger.db`, a plain path, `postgresql://...` or `mysql://...`.
        now: Where the time of a row comes from when the row has none.
        timeout_seconds: For connecting, for a lock and for each statement.

    Raises:
        ConfigurationError: The URL cannot be used.

    Example:
        >>> import tempfile, pathlib
        >>> folder = tempfile.mkdtemp()
        >>> ledger = SqlLedger(f"sqlite:///{folder}/ledger.db")
        >>> ledger.intent("orders")
        ('run', '')
    """

    def __init__(
        self,
        url: str,
        *,
        now: Callable[[], datetime] = _utc_now,
        timeout_seconds: float = 15.0,
    ) -> None:
        self._now = now
        self._database = LedgerDatabase(
            LedgerLocation.parse(url), now=now, timeout_seconds=timeout_seconds
        )

    def __repr__(self) -> str:
        """Return where the ledger is, without a password."""
        return f"SqlLedger({self._database.location})"

    @property
    def location(self) -> str:
        """Return where the ledger is, without a password."""
        return str(self._database.location)

    @property
    def ledger_id(self) -> str:
        """Return the id that was drawn when the ledger was made."""
        return self._database.ledger_id

    def close(self) -> None:
        """Close the connections; the next call opens them again."""
        self._database.close()

    def open_incarnation(self, row: IncarnationRow) -> IncarnationRow:
        """Append an incarnation; the database lets one launcher through."""
        columns = rows.incarnation_columns(row, self._now())
        if not self._append_once(schema.incarnations, [columns], "stream", "number")[0]:
            raise FenceTaken(row.stream, row.number)
        return rows.incarnation(columns)

    def incarnations(self, stream: str) -> tuple[IncarnationRow, ...]:
        """Return all incarnations, by number."""
        table = schema.incarnations
        query = sa.select(table).where(table.c.stream == stream).order_by(table.c.number)
        return self._read(query, rows.incarnation)

    def record_positions(self, rows_: Sequence[PositionRow]) -> int:
        """Append positions that are not there yet; return how many were new."""
        columns = [rows.position_columns(row, self._now()) for row in rows_]
        return sum(self._append_once(schema.positions, columns, "stream", "incarnation", "digest"))

    def positions(self, stream: str, *, limit: int = 100) -> tuple[PositionRow, ...]:
        """Return the newest positions, newest first."""
        return self._read(_newest(schema.positions, stream, limit), rows.position)

    def append_step(self, row: StepRow) -> bool:
        """Append a step; False when its number is taken."""
        columns = rows.step_columns(row, self._now())
        return self._append_once(schema.steps, [columns], "stream", "recovery", "seq")[0]

    def steps(self, stream: str, recovery: str | None = None) -> tuple[StepRow, ...]:
        """Return the steps of one recovery or of all, oldest first."""
        table = schema.steps
        query = sa.select(table).where(table.c.stream == stream).order_by(table.c.id)
        if recovery is not None:
            query = query.where(table.c.recovery == recovery)
        return self._read(query, rows.step)

    def record_decision(self, row: DecisionRow) -> None:
        """Append a decision."""
        self._append(schema.decisions, rows.decision_columns(row, self._now()))

    def decisions(self, stream: str, *, limit: int = 100) -> tuple[DecisionRow, ...]:
        """Return the newest decisions, newest first."""
        return self._read(_newest(schema.decisions, stream, limit), rows.decision)

    def record_reconciliation(self, row: ReconciliationRow) -> None:
        """Append a verdict."""
        self._append(schema.reconciliations, rows.reconciliation_columns(row, self._now()))

    def reconciliations(self, stream: str, *, limit: int = 100) -> tuple[ReconciliationRow, ...]:
        """Return the newest verdicts, newest first."""
        return self._read(_newest(schema.reconciliations, stream, limit), rows.reconciliation)

    def record_events(self, rows_: Sequence[EventRow]) -> tuple[EventRow, ...]:
        """Append events that were not seen before; return those."""
        columns = [rows.event_columns(row, self._now()) for row in rows_]
        new = self._append_once(schema.events, columns, "digest")
        return tuple(rows.event(item) for item, is_new in zip(columns, new, strict=True) if is_new)

    def events(self, *, since: datetime | None = None) -> tuple[EventRow, ...]:
        """Return events by their date, oldest first."""
        table = schema.events
        query = sa.select(table).order_by(table.c.date, table.c.id)
        if since is not None:
            query = query.where(table.c.date >= since)
        return self._read(query, rows.event)

    def record_deployment(self, row: DeploymentRow) -> bool:
        """Append what was seen of a deployment; False when its newest row says the same."""
        table = schema.deployments
        query = (
            sa.select(table)
            .where(table.c.deployment_id == row.deployment_id)
            .order_by(table.c.id.desc())
            .limit(1)
        )
        for known in self._read(query, rows.deployment):
            if replace(known, seen_at=None) == replace(row, seen_at=None):
                return False
        self._append(table, rows.deployment_columns(row, self._now()))
        return True

    def deployments(self) -> tuple[DeploymentRow, ...]:
        """Return all rows of all deployments, oldest first."""
        table = schema.deployments
        return self._read(sa.select(table).order_by(table.c.id), rows.deployment)

    def record_poll(self, row: PollRow) -> None:
        """Append a stretch of time whose events were fetched."""
        self._append(schema.polls, rows.poll_columns(row))

    def polls(self, feed: str, *, limit: int = 1000) -> tuple[PollRow, ...]:
        """Return the newest stretches of a feed, newest first."""
        table = schema.polls
        query = (
            sa.select(table).where(table.c.feed == feed).order_by(table.c.id.desc()).limit(limit)
        )
        return self._read(query, rows.poll)

    def set_intent(self, stream: str, intent: Intent, reason: str) -> None:
        """Append what a person wants."""
        columns: rows.Columns = {
            "stream": stream, "intent": intent, "reason": reason, "at": self._now(),
        }  # fmt: skip
        self._append(schema.intents, columns)

    def intent(self, stream: str) -> tuple[Intent, str]:
        """Return the newest intent and its reason; `run` when there is none."""
        found = self._read(
            _newest(schema.intents, stream, 1),
            lambda row: (cast("Intent", row["intent"]), cast("str", row["reason"])),
        )
        return found[0] if found else ("run", "")

    def _append(self, table: sa.Table, columns: rows.Columns) -> None:
        self._database.append(table, rows.checked(columns))

    def _append_once(
        self, table: sa.Table, columns: Sequence[rows.Columns], *key: str
    ) -> list[bool]:
        if not columns:
            return []
        return self._database.append_once(table, [rows.checked(row) for row in columns], key)

    def _read(
        self, query: sa.Select[tuple[object, ...]], read: Callable[[Mapping[str, object]], Row]
    ) -> tuple[Row, ...]:
        with self._database.reading() as connection:
            try:
                found = connection.execute(query).mappings().all()
                return tuple(read(cast("Mapping[str, object]", row)) for row in found)
            except (UnreadablePosition, ValueError, TypeError, KeyError) as error:
                reason = f"a row cannot be understood: {error}"
                raise self._database.unreadable(reason) from error


def _newest(table: sa.Table, stream: str, limit: int) -> sa.Select[tuple[object, ...]]:
    return sa.select(table).where(table.c.stream == stream).order_by(table.c.id.desc()).limit(limit)
