"""Each savepoint that must not be rewritten is refused, with its reason, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cdc_assets.errors import TransplantRefused
from cdc_assets.flink.transplant import transplant
from tests.adapters.checkpoint.builder import (
    FIXTURES,
    Binlog,
    Coordinator,
    Finished,
    Job,
    Operator,
    Reader,
    Snapshot,
    Subtask,
    channel,
    incremental,
    inline,
    key_groups,
    offset,
    relative,
)

SPLIT = Finished(("shop", "orders"), "orders:0", offset())
GTIDS = offset(gtids="24da167-0c0c-11e8-8442-00059a3c7b00:1-19")


def refused(job: Job, tmp_path: Path, **more: object) -> str:
    job.write(tmp_path / "old")
    with pytest.raises(TransplantRefused) as caught:
        transplant(tmp_path / "old", tmp_path / "new", "green.000001", 1000, **more)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    return str(caught.value)


def source(
    binlog: Binlog | None = None, coordinator: Coordinator | bytes | None = None, **reader: object
) -> Operator:
    splits = [Binlog() if binlog is None else binlog]
    return Operator(
        coordinator=Coordinator() if coordinator is None else coordinator,
        subtasks=[Subtask(0, Reader(splits, **reader))],  # type: ignore[arg-type]
    )


def with_subtask(change: Callable[[Subtask], None]) -> Operator:
    operator = source()
    change(operator.subtasks[0])
    return operator


def set_raw(subtask: Subtask) -> None:
    subtask.raw = b"\x04" + bytes(4) + inline(b"raw")


def set_keyed(subtask: Subtask) -> None:
    subtask.keyed = (key_groups(12, inline(b"keyed")), b"\x00")


def set_incremental(subtask: Subtask) -> None:
    subtask.keyed = (incremental(11, inline(b"meta"), [], []), b"\x00")


def set_channels(subtask: Subtask) -> None:
    subtask.outputs = [channel(4, inline(b"in flight"))]


def add_finished_subtask(operator: Operator) -> Operator:
    operator.subtasks.append(Subtask(1, finished=True))
    return operator


CASES: list[tuple[str, Operator, str]] = [
    ("gtids in the position", source(Binlog(starting=GTIDS)), "holds GTIDs"),
    (
        "gtids in a high watermark",
        source(Binlog(finished=[Finished(("shop", "orders"), "orders:0", GTIDS)])),
        "holds GTIDs",
    ),
    (
        "gtids in a finished offset",
        source(coordinator=Coordinator(assigned=[Snapshot()], finished=[("orders:0", GTIDS)])),
        "holds GTIDs",
    ),
    ("earliest", source(Binlog(starting=offset("", 0, kind="EARLIEST"))), "of kind EARLIEST"),
    ("latest", source(Binlog(starting=offset("", 0, kind="LATEST"))), "of kind LATEST"),
    ("timestamp", source(Binlog(starting=offset("", 0, kind="TIMESTAMP"))), "of kind TIMESTAMP"),
    ("unknown kind", source(Binlog(starting=offset(kind="SOMEDAY"))), "unknown kind 'SOMEDAY'"),
    ("no file", source(Binlog(starting=offset("", 7))), "names no binlog file"),
    ("bounded", source(Binlog(ending=offset("bin.000009", 7))), "stops at a position"),
    ("no end", source(Binlog(ending=None)), "stops at a position"),
    ("suspended", source(Binlog(suspended=True)), "suspended for newly added tables"),
    (
        "metadata groups missing",
        source(Binlog(finished=[SPLIT], total=3)),
        "knows 1 of 3 finished splits",
    ),
    (
        "snapshot running",
        source(coordinator=Coordinator(status=0)),
        "snapshot is not finished (INITIAL_ASSIGNING)",
    ),
    (
        "tables being added",
        source(coordinator=Coordinator(status=3)),
        "NEWLY_ADDED_ASSIGNING_SNAPSHOT_FINISHED",
    ),
    (
        "splits remaining",
        source(coordinator=Coordinator(remaining=[Snapshot()])),
        "snapshot is not finished",
    ),
    (
        "splits unfinished",
        source(coordinator=Coordinator(assigned=[Snapshot()])),
        "snapshot is not finished",
    ),
    (
        "tables remaining",
        source(coordinator=Coordinator(tables_remaining=[("shop", "items")])),
        "snapshot is not finished",
    ),
    (
        "table being split",
        source(coordinator=Coordinator(splitting=("shop", "items"))),
        "snapshot is not finished",
    ),
    (
        "binlog split not assigned",
        source(coordinator=Coordinator(binlog_assigned=False)),
        "binlog split was not assigned",
    ),
    ("snapshot only", source(coordinator=Coordinator(flag=1)), "copies a snapshot and ends"),
    (
        "unreadable coordinator",
        source(coordinator=bytes([0, 0, 0, 1])),
        "coordinator state is not readable",
    ),
    (
        "no coordinator",
        Operator(subtasks=[Subtask(0, Reader([Binlog()]))]),
        "holds no coordinator state",
    ),
    (
        "no binlog reader",
        Operator(coordinator=Coordinator(), subtasks=[Subtask(0, Reader([]))]),
        "no reader has begun to read the binlog",
    ),
    (
        "unfinished snapshot split in a reader",
        Operator(coordinator=Coordinator(), subtasks=[Subtask(0, Reader([Binlog(), Snapshot()]))]),
        "readers hold snapshot splits",
    ),
    (
        "two binlog readers",
        Operator(
            coordinator=Coordinator(),
            subtasks=[Subtask(0, Reader([Binlog()])), Subtask(1, Reader([Binlog()]))],
        ),
        "has 2 binlog splits",
    ),
    ("compressed", source(compressed=True), "operator state is compressed"),
    ("merged files", source(handle=17), "behind a handle of type 17"),
    ("mode", source(mode=1), "reader state has mode 1"),
    ("unknown operator state", source(others={"more": [b"x"]}), "unknown operator state 'more'"),
    ("split version", source(split_version=9), "split version 9 is not supported"),
    ("raw state", with_subtask(set_raw), "it has raw operator state"),
    ("keyed state", with_subtask(set_keyed), "it has keyed state"),
    ("incremental state", with_subtask(set_incremental), "it has keyed state"),
    ("in-flight records", with_subtask(set_channels), "in-flight records"),
    ("finished subtask", add_finished_subtask(source()), "a subtask has finished"),
]


@pytest.mark.parametrize(
    ("operator", "reason"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_a_source_that_is_not_fully_understood_is_refused(
    operator: Operator, reason: str, tmp_path: Path
) -> None:
    assert reason in refused(Job(operators=[operator]), tmp_path)


@pytest.mark.parametrize("version", [3, 5])
def test_a_format_that_is_only_read_is_refused(version: int, tmp_path: Path) -> None:
    assert f"format {version} is not one of" in refused(
        Job(version=version, operators=[source()]), tmp_path
    )


def test_a_job_without_a_mysql_source_is_refused(tmp_path: Path) -> None:
    assert "no MySQL source is in it" in refused(Job(operators=[Operator()]), tmp_path)


def test_an_operator_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    assert "an operator is in it twice" in refused(Job(operators=[source(), source()]), tmp_path)


def test_a_source_that_is_not_at_the_drained_position_is_refused(tmp_path: Path) -> None:
    behind = source(Binlog(starting=offset("bin.000001", 900)))
    behind.id = "0" * 32
    job = Job(operators=[source(Binlog(starting=offset("bin.000001", 1000))), behind])

    message = refused(job, tmp_path, expected=[("bin.000001", 1000)])

    assert f"source {'0' * 32}: it stands at bin.000001:900, not at bin.000001:1000" in message
    assert message.count("it stands at") == 1


def test_every_reason_is_named_at_once(tmp_path: Path) -> None:
    operator = source(Binlog(starting=GTIDS, suspended=True), Coordinator(status=0))

    message = refused(Job(operators=[operator]), tmp_path)

    assert all(part in message for part in ("suspended", "GTIDs", "not finished"))


@pytest.mark.parametrize(
    ("file", "pos"),
    [
        ("", 4),
        ("green", 4),
        ("../green.000001", 4),
        ('green".000001', 4),
        ("green.000001", 3),
        ("green.000001", -1),
        ("green.000001", 2**63),
    ],
)
def test_coordinates_that_no_server_prints_are_refused(file: str, pos: int, tmp_path: Path) -> None:
    Job(operators=[source()]).write(tmp_path / "old")

    with pytest.raises(TransplantRefused, match="are not binlog coordinates"):
        transplant(tmp_path / "old", tmp_path / "new", file, pos)


def test_a_target_inside_the_savepoint_is_refused(tmp_path: Path) -> None:
    Job(operators=[source()]).write(tmp_path / "old")

    with pytest.raises(TransplantRefused, match="lies inside the savepoint"):
        transplant(tmp_path / "old", tmp_path / "old" / "new", "green.000001", 4)


def test_a_target_that_is_a_file_is_refused(tmp_path: Path) -> None:
    Job(operators=[source()]).write(tmp_path / "old")
    (tmp_path / "new").write_text("mine")

    with pytest.raises(TransplantRefused, match="exists and is not the expected copy"):
        transplant(tmp_path / "old", tmp_path / "new", "green.000001", 4)

    assert (tmp_path / "new").read_text() == "mine"


def test_a_savepoint_with_a_link_in_it_is_refused(tmp_path: Path) -> None:
    Job(operators=[source()]).write(tmp_path / "old")
    (tmp_path / "old" / "link").symlink_to("/elsewhere")

    with pytest.raises(TransplantRefused, match="neither a file nor a directory"):
        transplant(tmp_path / "old", tmp_path / "new", "green.000001", 4)


def test_a_missing_savepoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TransplantRefused, match="is not a directory"):
        transplant(tmp_path / "old", tmp_path / "new", "green.000001", 4)


def test_a_state_file_that_two_handles_use_is_refused(tmp_path: Path) -> None:
    first = source(storage="relative")
    size = len(Reader([Binlog()]).write()[0])
    second = Operator(
        id="f" * 32,
        subtasks=[Subtask(0, keyed=(key_groups(7, relative(f"{first.id}-0", size)), b"\x00"))],
    )

    assert "is used more than once" in refused(Job(operators=[first, second]), tmp_path)


def test_a_source_state_outside_the_savepoint_is_refused(tmp_path: Path) -> None:
    Job(operators=[source(storage="absolute")]).write(tmp_path / "elsewhere")
    (tmp_path / "old").mkdir()
    (tmp_path / "elsewhere" / "_metadata").rename(tmp_path / "old" / "_metadata")

    with pytest.raises(TransplantRefused, match="source state lies outside the savepoint"):
        transplant(tmp_path / "old", tmp_path / "new", "green.000001", 4)


@pytest.mark.parametrize("folder", ["flink-1.20.4-v4-binlog", "flink-2.2.1-v6-binlog"])
def test_the_constructed_fixtures_are_refused(folder: str, tmp_path: Path) -> None:
    with pytest.raises(TransplantRefused, match="knows 0 of 3 finished splits"):
        transplant(FIXTURES / folder, tmp_path / "new", "green.000001", 4)
