"""The switchover of a blue/green deployment, done for real on the lab's servers.

The order: guardrails, stop writes, wait until green has caught up, record green's coordinates,
drop connections and refuse new ones, rename, move the endpoint, allow connections, allow writes.
Anything that fails before the rename is undone; after the rename the switchover is completed,
also by the next process if this one is killed (`finish` may run twice).
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from cdc_assets.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_assets.lab.rds_state import Settings
    from cdc_assets.lab.switchover_sql import BinlogPosition, Replication, SwitchoverServer

LOG: Final = logging.getLogger(__name__)
SLICE_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 0.2
LONGEST_RETRY_SECONDS: Final = 2.0
UNDO_ATTEMPTS: Final = 5
# There is no way back after the rename: a server or an endpoint that was killed is waited for,
# about ten minutes.
FINISH_ATTEMPTS: Final = 300


class SwitchoverCanceled(LabError):
    """The switchover was not done and what it had changed is undone.

    Args:
        reason: Why, as the cancel event says it after "was canceled due to".
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Endpoint(Protocol):
    """What a switchover asks of the source endpoint."""

    def move(self, target: str) -> object:
        """Send new connections to `target`."""
        ...

    def drop(self) -> int:
        """Close every existing connection."""
        ...

    def accept(self, *, on: bool) -> object:
        """Take new connections, or close them at once."""
        ...


class Journal(Protocol):
    """Where a switchover says how far it is; the API's answers come from there."""

    def dropping_connections(self) -> None:
        """Connections are being closed."""
        ...

    def renamed(self, coordinates: BinlogPosition) -> None:
        """Rename blue and green, and keep the coordinates, in one step that survives a kill."""
        ...

    def completed(self) -> None:
        """Green is production and takes writes."""
        ...


@dataclass(frozen=True)
class Timing:
    """How long a switchover took.

    Attributes:
        guardrails_seconds: Checks before anything was changed.
        catch_up_seconds: From the stop of writes on blue until green had everything.
        writes_stopped_seconds: From the stop of writes on blue until writes on green.
        total_seconds: All of it.
    """

    guardrails_seconds: float
    catch_up_seconds: float
    writes_stopped_seconds: float
    total_seconds: float


