"""Deployments: which one concerns the source, and which events are its own. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cdc_assets.core.observation import DeploymentStatus, DeploymentView
from cdc_assets.core.position import Coordinates
from cdc_assets.ports import DeploymentRow, EventRow, PollRow
from cdc_assets.rds.events import Hint, read_event

# RDS keeps events for 14 days.
HISTORY: Final = timedelta(days=14)
# The coordinates event comes within minutes of the switchover; a hole in what was fetched counts
# as a loss only near it.
NEAR: Final = timedelta(days=1)

_BEGUN: Final = frozenset({"SWITCHOVER_IN_PROGRESS", "SWITCHOVER_COMPLETED"})


@dataclass(frozen=True)
class Episode:
    """One deployment with everything that the ledger knows about it.

    Attributes:
        production: Name of the production instance or cluster.
        rows: What was seen of it, oldest first; never empty.
        listed: Whether the RDS API still lists it.
        events: Its window of events: from its creation to that of the next deployment.
        polls: Stretches whose events were fetched.
        now: The time.
    """

    production: str
    rows: tuple[DeploymentRow, ...]
    listed: bool
    events: tuple[tuple[EventRow, Hint], ...]
    polls: tuple[PollRow, ...]
    now: datetime

    @property
    def deployment_id(self) -> str:
        """Return AWS's identifier."""
        return self.rows[0].deployment_id

    @property
    def newest(self) -> DeploymentRow:
        """Return what was seen last."""
        return self.rows[-1]

    @property
    def status(self) -> DeploymentStatus:
        """Return the API's status; of a deployment that it no longer lists, the last one known."""
        if self.listed:
            return self.newest.status
        # Deleted between two looks: the events tell whether it was switched over before.
        if any(hint.kind == "switchover-completed" for _, hint in self._own()):
            return "SWITCHOVER_COMPLETED"
        done = any(row.status == "SWITCHOVER_COMPLETED" for row in self.rows)
        return "SWITCHOVER_COMPLETED" if done else "DELETING"

    @property
    def switched_at(self) -> datetime | None:
        """Return when the switchover began: the first start after the last cancellation."""
        own = self._own()
        canceled = max(
            (row.date for row, hint in own if hint.kind == "switchover-canceled"), default=None
        )
        return min(
            (
                row.date
                for row, hint in own
                if hint.kind == "switchover-started" and (canceled is None or row.date > canceled)
            ),
            default=None,
        )

    @property
    def green_name(self) -> str:
        """Return green's name before the switchover, empty when it was never seen."""
        return next(iter(sorted(self._primary_greens())), "")

    @property
    def old_name(self) -> str:
        """Return old blue's name by what was seen last, empty before the switchover."""
        if self.status != "SWITCHOVER_COMPLETED":
            return ""
        for row in reversed(self.rows):
            if _same(row.target, self.production) and not _same(row.source, self.production):
                return row.source
        renamed = [h.old for _, h in self._own() if h.old and _same(h.blue, self.production)]
        return renamed[-1] if renamed else ""

    def coordinates(self) -> tuple[tuple[Coordinates, ...], tuple[str, ...]]:
        """Return the distinct coordinates of this switchover, and texts that cannot be read."""
        since = self.switched_at or self.newest.created_at
        found = [
            (row, hint)
            for row, hint in self.events
            if hint.kind in {"coordinates", "coordinates-garbled"} and row.date >= since
        ]
        for names in (self._primary_greens(), self._greens(), self._blues()):
            mine = [hint for row, hint in found if row.source_id.lower() in names]
            if mine:
                return _distinct(mine)
        likely = self._likely_green()
        return _distinct(hint for row, hint in found if likely.fullmatch(row.source_id.lower()))

    def missing(self) -> str:
        """Return why no coordinates event can be expected any more, else empty."""
        switched = self.switched_at
        since = switched or self._not_yet_at()
        until = min(self.now, switched + NEAR) if switched else self.now
        hole = hole_in(self.polls, since, until, self.now)
        if hole is not None:
            return (
                f"RDS events from {hole[0]:%Y-%m-%d %H:%M} to {hole[1]:%Y-%m-%d %H:%M} UTC were "
                f"never fetched, and RDS keeps them for 14 days only"
            )
        if switched and self.now - switched > HISTORY:
            return "RDS named none in the 14 days since the switchover"
        return ""

    def view(self, old_name: str) -> DeploymentView:
        """Return the deployment as the port wants it.

        Args:
            old_name: Old blue's name now, proved by its resource id where that is known.
        """
        begun = self.status in _BEGUN
        coordinates, garbled = self.coordinates() if begun else ((), ())
        waiting = self.status == "SWITCHOVER_COMPLETED" and not coordinates and not garbled
        return DeploymentView(
            self.deployment_id,
            self.status,
            source_name=self.production,
            green_name=self.green_name,
            old_name=old_name,
            coordinates=coordinates,
            garbled=garbled,
            missing=self.missing() if waiting else "",
        )

    def _not_yet_at(self) -> datetime:
        """Return the last moment at which it was surely not switched over."""
        seen = [row.seen_at for row in self.rows if row.status not in _BEGUN and row.seen_at]
        return max([self.newest.created_at, *seen])

    # ------------------------------------------------------------ names

    def _own(self) -> list[tuple[EventRow, Hint]]:
        """Return the events about this deployment as a whole, by identifier or by name."""
        ids = {self.deployment_id.lower(), self.newest.name.lower()} - {""}
        return [
            (row, hint)
            for row, hint in self.events
            if row.source_id.lower() in ids or (hint.blue and _same(hint.blue, self.production))
        ]

    def _before(self) -> list[DeploymentRow]:
        return [row for row in self.rows if _same(row.source, self.production)]

    def _primary_greens(self) -> set[str]:
        """Return names of the green of production itself."""
        named = {hint.green for _, hint in self._own() if _same(hint.blue, self.production)}
        return _lower(named | {row.target for row in self._before()})

    def _greens(self) -> set[str]:
        """Return names of all greens: a cluster's instances, and replicas.

        The coordinates event of a cluster bears the name of green's writer, and which instance
        that is stands nowhere.
        """
        blues = self._blues()
        named = {hint.green for _, hint in self.events if hint.blue in blues}
        return _lower(named | {green for row in self._before() for _, green in row.members})

    def _blues(self) -> set[str]:
        """Return the names that blue has before the switchover, and green after it."""
        before = {blue for row in self._before() for blue, _ in row.members}
        after = {
            green
            for row in self.rows
            if _same(row.target, self.production)
            for _, green in row.members
        }
        return _lower(before | after | {self.production})

    def _likely_green(self) -> re.Pattern[str]:
        """Return how AWS names the green of a blue, where its name was never seen."""
        names = "|".join(re.escape(name) for name in sorted(self._blues()))
        return re.compile(rf"(?:{names})-green-[a-z0-9]{{6}}")


