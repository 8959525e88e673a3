"""The class of a failure, read from the text that Flink recorded about it.

The innermost cause decides: what stands around it ("One or more fetchers have encountered
exception", "Recovery is suppressed by ...", "Error code: 1236; SQLSTATE: HY000.") is added by each
layer and says nothing. A text that no rule knows is `unknown`, never `transient`.
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

FailureSide = Literal["SOURCE", "TARGET", "FLINK"]
"""Whose code stands in the stack trace; FLINK when neither a source nor a target does."""


@dataclass(frozen=True)
class Failure:
    """What a failure text means.

    Args:
        failure_class: What may be done.
        kind: What went wrong.
        side: Where it went wrong.
        cause: The innermost cause, one line.
        advice: The next step for a person.
        check_identity: Whether the first thing to look at is which server stands behind the
            endpoint; a position of another server fails with these texts too.
    """

    failure_class: FailureClass
    kind: FailureKind
    side: FailureSide
    cause: str
    advice: str
    check_identity: bool = False


@dataclass(frozen=True)
class _Rule:
    """One line of the table: a pattern, and what it means.

    `transient_for` is the number of failures of this kind in a row that are still transient;
    `transient_in_switchover` holds while a blue/green switchover is under way.
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
_RULES: tuple[_Rule, ...] = (
    _Rule(
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
    _Rule(
        _any(
            r"Client requested (?:master|source) to start replication from"
            r" (?:impossible position|position > file size)"
        ),
        "needs-new-position",
        "foreign-position",
        "Another server stands behind the endpoint; compare its identity with the recorded one",
        check_identity=True,
    ),
    _Rule(
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
    _Rule(
        _any(r"Failed to replace GTID event with backwards-compatible event"),
        "needs-operator",
        "unreadable-binlog",
        "MariaDB cannot translate its GTID event at this position; look at the binlog file",
        check_identity=True,
    ),
    _Rule(
        _any(
            r"Connector used GTIDs previously, but MySQL does not know of any GTIDs",
        ),
        "needs-new-position",
        "gtid-off",
        "The server has GTIDs off; go on from file and position, or turn GTIDs on",
        check_identity=True,
    ),
    _Rule(
        _any(
            r"A (?:slave|replica) with the same server_(?:uu)?id(?:/server_id)? as this"
            r" (?:slave|replica) has connected to the (?:master|source)"
        ),
        "needs-operator",
        "server-id-clash",
        "Another reader uses this server id; give the stream a range of its own",
        transient_for=1,  # the old job may still be closing its connection
    ),
    _Rule(
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
    _Rule(
        _any(
            r"Host '.*' is not allowed to connect",
            r"is blocked because of many connection errors",
        ),
        "needs-operator",
        "host-denied",
        "Let the server accept the task manager's host (FLUSH HOSTS when it is blocked)",
    ),
    _Rule(
        _any(r"--(?:super-)?read-only"),
        "transient",
        "read-only",
        "The server takes no writes at present; see which server it is when this lasts",
        check_identity=True,
    ),
    _Rule(
        _any(
            r"You are not using binary logging",
            r"Cannot read the binlog filename and position via",
        ),
        "needs-operator",
        "binlog-off",
        "Turn the binlog on; with MySQL 8.4 and newer use a newer connector",
    ),
    _Rule(
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
    _Rule(
        _any(
            r"Encountered change event for table .* whose schema isn't known to this connector",
            r"Internal schema representation is probably out of sync",
            r"SchemaOutOfSyncException",
        ),
        "needs-operator",
        "schema",
        "Take a new snapshot, or start after the DDL statement",
    ),
    _Rule(
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
    _Rule(
        _any(r"Lock wait timeout exceeded", r"Deadlock found when trying to get lock"),
        "transient",
        "target-locked",
        "See what else writes to the target table",
    ),
    _Rule(
        _any(
            r"Unable to find a valid binlog offset",
            r"No matched tables found\. Please verify:",
        ),
        "needs-operator",
        "job-definition",
        "Correct the stream's tables or its start position",
    ),
    _Rule(
        _any(r"Cannot map checkpoint/savepoint state for operator"),
        "needs-operator",
        "state-mismatch",
        "The job's SQL changed; start from the recorded position, not from this state",
    ),
    _Rule(
        _any(
            r"Checkpoint expired before completing",
            r"Exceeded checkpoint tolerable failure threshold",
        ),
        "needs-operator",
        "checkpointing",
        "Look for back-pressure: the target is too slow, or the state is too large",
        transient_for=1,
    ),
    _Rule(
        _any(
            r"NoResourceAvailableException",
            r"TaskManager .*no longer reachable",
            r"Heartbeat of TaskManager",
        ),
        "transient",
        "infrastructure",
        "See that task managers and slots are there",
    ),
    _Rule(
        _any(r"OutOfMemoryError"),
        "needs-operator",
        "out-of-memory",
        "Give the task manager more memory, or the job a smaller snapshot chunk",
    ),
    _Rule(
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
    _Rule(
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
        ),
        "transient",
        "network",
        "See that the server can be reached from the task manager",
    ),
)

_UNKNOWN = _Rule(
    re.compile(""), "unknown", "unknown", "Read the whole stack trace in Flink's exception history"
)

# A torn `_metadata` ends in an EOFException, which would be taken for a lost connection. The
# frame of Flink's loader tells the two apart.
_STATE_UNREADABLE = _Rule(
    re.compile(
        r"at org\.apache\.flink\.runtime\.checkpoint\.Checkpoints\.load"
        r"|Cannot find (?:checkpoint or savepoint file/directory|meta data file)"
        r"|Unexpected magic number"
        r"|Unrecognized (?:checkpoint|savepoint) version",
        re.IGNORECASE,
    ),
    "needs-operator",
    "state-unreadable",
    "Restore from an older complete checkpoint",
)

_TARGET = re.compile(
    r"org\.apache\.flink\.connector\.(?:jdbc|kafka\.sink)|JDBC executeBatch error"
    r"|org\.apache\.iceberg\.flink|com\.starrocks\.connector"
)
_SOURCE = re.compile(
    r"org\.apache\.flink\.cdc\.connectors|com\.ververica\.cdc|io\.debezium|com\.github\.shyiko"
)
# A client of Flink puts the server's whole stack trace into the message of its own exception;
# what follows the end mark are the client's own frames.
_CAUSED_BY = re.compile(r"^Caused by: |<Exception on server side:\s*", re.MULTILINE)
_SERVER_SIDE_END = re.compile(r"\s*End of exception on server side>\]?(?:\n[ \t]+.*)*")
_SUPPRESSED = re.compile(r"^[ \t]+Suppressed: .*(?:\n[ \t]+.*)*", re.MULTILINE)


def causes(stack_trace: str) -> tuple[str, ...]:
    r"""Return the chain of causes in a Java stack trace, innermost first.

    A suppressed exception is not a cause: it says what else went wrong while closing.

    Args:
        stack_trace: The text, as Flink records it.

    Returns:
        One text per exception, frames included.

    Example:
        >>> causes("a.Outer: x\n\tat a.b(C.java)\nCaused by: a.Inner: y\n\tat a.c(C.java)")[0]
        'a.Inner: y\n\tat a.c(C.java)'
    """
    chain = _CAUSED_BY.split(_SERVER_SIDE_END.sub("", _SUPPRESSED.sub("", stack_trace)))
    return tuple(part.strip() for part in reversed(chain) if part.strip())


def innermost_cause(stack_trace: str) -> str:
    r"""Return the innermost cause as one line, without its frames.

    Example:
        >>> innermost_cause("a.Outer: x\nCaused by: a.b.SocketException: Lost\n it\n\tat c")
        'SocketException: Lost it'
    """
    chain = causes(stack_trace)
    if not chain:
        return ""
    message = re.split(r"\n\s*(?:at |\.\.\. \d+ more)", chain[0], maxsplit=1)[0]
    line = " ".join(message.split())
    return re.sub(r"^(?:[a-z_$][\w$]*\.)+(?=[A-Z])", "", line)


def classify_failure(
    stack_trace: str, *, seen_before: int = 0, in_switchover: bool = False
) -> Failure:
    r"""Say what a recorded failure means.

    Args:
        stack_trace: The text of an entry of Flink's exception history.
        seen_before: Failures of the same kind directly before this one; some are transient only
            the first time.
        in_switchover: Whether a blue/green switchover is under way; accounts may then be missing
            for a moment.

    Returns:
        The class, the kind and the next step.

    Example:
        >>> failure = classify_failure("x.Outer\nCaused by: java.net.ConnectException: "
        ...                            "Connection refused (Connection refused)")
        >>> failure.failure_class, failure.kind
        ('transient', 'network')
    """
    rule = _find_rule(stack_trace)
    failure_class = rule.failure_class
    if seen_before < rule.transient_for or (in_switchover and rule.transient_in_switchover):
        failure_class = "transient"
    return Failure(
        failure_class=failure_class,
        kind=rule.kind,
        side=_side(stack_trace),
        cause=innermost_cause(stack_trace),
        advice=rule.advice,
        check_identity=rule.check_identity,
    )


def _find_rule(stack_trace: str) -> _Rule:
    if _STATE_UNREADABLE.pattern.search(stack_trace):
        return _STATE_UNREADABLE
    for cause in causes(stack_trace):
        # Texts of servers and of Java wrap over lines; a pattern must match across them.
        text = " ".join(cause.split())
        for rule in _RULES:
            if rule.pattern.search(text):
                return rule
    return _UNKNOWN


def _side(stack_trace: str) -> FailureSide:
    chain = causes(stack_trace)
    for cause in chain:
        if _TARGET.search(cause):
            return "TARGET"
        if _SOURCE.search(cause):
            return "SOURCE"
    return "FLINK"
