"""Offsets: what Connect keeps of a connector, and the state that a stream goes on from. Pure.

Flink's state lies in a folder. A connector has no state beyond its offset, which is a small
JSON object, so the state is that object itself, written as text: it can be read, recorded and
gone on from when the worker and its files are lost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from cdc_assets.core.position import Coordinates
from cdc_assets.errors import CheckpointUnreadable
from cdc_assets.ports import SplitPosition, StateView

SCHEME = "debezium:"
# Debezium names the server of an offset after `topic.prefix`.
_SERVER = "server"
_MARIADB_GTID = re.compile(r"[0-9]+-[0-9]+-[0-9]+(?:,[0-9]+-[0-9]+-[0-9]+)*")

Offset = Mapping[str, object]


@dataclass(frozen=True)
class ConnectorState:
    """Everything that a connector needs to go on.

    Attributes:
        offset: As Debezium wrote it.
        history: Name of the schema history that belongs to it; empty when there is none, so
            that the next connector reads the tables' columns anew.
    """

    offset: Offset
    history: str = ""

    @property
    def path(self) -> str:
        """Return the state as text."""
        body = {"history": self.history, "offset": dict(self.offset)}
        return SCHEME + json.dumps(body, sort_keys=True, separators=(",", ":"))

    @classmethod
    def parse(cls, path: str) -> ConnectorState:
        """Read a state back.

        Raises:
            CheckpointUnreadable: The text is no state.
        """
        if not path.startswith(SCHEME):
            raise CheckpointUnreadable("not a position of a Debezium connector", path=path[:80])
        try:
            body = cast("Mapping[str, object]", json.loads(path[len(SCHEME) :]))
            state = cls(cast("Offset", body["offset"]), str(body["history"]))
            state.view(())
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointUnreadable(
                f"no offset: {type(error).__name__}", path=path[:80]
            ) from None
        return state

    @property
    def is_copying(self) -> bool:
        """Return whether the initial copy has not ended: Debezium marks such offsets."""
        mark = str(self.offset.get("snapshot") or "false").lower()
        return mark != "false" or self.offset.get("snapshot_completed") is False

    @property
    def coordinates(self) -> Coordinates:
        """Return the start of the transaction being read, or the end of the last one.

        Raises:
            CheckpointUnreadable: The offset names no place in a binlog.
        """
        file, pos = self.offset.get("file"), _number(self.offset, "pos")
        if not isinstance(file, str):
            raise CheckpointUnreadable(f"the offset names no binlog file: {_shown(self.offset)}")
        return Coordinates(file, pos)

    def view(self, tables: Sequence[str]) -> StateView:
        """Return what the core knows of a state.

        MariaDB's GTIDs are left out: their notation has no order that the core could judge by.

        Args:
            tables: Captured tables, `database.table`.

        Raises:
            CheckpointUnreadable: The offset names no place in a binlog.
        """
        place, copying = self.coordinates, self.is_copying
        gtids = self.offset.get("gtids")
        known = isinstance(gtids, str) and gtids and not _MARIADB_GTID.fullmatch(gtids)
        split = SplitPosition(
            tables=tuple(tables),
            file=place.file,
            pos=place.pos,
            gtids=str(gtids) if known else None,
            skip_events=_number(self.offset, "event", 0),
            skip_rows=_number(self.offset, "row", 0),
            finished=not copying,
            usable_without_state=not copying,
            reason="the initial copy has not ended" if copying else "",
        )
        # Connect counts no checkpoints; the second of the last event grows like a number.
        number = max(1, _number(self.offset, "ts_sec", 1))
        return StateView(self.path, number, (split,), snapshot_running=copying)


def offset_at(coordinates: Coordinates, gtid_set: str | None = None) -> Offset:
    """Return the offset of a place in a binlog where no transaction is open."""
    offset: dict[str, object] = {"file": coordinates.file, "pos": coordinates.pos}
    return offset | ({"gtids": gtid_set} if gtid_set else {})


def partition_of(logical_name: str) -> Mapping[str, str]:
    """Return the key under which Connect keeps the offset."""
    return {_SERVER: logical_name}


def offset_of(entries: object, logical_name: str) -> Offset | None:
    """Return a connector's offset from Connect's answer, None when it has none yet.

    Args:
        entries: The list under `offsets`.
        logical_name: The connector's `topic.prefix`.

    Raises:
        CheckpointUnreadable: The answer has another form.
    """
    try:
        for entry in cast("Sequence[Mapping[str, Mapping[str, object]]]", entries):
            if entry["partition"].get(_SERVER) == logical_name and entry["offset"]:
                return dict(entry["offset"])
    except (TypeError, KeyError, AttributeError):
        raise CheckpointUnreadable(f"Connect's answer is no offset: {_shown(entries)}") from None
    return None


def _number(offset: Offset, name: str, default: int | None = None) -> int:
    value = offset.get(name, default)
    # Other versions write numbers as text.
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise CheckpointUnreadable(f"{name} is no number in the offset {_shown(offset)}")
    return value


def _shown(value: object) -> str:
    return " ".join(repr(value).split())[:200]
