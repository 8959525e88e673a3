from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.core.failure_text import causes, classify_failure, innermost_cause

RECORDED = Path(__file__).parent / "failure_texts"

NEW_POSITION = "needs-new-position"
OPERATOR = "needs-operator"
TRANSIENT = "transient"

# Every row of the table of failure texts, in its order: (text, class, kind).
TABLE = [
    (
        'Cannot find factory with identifier "kafka" in the classpath.',
        OPERATOR,
        "class-path",
    ),
    (
        "java.lang.NoClassDefFoundError: org/apache/flink/cdc/runtime/typeutils/EventTypeInfo",
        OPERATOR,
        "class-path",
    ),
    (
        (
            "The connector is trying to read binlog starting at "
            "Struct{file=mysql-bin.000999,pos=4}, "
            "but this is no longer available on the server. Reconfigure the connector to use a "
            "snapshot when needed."
        ),
        NEW_POSITION,
        "purged",
    ),
    ("Cannot replicate because the master purged required binary logs.", NEW_POSITION, "purged"),
    ("Cannot replicate because the source purged required binary logs.", NEW_POSITION, "purged"),
    (
        (
            "The slave is connecting using CHANGE MASTER TO "
            "MASTER_AUTO_POSITION = 1, but the master "
            "has purged binary logs containing GTIDs that the slave requires."
        ),
        NEW_POSITION,
        "purged",
    ),
    (
        "the source has purged binary logs containing GTIDs that the replica requires",
        NEW_POSITION,
        "purged",
    ),
    (
        (
            "Could not find GTID state requested by slave in any binlog files. Probably the slave "
            "state is too old and required binlog files have been purged."
        ),
        NEW_POSITION,
        "purged",
    ),
    ("Could not find first log file name in binary log index file", NEW_POSITION, "purged"),
    (
        (
            "Client requested master to start replication from "
            "impossible position; the first event "
            "'mysql-bin-changelog.000001' at 4724"
        ),
        NEW_POSITION,
        "foreign-position",
    ),
    (
        "Client requested source to start replication from position > file size",
        NEW_POSITION,
        "foreign-position",
    ),
    (
        "log event entry exceeded max_allowed_packet; Increase max_allowed_packet on master",
        OPERATOR,
        "unreadable-binlog",
    ),
    ("bogus data in log event; the first event 'a' at 4", OPERATOR, "unreadable-binlog"),
    ("binlog truncated in the middle of event; consider", OPERATOR, "unreadable-binlog"),
    (
        "Failed to replace GTID event with backwards-compatible event: corrupt event.",
        OPERATOR,
        "unreadable-binlog",
    ),
    (
        (
            "Connector used GTIDs previously, but MySQL does not know of any GTIDs or they are not "
            "enabled"
        ),
        NEW_POSITION,
        "gtid-off",
    ),
    (
        "A slave with the same server_uuid/server_id as this slave has connected to the master",
        TRANSIENT,
        "server-id-clash",
    ),
    (
        (
            "A replica with the same server_uuid/server_id as this replica has connected to the "
            "source; the first event '' at 4"
        ),
        TRANSIENT,
        "server-id-clash",
    ),
    (
        "Failed to authenticate to the MySQL database at db.test:3306 with user 'cdc'",
        OPERATOR,
        "auth",
    ),
    ("Access denied for user 'cdc'@'10.0.0.1' (using password: YES)", OPERATOR, "auth"),
    (
        (
            "Access denied; you need (at least one of) the REPLICATION SLAVE privilege(s) for this "
            "operation"
        ),
        OPERATOR,
        "auth",
    ),
    (
        "Access denied; you need (at least one of) the SUPER, REPLICATION CLIENT privilege(s)",
        OPERATOR,
        "auth",
    ),
    ("Public Key Retrieval is not allowed", OPERATOR, "auth"),
    ("Host '10.0.0.1' is not allowed to connect to this MySQL server", OPERATOR, "host-denied"),
    (
        (
            "Host '10.0.0.1' is blocked because of many connection errors; unblock with "
            "'mysqladmin flush-hosts'"
        ),
        OPERATOR,
        "host-denied",
    ),
    ("Too many connections", TRANSIENT, "network"),
    ("Communications link failure", TRANSIENT, "network"),
    ("java.net.ConnectException: Connection refused", TRANSIENT, "network"),
    ("java.net.SocketException: Connection reset", TRANSIENT, "network"),
    ("Unable to connect to the MySQL database at db.test:3306", TRANSIENT, "network"),
    ("Timed out after 30 seconds while waiting to connect to MySQL", TRANSIENT, "network"),
    ("java.net.UnknownHostException: db.test", TRANSIENT, "network"),
    ("java.io.EOFException: Failed to read next byte from position 4724", TRANSIENT, "network"),
    ("Failed to read next byte from position 1", TRANSIENT, "network"),
    ("Query execution was interrupted", TRANSIENT, "network"),
    ("Server shutdown in progress", TRANSIENT, "network"),
    (
        (
            "The MySQL server is running with the --read-only option so it cannot execute this "
            "statement"
        ),
        TRANSIENT,
        "read-only",
    ),
    (
        "The MySQL server is running with the --super-read-only option so it cannot execute",
        TRANSIENT,
        "read-only",
    ),
    ("You are not using binary logging", OPERATOR, "binlog-off"),
    (
        (
            "Cannot read the binlog filename and position via 'SHOW MASTER STATUS'. Make sure your "
            "server is correctly configured"
        ),
        OPERATOR,
        "binlog-off",
    ),
    (
        "The MySQL server is configured with binlog_format MIXED rather than ROW",
        OPERATOR,
        "source-settings",
    ),
    (
        "The MySQL server is configured with binlog_row_image MINIMAL rather than FULL",
        OPERATOR,
        "source-settings",
    ),
    ("binlog_row_value_options PARTIAL_JSON is not supported", OPERATOR, "source-settings"),
    (
        (
            "The MySQL server has a timezone offset (0 seconds ahead of "
            "UTC) which does not match the "
            "configured timezone UTC+8"
        ),
        OPERATOR,
        "source-settings",
    ),
    (
        (
            "Currently Flink MySql CDC connector only supports MySql "
            "whose version is larger or equal "
            "to 5.6"
        ),
        OPERATOR,
        "source-settings",
    ),
    (
        (
            "Received DML 'insert into t' for processing, binlog "
            "probably contains events generated "
            "with statement or mixed based replication format"
        ),
        OPERATOR,
        "source-settings",
    ),
    (
        "Encountered change event for table shop.orders whose schema isn't known to this connector",
        OPERATOR,
        "schema",
    ),
    (
        "Internal schema representation is probably out of sync with real database schema",
        OPERATOR,
        "schema",
    ),
    ("io.debezium.SchemaOutOfSyncException: column count", OPERATOR, "schema"),
    ("Unable to find a valid binlog offset. Either", OPERATOR, "job-definition"),
    ("No matched tables found. Please verify:", OPERATOR, "job-definition"),
    (
        "Can't find any matched tables, please check your configured database-name: [source]",
        OPERATOR,
        "job-definition",
    ),
    (
        (
            "Failed to rollback to checkpoint/savepoint file:/s/sp. "
            "Cannot map checkpoint/savepoint "
            "state for operator 19843528 to the new program"
        ),
        OPERATOR,
        "state-mismatch",
    ),
    ("Checkpoint expired before completing", TRANSIENT, "checkpointing"),
    ("Exceeded checkpoint tolerable failure threshold.", TRANSIENT, "checkpointing"),
    (
        (
            "org.apache.flink.runtime.jobmanager.scheduler.NoResourceAvailableException: Could not "
            "acquire the minimum required resources."
        ),
        TRANSIENT,
        "infrastructure",
    ),
    ("TaskManager with id 127.0.0.1:1-a is no longer reachable.", TRANSIENT, "infrastructure"),
    ("Heartbeat of TaskManager with id 127.0.0.1:1-a timed out.", TRANSIENT, "infrastructure"),
    ("java.lang.OutOfMemoryError: Java heap space", OPERATOR, "out-of-memory"),
    ("java.lang.ClassNotFoundException: com.mysql.cj.jdbc.Driver", OPERATOR, "class-path"),
    ("java.lang.NoClassDefFoundError: a/B", OPERATOR, "class-path"),
    (
        "Could not find any factory for identifier 'jdbc' that implements",
        OPERATOR,
        "class-path",
    ),
    ("Data truncation: Data too long for column 'product' at row 1", OPERATOR, "target-schema"),
    ("Table 'target.orders' doesn't exist", OPERATOR, "target-schema"),
    ("Unknown column 'email' in 'field list'", OPERATOR, "target-schema"),
    ("Out of range value for column 'id' at row 1", OPERATOR, "target-schema"),
    ("Lock wait timeout exceeded; try restarting transaction", TRANSIENT, "target-locked"),
    ("Deadlock found when trying to get lock", TRANSIENT, "target-locked"),
    ("Unexpected magic number. This can have multiple reasons", OPERATOR, "state-unreadable"),
    (
        "Cannot find checkpoint or savepoint file/directory 'file:///s' on file system 'file'.",
        OPERATOR,
        "state-unreadable",
    ),
    ('ERROR: invalid byte sequence for encoding "UTF8": 0x00', OPERATOR, "target-schema"),
    ('ERROR: relation "public.t" does not exist', OPERATOR, "target-schema"),
    ('ERROR: column "a" of relation "t" does not exist', OPERATOR, "target-schema"),
    ("ERROR: value too long for type character varying(3)", OPERATOR, "target-schema"),
    ('ERROR: invalid input syntax for type integer: "abc"', OPERATOR, "target-schema"),
    ("ERROR: smallint out of range", OPERATOR, "target-schema"),
    (
        'ERROR: null value in column "z" of relation "t" violates not-null constraint',
        OPERATOR,
        "target-schema",
    ),
    (
        'ERROR: duplicate key value violates unique constraint "t_a_idx"',
        OPERATOR,
        "target-schema",
    ),
    (
        "ERROR: there is no unique or exclusion constraint matching the ON CONFLICT specification",
        OPERATOR,
        "target-schema",
    ),
    ('FATAL: password authentication failed for user "w"', OPERATOR, "auth"),
    ("ERROR: permission denied for table t", OPERATOR, "auth"),
    ("ERROR: cannot execute INSERT in a read-only transaction", TRANSIENT, "read-only"),
    ("ERROR: deadlock detected", TRANSIENT, "target-locked"),
    (
        "Connection to 127.0.0.1:5432 refused. Check that the hostname and port are correct",
        TRANSIENT,
        "network",
    ),
    ("FATAL: the database system is starting up", TRANSIENT, "network"),
    ("FATAL: terminating connection due to administrator command", TRANSIENT, "network"),
    (
        (
            "org.apache.kafka.common.errors.TopicAuthorizationException: Not authorized to access"
            " topics: [lab.x]"
        ),
        OPERATOR,
        "target-denied",
    ),
    (
        (
            "org.apache.kafka.common.errors.TransactionalIdAuthorizationException: Transactional Id"
            " authorization failed."
        ),
        OPERATOR,
        "target-denied",
    ),
    (
        (
            "org.apache.kafka.common.errors.SaslAuthenticationException: Authentication failed:"
            " Invalid username or password"
        ),
        OPERATOR,
        "target-denied",
    ),
    (
        (
            "org.apache.kafka.common.KafkaException: Unexpected error in InitProducerIdResponse;"
            " The transaction timeout is larger than the maximum value allowed by the broker (as"
            " configured by transaction.max.timeout.ms)."
        ),
        OPERATOR,
        "target-denied",
    ),
    (
        (
            "org.apache.kafka.common.errors.RecordTooLargeException: The message is 1048720 bytes"
            " when serialized which is larger than 1048576, which is the value of the"
            " max.request.size configuration."
        ),
        OPERATOR,
        "target-record",
    ),
    (
        (
            "org.apache.kafka.common.errors.TimeoutException: Expiring 5 record(s) for t-0:120001"
            " ms has passed since batch creation"
        ),
        TRANSIENT,
        "network",
    ),
    (
        (
            "org.apache.kafka.common.errors.NotEnoughReplicasException: Messages are rejected since"
            " there are fewer in-sync replicas than required."
        ),
        TRANSIENT,
        "network",
    ),
]

