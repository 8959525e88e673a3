"""CdcMetadata: the `cdc/...` metadata keys, written and read in one place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

import dagster as dg

from cdc_assets.core.columns import TableShape
from cdc_assets.core.position import Position

NAMESPACE = "cdc"
STREAM_TAG = f"{NAMESPACE}/stream"
RECOVERY_TAG = f"{NAMESPACE}/recovery"
# Carried by a run that moves a stream by hand: its snapshot or its deployment.
WORK_TAG = f"{NAMESPACE}/work"

_URLS = {"job_url"}


@dataclass(frozen=True)
class CdcMetadata:
    """What the project says about a stream in Dagster's metadata.

    Every field is one key, `cdc/<field>`; an absent value is no key.

    Attributes:
        incarnation: Number of the incarnation.
        position: The stream's positions, for people.
        savepoint: Savepoint that was taken.
        checkpoint: Newest checkpoint's number.
        restored_from: State or coordinates that the incarnation began with.
        job_id: Flink's job id.
        job_url: The job's page in Flink's UI.
        decision: What automation decided.
        reason: Why.
        recovery: Id of the recovery.
        step: Step of the recovery.
        detail: What the step left behind, for people.
        verdict: Of a reconciliation.
        source_rows: Rows counted at the source.
        target_rows: Rows counted at the target.
        progress: Of a snapshot.
        made: Target tables that a snapshot made.
        act: What was done about a change of the captured tables.
        event: Text of an RDS event.
        deployment: RDS's id of the blue/green deployment.
        deployment_status: Its status.
        run: The Dagster run that reports.

    Example:
        >>> said = CdcMetadata(incarnation=3, position="binlog.000002:4")
        >>> sorted(said.to_metadata())
        ['cdc/incarnation', 'cdc/position']
        >>> CdcMetadata.from_metadata(said.to_metadata()) == said
        True
    """

    incarnation: int | None = None
    position: str | None = None
    savepoint: str | None = None
    checkpoint: int | None = None
    restored_from: str | None = None
    job_id: str | None = None
    job_url: str | None = None
    decision: str | None = None
    reason: str | None = None
    recovery: str | None = None
    step: str | None = None
    detail: str | None = None
    verdict: str | None = None
    source_rows: int | None = None
    target_rows: int | None = None
    progress: str | None = None
    made: str | None = None
    act: str | None = None
    event: str | None = None
    deployment: str | None = None
    deployment_status: str | None = None
    run: str | None = None

    def to_metadata(self) -> dict[str, dg.MetadataValue]:
        """Return the keys of the values that are there."""
        found: dict[str, dg.MetadataValue] = {}
        for field in fields(self):
            value: object = getattr(self, field.name)
            if value is None or value == "":
                continue
            found[f"{NAMESPACE}/{field.name}"] = _value(field.name, value)
        return found

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, dg.MetadataValue]) -> CdcMetadata:
        """Read the keys back; keys of others are left alone."""
        known = {field.name for field in fields(cls)}
        values = {
            key.partition("/")[2]: value.value
            for key, value in metadata.items()
            if key.startswith(f"{NAMESPACE}/") and key.partition("/")[2] in known
        }
        return cls(**values)  # pyright: ignore[reportArgumentType] - written by to_metadata


def _value(name: str, value: object) -> dg.MetadataValue:
    if name in _URLS:
        return dg.MetadataValue.url(str(value))
    if isinstance(value, int):
        return dg.MetadataValue.int(value)
    return dg.MetadataValue.text(str(value))


def positions_text(positions: Iterable[Position]) -> str:
    """Return positions in one line, each once."""
    return "; ".join(dict.fromkeys(str(position) for position in positions))


def column_schema(shape: TableShape) -> dict[str, dg.MetadataValue]:
    """Return a table's columns as Dagster shows them."""
    columns = [
        dg.TableColumn(
            column.name,
            column.column_type,
            constraints=dg.TableColumnConstraints(nullable=column.nullable),
            tags={"cdc/primary-key": ""} if column.name in shape.primary_key else None,
        )
        for column in shape.columns
    ]
    return {"dagster/column_schema": dg.MetadataValue.table_schema(dg.TableSchema(columns))}


def column_lineage(
    shape: TableShape, source: dg.AssetKey, computed: Mapping[str, Sequence[str]] | None = None
) -> dict[str, dg.MetadataValue]:
    """Return where the columns of a copied table come from.

    Args:
        shape: The target table.
        source: The captured table.
        computed: What computed columns are made of; any other column comes from the one of
            its name.
    """
    made = {name.lower(): names for name, names in (computed or {}).items()}
    lineage = dg.TableColumnLineage(
        {
            column.name: [
                dg.TableColumnDep(source, name)
                for name in made.get(column.name.lower(), (column.name,))
            ]
            for column in shape.columns
        }
    )
    return {"dagster/column_lineage": dg.MetadataValue.column_lineage(lineage)}


def row_count(rows: int | None) -> dict[str, dg.MetadataValue]:
    """Return a row count as Dagster shows it, nothing when it is not known."""
    return {} if rows is None else {"dagster/row_count": dg.MetadataValue.int(rows)}
