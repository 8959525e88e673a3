"""The events of the RDS API stand-in: AWS's texts, and the rules of DescribeEvents.

Texts, source types and the two limits follow the RDS user guide ("Amazon RDS event categories and
event messages", "Updating the parent node for consumers") and the API reference of
DescribeEvents. What no public page states is marked "assumed".
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final, cast

from cdc_assets.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DB_INSTANCE: Final = "db-instance"
BLUE_GREEN: Final = "blue-green-deployment"
SOURCE_TYPES: Final = (
    "db-instance",
    "db-parameter-group",
    "db-security-group",
    "db-snapshot",
    "db-cluster",
    "db-cluster-snapshot",
    "custom-engine-version",
    "db-proxy",
    "blue-green-deployment",
    "db-shard-group",
    "zero-etl",
)
HISTORY: Final = timedelta(days=14)
DEFAULT_MINUTES: Final = 60
LONGEST_MINUTES: Final = 14 * 24 * 60
LEAST_RECORDS: Final = 20
MOST_RECORDS: Final = 100

DURATION_TEXT: Final = "If Duration is specified, both StartTime and EndTime must be omitted."
HISTORY_TEXT: Final = "Events occurring more than 14 days in the past are not available."


class ApiFault(LabError):
    """An answer of the RDS API that is an error, with AWS's code.

    Args:
        code: The error code, for example `InvalidParameterCombination`.
        message: The text of the error.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Event:
    """One event as DescribeEvents returns it: there is no event ID in it.

    Attributes:
        source_identifier: Name or identifier of the thing that the event is about.
        source_type: One of `SOURCE_TYPES`.
        message: The text.
        categories: EventCategories; empty for the coordinates event.
        source_arn: ARN at the time of the event.
        date: When it happened (UTC). It is not returned before that time.
    """

    source_identifier: str
    source_type: str
    message: str
    categories: tuple[str, ...]
    source_arn: str
    date: datetime

    def as_api(self) -> dict[str, object]:
        """Return the event with the field names of the RDS API."""
        return {
            "SourceIdentifier": self.source_identifier,
            "SourceType": self.source_type,
            "Message": self.message,
            "EventCategories": list(self.categories),
            "Date": self.date,
            "SourceArn": self.source_arn,
        }

    def as_record(self) -> dict[str, object]:
        """Return the event as plain values for the state file."""
        return {**asdict(self), "date": self.date.isoformat()}

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> Event:
        """Read what `as_record` wrote.

        Args:
            record: Plain values.

        Returns:
            The event.
        """
        return cls(
            source_identifier=str(record["source_identifier"]),
            source_type=str(record["source_type"]),
            message=str(record["message"]),
            categories=tuple(str(c) for c in cast("Sequence[object]", record["categories"])),
            source_arn=str(record["source_arn"]),
            date=datetime.fromisoformat(str(record["date"])),
        )


@dataclass(frozen=True)
class EventQuery:
    """The parameters of one DescribeEvents call, as they were sent.

    Attributes:
        source_identifier: Needs `source_type`.
        source_type: One of `SOURCE_TYPES`.
        start_time: First moment (inclusive), UTC.
        end_time: Last moment (inclusive), UTC.
        duration_minutes: Minutes before now; excludes both times.
        categories: Keep events with at least one of these; empty keeps all.
        max_records: Page size, 20 to 100.
        marker: What the last page returned.
    """

    source_identifier: str | None = None
    source_type: str | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    duration_minutes: int | None = None
    categories: tuple[str, ...] = ()
    max_records: int | None = None
    marker: str | None = None


@dataclass(frozen=True)
class EventPage:
    """One page of events and the marker of the next one, if there is a next one."""

    events: tuple[Event, ...]
    marker: str | None


def describe_events(events: Iterable[Event], query: EventQuery, now: datetime) -> EventPage:
    """Apply the rules of DescribeEvents.

    Args:
        events: All events, in the order in which they were written.
        query: The call.
        now: The time of the call (UTC).

    Returns:
        One page, oldest event first.

    Raises:
        ApiFault: AWS refuses such a call.
    """
    _check(query)
    start, end, offset = _window(query, now)
    wanted = sorted(
        (e for e in events if start <= e.date <= min(end, now) and _matches(e, query)),
        key=lambda event: event.date,
    )
    size = MOST_RECORDS if query.max_records is None else query.max_records
    page = tuple(wanted[offset : offset + size])
    more = len(wanted) > offset + size
    return EventPage(page, _marker(start, end, offset + size) if more else None)


def _check(query: EventQuery) -> None:
    if query.source_type is not None and query.source_type not in SOURCE_TYPES:
        # Assumed text.
        message = f"Invalid source type: {query.source_type}"
        raise ApiFault("InvalidParameterValue", message)
    if query.source_identifier is not None and query.source_type is None:
        # The rule is in the API reference; the text is assumed.
        message = "If SourceIdentifier is supplied, SourceType must also be provided."
        raise ApiFault("InvalidParameterCombination", message)
    size = query.max_records
    if size is not None and not LEAST_RECORDS <= size <= MOST_RECORDS:
        message = (
            f"Invalid value {size} for MaxRecords. "
            f"Must be between {LEAST_RECORDS} and {MOST_RECORDS}"
        )
        raise ApiFault("InvalidParameterValue", message)
    if query.duration_minutes is not None:
        if query.start_time is not None or query.end_time is not None:
            raise ApiFault("InvalidParameterCombination", DURATION_TEXT)
        if query.duration_minutes < 1:
            # Assumed text.
            message = f"Invalid value {query.duration_minutes} for Duration"
            raise ApiFault("InvalidParameterValue", message)