WRAPPERS = [
    "java.lang.RuntimeException: One or more fetchers have encountered exception",
    (
        "java.lang.RuntimeException: SplitFetcher thread 0 received "
        "unexpected exception while polling "
        "the records"
    ),
    (
        "java.io.IOException: org.apache.flink.util.FlinkRuntimeException: Read split "
        "MySqlBinlogSplit{splitId='binlog-split'} error due to x."
    ),
    (
        "ConnectException: An exception occurred in the change event "
        "producer. This connector will be "
        "stopped."
    ),
    (
        "org.apache.flink.runtime.JobException: Recovery is suppressed by "
        "FixedDelayRestartBackoffTimeStrategy(maxNumberRestartAttempts=3)"
    ),
    "io.debezium.DebeziumException: x Error code: 1236; SQLSTATE: HY000.",
]


def trace(*chain: str) -> str:
    frames = "\n\tat a.b.C.d(C.java:1)\n\t... 3 more"
    return "\nCaused by: ".join(f"{text}{frames}" for text in chain)


@pytest.mark.parametrize(("text", "expected", "kind"), TABLE)
def test_each_row_of_the_table_has_its_class(text: str, expected: str, kind: str) -> None:
    failure = classify_failure(trace(*WRAPPERS, f"x.y.ZException: {text}"))

    assert (failure.failure_class, failure.kind) == (expected, kind)
    assert failure.advice


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapper_alone_says_nothing(wrapper: str) -> None:
    assert classify_failure(trace(wrapper)).failure_class == "unknown"


