"""One table is paused and the others go on; killed at every port call, nothing is lost."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from cdc_assets.core.columns import TableShape
from cdc_assets.core.paused_tables import PausedTable
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.recovery import Hold, Policy, decide
from cdc_assets.core.stream import StreamSpec, TargetKind
from cdc_assets.errors import CdcError, ConfigurationError, RecoveryBlocked, Superseded
from cdc_assets.operations.deploy import deploy
from cdc_assets.operations.launch import newest
from cdc_assets.operations.observe import Memory, observe
from cdc_assets.operations.paused import note_paused, paused_tables
from cdc_assets.operations.reconcile import reconcile
from cdc_assets.operations.recover import recover
from cdc_assets.operations.resume_table import plan_resume, resume_table
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.operations.schema_apply import follow_schema
from cdc_assets.operations.schema_watch import Watched, look_at_schema, watch_schema
from cdc_assets.operations.snapshot import snapshot
from cdc_assets.operations.stop import stop_stream, what_stops
from cdc_assets.ports import Launch, StepRow
from cdc_assets.testing.builders import BlueGreen
from cdc_assets.testing.faults import Killed, KillSwitch
from cdc_assets.testing.target import FakeTarget
from tests.operations.test_recover import Overtaken
from tests.operations.world import (
    ITEMS,
    ORDERS,
    RENAMED,
    TINY,
    USERS,
    WIDE,
    Shop,
    World,
    paused,
    shaped,
    shop,
)


@pytest.mark.parametrize("gtid", [False, True])
def test_one_table_is_paused_and_the_others_go_on(*, gtid: bool) -> None:
    seen = paused(gtid=gtid)
    assert seen.lost() == {ORDERS}
    assert seen.paused() == [ORDERS]
    assert len(seen.lab.engine.live) == 1
    assert seen.runtime.ledger.intent("orders")[0] == "run"
    assert newest(seen.runtime).sql.count("->") == 2  # type: ignore[union-attr]


def test_every_look_says_which_table_is_paused_since_when_where_and_why() -> None:
    seen = paused()
    (pause,) = paused_tables(seen.runtime)
    assert pause.position is not None
    assert "/kept/" in pause.path
    text = f"{ORDERS}: paused since 2026-01-01 00:00"
    assert pause.text.startswith(text[:30])
    assert f"at {pause.position.coordinates} because shop.orders.size: int(11) NULL, now" in (
        pause.text
    )
    decision = decide(observe(seen.runtime, Memory()).observation, seen.runtime.policy)
    assert isinstance(decision, Hold)
    assert decision.healthy
    assert pause.text in decision.reason
    (look,) = look_at_schema(seen.runtime).paused
    assert look.unmet == ("ALTER TABLE `warehouse`.`orders` MODIFY COLUMN `size` bigint(20) NULL;",)
    row = newest(seen.runtime)
    assert row is not None
    found = {each.table: each for each in reconcile(seen.runtime, row)}
    assert found[ORDERS].verdict == "Inconclusive"
    assert found[ORDERS].reason == pause.text
    assert {found[ITEMS].verdict, found[USERS].verdict} == {"InSync"}


@pytest.mark.parametrize(
    ("gtid", "kind"),
    [(False, "mysql"), (True, "mysql"), (False, "iceberg"), (True, "starrocks")],
)
def test_a_resumed_table_is_read_again_from_before_its_change_and_the_others_repeat_nothing(
    *, gtid: bool, kind: TargetKind
) -> None:
    seen = paused(gtid=gtid, kind=kind)
    seen.lab.engine.pump(3)
    before = {uid: count for uid, count in seen.lab.target.deliveries.items() if count > 1}
    seen.follow()
    assert "read again from" in plan_resume(seen.runtime, "orders").text
    resume_table(seen.runtime, "orders", worker="w")
    assert seen.paused() == []
    assert seen.runtime.ledger.intent("orders")[0] == "run"
    assert look_at_schema(seen.runtime).paused == ()
    seen.check(repeated=None)
    repeated = {uid for uid, count in seen.lab.target.deliveries.items() if count > 1}
    tables = {
        change.table
        for transaction in seen.lab.blue.transactions
        for change in transaction.changes
        if change.uid in repeated - before.keys()
    }
    assert tables == {ORDERS}
    kinds = [row.kind for row in seen.runtime.ledger.incarnations("orders")]
    assert kinds == ["snapshot", "stream", "stream", "catch-up", "stream"]


def test_a_rename_is_resumed_with_a_new_snapshot_of_the_table_alone() -> None:
    seen = paused(column=RENAMED)
    with pytest.raises(ConfigurationError, match=r"does not follow yet.*CHANGE COLUMN `size`"):
        resume_table(seen.runtime, "orders", worker="w")
    seen.follow(RENAMED)
    with pytest.raises(ConfigurationError, match=r"renamed to length.*--again"):
        resume_table(seen.runtime, ORDERS, worker="w")
    with pytest.raises(ConfigurationError, match="Empty it"):
        resume_table(seen.runtime, "orders", worker="w", again=True)
    assert len(seen.lab.engine.live) == 1
    seen.lab.target.tables["orders"].clear()
    resume_table(seen.runtime, "orders", worker="w", again=True)
    seen.check(repeated=None)


def end_of(seen: Shop) -> None:
    """Let a person finish what a killed process left, and compare everything."""
    seen.write()
    follow_schema(seen.runtime)
    follow_schema(seen.runtime)
    seen.follow()
    if seen.paused():
        resume_table(seen.runtime, "orders", worker="after")
    else:
        deploy(seen.runtime)
    assert seen.paused() == []
    assert seen.runtime.ledger.intent("orders")[0] == "run"
    seen.check(repeated=None)


def calls_of(make: Callable[[], Shop], act: Callable[[StreamRuntime], object]) -> int:
    seen, switch = make(), KillSwitch(0)
    act(seen.with_ports(switch))
    return len(switch.calls)


def changed() -> Shop:
    seen = shop()
    seen.change()
    seen.write()
    return seen


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_call_of_a_pause_nothing_is_lost(when: str) -> None:
    total = calls_of(changed, follow_schema)
    assert total > 30
    for at in range(1, total + 1):
        seen = changed()
        switch = KillSwitch(at, when=when)  # type: ignore[arg-type] - from the parameters
        with pytest.raises(Killed):
            follow_schema(seen.with_ports(switch))
        end_of(seen)


def followed() -> Shop:
    seen = paused()
    seen.follow()
    return seen


def resume(rt: StreamRuntime) -> object:
    return resume_table(rt, "orders", worker="killed")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("by", ["resume", "deploy"])
def test_killed_at_any_call_of_a_resumption_nothing_is_lost(when: str, by: str) -> None:
    """The next call goes on, or a deployment lets the others go on without the table."""
    total = calls_of(followed, resume)
    assert total > 60
    for at in range(1, total + 1):
        seen = followed()
        switch = KillSwitch(at, when=when)  # type: ignore[arg-type] - from the parameters
        with pytest.raises(Killed):
            resume(seen.with_ports(switch))
        seen.write()
        if by == "deploy":
            deploy(seen.runtime)
            assert seen.lost() <= {*seen.paused()}
        end_of(seen)


def test_the_others_go_on_when_the_table_s_own_job_fails() -> None:
    seen = followed()
    engine = seen.lab.engine
    original = engine.wait_running

    def strike(job_id: str, *, budget_seconds: float) -> object:
        if engine.jobs[job_id].launch.only:
            engine.fail(job_id, "Data truncation")
        return original(job_id, budget_seconds=budget_seconds)

    engine.wait_running = strike  # type: ignore[assignment] - one fake call replaced
    with pytest.raises(RecoveryBlocked, match="Data truncation"):
        resume_table(seen.runtime, "orders", worker="w")
    seen.write()
    assert seen.lost() == {ORDERS}
    assert seen.runtime.ledger.intent("orders")[0] == "run"
    engine.wait_running = original  # type: ignore[method-assign]
    resume_table(seen.runtime, "orders", worker="w")
    seen.check(repeated=None)


def test_a_recovery_on_the_same_server_leaves_the_table_paused() -> None:
    seen = paused()
    seen.lab.engine.fail(seen.lab.engine.live[0], "Communications link failure")
    recover(seen.runtime, worker="w")
    assert seen.lost() == {ORDERS}
    seen.follow()
    resume_table(seen.runtime, "orders", worker="w")
    seen.check(repeated=None)


@pytest.mark.parametrize("gtid", [False, True])
def test_after_a_switchover_the_table_stays_paused_and_wants_a_new_snapshot_of_it(
    *, gtid: bool
) -> None:
    seen = paused(gtid=gtid)
    seen.switch_over(behind=True)
    recover(seen.runtime, worker="w")
    assert seen.lost() == {ORDERS}
    assert seen.paused() == [ORDERS]
    seen.follow()
    with pytest.raises(ConfigurationError, match=r"cannot be read again .*--again"):
        resume_table(seen.runtime, "orders", worker="w")
    seen.lab.target.tables["orders"].clear()
    resume_table(seen.runtime, "orders", worker="w", again=True)
    seen.check(repeated=None)


def test_a_purged_binlog_wants_a_new_snapshot_of_the_table() -> None:
    seen = followed()
    seen.lab.blue.rotate()
    seen.write()
    seen.lab.engine.pump(3)
    seen.lab.blue.purge_before(seen.lab.blue.end.file)
    with pytest.raises(ConfigurationError, match=r"does not hold .*--again"):
        resume_table(seen.runtime, "orders", worker="w")
    assert len(seen.lab.engine.live) == 1


def test_a_second_table_is_paused_beside_the_first_and_each_is_resumed_by_itself() -> None:
    seen = paused()
    follow_schema(seen.runtime)
    seen.write()
    seen.change(WIDE, USERS)
    seen.write()
    assert follow_schema(seen.runtime).act == "table paused"
    seen.write()
    assert seen.lost() == {ORDERS, USERS}
    seen.follow()
    resume_table(seen.runtime, "orders", worker="w")
    seen.write()
    assert seen.lost() == {USERS}
    seen.follow(WIDE, USERS)
    resume_table(seen.runtime, USERS, worker="w")
    seen.check(repeated=None)


def test_a_failed_job_goes_on_without_the_table_that_broke_it() -> None:
    seen = changed()
    seen.lab.engine.fail(seen.lab.engine.live[0], "Data truncation", "needs-operator")
    assert follow_schema(seen.runtime).act == "table paused"
    seen.write()
    assert seen.lost() == {ORDERS}


def test_rows_that_only_a_dead_job_s_state_can_commit_are_not_left_behind() -> None:
    """A lake's writer commits a checkpoint after it is complete, and the job died before."""
    seen = shop(kind="iceberg")
    seen.change()
    seen.write()
    seen.lab.engine.fail(seen.lab.engine.live[0], "Data truncation", "needs-operator")
    assert "may be uncommitted" in stays_whole(seen, seen.runtime).detail
    seen.follow()
    deploy(seen.runtime)
    seen.check(repeated=None)


