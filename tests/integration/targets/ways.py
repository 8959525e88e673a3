"""Ways: a stream into one kind of the lab's targets, connected as a deployment connects it."""

# ruff: noqa: S608 - the names are the tests' own

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.expressions import AlwaysTrue

from cdc_assets import (
    FlinkResource,
    IcebergTargetResource,
    KafkaTargetResource,
    LedgerResource,
    MySqlResource,
    MySqlTargetResource,
    PostgresTargetResource,
    RdsResource,
    StarRocksTargetResource,
    TargetResource,
)
from cdc_assets.core.recovery import Policy
from cdc_assets.core.stream import StreamSpec, TargetKind
from cdc_assets.lab import kafka_server, postgres_server, starrocks_server
from cdc_assets.lab.iceberg_rows import IcebergRows
from cdc_assets.lab.kafka_rows import KafkaRows
from cdc_assets.lab.postgres_rows import PostgresRows
from cdc_assets.lab.stage import Stage
from cdc_assets.lab.starrocks_rows import StarRocksRows
from cdc_assets.lab.state import LabState
from cdc_assets.lab.target_system import TARGET_DATABASE
from cdc_assets.lab.target_systems import target_system
from cdc_assets.lab.workload import Login
from cdc_assets.operations.runtime import Budgets, StreamRuntime
from cdc_assets.targets.iceberg import IcebergTarget
from cdc_assets.targets.kafka import KafkaTarget
from cdc_assets.wiring import StreamWiring
from tests.integration.test_types import executed

Rows = Mapping[object, tuple[object, ...]]


@dataclass
class Way:
    """A stream into one kind of target.

    Attributes:
        stage: The lab.
        rt: The stream.
    """

    stage: Stage
    rt: StreamRuntime

    @property
    def kind(self) -> TargetKind:
        return self.rt.spec.target_kind

    def at_source(self, *statements: str) -> None:
        executed(self.stage.source, *statements)

    def wanted(self, table: str) -> Rows:
        """Return a whole source table by its first column and its second."""
        return keyed(executed(self.stage.source, f"select * from {table}"))

    def at_target(self, *statements: str) -> None:
        """Run statements at the target as its administrator."""
        state = self.stage.state
        if self.kind == "postgres":
            port = state.service("postgres").port
            with postgres_server.connect("127.0.0.1", port, state.accounts["admin"]) as session:
                for statement in statements:
                    session.execute(statement.encode())
        elif self.kind == "starrocks":
            port = state.service(starrocks_server.NAME).port
            starrocks_server.execute(
                port,
                state.accounts["cdc_writer"],
                f"USE {starrocks_server.DATABASE}",
                *statements,
            )
        elif self.kind == "iceberg":
            target = self.rt.target
            assert isinstance(target, IcebergTarget)
            for statement in statements:
                target.alter(statement)
        elif self.kind == "kafka":
            assert not statements  # a topic has no columns
        else:
            server = state.servers["target"]
            login = Login(server.host, server.port, server.admin_user, server.admin_password,
                          TARGET_DATABASE)  # fmt: skip
            executed(login, *statements)

    def grant(self, right: str) -> None:
        """Give the writer a right to the namespace; other targets' writers have it."""
        writer = self.stage.state.accounts["cdc_writer"].user
        if self.kind == "postgres":
            self.at_target(f"grant {right} on schema public to {writer}")
        elif self.kind == "mysql":
            self.at_target(f"grant {right}, alter on {TARGET_DATABASE}.* to '{writer}'@'%'")

    def landed(self, table: str) -> Rows:
        """Return a whole target table by its first column and its second."""
        state, writer = self.stage.state, self.stage.state.accounts["cdc_writer"]
        name, shapes = self._name(table), self.rt.source.shapes
        known = {
            each.target_name: shapes(self.rt.source.endpoint, [each])[0]
            for each in self.rt.spec.tables
            if each.name == table
        }
        found: Mapping[Any, tuple[object, ...]]
        if self.kind == "postgres":
            found = PostgresRows(state.service("postgres").port, writer).rows(name)
        elif self.kind == "kafka":
            assert isinstance(self.rt.target, KafkaTarget)
            found = KafkaRows(self.rt.target, known).rows(name)
        elif self.kind == "iceberg":
            assert isinstance(self.rt.target, IcebergTarget)
            found = IcebergRows(self.rt.target, known).rows(name)
        elif self.kind == "starrocks":
            found = StarRocksRows(state.service(starrocks_server.NAME).port, writer).rows(name)
        else:
            return keyed(executed(self.stage.target, f"select * from {name}"))
        return keyed(found.values())

    def empty(self, table: str) -> None:
        """Empty a target table as a person would."""
        if self.kind == "kafka":
            self._bury(self._name(table))
        elif self.kind == "iceberg":
            self._lake().load_table((self.rt.spec.target_database, table)).delete(AlwaysTrue())
        else:
            self.at_target(f"truncate table {table}")

    def drop(self, table: str) -> None:
        """Drop a target table, if it is there."""
        if self.kind == "kafka":
            admin: Any = AdminClient(self._broker("admin"))
            topic = self.rt.spec.target_label(self._name(table))
            if topic in admin.list_topics(timeout=10).topics:
                admin.delete_topics([topic])[topic].result(30)
        elif self.kind == "iceberg":
            place = (self.rt.spec.target_database, table)
            if self._lake().table_exists(place):
                self._lake().drop_table(place)
        else:
            self.at_target(f"drop table if exists {table}")

    def _name(self, table: str) -> str:
        return next(each.target_name for each in self.rt.spec.tables if each.name == table)

    def _bury(self, name: str) -> None:
        """Write a tombstone for each key of a topic."""
        assert isinstance(self.rt.target, KafkaTarget)
        keys = {key for key, _ in self.rt.target.records(name, timeout_seconds=60)}
        # As Flink's writer chooses partitions: elsewhere a tombstone says nothing of its key.
        producer = Producer({**self._broker("cdc_writer"), "partitioner": "murmur2_random"})
        for key in keys:
            producer.produce(self.rt.spec.target_label(name), None, key)
        assert producer.flush(30) == 0

    def _broker(self, role: str) -> dict[str, str | int | float | bool]:
        state = self.stage.state
        access = kafka_server.access_of(state.service("kafka"), state.accounts[role])
        return {
            "bootstrap.servers": access.servers,
            "security.protocol": access.protocol,
            "sasl.mechanism": access.mechanism,
            "sasl.username": access.username,
            "sasl.password": access.password,
        }

    def _lake(self) -> RestCatalog:
        uri = target_system("iceberg").environment(self.stage.state)["CDC_TARGET_URI"]
        return RestCatalog("lab", uri=uri)