@pytest.mark.parametrize("text", ["", "java.lang.NumberFormatException: For input string: 'a'"])
def test_what_no_rule_knows_is_unknown_and_not_transient(text: str) -> None:
    failure = classify_failure(text)

    assert (failure.failure_class, failure.kind) == ("unknown", "unknown")


@pytest.mark.parametrize(
    ("file", "kind", "side"),
    [
        ("wrong_password", "auth", "SOURCE"),
        ("refused_port", "network", "SOURCE"),
        ("no_table", "job-definition", "SOURCE"),
        ("narrow_target", "target-schema", "TARGET"),
        ("no_target_table", "target-schema", "TARGET"),
        ("file_gone", "purged", "SOURCE"),
        ("impossible_pos", "foreign-position", "SOURCE"),
        ("mid_event_pos", "unreadable-binlog", "SOURCE"),
        ("postgres_nul", "target-schema", "TARGET"),
        ("postgres_password", "auth", "TARGET"),
        ("postgres_down", "network", "TARGET"),
    ],
)
def test_a_recorded_failure_has_its_kind_and_its_side(file: str, kind: str, side: str) -> None:
    failure = classify_failure((RECORDED / f"{file}.txt").read_text())

    assert (failure.kind, failure.side) == (kind, side)
    assert "\n" not in failure.cause


