"""What every ledger does: the fake, SQLite, and MySQL on the lab."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdc_assets.core.gtid import GtidSet
from cdc_assets.core.position import Coordinates, Position
from cdc_assets.core.source import FileBirth, SourceIdentity
from cdc_assets.errors import FenceTaken
from cdc_assets.ports import (
    DecisionRow,
    DeploymentRow,
    EventRow,
    IncarnationRow,
    Ledger,
    PollRow,
    PositionRow,
    ReconciliationRow,
    StepRow,
)
from cdc_assets.testing import FrozenClock
from cdc_assets.testing.builders import identity, position_row

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=timezone.utc)


def incarnation(number: int = 1, *, stream: str = "orders") -> IncarnationRow:
    return IncarnationRow(
        stream,
        number,
        f"{number:032x}",
        "stream",
        "orders.example",
        3306,
        identity(resource_id="db-BLUE"),
        "initial",
        "INSERT INTO `o'rders` ...",
        recovery="bgd-1:1",
    )


def event(
    text: str = "hello",
    *,
    source: str = "orders",
    at: datetime = NOON,
    seen: datetime | None = None,
) -> EventRow:
    return EventRow(source, "db-instance", at, text, seen)


def deployment(**changes: object) -> DeploymentRow:
    row = DeploymentRow(
        "bgd-1",
        "AVAILABLE",
        "orders",
        "orders-green-abc123",
        NOON,
        name="upgrade",
        members=(("orders", "orders-green-abc123"), ("orders-r1", "orders-r1-green-x1y2z3")),
        source_resource_id="db-BLUE",
        target_resource_id="db-GREEN",
    )
    return replace(row, **changes)


def test_the_id_stays_the_same(ledgers: Callable[[], Ledger]) -> None:
    first = ledgers()
    assert len(first.ledger_id) == 36
    assert ledgers().ledger_id == first.ledger_id


def test_an_empty_ledger_has_nothing_and_lets_streams_run(ledger: Ledger) -> None:
    assert ledger.incarnations("orders") == ()
    assert ledger.positions("orders") == ()
    assert ledger.steps("orders") == ()
    assert ledger.decisions("orders") == ()
    assert ledger.reconciliations("orders") == ()
    assert ledger.events() == ()
    assert ledger.deployments() == ()
    assert ledger.polls("feed") == ()
    assert ledger.intent("orders") == ("run", "")
    assert ledger.record_positions([]) == 0
    assert ledger.record_events([]) == ()


def test_an_incarnation_comes_back_as_it_was_written(
    ledgers: Callable[[], Ledger], clock: FrozenClock
) -> None:
    written = ledgers().open_incarnation(incarnation())
    assert written == replace(incarnation(), opened_at=clock.now())
    assert ledgers().incarnations("orders") == (written,)
    assert ledgers().incarnations("other") == ()


def test_an_incarnation_is_opened_once(ledgers: Callable[[], Ledger]) -> None:
    first = ledgers().open_incarnation(incarnation())
    with pytest.raises(FenceTaken) as caught:
        ledgers().open_incarnation(replace(incarnation(), job_id="f" * 32))
    assert (caught.value.stream, caught.value.incarnation) == ("orders", 1)
    assert ledgers().incarnations("orders") == (first,)


def test_incarnations_are_listed_by_number_and_apart_by_stream(ledger: Ledger) -> None:
    for number in (2, 1, 3):
        ledger.open_incarnation(incarnation(number))
    ledger.open_incarnation(incarnation(1, stream="orders2"))
    assert [row.number for row in ledger.incarnations("orders")] == [1, 2, 3]
    assert len(ledger.incarnations("orders2")) == 1


def test_positions_are_kept_once_and_listed_newest_first(
    ledgers: Callable[[], Ledger], clock: FrozenClock
) -> None:
    ledger = ledgers()
    assert ledger.record_positions([position_row(1), position_row(2)]) == 2
    clock.sleep(1)
    again = [position_row(2), position_row(3), position_row(3)]
    assert ledgers().record_positions(again) == 1
    found = ledgers().positions("orders")
    assert [row.checkpoint_id for row in found] == [3, 2, 1]
    assert found[0].observed_at == clock.now()
    assert [row.checkpoint_id for row in ledger.positions("orders", limit=2)] == [3, 2]


def test_one_path_may_hold_positions_of_several_sources(ledger: Ledger) -> None:
    rows = [position_row(1), position_row(1, tables="shop.items")]
    assert ledger.record_positions(rows) == 2
    assert ledger.record_positions([replace(rows[0], savepoint=True)]) == 0
    assert ledger.record_positions([replace(rows[0], incarnation=2)]) == 1


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40)
identities = st.builds(
    SourceIdentity,
    st.sampled_from(["mysql", "mariadb"]),
    st.sampled_from(["8.0.36", "10.11.5-MariaDB-log", "9.7.0"]),
    st.integers(0, 2**32 - 1),
    st.none() | st.uuids().map(str),
    st.none() | st.just("db-ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
)
gtid_sets = st.lists(
    st.tuples(st.uuids(), st.integers(1, 10**9), st.integers(0, 10**9)), max_size=4
).map(
    lambda items: GtidSet.parse(",".join(f"{uuid}:{first}-{first + n}" for uuid, first, n in items))
)
positions = st.builds(
    Position,
    st.builds(
        Coordinates,
        st.integers(1, 10**9).map(lambda number: f"mysql-bin-changelog.{number:06d}"),
        st.integers(4, 2**63 - 1),
    ),
    identities,
    st.none()
    | st.builds(
        FileBirth,
        st.just("mysql-bin-changelog.000001"),
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**32 - 1),
    ),
    st.none() | gtid_sets,
    st.integers(0, 10**6),
    st.integers(0, 10**6),
)
moments = st.integers(0, 7 * 10**15).map(
    lambda micros: datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=micros)
)
position_rows = st.builds(
    PositionRow,
    stream=st.just("orders"),
    incarnation=st.integers(1, 10**6),
    checkpoint_id=st.integers(0, 2**63 - 1),
    path=texts,
    tables=texts,
    position=positions,
    savepoint=st.booleans(),
    observed_at=moments,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(row=position_rows)
def test_a_position_comes_back_exactly(ledger: Ledger, row: PositionRow) -> None:
    unique = replace(row, path=f"{row.path}{len(ledger.positions('orders', limit=10**6))}")
    assert ledger.record_positions([unique]) == 1
    assert ledger.positions("orders", limit=1) == (unique,)


def test_a_time_comes_back_in_utc(ledger: Ledger) -> None:
    kolkata = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    ledger.record_positions([replace(position_row(), observed_at=kolkata)])
    found = ledger.positions("orders")[0].observed_at
    assert found == NOON
    assert found is not None
    assert found.utcoffset() == timedelta(0)


def test_a_step_is_appended_once(ledgers: Callable[[], Ledger], clock: FrozenClock) -> None:
    step = StepRow("orders", "bgd-1:1", 1, "drain", {"job": "a", "end": ["f.000001", 4]})
    assert ledgers().append_step(step)
    assert not ledgers().append_step(replace(step, step="other", detail={}))
    assert ledgers().append_step(replace(step, seq=2))
    assert ledgers().append_step(replace(step, recovery="bgd-2:3"))
    assert ledgers().steps("orders", "bgd-1:1")[0] == replace(step, at=clock.now())
    assert [row.seq for row in ledgers().steps("orders", "bgd-1:1")] == [1, 2]
    assert [row.recovery for row in ledgers().steps("orders")] == ["bgd-1:1"] * 2 + ["bgd-2:3"]
    assert ledgers().steps("other") == ()


def test_detail_that_is_no_json_is_refused_and_nothing_is_kept(ledger: Ledger) -> None:
    with pytest.raises(TypeError):
        ledger.append_step(StepRow("orders", "r", 1, "drain", {"when": NOON}))
    assert ledger.steps("orders") == ()


def test_keys_differ_by_case_and_by_trailing_blanks(ledger: Ledger) -> None:
    step = StepRow("orders", "bgd-a", 1, "drain", {})
    assert ledger.append_step(step)
    assert ledger.append_step(replace(step, recovery="bgd-A"))
    assert ledger.steps("orders", "BGD-A") == ()


def test_decisions_and_verdicts_are_listed_newest_first(
    ledgers: Callable[[], Ledger], clock: FrozenClock
) -> None:
    ledger = ledgers()
    for number in (1, 2, 3):
        detail = {"é": [number, None, {"x": 1.5}]}
        ledger.record_decision(DecisionRow("orders", number, "Hold", "why 🤷", detail))
        ledger.record_reconciliation(
            ReconciliationRow(
                "orders", "shop.orders", "orders", "InSync", "row-count", number, None, "", "r"
            )
        )
    decisions = ledgers().decisions("orders", limit=2)
    assert [row.incarnation for row in decisions] == [3, 2]
    assert decisions[1] == DecisionRow(
        "orders", 2, "Hold", "why 🤷", {"é": [2, None, {"x": 1.5}]}, clock.now()
    )
    verdicts = ledgers().reconciliations("orders", limit=2)
    assert [row.source_count for row in verdicts] == [3, 2]
    assert verdicts[0].target_count is None
    assert verdicts[0].at == clock.now()


def test_an_event_is_new_once(ledgers: Callable[[], Ledger], clock: FrozenClock) -> None:
    first = ledgers().record_events([event(), event(), event("other")])
    assert [row.message for row in first] == ["hello", "other"]
    assert first[0].first_seen == clock.now()
    clock.sleep(60)
    kolkata = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert ledgers().record_events([event(at=kolkata)]) == ()
    later = NOON + timedelta(milliseconds=1)
    assert len(ledgers().record_events([event(at=later), event(source="orders2")])) == 2
    assert ledgers().events()[0].first_seen == first[0].first_seen


def test_events_are_listed_by_their_date(ledger: Ledger) -> None:
    later = NOON + timedelta(seconds=1)
    ledger.record_events([event("b", at=later), event("a")])
    assert [row.message for row in ledger.events()] == ["a", "b"]
    assert [row.message for row in ledger.events(since=later)] == ["b"]
    assert ledger.events()[0].date == NOON


def test_a_deployment_is_appended_when_it_changes(
    ledgers: Callable[[], Ledger], clock: FrozenClock
) -> None:
    assert ledgers().record_deployment(deployment())
    clock.sleep(30)
    assert not ledgers().record_deployment(deployment())
    assert ledgers().record_deployment(deployment(status="SWITCHOVER_IN_PROGRESS"))
    assert ledgers().record_deployment(deployment())  # rolled back
    assert ledgers().record_deployment(deployment(deployment_id="bgd-2"))
    assert not ledgers().record_deployment(deployment())
    found = ledgers().deployments()
    assert [row.deployment_id for row in found] == ["bgd-1"] * 3 + ["bgd-2"]
    assert replace(found[0], seen_at=None) == deployment()
    assert found[1].seen_at == clock.now()


def test_polls_are_listed_newest_first_and_apart_by_feed(ledger: Ledger) -> None:
    stretches = [PollRow("a", NOON, NOON + timedelta(hours=hours)) for hours in (1, 2)]
    for row in stretches:
        ledger.record_poll(row)
    ledger.record_poll(PollRow("b", NOON, NOON))
    assert ledger.polls("a") == tuple(reversed(stretches))
    assert ledger.polls("a", limit=1) == (stretches[1],)


def test_the_newest_intent_counts(ledgers: Callable[[], Ledger]) -> None:
    ledgers().set_intent("orders", "hold", "maintenance; it's late")
    assert ledgers().intent("orders") == ("hold", "maintenance; it's late")
    assert ledgers().intent("other") == ("run", "")
    ledgers().set_intent("orders", "run", "done")
    assert ledgers().intent("orders") == ("run", "done")


def test_text_that_looks_like_sql_stays_text(ledger: Ledger) -> None:
    nasty = "'); DROP TABLE events; -- \\ \" % :x ? {y}"
    ledger.set_intent("orders", "hold", nasty)
    ledger.record_events([event(nasty)])
    assert ledger.intent("orders")[1] == nasty
    assert ledger.events()[0].message == nasty


def test_long_values_are_kept_whole(ledger: Ledger) -> None:
    long = "x" * 200_000
    ledger.open_incarnation(replace(incarnation(), sql=long))
    ledger.record_positions([replace(position_row(), path=long, tables=long)])
    assert ledger.incarnations("orders")[0].sql == long
    assert ledger.positions("orders")[0].path == long
    assert ledger.record_positions([replace(position_row(), path=long, tables=long)]) == 0
