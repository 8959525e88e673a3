"""Reports: what Dagster is told, made from what the operations return."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from cdc_assets.core.preflight import Fault
from cdc_assets.core.recovery import Decision, Hold, Relaunch, Resume
from cdc_assets.errors import CdcError, PreflightFailed
from cdc_assets.metadata import (
    CdcMetadata,
    column_lineage,
    column_schema,
    positions_text,
    row_count,
)
from cdc_assets.operations.observe import Seen
from cdc_assets.operations.schema_watch import Watched
from cdc_assets.ports import ReconciliationRow, StepRow, Verdict
from cdc_assets.translator import HEALTH, ROW_COUNT, StreamGraph, TargetAsset
from cdc_assets.wiring import StreamConnection

_LONGEST_DETAIL = 2000


def failure(error: CdcError, *, metadata: CdcMetadata | None = None) -> dg.Failure:
    """Return an error as Dagster's failure: one line, and no retry that nobody asked for."""
    return dg.Failure(
        description=str(error),
        metadata=(metadata or CdcMetadata()).to_metadata(),
        allow_retries=False,
    )


def told(fault: Fault) -> str:
    """Return a fault of a preflight and what mends it, in one line."""
    text = f"{fault.text}; mend it with: {fault.fix}" if fault.fix else fault.text
    return " ".join(text.split())


def require_ready(stream: str, faults: Sequence[Fault]) -> tuple[str, ...]:
    """Return the warnings of a preflight, or refuse the launch.

    Args:
        stream: Name.
        faults: Of one preflight.

    Raises:
        PreflightFailed: With every error and what mends it.
    """
    errors = [told(fault) for fault in faults if fault.severity == "error"]
    if errors:
        numbered = " ".join(f"({number}) {text}" for number, text in enumerate(errors, 1))
        raise PreflightFailed(
            f"stream {stream!r} is not ready, nothing was started: {numbered}",
            hint=f"Look again with 'cdc-assets preflight {stream}'",
        )
    return tuple(told(fault) for fault in faults if fault.severity == "warning")


@dataclass(frozen=True)
class Health:
    """What the check `health` says.

    Attributes:
        kind: The decision as a word.
        passed: Whether the stream runs and nothing is to be done.
        severity: ERROR when a person must look.
        text: The reason and, after it, the next step.
    """

    kind: str
    passed: bool
    severity: dg.AssetCheckSeverity
    text: str

    @property
    def shape(self) -> str:
        """Return the text without its numbers: what changes every second is no news."""
        return f"{self.kind}: {re.sub(r'[0-9]+', '#', self.text)}"


def health_of(decision: Decision, *, at_work: str = "") -> Health:
    """Translate a decision.

    Args:
        decision: What would be decided now.
        at_work: Id of the recovery that is being carried out.
    """
    kind = type(decision).__name__
    if at_work:
        passed = isinstance(decision, Hold) and decision.healthy
        text = f"recovery {at_work} is at work; now: {decision.reason}"
        return Health(kind, passed, dg.AssetCheckSeverity.WARN, text)
    if isinstance(decision, Hold):
        severity = dg.AssetCheckSeverity.WARN
        return Health(kind, decision.healthy, severity, decision.reason)
    if isinstance(decision, (Resume, Relaunch)):
        return Health(kind, passed=False, severity=dg.AssetCheckSeverity.WARN, text=decision.reason)
    text = f"{decision.reason}. {decision.hint}"
    return Health(kind, passed=False, severity=dg.AssetCheckSeverity.ERROR, text=text)


def stream_metadata(connection: StreamConnection, look: Seen, health: Health) -> CdcMetadata:
    """Return what one look says about a stream."""
    seen = look.observation
    job_id = seen.incarnation.job_id if seen.incarnation else ""
    return CdcMetadata(
        incarnation=seen.incarnation.number if seen.incarnation else None,
        position=positions_text(seen.positions),
        checkpoint=look.state.checkpoint_id if look.state else None,
        job_id=job_id,
        job_url=connection.job_url(job_id),
        decision=health.kind,
        reason=health.text,
    )


def health_evaluation(
    graph: StreamGraph, health: Health, metadata: CdcMetadata
) -> dg.AssetCheckEvaluation:
    """Return the result of the check `health`, for a sensor to report."""
    return dg.AssetCheckEvaluation(
        asset_key=graph.key,
        check_name=HEALTH,
        passed=health.passed,
        severity=health.severity,
        description=health.text,
        metadata=metadata.to_metadata(),
    )


@dataclass(frozen=True)
class Counted:
    """What a row-count check says: Drifted is an error, Inconclusive a warning."""

    passed: bool
    severity: dg.AssetCheckSeverity
    text: str
    metadata: Mapping[str, dg.MetadataValue]


