"""The texts of RDS events, as published and as mutated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.core.position import Coordinates
from cdc_assets.rds.events import Hint, read_event

GUIDE = (
    "Binary log coordinates in green environment after switchover: "
    "file mysql-bin-changelog.000003 and position 40134574"
)
PLACE = Coordinates("mysql-bin-changelog.000003", 40134574)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        # RDS-EVENT-0244 to 0252, 0259 to 0261: the words of the user guides.
        (
            (
                "Blue/green deployment tasks completed. You can make more modifications to the "
                "green environment databases or switch over the deployment."
            ),
            Hint("deployment-ready"),
        ),
        (
            "Creation of blue/green deployment failed because the source has no backups.",
            Hint("deployment-failed", reason="the source has no backups"),
        ),
        ("Blue/green deployment deleted.", Hint("deployment-deleted")),
        (
            "Switchover from shop to shop-green-abc123 started.",
            Hint("switchover-started", "shop", "shop-green-abc123"),
        ),
        ("Switchover completed on blue/green deployment.", Hint("switchover-completed")),
        ("Switchover canceled on blue/green deployment.", Hint("switchover-canceled")),
        (
            "Switchover from primary/read replica shop to shop-green-abc123 started.",
            Hint("switchover-started", "shop", "shop-green-abc123"),
        ),
        (
            (
                "Switchover from primary/read replica shop to shop-green-abc123 completed. "
                "Renamed shop to shop-old1 and shop-green-abc123 to shop."
            ),
            Hint("switchover-completed", "shop", "shop-green-abc123", "shop-old1"),
        ),
        (
            (
                "Switchover from primary/read replica shop to shop-green-abc123 was canceled due "
                "to replica lag above 30 s."
            ),
            Hint("switchover-canceled", "shop", "shop-green-abc123", "", "replica lag above 30 s"),
        ),
        (
            "Switchover from DB cluster shop to shop-green-abc123 started.",
            Hint("switchover-started", "shop", "shop-green-abc123"),
        ),
        (
            (
                "Switchover from DB cluster shop to shop-green-abc123 completed. "
                "Renamed shop to shop-old1 and shop-green-abc123 to shop."
            ),
            Hint("switchover-completed", "shop", "shop-green-abc123", "shop-old1"),
        ),
        (
            "Switchover from DB cluster shop to shop-green-abc123 was canceled due to a timeout.",
            Hint("switchover-canceled", "shop", "shop-green-abc123", "", "a timeout"),
        ),
        # What accounts really get: the word "primary" alone.
        (
            "Switchover from primary shop to shop-green-abc123 started.",
            Hint("switchover-started", "shop", "shop-green-abc123"),
        ),
        (
            "Switchover from primary shop to shop-green-abc123 completed.",
            Hint("switchover-completed", "shop", "shop-green-abc123"),
        ),
        (
            "Switchover from read replica shop-r1 to shop-r1-green-abc123 started.",
            Hint("switchover-started", "shop-r1", "shop-r1-green-abc123"),
        ),
        # Case, line breaks and the other spelling do not matter.
        (
            "switchover FROM primary\n  Shop to\tShop-Green-ABC123\nSTARTED",
            Hint("switchover-started", "shop", "shop-green-abc123"),
        ),
        ("Switchover cancelled on blue/green deployment.", Hint("switchover-canceled")),
        # Around the switchover.
        (
            (
                "Starting to terminate connections and user processes in the blue environment at "
                "2026-03-01 12:00:00"
            ),
            Hint("switchover-progress"),
        ),
        ("Green environment shop is now accepting connections", Hint("switchover-progress")),
        ("Sequence sync initiated for shop-green-abc123.", Hint("switchover-progress")),
        ("Sequence sync completed for shop-green-abc123.", Hint("switchover-progress")),
        ("The storage volumes are being initialized.", Hint("switchover-progress")),
        ("The storage volumes have been initialized.", Hint("switchover-progress")),
        # Other things worth a look.
        ("Completed failover to DB instance: shop-2", Hint("failover")),
        ("Multi-AZ instance failover started.", Hint("failover")),
        ("DB instance restarted", Hint("restart")),
        ("DB instance shutdown", Hint("restart")),
        ("Binlog position from crash recovery is mysql-bin-changelog.000001 154", Hint("restart")),
        ("Database cluster engine version upgrade started.", Hint("upgrade")),
        ("Finished updating DB parameter group", Hint("parameters")),
        ("Renamed cluster from shop to shop2.", Hint("rename")),
        ("Automatic backups for this DB instance have been disabled.", Hint("backups-disabled")),
        ("Replication for the Read Replica resumed", Hint("replication")),
        # Of no concern.
        ("Backing up DB instance", None),
        ("", None),
        ("DB instance created", None),
    ],
)
def test_what_a_text_says(message: str, expected: Hint | None) -> None:
    assert read_event(message) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (GUIDE, PLACE),
        (GUIDE + ".", PLACE),
        (GUIDE.lower(), PLACE),
        (GUIDE.replace(" ", "\n  "), PLACE),
        (f"\r\n{GUIDE}\r\n", PLACE),
        # The shorter variant of a third party.
        ("Binary log coordinates: file mysql-bin-changelog.000003, position 40134574", PLACE),
        (GUIDE.replace(" and", ", and"), PLACE),
        (GUIDE.replace(" and", " ,"), PLACE),
        (GUIDE.replace(" and", ""), PLACE),
        (GUIDE.replace("in green", "in the green"), PLACE),
        (
            GUIDE.replace("000003", "1000003").replace("40134574", "536"),
            Coordinates("mysql-bin-changelog.1000003", 536),
        ),
        (
            GUIDE.replace("mysql-bin-changelog", "My_bin.log"),
            Coordinates("My_bin.log.000003", 40134574),
        ),
        (GUIDE.replace("40134574", "4"), Coordinates("mysql-bin-changelog.000003", 4)),
    ],
)
def test_coordinates_that_are_read(message: str, expected: Coordinates) -> None:
    assert read_event(message) == Hint("coordinates", coordinates=expected)


@pytest.mark.parametrize(
    "message",
    [
        GUIDE + "; DROP TABLE users",
        GUIDE + " and position 5",
        GUIDE + "0 0",
        GUIDE + ", file mysql-bin-changelog.000004 and position 7",
        GUIDE + " of 90000000",
        GUIDE + " (estimated)",
        GUIDE + "e3",
        GUIDE + ".5",
        GUIDE + "..",
        "Not the " + GUIDE,
        "Previous attempt: " + GUIDE,
        GUIDE.replace("40134574", "4013\n4574"),
        GUIDE.replace("40134574", "-40134574"),
        GUIDE.replace("40134574", "+40134574"),
        GUIDE.replace("40134574", "0x2646"),
        GUIDE.replace("40134574", "040134574"),
        GUIDE.replace("40134574", "40,134,574"),
        GUIDE.replace("40134574", "0"),
        GUIDE.replace("40134574", "3"),
        GUIDE.replace("40134574", "9" * 19),
        GUIDE.replace("40134574", "9" * 40),
        GUIDE.replace("40134574", "\u0664\u0660"),
        GUIDE.replace("40134574", ""),
        GUIDE.replace("position 40134574", ""),
        GUIDE.replace(".000003", ""),
        GUIDE.replace(".000003", ".0003"),
        GUIDE.replace("changelog.000003", "change\nlog.000003"),
        GUIDE.replace("changelog.000003", "changelog.00\n0003"),
        GUIDE.replace("mysql-bin", "../mysql-bin"),
        GUIDE.replace("mysql-bin-changelog.000003", "'mysql-bin-changelog.000003'"),
        GUIDE.replace("mysql-bin-changelog.000003", "mysql-bin-changelog.000003' OR '1'='1"),
        GUIDE.replace("mysql-bin-changelog.000003", "${jndi:x}.000003"),
        GUIDE.replace("mysql-bin-changelog.000003", "m\u00fcsql.000003"),
        GUIDE.replace("green", "blue"),
        GUIDE.replace("after", "before"),
        GUIDE.replace("and", "or"),
        GUIDE.replace("file", "files"),
        "Binary log coordinates",
        "Binlog coordinates: file mysql-bin-changelog.000003, position 40134574",
        "Binary log coordinates in green environment after switchover: not available",
    ],
)
def test_coordinates_that_are_garbled_are_never_guessed(message: str) -> None:
    hint = read_event(message)
    assert hint is not None
    assert (hint.kind, hint.coordinates) == ("coordinates-garbled", None)
    assert hint.reason == " ".join(message.split())


@given(
    st.integers(1, 9_999_999),
    st.integers(4, 2**63 - 1).filter(lambda pos: pos < 10**19),
    st.sampled_from([" and ", ", ", ", and ", " "]),
    st.sampled_from(["", "."]),
)
def test_any_coordinates_come_through(number: int, pos: int, joint: str, stop: str) -> None:
    file = f"mysql-bin-changelog.{number:06d}"
    hint = read_event(f"Binary log coordinates: file {file}{joint}position {pos}{stop}")
    assert hint == Hint("coordinates", coordinates=Coordinates(file, pos))


@given(st.integers(0, len(GUIDE)), st.text(min_size=1, max_size=8))
def test_text_put_in_anywhere_never_makes_another_place_out_of_white_space_or_junk(
    at: int, junk: str
) -> None:
    hint = read_event(GUIDE[:at] + junk + GUIDE[at:])
    if hint is not None and hint.coordinates is not None and hint.coordinates != PLACE:
        # Only letters and digits of the name or the number itself can change what it says.
        assert all(char.isascii() and (char.isalnum() or char in "_-.") for char in junk.strip())


@given(st.text(max_size=200))
def test_any_text_is_read_without_an_error(message: str) -> None:
    hint = read_event(message)
    assert hint is None or hint.kind
