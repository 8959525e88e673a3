"""The own reader against a model, on Parquet files as Flink writes them."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.schema import Schema
from pyiceberg.types import DecimalType, LongType, NestedField, StringType, TimestamptzType

from cdc_assets.errors import TargetUnreachable
from cdc_assets.targets.iceberg_files import FileKind, IcebergFile, IcebergFiles
from cdc_assets.targets.iceberg_reading import IcebergReading

SCHEMA = Schema(
    NestedField(1, "id", LongType(), required=True),
    NestedField(2, "part", StringType(), required=True),
    NestedField(3, "value", StringType()),
    identifier_field_ids=[1, 2],
)
ARROW = {1: ("id", pa.int64()), 2: ("part", pa.string()), 3: ("value", pa.string())}
Row = tuple[int, str, str | None]


@dataclass
class Files:
    """The files of one table, written by hand."""

    folder: Path
    files: list[IcebergFile] = field(default_factory=list)

    def add(
        self,
        kind: FileKind,
        sequence: int,
        columns: dict[int, Sequence[object]],
        *,
        scope: str = "",
        names: dict[int, tuple[str, pa.DataType]] | None = None,
    ) -> IcebergFile:
        known = names or ARROW
        fields = [
            pa.field(known[number][0], known[number][1],
                     metadata={"PARQUET:field_id": str(number)})
            for number in columns
        ]  # fmt: skip
        table = pa.table(list(columns.values()), schema=pa.schema(fields))
        return self.write(kind, sequence, table, scope=scope, ids=tuple(columns))

    def write(
        self, kind: FileKind, sequence: int, table: pa.Table, *, scope: str, ids: tuple[int, ...]
    ) -> IcebergFile:
        path = self.folder / f"{len(self.files)}.parquet"
        pq.write_table(table, path)
        equality = tuple(sorted(ids)) if kind == "equality" else ()
        file = IcebergFile(kind, path.as_uri(), sequence, scope, table.num_rows, equality)
        self.files.append(file)
        return file

    def positions(self, sequence: int, rows: Sequence[tuple[str, int]]) -> None:
        columns = [[path for path, _ in rows], [place for _, place in rows]]
        schema = pa.schema([("file_path", pa.string()), ("pos", pa.int64())])
        self.write("position", sequence, pa.table(columns, schema=schema), scope="", ids=())

    def reading(self, *, schema: Schema = SCHEMA, seconds: float = 60) -> IcebergReading:
        table: Any = SimpleNamespace(io=PyArrowFileIO(), schemas=lambda: {0: SCHEMA})
        end = time.monotonic() + seconds

        def on_time() -> None:
            if time.monotonic() > end:
                raise TargetUnreachable("too late")

        return IcebergReading(
            table, IcebergFiles.of(self.files), schema, on_time, lambda: end - time.monotonic()
        )

    def rows(self) -> set[tuple[object, ...]]:
        found = list(self.reading().rows(["id", "part", "value"]))
        assert len(found) == len(set(found)) == self.reading().count()
        return set(found)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_a_delete_concerns_older_rows_only(files: Files) -> None:
    files.add("data", 1, {1: [1, 2], 2: ["a", "a"], 3: ["old", "kept"]})
    files.add("equality", 2, {1: [1], 2: ["a"]})
    files.add("data", 2, {1: [1], 2: ["a"], 3: ["new"]})
    assert files.rows() == {(1, "a", "new"), (2, "a", "kept")}


def test_a_row_that_its_own_commit_replaced_is_deleted_by_its_position(files: Files) -> None:
    data = files.add("data", 1, {1: [1, 1, 2], 2: ["a"] * 3, 3: ["first", "second", "x"]})
    files.add("equality", 1, {1: [1, 2], 2: ["a", "a"]})
    files.positions(1, [(data.path, 0), ("file:///other.parquet", 1)])
    assert files.rows() == {(1, "a", "second"), (2, "a", "x")}


def test_a_delete_of_a_partition_leaves_the_others(files: Files) -> None:
    files.add("data", 1, {1: [1], 2: ["a"], 3: ["x"]}, scope="0 ['a']")
    files.add("data", 1, {1: [1], 2: ["b"], 3: ["y"]}, scope="0 ['b']")
    files.add("equality", 2, {1: [1]}, scope="0 ['a']")
    assert files.rows() == {(1, "b", "y")}


def test_a_delete_without_a_partition_concerns_all(files: Files) -> None:
    files.add("data", 1, {1: [1], 2: ["a"], 3: ["x"]}, scope="0 ['a']")
    files.add("data", 1, {1: [1, 2], 2: ["b", "b"], 3: ["y", "z"]}, scope="0 ['b']")
    files.add("equality", 2, {1: [1]})
    assert files.rows() == {(2, "b", "z")}


def test_deletes_by_other_columns_each_have_their_say(files: Files) -> None:
    files.add("data", 1, {1: [1, 2, 3], 2: ["a", "b", "c"], 3: ["x", "y", None]})
    files.add("equality", 2, {1: [1]})
    files.add("equality", 2, {2: ["b"]})
    assert files.rows() == {(3, "c", None)}


def test_an_empty_key_is_a_key(files: Files) -> None:
    files.add("data", 1, {1: [1, 2], 2: ["a", "a"], 3: [None, "x"]})
    files.add("equality", 2, {3: [None]})
    assert files.rows() == {(2, "a", "x")}


def test_columns_are_found_by_their_number_and_missing_ones_are_empty(files: Files) -> None:
    renamed = {1: ("number", pa.int32()), 2: ("part", pa.string())}
    files.add("data", 1, {1: [7], 2: ["a"]}, names=renamed)
    assert files.rows() == {(7, "a", None)}


def test_rows_up_to_a_key_are_counted(files: Files) -> None:
    files.add("data", 1, {1: [1, 1, 2, 3], 2: ["a", "b", "a", "a"], 3: ["x"] * 4})
    files.add("equality", 2, {1: [2], 2: ["a"]})
    reading = files.reading()
    assert reading.count(("id",), (1,)) == 2
    assert reading.count(("ID",), (3,)) == 3
    assert reading.count(("id", "part"), (1, "a")) == 1
    assert reading.count(("id",), (2**64 - 1,)) == 3


def test_a_table_without_deletes_is_counted_without_reading(files: Files) -> None:
    data = files.add("data", 1, {1: [1, 2], 2: ["a", "a"], 3: ["x", "y"]})
    Path(data.path.removeprefix("file://")).unlink()
    assert files.reading().count() == 2


def test_deletes_that_are_not_newer_than_any_row_are_not_read(files: Files) -> None:
    files.add("data", 3, {1: [1], 2: ["a"], 3: ["x"]})
    files.add("equality", 3, {1: [1], 2: ["a"]})
    assert not files.reading().files.has_deletes


def test_an_empty_table_has_no_rows(files: Files) -> None:
    files.add("equality", 2, {1: [1]})
    assert files.rows() == set()


def test_values_come_as_the_source_s_driver_returns_them(tmp_path: Path) -> None:
    schema = Schema(
        NestedField(1, "n", DecimalType(20, 2)), NestedField(2, "at", TimestamptzType())
    )
    moment = dt.datetime(1000, 1, 1, 0, 0, 0, 1, dt.timezone.utc)
    types = {1: ("n", pa.decimal128(20, 2)), 2: ("at", pa.timestamp("us", "UTC"))}
    files = Files(tmp_path)
    files.add("data", 1, {1: [Decimal("1.50")], 2: [moment]}, names=types)
    rows = list(files.reading(schema=schema).rows(["n", "at"]))
    assert rows == [(Decimal("1.50"), dt.datetime(1000, 1, 1, 0, 0, 0, 1))]  # noqa: DTZ001 - as PyMySQL


def test_a_reading_ends_when_the_time_is_over(files: Files) -> None:
    files.add("data", 1, {1: [1], 2: ["a"], 3: ["x"]})
    files.add("equality", 2, {1: [2], 2: ["a"]})
    with pytest.raises(TargetUnreachable, match="too late"):
        files.reading(seconds=-1).count()


KEYS = st.tuples(st.integers(0, 3), st.sampled_from("ab"))
CHANGES = st.lists(
    st.lists(st.tuples(KEYS, st.one_of(st.none(), st.text("xyz", max_size=2))), max_size=8),
    min_size=1,
    max_size=5,
)


@given(commits=CHANGES)
def test_what_an_upsert_wrote_is_read_back(
    commits: list[list[tuple[tuple[int, str], str | None]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """None deletes a key; within one commit a second change of a key is a position delete."""
    files = Files(tmp_path_factory.mktemp("table"))
    model: dict[tuple[int, str], str] = {}
    for sequence, changes in enumerate(commits, start=1):
        rows: list[tuple[tuple[int, str], str]] = []
        written: dict[tuple[int, str], int] = {}
        replaced: list[int] = []
        deleted: list[tuple[int, str]] = []
        for key, value in changes:
            if key in written:
                replaced.append(written.pop(key))
            else:
                deleted.append(key)
            model.pop(key, None)
            if value is not None:
                written[key] = len(rows)
                rows.append((key, value))
                model[key] = value
        if rows:
            data = files.add("data", sequence, dict(zip((1, 2, 3), columns(rows), strict=True)))
            if replaced:
                files.positions(sequence, [(data.path, place) for place in replaced])
        if deleted:
            files.add(
                "equality", sequence, {1: [k[0] for k in deleted], 2: [k[1] for k in deleted]}
            )
    wanted = {(*key, value) for key, value in model.items()}
    assert files.rows() == wanted
    assert files.reading().count(("id",), (1,)) == sum(key[0] <= 1 for key in model)


def columns(rows: list[tuple[tuple[int, str], str]]) -> Iterator[list[object]]:
    yield [key[0] for key, _ in rows]
    yield [key[1] for key, _ in rows]
    yield [value for _, value in rows]
