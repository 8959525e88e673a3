"""Turn what a checkpoint holds into positions with an identity, and record them."""

from __future__ import annotations

from cdc_assets.core.gtid import GtidSet
from cdc_assets.core.position import Coordinates, Position
from cdc_assets.core.recovery import sameness_of
from cdc_assets.core.source import FileBirth, SourceIdentity
from cdc_assets.errors import SourceError
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.ports import IncarnationRow, PositionRow, SplitPosition, StateView


def positions_of(
    state: StateView, identity: SourceIdentity, birth: FileBirth | None
) -> tuple[Position, ...]:
    """Add the server's identity to the positions of a checkpoint.

    Args:
        state: Checkpoint or savepoint.
        identity: Server that the job reads; proved at its launch.
        birth: First event of a file of that server; kept where the file is the same.

    Raises:
        UnreadablePosition: A split holds no coordinates.
    """
    return tuple(_position(split, identity, birth) for split in state.splits)


def _position(split: SplitPosition, identity: SourceIdentity, birth: FileBirth | None) -> Position:
    return Position(
        coordinates=Coordinates(split.file, split.pos),
        identity=identity,
        birth=birth if birth and birth.file == split.file else None,
        gtid_set=GtidSet.parse(split.gtids) if split.gtids else None,
        skip_events=split.skip_events,
        skip_rows=split.skip_rows,
    )


def anchor_of(rt: StreamRuntime, incarnation: int | None = None) -> Position | None:
    """Return the newest recorded position whose file's birth is known, or the newest at all."""
    rows = rt.ledger.positions(rt.name, limit=200)
    if incarnation is not None:
        rows = tuple(row for row in rows if row.incarnation == incarnation)
    born = next((row for row in rows if row.position.birth is not None), None)
    newest = born or (rows[0] if rows else None)
    return newest.position if newest else None


def record_state(
    rt: StreamRuntime, row: IncarnationRow, state: StateView, *, savepoint: bool
) -> tuple[Position, ...]:
    """Record the positions of a checkpoint and return them.

    The birth of a file that is new to the ledger is asked of the incarnation's server,
    and only kept when that server is still the incarnation's: behind a production
    endpoint another server can stand at any moment.
    """
    anchor = anchor_of(rt, row.number)
    births: dict[str, FileBirth | None] = {}
    if anchor is not None and anchor.birth is not None:
        births[anchor.birth.file] = anchor.birth
    for split in state.splits:
        if split.file not in births:
            births[split.file] = _birth(rt, row, split.file)
    found = tuple(_position(split, row.identity, births.get(split.file)) for split in state.splits)
    rt.ledger.record_positions(
        [
            PositionRow(
                stream=rt.name,
                incarnation=row.number,
                checkpoint_id=state.checkpoint_id,
                path=state.path,
                tables=",".join(split.tables) or f"source {index}",
                position=position,
                savepoint=savepoint,
            )
            for index, (split, position) in enumerate(zip(state.splits, found, strict=True))
        ]
    )
    return found


def _birth(rt: StreamRuntime, row: IncarnationRow, file: str) -> FileBirth | None:
    server = row.server
    anchor = anchor_of(rt, row.number)
    try:
        seen = rt.source.view(server, file=anchor.coordinates.file if anchor else None)
        if anchor is None or sameness_of(anchor, seen) != "same":
            return None
        return rt.source.birth(server, file)
    except SourceError:
        # Recorded without a birth: the older anchor still proves the server.
        return None
