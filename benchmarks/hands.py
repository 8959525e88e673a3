"""The jobs that one writes by hand: what the project's documents show, with the lab's addresses."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import requests

from cdc_assets.errors import LabError
from cdc_assets.flink.gateway import SqlGateway
from cdc_assets.lab.cache import Cache
from cdc_assets.lab.connect_server import NAME, history_folder
from cdc_assets.lab.dagster_services import environment
from cdc_assets.lab.kafka_server import TOPIC_PREFIX, TRANSACTIONAL_ID_PREFIX
from cdc_assets.lab.packages import load_packages
from cdc_assets.lab.pyflink_interpreter import ensure_interpreter, script_environment
from cdc_assets.lab.stage import Stage

FIRST_ID = 8000
SCRIPT = Path(__file__).with_name("pyflink_by_hand.py")
_CONNECTORS = (
    "flink-sql-connector-mysql-cdc", "mysql-connector-j", "flink-connector-jdbc",
    "postgresql-jdbc",
)  # fmt: skip
_COLUMNS = (
    "id BIGINT, product STRING, quantity INT, note STRING, price DECIMAL(10, 2), "
    "changed_at TIMESTAMP(6), PRIMARY KEY (id) NOT ENFORCED"
)
_SETTINGS = {
    "execution.checkpointing.interval": "3s",
    "table.local-time-zone": "UTC",
    # PyFlink alone would take one for each core of the client's machine.
    "parallelism.default": "1",
}
_SECONDS = 60


def submit_sql(stage: Stage, name: str, job_id: str) -> None:
    """Start one `mysql-cdc` table, one target table with the sink's defaults, one INSERT."""
    ddl, insert = _statements(stage, name)
    gateway = SqlGateway(environment(stage.state)["FLINK_SQL_GATEWAY_URL"])
    gateway.submit_job(ddl, insert, job_id=job_id, job_name="by hand", config=_SETTINGS)


