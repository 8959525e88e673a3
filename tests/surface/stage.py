"""Stage: a stream of fakes behind the real Dagster surface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dagster as dg

from cdc_assets.core.preflight import Fault
from cdc_assets.core.recovery import Policy
from cdc_assets.definitions_builder import Surface, definitions_of
from cdc_assets.dispatch import Limits
from cdc_assets.errors import CdcError
from cdc_assets.jobs import build_recovery_job
from cdc_assets.operations.deploy import deploy
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.operations.snapshot import snapshot
from cdc_assets.sensors import build_rds_event_sensor, build_stream_health_sensor
from cdc_assets.testing import BlueGreen
from cdc_assets.translator import StreamGraph
from cdc_assets.wiring import StreamConnection, resource_key

FLINK_URL = "http://flink.example:8081"


@dataclass(frozen=True)
class Tick:
    """What one tick of a sensor answered."""

    run_requests: Sequence[dg.RunRequest]
    asset_events: Sequence[Any]
    skip_message: str


class FakeAccess:
    """A stream over fakes, as the surface wants it."""

    def __init__(self, lab: BlueGreen) -> None:
        self.lab = lab
        self.spec = lab.spec
        self.findings: list[Fault] = []
        self.problem: CdcError | None = None
        self.policy = Policy()
        self.connections = 0

    def connect(self, *, patience_seconds: float | None = None) -> StreamConnection:
        del patience_seconds
        self.connections += 1
        if self.problem is not None:
            raise self.problem
        lab = self.lab
        runtime = StreamRuntime(
            lab.spec, lab.engine, lab.source, lab.target, lab.ledger, lab.clock, lab.feed,
            policy=self.policy,
        )  # fmt: skip
        return StreamConnection(runtime, self.preflight, FLINK_URL)

    def preflight(self, *, anew: bool = False) -> Sequence[Fault]:
        """Return the findings, whatever is launched."""
        del anew
        return self.findings


class Stage:
    """Dagster with one stream on it."""

    def __init__(self, lab: BlueGreen, instance: dg.DagsterInstance) -> None:
        self.lab = lab
        self.instance = instance
        self.access = FakeAccess(lab)
        self.graph = StreamGraph.build(lab.spec)
        self.cursors: dict[str, str | None] = {}

    @cached_property
    def defs(self) -> dg.Definitions:
        """Definitions of the stream; Dagster takes its time over them, and few tests ask."""
        return definitions_of([self.access], Surface(), watch_rds=True)

    @property
    def resources(self) -> dict[str, FakeAccess]:
        return {resource_key(self.lab.spec.name): self.access}

    def materialize(
        self, *parts: str, config: Mapping[str, object] | None = None
    ) -> dg.ExecuteInProcessResult:
        job = self.defs.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey([self.lab.spec.name, part]) for part in parts],
            run_config=dict(config or {}),
            raise_on_error=False,
        )

    def deploy(self, *keys: int) -> None:
        """Copy these rows and let the stream run."""
        self.lab.insert(*keys)
        runtime = self.access.connect().runtime
        snapshot(runtime)
        deploy(runtime)

    def recover(self) -> dg.ExecuteInProcessResult:
        """Run the recovery job to its end, as a requested run would."""
        job = self.defs.resolve_job_def(f"recover_{self.lab.spec.name}")
        return job.execute_in_process(instance=self.instance, raise_on_error=False)

    def tick(self, kind: str, *, limits: Limits | None = None) -> Tick:
        """Let a sensor tick with the cursor of its last tick, and store what it reports."""
        build = build_stream_health_sensor if kind == "health" else build_rds_event_sensor
        sensor = build(graph=self.graph, job_name=self.job.name, limits=limits)
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursors.get(kind),
            definitions=self.defs,
            resources=self.resources,
        )
        data = sensor.evaluate_tick(context)
        self.cursors[kind] = data.cursor or self.cursors.get(kind)
        return Tick(data.run_requests or [], data.asset_events, data.skip_message or "")

    @property
    def job(self) -> dg.JobDefinition:
        return build_recovery_job(self.graph)

    def start_run(self, request: dg.RunRequest, status: dg.DagsterRunStatus | None = None) -> str:
        """Create the requested run, as the daemon does, without executing it."""
        run = self.instance.create_run_for_job(
            job_def=self.job,
            tags=dict(request.tags),
            status=status or dg.DagsterRunStatus.STARTED,
        )
        return run.run_id


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """Return what the failed step of a run says to a person."""
    (event,) = [event for event in result.all_events if event.is_step_failure]
    return str(event.step_failure_data.user_failure_data.description)
