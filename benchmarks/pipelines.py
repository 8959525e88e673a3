"""A Flink CDC pipeline file: as a stream of this package, and by Flink CDC's own client."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from lab_jobs import wired

from cdc_assets import FlinkCdcResource, stream_from_pipeline
from cdc_assets.errors import LabError
from cdc_assets.flink.cdc_home import FlinkCdcHome
from cdc_assets.lab import flink_cdc
from cdc_assets.lab.dagster_services import environment
from cdc_assets.lab.kafka_server import TOPIC_PREFIX
from cdc_assets.lab.stage import Stage
from cdc_assets.operations.runtime import StreamRuntime

# The documents' file, with the sink's name, formats and login as each way takes them. Rows are
# written at least once in both: Flink CDC's sink has no transactions.
_FILE = """\
source:
  type: mysql
  hostname: {host}
  port: {port}
  username: {user}
  password: {password}
  tables: source.orders
  server-id: 8000-8003
  server-time-zone: UTC

route:
  - source-table: source.orders
    sink-table: {table}

sink:
  type: kafka
  properties.bootstrap.servers: {servers}
  value.format: {form}
  partition.strategy: hash-by-key
  sink.delivery-guarantee: at-least-once
{login}
pipeline:
  name: ways
  parallelism: 1
"""
_LOGIN = """\
  properties.security.protocol: SASL_PLAINTEXT
  properties.sasl.mechanism: PLAIN
  properties.sasl.jaas.config: '{shaded}org.apache.kafka.common.security.plain.PlainLoginModule
    required username="{user}" password="{password}";'
"""
_MAIN = "org.apache.flink.cdc.cli.CliFrontend"
_SECONDS = 120


def runtime_of(stage: Stage, name: str, *, native: bool) -> StreamRuntime:
    """Return the stream of the file, by generated SQL or by Flink CDC."""
    env = environment(stage.state)
    path = stage.home / f"{name}.yaml"
    form = "debezium-json" if native else "json"
    path.write_text(_text(stage, "env:CDC_SOURCE_PASSWORD", table=name, form=form))
    made = stream_from_pipeline(
        path,
        flink_cdc=native,
        target={
            "topic_prefix": TOPIC_PREFIX,
            "security_protocol": "SASL_PLAINTEXT",
            "username": env["CDC_TARGET_USER"],
            "password": env["CDC_TARGET_PASSWORD"],
        },
    )
    return wired(stage, made.spec, made.target, _flink(stage, path) if native else None)


def submit_pipeline(stage: Stage, name: str, job_id: str) -> None:
    """Let Flink CDC's client submit the file, with the settings of the other jobs by hand."""
    env, place = environment(stage.state), flink_cdc.prepare(stage.home)
    rest = stage.state.services["jobmanager"]
    login = _LOGIN.format(
        shaded=FlinkCdcHome(place.cdc_home, place.flink_home).shaded_as,
        user=env["CDC_TARGET_USER"],
        password=env["CDC_TARGET_PASSWORD"],
    )
    text = _text(
        stage,
        env["CDC_SOURCE_PASSWORD"],
        table=TOPIC_PREFIX + name,
        form="debezium-json",
        login=login,
    )
    settings = {
        "rest.address": rest.host,
        "rest.port": rest.port,
        "execution.checkpointing.interval": "3s",
        "$internal.pipeline.job-id": job_id,
    }
    with tempfile.TemporaryDirectory(dir=stage.home) as folder:
        file, conf = Path(folder) / "pipeline.yaml", Path(folder) / "conf"
        conf.mkdir()
        (conf / "config.yaml").write_text(json.dumps(settings))
        file.write_text(text)
        libraries = f"{place.flink_home / 'lib'}/*:{place.cdc_home / 'lib'}/*"
        done = subprocess.run(  # noqa: S603 - the lab's own Java
            [str(place.java), "-cp", libraries, _MAIN, str(file), "--flink-home", folder],
            env={"FLINK_CONF_DIR": str(conf)}, capture_output=True, text=True,
            timeout=_SECONDS, check=False,
        )  # fmt: skip
    if done.returncode:
        raise LabError(f"Flink CDC's client ended with {done.returncode}: {done.stderr[-500:]}")


def _text(stage: Stage, password: str, *, table: str, form: str, login: str = "") -> str:
    env = environment(stage.state)
    return _FILE.format(
        host=env["CDC_SOURCE_HOST"],
        port=env["CDC_SOURCE_PORT"],
        user=env["CDC_SOURCE_USER"],
        password=password,
        servers=env["CDC_TARGET_BOOTSTRAP_SERVERS"],
        table=table,
        form=form,
        login=login,
    )


def _flink(stage: Stage, path: Path) -> FlinkCdcResource:
    env, place = environment(stage.state), flink_cdc.prepare(stage.home)
    return FlinkCdcResource(
        rest_url=env["FLINK_REST_URL"],
        checkpoint_directory=env["FLINK_CHECKPOINT_DIR"],
        savepoint_directory=env["FLINK_SAVEPOINT_DIR"],
        pipeline=str(path),
        flink_cdc_home=str(place.cdc_home),
        flink_home=str(place.flink_home),
        java=str(place.java),
    )
