"""StreamSpec: what a stream is, as data."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.table_patterns import TablePattern
from cdc_assets.core.table_refs import ShardedTable, TableRef
from cdc_assets.core.transform import Transform, doubled
from cdc_assets.errors import ConfigurationError

ResumeForm = Literal["specific-offset", "transplant"]
# A catch-up writes one table only: one that was paused, on its way to where the others are.
IncarnationKind = Literal["snapshot", "stream", "drain", "catch-up"]
TargetKind = Literal["mysql", "postgres", "kafka", "iceberg", "starrocks"]
ReaderSharing = Literal["auto", "shared", "per-table"]
EngineKind = Literal["flink", "flink-cdc", "debezium"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_COMMITTING = frozenset[TargetKind]({"iceberg"})
JDBC_KINDS: tuple[TargetKind, ...] = ("mysql", "postgres")
# So many tables may have a binlog connection each before they share one, over JDBC.
JDBC_READERS = 8
# Flink's default number of key groups; state of a stream cannot be spread wider.
MAX_PARALLELISM = 128


@dataclass(frozen=True)
class StreamSpec:
    """One source, one target, a fixed set of tables, one Flink job at a time.

    Attributes:
        name: Lower case letters, digits and `_`.
        tables: Captured tables.
        queries: Target tables that are filled by a query.
        server_ids: Ids of the readers.
        target_kind: What the target is.
        target_database: Database that holds the target tables.
        readers: `shared` gives tables of one key one binlog connection (`core.readers`),
            `per-table` gives each table its own, `auto` shares where it costs nothing: not
            for a few tables into a database over JDBC.
        parallelism: Of the Flink job, and subtasks of each reader.
        exclude_columns: `table.column` names that are not carried.
        transforms: What is done to the rows of copied tables on their way.
        lookup_cache_seconds: How long a row of a lookup table is remembered, 0 for not at all.
        latest_values_only: Whether a filtered topic may get the last value of a key only, of
            those within a flush interval; any filter is taken then.
        source_only: Names of captured tables that only queries read, without a copy.
        checkpoint_interval_seconds: Flink's checkpoint interval.
        flush_interval_seconds: How long the JDBC writer may hold rows back.
        create_tables: Whether a snapshot makes the missing target tables of copied tables, if
            the target's account may. Topics have a setting of their own at the target.
        engine: What reads the binlog and writes: a Flink job, a job that Flink CDC makes of a
            pipeline file, or Debezium's connector.
        is_scripted: Whether a script of the user says what the job does; then nothing is known
            of its state, and each captured table has a reader of its own.
        uncounted: Why no rows can be counted at the target, empty where they can.
        chosen_by: Patterns that the tables were found with. The preflight names tables that
            match one and are not among the tables, because they were made later.
        left_out: Patterns of tables that are not meant to be captured.
        results: Columns that Flink works out, by target table (`core.results`); known only while
            missing target tables are judged and made.
    """

    name: str
    tables: tuple[TableRef, ...]
    server_ids: ServerIdRange
    target_database: str
    queries: tuple[QuerySpec, ...] = ()
    target_kind: TargetKind = "mysql"
    readers: ReaderSharing = "auto"
    parallelism: int = 1
    exclude_columns: tuple[str, ...] = ()
    transforms: tuple[Transform, ...] = ()
    lookup_cache_seconds: float = 0.0
    latest_values_only: bool = False
    source_only: tuple[str, ...] = ()
    checkpoint_interval_seconds: float = 3.0
    flush_interval_seconds: float = 1.0
    create_tables: bool = True
    engine: EngineKind = "flink"
    is_scripted: bool = False
    uncounted: str = ""
    chosen_by: tuple[TablePattern, ...] = ()
    left_out: tuple[TablePattern, ...] = ()
    results: tuple[tuple[str, tuple[Column, ...]], ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be one stream."""
        if self.target_kind == "kafka":
            self._become_topics()
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                "use lower case letters, digits and '_', at most 63",
                field="name",
                value=self.name,
            )
        if not self.tables:
            raise ConfigurationError("name at least one table", field=f"{self.name}.tables")
        self._refuse_doubles("tables", [table.label for table in self.tables])
        self._refuse_doubles("tables", [table.alias for table in self.tables])
        self._refuse_doubles("target tables", list(self.target_names))
        if not 1 <= self.parallelism <= MAX_PARALLELISM:
            raise ConfigurationError(
                "must be 1 to 128", field=f"{self.name}.parallelism", value=self.parallelism
            )
        unknown = set(self.source_only) - {table.alias for table in self.tables}
        if unknown:
            raise ConfigurationError(
                "not among the tables", field=f"{self.name}.source_only", value=sorted(unknown)
            )
        if self.engine != "flink":
            self._refuse_beyond_copies()
        if self.engine != "debezium":
            self._refuse_small_range()
        self._refuse_transforms()

    def _refuse_beyond_copies(self) -> None:
        """Refuse what only SQL does: the others write each row of a table to its topic."""
        is_debezium = self.engine == "debezium"
        who = "Debezium's connector" if is_debezium else "Flink CDC, without SQL of the stream,"
        how = ", with one task" if is_debezium else ""
        sharded = [table.label for table in self.tables if isinstance(table, ShardedTable)]
        names = [query.target_name for query in self.queries]
        for wrong, field_name, value in (
            (self.target_kind != "kafka", "target", self.target_kind),
            (bool(names), "queries", names),
            (bool(self.source_only), "source_only", list(self.source_only)),
            (bool(sharded), "sharded_tables", sharded),
            (bool(self.transforms), "transforms", [each.table for each in self.transforms]),
            (is_debezium and self.parallelism != 1, "parallelism", self.parallelism),
        ):
            if wrong:
                raise ConfigurationError(
                    f"{who} copies single tables to Kafka{how}",
                    field=f"{self.name}.{field_name}",
                    value=value,
                    hint="Leave it out, or let Flink run the stream",
                )

    def _refuse_doubles(self, what: str, names: list[str]) -> None:
        double = sorted({name for name in names if names.count(name) > 1})
        if double:
            raise ConfigurationError("named twice", field=f"{self.name}.{what}", value=double)

    def _become_topics(self) -> None:
        """Name topics after database and table, and refuse queries without a declaration."""
        named = tuple(
            table if table.is_named else replace(table, target_name=table.label)
            for table in self.tables
        )
        object.__setattr__(self, "tables", named)
        for query in self.queries:
            if not query.columns:
                raise ConfigurationError(
                    "a topic has no columns, so the query must declare its columns and key",
                    field=f"{self.name}.queries",
                    value=query.target_name,
                    hint="Give QuerySpec 'columns' and 'key'",
                )

    def _refuse_transforms(self) -> None:
        """Refuse transforms of tables that are not copied, and two of one table."""
        copied = {table.alias for table in self.copied}
        for each in self.transforms:
            if each.table not in copied:
                raise ConfigurationError(
                    "not among the copied tables", field=f"{self.name}.transforms", value=each.table
                )
        for name in doubled(self.transforms):
            raise ConfigurationError("named twice", field=f"{self.name}.transforms", value=name)
        if self.lookup_cache_seconds < 0:
            raise ConfigurationError(
                "must not be negative",
                field=f"{self.name}.lookup_cache_seconds",
                value=self.lookup_cache_seconds,
            )

    def transform_of(self, table: TableRef) -> Transform:
        """Return what is done to the rows of a table; one that does nothing where none is given."""
        return self._by_table.get(table.alias) or Transform(table.alias)

    def makes(self, target_name: str) -> bool:
        """Return whether a snapshot makes this target table where it is missing.

        Not where columns are computed and Flink did not tell their types.
        """
        return self.create_tables and (
            bool(self.results_of(target_name))
            or any(
                table.target_name == target_name and not self.transform_of(table).computed
                for table in self.copied
            )
        )

    def results_of(self, target_name: str) -> tuple[Column, ...]:
        """Return the columns of a target table that Flink works out, as far as they are known."""
        return dict(self.results).get(target_name, ())

    def as_made(self, shapes: Sequence[TableShape]) -> dict[str, TableShape]:
        """Return the target tables as source tables that would be copied whole, by name.

        Args:
            shapes: The captured tables.
        """
        sources = {shape.label: shape for shape in shapes}
        found: dict[str, TableShape] = {}
        for table in self.copied:
            source = sources.get(table.label)
            if source is not None:
                columns = [c for c in source.columns if not self.leaves_out(table, source, c.name)]
                results = self.results_of(table.target_name)
                found[table.target_name] = replace(source, columns=(*columns, *results))
        for query in self.queries:
            results = self.results_of(query.target_name)
            if results:
                found[query.target_name] = TableShape("", query.target_name, results, query.key)
        return found

    def unmade(self, shapes: Sequence[TableShape], known: Collection[str]) -> dict[str, TableShape]:
        """Return the target tables that a snapshot has to make, as `as_made` does.

        Args:
            shapes: The captured tables.
            known: Names of the target tables that exist.
        """
        return {
            name: shape
            for name, shape in self.as_made(shapes).items()
            if name not in known and self.makes(name)
        }

    def leaves_out(self, table: TableRef, shape: TableShape, column: str) -> bool:
        """Return whether a column of a captured table is not copied."""
        if f"{table.alias}.{column}".lower() in self._excluded:
            return True
        return column not in shape.primary_key and self.transform_of(table).leaves_out(column)

    # Asked for each column of each table, and there can be thousands.
    @cached_property
    def _excluded(self) -> frozenset[str]:
        return frozenset(name.lower() for name in self.exclude_columns)

    @cached_property
    def _by_table(self) -> dict[str, Transform]:
        return {each.table: each for each in self.transforms}

    def is_filtered(self, target_name: str) -> bool:
        """Return whether rows can leave a target table without being deleted at the source.

        Below a condition Flink 1.20 keeps both halves of an update, and the first one alone
        says that a row does not meet the condition any more.
        """
        filtered = {each.table for each in self.transforms if each.filter}
        return any(
            table.target_name == target_name and table.alias in filtered for table in self.copied
        )

    @property
    def materializes(self) -> bool:
        """Return whether Flink keeps the last row of each key, to turn such halves into deletes.

        Iceberg's upsert leaves out the first half of every update, also where it stands alone.
        """
        filters = any(each.filter for each in self.transforms)
        return self.target_kind == "iceberg" and bool(filters or self.queries)

    @property
    def lookup_tables(self) -> tuple[str, ...]:
        """Return the names of all lookup tables."""
        found = (lookup.table for each in self.transforms for lookup in each.lookups)
        return tuple(dict.fromkeys(found))

    def target_label(self, name: str) -> str:
        """Return a target table's full name: `database.table`, or the topic."""
        between = "" if self.target_kind == "kafka" or not self.target_database else "."
        return f"{self.target_database}{between}{name}"

    @property
    def copied(self) -> tuple[TableRef, ...]:
        """Return the tables that are copied row by row."""
        return tuple(table for table in self.tables if table.alias not in self.source_only)

    @property
    def target_names(self) -> tuple[str, ...]:
        """Return the names of all target tables.

        Several tables may share a topic where each record says which one it is of.
        """
        copies = tuple(table.target_name for table in self.copied)
        if self.engine == "flink-cdc":
            return tuple(dict.fromkeys(copies))
        return copies + tuple(query.target_name for query in self.queries)

    def shares_target(self, table: TableRef) -> bool:
        """Return whether another table lands in the same place."""
        return any(
            each is not table and each.target_name == table.target_name for each in self.copied
        )

    @property
    def runs_on(self) -> str:
        """Return what runs the stream's job, for a person."""
        return "Kafka Connect" if self.engine == "debezium" else "Flink"

    @property
    def stateful(self) -> bool:
        """Return whether Flink state beyond the position matters."""
        return self.is_scripted or bool(self.queries)

    @property
    def resume_form(self) -> ResumeForm:
        """Return how the stream goes on at new coordinates.

        A writer that commits with a checkpoint has the rows of a checkpoint that is not
        committed yet in Flink's state, so a start without state would lose them.
        """
        keeps = self.stateful or self.target_kind in _COMMITTING
        return "transplant" if keeps else "specific-offset"

    @property
    def shares_readers(self) -> bool:
        """Return whether tables may share a binlog connection.

        Below the condition that tells the tables of a shared reader apart, Flink keeps both
        halves of an update. A JDBC writer that flushes by a timer of its own can come in
        between, and a row is missing for a moment; so it flushes with the checkpoints then,
        which costs time and memory. For a few tables some more connections cost less.

        Rows of a shared reader reach a topic's writer with the other tables' rows between
        them, to be dropped there (`core.readers`). That rule holds for a whole job, so it
        could drop a row of a query, too.
        """
        if self.is_scripted or (self.target_kind == "kafka" and self.queries):
            return False
        if self.readers != "auto":
            return self.readers == "shared"
        return self.target_kind not in JDBC_KINDS or len(self.tables) > JDBC_READERS

    @property
    def flushes_with_checkpoints(self) -> bool:
        """Return whether a JDBC writer holds rows back until the next checkpoint."""
        return self.target_kind in JDBC_KINDS and self.shares_readers and len(self.tables) > 1

    def _refuse_small_range(self) -> None:
        """Refuse a range that cannot be enough, whatever the tables turn out to be."""
        self.server_ids.block(0 if self.shares_readers else len(self.tables) - 1, self.parallelism)


