"""Every type that is carried, at its extremes, in the snapshot and in the stream.

The values are compared in a text form that shows each bit, so a value that a server would call
equal, such as a text in another case, is not taken for the same.
"""

# ruff: noqa: S608 - the names are this file's own

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import pytest

from cdc_assets.core.columns import Column
from cdc_assets.core.readers import plan_readers
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.core.types import MySqlType
from cdc_assets.flink.client import FlinkClient
from cdc_assets.flink.engine import FlinkEngine, StateFolders
from cdc_assets.flink.gateway import SqlGateway
from cdc_assets.flink.render import StreamRenderer
from cdc_assets.flink.sinks import MySqlSink
from cdc_assets.flink.source_sql import SourceAccess
from cdc_assets.lab.shown_values import shown_float
from cdc_assets.lab.stage import Stage
from cdc_assets.lab.workload import Login
from cdc_assets.mysql.client import MySqlSource
from cdc_assets.operations.clock import SystemClock
from cdc_assets.ports import Launch, Server
from cdc_assets.targets.mysql import MySqlTarget, create_table_sql
from tests.integration.conftest import Played

Value = object
Group = Mapping[str, Sequence[Value]]

STREAM_ROWS_FROM = 1001
ODD_TEXT = "é€😀\\'\"\t\n\r\0"
MOMENTS = (
    "1000-01-01 00:00:00", "9999-12-31 23:59:59", "1969-12-31 23:59:59", "2024-02-29 13:14:15",
    "2024-03-31 02:30:00", "1582-10-04 23:59:59", "1582-10-15 00:00:00", None,
)  # fmt: skip
INSTANTS = ("1970-01-01 00:00:01", "2038-01-19 03:14:07", "2024-03-31 02:30:00", None)


def signed(bits: int) -> Sequence[Value]:
    """Return the extremes of a signed integer."""
    return [-(2 ** (bits - 1)), -1, 0, 1, 2, 2 ** (bits - 1) - 1, None]


def unsigned(bits: int) -> Sequence[Value]:
    """Return the extremes of an unsigned integer, and the first that a signed one cannot hold."""
    return [0, 1, 2 ** (bits - 1), 2**bits - 1, None]


def fractions(moments: Sequence[str | None], digits: int) -> Sequence[Value]:
    """Return moments with all, one and no fractional digits."""
    some = [f"{m}.{'123456'[:digits]}" if m else None for m in moments[:4]]
    return [*some, f"2024-01-01 00:00:00.{'0' * (digits - 1)}1", "2024-01-01 00:00:00"]


def every_byte(encoding: str) -> Sequence[Value]:
    """Return texts with each character of a single-byte character set."""
    pieces = [
        bytes(range(low, low + 32)).decode(encoding, "ignore").replace("\x7f", "")
        for low in range(32, 256, 32)
    ]
    return [f".{piece}." for piece in pieces]


