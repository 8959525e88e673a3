from __future__ import annotations

import re

import pytest

from cdc_assets.core.postgres_names import (
    folded,
    quote_name,
    quote_path,
    unwritable_column,
    unwritable_table,
)
from cdc_assets.errors import ConfigurationError


def test_a_quoted_name_may_hold_anything() -> None:
    assert quote_path('My "S"', "a.b 😀") == '"My ""S"""."a.b 😀"'


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_a_name_that_no_server_takes_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="not a PostgreSQL name"):
        quote_name(name)


@pytest.mark.parametrize("name", ["id", "_x", "a$b", "größe", "ÉTÉ".lower(), "x1", "values", "漢"])
def test_a_plain_lower_case_column_can_be_written(name: str) -> None:
    assert unwritable_column(name) == ""


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("order", "reserved"), ("user", "reserved"), ("left", "reserved"),
        ("OrderId", "as orderid"), ("1st", "no digit"), ("$a", "no '\\$'"), ("a b", "without"),
        ('a"b', "without"), ("a.b", "without"), ("a:b", "without"), ("", "without"),
        ("😀", "without"), ("\U0001d49c", "without"), ("x²", "without"), ("a\n", "without"),
        ("x" * 64, "64 bytes"), ("é" * 32, "64 bytes"),
    ],
)  # fmt: skip
def test_a_column_that_needs_quotes_cannot_be_written(name: str, reason: str) -> None:
    assert re.search(reason, unwritable_column(name))


def test_folding_touches_ascii_letters_only() -> None:
    assert folded("OrderÉ_İD") == "orderÉ_İd"


@pytest.mark.parametrize("name", ["user", 'a"b', "a.b", "ÄÖ 😀", "q!", "x" * 63])
def test_a_table_of_any_name_can_be_written(name: str) -> None:
    assert unwritable_table(name) == ""


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a:b", "parameter"),
        ("a?", "parameter"),
        ("x" * 64, "64 bytes"),
        ("😀" * 16, "64 bytes"),
        ("", "no such"),
    ],
)
def test_a_table_that_the_connector_misreads_is_refused(name: str, reason: str) -> None:
    assert reason in unwritable_table(name)
