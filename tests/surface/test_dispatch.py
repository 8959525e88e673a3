"""When a run counts as alive, and when the next one is asked for."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from dagster import DagsterRunStatus as Status

from cdc_assets.dispatch import Limits, Worker, is_alive, reason_to_wait

NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
LIMITS = Limits()


def worker(
    status: Status,
    *,
    age: float,
    silent: float | None = None,
    recovery: str = "shop:1",
    run_id: str = "0123456789",
) -> Worker:
    seen_at = None if silent is None else NOW - timedelta(seconds=silent)
    return Worker(run_id, status, NOW - timedelta(seconds=age), recovery, seen_at)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (worker(Status.STARTED, age=5, silent=1), True),
        (worker(Status.STARTED, age=3600, silent=4), True),
        (worker(Status.STARTED, age=3600, silent=21), False),
        (worker(Status.STARTED, age=30, silent=21), False),
        (worker(Status.STARTING, age=59), True),
        (worker(Status.STARTING, age=61, silent=1), False),
        (worker(Status.NOT_STARTED, age=59), True),
        (worker(Status.NOT_STARTED, age=61), False),
        (worker(Status.QUEUED, age=9000), True),
        (worker(Status.CANCELING, age=9000, silent=2), True),
        (worker(Status.FAILURE, age=1, silent=1), False),
        (worker(Status.SUCCESS, age=1), False),
        (worker(Status.CANCELED, age=1), False),
    ],
)
def test_a_run_is_alive_while_it_gives_signs(found: Worker, *, expected: bool) -> None:
    assert is_alive(found, NOW, LIMITS) is expected


def test_the_first_request_waits_for_nothing() -> None:
    assert reason_to_wait([], "shop:1", NOW, LIMITS) is None


def test_a_dead_run_is_waited_for_no_longer_than_the_pause() -> None:
    dead = worker(Status.STARTED, age=61, silent=40)
    assert reason_to_wait([dead], "shop:1", NOW, LIMITS) is None


def test_a_live_run_of_another_recovery_of_the_stream_is_waited_for() -> None:
    live = worker(Status.STARTED, age=5, silent=1, recovery="shop:0")
    assert "recovery shop:0" in str(reason_to_wait([live], "shop:1", NOW, LIMITS))


def test_the_pause_counts_over_recoveries_of_the_stream() -> None:
    ended = worker(Status.SUCCESS, age=10, recovery="shop:0")
    assert "comes after 20 s" in str(reason_to_wait([ended], "shop:1", NOW, LIMITS))


@pytest.mark.parametrize(("failures", "pause"), [(1, 20), (3, 20), (4, 40), (5, 80), (9, 300)])
def test_the_pause_grows_with_failures_up_to_a_limit(failures: int, pause: float) -> None:
    def failed(age: float) -> list[Worker]:
        return [worker(Status.FAILURE, age=age + index * 1000) for index in range(failures)]

    assert reason_to_wait(failed(pause - 1), "shop:1", NOW, LIMITS) is not None
    assert reason_to_wait(failed(pause), "shop:1", NOW, LIMITS) is None


def test_a_run_that_moves_the_stream_by_hand_counts_only_while_it_lives() -> None:
    live = worker(Status.STARTED, age=5, silent=1, recovery="")
    over = worker(Status.SUCCESS, age=1, recovery="")
    assert "at work on the stream" in str(reason_to_wait([live], "shop:1", NOW, LIMITS))
    assert reason_to_wait([over], "shop:1", NOW, LIMITS) is None
