r"""TablePattern: tables by regular expressions, as a Flink CDC pipeline writes them. Pure.

A `.` separates database and table, `\.` is the dot of a regular expression, a `,` separates
patterns and `\,` is a comma. Both parts must match the whole name, upper and lower case alike.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from cdc_assets.errors import ConfigurationError

# Database and table.
TableName = tuple[str, str]

SYSTEM_DATABASES = ("information_schema", "mysql", "performance_schema", "sys")
MAX_PATTERN = 500
# A name has at most 64 characters: this many open repetitions still match within a second.
_MOST_REPETITIONS = 5
_PLAIN = re.compile(r"[\w$-]+")
_ESCAPED = re.compile(r"\\.")
_CLASS = re.compile(r"\[\^?\]?[^\]]*\]")
_INNERMOST = re.compile(r"\((?:\?(?:[a-zA-Z-]*:|<?[=!]))?([^()]*)\)([*+{]?)")
_OPEN = re.compile(r"[*+]|\{\d*,\d*\}")


@dataclass(frozen=True)
class TablePattern:
    r"""One pattern.

    Attributes:
        text: As it was written.
        database: Regular expression of the database's whole name.
        table: Regular expression of the table's whole name.

    Example:
        >>> each = TablePattern.parse(r"order_dw.\.*")
        >>> each.database, each.table, each.matches(("order_dw", "user"))
        ('order_dw', '.*', True)
    """

    text: str
    database: str
    table: str

    @classmethod
    def parse(cls, text: str) -> TablePattern:
        """Read one pattern.

        Raises:
            ConfigurationError: It has another form, is no regular expression, could take too
                long to match, or is about the server's own tables.
        """
        if len(text) > MAX_PATTERN:
            raise ConfigurationError(f"a pattern is longer than {MAX_PATTERN} characters")
        parts = [part.strip().replace(r"\.", ".") for part in _split(text, ".")]
        if len(parts) != 2 or not all(parts):  # noqa: PLR2004 - database and table
            raise ConfigurationError(
                "write a pattern as database.table",
                value=text,
                hint=r"A plain '.' separates the two; the dot of a regular expression is '\.'",
            )
        for part in parts:
            _check(part, text)
        found = cls(text, *parts)
        for name in SYSTEM_DATABASES:
            if found.matches_database(name):
                raise ConfigurationError(
                    f"matches the server's own tables in {name}, too",
                    value=text,
                    hint="Narrow the part before the '.'",
                )
        return found

    @property
    def is_plain(self) -> bool:
        """Return whether it is one name and no pattern."""
        return bool(_PLAIN.fullmatch(self.database) and _PLAIN.fullmatch(self.table))

    def matches_database(self, name: str) -> bool:
        """Return whether a database's name matches."""
        return bool(_compiled(self.database).fullmatch(name))

    def matches(self, name: TableName) -> bool:
        """Return whether a table matches."""
        return self.matches_database(name[0]) and bool(_compiled(self.table).fullmatch(name[1]))


def parse_patterns(text: str) -> tuple[TablePattern, ...]:
    """Read patterns with commas between them.

    Raises:
        ConfigurationError: One cannot be read, or there is none.
    """
    parts = [part.strip().replace(r"\,", ",") for part in _split(text, ",")]
    if not all(parts):
        raise ConfigurationError("a pattern is missing before or after a comma", value=text)
    return tuple(TablePattern.parse(part) for part in parts)


def matching(patterns: Sequence[TablePattern], names: Iterable[TableName]) -> tuple[TableName, ...]:
    """Return the tables that any of the patterns matches, in order."""
    return tuple(sorted(name for name in names if any(each.matches(name) for each in patterns)))


def _split(text: str, separator: str) -> list[str]:
    r"""Split at separators that no `\` stands before."""
    parts: list[str] = []
    current, escaped = "", False
    for sign in text:
        if sign == separator and not escaped:
            parts.append(current)
            current = ""
            continue
        current += sign
        escaped = sign == "\\" and not escaped
    if escaped:
        raise ConfigurationError(r"ends with '\'", value=text)
    return [*parts, current]


# Java compares as ASCII with CASE_INSENSITIVE alone, and so do its \w and \d.
@lru_cache(maxsize=1024)
def _compiled(part: str) -> re.Pattern[str]:
    return re.compile(part, re.IGNORECASE | re.ASCII)


def _check(part: str, text: str) -> None:
    try:
        with warnings.catch_warnings():
            # `[[`, `&&`, `--` in a class: Java takes them for sets of signs, Python will some day.
            warnings.simplefilter("error")
            _compiled(part)
    except (re.error, ValueError, RecursionError, OverflowError, Warning) as error:
        what = " ".join(str(error).split())
        raise ConfigurationError(f"not a regular expression ({what})", value=text) from None
    plain = _CLASS.sub("x", _ESCAPED.sub("x", part))
    if len(_OPEN.findall(plain)) > _MOST_REPETITIONS or _repeats_a_choice(plain):
        raise ConfigurationError(
            "could take longer to match than anyone waits",
            value=text,
            hint="Take repetitions and choices inside of a repeated group out of it, and write "
            f"at most {_MOST_REPETITIONS} repetitions",
        )


def _repeats_a_choice(plain: str) -> bool:
    """Return whether a repeated group holds a repetition or a choice, as `(a+)+` does."""
    while match := _INNERMOST.search(plain):
        inner, repeated = match.groups()
        varies = bool(_OPEN.search(inner)) or "|" in inner or "?" in inner
        if varies and repeated:
            return True
        # What is left of the group varies as much as it did.
        left = "y+" if varies else "y"
        plain = plain[: match.start()] + left + plain[match.end() - len(repeated) :]
    return False
