"""CdcTranslator: what each part of a stream is called and looks like in Dagster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import dagster as dg

from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import ShardedTable, TableRef
from cdc_assets.metadata import STREAM_TAG

PartKind = Literal["source_table", "snapshot", "stream", "target_table"]
ROW_COUNT = "row_count"
HEALTH = "health"
SCHEMA_DRIFT = "schema_drift"
_WORDS = {"kafka": "topic"}
_RUNS = {
    "flink": "The running Flink job.",
    "flink-cdc": "The running Flink CDC pipeline.",
    "debezium": "The running connector.",
}


@dataclass(frozen=True)
class CdcProps:
    """One part of a stream, before it is an asset.

    Attributes:
        kind: Which part.
        stream: The stream that it belongs to.
        source_name: First part of the source tables' keys.
        source_kind: `mysql` or `mariadb`, shown as the kind of source tables.
        target_name: First part of the target tables' keys.
        table: The captured table, for a source table and its copy.
        query: The query, for a target table that a query fills.
    """

    kind: PartKind
    stream: StreamSpec
    source_name: str = "source"
    source_kind: str = "mysql"
    target_name: str = "target"
    table: TableRef | None = None
    query: QuerySpec | None = None


class CdcTranslator:
    """Turns parts of a stream into asset specs; override `get_asset_spec` to change them.

    What depends on what is added afterwards, so an override changes keys freely.

    Example:
        >>> class Renamed(CdcTranslator):
        ...     def get_asset_spec(self, props: CdcProps) -> dg.AssetSpec:
        ...         return super().get_asset_spec(props).replace_attributes(group_name="shop")
    """

    def get_asset_spec(self, props: CdcProps) -> dg.AssetSpec:
        """Return key, group, kinds and description of one part."""
        stream = props.stream
        if props.kind == "source_table" and props.table is not None:
            table = props.table
            sharded = isinstance(table, ShardedTable)
            # A pattern is no name: the shards are one asset, called as their copy is.
            path = ("shards", table.alias) if sharded else (table.database, table.name)
            return dg.AssetSpec(
                [props.source_name, *path],
                description=f"Source table {table.label}, read through its binlog.",
                group_name=props.source_name,
                kinds={props.source_kind},
                metadata={"dagster/table_name": table.label},
            )
        if props.kind == "snapshot":
            return dg.AssetSpec(
                [stream.name, "snapshot"],
                description="Initial copy of the tables; ends with a savepoint.",
                group_name=stream.name,
                kinds={stream.engine},
                tags={STREAM_TAG: stream.name},
            )
        if props.kind == "stream":
            return dg.AssetSpec(
                [stream.name, "stream"],
                description=f"{_RUNS[stream.engine]} Materializing deploys it and ends.",
                group_name=stream.name,
                kinds={stream.engine},
                tags={STREAM_TAG: stream.name},
            )
        return self._target(props)

    def _target(self, props: CdcProps) -> dg.AssetSpec:
        stream, texts = props.stream, dict[str, str]()
        if props.query is not None:
            name, origin = props.query.target_name, "filled by a query over the stream"
            texts["cdc/query"] = props.query.sql
        elif props.table is not None:
            name, origin = props.table.target_name, f"copy of {props.table.label}"
            if condition := stream.transform_of(props.table).filter:
                origin += ", filtered"
                texts["cdc/filter"] = condition
        else:
            message = "a target table is either a copy or filled by a query"
            raise ValueError(message)
        label = stream.target_label(name)
        # Of a topic that several tables share, each table's part is an asset.
        own = [props.table.label] if props.table and stream.shares_target(props.table) else []
        return dg.AssetSpec(
            # A topic has no database, and its prefix may be empty.
            [part for part in (props.target_name, stream.target_database, name, *own) if part],
            description=f"Target {_WORDS.get(stream.target_kind, 'table')} {label}, {origin}.",
            group_name=stream.name,
            kinds={stream.target_kind},
            tags={STREAM_TAG: stream.name},
            metadata={
                "dagster/table_name": label,
                **{key: dg.MetadataValue.md(f"```sql\n{sql}\n```") for key, sql in texts.items()},
            },
        )


@dataclass(frozen=True)
class TargetAsset:
    """A target table as an asset.

    Attributes:
        name: Name of the table at the target; with the captured one where several share it.
        spec: The asset.
        table: The captured table that it is a copy of, None when a query fills it.
    """

    name: str
    spec: dg.AssetSpec
    table: TableRef | None


@dataclass(frozen=True)
class StreamGraph:
    """All assets of one stream, with what depends on what."""

    stream: StreamSpec
    sources: tuple[dg.AssetSpec, ...]
    snapshot: dg.AssetSpec
    deployment: dg.AssetSpec
    targets: tuple[TargetAsset, ...]

    @property
    def key(self) -> dg.AssetKey:
        """Return the key of the stream asset."""
        return self.deployment.key

    @property
    def copies(self) -> tuple[TargetAsset, ...]:
        """Return the target tables that are copied row by row."""
        return tuple(target for target in self.targets if target.table is not None)

    def source_of(self, table: TableRef) -> dg.AssetKey:
        """Return the key of a captured table."""
        return self.sources[self.stream.tables.index(table)].key

    def copy_of(self, label: str) -> TargetAsset | None:
        """Return the copy of the source table `database.table`."""
        found = (t for t in self.copies if t.table is not None and t.table.label == label)
        return next(found, None)

    @classmethod
    def build(
        cls,
        stream: StreamSpec,
        translator: CdcTranslator | None = None,
        *,
        source_name: str = "source",
        source_kind: str = "mysql",
        target_name: str = "target",
    ) -> StreamGraph:
        """Ask the translator for every part, and connect the parts.

        Example:
            >>> from cdc_assets.core.stream import ServerIdRange
            >>> orders = TableRef("shop", "orders")
            >>> spec = StreamSpec("shop", (orders,), ServerIdRange(5400, 5409), "dw")
            >>> StreamGraph.build(spec).targets[0].spec.key.path
            ['target', 'dw', 'orders']
        """
        make = translator or CdcTranslator()

        def part(
            kind: PartKind, *, table: TableRef | None = None, query: QuerySpec | None = None
        ) -> dg.AssetSpec:
            props = CdcProps(kind, stream, source_name, source_kind, target_name, table, query)
            return make.get_asset_spec(props)

        sources = tuple(part("source_table", table=table) for table in stream.tables)
        snapshot = _after(part("snapshot"), [spec.key for spec in sources])
        deployment = _after(part("stream"), [snapshot.key])
        copies = [
            TargetAsset(_name_of(stream, table), part("target_table", table=table), table)
            for table in stream.copied
        ]
        filled = [
            TargetAsset(query.target_name, part("target_table", query=query), None)
            for query in stream.queries
        ]
        targets = tuple(
            TargetAsset(each.name, _after(each.spec, [deployment.key]), each.table)
            for each in (*copies, *filled)
        )
        return cls(stream, sources, snapshot, deployment, targets)


def _name_of(stream: StreamSpec, table: TableRef) -> str:
    own = f":{table.label}" if stream.shares_target(table) else ""
    return f"{table.target_name}{own}"


def _after(spec: dg.AssetSpec, keys: list[dg.AssetKey]) -> dg.AssetSpec:
    known = [dep.asset_key for dep in spec.deps]
    return spec_with(spec, deps=[*known, *(key for key in keys if key not in known)])


def spec_with(spec: dg.AssetSpec, **attributes: object) -> dg.AssetSpec:
    """Return a copy of a spec with other attributes; Dagster's own method is typed in part only."""
    replace = cast("Callable[..., dg.AssetSpec]", spec.replace_attributes)  # pyright: ignore[reportUnknownMemberType] - see above
    return replace(**attributes)
