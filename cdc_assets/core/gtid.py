"""GtidSet: a set of MySQL transactions, partially ordered by inclusion."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cdc_assets.errors import UnreadablePosition

Interval = tuple[int, int]

_SERVER = re.compile(r"[0-9A-Za-z]+(?:-[0-9A-Za-z]+){4}")
_INTERVAL = re.compile(r"([0-9]{1,19})(?:-([0-9]{1,19}))?")
_TAG = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")
# MySQL breaks the line after a comma, and takes blanks around its separators only: "1 2" is not 12.
_BLANKS = re.compile(r"\s*([,:-])\s*")
# MySQL's GNO_END, the first number that is none.
_END = 2**63 - 1


@dataclass(frozen=True)
class GtidSet:
    """Transactions by server and, since MySQL 8.3, by tag.

    Intervals are closed, as MySQL prints them: `1-7` holds 1 and 7. They are kept
    sorted, disjoint and merged, so equal sets compare equal. The order of two sets is
    inclusion, which is partial: there is no `<`.

    Example:
        >>> a = GtidSet.parse("u-u-u-u-u:1-7:9")
        >>> a.subtract(GtidSet.parse("u-u-u-u-u:1-8")).format()
        'u-u-u-u-u:9'
    """

    intervals: tuple[tuple[str, tuple[Interval, ...]], ...] = ()

    @classmethod
    def parse(cls, text: str) -> GtidSet:
        """Read what `@@gtid_executed`, `@@gtid_purged` or a checkpoint holds.

        Args:
            text: For example `3E11FA47-71CA-11E1-9E33-C80AA9429562:1-5:8, ...`; empty
                text is the empty set. Server ids are compared without regard to case.

        Raises:
            UnreadablePosition: The text is not a MySQL GTID set. MariaDB's
                `domain-server-sequence` is another notation and is refused.
        """
        found: dict[str, list[Interval]] = {}
        for part in _BLANKS.sub(r"\1", text.strip()).split(","):
            if not part:
                continue
            server, *items = part.split(":")
            # A tag must be followed by an interval, so the last item is one.
            if not _SERVER.fullmatch(server) or not items or not _INTERVAL.fullmatch(items[-1]):
                raise UnreadablePosition(f"{part[:80]!r} is not a MySQL GTID set")
            key = server.lower()
            tagged = False
            for item in items:
                match = _INTERVAL.fullmatch(item)
                if match:
                    found.setdefault(key, []).append(_interval(match, part))
                    tagged = False
                elif _TAG.fullmatch(item) and not tagged:
                    key = f"{server.lower()}:{item.lower()}"
                    tagged = True
                else:
                    raise UnreadablePosition(f"{item[:40]!r} in {part[:80]!r} is not an interval")
        return cls._of(found)

    @classmethod
    def _of(cls, found: Mapping[str, Iterable[Interval]]) -> GtidSet:
        merged = ((key, _merge(items)) for key, items in found.items())
        return cls(tuple(sorted((key, items) for key, items in merged if items)))

    def format(self) -> str:
        """Return the text that MySQL accepts; `parse` gives the same set back."""
        return ",".join(
            f"{key}:" + ":".join(str(a) if a == b else f"{a}-{b}" for a, b in items)
            for key, items in self.intervals
        )

    def __bool__(self) -> bool:
        """Return whether the set holds a transaction."""
        return bool(self.intervals)

    def contains(self, other: GtidSet) -> bool:
        """Return whether every transaction of `other` is in this set."""
        return not other.subtract(self)

    def union(self, other: GtidSet) -> GtidSet:
        """Return the transactions of either set."""
        found: dict[str, list[Interval]] = {}
        for key, items in self.intervals + other.intervals:
            found.setdefault(key, []).extend(items)
        return self._of(found)

    def subtract(self, other: GtidSet) -> GtidSet:
        """Return the transactions of this set that `other` does not hold."""
        minus = dict(other.intervals)
        return self._of(
            {key: _subtract(items, minus.get(key, ())) for key, items in self.intervals}
        )

    def count(self) -> int:
        """Return the number of transactions."""
        return sum(b - a + 1 for _, items in self.intervals for a, b in items)


def _interval(match: re.Match[str], part: str) -> Interval:
    first = int(match.group(1))
    last = int(match.group(2) or first)
    if not 1 <= first <= last < _END:
        raise UnreadablePosition(f"{match.group(0)!r} in {part[:80]!r} is not an interval")
    return first, last


def _merge(items: Iterable[Interval]) -> tuple[Interval, ...]:
    merged: list[Interval] = []
    for first, last in sorted(items):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)


def _subtract(items: Iterable[Interval], minus: Iterable[Interval]) -> list[Interval]:
    left = list(items)
    for first, last in minus:
        kept: list[Interval] = []
        for a, b in left:
            if b < first or a > last:
                kept.append((a, b))
                continue
            if a < first:
                kept.append((a, first - 1))
            if b > last:
                kept.append((last + 1, b))
        left = kept
    return left
