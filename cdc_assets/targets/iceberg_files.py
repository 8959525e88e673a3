"""IcebergFiles: which files of an Iceberg snapshot hold its rows, and which delete some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from cdc_assets.errors import TargetError
from cdc_assets.targets.iceberg_catalog import Foreign

FileKind = Literal["data", "equality", "position"]
# 0, 1 and 2 in the specification, "Manifests", field `content`.
_KINDS: tuple[FileKind, ...] = ("data", "position", "equality")


@dataclass(frozen=True)
class IcebergFile:
    """One file of a snapshot.

    Attributes:
        kind: What its rows are.
        path: Where it lies.
        sequence: Its data sequence number: deletes concern older files.
        scope: Partition spec and partition, empty where the spec has no fields.
        rows: Number of its rows.
        equality_ids: Field ids by which an equality delete finds its rows.
    """

    kind: FileKind
    path: str
    sequence: int
    scope: str
    rows: int
    equality_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class IcebergFiles:
    """The files of a snapshot, deletes that concern no file of it left out.

    An upsert writes an equality delete for every row that it inserts, so most deletes of a
    young table concern nothing.
    """

    data: tuple[IcebergFile, ...]
    equality: tuple[IcebergFile, ...]
    positions: tuple[IcebergFile, ...]

    @classmethod
    def of(cls, files: Iterable[IcebergFile]) -> IcebergFiles:
        """Sort the files of a snapshot."""
        found = tuple(files)
        data = tuple(each for each in found if each.kind == "data")
        oldest: dict[str, int] = {}
        for each in data:
            oldest[each.scope] = min(each.sequence, oldest.get(each.scope, each.sequence))
        least = min(oldest.values(), default=None)

        def concerns(delete: IcebergFile) -> bool:
            if least is None:
                return False
            first = oldest.get(delete.scope) if delete.scope else least
            if first is None:
                return False
            # A position delete may be of the very commit that wrote the row.
            strict = delete.kind == "equality"
            return delete.sequence > first if strict else delete.sequence >= first

        return cls(
            data,
            tuple(each for each in found if each.kind == "equality" and concerns(each)),
            tuple(each for each in found if each.kind == "position" and concerns(each)),
        )

    @property
    def rows(self) -> int:
        """Return the number of rows before any delete."""
        return sum(each.rows for each in self.data)

    @property
    def has_deletes(self) -> bool:
        """Return whether a delete may concern a row."""
        return bool(self.equality or self.positions)

    @property
    def equality_groups(self) -> tuple[tuple[tuple[int, ...], bool], ...]:
        """Return the sets of columns that rows are deleted by, and whether in one scope only."""
        found = {(each.equality_ids, bool(each.scope)) for each in self.equality}
        return tuple(sorted(found))


def list_files(
    table: Foreign,
    snapshot: Foreign,
    on_time: Callable[[], None],
) -> IcebergFiles:
    """Return the files of a snapshot.

    Args:
        table: A table of pyiceberg's.
        snapshot: A snapshot of it.
        on_time: Raises when the time is over.

    Raises:
        TargetError: A file has a form that is not read here.
    """
    specs = {number: bool(spec.fields) for number, spec in table.specs().items()}
    found: list[IcebergFile] = []
    for manifest in snapshot.manifests(table.io):
        on_time()
        entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
        found += [_file(entry, manifest.partition_spec_id, specs) for entry in entries]
    return IcebergFiles.of(found)


def _file(entry: Foreign, spec_id: int, specs: dict[int, bool]) -> IcebergFile:
    file = entry.data_file
    path, form = str(file.file_path), str(getattr(file.file_format, "value", file.file_format))
    if form.upper() != "PARQUET":
        what = "a deletion vector" if form.upper() == "PUFFIN" else f"a file in {form}"
        raise TargetError(
            f"{path}: {what} cannot be read here, only Parquet",
            hint="Write with format version 2 and write.format.default 'parquet'",
        )
    kind = _KINDS[int(file.content)]
    ids = tuple(sorted(int(each) for each in file.equality_ids or ())) if kind == "equality" else ()
    return IcebergFile(
        kind=kind,
        path=path,
        sequence=int(entry.sequence_number or 0),
        scope=f"{spec_id} {_values(file.partition)!r}" if specs.get(spec_id) else "",
        rows=int(file.record_count),
        equality_ids=ids,
    )


def _values(partition: Foreign) -> Sequence[object]:
    return [partition[index] for index in range(len(partition))]
