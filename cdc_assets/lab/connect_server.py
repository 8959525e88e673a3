"""The Kafka Connect worker: stand-alone, with Debezium's connectors, beside the lab's broker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

import pymysql
import requests

from cdc_assets.errors import LabError, ServiceFailed
from cdc_assets.lab.cache import Cache, default_cache_dir
from cdc_assets.lab.flink_cluster import find_java
from cdc_assets.lab.free_ports import HOST, take_ports
from cdc_assets.lab.home import require_state, update_state
from cdc_assets.lab.kafka_server import PACKAGE_GROUP as KAFKA_GROUP
from cdc_assets.lab.packages import load_packages
from cdc_assets.lab.services import start_service
from cdc_assets.lab.state import LabState, Service

PACKAGE_GROUP = "connect"
NAME = "connect"
CONNECT_VERSION = "4.1.0"
# Folders of the plugin path, and how the names of their packages begin.
PLUGINS = {"mysql": "debezium-mysql-", "mariadb": "debezium-mariadb-"}
_WORKER_JARS = "connect-"
_BROKER_JARS = "broker-"
_JAVA = ("-Xms64m", "-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
_LOGGING = "-Dorg.slf4j.simpleLogger.defaultLogLevel=info"
_SECONDS = 10
_READY_SECONDS = 60.0
_JAAS = "org.apache.kafka.common.security.plain.PlainLoginModule required"


def start(home: Path) -> Service:
    """Start a worker beside the broker of a running lab; `lab down` stops it, too.

    Args:
        home: Of a lab whose target is Kafka.

    Raises:
        LabError: The lab has no broker.
        CdcError: A package cannot be fetched, or the worker does not come up.
    """
    state = require_state(home)
    if state.target_kind != "kafka":
        raise LabError(
            f"the lab at {home} has no Kafka broker",
            hint="Start it with 'cdc-assets lab up --target kafka'",
        )
    _allow_locks(state)
    cache = Cache(default_cache_dir())
    cache.ensure(load_packages([PACKAGE_GROUP, KAFKA_GROUP]))
    if NAME not in state.services:
        (port,) = take_ports(cache.root, 1)
        prepare(state, cache, port)
        state = update_state(home, lambda now: now.with_service(service(state, cache, port)))
    start_service(state.home, NAME)
    _wait(state.service(NAME))
    return state.service(NAME)


def service(state: LabState, cache: Cache, port: int) -> Service:
    """Return the service that runs the worker."""
    folder = folder_of(state.home)
    return Service(
        name=NAME,
        kind="Kafka Connect worker with Debezium",
        version=CONNECT_VERSION,
        host=HOST,
        port=port,
        stand_in=False,
        probe="http",
        command=(
            *(str(find_java()), *_JAVA, _LOGGING, f"-Djava.io.tmpdir={folder}"),
            *("-cp", ":".join(str(jar) for jar in _worker_jars(cache))),
            *("org.apache.kafka.connect.cli.ConnectStandalone", str(folder / "worker.properties")),
        ),
        log=state.home / "logs" / f"{NAME}.log",
    )


def prepare(state: LabState, cache: Cache, port: int) -> None:
    """Write the worker's settings and its plugin path."""
    folder = folder_of(state.home)
    history_folder(state.home).mkdir(parents=True, exist_ok=True)
    for name, prefix in PLUGINS.items():
        plugin = folder / "plugins" / name
        plugin.mkdir(parents=True, exist_ok=True)
        for jar in _jars(cache, prefix):
            link = plugin / jar.name
            if not link.exists():
                link.symlink_to(jar)
    file = folder / "worker.properties"
    file.touch(mode=0o600)  # it holds the writer's password
    file.write_text(settings_text(state, port), encoding="utf-8")


def settings_text(state: LabState, port: int) -> str:
    """Return the worker's settings."""
    folder = folder_of(state.home)
    broker, writer = state.service("kafka"), state.accounts["cdc_writer"]
    login = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.jaas.config": f'{_JAAS} username="{writer.user}" password="{writer.password}";',
    }
    settings: dict[str, object] = {
        "bootstrap.servers": f"{broker.host}:{broker.port}",
        **login,
        **{f"{part}.{name}": value for part in ("producer", "admin", "consumer")
           for name, value in login.items()},
        "key.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "offset.storage.file.filename": folder / "offsets",
        # A position is noted when the offsets are: the default of a minute would be its lag.
        "offset.flush.interval.ms": 500,
        "plugin.path": folder / "plugins",
        "plugin.discovery": "service_load",
        "listeners": f"http://{HOST}:{port}",
    }  # fmt: skip
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def folder_of(home: Path) -> Path:
    """Return the worker's folder."""
    return home / "data" / NAME


def history_folder(home: Path) -> Path:
    """Return the folder of the schema histories."""
    return folder_of(home) / "history"


def _wait(worker: Service) -> None:
    """Wait until the worker knows its own addresses: it listens, and answers 404, before."""
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        with suppress(requests.RequestException):
            if requests.get(f"http://{worker.host}:{worker.port}/connectors", timeout=5).ok:
                return
        time.sleep(0.1)
    raise ServiceFailed(f"{NAME} was not ready within {_READY_SECONDS:.0f} s",
                        hint=f"See {worker.log}")  # fmt: skip


def _allow_locks(state: LabState) -> None:
    """Let the streams' accounts lock, as Debezium's initial copy does."""
    endpoint, server = state.service("endpoint"), state.servers["blue"]
    # Each server of the lab has the same administrator.
    with (
        closing(
            pymysql.connect(
                host=endpoint.host,
                port=endpoint.port,
                user=server.admin_user,
                password=server.admin_password,
                connect_timeout=_SECONDS,
                read_timeout=_SECONDS,
                ssl_disabled=True,  # loopback
            )
        ) as connection,
        connection.cursor() as cursor,
    ):
        for role in ("cdc", "cdc_stats"):
            cursor.execute("GRANT RELOAD, LOCK TABLES ON *.* TO %s@'%%'", (role,))


def _worker_jars(cache: Cache) -> Sequence[Path]:
    return [*_jars(cache, _BROKER_JARS), *_jars(cache, _WORKER_JARS)]


def _jars(cache: Cache, prefix: str) -> Sequence[Path]:
    return [
        jar
        for package in load_packages([PACKAGE_GROUP, KAFKA_GROUP])
        if package.name.startswith(prefix)
        for jar in sorted(cache.folder(package).glob("*.jar"))
    ]
