"""Row counts of joins over topics: said where both sides are proved, and never a false alarm."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cdc_assets.core.columns import TableShape
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.topic_stream import TopicStreamSpec, TopicTable
from cdc_assets.errors import CheckpointUnreadable
from cdc_assets.operations.reconcile_topics import reconcile_result
from cdc_assets.operations.topics import TopicRuntime, deploy_topics
from cdc_assets.ports import ReconciliationRow
from tests.operations.test_topics import World

ORDER = TopicTable("order", "dw.order", (("id", "BIGINT"), ("user_id", "BIGINT")), ("id",))
USER = TopicTable("user", "dw.user", (("id", "BIGINT"), ("name", "STRING")), ("id",))
QUERY = QuerySpec("bought", "SELECT 1 FROM `order` LEFT JOIN `user` ON TRUE")
SPEC = TopicStreamSpec("joins", (ORDER, USER), (QUERY,), rows_of={"bought": "order"})


@pytest.fixture
def world() -> World:
    """Return a join that runs, with three orders of which one is deleted, and their results."""
    made = World(spec=SPEC)
    made.broker.put("dw.order", 1, 2, 3)
    made.broker.put("dw.order", 2, alive=False)
    made.broker.put("dw.user", 1)
    made.lab.target.define(TableShape("dw", "bought", (), ("order_id",)))
    for key in (1, 3):
        made.lab.target.load("bought", (key,), {"order_id": key})
    deploy_topics(made.rt)
    return made


def verdict(world: World, rt: TopicRuntime | None = None) -> ReconciliationRow:
    rt = rt or world.rt
    table = world.spec.counted_by("bought")
    assert table is not None
    return reconcile_result(rt, rt.ledger.incarnations("joins")[-1], "bought", table)


def test_as_many_results_as_live_keys_are_in_sync(world: World) -> None:
    found = verdict(world)
    assert (found.verdict, found.source_count, found.target_count) == ("InSync", 2, 2)
    assert (found.table, found.target_table) == ("dw.order", "bought")
    assert "up to key (3,)" in found.reason
    assert world.rt.ledger.reconciliations("joins")[0].verdict == "InSync"


@pytest.mark.parametrize("more", [(), (1, 2, 3)])
def test_a_missing_or_surplus_result_is_drift_when_all_topics_stand_still(
    world: World, more: tuple[int, ...]
) -> None:
    world.lab.target.tables["bought"] = {(key,): {"order_id": key} for key in more}
    found = verdict(world)
    assert (found.verdict, found.source_count, found.target_count) == ("Drifted", 2, len(more))


def test_orders_that_come_meanwhile_do_not_disturb(world: World) -> None:
    def write() -> None:
        world.broker.put("dw.order", len(world.broker.topics["dw.order"]) + 10)
        world.lab.clock.after(0.1, write)

    world.lab.clock.after(0.1, write)
    assert verdict(world).verdict == "InSync"


def test_a_job_that_has_not_read_the_topic_proves_nothing(world: World) -> None:
    world.broker.behind = 1
    found = verdict(world)
    assert found.verdict == "Inconclusive"
    assert "did not pass" in found.reason
    world.lab.target.tables["bought"].clear()
    assert verdict(world).verdict == "Inconclusive"


def test_a_row_that_is_away_while_its_user_changes_is_no_drift(world: World) -> None:
    """The counts are the same each time: only the other topic says that something moves."""
    world.lab.target.tables["bought"].pop((1,))

    def rename() -> None:
        world.broker.put("dw.user", 1)
        world.lab.clock.after(0.4, rename)

    world.lab.clock.after(0.4, rename)
    found = verdict(world)
    assert (found.verdict, found.source_count, found.target_count) == ("Inconclusive", 2, 1)
    assert "moving" in found.reason


def test_a_checkpoint_that_is_gone_is_followed_by_another(world: World) -> None:
    left = [2, 0]

    def offsets(path: str, name: str) -> dict[int, int]:
        if left[0]:
            left[0] -= 1
            raise CheckpointUnreadable("cannot be opened: No such file", path=path)
        return dict(world.broker.offsets(path, name))

    assert verdict(world, replace(world.rt, offsets=offsets)).verdict == "InSync"
    left[0] = 1000
    found = verdict(world, replace(world.rt, offsets=offsets))
    assert found.verdict == "Inconclusive"
    assert "No such file" in found.reason


def test_a_job_that_ended_is_not_waited_for(world: World) -> None:
    world.lab.target.tables["bought"].clear()
    world.engine.fail(world.rt.ledger.incarnations("joins")[-1].job_id, "task manager lost")
    before = world.lab.clock.monotonic()
    found = verdict(world)
    assert found.verdict == "Inconclusive"
    assert "reads no more" in found.reason
    assert world.lab.clock.monotonic() - before < 5


def test_a_target_that_does_not_answer_is_inconclusive(world: World) -> None:
    world.lab.target.fail_next("count", error=CheckpointUnreadable("refused", path="x"))
    found = verdict(world)
    assert (found.verdict, found.target_count) == ("Inconclusive", None)
    assert "refused" in found.reason


def test_a_key_of_texts_bounds_nothing(world: World) -> None:
    named = replace(ORDER, columns=(("id", "STRING"), ("user_id", "BIGINT")))
    world.spec = replace(SPEC, tables=(named, USER))
    world.broker.put("dw.order", 4)  # the fake engine's own row of a query, which no bound holds
    found = verdict(world)
    assert found.verdict == "InSync"
    assert "in the whole topic" in found.reason
