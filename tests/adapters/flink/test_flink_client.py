from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
import requests

from cdc_assets.core.job import JobFacts, JobGone
from cdc_assets.errors import (
    ConfigurationError,
    EngineRejected,
    EngineUnreachable,
    SavepointFailed,
)

if TYPE_CHECKING:
    from cdc_assets.flink.client import FlinkClient
    from tests.adapters.flink.conftest import FakeClock, FakeServer, Payloads, Replies

JOB = "0123456789abcdef0123456789abcdef"
TRIGGER = "fedcba9876543210fedcba9876543210"
PATH = f"/jobs/{JOB}"
STATE = "file:///state/sp"


def overview_with(status: str, **tasks: int) -> dict[str, Any]:
    entry = {"jid": JOB, "name": "orders", "state": status, "start-time": 1000, "tasks": tasks}
    return {"jobs": [entry]}


def test_the_overview_tells_version_and_slots(
    flink: FlinkClient, server: FakeServer, payload: Payloads
) -> None:
    server.on("GET", "/overview", payload("overview"))

    facts = flink.overview()

    assert (facts.version, facts.task_managers, facts.slots_total) == ("1.20.3", 1, 8)


def test_the_job_list_keeps_ended_jobs_apart_from_running_ones(
    flink: FlinkClient, server: FakeServer, payload: Payloads
) -> None:
    server.on("GET", "/jobs/overview", payload("jobs_overview"))

    jobs = flink.jobs()

    assert [job.status for job in jobs if job.is_up] == ["RUNNING"]
    assert {job.status for job in jobs if job.is_terminal} == {"CANCELED", "FAILED", "FINISHED"}


def test_a_job_has_the_status_of_now_and_not_the_cached_one(
    flink: FlinkClient, server: FakeServer, payload: Payloads, reply: Replies
) -> None:
    server.on("GET", PATH, payload("job_running"))
    server.on("GET", f"{PATH}/status", reply({"status": "FINISHED"}))

    facts = flink.job(JOB)

    assert isinstance(facts, JobFacts)
    assert (facts.status, facts.is_up, facts.is_terminal) == ("FINISHED", False, True)


def test_a_running_job_names_its_sources(
    flink: FlinkClient, server: FakeServer, payload: Payloads, reply: Replies
) -> None:
    server.on("GET", PATH, payload("job_running"))
    server.on("GET", f"{PATH}/status", reply({"status": "RUNNING"}))

    facts = flink.job(JOB)

    assert isinstance(facts, JobFacts)
    assert facts.is_up
    assert facts.ended_at is None
    assert facts.started_at == datetime(2026, 11, 21, 11, 33, 5, 988000, tzinfo=timezone.utc)
    assert [vertex.name[:12] for vertex in facts.sources] == ["Source: s[1]"]


def test_a_restarting_job_is_not_up(
    flink: FlinkClient, server: FakeServer, payload: Payloads, reply: Replies
) -> None:
    server.on("GET", PATH, payload("job_restarting"))
    server.on("GET", f"{PATH}/status", reply({"status": "RUNNING"}))

    facts = flink.job(JOB)

    assert isinstance(facts, JobFacts)
    assert not facts.is_up


def test_an_unknown_job_is_gone_and_not_an_error(
    flink: FlinkClient, server: FakeServer, payload: Payloads
) -> None:
    server.on("GET", PATH, payload("job_gone"))
    server.on("GET", f"{PATH}/checkpoints", payload("checkpoints_gone"))
    server.on("GET", f"{PATH}/exceptions", payload("job_gone"))

    assert flink.job(JOB) == JobGone(JOB)
    assert flink.checkpoints(JOB) == JobGone(JOB)
    assert flink.exceptions(JOB) == JobGone(JOB)


