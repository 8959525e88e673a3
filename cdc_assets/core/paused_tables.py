"""Paused tables: captured tables that a stream goes on without until they are resumed. Pure.

The ledger keeps when a table was paused and from where its rows can be read again. A table is
resumed by the launch that takes it in again: that launch and the fence are one row, so nobody
takes a table for resumed whose rows were not brought to where the others are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from cdc_assets.core.position import Coordinates, Position
from cdc_assets.core.stream import IncarnationKind, StreamSpec
from cdc_assets.core.table_refs import ShardedTable


@dataclass(frozen=True)
class PausedTable:
    """A table that is paused.

    Attributes:
        table: Its label.
        number: Of this pause, unique within the stream.
        incarnation: The last incarnation that read it.
        reason: The change.
        path: A state of before the change, empty where there is none.
        position: Where that state stands, None without one.
        since: When it was paused.
    """

    table: str
    number: str
    incarnation: int
    reason: str
    path: str = ""
    position: Position | None = None
    since: datetime | None = None

    @property
    def text(self) -> str:
        """Return the pause in one line."""
        since = f" since {self.since:%Y-%m-%d %H:%M:%S} UTC" if self.since else ""
        at = f" at {self.position.coordinates}" if self.position else ""
        return f"{self.table}: paused{since}{at} because {self.reason}"


def resume_label(stream: str, incarnation: int, number: str) -> str:
    """Return what names the launch that takes a table in again.

    Args:
        stream: Name.
        incarnation: The one without the table, at whose end it joins the others.
        number: Of the pause.
    """
    return f"{stream}:{incarnation}/resume-{number}"


def still_paused(
    noted: Iterable[PausedTable], launched: Sequence[tuple[int, IncarnationKind, str]]
) -> tuple[PausedTable, ...]:
    """Return the pauses that no launch has ended.

    Args:
        noted: Every pause of a stream, oldest first.
        launched: Number, kind and label of its incarnations. A snapshot copies every table.
    """
    found: dict[str, PausedTable] = {}
    known: set[tuple[str, int]] = set()
    for pause in noted:
        if (pause.table, pause.incarnation) in known:
            continue  # two looks that met noted it twice
        known.add((pause.table, pause.incarnation))
        ended = any(
            number > pause.incarnation
            and (kind == "snapshot" or label.endswith(f"/resume-{pause.number}"))
            for number, kind, label in launched
        )
        if not ended:
            found.setdefault(pause.table, pause)
    return tuple(found.values())


def with_tables(spec: StreamSpec, labels: Collection[str]) -> StreamSpec:
    """Return a stream that captures only these of its tables."""
    tables = tuple(table for table in spec.tables if table.label in labels)
    names = {table.alias for table in tables}
    return replace(
        spec,
        tables=tables,
        # As they are: by itself a stream of fewer tables may take a reader for each.
        readers="shared" if spec.shares_readers else "per-table",
        source_only=tuple(name for name in spec.source_only if name in names),
        transforms=tuple(each for each in spec.transforms if each.table in names),
    )


def reason_to_stop(spec: StreamSpec, tables: Collection[str], others: Sequence[str]) -> str:
    """Return why a stream cannot go on without some of its tables, empty where it can.

    Without them its job is another one, which no state of before fits: it starts at a place
    in the binlog and reads the columns of today. So nothing but the place may matter, rows may
    come again, and the other tables must be as they were at that place.

    Args:
        spec: The stream.
        tables: Labels of the tables that changed harmfully.
        others: Changes of other tables, in words.
    """
    if spec.engine != "flink" or spec.is_scripted:
        return "its job is not made from its tables"
    if spec.queries:
        return "its queries keep state, which no start at a place has"
    if spec.materializes:
        return "its filters keep rows in Flink's state, which no start at a place has"
    merged = [
        table.target_name
        for table in spec.copied
        if table.label in tables and isinstance(table, ShardedTable)
    ]
    if merged:
        return f"{', '.join(merged)} is merged from several source tables"
    if not any(table.label not in tables for table in spec.copied):
        return "no other table is copied"
    if others:
        return f"other tables changed, too: {'; '.join(others)}"
    return ""


def oldest(positions: Sequence[Position]) -> Position:
    """Return the position that lies before all others of one server.

    A start there reads at least what a reader at any of them would.

    Args:
        positions: At least one; the caller knows that they are of one server.
    """
    return min(positions, key=lambda position: _place(position.coordinates))


def _place(coordinates: Coordinates) -> tuple[int, int]:
    return coordinates.number, coordinates.pos
