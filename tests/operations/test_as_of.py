from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from cdc_assets.core.table_refs import ShardedTable, TableRef
from cdc_assets.core.table_versions import TableVersion
from cdc_assets.errors import ConfigurationError, RecoveryBlocked
from cdc_assets.operations.as_of import position_at, table_as_of
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.testing.builders import BlueGreen
from cdc_assets.testing.target import FakeTarget
from tests.operations.world import World

ORDERS = TableRef("shop", "orders")


class VersionedFake(FakeTarget):
    """A target that keeps one version for each position of the ledger."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[TableVersion] = []

    def versions(self, name: str) -> Sequence[TableVersion]:
        assert name == "orders"
        return tuple(reversed(self.kept))

    def keep(self, rt: StreamRuntime) -> None:
        jobs = {row.number: row.job_id for row in rt.ledger.incarnations(rt.name)}
        rows = rt.ledger.positions(rt.name)
        rows = tuple(sorted(rows, key=lambda row: (row.incarnation, row.checkpoint_id)))
        self.kept = [
            TableVersion(number, number - 1, number, "overwrite", {
                "flink.job-id": jobs[row.incarnation],
                "flink.max-committed-checkpoint-id": str(row.checkpoint_id),
            })
            for number, row in enumerate(rows, start=1)
        ]  # fmt: skip


@pytest.fixture
def rt() -> StreamRuntime:
    world = World(BlueGreen())
    world.start()
    target = VersionedFake()
    runtime = dataclasses.replace(world.runtime, target=target)
    target.keep(runtime)
    return runtime


def test_the_version_of_a_recorded_position_is_found(rt: StreamRuntime) -> None:
    row = rt.ledger.positions(rt.name)[0]
    found = table_as_of(rt, ORDERS, row.position)
    assert found.is_exact
    assert (found.incarnation, found.checkpoint_id) == (row.incarnation, row.checkpoint_id)


def test_a_file_and_an_offset_are_about_the_newest_incarnation_s_server(rt: StreamRuntime) -> None:
    row = rt.ledger.positions(rt.name)[0]
    wanted = position_at(rt, str(row.position.coordinates))
    assert wanted.identity == row.position.identity
    assert table_as_of(rt, ORDERS, wanted).checkpoint_id == row.checkpoint_id


def test_a_gtid_set_is_a_position(rt: StreamRuntime) -> None:
    wanted = position_at(rt, f"{'a' * 8}-{'-'.join(['a' * 4] * 3)}-{'a' * 12}:1-5")
    assert wanted.gtid_set is not None


@pytest.mark.parametrize("text", ["", "x", "bin:4", "bin.000001:1", "bin.000001", "a:b:c"])
def test_what_is_no_position_is_refused(rt: StreamRuntime, text: str) -> None:
    with pytest.raises(ConfigurationError, match="position"):
        position_at(rt, text)


def test_an_unknown_incarnation_is_refused(rt: StreamRuntime) -> None:
    with pytest.raises(ConfigurationError, match="no such incarnation"):
        position_at(rt, "bin.000001:4", incarnation=99)


def test_a_position_before_the_ledger_is_told(rt: StreamRuntime) -> None:
    row = rt.ledger.positions(rt.name)[-1]
    wanted = position_at(rt, f"{row.position.coordinates.file}:4")
    with pytest.raises(RecoveryBlocked, match="no version"):
        table_as_of(rt, ORDERS, wanted)


def test_positions_of_other_tables_prove_nothing(rt: StreamRuntime) -> None:
    wanted = rt.ledger.positions(rt.name)[0].position
    with pytest.raises(RecoveryBlocked):
        table_as_of(rt, TableRef("shop", "other", "orders"), wanted)
    assert table_as_of(rt, ShardedTable("sh.p", "order.", "orders"), wanted).is_exact


def test_a_target_without_versions_is_refused() -> None:
    world = World(BlueGreen())
    world.start()
    wanted = world.runtime.ledger.positions(world.runtime.name)[0].position
    with pytest.raises(ConfigurationError, match="keeps no versions"):
        table_as_of(world.runtime, ORDERS, wanted)
