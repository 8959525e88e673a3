"""ScriptOrder: a launch as a PyFlink script is told it. Pure.

The script says what is read and written; the launch says where, from which place and under
which job id. Both are needed, and neither can do without the other: `interpreter/cdc_stream.py`
is the other end.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from cdc_assets.core.columns import TableShape
from cdc_assets.core.readers import plan_readers
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.gateway import (
    CLAIM_MODE_OPTION,
    JOB_ID_OPTION,
    JOB_NAME_OPTION,
    RESTORE_PATH_OPTION,
)
from cdc_assets.flink.http import redacted
from cdc_assets.flink.quoting import quote_text
from cdc_assets.flink.render import job_settings, sink_options
from cdc_assets.flink.rest import checked_id
from cdc_assets.flink.sinks import Sink
from cdc_assets.flink.source_sql import SourceAccess, reader_options
from cdc_assets.ports import Launch

MARK = "cdc.launch"
_FORMAT = 1
_REDACTED = "***"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class ScriptOrder:
    """What one launch tells the script.

    Attributes:
        stream: Name of the stream.
        job_id: The id that the job must have.
        settings: Of the job and of the way to the cluster.
        sources: Options of the sources by `database.table`, with the account.
        targets: Options of the targets by name, with the account.
        python_worker: Interpreter of Python functions at the task managers, empty without any.
    """

    stream: str
    job_id: str
    settings: Mapping[str, str]
    sources: Mapping[str, Mapping[str, str]] = field(repr=False)
    targets: Mapping[str, Mapping[str, str]] = field(repr=False)
    python_worker: str = ""

    def to_json(self) -> str:
        """Return the text for the script's standard input; it holds passwords."""
        return json.dumps(
            {
                "format": _FORMAT,
                "stream": self.stream,
                "job_id": self.job_id,
                "settings": dict(self.settings),
                "sources": {name: dict(options) for name, options in self.sources.items()},
                "targets": {name: dict(options) for name, options in self.targets.items()},
                "python_worker": self.python_worker,
            }
        )


@dataclass(frozen=True)
class ScriptRenderer:
    """Makes the orders of a stream's launches.

    Attributes:
        source: Account of the readers.
        sink: Where rows go.
        rest_url: Flink's REST API, where the job is submitted.
        checkpoints: Folder of the checkpoints, as a URL.
        jars: Jars that the script's statements are planned with, as URLs.
        python_worker: Interpreter of Python functions at the task managers, empty without any.
        settings: More Flink settings.
    """

    source: SourceAccess
    sink: Sink
    rest_url: str
    checkpoints: str
    jars: Sequence[str] = ()
    python_worker: str = ""
    settings: Mapping[str, str] = field(default_factory=dict[str, str])

    def order(
        self, launch: Launch, shapes: Sequence[TableShape], target_shapes: Sequence[TableShape]
    ) -> ScriptOrder:
        """Return the order of a launch.

        Raises:
            ConfigurationError: A table, a name or a setting does not fit.
            UnsupportedType: A column cannot be carried.
        """
        readers = plan_readers(launch.spec, shapes)
        return ScriptOrder(
            stream=launch.spec.name,
            job_id=checked_id(launch.job_id),
            settings=self._settings(launch),
            sources={
                reader.tables[0].table.label: reader_options(launch, reader, self.source)
                for reader in readers
            },
            targets={
                shape.name: sink_options(launch, shape.name, self.sink) for shape in target_shapes
            },
            python_worker=self.python_worker,
        )

    def for_people(self, order: ScriptOrder, script: str) -> str:
        """Return order and script without secrets, and without what names this one launch."""
        secrets = (("password", self.source.password), *self.sink.secrets)
        hidden = {name for name, _ in secrets}
        lines = settings_for_people(order.settings)
        for kind, tables in (("source", order.sources), ("target", order.targets)):
            for name, options in sorted(tables.items()):
                lines += [f"-- {kind} {name}", *options_for_people(options, hidden)]
        # A script has no business with passwords; one that holds them does not spread them.
        return "\n".join([*lines, "-- script", redacted(script, [each for _, each in secrets])])

    def _settings(self, launch: Launch) -> Mapping[str, str]:
        # Shown by Flink's REST API: a job without it was not submitted with these settings.
        mark = {"pipeline.global-job-parameters": f"{MARK}:{launch.job_id}"}
        forced = {**launch_settings(launch, self.rest_url, self.checkpoints), **mark}
        if self.jars:
            forced["pipeline.jars"] = ";".join(self.jars)
        return with_settings(self.settings, forced)


def launch_settings(launch: Launch, rest_url: str, checkpoints: str) -> dict[str, str]:
    """Return the settings of a job that a process of its own submits by REST.

    The cluster's own settings do not reach such a job: what is left out here is Flink's
    default, and that is a job without checkpoints.

    Args:
        launch: What is launched.
        rest_url: Where.
        checkpoints: Folder of the checkpoints, as a URL.

    Raises:
        ConfigurationError: The address has a path.
    """
    host, port = _address(rest_url)
    found = {
        **job_settings(launch.spec),
        "execution.checkpointing.dir": checkpoints,
        # Small state stays inside `_metadata`, so a position is one file to read.
        "execution.checkpointing.data-inline-threshold": "1mb",
        "execution.target": "remote",
        "rest.address": host,
        "rest.port": str(port),
        # Otherwise a submission is sent again when nobody waits for it any more.
        "rest.retry.max-attempts": "0",
        JOB_ID_OPTION: checked_id(launch.job_id),
        JOB_NAME_OPTION: launch.name,
    }
    if launch.restore_path is not None:
        found[RESTORE_PATH_OPTION] = _state_url(launch.restore_path)
        found[CLAIM_MODE_OPTION] = "NO_CLAIM"
    return found


def with_settings(given: Mapping[str, str], forced: Mapping[str, str]) -> Mapping[str, str]:
    """Return both.

    Raises:
        ConfigurationError: One is given that the launch makes.
    """
    taken = sorted(given.keys() & (forced.keys() | _OF_ONE_LAUNCH))
    if taken:
        raise ConfigurationError("this setting is made by the launch itself", field=taken[0])
    return {**given, **forced}


def settings_for_people(settings: Mapping[str, str]) -> list[str]:
    """Return settings as lines, without what names one launch."""
    return [
        f"SET {quote_text(key)} = {quote_text(value)};"
        for key, value in settings.items()
        if key not in _OF_ONE_LAUNCH
    ]


def options_for_people(options: Mapping[str, str], hidden: Collection[str]) -> list[str]:
    """Return options as lines, without the values of the hidden ones."""
    return [
        f"  {quote_text(key)} = {quote_text(_REDACTED if key in hidden else value)}"
        for key, value in options.items()
    ]


_OF_ONE_LAUNCH = frozenset(
    {
        JOB_ID_OPTION,
        JOB_NAME_OPTION,
        RESTORE_PATH_OPTION,
        CLAIM_MODE_OPTION,
        "pipeline.global-job-parameters",
    }
)


def _state_url(path: str) -> str:
    return f"file://{path}" if path.startswith("/") else path


def _address(rest_url: str) -> tuple[str, int]:
    """Return host and port; Flink's client takes no path, which a proxy could ask for."""
    parts = urlsplit(rest_url)
    if not parts.hostname or parts.path.strip("/"):
        raise ConfigurationError(
            "a job is submitted to a host and port without a path",
            field="rest_url",
            value=rest_url,
        )
    return parts.hostname, parts.port or _PORTS.get(parts.scheme, 80)
