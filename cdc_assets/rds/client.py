"""RdsFeed: RDS events and blue/green deployments of one instance or cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from cdc_assets.core.observation import DeploymentView
from cdc_assets.ports import Clock, DeploymentRow, EventRow, Ledger, PollRow, Server
from cdc_assets.rds.api import SOURCE_TYPES, Database, RdsApi
from cdc_assets.rds.deployments import HISTORY, Episode, concerns, read_events
from cdc_assets.rds.events import read_event

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient

# "now - 14 days" itself is refused, so a margin is kept for clocks and slow requests.
LONGEST_WINDOW: Final = HISTORY - timedelta(minutes=5)
# From here on a person should know: one more day and events are lost.
LONG_SILENCE: Final = timedelta(days=13)
# Events become visible later than their date; nobody states how much later.
OVERLAP: Final = timedelta(hours=1)
FIRST_WINDOW: Final = timedelta(days=1)
# The ledger only grows, so not every poll is written down.
MARK_EVERY: Final = timedelta(hours=1)

_log = logging.getLogger(__name__)


class RdsFeed:
    """What RDS says about a production database, as `ports.EventFeed` wants it.

    Every event and deployment of concern is stored in the ledger at first sight: RDS forgets
    events after 14 days, names at the switchover, and deployments when they are deleted.

    Args:
        client_factory: Makes the boto3 client, see `rds_client_factory`; called at first use.
        ledger: Where events are kept.
        name: Production's instance or cluster identifier, which stays with the endpoint.
        clock: The time.
    """

    def __init__(
        self, client_factory: Callable[[], RDSClient], ledger: Ledger, *, name: str, clock: Clock
    ) -> None:
        self._api = RdsApi(client_factory)
        self._ledger = ledger
        self._name = name
        self._clock = clock
        self._is_cluster = False

    def poll(self) -> None:
        """Fetch new events and record them at first sight.

        Raises:
            EventFeedUnreachable: No answer, or throttled.
            EventFeedError: Refused.
        """
        rows = self._look_at_deployments()
        marks = self._ledger.polls(self._feed, limit=1)
        now = self._now()
        since = self._window_start(marks[0] if marks else None, rows, now)
        names = self._names(rows)
        for source_type in SOURCE_TYPES:
            for page in self._api.events(source_type, since, now):
                self._ledger.record_events([row for row in page if _matters(row, names)])
        hole = bool(marks) and since > marks[0].until
        if not marks or hole or now - marks[0].until >= MARK_EVERY:
            self._ledger.record_poll(PollRow(self._feed, since, now))

    def deployment(self) -> DeploymentView | None:
        """Return the newest deployment that concerns the source, with its coordinates."""
        listed = {row.deployment_id for row in self._look_at_deployments()}
        episodes = self._episodes(listed)
        if not episodes:
            return None
        episode = episodes[-1]
        return episode.view(self._proved_old_name(episode))

    def instance(self, name: str) -> tuple[Server, str] | None:
        """Return endpoint and resource id of an instance or cluster by its name now."""
        found = self._database(name)
        if found is None or found.server is None:
            return None
        return found.server, found.resource_id

    def parameter_group_status(self, name: str) -> str | None:
        """Return the apply status of a database's parameter group, for example `in-sync`.

        Args:
            name: An instance or cluster, for example green.

        Returns:
            The first status that is not `in-sync`, None when there is no such database.
        """
        found = self._database(name)
        return None if found is None else found.parameter_status

    # ------------------------------------------------------------ events

    @property
    def _feed(self) -> str:
        return f"rds:{self._api.region}:{self._name}"

    def _now(self) -> datetime:
        return self._clock.now() + self._api.clock_skew

    def _window_start(
        self, mark: PollRow | None, rows: tuple[DeploymentRow, ...], now: datetime
    ) -> datetime:
        oldest = now - LONGEST_WINDOW
        if mark is None:
            created = [row.created_at for row in rows]
            return max(oldest, min([now - FIRST_WINDOW, *created]))
        if now - mark.until > LONG_SILENCE:
            _log.warning(
                "rds feed %s: not polled for %s days; RDS keeps events for 14 days",
                self._name,
                (now - mark.until).days,
            )
        return max(oldest, mark.until - OVERLAP)

    def _names(self, rows: tuple[DeploymentRow, ...]) -> frozenset[str]:
        names = {self._name}
        for row in rows:
            names |= {row.deployment_id, row.name, row.source, row.target}
            names |= {name for pair in row.members for name in pair}
        return frozenset(name.lower() for name in names if name)

    # ------------------------------------------------------------ deployments

    def _look_at_deployments(self) -> tuple[DeploymentRow, ...]:
        """Record the deployments of concern that the API lists, and return them."""
        listed = self._api.deployments(self._clock.now())
        history = self._ledger.deployments()
        found: list[DeploymentRow] = []
        for row in listed:
            known = [old for old in history if old.deployment_id == row.deployment_id]
            if concerns(self._name, [*known, row]):
                full = self._with_resource_ids(row, known)
                self._ledger.record_deployment(full)
                found.append(full)
        return tuple(found)

    def _with_resource_ids(self, row: DeploymentRow, known: list[DeploymentRow]) -> DeploymentRow:
        """Add the ids, which are asked for once: names move, ids do not."""
        source = next((old.source_resource_id for old in known if old.source_resource_id), "")
        target = next((old.target_resource_id for old in known if old.target_resource_id), "")
        return replace(
            row,
            source_resource_id=source or self._resource_id(row.source),
            target_resource_id=target or self._resource_id(row.target),
        )

    def _resource_id(self, name: str) -> str:
        found = self._database(name) if name else None
        return found.resource_id if found else ""

    def _episodes(self, listed: set[str]) -> list[Episode]:
        """Return the deployments of concern, oldest first, without those that came to nothing."""
        by_id: dict[str, list[DeploymentRow]] = {}
        for row in self._ledger.deployments():
            by_id.setdefault(row.deployment_id, []).append(row)
        own = sorted(
            (rows for rows in by_id.values() if concerns(self._name, rows)),
            key=lambda rows: rows[0].created_at,
        )
        if not own:
            return []
        events = read_events(self._ledger.events(since=own[0][0].created_at))
        polls = self._ledger.polls(self._feed)
        episodes: list[Episode] = []
        for index, rows in enumerate(own):
            begin = rows[0].created_at
            end = own[index + 1][0].created_at if index + 1 < len(own) else None
            window = tuple(
                (row, hint)
                for row, hint in events
                if row.date >= begin and (end is None or row.date < end)
            )
            is_listed = rows[0].deployment_id in listed
            episode = Episode(self._name, tuple(rows), is_listed, window, polls, self._now())
            # Deleted without a switchover: of no concern any more.
            if is_listed or episode.status == "SWITCHOVER_COMPLETED":
                episodes.append(episode)
        return episodes

    def _proved_old_name(self, episode: Episode) -> str:
        """Return old blue's name now: the one that blue's resource id has.

        A person may rename `-old1`, and another database may get its name.
        """
        name, wanted = episode.old_name, episode.newest.source_resource_id
        if not name or not wanted:
            return name
        found = self._database(name)
        if found is not None and found.resource_id == wanted:
            return name
        return self._api.name_of(wanted)

    def _database(self, name: str) -> Database | None:
        """Return an instance or a cluster; what was found last is asked for first."""
        order = (self._api.cluster, self._api.instance)
        if not self._is_cluster:
            order = (self._api.instance, self._api.cluster)
        found = order[0](name)
        if found is None:
            found = order[1](name)
            if found is not None:
                self._is_cluster = not self._is_cluster
        return found


def _matters(row: EventRow, names: frozenset[str]) -> bool:
    """Say whether to keep an event: an account has many databases, and the ledger only grows."""
    hint = read_event(row.message)
    if row.source_id.lower() in names:
        return True
    # Green's name may never have been seen, so whatever is about a switchover is kept.
    return hint is not None and (hint.kind.startswith(("coordinates", "switchover", "deployment")))
