"""TableVersion: what an Iceberg table held, tied to a Flink checkpoint and a binlog position. Pure.

Flink's writer notes in each Iceberg snapshot which job committed it and up to which checkpoint.
The ledger knows the binlog position of the checkpoints that it saw. Both count upwards in the
same order, so a version between two checkpoints of the ledger lies between their positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cdc_assets.core.position import Position, compare

_JOB = "flink.job-id"
_CHECKPOINT = "flink.max-committed-checkpoint-id"
# A compaction rewrites files and changes no row, so its version holds what its parent holds.
_SAME_ROWS = "replace"

# Incarnation and checkpoint number: the order in which a stream goes forward.
Place = tuple[int, int]


@dataclass(frozen=True)
class TableVersion:
    """One Iceberg snapshot of a table.

    Attributes:
        snapshot_id: Iceberg's id of it.
        parent_id: The version before, None for the first one.
        committed_at_ms: Milliseconds since 1970, by the committer's clock.
        operation: Iceberg's word for what the commit did.
        summary: What the committer noted.
    """

    snapshot_id: int
    parent_id: int | None
    committed_at_ms: int
    operation: str = ""
    summary: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def tie(self) -> tuple[str, int] | None:
        """Return the Flink job and its newest committed checkpoint, None for another writer."""
        job, number = self.summary.get(_JOB), self.summary.get(_CHECKPOINT, "")
        return (job, int(number)) if job and number.isdigit() else None


@dataclass(frozen=True)
class SeenPosition:
    """A position of the ledger, as far as it is about one table."""

    incarnation: int
    checkpoint_id: int
    position: Position

    @property
    def place(self) -> Place:
        """Return how far the stream was."""
        return self.incarnation, self.checkpoint_id


@dataclass(frozen=True)
class AsOf:
    """The answer to "the table as of a binlog position".

    Attributes:
        version: Holds no row change after the wanted position.
        incarnation: That committed it.
        checkpoint_id: Flink's number, the newest that the version holds.
        position: Every row change up to here is in the version; None where the ledger is too
            young to say.
        is_exact: Whether that is the wanted position. Otherwise changes between the two may be
            missing: the ledger knows no position there, or the commit was not seen yet.
    """

    version: TableVersion
    incarnation: int
    checkpoint_id: int
    position: Position | None
    is_exact: bool


def lineage(versions: Sequence[TableVersion], current_id: int | None) -> tuple[TableVersion, ...]:
    """Return the current version and its ancestors, newest first; others were rolled back."""
    by_id = {version.snapshot_id: version for version in versions}
    found: list[TableVersion] = []
    at = current_id
    while at in by_id and len(found) <= len(by_id):
        found.append(by_id[at])
        at = by_id[at].parent_id
    return tuple(found)


def places(
    versions: Sequence[TableVersion], incarnations: Mapping[str, int]
) -> tuple[tuple[TableVersion, Place], ...]:
    """Return the versions of a lineage that the stream wrote, each with its place, newest first.

    Args:
        versions: A lineage, newest first.
        incarnations: Number of each incarnation, by its Flink job id.
    """
    found: list[tuple[TableVersion, Place]] = []
    before: Place | None = None
    for version in reversed(versions):
        tie = version.tie
        if tie is not None:
            number = incarnations.get(tie[0])
            before = None if number is None else (number, tie[1])
        elif version.operation != _SAME_ROWS:
            before = None
        if before is not None:
            found.append((version, before))
    return tuple(reversed(found))


def version_as_of(
    versions: Sequence[TableVersion],
    incarnations: Mapping[str, int],
    positions: Sequence[SeenPosition],
    wanted: Position,
) -> AsOf | None:
    """Return the newest version that holds nothing after a position, None where none is proved.

    Args:
        versions: A lineage, newest first.
        incarnations: Number of each incarnation, by its Flink job id.
        positions: Positions of the ledger that are about the table, in any order. Where
            several readers feed it, only the checkpoints of which each position counts.
        wanted: The binlog position.
    """
    by_place: dict[Place, list[Position]] = {}
    for seen in positions:
        by_place.setdefault(seen.place, []).append(seen.position)
    reached = _reached(by_place, wanted)
    tied = places(versions, incarnations)
    if not reached or not tied:
        return None
    limit, committed = max(reached), tied[0][1]
    found = next(((version, place) for version, place in tied if place <= limit), None)
    if found is None:
        return None
    # Past the newest commit a checkpoint may be complete in Flink and not yet in the table.
    proved = [place for place in reached if place <= committed]
    held = by_place[max(proved)] if proved else []
    return AsOf(
        version=found[0],
        incarnation=found[1][0],
        checkpoint_id=found[1][1],
        position=held[0] if held else None,
        is_exact=bool(held) and all(compare(position, wanted) == "SAME" for position in held),
    )


def _reached(by_place: Mapping[Place, Sequence[Position]], wanted: Position) -> list[Place]:
    """Return the places whose rows are all of before a position, or at it.

    A stream that reads rows again stands behind what its table holds already. Such places say
    nothing: the table has rows of later ones, and older values of some until it is past them.
    """
    found: list[Place] = []
    for place in sorted(by_place):
        orders = {compare(position, wanted) for position in by_place[place]}
        if "AFTER" in orders:
            break
        is_behind = found and any(
            compare(one, other) == "BEFORE"
            for one in by_place[place]
            for other in by_place[found[-1]]
        )
        if orders <= {"BEFORE", "SAME"} and not is_behind:
            found.append(place)
    return found
