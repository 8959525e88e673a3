"""IcebergTarget: the port `JudgedTarget` for Iceberg tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from cdc_assets.core.columns import TableShape
from cdc_assets.core.iceberg import IcebergCatalog, create_catalog_sql
from cdc_assets.core.iceberg_faults import CATALOG, creation, judge_tables
from cdc_assets.core.preflight import Fault
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_versions import TableVersion, lineage
from cdc_assets.errors import CdcError, ConfigurationError, TargetError
from cdc_assets.ports import Key
from cdc_assets.targets.iceberg_catalog import Foreign, Lake, described, summary_of
from cdc_assets.targets.iceberg_files import list_files
from cdc_assets.targets.iceberg_reading import IcebergReading, out_of_time

RunSql = Callable[[Sequence[str]], None]


class IcebergTarget:
    """Iceberg tables that rows land in.

    Args:
        catalog: Which catalog holds them.
        namespace: Holds the target tables.
        read_timeout_seconds: For an answer of the catalog.
        run_sql: Runs statements of Flink SQL in one session; without it no table is made. A
            hadoop catalog can be written by Iceberg's Java code only, and Flink has that.
    """

    def __init__(
        self,
        catalog: IcebergCatalog,
        namespace: str,
        *,
        read_timeout_seconds: float = 10.0,
        run_sql: RunSql | None = None,
    ) -> None:
        self._catalog = catalog
        self._namespace = namespace
        self._timeout = read_timeout_seconds
        self._run_sql = run_sql
        self._lake = Lake(catalog, namespace, timeout_seconds=read_timeout_seconds)

    def __repr__(self) -> str:
        """Return catalog and namespace, without a secret."""
        return f"IcebergTarget({self._lake.place}, {self._namespace!r})"

    @property
    def namespace(self) -> str:
        """Return what holds the target tables."""
        return self._namespace

    def shapes(self, names: Sequence[str]) -> tuple[TableShape, ...]:
        """Return the target tables as the catalog describes them.

        Raises:
            ConfigurationError: A table does not exist.
            TargetUnreachable: No answer in time.
        """
        tables = {name: self._found(name) for name in names}
        return tuple(described(tables[name], self._namespace, name).shape for name in names)

    def faults(self, spec: StreamSpec, shapes: Mapping[str, TableShape]) -> Sequence[Fault]:
        """Return everything that keeps the stream from landing here, without changing it."""
        try:
            has_namespace = self._lake.has_namespace()
            found = {name: self._lake.table(name) for name in spec.target_names}
            tables = {
                name: described(table, self._namespace, name)
                for name, table in found.items()
                if table is not None
            }
        except CdcError as error:
            return (
                Fault(
                    "target.catalog",
                    error.message,
                    "a catalog that answers and lets the account in",
                    error.hint or "Check its address, token and that it runs",
                ),
            )
        faults = judge_tables(spec, shapes, tables, self._catalog, has_namespace=has_namespace)
        return tuple(faults)

    def making_with(self, run_sql: RunSql) -> IcebergTarget:
        """Return this target with what runs Flink SQL, so that it can make tables."""
        return IcebergTarget(
            self._catalog, self._namespace, read_timeout_seconds=self._timeout, run_sql=run_sql
        )

    def make_missing(self, spec: StreamSpec, shapes: Sequence[TableShape]) -> Sequence[str]:
        """Make the missing target tables, if the stream's settings say so.

        Raises:
            TargetError: The catalog or Flink refuses one.
        """
        if not spec.create_tables or self._run_sql is None:
            return ()
        known = [name for name in spec.target_names if self._lake.table(name) is not None]
        unmade = spec.unmade(shapes, known)
        for name, shape in unmade.items():
            has_namespace = self._lake.has_namespace()
            statements = creation(self._namespace, name, shape, has_namespace=has_namespace)
            self._make(self._run_sql, name, statements)
        return list(unmade)

    def _make(self, run_sql: RunSql, name: str, statements: Sequence[str]) -> None:
        known = create_catalog_sql(self._catalog, CATALOG, is_shown=False)
        try:
            run_sql([each.rstrip(";") for each in (known, *statements)])
        except CdcError as error:
            if error.recoverability == "TRANSIENT":
                raise
            raise TargetError(
                f"cannot make table {self._namespace}.{name}: {error.message}",
                hint="Let the account make tables in the namespace, or run the statements that"
                " 'cdc-assets preflight' prints",
            ) from None

    def alter(self, statement: str) -> None:
        """Run one statement of Flink SQL that changes a table of the catalog `CATALOG`.

        Raises:
            TargetError: The catalog or Flink refuses it, or nothing runs Flink SQL here.
        """
        if self._run_sql is None:
            raise TargetError(f"{self._lake.place}: no SQL gateway to change tables with")
        known = create_catalog_sql(self._catalog, CATALOG, is_shown=False)
        try:
            self._run_sql([each.rstrip(";") for each in (known, statement)])
        except CdcError as error:
            if error.recoverability == "TRANSIENT":
                raise
            raise TargetError(f"{self._lake.place}: {error.message}") from None

    def count(
        self,
        name: str,
        *,
        timeout_seconds: float,
        key: Sequence[str] = (),
        bound: Key | None = None,
        snapshot_id: int | None = None,
    ) -> int:
        """Count the rows of a target table, up to the key `bound` (included) if given.

        Args:
            name: The table.
            timeout_seconds: For all of it.
            key: Names of the key's columns.
            bound: The last key that counts. Only for keys that Iceberg orders as MySQL does.
            snapshot_id: Of the version that is counted, default the current one.
        """
        with self._lake.answering():
            reading = self._reading(name, timeout_seconds, snapshot_id)
            return 0 if reading is None else reading.count(key, bound)

    def rows(
        self,
        name: str,
        columns: Sequence[str] | None = None,
        *,
        timeout_seconds: float,
        snapshot_id: int | None = None,
    ) -> Iterator[tuple[object, ...]]:
        """Yield the rows of a target table, in no order; times with a zone as UTC without one.

        Args:
            name: The table.
            columns: Default all, in the table's order.
            timeout_seconds: For all of it.
            snapshot_id: Of the version that is read, default the current one.
        """
        with self._lake.answering():
            reading = self._reading(name, timeout_seconds, snapshot_id)
            if reading is not None:
                names = columns or [str(each.name) for each in reading.schema.fields]
                yield from reading.rows(names)

    def versions(self, name: str) -> tuple[TableVersion, ...]:
        """Return the current version of a table and its ancestors, newest first."""
        table = self._found(name)
        with self._lake.answering():
            found = [
                TableVersion(
                    snapshot_id=int(each.snapshot_id),
                    parent_id=each.parent_snapshot_id,
                    committed_at_ms=int(each.timestamp_ms),
                    operation=str(each.summary.operation.value) if each.summary else "",
                    summary=summary_of(each),
                )
                for each in table.metadata.snapshots
            ]
            return lineage(found, table.metadata.current_snapshot_id)

    def _found(self, name: str) -> Foreign:
        table = self._lake.table(name)
        if table is None:
            raise ConfigurationError(
                f"no such table in the {self._lake.place}",
                field="target tables",
                value=f"{self._namespace}.{name}",
                hint="'cdc-assets preflight' prints the statement that makes it",
            )
        return table

    def _reading(self, name: str, seconds: float, snapshot_id: int | None) -> IcebergReading | None:
        table = self._found(name)
        snapshot = (
            table.current_snapshot() if snapshot_id is None else table.snapshot_by_id(snapshot_id)
        )
        if snapshot is None:
            if snapshot_id is None:
                return None  # Nothing was committed yet.
            raise ConfigurationError(
                "no such version, or it is expired",
                field=f"{self._namespace}.{name}",
                value=snapshot_id,
                hint="Take one of its versions that still exist",
            )
        left, on_time = _limit(self._lake.place, seconds)
        schema = table.schema()
        if snapshot_id is not None and snapshot.schema_id is not None:
            schema = table.schemas()[snapshot.schema_id]
        return IcebergReading(table, list_files(table, snapshot, on_time), schema, on_time, left)


def _limit(place: str, seconds: float) -> tuple[Callable[[], float], Callable[[], None]]:
    """Return how many seconds are left, and what raises when none are."""
    deadline = time.monotonic() + seconds

    def left() -> float:
        return deadline - time.monotonic()

    def on_time() -> None:
        if left() <= 0:
            raise out_of_time(place, seconds)

    return left, on_time
