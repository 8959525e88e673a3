"""Expressions: the Flink SQL that a person writes into a definition, cut into tokens. Pure.

What comes out is one expression and nothing else: it has no statement, no comment, no subquery
and no comma outside of parentheses, and its parentheses are in pairs. So it can stand in
parentheses inside a statement without changing what is around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

from cdc_assets.errors import ConfigurationError

TokenKind = Literal["name", "quoted", "text", "number", "sign"]

_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n]+)"
    r"|(?P<comment>--|//|/\*|\*/|\#)"
    r"|(?P<text>'(?:[^']|'')*')"
    r"|(?P<quoted>`(?:[^`]|``)+`)"
    r"|(?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w$]))"
    r"|(?P<name>[^\W\d][\w$]*)"
    r"|(?P<sign><=|>=|<>|!=|\|\||[-+*/%<>=(),.])"
)
_LONGEST = 4000
# Written right before a text they are a part of it; any other word there would be a prefix
# with rules of its own, such as E'..', in which a backslash hides the closing quote.
_BEFORE_TEXT = frozenset({"DATE", "TIME", "TIMESTAMP", "INTERVAL", "X"})
_STATEMENTS = frozenset({
    "SELECT", "VALUES", "UNION", "EXCEPT", "INTERSECT", "WITH", "INSERT", "UPDATE", "DELETE",
    "EXECUTE", "CREATE", "DROP", "OVER", "EXISTS", "LATERAL", "UNNEST", "TABLE", "FILTER",
    "GROUPING", "MATCH_RECOGNIZE", "ROW_NUMBER",
})  # fmt: skip
# What such a word says of a row is different each time. The old half of an update is told by
# it, so a row could be left behind at the target.
_CHANGING = frozenset({
    "CURRENT_TIMESTAMP", "CURRENT_TIME", "CURRENT_DATE", "LOCALTIME", "LOCALTIMESTAMP",
})  # fmt: skip
_CHANGING_CALLS = frozenset({
    "NOW", "CURRENT_ROW_TIMESTAMP", "CURRENT_WATERMARK", "CURRENT_DATABASE", "PROCTIME", "RAND",
    "RAND_INTEGER", "UNIX_TIMESTAMP", "UUID",
})  # fmt: skip
# Words of the language that stand where a column's name could; a column of such a name counts
# as a column.
_WORDS = frozenset({
    "AND", "OR", "NOT", "NULL", "IS", "IN", "LIKE", "SIMILAR", "TO", "BETWEEN", "SYMMETRIC",
    "ASYMMETRIC", "CASE", "WHEN", "THEN", "ELSE", "END", "TRUE", "FALSE", "UNKNOWN", "CAST", "AS",
    "DISTINCT", "FROM", "FOR", "BOTH", "LEADING", "TRAILING", "ESCAPE", "DATE", "TIME",
    "TIMESTAMP", "INTERVAL", "YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND",
    "MILLISECOND", "MICROSECOND", "NANOSECOND", "DECADE", "CENTURY", "MILLENNIUM", "DOY", "DOW",
    "ISODOW", "ISOYEAR", "EPOCH", "JSON", "VALUE", "KEY", "RETURNING", "ON", "EMPTY", "ERROR",
    "DEFAULT", "ABSENT", "WITHOUT", "ARRAY", "WRAPPER", "CONDITIONAL", "UNCONDITIONAL", "SCALAR",
    "OBJECT", "PLACING", "USING", "X", "AT", "ZONE", "LOCAL", "OVERLAPS", "CONTAINS", "PRECEDES",
    "SUCCEEDS", "EQUALS", "IMMEDIATELY", "PERIOD", "MEMBER", "OF", "MULTISET",
})  # fmt: skip


@dataclass(frozen=True)
class Token:
    """One word, sign or literal.

    Attributes:
        kind: What it is.
        text: As it is written.
    """

    kind: TokenKind
    text: str

    @property
    def word(self) -> str:
        """Return a name as the language compares its own words, empty for anything else."""
        return self.text.upper() if self.kind == "name" else ""

    @property
    def name(self) -> str:
        """Return the name that it stands for, empty when it is none."""
        if self.kind == "quoted":
            return self.text[1:-1].replace("``", "`")
        return self.text if self.kind == "name" else ""


@dataclass(frozen=True)
class Reference:
    """A column that an expression names.

    Attributes:
        name: Of the column.
        qualifier: Name before the dot, empty without one.
    """

    name: str
    qualifier: str = ""

    def __str__(self) -> str:
        """Return the reference as it is written."""
        return f"{self.qualifier}.{self.name}" if self.qualifier else self.name


def tokens_of(text: str, *, field: str) -> tuple[Token, ...]:
    """Return the tokens of one expression.

    Raises:
        ConfigurationError: It is not one expression, or not one that a row can be judged by.

    Example:
        >>> [token.text for token in tokens_of("price*quantity >= 10", field="filters.orders")]
        ['price', '*', 'quantity', '>=', '10']
    """
    if not text.strip():
        raise ConfigurationError("empty", field=field, value=text)
    if len(text) > _LONGEST:
        raise ConfigurationError(f"longer than {_LONGEST} characters", field=field,
                                 value=f"{text[:40]}...")  # fmt: skip
    found: list[Token] = []
    for kind, part in _cut(text, field):
        token = Token(kind, part)
        if token.word in _STATEMENTS:
            _refuse(field, text, f"{token.text} belongs to a query; write one under 'queries'")
        if token.word in _CHANGING:
            _changing(field, text, token.text)
        if part == "(" and found and found[-1].word in _CHANGING_CALLS:
            _changing(field, text, found[-1].text)
        if kind == "text" and found and text_follows(found[-1]):
            _refuse(field, text, f"{found[-1].text} before a text")
        found.append(token)
    _check_pairs(found, text, field)
    return tuple(found)


def text_follows(token: Token) -> bool:
    """Return whether a word may not stand before a text literal: E'..', U'..', N'..'."""
    return token.kind == "name" and len(token.text) == 1 and token.word not in _BEFORE_TEXT


def references(tokens: Sequence[Token], columns: frozenset[str]) -> tuple[Reference, ...]:
    """Return the columns that an expression names, once each, in order.

    Args:
        tokens: Of the expression.
        columns: Names that count as columns even where the language has such a word.
    """
    found: list[Reference] = []
    skipped = set(_type_places(tokens))
    for place, token in enumerate(tokens):
        if not token.name or place in skipped or _text(tokens, place - 1) == ".":
            continue
        if _text(tokens, place + 1) == "." and place + 2 < len(tokens):
            found.append(Reference(tokens[place + 2].name, token.name))
        elif _is_column(tokens, place, columns):
            found.append(Reference(token.name))
    return tuple(dict.fromkeys(found))


def cast_type(tokens: Sequence[Token]) -> str:
    """Return the type of an expression that is one CAST, empty for any other.

    Example:
        >>> cast_type(tokens_of("CAST(a * b AS DECIMAL(12, 2))", field="f"))
        'DECIMAL(12, 2)'
    """
    if [token.text.upper() for token in tokens[:2]] != ["CAST", "("]:
        return ""
    depth, start = 0, 0
    for place, token in enumerate(tokens):
        depth += {"(": 1, ")": -1}.get(token.text, 0) if token.kind == "sign" else 0
        if depth == 1 and token.word == "AS":
            start = place + 1
        if depth == 0 and place and place < len(tokens) - 1:
            return ""
    parts = [token.text.upper() for token in tokens[start:-1]]
    text = " ".join(parts).replace(" ( ", "(").replace(" )", ")").replace(" ,", ",")
    return text if start else ""


def _cut(text: str, field: str) -> Iterator[tuple[TokenKind, str]]:
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            _refuse(
                field, text, f"{text[place]!r} at character {place + 1} belongs to no expression"
            )
        kind, place = match.lastgroup, match.end()
        if kind == "comment":
            _refuse(field, text, "no comments")
        if kind == "name":
            yield "name", match.group()
        elif kind == "quoted":
            yield "quoted", match.group()
        elif kind == "text":
            if "\x00" in match.group():
                _refuse(field, text, "holds a NUL")
            yield "text", match.group()
        elif kind == "number":
            yield "number", match.group()
        elif kind == "sign":
            yield "sign", match.group()


def _changing(field: str, text: str, word: str) -> NoReturn:
    reason = "is another value each time, so a row could not be told again; use a column of it"
    _refuse(field, text, f"{word} {reason}")


def _check_pairs(tokens: Sequence[Token], text: str, field: str) -> None:
    depth = 0
    for token in tokens:
        if token.text == "(":
            depth += 1
        elif token.text == ")":
            depth -= 1
        elif depth == 0 and (token.text == "," or token.word in {"AS", "FROM", "USING"}):
            _refuse(field, text, f"{token.text!r} outside of parentheses: write one expression")
        if depth < 0:
            break
    if depth:
        _refuse(field, text, "parentheses that are not in pairs")


def _type_places(tokens: Sequence[Token]) -> Iterator[int]:
    """Yield where the types of casts stand: after AS, up to the parenthesis that closes it."""
    depth, end = 0, None
    for place, token in enumerate(tokens):
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if end is not None and depth < end:
            end = None
        if end is not None:
            yield place
        elif token.word == "AS":
            end = depth


def _is_column(tokens: Sequence[Token], place: int, columns: frozenset[str]) -> bool:
    token = tokens[place]
    if token.kind == "quoted" and _text(tokens, place + 1) != "(":
        return True
    if _text(tokens, place + 1) == "(":
        return False
    before = tokens[place - 1] if place else None
    if before is not None and before.kind == "text" and token.word in _WORDS:
        return False  # a unit: INTERVAL '1' DAY
    following = tokens[place + 1] if place + 1 < len(tokens) else None
    if following is not None and following.kind == "text" and token.word in _BEFORE_TEXT:
        return False
    return token.name in columns or token.word not in _WORDS


def _text(tokens: Sequence[Token], place: int) -> str:
    return tokens[place].text if 0 <= place < len(tokens) else ""


def _refuse(field: str, text: str, reason: str) -> NoReturn:
    raise ConfigurationError(reason, field=field, value=" ".join(text.split())[:200])
