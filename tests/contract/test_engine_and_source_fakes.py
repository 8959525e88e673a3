"""The fakes lose, repeat and refuse as the real systems do, or tests over them prove nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cdc_assets.core.gtid import GtidSet
from cdc_assets.core.position import Coordinates
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.errors import (
    CheckpointUnreadable,
    ConfigurationError,
    EngineRejected,
    EngineUnreachable,
    SavepointFailed,
    SourceDenied,
    SourceUnreachable,
    TargetUnreachable,
    TransplantRefused,
)
from cdc_assets.ports import (
    Clock,
    EventFeed,
    Launch,
    Ledger,
    Server,
    Source,
    StreamEngine,
    Target,
)
from cdc_assets.testing import BlueGreen, FakeServer, FrozenClock, Killed, KillSwitch
from cdc_assets.testing.builders import identity, spec

JOB, SECOND, THIRD = "a" * 32, "b" * 32, "c" * 32


def running(**options: bool) -> BlueGreen:
    """Return a lab whose job runs, with rows 1 to 3 in the snapshot and 4 to 6 in the stream."""
    lab = BlueGreen(**options)
    lab.insert(1, 2, 3)
    lab.launch(JOB)
    lab.engine.pump()
    lab.insert(4, 5, 6)
    lab.engine.pump(2)
    return lab


def relaunch(lab: BlueGreen, job: str, server: Server, **options: object) -> None:
    base = Launch(job, "orders", lab.spec, server)
    lab.engine.launch(replace(base, **options))
    lab.engine.pump(2)


def latest(lab: BlueGreen, job: str) -> str:
    state = lab.engine.latest_state(job)
    assert state is not None
    return state.path


def test_every_fake_is_its_port() -> None:
    lab = BlueGreen()
    source: Source = lab.source
    target: Target = lab.target
    engine: StreamEngine = lab.engine
    feed: EventFeed = lab.feed
    ledger: Ledger = lab.ledger
    clock: Clock = lab.clock
    assert all((source, target, engine, feed, ledger, clock))


def test_snapshot_and_stream_deliver_inserts_updates_and_deletes() -> None:
    lab = running()
    lab.blue.write("shop.orders", (1,), {"id": 1, "item": "pear"})
    lab.blue.delete("shop.orders", (2,))
    lab.engine.pump()
    assert lab.target.lost(lab.blue, lab.spec) == []
    assert lab.target.surplus(lab.blue, lab.spec) == []
    assert lab.target.repeated == 0
    assert lab.engine.rows_out(JOB) == 8


def test_a_second_launch_of_one_id_is_adopted_not_doubled() -> None:
    lab = running()
    assert lab.launch(JOB) == JOB
    assert lab.engine.live == (JOB,)
    assert lab.target.repeated == 0


def test_a_restored_checkpoint_goes_on_without_loss_or_repetition() -> None:
    lab = running()
    path = latest(lab, JOB)
    lab.engine.fail(JOB, "boom")
    lab.insert(7)
    relaunch(lab, SECOND, lab.source.endpoint, restore_path=path)
    assert lab.target.lost(lab.blue, lab.spec) == []
    assert lab.target.repeated == 0


def test_rows_after_the_last_checkpoint_are_delivered_again() -> None:
    lab = running()
    path = latest(lab, JOB)
    lab.engine.auto_checkpoint = False
    lab.insert(7, 8)
    lab.engine.pump()
    lab.engine.fail(JOB, "boom")
    relaunch(lab, SECOND, lab.source.endpoint, restore_path=path)
    assert lab.target.lost(lab.blue, lab.spec) == []
    assert lab.target.repeated == 2


def test_a_checkpoint_right_after_a_transaction_points_into_it_until_a_heartbeat() -> None:
    lab = running()
    lab.insert(7)
    state = lab.engine.latest_state(JOB)
    assert state is not None
    assert state.splits[0].skip_events == 1
    assert state.splits[0].usable_without_state
    assert state.splits[0].pos < lab.blue.end.pos
    state = lab.engine.latest_state(JOB)
    assert state is not None
    assert (state.splits[0].pos, state.splits[0].skip_events) == (lab.blue.end.pos, 0)


def test_a_restore_inside_a_transaction_skips_what_was_read() -> None:
    lab = running()
    lab.blue.commit([("shop.orders", (n,), {"id": n, "item": "plum"}) for n in (7, 8)])
    path = latest(lab, JOB)
    lab.engine.fail(JOB, "boom")
    relaunch(lab, SECOND, lab.source.endpoint, restore_path=path)
    assert lab.target.lost(lab.blue, lab.spec) == []
    assert lab.target.repeated == 0


def test_the_moved_endpoint_stalls_the_job_silently() -> None:
    lab = running()
    lab.switch_over()
    lab.insert(7)
    view = lab.engine.job(JOB)
    assert (view.state, view.failure) == ("RUNNING", "")
    assert view.seconds_since_checkpoint == 0
    ids = lab.spec.server_ids
    for server in (lab.blue, lab.green):
        assert lab.source.view(server.address, readers=ids).readers == 0
    assert lab.target.lost(lab.green, lab.spec) == [("shop.orders", (7,))]


def test_a_job_may_fail_or_reconnect_instead_of_stalling() -> None:
    lab = running()
    lab.engine.on_disconnect = "fail"
    lab.switch_over()
    assert lab.engine.job(JOB).state == "FAILED"
    lab = running()
    lab.engine.on_disconnect = "reconnect"
    lab.engine.disconnect(JOB)
    lab.insert(7)
    lab.engine.pump()
    assert lab.target.lost(lab.blue, lab.spec) == []


def test_drain_then_coordinates_loses_nothing() -> None:
    lab = running()
    path = latest(lab, JOB)
    lab.engine.batch = 0
    lab.insert(7, 8)  # committed on blue just before the switch, never read
    coordinates = lab.switch_over()
    lab.engine.batch = None
    lab.insert(9)
    lab.engine.cancel(JOB, budget_seconds=1)
    relaunch(lab, SECOND, lab.blue.address, restore_path=path)
    drained = lab.engine.stop(SECOND, purpose="drain", budget_seconds=1)
    assert Coordinates(drained.splits[0].file, drained.splits[0].pos) == lab.blue.end
    relaunch(lab, THIRD, lab.source.endpoint, coordinates=coordinates)
    assert lab.target.lost(lab.green, lab.spec) == []
    assert lab.target.repeated == 0


def test_coordinates_without_a_drain_lose_the_last_rows_of_blue() -> None:
    lab = running()
    lab.engine.batch = 0
    lab.insert(7, 8)
    coordinates = lab.switch_over()
    lab.engine.batch = None
    lab.engine.cancel(JOB, budget_seconds=1)
    relaunch(lab, SECOND, lab.source.endpoint, coordinates=coordinates)
    assert lab.target.lost(lab.green, lab.spec) == [("shop.orders", (7,)), ("shop.orders", (8,))]


def test_a_position_of_blue_means_something_else_on_green() -> None:
    lab = running()
    path = latest(lab, JOB)
    lab.switch_over()
    lab.insert(*range(7, 30))
    relaunch(lab, SECOND, lab.source.endpoint, restore_path=path)
    assert lab.engine.job(SECOND).state == "RUNNING"
    assert lab.target.repeated > 0  # green's positions are larger, so old rows come again


def test_a_position_past_the_end_and_a_purged_file_fail_the_job() -> None:
    lab = running()
    relaunch(lab, SECOND, lab.source.endpoint, coordinates=Coordinates(lab.blue.end.file, 99_999))
    assert "impossible position" in lab.engine.job(SECOND).failure
    start = lab.blue.end
    lab.blue.rotate()
    lab.blue.purge_before(lab.blue.end.file)
    relaunch(lab, THIRD, lab.source.endpoint, coordinates=start)
    view = lab.engine.job(THIRD)
    assert (view.state, view.failure_class) == ("FAILED", "needs-new-position")
    assert "no longer available" in view.failure


def test_gtid_goes_on_on_green_from_the_checkpoint() -> None:
    lab = running(gtid=True)
    path = latest(lab, JOB)
    lab.engine.batch = 0
    lab.insert(7)
    lab.switch_over()
    lab.engine.batch = None
    lab.insert(8)
    lab.engine.cancel(JOB, budget_seconds=1)
    relaunch(lab, SECOND, lab.source.endpoint, restore_path=path)
    assert lab.target.lost(lab.green, lab.spec) == []
    assert lab.target.repeated == 0
    state = lab.engine.latest_state(SECOND)
    assert state is not None
    assert lab.green.gtid_executed is not None
    assert state.splits[0].gtids == lab.green.gtid_executed.format()


def test_gtid_restore_inside_a_transaction_skips_what_was_read() -> None:
    lab = running(gtid=True)
    lab.insert(7)
    path = latest(lab, JOB)
    assert lab.engine.read_state(path).splits[0].skip_events == 1
    lab.engine.cancel(JOB, budget_seconds=1)
    lab.switch_over()
    lab.insert(8)
    relaunch(lab, SECOND, lab.source.endpoint, restore_path=path)
    assert lab.target.lost(lab.green, lab.spec) == []
    assert lab.target.repeated == 0


def test_purged_gtids_fail_the_job() -> None:
    lab = running(gtid=True)
    path = latest(lab, JOB)
    lab.engine.cancel(JOB, budget_seconds=1)
    lab.insert(7)
    lab.blue.rotate()
    lab.blue.purge_before(lab.blue.end.file)
    assert lab.blue.gtid_purged == lab.blue.gtid_executed
    relaunch(lab, SECOND, lab.source.endpoint, restore_path=path)
    assert "purged" in lab.engine.job(SECOND).failure


def test_the_transplant_keeps_the_counts_that_a_start_at_coordinates_drops() -> None:
    lab = running(stateful=True)
    coordinates = lab.switch_over()
    lab.engine.cancel(JOB, budget_seconds=1)
    relaunch(lab, SECOND, lab.blue.address, restore_path=latest(lab, JOB))
    drained = lab.engine.stop(SECOND, purpose="drain", budget_seconds=1)
    copy = lab.engine.transplant(
        drained.path, name="green", coordinates=coordinates, drained=[lab.blue.end]
    )
    assert lab.engine.read_state(drained.path) == drained
    assert Coordinates(copy.splits[0].file, copy.splits[0].pos) == coordinates
    lab.insert(7)
    relaunch(lab, THIRD, lab.source.endpoint, restore_path=copy.path)
    assert lab.target.tables["order_stats"][("all",)] == {"rows": 7}
    relaunch(lab, "d" * 32, lab.source.endpoint, coordinates=coordinates)
    assert lab.target.tables["order_stats"][("all",)] == {"rows": 1}


def test_the_transplant_refuses_another_position_and_an_open_snapshot() -> None:
    lab = running()
    stopped = lab.engine.stop(JOB, purpose="test", budget_seconds=1)
    with pytest.raises(TransplantRefused, match="not a drained position"):
        lab.engine.transplant(
            stopped.path, name="x", coordinates=lab.green.end, drained=[lab.green.end]
        )
    lab = BlueGreen()
    lab.engine.snapshot_pumps = 5
    lab.launch(JOB)
    path = latest(lab, JOB)
    assert lab.engine.read_state(path).snapshot_running
    with pytest.raises(TransplantRefused, match="snapshot"):
        lab.engine.transplant(path, name="x", coordinates=lab.green.end, drained=[])


def test_stop_is_the_same_savepoint_again_and_needs_a_running_job() -> None:
    lab = running()
    first = lab.engine.stop(JOB, purpose="upgrade", budget_seconds=1)
    assert lab.engine.stop(JOB, purpose="upgrade", budget_seconds=1) == first
    lab.engine.forget()
    assert lab.engine.stop(JOB, purpose="upgrade", budget_seconds=1) == first
    with pytest.raises(SavepointFailed):
        lab.engine.stop(JOB, purpose="another", budget_seconds=1)
    with pytest.raises(SavepointFailed):
        lab.engine.checkpoint(JOB, budget_seconds=1)


def test_a_killed_job_manager_forgets_jobs_but_not_states() -> None:
    lab = running()
    path = latest(lab, JOB)
    lab.engine.forget()
    view = lab.engine.job(JOB)
    assert (view.state, view.state_path) == ("GONE", path)
    assert latest(lab, JOB) == path
    assert lab.engine.rows_out(JOB) is None


def test_an_engine_that_does_not_answer_is_unknown_not_gone() -> None:
    lab = running()
    lab.engine.reachable = False
    assert lab.engine.job(JOB).state == "UNKNOWN"
    with pytest.raises(EngineUnreachable):
        lab.engine.cancel(JOB, budget_seconds=1)


def test_an_unknown_state_is_refused() -> None:
    lab = running()
    with pytest.raises(EngineRejected):
        relaunch(lab, SECOND, lab.source.endpoint, restore_path="file:///nowhere")
    with pytest.raises(CheckpointUnreadable):
        lab.engine.read_state("file:///nowhere")


def test_a_fault_before_loses_the_effect_and_a_fault_after_only_the_answer() -> None:
    lab = BlueGreen()
    lab.engine.fail_next("launch", when="before")
    with pytest.raises(Killed):
        lab.launch(JOB)
    assert lab.engine.live == ()
    lab.engine.fail_next("launch", when="after", error=EngineUnreachable("no answer"))
    with pytest.raises(EngineUnreachable):
        lab.launch(JOB)
    assert lab.engine.live == (JOB,)
    assert lab.launch(JOB) == JOB


@pytest.fixture(params=["before", "after"])
def switch(request: pytest.FixtureRequest) -> KillSwitch:
    return KillSwitch(at=2, when=request.param)


def test_the_kill_switch_kills_at_one_call_over_several_ports(switch: KillSwitch) -> None:
    lab = BlueGreen()
    ledger, engine = switch.wrap(lab.ledger), switch.wrap(lab.engine)
    assert ledger.ledger_id == lab.ledger.ledger_id  # a property is no call
    ledger.set_intent("orders", "hold", "test")
    with pytest.raises(Killed, match=f"{switch.when} call 2, FakeEngine.cancel"):
        engine.cancel(JOB, budget_seconds=1)
    engine.cancel(JOB, budget_seconds=1)
    assert switch.calls == ["FakeLedger.set_intent", "FakeEngine.cancel", "FakeEngine.cancel"]


def test_a_read_only_server_refuses_writes_but_replicates() -> None:
    lab = BlueGreen()
    lab.insert(1)
    with pytest.raises(SourceDenied):
        lab.green.write("shop.orders", (2,), {})
    assert lab.green.tables == lab.blue.tables
    assert lab.green.end != lab.blue.end
    assert lab.green.birth(lab.green.end.file) != lab.blue.birth(lab.blue.end.file)


def test_replication_keeps_gtids_and_own_writes_get_own_ones() -> None:
    lab = running(gtid=True)
    lab.switch_over()
    lab.insert(7)
    executed = lab.green.gtid_executed
    assert executed is not None
    assert lab.blue.gtid_executed is not None
    assert executed.contains(lab.blue.gtid_executed)
    extra = executed.subtract(lab.blue.gtid_executed)
    assert extra == GtidSet.parse(f"{lab.green.identity.server_uuid}:1")


def test_the_source_answers_like_a_server() -> None:
    lab = running()
    table = lab.spec.tables[0]
    endpoint = lab.source.endpoint
    view = lab.source.view(endpoint, file=lab.blue.end.file, readers=lab.spec.server_ids)
    assert view.identity == lab.blue.identity
    assert view.birth == lab.blue.birth(lab.blue.end.file)
    assert view.readers == 1
    assert lab.source.view(endpoint, readers=ServerIdRange(1, 2)).readers == 0
    assert lab.source.view(endpoint).readers is None
    assert lab.source.max_key(endpoint, table, ("id",)) == (6,)
    assert lab.source.count(endpoint, table, timeout_seconds=1) == 6
    assert lab.source.count(endpoint, table, timeout_seconds=1, key=("id",), bound=(4,)) == 4
    assert lab.target.count("orders", timeout_seconds=1, key=("id",), bound=(4,)) == 4
    assert lab.source.shapes(endpoint, lab.spec.tables)[0].label == "shop.orders"
    with pytest.raises(ConfigurationError):
        lab.source.shapes(endpoint, spec("shop.other").tables)
    with pytest.raises(ConfigurationError):
        lab.target.shapes(["other"])


def test_an_unreachable_server_is_a_problem_of_its_view_and_an_error_elsewhere() -> None:
    lab = BlueGreen()
    lab.blue.reachable = False
    assert lab.source.view(lab.blue.address).identity is None
    assert "refused" in lab.source.view(lab.blue.address).problem
    with pytest.raises(SourceUnreachable):
        lab.source.identity(lab.source.endpoint)
    lab.launch(JOB)
    assert lab.engine.job(JOB).state == "FAILED"
    lab.target.reachable = False
    with pytest.raises(TargetUnreachable):
        lab.target.count("orders", timeout_seconds=1)


def test_the_feed_says_what_the_switchover_did() -> None:
    lab = BlueGreen()
    coordinates = lab.switch_over(emit=False)
    view = lab.feed.deployment()
    assert view is not None
    assert (view.status, view.old_name, view.coordinates) == (
        "SWITCHOVER_COMPLETED",
        "orders-old1",
        (),
    )
    lab.feed.emit(coordinates)
    lab.feed.emit(coordinates)
    view = lab.feed.deployment()
    assert view is not None
    assert view.coordinates == (coordinates,)
    assert lab.feed.instance("orders-old1") == (lab.blue.address, "db-BLUE")
    assert lab.feed.instance("orders-green-abc123") is None


def test_time_stands_still_until_somebody_sleeps_and_runs_what_is_due_in_order() -> None:
    clock = FrozenClock()
    start = clock.now()
    seen: list[tuple[str, float]] = []
    clock.after(5, lambda: seen.append(("late", clock.monotonic())))
    clock.after(2, lambda: seen.append(("early", clock.monotonic())))
    clock.after(2, lambda: clock.sleep(1))
    clock.sleep(1)
    assert seen == []
    clock.sleep(4)
    assert seen == [("early", 2.0), ("late", 5.0)]
    assert (clock.now() - start).total_seconds() == clock.monotonic() == 5.0


def test_a_server_without_a_uuid_is_a_mariadb() -> None:
    lab = BlueGreen(uuids=False)
    assert lab.blue.identity == identity(101, uuid=None, resource_id="db-BLUE")
    assert isinstance(lab.green, FakeServer)
