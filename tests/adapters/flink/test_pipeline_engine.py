"""A launch by Flink CDC: what each end of its client means, and what keeps it from starting."""

from __future__ import annotations

import json
import stat
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.kafka import KafkaAccess
from cdc_assets.core.native_pipeline import NativePipeline
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import ConfigurationError, EngineRejected, EngineUnreachable
from cdc_assets.flink.cdc_home import FlinkCdcHome
from cdc_assets.flink.engine import StateFolders
from cdc_assets.flink.pipeline_engine import PipelineEngine
from cdc_assets.flink.pipeline_order import PipelineOrder, PipelineRenderer
from cdc_assets.flink.script_process import ScriptEnd
from cdc_assets.flink.sink_kafka import CDC_SHADED, SHADED, KafkaSink
from cdc_assets.flink.source_sql import SourceAccess
from cdc_assets.operations.clock import SystemClock
from cdc_assets.ports import Launch, Server

if TYPE_CHECKING:
    from cdc_assets.flink.client import FlinkClient
    from tests.adapters.flink.conftest import FakeServer, Replies

JOB = "ab" * 16
SHAPE = TableShape("shop", "users", (Column("id", "int", "int(11)", nullable=False),), ("id",))
SPEC = StreamSpec(
    "shop", (TableRef("shop", "users"),), ServerIdRange(1, 9), "", target_kind="kafka",
    engine="flink-cdc",
)  # fmt: skip
LAUNCH = Launch(JOB, "shop:1", SPEC, Server("db.example", 3306))
SECRET = "geheim-word"
STATUS = f"/jobs/{JOB}/status"
RENDER = PipelineRenderer(
    SourceAccess("cdc", SECRET),
    KafkaSink(KafkaAccess("kafka.example:9092")),
    NativePipeline(),
    "http://flink.test:8081",
    "file:///c",
)
TRACE = """SLF4J: something
Exception in thread "main" java.lang.RuntimeException: Failed to run
\tat org.apache.flink.cdc.cli.CliFrontend.main(CliFrontend.java:1)
Caused by: {cause}
\tat a.b.C.d(C.java:1)
"""
# What stands for Java: it shows what it was given, and ends as it is told.
JAVA = """#!/bin/sh
echo "arguments: $*"
cat "$4"
cat "$6/conf/config.yaml"
env
exit {code}
"""


class Shapes:
    """A source and a target that know their tables."""

    def shapes(self, *_: object) -> tuple[TableShape, ...]:
        return (SHAPE,)


@dataclass(frozen=True)
class Client(FlinkCdcHome):
    """Submits nothing, and remembers what it was asked."""

    ends: list[ScriptEnd] = field(default_factory=lambda: [ScriptEnd(0, "")])
    orders: list[PipelineOrder] = field(default_factory=list)

    def submit(self, order: PipelineOrder) -> ScriptEnd:
        self.orders.append(order)
        return self.ends[-1]


@pytest.fixture
def client() -> Client:
    return Client(Path("/cdc"), Path("/flink"))


@pytest.fixture
def engine(flink: FlinkClient, client: Client) -> PipelineEngine:
    tables: Any = Shapes()
    return PipelineEngine(
        client=flink,
        folders=StateFolders("file:///c", "file:///s"),
        source=tables,
        target=tables,
        home=client,
        render=RENDER,
        secrets=[SECRET],
        clock=SystemClock(),
    )


@pytest.fixture
def shows(server: FakeServer, reply: Replies) -> Callable[[str], None]:
    """Return what lets the cluster answer as for a job in a state, or for none."""

    def answer(state: str) -> None:
        gone = reply({"errors": [f"x.NotFoundException: Job {JOB} not found"]}, 404)
        server.on("GET", STATUS, reply({"status": state}) if state else gone)
        server.on("GET", "/jobs/overview", reply({"jobs": []}))

    return answer