def test_a_resumption_whose_job_died_goes_on_with_its_state() -> None:
    seen = paused(kind="iceberg")
    seen.follow()
    original = seen.lab.engine.stop

    def strike(job_id: str, *, purpose: str, budget_seconds: float) -> object:
        seen.lab.engine.stop = original  # type: ignore[method-assign]
        seen.lab.engine.fail(job_id, "Data truncation", "needs-operator")
        return original(job_id, purpose=purpose, budget_seconds=budget_seconds)

    seen.lab.engine.stop = strike  # type: ignore[assignment] - one fake call replaced
    with pytest.raises(ConfigurationError, match="may be uncommitted"):
        resume_table(seen.runtime, "orders", worker="w")
    seen.write()
    assert seen.lost() == {ORDERS}
    resume_table(seen.runtime, "orders", worker="w")
    seen.check(repeated=None)


def test_a_savepoint_that_flink_forgot_the_job_of_is_known_by_the_ledger() -> None:
    seen = shop(kind="iceberg")
    seen.change()
    seen.write()
    begun = False

    def die() -> None:
        nonlocal begun
        begun = True
        job_id = newest(seen.runtime).job_id  # type: ignore[union-attr]
        del seen.lab.engine.jobs[job_id]

    follow_schema(seen.runtime, begin=die)
    assert begun
    seen.write()
    assert seen.lost() == {ORDERS}


