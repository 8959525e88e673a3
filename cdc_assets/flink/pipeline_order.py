"""PipelineOrder: a launch as Flink CDC reads it, a pipeline definition and Flink settings. Pure.

The file says what is done; the launch says where, from which place and under which job id.
Tables and topics are those of the stream, one by one, so a table that appears at the source
later does not change a running job.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cdc_assets.core.columns import TableShape
from cdc_assets.core.kafka import topic_of
from cdc_assets.core.native_pipeline import NativePipeline
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.core.types import is_integer_key
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.http import redacted
from cdc_assets.flink.script_order import (
    launch_settings,
    options_for_people,
    settings_for_people,
    with_settings,
)
from cdc_assets.flink.sink_kafka import KafkaSink
from cdc_assets.flink.source_sql import SourceAccess, connection_options, startup_options
from cdc_assets.ports import Launch

# What a name of Flink CDC's patterns is made of; its own escapes end at dots and commas.
_NAME = re.compile(r"[\w$-]+")
_CHUNK_KEY = "scan.incremental.snapshot.chunk.key-column"
_BACKFILL = "scan.incremental.snapshot.backfill.skip"
# Flink CDC reads a topic as namespace, schema and table.
_MOST_PARTS = 3


@dataclass(frozen=True)
class PipelineOrder:
    """What Flink CDC is told in one launch.

    Attributes:
        definition: The pipeline, as its YAML would say it; it holds passwords.
        settings: Of Flink.
    """

    definition: Mapping[str, object] = field(repr=False)
    settings: Mapping[str, str]

    @property
    def definition_text(self) -> str:
        """Return the pipeline as JSON, which is YAML with every text in quotes."""
        return json.dumps(self.definition, ensure_ascii=False)

    @property
    def settings_text(self) -> str:
        """Return the settings in the form of Flink's `config.yaml`."""
        return json.dumps(dict(self.settings))


@dataclass(frozen=True)
class PipelineRenderer:
    """Makes the orders of a stream's launches.

    Attributes:
        source: Account of the reader.
        sink: Where records go.
        said: What the file asks for.
        rest_url: Flink's REST API, where the job is submitted.
        checkpoints: Folder of the checkpoints, as a URL.
        settings: More Flink settings.
    """

    source: SourceAccess
    sink: KafkaSink
    said: NativePipeline
    rest_url: str
    checkpoints: str
    settings: Mapping[str, str] = field(default_factory=dict[str, str])

    def order(self, launch: Launch, shapes: Sequence[TableShape]) -> PipelineOrder:
        """Return the order of a launch.

        Raises:
            ConfigurationError: A table, a topic or a setting does not fit.
        """
        spec, said = launch.spec, self.said
        definition: dict[str, object] = {
            "source": {"type": "mysql", **self._source(launch, shapes)},
            "sink": {"type": "kafka", **self._sink()},
            "pipeline": {
                "local-time-zone": "UTC",
                **said.pipeline,
                "name": launch.name,
                "parallelism": str(spec.parallelism),
                # State is found by the operators' names, so they must not hang on the version.
                "operator.uid.prefix": spec.name,
            },
        }
        routes = self._routes(spec)
        if routes:
            definition["route"] = routes
        if said.transforms:
            definition["transform"] = list(said.transforms)
        forced = launch_settings(launch, self.rest_url, self.checkpoints)
        return PipelineOrder(definition, with_settings(self.settings, forced))

    def for_people(self, launch: Launch, shapes: Sequence[TableShape]) -> str:
        """Return the order without secrets, and without what names this one launch."""
        order = self.order(launch, shapes)
        hidden = {"password", *(name for name, _ in self.sink.secrets)}
        sink = {key: str(value) for key, value in self._sink().items()}
        rest = {"route": self._routes(launch.spec), "transform": list(self.said.transforms)}
        pipeline = {**self.said.pipeline, "parallelism": launch.spec.parallelism}
        lines = [
            *settings_for_people(order.settings),
            "-- source",
            *options_for_people(self._source(launch, shapes), hidden),
            "-- sink",
            *options_for_people(sink, hidden),
            "-- pipeline",
            *(json.dumps({key: value}) for key, value in {**rest, **pipeline}.items() if value),
        ]
        return redacted("\n".join(lines), self.secrets)

    @property
    def secrets(self) -> Sequence[str]:
        """Return what no text for people may hold."""
        return (self.source.password, *(value for _, value in self.sink.secrets))

    def _source(self, launch: Launch, shapes: Sequence[TableShape]) -> Mapping[str, str]:
        spec = launch.spec
        ids = spec.server_ids.block(0, spec.parallelism)
        return {
            **self.said.source,
            **({} if _CHUNK_KEY in self.said.source else _whole_backfill(shapes)),
            **connection_options(launch, ids, self.source),
            **startup_options(launch),
            "tables": ",".join(_pattern(table) for table in spec.tables),
        }

    def _sink(self) -> Mapping[str, object]:
        topic = self.said.sink.get("topic")
        return {
            **self.said.sink,
            **({"topic": topic_of(self.sink.prefix, str(topic))} if topic else {}),
            "sink.delivery-guarantee": "at-least-once",
            **self.sink.producer_options(),
        }

    def _routes(self, spec: StreamSpec) -> list[Mapping[str, str]]:
        if "topic" in self.said.sink:
            return []
        found: list[Mapping[str, str]] = []
        for table in spec.tables:
            topic = topic_of(self.sink.prefix, table.target_name)
            if topic == table.label:
                continue
            parts = topic.split(".")
            if len(parts) > _MOST_PARTS or not all(parts):
                raise ConfigurationError(
                    "Flink CDC takes a topic of at most three parts with dots between them",
                    field=f"{spec.name}.{table.label}",
                    value=topic,
                    hint="Name its topic in a route, or take the dots out of the prefix",
                )
            found.append({"source-table": _pattern(table), "sink-table": topic})
        return found


def _whole_backfill(shapes: Sequence[TableShape]) -> Mapping[str, str]:
    """Return the setting that keeps changes during a snapshot of keys other than integers.

    The connector finds the chunk of a changed row by Java's comparison, and cuts by the
    server's, which agree on integers only (`flink.source_sql`). Flink CDC before 3.5 does not
    have it and refuses it, which is better than rows that are lost.
    """
    keys = [(shape, shape.primary_key[0]) for shape in shapes if shape.primary_key]
    return {} if all(is_integer_key(*each) for each in keys) else {_BACKFILL: "true"}


def _pattern(table: TableRef) -> str:
    """Return the pattern that is this table's name.

    Raises:
        ConfigurationError: No pattern of Flink CDC is proved to be that.
    """
    for name in (table.database, table.name):
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                "Flink CDC's patterns cannot say this name",
                field="tables",
                value=table.label,
                hint="Leave it out with tables.exclude, or use upsert-kafka, by Flink SQL",
            )
    return f"{table.database}.{table.name}".replace("$", "[$]")