def test_the_status_page_says_gone_with_a_500(
    flink: FlinkClient, server: FakeServer, payload: Payloads
) -> None:
    server.on("GET", f"{PATH}/status", payload("status_gone", **{"f" * 32: JOB}))

    assert flink.status(JOB) == JobGone(JOB)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, {"errors": ["Unable to load requested file /jobs/x."]}),
        (404, {"errors": ["Job ffffffffffffffffffffffffffffffff not found"]}),
    ],
)
def test_another_404_does_not_mean_that_the_job_is_gone(
    flink: FlinkClient, server: FakeServer, reply: Replies, status: int, body: object
) -> None:
    server.on("GET", PATH, reply(body, status))

    with pytest.raises(EngineRejected) as caught:
        flink.job(JOB)

    assert caught.value.status == 404


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_error_is_unreachable_and_not_gone(
    flink: FlinkClient, server: FakeServer, reply: Replies, status: int
) -> None:
    server.on("GET", PATH, reply({"errors": ["Service temporarily unavailable"]}, status))

    with pytest.raises(EngineUnreachable, match="Service temporarily unavailable"):
        flink.job(JOB)


def test_a_proxys_404_without_a_reason_is_unreachable(
    flink: FlinkClient, server: FakeServer, reply: Replies
) -> None:
    server.on("GET", PATH, reply({}, 404))

    with pytest.raises(EngineUnreachable, match="status 404"):
        flink.job(JOB)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "not a JSON object"),
        ({"jobs": "none"}, "field 'jobs' is not a list"),
        ({"jobs": [1]}, "not a JSON object"),
        ({"jobs": [{"jid": 7, "name": "a", "state": "RUNNING"}]}, "field 'jid' is not a text"),
        ({"jobs": [{"jid": JOB, "name": "a", "state": "DOWN"}]}, "unknown value 'DOWN'"),
        (
            {"jobs": [{"jid": JOB, "name": "a", "state": "RUNNING", "start-time": True}]},
            "field 'start-time' is not a whole number",
        ),
        (
            {"jobs": [{"jid": JOB, "name": "a", "state": "RUNNING", "start-time": 10**30}]},
            "field 'start-time' is not a time",
        ),
    ],
)
def test_a_payload_of_another_shape_is_unreachable_and_names_the_field(
    flink: FlinkClient, server: FakeServer, reply: Replies, body: object, words: str
) -> None:
    server.on("GET", "/jobs/overview", reply(body))

    with pytest.raises(EngineUnreachable, match=words):
        flink.jobs()


@pytest.mark.parametrize("bad", ["", "../overview", JOB.upper(), JOB + "0", JOB[:-1] + "\n"])
def test_an_id_that_is_not_32_hexadecimal_digits_is_never_sent(
    flink: FlinkClient, server: FakeServer, bad: str
) -> None:
    with pytest.raises(ConfigurationError, match="32 hexadecimal digits"):
        flink.job(bad)

    assert server.calls == []


def test_the_exception_history_gives_the_innermost_cause(
    flink: FlinkClient, server: FakeServer, payload: Payloads
) -> None:
    server.on("GET", f"{PATH}/exceptions", payload("job_failed_exceptions"))

    failures = flink.exceptions(JOB, limit=5)

    assert not isinstance(failures, JobGone)
    assert failures[0].name == "org.apache.flink.runtime.JobException"
    assert failures[0].cause.startswith("NumberFormatException: For input string:")
    assert "Recovery is suppressed" in failures[0].stack_trace
    assert failures[1].task_name == "Source: src[16] -> Calc[17] (1/1) - execution #0"
    assert server.queries[("GET", f"{PATH}/exceptions")] == [{"maxExceptions": ["5"]}]