def test_a_job_is_launched_under_the_launchs_own_id(
    engine: PipelineEngine, client: Client, shows: Callable[[str], None]
) -> None:
    shows("RUNNING")
    assert engine.launch(LAUNCH) == JOB
    (order,) = client.orders
    assert order.settings["$internal.pipeline.job-id"] == JOB
    assert SECRET in order.definition_text
    assert SECRET not in engine.rendered(LAUNCH)


@pytest.mark.parametrize(
    ("end", "wanted"),
    [
        (
            ScriptEnd(1, TRACE.format(cause="x.ValidationException: Unsupported options 'a'")),
            (
                EngineRejected,
                "Failed to run: ValidationException: Unsupported options 'a'.*Correct the pipeline",
            ),
        ),
        (
            ScriptEnd(1, TRACE.format(cause="java.net.ConnectException: Connection refused")),
            (EngineUnreachable, "Connection refused"),
        ),
        (ScriptEnd(1, "Error: no CliFrontend"), (EngineRejected, "no CliFrontend")),
        (ScriptEnd(0, "Job ID: ff"), (EngineRejected, "submitted no job under its id")),
        (ScriptEnd(None, ""), (EngineUnreachable, "did not end within 120 s")),
    ],
)
def test_the_end_of_a_submission_without_a_job_says_why(
    engine: PipelineEngine,
    client: Client,
    shows: Callable[[str], None],
    end: ScriptEnd,
    wanted: tuple[type[Exception], str],
) -> None:
    shows("")
    client.ends.append(end)
    with pytest.raises(wanted[0], match=wanted[1]):
        engine.launch(LAUNCH)


def test_no_error_repeats_a_secret(
    engine: PipelineEngine, client: Client, shows: Callable[[str], None]
) -> None:
    shows("")
    client.ends.append(ScriptEnd(1, TRACE.format(cause=f"x.Wrong: password {SECRET}")))
    with pytest.raises(EngineRejected) as caught:
        engine.launch(LAUNCH)
    assert SECRET not in str(caught.value)


def test_a_job_that_is_there_already_is_adopted(
    engine: PipelineEngine, client: Client, shows: Callable[[str], None]
) -> None:
    shows("FAILED")
    client.ends.append(ScriptEnd(1, "x.DuplicateJobSubmissionException: Job has already been"))
    assert engine.launch(LAUNCH) == JOB


# ---- the home and its client ------------------------------------------------------------------


def distribution(folder: Path, *jars: str, code: int = 0) -> FlinkCdcHome:
    """Make both homes with these jars, and a program in Java's place."""
    for name in ("cdc", "flink"):
        (folder / name / "lib").mkdir(parents=True)
    for jar in jars:
        with zipfile.ZipFile(folder / jar, "w") as archive:
            archive.writestr("a/B.class", b"")
    java = folder / "java"
    java.write_text(JAVA.format(code=code))
    java.chmod(java.stat().st_mode | stat.S_IXUSR)
    return FlinkCdcHome(folder / "cdc", folder / "flink", str(java), budget_seconds=20.0)


FULL = (
    "cdc/lib/flink-cdc-dist-3.5.0.jar",
    "cdc/lib/flink-cdc-pipeline-connector-mysql-3.5.0.jar",
    "cdc/lib/flink-cdc-pipeline-connector-kafka-3.5.0.jar",
    "cdc/lib/mysql-connector-j-9.7.0.jar",
    "flink/lib/flink-dist-1.20.3.jar",
)


