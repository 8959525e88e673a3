"""Changes of a StarRocks table: waited for, and told where they are cancelled or too slow."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from cdc_assets.errors import TargetError
from cdc_assets.ports import Server
from cdc_assets.targets import starrocks
from cdc_assets.targets.starrocks import StarRocksLogin, StarRocksTarget

ADD = "ALTER TABLE `dw`.`orders` ADD COLUMN `note` INT NULL;"
HEADS = ("JobId", "TableName", "CreateTime", "State", "Msg")


class Answering(StarRocksTarget):
    """StarRocks that goes through these states of the newest change; the last one stays."""

    def __init__(self, *states: tuple[str, str]) -> None:
        login = StarRocksLogin(Server("dw.example", 9030), (), "writer", "geheim")
        super().__init__(login, "dw")
        self.states = list(states)
        self.ran: list[str] = []
        self.description = [(head,) for head in HEADS]

    @contextmanager
    def _session(self, limit: float) -> Generator[Any]:
        del limit
        yield self

    def execute(self, text: str, values: tuple[object, ...] = ()) -> None:
        if values:
            assert text == (
                "SHOW ALTER TABLE COLUMN FROM `dw` WHERE TableName = %s"
                " ORDER BY CreateTime DESC LIMIT 1"
            )
            assert values == ("orders",)
        else:
            self.ran.append(text)

    def fetchall(self) -> list[tuple[str, ...]]:
        number, state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return [(number, "orders", "2026-01-01", state, "no space")] if number else []


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starrocks, "_POLL_SECONDS", 0.0)
    monkeypatch.setattr(starrocks, "_ALTER_SECONDS", 0.05)


def test_a_change_is_waited_for_also_one_that_was_at_work_before() -> None:
    target = Answering(("7", "RUNNING"), ("7", "FINISHED"), ("8", "PENDING"),
                       ("8", "WAITING_TXN"), ("8", "FINISHED"))  # fmt: skip
    target.alter(ADD)
    assert target.ran == [ADD.rstrip(";")]
    assert len(target.states) == 1


def test_a_change_that_is_done_at_once_leaves_no_job() -> None:
    target = Answering(("", ""))
    target.alter(ADD)
    assert target.ran == [ADD.rstrip(";")]


def test_a_change_that_is_cancelled_is_an_error_and_an_older_one_is_not() -> None:
    Answering(("7", "CANCELLED")).alter(ADD)
    target = Answering(("7", "FINISHED"), ("8", "RUNNING"), ("8", "CANCELLED"))
    with pytest.raises(TargetError, match=r"the change of dw.orders was cancelled: no space"):
        target.alter(ADD)


def test_a_change_that_takes_too_long_is_told() -> None:
    target = Answering(("7", "RUNNING"))
    with pytest.raises(TargetError, match=r"a change of dw.orders is RUNNING after") as told:
        target.alter(ADD)
    assert "SHOW ALTER TABLE COLUMN" in told.value.hint
    assert target.ran == []
