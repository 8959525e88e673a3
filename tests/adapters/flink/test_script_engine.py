"""A launch by script: what is looked at afterwards, and what each end of the script means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import (
    CdcError,
    CheckpointUnreadable,
    ConfigurationError,
    EngineRejected,
    EngineUnreachable,
)
from cdc_assets.flink.engine import StateFolders
from cdc_assets.flink.script_engine import Script, ScriptEngine
from cdc_assets.flink.script_order import ScriptRenderer
from cdc_assets.flink.script_process import ScriptCommand, ScriptEnd
from cdc_assets.flink.sinks import MySqlSink
from cdc_assets.flink.source_sql import SourceAccess
from cdc_assets.operations.clock import SystemClock
from cdc_assets.ports import Launch, Server

if TYPE_CHECKING:
    from cdc_assets.flink.client import FlinkClient
    from tests.adapters.flink.conftest import FakeServer, Replies

JOB = "ab" * 16
SHAPE = TableShape("mydb", "users", (Column("id", "int", "int(11)", nullable=False),), ("id",))
SPEC = StreamSpec(
    "users", (TableRef("mydb", "users"),), ServerIdRange(1, 9), "dw", is_scripted=True
)
LAUNCH = Launch(JOB, "users:1", SPEC, Server("db.example", 3306))
SECRET = "geheim-word"
CONFIG = f"/jobs/{JOB}/config"
CHECKPOINTS = f"/jobs/{JOB}/checkpoints/config"
STATUS = f"/jobs/{JOB}/status"
TRACE = """Traceback (most recent call last):
  File "users.py", line 9, in <module>
