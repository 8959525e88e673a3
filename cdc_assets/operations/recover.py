"""Recover: carry out one decision to its end, step by recorded step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from cdc_assets.core.observation import Observation
from cdc_assets.core.position import Coordinates, Position
from cdc_assets.core.recoveries import CLOSED, Recovery, current
from cdc_assets.core.recovery import (
    Decision,
    Escalate,
    Relaunch,
    Resnapshot,
    Resume,
    decide,
)
from cdc_assets.core.stream import IncarnationKind
from cdc_assets.errors import (
    CdcError,
    EngineUnreachable,
    IdentityMismatch,
    RecoveryBlocked,
    SavepointFailed,
)
from cdc_assets.operations.drain import Drained, drain
from cdc_assets.operations.journal import Detail, Journal, Report, silent
from cdc_assets.operations.launch import Start, launch, newest, outlive_orphans, wait_reading
from cdc_assets.operations.observe import Memory, observe
from cdc_assets.operations.positions import anchor_of, positions_of, record_state
from cdc_assets.operations.reconcile import reconcile
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.ports import DecisionRow, IncarnationRow, Server, StateView


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
    broken = _row(rt, _int(decided["incarnation"]))
    if decided["kind"] == "Resume":
        stopped = _stop_broken(rt, journal, broken)
        row = _go_on(rt, journal, _resume_start(rt, decided, broken, str(stopped["path"])))
    else:
        row = _relaunch(rt, journal, decided, broken)
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


def _stop_broken(rt: StreamRuntime, journal: Journal, broken: IncarnationRow) -> Detail:
    """Take the newest state of the broken incarnation, and make sure that it is dead.

    A stalled job still runs: its stop with savepoint holds everything that was read, so
    nothing is delivered twice. A dead job leaves its newest checkpoint.
    """

    def action() -> dict[str, object]:
        state = _last_state(rt, broken)
        positions = record_state(rt, broken, state, savepoint=False)
        return {"path": state.path, "positions": [str(position) for position in positions]}

    return journal.once("stopped", action)


def _last_state(rt: StreamRuntime, row: IncarnationRow) -> StateView:
    view = rt.engine.job(row.job_id)
    if view.state == "UNKNOWN":
        raise EngineUnreachable(
            f"stream {rt.name!r}: Flink does not answer, so the job is not known to be dead",
            hint="The recovery goes on when it answers",
        )
    if view.state in {"RUNNING", "FINISHED"}:
        try:
            return rt.engine.stop(
                row.job_id, purpose="recover", budget_seconds=rt.budgets.stop_seconds
            )
        except SavepointFailed:
            # It died on the way; what it left behind is read below.
            pass
    view = rt.engine.job(row.job_id)
    if view.state == "GONE":
        outlive_orphans(rt)
    elif view.state not in {"FAILED", "FINISHED", "CANCELED"}:
        rt.engine.cancel(row.job_id, budget_seconds=rt.budgets.stop_seconds)
    state = rt.engine.latest_state(row.job_id)
    if state is None:
        raise RecoveryBlocked(
            f"stream {rt.name!r}: incarnation {row.number} left no complete checkpoint",
            hint="Materialize the snapshot again",
        )
    return state


def _resume_start(
    rt: StreamRuntime, decided: Detail, broken: IncarnationRow, path: str
) -> Callable[[], Start]:
    """Return what makes the start: with GTID the server is proved by its sets, else by identity."""
    if decided["lineage"] != "gtid":
        anchor = anchor_of(rt, broken.number)
        return lambda: Start(rt.source.endpoint, expected=anchor, restore_path=path)

    def make() -> Start:
        # The sets are compared again right before each launch, with the state that is restored.
        seen = observe(rt, Memory()).observation
        positions = positions_of(rt.engine.read_state(path), broken.identity, None)
        again = decide(
            replace(
                seen,
                job=replace(seen.job, state="FINISHED", state_path=path),
                anchor=anchor_of(rt, broken.number),
                positions=positions,
            ),
            rt.policy,
        )
        if not isinstance(again, Resume):
            raise RecoveryBlocked(f"stream {rt.name!r}: {again.reason}")
        return Start(rt.source.endpoint, restore_path=path)

    return make


def _go_on(
    rt: StreamRuntime,
    journal: Journal,
    make: Callable[[], Start],
    kind: IncarnationKind = "stream",
) -> IncarnationRow:
    """Launch until the stream reads, has a checkpoint, and both are recorded."""
    reason = ""
    after = _end_drains(rt, journal)
    for attempt in range(1, rt.budgets.attempts + 1):
        label = f"{journal.recovery}/go-on-{attempt}"
        start = _next_start(rt, journal, make, attempt)
        journal.stay()
        row = launch(rt, kind, start, label=label, after=after)
        after = row.number
        journal.once(f"launched {attempt}", lambda row=row: _launched(row))
        try:
            view = wait_reading(rt, row)
            reason = view.failure or f"the job is {view.state}"
            if view.state == "RUNNING":
                state = rt.engine.checkpoint(
                    row.job_id, budget_seconds=rt.budgets.checkpoint_seconds
                )
                reading = _reading(row, state, record_state(rt, row, state, savepoint=False))
                journal.once("reading", lambda reading=reading: reading)
                return row
        except (SavepointFailed, IdentityMismatch) as error:
            reason = str(error)
        journal.note("attempt failed", {"attempt": attempt, "reason": reason})
        if rt.engine.job(row.job_id).state == "GONE":
            outlive_orphans(rt)
    raise RecoveryBlocked(
        f"stream {rt.name!r}: {rt.budgets.attempts} launches failed, the last one: {reason}",
        hint="Mend the cause; the recovery goes on by itself",
    )


def _end_drains(rt: StreamRuntime, journal: Journal) -> int:
    """Make sure that no drain of this recovery lives, and return the newest incarnation.

    A superseded worker can have started one too many. It would write old rows over newer
    ones, so it ends before the stream goes on; the fence keeps that worker from another.
    """
    rows = rt.ledger.incarnations(rt.name)
    states: set[str] = set()
    for row in rows:
        if row.kind == "drain" and row.recovery.startswith(f"{journal.recovery}/"):
            state = rt.engine.job(row.job_id).state
            states.add(state)
            if state == "UNKNOWN":
                raise EngineUnreachable(f"stream {rt.name!r}: Flink does not answer")
            if state not in {"FINISHED", "FAILED", "CANCELED", "GONE"}:
                rt.engine.cancel(row.job_id, budget_seconds=rt.budgets.stop_seconds)
    if "GONE" in states:
        outlive_orphans(rt)
    return rows[-1].number


def _launched(row: IncarnationRow) -> dict[str, object]:
    return {"incarnation": row.number, "job_id": row.job_id, "from": row.restored_from,
            "server": f"{row.host}:{row.port}"}  # fmt: skip


def _reading(
    row: IncarnationRow, state: StateView, positions: tuple[Position, ...]
) -> dict[str, object]:
    return {"incarnation": row.number, "path": state.path,
            "positions": [str(position) for position in positions]}  # fmt: skip


def _next_start(
    rt: StreamRuntime, journal: Journal, make: Callable[[], Start], attempt: int
) -> Start:
    """Return the start of an attempt: from the state of the one before, if it left one."""
    start = make()
    for earlier in range(attempt - 1, 0, -1):
        label = f"{journal.recovery}/go-on-{earlier}"
        rows = [row for row in rt.ledger.incarnations(rt.name) if row.recovery == label]
        state = rt.engine.latest_state(rows[0].job_id) if rows else None
        if rows and state is not None:
            # The attempt proved its server and read from it: its own anchor counts now.
            expected = anchor_of(rt, rows[0].number)
            return Start(start.server, expected=expected, restore_path=state.path)
    return start


def _relaunch(
    rt: StreamRuntime, journal: Journal, decided: Detail, broken: IncarnationRow
) -> IncarnationRow:
    """Drain old blue, then go on at the coordinates on green."""
    coordinates = Coordinates(str(decided["file"]), _int(decided["pos"]))
    old = Server(str(decided["old_host"]), _int(decided["old_port"]))
    green = _prove_green(rt, journal, coordinates, broken)
    stopped = _stop_broken(rt, journal, broken)
    drained = drain(rt, journal, broken, str(stopped["path"]), old)
    if decided["form"] == "specific-offset":
        _refuse_unusable(rt, drained)
        start = Start(rt.source.endpoint, expected=green, coordinates=coordinates)
    else:
        made = journal.once("transplanted", lambda: _transplant(rt, journal, drained, coordinates))
        start = Start(rt.source.endpoint, expected=green, restore_path=str(made["path"]))
    return _go_on(rt, journal, lambda: start)


def _prove_green(
    rt: StreamRuntime, journal: Journal, coordinates: Coordinates, broken: IncarnationRow
) -> Position:
    """Record which server holds the coordinates, so that every later launch finds the same one."""
    endpoint = rt.source.endpoint

    def action() -> dict[str, object]:
        identity = rt.source.identity(endpoint)
        birth = rt.source.birth(endpoint, coordinates.file)
        anchor = anchor_of(rt, broken.number)
        view = rt.source.view(endpoint, file=anchor.coordinates.file if anchor else None)
        held = view.binlogs
        if birth is None or held is None or not held.covers(coordinates.file, coordinates.pos):
            raise IdentityMismatch(
                f"stream {rt.name!r}: {endpoint} does not hold {coordinates}",
                hint="It is not the green of the event; nothing was started",
            )
        return {"host": endpoint.host, "port": endpoint.port, "server": identity.label(),
                "created_at": birth.created_at, "birth_server_id": birth.server_id}  # fmt: skip

    proved = journal.once("green proved", action)
    identity = rt.source.identity(endpoint)
    birth = rt.source.birth(endpoint, coordinates.file)
    known = (proved["server"], proved["created_at"], proved["birth_server_id"])
    if birth is None or (identity.label(), birth.created_at, birth.server_id) != known:
        raise IdentityMismatch(
            f"stream {rt.name!r}: {endpoint} is {identity.label()} now, it was {proved['server']}",
            hint="The endpoint moved again during the recovery; nothing was started",
        )
    return Position(coordinates, identity, birth)


def _refuse_unusable(rt: StreamRuntime, drained: Drained) -> None:
    state = rt.engine.read_state(drained.path)
    for split in state.splits:
        if not split.usable_without_state:
            raise RecoveryBlocked(
                f"stream {rt.name!r}: {drained.path} cannot be left for a start at coordinates: "
                f"{split.reason}",
                hint="Materialize the snapshot again",
            )


def _transplant(
    rt: StreamRuntime, journal: Journal, drained: Drained, coordinates: Coordinates
) -> dict[str, object]:
    name = f"transplant-{journal.recovery.replace(':', '-')}"
    state = rt.engine.transplant(
        drained.path, name=name, coordinates=coordinates, drained=drained.coordinates
    )
    return {"path": state.path, "original": drained.path, "coordinates": str(coordinates)}


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


def _int(value: object) -> int:
    return int(str(value))
