"""FlinkEngine: the port `StreamEngine` over REST, SQL Gateway and checkpoint files."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

from cdc_assets.core.columns import TableShape
from cdc_assets.core.failure_text import classify_failure
from cdc_assets.core.job import CheckpointFacts, JobFacts, JobGone
from cdc_assets.core.observation import FailureClass, JobView
from cdc_assets.core.position import Coordinates
from cdc_assets.core.preflight import Fault
from cdc_assets.core.results import Results, provisional, wanted_results
from cdc_assets.core.stream import StreamSpec, trigger_id_of
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import (
    CdcError,
    CheckpointUnreadable,
    ConfigurationError,
    EngineRejected,
    EngineUnreachable,
    JobExists,
    SavepointFailed,
)
from cdc_assets.flink.client import FlinkClient
from cdc_assets.flink.gateway import SqlGateway
from cdc_assets.flink.kept_states import approve, approved, copy_newest, count_on
from cdc_assets.flink.render import RenderedStream
from cdc_assets.flink.sql_check import check_sql, describe_results
from cdc_assets.flink.state_files import local_path
from cdc_assets.flink.state_view import newest_view, read_view
from cdc_assets.flink.transplant import transplant
from cdc_assets.ports import Clock, Launch, Server, StateView, Target

Renderer = Callable[[Launch, Sequence[TableShape], Sequence[TableShape]], RenderedStream]

_SUBMIT_SECONDS = 60.0
_HEARTBEAT_SECONDS = 50.0
_MARGIN_SECONDS = 1.0
_UNITS = {"": 0.001, "ms": 0.001, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class StateFolders:
    """Where Flink keeps state, as URLs that Flink's machines and this one both reach.

    Attributes:
        checkpoints: A job's checkpoints go to `<checkpoints>/<job id>/chk-<n>`.
        savepoints: A stop's savepoint goes to `<savepoints>/<job id>/<purpose>/savepoint-*`,
            so that it is found again after everything else was forgotten.
    """

    checkpoints: str
    savepoints: str

    def of_checkpoints(self, job_id: str) -> Path:
        """Return a job's checkpoint folder."""
        return local_path(self.checkpoints) / job_id

    def of_savepoints(self, job_id: str) -> Path:
        """Return a job's savepoint folder."""
        return local_path(self.savepoints) / job_id

    def of_kept(self, job_id: str) -> Path:
        """Return where copies of a job's checkpoints are kept, apart from what is its newest."""
        return local_path(self.savepoints) / "kept" / job_id

    def savepoint_url(self, job_id: str, purpose: str) -> str:
        """Return where a stop puts its savepoint."""
        return f"{self.savepoints.rstrip('/')}/{job_id}/{purpose}"


class Describer(Protocol):
    """What the engine asks of a source."""

    def shapes(self, server: Server, tables: Sequence[TableRef]) -> tuple[TableShape, ...]:
        """Return the tables as the server describes them."""
        ...


