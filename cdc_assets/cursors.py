"""What the sensors remember from tick to tick; a cursor that cannot be read stops its sensor."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, TypeVar, cast

from cdc_assets.errors import UnreadablePosition
from cdc_assets.operations.observe import Memory

VERSION = 1
C = TypeVar("C")


@dataclass(frozen=True)
class HealthCursor:
    """Memory of the health sensor.

    Attributes:
        memory: What the next look must know.
        reported: What was reported last, without its numbers.
        incarnation: Incarnation of that report.
        reported_at: When; the heartbeat counts from here.
        checkpoint: Newest checkpoint at the last heartbeat, so that progress is seen.
        checkpoint_path: Its path: numbers of two jobs are not compared.
    """

    memory: Memory = field(default_factory=Memory)
    reported: str = ""
    incarnation: int = 0
    reported_at: datetime | None = None
    checkpoint_path: str = ""

    def dump(self) -> str:
        """Return the cursor's text."""
        return _dump(self)

    @classmethod
    def load(cls, text: str | None, *, stream: str) -> HealthCursor:
        """Read the text back; without one, the first tick begins.

        Raises:
            UnreadablePosition: It is not a cursor of this sensor.

        Example:
            >>> cursor = HealthCursor(reported="Hold: running", incarnation=3)
            >>> HealthCursor.load(cursor.dump(), stream="shop") == cursor
            True
        """

        def make(values: dict[str, Any]) -> HealthCursor:
            memory = _known(Memory, _mapping(values.pop("memory")))
            return cls(**_known_values(cls, {**values, "memory": memory}))

        return _load(text, make, cls(), stream=stream, sensor="health")


@dataclass(frozen=True)
class EventCursor:
    """Memory of the RDS event sensor.

    Attributes:
        deployment: Id of the newest deployment seen.
        status: Its status.
        seen_until: When the newest reported event was first seen.
    """

    deployment: str = ""
    status: str = ""
    seen_until: datetime | None = None

    def dump(self) -> str:
        """Return the cursor's text."""
        return _dump(self)

    @classmethod
    def load(cls, text: str | None, *, stream: str) -> EventCursor:
        """Read the text back; without one, the first tick begins.

        Raises:
            UnreadablePosition: It is not a cursor of this sensor.
        """
        return _load(
            text,
            lambda values: cls(**_known_values(cls, values)),
            cls(),
            stream=stream,
            sensor="rds",
        )


def _dump(cursor: HealthCursor | EventCursor) -> str:
    values = {"version": VERSION, **asdict(cursor)}
    return json.dumps(values, default=lambda value: cast("datetime", value).isoformat())


def _load(
    text: str | None, make: Callable[[dict[str, Any]], C], first: C, *, stream: str, sensor: str
) -> C:
    if not text:
        return first
    try:
        return make(_of_version(_mapping(json.loads(text))))
    except (ValueError, TypeError, KeyError) as error:
        raise UnreadablePosition(
            f"stream {stream!r}: the cursor of its {sensor} sensor cannot be read: {error}",
            hint="Nothing is decided. Look at the cursor in Dagster's UI, and reset it there",
        ) from error


def _of_version(values: Mapping[str, Any]) -> dict[str, Any]:
    if values.get("version") != VERSION:
        message = f"it is not of version {VERSION}"
        raise ValueError(message)
    return {name: value for name, value in values.items() if name != "version"}


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        message = f"{str(value)[:40]!r} is not an object"
        raise TypeError(message)
    return cast("Mapping[str, Any]", value)


def _known(kind: type[C], values: Mapping[str, Any]) -> C:
    return kind(**_known_values(kind, values))


def _known_values(kind: type[object], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a dataclass with times read; a missing or unknown field is an error."""
    names = {one.name: str(one.type) for one in fields(cast("Any", kind))}
    if set(values) != set(names):
        message = f"fields {sorted(set(values) ^ set(names))} are unknown or missing"
        raise ValueError(message)
    return {name: _value(names[name], name, value) for name, value in values.items()}


def _value(kind: str, name: str, value: object) -> object:
    if kind == "datetime | None":
        if value is None:
            return None
        moment = datetime.fromisoformat(str(value))
        if moment.tzinfo is None:
            message = f"{name} has no time zone"
            raise ValueError(message)
        return moment
    wanted = {"str": str, "int": int}.get(kind)
    if wanted is not None and type(value) is not wanted:
        message = f"{name} is {value!r}"
        raise ValueError(message)
    return value
