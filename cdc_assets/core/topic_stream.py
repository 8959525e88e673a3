"""TopicStreamSpec: a stream whose source is topics, as data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cdc_assets.core.columns import TableShape
from cdc_assets.core.queries import QuerySpec, is_flink_type
from cdc_assets.core.readers import describe_table
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec, TargetKind
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import ConfigurationError

_WHOLE = re.compile(r"(?:TINYINT|SMALLINT|INT|BIGINT|DECIMAL ?\( ?[0-9]{1,2} ?, ?0 ?\))")


@dataclass(frozen=True)
class TopicTable:
    """A compacted topic as queries see it.

    Attributes:
        name: What queries call it.
        topic: The topic, after the prefix.
        columns: Name and Flink type of each column of the records, in any order.
        key: Names of the key's columns, in key order.
    """

    name: str
    topic: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse what cannot be read as a table."""
        names = [name for name, _ in self.columns]
        for name, kind in self.columns:
            if not is_flink_type(kind):
                raise ConfigurationError(
                    "not a Flink type that a topic can be read with",
                    field=f"{self.name}.{name}",
                    value=kind,
                    hint="Write it as STRING, BIGINT, DECIMAL(10, 2) or TIMESTAMP(3), for example",
                )
        if not self.key or not set(self.key) <= set(names) or len(set(names)) != len(names):
            raise ConfigurationError(
                "name each column once, and a key that is made of them",
                field=f"{self.name}.key",
                value=list(self.key),
            )

    @property
    def values(self) -> tuple[str, ...]:
        """Return the columns outside the key."""
        return tuple(name for name, _ in self.columns if name not in self.key)

    @property
    def is_bounded(self) -> bool:
        """Return whether JSON and every target order the key alike: whole numbers only.

        Texts have the order of a collation, and JSON writes moments as texts.
        """
        kinds = dict(self.columns)
        return all(_WHOLE.fullmatch(kinds[name]) for name in self.key)


@dataclass(frozen=True)
class TopicStreamSpec:
    """A job that reads topics from their beginning and keeps the results of queries current.

    Attributes:
        name: Lower case letters, digits and `_`; no other stream's.
        tables: The topics.
        queries: What is computed; all of them are one Flink job.
        key_prefix: Before the names of key columns in queries.
        value_prefix: Before the names of the other columns in queries.
        parallelism: Of the Flink job.
        checkpoint_interval_seconds: Flink's checkpoint interval.
        rows_of: The table, by target table, that a result has one row for each row of, under
            that row's key with its columns in the same order. Nothing else says so: it is what
            makes the row count of a result comparable.

    Example:
        >>> user = TopicTable("user", "db.user", (("id", "BIGINT"), ("name", "STRING")), ("id",))
        >>> names = QuerySpec("names", "SELECT key_id AS id, value_name AS name FROM `user`")
        >>> TopicStreamSpec("people", (user,), (names,)).as_stream("mysql", "dw").target_names
        ('names',)
    """

    name: str
    tables: tuple[TopicTable, ...]
    queries: tuple[QuerySpec, ...]
    key_prefix: str = "key_"
    value_prefix: str = "value_"
    parallelism: int = 1
    checkpoint_interval_seconds: float = 3.0
    rows_of: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        """Refuse what cannot be one job."""
        self._refuse_rows_of_nothing()
        if not self.queries:
            raise ConfigurationError("name at least one query", field=f"{self.name}.queries")
        for table in self.tables:
            seen = [name for name, _ in self.renamed(table)]
            if len(set(seen)) != len(seen):
                raise ConfigurationError(
                    "the prefixes give two columns one name", field=f"{self.name}.{table.name}"
                )
        self.as_stream("mysql", "")

    def _refuse_rows_of_nothing(self) -> None:
        results = [query.target_name for query in self.queries]
        tables = [table.name for table in self.tables]
        for result, table in self.rows_of.items():
            if result not in results:
                raise ConfigurationError(
                    "no query fills it",
                    field=f"{self.name}.rows_of",
                    value=result,
                    hint=f"Name one of {', '.join(results)}",
                )
            if table not in tables:
                raise ConfigurationError(
                    "not among the tables",
                    field=f"{self.name}.rows_of.{result}",
                    value=table,
                    hint=f"Name one of {', '.join(tables)}",
                )

    def counted_by(self, target_name: str) -> TopicTable | None:
        """Return the table that a result has one row for each row of, None where none is named."""
        wanted = self.rows_of.get(target_name)
        return next((table for table in self.tables if table.name == wanted), None)

    def renamed(self, table: TopicTable) -> tuple[tuple[str, str], ...]:
        """Return each column's name in queries and in the records."""
        return tuple(
            (f"{self.key_prefix if name in table.key else self.value_prefix}{name}", name)
            for name, _ in table.columns
        )

    def as_stream(self, kind: TargetKind, namespace: str) -> StreamSpec:
        """Return what sinks, engine and ledger need to know of it.

        Args:
            kind: Of the target.
            namespace: Database or prefix of the target tables.

        Raises:
            ConfigurationError: It cannot be one stream.
        """
        if not self.tables:
            raise ConfigurationError("name at least one topic", field=f"{self.name}.tables")
        return StreamSpec(
            name=self.name,
            tables=tuple(TableRef("topics", table.name) for table in self.tables),
            # No reader of it is a replica; the range is there to be large enough.
            server_ids=ServerIdRange(1, len(self.tables) * max(self.parallelism, 1)),
            target_database=namespace,
            target_kind=kind,
            queries=self.queries,
            source_only=tuple(table.name for table in self.tables),
            parallelism=self.parallelism,
            checkpoint_interval_seconds=self.checkpoint_interval_seconds,
        )


def topic_tables(spec: StreamSpec, shapes: Sequence[TableShape]) -> tuple[TopicTable, ...]:
    """Return the topics that a stream writes, with the types that its records have.

    Args:
        spec: A stream into Kafka.
        shapes: Its captured tables.

    Raises:
        ConfigurationError: A table is missing, or cannot be carried.
    """
    found = {shape.label: shape for shape in shapes}
    tables: list[TopicTable] = []
    for table in spec.copied:
        described = describe_table(spec, table, found.get(table.label))
        columns = tuple((way.column.name, way.sink_type) for way in described.columns)
        tables.append(TopicTable(table.alias, table.target_name, columns, described.key))
    return tuple(tables)
