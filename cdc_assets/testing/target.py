"""FakeTarget: tables that the fake engine fills, and what was lost or repeated on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cdc_assets.core.columns import TableShape
from cdc_assets.core.stream import StreamSpec
from cdc_assets.errors import ConfigurationError, TargetUnreachable
from cdc_assets.ports import Key
from cdc_assets.testing.faults import Faults, When
from cdc_assets.testing.source import FakeServer, Row, RowChange, count_up_to


class FakeTarget:
    """Keyed tables with upserts, as `ports.Target` wants it.

    Attributes:
        tables: Rows by table name and key.
        deliveries: How often each row change arrived.
        reachable: Whether it answers.
        altered: Statements that changed a table.
    """

    def __init__(self) -> None:
        self.faults = Faults()
        self.tables: dict[str, dict[Key, Row]] = {}
        self.deliveries: Counter[str] = Counter()
        self.defined: dict[str, TableShape] = {}
        self.reachable = True
        self.altered: list[str] = []

    def define(self, *shapes: TableShape) -> None:
        """Say what tables look like."""
        self.defined |= {shape.name: shape for shape in shapes}

    def fail_next(
        self, method: str, *, when: When = "before", error: BaseException | None = None
    ) -> None:
        """Let the next call of a method fail; see `Faults.fail_next`."""
        self.faults.fail_next(method, when=when, error=error)

    def apply(self, name: str, change: RowChange) -> None:
        """Write what a stream delivers: an upsert or a delete by key."""
        self.deliveries[change.uid] += 1
        rows = self.tables.setdefault(name, {})
        if change.row is None:
            rows.pop(change.key, None)
        else:
            rows[change.key] = change.row

    def load(self, name: str, key: Key, row: Row) -> None:
        """Write a row of a snapshot or of a query."""
        self.tables.setdefault(name, {})[key] = row

    @property
    def repeated(self) -> int:
        """Return how many row writes arrived again."""
        return sum(times - 1 for times in self.deliveries.values())

    def lost(self, server: FakeServer, spec: StreamSpec) -> list[tuple[str, Key]]:
        """Return the rows of a server that are missing here or differ."""
        return [
            (table.label, key)
            for table in spec.copied
            for key, row in server.tables.get(table.label, {}).items()
            if self.tables.get(table.target_name, {}).get(key) != row
        ]

    def surplus(self, server: FakeServer, spec: StreamSpec) -> list[tuple[str, Key]]:
        """Return the rows here that the server does not have."""
        return [
            (table.label, key)
            for table in spec.copied
            for key in self.tables.get(table.target_name, {})
            if key not in server.tables.get(table.label, {})
        ]

    def shapes(self, names: Sequence[str]) -> tuple[TableShape, ...]:
        """Return the tables that were defined."""
        self._answer("shapes")
        for name in names:
            if name not in self.defined:
                raise ConfigurationError("no such target table", field="target", value=name)
        return tuple(self.defined[name] for name in names)

    def count(
        self,
        name: str,
        *,
        timeout_seconds: float,
        key: Sequence[str] = (),
        bound: Key | None = None,
    ) -> int:
        """Count the rows, up to the key `bound` where one is given."""
        del timeout_seconds, key
        self._answer("count")
        return count_up_to(self.tables.get(name, {}), bound)

    def alter(self, statement: str) -> None:
        """Note a statement; what it does is up to the test."""
        self._answer("alter")
        self.altered.append(statement)

    def _answer(self, method: str) -> None:
        self.faults.check(method, "before")
        if not self.reachable:
            message = "target: connection refused"
            raise TargetUnreachable(message)
        self.faults.check(method, "after")
