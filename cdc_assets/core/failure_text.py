"""The class of a failure, read from the text that Flink recorded about it.

The innermost cause decides: what stands around it ("One or more fetchers have encountered
exception", "Recovery is suppressed by ...", "Error code: 1236; SQLSTATE: HY000.") is added by each
layer and says nothing. A text that no rule knows is `unknown`, never `transient`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from cdc_assets.core.failure_rules import (
    END_OF_FILE,
    RULES,
    STATE_LOADER,
    STATE_UNREADABLE,
    UNKNOWN,
    FailureClass,
    FailureKind,
    FailureRule,
)

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


_TARGET = re.compile(
    r"org\.apache\.flink\.connector\.(?:jdbc|kafka\.sink)|JDBC executeBatch error|org\.postgresql"
    r"|org\.apache\.iceberg\.flink|com\.starrocks\.connector"
)
_SOURCE = re.compile(
    r"org\.apache\.flink\.cdc\.connectors|com\.ververica\.cdc|io\.debezium|com\.github\.shyiko"
)
# A client of Flink puts the server's whole stack trace into the message of its own exception;
# what follows the end mark are the client's own frames.
_CAUSED_BY = re.compile(r"^Caused by: |<Exception on server side:\s*", re.MULTILINE)
_SERVER_SIDE_END = re.compile(r"\s*End of exception on server side>\]?(?:\n[ \t]+.*)*")
# So Java prints an exception that it has printed already, and leaves its causes out.
_CIRCULAR = re.compile(r"^\[CIRCULAR REFERENCE: (.*)\]$", re.DOTALL)
_INDENTED_CAUSE = re.compile(r"^[ \t]+Caused by: ", re.MULTILINE)
_SUPPRESSED = re.compile(r"^[ \t]+Suppressed: .*(?:\n[ \t]+.*)*", re.MULTILINE)


def causes(stack_trace: str) -> tuple[str, ...]:
    r"""Return the chain of causes in a Java stack trace, innermost first.

    A suppressed exception is not a cause: it says what else went wrong while closing. Only
    where the chain ends in an exception that was printed beneath a suppressed one, as when
    the writer fails in a checkpoint, are that one's causes taken from there.

    Args:
        stack_trace: The text, as Flink records it.

    Returns:
        One text per exception, frames included.

    Example:
        >>> causes("a.Outer: x\n\tat a.b(C.java)\nCaused by: a.Inner: y\n\tat a.c(C.java)")[0]
        'a.Inner: y\n\tat a.c(C.java)'
    """
    chain = _CAUSED_BY.split(_SERVER_SIDE_END.sub("", _SUPPRESSED.sub("", stack_trace)))
    last = _CIRCULAR.match(chain[-1].strip())
    if last:
        chain += _causes_beneath(stack_trace, last[1])
    return tuple(part.strip() for part in reversed(chain) if part.strip())


def _causes_beneath(stack_trace: str, printed: str) -> list[str]:
    """Return an exception and its causes where they stand beneath a suppressed one."""
    first = printed.partition("\n")[0].rstrip()
    for block in _SUPPRESSED.findall(stack_trace):
        parts = _INDENTED_CAUSE.split(block)[1:]
        for index, part in enumerate(parts):
            if part.startswith(first):
                return parts[index:]
    return []


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
    line = _CIRCULAR.sub(r"\1", " ".join(message.split()))
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


def _find_rule(stack_trace: str) -> FailureRule:
    for cause in causes(stack_trace):
        if STATE_LOADER.search(cause) and END_OF_FILE.search(cause):
            return STATE_UNREADABLE
        # Texts of servers and of Java wrap over lines; a pattern must match across them.
        text = " ".join(cause.split())
        for rule in (STATE_UNREADABLE, *RULES):
            if rule.pattern.search(text):
                return rule
    return UNKNOWN


def _side(stack_trace: str) -> FailureSide:
    chain = causes(stack_trace)
    for cause in chain:
        if _TARGET.search(cause):
            return "TARGET"
        if _SOURCE.search(cause):
            return "SOURCE"
    return "FLINK"