class MakingTarget(FakeTarget):
    """A target that makes tables, if it may."""

    makes = True

    def make_missing(self, spec: StreamSpec, shapes: Sequence[TableShape]) -> Sequence[str]:
        """Define the tables that are missing as their sources are."""
        found = {shape.label: shape for shape in shapes}
        missing = [table for table in spec.copied if table.target_name not in self.defined]
        for table in missing if self.makes else ():
            self.define(replace(found[table.label], database="warehouse"))
        return [table.target_name for table in missing] if self.makes else []


def test_a_table_that_is_copied_anew_may_be_dropped_and_is_made_again() -> None:
    seen = paused(column=RENAMED)
    target = MakingTarget()
    target.tables, target.defined = seen.lab.target.tables, seen.lab.target.defined
    seen.lab.target = seen.lab.engine.target = target
    rt = replace(seen.runtime, target=target)
    del target.defined["orders"]
    target.tables["orders"].clear()
    target.makes = False
    original = seen.lab.engine.rendered

    def strict(launch: Launch) -> str:
        target.shapes(launch.spec.target_names)
        return original(launch)

    seen.lab.engine.rendered = strict  # type: ignore[method-assign] - as the real one does
    with pytest.raises(ConfigurationError, match="no such target table"):
        resume_table(rt, "orders", worker="w", again=True)
    assert len(seen.lab.engine.live) == 1
    target.makes = True
    assert "into a table that is made" in plan_resume(rt, "orders", again=True).text
    assert "orders" not in target.defined
    resume_table(rt, "orders", worker="w", again=True)
    seen.check(repeated=None)