def _window(query: EventQuery, now: datetime) -> tuple[datetime, datetime, int]:
    """Return the first moment, the last moment and how many events earlier pages returned."""
    if query.marker is not None:
        return _read_marker(query.marker)
    if query.duration_minutes is not None and query.duration_minutes > LONGEST_MINUTES:
        raise ApiFault("InvalidParameterValue", HISTORY_TEXT)
    minutes = timedelta(minutes=query.duration_minutes or DEFAULT_MINUTES)
    end = query.end_time or now
    # Assumed: an EndTime alone means the hour before it.
    start = query.start_time or end - minutes
    if start <= now - HISTORY and query.duration_minutes is None:
        # Measured on AWS: "now - 14 days" fails, one minute later passes. The whole range of
        # Duration passes, so its window may begin exactly 14 days ago.
        raise ApiFault("InvalidParameterValue", HISTORY_TEXT)
    if start > end:
        # Assumed text.
        raise ApiFault("InvalidParameterCombination", "StartTime must be before EndTime.")
    return start, end, 0


def _matches(event: Event, query: EventQuery) -> bool:
    if query.source_type is not None and event.source_type != query.source_type:
        return False
    identifier = query.source_identifier
    if identifier is not None and event.source_identifier.lower() != identifier.lower():
        return False
    return not query.categories or bool(set(query.categories) & set(event.categories))


def _marker(start: datetime, end: datetime, offset: int) -> str:
    # The window is part of the marker, so that the pages of one listing fit together.
    text = json.dumps([start.isoformat(), end.isoformat(), offset])
    return base64.urlsafe_b64encode(text.encode()).decode()


def _read_marker(marker: str) -> tuple[datetime, datetime, int]:
    try:
        start, end, offset = cast(
            "tuple[str, str, int]", json.loads(base64.urlsafe_b64decode(marker.encode()))
        )
        return datetime.fromisoformat(start), datetime.fromisoformat(end), int(offset)
    except (binascii.Error, TypeError, ValueError) as error:
        # Assumed text.
        raise ApiFault("InvalidParameterValue", f"Invalid marker: {marker}") from error


class EventTexts:
    """Builds the events of one blue/green deployment.

    Args:
        deployment_id: Identifier of the deployment.
        deployment_arn: ARN of the deployment.
    """

    def __init__(self, deployment_id: str, deployment_arn: str) -> None:
        self._id = deployment_id
        self._arn = deployment_arn

    def created(self) -> Event:
        """RDS-EVENT-0244."""
        return self._event(
            "Blue/green deployment tasks completed. You can make more modifications to the green "
            "environment databases or switch over the deployment.",
            "creation",
        )

    def creation_failed(self, reason: str) -> Event:
        """RDS-EVENT-0245.

        Args:
            reason: Why, without a full stop.
        """
        return self._event(f"Creation of blue/green deployment failed because {reason}.", "failure")

    def deleted(self) -> Event:
        """RDS-EVENT-0246."""
        return self._event("Blue/green deployment deleted.", "deletion")

    def started(self, blue: str, green: str) -> tuple[Event, Event]:
        """RDS-EVENT-0247, then RDS-EVENT-0250 in the words that accounts really get.

        Args:
            blue: Name of the blue instance.
            green: Name of the green instance.
        """
        return (
            self._event(f"Switchover from {blue} to {green} started.", "notification"),
            self._event(f"Switchover from primary {blue} to {green} started.", "notification"),
        )

    def completed(self, blue: str, green: str, old_blue: str) -> tuple[Event, Event]:
        """RDS-EVENT-0251, then RDS-EVENT-0248.

        Args:
            blue: Name of the blue instance before the switchover.
            green: Name of the green instance before the switchover.
            old_blue: Name of the blue instance after the switchover.
        """
        renamed = f"Renamed {blue} to {old_blue} and {green} to {blue}."
        return (
            self._event(
                f"Switchover from primary {blue} to {green} completed. {renamed}", "notification"
            ),
            self._event("Switchover completed on blue/green deployment.", "notification"),
        )

    def canceled(self, blue: str, green: str, reason: str) -> tuple[Event, Event]:
        """RDS-EVENT-0252, then RDS-EVENT-0249.

        Args:
            blue: Name of the blue instance.
            green: Name of the green instance.
            reason: Why, without a full stop.
        """
        return (
            self._event(
                f"Switchover from primary {blue} to {green} was canceled due to {reason}.",
                "failure",
            ),
            self._event("Switchover canceled on blue/green deployment.", "failure"),
        )

    def _event(self, message: str, category: str) -> Event:
        return Event(self._id, BLUE_GREEN, message, (category,), self._arn, utc_now())


def coordinates_event(instance: str, arn: str, file: str, position: int) -> Event:
    """Build the coordinates event: no event ID, no category, on the old green name.

    Args:
        instance: Name of the green instance before the switchover.
        arn: Its ARN under that name.
        file: Binlog file on green.
        position: Position in that file.

    Returns:
        The event, dated now.
    """
    message = (
        "Binary log coordinates in green environment after switchover: "
        f"file {file} and position {position}"
    )
    return Event(instance, DB_INSTANCE, message, (), arn, utc_now())


def delayed(event: Event, seconds: float) -> Event:
    """Return the event as if it happened later; it is not returned before that time.

    Args:
        event: The event.
        seconds: How much later.
    """
    return replace(event, date=event.date + timedelta(seconds=seconds))


def utc_now() -> datetime:
    """Return the time with the millisecond precision of the RDS API."""
    now = datetime.now(timezone.utc)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
