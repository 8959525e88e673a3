from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from cdc_assets.errors import (
    CheckpointUnreadable,
    ConfigurationError,
    EngineRejected,
    EngineUnreachable,
    JobExists,
)

if TYPE_CHECKING:
    from cdc_assets.flink.gateway import SqlGateway
    from tests.adapters.flink.conftest import FakeClock, FakeServer, Payloads, Replies

JOB = "0123456789abcdef0123456789abcdef"
SESSION = "/v2/sessions/11111111-2222-3333-4444-555555555555"
OPERATION = f"{SESSION}/operations/66666666-7777-8888-9999-000000000000"
RESULT = f"{OPERATION}/result"
DDL = [
    "CREATE TABLE src (id INT) WITH ('connector' = 'mysql-cdc', 'password' = 'geheim')",
    "CREATE TABLE snk (id INT) WITH ('connector' = 'jdbc', 'password' = 'geheim')",
]
INSERT = "INSERT INTO snk SELECT * FROM src"


@pytest.fixture(autouse=True)
def _an_open_session(server: FakeServer, reply: Replies) -> None:
    server.on("POST", "/v2/sessions", reply({"sessionHandle": SESSION.rpartition("/")[2]}))
    server.on("POST", f"{SESSION}/configure-session", reply({}))
    server.on(
        "POST", f"{SESSION}/statements", reply({"operationHandle": OPERATION.rpartition("/")[2]})
    )
    server.on("POST", f"{OPERATION}/cancel", reply({"status": "CANCELED"}))
    server.on("DELETE", SESSION, reply({"status": "CLOSED"}))


def submitted(
    gateway: SqlGateway,
    *,
    restore_path: str | None = None,
    config: dict[str, str] | None = None,
    budget_seconds: float = 60,
) -> str:
    return gateway.submit_job(
        DDL,
        INSERT,
        job_id=JOB,
        job_name="orders #1",
        restore_path=restore_path,
        config=config,
        budget_seconds=budget_seconds,
    )


def test_the_gateway_tells_its_version(
    gateway: SqlGateway, server: FakeServer, payload: Payloads
) -> None:
    server.on("GET", "/info", payload("gateway_info"))

    assert gateway.version() == "1.20.3"


def test_a_job_is_submitted_under_the_chosen_id_in_a_session_of_its_own(
    gateway: SqlGateway, server: FakeServer, payload: Payloads
) -> None:
    server.on("GET", f"{RESULT}/0", payload("gateway_not_ready"), payload("gateway_submitted"))

    assert submitted(gateway, config={"parallelism.default": "2"}) == JOB

    assert server.bodies[("POST", "/v2/sessions")] == [{"properties": {}}]
    configured = server.bodies[("POST", f"{SESSION}/configure-session")]
    assert [body["statement"] for body in configured] == DDL
    assert server.bodies[("POST", f"{SESSION}/statements")] == [
        {
            "statement": INSERT,
            "executionConfig": {
                "parallelism.default": "2",
                "$internal.pipeline.job-id": JOB,
                "pipeline.name": "orders #1",
                "rest.retry.max-attempts": "0",
            },
        }
    ]
    assert server.calls[-1] == ("DELETE", SESSION)


def test_a_restore_path_goes_with_the_statement_and_is_not_claimed(
    gateway: SqlGateway, server: FakeServer, payload: Payloads
) -> None:
    server.on("GET", f"{RESULT}/0", payload("gateway_submitted"))

    submitted(gateway, restore_path="file:/state/ck/chk-3")

    sent = server.bodies[("POST", f"{SESSION}/statements")][0]["executionConfig"]
    assert sent["execution.state-recovery.path"] == "file:/state/ck/chk-3"
    assert sent["execution.state-recovery.claim-mode"] == "NO_CLAIM"