GROUPS: Mapping[str, Group] = {
    "types_int": {
        "tinyint": signed(8), "smallint": signed(16), "mediumint": signed(24),
        "int": signed(32), "bigint": signed(64),
        "tinyint(1)": [2, 127, -1, 0, 1, -128, None], "boolean": [0, 1, 5, None],
    },
    "types_unsigned": {
        "tinyint unsigned": unsigned(8), "smallint unsigned": unsigned(16),
        "mediumint unsigned": unsigned(24), "int unsigned": unsigned(32),
        "bigint unsigned": unsigned(64), "tinyint(1) unsigned": [0, 1, 2, 255, None],
        "int(8) zerofill": [0, 5, 2**32 - 1, None], "bigint(20) zerofill": [0, 2**64 - 1, None],
    },
    "types_bit": {
        "bit(1)": [0, 1, None], "bit(8)": [0, 1, 128, 255, None],
        "bit(20)": [0, 1, 0xABCDE, 2**20 - 1, 0x80001],
        "bit(64)": [0, 1, 2**64 - 1, 2**63, 0x0102030405060708, None],
    },
    "types_decimal": {
        "decimal": ["9999999999", "-5", None],
        "decimal(10,2)": ["-99999999.99", "0.00", "0.01", "99999999.99", None],
        "decimal(20,8)": ["0.00000001", "-0.00000001", "999999999999.99999999", "100", None],
        "decimal(38,0)": ["9" * 38, "-" + "9" * 38, "0", None],
        "decimal(38,30)": ["99999999." + "9" * 30, "0." + "0" * 29 + "1", None],
        "decimal(39,0)": ["9" * 39, "-1", None],
        "decimal(65,0)": ["9" * 65, "-" + "9" * 65, "1" + "0" * 64, None],
        "decimal(65,30)": [f"{'9' * 35}.{'9' * 30}", f"0.{'0' * 29}1", "100000", "0", None],
        "decimal(10,2) unsigned": ["0", "99999999.99", None],
    },
    "types_double": {
        "double": [
            "1.7976931348623157e308", "-1.7976931348623157e308", "2.2250738585072014e-308",
            "5e-324", "9007199254740993", "0.1", "1e22", "1e-10", "0", "123456789.123456789", None,
        ],
        "double unsigned": ["0", "1e300", None],
        "double(20,5)": ["123456789012345.12345", "-0.00001", None],
    },
    "types_float": {
        "float": [
            "3.402823466e38", "-3.402823466e38", "1.175494351e-38", "1.4e-45", "16777216", "0.1",
            "-0.0001234567", "1e6", "123456.7", "0", None,
        ],
        "float unsigned": ["0", "3.4e38", None],
        "float(7,4)": ["999.9999", "-0.0001", None],
        "float(10,2)": ["12345678.91", "0.01", None],
    },
    "types_year": {"year": ["1901", "2155", "1970", "2000", "2069", None]},
    "types_date": {
        "date": [
            "1000-01-01", "9999-12-31", "1582-10-04", "1582-10-15", "1969-12-31", "1970-01-01",
            "2024-02-29", "0001-01-01", None,
        ],
        "datetime": MOMENTS,
        **{f"datetime({digits})": fractions(MOMENTS, digits) for digits in range(1, 7)},
        "timestamp null": INSTANTS,
        **{f"timestamp({digits}) null": fractions(INSTANTS, digits) for digits in range(1, 7)},
    },
    "types_text": {
        "char(10)": ["", "abc", "é€😀", "  lead", "trail  ", None],
        "varchar(200)": ["", "x" * 200, ODD_TEXT, "trail  ", " ", None],
        "varchar(50) collate utf8mb4_bin": [ODD_TEXT, "A", "a", None],
        "tinytext": ["", ODD_TEXT, None], "text": ["", "y" * 16000, ODD_TEXT, None],
        "mediumtext": ["z" * 70000, ODD_TEXT, None], "longtext": ["😀" * 1000, None],
        "enum('a','b','it''s','','A B')": ["a", "b", "it's", "", "A B", None],
        "set('a','b','c d','e''f')": ["", "a", "a,c d", "a,b,c d,e'f", "e'f", None],
    },
    "types_charset": {
        **{f"varchar(50) character set {name}": [*every_byte(code), "", None]
           for name, code in (("latin1", "cp1252"), ("latin2", "iso8859_2"), ("cp1251", "cp1251"))},
        **{f"varchar(50) character set {name}": ["é漢€ÿ", "", None]
           for name in ("utf8", "ucs2", "utf16", "utf32")},
        "varchar(50) character set ascii": ["az~ ", "", None],
        "char(20) character set latin1": ["éÿ€", None],
        "enum('é','b') character set latin1": ["é", "b", None],
    },
    "types_binary": {
        "binary(1)": [b"\0", b"\xff", b" ", None],
        "binary(4)": [b"\0\0\0\0", b"a\0\0\0", b"ab c", b"\xff\xfe\0\x01", b"a   ", None],
        "binary(255)": [b"x" * 255, b"", None],
        "varbinary(50)": [b"", b"\0", b"a\0\0", b"  ", bytes(range(50)), b"\xff" * 50, None],
        "tinyblob": [b"\0", None], "blob": [b"", bytes(range(256)), None],
        "mediumblob": [b"q" * 70000, None], "longblob": [b"\x80\x81", None],
    },
}  # fmt: skip
KEYS = "types_keys"
KEYS_TABLE = (
    f"create table {KEYS} (a bigint unsigned, b datetime(6), c varchar(20), d decimal(10,2),"
    " v int, primary key (c, a, b, d)) charset utf8mb4 collate utf8mb4_general_ci"
)


