"""DescribeEvents of the stand-in, asked through boto3: filters, window, 14 days, paging."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from cdc_assets.lab.rds_events import DURATION_TEXT, HISTORY_TEXT

if TYPE_CHECKING:
    from conftest import Served


def now() -> datetime:
    return datetime.now(timezone.utc)


def add(
    standin: Served,
    message: str,
    *,
    minutes_ago: float = 1,
    source_type: str = "db-instance",
    identifier: str = "db-one",
    categories: tuple[str, ...] = (),
) -> None:
    date = now() - timedelta(minutes=minutes_ago)
    answer = standin.post(
        "/lab/events",
        {
            "source_identifier": identifier,
            "source_type": source_type,
            "message": message,
            "categories": list(categories),
            "date": date.isoformat(),
        },
    )
    assert answer.json() == {"ok": True, "stand_in": True}


def ask(standin: Served, **parameters: object) -> list[str]:
    events = standin.client.describe_events(SourceType="db-instance", **parameters)["Events"]
    return [event["Message"] for event in events]


def refused(standin: Served, **parameters: object) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        standin.client.describe_events(**parameters)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_without_a_window_only_the_last_hour_is_returned(standin: Served) -> None:
    add(standin, "59 minutes", minutes_ago=59)
    add(standin, "61 minutes", minutes_ago=61)
    assert ask(standin) == ["59 minutes"]


def test_events_come_oldest_first(standin: Served) -> None:
    add(standin, "second", minutes_ago=1)
    add(standin, "first", minutes_ago=2)
    assert ask(standin) == ["first", "second"]


def test_duration_counts_minutes_before_now(standin: Served) -> None:
    add(standin, "near", minutes_ago=4)
    add(standin, "far", minutes_ago=600)
    assert ask(standin, Duration=5) == ["near"]
    assert ask(standin, Duration=601) == ["far", "near"]


def test_start_and_end_time_bound_the_answer(standin: Served) -> None:
    for minutes in (300, 200, 100):
        add(standin, f"{minutes}", minutes_ago=minutes)
    begin, end = now() - timedelta(minutes=250), now() - timedelta(minutes=150)
    assert ask(standin, StartTime=begin, EndTime=end) == ["200"]
    assert ask(standin, StartTime=begin) == ["200", "100"]


def test_an_event_of_the_future_is_not_returned_before_its_time(standin: Served) -> None:
    add(standin, "later", minutes_ago=-30)
    assert ask(standin) == []
    assert ask(standin, EndTime=now() + timedelta(hours=1)) == []


def test_an_end_time_alone_means_the_hour_before_it(standin: Served) -> None:
    add(standin, "130", minutes_ago=130)
    add(standin, "170", minutes_ago=170)
    assert ask(standin, EndTime=now() - timedelta(minutes=100)) == ["130"]


@pytest.mark.parametrize("name", ["StartTime", "EndTime"])
def test_duration_excludes_both_times(standin: Served, name: str) -> None:
    assert refused(standin, Duration=5, **{name: now()}) == (
        "InvalidParameterCombination",
        DURATION_TEXT,
    )


def test_duration_may_be_14_days_and_not_a_minute_more(standin: Served) -> None:
    add(standin, "old", minutes_ago=14 * 24 * 60 - 1)
    assert ask(standin, Duration=20160) == ["old"]
    assert refused(standin, Duration=20161) == ("InvalidParameterValue", HISTORY_TEXT)


def test_start_time_14_days_ago_fails_and_one_minute_later_passes(standin: Served) -> None:
    limit = now() - timedelta(days=14)
    assert refused(standin, StartTime=limit) == ("InvalidParameterValue", HISTORY_TEXT)
    assert ask(standin, StartTime=limit + timedelta(minutes=1)) == []


def test_an_identifier_needs_a_source_type(standin: Served) -> None:
    code, _ = refused(standin, SourceIdentifier="db-one")
    assert code == "InvalidParameterCombination"


def test_identifier_and_source_type_select(standin: Served) -> None:
    add(standin, "one")
    add(standin, "two", identifier="db-two")
    assert ask(standin, SourceIdentifier="DB-Two") == ["two"]
    assert standin.messages("db-cluster") == []


def test_without_a_source_type_all_types_are_returned(standin: Served) -> None:
    add(standin, "instance")
    add(standin, "cluster", source_type="db-cluster")
    found = {event["SourceType"] for event in standin.client.describe_events()["Events"]}
    assert found == {"db-instance", "db-cluster", "blue-green-deployment"}


def test_an_unknown_source_type_is_refused(standin: Served) -> None:
    assert refused(standin, SourceType="database")[0] == "InvalidParameterValue"


def test_categories_keep_events_with_at_least_one_of_them(standin: Served) -> None:
    add(standin, "none")
    add(standin, "failure", categories=("failure",))
    add(standin, "both", categories=("failure", "notification"))
    assert ask(standin, EventCategories=["notification", "deletion"]) == ["both"]
    assert sorted(ask(standin)) == ["both", "failure", "none"]


def test_filters_are_not_supported(standin: Served) -> None:
    filters = [{"Name": "message", "Values": ["x"]}]
    assert refused(standin, Filters=filters)[0] == "InvalidParameterValue"


@pytest.mark.parametrize("size", [19, 101])
def test_page_sizes_outside_20_to_100_are_refused(standin: Served, size: int) -> None:
    assert refused(standin, MaxRecords=size)[0] == "InvalidParameterValue"


def test_pages_fit_together_and_none_is_lost(standin: Served) -> None:
    wanted = [f"event {number:03}" for number in range(45)]
    for number, message in enumerate(wanted):
        add(standin, message, minutes_ago=50 - number)
    pages = list(
        standin.client.get_paginator("describe_events").paginate(
            SourceType="db-instance", PaginationConfig={"PageSize": 20}
        )
    )
    assert [len(page["Events"]) for page in pages] == [20, 20, 5]
    assert [event["Message"] for page in pages for event in page["Events"]] == wanted
    assert "Marker" not in pages[-1]


def test_an_event_that_comes_between_two_pages_does_not_shift_them(standin: Served) -> None:
    for number in range(25):
        add(standin, f"{number}", minutes_ago=50 - number)
    first = standin.client.describe_events(SourceType="db-instance", MaxRecords=20)
    standin.post(
        "/lab/events",
        {"source_identifier": "db-one", "source_type": "db-instance", "message": "late"},
    )
    rest = standin.client.describe_events(
        SourceType="db-instance", MaxRecords=20, Marker=first["Marker"]
    )
    assert [event["Message"] for event in rest["Events"]] == ["20", "21", "22", "23", "24"]


def test_a_foreign_marker_is_refused(standin: Served) -> None:
    assert refused(standin, Marker="page-2")[0] == "InvalidParameterValue"


def test_an_event_has_the_fields_of_aws_and_no_id(standin: Served) -> None:
    add(standin, "text", categories=("failure",))
    (event,) = standin.client.describe_events(SourceType="db-instance")["Events"]
    assert set(event) == {
        "SourceIdentifier",
        "SourceType",
        "Message",
        "EventCategories",
        "Date",
        "SourceArn",
    }
    assert event["SourceArn"] == "arn:aws:rds:us-east-1:123456789012:db:db-one"


def test_the_same_event_twice_is_returned_twice(standin: Served) -> None:
    add(standin, "twice")
    add(standin, "twice")
    assert ask(standin) == ["twice", "twice"]


@pytest.mark.parametrize(
    "event",
    [
        {"source_type": "db-instance", "message": "no identifier"},
        {"source_type": "rds", "source_identifier": "x", "message": "m"},
        {"source_type": "db-instance", "source_identifier": "x", "message": "m", "date": "soon"},
        {"source_type": "db-instance", "source_identifier": "x", "message": "m", "categories": "c"},
    ],
)
def test_a_garbled_event_for_the_lab_is_refused(standin: Served, event: dict[str, str]) -> None:
    answer = standin.post("/lab/events", event)
    assert answer.status_code == 400
    assert "error" in answer.json()
    assert ask(standin) == []