@pytest.mark.parametrize(
    "key",
    [
        "$internal.pipeline.job-id",
        "pipeline.name",
        "execution.state-recovery.path",
        "execution.state-recovery.claim-mode",
        "execution.savepoint.path",
    ],
)
def test_a_setting_that_the_launch_makes_cannot_be_overridden(
    gateway: SqlGateway, server: FakeServer, key: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        submitted(gateway, config={key: "x"})

    assert caught.value.field == key
    assert server.calls == []


def test_a_second_submission_of_an_id_is_refused_as_such(
    gateway: SqlGateway, server: FakeServer, payload: Payloads
) -> None:
    server.on("GET", f"{RESULT}/0", payload("gateway_duplicate"))

    with pytest.raises(JobExists) as caught:
        submitted(gateway)

    assert isinstance(caught.value, EngineRejected)
    assert caught.value.recoverability == "RESUMABLE"
    assert caught.value.message.endswith(
        "DuplicateJobSubmissionException: Job has already been submitted"
    )


@pytest.mark.parametrize("name", ["gateway_restore_truncated", "gateway_restore_missing"])
def test_an_unreadable_restore_path_is_told_apart_from_a_bad_statement(
    gateway: SqlGateway, server: FakeServer, payload: Payloads, name: str
) -> None:
    server.on("GET", f"{RESULT}/0", payload(name))

    with pytest.raises(CheckpointUnreadable) as caught:
        submitted(gateway, restore_path="file:/state/ck/chk-3")

    assert caught.value.path == "file:/state/ck/chk-3"


def test_state_of_another_job_is_a_refusal_that_says_what_to_do(
    gateway: SqlGateway, server: FakeServer, payload: Payloads
) -> None:
    server.on("GET", f"{RESULT}/0", payload("gateway_state_mismatch"))

    with pytest.raises(EngineRejected, match="start from the recorded position") as caught:
        submitted(gateway, restore_path="file:/state/ck/chk-3")

    assert not isinstance(caught.value, JobExists)


def test_flink_that_does_not_answer_the_gateway_is_unreachable_at_once(
    gateway: SqlGateway, server: FakeServer, payload: Payloads, clock: FakeClock
) -> None:
    server.on("GET", f"{RESULT}/0", payload("gateway_flink_away"))

    with pytest.raises(EngineUnreachable, match="Connection refused"):
        submitted(gateway)

    assert clock.slept == []


def test_a_gateway_that_does_not_answer_is_unreachable(
    gateway: SqlGateway, server: FakeServer
) -> None:
    server.on("POST", "/v2/sessions", refused())

    with pytest.raises(EngineUnreachable, match="connection refused"):
        submitted(gateway)


def test_a_gateway_that_is_away_for_a_moment_is_asked_for_the_result_again(
    gateway: SqlGateway, server: FakeServer, payload: Payloads
) -> None:
    server.on("GET", f"{RESULT}/0", refused(), payload("gateway_submitted"))

    assert submitted(gateway) == JOB
    assert len(server.bodies[("POST", f"{SESSION}/statements")]) == 1


def test_a_submission_that_is_not_done_in_time_is_canceled_and_unreachable(
    gateway: SqlGateway, server: FakeServer, payload: Payloads, clock: FakeClock
) -> None:
    server.on("GET", f"{RESULT}/0", payload("gateway_not_ready"))

    with pytest.raises(EngineUnreachable, match="only under the same job id"):
        submitted(gateway, budget_seconds=3)

    assert sum(clock.slept) == pytest.approx(3)
    assert ("POST", f"{OPERATION}/cancel") in server.calls
    assert server.calls[-1] == ("DELETE", SESSION)


def test_a_job_under_another_id_is_an_error(
    gateway: SqlGateway, server: FakeServer, payload: Payloads
) -> None:
    server.on("GET", f"{RESULT}/0", payload("gateway_submitted", **{JOB: "f" * 32}))

    with pytest.raises(EngineRejected, match=f"runs as {'f' * 32}, not as {JOB}"):
        submitted(gateway)


def test_an_id_that_is_not_32_hexadecimal_digits_is_never_sent(
    gateway: SqlGateway, server: FakeServer
) -> None:
    with pytest.raises(ConfigurationError, match="32 hexadecimal digits"):
        gateway.submit_job(DDL, INSERT, job_id="x", job_name="orders")

    assert server.calls == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gateway_bad_sql", "Non-query expression encountered in illegal context"),
        ("gateway_bad_table", "Object 'nix' not found"),
        ("gateway_bad_connector", "Put the connector's jar on the class path"),
        ("gateway_bad_option", "Unsupported options found for 'blackhole'"),
    ],
)
def test_a_refused_statement_gives_the_innermost_cause_in_one_line_without_secrets(
    gateway: SqlGateway, server: FakeServer, payload: Payloads, name: str, words: str
) -> None:
    server.on("GET", f"{RESULT}/0", payload(name))

    with pytest.raises(EngineRejected, match=words) as caught:
        submitted(gateway)

    assert "geheim" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert server.calls[-1] == ("DELETE", SESSION)


