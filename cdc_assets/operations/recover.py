"""Recover: carry out one decision to its end, step by recorded step."""

from __future__ import annotations

from dataclasses import dataclass

from cdc_assets.core.observation import Observation
from cdc_assets.core.recoveries import CLOSED, Recovery, current
from cdc_assets.core.recovery import (
    Decision,
    Escalate,
    Relaunch,
    Resnapshot,
    Resume,
    decide,
)
from cdc_assets.errors import CdcError, RecoveryBlocked
from cdc_assets.operations.journal import Detail, Journal, Report, silent
from cdc_assets.operations.launch import newest
from cdc_assets.operations.observe import Memory, observe
from cdc_assets.operations.reconcile import reconcile
from cdc_assets.operations.relaunch import relaunch
from cdc_assets.operations.resume import resume
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.ports import DecisionRow, IncarnationRow


@dataclass(frozen=True)
class Outcome:
    """How a recovery ended.

    Attributes:
        recovery: Its id.
        decision: What was decided, as a word.
        incarnation: The incarnation that runs now.
        in_sync: Whether every table was proved equal in row count.
    """

    recovery: str
    decision: str
    incarnation: int
    in_sync: bool


def open_recovery(rt: StreamRuntime) -> Recovery | None:
    """Return the recovery that is open, or the id of the next one; None before any launch."""
    row = newest(rt)
    if row is None:
        return None
    steps = [(step.recovery, step.step) for step in rt.ledger.steps(rt.name)]
    return current(rt.name, row.number, steps)


def recover(rt: StreamRuntime, *, worker: str, report: Report = silent) -> Outcome:
    """Bring a stream back, or say why not; killed at any point, calling it again goes on.

    Args:
        rt: The stream.
        worker: Name of this worker; no two workers share one.
        report: Called with each recorded step.

    Raises:
        RecoveryBlocked: A person must look; the reason is in the message and the ledger.
        Superseded: A newer worker took over.
        IdentityMismatch: A server changed in between; calling again decides afresh.
    """
    found = open_recovery(rt)
    if found is None:
        raise RecoveryBlocked(
            f"stream {rt.name!r} was never launched", hint="Materialize its snapshot"
        )
    journal = Journal(rt, found.recovery_id, worker, report)
    journal.sign_on()
    deadline, told = rt.clock.monotonic() + rt.budgets.silence_seconds, ""
    while True:
        try:
            return _go(rt, journal)
        except CdcError as error:
            if error.recoverability != "TRANSIENT" or rt.clock.monotonic() > deadline:
                raise
            if str(error) != told:
                told = str(error)
                journal.note("waiting", {"reason": told})
            rt.clock.sleep(rt.budgets.poll_seconds)


def _go(rt: StreamRuntime, journal: Journal) -> Outcome:
    """Do what is not done yet; every step is recorded, so this can be called again."""
    decided = journal.find("decided") or _decided(rt, journal)
    if decided["kind"] == "Hold":
        journal.once(CLOSED, lambda: {"reason": decided["reason"]})
        row = newest(rt)
        return Outcome(journal.recovery, "Hold", row.number if row else 0, in_sync=True)
    broken = _row(rt, int(str(decided["incarnation"])))
    step = resume if decided["kind"] == "Resume" else relaunch
    row = step(rt, journal, decided, broken)
    in_sync = _close(rt, journal, row)
    return Outcome(journal.recovery, str(decided["kind"]), row.number, in_sync)


def _decided(rt: StreamRuntime, journal: Journal) -> Detail:
    """Look until there is something to do, and record it.

    A switchover in progress is waited for here, so that the worker is awake when it ends.
    """
    deadline = rt.clock.monotonic() + rt.budgets.switchover_seconds
    memory, last = Memory(), ""
    healthy = 0
    while True:
        seen = observe(rt, memory)
        memory = seen.memory
        decision = decide(seen.observation, rt.policy)
        if isinstance(decision, (Resume, Relaunch)):
            break
        if isinstance(decision, (Escalate, Resnapshot)):
            _record(rt, seen.observation, decision)
            if last != decision.reason:
                journal.note("blocked", {"reason": decision.reason, "hint": decision.hint})
            raise RecoveryBlocked(f"stream {rt.name!r}: {decision.reason}", hint=decision.hint)
        healthy = healthy + 1 if decision.healthy else 0
        # Twice, and with a reader: right after the endpoint moved, one look can still
        # meet the connection that is about to be dropped.
        if healthy > 1 and memory.unread_since is None:
            break
        if decision.reason != last:
            last = decision.reason
            journal.note("hold", {"reason": decision.reason})
        if rt.clock.monotonic() > deadline:
            raise RecoveryBlocked(
                f"stream {rt.name!r}: {decision.reason}; waited "
                f"{rt.budgets.switchover_seconds:.0f} s",
                hint="Look at 'cdc-assets explain'",
            )
        rt.clock.sleep(rt.budgets.poll_seconds)
    _record(rt, seen.observation, decision)
    return journal.once("decided", lambda: _detail(seen.observation, decision))


def _record(rt: StreamRuntime, seen: Observation, decision: Decision) -> None:
    number = seen.incarnation.number if seen.incarnation else 0
    detail = _detail(seen, decision)
    rt.ledger.record_decision(
        DecisionRow(rt.name, number, type(decision).__name__, decision.reason, detail)
    )


def _detail(seen: Observation, decision: Decision) -> dict[str, object]:
    detail: dict[str, object] = {
        "kind": type(decision).__name__,
        "reason": decision.reason,
        "incarnation": seen.incarnation.number if seen.incarnation else 0,
        "positions": [str(position) for position in seen.positions],
        "endpoint": seen.endpoint.identity.label() if seen.endpoint.identity else "",
    }
    if isinstance(decision, Relaunch):
        detail |= {
            "deployment": decision.deployment_id,
            "old_host": decision.old_host,
            "old_port": decision.old_port,
            "file": decision.coordinates.file,
            "pos": decision.coordinates.pos,
            "form": decision.form,
        }
    if isinstance(decision, Resume):
        detail["lineage"] = decision.lineage
    return detail


def _row(rt: StreamRuntime, number: int) -> IncarnationRow:
    return next(row for row in rt.ledger.incarnations(rt.name) if row.number == number)


def _close(rt: StreamRuntime, journal: Journal, row: IncarnationRow) -> bool:
    """Reconcile and close; a recovery without proof closes with its doubt written down."""

    def action() -> dict[str, object]:
        rows = reconcile(rt, row, recovery=journal.recovery)
        return {
            "in_sync": all(found.verdict == "InSync" for found in rows),
            "drifted": [found.table for found in rows if found.verdict == "Drifted"],
            "tables": {found.table: f"{found.verdict}: {found.reason}" for found in rows},
        }

    verdict = journal.once("reconciled", action)
    journal.once(CLOSED, lambda: {"in_sync": verdict["in_sync"], "incarnation": row.number})
    return bool(verdict["in_sync"])