py4j.protocol.Py4JJavaError: An error occurred while calling o8.executeSql.
: org.apache.flink.table.api.TableException: Failed to execute sql
\tat org.apache.flink.table.api.internal.TableEnvironmentImpl.executeInternal(X.java:1)
Caused by: {cause}
\tat a.b.C.d(C.java:1)
"""


class Shapes:
    """A source and a target that know their tables."""

    def shapes(self, *_: object) -> tuple[TableShape, ...]:
        return (SHAPE,)


@dataclass
class Runner:
    """Runs nothing, and remembers what it was asked."""

    end: ScriptEnd = field(default_factory=lambda: ScriptEnd(0, ""))
    commands: list[ScriptCommand] = field(default_factory=list)

    def __call__(self, command: ScriptCommand, *, budget_seconds: float) -> ScriptEnd:
        assert budget_seconds > 0
        self.commands.append(command)
        return self.end


@pytest.fixture
def runner() -> Runner:
    return Runner()


@pytest.fixture
def engine(flink: FlinkClient, runner: Runner, tmp_path: Path) -> ScriptEngine:
    script = tmp_path / "users.py"
    script.write_text("print('the job')\n")
    tables: Any = Shapes()
    return ScriptEngine(
        client=flink,
        folders=StateFolders("file:///c", "file:///s"),
        source=tables,
        target=tables,
        script=Script(script, "python-of-pyflink", run=runner),
        render=ScriptRenderer(
            SourceAccess("cdc", SECRET),
            MySqlSink(Server("dw.example", 3306), "dw", "writer", SECRET),
            "http://flink.test:8081",
            "file:///c",
        ),
        secrets=[SECRET],
        clock=SystemClock(),
    )


@dataclass
class Cluster:
    """A scripted job manager."""

    server: FakeServer
    reply: Replies

    def shows(
        self,
        *states: str,
        interval: int = 3000,
        kept: bool = True,
        mark: str = JOB,
        others: Sequence[str] = (),
    ) -> None:
        """Answer as for a job in these states, one after the other."""
        gone = self.reply({"errors": [f"x.NotFoundException: Job {JOB} not found"]}, 404)
        answers = [self.reply({"status": state}) if state else gone for state in states]
        self.server.on("GET", STATUS, *answers)
        known = [
            {"jid": job, "name": "n", "state": "RUNNING", "start-time": 1, "tasks": {}}
            for job in others
        ]
        self.server.on(
            "GET", "/jobs/overview", self.reply({"jobs": []}), self.reply({"jobs": known})
        )
        self.server.on(
            "GET", CONFIG, self.reply({"execution-config": {"user-config": {"cdc.launch": mark}}})
        )
        kept_text = {"enabled": kept, "delete_on_cancellation": not kept}
        self.server.on(
            "GET", CHECKPOINTS, self.reply({"interval": interval, "externalization": kept_text})
        )
        self.server.on("PATCH", f"/jobs/{JOB}", self.reply({}, 202))

    @property
    def cancelled(self) -> bool:
        return ("PATCH", f"/jobs/{JOB}") in self.server.calls


@pytest.fixture
def cluster(server: FakeServer, reply: Replies) -> Cluster:
    return Cluster(server, reply)


def test_a_job_that_can_be_recovered_is_launched(
    engine: ScriptEngine, cluster: Cluster, runner: Runner
) -> None:
    cluster.shows("RUNNING")
    assert engine.launch(LAUNCH) == JOB
    (command,) = runner.commands
    assert command.python == "python-of-pyflink"
    assert not cluster.cancelled


def test_secrets_are_in_the_order_only(
    engine: ScriptEngine, cluster: Cluster, runner: Runner
) -> None:
    cluster.shows("RUNNING")
    engine.launch(LAUNCH)
    (command,) = runner.commands
    assert SECRET in command.order
    seen = [repr(command), str(command.script), *command.environment.values()]
    assert [text for text in [*seen, engine.rendered(LAUNCH)] if SECRET in text] == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"interval": 2**63 - 1}, "it takes no checkpoints"),
        ({"kept": False}, "its checkpoints are deleted when it ends"),
        ({"mark": "cd" * 16}, "not submitted with the settings of stream_environment"),
    ],
)
def test_a_job_that_cannot_be_recovered_is_cancelled_and_refused(
    engine: ScriptEngine, cluster: Cluster, settings: dict[str, Any], said: str
) -> None:
    cluster.shows("RUNNING", "RUNNING", "CANCELED", **settings)
    with pytest.raises(EngineRejected, match=said):
        engine.launch(LAUNCH)
    assert cluster.cancelled


def test_a_cluster_that_has_no_page_of_checkpoints_has_none_either(
    engine: ScriptEngine, cluster: Cluster, reply: Replies
) -> None:
    cluster.shows("RUNNING", "RUNNING", "CANCELED")
    refusal = {"errors": ["x.RestHandlerException: Checkpointing is not enabled for this job"]}
    cluster.server.on("GET", CHECKPOINTS, reply(refusal, 404))
    with pytest.raises(EngineRejected, match="it takes no checkpoints"):
        engine.launch(LAUNCH)


def test_a_script_that_submits_under_another_id_is_refused_and_the_job_is_named(
    engine: ScriptEngine, cluster: Cluster
) -> None:
    cluster.shows("", others=["cd" * 16])
    with pytest.raises(EngineRejected, match=f"under its id; jobs that appeared.*{'cd' * 16}"):
        engine.launch(LAUNCH)


@pytest.mark.parametrize(
    ("output", "wanted"),
    [
        ("Traceback\nNameError: name 'x' is not defined\n", EngineRejected("NameError: name 'x'")),
        ("cdc_stream.Refused: table 'a' does not", EngineRejected("Refused: table 'a'")),
        ("", EngineRejected("it ended with code 1")),
        (
            TRACE.format(cause="org.apache.flink.table.api.ValidationException: no 'x' table"),
            EngineRejected("ValidationException: no 'x' table"),
        ),
        (
            TRACE.format(cause="java.net.ConnectException: Connection refused"),
            EngineUnreachable("Connection refused"),
        ),
        (
            TRACE.format(
                cause="java.io.FileNotFoundException: Cannot find meta data file '_metadata' in "
                "directory 'file:/c/chk-1'. Please try to load the checkpoint/savepoint directly"
            ),
            CheckpointUnreadable("Cannot find meta data file"),
        ),
    ],
)
def test_the_end_of_a_failed_script_says_why(
    engine: ScriptEngine, cluster: Cluster, runner: Runner, output: str, wanted: CdcError
) -> None:
    cluster.shows("")
    runner.end = ScriptEnd(1, output)
    with pytest.raises(type(wanted)) as caught:
        engine.launch(LAUNCH)
    assert wanted.message.rpartition("_metadata: ")[2] in caught.value.message


def test_no_error_repeats_a_secret(engine: ScriptEngine, cluster: Cluster, runner: Runner) -> None:
    cluster.shows("")
    runner.end = ScriptEnd(1, f"ValueError: bad options 'password' = '{SECRET}'")
    with pytest.raises(EngineRejected) as caught:
        engine.launch(LAUNCH)
    assert SECRET not in str(caught.value)


def test_a_script_that_fails_after_its_submission_has_launched(
    engine: ScriptEngine, cluster: Cluster, runner: Runner
) -> None:
    cluster.shows("RUNNING")
    runner.end = ScriptEnd(1, "KeyError: 'x'")
    assert engine.launch(LAUNCH) == JOB


def test_a_job_that_died_at_its_submission_is_an_error_and_not_a_launch(
    engine: ScriptEngine, cluster: Cluster, runner: Runner
) -> None:
    cluster.shows("FAILED")
    runner.end = ScriptEnd(1, TRACE.format(cause="x.JobInitializationException: no such table"))
    with pytest.raises(EngineRejected, match="no such table"):
        engine.launch(LAUNCH)


def test_a_job_that_is_there_already_is_adopted(
    engine: ScriptEngine, cluster: Cluster, runner: Runner
) -> None:
    cluster.shows("FAILED")
    runner.end = ScriptEnd(
        1, TRACE.format(cause="o.DuplicateJobSubmissionException: Job has already been submitted")
    )
    assert engine.launch(LAUNCH) == JOB


def test_a_script_that_does_not_end_is_not_known_to_have_failed(
    engine: ScriptEngine, cluster: Cluster, runner: Runner
) -> None:
    cluster.shows("")
    runner.end = ScriptEnd(None, "")
    with pytest.raises(EngineUnreachable, match="did not end within 120 s"):
        engine.launch(LAUNCH)


def test_a_script_that_is_not_there_starts_nothing(
    engine: ScriptEngine, runner: Runner, tmp_path: Path
) -> None:
    (tmp_path / "users.py").unlink()
    with pytest.raises(ConfigurationError, match="script: cannot be read"):
        engine.launch(LAUNCH)
    assert runner.commands == []


def test_a_job_of_another_launcher_is_looked_at_too(
    engine: ScriptEngine, cluster: Cluster, reply: Replies
) -> None:
    cluster.shows("RUNNING", "RUNNING", "CANCELED", interval=2**63 - 1)
    job = {"jid": JOB, "name": "n", "state": "RUNNING", "start-time": 1, "end-time": -1}
    tasks = {"running": 1, "total": 1}
    cluster.server.on("GET", "/jobs/overview", reply({"jobs": [job | {"tasks": tasks}]}))
    cluster.server.on("GET", f"/jobs/{JOB}", reply(job | {"vertices": []}))
    empty: dict[str, Any] = {"counts": {}, "latest": {}, "history": []}
    cluster.server.on("GET", f"/jobs/{JOB}/checkpoints", reply(empty))
    metrics = [{"id": "numRestarts", "value": "0"}]
    cluster.server.on("GET", f"/jobs/{JOB}/metrics", reply(metrics))
    with pytest.raises(EngineRejected, match="it takes no checkpoints"):
        engine.wait_running(JOB, budget_seconds=1)
