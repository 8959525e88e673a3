"""What `decide` answers, row by row and for everything that can be observed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.core.gtid import GtidSet
from cdc_assets.core.observation import (
    DeploymentView,
    IncarnationView,
    JobView,
    Observation,
    ServerView,
)
from cdc_assets.core.position import Coordinates, Position
from cdc_assets.core.recovery import (
    Decision,
    Escalate,
    Hold,
    Policy,
    Relaunch,
    Resnapshot,
    Resume,
    decide,
    sameness_of,
)
from cdc_assets.core.source import BinlogFile, BinlogInventory, FileBirth, SourceIdentity

FILE = "mysql-bin-changelog.000001"
BLUE = SourceIdentity("mariadb", "10.11.5-MariaDB", 101)
GREEN = SourceIdentity("mariadb", "11.4.5-MariaDB", 102, server_uuid="green-uid")
BLUE_BIRTH = FileBirth(FILE, 1_795_000_000, 101)
GREEN_BIRTH = FileBirth(FILE, 1_795_000_001, 102)
ANCHOR = Position(Coordinates(FILE, 4000), BLUE, BLUE_BIRTH)
HELD = BinlogInventory((BinlogFile(FILE, 9000),))
COORDINATES = Coordinates(FILE, 800)
POLICY = Policy()

BLUE_VIEW = ServerView(
    "db", 3306, BLUE, BLUE_BIRTH, Coordinates(FILE, 4000), read_only=False, binlogs=HELD, readers=1
)
GREEN_VIEW = ServerView(
    "db", 3306, GREEN, GREEN_BIRTH, Coordinates(FILE, 900), read_only=False, binlogs=HELD, readers=0
)
OLD_BLUE = replace(BLUE_VIEW, host="db-old1", read_only=True, readers=0)
COMPLETED = DeploymentView(
    "bgd-1", "SWITCHOVER_COMPLETED", "db", "db-green", "db-old1", (COORDINATES,)
)

HEALTHY = Observation(
    stream="shop",
    stateful=False,
    incarnation=IncarnationView(2, "a" * 32, "stream", BLUE),
    job=JobView("RUNNING", seconds_since_checkpoint=1.0, state_path="/chk-1"),
    anchor=ANCHOR,
    positions=(ANCHOR,),
    endpoint=BLUE_VIEW,
)
SWITCHED = replace(
    HEALTHY, endpoint=GREEN_VIEW, old_blue=OLD_BLUE, deployment=COMPLETED, stalled_seconds=3.0
)
UUID_A, UUID_B = "a-a-a-a-a", "b-b-b-b-b"


def with_gtid(seen: Observation, mine: str, executed: str, purged: str = "") -> Observation:
    """Give the stream and the endpoint GTID sets."""
    position = ANCHOR.with_gtid_set(GtidSet.parse(mine))
    endpoint = replace(
        seen.endpoint, gtid_executed=GtidSet.parse(executed), gtid_purged=GtidSet.parse(purged)
    )
    return replace(seen, anchor=position, positions=(position,), endpoint=endpoint)


TABLE: dict[str, tuple[Observation, type[Decision], str]] = {
    "healthy": (HEALTHY, Hold, "running"),
    "never launched": (replace(HEALTHY, incarnation=None, anchor=None), Hold, "not deployed"),
    "Flink silent": (replace(HEALTHY, job=JobView("UNKNOWN")), Hold, "unknown is not failed"),
    "Connect silent": (
        replace(HEALTHY, job=JobView("UNKNOWN"), runs_on="Kafka Connect"), Hold,
        "Kafka Connect does not answer",
    ),
    "position unreadable": (replace(HEALTHY, position_problem="bad byte"), Escalate, "bad byte"),
    "held by a person": (replace(HEALTHY, intent="hold"), Hold, "release"),
    "cancelled by a person": (replace(HEALTHY, job=JobView("CANCELED")), Hold, "cancelled"),
    "stopped on purpose": (
        replace(HEALTHY, incarnation=IncarnationView(2, "a" * 32, "stream", BLUE, stopped=True)),
        Hold,
        "on purpose",
    ),
    "snapshot taken": (
        replace(
            HEALTHY,
            incarnation=IncarnationView(1, "a" * 32, "snapshot", BLUE),
            job=JobView("FINISHED", state_path="/savepoint-1"),
        ),
        Hold,
        "not deployed",
    ),
    "starting": (replace(HEALTHY, job=JobView("CREATED")), Hold, "CREATED"),
    "source silent": (
        replace(HEALTHY, endpoint=ServerView("db", 3306, problem="timed out")),
        Hold,
        "timed out",
    ),
    "silent stall": (replace(HEALTHY, stalled_seconds=30.0), Resume, "silent stall"),
    "stall shorter than the policy": (replace(HEALTHY, stalled_seconds=1.0), Hold, "running"),
    "position frozen": (replace(HEALTHY, frozen_seconds=90.0), Resume, "stands still"),
    "no checkpoint": (
        replace(HEALTHY, job=JobView("RUNNING", seconds_since_checkpoint=500.0)),
        Escalate,
        "no checkpoint completed",
    ),
    "restart loop": (
        replace(HEALTHY, job=JobView("RUNNING", restarts=9)), Escalate, "restarted the job 9",
    ),
    "snapshot running": (replace(HEALTHY, snapshot_running=True), Hold, "snapshot"),
    "failed": (
        replace(HEALTHY, job=JobView("FAILED", failure="reset", state_path="/chk-1")),
        Resume,
        "reset",
    ),
    "gone": (replace(HEALTHY, job=JobView("GONE", state_path="/chk-1")), Resume, "GONE"),
    "failed without state": (replace(HEALTHY, job=JobView("FAILED")), Escalate, "no complete"),
    "failed by a person's fault": (
        replace(HEALTHY, job=JobView("FAILED", failure="denied", failure_class="needs-operator",
                                     state_path="/chk-1")),
        Escalate,
        "denied",
    ),
    "crash loop": (
        replace(HEALTHY, job=JobView("FAILED", state_path="/chk-1"), relaunches_in_window=6),
        Escalate,
        "6 launches without progress",
    ),
    "file purged": (
        replace(
            HEALTHY,
            job=JobView("FAILED", state_path="/chk-1"),
            endpoint=replace(
                BLUE_VIEW, binlogs=BinlogInventory((BinlogFile("mysql-bin-changelog.000009", 99),))
            ),
        ),
        Resnapshot,
        "does not hold",
    ),
    "switchover in progress": (
        replace(SWITCHED, deployment=replace(COMPLETED, status="SWITCHOVER_IN_PROGRESS")),
        Hold,
        "in progress",
    ),
    "switched": (SWITCHED, Relaunch, "without GTID"),
    "switched, other job state": (
        replace(SWITCHED, job=JobView("FAILED", state_path="/chk-1")), Relaunch, "without GTID",
    ),
    "switched, no coordinates yet": (
        replace(SWITCHED, deployment=replace(COMPLETED, coordinates=())), Hold, "waiting",
    ),
    "switched, coordinates never come": (
        replace(SWITCHED, deployment=replace(COMPLETED, coordinates=(), missing="15 days")),
        Escalate,
        "15 days",
    ),
    "switched, two coordinates": (
        replace(
            SWITCHED,
            deployment=replace(COMPLETED, coordinates=(COORDINATES, Coordinates(FILE, 900))),
        ),
        Escalate,
        "more than one place",
    ),
    "switched, garbled": (
        replace(SWITCHED, deployment=replace(COMPLETED, garbled=("Binary log coordi",))),
        Escalate,
        "cannot be read",
    ),
    "switched, old blue gone": (
        replace(SWITCHED, old_blue=ServerView("db-old1", 3306, problem="refused")),
        Escalate,
        "refused",
    ),
    "switched, old blue is another server": (
        replace(SWITCHED, old_blue=replace(OLD_BLUE, birth=GREEN_BIRTH)), Escalate, "not proved",
    ),
    "switched, old blue accepts writes": (
        replace(SWITCHED, old_blue=replace(OLD_BLUE, read_only=False)), Escalate, "accepts writes",
    ),
    "switched, green lacks the coordinates": (
        replace(SWITCHED, deployment=replace(COMPLETED, coordinates=(Coordinates(FILE, 99_000),))),
        Escalate,
        "does not hold",
    ),
    "switched, green refuses writes": (
        replace(SWITCHED, endpoint=replace(GREEN_VIEW, read_only=True)), Hold, "refuses writes",
    ),
    "switched in the snapshot": (
        replace(SWITCHED, job=JobView("FAILED", state_path="/chk-1"), snapshot_running=True),
        Resnapshot,
        "during the snapshot",
    ),
    "reader on the wrong server": (
        replace(SWITCHED, endpoint=replace(GREEN_VIEW, readers=1)), Escalate, "of another server",
    ),
    "other server, no deployment": (
        replace(SWITCHED, deployment=None), Escalate, "no completed blue/green",
    ),
    "other server, RDS silent": (
        replace(SWITCHED, deployment=None, deployment_problem="throttled"), Hold, "throttled",
    ),
    "identity cannot be proved": (
        replace(HEALTHY, endpoint=replace(BLUE_VIEW, birth=None)), Escalate, "cannot prove",
    ),
    "GTID, green of the same history": (
        with_gtid(SWITCHED, f"{UUID_A}:1-7", f"{UUID_A}:1-9,{UUID_B}:1-3"), Resume, "same GTID",
    ),
    "GTID, green never had it": (
        with_gtid(SWITCHED, f"{UUID_A}:1-9", f"{UUID_A}:1-7"), Escalate, f"{UUID_A}:8-9",
    ),
    "GTID, purged": (
        with_gtid(SWITCHED, f"{UUID_A}:1-5", f"{UUID_A}:1-9", f"{UUID_A}:1-7"),
        Resnapshot,
        f"{UUID_A}:6-7",
    ),
    "GTID gap, same server, purged": (
        with_gtid(
            replace(HEALTHY, job=JobView("FAILED", state_path="/chk-1")),
            f"{UUID_A}:1-5:7",
            f"{UUID_A}:1-9",
            f"{UUID_A}:1-6",
        ),
        Resnapshot,
        f"{UUID_A}:6",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_every_row_of_the_table_is_decided_as_written(name: str) -> None:
    """One observation, one kind of decision, and the reason says it."""
    seen, kind, words = TABLE[name]
    decision = decide(seen, POLICY)
    assert type(decision) is kind, decision
    hint = getattr(decision, "hint", "")
    assert words in f"{decision.reason} {hint}"


def test_a_stateful_stream_goes_on_by_transplant() -> None:
    """State must survive, so a start at coordinates is never chosen for it."""
    decision = decide(replace(SWITCHED, stateful=True), POLICY)
    assert isinstance(decision, Relaunch)
    assert decision.form == "transplant"


def test_a_stateless_stream_starts_at_the_coordinates() -> None:
    """The event's coordinates are taken as they are."""
    decision = decide(SWITCHED, POLICY)
    assert isinstance(decision, Relaunch)
    assert (decision.form, decision.coordinates) == ("specific-offset", COORDINATES)
    assert (decision.old_host, decision.old_port) == ("db-old1", 3306)