def test_a_pause_that_others_come_before_each_time_is_given_up() -> None:
    seen = shop()
    taken = 0

    def refuse(_: StepRow) -> bool:
        nonlocal taken
        taken += 1
        return False

    seen.lab.ledger.append_step = refuse  # type: ignore[method-assign] - one fake call replaced
    with pytest.raises(Superseded, match="others recorded 20 steps"):
        note_paused(seen.runtime, [PausedTable(ORDERS, "", 2, "why")])
    assert taken == 20


def test_a_stream_that_a_person_stopped_is_not_started_by_a_pause() -> None:
    seen = shop()
    stop_stream(seen.runtime, what_stops(seen.runtime))
    seen.change()
    assert follow_schema(seen.runtime).act == "paused"
    assert follow_schema(seen.runtime).act == ""
    assert not seen.lab.engine.live


def stays_whole(seen: World, rt: StreamRuntime) -> Watched:
    found = follow_schema(rt)
    assert found.act == "paused"
    assert not seen.lab.engine.live
    assert rt.ledger.intent("orders")[0] == "hold"
    return found


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"queries": (QuerySpec("q", "SELECT 1"),)}, "its queries keep state"),
        ({"is_scripted": True}, "not made from its tables"),
    ],
)
def test_a_stream_that_cannot_go_on_without_a_table_is_paused_whole(
    changes: dict[str, object], text: str
) -> None:
    seen = changed()
    rt = replace(seen.runtime, spec=replace(seen.lab.spec, **changes))  # type: ignore[arg-type]
    assert text in stays_whole(seen, rt).detail


def test_a_stream_of_one_table_is_paused_whole() -> None:
    seen = World(BlueGreen())
    seen.start()
    seen.lab.source.define(shaped(ORDERS))
    assert "no other table" in stays_whole(seen, seen.runtime).detail


def test_a_change_of_another_table_pauses_the_whole_stream() -> None:
    """Nobody knows whether it came before or after the place that the others start at."""
    seen = changed()
    seen.lab.source.define(shaped(USERS, TINY, RENAMED))
    assert "shop.users.length: new column" in stays_whole(seen, seen.runtime).detail


def test_the_policy_can_keep_the_pause_whole() -> None:
    seen = changed()
    stays_whole(seen, replace(seen.runtime, policy=Policy(on_other_change="pause")))