class Switchover:
    """One switchover.

    Args:
        blue: The production server.
        green: Its replica.
        endpoint: The source endpoint.
        journal: Where progress is recorded.
        settings: Limits of the guardrails and lab-only switches.
        clock: Monotonic seconds.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        blue: SwitchoverServer,
        green: SwitchoverServer,
        endpoint: Endpoint,
        journal: Journal,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._blue = blue
        self._green = green
        self._endpoint = endpoint
        self._journal = journal
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._undo: list[tuple[str, Callable[[], object]]] = []
        self._timeout_seconds = 0.0
        self._deadline = 0.0

    def run(self, timeout_seconds: float) -> Timing:
        """Switch over, or leave everything as it was.

        Args:
            timeout_seconds: Limit until the rename.

        Returns:
            How long it took.

        Raises:
            SwitchoverCanceled: A guardrail failed, the time was over or a server failed before
                the rename; what had been changed is undone.
        """
        begin = self._clock()
        self._timeout_seconds = timeout_seconds
        self._deadline = begin + timeout_seconds
        try:
            keep = frozenset({self._guardrails().account})
            if self._settings.pause_green_apply:
                self._undo.append(("green starts replication", self._green.start_replication))
                self._green.stop_applying()
            begin_stop = self._clock()
            self._stop_writes(keep)
            stopped = self._clock()
            frozen = self._wait_for_catch_up()
            caught_up = self._clock()
            coordinates = self._end_replication()
            self._drop_connections(keep)
            self._sleep(min(self._settings.hold_seconds, self._remaining()))
            self._check_time()
            self._still(frozen)
            self._journal.renamed(coordinates)
        except LabError as error:
            self._roll_back()
            reason = error.reason if isinstance(error, SwitchoverCanceled) else str(error)
            raise SwitchoverCanceled(reason.rstrip(".")) from error
        self.finish()
        end = self._clock()
        return Timing(begin_stop - begin, caught_up - stopped, end - begin_stop, end - begin)

    def finish(self) -> None:
        """Do what comes after the rename; running it again changes nothing.

        Raises:
            LabError: A server or the endpoint still failed at the last attempt.
        """
        steps: tuple[Callable[[], object], ...] = (
            self._green.forget_replication,
            lambda: self._endpoint.move(self._green.address),
            lambda: self._endpoint.accept(on=True),
            self._green.allow_writes,
        )
        for step in steps:
            self._insist(step, FINISH_ATTEMPTS)
        self._journal.completed()

    def roll_back_after_kill(self) -> None:
        """Undo what a killed process may have changed before the rename."""
        self._undo = [
            ("endpoint accepts", lambda: self._endpoint.accept(on=True)),
            ("green starts replication", self._green.start_replication),
            ("blue allows writes", self._blue.allow_writes),
        ]
        self._roll_back()

    def _guardrails(self) -> Replication:
        replication = self._green.replication()
        if replication is None or replication.source != self._blue.address:
            raise SwitchoverCanceled("green not replicating from blue")
        if not (replication.receiving and replication.applying):
            error = f": {replication.error}" if replication.error else ""
            raise SwitchoverCanceled(f"replication on green not being healthy{error}")
        lag = replication.lag_seconds
        allowed = min(self._settings.allowed_lag_seconds, self._timeout_seconds)
        if lag is None or lag > allowed:
            shown = "unknown" if lag is None else f"{lag} seconds"
            raise SwitchoverCanceled(f"replica lag on green being {shown}")
        if not self._green.read_only():
            raise SwitchoverCanceled("green being open for writes (read_only is 0)")
        upstream = self._blue.replication()
        if upstream is not None and (upstream.receiving or upstream.applying):
            raise SwitchoverCanceled("external replication on blue")
        oldest = self._blue.longest_write_seconds()
        if oldest > self._settings.long_write_seconds:
            raise SwitchoverCanceled(f"a long-running write on blue, open for {oldest} seconds")
        return replication

    def _stop_writes(self, keep: frozenset[str]) -> None:
        self._undo.append(("blue allows writes", self._blue.allow_writes))
        while not self._blue.stop_writes(min(SLICE_SECONDS, self._remaining())):
            # A statement holds a write lock for longer: end its connection, then try again.
            self._blue.drop_connections(keep)
            self._check_time()

    def _drop_connections(self, keep: frozenset[str]) -> None:
        self._journal.dropping_connections()
        self._undo.append(("endpoint accepts", lambda: self._endpoint.accept(on=True)))
        self._endpoint.accept(on=False)
        # First through the endpoint, so that its clients see the end of the TCP connection and
        # no error packet; then on the servers, for clients that are connected directly and for
        # binlog dump threads, which do not notice that their client has gone.
        self._endpoint.drop()
        self._blue.drop_connections(keep)
        self._green.drop_connections(frozenset())

    def _wait_for_catch_up(self) -> BinlogPosition:
        while True:
            end = self._blue.binlog_position()
            if self._green.wait_applied(end, min(SLICE_SECONDS, self._remaining())):
                if self._blue.binlog_position() == end:
                    return end
                continue  # An administrator wrote: read_only does not bind that account.
            self._check_time()
            self._sleep(RETRY_SECONDS)

    def _end_replication(self) -> BinlogPosition:
        self._check_time()
        self._undo.append(("green starts replication", self._green.start_replication))
        self._green.stop_replication()
        return self._green.binlog_position()

    def _still(self, frozen: BinlogPosition) -> None:
        """Refuse to leave a write behind that only an administrator can have made."""
        end = self._blue.binlog_position()
        if end != frozen:
            raise SwitchoverCanceled(
                f"writes on blue after green had caught up, from {frozen.file}:{frozen.position} "
                f"to {end.file}:{end.position}"
            )

    def _remaining(self) -> float:
        return max(0.0, self._deadline - self._clock())

    def _check_time(self) -> None:
        if self._remaining() <= 0:
            raise SwitchoverCanceled(
                f"the switchover timeout of {self._timeout_seconds:g} seconds being exceeded"
            )

    def _roll_back(self) -> None:
        for what, step in reversed(self._undo):
            try:
                self._insist(step, UNDO_ATTEMPTS)
            except LabError as error:
                # The other steps still matter: blue must take writes again if it can.
                LOG.error("roll back: %s: %s", what, error)  # noqa: TRY400 - one line, no trace
        self._undo = []

    def _insist(self, step: Callable[[], object], attempts: int) -> None:
        for attempt in range(1, attempts + 1):
            try:
                step()
            except LabError as error:
                if attempt == attempts:
                    raise
                LOG.warning("attempt %s of %s: %s", attempt, attempts, error)
                self._sleep(min(RETRY_SECONDS * attempt, LONGEST_RETRY_SECONDS))
            else:
                return
