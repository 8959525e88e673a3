"""Schema record: which columns the captured tables had when an incarnation was launched.

The ledger keeps it as a step of the incarnation. Most launches find the tables as they were, so
one record stands for many incarnations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import cast

from cdc_assets.core.columns import TableShape
from cdc_assets.core.position import Coordinates
from cdc_assets.core.schema_drift import Change, changes_of, shapes_from_json, shapes_to_json
from cdc_assets.core.shards import members_of
from cdc_assets.core.target_ddl import drifts_of
from cdc_assets.errors import ConfigurationError, RecoveryBlocked
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.ports import Server, StepRow

SCHEMA = "schema"
LOOKED = "looked"
_TABLES, _SAME_AS, _CARRIED = "tables", "as", "carried on"

# The tables behind a captured table, by its label; no tables where it is gone.
Tables = Mapping[str, tuple[TableShape, ...]]


@dataclass(frozen=True)
class SchemaRecord:
    """What an incarnation was launched with.

    Attributes:
        incarnation: The incarnation whose own record it is.
        tables: The captured tables of that time.
    """

    incarnation: int
    tables: Tables


def tables_now(rt: StreamRuntime, server: Server) -> Tables:
    """Return the captured tables as a server describes them; a missing one has no tables."""
    try:
        shapes = rt.source.shapes(server, rt.spec.tables)
        return {shape.label: members_of(shape) for shape in shapes}
    except ConfigurationError:
        found: dict[str, tuple[TableShape, ...]] = {}
        for table in rt.spec.tables:
            try:
                found[table.label] = members_of(rt.source.shapes(server, [table])[0])
            except ConfigurationError:
                found[table.label] = ()
        return found


def read_tables(rt: StreamRuntime, tables: Tables) -> Tables:
    """Return tables without the columns that a stream excludes."""
    excluded = {name.lower() for name in rt.spec.exclude_columns}
    aliases = {table.label: table.alias for table in rt.spec.tables}
    return {
        label: tuple(
            replace(shape, columns=tuple(
                column for column in shape.columns
                if f"{aliases[label]}.{column.name}".lower() not in excluded
            ))
            for shape in shapes
        )
        for label, shapes in tables.items()
    }  # fmt: skip


def record_of(rt: StreamRuntime, number: int) -> SchemaRecord | None:
    """Return what an incarnation was launched with, None where nothing is recorded."""
    rows = rt.ledger.steps(rt.name, _name(rt, number))
    if not rows:
        return None
    detail = rows[-1].detail
    same_as = detail.get(_SAME_AS)
    if isinstance(same_as, int):
        return record_of(rt, same_as) if same_as < number else None
    tables = detail.get(_TABLES)
    if not isinstance(tables, Mapping):
        return None
    return SchemaRecord(number, shapes_from_json(cast("Mapping[str, object]", tables)))


def is_carried_on(rt: StreamRuntime, number: int) -> bool:
    """Return whether an incarnation began with changes that it did not take up."""
    rows = rt.ledger.steps(rt.name, _name(rt, number))
    return bool(rows) and bool(rows[-1].detail.get(_CARRIED))


def last_record(rt: StreamRuntime) -> SchemaRecord | None:
    """Return what the newest incarnation with a record was launched with."""
    for row in reversed(rt.ledger.incarnations(rt.name)):
        found = record_of(rt, row.number) if row.kind != "catch-up" else None
        if found is not None:
            return found
    return None


def tables_of(rt: StreamRuntime, number: int) -> frozenset[str]:
    """Return the labels of the tables that an incarnation was launched with, none if not known."""
    found = record_of(rt, number)
    return frozenset() if found is None else frozenset(found.tables)


def record_launch(
    rt: StreamRuntime,
    number: int,
    server: Server,
    *,
    carries_on: bool,
    known: Tables | None = None,
) -> None:
    """Record what an incarnation is launched with, right before it is.

    The server's end is kept with it: whatever changed the tables before lies before that place.

    Args:
        rt: The stream.
        number: The incarnation.
        server: Where its readers connect.
        carries_on: Whether changes since the record before are left to a person.
        known: The tables that the start was judged by; a change since then shall show.
    """
    before = last_record(rt)
    if before is not None and before.incarnation == number:
        before = None  # A launch that died before its submission; its record is replaced.
    if before is not None and carries_on:
        detail: dict[str, object] = {_SAME_AS: before.incarnation, _CARRIED: True}
    else:
        tables = tables_now(rt, server) if known is None else known
        is_same = before is not None and before.tables == _plain(tables)
        detail = (
            {_SAME_AS: before.incarnation}
            if before is not None and is_same
            else {_TABLES: shapes_to_json(tables)}
        )
    detail |= _end(rt, server)
    name = _name(rt, number)
    seq = len(rt.ledger.steps(rt.name, name)) + 1
    rt.ledger.append_step(StepRow(rt.name, name, seq, SCHEMA, detail, rt.clock.now()))


def changes_since(rt: StreamRuntime, record: SchemaRecord, server: Server) -> tuple[Change, ...]:
    """Return what changed in the captured tables since a record was made."""
    now = tables_now(rt, server)
    found: list[Change] = []
    for table in rt.spec.tables:
        was = record.tables.get(table.label)
        if was:
            found.extend(changes_of(rt.spec, table, was, now.get(table.label, ())))
    return tuple(found)


def note_look(rt: StreamRuntime) -> dict[str, object]:
    """Return the captured tables as they are and the source's end after it, for a journal."""
    tables = shapes_to_json(tables_now(rt, rt.source.endpoint))
    return {_TABLES: tables, **_end(rt, rt.source.endpoint)}


