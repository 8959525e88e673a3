"""Hypothesis strategies for jobs that `builder` writes.

They stand at module level where they can: building one anew for each draw is what costs time.
"""

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

# ---- values -----------------------------------------------------------------------------------

names = st.sampled_from(
    ["orders", "a.b", 'quo"te', "back`tick", "é", "名前", "😀", "nul\x00", "ä" * 40]
)
tables = st.tuples(names, names)
data = st.binary(max_size=40)
numbers = st.integers(0, 2**40)
hex_ids = st.binary(min_size=16, max_size=16).map(bytes.hex)
storages: st.SearchStrategy[Storage] = st.sampled_from(["inline", "relative"])
state_files = st.sampled_from(["state-1", "shared/2", "x" * 200])

_fields = {
    "file": st.sampled_from(["bin.000001", "mysql-bin-changelog.999999", "b.1"]),
    "pos": st.integers(4, 2**40),
    "ts_sec": st.integers(0, 2**31),
    "server_id": st.none() | st.integers(1, 2**32 - 1),
    "event": st.integers(0, 1000),
    "row": st.integers(0, 1000),
}
offsets = st.builds(offset, **_fields)
maybe_offsets = st.none() | offsets
gtid_offsets = st.builds(offset, **_fields, gtids=st.none() | st.just("uuid:1-5"))

# ---- operators that are no source -------------------------------------------------------------

streams = st.one_of(
    st.just(b"\x00"),
    st.just(b"\x10"),
    st.builds(inline, data),
    st.builds(relative, state_files, numbers),
    st.builds(absolute, st.just("file:/elsewhere/1"), numbers),
    st.builds(segment, st.just("/elsewhere/s"), numbers, numbers),
    st.builds(key_groups, st.just(3), st.builds(inline, data)),
)
_lists = st.lists(streams, max_size=3)
_simple = st.one_of(
    st.just(b"\x00"),
    st.builds(key_groups, st.sampled_from([3, 7, 12]), streams),
    st.builds(incremental, st.sampled_from([5, 11]), streams, _lists, _lists),
    st.builds(changelog_bytes, st.lists(data, max_size=3)),
    st.builds(changelog_files, st.sampled_from([10, 13]), _lists),
)
_nested = st.lists(_simple, max_size=2)
keyed = _simple | st.builds(changelog, st.sampled_from([8, 14]), _nested, _nested)


def _others(version: int) -> st.SearchStrategy[Operator]:
    channels = st.lists(
        st.builds(channel, st.just(version), streams, merged=st.booleans()), max_size=2
    )
    subtasks = st.builds(
        Subtask,
        keyed=st.tuples(keyed, keyed),
        inputs=channels,
        outputs=channels,
        finished=st.booleans(),
    )
    return st.one_of(
        st.builds(
            Operator,
            id=hex_ids,
            name=names,
            uid=st.just("") | names,
            coordinator=st.none() | data,
            subtasks=st.lists(subtasks, max_size=3).map(numbered),
        ),
        st.builds(Operator, id=hex_ids, name=names, fully_finished=st.sampled_from([True])),
    )


def numbered(subtasks: list[Subtask]) -> list[Subtask]:
    for index, subtask in enumerate(subtasks):
        subtask.index = index
    return subtasks


others = {version: _others(version) for version in (3, 4, 5, 6)}

# ---- sources ----------------------------------------------------------------------------------

_statuses = st.sampled_from([1, 4])
_captured = st.lists(tables, min_size=1, max_size=3, unique=True)
_more_states = st.sampled_from([{}, {"empty": [], "none": []}])
_parallelism = st.integers(1, 3)


