"""IcebergSink: how Flink SQL writes Iceberg tables. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.iceberg import IcebergCatalog, checked_name, flink_type
from cdc_assets.core.stream import StreamSpec

# Part of no path and no request; the connector wants a name.
_CATALOG_NAME = "cdc_assets"


@dataclass(frozen=True)
class IcebergSink:
    """Upserts into Iceberg tables of format version 2.

    The writer commits with a checkpoint, and once only: what a checkpoint holds uncommitted is
    committed by the job that is restored from it.

    Attributes:
        catalog: Which catalog holds the tables.
        namespace: Holds the target tables.
    """

    catalog: IcebergCatalog
    namespace: str

    @property
    def secrets(self) -> Sequence[tuple[str, str]]:
        """Return the catalog's secret properties."""
        return self.catalog.secrets

    @property
    def has_columns(self) -> bool:
        """Return that tables have columns."""
        return True

    def options(self, spec: StreamSpec, name: str) -> Mapping[str, str]:
        """Return the options of a target table's DDL."""
        del spec  # Rows become visible with a checkpoint, whatever the flush interval is.
        return {
            "connector": "iceberg",
            "catalog-name": _CATALOG_NAME,
            "catalog-database": self.namespace,
            "catalog-table": checked_name(name, field="target tables"),
            **self.catalog.options,
            # Whatever the table's own properties say: without it an update leaves the old row.
            "upsert-enabled": "true",
            # All changes of a key go through one writer, in their order.
            "distribution-mode": "hash",
            # The one format that a comparison reads back.
            "write-format": "parquet",
        }

    def checked_column(self, name: str, *, field: str) -> str:
        """Return a column's name if Iceberg can hold it."""
        return checked_name(name, field=field)

    def query_type(self, shape: TableShape, column: Column) -> str:
        """Return the Flink type of a target column that a query fills."""
        return flink_type(shape, column)

    def column_type(self, shape: TableShape, column: Column) -> str:
        """Return the Flink type of any target column.

        The writer asks for every column of the table, in the table's order and in its type.
        """
        return flink_type(shape, column)