def test_the_innermost_cause_wins() -> None:
    text = trace("x.A: Communications link failure", "x.B: Access denied for user 'cdc'@'h'")

    assert classify_failure(text).kind == "auth"


def test_an_outer_cause_counts_when_the_inner_one_says_nothing() -> None:
    text = trace(
        "x.A: Cannot read the binlog filename and position via 'SHOW MASTER STATUS'. Make sure",
        "java.sql.SQLSyntaxErrorException: You have an error in your SQL syntax",
    )

    assert classify_failure(text).kind == "binlog-off"


def test_a_server_that_cannot_be_reached_is_not_a_binlog_that_is_off() -> None:
    text = trace(
        "x.A: Cannot read the binlog filename and position via 'SHOW MASTER STATUS'. Make sure",
        "x.B: Communications link failure",
    )

    assert classify_failure(text).failure_class == TRANSIENT


def test_causes_that_java_printed_beneath_a_suppressed_exception_are_found_there() -> None:
    text = (RECORDED / "postgres_down.txt").read_text()

    assert innermost_cause(text) == "ConnectException: Connection refused"
    assert classify_failure(text).failure_class == TRANSIENT


def test_a_reference_to_nothing_is_shown_without_its_brackets() -> None:
    text = "a.Outer: x\n\tat a.b(C)\nCaused by: [CIRCULAR REFERENCE: a.b.Inner: lost]"

    assert innermost_cause(text) == "Inner: lost"


def test_a_suppressed_exception_is_not_a_cause() -> None:
    text = (
        "x.Outer: y\n\tat a.b(C.java)\n"
        "\tSuppressed: java.net.SocketException: Connection reset\n\t\tat a.c(C.java)\n"
        "\tCaused by: java.io.EOFException\n\t\t... 2 more\n"
        "Caused by: x.Inner: Table 'a.b' doesn't exist\n\tat a.d(C.java)"
    )

    assert classify_failure(text).kind == "target-schema"
    assert len(causes(text)) == 2