def job_id_of(ledger_id: str, stream: str, incarnation: int) -> str:
    """Return the Flink job id of an incarnation: 32 hex digits, always the same.

    Flink refuses a second job with an id that it knows, so a launcher that was killed
    after the submission finds its job again, and two launchers cannot start two copies
    (flink-control.md section 2, `$internal.pipeline.job-id`).
    """
    text = f"{ledger_id}\n{stream}\n{incarnation}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def trigger_id_of(job_id: str, purpose: str) -> str:
    """Return a Flink trigger id, 32 hex digits: a repeated request is the same request."""
    return hashlib.blake2b(f"{job_id}\n{purpose}".encode(), digest_size=16).hexdigest()


_STARTUP = re.compile(
    r"^\s*'(?:scan\.startup\.[^']*|hostname|port|sink\.transactional-id-prefix)'\s*=.*$"
    # The same of a connector's configuration.
    r"|^(?:cdc\.start|database\.hostname|database\.port|snapshot\.mode"
    r"|schema\.history\.internal\.file\.filename)=.*$",
    re.MULTILINE,
)


def plan_of(sql: str) -> str:
    """Return rendered SQL or settings without what changes by launch: server and start."""
    return " ".join(_STARTUP.sub("", sql).split())


def check_ranges_apart(specs: tuple[StreamSpec, ...]) -> None:
    """Refuse streams whose server ids overlap.

    Raises:
        ConfigurationError: Names both streams.
    """
    for index, left in enumerate(specs):
        for right in specs[index + 1 :]:
            if left.server_ids.overlaps(right.server_ids):
                raise ConfigurationError(
                    f"overlaps with {right.server_ids} of stream {right.name!r}",
                    field=f"{left.name}.server_ids",
                    value=str(left.server_ids),
                    hint="Give each stream its own range",
                )
