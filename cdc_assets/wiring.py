"""StreamWiring: a stream's description with the resources that it runs on, connected on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from cdc_assets.core.preflight import Fault
from cdc_assets.core.preflight_tables import judge
from cdc_assets.core.recovery import Policy
from cdc_assets.core.results import Results
from cdc_assets.core.stream import StreamSpec
from cdc_assets.debezium.engine import DebeziumEngine
from cdc_assets.debezium.resource import KafkaConnectResource
from cdc_assets.engines import Sides, debezium_engine, engine_kind, flink_engine
from cdc_assets.environment import R, require_set, resolved, values_of, with_values
from cdc_assets.errors import CdcError, ConfigurationError, EngineError, EventFeedError
from cdc_assets.flink.engine import FlinkEngine
from cdc_assets.flink.pipeline_engine import PipelineEngine
from cdc_assets.flink.python_environment import script_faults
from cdc_assets.flink.resource import FlinkCdcResource, FlinkResource, PyFlinkResource
from cdc_assets.flink.script_engine import ScriptEngine
from cdc_assets.ledger.resource import LedgerResource
from cdc_assets.mysql.client import MySqlSource
from cdc_assets.mysql.preflight import gather
from cdc_assets.mysql.resource import MySqlResource
from cdc_assets.operations.clock import SystemClock
from cdc_assets.operations.runtime import Budgets, StreamRuntime
from cdc_assets.operations.schema_watch import look_at_schema, without_additions
from cdc_assets.ports import JudgedTarget, Launch, Server
from cdc_assets.rds.client import RdsFeed
from cdc_assets.rds.resource import RdsResource
from cdc_assets.targets.iceberg import IcebergTarget
from cdc_assets.targets.kafka import KafkaTarget
from cdc_assets.targets.mysql import MySqlTarget
from cdc_assets.targets.resource import TargetResource


def resource_key(stream: str) -> str:
    """Return the key under which a stream's wiring is found among Dagster's resources."""
    return f"cdc_{stream}"


class Preflight(Protocol):
    """Looks whether a stream may be launched."""

    def __call__(self, *, anew: bool = False) -> Sequence[Fault]:
        """Return every fault; nothing is started.

        Args:
            anew: Whether for a snapshot, not for a deployment that goes on from a state.
        """
        ...


@dataclass(frozen=True)
class StreamConnection:
    """A stream that can be acted on.

    Attributes:
        runtime: For the operations.
        preflight: Looks whether the stream may be launched, and starts nothing.
        flink_url: Address of Flink's UI, empty without one.
    """

    runtime: StreamRuntime
    preflight: Preflight
    flink_url: str = ""

    def job_url(self, job_id: str) -> str | None:
        """Return the job's page in Flink's UI."""
        if not self.flink_url or not job_id:
            return None
        return f"{self.flink_url.rstrip('/')}/#/job/running/{job_id}/overview"


class StreamAccess(Protocol):
    """What assets, checks, jobs, sensors and the command line need of a stream."""

    @property
    def spec(self) -> StreamSpec:
        """Return what the stream is."""
        ...

    def connect(self, *, patience_seconds: float | None = None) -> StreamConnection:
        """Return the connected stream; nothing is opened before the first use.

        Args:
            patience_seconds: The longest that one answer may take, for a sensor.

        Raises:
            ConfigurationError: A setting cannot be used, or a variable is unset.
        """
        ...


class _Kept:
    """Connections made so far: an AWS client alone costs a tick's whole time to make."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[tuple[object, ...], StreamConnection] = {}

    def get(
        self, settings: tuple[object, ...], make: Callable[[], StreamConnection]
    ) -> StreamConnection:
        with self._lock:
            if settings not in self._made:
                self._made[settings] = make()
            return self._made[settings]


