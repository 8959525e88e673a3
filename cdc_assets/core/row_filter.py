"""Row filters that a source can count by: the few that MySQL and Flink read alike. Pure.

Flink compares texts byte by byte, MySQL by a collation; one turns a text into a number where
the other refuses; functions differ. So only this is taken: a column compared with a literal of
its own kind, IN, IS NULL, and AND, OR and parentheses between them. Whatever else a filter says,
rows are not counted by it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.expressions import Token, tokens_of
from cdc_assets.core.row_sql import Statement, quote_name
from cdc_assets.core.shards import members_of
from cdc_assets.core.types import INT_BITS, MySqlType

_OPERATORS = frozenset({"=", "<>", "<", "<=", ">", ">="})
# Flink's longest DECIMAL; beyond it a number travels as text.
_DIGITS = 38
_LITERAL_DIGITS = 18
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?")
_TEXTS = frozenset({"char", "varchar", "enum"})


class NotCountable(Exception):
    """A filter that the source cannot count by; the text says why."""


def condition_of(text: str, shape: TableShape) -> Statement:
    """Return a filter as a condition for the source, with its values for the driver.

    Args:
        text: The filter.
        shape: The captured table.

    Raises:
        NotCountable: MySQL and Flink may read it differently.

    Example:
        >>> from cdc_assets.core.columns import Column
        >>> orders = TableShape("d", "orders", (Column("n", "int", "int"),), ("n",))
        >>> condition_of("n > 5 OR n IS NULL", orders)
        Statement(text='(`n` > %s) OR (`n` IS NULL)', values=(5,))
    """
    reader = _Reader(tokens_of(text, field="filter"), shape)
    found = reader.either()
    if reader.place != len(reader.tokens):
        raise NotCountable(f"{reader.here.text} after a comparison")
    return found


class _Reader:
    """Reads a filter from left to right."""

    def __init__(self, tokens: Sequence[Token], shape: TableShape) -> None:
        self.tokens = tokens
        self.place = 0
        self._shape = shape

    @property
    def here(self) -> Token:
        return self.tokens[self.place] if self.place < len(self.tokens) else Token("sign", "")

    def either(self) -> Statement:
        return self._joined("OR", self._both)

    def _both(self) -> Statement:
        return self._joined("AND", self._one)

    def _joined(self, word: str, read: Callable[[], Statement]) -> Statement:
        found = [read()]
        while self.here.word == word:
            self.place += 1
            found.append(read())
        if len(found) == 1:
            return found[0]
        text = f" {word} ".join(f"({each.text})" for each in found)
        return Statement(text, tuple(value for each in found for value in each.values))

    def _one(self) -> Statement:
        if self.here.text == "(" and self.here.kind == "sign":
            self.place += 1
            found = self.either()
            self._expect(")")
            return found
        return self._comparison(self._column())

    def _column(self) -> Column:
        token = self._next()
        if self.here.text == ".":
            self.place += 1
            token = self._next()
        column = self._shape.column(token.name) if token.name else None
        if column is None or column.name != token.name:
            raise NotCountable(f"{token.text or 'the end'} is no column")
        if any(member.column(column.name) is None for member in members_of(self._shape)):
            raise NotCountable(f"not every source table has the column {column.name}")
        return column

    def _comparison(self, column: Column) -> Statement:
        name = quote_name(column.name).replace("%", "%%")
        token = self._next()
        if token.word == "IS":
            negated = self._took("NOT")
            self._expect("NULL")
            return Statement(f"{name} IS {'NOT ' if negated else ''}NULL")
        negated = token.word == "NOT"
        if negated:
            token = self._next()
        if token.word == "IN":
            return self._among(column, name, "NOT IN" if negated else "IN")
        if negated or token.text not in _OPERATORS:
            raise NotCountable(f"{token.text or 'the end'} after {column.name}")
        left, value = self._value(column, name, is_equality=token.text in {"=", "<>"})
        return Statement(f"{left} {token.text} %s", (value,))

    def _among(self, column: Column, name: str, word: str) -> Statement:
        self._expect("(")
        values: list[object] = []
        left = name
        while True:
            left, value = self._value(column, name, is_equality=True)
            values.append(value)
            if self.here.text != ",":
                break
            self.place += 1
        self._expect(")")
        places = ", ".join(["%s"] * len(values))
        return Statement(f"{left} {word} ({places})", tuple(values))

    def _value(self, column: Column, name: str, *, is_equality: bool) -> tuple[str, object]:
        """Return the column as it is compared, and a literal of its kind."""
        kind = MySqlType.parse(column)
        sign = -1 if self.here.text == "-" else 1
        self.place += sign == -1
        token = self._next()
        if kind.base in INT_BITS or (kind.base == "decimal" and (kind.size or 0) <= _DIGITS):
            return name, _number(token, sign)
        if sign == 1 and kind.base in {"date", "datetime"}:
            return name, self._moment(token, kind.base)
        if sign == 1 and kind.base in _TEXTS and is_equality and token.kind == "text":
            # Byte by byte, as Flink does: no collation, no blanks that do not count.
            return f"CAST(CONVERT({name} USING utf8mb4) AS BINARY)", _text(token).encode()
        raise NotCountable(f"{column.name} ({column.column_type}) compared with {token.text}")

    def _moment(self, token: Token, base: str) -> str:
        word = {"date": "DATE", "datetime": "TIMESTAMP"}[base]
        is_typed = token.word == word
        if is_typed:
            token = self._next()
        text = _text(token)
        is_moment = base == "datetime" and bool(_MOMENT.fullmatch(text))
        if not is_moment and not _DAY.fullmatch(text):
            raise NotCountable(f"{token.text} is no {word.lower()}")
        if "." in text and not is_typed:
            # Flink would cut it to the column's digits.
            raise NotCountable(f"{token.text} without {word} before it")
        try:
            datetime.fromisoformat(text)
        except ValueError:
            # MySQL makes NULL of it, or another day.
            raise NotCountable(f"{token.text} is no day of the calendar") from None
        return text

    def _next(self) -> Token:
        token = self.here
        self.place += 1
        return token

    def _took(self, word: str) -> bool:
        if self.here.word != word:
            return False
        self.place += 1
        return True

    def _expect(self, text: str) -> None:
        token = self._next()
        if text not in {token.text, token.word}:
            raise NotCountable(f"{token.text or 'the end'} in the place of {text}")


def _number(token: Token, sign: int) -> int | Decimal:
    digits = token.text.replace(".", "")
    if token.kind != "number" or not digits.isdigit() or len(digits) > _LITERAL_DIGITS:
        raise NotCountable(f"{token.text or 'the end'} is no plain number")
    return sign * (Decimal(token.text) if "." in token.text else int(token.text))


def _text(token: Token) -> str:
    if token.kind != "text":
        raise NotCountable(f"{token.text or 'the end'} is no text")
    return token.text[1:-1].replace("''", "'")
