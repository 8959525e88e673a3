"""A PyFlink script as a stream, on real servers: the seed's example, and what is refused."""

# ruff: noqa: S608 - the names are this file's own

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cdc_assets import (
    Budgets,
    LedgerResource,
    MySqlResource,
    PostgresTargetResource,
    PyFlinkResource,
    QuerySpec,
    RdsResource,
    ServerIdRange,
    StreamSpec,
    TableRef,
    build_cdc_definitions,
)
from cdc_assets.flink.client import FlinkClient
from cdc_assets.lab import postgres_server
from cdc_assets.lab.cache import Cache
from cdc_assets.lab.dagster_services import environment
from cdc_assets.lab.flink_cluster import FLINK_VERSION
from cdc_assets.lab.lab import down, kill_service, start_service, up
from cdc_assets.lab.packages import load_packages
from cdc_assets.lab.postgres_rows import PostgresRows
from cdc_assets.lab.pyflink_interpreter import ensure_interpreter, script_environment
from cdc_assets.lab.stage import Stage
from cdc_assets.wiring import StreamConnection
from tests.integration.test_types import executed

SCRIPT = Path(__file__).with_name("users_stream.py")
CONNECTORS = (
    "flink-sql-connector-mysql-cdc",
    "mysql-connector-j",
    "flink-connector-jdbc",
    "postgresql-jdbc",
)


@dataclass(frozen=True)
class Place:
    """A lab with PostgreSQL, an interpreter with PyFlink, and a Dagster instance."""

    stage: Stage
    cache: Cache
    instance: dg.DagsterInstance

    def definitions(self, script: Path, spec: StreamSpec) -> dg.Definitions:
        """Return the stream of a script, as a deployment would write it."""
        state = self.stage.state
        cdc, writer = state.accounts["cdc"], state.accounts["cdc_writer"]
        endpoint, rest = state.services["endpoint"], state.services["jobmanager"]
        folder = self.stage.home / "flink"
        python = ensure_interpreter(self.cache)
        return build_cdc_definitions(
            streams=spec,
            source=MySqlResource(
                host=endpoint.host,
                port=endpoint.port,
                username=cdc.user,
                password=cdc.password,
                shared_account=True,
            ),
            target=PostgresTargetResource(
                host="127.0.0.1",
                port=state.service("postgres").port,
                username=writer.user,
                password=writer.password,
                database=postgres_server.DATABASE,
            ),
            flink=PyFlinkResource(
                rest_url=f"http://{rest.host}:{rest.port}",
                checkpoint_directory=(folder / "checkpoints").as_uri(),
                savepoint_directory=(folder / "savepoints").as_uri(),
                script=str(script),
                python_executable=str(python),
                python_worker=str(python),
                jars=[str(jar) for jar in self.jars()],
                environment=script_environment(self.cache),
            ),
            budgets=Budgets(switchover_seconds=120.0, silence_seconds=60.0),
            ledger=LedgerResource(url=f"sqlite:///{self.stage.home}/pyflink-{spec.name}.db"),
            rds=RdsResource(
                instance=environment(state)["CDC_RDS_INSTANCE"],
                region=environment(state)["AWS_REGION"],
                endpoint_url=environment(state)["CDC_RDS_ENDPOINT_URL"],
            ),
        )

    def jars(self) -> list[Path]:
        """Return the connectors that the scripts are planned with."""
        folders = [self.cache.folder(each) for each in load_packages() if each.name in CONNECTORS]
        return [jar for folder in folders for jar in folder.glob("*.jar")]

    def run(self, definitions: dg.Definitions, *assets: str) -> dg.ExecuteInProcessResult:
        """Materialize assets of a stream, in this process and in this order."""
        job: Any = definitions.resolve_implicit_global_asset_job_def()
        keys = [dg.AssetKey(name.split("/")) for name in assets]
        return job.execute_in_process(
            instance=self.instance, asset_selection=keys, raise_on_error=False
        )

    def rows(self, table: str) -> dict[object, tuple[object, ...]]:
        """Return a whole target table."""
        state = self.stage.state
        return PostgresRows(state.service("postgres").port, state.accounts["cdc_writer"]).rows(
            table
        )

    def wanted(self) -> dict[object, tuple[object, ...]]:
        """Return the whole source table."""
        return {row[0]: row for row in executed(self.stage.source, "SELECT * FROM users")}

    def domains(self) -> dict[object, tuple[object, ...]]:
        """Return what the Python function makes of the source table."""
        return {
            key: (key, str(row[2]).rpartition("@")[2][::-1]) for key, row in self.wanted().items()
        }

    def leaks(self) -> list[str]:
        """Return the logs of the lab that hold a password of the script."""
        words = [each.encode() for each in secrets(self)]
        logs = [path for path in (self.stage.home / "logs").rglob("*") if path.is_file()]
        return [str(path) for path in logs if any(word in path.read_bytes() for word in words)]

    def is_equal(self) -> bool:
        """Return whether both target tables hold what they should."""
        return self.rows("users") == self.wanted() and self.rows("domains") == self.domains()


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Start a lab with a PostgreSQL server, and make the tables on both sides."""
    home = tmp_path_factory.mktemp("lab-pyflink")
    try:
        state = up(home, "mariadb", "postgres").state
        stage = Stage(home)
        executed(
            stage.source,
            "CREATE TABLE users (id INT PRIMARY KEY, name VARCHAR(50), email VARCHAR(100))"
            " CHARSET utf8mb4",
            *(
                f"INSERT INTO users VALUES ({n}, 'user {n}', 'u{n}@d{n}.example')"
                for n in range(50)
            ),
        )
        app = state.accounts["app"]
        with postgres_server.connect("127.0.0.1", state.service("postgres").port, app) as session:
            session.execute("CREATE TABLE users (id int PRIMARY KEY, name varchar(50), email text)")
            session.execute("CREATE TABLE domains (id int PRIMARY KEY, domain text)")
        with dg.instance_for_test() as instance, pytest.MonkeyPatch.context() as patch:
            for name, value in environment(state).items():
                if name.startswith("AWS_"):
                    patch.setenv(name, value)
            yield Place(stage, Cache(state.cache), instance)
    finally:
        down(home)


def spec(name: str, first_id: int) -> StreamSpec:
    """Return the stream: `users` is copied, `domains` is the script's own."""
    return StreamSpec(
        name,
        (TableRef("source", "users"),),
        ServerIdRange(first_id, first_id + 9),
        "public",
        queries=(QuerySpec("domains", ""),),
        target_kind="postgres",
    )