def test_failures_at_the_same_moment_are_listed_too(
    flink: FlinkClient, server: FakeServer, reply: Replies
) -> None:
    other = {"exceptionName": "b.B", "stacktrace": "b.B: two", "timestamp": 2, "taskName": "t2"}
    entry: dict[str, object] = {
        **other,
        "exceptionName": "a.A",
        "stacktrace": "a.A: one",
        "taskName": None,
    }
    entry["concurrentExceptions"] = [other]
    server.on("GET", f"{PATH}/exceptions", reply({"exceptionHistory": {"entries": [entry]}}))

    failures = flink.exceptions(JOB)

    assert not isinstance(failures, JobGone)
    assert [failure.cause for failure in failures] == ["A: one", "B: two"]


def test_a_stack_trace_is_not_in_the_repr(
    flink: FlinkClient, server: FakeServer, payload: Payloads
) -> None:
    server.on("GET", f"{PATH}/exceptions", payload("job_failed_exceptions"))

    assert "ExecutionFailureHandler" not in repr(flink.exceptions(JOB))


def test_checkpoints_tell_the_newest_of_each_kind(
    flink: FlinkClient, server: FakeServer, payload: Payloads
) -> None:
    server.on("GET", f"{PATH}/checkpoints", payload("checkpoints"))

    facts = flink.checkpoints(JOB)

    assert not isinstance(facts, JobGone)
    assert (facts.counts.total, facts.counts.completed, facts.counts.failed) == (8, 5, 3)
    assert facts.latest_completed is not None
    assert facts.latest_completed.checkpoint_id == 3
    assert facts.latest_completed.external_path == f"file:/state/ck/{JOB}/chk-3"
    assert facts.latest_completed.discarded
    assert facts.latest_savepoint is not None
    assert facts.latest_savepoint.is_savepoint
    assert facts.latest_savepoint.ends_job
    assert facts.latest_failed is not None
    assert "IO-problem" in facts.latest_failed.failure_message
    assert [one.checkpoint_id for one in facts.history] == [8, 7, 6, 5, 4, 3, 2, 1]
    assert facts.failed_since_completed == 0


def test_checkpoints_tell_what_the_job_was_restored_from(
    flink: FlinkClient, server: FakeServer, payload: Payloads
) -> None:
    server.on("GET", f"{PATH}/checkpoints", payload("checkpoints_restored"))

    facts = flink.checkpoints(JOB)

    assert not isinstance(facts, JobGone)
    assert facts.restored is not None
    assert facts.restored.external_path == f"file:/state/ck/{JOB}/chk-1"
    assert facts.latest_completed is None
    # Attempts that fail before a task is asked are counted and not listed.
    assert (facts.counts.failed, facts.failed_since_completed) == (2, 0)


def test_a_checkpoint_in_memory_has_no_path(
    flink: FlinkClient, server: FakeServer, payload: Payloads
) -> None:
    nowhere = {f"file:/state/ck/{JOB}/chk-3": "<checkpoint-not-externally-addressable>"}
    server.on("GET", f"{PATH}/checkpoints", payload("checkpoints", **nowhere))

    facts = flink.checkpoints(JOB)

    assert not isinstance(facts, JobGone)
    assert facts.latest_completed is not None
    assert facts.latest_completed.external_path == ""


def test_a_job_without_checkpointing_has_none_and_says_so(
    flink: FlinkClient, server: FakeServer, reply: Replies
) -> None:
    text = "org.apache.flink.runtime.rest.handler.RestHandlerException: Checkpointing has not been"
    server.on("GET", f"{PATH}/checkpoints", reply({"errors": [f"{text} enabled."]}, 404))

    facts = flink.checkpoints(JOB)

    assert not isinstance(facts, JobGone)
    assert not facts.enabled
    assert facts.latest_completed is None


def test_a_checkpoint_that_was_asked_for_is_returned_by_its_number(
    flink: FlinkClient, server: FakeServer, payload: Payloads, reply: Replies
) -> None:
    server.on("POST", f"{PATH}/checkpoints", reply({"request-id": TRIGGER}, 202))
    server.on(
        "GET",
        f"{PATH}/checkpoints/{TRIGGER}",
        payload("checkpoint_in_progress"),
        payload("checkpoint_triggered"),
    )

    assert flink.take_checkpoint(JOB, trigger_id=TRIGGER, budget_seconds=10) == 2

    assert server.bodies["POST", f"{PATH}/checkpoints"] == [
        {"checkpointType": "CONFIGURED", "triggerId": TRIGGER}
    ]


