"""RdsFeed over the wire: what it asks, keeps and says of a deployment."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from cdc_assets.core.observation import DeploymentView
from cdc_assets.core.position import Coordinates
from cdc_assets.ports import EventFeed, Ledger, Server
from cdc_assets.rds.client import RdsFeed
from cdc_assets.testing import FrozenClock
from tests.adapters.rds.aws import Aws, Story

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient

PLACE = Coordinates("mysql-bin-changelog.000003", 40134574)
GREEN = "shop-green-abc123"
DAY = 86_400.0


def seen(feed: RdsFeed) -> DeploymentView:
    """Return what the feed says after a poll."""
    feed.poll()
    view = feed.deployment()
    assert view is not None
    return view


def asked(aws: Aws, action: str = "DescribeEvents") -> list[dict[str, str]]:
    return [parameters for name, parameters in aws.calls if name == action]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def test_it_is_the_port_and_opens_nothing_when_it_is_made(
    clock: FrozenClock, ledger: Ledger
) -> None:
    def never() -> RDSClient:
        message = "asked for a client"
        raise AssertionError(message)

    feed: EventFeed = RdsFeed(never, ledger, name="shop", clock=clock)
    assert feed


# ---------------------------------------------------------------- the life of a deployment


def test_without_a_deployment_there_is_none(feed: RdsFeed, aws: Aws) -> None:
    feed.poll()
    assert feed.deployment() is None
    assert asked(aws)


def test_a_switchover_from_its_beginning_to_its_end(
    feed: RdsFeed, story: Story, clock: FrozenClock
) -> None:
    assert seen(feed) == DeploymentView("bgd-1", "AVAILABLE", source_name="shop", green_name=GREEN)
    clock.sleep(10)
    story.start()
    assert seen(feed).status == "SWITCHOVER_IN_PROGRESS"
    clock.sleep(10)
    story.complete()
    view = seen(feed)
    assert (view.status, view.coordinates, view.missing) == ("SWITCHOVER_COMPLETED", (), "")
    assert (view.source_name, view.green_name, view.old_name) == ("shop", GREEN, "shop-old1")
    clock.sleep(10)
    story.emit()
    assert seen(feed).coordinates == (PLACE,)


def test_coordinates_may_come_before_the_completion(feed: RdsFeed, story: Story) -> None:
    story.start().emit()
    assert seen(feed).coordinates == (PLACE,)
    story.complete()
    assert seen(feed).coordinates == (PLACE,)


def test_names_and_coordinates_outlive_the_deployment_and_the_process(
    feed: RdsFeed, story: Story, factory: Callable[[], RDSClient], ledger: Ledger, aws: Aws
) -> None:
    seen(feed)
    story.start().emit().complete()
    before = seen(feed)
    story.delete()
    aws.clock.sleep(20 * DAY)
    aws.events.clear()
    later = RdsFeed(factory, ledger, name="shop", clock=aws.clock)
    assert seen(later) == before


def test_a_deployment_that_is_deleted_before_anybody_looked_again_is_known_by_its_events(
    feed: RdsFeed, story: Story
) -> None:
    seen(feed)
    story.start().emit().complete().delete()
    view = seen(feed)
    assert (view.status, view.coordinates) == ("SWITCHOVER_COMPLETED", (PLACE,))
    assert view.old_name == "shop-old1"


def test_a_deployment_that_is_deleted_without_a_switchover_is_of_no_concern(
    feed: RdsFeed, story: Story
) -> None:
    seen(feed)
    story.delete()
    feed.poll()
    assert feed.deployment() is None


def test_the_deployment_of_another_database_is_of_no_concern(
    factory: Callable[[], RDSClient], ledger: Ledger, clock: FrozenClock, story: Story
) -> None:
    story.start().emit().complete()
    other = RdsFeed(factory, ledger, name="sho", clock=clock)
    other.poll()
    assert other.deployment() is None


def test_a_switchover_that_is_rolled_back_names_nothing_and_the_next_attempt_counts(
    feed: RdsFeed, story: Story, clock: FrozenClock
) -> None:
    seen(feed)
    story.start()
    clock.sleep(1)
    story.emit("000001 and position 4")  # never seen on AWS, but it must not count
    clock.sleep(30)
    story.cancel()
    view = seen(feed)
    assert (view.status, view.coordinates, view.old_name) == ("SWITCHOVER_FAILED", (), "")
    clock.sleep(600)
    story.start().emit().complete()
    assert seen(feed).coordinates == (PLACE,)


def test_the_newest_deployment_counts_and_events_belong_to_their_own(
    feed: RdsFeed, story: Story, aws: Aws, clock: FrozenClock
) -> None:
    seen(feed)
    story.start().emit().complete()
    seen(feed)
    clock.sleep(3600)
    second = Story(aws, 2, green_letters="xyz789")
    view = seen(feed)
    assert (view.deployment_id, view.status, view.coordinates) == ("bgd-2", "AVAILABLE", ())
    second.start().complete()
    assert seen(feed).coordinates == ()
    second.emit("000009 and position 536")
    view = seen(feed)
    assert view.coordinates == (Coordinates("mysql-bin-changelog.000009", 536),)
    assert (view.green_name, view.old_name) == ("shop-green-xyz789", "shop-old2")


# ---------------------------------------------------------------- which event is the one


def test_equal_coordinates_count_once_and_different_ones_are_all_named(
    feed: RdsFeed, story: Story, clock: FrozenClock
) -> None:
    story.start().emit().complete()
    clock.sleep(5)
    story.emit()
    assert seen(feed).coordinates == (PLACE,)
    story.emit("000003 and position 99")
    assert seen(feed).coordinates == (PLACE, Coordinates("mysql-bin-changelog.000003", 99))


def test_a_garbled_event_is_shown_not_guessed(feed: RdsFeed, story: Story) -> None:
    story.start().complete().emit("000003 and position 4013 4574")
    view = seen(feed)
    assert view.coordinates == ()
    assert view.missing == ""
    assert len(view.garbled) == 1
    assert view.garbled[0].endswith("position 4013 4574")


def test_the_coordinates_of_another_database_are_not_taken(
    feed: RdsFeed, story: Story, aws: Aws
) -> None:
    story.start().complete()
    for source in ("bookshop-green-abc123", "shop-eu-green-abc123", "shop2", "web-green-abc123"):
        story.emit("000007 and position 777", source)
    aws.happen(GREEN, "Binlog position from crash recovery is mysql-bin-changelog.000001 154")
    assert seen(feed).coordinates == ()
    story.emit()
    assert seen(feed).coordinates == (PLACE,)


@pytest.mark.parametrize("source", ["shop", "SHOP"])
def test_after_the_rename_the_event_may_bear_the_new_name(
    feed: RdsFeed, story: Story, source: str
) -> None:
    story.start().complete().emit(source=source)
    assert seen(feed).coordinates == (PLACE,)


def test_the_name_of_green_counts_more_than_the_name_of_production(
    feed: RdsFeed, story: Story
) -> None:
    story.start().complete().emit().emit("000007 and position 777", "shop")
    assert seen(feed).coordinates == (PLACE,)


def test_events_before_the_switchover_are_not_taken(
    feed: RdsFeed, story: Story, clock: FrozenClock
) -> None:
    story.emit("000001 and position 4")
    clock.sleep(60)
    story.start().complete()
    assert seen(feed).coordinates == ()


def test_green_is_known_from_the_events_when_nobody_looked_before_the_switchover(
    feed: RdsFeed, story: Story
) -> None:
    story.start().emit().complete()
    view = seen(feed)  # the first look ever
    assert (view.coordinates, view.green_name) == ((PLACE,), GREEN)


def test_green_is_known_by_how_aws_names_it_when_no_event_has_its_name(
    feed: RdsFeed, story: Story, aws: Aws
) -> None:
    story.start().emit().complete()
    aws.events[:] = [event for event in aws.events if "green-" not in event["Message"]]
    view = seen(feed)
    assert (view.coordinates, view.green_name) == ((PLACE,), "")


def test_a_replica_of_green_is_not_green(feed: RdsFeed, story: Story) -> None:
    arn = "arn:aws:rds:eu-central-1:123456789012:db:"
    story.listing["SwitchoverDetails"].append(
        {"SourceMember": arn + "shop-r1", "TargetMember": arn + "shop-r1-green-qqq111"}
    )
    seen(feed)
    story.start().complete()
    story.emit("000002 and position 222", "shop-r1-green-qqq111")
    story.emit()
    assert seen(feed).coordinates == (PLACE,)


# ---------------------------------------------------------------- clusters


def cluster(aws: Aws, status: str, *, completed: bool = False) -> None:
    prefix = "arn:aws:rds:eu-central-1:123456789012:"
    pairs = [("cluster:shop", "cluster:shop-green-abc123")] + [
        (f"db:shop-instance-{n}", f"db:shop-instance-{n}-green-def45{n}") for n in (1, 2)
    ]
    if completed:
        pairs = [(f"{blue}-old1", blue) for blue, _ in pairs]
    source, target = pairs[0]
    aws.deployments[:] = [
        {
            "BlueGreenDeploymentIdentifier": "bgd-c",
            "BlueGreenDeploymentName": "cluster-upgrade",
            "CreateTime": aws.clock.now()
            if not aws.deployments
            else aws.deployments[0]["CreateTime"],
            "Status": status,
            "Source": prefix + source,
            "Target": prefix + target,
            "SwitchoverDetails": [
                {"SourceMember": prefix + blue, "TargetMember": prefix + green}
                for blue, green in pairs
            ],
        }
    ]


@pytest.mark.parametrize(
    "source", ["shop-instance-2-green-def452", "shop-instance-1", "shop-green-abc123", "shop"]
)
@pytest.mark.parametrize("looked_before", [True, False])
def test_the_coordinates_of_a_cluster_bear_the_name_of_an_instance(
    feed: RdsFeed, aws: Aws, clock: FrozenClock, source: str, *, looked_before: bool
) -> None:
    aws.cluster("shop", "cluster-BLUE", "shop-instance-1", "shop-instance-2")
    cluster(aws, "AVAILABLE")
    if looked_before:
        assert seen(feed).green_name == "shop-green-abc123"
    clock.sleep(60)
    aws.happen(
        "bgd-c",
        "Switchover from DB cluster shop to shop-green-abc123 started.",
        "blue-green-deployment",
    )
    clock.sleep(20)
    aws.happen(
        source,
        "Binary log coordinates in green environment after switchover: "
        "file mysql-bin-changelog.000007 and position 536",
    )
    aws.clusters.clear()
    aws.cluster("shop", "cluster-GREEN", "shop-instance-1", "shop-instance-2")
    aws.cluster("shop-old1", "cluster-BLUE", "shop-instance-1-old1", "shop-instance-2-old1")
    cluster(aws, "SWITCHOVER_COMPLETED", completed=True)
    view = seen(feed)
    assert view.coordinates == (Coordinates("mysql-bin-changelog.000007", 536),)
    assert view.old_name == "shop-old1"
    assert feed.instance("shop-old1") == (
        Server("shop-old1.cluster.rds.example", 3306),
        "cluster-BLUE",
    )


# ---------------------------------------------------------------- names and resource ids


def test_old_blue_is_followed_by_its_resource_id(feed: RdsFeed, story: Story, aws: Aws) -> None:
    seen(feed)
    story.start().emit().complete()
    assert seen(feed).old_name == "shop-old1"
    aws.instances.pop("shop-old1")
    aws.instance("shop-retired", "db-0")  # a person renamed it
    assert seen(feed).old_name == "shop-retired"
    aws.instance("shop-old1", "db-99")  # and gave its name to another one
    assert seen(feed).old_name == "shop-retired"
    aws.instances.pop("shop-retired")
    assert seen(feed).old_name == ""


def test_an_instance_is_an_endpoint_and_a_resource_id(feed: RdsFeed, aws: Aws) -> None:
    aws.instance("shop", "db-0")
    assert feed.instance("shop") == (Server("shop.xyz.rds.example", 3306), "db-0")
    assert feed.instance("nobody") is None
    del aws.instances["shop"]["Endpoint"]  # while it is being created
    assert feed.instance("shop") is None


def test_the_apply_status_is_the_first_that_is_not_in_sync(feed: RdsFeed, aws: Aws) -> None:
    aws.instance("shop", "db-0")
    assert feed.parameter_group_status("shop") == "in-sync"
    aws.instance("shop", "db-0", "pending-reboot")
    assert feed.parameter_group_status("shop") == "pending-reboot"
    aws.cluster("aurora", "cluster-A", "a-1", status="applying")
    assert feed.parameter_group_status("aurora") == "applying"
    assert feed.parameter_group_status("nobody") is None


# ---------------------------------------------------------------- what is asked


def test_events_are_asked_by_type_without_a_name_or_a_category(feed: RdsFeed, aws: Aws) -> None:
    feed.poll()
    assert [call["SourceType"] for call in asked(aws)] == [
        "blue-green-deployment",
        "db-instance",
        "db-cluster",
    ]
    for call in asked(aws):
        assert set(call) == {"SourceType", "StartTime", "EndTime"}


def test_all_pages_are_read(feed: RdsFeed, story: Story, aws: Aws, ledger: Ledger) -> None:
    story.start()
    for number in range(250):
        aws.happen("web", f"noise {number}")
    story.emit().complete()
    assert seen(feed).coordinates == (PLACE,)
    assert len(asked(aws)) == 5
    for number in range(120):
        foreign = {"BlueGreenDeploymentIdentifier": f"x{number}", "Source": "a:b", "Target": "a:c"}
        aws.deployments.insert(0, story.listing | foreign | {"SwitchoverDetails": []})
    assert seen(feed).deployment_id == "bgd-1"
    assert {row.deployment_id for row in ledger.deployments()} == {"bgd-1"}


def test_the_first_window_reaches_back_a_day(feed: RdsFeed, aws: Aws, clock: FrozenClock) -> None:
    feed.poll()
    assert moment(asked(aws)[0]["StartTime"]) == clock.now() - timedelta(days=1)
    assert moment(asked(aws)[0]["EndTime"]) == clock.now()


def test_the_first_window_reaches_back_to_the_creation_of_the_deployment(
    feed: RdsFeed, story: Story, aws: Aws, clock: FrozenClock
) -> None:
    created = clock.now()
    clock.sleep(3 * DAY)
    feed.poll()
    assert moment(asked(aws)[0]["StartTime"]) == created
    assert story.id == "bgd-1"


def test_the_next_window_overlaps_the_last_and_nothing_is_kept_twice(
    feed: RdsFeed, story: Story, aws: Aws, ledger: Ledger, clock: FrozenClock
) -> None:
    story.start().emit()
    feed.poll()
    kept = ledger.events()
    first = clock.now()
    clock.sleep(600)
    aws.calls.clear()
    feed.poll()
    assert ledger.events() == kept
    assert moment(asked(aws)[0]["StartTime"]) == first - timedelta(hours=1)


def test_an_event_that_becomes_visible_late_is_found(
    feed: RdsFeed, story: Story, aws: Aws, clock: FrozenClock
) -> None:
    seen(feed)
    story.start().complete()
    seen(feed)
    clock.sleep(1800)
    seen(feed)
    story.emit()
    aws.events[-1]["Date"] = clock.now() - timedelta(minutes=29)
    assert seen(feed).coordinates == (PLACE,)


def test_a_slow_local_clock_does_not_hide_the_newest_events(
    factory: Callable[[], RDSClient], ledger: Ledger, clock: FrozenClock, story: Story
) -> None:
    local = FrozenClock(clock.now() - timedelta(minutes=5))
    feed = RdsFeed(factory, ledger, name="shop", clock=local)
    story.start().emit().complete()
    assert seen(feed).coordinates == (PLACE,)


def test_an_answer_without_a_date_is_taken_as_it_is(feed: RdsFeed, story: Story, aws: Aws) -> None:
    aws.sends_date = False
    story.start().emit().complete()
    assert seen(feed).coordinates == (PLACE,)


def test_only_what_may_matter_is_kept(
    feed: RdsFeed, story: Story, aws: Aws, ledger: Ledger
) -> None:
    aws.happen("web", "Backing up DB instance")
    aws.happen("shop", "Backing up DB instance")
    aws.happen("web-green-aaa111", "Binary log coordinates in green environment after switchover: "
               "file mysql-bin-changelog.000001 and position 4")  # fmt: skip
    feed.poll()
    assert {row.source_id for row in ledger.events()} == {"bgd-1", "shop", "web-green-aaa111"}
    assert story.id == "bgd-1"


# ---------------------------------------------------------------- lost events


def test_polls_are_written_down_sparsely_and_without_a_gap(
    feed: RdsFeed, ledger: Ledger, clock: FrozenClock
) -> None:
    for _ in range(100):
        feed.poll()
        clock.sleep(120)
    rows = tuple(reversed(ledger.polls("rds:eu-central-1:shop")))
    assert len(rows) == 4
    for earlier, later in itertools.pairwise(rows):
        assert later.since < earlier.until < later.until


def test_thirteen_silent_days_are_warned_of_and_nothing_is_lost_yet(
    feed: RdsFeed, story: Story, clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    seen(feed)
    story.start().complete()
    clock.sleep(13.5 * DAY)
    with caplog.at_level(logging.WARNING):
        view = seen(feed)
    assert "not polled for 13 days" in caplog.text
    assert view.missing == ""


def test_events_that_nobody_fetched_in_time_are_said_to_be_lost(
    feed: RdsFeed, story: Story, aws: Aws, clock: FrozenClock
) -> None:
    seen(feed)
    clock.sleep(DAY)
    story.start().emit().complete()
    clock.sleep(20 * DAY)
    aws.events[:] = [e for e in aws.events if e["Date"] > clock.now() - timedelta(days=14)]
    view = seen(feed)
    assert view.status == "SWITCHOVER_COMPLETED"
    assert view.coordinates == ()
    assert "were never fetched" in view.missing
    assert seen(feed).missing == view.missing  # and stays so


def test_a_switchover_after_a_silence_is_not_said_to_be_lost(
    feed: RdsFeed, story: Story, clock: FrozenClock
) -> None:
    seen(feed)
    clock.sleep(30 * DAY)
    seen(feed)
    clock.sleep(3600)
    story.start().complete()
    view = seen(feed)
    assert (view.coordinates, view.missing) == ((), "")
    story.emit()
    assert seen(feed).coordinates == (PLACE,)


def test_fourteen_days_without_the_event_end_the_wait(
    feed: RdsFeed, story: Story, clock: FrozenClock
) -> None:
    seen(feed)
    story.start().complete()
    for _ in range(14):
        assert seen(feed).missing == ""
        clock.sleep(DAY)
    clock.sleep(3600)
    assert "named none in the 14 days" in seen(feed).missing
