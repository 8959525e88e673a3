"""Recovery over the in-memory lab: every path, and killed at every single port call."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from cdc_assets.core.position import Coordinates
from cdc_assets.core.recoveries import CLOSED
from cdc_assets.errors import CdcError, IdentityMismatch, RecoveryBlocked
from cdc_assets.operations.deploy import deploy
from cdc_assets.operations.recover import open_recovery, recover
from cdc_assets.testing.builders import BlueGreen
from cdc_assets.testing.faults import Killed, KillSwitch
from tests.operations.world import World

KINDS = {
    "no GTID, no state": {"gtid": False, "uuids": True, "stateful": False},
    "no GTID, no uuid": {"gtid": False, "uuids": False, "stateful": False},
    "no GTID, state": {"gtid": False, "uuids": False, "stateful": True},
    "GTID": {"gtid": True, "uuids": True, "stateful": False},
    "GTID, state": {"gtid": True, "uuids": True, "stateful": True},
}


def world(kind: str) -> World:
    """Return a running stream."""
    made = World(BlueGreen(**KINDS[kind]))
    made.start()
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("behind", [False, True])
def test_a_switchover_loses_doubles_and_repeats_nothing(kind: str, *, behind: bool) -> None:
    """Rows that were read, rows that were not yet read, and rows of green arrive once."""
    seen = world(kind)
    seen.switch_over(behind=behind)
    outcome = seen.recover()
    assert outcome.in_sync
    seen.check()


@pytest.mark.parametrize("kind", KINDS)
def test_a_dead_job_manager_during_the_switchover_loses_nothing(kind: str) -> None:
    """The job is gone; its newest checkpoint is found in the folder."""
    seen = world(kind)
    seen.switch_over(behind=True)
    seen.lab.engine.forget()
    assert seen.recover().in_sync
    seen.check(repeated=None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_silent_stall_on_the_same_server_is_resumed_without_repeating(kind: str) -> None:
    """The stalled job still runs, so its stop holds everything that was read."""
    seen = world(kind)
    for job_id in seen.lab.engine.live:
        seen.lab.engine.disconnect(job_id)
    seen.write()
    outcome = seen.recover()
    assert outcome.decision == "Resume"
    seen.check()


def count_calls(kind: str, *, behind: bool) -> int:
    """Return how many port calls one recovery makes."""
    seen = world(kind)
    seen.switch_over(behind=behind)
    switch = KillSwitch(0)
    recover(seen.with_ports(switch), worker="counted")
    return len(switch.calls)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_call_the_next_worker_ends_in_the_same_state(kind: str, when: str) -> None:
    """Every port call of a recovery is cut once, before and after its effect."""
    total = count_calls(kind, behind=True)
    assert total > 20
    for at in range(1, total + 1):
        seen = world(kind)
        seen.switch_over(behind=True)
        switch = KillSwitch(at, when=when)  # type: ignore[arg-type] - from the parameters
        with pytest.raises(Killed):
            recover(seen.with_ports(switch), worker="killed")
        outcome = seen.recover()
        assert outcome.incarnation == seen.lab.ledger.incarnations(seen.lab.spec.name)[-1].number
        seen.check()


class Overtaken(KillSwitch):
    """At one call of the first worker, a second worker does the whole recovery."""

    def __init__(self, at: int, other: Callable[[], object]) -> None:
        super().__init__(0)
        self._moment = at
        self._other = other

    def run(self, label: str, call: Callable[[], object]) -> object:
        """Let the other worker run at its moment, then go on."""
        if len(self.calls) + 1 == self._moment:
            self._other()
        return super().run(label, call)


@pytest.mark.parametrize("kind", ["no GTID, state", "GTID"])
def test_a_worker_that_is_overtaken_at_any_call_starts_no_second_copy(kind: str) -> None:
    """Two workers interleave at every call; one job runs in the end, and nothing is repeated."""
    for at in range(1, count_calls(kind, behind=True) + 1):
        seen = world(kind)
        seen.switch_over(behind=True)
        slow = seen.with_ports(Overtaken(at, seen.recover))
        # Superseded, when it finds that its work was taken over.
        with contextlib.suppress(CdcError):
            recover(slow, worker="slow")
        seen.check()


def test_a_cancelled_switchover_changes_nothing() -> None:
    """Blue stays production: the recovery that waited closes without a launch."""
    seen = world("no GTID, no state")
    seen.lab.begin_switchover()

    def cancel() -> None:
        seen.lab.blue.read_only = False
        seen.lab.feed.set_status("SWITCHOVER_FAILED")

    seen.lab.clock.after(5.0, cancel)
    launches = len(seen.lab.ledger.incarnations(seen.lab.spec.name))
    outcome = seen.recover()
    assert outcome.decision == "Hold"
    assert len(seen.lab.ledger.incarnations(seen.lab.spec.name)) == launches
    seen.check()


def test_a_recovery_waits_for_late_coordinates_and_guesses_nothing() -> None:
    """Green's current end is not the event's place, so nothing starts before the event."""
    seen = world("no GTID, no state")
    coordinates = seen.lab.switch_over(emit=False)
    seen.write()
    started: list[int] = []

    def emit() -> None:
        started.append(len(seen.lab.ledger.incarnations(seen.lab.spec.name)))
        seen.lab.feed.emit(coordinates)

    seen.lab.clock.after(20.0, emit)
    seen.recover()
    assert started == [2]
    seen.check()


def test_two_coordinates_events_stop_the_recovery() -> None:
    """Two places are no place."""
    seen = world("no GTID, no state")
    seen.switch_over(behind=True)
    seen.lab.feed.emit(seen.lab.green.end)
    with pytest.raises(RecoveryBlocked, match="more than one place"):
        seen.recover()
    assert seen.lab.engine.live  # the stalled job is left as it is


def test_a_drain_that_dies_goes_on_from_what_it_left() -> None:
    """The drain job fails at its start; the second attempt ends it."""
    seen = world("no GTID, state")
    seen.switch_over(behind=True)
    engine = seen.lab.engine
    original = engine.wait_running
    struck: list[str] = []

    def strike(job_id: str, *, budget_seconds: float) -> object:
        if not struck:
            struck.append(job_id)
            engine.fail(job_id, "HikariDataSource has been closed")
        return original(job_id, budget_seconds=budget_seconds)

    engine.wait_running = strike  # type: ignore[assignment] - one fake call replaced
    seen.recover()
    seen.check()


def test_a_person_cannot_deploy_into_an_open_recovery() -> None:
    """Two launchers of one stream: the recovery goes first, and nothing was stopped."""
    seen = world("no GTID, no state")
    seen.switch_over(behind=True)
    with pytest.raises(Killed):
        recover(seen.with_ports(KillSwitch(45)), worker="killed")
    live = seen.lab.engine.live
    with pytest.raises(RecoveryBlocked, match="at work"):
        deploy(seen.runtime)
    assert seen.lab.engine.live == live
    seen.recover()
    seen.check()


def test_a_person_cannot_deploy_to_another_server() -> None:
    """Before the sensors noticed the switchover: the stalled job stays as it is."""
    seen = world("GTID")
    seen.switch_over(behind=True)
    live = seen.lab.engine.live
    with pytest.raises(IdentityMismatch):
        deploy(seen.runtime)
    assert seen.lab.engine.live == live
    seen.recover()
    seen.check()


def test_a_recovery_waits_for_flink_to_answer_again() -> None:
    """No answer is not a failure: the same worker goes on when Flink is back."""
    seen = world("no GTID, no state")
    seen.switch_over(behind=True)
    seen.lab.engine.reachable = False

    def back() -> None:
        seen.lab.engine.reachable = True

    seen.lab.clock.after(12.0, back)
    assert seen.recover().in_sync
    seen.check()


def test_a_closed_recovery_is_not_opened_again() -> None:
    """The next fault on the new incarnation gets an id of its own."""
    seen = world("GTID")
    seen.switch_over(behind=False)
    first = seen.recover().recovery
    following = open_recovery(seen.runtime)
    assert following is not None
    assert not following.is_open
    assert following.recovery_id != first
    steps = seen.lab.ledger.steps(seen.lab.spec.name, first)
    assert steps[-1].step == CLOSED


def test_an_endpoint_that_does_not_hold_the_coordinates_stops_the_recovery() -> None:
    """It is not the green of the event; the stalled job stays as it is."""
    seen = world("no GTID, no state")
    seen.lab.switch_over(emit=False)
    seen.lab.feed.emit(Coordinates("mysql-bin-changelog.000001", 999_999))
    live = seen.lab.engine.live
    with pytest.raises(RecoveryBlocked, match="does not hold"):
        seen.recover()
    assert seen.lab.engine.live == live


def test_an_endpoint_that_moves_during_the_recovery_stops_it() -> None:
    """The server that was proved is the only one that is launched against."""
    seen = world("no GTID, no state")
    seen.switch_over(behind=True)
    with pytest.raises(Killed):
        recover(seen.with_ports(KillSwitch(45)), worker="killed")
    seen.lab.source.move_endpoint(seen.lab.blue)
    launched = len(seen.lab.ledger.incarnations(seen.lab.spec.name))
    with pytest.raises((IdentityMismatch, RecoveryBlocked)):
        seen.recover()
    assert len(seen.lab.ledger.incarnations(seen.lab.spec.name)) == launched
    seen.lab.source.move_endpoint(seen.lab.green)
    seen.recover()
    seen.check()


def test_launches_that_always_fail_end_with_the_last_reason() -> None:
    """A budget of attempts, and the cause in the message."""
    seen = world("GTID")
    seen.switch_over(behind=False)
    engine = seen.lab.engine
    original = engine.wait_running

    def strike(job_id: str, *, budget_seconds: float) -> object:
        engine.fail(job_id, "Too many connections")
        return original(job_id, budget_seconds=budget_seconds)

    engine.wait_running = strike  # type: ignore[assignment] - one fake call replaced
    with pytest.raises(RecoveryBlocked, match="Too many connections"):
        seen.recover()
    assert not engine.live


def test_old_blue_that_is_written_to_is_not_drained() -> None:
    """Its end is not frozen: a person must look."""
    seen = world("no GTID, state")
    seen.switch_over(behind=True)
    seen.lab.blue.read_only = False
    with pytest.raises(RecoveryBlocked, match="accepts writes"):
        seen.recover()
