"""IcebergLanding: the demonstration's target tables in the lab's Iceberg catalog."""

from __future__ import annotations

from collections.abc import Mapping

from cdc_assets.core.iceberg import IcebergCatalog
from cdc_assets.lab import iceberg_server
from cdc_assets.lab.iceberg_rows import IcebergRows
from cdc_assets.lab.landing import COPIED_TARGETS, Rows
from cdc_assets.targets.iceberg import IcebergTarget
from cdc_assets.targets.iceberg_catalog import Foreign, imported

Columns = tuple[tuple[str, str], ...]

# Name and type of each column, the key first, as the source's tables have them.
_TABLES: Mapping[str, Columns] = {
    "target_table": (("id", "int"), ("customer_name", "string"), ("ctime", "timestamp")),
    "orders": (
        ("id", "long"),
        ("product", "string"),
        ("quantity", "int"),
        ("note", "string"),
        ("price", "decimal(10, 2)"),
        ("changed_at", "timestamp"),
    ),
    "orders_by_product": (("product", "string"), ("order_count", "long"), ("quantity", "int")),
}
_SECONDS = 60.0


class IcebergLanding:
    """The lab's Iceberg tables.

    Args:
        port: Of the lab's REST catalog.
    """

    title = "Iceberg (REST catalog)"

    def __init__(self, port: int) -> None:
        self._uri = iceberg_server.catalog_uri(port)
        self._target = IcebergTarget(IcebergCatalog(uri=self._uri), iceberg_server.NAMESPACE)

    def create_tables(self) -> None:
        """Make the namespace and the target tables."""
        create_tables(self._uri, iceberg_server.NAMESPACE, _TABLES)

    def rows(self, table: str) -> Rows:
        """Return a whole table by its key."""
        return IcebergRows(self._target).rows(table)

    def has_order_from(self, number: int) -> bool:
        """Return whether an order with this key or a larger one is visible."""
        rows = self._target.rows("orders", ["id"], timeout_seconds=_SECONDS)
        return any(isinstance(row[0], int) and row[0] >= number for row in rows)

    def repeated_writes(self) -> tuple[int, int]:
        """Count the rows that all commits added; a delete adds none, so it is not counted."""
        total, again = 0, 0
        for name in COPIED_TARGETS:
            rows = self._added(name)
            total += len(rows)
            again += len(rows) - len(set(rows))
        return total, again

    def _added(self, name: str) -> list[tuple[object, ...]]:
        parquet: Foreign = imported("pyarrow.parquet")
        catalog: Foreign = imported("pyiceberg.catalog.rest").RestCatalog("lab", uri=self._uri)
        table = catalog.load_table((iceberg_server.NAMESPACE, name))
        # The tables are neither compacted nor expired here, so each file is still named.
        paths = {
            str(entry.data_file.file_path)
            for snapshot in table.snapshots()
            for manifest in snapshot.manifests(table.io)
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False)
            if int(entry.data_file.content) == 0
        }
        rows: list[tuple[object, ...]] = []
        for path in sorted(paths):
            with table.io.new_input(path).open() as opened:
                columns = parquet.ParquetFile(opened).read().to_pydict()
                rows.extend(zip(*columns.values(), strict=True))
        return rows


def create_tables(uri: str, namespace: str, tables: Mapping[str, Columns]) -> None:
    """Make a namespace, and tables in it that a stream can write.

    Args:
        uri: Of the lab's REST catalog.
        namespace: Holds the tables.
        tables: Name and type of each column of each table, the key first.
    """
    catalog: Foreign = imported("pyiceberg.catalog.rest").RestCatalog("lab", uri=uri)
    catalog.create_namespace_if_not_exists(namespace)
    for name, columns in tables.items():
        catalog.create_table(
            (namespace, name),
            _schema(columns),
            properties={"format-version": "2", "write.upsert.enabled": "true"},
        )


def _schema(columns: Columns) -> Foreign:
    schemas: Foreign = imported("pyiceberg.schema")
    types: Foreign = imported("pyiceberg.types")
    fields = [
        types.NestedField(number, name, kind, required=number == 1)
        for number, (name, kind) in enumerate(columns, start=1)
    ]
    return schemas.Schema(*fields, identifier_field_ids=[1])
