"""Counting what the target received again, and the plan of the long proof."""

from __future__ import annotations

import pytest

from cdc_assets.lab.repeated_writes import row_writes
from cdc_assets.lab.switchovers import FAULTS, Round, last_line, plan

INSERT = "use `target`; INSERT INTO `orders`(`id`, `note`) VALUES "


@pytest.mark.parametrize(
    ("info", "rows"),
    [
        (f"{INSERT}(1, 'a') ON DUPLICATE KEY UPDATE `id`=VALUES(`id`)", ["orders (1, 'a')"]),
        (f"{INSERT}(1, 'a'),(2, 'b')", ["orders (1, 'a')", "orders (2, 'b')"]),
        (f"{INSERT}(1, '),('),(2, NULL)", ["orders (1, '),(')", "orders (2, NULL)"]),
        (f"{INSERT}(1, 'it\\'s (x)'),(2, 'it''s')", ["orders (1, 'it\\'s (x)')",
                                                     "orders (2, 'it''s')"]),
        ("use `target`; DELETE FROM `orders` WHERE `id` = 5",
         ["orders DELETE FROM `orders` WHERE `id` = 5"]),
        ("use `target`; INSERT INTO `orders_by_product`(`product`) VALUES ('x')", []),
        ("BEGIN", []),
    ],
)  # fmt: skip
def test_a_batch_is_taken_apart_into_its_rows(info: str, rows: list[str]) -> None:
    assert list(row_writes(info, ("orders", "target_table"))) == rows


def test_the_same_row_in_another_batch_is_the_same_write() -> None:
    first = row_writes(f"{INSERT}(1, 'a'),(2, 'b')", ("orders",))
    again = row_writes(f"{INSERT}(2, 'b'),(3, 'c')", ("orders",))
    assert set(first) & set(again) == {"orders (2, 'b')"}


def test_half_of_twenty_rounds_have_a_fault_and_every_fault_has_its_turn_on_both_sources() -> None:
    rounds = plan(20)
    assert [source for source, _ in rounds] == ["mariadb"] * 10 + ["mysql"] * 10
    for kind in ("mariadb", "mysql"):
        faults = [fault for source, fault in rounds if source == kind]
        assert faults.count("none") == 5
        assert set(faults) == {"none", *FAULTS}


def test_the_last_line_has_the_promised_form() -> None:
    rounds = [
        Round(1, "mariadb", "none", lost=0, doubled=0, repeated=0, seconds=9.5),
        Round(2, "mysql", "jobmanager", lost=0, doubled=0, repeated=3, seconds=18.5),
    ]
    assert last_line(rounds) == (
        "switchovers 2, rows lost 0, rows doubled 0, first green row median 14.0 s, worst 18.5 s"
    )
