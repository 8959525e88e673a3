"""FailureRule: the table of texts that tell one failure from another.

The texts are those of the connector, of Flink, of the JDBC drivers, and of MySQL and MariaDB
servers. A server words its errors by its own version: a text that a new version changes must be
added here with a test, it is not guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

FailureClass = Literal["needs-new-position", "needs-operator", "transient", "unknown"]
"""What may be done about a failure.

`needs-new-position`: the recorded position is of no use on this server. `needs-operator`: the same
start fails again until a person changes something. `transient`: the same start may work later.
"""

FailureKind = Literal[
    "purged",
    "foreign-position",
    "unreadable-binlog",
    "gtid-off",
    "server-id-clash",
    "auth",
    "host-denied",
    "network",
    "read-only",
    "binlog-off",
    "source-settings",
    "schema",
    "target-schema",
    "target-locked",
    "target-denied",
    "target-record",
    "job-definition",
    "state-mismatch",
    "state-unreadable",
    "checkpointing",
    "infrastructure",
    "out-of-memory",
    "class-path",
    "unknown",
]
"""What went wrong."""


@dataclass(frozen=True)
class FailureRule:
    """One line of the table: a pattern, and what it means.

    Args:
        pattern: Found anywhere in the text of one cause.
        failure_class: What may be done.
        kind: What went wrong.
        advice: The next step for a person.
        check_identity: Whether another server behind the endpoint causes this text too.
        transient_for: Failures of this kind in a row that are still transient.
        transient_in_switchover: Whether it is transient while a switchover is under way.
    """

    pattern: re.Pattern[str]
    failure_class: FailureClass
    kind: FailureKind
    advice: str
    check_identity: bool = False
    transient_for: int = 0
    transient_in_switchover: bool = False


def _any(*parts: str) -> re.Pattern[str]:
    return re.compile("|".join(parts), re.IGNORECASE)


_RESNAPSHOT = "Go on from another recorded position, or take a new snapshot"

# In the order of the table in flink-cdc.md, section 5; the first match in a cause wins.
RULES: tuple[FailureRule, ...] = (
    FailureRule(
        _any(
            r"The connector is trying to read binlog starting at .*no longer available on the"
            r" server",
            r"Cannot replicate because the (?:master|source) purged required binary logs",
            r"(?:master|source) has purged binary logs containing GTIDs that the (?:slave|replica)"
            r" requires",
            # MariaDB's wording of the same.
            r"Could not find GTID state requested by (?:slave|replica) in any binlog files",
            r"Could not find first log file name in binary log index file",
        ),
        "needs-new-position",
        "purged",
        _RESNAPSHOT,
        check_identity=True,
    ),
    FailureRule(
        _any(
            r"Client requested (?:master|source) to start replication from"
            r" (?:impossible position|position > file size)"
        ),
        "needs-new-position",
        "foreign-position",
        "Another server stands behind the endpoint; compare its identity with the recorded one",
        check_identity=True,
    ),
    FailureRule(
        _any(
            r"log event entry exceeded max_allowed_packet",
            r"bogus data in log event",
            r"binlog truncated in the middle of event",
        ),
        "needs-operator",
        "unreadable-binlog",
        "Check that the position belongs to this server, then the binlog file itself",
        check_identity=True,
    ),
    FailureRule(
        _any(r"Failed to replace GTID event with backwards-compatible event"),
        "needs-operator",
        "unreadable-binlog",
        "MariaDB cannot translate its GTID event at this position; look at the binlog file",
        check_identity=True,
    ),
    FailureRule(
        _any(
            r"Connector used GTIDs previously, but MySQL does not know of any GTIDs",
        ),
        "needs-new-position",
        "gtid-off",
        "The server has GTIDs off; go on from file and position, or turn GTIDs on",
        check_identity=True,
    ),
    FailureRule(
        _any(
            r"A (?:slave|replica) with the same server_(?:uu)?id(?:/server_id)? as this"
            r" (?:slave|replica) has connected to the (?:master|source)"
        ),
        "needs-operator",
        "server-id-clash",
        "Another reader uses this server id; give the stream a range of its own",
        transient_for=1,  # the old job may still be closing its connection
    ),
    FailureRule(
        _any(
            r"Failed to authenticate to the MySQL database at",
            r"Access denied for user",
            r"Access denied; you need",
            r"Public Key Retrieval is not allowed",
        ),
        "needs-operator",
        "auth",
        "Check account, password and grants; nothing is retried so that it is not locked out",
        transient_in_switchover=True,
    ),
    FailureRule(
        _any(
            r"Host '.*' is not allowed to connect",
            r"is blocked because of many connection errors",
        ),
        "needs-operator",
        "host-denied",
        "Let the server accept the task manager's host (FLUSH HOSTS when it is blocked)",
    ),
    FailureRule(
        _any(r"--(?:super-)?read-only"),
        "transient",
        "read-only",
        "The server takes no writes at present; see which server it is when this lasts",
        check_identity=True,
    ),
    FailureRule(
        _any(
            r"You are not using binary logging",
            r"Cannot read the binlog filename and position via",
        ),
        "needs-operator",
        "binlog-off",
        "Turn the binlog on; with MySQL 8.4 and newer use a newer connector",
    ),
    FailureRule(
        _any(
            r"configured with binlog_format",
            r"binlog_row_image",
            r"binlog_row_value_options",
            r"timezone offset .* does not match",
            r"only supports MySql whose version is larger",
            r"binlog probably contains events generated with statement or mixed based replication",
        ),
        "needs-operator",
        "source-settings",
        "Correct the server's setting; 'cdc-assets preflight' prints the statement",
    ),
    FailureRule(
        _any(
            r"Encountered change event for table .* whose schema isn't known to this connector",
            r"Internal schema representation is probably out of sync",
            r"SchemaOutOfSyncException",
        ),
        "needs-operator",
        "schema",
        "Take a new snapshot, or start after the DDL statement",
    ),
    FailureRule(
        _any(
            r"Table '.*' doesn't exist",
            r"Unknown column '.*' in",
            r"Data truncation",
            r"Data too long for column",
            r"Out of range value for column",
        ),
        "needs-operator",
        "target-schema",
        "Compare the target table's columns with the source's",
    ),
    FailureRule(
        _any(r"invalid byte sequence for encoding \"UTF8\": 0x00"),
        "needs-operator",
        "target-schema",
        "A text holds a NUL character, which PostgreSQL has no place for: take it out at the"
        " source, or exclude the column, and take a new snapshot",
    ),
    FailureRule(
        _any(
            r"relation \".*\" does not exist",
            r"column \".*\" of relation \".*\" does not exist",
            r"is of type .* but expression is of type",
            r"value too long for type",
            r"invalid input syntax for type",
            r"(?:smallint|integer|bigint|field value) out of range",
            r"numeric field overflow",
            r"violates (?:not-null|unique|foreign key|check|exclusion) constraint",
            r"no unique or exclusion constraint matching the ON CONFLICT",
        ),
        "needs-operator",
        "target-schema",
        "Compare the target table with the source's; 'cdc-assets preflight' prints the statement",
    ),
    FailureRule(
        _any(
            r"FATAL: password authentication failed",
            r"FATAL: no pg_hba\.conf entry",
            r"FATAL: role \".*\" (?:does not exist|is not permitted to log in)",
            r"FATAL: database \".*\" does not exist",
            r"permission denied for (?:table|schema|relation|database)",
            r"new row violates row-level security policy",
        ),
        "needs-operator",
        "auth",
        "Check the target's account, password and grants",
    ),
    FailureRule(
        _any(r"cannot execute (?:INSERT|UPDATE|DELETE) in a read-only transaction"),
        "transient",
        "read-only",
        "The target takes no writes at present; see which server it is when this lasts",
    ),
    FailureRule(
        _any(
            r"Lock wait timeout exceeded",
            r"Deadlock found when trying to get lock",
            r"deadlock detected",
            r"canceling statement due to lock timeout",
        ),
        "transient",
        "target-locked",
        "See what else writes to the target table",
    ),
    # Kafka's client.
    FailureRule(
        _any(
            r"Not authorized to access topics",
            r"(?:Topic|TransactionalId|Cluster)AuthorizationException",
            r"(?:Sasl|Ssl)AuthenticationException",
            r"transaction timeout is larger than the maximum value allowed by the broker",
        ),
        "needs-operator",
        "target-denied",
        "Check the account and its rights; 'cdc-assets preflight' prints the command",
    ),
    FailureRule(
        _any(r"RecordTooLargeException"),
        "needs-operator",
        "target-record",
        "Raise the topic's max.message.bytes and the producer's max.request.size",
    ),
    FailureRule(
        _any(
            r"kafka\.common\.errors\.TimeoutException",
            r"NotEnoughReplicas(?:AfterAppend)?Exception",
            r"CoordinatorNotAvailableException",
        ),
        "transient",
        "network",
        "See that the brokers run and can be reached from the task manager",
    ),
    FailureRule(
        _any(
            r"Unable to find a valid binlog offset",
            r"No matched tables found\. Please verify:",
            r"Can't find any matched tables, please check your configured",
        ),
        "needs-operator",
        "job-definition",
        "Correct the stream's tables or its start position",
    ),
    FailureRule(
        _any(r"Cannot map checkpoint/savepoint state for operator"),
        "needs-operator",
        "state-mismatch",
        "The job's SQL changed; start from the recorded position, not from this state",
    ),
    FailureRule(
        _any(
            r"Checkpoint expired before completing",
            r"Exceeded checkpoint tolerable failure threshold",
        ),
        "needs-operator",
        "checkpointing",
        "Look for back-pressure: the target is too slow, or the state is too large",
        transient_for=1,
    ),
    FailureRule(
        _any(
            r"NoResourceAvailableException",
            r"TaskManager .*no longer reachable",
            r"Heartbeat of TaskManager",
        ),
        "transient",
        "infrastructure",
        "See that task managers and slots are there",
    ),
    FailureRule(
        _any(r"OutOfMemoryError"),
        "needs-operator",
        "out-of-memory",
        "Give the task manager more memory, or the job a smaller snapshot chunk",
    ),
    FailureRule(
        _any(r"Cannot find factory with identifier"),
        "needs-operator",
        "class-path",
        "Put the connector's jar into the folder lib of the flink-cdc home",
    ),
    FailureRule(
        _any(r"NoClassDefFoundError: org/apache/flink/cdc/"),
        "needs-operator",
        "class-path",
        "Take flink-sql-connector-mysql-cdc off the cluster's class path: it hides classes of"
        " Flink CDC",
    ),
    FailureRule(
        _any(
            r"ClassNotFoundException",
            r"NoClassDefFoundError",
            r"Could not find any factory for identifier",
        ),
        "needs-operator",
        "class-path",
        "Put the connector's jar on the class path of Flink and of the SQL gateway",
    ),
    # Last, because a lost connection also stands beneath failures that have a name above.
    FailureRule(
        _any(
            r"Too many connections",
            r"Communications link failure",
            r"Connection refused",
            r"Connection reset",
            r"Unable to connect to the MySQL database at",
            r"Timed out after .* seconds while waiting to connect",
            r"UnknownHostException",
            r"EOFException",
            r"Failed to read next byte",
            r"Query execution was interrupted",
            r"Server shutdown in progress",
            r"Connection to \S+ refused",
            r"The connection attempt failed",
            r"An I/O error occurred while sending to the backend",
            r"This connection has been closed",
            r"terminating connection due to",
            r"the database system is (?:starting up|shutting down|in recovery mode)",
            r"sorry, too many clients already",
        ),
        "transient",
        "network",
        "See that the server can be reached from the task manager",
    ),
)

UNKNOWN = FailureRule(
    re.compile(""), "unknown", "unknown", "Read the whole stack trace in Flink's exception history"
)

STATE_UNREADABLE = FailureRule(
    _any(
        r"Cannot find (?:checkpoint or savepoint file/directory|meta data file)",
        r"Unexpected magic number",
        r"Unrecognized (?:checkpoint|savepoint) version",
    ),
    "needs-operator",
    "state-unreadable",
    "Restore from an older complete checkpoint",
)
# A torn `_metadata` ends in an EOFException without a message, which would be taken for a lost
# connection. The frame of Flink's loader tells the two apart.
STATE_LOADER = re.compile(r"at org\.apache\.flink\.runtime\.checkpoint\.Checkpoints\.load")
END_OF_FILE = re.compile(r"EOFException|FileNotFoundException|NoSuchFileException")
