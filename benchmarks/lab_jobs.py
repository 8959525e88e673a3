"""What the benchmarks ask of a lab and of the jobs on it."""

from __future__ import annotations

import time
from collections.abc import Mapping

import psutil
import requests

from cdc_assets import (
    FlinkCdcResource,
    FlinkResource,
    KafkaConnectResource,
    LedgerResource,
    MySqlResource,
    PyFlinkResource,
    StreamSpec,
    TargetResource,
)
from cdc_assets.errors import LabError
from cdc_assets.lab.dagster_services import environment
from cdc_assets.lab.home import require_state
from cdc_assets.lab.stage import Stage
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.wiring import StreamWiring

BUDGET_SECONDS = 600.0


def wired(
    stage: Stage,
    spec: StreamSpec,
    target: TargetResource,
    engine: PyFlinkResource | FlinkCdcResource | KafkaConnectResource | None = None,
) -> StreamRuntime:
    """Return a stream on the lab, through the package's own resources.

    Args:
        stage: The lab.
        spec: The stream.
        target: Where its rows land.
        engine: What runs it in place of generated SQL.
    """
    env = environment(stage.state)
    worker = engine if isinstance(engine, KafkaConnectResource) else None
    wiring = StreamWiring(
        spec,
        MySqlResource(
            host=env["CDC_SOURCE_HOST"],
            port=int(env["CDC_SOURCE_PORT"]),
            username=env["CDC_SOURCE_USER"],
            password=env["CDC_SOURCE_PASSWORD"],
        ),
        target,
        None if worker else engine or _flink(env),
        LedgerResource(url=env["CDC_LEDGER_URL"]),
        worker=worker,
    )
    return wiring.connect().runtime


def _flink(env: Mapping[str, str]) -> FlinkResource:
    return FlinkResource(
        rest_url=env["FLINK_REST_URL"],
        sql_gateway_url=env["FLINK_SQL_GATEWAY_URL"],
        checkpoint_directory=env["FLINK_CHECKPOINT_DIR"],
        savepoint_directory=env["FLINK_SAVEPOINT_DIR"],
    )


def wait_streaming(runtime: StreamRuntime, job_id: str, readers: int = 1) -> None:
    """Wait until the snapshot phase of every reader is over."""
    deadline = time.monotonic() + BUDGET_SECONDS
    while time.monotonic() < deadline:
        state = runtime.engine.checkpoint(job_id, budget_seconds=120)
        if len(state.splits) >= readers and not state.snapshot_running:
            return
        time.sleep(0.5)
    raise LabError("the snapshot phase did not end")


def terms_of(stage: Stage, job_id: str) -> tuple[object, ...]:
    """Return what two jobs must have alike: parallelism, checkpoint interval and mode."""
    url = f"{environment(stage.state)['FLINK_REST_URL']}/jobs/{job_id}"
    vertices = requests.get(url, timeout=30).json()["vertices"]
    found = requests.get(f"{url}/checkpoints/config", timeout=30).json()
    return max(each["parallelism"] for each in vertices), found["interval"], found["mode"]


def process_of(stage: Stage, name: str) -> psutil.Process:
    """Return a service's process."""
    record = require_state(stage.home).service(name).process
    if record is None:
        raise LabError(f"{name} does not run")
    return psutil.Process(record.pid)


def cpu_of(process: psutil.Process) -> float:
    """Return the processor seconds that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)