def place_in(detail: Mapping[str, object]) -> Coordinates | None:
    """Return the server's end as a step keeps it, None where it is older than that."""
    return Coordinates(str(detail["file"]), int(str(detail["pos"]))) if "file" in detail else None


def launch_end(rt: StreamRuntime, number: int) -> Coordinates | None:
    """Return the server's end when an incarnation was launched, None if it is not known."""
    rows = rt.ledger.steps(rt.name, _name(rt, number))
    return place_in(rows[-1].detail) if rows else None


def _end(rt: StreamRuntime, server: Server) -> dict[str, object]:
    end = rt.source.end(server)
    return {"file": end.file, "pos": end.pos}


def changed_since_look(rt: StreamRuntime, journals: Mapping[str, str]) -> tuple[str, ...]:
    """Return the tables that are not as they were when a journal noted them.

    Args:
        rt: The stream.
        journals: Where each table was noted, by its label.
    """
    if not journals:
        return ()
    now = shapes_to_json(tables_now(rt, rt.source.endpoint))
    return tuple(
        table
        for table, journal in journals.items()
        if now.get(table) not in [_noted(step, table) for step in rt.ledger.steps(rt.name, journal)]
    )


def _noted(step: StepRow, table: str) -> object:
    """Return a table as a step noted it; text, which no table is, where it is another step."""
    if step.step != LOOKED:
        return step.step
    return cast("Mapping[str, object]", step.detail[_TABLES]).get(table)


def targets_of(rt: StreamRuntime, changes: Sequence[Change]) -> dict[str, TableShape]:
    """Return the target tables that changes concern; asked only when there are some."""
    copied = {table.target_name for table in rt.spec.copied}
    found: dict[str, TableShape] = {}
    for name in dict.fromkeys(change.table.target_name for change in changes):
        if name in copied:
            with suppress(ConfigurationError):  # no such table: a preflight tells it
                found[name] = rt.target.shapes([name])[0]
    return found


def carrying_on(
    rt: StreamRuntime, server: Server, *, is_new_place: bool
) -> tuple[StreamRuntime, bool]:
    """Return the stream as a launch takes it that nobody looks at, and whether changes are left.

    A column that came since the last launch is left out: rows that were read already went
    without it. A person, or the policy, takes it up. Where the stream begins at coordinates of
    another server, everything after them is of that server's columns; there the stream takes
    up what the target can hold, and waits for a target that cannot.

    Args:
        rt: The stream.
        server: Where the readers connect.
        is_new_place: Whether the launch begins at coordinates, without state.

    Raises:
        RecoveryBlocked: The target does not follow a change on the new server yet.
    """
    # Each record of the others has the columns of its time.
    record = last_record(rt) if rt.spec.engine == "flink" else None
    changes = changes_since(rt, record, server) if record is not None else ()
    if not changes:
        return rt, False
    drifts = drifts_of(rt.spec, changes, targets_of(rt, changes))
    unmet = [
        drift.text
        for drift in drifts
        if drift.change.harms and (drift.fix or drift.change.kind == "gone")
    ]
    if is_new_place and unmet and rt.policy.on_other_change != "report":
        raise RecoveryBlocked(
            f"stream {rt.name!r}: captured tables are others on {server}: {'; '.join(unmet)}",
            hint="Let the target follow, and the recovery goes on by itself",
        )
    added = [
        f"{drift.change.table.alias}.{drift.change.new.name}"
        for drift in drifts
        if drift.change.kind == "added"
        and drift.change.new is not None
        and (drift.fix or not is_new_place)
    ]
    names = tuple(dict.fromkeys((*rt.spec.exclude_columns, *added)))
    carried = replace(rt, spec=replace(rt.spec, exclude_columns=names)) if added else rt
    return carried, bool(added) or not is_new_place


def _plain(tables: Tables) -> dict[str, tuple[TableShape, ...]]:
    """Return tables as they are after being kept: without estimates."""
    return shapes_from_json(shapes_to_json(tables))


def _name(rt: StreamRuntime, number: int) -> str:
    return f"{rt.name}:{number}/{SCHEMA}"
