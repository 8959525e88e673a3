"""The line that a run of kills ends with."""

from __future__ import annotations

from cdc_assets.lab.kills import Tally


def test_the_last_line_counts_what_was_lost_and_what_came_again() -> None:
    tally = Tally("kafka", 20, 8000, 0, 0, 9900, 12)
    assert tally.line == (
        "kills 20, target kafka, rows written 8000, rows lost 0, rows doubled 0, "
        "rows repeated 12 of 9900"
    )


def test_a_target_without_a_trace_says_so() -> None:
    assert Tally("iceberg", 2, 10, 0, 0, None, None).line.endswith("rows repeated unknown")