def test_the_pipeline_is_on_the_standard_input_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDC_PASSWORD", SECRET)
    monkeypatch.setenv("FLINK_CDC_HOME", "/other")
    home = replace(distribution(tmp_path, *FULL), jars=(tmp_path / "udf.jar",))
    end = home.submit(RENDER.order(LAUNCH, [SHAPE]))
    assert end.code == 0
    arguments, _, rest = end.output.partition("\n")
    assert "org.apache.flink.cdc.cli.CliFrontend /dev/stdin --flink-home" in arguments
    assert arguments.endswith(f"--jar {tmp_path / 'udf.jar'}")
    assert f"-cp {tmp_path}/flink/lib/*:{tmp_path}/cdc/lib/*" in arguments
    text = rest.partition("}{")[0] + "}"
    assert json.loads(text)["source"]["password"] == SECRET
    assert end.output.count(SECRET) == 1
    assert "FLINK_CDC_HOME" not in end.output
    folder = arguments.partition("--flink-home ")[2].split(" ")[0]
    assert not Path(folder).exists()


def test_a_java_that_is_not_there_is_named(tmp_path: Path) -> None:
    home = replace(distribution(tmp_path, *FULL), java=str(tmp_path / "no-java"))
    with pytest.raises(ConfigurationError, match="java: cannot be started"):
        home.submit(RENDER.order(LAUNCH, [SHAPE]))


def test_a_complete_home_has_no_faults(tmp_path: Path) -> None:
    assert list(distribution(tmp_path, *FULL).faults(["/flink/lib/flink-dist.jar"])) == []


@pytest.mark.parametrize("number", range(len(FULL)))
def test_each_missing_jar_is_named(tmp_path: Path, number: int) -> None:
    jars = [jar for index, jar in enumerate(FULL) if index != number]
    (fault,) = distribution(tmp_path, *jars).faults([])
    name = Path(FULL[number]).name.rpartition("-")[0].removesuffix("-j")
    assert name in fault.text


def test_the_connector_for_sql_is_found_wherever_it_would_be_loaded_from(tmp_path: Path) -> None:
    sql = "flink-sql-connector-mysql-cdc-3.5.0.jar"
    home = distribution(tmp_path, *FULL, f"flink/lib/{sql}")
    faults = list(home.faults(["/a.jar", f"/opt/flink/lib/{sql}"]))
    assert [fault.field for fault in faults] == ["flink.flink_home", "flink.cluster"]
    assert all("class path without it" in fault.text for fault in faults)


def test_a_java_and_a_jar_that_are_not_there_are_faults(tmp_path: Path) -> None:
    home = replace(distribution(tmp_path, *FULL), java="no-such-java", jars=(tmp_path / "x.jar",))
    assert {fault.field for fault in home.faults([])} == {"flink.java", "flink.jars"}


@pytest.mark.parametrize("prefix", ["", SHADED, CDC_SHADED])
def test_what_a_sink_calls_kafkas_classes_is_told_by_its_jar(tmp_path: Path, prefix: str) -> None:
    home = distribution(tmp_path, *FULL)
    assert home.shaded_as == ""
    with zipfile.ZipFile(tmp_path / FULL[2], "w") as archive:
        # Since 3.3 the connector for Flink has the one prefix, Kafka's client the other.
        archive.writestr(f"{CDC_SHADED.replace('.', '/')}org/apache/flink/connector/K.class", b"")
        archive.writestr(f"{prefix.replace('.', '/')}org/apache/kafka/clients/K.class", b"")
    assert home.shaded_as == prefix
    (tmp_path / FULL[2]).write_bytes(b"no archive")
    assert home.shaded_as == ""


def test_the_clusters_class_path_is_asked_and_a_silent_cluster_is_no_fault(
    engine: PipelineEngine, server: FakeServer, reply: Replies, flink: FlinkClient
) -> None:
    sql = "/opt/flink/lib/flink-sql-connector-mysql-cdc-3.5.0.jar"
    page = "/jobmanager/environment"
    server.on("GET", page, reply({"classpath": [f"/opt/flink/lib/a.jar:{sql}"], "jvm": {}}))
    assert sql in flink.class_path()
    assert "flink.cluster" in {fault.field for fault in engine.faults()}
    server.on("GET", page, reply({"errors": ["x"]}, 500))
    assert "flink.cluster" not in {fault.field for fault in engine.faults()}