def concerns(production: str, rows: Iterable[DeploymentRow]) -> bool:
    """Say whether a deployment is about the production name, before or after the rename."""
    return any(_same(production, row.source) or _same(production, row.target) for row in rows)


def read_events(rows: Iterable[EventRow]) -> tuple[tuple[EventRow, Hint], ...]:
    """Return the events that say something, with what they say."""
    read = ((row, read_event(row.message)) for row in rows)
    return tuple((row, hint) for row, hint in read if hint is not None)


def hole_in(
    polls: Sequence[PollRow], since: datetime, until: datetime, now: datetime
) -> tuple[datetime, datetime] | None:
    """Return the first stretch inside [since, until] whose events can no longer be fetched.

    What comes after the last poll is no hole: the next poll fetches it, unless it is too old.
    """
    covered = since
    for poll in sorted(polls, key=lambda row: row.since):
        if poll.since > covered and covered < until:
            return covered, min(poll.since, until)
        covered = max(covered, poll.until)
    oldest = now - HISTORY
    if covered < min(oldest, until):
        return covered, min(oldest, until)
    return None


def _distinct(hints: Iterable[Hint]) -> tuple[tuple[Coordinates, ...], tuple[str, ...]]:
    items = list(hints)
    found = dict.fromkeys(hint.coordinates for hint in items if hint.coordinates)
    garbled = dict.fromkeys(hint.reason for hint in items if hint.coordinates is None)
    return tuple(found), tuple(garbled)


def _lower(names: Iterable[str]) -> set[str]:
    return {name.lower() for name in names if name}


def _same(left: str, right: str) -> bool:
    return bool(left) and left.lower() == right.lower()
