"""Snapshot and deployment over the in-memory lab: adopted, refused, failed, changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.preflight import Fault
from cdc_assets.core.results import Results
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import ConfigurationError, EngineUnreachable, RecoveryBlocked
from cdc_assets.operations.deploy import deploy
from cdc_assets.operations.launch import newest
from cdc_assets.operations.snapshot import Progress, snapshot
from cdc_assets.ports import Server
from cdc_assets.testing.builders import BlueGreen, shape
from cdc_assets.testing.engine import FakeEngine
from cdc_assets.testing.target import FakeTarget
from tests.operations.world import World


def fresh() -> World:
    """Return a lab with rows and no stream yet."""
    made = World(BlueGreen())
    made.write()
    return made


def test_a_snapshot_reports_its_progress_and_leaves_a_savepoint() -> None:
    """The savepoint holds a position, the verdict is in sync, and the job has ended."""
    seen = fresh()
    seen.lab.engine.snapshot_pumps = 3
    told: list[Progress] = []
    result = snapshot(seen.runtime, report=told.append)
    assert (told[0].splits_done, told[-1].splits_done) == (0, 1)
    assert [found.verdict for found in result.reconciliations] == ["InSync"]
    assert len(result.positions) == 1
    assert not seen.lab.engine.live


def test_rows_written_during_the_snapshot_arrive_once() -> None:
    """Nothing lies between the snapshot and the stream."""
    seen = fresh()
    seen.lab.engine.snapshot_pumps = 3
    seen.lab.clock.after(0.7, seen.write)
    snapshot(seen.runtime)
    seen.write()
    deploy(seen.runtime)
    seen.check()


def test_a_second_snapshot_needs_to_be_asked_for() -> None:
    """It gives up state and position, so it is refused unless `again` says so."""
    seen = World(BlueGreen())
    seen.start()
    with pytest.raises(ConfigurationError, match="was launched before"):
        snapshot(seen.runtime)
    with pytest.raises(ConfigurationError, match="two copies never run"):
        snapshot(seen.runtime, again=True)
    assert len(seen.lab.engine.live) == 1


def test_a_snapshot_job_that_fails_says_why() -> None:
    """The job's own cause is in the message; nothing is left running."""
    seen = fresh()
    seen.lab.engine.snapshot_pumps = 50

    def fail() -> None:
        seen.lab.engine.fail(seen.lab.engine.live[0], "Access denied for user")

    seen.lab.clock.after(1.0, fail)
    with pytest.raises(RecoveryBlocked, match="Access denied"):
        snapshot(seen.runtime)
    assert not seen.lab.engine.live


def test_an_interrupted_snapshot_is_taken_up_again() -> None:
    """The job that runs is adopted, not doubled."""
    seen = fresh()
    seen.lab.engine.snapshot_pumps = 6
    seen.lab.engine.fail_next("checkpoint", error=EngineUnreachable("gone for a moment"))
    with pytest.raises(EngineUnreachable):
        snapshot(seen.runtime)
    assert len(seen.lab.engine.live) == 1
    assert snapshot(seen.runtime).incarnation == 1


def test_a_stream_without_a_snapshot_is_not_deployed() -> None:
    """The next step is in the message."""
    with pytest.raises(ConfigurationError, match="no snapshot"):
        deploy(fresh().runtime)


def test_a_running_stream_is_left_alone() -> None:
    """Materializing it again changes nothing."""
    seen = World(BlueGreen())
    seen.start()
    result = deploy(seen.runtime)
    assert (result.adopted, result.incarnation) == (True, 2)


def test_a_changed_stream_goes_on_from_its_own_savepoint() -> None:
    """Other SQL: stopped with a savepoint, launched again, nothing lost or repeated."""
    seen = World(BlueGreen())
    seen.start()
    spec = replace(seen.lab.spec, tables=(TableRef("shop", "orders", "orders_too"),))
    seen.lab.target.define(shape("warehouse.orders_too"))
    result = deploy(replace(seen.runtime, spec=spec))
    assert (result.adopted, result.incarnation) == (False, 3)
    assert seen.lab.target.repeated == 0


@pytest.mark.parametrize("ended", ["failed", "cancelled", "forgotten"])
def test_a_dead_stream_is_deployed_from_its_newest_state(ended: str) -> None:
    """However it ended, its newest complete state is where it goes on."""
    seen = World(BlueGreen())
    seen.start()
    (job_id,) = seen.lab.engine.live
    if ended == "failed":
        seen.lab.engine.fail(job_id, "reset")
    elif ended == "cancelled":
        seen.lab.engine.cancel(job_id, budget_seconds=1.0)
    else:
        seen.lab.engine.forget()
    seen.write()
    assert deploy(seen.runtime).incarnation == 3
    seen.check()


def test_flink_that_does_not_answer_gets_no_second_copy() -> None:
    """Unknown is not dead."""
    seen = World(BlueGreen())
    seen.start()
    seen.lab.engine.reachable = False
    with pytest.raises(EngineUnreachable):
        deploy(seen.runtime)
    seen.lab.engine.reachable = True
    row = newest(seen.runtime)
    assert row is not None
    assert row.number == 2


class MakingTarget(FakeTarget):
    """A target that makes its tables from what it is given."""

    def make_missing(self, spec: StreamSpec, shapes: Sequence[TableShape]) -> Sequence[str]:
        made = [table.target_name for table in spec.copied if table.target_name not in self.defined]
        self.define(*(replace(each, database=spec.target_database) for each in shapes))
        return made


class KnowingEngine:
    """An engine that knows what expressions bring, over the lab's."""

    def __init__(self, engine: FakeEngine, found: Results) -> None:
        self._engine, self._found = engine, found

    def results(self, spec: StreamSpec, server: Server) -> Results:
        del spec, server
        return self._found

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the engine has
        return getattr(self._engine, name)


def test_what_flink_works_out_is_known_where_tables_are_made_and_a_fault_ends_it() -> None:
    seen, given = fresh(), list[StreamSpec]()

    class Noting(MakingTarget):
        def make_missing(self, spec: StreamSpec, shapes: Sequence[TableShape]) -> Sequence[str]:
            given.append(spec)
            return super().make_missing(spec, shapes)

    made = Noting()
    seen.lab.target = seen.lab.engine.target = made
    total = Column("total", "bigint", "bigint(20)")
    fault = Fault("dw.orders.pair", "type ARRAY<INT>", "a type that the target holds", "CAST it")
    wrong = KnowingEngine(seen.lab.engine, Results(faults=(fault,)))
    with pytest.raises(ConfigurationError, match=r"dw.orders.pair: found type ARRAY<INT>"):
        snapshot(replace(seen.runtime, engine=wrong, target=made))  # type: ignore[arg-type] - by __getattr__
    assert newest(seen.runtime) is None
    right = KnowingEngine(seen.lab.engine, Results((("orders", (total,)),)))
    snapshot(replace(seen.runtime, engine=right, target=made))  # type: ignore[arg-type] - by __getattr__
    assert [spec.results_of("orders") for spec in given] == [(total,)]


def test_missing_target_tables_are_made_before_the_launch_and_told() -> None:
    """Nothing is made a second time, and the stream lands in what was made."""
    seen = fresh()
    made, told = MakingTarget(), list[Sequence[str]]()
    seen.lab.target = seen.lab.engine.target = made
    runtime = replace(seen.runtime, target=made)
    snapshot(runtime, made=told.append)
    assert (told, list(made.defined)) == ([["orders"]], ["orders"])
    seen.lab.engine.forget()
    snapshot(runtime, again=True, made=told.append)
    assert told[1:] == [[]]
