"""KafkaSystem: a Kafka broker as the lab's target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cdc_assets.core.stream import TargetKind
from cdc_assets.lab import kafka_server
from cdc_assets.lab.cache import Cache
from cdc_assets.lab.kafka_landing import KafkaLanding
from cdc_assets.lab.kafka_server import KafkaPorts
from cdc_assets.lab.landing import Landing
from cdc_assets.lab.state import Account, LabState, Service
from cdc_assets.lab.target_system import TargetSystem


class KafkaSystem(TargetSystem):
    """One broker, with a login and rights of its own."""

    kind: TargetKind = "kafka"
    title = "Kafka 4.1"
    groups = (kafka_server.PACKAGE_GROUP,)
    jars = kafka_server.FLINK_JARS
    ports = 2
    service_names = ("kafka",)

    def services(
        self, home: Path, cache: Cache, ports: Sequence[int], accounts: Mapping[str, Account]
    ) -> list[Service]:
        """Return the broker."""
        del accounts
        return [kafka_server.service(home, cache, KafkaPorts(*ports))]

    def prepare(self, state: LabState) -> None:
        """Write the broker's settings and format its storage."""
        service = state.service("kafka")
        ports = KafkaPorts(service.port, service.control_port or 0)
        kafka_server.prepare(state.home, Cache(state.cache), ports, state.accounts)

    def make(self, state: LabState) -> None:
        """Grant the accounts what they need."""
        kafka_server.create_accounts(state.service("kafka"), state.accounts)

    def environment(self, state: LabState) -> Mapping[str, str]:
        """Return the broker's address and the writer's account."""
        broker, writer = state.service("kafka"), state.accounts["cdc_writer"]
        return {
            "CDC_TARGET_BOOTSTRAP_SERVERS": f"{broker.host}:{broker.port}",
            "CDC_TARGET_USER": writer.user,
            "CDC_TARGET_PASSWORD": writer.password,
            "CDC_TARGET_TOPIC_PREFIX": kafka_server.TOPIC_PREFIX,
        }

    def endpoint(self, state: LabState) -> Mapping[str, object]:
        """Return address, account and prefix."""
        broker, app = state.service("kafka"), state.accounts["app"]
        place = {"host": broker.host, "port": broker.port, "prefix": kafka_server.TOPIC_PREFIX}
        return {**place, "user": app.user, "password": app.password}

    def landing(self, state: LabState) -> Landing:
        """Return the topics as the application sees them."""
        access = kafka_server.access_of(state.service("kafka"), state.accounts["app"])
        return KafkaLanding(access)
