"""Launch an incarnation: prove the server, open the fence, submit, prove the reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cdc_assets.core.observation import JobView
from cdc_assets.core.position import Coordinates, Position
from cdc_assets.core.readers import connections_of
from cdc_assets.core.recovery import sameness_of
from cdc_assets.core.source import SourceIdentity, same_server
from cdc_assets.core.stream import IncarnationKind, job_id_of
from cdc_assets.errors import EngineUnreachable, FenceTaken, IdentityMismatch, RecoveryBlocked
from cdc_assets.operations.paused import running
from cdc_assets.operations.positions import anchor_of
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.operations.schema_record import Tables, carrying_on, record_launch
from cdc_assets.ports import IncarnationRow, Launch, PositionRow, Server


@dataclass(frozen=True)
class Start:
    """Where an incarnation begins.

    Attributes:
        server: Where the readers connect.
        expected: A recorded position on the server that must stand there; None for the
            first snapshot, which takes the server as it is.
        restore_path: State to go on from.
        coordinates: Place to start at without state.
        gtid_set: GTID set for a start without state.
        tables: What the captured tables were when a start without state was judged.
    """

    server: Server
    expected: Position | None = None
    restore_path: str | None = None
    coordinates: Coordinates | None = None
    gtid_set: str | None = None
    tables: Tables | None = None

    @property
    def label(self) -> str:
        """Return what the ledger keeps as the beginning."""
        if self.restore_path:
            return self.restore_path
        return str(self.coordinates) if self.coordinates else "initial"


def prove(rt: StreamRuntime, start: Start) -> SourceIdentity:
    """Return the identity of the server, after proving it is the expected one.

    Raises:
        IdentityMismatch: It is another one, or cannot be proved.
        SourceError: It cannot be asked.
    """
    found = rt.source.identity(start.server)
    expected = start.expected
    if expected is None:
        return found
    birth = rt.source.birth(start.server, expected.coordinates.file)
    sameness = same_server(expected.identity, expected.birth, found, birth)
    if sameness != "same":
        raise IdentityMismatch(
            f"stream {rt.name!r}: {start.server} is {found.label()}, "
            f"{'not' if sameness == 'different' else 'not proved to be'} "
            f"{expected.identity.label()}",
            hint="Nothing was started",
        )
    return found


def newest(rt: StreamRuntime) -> IncarnationRow | None:
    """Return the newest incarnation, None before the first launch.

    A catch-up is none of them: the stream is what ran before it.
    """
    rows = rt.ledger.incarnations(rt.name)
    return next((row for row in reversed(rows) if row.kind != "catch-up"), None)


def launch(
    rt: StreamRuntime,
    kind: IncarnationKind,
    start: Start,
    *,
    label: str = "",
    after: int | None = None,
) -> IncarnationRow:
    """Open the next incarnation and start its job; repeated with one label it is the same launch.

    Order matters. The identity is proved before the fence opens, the fence opens before
    the submission, and the job id follows from the incarnation: a launcher that dies in
    between finds its incarnation by `label` and its job by the id, and two launchers
    cannot start two copies.

    Args:
        rt: The stream.
        kind: What the incarnation is for.
        start: Where it begins.
        label: Names this launch inside a recovery; empty for a launch by a person.
        after: The incarnation that this launcher believes to be the newest; its own takes
            the next number, so a launcher that was left behind opens nothing. Default the
            newest in the ledger.

    Raises:
        IdentityMismatch: Another server stands there.
        FenceTaken: Another launcher was faster.
        EngineRejected: Flink refused the job.
    """
    if kind != "snapshot":
        # Whoever launches, a paused table stays out: its rows of the meantime were not read.
        rt = running(rt, opening=label)
    row = _opened(rt, kind, start, label, after)
    view = rt.engine.job(row.job_id)
    if view.state == "UNKNOWN":
        raise EngineUnreachable(
            f"stream {rt.name!r}: {rt.spec.runs_on} does not answer", hint="Try again"
        )
    if view.state == "GONE" and rt.engine.latest_state(row.job_id) is None:
        prove(rt, start)
        carried, is_left = _carrying(rt, start, label)
        # Before it is rendered again: a change in between then shows as one.
        record_launch(rt, row.number, start.server, carries_on=is_left, known=start.tables)
        _refuse_overtaken(rt, row, label)
        rt.engine.launch(_order(carried, row, start))
        try:
            _refuse_overtaken(rt, row, label)
        except FenceTaken:
            rt.engine.cancel(row.job_id, budget_seconds=rt.budgets.stop_seconds)
            raise
    return row


def _refuse_overtaken(rt: StreamRuntime, row: IncarnationRow, label: str) -> None:
    """Refuse a launch that was overtaken between its fence and its submission.

    Who comes in between finds an incarnation without a job, and cannot tell that one is on its
    way. Workers of one recovery adopt each other's launches instead.

    Raises:
        FenceTaken: A newer incarnation is open.
    """
    newer = rt.ledger.incarnations(rt.name)[-1].number
    if newer != row.number and not label.rpartition("/")[2].startswith(("go-on-", "drain-")):
        raise FenceTaken(rt.name, newer)


def _carrying(rt: StreamRuntime, start: Start, label: str) -> tuple[StreamRuntime, bool]:
    """Return what is launched, and whether changes are left: a recovery takes few of them up."""
    if not label:
        return rt, False
    return carrying_on(rt, start.server, is_new_place=start.coordinates is not None)


def _opened(
    rt: StreamRuntime, kind: IncarnationKind, start: Start, label: str, after: int | None
) -> IncarnationRow:
    """Return the incarnation of this label, opening it if no one has.

    The number follows from the same read that found no such label: a worker that opened
    one since then took that number, so the fence stops this one, which then adopts it.
    """
    rows = rt.ledger.incarnations(rt.name)
    known = _labelled(rows, label)
    if known is not None:
        return known
    try:
        newest_known = after if after is not None else rows[-1].number if rows else 0
        return _open(rt, newest_known + 1, kind, start, label=label)
    except FenceTaken:
        known = _labelled(rt.ledger.incarnations(rt.name), label)
        if known is None:
            raise
        return known


def _labelled(rows: Sequence[IncarnationRow], label: str) -> IncarnationRow | None:
    return next((row for row in rows if label and row.recovery == label), None)


def _order(rt: StreamRuntime, row: IncarnationRow, start: Start) -> Launch:
    return Launch(
        job_id=row.job_id,
        name=f"{rt.name}:{row.number}",
        spec=rt.spec,
        server=start.server,
        restore_path=start.restore_path,
        coordinates=start.coordinates,
        gtid_set=start.gtid_set,
        only=rt.only,
    )


def _open(
    rt: StreamRuntime, number: int, kind: IncarnationKind, start: Start, *, label: str
) -> IncarnationRow:
    identity = prove(rt, start)
    row = IncarnationRow(
        stream=rt.name,
        number=number,
        job_id=job_id_of(rt.ledger.ledger_id, rt.name, number),
        kind=kind,
        host=start.server.host,
        port=start.server.port,
        identity=identity,
        restored_from=start.label,
        sql="",
        recovery=label,
    )
    sql = rt.engine.rendered(_order(_carrying(rt, start, label)[0], row, start))
    anchor = _anchor(rt, start, identity)
    opened = rt.ledger.open_incarnation(replace(row, sql=sql))
    rt.ledger.record_positions([PositionRow(rt.name, number, 0, "", "launch", anchor)])
    return opened


def _anchor(rt: StreamRuntime, start: Start, identity: SourceIdentity) -> Position:
    """Return what proves the server later: its place at the launch, with the file's birth."""
    coordinates = start.coordinates or rt.source.end(start.server)
    birth = rt.source.birth(start.server, coordinates.file)
    return Position(coordinates, identity, birth)


