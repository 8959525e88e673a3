"""Reconcile: compare source and target by row count at a common position."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from cdc_assets.core.bounds import is_bounded
from cdc_assets.core.position import Coordinates, reached
from cdc_assets.core.row_filter import NotCountable, condition_of
from cdc_assets.core.row_sql import Statement
from cdc_assets.core.table_refs import ShardedTable, TableRef
from cdc_assets.errors import CdcError, SavepointFailed
from cdc_assets.operations.paused import paused_tables
from cdc_assets.operations.positions import positions_of
from cdc_assets.operations.runtime import Budgets, StreamRuntime
from cdc_assets.ports import (
    Clock,
    IncarnationRow,
    Key,
    ReconciliationRow,
    StateView,
    StreamEngine,
    Verdict,
)

# How the reason begins where rows are changed on their way so that no count can be compared.
TRANSFORMED = "transformed:"


End = TypeVar("End")
Place_contra = TypeVar("Place_contra", contravariant=True)


@dataclass(frozen=True)
class Counted:
    """The verdict on one table before it is recorded.

    Attributes:
        rest: What must not have changed before a difference is believed, beside the counts.
    """

    verdict: Verdict
    source: int | None
    target: int | None
    reason: str
    rest: object = None


class Follower(Protocol[Place_contra]):
    """What follows a source; each method looks at the moment of its call."""

    def passed(self, end: Place_contra) -> bool:
        """Say whether the target holds everything up to a place, by a completed checkpoint."""
        ...

    def reads(self) -> bool:
        """Say whether the stream can still catch up."""
        ...


class Sides(Follower[End], Protocol[End]):
    """What is compared, whatever the source is."""

    @property
    def shown(self) -> str:
        """Return in words which rows are counted."""
        ...

    def rest(self) -> object:
        """Return what else moves the target's count: drift is only said while it stands still."""
        ...

    def source(self) -> int:
        """Count at the source."""
        ...

    def end(self) -> End:
        """Return a place of the source that lies behind everything that `source` has counted."""
        ...

    def target(self) -> int:
        """Count at the target."""
        ...


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
    if rt.spec.uncounted:
        return Counted("Inconclusive", None, None, f"{TRANSFORMED} {rt.spec.uncounted}")
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
    return settle(_Tables(rt, row, Rows(table, key, bound, where)), rt.clock, rt.budgets)


def settle(sides: Sides[End], clock: Clock, budgets: Budgets) -> Counted:
    """Compare until the verdict is clear, the stream reads no more, or the time is used up.

    Args:
        sides: What is compared.
        clock: Time.
        budgets: How long each wait may last.
    """
    deadline = clock.monotonic() + budgets.reconcile_seconds
    counted = Counted("Inconclusive", None, None, "not compared")
    while True:
        counted = _compare(sides, counted, clock, budgets)
        if counted.verdict != "Inconclusive" or clock.monotonic() > deadline:
            return counted
        if not sides.reads():
            # It broke again: the next recovery reconciles, and should not wait for this one.
            return replace(counted, reason=f"{counted.reason}; the stream reads no more")
        clock.sleep(budgets.poll_seconds)


def _compare(sides: Sides[End], before: Counted, clock: Clock, budgets: Budgets) -> Counted:
    rest, source = sides.rest(), sides.source()
    end = sides.end()
    target = sides.target()
    shown = sides.shown
    if source == target and sides.passed(end):
        return Counted("InSync", source, target, f"{source} rows {shown}, position passed {end}")
    if not _passes(sides, end, clock, budgets):
        return Counted("Inconclusive", source, target, f"the stream did not pass {end} in time")
    target = sides.target()
    again = sides.source()
    if again == target:
        return Counted("InSync", again, target, f"{again} rows {shown}, position passed {end}")
    moved = again != source or before.source != source or before.target != target
    if moved or before.rest != sides.rest():
        # Moving, or seen once only: rows can still be in the writer's buffer.
        return Counted(
            "Inconclusive", again, target, f"{again} and {target} rows {shown}, moving", rest
        )
    return Counted("Drifted", again, target, f"{again} rows at the source, {target} at the target, "
                                             f"{shown}, position passed {end}")  # fmt: skip


def _passes(sides: Follower[End], end: End, clock: Clock, budgets: Budgets) -> bool:
    """Wait for a completed checkpoint at or after a place."""
    deadline = clock.monotonic() + budgets.checkpoint_seconds
    while not sides.passed(end):
        if clock.monotonic() >= deadline or not sides.reads():
            return False
        clock.sleep(budgets.poll_seconds)
    return True


def passed(rt: StreamRuntime, row: IncarnationRow, end: Coordinates) -> bool:
    """Wait until a completed checkpoint stands at or after a place of the source.

    Args:
        rt: The stream.
        row: The incarnation that reads.
        end: The place.

    Returns:
        Whether it came within the time of a checkpoint, while the stream could catch up.
    """
    return _passes(_Stream(rt, row), end, rt.clock, rt.budgets)


@dataclass(frozen=True)
class _Stream:
    """An incarnation that reads."""

    rt: StreamRuntime
    row: IncarnationRow

    def passed(self, end: Coordinates) -> bool:
        state = checkpoint_of(self.rt.engine, self.row.job_id, self.rt.budgets)
        found = positions_of(state, self.row.identity, None) if state else ()
        return bool(found) and all(reached(position, end) for position in found)

    def reads(self) -> bool:
        """Say whether the job runs and a reader is connected."""
        if self.rt.engine.job(self.row.job_id).state != "RUNNING":
            return False
        seen = self.rt.source.view(self.row.server, readers=self.rt.spec.server_ids)
        return seen.identity is None or seen.readers is None or seen.readers > 0


@dataclass(frozen=True)
class _Tables(_Stream):
    """A table and its copy."""

    rows: Rows

    @property
    def shown(self) -> str:
        return self.rows.shown

    def rest(self) -> object:
        return None

    def source(self) -> int:
        return self.rt.source.count(
            self.row.server,
            self.rows.table,
            timeout_seconds=self.rt.budgets.reconcile_seconds,
            key=self.rows.key,
            bound=self.rows.bound,
            where=self.rows.where,
        )

    def end(self) -> Coordinates:
        return self.rt.source.end(self.row.server)

    def target(self) -> int:
        return self.rt.target.count(
            self.rows.table.target_name,
            timeout_seconds=self.rt.budgets.reconcile_seconds,
            key=self.rows.key,
            bound=self.rows.bound,
        )


def checkpoint_of(engine: StreamEngine, job_id: str, budgets: Budgets) -> StateView | None:
    """Take a checkpoint, None where it fails: another one may not."""
    try:
        return engine.checkpoint(job_id, budget_seconds=budgets.checkpoint_seconds)
    except SavepointFailed:
        return None
