"""The executable checks: row counts of target tables, health and schema of a stream."""

# No `from __future__ import annotations`: Dagster compares the annotation of `context` as a class.

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import dagster as dg

from cdc_assets.errors import CdcError, ConfigurationError
from cdc_assets.heartbeat import heartbeat
from cdc_assets.metadata import WORK_TAG
from cdc_assets.operations.launch import newest
from cdc_assets.operations.look import look_twice, recovery_at_work
from cdc_assets.operations.reconcile import TRANSFORMED, reconcile
from cdc_assets.operations.schema_apply import follow_schema
from cdc_assets.ports import ReconciliationRow
from cdc_assets.reports import (
    columns_of,
    count_event,
    counted,
    failure,
    health_of,
    schema_report,
    stream_metadata,
)
from cdc_assets.translator import HEALTH, ROW_COUNT, SCHEMA_DRIFT, StreamGraph, TargetAsset
from cdc_assets.wiring import StreamAccess, StreamConnection, resource_key

# One multi-asset check over thousands of tables makes loading slow; blocks do not.
_BLOCK = 200


def build_reconciliation_checks(graph: StreamGraph) -> list[dg.AssetChecksDefinition]:
    """Return the checks `row_count` of every target table.

    Drifted fails the check as an error. Inconclusive, for example because rows move, is a
    warning: it proves nothing in either direction. A table that a query fills is always
    inconclusive: its rows are not the source's.

    Args:
        graph: The stream's assets.
    """
    targets = graph.targets
    blocks = [targets[at : at + _BLOCK] for at in range(0, len(targets), _BLOCK)]
    return [_row_counts(graph, block, index) for index, block in enumerate(blocks)]


def _row_counts(
    graph: StreamGraph, block: tuple[TargetAsset, ...], index: int
) -> dg.AssetChecksDefinition:
    def count(
        context: dg.AssetCheckExecutionContext, access: StreamAccess, wanted: Sequence[TargetAsset]
    ) -> Iterator[dg.AssetCheckResult]:
        connection = access.connect()
        columns = columns_of(connection, graph)
        for target in wanted:
            yield _count(context, connection, target, columns.get(target.name, {}))

    name = f"row_counts_{graph.stream.name}" + (f"_{index + 1}" if index else "")
    return count_checks(name, block, resource_key(graph.stream.name), count)


