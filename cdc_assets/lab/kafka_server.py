"""The Kafka broker: one node that is its own controller, with a login and rights of its own.

Clients log in (SASL PLAIN), and an authorizer refuses what was not granted, so that a stream
meets what it meets elsewhere. Everything listens on 127.0.0.1.
"""

from __future__ import annotations

import importlib
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdc_assets.core.kafka import TRANSACTIONAL_ID_PREFIX, KafkaAccess
from cdc_assets.errors import ServiceFailed
from cdc_assets.lab.cache import Cache
from cdc_assets.lab.flink_cluster import find_java
from cdc_assets.lab.free_ports import HOST
from cdc_assets.lab.packages import load_packages
from cdc_assets.lab.state import Account, Service

PACKAGE_GROUP = "kafka"
KAFKA_VERSION = "4.1.0"
# What Flink needs on its class path to write topics.
FLINK_JARS = ("flink-connector-kafka", "kafka-clients")
TOPIC_PREFIX = "lab."
# `app` reads what `cdc_writer` writes.
ROLES = ("admin", "app", "cdc_writer")
_BROKER_JARS = "broker-"
_FORMAT_SECONDS = 60
_READY_SECONDS = 60.0
_CLUSTER_ID = "bGFiLWthZmthLWNsdXN0cg"
_JAAS = "org.apache.kafka.common.security.plain.PlainLoginModule required"
_LOGGING = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
_JAVA = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", _LOGGING)


@dataclass(frozen=True)
class KafkaPorts:
    """The ports of a broker.

    Args:
        clients: For everyone else.
        controller: For itself.
    """

    clients: int
    controller: int


def service(home: Path, cache: Cache, ports: KafkaPorts) -> Service:
    """Return the service that runs the broker on its data folder."""
    return Service(
        name="kafka",
        kind="Kafka broker",
        version=KAFKA_VERSION,
        host=HOST,
        port=ports.clients,
        stand_in=False,
        probe="tcp",
        command=(
            *(str(find_java()), "-Xms64m", "-Xmx192m", *_JAVA),
            *(f"-Djava.io.tmpdir={_folder(home)}", "-cp", _class_path(cache)),
            *("kafka.Kafka", str(_settings_file(home))),
        ),
        log=home / "logs" / "kafka.log",
        control_port=ports.controller,
    )


