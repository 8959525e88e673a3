"""A stream on the in-memory lab, with a runtime whose ports can be killed at any call."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.stream import TargetKind
from cdc_assets.operations.deploy import deploy
from cdc_assets.operations.paused import paused_tables
from cdc_assets.operations.recover import Outcome, recover
from cdc_assets.operations.runtime import Budgets, StreamRuntime
from cdc_assets.operations.schema_apply import follow_schema
from cdc_assets.operations.snapshot import snapshot
from cdc_assets.testing.builders import BlueGreen
from cdc_assets.testing.faults import KillSwitch

BUDGETS = Budgets(
    launch_seconds=20.0,
    checkpoint_seconds=5.0,
    stop_seconds=10.0,
    snapshot_seconds=60.0,
    drain_seconds=60.0,
    switchover_seconds=60.0,
    reconcile_seconds=20.0,
    silence_seconds=30.0,
)


@dataclass
class World:
    """One stream and everything around it.

    Attributes:
        lab: The in-memory lab.
        keys: Next free key.
    """

    lab: BlueGreen
    keys: int = 1
    runtime: StreamRuntime = field(init=False)

    def __post_init__(self) -> None:
        """Make the runtime."""
        self.runtime = self.with_ports(KillSwitch(0))

    def with_ports(self, switch: KillSwitch) -> StreamRuntime:
        """Return a runtime whose port calls are counted by a switch."""
        lab = self.lab
        return StreamRuntime(
            spec=lab.spec,
            engine=switch.wrap(lab.engine),
            source=switch.wrap(lab.source),
            target=switch.wrap(lab.target),
            ledger=switch.wrap(lab.ledger),
            clock=lab.clock,
            feed=switch.wrap(lab.feed),
            budgets=BUDGETS,
        )

    def write(self, count: int = 3) -> None:
        """Write rows behind the endpoint."""
        self.lab.insert(*range(self.keys, self.keys + count), item=f"from {self.keys}")
        self.keys += count

    def start(self) -> None:
        """Copy, and let the stream run."""
        self.write()
        snapshot(self.runtime)
        deploy(self.runtime)
        self.write()
        self.lab.engine.pump(2)

    def switch_over(self, *, behind: bool) -> None:
        """Switch over; `behind` leaves rows on blue that the stream has not read."""
        if behind:
            for job_id in self.lab.engine.live:
                self.lab.engine.disconnect(job_id)
            self.write()
        self.lab.switch_over()
        self.write()

    def recover(self) -> Outcome:
        """Recover with ports that nothing kills."""
        return recover(self.runtime, worker="w")

    def check(self, *, repeated: int | None = 0) -> None:
        """Nothing lost, nothing too much, one live job, and nothing delivered twice."""
        self.write()
        self.lab.engine.pump(3)
        server = self.lab.source.production
        assert self.lab.target.lost(server, self.lab.spec) == []
        assert self.lab.target.surplus(server, self.lab.spec) == []
        assert len(self.lab.engine.live) == 1
        if repeated is not None:
            assert self.lab.target.repeated == repeated
        if self.lab.stateful:
            jobs = self.lab.engine.jobs.values()
            counts = next(job.counts for job in jobs if job.state == "RUNNING")
            rows = len(server.tables["shop.orders"])
            assert all(count == rows for count in counts.values()), (counts, rows)


ITEMS, ORDERS, USERS = TABLES = ("shop.items", "shop.orders", "shop.users")
TINY, WIDE = Column("size", "int", "int(11)"), Column("size", "bigint", "bigint(20)")
RENAMED = Column("length", "int", "int(11)")


def shaped(label: str, *columns: Column) -> TableShape:
    database, _, name = label.partition(".")
    return TableShape(database, name, (Column("id", "int", "int(11)", nullable=False), *columns),
                      ("id",))  # fmt: skip


class Shop(World):
    """A stream of three tables that runs; each write goes to all of them."""

    def write(self, count: int = 3) -> None:
        for table in TABLES:
            self.lab.insert(*range(self.keys, self.keys + count), item=table, table=table)
        self.keys += count

    def change(self, column: Column = WIDE, table: str = ORDERS) -> None:
        self.lab.source.define(shaped(table, column))

    def follow(self, column: Column = WIDE, table: str = ORDERS) -> None:
        """Run the statement at the target."""
        if self.lab.spec.target_kind == "iceberg" and column.data_type == "bigint":
            column = replace(column, data_type="long", column_type="long")
        self.lab.target.define(shaped(table.replace("shop", "warehouse"), column))

    def paused(self) -> list[str]:
        return [pause.table for pause in paused_tables(self.runtime)]

    def lost(self) -> set[str]:
        """Return the tables that lack rows at the target."""
        self.lab.engine.pump(3)
        server = self.lab.source.production
        return {table for table, _ in self.lab.target.lost(server, self.lab.spec)}


def shop(*, gtid: bool = False, uuids: bool = True, kind: TargetKind = "mysql") -> Shop:
    lab = BlueGreen(gtid=gtid, uuids=uuids, tables=TABLES)
    lab.spec = replace(lab.spec, readers="shared", target_kind=kind)
    made = Shop(lab)
    for table in TABLES:
        made.change(TINY, table)
        made.follow(TINY, table)
    made.start()
    made.write()
    follow_schema(made.runtime)  # keeps a state of before any change
    made.write()
    return made


def paused(*, column: Column = WIDE, gtid: bool = False, kind: TargetKind = "mysql") -> Shop:
    """Return a shop whose orders were changed, paused and written to since."""
    made = shop(gtid=gtid, kind=kind)
    made.change(column)
    made.write()
    assert follow_schema(made.runtime).act == "table paused"
    made.write()
    return made