def count_checks(
    name: str,
    targets: Sequence[TargetAsset],
    resource: str,
    count: Callable[
        [dg.AssetCheckExecutionContext, Any, Sequence[TargetAsset]], Iterator[dg.AssetCheckResult]
    ],
) -> dg.AssetChecksDefinition:
    """Return the checks `row_count` of some target tables, as one step.

    Args:
        name: Of the step.
        targets: The tables.
        resource: Key of the resource that connects the stream.
        count: Yields the results, given the context, the resource and the tables that are asked
            for.
    """

    @dg.multi_asset_check(
        name=name,
        specs=[
            dg.AssetCheckSpec(
                ROW_COUNT,
                asset=target.spec.key,
                description="Source and target hold the same number of rows at one position.",
            )
            for target in targets
        ],
        can_subset=True,
        required_resource_keys={resource},
    )
    def row_counts(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        selected = {check.asset_key for check in context.selected_asset_check_keys}
        wanted = [target for target in targets if target.spec.key in selected]
        try:
            yield from count(context, getattr(context.resources, resource), wanted)
        except CdcError as error:
            raise failure(error) from None

    return row_counts


def _count(
    context: dg.AssetCheckExecutionContext,
    connection: StreamConnection,
    target: TargetAsset,
    columns: Mapping[str, dg.MetadataValue],
) -> dg.AssetCheckResult:
    rt = connection.runtime
    if target.table is None:
        return unproved(target, f"{TRANSFORMED} a query fills {target.name}")
    row = newest(rt)
    if row is None:
        return unproved(target, "not deployed: materialize the snapshot, then the stream")
    if row.kind == "drain":
        return unproved(target, f"incarnation {row.number} drains old blue; look again after it")
    verdict: ReconciliationRow = reconcile(rt, row, tables=(target.table,))[0]
    return judged(context, target, verdict, columns)


def judged(
    context: dg.AssetCheckExecutionContext,
    target: TargetAsset,
    verdict: ReconciliationRow,
    columns: Mapping[str, dg.MetadataValue],
) -> dg.AssetCheckResult:
    """Report a target table's row count, and return what the check says of it.

    Args:
        context: Of the check.
        target: The table.
        verdict: What was found.
        columns: More about the table, as metadata.
    """
    context.log.info("%s: %s: %s", verdict.table, verdict.verdict, verdict.reason)
    context.instance.report_runless_asset_event(count_event(target, verdict, columns))
    result = counted(verdict)
    return dg.AssetCheckResult(
        asset_key=target.spec.key,
        check_name=ROW_COUNT,
        passed=result.passed,
        severity=result.severity,
        description=result.text,
        metadata=result.metadata,
    )


def unproved(target: TargetAsset, text: str) -> dg.AssetCheckResult:
    """Return that nothing can be said of a target table, and why."""
    return dg.AssetCheckResult(
        asset_key=target.spec.key,
        check_name=ROW_COUNT,
        passed=False,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"Inconclusive: {text}",
    )


def build_health_check(graph: StreamGraph) -> dg.AssetChecksDefinition:
    """Return the check `health` of the stream asset, for a look between two sensor ticks.

    Args:
        graph: The stream's assets.
    """
    key = resource_key(graph.stream.name)

    @dg.asset_check(
        asset=graph.key,
        name=HEALTH,
        description="The job runs, has a binlog connection, and moves; nothing is to be done.",
        required_resource_keys={key},
    )
    def health(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        access: StreamAccess = getattr(context.resources, key)
        try:
            connection = access.connect()
            seen, decision = look_twice(connection.runtime)
            at_work = recovery_at_work(connection.runtime)
        except CdcError as error:
            raise failure(error) from None
        found = health_of(decision, at_work=at_work)
        return dg.AssetCheckResult(
            passed=found.passed,
            severity=found.severity,
            description=found.text,
            metadata=stream_metadata(connection, seen, found).to_metadata(),
        )

    return health


def build_schema_check(graph: StreamGraph) -> dg.AssetChecksDefinition:
    """Return the check `schema_drift` of the stream asset, which also does what the policy says.

    Args:
        graph: The stream's assets.
    """
    stream, key = graph.stream.name, resource_key(graph.stream.name)

    @dg.asset_check(
        asset=graph.key,
        name=SCHEMA_DRIFT,
        description="The captured tables are as the running job was launched with.",
        required_resource_keys={key},
    )
    def schema_drift(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        access: StreamAccess = getattr(context.resources, key)

        def begin() -> None:
            # The job is launched anew: no sensor shall recover it meanwhile.
            context.instance.add_run_tags(context.run.run_id, {WORK_TAG: stream})

        try:
            with heartbeat(context.log):
                seen = follow_schema(access.connect().runtime, begin=begin)
        except CdcError as error:
            raise failure(error) from None
        found = schema_report(seen)
        for statement in seen.ran:
            context.log.info("stream %s: ran at the target: %s", stream, statement)
        return dg.AssetCheckResult(
            passed=found.passed,
            severity=found.severity,
            description=found.text,
            metadata=found.metadata,
        )

    return schema_drift


def check_schedule(
    checks: Sequence[dg.AssetChecksDefinition],
    name: str,
    description: str,
    cron: tuple[str, str],
    *,
    running: bool,
    tags: Mapping[str, str],
) -> list[dg.ScheduleDefinition]:
    """Return a schedule of checks, none where there are no checks or no time is given.

    Args:
        checks: What is run.
        name: Of the job; the schedule's ends with `_schedule`.
        description: Of the job.
        cron: Name of the setting and its value, which may be empty.
        running: Whether the schedule is on from the start.
        tags: Of its runs.

    Raises:
        ConfigurationError: It is not a cron expression.
    """
    field, text = cron
    if not checks or not text:
        return []
    status = dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED
    define = cast("Callable[..., dg.JobDefinition]", dg.define_asset_job)  # pyright: ignore[reportUnknownMemberType] - typed in part only
    job = define(
        name, selection=dg.AssetSelection.checks(*checks), description=description, tags=dict(tags)
    )
    try:
        return [
            dg.ScheduleDefinition(
                name=f"{name}_schedule", job=job, cron_schedule=text, default_status=status
            )
        ]
    except dg.DagsterInvalidDefinitionError:
        raise ConfigurationError("is not a cron expression", field=field, value=text) from None