def prepare(home: Path, cache: Cache, ports: KafkaPorts, accounts: Mapping[str, Account]) -> None:
    """Write the broker's settings and its empty data folder.

    Raises:
        ServiceFailed: Kafka's own tool could not make the data folder.
    """
    _folder(home).mkdir(parents=True, exist_ok=True)
    file = _settings_file(home)
    file.touch(mode=0o600)  # it holds the passwords
    file.write_text(settings_text(_folder(home) / "data", ports, accounts), encoding="utf-8")
    command = [str(find_java()), "-Xmx64m", *_JAVA, "-cp", _class_path(cache)]
    command += ["kafka.tools.StorageTool", "format", "--ignore-formatted"]
    command += ["-t", _CLUSTER_ID, "-c", str(file)]
    try:
        done = subprocess.run(  # noqa: S603 - the lab's own command line, no shell
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_FORMAT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ServiceFailed(f"kafka: no data folder within {_FORMAT_SECONDS} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ServiceFailed(f"kafka: {said[-1] if said else 'no data folder was made'}")


def settings_text(data: Path, ports: KafkaPorts, accounts: Mapping[str, Account]) -> str:
    """Return the broker's settings."""
    admin = accounts["admin"]
    users = " ".join(f'user_{accounts[role].user}="{accounts[role].password}"' for role in ROLES)
    login = f'{_JAAS} username="{admin.user}" password="{admin.password}" {users};'
    settings: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{HOST}:{ports.controller}",
        "listeners": f"CLIENTS://{HOST}:{ports.clients},CONTROLLER://{HOST}:{ports.controller}",
        "advertised.listeners": f"CLIENTS://{HOST}:{ports.clients}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CLIENTS:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "CLIENTS",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.clients.plain.sasl.jaas.config": login,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        # Only the broker itself knows the controller's listener.
        "super.users": f"User:{admin.user};User:ANONYMOUS",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        "num.partitions": 2,
        **dict.fromkeys(
            (
                *("offsets.topic.replication.factor", "offsets.topic.num.partitions"),
                *("transaction.state.log.replication.factor", "transaction.state.log.min.isr"),
                "transaction.state.log.num.partitions",
                *("share.coordinator.state.topic.replication.factor",
                  "share.coordinator.state.topic.min.isr"),
                *("num.network.threads", "num.recovery.threads.per.data.dir"),
            ),
            1,
        ),
        "num.io.threads": 2,
        "background.threads": 2,
        "group.initial.rebalance.delay.ms": 0,
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
        # The default is 128 MB of buffer.
        "log.cleaner.dedupe.buffer.size": 4 * 1024 * 1024,
        "log.segment.bytes": 64 * 1024 * 1024,
    }  # fmt: skip
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def access_of(service: Service, account: Account) -> KafkaAccess:
    """Return how an account reaches the broker."""
    return KafkaAccess(
        f"{service.host}:{service.port}",
        protocol="SASL_PLAINTEXT",
        username=account.user,
        password=account.password,
    )


def create_accounts(service: Service, accounts: Mapping[str, Account]) -> None:
    """Grant the writer and the application what they need; waits until the broker answers.

    Raises:
        ServiceFailed: The broker does not answer, or refuses.
    """
    driver: Any = importlib.import_module("confluent_kafka")
    admin = accounts["admin"]
    client: Any = importlib.import_module("confluent_kafka.admin").AdminClient({
        "bootstrap.servers": f"{service.host}:{service.port}",
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "PLAIN",
        "sasl.username": admin.user,
        "sasl.password": admin.password,
        "log_level": 0,
    })  # fmt: skip
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            client.list_topics(timeout=2)
            for future in client.create_acls(_grants(accounts), request_timeout=10).values():
                future.result(15)
        except (driver.KafkaException, TimeoutError) as error:
            if time.monotonic() > deadline:
                raise ServiceFailed(f"kafka does not take grants: {error}") from None
            time.sleep(0.2)
        else:
            return


def _grants(accounts: Mapping[str, Account]) -> list[Any]:
    parts: Any = importlib.import_module("confluent_kafka.admin")
    operation, kinds = parts.AclOperation, parts.ResourceType

    def bindings(role: str, kind: object, prefix: str, *operations: object) -> list[Any]:
        return [
            parts.AclBinding(
                kind,
                prefix,
                parts.ResourcePatternType.PREFIXED,
                f"User:{accounts[role].user}",
                HOST,
                each,
                parts.AclPermissionType.ALLOW,
            )
            for each in operations
        ]

    reads = (operation.DESCRIBE, operation.READ)
    writes = (*reads, operation.DESCRIBE_CONFIGS, operation.WRITE, operation.CREATE)
    ids = (operation.DESCRIBE, operation.WRITE)
    return [
        *bindings("cdc_writer", kinds.TOPIC, TOPIC_PREFIX, *writes),
        *bindings("cdc_writer", kinds.TRANSACTIONAL_ID, TRANSACTIONAL_ID_PREFIX, *ids),
        *bindings("app", kinds.TOPIC, TOPIC_PREFIX, *reads),
    ]


def _folder(home: Path) -> Path:
    return home / "data" / "kafka"


def _settings_file(home: Path) -> Path:
    return _folder(home) / "server.properties"


def _class_path(cache: Cache) -> str:
    return ":".join(str(jar) for jar in _jars(cache))


def _jars(cache: Cache) -> Sequence[Path]:
    return [
        jar
        for package in load_packages([PACKAGE_GROUP])
        if package.name.startswith(_BROKER_JARS)
        for jar in sorted(cache.folder(package).glob("*.jar"))
    ]
