"""FakeLedger: the ledger in memory."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import cast

from cdc_assets.core.observation import Intent
from cdc_assets.errors import FenceTaken
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
from cdc_assets.testing.faults import Faults, When


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass
class FakeLedger:
    """In-memory `ports.Ledger`, held to the same contract suite as the real one.

    Attributes:
        now: Where the time of a row comes from, for example a `FrozenClock`'s `now`.
        ledger_id: Id of this ledger.
    """

    now: Callable[[], datetime] = _utc_now
    ledger_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def __post_init__(self) -> None:
        """Start empty."""
        self.faults = Faults()
        self._incarnations: list[IncarnationRow] = []
        self._positions: list[PositionRow] = []
        self._steps: list[StepRow] = []
        self._decisions: list[DecisionRow] = []
        self._reconciliations: list[ReconciliationRow] = []
        self._events: list[EventRow] = []
        self._deployments: list[DeploymentRow] = []
        self._polls: list[PollRow] = []
        self._intents: list[tuple[str, Intent, str]] = []

    def _moment(self, at: datetime | None) -> datetime:
        return (at or self.now()).astimezone(timezone.utc)

    def fail_next(
        self, method: str, *, when: When = "before", error: BaseException | None = None
    ) -> None:
        """Let the next call of an appending method fail; see `Faults.fail_next`."""
        self.faults.fail_next(method, when=when, error=error)

    def open_incarnation(self, row: IncarnationRow) -> IncarnationRow:
        """Append an incarnation; FenceTaken when it is there."""
        self.faults.check("open_incarnation", "before")
        if any((old.stream, old.number) == (row.stream, row.number) for old in self._incarnations):
            raise FenceTaken(row.stream, row.number)
        kept = replace(row, opened_at=self._moment(row.opened_at))
        self._incarnations.append(kept)
        self.faults.check("open_incarnation", "after")
        return kept

    def incarnations(self, stream: str) -> tuple[IncarnationRow, ...]:
        """Return all incarnations, by number."""
        found = (row for row in self._incarnations if row.stream == stream)
        return tuple(sorted(found, key=lambda row: row.number))

    def record_positions(self, rows: Sequence[PositionRow]) -> int:
        """Append positions that are not there yet."""
        self.faults.check("record_positions", "before")
        seen = {_position_key(row) for row in self._positions}
        new = 0
        for row in rows:
            if _position_key(row) in seen:
                continue
            seen.add(_position_key(row))
            self._positions.append(replace(row, observed_at=self._moment(row.observed_at)))
            new += 1
        self.faults.check("record_positions", "after")
        return new

    def positions(self, stream: str, *, limit: int = 100) -> tuple[PositionRow, ...]:
        """Return the newest positions, newest first."""
        return tuple(row for row in reversed(self._positions) if row.stream == stream)[:limit]

    def append_step(self, row: StepRow) -> bool:
        """Append a step; False when its number is taken."""
        self.faults.check("append_step", "before")
        key = (row.stream, row.recovery, row.seq)
        if any((old.stream, old.recovery, old.seq) == key for old in self._steps):
            return False
        self._steps.append(replace(row, detail=_as_json(row.detail), at=self._moment(row.at)))
        self.faults.check("append_step", "after")
        return True

    def steps(self, stream: str, recovery: str | None = None) -> tuple[StepRow, ...]:
        """Return the steps of one recovery or of all, oldest first."""
        return tuple(
            row for row in self._steps if row.stream == stream and recovery in (None, row.recovery)
        )

    def record_decision(self, row: DecisionRow) -> None:
        """Append a decision."""
        self.faults.check("record_decision", "before")
        self._decisions.append(replace(row, detail=_as_json(row.detail), at=self._moment(row.at)))
        self.faults.check("record_decision", "after")

    def decisions(self, stream: str, *, limit: int = 100) -> tuple[DecisionRow, ...]:
        """Return the newest decisions, newest first."""
        return tuple(row for row in reversed(self._decisions) if row.stream == stream)[:limit]

    def record_reconciliation(self, row: ReconciliationRow) -> None:
        """Append a verdict."""
        self.faults.check("record_reconciliation", "before")
        self._reconciliations.append(replace(row, at=self._moment(row.at)))
        self.faults.check("record_reconciliation", "after")

    def reconciliations(self, stream: str, *, limit: int = 100) -> tuple[ReconciliationRow, ...]:
        """Return the newest verdicts, newest first."""
        found = tuple(row for row in reversed(self._reconciliations) if row.stream == stream)
        return found[:limit]

    def record_events(self, rows: Sequence[EventRow]) -> tuple[EventRow, ...]:
        """Append events that were not seen before."""
        self.faults.check("record_events", "before")
        seen = {(row.source_id, row.date, row.message) for row in self._events}
        new: list[EventRow] = []
        for row in rows:
            if (row.source_id, row.date, row.message) in seen:
                continue
            seen.add((row.source_id, row.date, row.message))
            new.append(replace(row, first_seen=self._moment(row.first_seen)))
        self._events.extend(new)
        self.faults.check("record_events", "after")
        return tuple(new)

    def events(self, *, since: datetime | None = None) -> tuple[EventRow, ...]:
        """Return events by their date, oldest first."""
        found = (row for row in self._events if since is None or row.date >= since)
        return tuple(sorted(found, key=lambda row: row.date))

    def record_deployment(self, row: DeploymentRow) -> bool:
        """Append what was seen of a deployment, unless its newest row says the same."""
        self.faults.check("record_deployment", "before")
        known = [old for old in self._deployments if old.deployment_id == row.deployment_id]
        if known and replace(known[-1], seen_at=None) == replace(row, seen_at=None):
            return False
        self._deployments.append(replace(row, seen_at=self._moment(row.seen_at)))
        self.faults.check("record_deployment", "after")
        return True

    def deployments(self) -> tuple[DeploymentRow, ...]:
        """Return all rows of all deployments, oldest first."""
        return tuple(self._deployments)

    def record_poll(self, row: PollRow) -> None:
        """Append a stretch of time whose events were fetched."""
        self.faults.check("record_poll", "before")
        self._polls.append(row)
        self.faults.check("record_poll", "after")

    def polls(self, feed: str, *, limit: int = 1000) -> tuple[PollRow, ...]:
        """Return the newest stretches of a feed, newest first."""
        return tuple(row for row in reversed(self._polls) if row.feed == feed)[:limit]

    def set_intent(self, stream: str, intent: Intent, reason: str) -> None:
        """Append what a person wants."""
        self.faults.check("set_intent", "before")
        self._intents.append((stream, intent, reason))
        self.faults.check("set_intent", "after")

    def intent(self, stream: str) -> tuple[Intent, str]:
        """Return the newest intent and its reason."""
        for name, intent, reason in reversed(self._intents):
            if name == stream:
                return intent, reason
        return "run", ""


def _as_json(detail: Mapping[str, object]) -> dict[str, object]:
    # The real ledger stores JSON, so a tuple comes back as a list here, too.
    return cast("dict[str, object]", json.loads(json.dumps(dict(detail))))


def _position_key(row: PositionRow) -> tuple[str, int, str, str]:
    return row.stream, row.incarnation, row.path, row.tables
