"""Reconcile: compare source and target by row count at a common position."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cdc_assets.core.bounds import is_bounded
from cdc_assets.core.position import Coordinates, reached
from cdc_assets.core.row_filter import NotCountable, condition_of
from cdc_assets.core.row_sql import Statement
from cdc_assets.core.table_refs import ShardedTable, TableRef
from cdc_assets.errors import CdcError, SavepointFailed
from cdc_assets.operations.paused import paused_tables
from cdc_assets.operations.positions import positions_of
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.ports import IncarnationRow, Key, ReconciliationRow, StateView, Verdict

# How the reason begins where rows are changed on their way so that no count can be compared.
TRANSFORMED = "transformed:"


@dataclass(frozen=True)
class Counted:
    """The verdict on one table before it is recorded."""

    verdict: Verdict
    source: int | None
    target: int | None
    reason: str


@dataclass(frozen=True)
class Rows:
    """Which rows of a table are counted.

    Attributes:
        table: The table.
        key: Its primary key.
        bound: The last key, None for all rows.
        where: What the rows that are copied meet, None where all are.
    """

    table: TableRef
    key: tuple[str, ...]
    bound: Key | None
    where: Statement | None

    @property
    def shown(self) -> str:
        """Return the choice in words."""
        which = "that meet the filter " if self.where else ""
        return f"{which}up to key {self.bound}" if self.bound else f"{which}in the whole table"


def reconcile(
    rt: StreamRuntime,
    row: IncarnationRow,
    *,
    recovery: str = "",
    tables: tuple[TableRef, ...] | None = None,
) -> tuple[ReconciliationRow, ...]:
    """Compare the row counts of copied tables, and record each verdict.

    Production goes on writing, so counts are taken up to the largest key that the source
    held at the beginning: later rows with larger keys do not disturb. Drifted is only
    said when the source's count did not change around the comparison and the stream had
    passed the source's position of that time; everything else that is not equal is
    Inconclusive.

    Args:
        rt: The stream.
        row: Incarnation that feeds the targets.
        recovery: The recovery that asks.
        tables: Default all copied tables.
    """
    found: list[ReconciliationRow] = []
    paused = {each.table: each.text for each in paused_tables(rt)}
    for table in tables if tables is not None else rt.spec.copied:
        try:
            counted = (
                Counted("Inconclusive", None, None, paused[table.label])
                if table.label in paused
                else _table(rt, row, table)
            )
        except CdcError as error:
            counted = Counted("Inconclusive", None, None, str(error))
        result = ReconciliationRow(
            stream=rt.name,
            table=table.label,
            target_table=table.target_name,
            verdict=counted.verdict,
            method="row-count",
            source_count=counted.source,
            target_count=counted.target,
            reason=counted.reason,
            recovery=recovery,
            at=rt.clock.now(),
        )
        rt.ledger.record_reconciliation(result)
        found.append(result)
    return tuple(found)


def _table(rt: StreamRuntime, row: IncarnationRow, table: TableRef) -> Counted:
    server = row.server
    shape = rt.source.shapes(server, [table])[0]
    key = shape.primary_key
    transform = rt.spec.transform_of(table)
    try:
        where = condition_of(transform.filter, shape) if transform.filter else None
    except NotCountable as why:
        return Counted("Inconclusive", None, None, f"{TRANSFORMED} the filter of {table.label} can "
                                                   f"be read in two ways: {why}")  # fmt: skip
    # Where keys have another order at the target, the rows up to a key are other rows there.
    is_same_order = rt.spec.target_kind == "mysql" or is_bounded(shape)
    has_order = is_same_order and not isinstance(table, ShardedTable)
    bound = rt.source.max_key(server, table, key) if has_order else None
    rows = Rows(table, key, bound, where)
    deadline = rt.clock.monotonic() + rt.budgets.reconcile_seconds
    counted = Counted("Inconclusive", None, None, "not compared")
    while True:
        counted = _compare(rt, row, rows, counted)
        if counted.verdict != "Inconclusive" or rt.clock.monotonic() > deadline:
            return counted
        if not _reads(rt, row):
            # It broke again: the next recovery reconciles, and should not wait for this one.
            return replace(counted, reason=f"{counted.reason}; the stream reads no more")
        rt.clock.sleep(rt.budgets.poll_seconds)


def _compare(rt: StreamRuntime, row: IncarnationRow, rows: Rows, before: Counted) -> Counted:
    source = _at_source(rt, row, rows)
    end = rt.source.end(row.server)
    target = _at_target(rt, rows)
    shown = rows.shown
    if source == target and passed(rt, row, end, wait=False):
        return Counted("InSync", source, target, f"{source} rows {shown}, position passed {end}")
    if not passed(rt, row, end, wait=True):
        return Counted("Inconclusive", source, target, f"the stream did not pass {end} in time")
    target = _at_target(rt, rows)
    again = _at_source(rt, row, rows)
    if again == target:
        return Counted("InSync", again, target, f"{again} rows {shown}, position passed {end}")
    if again != source or before.source != source or before.target != target:
        # Moving, or seen once only: rows can still be in the writer's buffer.
        return Counted("Inconclusive", again, target, f"{again} and {target} rows {shown}, moving")
    return Counted("Drifted", again, target, f"{again} rows at the source, {target} at the target, "
                                             f"{shown}, position passed {end}")  # fmt: skip


def _at_source(rt: StreamRuntime, row: IncarnationRow, rows: Rows) -> int:
    return rt.source.count(
        row.server,
        rows.table,
        timeout_seconds=rt.budgets.reconcile_seconds,
        key=rows.key,
        bound=rows.bound,
        where=rows.where,
    )


def _at_target(rt: StreamRuntime, rows: Rows) -> int:
    return rt.target.count(
        rows.table.target_name,
        timeout_seconds=rt.budgets.reconcile_seconds,
        key=rows.key,
        bound=rows.bound,
    )


def passed(rt: StreamRuntime, row: IncarnationRow, end: Coordinates, *, wait: bool) -> bool:
    """Say whether a completed checkpoint stands at or after the source's end of that time."""
    deadline = rt.clock.monotonic() + (rt.budgets.checkpoint_seconds if wait else 0.0)
    while True:
        state = _checkpoint(rt, row)
        found = positions_of(state, row.identity, None) if state else ()
        if found and all(reached(position, end) for position in found):
            return True
        if rt.clock.monotonic() >= deadline or not _reads(rt, row):
            return False
        rt.clock.sleep(rt.budgets.poll_seconds)


def _reads(rt: StreamRuntime, row: IncarnationRow) -> bool:
    """Say whether the stream can still catch up: its job runs, and a reader is connected."""
    if rt.engine.job(row.job_id).state != "RUNNING":
        return False
    seen = rt.source.view(row.server, readers=rt.spec.server_ids)
    return seen.identity is None or seen.readers is None or seen.readers > 0


def _checkpoint(rt: StreamRuntime, row: IncarnationRow) -> StateView | None:
    try:
        return rt.engine.checkpoint(row.job_id, budget_seconds=rt.budgets.checkpoint_seconds)
    except SavepointFailed:
        return None