def test_a_refused_ddl_statement_is_named_without_its_options(
    gateway: SqlGateway, server: FakeServer, payload: Payloads
) -> None:
    server.on("POST", f"{SESSION}/configure-session", payload("gateway_bad_ddl"))

    with pytest.raises(EngineRejected, match="CREATE TABLE src: ParseException") as caught:
        submitted(gateway)

    assert "geheim" not in str(caught.value)
    assert "geheim" not in "".join(str(caught.value.__cause__ or caught.value.__context__))


def test_a_statement_that_echoes_a_secret_is_redacted(
    gateway: SqlGateway, server: FakeServer, reply: Replies
) -> None:
    echo = 'x.Outer\nCaused by: a.ParseException: Encountered "geheim" at line 1'
    server.on("GET", f"{RESULT}/0", reply({"errors": ["Internal server error.", echo]}, 500))

    with pytest.raises(EngineRejected, match=r'Encountered "\*\*\*" at line 1'):
        gateway.submit_job([], "INSERT geheim INTO", job_id=JOB, job_name="orders")


def test_rows_are_collected_over_all_pages(
    gateway: SqlGateway, server: FakeServer, payload: Payloads, clock: FakeClock
) -> None:
    server.on(
        "GET", f"{RESULT}/0", payload("gateway_not_ready"), payload("gateway_query_empty_page")
    )
    server.on("GET", f"{RESULT}/2", payload("gateway_query_page", **{"result/374": "result/3"}))
    server.on("GET", f"{RESULT}/3", payload("gateway_query_end"))

    with gateway.open_session({"execution.runtime-mode": "batch"}) as session:
        result = session.execute("SELECT * FROM t")

    assert result.columns == ("a", "b")
    assert result.rows == ((1, "a"), (2, None))
    assert result.job_id == JOB
    assert server.queries[("GET", f"{RESULT}/3")] == [{"rowFormat": ["JSON"]}]
    # An empty page is no reason to ask again at once.
    assert len(clock.slept) == 2


def test_a_result_that_never_ends_is_given_up(
    gateway: SqlGateway, server: FakeServer, reply: Replies
) -> None:
    page = {
        "resultType": "PAYLOAD",
        "results": {"columns": [{"name": "a"}], "data": [{"kind": "INSERT", "fields": [1]}] * 6000},
        "nextResultUri": f"{RESULT}/0?rowFormat=JSON",
    }
    server.on("GET", f"{RESULT}/0", reply(page))

    with gateway.open_session() as session, pytest.raises(EngineRejected, match="10000 rows"):
        session.execute("SELECT * FROM t")


def test_a_session_is_closed_when_the_work_in_it_fails(
    gateway: SqlGateway, server: FakeServer
) -> None:
    with pytest.raises(ZeroDivisionError), gateway.open_session():
        _ = 1 / 0

    assert server.calls[-1] == ("DELETE", SESSION)


def test_a_session_that_cannot_be_closed_hides_no_result(
    gateway: SqlGateway, server: FakeServer, payload: Payloads
) -> None:
    server.on("GET", f"{RESULT}/0", payload("gateway_submitted"))
    server.on("DELETE", SESSION, refused())

    assert submitted(gateway) == JOB


def test_a_session_that_ended_says_so(
    gateway: SqlGateway, server: FakeServer, payload: Payloads
) -> None:
    server.on("POST", f"{SESSION}/configure-session", payload("gateway_session_closed"))

    with gateway.open_session() as session, pytest.raises(EngineRejected, match="idle time"):
        session.configure("SET 'a' = 'b'")


@pytest.mark.parametrize("handle", ["", "../../x", "a/b", "a" * 65])
def test_a_handle_that_is_not_a_handle_is_unreachable(
    gateway: SqlGateway, server: FakeServer, reply: Replies, handle: str
) -> None:
    server.on("POST", "/v2/sessions", reply({"sessionHandle": handle}))

    with pytest.raises(EngineUnreachable, match="handle"):
        submitted(gateway)


def test_the_next_page_is_taken_from_the_gateway_and_nowhere_else(
    gateway: SqlGateway, server: FakeServer, payload: Payloads, reply: Replies
) -> None:
    first = {"resultType": "PAYLOAD", "nextResultUri": "http://elsewhere.test/x/result/7?a=b"}
    server.on("GET", f"{RESULT}/0", reply(first))
    server.on("GET", f"{RESULT}/7", payload("gateway_submitted"))

    assert submitted(gateway) == JOB


def refused() -> Exception:
    return requests.exceptions.ConnectionError("Connection refused")