def wait_reading(rt: StreamRuntime, row: IncarnationRow) -> JobView:
    """Wait until the job runs and its binlog reader is seen at the proved server.

    Returns:
        The last view of the job; any other state than RUNNING is the caller's to judge.

    Raises:
        IdentityMismatch: The server changed under the launch; the job is cancelled.
        RecoveryBlocked: It runs, but no reader appeared within the budget.
    """
    rt = running(rt)
    view = rt.engine.wait_running(row.job_id, budget_seconds=rt.budgets.launch_seconds)
    server = row.server
    anchor = anchor_of(rt, row.number)
    file = anchor.coordinates.file if anchor else None
    expected = 0
    deadline = rt.clock.monotonic() + rt.budgets.launch_seconds
    while view.state == "RUNNING":
        seen = rt.source.view(server, file=file, readers=rt.spec.server_ids)
        if anchor is not None and sameness_of(anchor, seen) == "different":
            rt.engine.cancel(row.job_id, budget_seconds=rt.budgets.stop_seconds)
            now = seen.identity.label() if seen.identity else "another server"
            raise IdentityMismatch(
                f"stream {rt.name!r}: {server} became {now} during the launch of incarnation "
                f"{row.number}, which was cancelled",
                hint="Reconcile the rows of the last minute; recovery starts again by itself",
            )
        expected = expected or _planned(rt, server)
        if seen.readers is None or seen.readers >= expected:
            return view
        if rt.clock.monotonic() > deadline:
            raise RecoveryBlocked(
                f"stream {rt.name!r}: incarnation {row.number} runs, but no binlog connection "
                f"was seen at {server} within {rt.budgets.launch_seconds:.0f} s",
                hint="Look at the task manager's log",
            )
        rt.clock.sleep(rt.budgets.poll_seconds)
        view = rt.engine.job(row.job_id)
    return view


def _planned(rt: StreamRuntime, server: Server) -> int:
    """Return how many binlog connections the job opens when its snapshot is over."""
    return connections_of(rt.spec, rt.source.shapes(server, rt.spec.tables))


def outlive_orphans(rt: StreamRuntime) -> None:
    """Wait until tasks that lost their job manager are dead.

    A task manager keeps the tasks of a killed job manager until their heartbeat times out
    (seen on Flink 1.20: they read and write on). A new copy beside them could be overtaken
    by an old row in their writer's buffer.
    """
    rt.clock.sleep(rt.engine.orphan_seconds() + rt.spec.flush_interval_seconds)
