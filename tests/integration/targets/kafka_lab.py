"""A lab with a Kafka broker, and the parts of a stream into it."""

from __future__ import annotations

import ipaddress
import signal
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cdc_assets import (
    FlinkResource,
    KafkaTargetResource,
    LedgerResource,
    MySqlResource,
    StreamSpec,
)
from cdc_assets.core.kafka import KafkaAccess
from cdc_assets.lab.free_ports import take_ports
from cdc_assets.lab.kafka_server import (
    TOPIC_PREFIX,
    KafkaPorts,
    access_of,
    create_accounts,
)
from cdc_assets.lab.lab import down, kill_service, start_service, up
from cdc_assets.lab.source_server import ServerKind
from cdc_assets.lab.stage import Stage
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.targets.kafka import KafkaTarget, TopicPolicy
from cdc_assets.targets.kafka_client import KafkaClient
from cdc_assets.wiring import StreamWiring

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Secured:
    """A listener of the broker that asks for a certificate besides the login.

    Attributes:
        port: Of the listener.
        ca_file: Certificate authority of both sides.
        client_file: The client's certificate and key.
    """

    port: int
    ca_file: Path
    client_file: Path


@dataclass(frozen=True)
class KafkaLab:
    """A running lab with a broker."""

    stage: Stage
    secured: Secured

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


def secure_listener(home: Path, ports: KafkaPorts, port: int) -> Secured:
    """Add a listener with TLS to the broker's settings; of two equal names the last counts."""
    folder = home / "data" / "kafka"
    certificates(folder)
    file = folder / "server.properties"
    text = file.read_text()
    login = next(line for line in text.splitlines() if "sasl.jaas.config" in line).partition("=")[2]
    plain = f"CLIENTS://127.0.0.1:{ports.clients}"
    own = f"SECURE://127.0.0.1:{port}"
    options = {
        "listeners": f"{plain},{own},CONTROLLER://127.0.0.1:{ports.controller}",
        "advertised.listeners": f"{plain},{own}",
        "listener.security.protocol.map":
            "CLIENTS:SASL_PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT",
        "listener.name.secure.plain.sasl.jaas.config": login,
        "listener.name.secure.ssl.client.auth": "required",
        "listener.name.secure.ssl.keystore.type": "PEM",
        "listener.name.secure.ssl.keystore.location": folder / "server.pem",
        "listener.name.secure.ssl.truststore.type": "PEM",
        "listener.name.secure.ssl.truststore.location": folder / "ca.pem",
    }  # fmt: skip
    file.write_text(text + "".join(f"{name}={value}\n" for name, value in options.items()))
    return Secured(port, folder / "ca.pem", folder / "client.pem")


def certificates(folder: Path) -> None:
    """Write `ca.pem`, and certificate with key in `server.pem` and `client.pem`."""
    now = datetime.now(timezone.utc)

    def signed(name: str, issuer: str, key: Key, by: Key, *, is_ca: bool) -> x509.Certificate:
        def called(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        return (
            x509.CertificateBuilder(called(issuer), called(name), key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .sign(by, hashes.SHA256())
        )

    authority = ec.generate_private_key(ec.SECP256R1())
    top = signed("lab", "lab", authority, authority, is_ca=True)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(top.public_bytes(pem))
    for name in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = signed(name, "lab", key, authority, is_ca=False)
        hidden = key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / f"{name}.pem").write_bytes(hidden + certificate.public_bytes(pem))


@contextmanager
def kafka_lab(home: Path, source: ServerKind) -> Generator[KafkaLab]:
    """Start a lab and a broker on it; everything is stopped at the end."""
    try:
        state = up(home, source, "kafka").state
        broker = state.service("kafka")
        (secure,) = take_ports(state.cache, 1)
        kill_service(home, "kafka", signal.SIGTERM)
        ports = KafkaPorts(broker.port, broker.control_port or 0)
        secured = secure_listener(home, ports, secure)
        start_service(home, "kafka")
        create_accounts(broker, state.accounts)
        yield KafkaLab(Stage(home), secured)
    finally:
        down(home)