def test_a_snapshot_ends_a_pause_and_one_that_fails_lets_no_old_state_in() -> None:
    seen = paused()
    stop_stream(seen.runtime, what_stops(seen.runtime))
    seen.follow()
    with pytest.raises(Killed):
        snapshot(seen.with_ports(KillSwitch(14)), again=True)
    assert seen.paused() == []
    for job_id in seen.lab.engine.live:
        seen.lab.engine.fail(job_id, "boom")
    seen.lab.engine.states = {
        path: state
        for path, state in seen.lab.engine.states.items()
        if state.job_id != newest(seen.runtime).job_id  # type: ignore[union-attr]
    }
    with pytest.raises(ConfigurationError, match="was paused, and its rows since"):
        deploy(seen.runtime)
    snapshot(seen.runtime, again=True)
    deploy(seen.runtime)
    seen.check(repeated=None)


def test_what_is_not_paused_is_not_resumed() -> None:
    with pytest.raises(ConfigurationError, match="not a paused table"):
        plan_resume(shop().runtime, "orders")


def test_a_held_stream_is_not_touched() -> None:
    seen = followed()
    seen.runtime.ledger.set_intent("orders", "hold", "maintenance")
    with pytest.raises(ConfigurationError, match="maintenance"):
        resume_table(seen.runtime, "orders", worker="w")


def test_a_change_between_the_look_and_the_stop_lets_the_others_go_on_without() -> None:
    seen = followed()
    engine = seen.lab.engine
    original = engine.stop

    def strike(job_id: str, *, purpose: str, budget_seconds: float) -> object:
        seen.change(RENAMED)
        return original(job_id, purpose=purpose, budget_seconds=budget_seconds)

    engine.stop = strike  # type: ignore[assignment] - one fake call replaced
    with pytest.raises(ConfigurationError, match=r"shop\.orders changed"):
        resume_table(seen.runtime, "orders", worker="w")
    engine.stop = original  # type: ignore[method-assign]
    assert seen.paused() == [ORDERS]
    seen.write()
    assert seen.lost() == {ORDERS}


def test_a_launcher_that_comes_first_leaves_the_table_paused() -> None:
    """Between the catch-up and the launch somebody else launched: the fence stops this one."""
    seen = followed()
    original = seen.lab.ledger.open_incarnation

    def strike(row: object) -> object:
        seen.lab.ledger.open_incarnation = original  # type: ignore[method-assign]
        if getattr(row, "kind", "") == "catch-up":
            return original(row)  # type: ignore[arg-type]
        deploy(seen.runtime)
        return original(row)  # type: ignore[arg-type]

    def first(row: object) -> object:
        found = original(row)  # type: ignore[arg-type]
        seen.lab.ledger.open_incarnation = strike  # type: ignore[method-assign, assignment]
        return found

    seen.lab.ledger.open_incarnation = first  # type: ignore[method-assign, assignment]
    with pytest.raises(CdcError, match="already open"):
        resume_table(seen.runtime, "orders", worker="w")
    assert seen.paused() == [ORDERS]
    seen.write()
    assert seen.lost() == {ORDERS}
    assert len(seen.lab.engine.live) == 1


def test_a_look_that_finds_nothing_new_does_nothing() -> None:
    seen = paused()
    rows = seen.runtime.ledger.incarnations("orders")
    found = follow_schema(seen.runtime)
    assert (found.act, [each.pause.table for each in found.look.paused]) == ("", [ORDERS])
    assert watch_schema(seen.runtime).act == ""
    assert seen.runtime.ledger.incarnations("orders") == rows


def test_a_stream_that_is_far_behind_is_paused_whole() -> None:
    """It began before the end of that time, maybe in a state that holds other columns."""
    seen = shop()
    stop_stream(seen.runtime, what_stops(seen.runtime))
    seen.write()
    seen.lab.engine.batch = 0
    deploy(seen.runtime)
    seen.change()
    assert "it did not reach" in stays_whole(seen, seen.runtime).detail


