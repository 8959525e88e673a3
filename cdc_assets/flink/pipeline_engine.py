"""PipelineEngine: the port `StreamEngine` for a stream that Flink CDC itself runs.

Flink CDC's client composes the job from a pipeline file and submits it. From there on it is a
job like any other: its MySQL source keeps its position in the same form as the SQL connector.
"""

from __future__ import annotations

from collections.abc import Sequence

from cdc_assets.core.columns import TableShape
from cdc_assets.core.failure_text import causes, innermost_cause
from cdc_assets.core.preflight import Fault
from cdc_assets.errors import EngineError
from cdc_assets.flink.cdc_home import FlinkCdcHome
from cdc_assets.flink.child_engine import ChildEngine
from cdc_assets.flink.client import FlinkClient
from cdc_assets.flink.engine import Describer, StateFolders
from cdc_assets.flink.pipeline_order import PipelineRenderer
from cdc_assets.flink.script_process import ScriptEnd
from cdc_assets.ports import Clock, Launch, Target

_THREAD = 'Exception in thread "main" '


class PipelineEngine(ChildEngine):
    """Flink, with jobs that Flink CDC's client submits.

    Args:
        client: REST.
        folders: Where state lies.
        source: Describes the captured tables.
        target: Describes the topics.
        home: Flink CDC.
        render: Makes the orders.
        secrets: Texts that no error may repeat.
        clock: Time.
    """

    def __init__(
        self,
        *,
        client: FlinkClient,
        folders: StateFolders,
        source: Describer,
        target: Target,
        home: FlinkCdcHome,
        render: PipelineRenderer,
        secrets: Sequence[str],
        clock: Clock,
    ) -> None:
        super().__init__(
            client=client,
            folders=folders,
            source=source,
            target=target,
            budget_seconds=home.budget_seconds,
            secrets=(*secrets, *render.secrets),
            clock=clock,
        )
        self._home = home
        self._render = render

    def launch(self, launch: Launch) -> str:
        """Let Flink CDC submit the job.

        Raises:
            EngineRejected: Flink CDC or Flink refused it.
            CheckpointUnreadable: Flink cannot read the state to go on from.
            EngineUnreachable: Flink did not answer; the job may or may not exist.
        """
        # Flink CDC's writer asks for a topic when its first record comes, and then forever.
        self._target.shapes(launch.spec.target_names)
        self._submit(launch)
        return launch.job_id

    def rendered(self, launch: Launch) -> str:
        """Return the order, without secrets."""
        return self._render.for_people(launch, self._shapes(launch))

    def faults(self) -> Sequence[Fault]:
        """Return what keeps Flink CDC from submitting a job; none is started."""
        try:
            cluster = self._client.class_path()
        except EngineError:  # The launch says so.
            cluster = ()
        return tuple(self._home.faults(cluster))

    def _run(self, launch: Launch) -> ScriptEnd:
        return self._home.submit(self._render.order(launch, self._shapes(launch)))

    def _shapes(self, launch: Launch) -> tuple[TableShape, ...]:
        return self._source.shapes(launch.server, launch.spec.tables)

    def _name_of(self, launch: Launch) -> str:
        return f"Flink CDC's submission of stream {launch.spec.name!r}"

    def _trace_of(self, text: str) -> str:
        return text.rpartition(_THREAD)[2] if _THREAD in text else ""

    def _reason_of(self, trace: str) -> str:
        """Return the outermost cause, which names the option, and the innermost one."""
        chain = causes(trace)
        return ": ".join(dict.fromkeys(innermost_cause(each) for each in (chain[-1], chain[0])))

    @property
    def _hints(self) -> tuple[str, str]:
        return (
            "Correct the pipeline file, or take out what this version of Flink CDC does not know",
            "See that it is Flink CDC 3.2 or newer",
        )