class FlinkControl:
    """What is done with a job of any origin; a subclass starts them.

    Args:
        client: REST.
        folders: Where state lies.
        source: Describes the captured tables when a launch is rendered.
        target: Describes the target tables.
        clock: Time.
        reads_binlog: False for jobs with other sources than MySQL.
    """

    def __init__(
        self,
        *,
        client: FlinkClient,
        folders: StateFolders,
        source: Describer,
        target: Target,
        clock: Clock,
        reads_binlog: bool = True,
    ) -> None:
        self._client = client
        self._folders = folders
        self._source = source
        self._target = target
        self._clock = clock
        self._reads_binlog = reads_binlog

    def job(self, job_id: str) -> JobView:
        """Return what Flink says of a job."""
        try:
            facts = self._client.job(job_id)
            if isinstance(facts, JobGone):
                return JobView("GONE")
            return self._view(facts, job_id)
        except EngineUnreachable as error:
            return JobView("UNKNOWN", failure=str(error))

    def _view(self, facts: JobFacts, job_id: str) -> JobView:
        checkpoints = self._client.checkpoints(job_id)
        failure, failure_class = "", ""
        restarts = 0
        if facts.status in {"FAILED", "FAILING", "RESTARTING"}:
            failure, failure_class = self._failure(job_id)
        elif facts.status == "RUNNING":
            restarts = self._client.restarts(job_id) or 0
        return JobView(
            state=facts.status,
            restarts=restarts,
            seconds_since_checkpoint=self._age(facts, checkpoints),
            failed_checkpoints=0
            if isinstance(checkpoints, JobGone)
            else checkpoints.failed_since_completed,
            failure=failure,
            failure_class=failure_class,
        )

    def _age(self, facts: JobFacts, checkpoints: CheckpointFacts | JobGone) -> float | None:
        if isinstance(checkpoints, JobGone):
            return None
        done = checkpoints.latest_completed
        since: datetime | None = done.acknowledged_at if done else facts.started_at
        if since is None:
            return None
        return max(0.0, (self._clock.now().astimezone(timezone.utc) - since).total_seconds())

    def _failure(self, job_id: str) -> tuple[str, FailureClass]:
        history = self._client.exceptions(job_id)
        if isinstance(history, JobGone) or not history:
            return "", ""
        found = classify_failure(history[0].stack_trace)
        return found.cause, found.failure_class

    def wait_running(self, job_id: str, *, budget_seconds: float) -> JobView:
        """Wait until every task of the job runs, or it ends."""
        try:
            self._client.wait_running(job_id, budget_seconds=budget_seconds)
        except EngineUnreachable as error:
            return JobView("UNKNOWN", failure=str(error))
        return self.job(job_id)

    def checkpoint(self, job_id: str, *, budget_seconds: float) -> StateView:
        """Trigger a checkpoint, wait for it and read it."""
        trigger = trigger_id_of(job_id, f"checkpoint {self._clock.monotonic()}")
        try:
            number = self._client.take_checkpoint(
                job_id, trigger_id=trigger, budget_seconds=budget_seconds
            )
        except EngineRejected as error:
            raise SavepointFailed(f"checkpoint of job {job_id}: {error.message}") from error
        folder = self._folders.of_checkpoints(job_id)
        taken = folder / f"chk-{number}"
        if taken.is_dir():
            return self.read_state(str(taken))
        # Subsumed by a newer one already; that one holds as much and more.
        newest = self.latest_state(job_id)
        if newest is None or newest.checkpoint_id < number:
            raise SavepointFailed(
                f"checkpoint {number} of job {job_id} is not in {folder}",
                hint="Flink and this machine must see the same checkpoint folder",
            )
        return newest

    def latest_state(self, job_id: str) -> StateView | None:
        """Read the newest complete state of a job, also of one that Flink forgot."""
        return newest_view(
            self._folders.of_checkpoints(job_id),
            self._folders.of_savepoints(job_id),
            reads_binlog=self._reads_binlog,
        )

    def copy_newest(self, job_id: str) -> StateView | None:
        """Copy a job's newest complete checkpoint."""
        folder, kept = self._folders.of_checkpoints(job_id), self._folders.of_kept(job_id)
        copy = copy_newest(folder, kept)
        return None if copy is None else read_view(str(copy))

    def approve(self, job_id: str, path: str) -> None:
        """Keep a copy."""
        approve(self._folders.of_kept(job_id), path)

    def kept(self, job_id: str) -> StateView | None:
        """Return the copy that is kept."""
        found = approved(self._folders.of_kept(job_id))
        return None if found is None else read_view(str(found))

    def stop(self, job_id: str, *, purpose: str, budget_seconds: float) -> StateView:
        """Stop with a savepoint; a finished one of this purpose is returned as it is."""
        done = newest_view(
            None, self._folders.of_savepoints(job_id), reads_binlog=self._reads_binlog
        )
        if done is not None and f"/{purpose}/" in done.path:
            return done
        try:
            path = self._client.stop_with_savepoint(
                job_id,
                self._folders.savepoint_url(job_id, purpose),
                trigger_id=trigger_id_of(job_id, purpose),
                budget_seconds=budget_seconds,
            )
            self._client.wait_terminal(job_id, budget_seconds=budget_seconds)
        except EngineRejected as error:
            raise SavepointFailed(f"stop of job {job_id}: {error.message}") from error
        return self.read_state(path)

    def cancel(self, job_id: str, *, budget_seconds: float) -> None:
        """Cancel without a savepoint and wait until it is over."""
        self._client.cancel(job_id)
        self._client.wait_terminal(job_id, budget_seconds=budget_seconds)

    def read_state(self, path: str) -> StateView:
        """Read a checkpoint or savepoint by its path."""
        return read_view(path, reads_binlog=self._reads_binlog)

    def transplant(
        self, savepoint: str, *, name: str, coordinates: Coordinates, drained: Sequence[Coordinates]
    ) -> StateView:
        """Copy a savepoint with its positions rewritten, beside the original."""
        origin = local_path(savepoint)
        report = transplant(
            origin,
            origin.parent / name,
            coordinates.file,
            coordinates.pos,
            expected=[(place.file, place.pos) for place in drained],
        )
        return read_view(str(report.target))

    def orphan_seconds(self) -> float:
        """Return the cluster's heartbeat time-out and a margin.

        Flink's default is 50 s (runtime/heartbeat, `heartbeat.timeout`).
        """
        try:
            text = self._client.setting("heartbeat.timeout")
        except (EngineUnreachable, EngineRejected):
            text = None
        return _seconds(text, default=_HEARTBEAT_SECONDS) + _MARGIN_SECONDS

    def rows_out(self, job_id: str) -> int | None:
        """Return the rows that the sources have emitted."""
        try:
            progress = self._client.source_progress(job_id)
        except (EngineUnreachable, EngineRejected):
            return None
        return None if isinstance(progress, JobGone) else sum(p.records_out for p in progress)


