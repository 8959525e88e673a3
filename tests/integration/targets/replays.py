"""A column that comes while a stream runs, read again into any target."""

# ruff: noqa: S608 - the names are this file's own

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from cdc_assets.errors import CdcError
from cdc_assets.lab.workload import Login
from cdc_assets.operations.deploy import deploy
from cdc_assets.operations.launch import newest
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.operations.schema_watch import look_at_schema, watch_schema
from cdc_assets.operations.snapshot import snapshot
from tests.integration.test_types import executed

TABLE = "replayed"
Rows = Mapping[object, tuple[object, ...]]


def create_replayed(source: Login) -> None:
    """Make the source table with four rows; the last one is never changed."""
    executed(
        source,
        f"drop table if exists {TABLE}",
        f"create table {TABLE} (id int primary key, item varchar(40), price decimal(10,2))"
        " charset utf8mb4",
        f"insert into {TABLE} values (1, 'tea', 1.25), (2, 'größe 😀', null), (3, '', -1),"
        " (9, 'never', 9)",
    )


def replay_an_added_column(
    rt: StreamRuntime, source: Login, rows: Callable[[], Rows], follow: Callable[[str], None]
) -> None:
    """Copy a table, add a column to it unseen, deploy, and compare the whole content.

    Args:
        rt: A stream that was never launched; it makes its target by itself.
        source: Where `create_replayed` made the table.
        rows: Returns the target table by the first column.
        follow: Runs the statement that the look prints at the target.
    """

    def settle() -> None:
        until = time.monotonic() + 60
        while True:
            found: Rows = {}
            with suppress(CdcError):
                found = rows()
            wanted = {row[0]: tuple(row) for row in executed(source, f"select * from {TABLE}")}
            if found == wanted:
                return
            row = newest(rt)
            view = rt.engine.job(row.job_id if row else "")
            assert view.state == "RUNNING", view.failure
            assert time.monotonic() < until, (found, wanted)
            time.sleep(0.5)

    snapshot(rt)
    deploy(rt)
    executed(source, f"update {TABLE} set price = 2 where id = 1",
             f"insert into {TABLE} values (4, 'four', 4)")  # fmt: skip
    settle()
    assert watch_schema(rt).look.drifts == ()
    executed(
        source,
        f"insert into {TABLE} values (5, 'before', 5)",
        f"update {TABLE} set item = 'changed' where id = 2",
        f"delete from {TABLE} where id = 3",
    )
    settle()
    executed(
        source,
        f"alter table {TABLE} add column note varchar(20) null",
        f"insert into {TABLE} values (6, 'after', 6, 'unseen')",
        f"update {TABLE} set note = 'unseen, too' where id = 1",
    )
    row = newest(rt)
    assert row is not None
    rt.engine.checkpoint(row.job_id, budget_seconds=60)  # it has read them without the column
    (drift,) = look_at_schema(rt).drifts
    if drift.fix:
        follow(drift.fix)
    assert "/kept/" in deploy(rt).restored_from
    executed(source, f"insert into {TABLE} values (7, 'later', 7, 'seen')",
             f"delete from {TABLE} where id = 4")  # fmt: skip
    settle()
    assert look_at_schema(rt).drifts == ()
