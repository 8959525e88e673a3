"""FakeEngine: Flink jobs that read fake binlogs, checkpoint, fail, stall and are restored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from cdc_assets.core.observation import FailureClass, JobState, JobView
from cdc_assets.core.position import Coordinates
from cdc_assets.errors import (
    CheckpointUnreadable,
    EngineRejected,
    EngineUnreachable,
    SavepointFailed,
    SourceUnreachable,
    TransplantRefused,
)
from cdc_assets.ports import Clock, Launch, StateView
from cdc_assets.testing.clock import FrozenClock
from cdc_assets.testing.faults import Faults, When
from cdc_assets.testing.job import FakeJob, FakeState
from cdc_assets.testing.reader import BinlogReader, ReaderFailed
from cdc_assets.testing.source import FakeServer, FakeSource, RowChange
from cdc_assets.testing.target import FakeTarget

Disconnect = Literal["stall", "fail", "reconnect"]
_ENDED: tuple[JobState, ...] = ("FAILED", "CANCELED", "FINISHED")


class FakeEngine:
    """Jobs over a `FakeSource` and a `FakeTarget`, as `ports.StreamEngine` wants it.

    Time does not pass by itself: every call lets each running job read on, deliver and complete
    a checkpoint, and so does `pump`.

    Attributes:
        jobs: What the job manager knows; `forget` empties it.
        states: Checkpoints and savepoints by path; they outlive the job manager.
        batch: Transactions that a job reads per pump, None for all there are.
        snapshot_pumps: Pumps for which the snapshot phase of a new job lasts.
        auto_checkpoint: Whether a pump completes a checkpoint.
        on_disconnect: What a job does when its connection breaks. `stall` is what Flink does:
            RUNNING, checkpoints complete, and nothing is read.
        lagging: Whether a checkpoint right after a transaction still points at its start, with
            events to skip, until the next heartbeat (one more pump), as in Flink CDC.
        reachable: Whether the job manager answers.
    """

    def __init__(
        self, source: FakeSource, target: FakeTarget, *, clock: Clock | None = None
    ) -> None:
        self.faults = Faults()
        self.source = source
        self.target = target
        self.clock: Clock = clock or FrozenClock()
        self.jobs: dict[str, FakeJob] = {}
        self.states: dict[str, FakeState] = {}
        self.batch: int | None = None
        self.snapshot_pumps = 0
        self.auto_checkpoint = True
        self.on_disconnect: Disconnect = "stall"
        self.lagging = True
        self.reachable = True

    def fail_next(
        self, method: str, *, when: When = "before", error: BaseException | None = None
    ) -> None:
        """Let the next call of a method fail; see `Faults.fail_next`."""
        self.faults.fail_next(method, when=when, error=error)

    # ------------------------------------------------------------ what tests do to it

    def pump(self, times: int = 1) -> None:
        """Let every running job read on and complete a checkpoint."""
        for _ in range(times):
            for job in self.jobs.values():
                if job.state == "RUNNING":
                    self._run(job)

    def fail(self, job_id: str, text: str, failure_class: FailureClass = "transient") -> None:
        """Let a job fail for good."""
        self._end(self.jobs[job_id], "FAILED", text, failure_class)

    def disconnect(self, job_id: str) -> None:
        """Break a job's binlog connection."""
        self._disconnected(self.jobs[job_id])

    def forget(self) -> None:
        """Kill the job manager without high availability: all jobs are gone, states stay."""
        self.jobs.clear()
        self.source.connections.clear()

    @property
    def live(self) -> tuple[str, ...]:
        """Return the ids of the jobs that run."""
        return tuple(job_id for job_id, job in self.jobs.items() if job.state == "RUNNING")

    # ------------------------------------------------------------ the port

    def launch(self, launch: Launch) -> str:
        """Start a job, or adopt the one of this id."""
        self._before("launch")
        if launch.job_id not in self.jobs:
            job = FakeJob(launch, checkpointed_at=self.clock.monotonic())
            self._place(job)
            self.jobs[launch.job_id] = job
            self._connect(job)
        self.faults.check("launch", "after")
        return launch.job_id

    def rendered(self, launch: Launch) -> str:
        """Return one line per table that is written, with what fills it."""
        excluded = {name.lower() for name in launch.spec.exclude_columns}
        lines: list[str] = []
        for table in launch.spec.copied:
            shape = self.source.defined.get(table.label)
            names = [column.name for column in shape.columns] if shape else []
            kept = [name for name in names if f"{table.alias}.{name}".lower() not in excluded]
            lines.append(f"{table.label} -> {table.target_name} ({', '.join(kept)})")
        lines += [f"{query.target_name}: {query.sql}" for query in launch.spec.queries]
        return "\n".join(lines)

    def job(self, job_id: str) -> JobView:
        """Return what the job manager says."""
        self.faults.check("job", "before")
        if not self.reachable:
            return JobView("UNKNOWN")
        self.pump()
        self.faults.check("job", "after")
        newest = self._newest(job_id, savepoints=True)
        path = newest.path if newest else ""
        job = self.jobs.get(job_id)
        if job is None:
            return JobView("GONE", state_path=path)
        return JobView(
            job.state,
            restarts=job.restarts,
            seconds_since_checkpoint=self.clock.monotonic() - job.checkpointed_at,
            failure=job.failure,
            failure_class=job.failure_class,
            state_path=path,
        )

    def wait_running(self, job_id: str, *, budget_seconds: float) -> JobView:
        """Return the job at once: a fake job runs or has ended."""
        del budget_seconds
        self._before("wait_running")
        self.faults.check("wait_running", "after")
        return self.job(job_id)

    def checkpoint(self, job_id: str, *, budget_seconds: float) -> StateView:
        """Let the job read on and complete a checkpoint."""
        del budget_seconds
        self._before("checkpoint")
        self.pump()
        job = self.jobs.get(job_id)
        if job is None or job.state != "RUNNING":
            message = f"job {job_id} does not run"
            raise SavepointFailed(message)
        state = self._save(job)
        self.faults.check("checkpoint", "after")
        return state.view()

    def latest_state(self, job_id: str) -> StateView | None:
        """Return the newest checkpoint or savepoint, also of a forgotten job."""
        self.faults.check("latest_state", "before")
        if self.reachable:
            self.pump()
        newest = self._newest(job_id, savepoints=True)
        self.faults.check("latest_state", "after")
        return newest.view() if newest else None

    def copy_newest(self, job_id: str) -> StateView | None:
        """Copy the newest checkpoint."""
        self.faults.check("copy_newest", "before")
        newest = self._newest(job_id, savepoints=False)
        if newest is None:
            return None
        path = f"file:///savepoints/kept/{job_id}/pending/chk-{newest.checkpoint_id}"
        self.states[path] = replace(newest, path=path, job_id=f"pending {job_id}")
        self.faults.check("copy_newest", "after")
        return self.states[path].view()

    def approve(self, job_id: str, path: str) -> None:
        """Keep a copy, in place of the one before."""
        self.faults.check("approve", "before")
        kept = f"kept {job_id}"
        for old in [state.path for state in self.states.values() if state.job_id == kept]:
            del self.states[old]
        new = path.replace("/pending/", "/")
        self.states[new] = replace(self.states.pop(path), path=new, job_id=kept)
        self.faults.check("approve", "after")

    def kept(self, job_id: str) -> StateView | None:
        """Return the copy that is kept."""
        self.faults.check("kept", "before")
        found = self._newest(f"kept {job_id}", savepoints=False)
        return found.view() if found else None

    def stop(self, job_id: str, *, purpose: str, budget_seconds: float) -> StateView:
        """Stop with a savepoint; the same purpose gives the same savepoint again."""
        del budget_seconds
        self._before("stop")
        path = f"file:///savepoints/{job_id[:8]}-{_short(purpose)}"
        if path not in self.states:
            job = self.jobs.get(job_id)
            if job is None or job.state != "RUNNING":
                message = f"job {job_id} does not run and has no savepoint for {purpose!r}"
                raise SavepointFailed(message)
            self._save(job, savepoint=path)
            self._end(job, "FINISHED")
        self.faults.check("stop", "after")
        return self.states[path].view()

    def cancel(self, job_id: str, *, budget_seconds: float) -> None:
        """Cancel without a savepoint."""
        del budget_seconds
        self._before("cancel")
        job = self.jobs.get(job_id)
        if job is not None and job.state not in _ENDED:
            self._end(job, "CANCELED")
        self.faults.check("cancel", "after")

    def read_state(self, path: str) -> StateView:
        """Return a checkpoint or savepoint."""
        self.faults.check("read_state", "before")
        state = self._state(path)
        self.faults.check("read_state", "after")
        return state.view()

    def transplant(
        self, savepoint: str, *, name: str, coordinates: Coordinates, drained: Sequence[Coordinates]
    ) -> StateView:
        """Copy a savepoint with another position."""
        self.faults.check("transplant", "before")
        path = f"{savepoint}-{name}"
        if path not in self.states:
            original = self._state(savepoint)
            if original.snapshot_running:
                message = f"{savepoint}: the snapshot phase has not ended"
                raise TransplantRefused(message)
            for reader in original.readers:
                if reader.at not in drained:
                    message = f"{savepoint}: holds {reader.at}, which is not a drained position"
                    raise TransplantRefused(message)
            moved = tuple(
                replace(reader, at=coordinates, gtids=None, skip=0, pending=None)
                for reader in original.readers
            )
            self.states[path] = replace(original, path=path, readers=moved)
        self.faults.check("transplant", "after")
        return self.states[path].view()

    def orphan_seconds(self) -> float:
        """Return 0: a fake job ends with its job manager."""
        return 0.0

    def rows_out(self, job_id: str) -> int | None:
        """Return the number of rows that the job has delivered."""
        job = self.jobs.get(job_id)
        return None if job is None or not self.reachable else job.rows_out

    # ------------------------------------------------------------ how a job works

    def _before(self, method: str) -> None:
        self.faults.check(method, "before")
        if not self.reachable:
            message = "Flink does not answer"
            raise EngineUnreachable(message)

    def _place(self, job: FakeJob) -> None:
        """Give a new job its positions: from a state, from coordinates, or from a snapshot."""
        launch, tables = job.launch, job.launch.spec.tables
        if launch.restore_path is not None:
            if launch.restore_path not in self.states:
                message = f"{launch.restore_path}: cannot find the state"
                raise EngineRejected(message)
            state = self.states[launch.restore_path]
            if state.readers and len(state.readers) != len(tables):
                # Flink finds an operator's state by the operator's place in the plan.
                message = f"{launch.restore_path}: cannot map the state of {len(state.readers)}"
                raise EngineRejected(message)
            pairs = zip(state.readers, tables, strict=False)
            job.readers = [replace(reader, table=table.label) for reader, table in pairs]
            job.counts = dict(state.counts)
            job.checkpoints = state.checkpoint_id
        elif launch.coordinates is not None:
            job.readers = [
                BinlogReader.start(table.label, launch.coordinates, launch.gtid_set)
                for table in tables
            ]
        else:
            job.snapshot_left = self.snapshot_pumps + 1

    def _connect(self, job: FakeJob) -> None:
        try:
            job.server = self.source.server_at(job.launch.server)
        except SourceUnreachable as error:
            self._end(job, "FAILED", str(error), "transient")
            return
        self.source.connections[job.launch.job_id] = (job.server, job.launch.spec.server_ids)

    def _run(self, job: FakeJob) -> None:
        if job.server is not None and self._moved(job):
            self._disconnected(job)
        if job.server is not None and job.snapshot_left:
            self._copy(job, job.server)
        elif job.server is not None:
            self._read(job, job.server)
        if job.state == "RUNNING" and self.auto_checkpoint:
            self._save(job)

    def _moved(self, job: FakeJob) -> bool:
        try:
            return self.source.server_at(job.launch.server) is not job.server
        except SourceUnreachable:
            return True

    def _disconnected(self, job: FakeJob) -> None:
        job.server = None
        self.source.connections.pop(job.launch.job_id, None)
        if self.on_disconnect == "fail":
            self._end(job, "FAILED", "Communications link failure", "transient")
        elif self.on_disconnect == "reconnect":
            self._connect(job)

    def _copy(self, job: FakeJob, server: FakeServer) -> None:
        job.snapshot_left -= 1
        if job.snapshot_left:
            return
        for table in job.launch.spec.tables:
            rows = server.tables.get(table.label, {})
            job.readers.append(BinlogReader.at_end(table.label, server))
            self._count(job, len(rows))
            if table.name not in job.launch.spec.source_only:
                job.rows_out += len(rows)
                for key, row in rows.items():
                    self.target.load(table.target_name, key, row)

    def _read(self, job: FakeJob, server: FakeServer) -> None:
        only = job.launch.only
        targets = {
            table.label: table.target_name
            for table in job.launch.spec.copied
            if only in {"", table.label}
        }
        try:
            for index, reader in enumerate(job.readers):
                after, changes = reader.read(server, limit=self.batch, lagging=self.lagging)
                job.readers[index] = after
                for change in changes:
                    job.rows_out += 1
                    self._deliver(job, targets.get(change.table), change)
        except ReaderFailed as failed:
            self._end(job, "FAILED", str(failed), "needs-new-position")

    def _deliver(self, job: FakeJob, name: str | None, change: RowChange) -> None:
        if name is not None:
            self.target.apply(name, change)
        if change.kind != "update":
            self._count(job, 1 if change.kind == "insert" else -1)

    def _count(self, job: FakeJob, rows: int) -> None:
        """Keep the state of a query: here each one counts the rows of all captured tables."""
        for query in job.launch.spec.queries:
            job.counts[query.target_name] = job.counts.get(query.target_name, 0) + rows
            row = {"rows": job.counts[query.target_name]}
            self.target.load(query.target_name, ("all",), row)

    def _save(self, job: FakeJob, *, savepoint: str = "") -> FakeState:
        job.checkpoints += 1
        path = savepoint or f"file:///checkpoints/{job.launch.job_id}/chk-{job.checkpoints}"
        state = FakeState(
            path,
            job.checkpoints,
            job.launch.job_id,
            tuple(reader.checkpointed() for reader in job.readers),
            tuple(job.counts.items()),
            snapshot_running=bool(job.snapshot_left),
            savepoint=bool(savepoint),
        )
        self.states[path] = state
        job.checkpointed_at = self.clock.monotonic()
        return state

    def _end(
        self, job: FakeJob, state: JobState, text: str = "", failure_class: FailureClass = ""
    ) -> None:
        job.state, job.failure, job.failure_class = state, text, failure_class
        job.server = None
        self.source.connections.pop(job.launch.job_id, None)

    def _state(self, path: str) -> FakeState:
        if path not in self.states:
            message = "not found"
            raise CheckpointUnreadable(message, path=path)
        return self.states[path]

    def _newest(self, job_id: str, *, savepoints: bool) -> FakeState | None:
        found = [
            state
            for state in self.states.values()
            if state.job_id == job_id and (savepoints or not state.savepoint)
        ]
        return max(found, key=lambda state: state.checkpoint_id, default=None)


def _short(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
