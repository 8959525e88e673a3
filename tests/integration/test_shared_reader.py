"""Tables of unlike keys behind one binlog connection, with several subtasks."""

# ruff: noqa: S608 - the names are this file's own

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import pytest

from cdc_assets.core.readers import plan_readers
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.flink.engine import FlinkEngine
from cdc_assets.lab.stage import Stage
from cdc_assets.ports import Launch
from cdc_assets.targets.mysql import create_table_sql
from tests.integration.conftest import Played
from tests.integration.test_types import engine_of, executed, wait_for_stream

# Keys of other names, types and lengths; `n` is of another type in each table that has it.
TABLES = {
    "shared_plain": "id int primary key, n int, note varchar(40)",
    "shared_named": "order_id bigint primary key, n bigint unsigned, price decimal(10,2)",
    "shared_pair": "id int not null, k smallint not null, v int, primary key (k, id)",
    "shared_wide": "id bigint unsigned primary key, price decimal(20,8), at datetime(3)",
    "shared_long": "a int, b int, c varchar(10), d date not null, v int, primary key (a, b, c)",
}
FIRST = {
    "shared_plain": "(1, null, 'a'), (2, 2, null), (3, -2147483648, 'c')",
    "shared_named": "(1, 18446744073709551615, 1.10), (-5, null, null), (3, 0, 3)",
    "shared_pair": "(1, 1, 10), (2, 1, null), (1, 2, 12), (3, 3, 1)",
    "shared_wide": "(18446744073709551615, 0.00000001, '2024-01-01 00:00:00.123'), (1, null, null)",
    "shared_long": "(1, 1, 'x', '2024-01-01', 1), (1, 1, 'X ', '1970-01-01', 2),"
    " (2, 1, '', '9999-12-31', 3)",
}
CHANGES = (
    "update shared_plain set note = 'changed' where id = 1",
    "delete from shared_plain where id = 2",
    "update shared_plain set id = 30 where id = 3",
    "update shared_named set n = n - 1 where order_id = 1",
    "delete from shared_named where order_id = -5",
    "update shared_pair set v = v + 1 where id = 1",
    "update shared_pair set k = -4 where id = 3",
    "update shared_wide set price = 999999999999.99999999 where id = 1",
    "delete from shared_wide where id = 18446744073709551615",
    "update shared_long set v = 20, c = 'y' where v = 2",
    "delete from shared_long where a = 2",
    *(f"insert into shared_plain values (100, {n}, 'again') on duplicate key update n = {n}"
      for n in range(40)),
)  # fmt: skip
DIFFERS = "select * from {0} order by 1, 2, 3"


@pytest.fixture
def shared(played: Played) -> Iterator[tuple[Stage, FlinkEngine, str]]:
    """Copy the tables through one reader of two subtasks."""
    stage = played.stage
    engine, source, target = engine_of(stage)
    spec = StreamSpec(
        "shared",
        tuple(TableRef(stage.source.database, name) for name in TABLES),
        ServerIdRange(9200, 9201),
        stage.target.database,
        readers="shared",
        parallelism=2,
    )
    job_id = uuid.uuid4().hex
    drop = f"drop table if exists {', '.join(TABLES)}"
    try:
        executed(stage.source, drop)
        executed(stage.target, drop)
        for name, columns in TABLES.items():
            collation = "charset utf8mb4 collate utf8mb4_bin"
            executed(stage.source, f"create table {name} ({columns}) {collation}")
            executed(stage.source, f"insert into {name} values {FIRST[name]}")
        shapes = source.shapes(source.endpoint, spec.tables)
        for shape in shapes:
            executed(stage.target, create_table_sql(shape, stage.target.database, shape.name))
        assert len(plan_readers(spec, shapes)) == 1
        engine.launch(Launch(job_id, "shared", spec, source.endpoint))
        wait_for_stream(engine, job_id, readers=1)
        yield stage, engine, job_id
    finally:
        engine.cancel(job_id, budget_seconds=60)
        executed(stage.source, drop)
        executed(stage.target, drop)
        assert target.existing(tuple(TABLES)) == {}


def contents(stage: Stage) -> list[tuple[str, object, object]]:
    """Return the tables that differ, with both contents."""
    found = [
        (name, executed(stage.source, query), executed(stage.target, query))
        for name in TABLES
        for query in (DIFFERS.format(name),)
    ]
    return [each for each in found if each[1] != each[2]]


def wait_equal(stage: Stage, engine: FlinkEngine, job_id: str) -> None:
    """Wait until both sides agree."""
    until = time.monotonic() + 60
    while contents(stage):
        view = engine.job(job_id)
        assert view.state == "RUNNING", view.failure
        assert time.monotonic() < until, contents(stage)
        time.sleep(0.5)


def test_tables_of_unlike_keys_are_right_behind_one_reader(
    shared: tuple[Stage, FlinkEngine, str],
) -> None:
    """Snapshot, then changes of rows and keys; at the end both sides are equal and stay so."""
    stage, engine, job_id = shared
    wait_equal(stage, engine, job_id)
    executed(stage.source, *CHANGES)
    wait_equal(stage, engine, job_id)
    engine.checkpoint(job_id, budget_seconds=60)
    assert contents(stage) == []
