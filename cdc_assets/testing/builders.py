"""Builders: values with defaults, and a whole blue/green lab in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.gtid import GtidSet
from cdc_assets.core.position import Coordinates, Position
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.source import FileBirth, SourceIdentity
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.ports import Launch, PositionRow, Server
from cdc_assets.testing.clock import FrozenClock
from cdc_assets.testing.engine import FakeEngine
from cdc_assets.testing.feed import FakeFeed
from cdc_assets.testing.ledger import FakeLedger
from cdc_assets.testing.source import FakeServer, FakeSource
from cdc_assets.testing.target import FakeTarget

BLUE_UUID = "11111111-1111-1111-1111-111111111111"
GREEN_UUID = "22222222-2222-2222-2222-222222222222"
FILE = "mysql-bin-changelog.000001"


def identity(
    server_id: int = 101, *, uuid: str | None = BLUE_UUID, resource_id: str | None = None
) -> SourceIdentity:
    """Return a MySQL server's identity; `uuid=None` gives a MariaDB that has none."""
    if uuid is None:
        return SourceIdentity("mariadb", "10.11.5-MariaDB", server_id, None, resource_id)
    return SourceIdentity("mysql", "8.0.36", server_id, uuid, resource_id)


def position(
    pos: int = 4000,
    *,
    file: str = FILE,
    on: SourceIdentity | None = None,
    birth: FileBirth | None = None,
    gtids: str | None = None,
) -> Position:
    """Return a position."""
    gtid_set = None if gtids is None else GtidSet.parse(gtids)
    return Position(Coordinates(file, pos), on or identity(), birth, gtid_set)


def position_row(
    number: int = 1, *, stream: str = "orders", incarnation: int = 1, tables: str = "shop.orders"
) -> PositionRow:
    """Return the ledger row of checkpoint `number`."""
    return PositionRow(
        stream,
        incarnation,
        number,
        f"file:///checkpoints/{stream}-{incarnation}/chk-{number}",
        tables,
        position(4000 + number),
    )


def spec(*tables: str, name: str = "orders", stateful: bool = False) -> StreamSpec:
    """Return a stream of these tables, `shop.orders` without any."""
    refs = tuple(TableRef.parse(table) for table in tables or ("shop.orders",))
    queries = (QuerySpec("order_stats", "SELECT COUNT(*) FROM orders"),) if stateful else ()
    return StreamSpec(name, refs, ServerIdRange(5400, 5499), "warehouse", queries=queries)


def shape(label: str) -> TableShape:
    """Return a table with the columns `id` and `item` and the key `id`."""
    database, _, name = label.partition(".")
    columns = (Column("id", "int", "int(11)", nullable=False), Column("item", "text", "text"))
    return TableShape(database, name, columns, ("id",))


@dataclass
class BlueGreen:
    """A source with blue and green, a target, an engine, a feed and a ledger, all in memory.

    Both servers name their binlog files alike, and green's positions differ from blue's.

    Attributes:
        gtid: Whether GTID mode is ON on both.
        uuids: Whether the servers have a uuid; False is MariaDB 10.11.
        stateful: Whether the stream has a query that counts rows.
        tables: The captured tables, `shop.orders` without any.

    Example:
        >>> lab = BlueGreen()
        >>> job = lab.launch("a" * 32)
        >>> lab.insert(1)
        >>> lab.engine.job(job).state
        'RUNNING'
        >>> lab.target.lost(lab.blue, lab.spec)
        []
    """

    gtid: bool = False
    uuids: bool = True
    stateful: bool = False
    tables: tuple[str, ...] = ()
    clock: FrozenClock = field(default_factory=FrozenClock)

    def __post_init__(self) -> None:
        """Wire the parts."""
        self.spec = spec(*self.tables, stateful=self.stateful)
        blue_uuid, green_uuid = (BLUE_UUID, GREEN_UUID) if self.uuids else (None, None)
        self.blue = FakeServer(
            "blue",
            Server("blue.example", 3306),
            identity(101, uuid=blue_uuid, resource_id="db-BLUE"),
            gtid=self.gtid,
        )
        self.green = FakeServer(
            "green",
            Server("green.example", 3306),
            identity(102, uuid=green_uuid, resource_id="db-GREEN"),
            gtid=self.gtid,
            born_at=1_710_000_000,
            overhead=130,
        )
        self.green.read_only = True
        self.source = FakeSource(self.blue, self.green)
        self.source.define(*(shape(table.label) for table in self.spec.tables))
        self.target = FakeTarget()
        self.target.define(*(shape(f"warehouse.{table.target_name}") for table in self.spec.copied))
        self.engine = FakeEngine(self.source, self.target, clock=self.clock)
        self.ledger = FakeLedger(now=self.clock.now)
        self.feed = FakeFeed()
        self.feed.announce("bgd-1", "orders", "orders-green-abc123")
        self.feed.instances = {
            "orders": (self.source.endpoint, "db-BLUE"),
            "orders-green-abc123": (self.green.address, "db-GREEN"),
        }

    def insert(self, *keys: int, item: str = "apple", table: str = "shop.orders") -> None:
        """Write rows behind the endpoint, one transaction each."""
        for key in keys:
            self.source.production.write(table, (key,), {"id": key, "item": item})
        if self.source.production is self.blue:
            self.green.replicate_from(self.blue)

    def launch(self, job_id: str) -> str:
        """Launch the stream with a snapshot, as incarnation 1 would be."""
        return self.engine.launch(Launch(job_id, self.spec.name, self.spec, self.source.endpoint))

    def begin_switchover(self) -> None:
        """Stop writes on both sides."""
        self.feed.set_status("SWITCHOVER_IN_PROGRESS")
        self.blue.read_only = self.green.read_only = True

    def end_switchover(self, *, emit: bool = True) -> Coordinates:
        """Catch up, move the endpoint, allow writes; return green's coordinates.

        Args:
            emit: Whether the coordinates event arrives now.
        """
        self.green.replicate_from(self.blue)
        coordinates = self.green.end
        self.source.move_endpoint(self.green)
        self.feed.instances = {
            "orders": (self.source.endpoint, "db-GREEN"),
            "orders-old1": (self.blue.address, "db-BLUE"),
        }
        self.green.read_only = False
        self.feed.set_status("SWITCHOVER_COMPLETED", old_name="orders-old1")
        if emit:
            self.feed.emit(coordinates)
        return coordinates

    def switch_over(self, *, emit: bool = True) -> Coordinates:
        """Do both."""
        self.begin_switchover()
        return self.end_switchover(emit=emit)