def eventually(holds: Callable[[], bool], what: str, *, seconds: float = 60.0) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def connection(definitions: dg.Definitions, stream: str) -> StreamConnection:
    """Return the connected stream."""
    wiring: Any = (definitions.resources or {})[f"cdc_{stream}"]
    return wiring.connect()


def said(place: Place, result: dg.ExecuteInProcessResult) -> str:
    """Return everything that a run wrote into its log."""
    return "\n".join(
        str(record.event_log_entry)
        for record in place.instance.get_records_for_run(result.run_id).records
    )


def change(place: Place, first: int) -> None:
    """Insert, update and delete."""
    executed(
        place.stage.source,
        f"INSERT INTO users VALUES ({first}, 'new', 'new@n{first}.example')",
        f"UPDATE users SET name = 'changed', email = 'x@c{first}.example' WHERE id % 10 = 3",
        f"DELETE FROM users WHERE id = {first - 99}",
    )


def test_a_script_runs_as_a_stream_and_is_recovered(place: Place) -> None:
    """Snapshot, changes, a killed task manager, and the same script from its newest checkpoint."""
    definitions = place.definitions(SCRIPT, spec("users", 9700))
    runtime = connection(definitions, "users").runtime
    result = place.run(definitions, "users/snapshot", "users/stream")
    log = said(place, result)
    assert result.success, log
    assert f"PyFlink {FLINK_VERSION} submits job" in log
    assert [s for s in secrets(place) if s in log] == []
    change(place, 100)
    eventually(place.is_equal, "the changes do not arrive")

    kill_service(place.stage.home, "taskmanager")
    change(place, 101)
    start_service(place.stage.home, "taskmanager")
    broken = runtime.ledger.incarnations("users")[-1]
    eventually(lambda: runtime.engine.job(broken.job_id).state == "FAILED", "the job goes on")
    job = definitions.resolve_job_def("recover_users")
    recovered = job.execute_in_process(instance=place.instance, raise_on_error=False)
    assert recovered.success, said(place, recovered)
    eventually(place.is_equal, "the changes from before the recovery do not arrive")
    row = runtime.ledger.incarnations("users")[-1]
    assert row.number == broken.number + 1
    assert f"/{broken.job_id}/chk-" in row.restored_from
    assert [s for s in secrets(place) if s in row.sql] == []
    assert {each.verdict for each in runtime.ledger.reconciliations("users")} == {"InSync"}
    runtime.engine.cancel(row.job_id, budget_seconds=60)


