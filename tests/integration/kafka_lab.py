"""A lab with a Kafka broker, and the parts of a stream into it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cdc_assets import (
    FlinkResource,
    KafkaTargetResource,
    LedgerResource,
    MySqlResource,
    StreamSpec,
)
from cdc_assets.core.kafka import KafkaAccess
from cdc_assets.lab import flink_cluster
from cdc_assets.lab import lab as lab_module
from cdc_assets.lab.cache import Cache
from cdc_assets.lab.free_ports import take_ports
from cdc_assets.lab.home import update_state
from cdc_assets.lab.kafka_server import (
    FLINK_JARS,
    PACKAGE_GROUP,
    TOPIC_PREFIX,
    KafkaPorts,
    access_of,
    create_accounts,
    prepare,
    service,
)
from cdc_assets.lab.lab import down, start_service, up
from cdc_assets.lab.packages import load_packages
from cdc_assets.lab.plan import package_groups
from cdc_assets.lab.source_server import ServerKind
from cdc_assets.lab.stage import Stage
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.targets.kafka import KafkaTarget, TopicPolicy
from cdc_assets.targets.kafka_client import KafkaClient
from cdc_assets.wiring import StreamWiring


@dataclass(frozen=True)
class KafkaLab:
    """A running lab with a broker."""

    stage: Stage

    def access(self, role: str) -> KafkaAccess:
        """Return how a role reaches the broker."""
        state = self.stage.state
        return access_of(state.services["kafka"], state.accounts[role])

    def target(
        self,
        role: str = "cdc_writer",
        prefix: str = TOPIC_PREFIX,
        policy: TopicPolicy | None = None,
    ) -> KafkaTarget:
        """Return the adapter."""
        return KafkaTarget(KafkaClient(self.access(role), 5.0, 10.0), prefix, policy=policy)

    def resource(self, **more: object) -> KafkaTargetResource:
        """Return the target as a deployment writes it."""
        access = self.access("cdc_writer")
        settings: dict[str, object] = {
            "bootstrap_servers": access.servers,
            "topic_prefix": TOPIC_PREFIX,
            "security_protocol": access.protocol,
            "username": access.username,
            "password": access.password,
            "create_topics": True,
            **more,
        }
        return KafkaTargetResource(**settings)

    def wiring(self, spec: StreamSpec, **target: object) -> StreamWiring:
        """Return a stream on the lab's own ledger."""
        state, stage = self.stage.state, self.stage
        cdc = state.accounts["cdc"]
        flink, gateway = state.services["jobmanager"], state.services["sql-gateway"]
        return StreamWiring(
            spec=spec,
            source=MySqlResource(
                host=stage.source.host, port=stage.source.port,
                username=cdc.user, password=cdc.password,
            ),
            target=self.resource(**target),
            flink=FlinkResource(
                rest_url=f"http://{flink.host}:{flink.port}",
                sql_gateway_url=f"http://{gateway.host}:{gateway.port}",
                checkpoint_directory=(stage.home / "flink" / "checkpoints").as_uri(),
                savepoint_directory=(stage.home / "flink" / "savepoints").as_uri(),
            ),
            ledger=LedgerResource(url=f"sqlite:///{stage.home}/kafka-{spec.name}.db"),
        )  # fmt: skip

    def runtime(self, spec: StreamSpec, **target: object) -> StreamRuntime:
        """Return the connected stream."""
        return self.wiring(spec, **target).connect().runtime


@contextmanager
def kafka_lab(home: Path, source: ServerKind) -> Generator[KafkaLab]:
    """Start a lab and a broker on it; everything is stopped at the end."""
    patch = pytest.MonkeyPatch()
    groups = [*package_groups(source), PACKAGE_GROUP]
    patch.setattr(flink_cluster, "_CONNECTORS", (*flink_cluster._CONNECTORS, *FLINK_JARS))
    patch.setattr(lab_module, "package_groups", lambda _: groups)
    try:
        state = up(home, source).state
        cache = Cache(state.cache)
        cache.ensure(load_packages([PACKAGE_GROUP]))
        ports = KafkaPorts(*take_ports(cache.root, 2))
        prepare(home, cache, ports, state.accounts)
        broker = service(home, cache, ports)
        update_state(home, lambda now: now.with_service(broker))
        start_service(home, "kafka")
        create_accounts(broker, state.accounts)
        yield KafkaLab(Stage(home))
    finally:
        patch.undo()
        down(home)