def counted(row: ReconciliationRow) -> Counted:
    """Translate a verdict."""
    severities: dict[Verdict, dg.AssetCheckSeverity] = {
        "InSync": dg.AssetCheckSeverity.WARN,
        "Inconclusive": dg.AssetCheckSeverity.WARN,
        "Drifted": dg.AssetCheckSeverity.ERROR,
    }
    said = CdcMetadata(
        verdict=row.verdict,
        reason=row.reason,
        source_rows=row.source_count,
        target_rows=row.target_count,
        recovery=row.recovery,
    )
    return Counted(
        row.verdict == "InSync",
        severities[row.verdict],
        f"{row.verdict}: {row.reason}",
        said.to_metadata(),
    )


def count_evaluation(target: TargetAsset, row: ReconciliationRow) -> dg.AssetCheckEvaluation:
    """Return the result of a target table's check `row_count`."""
    result = counted(row)
    return dg.AssetCheckEvaluation(
        asset_key=target.spec.key,
        check_name=ROW_COUNT,
        passed=result.passed,
        severity=result.severity,
        description=result.text,
        metadata=result.metadata,
    )


def count_event(
    target: TargetAsset,
    row: ReconciliationRow,
    extra: Mapping[str, dg.MetadataValue] | None = None,
) -> dg.AssetMaterialization | dg.AssetObservation:
    """Return a target table's row count; only a proved table counts as materialized."""
    metadata = {**counted(row).metadata, **row_count(row.target_count), **(extra or {})}
    if row.verdict == "InSync":
        return dg.AssetMaterialization(target.spec.key, description=row.reason, metadata=metadata)
    return dg.AssetObservation(target.spec.key, description=row.reason, metadata=metadata)


def columns_of(
    connection: StreamConnection, graph: StreamGraph
) -> dict[str, dict[str, dg.MetadataValue]]:
    """Return the columns of the target tables and where they come from, by table name.

    They are only shown, so a target that does not answer stops nothing here.
    """
    rt = connection.runtime
    try:
        shapes = {shape.name: shape for shape in rt.target.shapes(rt.spec.target_names)}
    except CdcError:
        return {}
    found: dict[str, dict[str, dg.MetadataValue]] = {}
    for target in graph.targets:
        shape = shapes.get(target.name)
        if shape is None:
            continue
        table = target.table
        lineage = (
            {}
            if table is None
            else column_lineage(shape, graph.source_of(table), rt.spec.transform_of(table).origins)
        )
        found[target.name] = {**column_schema(shape), **lineage}
    return found


@dataclass(frozen=True)
class SchemaReport:
    """What the check `schema_drift` says: an ERROR where the job could write something wrong."""

    passed: bool
    severity: dg.AssetCheckSeverity
    text: str
    metadata: Mapping[str, dg.MetadataValue]


def schema_report(seen: Watched) -> SchemaReport:
    """Translate a look at the captured tables."""
    look = seen.look
    drifts = [*look.drifts, *(drift for each in look.paused for drift in each.drifts)]
    texts = [*(drift.text for drift in look.drifts), *(each.text for each in look.paused)]
    fixes = [drift.fix for drift in drifts if drift.fix and drift.fix not in seen.ran]
    if look.problem:
        head = f"Inconclusive: {look.problem}"
    elif not look.changes and any(drift.left_out for drift in look.drifts):
        head = f"the stream goes on as incarnation {look.incarnation} was launched"
    elif not look.changes:
        head = f"the captured tables are as incarnation {look.incarnation} was launched with"
    else:
        head = f"changed since incarnation {look.incarnation} was launched"
    if seen.act or seen.detail:
        head += f" ({': '.join(each for each in (seen.act, seen.detail) if each)})"
    said = CdcMetadata(incarnation=look.incarnation or None, reason="; ".join(texts), act=seen.act)
    statements = {"cdc/target_ddl": dg.MetadataValue.md("```sql\n" + "\n".join(fixes) + "\n```")}
    return SchemaReport(
        passed=not (look.problem or look.paused or look.lacking)
        and (not look.changes or seen.act == "applied"),
        severity=dg.AssetCheckSeverity.ERROR
        if look.harmful or look.paused
        else dg.AssetCheckSeverity.WARN,
        text="\n".join([head, *(f"- {text}" for text in texts)]),
        metadata={**said.to_metadata(), **(statements if fixes else {})},
    )


def step_metadata(row: StepRow, *, run: str) -> CdcMetadata:
    """Return one step of a recovery."""
    return CdcMetadata(
        recovery=row.recovery,
        step=row.step,
        detail=json.dumps(dict(row.detail), default=str)[:_LONGEST_DETAIL],
        run=run,
    )
