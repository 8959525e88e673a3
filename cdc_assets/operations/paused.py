"""Paused: which tables a stream goes on without, as its ledger says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import cast

from cdc_assets.core.paused_tables import PausedTable, resume_label, still_paused, with_tables
from cdc_assets.core.position import Coordinates, Position
from cdc_assets.core.source import FileBirth
from cdc_assets.core.stream import IncarnationKind
from cdc_assets.operations.journal import append
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.ports import IncarnationRow


def paused_tables(rt: StreamRuntime, *, opening: str = "") -> tuple[PausedTable, ...]:
    """Return the tables that are paused.

    Args:
        rt: The stream.
        opening: Label of a launch that is about to be opened.
    """
    noted = _noted(rt)
    if not noted:
        return ()
    rows = rt.ledger.incarnations(rt.name)
    launched: list[tuple[int, IncarnationKind, str]] = [
        (row.number, row.kind, row.recovery) for row in rows if row.kind != "catch-up"
    ]
    if opening:
        launched.append((rows[-1].number + 1, "stream", opening))
    return still_paused(noted, launched)


def running(rt: StreamRuntime, *, opening: str = "") -> StreamRuntime:
    """Return the stream without its paused tables; a catch-up is left as it is.

    Args:
        rt: The stream.
        opening: As in `paused_tables`.
    """
    return rt if rt.only else without(rt, paused_tables(rt, opening=opening))


def without(rt: StreamRuntime, pauses: Sequence[PausedTable]) -> StreamRuntime:
    """Return the stream without the tables of some pauses."""
    out = {pause.table for pause in pauses}
    if not out:
        return rt
    kept = [table.label for table in rt.spec.tables if table.label not in out]
    return replace(rt, spec=with_tables(rt.spec, kept))


def note_paused(rt: StreamRuntime, pauses: Sequence[PausedTable]) -> None:
    """Record that tables are paused, all of them or none; their numbers are given here.

    Raises:
        Superseded: Others go on recording pauses of this stream at the same time.
    """
    append(rt, _name(rt), "tables paused", {"paused": [_detail(pause) for pause in pauses]})


def ever_paused(rt: StreamRuntime) -> frozenset[str]:
    """Return every table that was paused at any time."""
    return frozenset(pause.table for pause in _noted(rt))


def joining(rt: StreamRuntime, row: IncarnationRow) -> dict[str, str]:
    """Return the tables that were brought to the end of an incarnation which ran without them.

    Returns:
        The label of the launch that took each in again, by table.
    """
    launched = {each.recovery for each in rt.ledger.incarnations(rt.name) if each.kind == "stream"}
    labels = [
        (pause.table, resume_label(rt.name, row.number, pause.number)) for pause in _noted(rt)
    ]
    return {table: label for table, label in labels if label in launched}


def _detail(pause: PausedTable) -> dict[str, object]:
    detail: dict[str, object] = {
        "table": pause.table,
        "incarnation": pause.incarnation,
        "reason": pause.reason,
        "path": pause.path,
    }
    if pause.position is not None:
        where, birth = pause.position.coordinates, pause.position.birth
        detail |= {"file": where.file, "pos": where.pos}
        if birth is not None:
            detail |= {"created_at": birth.created_at, "birth_server_id": birth.server_id}
    return detail


def _noted(rt: StreamRuntime) -> tuple[PausedTable, ...]:
    """Return every pause of the stream, oldest first."""
    steps = rt.ledger.steps(rt.name, _name(rt))
    rows = {row.number: row for row in rt.ledger.incarnations(rt.name)} if steps else {}
    return tuple(
        _paused(detail, f"{step.seq}.{index}", step.at, rows)
        for step in steps
        # Written by the function above, and by nothing else.
        for index, detail in enumerate(
            cast("Sequence[Mapping[str, object]]", step.detail["paused"])
        )
    )


def _paused(
    detail: Mapping[str, object],
    number: str,
    since: datetime | None,
    rows: Mapping[int, IncarnationRow],
) -> PausedTable:
    incarnation = int(str(detail["incarnation"]))
    return PausedTable(
        table=str(detail["table"]),
        number=number,
        incarnation=incarnation,
        reason=str(detail["reason"]),
        path=str(detail["path"]),
        position=_position(detail, rows[incarnation]),
        since=since,
    )


def _position(detail: Mapping[str, object], row: IncarnationRow) -> Position | None:
    if "file" not in detail:
        return None
    file, birth = str(detail["file"]), None
    if "created_at" in detail:
        created_at, server_id = int(str(detail["created_at"])), int(str(detail["birth_server_id"]))
        birth = FileBirth(file, created_at, server_id)
    return Position(Coordinates(file, int(str(detail["pos"]))), row.identity, birth)


def _name(rt: StreamRuntime) -> str:
    return f"{rt.name}:0/tables"
