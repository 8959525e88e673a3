"""Expressions of a definition: what is one, and what it names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.core.expressions import Reference, cast_type, references, tokens_of
from cdc_assets.errors import ConfigurationError

FIELD = "filters.orders"


@pytest.mark.parametrize(
    "text",
    [
        "amount > 100",
        "status IN ('paid', 'it''s; -- fine', '/* too */')",
        "`we``ird.name` IS NOT NULL AND `select` = 1",
        "CASE WHEN a BETWEEN 1 AND 2 THEN 'x' ELSE NULL END = 'x'",
        "SUBSTRING(name FROM 1 FOR 2) = 'ab' OR EXTRACT(YEAR FROM d) = 2024",
        "d >= DATE '2024-01-01' AND t < TIMESTAMP'2024-01-01 00:00:00'",
        "größe > 1.5e3 AND emoji = '😀'",
        "a || b <> 'c'",
    ],
)
def test_an_expression_is_taken_as_it_is(text: str) -> None:
    tokens_of(text, field=FIELD)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("   \n", "empty"),
        ("1=1; DROP TABLE orders", "';'"),
        ("1=1 -- the rest", "comments"),
        ("1=1 // the rest", "comments"),
        ("1=1 /* the rest */", "comments"),
        ("1=1 # the rest", "comments"),
        ("1=1) OR (1=1", "pairs"),
        ("((1=1)", "pairs"),
        ("a, b", "one expression"),
        ("a AS b", "one expression"),
        ("1=1 FROM secrets", "one expression"),
        ("id IN (SELECT id FROM secrets)", "queries"),
        ("id IN (VALUES 1)", "queries"),
        ("EXISTS (id)", "queries"),
        ("1=1 UNION ALL", "queries"),
        ("ROW_NUMBER() = 1", "queries"),
        ("name = 'open", '"\'"'),
        ("`open = 1", "'`'"),
        ('name = "text"', "'\"'"),
        ("name = E'a\\' OR 1=1'", "before a text"),
        ("name = U&'\\0041'", "'&'"),
        ("a = ?", "'?'"),
        ("a = {fn now()}", "'{'"),
        ("a = 1\x00", "'\\x00'"),
        ("a = '\x00'", "NUL"),
        ("created > CURRENT_TIMESTAMP", "another value each time"),
        ("created > now()", "another value each time"),
        ("RAND() < 0.5", "another value each time"),
        ("12abc = 1", "belongs to no expression"),
        ("x" * 5000, "longer than"),
    ],
)
def test_anything_else_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        tokens_of(text, field=FIELD)
    assert said in str(caught.value)
    assert FIELD in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=60))
def test_whatever_is_taken_stays_inside_its_parentheses(text: str) -> None:
    """The tokens are the whole text, and no parenthesis closes what it did not open."""
    try:
        tokens = tokens_of(text, field=FIELD)
    except ConfigurationError:
        return
    assert "".join(token.text for token in tokens) == "".join(
        part for part in _without_blanks(text)
    )
    depth = 0
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        assert depth >= 0
    assert depth == 0


def _without_blanks(text: str) -> list[str]:
    """Return the characters that are not blanks between tokens."""
    quote, found = "", []
    for each in text:
        if quote or each not in " \t\r\n":
            found.append(each)
        if each in "'`" and (not quote or quote == each):
            quote = "" if quote else each
    return found


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("price * quantity", ["price", "quantity"]),
        ("UPPER(name) || 'x'", ["name"]),
        ("customers.name", ["customers.name"]),
        ("orders.`day` = 1 AND `x y` = 2", ["orders.day", "x y"]),
        ("CAST(price AS DECIMAL(10, 2)) + CAST(n AS INT)", ["price", "n"]),
        ("created + INTERVAL '1' DAY", ["created"]),
        ("EXTRACT(YEAR FROM created)", ["created"]),
        ("DATE '2024-01-01' < day_of", ["day_of"]),
        ("value > 1", ["value"]),
        ("a = a", ["a"]),
        ("created AT TIME ZONE 'UTC' > TIMESTAMPADD(DAY, 1, seen)", ["created", "seen"]),
        ("(a IS DISTINCT FROM b) AND POSITION('x' IN c) > FLOOR(d)", ["a", "b", "c", "d"]),
    ],
)
def test_the_columns_that_an_expression_names_are_found(text: str, named: list[str]) -> None:
    found = references(tokens_of(text, field=FIELD), frozenset({"value", "price"}))
    assert [str(each) for each in found] == named


def test_a_word_of_the_language_counts_as_a_column_where_the_table_has_it() -> None:
    tokens = tokens_of("day > 1", field=FIELD)
    assert references(tokens, frozenset()) == ()
    assert references(tokens, frozenset({"day"})) == (Reference("day"),)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("CAST(a * b AS DECIMAL(12, 2))", "DECIMAL(12, 2)"),
        ("cast(a as string)", "STRING"),
        ("CAST(a AS INT) + 1", ""),
        ("CAST(a AS INT) + CAST(b AS INT)", ""),
        ("a", ""),
    ],
)
def test_one_cast_says_its_type(text: str, kind: str) -> None:
    assert cast_type(tokens_of(text, field=FIELD)) == kind
