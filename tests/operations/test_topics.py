"""Streams of topics: launched once, from the newest state, on the same cluster only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.topic_stream import TopicStreamSpec, TopicTable
from cdc_assets.errors import (
    ConfigurationError,
    EngineUnreachable,
    FenceTaken,
    IdentityMismatch,
    RecoveryBlocked,
)
from cdc_assets.operations.topics import (
    MOST_LAUNCHES,
    TopicRuntime,
    deploy_topics,
    look_at_topics,
)
from cdc_assets.ports import Key, Launch, TopicCount
from cdc_assets.testing import BlueGreen
from cdc_assets.testing.engine import FakeEngine

USER = TopicTable("user", "dw.user", (("id", "BIGINT"),), ("id",))
SPEC = TopicStreamSpec("joins", (USER,), (QuerySpec("n", "SELECT COUNT(*) FROM `user`"),))


class Engine(FakeEngine):
    """Renders its queries, as Flink does."""

    def rendered(self, launch: Launch) -> str:
        return "\n".join(query.sql for query in launch.spec.queries)


@dataclass
class Broker:
    """Topics of one partition: keys in order, each with whether its record is no tombstone.

    Attributes:
        topics: The records.
        behind: Records at the end of each topic that the job has not read.
        marks: Ends of transactions, which take an offset and are no records.
    """

    topics: dict[str, list[tuple[Key, bool]]] = field(default_factory=dict)
    behind: int = 0
    marks: int = 1

    def put(self, name: str, *keys: int, alive: bool = True) -> None:
        self.topics.setdefault(name, []).extend(((key,), alive) for key in keys)

    def live(
        self,
        name: str,
        *,
        timeout_seconds: float,
        key: Sequence[str] = (),
        bound: Key | None = None,
    ) -> TopicCount:
        assert timeout_seconds > 0
        assert key
        found = self.topics.get(name, [])
        latest = dict(found)
        counted = [k for k, alive in latest.items() if alive and (bound is None or k <= bound)]
        return TopicCount(len(counted), {0: len(found)} if found else {})

    def max_key(self, name: str, key: Sequence[str], *, timeout_seconds: float) -> Key | None:
        assert timeout_seconds > 0
        assert key
        return max((k for k, _ in self.topics.get(name, [])), default=None)

    def high_watermarks(self, names: Sequence[str]) -> Mapping[str, Mapping[int, int]]:
        return {name: {0: len(self.topics.get(name, [])) + self.marks} for name in names}

    def offsets(self, path: str, name: str) -> Mapping[int, int]:
        assert "/chk-" in path
        return {0: len(self.topics.get(name, [])) - self.behind}


@dataclass
class World:
    """A stream of topics on fakes."""

    cluster: str = "cluster-a"
    prepared: int = 0
    spec: TopicStreamSpec = SPEC
    lab: BlueGreen = field(default_factory=BlueGreen)
    broker: Broker = field(default_factory=Broker)

    def __post_init__(self) -> None:
        self.engine = Engine(self.lab.source, self.lab.target, clock=self.lab.clock)

    @property
    def rt(self) -> TopicRuntime:
        def prepare() -> None:
            self.prepared += 1

        return TopicRuntime(
            spec=self.spec.as_stream("mysql", "dw"),
            engine=self.engine,
            topics=self.broker,
            target=self.lab.target,
            ledger=self.lab.ledger,
            clock=self.lab.clock,
            brokers=self.lab.source.endpoint,
            cluster_id=lambda: self.cluster,
            prepare=prepare,
            topic_names=tuple(table.topic for table in self.spec.tables),
            offsets=self.broker.offsets,
        )


@pytest.fixture
def world() -> World:
    return World()


def test_the_first_launch_reads_the_topics_from_their_beginning(world: World) -> None:
    assert look_at_topics(world.rt).condition == "never"
    done = deploy_topics(world.rt)
    assert (done.incarnation, done.restored_from, done.adopted) == (1, "initial", False)
    row = world.rt.ledger.incarnations("joins")[0]
    assert (row.identity.flavor, row.identity.server_uuid) == ("kafka", "cluster-a")
    assert world.prepared == 1
    assert look_at_topics(world.rt).is_healthy


def test_a_job_that_runs_with_the_same_sql_is_left_alone(world: World) -> None:
    first = deploy_topics(world.rt)
    again = deploy_topics(world.rt)
    assert (again.incarnation, again.adopted) == (first.incarnation, True)
    assert len(world.engine.jobs) == 1


def test_other_sql_goes_on_from_a_savepoint(world: World) -> None:
    deploy_topics(world.rt)
    world.spec = TopicStreamSpec("joins", (USER,), (QuerySpec("n", "SELECT 1 FROM `user`"),))
    world.engine.auto_checkpoint = False
    done = deploy_topics(world.rt)
    assert done.incarnation == 2
    assert done.restored_from != "initial"
    assert world.engine.live == (done.job_id,)


@pytest.mark.parametrize("end", ["fail", "forget"])
def test_an_ended_job_goes_on_from_its_newest_checkpoint(world: World, end: str) -> None:
    first = deploy_topics(world.rt)
    if end == "fail":
        world.engine.fail(first.job_id, "task manager lost")
    else:
        world.engine.forget()
    found = look_at_topics(world.rt)
    assert (found.condition, found.wants_launch) == ("ended", True)
    done = deploy_topics(world.rt)
    assert done.incarnation == 2
    assert f"{first.job_id}/chk-" in done.restored_from
    assert look_at_topics(world.rt).is_healthy


def test_a_cancelled_job_is_a_persons_will(world: World) -> None:
    first = deploy_topics(world.rt)
    world.engine.cancel(first.job_id, budget_seconds=1)
    found = look_at_topics(world.rt)
    assert (found.condition, found.wants_launch) == ("stopped", False)


def test_after_launches_without_a_checkpoint_a_person_must_look(world: World) -> None:
    world.engine.auto_checkpoint = False
    for _ in range(MOST_LAUNCHES):
        world.engine.fail_next("checkpoint", error=RecoveryBlocked("no"))
        with pytest.raises(RecoveryBlocked):
            deploy_topics(world.rt)
        row = world.rt.ledger.incarnations("joins")[-1]
        assert not look_at_topics(world.rt).wants_launch
        world.engine.fail(row.job_id, "the same again")
        found = look_at_topics(world.rt)
        assert found.wants_launch is (row.number < MOST_LAUNCHES)
    assert "a person must look" in look_at_topics(world.rt).text
    world.engine.auto_checkpoint = True
    assert deploy_topics(world.rt).restored_from == "initial"


def test_another_cluster_behind_the_address_is_refused(world: World) -> None:
    first = deploy_topics(world.rt)
    world.engine.fail(first.job_id, "x")
    world.cluster = "cluster-b"
    with pytest.raises(IdentityMismatch, match=r"cluster-b.*offsets of cluster-a.*again"):
        deploy_topics(world.rt)
    assert len(world.engine.jobs) == 1
    done = deploy_topics(world.rt, again=True)
    assert (done.incarnation, done.restored_from) == (2, "initial")
    world.engine.fail(done.job_id, "x")
    assert f"{done.job_id}/chk-" in deploy_topics(world.rt).restored_from


def test_the_name_of_another_stream_is_refused(world: World) -> None:
    deploy_topics(world.rt)
    row = world.rt.ledger.incarnations("joins")[0]
    other = replace(row, stream="shop", identity=replace(row.identity, flavor="mariadb"))
    world.rt.ledger.open_incarnation(other)
    rt = replace(world.rt, spec=replace(world.rt.spec, name="shop"))
    for again in (False, True):
        with pytest.raises(ConfigurationError, match="another stream of this name"):
            deploy_topics(rt, again=again)


def test_again_begins_anew_and_ends_what_runs(world: World) -> None:
    first = deploy_topics(world.rt)
    done = deploy_topics(world.rt, again=True)
    assert (done.restored_from, world.engine.live) == ("initial", (done.job_id,))
    assert world.engine.jobs[first.job_id].state == "CANCELED"


def test_state_before_a_beginning_anew_is_never_gone_back_to(world: World) -> None:
    deploy_topics(world.rt)
    world.engine.auto_checkpoint = False
    world.engine.fail_next("checkpoint", error=RecoveryBlocked("no"))
    with pytest.raises(RecoveryBlocked):
        deploy_topics(world.rt, again=True)
    world.engine.fail(world.rt.ledger.incarnations("joins")[-1].job_id, "x")
    assert deploy_topics(world.rt).restored_from == "initial"


def test_an_unknown_job_is_not_doubled(world: World) -> None:
    first = deploy_topics(world.rt)
    world.engine.reachable = False
    assert look_at_topics(world.rt).condition == "unknown"
    with pytest.raises(EngineUnreachable):
        deploy_topics(world.rt)
    world.engine.reachable = True
    world.engine.jobs[first.job_id].state = "RESTARTING"
    assert look_at_topics(world.rt).condition == "moving"
    with pytest.raises(RecoveryBlocked, match="two copies never run"):
        deploy_topics(world.rt)
    assert len(world.engine.jobs) == 1


def test_of_two_launchers_one_is_fenced_off(world: World) -> None:
    first = deploy_topics(world.rt)
    world.engine.fail(first.job_id, "x")
    world.lab.ledger.fail_next("open_incarnation", error=FenceTaken("joins", 2))
    with pytest.raises(FenceTaken):
        deploy_topics(world.rt)
    assert world.engine.live == ()


def test_nothing_is_opened_when_a_topic_is_missing(world: World) -> None:
    def prepare() -> None:
        raise ConfigurationError("no such topic")

    rt = world.rt
    object.__setattr__(rt, "prepare", prepare)
    with pytest.raises(ConfigurationError, match="no such topic"):
        deploy_topics(rt)
    assert rt.ledger.incarnations("joins") == ()


def test_a_job_without_checkpoints_is_late(world: World) -> None:
    deploy_topics(world.rt)
    world.engine.auto_checkpoint = False
    world.lab.clock.sleep(61)
    found = look_at_topics(world.rt)
    assert (found.condition, found.wants_launch) == ("late", False)
    assert "last checkpoint was 61 s ago" in found.text