def test_a_checkpoint_that_flink_declines_is_an_error_with_the_cause(
    flink: FlinkClient, server: FakeServer, payload: Payloads, reply: Replies
) -> None:
    server.on("POST", f"{PATH}/checkpoints", reply({"request-id": TRIGGER}, 202))
    server.on("GET", f"{PATH}/checkpoints/{TRIGGER}", payload("checkpoint_not_running"))

    with pytest.raises(SavepointFailed, match="Not all required tasks are currently running"):
        flink.take_checkpoint(JOB, trigger_id=TRIGGER, budget_seconds=10)


def test_a_savepoint_returns_its_path(
    flink: FlinkClient, server: FakeServer, payload: Payloads, reply: Replies
) -> None:
    server.on("POST", f"{PATH}/savepoints", reply({"request-id": TRIGGER}, 202))
    server.on("GET", f"{PATH}/savepoints/{TRIGGER}", payload("savepoint_done"))

    path = flink.savepoint(JOB, STATE, trigger_id=TRIGGER, budget_seconds=10)

    assert path == "file:/state/sp/savepoint-892bf2-bd4f42e160d5"
    assert server.bodies[("POST", f"{PATH}/savepoints")] == [
        {
            "target-directory": STATE,
            "cancel-job": False,
            "formatType": "CANONICAL",
            "triggerId": TRIGGER,
        }
    ]


def test_a_savepoint_with_the_status_completed_and_a_failure_cause_has_failed(
    flink: FlinkClient, server: FakeServer, payload: Payloads, reply: Replies
) -> None:
    server.on("POST", f"{PATH}/savepoints", reply({"request-id": TRIGGER}, 202))
    server.on("GET", f"{PATH}/savepoints/{TRIGGER}", payload("savepoint_bad_directory"))

    with pytest.raises(SavepointFailed, match="Failed to create savepoint directory"):
        flink.savepoint(JOB, STATE, trigger_id=TRIGGER, budget_seconds=10)


def test_a_stop_never_drains_and_sends_its_own_trigger_id(
    flink: FlinkClient, server: FakeServer, payload: Payloads, reply: Replies
) -> None:
    server.on("POST", f"{PATH}/stop", reply({"request-id": TRIGGER}, 202))
    server.on("GET", f"{PATH}/savepoints/{TRIGGER}", payload("stop_done"))

    path = flink.stop_with_savepoint(JOB, STATE, trigger_id=TRIGGER, budget_seconds=10)

    assert path == "file:/state/sp/savepoint-892bf2-55969225b217"
    assert server.bodies[("POST", f"{PATH}/stop")] == [
        {"targetDirectory": STATE, "drain": False, "formatType": "CANONICAL", "triggerId": TRIGGER}
    ]


def test_a_stop_goes_on_when_the_connection_is_lost_in_the_middle(
    flink: FlinkClient, server: FakeServer, payload: Payloads, reply: Replies
) -> None:
    server.on(
        "POST",
        f"{PATH}/stop",
        requests.exceptions.ConnectionError("Connection refused"),
        reply({"request-id": TRIGGER}, 202),
    )
    server.on(
        "GET",
        f"{PATH}/savepoints/{TRIGGER}",
        requests.exceptions.ConnectionError("Connection refused"),
        payload("stop_done"),
    )

    path = flink.stop_with_savepoint(JOB, STATE, trigger_id=TRIGGER, budget_seconds=10)

    assert path.endswith("55969225b217")
    sent = server.bodies[("POST", f"{PATH}/stop")]
    assert [body["triggerId"] for body in sent] == [TRIGGER, TRIGGER]