def test_a_change_of_another_table_while_the_stream_starts_shows_at_the_next_look() -> None:
    seen = changed()
    engine = seen.lab.engine
    original = engine.launch

    def strike(launch: Launch) -> str:
        seen.change(WIDE, USERS)
        return original(launch)

    engine.launch = strike  # type: ignore[method-assign] - one fake call replaced
    assert follow_schema(seen.runtime).act == "table paused"
    engine.launch = original  # type: ignore[method-assign]
    assert [each.change.table.label for each in look_at_schema(seen.runtime).harmful] == [USERS]


@pytest.mark.parametrize("by", ["resume", "deploy", "look"])
def test_a_resumption_that_is_overtaken_at_any_call_loses_nothing(by: str) -> None:
    """Another worker, a person's deployment or a look comes in between at every call."""
    for at in range(1, calls_of(followed, resume) + 1):
        seen = followed()
        others: dict[str, Callable[[], object]] = {
            "resume": lambda seen=seen: resume_table(seen.runtime, "orders", worker="other"),
            "deploy": lambda seen=seen: deploy(seen.runtime),
            "look": lambda seen=seen: follow_schema(seen.runtime),
        }

        def other(act: Callable[[], object] = others[by]) -> None:
            with contextlib.suppress(CdcError):
                act()

        with contextlib.suppress(CdcError):
            resume(seen.with_ports(Overtaken(at, other)))
        assert len(seen.lab.engine.live) <= 1, at
        end_of(seen)


def test_two_looks_at_once_pause_a_table_once() -> None:
    for at in range(1, calls_of(changed, follow_schema) + 1):
        seen = changed()

        def other(seen: Shop = seen) -> None:
            follow_schema(seen.runtime)

        with contextlib.suppress(CdcError):
            follow_schema(seen.with_ports(Overtaken(at, other)))
        assert seen.paused() == [ORDERS]
        assert len(seen.lab.engine.live) == 1
        end_of(seen)


def test_without_a_look_since_the_launch_there_is_no_state_of_before() -> None:
    seen = followed()
    resume_table(seen.runtime, "orders", worker="w")
    seen.write()
    seen.lab.engine.pump(3)
    seen.change(WIDE, USERS)
    assert follow_schema(seen.runtime).act == "table paused"
    seen.follow(WIDE, USERS)
    with pytest.raises(ConfigurationError, match=r"no state of before the change is left.*--again"):
        resume_table(seen.runtime, "users", worker="w")
    seen.lab.target.tables["users"].clear()
    resume_table(seen.runtime, "users", worker="w", again=True)
    seen.check(repeated=None)


def test_a_change_of_another_table_comes_first() -> None:
    seen = followed()
    seen.lab.source.define(shaped(ITEMS, TINY, RENAMED))
    with pytest.raises(ConfigurationError, match=r"other tables changed, too: shop\.items\.length"):
        resume_table(seen.runtime, "orders", worker="w")
    assert len(seen.lab.engine.live) == 1


def test_a_stream_that_is_behind_is_not_stopped_for_a_table() -> None:
    seen = followed()
    seen.lab.engine.batch = 0
    seen.write()
    with pytest.raises(ConfigurationError, match="does not stand at"):
        resume_table(seen.runtime, "orders", worker="w")
    assert seen.runtime.ledger.intent("orders")[0] == "run"
    assert len(seen.lab.engine.live) == 1
    seen.lab.engine.batch = None
    resume_table(seen.runtime, "orders", worker="w")
    seen.check(repeated=None)


def test_a_server_that_does_not_answer_leaves_everything_as_it_is() -> None:
    seen = followed()
    seen.lab.blue.reachable = False
    with pytest.raises(ConfigurationError, match="connection refused"):
        resume_table(seen.runtime, "orders", worker="w")
    seen.lab.blue.reachable = True
    assert seen.paused() == [ORDERS]


def test_a_table_that_is_gone_is_paused_and_the_others_go_on() -> None:
    seen = shop()
    del seen.lab.source.defined[ORDERS]
    assert follow_schema(seen.runtime).act == "table paused"
    (pause,) = paused_tables(seen.runtime)
    assert "the table is gone" in pause.text
    seen.write()
    assert seen.lost() == {ORDERS}
    with pytest.raises(ConfigurationError, match="no row written before can be read again"):
        plan_resume(seen.runtime, "orders")
