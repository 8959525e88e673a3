"""Paused: which tables a stream goes on without, as its ledger says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cdc_assets.core.paused_tables import PausedTable, resume_label, still_paused, with_tables
from cdc_assets.core.position import Coordinates, Position
from cdc_assets.core.source import FileBirth
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.ports import IncarnationRow, StepRow

_STEP = "table paused"


def paused_tables(rt: StreamRuntime, *, opening: str = "") -> tuple[PausedTable, ...]:
    """Return the tables that are paused.

    Args:
        rt: The stream.
        opening: Label of a launch that is about to be opened.
    """
    steps = rt.ledger.steps(rt.name, _name(rt))
    if not steps:
        return ()
    rows = rt.ledger.incarnations(rt.name)
    launched = [(row.number, row.kind, row.recovery) for row in rows if row.kind != "catch-up"]
    if opening:
        launched.append((rows[-1].number + 1, "stream", opening))
    return still_paused((_paused(step, rows) for step in steps), launched)


def running(rt: StreamRuntime, *, opening: str = "") -> StreamRuntime:
    """Return the stream without its paused tables; a catch-up is left as it is.

    Args:
        rt: The stream.
        opening: As in `paused_tables`.
    """
    if rt.only:
        return rt
    out = {each.table for each in paused_tables(rt, opening=opening)}
    if not out:
        return rt
    kept = [table.label for table in rt.spec.tables if table.label not in out]
    return replace(rt, spec=with_tables(rt.spec, kept))


def note_paused(rt: StreamRuntime, pause: PausedTable) -> None:
    """Record that a table is paused; its number is given here."""
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
    while True:
        seq = len(rt.ledger.steps(rt.name, _name(rt))) + 1
        if rt.ledger.append_step(StepRow(rt.name, _name(rt), seq, _STEP, detail, rt.clock.now())):
            return


def ever_paused(rt: StreamRuntime) -> frozenset[str]:
    """Return every table that was paused at any time."""
    return frozenset(str(step.detail["table"]) for step in rt.ledger.steps(rt.name, _name(rt)))


def joining(rt: StreamRuntime, row: IncarnationRow) -> dict[str, str]:
    """Return the tables that were brought to the end of an incarnation which ran without them.

    Returns:
        The label of the launch that took each in again, by table.
    """
    launched = {row.recovery for row in rt.ledger.incarnations(rt.name) if row.kind == "stream"}
    labels = {
        str(step.detail["table"]): resume_label(rt.name, row.number, step.seq)
        for step in rt.ledger.steps(rt.name, _name(rt))
    }
    return {table: label for table, label in labels.items() if label in launched}


def _paused(step: StepRow, rows: tuple[IncarnationRow, ...]) -> PausedTable:
    detail = step.detail
    number = int(str(detail["incarnation"]))
    row = next(row for row in rows if row.number == number)
    return PausedTable(
        table=str(detail["table"]),
        number=step.seq,
        incarnation=number,
        reason=str(detail["reason"]),
        path=str(detail["path"]),
        position=_position(detail, row),
        since=step.at,
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
