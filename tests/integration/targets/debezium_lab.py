"""A lab with a Kafka broker and a Connect worker, and the parts of a stream through it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cdc_assets import (
    KafkaConnectResource,
    KafkaTargetResource,
    LedgerResource,
    MySqlResource,
    RdsResource,
    StreamSpec,
)
from cdc_assets.core.columns import TableShape
from cdc_assets.lab.connect_server import NAME, history_folder, start
from cdc_assets.lab.dagster_services import environment
from cdc_assets.lab.debezium_rows import DebeziumRows
from cdc_assets.lab.kafka_server import TOPIC_PREFIX, access_of
from cdc_assets.lab.lab import down, up
from cdc_assets.lab.source_server import ServerKind
from cdc_assets.lab.stage import Stage
from cdc_assets.operations.runtime import Budgets
from cdc_assets.targets.kafka import KafkaTarget
from cdc_assets.targets.kafka_client import KafkaClient
from cdc_assets.wiring import StreamWiring

BUDGETS = Budgets(launch_seconds=60.0, drain_seconds=60.0, reconcile_seconds=30.0)


@dataclass(frozen=True)
class DebeziumLab:
    """A running lab with a broker and a worker."""

    stage: Stage

    @property
    def connect_url(self) -> str:
        """Return where the worker answers."""
        worker = self.stage.state.service(NAME)
        return f"http://{worker.host}:{worker.port}"

    @property
    def environment(self) -> Mapping[str, str]:
        """Return what a deployment reads from the environment."""
        return environment(self.stage.state)

    def wiring(self, spec: StreamSpec, **source: object) -> StreamWiring:
        """Return a stream on a ledger of its own."""
        stage, state = self.stage, self.stage.state
        cdc, writer = state.accounts["cdc"], state.accounts["cdc_writer"]
        login: dict[str, object] = {
            "host": stage.source.host, "port": stage.source.port,
            "username": cdc.user, "password": cdc.password, **source,
        }  # fmt: skip
        broker = access_of(state.service("kafka"), writer)
        return StreamWiring(
            spec=spec,
            source=MySqlResource(**login),
            target=KafkaTargetResource(
                bootstrap_servers=broker.servers,
                topic_prefix=TOPIC_PREFIX,
                security_protocol=broker.protocol,
                username=broker.username,
                password=broker.password,
                create_topics=True,
            ),
            flink=None,
            worker=KafkaConnectResource(
                rest_url=self.connect_url, history_directory=str(history_folder(state.home))
            ),
            ledger=LedgerResource(url=f"sqlite:///{stage.home}/debezium-{spec.name}.db"),
            rds=None
            if source
            else RdsResource(
                instance="lab-mysql",
                region="us-east-1",
                endpoint_url=self.environment["CDC_RDS_ENDPOINT_URL"],
            ),
            budgets=BUDGETS,
        )

    def target(self) -> KafkaTarget:
        """Return the topics as the application sees them."""
        access = access_of(self.stage.state.service("kafka"), self.stage.state.accounts["app"])
        return KafkaTarget(KafkaClient(access, 5.0, 30.0), TOPIC_PREFIX)

    def rows(self, shapes: Mapping[str, TableShape]) -> DebeziumRows:
        """Return what topics stand for."""
        return DebeziumRows(self.target(), shapes)


@contextmanager
def debezium_lab(home: Path, source: ServerKind) -> Generator[DebeziumLab]:
    """Start a lab, a broker and a worker; everything is stopped at the end."""
    try:
        up(home, source, "kafka")
        start(home)
        yield DebeziumLab(Stage(home))
    finally:
        down(home)
