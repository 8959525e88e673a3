"""Hypothesis strategies for jobs that `builder` writes."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.adapters.checkpoint.builder import (
    Binlog,
    Coordinator,
    Finished,
    Job,
    Operator,
    Reader,
    Snapshot,
    Storage,
    Subtask,
    absolute,
    changelog,
    changelog_bytes,
    changelog_files,
    channel,
    incremental,
    inline,
    key_groups,
    offset,
    relative,
    segment,
)

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
tables = st.tuples(names, names)
data = st.binary(max_size=40)
files = st.from_regex(r"[a-z]{1,20}-bin\.[0-9]{6}", fullmatch=True)
state_files = st.from_regex(r"[g-z][a-z0-9-]{0,20}(/[0-9]{1,3})?", fullmatch=True)
positions = st.integers(4, 2**40)
hex_ids = st.binary(min_size=16, max_size=16).map(bytes.hex)
storages: st.SearchStrategy[Storage] = st.sampled_from(["inline", "relative"])


def offsets(**more: st.SearchStrategy[str | int | None]) -> st.SearchStrategy[str]:
    """Return offsets of kind SPECIFIC without GTIDs."""
    return st.builds(
        offset,
        file=files,
        pos=positions,
        ts_sec=st.integers(0, 2**31),
        server_id=st.none() | st.integers(1, 2**32 - 1),
        event=st.integers(0, 1000),
        row=st.integers(0, 1000),
        **more,
    )


def streams() -> st.SearchStrategy[bytes]:
    return st.one_of(
        st.just(b"\x00"),
        st.just(b"\x10"),
        data.map(inline),
        st.builds(relative, state_files, st.integers(0, 2**40)),
        st.builds(absolute, state_files.map("file:/elsewhere/{}".format), st.integers(0, 2**40)),
        st.builds(segment, st.just("/elsewhere/s"), st.integers(0, 99), st.integers(0, 99)),
        data.map(inline).map(lambda one: key_groups(3, one)),
    )


def keyed() -> st.SearchStrategy[bytes]:
    lists = st.lists(streams(), max_size=3)
    simple = st.one_of(
        st.just(b"\x00"),
        st.builds(key_groups, st.sampled_from([3, 7, 12]), streams()),
        st.builds(incremental, st.sampled_from([5, 11]), streams(), lists, lists),
        st.builds(changelog_bytes, st.lists(data, max_size=3)),
        st.builds(changelog_files, st.sampled_from([10, 13]), lists),
    )
    nested = st.lists(simple, max_size=2)
    return simple | st.builds(changelog, st.sampled_from([8, 14]), nested, nested)


@st.composite
def others(draw: st.DrawFn, version: int) -> Operator:
    """Return an operator that is no source."""
    channels = st.lists(
        st.builds(channel, st.just(version), streams(), merged=st.booleans()), max_size=2
    )
    subtasks = [
        draw(
            st.builds(
                Subtask,
                index=st.just(index),
                keyed=st.tuples(keyed(), keyed()),
                inputs=channels,
                outputs=channels,
                finished=st.booleans(),
            )
        )
        for index in range(draw(st.integers(0, 3)))
    ]
    finished = draw(st.booleans()) and not subtasks
    return Operator(
        id=draw(hex_ids),
        name=draw(names),
        uid=draw(st.just("") | names),
        parallelism=max(1, len(subtasks)),
        coordinator=None if finished else draw(st.none() | data),
        subtasks=subtasks,
        fully_finished=finished,
    )


@st.composite
def steady_sources(draw: st.DrawFn) -> Operator:
    """Return a source that reads the binlog and has no snapshot left to do."""
    captured = draw(st.lists(tables, min_size=1, max_size=3, unique=True))
    split_ids = [f"{database}.{table}:{0}" for database, table in captured]
    finished = [
        Finished(table, split_id, draw(offsets()))
        for table, split_id in zip(captured, split_ids, strict=True)
    ]
    with_snapshot = draw(st.booleans())
    binlog = Binlog(
        starting=draw(offsets()),
        finished=finished if with_snapshot else [],
        tables=captured,
    )
    coordinator = (
        Coordinator(
            processed=captured,
            assigned=[
                Snapshot(table, split_id, draw(st.none() | offsets()))
                for table, split_id in zip(captured, split_ids, strict=True)
            ],
            finished=[(split_id, draw(offsets())) for split_id in split_ids],
            status=draw(st.sampled_from([1, 4])),
        )
        if with_snapshot
        else Coordinator(flag=2)
    )
    parallelism = draw(st.integers(1, 3))
    reads = draw(st.integers(0, parallelism - 1))
    subtasks = [
        Subtask(
            index,
            Reader(
                [binlog] if index == reads else [],
                draw(storages),
                draw(st.just({}) | st.just({"empty": [], "none": []})),
            ),
        )
        for index in range(parallelism)
    ]
    return Operator(
        id=draw(hex_ids),
        name=draw(names),
        parallelism=parallelism,
        coordinator=coordinator,
        coordinator_storage=draw(storages),
        subtasks=subtasks,
    )


@st.composite
def steady_jobs(draw: st.DrawFn) -> Job:
    """Return a job that may be transplanted."""
    version = draw(st.sampled_from([4, 6]))
    operators = draw(st.lists(steady_sources(), min_size=1, max_size=2))
    operators += draw(st.lists(others(version), max_size=2))
    for number, operator in enumerate(operators):
        operator.id = f"{number:02x}" + operator.id[2:]
    return Job(
        version=version,
        checkpoint_id=draw(st.integers(0, 2**40)),
        masters=draw(st.lists(data, max_size=2)),
        operators=draw(st.permutations(operators)),
    )


@st.composite
def busy_sources(draw: st.DrawFn) -> Operator:
    """Return a source in any phase of its snapshot."""
    snapshots = st.builds(Snapshot, table=tables, split_id=names, watermark=st.none() | offsets())
    coordinator = st.builds(
        Coordinator,
        flag=st.sampled_from([1, 2, 3]),
        processed=st.lists(tables, max_size=2),
        remaining=st.lists(snapshots, max_size=3),
        assigned=st.lists(snapshots, max_size=3),
        finished=st.lists(st.tuples(names, offsets()), max_size=3),
        status=st.integers(0, 4),
        tables_remaining=st.lists(tables, max_size=2),
        splitting=st.none() | tables,
        binlog_assigned=st.booleans(),
    )
    binlog = st.builds(
        Binlog,
        starting=offsets(gtids=st.none() | st.just("uuid:1-5"))
        | st.just(offset("", 0, kind="EARLIEST")),
        finished=st.lists(st.builds(Finished, tables, names, offsets()), max_size=3),
        tables=st.lists(tables, max_size=3),
        total=st.none() | st.integers(0, 5),
        suspended=st.booleans(),
    )
    held: list[Binlog | Snapshot] = [*draw(st.lists(snapshots, max_size=3))]
    held += draw(st.lists(binlog, max_size=1))
    reader = Reader(
        draw(st.permutations(held)),
        draw(storages),
        draw(st.dictionaries(names, st.lists(data, max_size=2), max_size=2)),
    )
    return Operator(
        id=draw(hex_ids),
        name=draw(names),
        coordinator=draw(st.none() | coordinator | data),
        coordinator_storage=draw(storages),
        subtasks=[Subtask(0, reader)],
    )


@st.composite
def any_jobs(draw: st.DrawFn) -> Job:
    """Return a job in any phase, of any format."""
    version = draw(st.sampled_from([3, 4, 5, 6]))
    operators = draw(st.lists(busy_sources(), max_size=2))
    operators += draw(st.lists(others(version), max_size=2))
    for number, operator in enumerate(operators):
        operator.id = f"{number:02x}" + operator.id[2:]
    return Job(
        version=version,
        checkpoint_id=draw(st.integers(0, 2**40)),
        masters=draw(st.lists(data, max_size=2)),
        operators=draw(st.permutations(operators)),
    )