@dataclass(frozen=True)
class Differing:
    """One value that is not the same on both sides."""

    column_type: str
    phase: str
    source: str
    target: str | None


def shown(name: str, column_type: str) -> str:
    """Return an expression for a text that shows each bit of a column."""
    kind = MySqlType.parse(
        Column(name, "", column_type.split(" character set", maxsplit=1)[0])
    ).base
    if kind == "bit":
        return f"ifnull(hex({name} + 0), 'NULL')"
    if kind == "double":
        return f"ifnull(concat({name} * 1.0e0), 'NULL')"
    if kind in {"char", "varchar", "enum", "set"} or kind.endswith("text"):
        return f"ifnull(hex(convert({name} using utf8mb4)), 'NULL')"
    if kind.endswith(("binary", "blob")):
        return f"ifnull(hex({name}), 'NULL')"
    return f"ifnull(cast({name} as char), 'NULL')"


def as_shown(column_type: str, value: object) -> object:
    """Return a target's FLOAT as the source shows it, any other value as it is."""
    kind = MySqlType.parse(Column("", "", column_type))
    return shown_float(kind, value) if kind.base == "float" and value is not None else value


def executed(login: Login, *statements: str) -> Sequence[tuple[object, ...]]:
    """Run statements and return the last one's rows."""
    with closing(login.connect(timeout_seconds=30)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall())


def create(source: Login, name: str, group: Group) -> None:
    """Create a table with one column for each type of a group."""
    columns = ", ".join(f"c{index} {kind}" for index, kind in enumerate(group))
    executed(
        source,
        f"drop table if exists {name}",
        f"create table {name} (id int primary key, {columns}) charset utf8mb4",
    )


def insert(source: Login, first_id: int, groups: Mapping[str, Group] = GROUPS) -> None:
    """Insert the values of all groups: row by row the next value of each column, then the last."""
    with closing(source.connect(timeout_seconds=30)) as connection, connection.cursor() as cursor:
        cursor.execute("set sql_mode = 'STRICT_ALL_TABLES'")
        for name, group in groups.items():
            for row in range(max(len(values) for values in group.values())):
                values = [column[min(row, len(column) - 1)] for column in group.values()]
                places = ", ".join(["%s"] * (len(values) + 1))
                cursor.execute(f"insert into {name} values ({places})", [first_id + row, *values])


def insert_zero_year(source: Login) -> None:
    """Insert the year that only the stream reads as it is."""
    executed(source, f"insert into types_year (id, c0) values ({STREAM_ROWS_FROM + 500}, '0000')")


def differences(stage: Stage) -> list[Differing]:
    """Compare all groups on both sides."""
    found: list[Differing] = []
    for name, group in GROUPS.items():
        texts = ", ".join(shown(f"c{index}", kind) for index, kind in enumerate(group))
        query = f"select id, {texts} from {name} order by id"
        ours = {row[0]: row[1:] for row in executed(stage.target, query)}
        for number, *wanted in executed(stage.source, query):
            row = ours.get(number) or [None] * len(wanted)
            phase = "snapshot" if int(str(number)) < STREAM_ROWS_FROM else "stream"
            found += [
                Differing(kind, phase, str(left), None if right is None else str(right))
                for kind, left, right in zip(group, wanted, row, strict=True)
                if left != right
            ]
    return found


def engine_of(stage: Stage) -> tuple[FlinkEngine, MySqlSource, MySqlTarget]:
    """Return an engine with the real adapters on the lab."""
    state, cdc = stage.state, stage.state.accounts["cdc"]
    source = MySqlSource(Server(stage.source.host, stage.source.port), cdc.user, cdc.password)
    there = stage.target
    server = Server(there.host, there.port)
    target = MySqlTarget(server, there.database, there.user, there.password)
    flink = state.services["jobmanager"]
    gateway = state.services["sql-gateway"]
    engine = FlinkEngine(
        client=FlinkClient(f"http://{flink.host}:{flink.port}"),
        gateway=SqlGateway(f"http://{gateway.host}:{gateway.port}"),
        folders=StateFolders(
            (stage.home / "flink" / "checkpoints").as_uri(),
            (stage.home / "flink" / "savepoints").as_uri(),
        ),
        source=source,
        target=target,
        render=StreamRenderer(
            SourceAccess(cdc.user, cdc.password),
            MySqlSink(server, there.database, there.user, there.password),
        ),
        clock=SystemClock(),
    )
    return engine, source, target