def submit_script(stage: Stage, name: str, job_id: str) -> None:
    """Start the same statements from a PyFlink script of one's own."""
    ddl, insert = _statements(stage, name)
    rest = stage.state.services["jobmanager"]
    order = {
        "settings": {
            **_SETTINGS,
            "execution.target": "remote",
            "rest.address": rest.host,
            "rest.port": str(rest.port),
            "pipeline.name": "by hand",
            "pipeline.jars": ";".join(jar.as_uri() for jar in jars(stage)),
            "$internal.pipeline.job-id": job_id,
        },
        "statements": [*ddl, insert],
    }
    cache = Cache(stage.state.cache)
    done = subprocess.run(  # noqa: S603 - the interpreter of the lab's cache
        [str(ensure_interpreter(cache)), str(SCRIPT)],
        input=json.dumps(order), env=script_environment(cache), capture_output=True, text=True,
        timeout=_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode:
        raise LabError(f"the script by hand ended with {done.returncode}: {done.stderr[-500:]}")


def jars(stage: Stage) -> Sequence[Path]:
    """Return the connectors that PyFlink plans with."""
    cache = Cache(stage.state.cache)
    folders = [cache.folder(each) for each in load_packages() if each.name in _CONNECTORS]
    return [jar for folder in folders for jar in folder.glob("*.jar")]


def connect_url(stage: Stage) -> str:
    """Return where the Connect worker answers."""
    worker = stage.state.service(NAME)
    return f"http://{worker.host}:{worker.port}"


def submit_connector(stage: Stage, name: str, _: str) -> None:
    """Make a connector with Debezium's defaults, which put a schema into each record.

    Its topic is `lab.NAME.source.orders`.
    """
    env = environment(stage.state)
    config = {
        "connector.class": "io.debezium.connector.mariadb.MariaDbConnector",
        "database.hostname": env["CDC_SOURCE_HOST"],
        "database.port": env["CDC_SOURCE_PORT"],
        "database.user": env["CDC_SOURCE_USER"],
        "database.password": env["CDC_SOURCE_PASSWORD"],
        "database.ssl.mode": "disable",
        "database.server.id": str(FIRST_ID + 50),
        "topic.prefix": TOPIC_PREFIX + name,
        "database.include.list": "source",
        "table.include.list": "source.orders",
        "schema.history.internal": "io.debezium.storage.file.history.FileSchemaHistory",
        "schema.history.internal.file.filename": str(
            history_folder(stage.home) / f"{name}.by-hand"
        ),
        "topic.creation.default.replication.factor": "-1",
        "topic.creation.default.partitions": "-1",
    }
    made = requests.post(
        f"{connect_url(stage)}/connectors", json={"name": name, "config": config}, timeout=_SECONDS
    )
    if not made.ok:
        raise LabError(f"the connector by hand was refused: {made.status_code}")


def delete_connector(stage: Stage, name: str) -> None:
    """Delete a connector."""
    requests.delete(f"{connect_url(stage)}/connectors/{name}", timeout=_SECONDS)


def _statements(stage: Stage, name: str) -> tuple[list[str], str]:
    """Return the DDL, and the INSERT."""
    env = environment(stage.state)
    source = {
        "connector": "mysql-cdc",
        "hostname": env["CDC_SOURCE_HOST"],
        "port": env["CDC_SOURCE_PORT"],
        "username": env["CDC_SOURCE_USER"],
        "password": env["CDC_SOURCE_PASSWORD"],
        "database-name": "source",
        "table-name": "orders",
        "server-id": str(FIRST_ID),
        "server-time-zone": "UTC",
    }
    ddl = [_table("orders_source", source)]
    kind = stage.state.target_kind
    if kind == "iceberg":
        catalog = {"type": "iceberg", "catalog-type": "rest", "uri": env["CDC_TARGET_URI"]}
        ddl.append(f"CREATE CATALOG by_hand WITH ({_options(catalog)})")
        place = f"by_hand.`{env['CDC_TARGET_DATABASE']}`.`{name}`"
        # The table's own property makes the connector upsert, as in a table made by hand.
        hint = " /*+ OPTIONS('upsert-enabled' = 'true') */"
        return ddl, f"INSERT INTO {place}{hint} SELECT * FROM orders_source"  # noqa: S608 - own names
    ddl.append(_table("orders_sink", _SINKS[kind](env, name)))
    return ddl, "INSERT INTO orders_sink SELECT * FROM orders_source"


def _mysql(env: Mapping[str, str], name: str) -> dict[str, str]:
    return _jdbc(env, name, "mysql")


def _postgres(env: Mapping[str, str], name: str) -> dict[str, str]:
    return _jdbc(env, name, "postgresql")


def _jdbc(env: Mapping[str, str], name: str, scheme: str) -> dict[str, str]:
    place = f"{env['CDC_TARGET_HOST']}:{env['CDC_TARGET_PORT']}/{env['CDC_TARGET_DATABASE']}"
    return {
        "connector": "jdbc",
        "url": f"jdbc:{scheme}://{place}",
        "table-name": name,
        "username": env["CDC_TARGET_USER"],
        "password": env["CDC_TARGET_PASSWORD"],
    }


def _kafka(env: Mapping[str, str], name: str) -> dict[str, str]:
    login = f'username="{env["CDC_TARGET_USER"]}" password="{env["CDC_TARGET_PASSWORD"]}"'
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    topic = env["CDC_TARGET_TOPIC_PREFIX"] + name
    return {
        "connector": "upsert-kafka",
        "topic": topic,
        "properties.bootstrap.servers": env["CDC_TARGET_BOOTSTRAP_SERVERS"],
        "properties.security.protocol": "SASL_PLAINTEXT",
        "properties.sasl.mechanism": "PLAIN",
        "properties.sasl.jaas.config": f"{module} required {login};",
        "key.format": "json",
        "value.format": "json",
        # The generated job's guarantee: the default, at-least-once, shows rows before a commit.
        "sink.delivery-guarantee": "exactly-once",
        "sink.transactional-id-prefix": f"{TRANSACTIONAL_ID_PREFIX}by-hand-{name}",
        "properties.transaction.timeout.ms": "900000",
    }


def _starrocks(env: Mapping[str, str], name: str) -> dict[str, str]:
    return {
        "connector": "starrocks",
        "jdbc-url": f"jdbc:mysql://{env['CDC_TARGET_HOST']}:{env['CDC_TARGET_PORT']}",
        "load-url": f"{env['CDC_TARGET_HOST']}:{env['CDC_TARGET_HTTP_PORT']}",
        "database-name": env["CDC_TARGET_DATABASE"],
        "table-name": name,
        "username": env["CDC_TARGET_USER"],
        "password": env["CDC_TARGET_PASSWORD"],
        "sink.properties.format": "json",
        "sink.properties.strip_outer_array": "true",
        # The seed waits 15 s; this measures work, not waiting.
        "sink.buffer-flush.interval-ms": "1000",
    }


_SINKS: Mapping[str, Callable[[Mapping[str, str], str], dict[str, str]]] = {
    "kafka": _kafka,
    "mysql": _mysql,
    "postgres": _postgres,
    "starrocks": _starrocks,
}


def _table(name: str, options: Mapping[str, str]) -> str:
    return f"CREATE TEMPORARY TABLE {name} ({_COLUMNS}) WITH ({_options(options)})"


def _options(options: Mapping[str, str]) -> str:
    return ", ".join(f"'{key}' = '{value}'" for key, value in options.items())
