from __future__ import annotations

from dataclasses import replace

import pytest

from cdc_assets.core.position import Coordinates, Position
from cdc_assets.core.source import SourceIdentity
from cdc_assets.core.table_versions import (
    AsOf,
    SeenPosition,
    TableVersion,
    lineage,
    places,
    version_as_of,
)

BLUE = SourceIdentity("mysql", "5.7.44", server_uuid="b" * 36, server_id=1)
GREEN = SourceIdentity("mysql", "8.0.36", server_uuid="a" * 36, server_id=2)
JOBS = {"job1": 1, "job2": 2}


def commit(
    number: int, checkpoint: int, job: str = "job1", parent: int | None = -1
) -> TableVersion:
    summary = {"flink.job-id": job, "flink.max-committed-checkpoint-id": str(checkpoint)}
    return TableVersion(
        number, number - 1 if parent == -1 else parent, number, "overwrite", summary
    )


def at(offset: int, identity: SourceIdentity = BLUE) -> Position:
    return Position(Coordinates("bin.000001", offset), identity)


def seen(checkpoint: int, offset: int, incarnation: int = 1) -> SeenPosition:
    return SeenPosition(incarnation, checkpoint, at(offset, BLUE if incarnation == 1 else GREEN))


CHAIN = (commit(3, 9), commit(2, 5), commit(1, 2))
SEEN = (seen(2, 200), seen(5, 500), seen(7, 700), seen(9, 900))


def as_of(offset: int, versions: tuple[TableVersion, ...] = CHAIN) -> AsOf | None:
    return version_as_of(versions, JOBS, SEEN, at(offset))


def test_a_recorded_position_gives_the_version_of_its_checkpoint() -> None:
    found = as_of(500)
    assert found is not None
    assert (found.version.snapshot_id, found.checkpoint_id, found.is_exact) == (2, 5, True)


def test_a_checkpoint_without_a_commit_changed_nothing() -> None:
    found = as_of(700)
    assert found is not None
    assert (found.version.snapshot_id, found.position, found.is_exact) == (2, at(700), True)


def test_a_position_between_two_gives_the_older_and_says_so() -> None:
    found = as_of(899)
    assert found is not None
    assert (found.version.snapshot_id, found.is_exact) == (2, False)


def test_a_position_before_everything_gives_nothing() -> None:
    assert as_of(199) is None


def test_a_checkpoint_that_may_not_be_committed_yet_proves_nothing() -> None:
    found = as_of(900, CHAIN[1:])
    assert found is not None
    assert (found.version.snapshot_id, found.position, found.is_exact) == (2, at(500), False)


def test_a_version_before_the_ledger_s_first_position_holds_nothing_later() -> None:
    found = version_as_of(CHAIN[2:], JOBS, SEEN[1:], at(900))
    assert found is not None
    assert (found.version.snapshot_id, found.position, found.is_exact) == (1, None, False)


def test_a_position_of_another_server_is_found_by_the_incarnation_that_reads_it() -> None:
    versions = (commit(4, 12, "job2"), *CHAIN)
    positions = (*SEEN, seen(10, 150, 2), seen(12, 300, 2))
    early = version_as_of(versions, JOBS, positions, at(150, GREEN))
    late = version_as_of(versions, JOBS, positions, at(300, GREEN))
    assert early is not None
    assert late is not None
    assert (early.version.snapshot_id, early.incarnation) == (3, 1)
    assert (late.version.snapshot_id, late.incarnation) == (4, 2)


def test_a_job_that_counts_from_one_again_is_told_apart_by_its_id() -> None:
    versions = (commit(4, 2, "job2"), *CHAIN)
    assert places(versions, JOBS)[0][1] == (2, 2)
    found = version_as_of(versions, JOBS, SEEN, at(900))
    assert found is not None
    assert found.version.snapshot_id == 3


def test_a_compaction_holds_what_its_parent_holds() -> None:
    compacted = TableVersion(4, 3, 4, "replace")
    assert places((compacted, *CHAIN), JOBS)[0] == (compacted, (1, 9))


@pytest.mark.parametrize("operation", ["append", "delete", "overwrite"])
def test_a_foreign_writer_s_version_is_tied_to_nothing(operation: str) -> None:
    foreign = TableVersion(4, 3, 4, operation)
    compacted = TableVersion(5, 4, 5, "replace")
    assert places((compacted, foreign, *CHAIN), JOBS)[0][0].snapshot_id == 3


def test_an_unknown_job_s_version_is_tied_to_nothing() -> None:
    assert places((commit(1, 2, "other"),), JOBS) == ()
    assert version_as_of((commit(1, 2, "other"),), JOBS, SEEN, at(900)) is None


def test_each_reader_s_position_of_a_checkpoint_counts() -> None:
    both = (*SEEN, seen(5, 501))
    found = version_as_of(CHAIN, JOBS, both, at(500))
    assert found is not None
    assert found.version.snapshot_id == 1


def test_the_lineage_leaves_out_what_was_rolled_back() -> None:
    rolled_back = commit(9, 9, parent=1)
    assert lineage((*CHAIN, rolled_back), 3) == CHAIN
    assert lineage(CHAIN, None) == ()


def test_a_lineage_that_bites_its_tail_ends() -> None:
    loop = (commit(1, 1, parent=2), commit(2, 2, parent=1))
    assert len(lineage(loop, 1)) <= 3


def test_a_summary_without_a_number_is_no_tie() -> None:
    broken = replace(CHAIN[0], summary={"flink.job-id": "job1"})
    assert broken.tie is None


def test_a_version_that_is_read_again_holds_what_came_after_its_position() -> None:
    """The second incarnation began at 300, before the 500 that the table held by then."""
    versions = (commit(4, 1, "job2"), commit(5, 2, "job2", parent=4), *CHAIN[1:])
    versions = (versions[1], versions[0], *versions[2:])
    again = [SeenPosition(2, 1, at(350)), SeenPosition(2, 2, at(700))]
    positions = (*SEEN[:2], *again)

    def found(offset: int) -> tuple[int, int | None, bool]:
        answer = version_as_of(versions, JOBS, positions, at(offset))
        assert answer is not None
        place = answer.position.coordinates.pos if answer.position else None
        return answer.version.snapshot_id, place, answer.is_exact

    assert found(400) == (1, 200, False)
    assert found(500) == (2, 500, True)
    assert found(600) == (2, 500, False)
    assert found(700) == (5, 700, True)
