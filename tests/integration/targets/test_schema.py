"""Target tables that the stream makes, and changes of captured tables, on real servers.

MySQL and PostgreSQL as targets of one lab. Contents are compared whole: what PyMySQL reads at the
source must equal what is read at the target.
"""

# ruff: noqa: S608 - the names are this file's own

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cdc_assets.core.preflight_tables import judge
from cdc_assets.core.recovery import Policy
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import JDBC_KINDS, StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import TargetError
from cdc_assets.lab.lab import down, up
from cdc_assets.lab.stage import Stage
from cdc_assets.lab.target_system import TARGET_DATABASE
from cdc_assets.mysql.client import MySqlSource
from cdc_assets.mysql.preflight import gather
from cdc_assets.operations.deploy import deploy
from cdc_assets.operations.launch import newest
from cdc_assets.operations.schema_apply import follow_schema
from cdc_assets.operations.schema_watch import look_at_schema, watch_schema
from cdc_assets.operations.snapshot import snapshot
from cdc_assets.ports import MakingTarget
from cdc_assets.targets.mysql import MySqlTarget
from cdc_assets.targets.postgres import PostgresTarget
from tests.integration.targets.sources import sources_of
from tests.integration.targets.ways import Way, way_of

TABLES = {
    "made_orders": "id int primary key, item varchar(40) not null, price decimal(10,2), old int",
    "made_places": "shop smallint unsigned, code varchar(20), at datetime(3), n bigint unsigned,"
    " primary key (code, shop)",
}
ROWS = {
    "made_orders": ["(1, 'tea', 1.25, 7)", "(2, 'größe 😀', null, null)", "(3, '', -0.01, 8)"],
    "made_places": [
        "(65535, 'a', '2024-02-29 13:14:15.678', 18446744073709551615)",
        "(1, 'A ', null, 0)",
    ],
}


@dataclass
class Made(Way):
    """A stream whose target tables are made."""

    def settle(self) -> None:
        """Wait until every target table holds what its source table holds."""
        until = time.monotonic() + 45
        while any(self.landed(name) != self.wanted(name) for name in TABLES):
            row = newest(self.rt)
            assert row is not None
            view = self.rt.engine.job(row.job_id)
            assert view.state == "RUNNING", view.failure
            assert time.monotonic() < until, [(self.landed(n), self.wanted(n)) for n in TABLES]
            time.sleep(0.3)

    def faults(self) -> list[tuple[str, str, str]]:
        """Return severity, field and statement of everything that preflight says of the target."""
        rt = self.rt
        shapes = rt.source.shapes(rt.source.endpoint, rt.spec.tables)
        if isinstance(rt.target, PostgresTarget):
            found = rt.target.faults(rt.spec, {shape.label: shape for shape in shapes})
        else:
            assert isinstance(rt.source, MySqlSource)
            assert isinstance(rt.target, MySqlTarget)
            found = judge(gather(rt.source, rt.spec, rt.target))
        return [
            (each.severity, each.field, each.fix)
            for each in found
            if each.field.startswith(f"{rt.spec.target_database}.")
        ]


@pytest.fixture(scope="session", params=sources_of("mariadb"))
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """Start a lab; the MySQL target is in each."""
    home = tmp_path_factory.mktemp(f"lab-schema-{request.param}")
    try:
        up(home, request.param, "postgres")
        yield Stage(home)
    finally:
        down(home)


@pytest.fixture(params=JDBC_KINDS)
def way(request: pytest.FixtureRequest, stage: Stage, tmp_path: Path) -> Iterator[Made]:
    """Return a stream that was never launched; its source tables hold rows."""
    kind = request.param
    spec = StreamSpec(
        f"made_{kind}",
        tuple(TableRef(stage.source.database, name) for name in TABLES),
        ServerIdRange(9600, 9619) if kind == "mysql" else ServerIdRange(9620, 9639),
        TARGET_DATABASE,
        target_kind=kind,
        checkpoint_interval_seconds=1.0,
        flush_interval_seconds=0.3,
    )
    with way_of(
        stage, spec, tmp_path / "ledger.db", policy=Policy(on_added_column="apply")
    ) as found:
        made = Made(found.stage, found.rt)
        for name, columns in TABLES.items():
            made.at_source(
                f"drop table if exists {name}",
                f"create table {name} ({columns}) charset utf8mb4",
                f"insert into {name} values {', '.join(ROWS[name])}",
            )
        yield made
    for name in TABLES:
        made.drop(name)


def test_tables_are_made_and_follow_an_added_and_a_dropped_column(way: Made) -> None:
    rt = way.rt
    # Without the right to make tables nothing is made, and the grant is named.
    assert [severity for severity, *_ in way.faults()] == ["error", "error"]
    with pytest.raises(TargetError, match=r"cannot make table .*\.made_orders.*GRANT CREATE ON"):
        snapshot(rt)
    assert newest(rt) is None
    way.grant("create")
    printed = [fix for severity, _, fix in way.faults() if severity == "warning"]
    assert len(printed) == len(TABLES)
    told: list[str] = []
    snapshot(rt, made=told.extend)
    assert told == list(TABLES)
    assert way.faults() == []
    deploy(rt)
    way.at_source("update made_orders set price = 2 where id = 1",
                  "insert into made_places values (2, 'b', '2024-01-01', 5)")  # fmt: skip
    way.settle()

    # A column comes; rows are written before anyone looks.
    assert watch_schema(rt).look.drifts == ()
    way.at_source(
        "insert into made_orders values (4, 'before', 4, 4)",
        "alter table made_orders add column note varchar(20) null",
        "insert into made_orders values (5, 'after', 5, 5, 'unseen')",
        "update made_orders set note = 'unseen, too' where id = 1",
    )
    way.at_source("delete from made_orders where id = 2")
    (drift,) = look_at_schema(rt).drifts
    assert drift.change.text.startswith(f"{way.stage.source.database}.made_orders.note: new column")
    assert " ADD COLUMN " in drift.fix
    seen = follow_schema(rt)
    assert (seen.act, seen.ran) == ("applied", (drift.fix,)), seen
    way.at_source("insert into made_orders values (6, 'later', 6, 6, 'seen')")
    way.settle()
    assert look_at_schema(rt).drifts == ()

    # A column goes, another one grows: the stream pauses, a person follows, and nothing is lost.
    assert watch_schema(rt).look.drifts == ()
    way.at_source(
        "insert into made_orders values (7, 'before', 7, 7, null)",
        "alter table made_orders drop column old, modify price decimal(14,4)",
        "insert into made_orders values (8, 'after', 8.1234, 'x')",
    )
    paused = watch_schema(rt)
    assert paused.act == "paused", paused
    intent, reason = rt.ledger.intent(rt.name)
    assert (intent, "made_orders.old: column dropped" in reason) == ("hold", True)
    kinds = [drift.change.kind for drift in paused.look.drifts]
    assert sorted(kinds) == ["dropped", "retyped"]
    row = newest(rt)
    assert row is not None
    assert rt.engine.job(row.job_id).state == "FINISHED"
    way.at_source("update made_orders set note = 'while it pauses' where id = 3")
    way.at_target(*(drift.fix for drift in paused.look.drifts))
    deploy(rt)
    way.at_source("delete from made_orders where id = 1")
    way.settle()
    assert rt.ledger.intent(rt.name)[0] == "run"
    spec = replace(rt.spec, create_tables=False)
    assert isinstance(rt.target, MakingTarget)
    assert rt.target.make_missing(spec, rt.source.shapes(rt.source.endpoint, spec.tables)) == ()