def test_a_stop_of_a_job_that_this_stop_ended_before_returns_the_same_savepoint(
    flink: FlinkClient, server: FakeServer, payload: Payloads, reply: Replies
) -> None:
    server.on("POST", f"{PATH}/stop", reply({"request-id": TRIGGER}, 202))
    server.on("GET", f"{PATH}/savepoints/{TRIGGER}", payload("stop_not_running"))
    server.on("GET", f"{PATH}/status", reply({"status": "FINISHED"}))
    # The statistics lag behind the end of the job.
    old = payload("checkpoints_restored")
    server.on("GET", f"{PATH}/checkpoints", old, payload("checkpoints"))

    path = flink.stop_with_savepoint(JOB, STATE, trigger_id=TRIGGER, budget_seconds=10)

    assert path == "file:/state/sp/savepoint-892bf2-55969225b217"


@pytest.mark.parametrize(
    ("status", "directory", "checkpoints"),
    [
        ("FINISHED", "file:///state/other", "checkpoints"),
        ("FINISHED", STATE, "checkpoints_restored"),
        ("CANCELED", STATE, "checkpoints"),
        ("RUNNING", STATE, "checkpoints"),
    ],
)
def test_a_stop_of_a_job_that_ended_otherwise_fails(  # noqa: PLR0917  fixtures and parameters
    flink: FlinkClient,
    server: FakeServer,
    payload: Payloads,
    reply: Replies,
    status: str,
    directory: str,
    checkpoints: str,
) -> None:
    server.on("POST", f"{PATH}/stop", reply({"request-id": TRIGGER}, 202))
    server.on("GET", f"{PATH}/savepoints/{TRIGGER}", payload("stop_not_running"))
    server.on("GET", f"{PATH}/status", reply({"status": status}))
    server.on("GET", f"{PATH}/checkpoints", payload(checkpoints))

    with pytest.raises(SavepointFailed, match="The job does not run any more"):
        flink.stop_with_savepoint(JOB, directory, trigger_id=TRIGGER, budget_seconds=10)


def test_a_stop_of_a_gone_job_says_that_it_is_gone(
    flink: FlinkClient, server: FakeServer, payload: Payloads
) -> None:
    server.on("POST", f"{PATH}/stop", payload("job_gone"))

    with pytest.raises(EngineRejected, match="is gone from the cluster"):
        flink.stop_with_savepoint(JOB, STATE, trigger_id=TRIGGER, budget_seconds=10)


def test_a_stop_that_takes_longer_than_its_budget_fails_and_says_how_to_go_on(
    flink: FlinkClient, server: FakeServer, payload: Payloads, reply: Replies, clock: FakeClock
) -> None:
    server.on("POST", f"{PATH}/stop", reply({"request-id": TRIGGER}, 202))
    server.on("GET", f"{PATH}/savepoints/{TRIGGER}", payload("checkpoint_in_progress"))
    server.on("GET", f"{PATH}/status", reply({"status": "RUNNING"}))

    with pytest.raises(SavepointFailed, match=r"after 5 s\. Ask again with the same trigger id"):
        flink.stop_with_savepoint(JOB, STATE, trigger_id=TRIGGER, budget_seconds=5)

    assert sum(clock.slept) == pytest.approx(5)
    assert max(clock.slept) <= 0.2


@pytest.mark.parametrize(
    ("name", "status", "outcome"),
    [
        ("empty", 202, "ACCEPTED"),
        ("cancel_over", 409, "ALREADY_OVER"),
        ("cancel_gone", 404, "GONE"),
    ],
)
def test_cancel_tells_whether_there_was_something_to_cancel(  # noqa: PLR0917  fixtures and parameters
    flink: FlinkClient,
    server: FakeServer,
    payload: Payloads,
    reply: Replies,
    name: str,
    status: int,
    outcome: str,
) -> None:
    server.on("PATCH", PATH, reply({}, status) if name == "empty" else payload(name))

    assert flink.cancel(JOB) == outcome
    assert server.queries[("PATCH", PATH)] == [{"mode": ["cancel"]}]