@dataclass(frozen=True)
class StreamWiring:
    """A stream and its resources; the one object that a stream's definitions share.

    Attributes:
        spec: What the stream is.
        source: The source's endpoint.
        target: Where rows land.
        flink: Which cluster runs the job; None with a worker.
        ledger: Which database remembers.
        rds: RDS, None where no blue/green switchover can happen.
        lookup: Where lookup tables are, None without any.
        worker: Which Kafka Connect worker runs Debezium's connector, in Flink's place.
        shares_account: Whether another stream reads with the same account.
        policy: What automation may do.
        budgets: How long each wait may last.
    """

    spec: StreamSpec
    source: MySqlResource
    target: TargetResource
    flink: FlinkResource | None
    ledger: LedgerResource
    rds: RdsResource | None = None
    lookup: TargetResource | None = None
    worker: KafkaConnectResource | None = None
    shares_account: bool = False
    policy: Policy = field(default_factory=Policy)
    budgets: Budgets = field(default_factory=Budgets)
    _kept: _Kept = field(default_factory=_Kept, init=False, repr=False, compare=False)

    def connect(self, *, patience_seconds: float | None = None) -> StreamConnection:
        """Return the connected stream; nothing is opened before the first use."""
        given = (
            self.source,
            self.target,
            self.flink,
            self.ledger,
            self.rds,
            self.lookup,
            self.worker,
        )
        resources = [part for part in given if part is not None]
        require_set(resources)
        # A changed environment makes another connection.
        values = [repr(tuple(values_of(part).values())) for part in resources]
        return self._kept.get((patience_seconds, *values), lambda: self._made(patience_seconds))

    def _made(self, patience_seconds: float | None) -> StreamConnection:
        source = _patient(resolved(self.source), patience_seconds)
        target = _patient(resolved(self.target), patience_seconds)
        if self.shares_account:
            source = with_values(source, shared_account=True)
        if self.worker is not None or isinstance(self.flink, FlinkCdcResource):
            # Their producers write without transactions.
            target = with_values(target, delivery="at-least-once")
        clock = SystemClock()
        lookup = _patient(resolved(self.lookup), patience_seconds) if self.lookup else None
        ledger = _patient(resolved(self.ledger), patience_seconds).get_client()
        reader, writer = source.get_client(), target.get_client()
        # The database's real name follows the environment; the asset keys do not.
        spec = replace(
            self.spec,
            target_database=target.namespace,
            engine=engine_kind(self.spec, None if self.worker is not None else self.flink),
        )
        sides = Sides(source, target, reader, writer, ledger, lookup)
        engine: FlinkEngine | ScriptEngine | PipelineEngine | DebeziumEngine
        flink: FlinkResource | None = None
        if self.worker is not None:
            worker = _patient(resolved(self.worker), patience_seconds)
            engine = debezium_engine(spec, worker, sides, clock)
        elif self.flink is not None:
            flink = _patient(resolved(self.flink), patience_seconds)
            if isinstance(writer, IcebergTarget):
                gateway = flink.get_gateway(secrets=sides.secrets)
                writer = writer.making_with(gateway.run_all)
            if isinstance(flink, FlinkCdcResource) and isinstance(writer, KafkaTarget):
                writer = writer.of_change_events()
            engine = flink_engine(flink, replace(sides, writer=writer), clock)
        else:
            raise ConfigurationError("name a Flink cluster or a Connect worker", field="flink")
        feed = None
        if self.rds is not None:
            rds = _patient(resolved(self.rds), patience_seconds)
            feed = rds.get_client(ledger=ledger, clock=clock)
        runtime = StreamRuntime(
            spec=spec,
            engine=engine,
            source=reader,
            target=writer,
            ledger=ledger,
            clock=clock,
            feed=feed,
            policy=self.policy,
            budgets=self.budgets,
        )
        checks = _Preflight(runtime, reader, writer, feed, source.time_zone, engine, flink)
        return StreamConnection(runtime, checks, flink.rest_url if flink else "")


@dataclass(frozen=True)
class _Preflight:
    """Asks source, green and target whether the stream may be launched."""

    runtime: StreamRuntime
    source: MySqlSource
    target: MySqlTarget | JudgedTarget
    feed: RdsFeed | None
    time_zone: str
    engine: FlinkEngine | ScriptEngine | PipelineEngine | DebeziumEngine
    flink: FlinkResource | None = None

    def __call__(self, *, anew: bool = False) -> Sequence[Fault]:
        """Return every fault; an RDS that does not answer is one, and stops nothing."""
        rt = self.runtime
        spec = (rt if anew else without_additions(rt, look_at_schema(rt))).spec
        green, group, silent = None, None, []
        try:
            green, group = self._green()
        except EventFeedError as error:
            silent = [Fault("rds", str(error), "an answer", "Look at the access", "warning")]
        target, results = self.target, Results()
        if isinstance(self.engine, FlinkEngine):
            with suppress(CdcError):  # Whoever does not answer is told of below.
                results = self.engine.results(spec, self.source.endpoint)
        spec = replace(spec, results=results.columns)
        facts = gather(
            self.source,
            spec,
            target if isinstance(target, MySqlTarget) else None,
            green=green,
            green_group=group,
            server_time_zone=self.time_zone,
        )
        found = [*judge(facts), *silent, *results.faults]
        if not isinstance(target, MySqlTarget):
            found.extend(target.faults(spec, facts.source.shapes))
        if isinstance(self.engine, DebeziumEngine):
            found.extend(self.engine.faults(facts.source.shapes))
        elif isinstance(self.engine, PipelineEngine):
            found.extend(self.engine.faults())
        elif isinstance(self.flink, PyFlinkResource):
            found.extend(script_faults(self.flink.get_script(), _version(self.flink)))
        elif isinstance(self.engine, FlinkEngine) and not any(
            fault.severity == "error" for fault in found
        ):
            # Flink is asked about SQL that can be written, so last.
            found.extend(self.engine.faults(Launch("0" * 32, "", spec, self.source.endpoint)))
        return found

    def _green(self) -> tuple[Server | None, str | None]:
        """Return green's own endpoint and the state of its parameter group, if there is one."""
        deployment = self.feed.deployment() if self.feed is not None else None
        if self.feed is None or deployment is None or not deployment.green_name:
            return None, None
        found = self.feed.instance(deployment.green_name)
        group = self.feed.parameter_group_status(deployment.green_name)
        return (found[0] if found is not None else None), group


def _patient(resource: R, seconds: float | None) -> R:
    """Return a resource whose time limits are none longer than the patience."""
    if seconds is None:
        return resource
    names = [name for name in type(resource).model_fields if name.endswith("timeout_seconds")]
    return with_values(resource, **{name: min(getattr(resource, name), seconds) for name in names})


def _version(flink: FlinkResource) -> str:
    """Return the cluster's version, empty when it does not answer: the launch says so."""
    try:
        return flink.get_client().overview().version
    except EngineError:
        return ""
