"""Debezium: a connector on a real worker, as a stream: copied, moved to green, compared."""

# ruff: noqa: S608 - the names are this file's own

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

import pytest

from cdc_assets.core.stream import ServerIdRange, StreamSpec, TableRef
from cdc_assets.lab.source_server import ServerKind
from cdc_assets.lab.workload import Writer, execute, seed
from cdc_assets.operations.deploy import deploy
from cdc_assets.operations.launch import newest
from cdc_assets.operations.reconcile import reconcile
from cdc_assets.operations.recover import recover
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.operations.snapshot import snapshot
from tests.integration.targets.debezium_lab import DebeziumLab, debezium_lab
from tests.integration.targets.sources import sources_of
from tests.integration.test_types import executed

LOG = logging.getLogger(__name__)
DATABASE = "source"


@pytest.fixture(scope="module", params=sources_of("mariadb"))
def lab(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[DebeziumLab]:
    source: ServerKind = request.param
    with (
        debezium_lab(tmp_path_factory.mktemp(f"debezium-{source}"), source) as running,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name in ("AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, running.environment[name])
        yield running


def spec_of(name: str, *tables: str, first: int, **more: object) -> StreamSpec:
    refs = tuple(TableRef.parse(f"{DATABASE}.{table}") for table in tables)
    ids = ServerIdRange(first, first)
    return StreamSpec(name, refs, ids, "", target_kind="kafka", engine="debezium", **more)


@contextmanager
def running(rt: StreamRuntime) -> Iterator[StreamRuntime]:
    """Copy the tables and leave the stream running."""
    try:
        assert {row.verdict for row in snapshot(rt).reconciliations} == {"InSync"}
        deploy(rt)
        yield rt
    finally:
        row = newest(rt)
        if row is not None:
            rt.engine.cancel(row.job_id, budget_seconds=60)


def until(what: Callable[[], bool], *, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.5)


def events(lab: DebeziumLab, topic: str) -> list[tuple[object, object]]:
    found = lab.target().records(topic, timeout_seconds=60)
    return [(json.loads(key), None if value is None else json.loads(value)) for key, value in found]


def content(lab: DebeziumLab, rt: StreamRuntime, table: TableRef) -> dict[object, object]:
    (shape,) = rt.source.shapes(rt.source.endpoint, [table])
    return lab.rows({table.target_name: shape}).rows(table.target_name)


def equal(lab: DebeziumLab, rt: StreamRuntime) -> bool:
    for table in rt.spec.tables:
        rows = executed(lab.stage.source, f"select * from {table.name}")
        if content(lab, rt, table) != {(row[0],): row for row in rows}:
            return False
    return True


def repeats(lab: DebeziumLab, topic: str) -> int:
    """Count change events that are in a topic more than once, by their place in the binlog."""
    places = Counter(
        (json.dumps(key), value["op"], json.dumps(value["after"]), json.dumps(value["before"]))
        for key, value in events(lab, topic)
        if isinstance(value, dict) and value["op"] != "r"
    )
    return sum(count - 1 for count in places.values())


def test_a_stream_is_copied_switched_over_and_equal(lab: DebeziumLab) -> None:
    stage = lab.stage
    seed(stage.source, orders=500)
    spec = spec_of("shop", "orders", "source_table:customers", first=9500)
    connection = lab.wiring(spec).connect()
    assert [fault for fault in connection.preflight() if fault.severity == "error"] == []
    with running(connection.runtime) as rt:
        writer = Writer(stage.source, first_id=501)
        writer.start()
        try:
            time.sleep(3)
            stage.switch_over(stage.available_deployment())
            outcome = recover(rt, worker="test")
            time.sleep(2)
        finally:
            writer.stop()
        LOG.info("%s", [(s.step, dict(s.detail)) for s in rt.ledger.steps("shop")])
        by_place = stage.state.source_kind == "mariadb"
        assert outcome.decision == ("Relaunch" if by_place else "Resume")
        until(lambda: equal(lab, rt))
        row = newest(rt)
        assert row is not None
        assert {found.verdict for found in reconcile(rt, row)} == {"InSync"}
        again = sum(repeats(lab, table.target_name) for table in rt.spec.tables)
        LOG.info("%d rows written, %d events repeated", writer.written, again)
        # A DDL after the switchover needs a schema history that is right for green.
        executed(stage.source, "alter table orders add column extra int")
        execute(stage.source, "update orders set extra = 7 where id = 1")
        until(lambda: equal(lab, rt))
        assert rt.ledger.positions("shop")[0].position.coordinates is not None