def keyed(rows: Iterable[tuple[object, ...]]) -> Rows:
    return {row[:2]: tuple(row) for row in rows}


def target_of(state: LabState, kind: TargetKind) -> TargetResource:
    """Return the lab's target as a deployment writes it."""
    read = target_system(kind).environment(state)
    user, password = read.get("CDC_TARGET_USER", ""), read.get("CDC_TARGET_PASSWORD", "")
    if kind == "iceberg":
        return IcebergTargetResource(
            uri=read["CDC_TARGET_URI"], database=read["CDC_TARGET_DATABASE"]
        )
    if kind == "kafka":
        return KafkaTargetResource(
            bootstrap_servers=read["CDC_TARGET_BOOTSTRAP_SERVERS"],
            topic_prefix=read["CDC_TARGET_TOPIC_PREFIX"],
            security_protocol="SASL_PLAINTEXT",
            create_topics=True,
            username=user,
            password=password,
        )
    host, port = read["CDC_TARGET_HOST"], int(read["CDC_TARGET_PORT"])
    if kind == "starrocks":
        return StarRocksTargetResource(
            host=host,
            query_port=port,
            http_port=int(read["CDC_TARGET_HTTP_PORT"]),
            database=read["CDC_TARGET_DATABASE"],
            username=user,
            password=password,
        )
    resource = PostgresTargetResource if kind == "postgres" else MySqlTargetResource
    return resource(
        host=host,
        port=port,
        username=user,
        password=password,
        database=read["CDC_TARGET_DATABASE"],
    )


@contextmanager
def way_of(
    stage: Stage,
    spec: StreamSpec,
    ledger: Path,
    *,
    rds: RdsResource | None = None,
    policy: Policy | None = None,
    budgets: Budgets | None = None,
) -> Generator[Way]:
    """Connect a stream on a ledger of its own; its job is cancelled at the end."""
    state, folder = stage.state, stage.home / "flink"
    cdc = state.accounts["cdc"]
    flink, gateway = state.services["jobmanager"], state.services["sql-gateway"]
    wiring = StreamWiring(
        spec=spec,
        source=MySqlResource(
            host=stage.source.host,
            port=stage.source.port,
            username=cdc.user,
            password=cdc.password,
        ),
        target=target_of(state, spec.target_kind),
        flink=FlinkResource(
            rest_url=f"http://{flink.host}:{flink.port}",
            sql_gateway_url=f"http://{gateway.host}:{gateway.port}",
            checkpoint_directory=(folder / "checkpoints").as_uri(),
            savepoint_directory=(folder / "savepoints").as_uri(),
        ),
        ledger=LedgerResource(url=f"sqlite:///{ledger}"),
        rds=rds,
        policy=policy or Policy(),
        budgets=budgets or Budgets(),
    )
    rt = wiring.connect().runtime
    try:
        yield Way(stage, rt)
    finally:
        for each in rt.ledger.incarnations(rt.name):
            if rt.engine.job(each.job_id).state == "RUNNING":
                rt.engine.cancel(each.job_id, budget_seconds=60)
