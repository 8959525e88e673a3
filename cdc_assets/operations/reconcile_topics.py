"""Reconcile the results of a stream over topics: rows of a result against rows of its topic."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from cdc_assets.core.topic_stream import TopicTable
from cdc_assets.errors import CdcError, CheckpointUnreadable
from cdc_assets.operations.reconcile import Counted, checkpoint_of, settle
from cdc_assets.operations.topics import TopicRuntime
from cdc_assets.ports import IncarnationRow, Key, ReconciliationRow, TopicCount

_ATTEMPTS = 3


def reconcile_result(
    rt: TopicRuntime, row: IncarnationRow, name: str, table: TopicTable
) -> ReconciliationRow:
    """Compare the row count of a result with the live keys of its topic, and record the verdict.

    Both sides go on moving, so rows are counted up to the largest key that the topic held at
    the beginning, where keys are whole numbers. Drifted is only said when the job had read the
    topic as far as it was counted, the counts were the same twice, and no topic of the stream
    moved meanwhile: a join takes a result away before it brings the new one, and a count can
    fall in between.

    Args:
        rt: The stream.
        row: Incarnation that feeds the results.
        name: Target table of a query.
        table: The topic that the result has one row for each row of, under the same key.
    """
    try:
        counted = settle(_result(rt, row, name, table), rt.clock, rt.budgets)
    except CdcError as error:
        counted = Counted("Inconclusive", None, None, str(error))
    found = ReconciliationRow(
        stream=rt.name,
        table=table.topic,
        target_table=name,
        verdict=counted.verdict,
        method="row-count",
        source_count=counted.source,
        target_count=counted.target,
        reason=counted.reason,
        at=rt.clock.now(),
    )
    rt.ledger.record_reconciliation(found)
    return found


def _result(rt: TopicRuntime, row: IncarnationRow, name: str, table: TopicTable) -> _Result:
    key = _key_of(rt, name)
    bound: Key | None = None
    if table.is_bounded and len(key) == len(table.key):
        bound = rt.topics.max_key(
            table.topic, table.key, timeout_seconds=rt.budgets.reconcile_seconds
        )
    return _Result(rt, row, name, table, key, bound)


def _key_of(rt: TopicRuntime, name: str) -> tuple[str, ...]:
    """Return the key of a result: declared with its query, or of the table that it lands in."""
    query = next(query for query in rt.spec.queries if query.target_name == name)
    return query.key or rt.target.shapes([name])[0].primary_key


@dataclass
class _Result:
    """A topic and the result of a query that has a row for each of its rows."""

    rt: TopicRuntime
    row: IncarnationRow
    name: str
    table: TopicTable
    key: tuple[str, ...]
    bound: Key | None
    counted: TopicCount = field(default_factory=lambda: TopicCount(0, {}))

    @property
    def shown(self) -> str:
        which = f"up to key {self.bound}" if self.bound else "in the whole topic"
        return f"of {self.table.topic} {which}"

    def rest(self) -> object:
        return self.rt.topics.high_watermarks(self.rt.topic_names)

    def source(self) -> int:
        self.counted = self.rt.topics.live(
            self.table.topic,
            timeout_seconds=self.rt.budgets.reconcile_seconds,
            key=self.table.key,
            bound=self.bound,
        )
        return self.counted.count

    def end(self) -> Mapping[int, int]:
        return self.counted.ends

    def target(self) -> int:
        return self.rt.target.count(
            self.name,
            timeout_seconds=self.rt.budgets.reconcile_seconds,
            key=self.key,
            bound=self.bound,
        )

    def passed(self, end: Mapping[int, int]) -> bool:
        found = self._offsets()
        return all(found.get(partition, -1) >= offset for partition, offset in end.items())

    def _offsets(self) -> Mapping[int, int]:
        """Return how far the topic was read; Flink deletes a checkpoint when it has the next."""
        for _ in range(_ATTEMPTS - 1):
            with suppress(CheckpointUnreadable):
                return self._read()
        return self._read()

    def _read(self) -> Mapping[int, int]:
        state = checkpoint_of(self.rt.engine, self.row.job_id, self.rt.budgets)
        return self.rt.offsets(state.path, self.table.topic) if state else {}

    def reads(self) -> bool:
        return self.rt.engine.job(self.row.job_id).state == "RUNNING"
