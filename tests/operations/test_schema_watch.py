"""Changes of captured tables: told, paused, applied, and read again from before them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.recovery import Hold, Policy, decide
from cdc_assets.errors import ConfigurationError, RecoveryBlocked, TargetError
from cdc_assets.operations.deploy import deploy
from cdc_assets.operations.launch import newest
from cdc_assets.operations.observe import Memory, observe
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.operations.schema_apply import follow_schema
from cdc_assets.operations.schema_record import carrying_on, record_of
from cdc_assets.operations.schema_watch import look_at_schema, watch_schema
from cdc_assets.operations.snapshot import snapshot
from cdc_assets.operations.stop import stop_stream, what_stops
from cdc_assets.reports import schema_report
from cdc_assets.testing.builders import BlueGreen, shape
from cdc_assets.testing.faults import KillSwitch
from tests.operations.world import World

NOTE = Column("note", "int", "int(11)")
APPLY = Policy(on_added_column="apply")


def started(*, stateful: bool = False) -> World:
    world = World(BlueGreen(stateful=stateful))
    world.start()
    return world


def alter(world: World, *columns: Column, without: str = "", key: tuple[str, ...] = ()) -> None:
    """Change the captured table at the source."""
    old = world.lab.source.defined["shop.orders"]
    kept = tuple(column for column in old.columns if column.name != without)
    world.lab.source.define(TableShape("shop", "orders", (*kept, *columns), key or old.primary_key))


def with_policy(world: World, policy: Policy) -> StreamRuntime:
    return replace(world.runtime, policy=policy)


def test_a_launch_keeps_what_the_tables_were() -> None:
    world = started()
    (first, second) = (record_of(world.runtime, number) for number in (1, 2))
    assert first is not None
    assert first.tables == {"shop.orders": (shape("shop.orders"),)}
    assert second == first
    assert look_at_schema(world.runtime).drifts == ()


def test_an_added_column_is_told_with_the_target_s_statement_and_the_stream_goes_on() -> None:
    world = started()
    alter(world, NOTE)
    (drift,) = watch_schema(world.runtime).look.drifts
    assert drift.fix == "ALTER TABLE `warehouse`.`orders` ADD COLUMN `note` int(11) NULL;"
    assert world.runtime.ledger.intent("orders") == ("run", "")
    assert len(world.lab.engine.live) == 1


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"without": "item"}, "item: column dropped"),
        ({"key": ("id", "item")}, "primary key (id), now (id, item)"),
        ({"without": "item", "columns": (Column("item", "int", "int"),)}, "item: text NULL, now"),
    ],
)
def test_what_would_be_written_wrongly_pauses_the_stream(
    changes: dict[str, object], text: str
) -> None:
    world = started()
    columns = changes.pop("columns", ())
    alter(world, *columns, **changes)  # type: ignore[misc, arg-type]
    seen = watch_schema(world.runtime)
    assert seen.act == "paused"
    intent, reason = world.runtime.ledger.intent("orders")
    assert intent == "hold"
    assert text in reason
    assert not world.lab.engine.live
    decision = decide(observe(world.runtime, Memory()).observation, world.runtime.policy)
    assert isinstance(decision, Hold)
    assert text in decision.reason
    assert watch_schema(world.runtime).act == ""  # once


def test_a_table_that_is_gone_pauses_the_stream() -> None:
    world = started()
    del world.lab.source.defined["shop.orders"]
    assert watch_schema(world.runtime).act == "paused"
    assert "the table is gone" in world.runtime.ledger.intent("orders")[1]


def test_a_policy_can_have_it_told_only() -> None:
    world = started()
    alter(world, without="item")
    rt = with_policy(world, Policy(on_other_change="report"))
    assert (watch_schema(rt).act, len(world.lab.engine.live)) == ("", 1)


def test_a_job_that_fails_at_its_stop_is_held_all_the_same() -> None:
    world = started()
    alter(world, without="item")
    world.lab.engine.fail(world.lab.engine.live[0], "Data truncation", "needs-operator")
    assert watch_schema(world.runtime).act == "paused"
    assert world.runtime.ledger.intent("orders")[0] == "hold"


def test_a_person_s_deployment_reads_again_from_before_the_change_and_ends_the_pause() -> None:
    world = started()
    assert watch_schema(world.runtime).act == ""  # keeps a state
    world.write()  # read with the dropped column
    alter(world, without="item")
    world.write()
    watch_schema(world.runtime)
    result = deploy(world.runtime)
    assert "/kept/" in result.restored_from
    assert world.runtime.ledger.intent("orders")[0] == "run"
    assert look_at_schema(world.runtime).drifts == ()
    assert world.lab.target.repeated > 0
    world.check(repeated=None)


def test_a_look_that_finds_a_change_keeps_the_state_of_before() -> None:
    world = started()
    row = newest(world.runtime)
    assert row is not None
    watch_schema(world.runtime)
    first = world.lab.engine.kept(row.job_id)
    world.write()
    watch_schema(world.runtime)
    second = world.lab.engine.kept(row.job_id)
    assert first is not None
    assert second is not None
    assert second.checkpoint_id > first.checkpoint_id  # and the first is gone
    alter(world, NOTE)
    watch_schema(world.runtime)
    assert world.lab.engine.kept(row.job_id) == second


def test_a_first_look_that_finds_a_change_keeps_nothing() -> None:
    world = started()
    row = newest(world.runtime)
    assert row is not None
    alter(world, NOTE)
    watch_schema(world.runtime)
    assert world.lab.engine.kept(row.job_id) is None
    assert deploy(world.runtime).restored_from == row.restored_from  # of before the change


def test_a_copy_whose_look_was_cut_off_is_not_gone_on_from() -> None:
    world = started()
    row = newest(world.runtime)
    assert row is not None
    alter(world, NOTE)
    world.lab.engine.copy_newest(row.job_id)
    assert world.lab.engine.kept(row.job_id) is None


def test_an_added_column_is_applied_and_read_again_from_before_it() -> None:
    world = started()
    rt = with_policy(world, APPLY)
    follow_schema(rt)
    world.write()
    alter(world, NOTE)
    world.write()
    begun: list[str] = []
    seen = follow_schema(rt, begin=lambda: begun.append("begun"))
    assert (seen.act, begun) == ("applied", ["begun"])
    assert seen.ran == ("ALTER TABLE `warehouse`.`orders` ADD COLUMN `note` int(11) NULL;",)
    assert world.lab.target.altered == list(seen.ran)
    assert "note" in world.runtime.ledger.incarnations("orders")[-1].sql
    assert look_at_schema(rt).drifts == ()
    world.check(repeated=None)


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (replace(NOTE, has_default=True), "read again"),
        (replace(NOTE, nullable=False), "read again"),
    ],
)
def test_a_column_that_old_rows_fill_is_left_to_a_person(column: Column, reason: str) -> None:
    world = started()
    alter(world, column)
    seen = follow_schema(with_policy(world, APPLY))
    assert seen.act == ""
    assert reason in seen.detail
    assert world.lab.target.altered == []
    assert len(world.lab.engine.live) == 1


def test_an_addition_beside_another_change_is_not_applied() -> None:
    world = started()
    alter(world, NOTE, without="item")
    rt = with_policy(world, replace(APPLY, on_other_change="report"))
    assert "other changes" in follow_schema(rt).detail


def test_a_refused_addition_is_told_and_the_stream_runs_on() -> None:
    world = started()
    alter(world, NOTE)
    world.lab.target.faults.fail_next("alter", error=TargetError("no ALTER for the account"))
    with pytest.raises(TargetError, match=r"refused 'ALTER TABLE .*no ALTER for the account"):
        follow_schema(with_policy(world, APPLY))
    assert len(world.lab.engine.live) == 1


def test_a_stream_that_keeps_state_is_not_read_again() -> None:
    world = started(stateful=True)
    watch_schema(world.runtime)
    alter(world, without="item")
    with pytest.raises(ConfigurationError, match="cannot be read again into this target"):
        deploy(replace(world.runtime, policy=Policy(on_other_change="report")))
    assert len(world.lab.engine.live) == 1  # nothing was stopped for it


@pytest.mark.parametrize("is_copied", [False, True])
def test_an_added_column_that_no_query_names_is_left_out_of_every_launch(
    *, is_copied: bool
) -> None:
    world = started(stateful=True)
    if not is_copied:
        world.lab.spec = replace(world.lab.spec, source_only=("orders",))
        world.runtime = replace(world.with_ports(KillSwitch(0)), policy=APPLY)
        deploy(world.runtime)  # another definition
    sql = newest(world.runtime)
    assert sql is not None
    alter(world, NOTE)
    seen = follow_schema(world.runtime)
    (drift,) = seen.look.drifts
    assert (seen.act, drift.left_out) == ("", "copy" if is_copied else "query")
    assert schema_report(seen).passed is not is_copied
    assert "goes on without it" in drift.text
    # The next launch is not refused, reads no other columns, and goes on from the newest state.
    assert deploy(world.runtime).adopted
    stop_stream(world.runtime, what_stops(world.runtime))
    done = deploy(world.runtime)
    assert not done.adopted
    row = newest(world.runtime)
    assert row is not None
    assert row.sql == sql.sql
    assert [each.left_out for each in look_at_schema(world.runtime).drifts] == [drift.left_out]
    if is_copied:
        world.check(repeated=None)


def test_a_recovery_leaves_out_what_a_deployment_left_out() -> None:
    world = started(stateful=True)
    alter(world, NOTE)
    stop_stream(world.runtime, what_stops(world.runtime))
    deploy(world.runtime)
    world.write()
    world.lab.engine.pump(2)
    world.switch_over(behind=False)
    world.recover()
    row = newest(world.runtime)
    assert row is not None
    assert row.recovery
    assert "note" not in row.sql
    assert [each.left_out for each in look_at_schema(world.runtime).drifts] == ["copy"]
    assert deploy(world.runtime).adopted
    world.check(repeated=None)


def test_a_query_that_names_the_added_column_wants_a_new_snapshot() -> None:
    world = started(stateful=True)
    alter(world, NOTE)
    named = (QuerySpec("order_stats", "SELECT MAX(`note`) FROM orders"),)
    rt = replace(world.runtime, spec=replace(world.lab.spec, queries=named))
    (drift,) = look_at_schema(rt).drifts
    assert drift.left_out == ""
    with pytest.raises(ConfigurationError, match=r"note: new column") as refused:
        deploy(rt)
    assert "materialize the snapshot with 'again'" in refused.value.hint
    assert len(world.lab.engine.live) == 1
    # Another change of the query does not need the column.
    other = (QuerySpec("order_stats", "SELECT COUNT(*), 'notes' FROM orders"),)
    rt = replace(world.runtime, spec=replace(world.lab.spec, queries=other))
    assert look_at_schema(rt).drifts[0].left_out == "copy"


def test_a_copy_beside_queries_is_not_taken_for_unchanged_while_it_lacks_a_column() -> None:
    world = started(stateful=True)
    alter(world, NOTE)
    world.write()  # read without the column
    stop_stream(world.runtime, what_stops(world.runtime))
    deploy(world.runtime)
    row = newest(world.runtime)
    assert row is not None
    assert "note" not in row.sql


@pytest.mark.parametrize("stateful", [False, True])
def test_what_changes_while_the_stream_is_stopped_is_read_in_its_turn(*, stateful: bool) -> None:
    world = started(stateful=stateful)
    stop_stream(world.runtime, what_stops(world.runtime))
    alter(world, NOTE)
    world.write()
    deploy(world.runtime)
    world.check(repeated=0)


def test_what_changes_between_snapshot_and_stream_is_read_in_its_turn() -> None:
    world = World(BlueGreen())
    world.write()
    snapshot(world.runtime)
    alter(world, NOTE)
    deploy(world.runtime)
    world.check()


def test_a_rename_wants_a_new_snapshot() -> None:
    world = started()
    watch_schema(world.runtime)
    alter(world, Column("title", "text", "text"), without="item")
    watch_schema(world.runtime)
    with pytest.raises(ConfigurationError, match=r"renamed to title.*'again'"):
        deploy(world.runtime)


def test_a_state_whose_binlog_is_purged_is_refused_before_anything_is_stopped() -> None:
    world = started()
    watch_schema(world.runtime)
    alter(world, NOTE)
    world.lab.blue.rotate()
    world.write()
    world.lab.engine.pump(3)
    world.lab.blue.purge_before(world.lab.blue.end.file)
    with pytest.raises(ConfigurationError, match="no state of before"):
        deploy(world.runtime)
    assert len(world.lab.engine.live) == 1


def test_a_recovery_carries_what_the_stream_carried() -> None:
    world = started()
    watch_schema(world.runtime)
    alter(world, NOTE)
    world.lab.engine.fail(world.lab.engine.live[0], "Communications link failure")
    world.recover()
    assert "note" not in world.runtime.ledger.incarnations("orders")[-1].sql
    (drift,) = look_at_schema(world.runtime).drifts
    assert drift.change.kind == "added"
    assert "/kept/" in deploy(world.runtime).restored_from  # of the incarnation before
    world.check(repeated=None)


def test_a_connector_takes_every_column_up_by_itself() -> None:
    """Debezium's records have the columns of their time, so nothing is left out or watched."""
    world = started()
    alter(world, NOTE)
    world.lab.engine.fail(world.lab.engine.live[0], "Communications link failure")
    spec = replace(world.runtime.spec, target_kind="kafka", engine="debezium")
    runtime = replace(world.runtime, spec=spec)
    endpoint = runtime.source.endpoint
    launched, is_left = carrying_on(runtime, endpoint, is_new_place=False)
    assert (launched.spec.exclude_columns, is_left) == ((), False)
    assert "follows changes by itself" in look_at_schema(runtime).problem


