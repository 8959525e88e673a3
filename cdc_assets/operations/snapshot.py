"""Snapshot: take the initial copy, prove it, and leave a savepoint to go on from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cdc_assets.core.position import Position
from cdc_assets.core.readers import connections_of
from cdc_assets.core.stream import StreamSpec
from cdc_assets.errors import ConfigurationError, RecoveryBlocked, SavepointFailed
from cdc_assets.operations.launch import Start, launch, newest
from cdc_assets.operations.positions import record_state
from cdc_assets.operations.reconcile import reconcile
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.operations.schema_watch import mark_unchanged
from cdc_assets.ports import (
    DescribingEngine,
    IncarnationRow,
    MakingTarget,
    ReconciliationRow,
    StateView,
)


@dataclass(frozen=True)
class Progress:
    """How far a snapshot is.

    Attributes:
        rows: Rows that left the sources; None when Flink does not say.
        rows_estimate: Rows of all tables by the server's own estimate.
        splits_done: Key ranges finished.
        splits_total: Key ranges known so far; grows while tables are split.
    """

    rows: int | None
    rows_estimate: int
    splits_done: int
    splits_total: int

    def __str__(self) -> str:
        """Return one line for people."""
        rows = "?" if self.rows is None else self.rows
        return (
            f"rows {rows} of about {self.rows_estimate}, "
            f"splits {self.splits_done} of {self.splits_total}"
        )


@dataclass(frozen=True)
class SnapshotResult:
    """What a finished snapshot leaves behind.

    Attributes:
        incarnation: The incarnation that copied.
        savepoint: State to go on from, valid at `positions`.
        reconciliations: One verdict per copied table.
    """

    incarnation: int
    savepoint: str
    positions: tuple[Position, ...]
    reconciliations: tuple[ReconciliationRow, ...]
    progress: Progress


def ignore(_: Progress) -> None:
    """Report nothing."""


def keep_silent(_: Sequence[str]) -> None:
    """Tell nobody."""


def snapshot(
    rt: StreamRuntime,
    *,
    again: bool = False,
    report: Callable[[Progress], None] = ignore,
    made: Callable[[Sequence[str]], None] = keep_silent,
) -> SnapshotResult:
    """Copy the tables and stop with a savepoint at the position that the copy is valid from.

    The job runs in startup mode `initial`, so it goes over to the binlog by itself, and the
    savepoint is taken after that: nothing lies between the snapshot and the stream.
    A snapshot that was interrupted is taken up again.

    Args:
        rt: The stream.
        again: Copy although the stream was launched before. Its state is given up.
        report: Called with the progress, about once a second.
        made: Called with the names of the target tables that were missing and were made.

    Raises:
        ConfigurationError: The stream was launched before and `again` is not set.
        RecoveryBlocked: The job failed; the cause is in the message.
    """
    row = newest(rt)
    if row is not None and row.kind == "snapshot" and rt.engine.job(row.job_id).state == "RUNNING":
        return _finish(rt, row, report)
    if row is not None and not again:
        raise ConfigurationError(
            f"stream {rt.name!r} was launched before (incarnation {row.number}); a new snapshot "
            "gives up its state and position",
            hint="Set 'again' to true if that is what you want",
        )
    if row is not None:
        _refuse_live(rt, row)
        catch_ups = [each for each in rt.ledger.incarnations(rt.name) if each.kind == "catch-up"]
        for each in catch_ups[-1:]:
            _refuse_live(rt, each)
    if isinstance(rt.target, MakingTarget):
        shapes = rt.source.shapes(rt.source.endpoint, rt.spec.tables)
        made(rt.target.make_missing(_with_results(rt), shapes))
    return _finish(rt, launch(rt, "snapshot", Start(rt.source.endpoint)), report)


def _with_results(rt: StreamRuntime) -> StreamSpec:
    """Return the stream with the columns that only Flink knows, where tables of them are missing.

    Raises:
        ConfigurationError: Flink refuses a text, or a target cannot hold what it brings.
    """
    if not isinstance(rt.engine, DescribingEngine):
        return rt.spec
    found = rt.engine.results(rt.spec, rt.source.endpoint)
    for fault in found.faults:
        raise ConfigurationError(
            f"found {fault.found}, wanted {fault.wanted}", field=fault.field, hint=fault.fix
        )
    return replace(rt.spec, results=found.columns)


def _refuse_live(rt: StreamRuntime, row: IncarnationRow) -> None:
    state = rt.engine.job(row.job_id).state
    if state not in {"FAILED", "FINISHED", "CANCELED", "GONE"}:
        raise ConfigurationError(
            f"stream {rt.name!r}: incarnation {row.number} is {state}; two copies never run",
            hint="Stop it first: cdc-assets stop",
        )


def _finish(
    rt: StreamRuntime, row: IncarnationRow, report: Callable[[Progress], None]
) -> SnapshotResult:
    shapes = rt.source.shapes(rt.source.endpoint, rt.spec.tables)
    estimate = sum(shape.rows_estimate for shape in shapes)
    view = rt.engine.wait_running(row.job_id, budget_seconds=rt.budgets.launch_seconds)
    if view.state != "RUNNING":
        raise RecoveryBlocked(
            f"stream {rt.name!r}: the snapshot job is {view.state}: {view.failure or 'no cause'}",
            hint="Mend the cause, then materialize the snapshot with 'again'",
        )
    progress = _follow(rt, row, report, rows=estimate, readers=connections_of(rt.spec, shapes))
    verdicts = reconcile(rt, row)
    stopped = rt.engine.stop(row.job_id, purpose="snapshot", budget_seconds=rt.budgets.stop_seconds)
    positions = record_state(rt, row, stopped, savepoint=True)
    mark_unchanged(rt, row, stopped)
    return SnapshotResult(row.number, stopped.path, positions, verdicts, progress)


def _follow(
    rt: StreamRuntime,
    row: IncarnationRow,
    report: Callable[[Progress], None],
    *,
    rows: int,
    readers: int,
) -> Progress:
    """Follow a snapshot job until each of its readers stands in the binlog."""
    deadline = rt.clock.monotonic() + rt.budgets.snapshot_seconds
    while rt.clock.monotonic() < deadline:
        state = _checkpoint(rt, row)
        if state is not None:
            progress = Progress(
                rt.engine.rows_out(row.job_id), rows, state.splits_done, state.splits_total
            )
            report(progress)
            if len(state.splits) >= readers and not state.snapshot_running:
                return progress
        view = rt.engine.job(row.job_id)
        if view.state in {"FAILED", "CANCELED", "GONE", "FINISHED"}:
            raise RecoveryBlocked(
                f"stream {rt.name!r}: the snapshot job is {view.state}: "
                f"{view.failure or 'no cause recorded'}",
                hint="Mend the cause, then materialize the snapshot with 'again'",
            )
        rt.clock.sleep(rt.budgets.poll_seconds)
    raise RecoveryBlocked(
        f"stream {rt.name!r}: no end of the snapshot within {rt.budgets.snapshot_seconds:.0f} s"
    )


def _checkpoint(rt: StreamRuntime, row: IncarnationRow) -> StateView | None:
    try:
        return rt.engine.checkpoint(row.job_id, budget_seconds=rt.budgets.checkpoint_seconds)
    except SavepointFailed:
        return None