class FlinkEngine(FlinkControl):
    """Flink, with jobs in SQL.

    Args:
        client: REST.
        gateway: SQL Gateway.
        folders: Where state lies.
        source: Describes the captured tables when a launch is rendered.
        target: Describes the target tables.
        render: Makes the SQL.
        clock: Time.
        reads_binlog: False for jobs with other sources than MySQL.
    """

    def __init__(
        self,
        *,
        client: FlinkClient,
        gateway: SqlGateway,
        folders: StateFolders,
        source: Describer,
        target: Target,
        render: Renderer,
        clock: Clock,
        reads_binlog: bool = True,
    ) -> None:
        super().__init__(
            client=client,
            folders=folders,
            source=source,
            target=target,
            clock=clock,
            reads_binlog=reads_binlog,
        )
        self._gateway = gateway
        self._render = render

    def launch(self, launch: Launch) -> str:
        """Submit a job; one of this id that exists already is adopted."""
        text = self._rendered(launch)
        if launch.spec.target_kind == "iceberg" and launch.restore_path:
            self._count_on(local_path(launch.restore_path))
        try:
            return self._gateway.submit_job(
                text.ddl,
                text.statement,
                job_id=launch.job_id,
                job_name=launch.name,
                restore_path=state_url(launch.restore_path),
                config={**text.config, "execution.checkpointing.dir": self._folders.checkpoints},
                budget_seconds=_SUBMIT_SECONDS,
            )
        except JobExists:
            return launch.job_id

    def _count_on(self, state: Path) -> None:
        """Let a job that goes on from a kept state number its checkpoints past that state's job."""
        job_id = state.parent.name
        if state.parent != self._folders.of_kept(job_id):
            return
        newest = self.latest_state(job_id)
        if newest is None:
            raise CheckpointUnreadable(
                "no later state of its job is left, so what that committed is not known",
                path=str(state),
                hint="Take a new snapshot",
            )
        count_on(state, newest.checkpoint_id)

    def rendered(self, launch: Launch) -> str:
        """Return the SQL with secrets left out."""
        return self._rendered(launch).redacted

    def faults(self, launch: Launch) -> tuple[Fault, ...]:
        """Return what Flink does not understand in what people wrote; no job is started.

        A stream of plain copies has nothing of that kind, so Flink is not asked.
        """
        spec = launch.spec
        if not (spec.queries or any(each.changes_rows for each in spec.transforms)):
            return ()
        try:
            shapes = self._source.shapes(launch.server, spec.tables)
            targets = self._targets_now(launch)
            if targets is None:
                return (
                    Fault(
                        f"{spec.name}.plan",
                        "target tables that do not exist yet",
                        "tables that Flink can plan the queries and transforms for",
                        "Make the target tables, then look again",
                        "warning",
                    ),
                )
            rendered = self._render(launch, shapes, targets)
        except ConfigurationError as error:
            return (_unwritable(spec, error),)
        except CdcError as error:
            return (Fault(spec.name, error.message, "an answer", error.hint),)
        return check_sql(self._gateway, spec, rendered)

    def results(self, spec: StreamSpec, server: Server) -> Results:
        """Return the columns that Flink works out for missing target tables; no job is started.

        Flink is not asked where no such table is missing.
        """
        wanted = {
            name: key
            for name, key in wanted_results(spec).items()
            if self._target_shape(name) is None
        }
        if not wanted:
            return Results()
        try:
            shapes = self._source.shapes(server, spec.tables)
            targets = [
                self._target_shape(name) or provisional(spec, name, shapes)
                for name in spec.target_names
            ]
            rendered = self._render(Launch("0" * 32, "", spec, server), shapes, targets)
        except ConfigurationError as error:
            return Results(faults=(_unwritable(spec, error),))
        return describe_results(self._gateway, spec, rendered, wanted)

    def _target_shape(self, name: str) -> TableShape | None:
        try:
            return self._target.shapes([name])[0]
        except ConfigurationError:
            return None

    def _targets_now(self, launch: Launch) -> Sequence[TableShape] | None:
        """Return the target tables, None where some are made with the first launch only."""
        try:
            return self._target.shapes(launch.spec.target_names)
        except ConfigurationError:
            if launch.spec.target_kind != "kafka":
                return None
            # A topic has no columns, so it is known before it exists.
            return tuple(TableShape("", name, (), ()) for name in launch.spec.target_names)

    def _rendered(self, launch: Launch) -> RenderedStream:
        shapes = self._source.shapes(launch.server, launch.spec.tables)
        targets = self._target.shapes(launch.spec.target_names)
        return self._render(launch, shapes, targets)


def _unwritable(spec: StreamSpec, error: ConfigurationError) -> Fault:
    field = error.field or spec.name
    found = error.message.removeprefix(f"{field}: ")
    return Fault(field, found, "a stream that can be written as SQL", error.hint)


def _seconds(text: str | None, *, default: float) -> float:
    """Read a duration as Flink writes it: milliseconds without a unit."""
    match = re.fullmatch(r"\s*(\d+)\s*([a-z]*)\s*", text or "")
    if match is None or match.group(2) not in _UNITS:
        return default
    return int(match.group(1)) * _UNITS[match.group(2)]


def state_url(path: str | None) -> str | None:
    """Return a path as the URL that Flink wants for local files."""
    return f"file://{path}" if path and path.startswith("/") else path