def test_waiting_for_the_end_ends_with_a_terminal_status_or_gone(
    flink: FlinkClient, server: FakeServer, payload: Payloads, reply: Replies
) -> None:
    running, over = reply({"status": "CANCELLING"}), reply({"status": "CANCELED"})
    server.on("GET", f"{PATH}/status", running, running, over)
    assert flink.wait_terminal(JOB, budget_seconds=10) == "CANCELED"

    server.on("GET", f"{PATH}/status", running, payload("status_gone", **{"f" * 32: JOB}))
    assert flink.wait_terminal(JOB, budget_seconds=10) == JobGone(JOB)


def test_a_job_that_does_not_end_within_the_budget_is_an_error(
    flink: FlinkClient, server: FakeServer, reply: Replies
) -> None:
    server.on("GET", f"{PATH}/status", reply({"status": "CANCELLING"}))

    with pytest.raises(EngineRejected, match="still CANCELLING after 3 s"):
        flink.wait_terminal(JOB, budget_seconds=3)


def test_a_suspended_job_is_not_over(
    flink: FlinkClient, server: FakeServer, reply: Replies
) -> None:
    server.on("GET", f"{PATH}/status", reply({"status": "SUSPENDED"}))

    with pytest.raises(EngineRejected, match="still SUSPENDED"):
        flink.wait_terminal(JOB, budget_seconds=1)


def test_a_job_runs_only_when_each_of_its_tasks_runs(
    flink: FlinkClient, server: FakeServer, reply: Replies, clock: FakeClock
) -> None:
    server.on(
        "GET",
        "/jobs/overview",
        reply(overview_with("INITIALIZING")),
        reply(overview_with("RUNNING", scheduled=1, running=1, total=2)),
        reply(overview_with("RUNNING", running=2, total=2)),
    )

    outcome = flink.wait_running(JOB, budget_seconds=10)

    assert (outcome.state, outcome.status, outcome.cause) == ("RUNNING", "RUNNING", None)
    assert len(clock.slept) == 2


def test_a_job_that_waits_for_slots_is_pending_and_not_failed(
    flink: FlinkClient, server: FakeServer, reply: Replies
) -> None:
    waiting = reply(overview_with("RUNNING", scheduled=2, total=2))
    server.on("GET", "/jobs/overview", waiting)
    server.on("GET", f"{PATH}/exceptions", reply({"exceptionHistory": {"entries": []}}))

    outcome = flink.wait_running(JOB, budget_seconds=2)

    assert (outcome.state, outcome.status, outcome.cause) == ("PENDING", "RUNNING", None)


def test_a_job_that_restarts_over_and_over_is_pending_with_its_cause(
    flink: FlinkClient, server: FakeServer, payload: Payloads, reply: Replies
) -> None:
    server.on("GET", "/jobs/overview", reply(overview_with("RESTARTING", failed=1, total=1)))
    server.on("GET", f"{PATH}/exceptions", payload("job_failed_exceptions"))

    outcome = flink.wait_running(JOB, budget_seconds=2)

    assert (outcome.state, outcome.status) == ("PENDING", "RESTARTING")
    assert outcome.cause is not None
    assert outcome.cause.cause.startswith("NumberFormatException")


@pytest.mark.parametrize("status", ["FAILED", "CANCELED"])
def test_a_job_that_ended_is_not_waited_for(  # noqa: PLR0917  fixtures and parameters
    flink: FlinkClient,
    server: FakeServer,
    payload: Payloads,
    reply: Replies,
    clock: FakeClock,
    status: str,
) -> None:
    server.on("GET", "/jobs/overview", reply(overview_with(status, failed=1, total=1)))
    server.on("GET", f"{PATH}/exceptions", payload("job_failed_exceptions"))

    outcome = flink.wait_running(JOB, budget_seconds=10)

    assert outcome.state == status
    assert outcome.cause is not None
    assert clock.slept == []


