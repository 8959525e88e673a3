"""DebeziumEngine: the port `StreamEngine` over connectors of a Kafka Connect worker.

A Flink job is here a connector of its own for each incarnation, a checkpoint is the offset
that Connect has noted (each flush of the worker notes one, after the brokers acknowledged
every record before it), and a savepoint is the offset of a connector that was stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from cdc_assets.core.columns import TableShape
from cdc_assets.core.failure_text import classify_failure
from cdc_assets.core.observation import JobState, JobView
from cdc_assets.core.position import Coordinates
from cdc_assets.core.preflight import Fault
from cdc_assets.core.source import Flavor
from cdc_assets.core.stream import StreamSpec
from cdc_assets.debezium.client import ConnectClient, ConnectorStatus
from cdc_assets.debezium.config import (
    CONNECTORS,
    REBUILD,
    SNAPSHOT_MODE,
    START,
    Access,
    Beginning,
    ConnectorName,
    connector_settings,
    history_of,
    redacted,
)
from cdc_assets.debezium.offsets import (
    ConnectorState,
    Offset,
    offset_at,
    offset_of,
    partition_of,
)
from cdc_assets.errors import (
    CdcError,
    ConfigurationError,
    EngineError,
    EngineRejected,
    SavepointFailed,
    TransplantRefused,
)
from cdc_assets.ports import Clock, Launch, Server, Source, StateView

Remembered = Callable[[str], str]
GtidAt = Callable[[Server, Coordinates], str]

_POLL_SECONDS = 0.25
_STOP_SECONDS = 60.0
# Stopped connectors that stay, so that their offsets can still be asked for.
_KEPT = 5
_ENDED: tuple[JobState, ...] = ("FAILED", "FINISHED", "GONE")


def nothing(_: str) -> str:
    """Remember nothing."""
    return ""


def no_gtid(_: Server, __: Coordinates) -> str:
    """Know no GTID."""
    return ""


class DebeziumEngine:
    """Connectors of one stream.

    Args:
        client: The worker.
        spec: The stream.
        source: Says which kind of server answers, and what it holds.
        access: How connectors reach the source.
        clock: Time.
        gtid_at: Returns MariaDB's GTID position of a place, empty on MySQL: the connector for
            MariaDB reads by GTID only.
        remembered: Returns the newest recorded state of a job id, empty without one. A worker
            that is started again knows none of its connectors.
    """

    def __init__(
        self,
        *,
        client: ConnectClient,
        spec: StreamSpec,
        source: Source,
        access: Access,
        clock: Clock,
        gtid_at: GtidAt = no_gtid,
        remembered: Remembered = nothing,
    ) -> None:
        self._client = client
        self._spec = spec
        self._source = source
        self._access = access
        self._clock = clock
        self._gtid_at = gtid_at
        self._remembered = remembered

    # ------------------------------------------------------------ launching

    def launch(self, launch: Launch) -> str:
        """Start a connector at its beginning; one of this name that exists is adopted.

        Raises:
            EngineRejected: A newer connector of the stream lives, the server does not hold the
                offset, the worker refuses the settings, or it kept another offset.
        """
        name = str(ConnectorName.of(launch))
        start, offset = self._beginning(launch)
        settings = self._settings(launch, start)
        if offset is not None:
            self._require_held(launch.server, offset)
        self._end_others(ConnectorName.of(launch))
        self._client.create(name, settings, stopped=offset is not None)
        # A launcher that was killed in between left a connector that never ran.
        if offset is not None and self._state_word(name) == "FINISHED":
            found = self._offset(name)
            if found is None or found == offset:
                self._place(name, offset)
                self._client.resume(name)
        return launch.job_id

    def rendered(self, launch: Launch) -> str:
        """Return the configuration without the password."""
        start, _ = self._beginning(launch)
        return redacted(self._settings(launch, start))

    def _settings(self, launch: Launch, start: Beginning) -> dict[str, str]:
        flavor = self._source.identity(launch.server).flavor
        shapes = self._source.shapes(launch.server, launch.spec.tables)
        return connector_settings(launch, flavor, self._access, shapes, start)

    def _beginning(self, launch: Launch) -> tuple[Beginning, Offset | None]:
        """Return where a connector begins.

        A schema history holds for the binlog that it was read from. At coordinates of another
        server it is made anew, from the tables as they are there.
        """
        own = str(ConnectorName.of(launch))
        if launch.restore_path is not None:
            state = ConnectorState.parse(launch.restore_path)
            if state.is_copying:
                raise EngineRejected(
                    f"stream {self._spec.name!r}: the offset stands inside of the initial copy",
                    hint="Materialize the snapshot again",
                )
            text = json.dumps(state.offset, sort_keys=True)
            history, anew = state.history or own, not state.history
            return Beginning(text, history, rebuilds=anew), state.offset
        if launch.coordinates is not None:
            gtids = launch.gtid_set or self._gtid_at(launch.server, launch.coordinates)
            offset = offset_at(launch.coordinates, gtids)
            return Beginning(json.dumps(offset, sort_keys=True), own, rebuilds=True), offset
        return Beginning(history=own), None

    def _require_held(self, server: Server, offset: Offset) -> None:
        """Refuse an offset in a file that the server does not hold: Connect would take it."""
        state = ConnectorState(offset)
        place, held = state.coordinates, self._source.view(server).binlogs
        # MySQL finds the place by its GTIDs, also on another server, where files differ.
        by_gtid = state.view(()).splits[0].gtids is not None
        if by_gtid or held is None or held.covers(place.file, place.pos):
            return
        raise EngineRejected(
            f"stream {self._spec.name!r}: {server} does not hold {place}",
            hint="Nothing was started; compare the server with 'cdc-assets positions'",
        )

    def _end_others(self, own: ConnectorName) -> None:
        """Stop the stream's older connectors; forget those that nobody asks for any more.

        Raises:
            EngineRejected: A newer one lives.
        """
        for text in self._client.connectors():
            other = ConnectorName.parse(text)
            if other is None or other.stream != own.stream or other.job_id == own.job_id:
                continue
            if other.number >= own.number:
                if self._state_word(text) not in _ENDED:
                    raise EngineRejected(
                        f"stream {own.stream!r}: connector {text} of the same stream lives; "
                        "two copies never run",
                        hint="Delete it if it is not this ledger's",
                    )
                continue
            self._stopped(text, _STOP_SECONDS)
            if other.number < own.number - _KEPT:
                self._client.delete(text)

    def _place(self, name: str, offset: Offset) -> None:
        """Give a stopped connector its offset, and read it back: Connect proves nothing."""
        self._client.set_offsets(name, partition_of(self._spec.name), offset)
        found = self._offset(name)
        if found != offset:
            raise EngineRejected(
                f"connector {name} was given the offset {dict(offset)} and holds {found}",
                hint="It was not started",
            )

    # ------------------------------------------------------------ looking

    def job(self, job_id: str) -> JobView:
        """Return what Connect says of a connector; its tasks decide, not its own state."""
        try:
            name = self._find(job_id)
            status = None if name is None else self._client.status(name)
        except EngineError as error:
            return JobView("UNKNOWN", failure=str(error))
        if status is None:
            return JobView("GONE")
        state = _state_of(status)
        if state != "FAILED":
            return JobView(state)
        trace = next((task.trace for task in status.tasks if task.trace), status.trace)
        found = classify_failure(trace)
        return JobView(state, failure=found.cause, failure_class=found.failure_class)

    def wait_running(self, job_id: str, *, budget_seconds: float) -> JobView:
        """Wait until the connector's task runs, or it ends."""
        deadline = self._clock.monotonic() + budget_seconds
        while True:
            view = self.job(job_id)
            if view.state in {"RUNNING", "UNKNOWN", "SUSPENDED", *_ENDED}:
                return view
            if self._clock.monotonic() > deadline:
                return view
            self._clock.sleep(_POLL_SECONDS)

    def checkpoint(self, job_id: str, *, budget_seconds: float) -> StateView:
        """Return the offset that was noted last; everything before it is in its topic.

        Raises:
            SavepointFailed: The connector does not run, or has noted none.
        """
        del budget_seconds
        name = self._find(job_id)
        word = "GONE" if name is None else self._state_word(name)
        state = None if name is None or word != "RUNNING" else self._state(name)
        if state is None:
            raise SavepointFailed(
                f"connector of job {job_id}: {word.lower()}, no offset to be read",
                hint="The worker's log says more",
            )
        return self._view(state)

    def latest_state(self, job_id: str) -> StateView | None:
        """Return the connector's offset, or the one recorded last where Connect knows none."""
        try:
            name = self._find(job_id)
            state = None if name is None else self._state(name)
        except EngineError:
            state = None
        if state is not None:
            return self._view(state)
        path = self._remembered(job_id)
        return self.read_state(path) if path else None

    def read_state(self, path: str) -> StateView:
        """Read a state."""
        return self._view(ConnectorState.parse(path))

    def copy_newest(self, job_id: str) -> StateView | None:
        """Return None: an offset is kept in the ledger, and each record has its own columns."""
        del job_id

    def approve(self, job_id: str, path: str) -> None:
        """Do nothing: there are no copies."""
        del job_id, path

    def kept(self, job_id: str) -> StateView | None:
        """Return None: there are no copies."""
        del job_id

    def orphan_seconds(self) -> float:
        """Return 0: a connector's task is a thread of the worker that knows of it."""
        return 0.0

    def rows_out(self, job_id: str) -> int | None:
        """Return None: Connect counts records in JMX only."""
        del job_id
        return None

    # ------------------------------------------------------------ ending

    def stop(self, job_id: str, *, purpose: str, budget_seconds: float) -> StateView:
        """Stop the connector and return its offset; a stopped one returns the same again.

        Raises:
            SavepointFailed: There is no such connector, or it has noted no offset.
        """
        name = self._find(job_id)
        if name is None:
            raise SavepointFailed(f"job {job_id}: no such connector to stop for {purpose}")
        self._stopped(name, budget_seconds)
        state = self._state(name)
        if state is None:
            raise SavepointFailed(f"connector {name} was stopped and has noted no offset")
        return self._view(state)

    def cancel(self, job_id: str, *, budget_seconds: float) -> None:
        """Stop the connector; its offset stays, and can be asked for."""
        name = self._find(job_id)
        if name is not None:
            self._stopped(name, budget_seconds)

    def transplant(
        self, savepoint: str, *, name: str, coordinates: Coordinates, drained: Sequence[Coordinates]
    ) -> NoReturn:
        """Refuse: a connector keeps nothing beyond its position."""
        del name, coordinates, drained
        raise TransplantRefused(
            f"{savepoint[:80]}: a Debezium connector has no state to be rewritten"
        )

    def _stopped(self, name: str, budget_seconds: float) -> None:
        """Stop a connector and wait until it has no task left.

        Raises:
            SavepointFailed: It has, when the budget is used up.
        """
        deadline = self._clock.monotonic() + budget_seconds
        if self._state_word(name) not in {"FINISHED", "GONE"}:
            self._client.stop(name)
        while self._state_word(name) not in {"FINISHED", "GONE"}:
            if self._clock.monotonic() > deadline:
                raise SavepointFailed(
                    f"connector {name} did not stop within {budget_seconds:.0f} s",
                    hint="Look at the worker's log; two copies never run",
                )
            self._clock.sleep(_POLL_SECONDS)

    # ------------------------------------------------------------ preflight

    def faults(self, shapes: Mapping[str, TableShape]) -> Sequence[Fault]:
        """Return everything that keeps a connector from running, without starting one.

        Args:
            shapes: The captured tables that exist, by `database.table`.
        """
        try:
            self._client.version()
            plugins = self._client.plugins()
        except CdcError as error:
            return [Fault("connect.rest_url", error.message, "a Kafka Connect worker that answers",
                          error.hint or "Start it, or correct rest_url")]  # fmt: skip
        try:
            flavor: Flavor = self._source.identity(self._source.endpoint).flavor
        except CdcError:
            return []  # Told as a fault of the source.
        found: list[Fault] = []
        if CONNECTORS[flavor] not in plugins:
            found.append(
                Fault(
                    "connect.plugins",
                    f"no {CONNECTORS[flavor]} on the worker",
                    "the connector's jars",
                    f"Put io.debezium:debezium-connector-{flavor} into the worker's plugin.path, "
                    "and start it again",
                )
            )
        launch = Launch("0" * 32, f"{self._spec.name}:0", self._spec, self._source.endpoint)
        try:
            keyed = [shape for shape in shapes.values() if shape.primary_key]
            connector_settings(launch, flavor, self._access, keyed, Beginning())
        except ConfigurationError as error:
            found.append(Fault(error.field, str(error.value), error.message,
                               error.hint or "Correct it"))  # fmt: skip
        return found

    # ------------------------------------------------------------ parts

    def _find(self, job_id: str) -> str | None:
        names = self._client.connectors()
        return next((name for name in names if name.endswith(f"-{job_id}")), None)

    def _state_word(self, name: str) -> JobState:
        status = self._client.status(name)
        return "GONE" if status is None else _state_of(status)

    def _offset(self, name: str) -> Offset | None:
        entries = self._client.offsets(name)
        return None if entries is None else offset_of(entries, self._spec.name)

    def _state(self, name: str) -> ConnectorState | None:
        offset = self._offset(name)
        settings = self._client.settings(name)
        if offset is None or settings is None:
            return None
        never_ran = settings.get(START) == json.dumps(dict(offset), sort_keys=True)
        if never_ran and settings.get(SNAPSHOT_MODE) == REBUILD:
            # Its schema history may not have been written, so the next one makes its own.
            return ConnectorState(offset)
        return ConnectorState(offset, history_of(settings))

    def _view(self, state: ConnectorState) -> StateView:
        return state.view([table.label for table in self._spec.tables])


def _state_of(status: ConnectorStatus) -> JobState:
    """Return a connector's state in Flink's words, which the core knows.

    A paused connector is SUSPENDED, which is left alone: nobody but a person pauses one.
    """
    words = {task.state for task in status.tasks}
    if status.state == "FAILED" or "FAILED" in words:
        return "FAILED"
    if status.state == "STOPPED":
        return "CANCELLING" if words else "FINISHED"
    if status.state == "PAUSED":
        return "SUSPENDED"
    if status.state == "RUNNING" and words == {"RUNNING"}:
        return "RUNNING"
    return "RESTARTING" if "RESTARTING" in {status.state, *words} else "INITIALIZING"