@st.composite
def _steady_sources(draw: st.DrawFn) -> Operator:
    captured = draw(_captured)
    split_ids = [f"{database}.{table}:0" for database, table in captured]
    with_snapshot = draw(st.booleans())
    coordinator, finished = Coordinator(flag=2), list[Finished]()
    if with_snapshot:
        pairs = list(zip(captured, split_ids, strict=True))
        finished = [Finished(table, split_id, draw(offsets)) for table, split_id in pairs]
        coordinator = Coordinator(
            processed=captured,
            assigned=[Snapshot(table, split_id, draw(maybe_offsets)) for table, split_id in pairs],
            finished=[(split_id, draw(offsets)) for split_id in split_ids],
            status=draw(_statuses),
        )
    binlog = Binlog(starting=draw(offsets), finished=finished, tables=captured)
    parallelism = draw(_parallelism)
    readers = [Reader([], draw(storages), draw(_more_states)) for _ in range(parallelism)]
    readers[draw(_parallelism) % parallelism].splits = [binlog]
    return Operator(
        id=draw(hex_ids),
        name=draw(names),
        parallelism=parallelism,
        coordinator=coordinator,
        coordinator_storage=draw(storages),
        subtasks=[Subtask(index, reader) for index, reader in enumerate(readers)],
    )


_snapshots = st.builds(Snapshot, table=tables, split_id=names, watermark=maybe_offsets)
_coordinators = st.builds(
    Coordinator,
    flag=st.sampled_from([1, 2, 3]),
    processed=st.lists(tables, max_size=2),
    remaining=st.lists(_snapshots, max_size=3),
    assigned=st.lists(_snapshots, max_size=3),
    finished=st.lists(st.tuples(names, offsets), max_size=3),
    status=st.integers(0, 4),
    tables_remaining=st.lists(tables, max_size=2),
    splitting=st.none() | tables,
    binlog_assigned=st.booleans(),
)
_binlogs = st.builds(
    Binlog,
    starting=gtid_offsets | st.just(offset("", 0, kind="EARLIEST")),
    finished=st.lists(st.builds(Finished, tables, names, offsets), max_size=3),
    tables=st.lists(tables, max_size=3),
    total=st.none() | st.integers(0, 5),
    suspended=st.booleans(),
)
_splits = st.builds(
    lambda held, binlog, first: binlog + held if first else held + binlog,
    st.lists(_snapshots, max_size=3),
    st.lists(_binlogs, max_size=1),
    st.booleans(),
)
_readers = st.builds(
    Reader,
    splits=_splits,
    storage=storages,
    others=st.dictionaries(names, st.lists(data, max_size=2), max_size=2),
)
_busy_sources = st.builds(
    Operator,
    id=hex_ids,
    name=names,
    coordinator=st.none() | _coordinators | data,
    coordinator_storage=storages,
    subtasks=st.lists(st.builds(Subtask, reader=_readers), min_size=1, max_size=1),
)

# ---- jobs -------------------------------------------------------------------------------------


def _jobs(
    versions: list[int], sources: st.SearchStrategy[list[Operator]]
) -> st.SearchStrategy[Job]:
    """Return jobs of sources and other operators, shuffled, each operator with its own id."""

    def of_version(version: int) -> st.SearchStrategy[Job]:
        operators = st.builds(list.__add__, sources, st.lists(others[version], max_size=2)).flatmap(
            st.permutations
        )
        return st.builds(
            Job,
            version=st.just(version),
            checkpoint_id=numbers,
            masters=st.lists(data, max_size=2),
            operators=operators.map(_with_own_ids),
        )

    return st.one_of([of_version(version) for version in versions])


def _with_own_ids(operators: list[Operator]) -> list[Operator]:
    for number, operator in enumerate(operators):
        operator.id = f"{number:02x}" + operator.id[2:]
    return operators


steady_jobs = _jobs([4, 6], st.lists(_steady_sources(), min_size=1, max_size=2))
"""Jobs that may be transplanted."""

any_jobs = _jobs([3, 4, 5, 6], st.lists(_busy_sources, max_size=2))
"""Jobs in any phase, of any format."""