def test_a_bounded_job_may_finish_before_it_is_seen_to_run(
    flink: FlinkClient, server: FakeServer, reply: Replies
) -> None:
    server.on("GET", "/jobs/overview", reply(overview_with("FINISHED", finished=1, total=1)))

    assert flink.wait_running(JOB, budget_seconds=10).state == "FINISHED"


def test_a_job_that_is_not_in_the_list_is_gone(
    flink: FlinkClient, server: FakeServer, payload: Payloads
) -> None:
    server.on("GET", "/jobs/overview", payload("jobs_overview"))

    outcome = flink.wait_running(JOB, budget_seconds=10)

    assert (outcome.state, outcome.status) == ("GONE", None)


def test_a_job_manager_that_is_away_for_a_moment_is_waited_for(
    flink: FlinkClient, server: FakeServer, reply: Replies
) -> None:
    away = requests.exceptions.ConnectionError("Connection refused")
    up = reply(overview_with("RUNNING", running=1, total=1))
    server.on("GET", "/jobs/overview", away, away, up)

    assert flink.wait_running(JOB, budget_seconds=10).state == "RUNNING"


def test_a_job_manager_that_stays_away_is_unreachable_and_not_failed(
    flink: FlinkClient, server: FakeServer
) -> None:
    server.on("GET", "/jobs/overview", requests.exceptions.ConnectionError("Connection refused"))

    with pytest.raises(EngineUnreachable):
        flink.wait_running(JOB, budget_seconds=2)


def test_restarts_are_unknown_until_flink_has_a_figure(
    flink: FlinkClient, server: FakeServer, reply: Replies
) -> None:
    server.on("GET", f"{PATH}/metrics", reply([]), reply([{"id": "numRestarts", "value": "3"}]))

    assert flink.restarts(JOB) is None
    assert flink.restarts(JOB) == 3


def test_the_progress_of_a_source_comes_from_its_operator(
    flink: FlinkClient, server: FakeServer, payload: Payloads, reply: Replies
) -> None:
    server.on("GET", PATH, payload("job_running"))
    server.on("GET", f"{PATH}/status", reply({"status": "RUNNING"}))
    metrics = f"{PATH}/vertices/cbc357ccb763df2852fee8c4fc7d55f2/subtasks/metrics"
    server.on("GET", metrics, payload("metrics_names"), payload("metrics_sums"))

    progress = flink.source_progress(JOB)

    assert not isinstance(progress, JobGone)
    assert [(one.operator, one.records_out) for one in progress] == [("Source__s[37]", 23571)]
    asked = server.queries[("GET", metrics)][1]
    assert asked == {
        "get": ["Source__s[37].numRecordsIn,Source__s[37].numRecordsOut"],
        "agg": ["sum"],
    }


def test_a_job_whose_tasks_report_nothing_yet_has_no_progress(
    flink: FlinkClient, server: FakeServer, payload: Payloads, reply: Replies
) -> None:
    server.on("GET", PATH, payload("job_running"))
    server.on("GET", f"{PATH}/status", reply({"status": "RUNNING"}))
    metrics = f"{PATH}/vertices/cbc357ccb763df2852fee8c4fc7d55f2/subtasks/metrics"
    server.on("GET", metrics, payload("metrics_none"))

    assert flink.source_progress(JOB) == ()


def test_a_metric_that_is_not_a_number_is_left_out(
    flink: FlinkClient, server: FakeServer, reply: Replies
) -> None:
    server.on("GET", f"{PATH}/metrics", reply([{"id": "numRestarts", "value": "NaN"}]))

    assert flink.restarts(JOB) is None