def test_a_script_goes_over_a_switchover(place: Place) -> None:
    """Old blue is read to its end, and the script goes on at green's coordinates with its state."""
    definitions = place.definitions(SCRIPT, spec("moved", 9720))
    runtime = connection(definitions, "moved").runtime
    result = place.run(definitions, "moved/snapshot", "moved/stream")
    assert result.success, said(place, result)
    change(place, 110)
    place.stage.switch_over(place.stage.available_deployment())
    change(place, 111)
    job = definitions.resolve_job_def("recover_moved")
    recovered = job.execute_in_process(instance=place.instance, raise_on_error=False)
    assert recovered.success, said(place, recovered)
    eventually(place.is_equal, "rows are lost in the switchover")
    rows = runtime.ledger.incarnations("moved")
    assert [row.kind for row in rows] == ["snapshot", "stream", "drain", "stream"]
    assert "/transplant-" in rows[-1].restored_from
    assert rows[-2].server != rows[-1].server
    assert place.leaks() == []
    runtime.engine.cancel(rows[-1].job_id, budget_seconds=60)


def secrets(place: Place) -> list[str]:
    """Return the passwords that the script is given."""
    return [place.stage.state.accounts[role].password for role in ("cdc", "cdc_writer")]


OTHER_START = """
t_env.execute_sql("CREATE TABLE other WITH ('scan.startup.mode'='latest-offset') LIKE source_users")
"""
OWN_ENVIRONMENT = """
from pyflink.common import Configuration
from pyflink.table import EnvironmentSettings, TableEnvironment
own = Configuration()
for key in ("execution.target", "rest.address", "rest.port", "pipeline.jars", "pipeline.name",
            "$internal.pipeline.job-id", "python.executable", "python.client.executable"):
    own.set_string(key, t_env.get_config().get(key, ""))
t_env = TableEnvironment.create(
    EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(own).build()
)
"""
NO_INTERVAL = "t_env.get_config().set('execution.checkpointing.interval', '0 s')"
REFUSED: Mapping[str, tuple[str, str]] = {
    "own_environment": (OWN_ENVIRONMENT, "was cancelled: it takes no checkpoints"),
    "no_checkpoints": (NO_INTERVAL, "the launch sets execution.checkpointing.interval itself"),
    "other_start": (OTHER_START, "table 'other' does not read as this launch must"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_script_that_could_not_be_recovered_is_refused(
    place: Place, tmp_path: Path, fault: str
) -> None:
    """A job without checkpoints is cancelled; a source with another start is not even read."""
    line, message = REFUSED[fault]
    text = SCRIPT.read_text()
    before = "t_env.execute_sql" if fault == "own_environment" else "job = t_env"
    script = tmp_path / "refused.py"
    script.write_text(text.replace(before, f"{line}\n{before}", 1))
    definitions = place.definitions(script, spec(fault, 9800))
    result = place.run(definitions, f"{fault}/snapshot")
    assert not result.success
    assert message in said(place, result)
    runtime = connection(definitions, fault).runtime
    (row,) = runtime.ledger.incarnations(fault)
    assert runtime.engine.job(row.job_id).state in {"CANCELED", "GONE"}
    rest = place.stage.state.services["jobmanager"]
    jobs = FlinkClient(f"http://{rest.host}:{rest.port}").jobs()
    assert [job.name for job in jobs if job.name.startswith(fault) and job.is_up] == []