def test_a_message_over_several_lines_is_matched() -> None:
    text = "x.A: A slave with the same server_uuid/server_id as this\nslave has connected to the"
    text += " master"

    assert classify_failure(text).kind == "server-id-clash"


def test_a_server_id_clash_is_transient_once() -> None:
    text = "A slave with the same server_uuid/server_id as this slave has connected to the master"

    assert classify_failure(text, seen_before=0).failure_class == TRANSIENT
    assert classify_failure(text, seen_before=1).failure_class == OPERATOR


def test_failing_checkpoints_are_transient_once() -> None:
    text = "Exceeded checkpoint tolerable failure threshold."

    assert classify_failure(text, seen_before=1).failure_class == OPERATOR


def test_a_refused_account_may_be_tried_again_only_during_a_switchover() -> None:
    text = "Access denied for user 'cdc'@'10.0.0.1' (using password: YES)"

    assert classify_failure(text, in_switchover=True).failure_class == TRANSIENT
    assert classify_failure(text).failure_class == OPERATOR


def test_a_switchover_excuses_nothing_else() -> None:
    text = "Could not find first log file name in binary log index file"

    assert classify_failure(text, in_switchover=True).failure_class == NEW_POSITION


@pytest.mark.parametrize(
    "text",
    [
        "Could not find first log file name in binary log index file",
        "Client requested master to start replication from impossible position",
        "log event entry exceeded max_allowed_packet",
        "binlog truncated in the middle of event",
        "The MySQL server is running with the --read-only option",
    ],
)
def test_a_text_that_another_server_may_cause_asks_for_its_identity(text: str) -> None:
    assert classify_failure(text).check_identity


def test_a_torn_checkpoint_is_not_a_lost_connection() -> None:
    inner = (
        "java.io.EOFException\n"
        "\tat java.base/java.io.DataInputStream.readInt(DataInputStream.java:386)\n"
        "\tat org.apache.flink.runtime.checkpoint.Checkpoints.loadCheckpointMetadata(C.java:114)"
    )

    assert classify_failure(f"x.A: y\nCaused by: {inner}").kind == "state-unreadable"


def test_a_store_that_cannot_be_reached_while_state_is_loaded_is_transient() -> None:
    inner = (
        "java.net.ConnectException: Connection refused\n"
        "\tat org.apache.flink.runtime.checkpoint.Checkpoints.loadAndValidateCheckpoint(C.java:1)"
    )

    assert classify_failure(f"x.A: y\nCaused by: {inner}").kind == "network"


def test_the_servers_trace_inside_a_clients_message_is_looked_into() -> None:
    text = (
        "x.Outer: failed\n\tat a.b(C.java)\n"
        "Caused by: o.a.RestClientException: [Internal server error., <Exception on server side:\n"
        "o.a.f.DuplicateJobSubmissionException: Job has already been submitted.\n\tat a.c(C.java)\n"
        "\nEnd of exception on server side>]\n\tat o.a.RestClient.parse(RestClient.java:644)\n"
        "\tat a.d(C.java)"
    )

    assert innermost_cause(text) == (
        "o.a.f.DuplicateJobSubmissionException: Job has already been submitted."
    ).removeprefix("o.a.f.")


def test_the_innermost_cause_is_one_line_without_package_and_frames() -> None:
    text = trace("a.b.C: outer", "com.mysql.cj.exceptions.CJException: two\nlines  here")

    assert innermost_cause(text) == "CJException: two lines here"


@given(st.text(max_size=300))
def test_any_text_has_a_class(text: str) -> None:
    failure = classify_failure(text)

    assert failure.advice
    assert "\n" not in failure.cause


@given(st.sampled_from(TABLE), st.lists(st.sampled_from(WRAPPERS), max_size=6))
def test_wrappers_never_change_the_class(row: tuple[str, str, str], wrappers: list[str]) -> None:
    text, expected, kind = row
    failure = classify_failure(trace(*wrappers, f"x.Y: {text}"))

    assert (failure.failure_class, failure.kind) == (expected, kind)
