from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.quoting import (
    checked_sink_name,
    exact_pattern,
    quote_identifier,
    quote_text,
)

WITHOUT_NUL = st.text(st.characters(blacklist_characters="\x00", blacklist_categories=["Cs"]))
NAMES = WITHOUT_NUL.filter(bool)


def as_python_pattern(pattern: str) -> str:
    r"""Return Java's `\x{h}` as Python spells it."""
    return re.sub(r"\\x\{([0-9a-f]+)\}", lambda found: re.escape(chr(int(found[1], 16))), pattern)


@given(NAMES)
def test_a_name_is_closed_where_it_ends(name: str) -> None:
    quoted = quote_identifier(name)
    assert quoted[0] == quoted[-1] == "`"
    assert "`" not in quoted[1:-1].replace("``", "")
    assert quoted[1:-1].replace("``", "`") == name


@given(WITHOUT_NUL)
def test_a_text_is_closed_where_it_ends(text: str) -> None:
    quoted = quote_text(text)
    assert "'" not in quoted[1:-1].replace("''", "")
    assert quoted[1:-1].replace("''", "'") == text


@given(NAMES, NAMES)
def test_a_pattern_matches_its_name_only(name: str, other: str) -> None:
    pattern = as_python_pattern(exact_pattern(name))
    assert re.fullmatch(pattern, name)
    assert bool(re.fullmatch(pattern, other)) == (name == other)


@given(NAMES)
def test_a_pattern_holds_nothing_that_the_connector_splits_at_or_reads_as_an_operator(
    name: str,
) -> None:
    rest = re.sub(r"\\x\{[0-9a-f]+\}", "", exact_pattern(name))
    assert not set(rest) & set("\\.[]{}()*+-?^$|,#&~'`\" \t\n")


@pytest.mark.parametrize("quote", [quote_identifier, quote_text, exact_pattern])
def test_a_nul_is_refused(quote: object) -> None:
    assert callable(quote)
    with pytest.raises(ConfigurationError):
        quote("a\x00b")


@pytest.mark.parametrize("name", ["order_id", "Größe", "a$1", "été2"])
def test_a_name_that_java_reads_back_is_written(name: str) -> None:
    assert checked_sink_name(name, field="f") == name


@pytest.mark.parametrize("name", ["", "a b", "a-b", "a`b", "a:b", "a.b", "a'b", "a😀"])
def test_a_name_that_the_jdbc_connector_would_cut_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="exclude_columns"):
        checked_sink_name(name, field="dw.orders")
