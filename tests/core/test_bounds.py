from __future__ import annotations

import pytest

from cdc_assets.core.bounds import is_bounded
from cdc_assets.core.columns import Column, TableShape


def shape(*types: str, key: tuple[str, ...] | None = None) -> TableShape:
    columns = tuple(
        Column(f"c{number}", kind.partition("(")[0], kind) for number, kind in enumerate(types)
    )
    return TableShape("d", "t", columns, tuple(c.name for c in columns) if key is None else key)


@pytest.mark.parametrize(
    "kind",
    ["tinyint(1)", "bigint(20) unsigned", "decimal(65,30)", "date", "datetime(6)", "timestamp"],
)
def test_numbers_and_moments_are_ordered_alike_everywhere(kind: str) -> None:
    assert is_bounded(shape(kind))


@pytest.mark.parametrize("kind", ["varchar(10)", "char(2)", "binary(4)", "enum('a')", "double"])
def test_what_a_server_orders_in_its_own_way_is_no_bound(kind: str) -> None:
    assert not is_bounded(shape("int", kind))


def test_a_table_without_a_key_has_no_bound() -> None:
    assert not is_bounded(shape("int", key=()))