def test_after_a_switchover_a_column_that_came_there_is_read_from_its_coordinates() -> None:
    world = started()
    coordinates = world.lab.switch_over()
    alter(world, NOTE)
    world.recover()
    assert "note" not in world.runtime.ledger.incarnations("orders")[-1].sql
    world.write()
    assert deploy(world.runtime).restored_from == str(coordinates)
    assert look_at_schema(world.runtime).drifts == ()
    world.check(repeated=None)


def test_after_a_switchover_a_column_that_the_target_has_is_taken_up() -> None:
    world = started()
    world.lab.switch_over()
    alter(world, NOTE)
    there = shape("warehouse.orders")
    world.lab.target.define(replace(there, columns=(*there.columns, NOTE)))
    world.recover()
    assert "note" in world.runtime.ledger.incarnations("orders")[-1].sql
    assert look_at_schema(world.runtime).drifts == ()
    world.check()


def test_after_a_switchover_the_recovery_waits_until_the_target_follows() -> None:
    world = started()
    world.switch_over(behind=True)
    alter(world, without="item")
    with pytest.raises(RecoveryBlocked, match=r"item: column dropped.*DROP COLUMN `item`"):
        world.recover()
    there = shape("warehouse.orders")
    world.lab.target.define(replace(there, columns=there.columns[:1]))
    world.recover()
    assert look_at_schema(world.runtime).drifts == ()
    world.check()


def test_nothing_is_said_while_another_server_is_behind_the_endpoint() -> None:
    world = started()
    alter(world, without="item")
    world.switch_over(behind=False)
    seen = watch_schema(world.runtime)
    assert (seen.look.drifts, seen.act) == ((), "")
    assert "not proved to be the server" in seen.look.problem


def test_a_stream_that_was_never_launched_has_nothing_to_compare() -> None:
    world = World(BlueGreen())
    assert "not deployed" in watch_schema(world.runtime).look.problem
