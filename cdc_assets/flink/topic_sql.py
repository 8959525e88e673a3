"""TopicRenderer: a stream that reads topics, as Flink SQL. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cdc_assets.core.columns import TableShape
from cdc_assets.core.topic_stream import TopicStreamSpec, TopicTable
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.quoting import quote_identifier
from cdc_assets.flink.render import RenderedStream, render_queries
from cdc_assets.flink.sink_kafka import KafkaSink
from cdc_assets.flink.sinks import Sink
from cdc_assets.flink.source_sql import create_table
from cdc_assets.ports import Launch

# A topic and what queries call it may have one name, and both are tables of one session.
_TOPIC_PREFIX = "topic."


@dataclass(frozen=True)
class TopicRenderer:
    """Renders launches of one stream that reads topics.

    Attributes:
        spec: The stream.
        topics: How its topics are reached.
        sink: Where rows go.
    """

    spec: TopicStreamSpec
    topics: KafkaSink
    sink: Sink

    def __call__(
        self, launch: Launch, shapes: Sequence[TableShape], target_shapes: Sequence[TableShape]
    ) -> RenderedStream:
        """Return the SQL of a launch.

        Raises:
            ConfigurationError: A topic, a target table or a name does not fit.
        """
        del shapes  # The topics' columns are declared.
        tables = {table.name for table in self.spec.tables}
        others = {f"target.{name}" for name in launch.spec.target_names}
        others |= {f"{_TOPIC_PREFIX}{name}" for name in tables}
        if tables & others:
            raise ConfigurationError("clashes with another table of the job", field="tables",
                                     value=min(tables & others))  # fmt: skip
        ddl = [text for table in self.spec.tables for text in self._table(table)]
        return render_queries(
            launch, ddl, target_shapes, sink=self.sink, secrets=self.topics.secrets
        )

    def _table(self, table: TopicTable) -> tuple[str, str]:
        """Return the table that reads a topic, and the view with the prefixes.

        Flink's connector has a prefix for key columns only, which hides them from the value.
        """
        origin = f"{_TOPIC_PREFIX}{table.name}"
        ddl = create_table(origin, table.columns, table.key, self.topics.reading(table.topic))
        columns = ", ".join(
            f"{quote_identifier(own)} AS {quote_identifier(name)}"
            for name, own in self.spec.renamed(table)
        )
        view = (
            f"CREATE TEMPORARY VIEW {quote_identifier(table.name)} AS\n"
            f"SELECT {columns}\nFROM {quote_identifier(origin)}"
        )
        return ddl, view