JOBS = st.builds(
    JobView,
    state=st.sampled_from(["RUNNING", "FAILED", "GONE", "UNKNOWN", "RESTARTING", "CANCELED",
                           "FINISHED", "CREATED", "FAILING", "SUSPENDED"]),
    restarts=st.integers(0, 9),
    seconds_since_checkpoint=st.none() | st.floats(0, 999),
    failure_class=st.sampled_from(["", "transient", "needs-operator", "needs-new-position"]),
    state_path=st.sampled_from(["", "/chk-1"]),
)  # fmt: skip
GTIDS = st.sampled_from([None, "", f"{UUID_A}:1-5", f"{UUID_A}:1-9", f"{UUID_A}:1-9,{UUID_B}:1-2"])
SERVERS = st.builds(
    lambda base, birth, gtids, purged, **more: replace(
        base,
        birth=birth,
        gtid_executed=None if gtids is None else GtidSet.parse(gtids),
        gtid_purged=None if gtids is None else GtidSet.parse(purged),
        **more,
    ),
    st.sampled_from([BLUE_VIEW, GREEN_VIEW, ServerView("db", 3306, problem="down")]),
    st.sampled_from([None, BLUE_BIRTH, GREEN_BIRTH]),
    GTIDS,
    st.sampled_from(["", f"{UUID_A}:1-3", f"{UUID_A}:1-9"]),
    read_only=st.sampled_from([None, True, False]),
    readers=st.sampled_from([None, 0, 1]),
    binlogs=st.sampled_from([None, HELD, BinlogInventory(())]),
)
DEPLOYMENTS = st.builds(
    DeploymentView,
    st.just("bgd-1"),
    st.sampled_from(["AVAILABLE", "SWITCHOVER_IN_PROGRESS", "SWITCHOVER_COMPLETED",
                     "SWITCHOVER_FAILED"]),
    coordinates=st.sampled_from([(), (COORDINATES,), (COORDINATES, Coordinates(FILE, 900))]),
    garbled=st.sampled_from([(), ("?",)]),
    missing=st.sampled_from(["", "lost"]),
)  # fmt: skip
POSITIONS = st.builds(
    lambda gtids: ANCHOR.with_gtid_set(None if gtids is None else GtidSet.parse(gtids)), GTIDS
)
OBSERVATIONS = st.builds(
    Observation,
    stream=st.just("shop"),
    stateful=st.booleans(),
    incarnation=st.sampled_from([None, HEALTHY.incarnation]),
    job=JOBS,
    anchor=st.sampled_from([None, ANCHOR]),
    positions=st.lists(POSITIONS, max_size=2).map(tuple),
    endpoint=SERVERS,
    position_problem=st.sampled_from(["", "bad"]),
    snapshot_running=st.booleans(),
    old_blue=st.none() | SERVERS,
    deployment=st.none() | DEPLOYMENTS,
    deployment_problem=st.sampled_from(["", "down"]),
    stalled_seconds=st.floats(0, 100),
    frozen_seconds=st.floats(0, 100),
    relaunches_in_window=st.integers(0, 9),
    intent=st.sampled_from(["run", "hold"]),
)


