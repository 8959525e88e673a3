"""read_event: the text of an RDS event to a hint.

AWS gives no event id in DescribeEvents and words its messages loosely, so the text is all there
is. An event is a hint to look, never the state; the one exception is the coordinates event, whose
numbers are stored nowhere else, and which is therefore read strictly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from cdc_assets.core.position import Coordinates
from cdc_assets.errors import UnreadablePosition

HintKind = Literal[
    "coordinates",
    "coordinates-garbled",
    "deployment-ready",
    "deployment-failed",
    "deployment-deleted",
    "switchover-started",
    "switchover-progress",
    "switchover-completed",
    "switchover-canceled",
    "failover",
    "restart",
    "upgrade",
    "parameters",
    "rename",
    "backups-disabled",
    "replication",
]


@dataclass(frozen=True)
class Hint:
    """What an event's text says.

    Attributes:
        blue: Name of blue before the switchover, where the text has it.
        green: Name of green before the switchover, where the text has it.
        old: Name of blue after the switchover, where the text has it.
        reason: Why something failed or was canceled.
        coordinates: Green's, of a coordinates event that could be read.
    """

    kind: HintKind
    blue: str = ""
    green: str = ""
    old: str = ""
    reason: str = ""
    coordinates: Coordinates | None = None


_LIKE_COORDINATES: Final = re.compile(r"\bbin(?:ary)?[ -]?log coordinates\b", re.IGNORECASE)
# Nothing may stand before, between or after: a number that goes on after the part that was
# matched, or a second pair, would be another place.
_COORDINATES: Final = re.compile(
    r"binary log coordinates"
    r"(?: in (?:the )?green environment)?(?: after (?:the )?switchover)?"
    r" ?:? ?file (?P<file>[a-z0-9_][a-z0-9_.-]{0,190}\.[0-9]{6,12})"
    r" ?,? ?(?:and )?position (?P<pos>[1-9][0-9]{0,18}) ?\.?",
    re.IGNORECASE | re.ASCII,
)

_NAME: Final = r"[a-z0-9][a-z0-9-]*"
# "primary" alone is what accounts really get; the tables say "primary/read replica".
_FROM_TO: Final = (
    rf"switchover from (?:primary/read replica |primary |read replica |db cluster )?"
    rf"(?P<blue>{_NAME}) to (?P<green>{_NAME}) "
)


def _rule(kind: HintKind, pattern: str) -> tuple[HintKind, re.Pattern[str]]:
    return kind, re.compile(pattern, re.IGNORECASE | re.ASCII)


# The first match wins. All of the blue/green texts of the two user guides, and those seen beyond.
_RULES: Final = (
    _rule(
        "switchover-completed",
        rf"{_FROM_TO}completed\. ?renamed (?P=blue) to (?P<old>{_NAME}) and",
    ),
    _rule("switchover-completed", rf"{_FROM_TO}completed"),
    _rule("switchover-completed", r"switchover completed on blue/green deployment"),
    _rule("switchover-started", rf"{_FROM_TO}started"),
    _rule(
        "switchover-canceled",
        rf"{_FROM_TO}was cancell?ed(?: due to (?P<reason>.*?)\.?$)?",
    ),
    _rule("switchover-canceled", r"switchover cancell?ed on blue/green deployment"),
    _rule("deployment-ready", r"blue/green deployment tasks completed"),
    _rule(
        "deployment-failed",
        r"creation of blue/green deployment failed(?: because (?P<reason>.*?)\.?$)?",
    ),
    _rule("deployment-deleted", r"blue/green deployment deleted"),
    _rule("switchover-progress", r"starting to terminate connections .*blue environment"),
    _rule("switchover-progress", r"\bgreen\b.* is now accepting"),
    _rule("switchover-progress", r"sequence sync|synchroni[sz]ation of sequences"),
    _rule("switchover-progress", r"storage volumes? .*initiali[sz]ed"),
    _rule("failover", r"\bfailover\b|\bfailed over\b"),
    # The position at the start of an instance, which may be days old: a sign of a restart only.
    _rule("restart", r"binlog position from crash recovery"),
    _rule("restart", r"\bdb instance (?:re?started|shut ?down|shutdown|rebooted)\b"),
    _rule("restart", r"\bcrash recovery\b|\brecovery of the db instance\b"),
    _rule("upgrade", r"\bupgrad(?:e|ed|ing)\b|engine version"),
    _rule("parameters", r"parameter ?group|updated parameter"),
    _rule("rename", r"\brenamed\b"),
    _rule("backups-disabled", r"backups? .*disabled|disabled .*backups?"),
    _rule("replication", r"\breplication\b|\breplicat|read replica"),
)


def read_event(message: str) -> Hint | None:
    """Say what an event is about.

    Args:
        message: The text of an RDS event. Case and line breaks do not matter.

    Returns:
        The hint, None for an event that is of no concern.

    Example:
        >>> hint = read_event("Binary log coordinates in green environment after switchover: "
        ...                   "file mysql-bin-changelog.000003 and position 40134574")
        >>> str(hint.coordinates)
        'mysql-bin-changelog.000003:40134574'
        >>> read_event("Binary log coordinates: file x.000001 and position 4x").kind
        'coordinates-garbled'
    """
    text = " ".join(message.split())
    if _LIKE_COORDINATES.search(text):
        return _read_coordinates(text)
    for kind, pattern in _RULES:
        match = pattern.search(text)
        if match:
            found = {name: value or "" for name, value in match.groupdict().items()}
            return Hint(
                kind,
                blue=found.get("blue", "").lower(),
                green=found.get("green", "").lower(),
                old=found.get("old", "").lower(),
                reason=found.get("reason", ""),
            )
    return None


def _read_coordinates(text: str) -> Hint:
    match = _COORDINATES.fullmatch(text)
    if match is None:
        return Hint("coordinates-garbled", reason=text)
    try:
        return Hint("coordinates", coordinates=Coordinates(match["file"], int(match["pos"])))
    except UnreadablePosition:
        return Hint("coordinates-garbled", reason=text)
