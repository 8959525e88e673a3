"""IcebergRows: whole Iceberg tables, as the source's driver returns the same rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from cdc_assets.core.columns import TableShape
from cdc_assets.core.types import INT_BITS, MySqlType
from cdc_assets.lab.shown_values import shown_float
from cdc_assets.targets.iceberg import IcebergTarget

_SECONDS = 120.0


class IcebergRows:
    """Reads target tables for a comparison with their sources.

    Args:
        target: The tables.
        shapes: Captured tables by the name of their copy. Without one, a decimal beyond 38
            digits stays the text, and an unsigned BIGINT the decimal, that it is stored as.
    """

    def __init__(
        self, target: IcebergTarget, shapes: Mapping[str, TableShape] | None = None
    ) -> None:
        self._target = target
        self._shapes = dict(shapes or {})

    def rows(
        self, table: str, *, snapshot_id: int | None = None
    ) -> dict[object, tuple[object, ...]]:
        """Return every row by its key: a value, or a tuple for a key of several columns.

        Args:
            table: The target table.
            snapshot_id: Of the version that is read, default the current one.
        """
        shape = self._target.shapes([table])[0]
        names = [column.name for column in shape.columns]
        source = self._shapes.get(table)
        key = source.primary_key if source else shape.primary_key
        places = [_place(names, name) for name in key]
        changes = [_change(source, name) for name in names]
        found: dict[object, tuple[object, ...]] = {}
        for row in self._target.rows(table, timeout_seconds=_SECONDS, snapshot_id=snapshot_id):
            values = tuple(change(value) for change, value in zip(changes, row, strict=True))
            parts = tuple(values[place] for place in places)
            found[parts[0] if len(parts) == 1 else parts] = values
        return found


def _place(names: Sequence[str], wanted: str) -> int:
    return [name.lower() for name in names].index(wanted.lower())


def _change(source: TableShape | None, name: str) -> Callable[[object], object]:
    column = source.column(name) if source else None
    kind = MySqlType.parse(column) if column is not None else MySqlType("")
    base = kind.base

    def change(value: object) -> object:
        if isinstance(value, bool):  # BIT(1), which the driver returns as a byte
            return b"\x01" if value else b"\x00"
        if base == "float" and isinstance(value, float):
            return shown_float(kind, value)
        if base == "decimal" and isinstance(value, str):
            return Decimal(value)
        if base in INT_BITS and isinstance(value, Decimal):  # BIGINT UNSIGNED
            return int(value)
        return value

    return change
