"""IcebergReading: the rows of an Iceberg snapshot, equality and position deletes applied.

No reader that Python has is right and fast on what a Flink upsert writes: pyiceberg refuses
equality deletes, pyiceberg-core and DuckDB's extension compare each row with each delete. Here
the deleted keys are a table of DuckDB's and the data files stream past it, so memory holds the
deleted keys (or less: DuckDB spills them) and one batch of rows.
"""

# ruff: noqa: S608 - the statements hold numbers and types of this module only

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

from cdc_assets.errors import CdcError, TargetUnreachable
from cdc_assets.ports import Key
from cdc_assets.targets.iceberg_catalog import Foreign, imported
from cdc_assets.targets.iceberg_files import IcebergFile, IcebergFiles

# pyarrow's and DuckDB's values have no types here, as in `iceberg_catalog`.
_BATCH_ROWS = 65_536
_MEMORY = "512MB"
_THREADS = 2
_FIELD_ID = b"PARQUET:field_id"


@dataclass(frozen=True)
class IcebergReading:
    """One reading of one snapshot.

    Attributes:
        table: A table of pyiceberg's.
        files: The snapshot's files.
        schema: The snapshot's schema, of pyiceberg's.
        on_time: Raises when the time is over.
        seconds_left: Until then.
    """

    table: Foreign
    files: IcebergFiles
    schema: Foreign
    on_time: Callable[[], None]
    seconds_left: Callable[[], float]

    def count(self, key: Sequence[str] = (), bound: Key | None = None) -> int:
        """Count the rows, up to the key `bound` (included) if given."""
        if bound is None and not self.files.has_deletes:
            return self.files.rows
        ids = [self._id(name) for name in key] if bound is not None else []
        with self._query("COUNT(*)", ids, ids if bound is not None else [], bound) as result:
            return int(result.fetchone()[0])

    def rows(
        self, names: Sequence[str], key: Sequence[str] = (), bound: Key | None = None
    ) -> Iterator[tuple[object, ...]]:
        """Yield the rows with the columns named, in no order, up to a key if given."""
        ids = [self._id(name) for name in names]
        keys = [self._id(name) for name in key] if bound is not None else []
        columns = ", ".join(_name(each) for each in ids)
        with self._query(columns, [*ids, *keys], keys, bound) as result:
            while batch := result.fetchmany(_BATCH_ROWS // 8):
                yield from batch

    def _id(self, name: str) -> int:
        return int(self.schema.find_field(name, case_sensitive=False).field_id)

    @contextlib.contextmanager
    def _query(
        self, select: str, ids: Sequence[int], key: Sequence[int], bound: Key | None
    ) -> Generator[Foreign]:
        wanted = sorted(
            {*ids, *(each for group, _ in self.files.equality_groups for each in group)}
        )
        with _database(self.seconds_left) as database:
            joins = [*self._equality_joins(database), *self._position_join(database)]
            stream = _Stream(self, self._types(wanted))
            database.register("data_rows", stream.reader(self.files.data))
            condition, values = _up_to(key, bound)
            text = f"SELECT {select} FROM data_rows r {' '.join(joins)}{condition}"
            with stream.failing():
                yield database.execute(text, values)

    def _types(self, ids: Sequence[int]) -> dict[int, Foreign]:
        """Return the Arrow type of each field, of older schemas too: deletes may be by those."""
        arrow: Foreign = imported("pyarrow")
        to_arrow: Foreign = imported("pyiceberg.io.pyarrow").schema_to_pyarrow
        schemas = [self.schema, *self.table.schemas().values()]
        found: dict[int, Foreign] = {}
        for number in ids:
            schema = next(each for each in schemas if number in each.field_ids)
            kind = to_arrow(schema.find_field(number).field_type)
            found[number] = _plain(arrow, kind)
        return found

    def _equality_joins(self, database: Foreign) -> Iterator[str]:
        for number, (ids, is_scoped) in enumerate(self.files.equality_groups):
            files = [
                each
                for each in self.files.equality
                if each.equality_ids == ids and bool(each.scope) == is_scoped
            ]
            stream = _Stream(self, self._types(ids))
            database.register("delete_rows", stream.reader(files))
            names = ", ".join(_name(each) for each in ids)
            scope = ", scope" if is_scoped else ""
            with stream.failing():
                database.execute(
                    f"CREATE TABLE deleted_{number} AS SELECT {names}{scope},"
                    f" MAX(sequence) AS sequence FROM delete_rows GROUP BY {names}{scope}"
                )
            database.unregister("delete_rows")
            same = " AND ".join(
                f"e{number}.{_name(each)} IS NOT DISTINCT FROM r.{_name(each)}" for each in ids
            )
            inside = f" AND e{number}.scope = r.scope" if is_scoped else ""
            yield (
                f"ANTI JOIN deleted_{number} e{number} ON"
                f" ({same}{inside} AND e{number}.sequence > r.sequence)"
            )

    def _position_join(self, database: Foreign) -> Iterator[str]:
        if not self.files.positions:
            return
        numbers = {each.path: number for number, each in enumerate(self.files.data)}
        sequences = [each.sequence for each in self.files.data]
        database.execute("CREATE TABLE deleted_rows (file INTEGER, position BIGINT)")
        arrow: Foreign = imported("pyarrow")
        for delete in self.files.positions:
            for batch in self._batches(delete, ["file_path", "pos"]):
                pairs = [
                    (numbers[path], position)
                    for path, position in zip(
                        batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True
                    )
                    if path in numbers and delete.sequence >= sequences[numbers[path]]
                ]
                columns = {
                    "file": arrow.array([pair[0] for pair in pairs], arrow.int32()),
                    "position": arrow.array([pair[1] for pair in pairs], arrow.int64()),
                }
                database.register("positions", arrow.table(columns))
                database.execute("INSERT INTO deleted_rows SELECT file, position FROM positions")
                database.unregister("positions")
        yield "ANTI JOIN deleted_rows p ON (p.file = r.file AND p.position = r.position)"

    def _batches(self, file: IcebergFile, columns: Sequence[str] | None) -> Iterator[Foreign]:
        """Yield a file's rows; None for the columns opens it first, as `_Stream` does."""
        parquet: Foreign = imported("pyarrow.parquet")
        self.on_time()
        with self.table.io.new_input(file.path).open() as opened:
            reader = parquet.ParquetFile(opened)
            for batch in reader.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
                self.on_time()
                yield batch

    def columns_of(self, file: IcebergFile) -> dict[int, str]:
        """Return the names that a file has for fields, by their ids."""
        parquet: Foreign = imported("pyarrow.parquet")
        with self.table.io.new_input(file.path).open() as opened:
            schema = parquet.ParquetFile(opened).schema_arrow
        found: dict[int, str] = {}
        for each in schema:
            metadata: dict[bytes, bytes] = each.metadata or {}
            if _FIELD_ID in metadata:
                found[int(metadata[_FIELD_ID])] = str(each.name)
        return found

    def batches(
        self, file: IcebergFile, ids: Sequence[int]
    ) -> Iterator[tuple[int, dict[int, Foreign]]]:
        """Yield the number of rows and the columns that the file has of those wanted."""
        names = self.columns_of(file)
        present = [number for number in ids if number in names]
        if not present:  # no column of it is wanted, its rows are
            yield from ((count, {}) for count in _parts(file.rows))
            return
        for batch in self._batches(file, [names[number] for number in present]):
            taken = {number: batch.column(names[number]) for number in present}
            yield batch.num_rows, taken


class _Stream:
    """Files as one stream of Arrow batches of one schema, for DuckDB to pull from."""

    def __init__(self, reading: IcebergReading, types: dict[int, Foreign]) -> None:
        self._reading = reading
        self._types = types
        self._error: CdcError | None = None

    @contextlib.contextmanager
    def failing(self) -> Generator[None]:
        """Raise what went wrong inside of the stream: DuckDB tells it as one of its own errors."""
        try:
            yield
        except Exception as error:
            if self._error is not None:
                raise self._error from None
            if type(error).__name__ == "InterruptException":
                self._reading.on_time()
            raise

    def reader(self, files: Sequence[IcebergFile]) -> Foreign:
        """Return the stream; numbers, scopes and positions of rows are columns of it."""
        arrow: Foreign = imported("pyarrow")
        fields = [(_name(number), kind) for number, kind in self._types.items()]
        fields += [("sequence", arrow.int64()), ("scope", arrow.string())]
        fields += [("file", arrow.int32()), ("position", arrow.int64())]
        schema = arrow.schema(fields)
        batches = self._all(arrow, schema, files)
        return arrow.RecordBatchReader.from_batches(schema, batches)

    def _all(
        self, arrow: Foreign, schema: Foreign, files: Sequence[IcebergFile]
    ) -> Iterator[Foreign]:
        try:
            for number, file in enumerate(files):
                position = 0
                for count, columns in self._reading.batches(file, list(self._types)):
                    arrays = [
                        arrow.nulls(count, kind)
                        if each not in columns
                        else columns[each].cast(kind)
                        for each, kind in self._types.items()
                    ]
                    arrays += [
                        arrow.repeat(arrow.scalar(file.sequence, arrow.int64()), count),
                        arrow.repeat(arrow.scalar(file.scope, arrow.string()), count),
                        arrow.repeat(arrow.scalar(number, arrow.int32()), count),
                        arrow.array(range(position, position + count), arrow.int64()),
                    ]
                    position += count
                    yield arrow.RecordBatch.from_arrays(arrays, schema=schema)
        except CdcError as error:
            self._error = error
            raise


@contextlib.contextmanager
def _database(seconds_left: Callable[[], float]) -> Generator[Foreign]:
    """Open an empty DuckDB that spills to a folder of its own and ends when the time is over."""
    duckdb: Foreign = imported("duckdb")
    with tempfile.TemporaryDirectory(prefix="cdc-assets-") as folder:
        database = duckdb.connect(
            ":memory:",
            config={
                "threads": _THREADS,
                "memory_limit": _MEMORY,
                "temp_directory": folder,
                "preserve_insertion_order": "false",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
            },
        )
        timer = threading.Timer(max(0.0, seconds_left()), database.interrupt)
        timer.daemon = True
        timer.start()
        try:
            yield database
        finally:
            timer.cancel()
            database.close()


def _plain(arrow: Foreign, kind: Foreign) -> Foreign:
    """Return a type that DuckDB has: a time with a zone is stored as UTC, so without it is UTC."""
    types = arrow.types
    if types.is_timestamp(kind):
        return arrow.timestamp("us")
    if types.is_large_string(kind) or types.is_string(kind):
        return arrow.string()
    if types.is_large_binary(kind) or types.is_binary(kind) or types.is_fixed_size_binary(kind):
        return arrow.binary()
    return kind


def _up_to(key: Sequence[int], bound: Key | None) -> tuple[str, list[object]]:
    """Return the condition for rows up to a key, spelled out as on the source's side."""
    if bound is None or not key:
        return "", []
    condition, values = "", list[object]()
    for number, value in reversed(tuple(zip(key, bound, strict=True))):
        name = f"r.{_name(number)}"
        if not condition:
            condition, values = f"({name} <= ?)", [value]
        else:
            condition = f"({name} < ? OR ({name} = ? AND {condition}))"
            values = [value, value, *values]
    return f" WHERE {condition}", values


def _parts(rows: int) -> Iterator[int]:
    while rows > 0:
        yield min(rows, _BATCH_ROWS)
        rows -= _BATCH_ROWS


def _name(number: int) -> str:
    return f"c{number}"


def out_of_time(place: str, seconds: float) -> TargetUnreachable:
    """Return the error of a reading that did not end in time."""
    return TargetUnreachable(
        f"{place}: the rows were not read within {seconds:g} s",
        hint="Compact the table, or allow more time",
    )