@given(OBSERVATIONS)
def test_decide_answers_everything_and_starts_nothing_unproved(seen: Observation) -> None:
    """Whatever is observed, a start needs readable state, a proved server and reachable binlogs."""
    decision = decide(seen, POLICY)
    if not isinstance(decision, (Resume, Relaunch)):
        return
    assert seen.anchor is not None
    assert seen.endpoint.identity is not None
    assert not seen.position_problem
    assert seen.intent == "run"
    assert seen.job.state not in {"UNKNOWN", "CANCELED"}
    same = sameness_of(seen.anchor, seen.endpoint) == "same"
    if isinstance(decision, Relaunch):
        assert not same
        assert seen.old_blue is not None
        assert sameness_of(seen.anchor, seen.old_blue) == "same"
        assert seen.old_blue.read_only
        assert seen.deployment is not None
        assert seen.deployment.coordinates == (decision.coordinates,)
        assert not seen.deployment.garbled
    elif decision.lineage == "gtid":
        executed, purged = seen.endpoint.gtid_executed, seen.endpoint.gtid_purged
        assert executed is not None
        assert purged is not None
        for position in seen.positions:
            assert position.gtid_set is not None
            assert executed.contains(position.gtid_set)
            assert position.gtid_set.contains(purged)
    else:
        assert same


@given(OBSERVATIONS, st.sampled_from(["UNKNOWN", "CANCELED"]))
def test_a_job_that_is_not_known_to_be_dead_is_never_replaced(
    seen: Observation, state: str
) -> None:
    """No answer from Flink, or a person's cancel, never leads to a launch."""
    job = replace(seen.job, state=state)  # type: ignore[arg-type] - sampled from the literal
    assert not isinstance(decide(replace(seen, job=job), POLICY), (Resume, Relaunch))
