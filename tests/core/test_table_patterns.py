"""TablePattern: the dialect of pipeline files; what cannot be read, or could run for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.core.table_patterns import TablePattern, matching, parse_patterns
from cdc_assets.errors import ConfigurationError

NAMES = [("db", "user"), ("db", "user_1"), ("db", "order"), ("DB2", "a.b"), ("other", "user")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("db.\\.*", ["user", "user_1", "order"]),
        ("db.user", ["user"]),
        ("DB.USER", ["user"]),
        ("db.user_[0-9]+", ["user_1"]),
        ("db\\.*.\\.*", ["user", "user_1", "order", "a.b"]),
        ("db2.a\\.b", ["a.b"]),
        ("d[a-z]{1\\,5}.order", ["order"]),
        ("db.(?:user|order)", ["user", "order"]),
        (" db.user , other.user ", ["user", "user"]),
        ("db.use", []),
    ],
)
def test_a_pattern_matches_whole_names(text: str, found: list[str]) -> None:
    assert sorted(name for _, name in matching(parse_patterns(text), NAMES)) == sorted(found)


@pytest.mark.parametrize(
    "part",
    [
        "[", "(", "a**", "(?u)a", "(?L)a", "\\p{L}", "\\Qa\\E", "[[:alpha:]]", "[a&&b]", "a(?i)b",
        "(a+)+", "(a*)*b", "(a|b)*", "(a|a)+", "((a+)b?)+", "(a?)*", "(?:a{1\\,})+", "(?i:a+)+",
        "(?=a+)+", "a+" * 6, "x" * 501, "",
    ],
)  # fmt: skip
def test_what_cannot_be_read_or_could_run_for_ever_is_refused(part: str) -> None:
    text = part.replace("\\,", ",") if part.startswith("(?:") else part
    with pytest.raises(ConfigurationError):
        TablePattern.parse(f"db.{text}")


@pytest.mark.parametrize(
    "part", ["(a|b)c", "(a+)b", "(ab)+", "(a|b)?", "[a+]*", "\\w+_[0-9]+", "(?:x_)?user"]
)
def test_plain_groups_are_taken(part: str) -> None:
    assert TablePattern.parse(f"db.{part}").table == part


@pytest.mark.parametrize("name", ["information_schema", "mysql", "performance_schema", "sys"])
def test_the_servers_own_tables_are_never_captured(name: str) -> None:
    for text in (f"{name}.x", f"{name.upper()}.\\.*", f"{name[:2]}\\.*.\\.*"):
        with pytest.raises(ConfigurationError, match="own tables"):
            TablePattern.parse(text)


@given(st.text(max_size=60))
def test_any_text_is_a_pattern_or_one_refusal(text: str) -> None:
    said = ""
    try:
        for pattern in parse_patterns(text):
            pattern.matches(("a" * 64, "a" * 64))
    except ConfigurationError as error:
        said = str(error)
    assert "\n" not in said