def wait_for_stream(engine: FlinkEngine, job_id: str, *, readers: int) -> None:
    """Wait until the snapshot phase is over."""
    running = engine.wait_running(job_id, budget_seconds=90)
    assert running.state == "RUNNING", running.failure
    until = time.monotonic() + 90
    view = engine.checkpoint(job_id, budget_seconds=60)
    while view.snapshot_running or len(view.splits) < readers:
        assert time.monotonic() < until, "the snapshot phase did not end"
        time.sleep(0.5)
        view = engine.checkpoint(job_id, budget_seconds=60)


def settle(stage: Stage, engine: FlinkEngine, job_id: str) -> None:
    """Wait until both sides hold the same numbers of rows and the writer has flushed."""
    until = time.monotonic() + 60
    names = [*GROUPS, KEYS]
    counts = " union all ".join(f"select '{name}', count(*) from {name}" for name in names)
    while executed(stage.source, counts) != executed(stage.target, counts):
        view = engine.job(job_id)
        assert view.state == "RUNNING", view.failure
        assert time.monotonic() < until, "the target does not follow"
        time.sleep(0.5)
    engine.checkpoint(job_id, budget_seconds=60)


@pytest.fixture
def carried_twice(played: Played) -> Iterator[Stage]:
    """Carry each value through the snapshot, and each once more through the stream."""
    stage = played.stage
    engine, source, target = engine_of(stage)
    names = (*GROUPS, KEYS)
    spec = StreamSpec(
        "types",
        tuple(TableRef(stage.source.database, name) for name in names),
        ServerIdRange(9100, 9199),
        stage.target.database,
    )
    job_id = uuid.uuid4().hex
    try:
        for name, group in GROUPS.items():
            create(stage.source, name, group)
        insert(stage.source, 1)
        first_keys(stage.source)
        for shape in source.shapes(source.endpoint, spec.tables):
            executed(
                stage.target,
                f"drop table if exists {shape.name}",
                create_table_sql(shape, stage.target.database, shape.name),
            )
        engine.launch(Launch(job_id, "types", spec, source.endpoint))
        planned = plan_readers(spec, source.shapes(source.endpoint, spec.tables))
        wait_for_stream(engine, job_id, readers=len(planned))
        insert(stage.source, STREAM_ROWS_FROM)
        insert_zero_year(stage.source)
        changed_keys(stage.source)
        settle(stage, engine, job_id)
        yield stage
    finally:
        engine.cancel(job_id, budget_seconds=60)
        drop = f"drop table if exists {', '.join(names)}"
        executed(stage.source, drop)
        executed(stage.target, drop)
        assert target.existing(names) == {}


def first_keys(source: Login) -> None:
    """Write rows with a composite key of several types."""
    executed(
        source,
        f"drop table if exists {KEYS}",
        KEYS_TABLE,
        f"insert into {KEYS} values"
        " (18446744073709551615, '2024-01-01 00:00:00.000001', 'Ä', 1.10, 1),"
        " (1, '9999-12-31 23:59:59.999999', 'b', -0.01, 2), (2, '2024-01-01', 'c', 0, 3)",
    )


def changed_keys(source: Login) -> None:
    """Update, delete and change the key."""
    executed(
        source,
        f"update {KEYS} set v = 10 where c = 'Ä'",
        f"delete from {KEYS} where c = 'b'",
        f"update {KEYS} set a = 18446744073709551614, b = '2025-01-01' where c = 'c'",
        f"insert into {KEYS} values (0, '1000-01-01', 'new', 99999999.99, 4)",
    )


def test_each_type_is_right_in_snapshot_and_in_stream(carried_twice: Stage) -> None:
    """All types in one job; what differs is listed by type and phase."""
    assert differences(carried_twice) == []
    query = f"select * from {KEYS} order by c"
    assert executed(carried_twice.target, query) == executed(carried_twice.source, query)
