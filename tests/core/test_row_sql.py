from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.core.row_sql import Statement, count_rows, largest_key, quote_name
from cdc_assets.errors import ConfigurationError

PAIRS = st.tuples(st.integers(-3, 3), st.integers(-3, 3))


@given(st.lists(PAIRS, unique=True), PAIRS)
def test_a_count_up_to_a_key_counts_in_the_order_of_the_key(
    rows: list[tuple[int, int]], bound: tuple[int, int]
) -> None:
    """SQLite reads the same statement, with `?` for the driver's `%s`."""
    database = sqlite3.connect(":memory:")
    try:
        database.execute("CREATE TABLE t (a, b)")
        database.executemany("INSERT INTO t VALUES (?, ?)", rows)
        text, values = count_rows("main", "t", ("a", "b"), bound)
        found = database.execute(text.replace("%s", "?"), values).fetchone()
    finally:
        database.close()
    assert found == (sum(1 for row in rows if row <= bound),)


def test_without_a_bound_all_rows_are_counted() -> None:
    assert count_rows("d", "t", ("a",)) == ("SELECT COUNT(*) FROM `d`.`t`", ())


def test_a_bound_of_another_length_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="2 values for 1 key"):
        count_rows("d", "t", ("a",), (1, 2))


def test_a_percent_sign_in_a_name_is_no_place_for_a_value() -> None:
    assert count_rows("d%", "t", ("a%",), (1,)).text.replace("%%", "").count("%") == 1
    assert largest_key("d", "t%", ("a%",)).text.replace("%%", "").count("%") == 0


@pytest.mark.parametrize("name", ["", "a\x00b"])
def test_what_no_server_takes_as_a_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError):
        quote_name(name)


def test_a_condition_goes_beside_the_bound() -> None:
    where = Statement("`n` > %s OR `n` IS NULL", (5,))
    assert count_rows("d", "t", where=where) == Statement(
        "SELECT COUNT(*) FROM `d`.`t` WHERE `n` > %s OR `n` IS NULL", (5,)
    )
    assert count_rows("d", "t", ("a",), (1,), where) == Statement(
        "SELECT COUNT(*) FROM `d`.`t` WHERE (`a` <= %s) AND (`n` > %s OR `n` IS NULL)", (1, 5)
    )
