"""Topics as a target: what is said of them, and how live keys are counted."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_assets import KafkaTargetResource
from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.kafka import KafkaAccess
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.engines import sink_of
from cdc_assets.errors import ConfigurationError, TargetError, TargetUnreachable
from cdc_assets.lab.kafka_rows import KafkaRows
from cdc_assets.targets.kafka import KafkaTarget, TopicPolicy
from cdc_assets.targets.kafka_client import Cluster, KafkaClient, Placed, Record, TopicLayout
from cdc_assets.targets.kafka_keys import KeyBound, LiveKeys, read_moment
from cdc_assets.targets.kafka_topics import TopicFacts, TopicRules, judge_topic

ACCESS = KafkaAccess("kafka.example:9092")
RULES = TopicRules("kafka.example:9092", account="writer")
COMPACT = {"cleanup.policy": "compact", "min.insync.replicas": "1"}
GOOD = TopicFacts("t", partitions=2, replicas=1, in_sync=1, settings=COMPACT)
# MySQL's own have no time zone.
MOMENT = datetime(2024, 1, 2, 3, 4, 5, 600000)  # noqa: DTZ001 - see above
ALL = ("ALTER", "DESCRIBE", "DESCRIBE_CONFIGS", "READ", "WRITE")


@dataclass
class FakeCluster(KafkaClient):
    """A cluster of one broker, in memory."""

    topics: dict[str, list[Record]] = field(default_factory=dict)
    refused_transactions: str = ""
    silent: bool = False
    made: list[tuple[str, int | None, Mapping[str, str]]] = field(default_factory=list)
    access: KafkaAccess = ACCESS

    def cluster(self) -> Cluster:
        if self.silent:
            raise TargetUnreachable("target kafka.example:9092: refused", hint="look")
        return Cluster(1, {name: TopicLayout((0,), 1, 1) for name in self.topics})

    def operations(self, topics: Sequence[str]) -> dict[str, tuple[str, ...] | None]:
        return dict.fromkeys(topics, ALL)

    def settings(self, topics: Sequence[str]) -> dict[str, dict[str, str]]:
        return dict.fromkeys(topics, COMPACT)

    def create(
        self,
        topics: Sequence[str],
        *,
        partitions: int | None,
        replication: int | None,
        settings: Mapping[str, str],
    ) -> None:
        assert replication is None
        for topic in topics:
            self.topics[topic] = []
            self.made.append((topic, partitions, settings))

    def try_transactions(self, transactional_id: str, milliseconds: int) -> str:
        assert transactional_id == "cdc-s-preflight"
        assert milliseconds == 900_000
        return self.refused_transactions

    def placed(self, topic: str, deadline: float) -> Generator[Placed]:
        assert deadline > 0
        # Every second offset is a mark of a transaction.
        for number, record in enumerate(self.topics[topic]):
            yield 0, 2 * number, *record

    def ends(self, topic: str) -> dict[int, int]:
        return {0: 2 * len(self.topics[topic])}


def spec(*names: str) -> StreamSpec:
    tables = tuple(TableRef("shop", name) for name in names)
    return StreamSpec("s", tables, ServerIdRange(1, 9), "dw.", target_kind="kafka")


def test_a_missing_topic_is_told_with_the_command_that_makes_it() -> None:
    cluster = FakeCluster()
    target = KafkaTarget(cluster, "dw.")
    fault = target.faults(spec("orders"), {})[0]
    assert fault.field == "dw.shop.orders"
    assert fault.fix.startswith(
        "kafka-topics.sh --bootstrap-server kafka.example:9092 --create --topic dw.shop.orders"
        " --config cleanup.policy=compact"
    )
    with pytest.raises(ConfigurationError, match=r"dw\.shop\.orders"):
        target.shapes(["shop.orders"])


def test_a_snapshot_makes_missing_topics_where_it_may() -> None:
    cluster = FakeCluster(topics={"dw.shop.orders": []})
    policy = TopicPolicy(creates=True, partitions=3, settings={"segment.ms": "1000"})
    target = KafkaTarget(cluster, "dw.", policy=policy)
    wanted = spec("orders", "users")
    assert target.faults(wanted, {})[0].severity == "warning"  # orders has one partition
    assert target.make_missing(wanted, ()) == ["dw.shop.users"]
    assert cluster.made == [
        ("dw.shop.users", 3, {"cleanup.policy": "compact", "segment.ms": "1000"})
    ]
    assert target.make_missing(wanted, ()) == []
    shapes = target.shapes(wanted.target_names)
    assert [(shape.name, shape.columns) for shape in shapes] == [
        ("shop.orders", ()), ("shop.users", ()),
    ]  # fmt: skip
    assert KafkaTarget(cluster, "x.").make_missing(wanted, ()) == ()


def test_a_topic_that_kafka_takes_for_the_same_is_told_before_anything_is_made() -> None:
    cluster = FakeCluster(topics={"dw.shop_orders": []})
    fault = KafkaTarget(cluster, "dw.", policy=TopicPolicy(creates=True)).faults(spec("orders"), {})
    assert "dw.shop_orders" in fault[0].found


def test_silence_is_one_fault_and_no_error() -> None:
    faults = KafkaTarget(FakeCluster(silent=True), "dw.").faults(spec("orders"), {})
    assert [fault.field for fault in faults] == ["target.bootstrap_servers"]


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ("INVALID_TRANSACTION_TIMEOUT", "target.transaction_timeout"),
        ("TRANSACTIONAL_ID_AUTHORIZATION_FAILED", "target.grants"),
        ("_TIMED_OUT", "target.transactions"),
    ],
)
def test_transactions_that_cannot_begin_are_told(said: str, field: str) -> None:
    cluster = FakeCluster(topics={"dw.shop.orders": []}, refused_transactions=said)
    assert [f.field for f in KafkaTarget(cluster, "dw.").faults(spec("orders"), {})] == [field]
    policy = TopicPolicy(delivery="at-least-once")
    assert KafkaTarget(cluster, "dw.", policy=policy).faults(spec("orders"), {}) == []


@pytest.mark.parametrize(
    ("topic", "rules", "field", "severity"),
    [
        ({"settings": {"cleanup.policy": "delete"}}, {}, "t.cleanup.policy", "error"),
        ({"settings": {"cleanup.policy": "compact,delete"}}, {}, "t.cleanup.policy", "error"),
        ({"operations": ("DESCRIBE", "READ")}, {}, "target.grants", "error"),
        ({}, {"partitions": 3}, "t.partitions", "warning"),
        (
            {"settings": {**COMPACT, "min.insync.replicas": "2"}}, {},
            "t.min.insync.replicas", "error",
        ),
        (
            {"replicas": 3, "settings": {**COMPACT, "min.insync.replicas": "2"}}, {"brokers": 3},
            "t.replicas", "error",
        ),
        ({}, {"brokers": 3}, "t.replicas", "warning"),
        ({"replicas": 3, "in_sync": 3}, {"brokers": 3}, "t.min.insync.replicas", "warning"),
        ({"exists": False}, {}, "t", "error"),
        (
            {"exists": False}, {"creates": True, "replication": 3},
            "target.replication_factor", "error",
        ),
    ],
)  # fmt: skip
def test_each_fault_of_a_topic_has_its_field(
    topic: dict[str, object], rules: dict[str, object], field: str, severity: str
) -> None:
    facts = TopicFacts(**{**GOOD.__dict__, **topic})
    found = list(judge_topic(facts, TopicRules(**{**RULES.__dict__, **rules})))
    assert [(fault.field, fault.severity) for fault in found] == [(field, severity)]
    assert found[0].fix


def test_a_good_topic_has_no_fault() -> None:
    assert list(judge_topic(GOOD, RULES)) == []
    # Brokers without an authorizer say nothing of rights.
    assert list(judge_topic(TopicFacts(**{**GOOD.__dict__, "operations": None}), RULES)) == []


@pytest.mark.parametrize(
    ("kept", "deleted"),
    [
        ({"before": None, "after": {"id": 1}, "op": "c"}, {"before": {}, "after": None, "op": "d"}),
        ({"old": None, "data": [{"id": 1}], "type": "UPDATE"}, {"data": [{}], "type": "DELETE"}),
        ({"schema": {}, "payload": {"op": "u"}}, {"schema": {}, "payload": {"op": "d"}}),
    ],
)
def test_in_a_topic_of_change_events_a_delete_is_an_event(
    kept: dict[str, object], deleted: dict[str, object]
) -> None:
    there, gone = json.dumps(kept).encode(), json.dumps(deleted).encode()
    keys = [json.dumps({"TableId": "a.b", "id": number}).encode() for number in (1, 2, 2, 3)]
    rows: list[Record] = list(zip(keys, (there, there, gone, there), strict=True))
    plain = KafkaTarget(FakeCluster(topics={"t": rows}))
    events = plain.of_change_events()
    assert (plain.count("t", timeout_seconds=1), events.count("t", timeout_seconds=1)) == (3, 2)
    assert events.count("t", timeout_seconds=1, key=("id",), bound=(1,)) == 1


@pytest.mark.parametrize("value", [b"plain", b"[]", b'{"id":1}', b"1"])
def test_a_record_that_is_no_change_event_is_told(value: bytes) -> None:
    target = KafkaTarget(FakeCluster(topics={"t": [(b"k", value)]})).of_change_events()
    with pytest.raises(TargetError, match="no change event"):
        target.count("t", timeout_seconds=1)


def record(key: object, value: object = "v") -> Record:
    return json.dumps({"id": key}).encode(), None if value is None else b"{}"


def test_the_latest_record_of_a_key_decides_whether_it_counts() -> None:
    rows = [record(1), record(2), record(1), record(2, None), record(3), record(4, None)]
    target = KafkaTarget(FakeCluster(topics={"t": rows}))
    assert target.count("t", timeout_seconds=1) == 2
    assert target.count("t", timeout_seconds=1, key=("id",), bound=(2,)) == 1
    assert target.count("t", timeout_seconds=1, key=("id",), bound=(0,)) == 0


def test_a_count_says_how_far_records_were_read_and_below_the_high_watermark() -> None:
    rows = [record(3), record(1), record(9, None)]
    target = KafkaTarget(FakeCluster(topics={"dw.t": rows, "dw.u": []}), "dw.")
    found = target.live("t", timeout_seconds=1, key=("id",), bound=(1,))
    assert (found.count, found.ends) == (1, {0: 5})
    assert target.high_watermarks(["t", "u"]) == {"t": {0: 6}, "u": {0: 0}}
    assert target.live("u", timeout_seconds=1).ends == {}


def test_the_largest_key_is_the_largest_of_all_records() -> None:
    target = KafkaTarget(FakeCluster(topics={"t": [record(3), record(9, None)], "u": [],
                                             "v": [record("a")]}))  # fmt: skip
    assert target.max_key("t", ("id",), timeout_seconds=1) == (9,)
    assert target.max_key("u", ("id",), timeout_seconds=1) is None
    with pytest.raises(TargetError, match="not JSON with id"):
        target.max_key("v", ("id",), timeout_seconds=1)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 30), st.booleans())), st.integers(1, 40))
def test_a_count_is_the_same_in_memory_and_on_disk(
    changes: list[tuple[int, bool]], limit: int
) -> None:
    alive: dict[int, bool] = {}
    with closing(LiveKeys(limit)) as live:
        for key, lives in changes:
            live.see(b"%d" % key * 20, alive=lives)
            alive[key] = lives
        assert live.count() == sum(alive.values())


def test_many_keys_go_to_a_file_that_goes_away() -> None:
    with closing(LiveKeys(limit=100)) as live:
        for key in range(250):
            live.see(b"%d" % key, alive=True)
        live.see(b"7", alive=False)
        assert live.is_on_disk
        assert live.count() == 249


@pytest.mark.parametrize(
    ("bound", "below", "above"),
    [
        ((10,), 10, 11),
        ((Decimal("1.10"),), Decimal("1.1"), Decimal("1.11")),
        ((18446744073709551615,), 18446744073709551615, 18446744073709551616),
        ((date(2024, 1, 2),), "2024-01-02", "2024-01-03"),
        ((MOMENT,), "2024-01-02 03:04:05.6",
         "2024-01-02 03:04:05.600001"),
    ],
)  # fmt: skip
def test_a_bound_compares_as_mysql_does(bound: tuple[object], below: object, above: object) -> None:
    def key(value: object) -> bytes:
        return (
            f'{{"k":{value}}}'.encode()
            if isinstance(value, Decimal)
            else json.dumps({"k": value}).encode()
        )

    upto = KeyBound(("k",), bound)
    assert upto.holds(key(below))
    assert not upto.holds(key(above))


def test_a_composite_bound_compares_in_key_order() -> None:
    upto = KeyBound(("b", "a"), (2, 5))
    assert upto.holds(b'{"a":9,"b":1}')
    assert upto.holds(b'{"a":5,"b":2}')
    assert not upto.holds(b'{"a":6,"b":2}')


@pytest.mark.parametrize("value", ["a", b"a", None, 1.5, True])
def test_a_bound_of_text_is_refused_because_its_order_is_a_collation(value: object) -> None:
    with pytest.raises(TargetError, match="without a bound"):
        KeyBound(("k",), (value,))


@pytest.mark.parametrize("key", [b"", b"7", b"[]", b'{"x":1}', b'{"k":"one"}', b"\xff"])
def test_a_key_of_another_writer_is_told(key: bytes) -> None:
    with pytest.raises(TargetError, match="not JSON"):
        KeyBound(("k",), (1,)).holds(key)


def test_moments_are_read_whatever_their_digits() -> None:
    assert read_moment("0001-01-01 00:00:00") == datetime(1, 1, 1)  # noqa: DTZ001 - MySQL's own
    assert read_moment("2024-01-01 00:00:00.000001Z").microsecond == 1
    assert read_moment("2024-01-01 00:00:00.9").microsecond == 900000


def test_a_topic_reads_back_as_the_source_returns_it() -> None:
    shape = TableShape(
        "shop",
        "orders",
        (
            Column("id", "bigint", "bigint(20) unsigned"), Column("d", "decimal", "decimal(10,2)"),
            Column("b", "bit", "bit(1)"), Column("v", "varbinary", "varbinary(5)"),
            Column("on", "date", "date"), Column("t", "varchar", "varchar(5)"),
            Column("x", "double", "double"),
        ),
        ("id",),
    )  # fmt: skip
    value = {"id": 1, "d": 12.5, "b": True, "v": "AP8=", "on": "2024-02-29", "t": None, "x": 1e300}
    rows = [(b'{"id":1}', b"{}"), (b'{"id":1}', json.dumps(value).encode()), record(2, None)]
    target = KafkaTarget(FakeCluster(topics={"shop.orders": rows}))
    assert KafkaRows(target, {"shop.orders": shape}).rows("shop.orders") == {
        (1,): (1, Decimal("12.50"), b"\x01", b"\x00\xff", date(2024, 2, 29), None, 1e300)
    }


def test_the_resource_reads_certificates_and_shows_no_secret(tmp_path: Path) -> None:
    pem = tmp_path / "client.pem"
    key = "-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----\n"
    chain = "-----BEGIN CERTIFICATE-----\nmine\n-----END CERTIFICATE-----\n"
    pem.write_text(key + chain)
    resource = KafkaTargetResource(
        bootstrap_servers="k:1", security_protocol="SASL_SSL", username="u", password="hush-2",
        client_pem_file=str(pem), topic_prefix="dw.", topic_settings={"segment.ms": "1"},
    )  # fmt: skip
    access = resource.access()
    assert (access.certificate, access.key) == (chain, key)
    assert set(resource.secret_values()) == {"hush-2", key}
    assert "hush" not in repr(resource.get_client()) + repr(sink_of(resource))
    with pytest.raises(ConfigurationError, match="ca_file"):
        KafkaTargetResource(bootstrap_servers="k:1", ca_file="/nowhere.pem").access()
