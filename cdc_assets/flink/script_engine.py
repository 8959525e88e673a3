"""ScriptEngine: the port `StreamEngine` for a stream whose SQL is a user's PyFlink script.

The script runs in an interpreter of its own, submits, and ends. What it submitted is looked at
afterwards: PyFlink takes over no setting of the cluster, and a script can overwrite the ones
that it was given. A job that cannot be recovered is cancelled and refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cdc_assets.core.job import TERMINAL_STATUSES, JobGone, JobSettings
from cdc_assets.core.observation import JobView
from cdc_assets.errors import ConfigurationError, EngineRejected
from cdc_assets.flink.child_engine import ChildEngine
from cdc_assets.flink.client import FlinkClient
from cdc_assets.flink.engine import StateFolders
from cdc_assets.flink.script_order import MARK, ScriptOrder, ScriptRenderer
from cdc_assets.flink.script_process import ScriptCommand, ScriptEnd, ScriptRunner, run_script
from cdc_assets.ports import Clock, Launch, Source, Target

_CANCEL_SECONDS = 60.0
_MOST_SCRIPT = 1024 * 1024
# Py4J's line before a Java stack trace.
_JAVA = "An error occurred while calling "


@dataclass(frozen=True)
class Script:
    """A user's script and how it is run.

    Attributes:
        path: The file.
        python: The interpreter that has PyFlink.
        environment: Variables that the script wants.
        budget_seconds: A run that takes longer is killed.
        run: How it is run.
    """

    path: Path
    python: str
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    budget_seconds: float = 120.0
    run: ScriptRunner = run_script

    def text(self) -> str:
        """Return the file's text.

        Raises:
            ConfigurationError: It cannot be read.
        """
        try:
            content = self.path.read_bytes()
            if len(content) > _MOST_SCRIPT:
                raise ConfigurationError(
                    f"has {len(content)} bytes", field="script", value=str(self.path)
                )
            return content.decode()
        except OSError as error:
            raise ConfigurationError(
                f"cannot be read: {error.strerror}", field="script", value=str(self.path)
            ) from None
        except UnicodeDecodeError:
            raise ConfigurationError(
                "is not a text in UTF-8", field="script", value=str(self.path)
            ) from None


class ScriptEngine(ChildEngine):
    """Flink, with jobs that a script submits.

    Args:
        client: REST.
        folders: Where state lies.
        source: Describes the captured tables.
        target: Describes the target tables.
        script: The script.
        render: Makes the orders.
        secrets: Texts that no error may repeat.
        clock: Time.
    """

    def __init__(
        self,
        *,
        client: FlinkClient,
        folders: StateFolders,
        source: Source,
        target: Target,
        script: Script,
        render: ScriptRenderer,
        secrets: Sequence[str],
        clock: Clock,
    ) -> None:
        super().__init__(
            client=client,
            folders=folders,
            source=source,
            target=target,
            budget_seconds=script.budget_seconds,
            secrets=secrets,
            clock=clock,
        )
        self._script = script
        self._render = render

    def launch(self, launch: Launch) -> str:
        """Run the script; its job is refused when it could not be recovered.

        Raises:
            EngineRejected: The script failed, or its job lacks what a stream needs.
            CheckpointUnreadable: Flink cannot read the state to go on from.
            EngineUnreachable: Flink did not answer; the job may or may not exist.
        """
        self._script.text()  # a file that is not there starts no interpreter
        self._submit(launch)
        self._require_recoverable(launch.job_id)
        return launch.job_id

    def rendered(self, launch: Launch) -> str:
        """Return order and script, without secrets."""
        return self._render.for_people(self._order(launch), self._script.text())

    def wait_running(self, job_id: str, *, budget_seconds: float) -> JobView:
        """Wait until every task runs; a job that another launcher submitted is looked at, too."""
        view = super().wait_running(job_id, budget_seconds=budget_seconds)
        if view.state == "RUNNING":
            self._require_recoverable(job_id)
        return view

    def _run(self, launch: Launch) -> ScriptEnd:
        command = ScriptCommand(
            self._script.python,
            self._script.path,
            self._order(launch).to_json(),
            self._script.environment,
        )
        return self._script.run(command, budget_seconds=self._script.budget_seconds)

    def _order(self, launch: Launch) -> ScriptOrder:
        shapes = self._source.shapes(launch.server, launch.spec.tables)
        targets = self._target.shapes(launch.spec.target_names)
        return self._render.order(launch, shapes, targets)

    def _name_of(self, launch: Launch) -> str:
        return f"script {self._script.path.name} of stream {launch.spec.name!r}"

    def _trace_of(self, text: str) -> str:
        return text.rpartition(_JAVA)[2].partition("\n")[2] if _JAVA in text else ""

    @property
    def _hints(self) -> tuple[str, str]:
        return (
            "Correct the script",
            "Submit one INSERT or statement set with the environment of stream_environment()",
        )

    def _require_recoverable(self, job_id: str) -> None:
        """Cancel a job that a recovery could not go on from, and say what it lacks.

        Raises:
            EngineRejected: It lacks something.
        """
        found = self._client.settings_of(job_id)
        if isinstance(found, JobGone):
            return
        lacks = _lacks(found, job_id)
        if not lacks or self._client.status(job_id) in TERMINAL_STATUSES:
            return
        self.cancel(job_id, budget_seconds=_CANCEL_SECONDS)
        raise EngineRejected(
            f"job {job_id} of {self._script.path.name} was cancelled: {'; '.join(lacks)}",
            hint="The script must use stream_environment() and leave its settings as they are",
        )


def _lacks(found: JobSettings, job_id: str) -> Sequence[str]:
    """Return what a job lacks that a stream's job must have."""
    lacks: list[str] = []
    if found.checkpoint_seconds is None:
        lacks.append("it takes no checkpoints, and the cluster's interval does not reach it")
    elif not found.externalized:
        lacks.append("its checkpoints are deleted when it ends")
    if found.parameters.get(MARK) != job_id:
        # Flink would restart it by itself, at whatever server is behind the endpoint by then.
        lacks.append("it was not submitted with the settings of stream_environment()")
    return lacks
