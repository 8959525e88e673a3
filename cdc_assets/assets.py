"""The assets of a stream: its snapshot, its deployment, and the tables on both ends."""

# No `from __future__ import annotations`: Dagster compares the annotation of `context` as a class.

import hashlib
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg
from pydantic import Field

from cdc_assets.errors import CdcError
from cdc_assets.heartbeat import heartbeat
from cdc_assets.metadata import WORK_TAG, CdcMetadata, positions_text, row_count
from cdc_assets.operations.deploy import deploy
from cdc_assets.operations.snapshot import Progress, SnapshotResult, snapshot
from cdc_assets.pipes import in_run
from cdc_assets.ports import ReconciliationRow
from cdc_assets.reports import (
    columns_of,
    count_evaluation,
    count_event,
    counted,
    failure,
    require_ready,
)
from cdc_assets.translator import StreamGraph, TargetAsset, spec_with
from cdc_assets.wiring import StreamAccess, StreamConnection, resource_key


class SnapshotConfig(dg.Config):
    """What a person says when a snapshot is materialized."""

    again: bool = Field(
        default=False,
        description="Copy although the stream was launched before. Its state is given up.",
    )


def table_specs(graph: StreamGraph, *, sources: bool = True) -> list[dg.AssetSpec]:
    """Return the external assets: source tables and target tables.

    Args:
        graph: The stream's assets.
        sources: False where another stream's definitions declare the source tables.
    """
    targets = [target.spec for target in graph.targets]
    return [*(graph.sources if sources else ()), *targets]


def snapshot_check(target: TargetAsset) -> str:
    """Return the name of the snapshot's check on one target table.

    Dagster takes letters, digits and `_`. A dot becomes `_`, as Kafka itself takes the two
    for one in the names of topics; anything else is told apart by a digest.
    """
    plain = re.sub(r"[^A-Za-z0-9_]", "_", target.name)
    if plain == target.name.replace(".", "_"):
        return f"row_count_{plain}"
    digest = hashlib.blake2b(target.name.encode(), digest_size=4).hexdigest()
    return f"row_count_{plain}_{digest}"


def build_snapshot_asset(graph: StreamGraph) -> dg.AssetsDefinition:
    """Return the snapshot: it ends with a savepoint, and blocks what follows when rows differ.

    Args:
        graph: The stream's assets.
    """
    stream, key = graph.stream.name, resource_key(graph.stream.name)

    @dg.multi_asset(
        name=f"{stream}_snapshot",
        specs=[graph.snapshot],
        check_specs=[
            dg.AssetCheckSpec(
                snapshot_check(target),
                asset=graph.snapshot.key,
                blocking=True,
                description=f"{target.name} holds as many rows as its source table.",
            )
            for target in graph.copies
        ],
        required_resource_keys={key},
    )
    def snapshot_asset(
        context: dg.AssetExecutionContext, config: SnapshotConfig
    ) -> Iterator[dg.MaterializeResult[Any]]:
        access: StreamAccess = getattr(context.resources, key)
        with _working(context, stream):
            connection = _ready(context, access, anew=True)
            made: list[str] = []
            done = _snapshot(context, graph, connection, again=config.again, made=made)
            columns = columns_of(connection, graph)
        for row in done.reconciliations:
            target = graph.copy_of(row.table)
            if target is not None:
                extra = columns.get(target.name)
                context.instance.report_runless_asset_event(count_event(target, row, extra))
                context.instance.report_runless_asset_event(count_evaluation(target, row))
        yield dg.MaterializeResult(
            metadata={
                **CdcMetadata(
                    incarnation=done.incarnation,
                    position=positions_text(done.positions),
                    savepoint=done.savepoint,
                    progress=str(done.progress),
                    made=", ".join(made),
                ).to_metadata(),
                **row_count(done.progress.rows),
            },
            check_results=[_check(graph, row) for row in done.reconciliations],
        )

    return snapshot_asset


def build_stream_asset(
    graph: StreamGraph, *, freshness: dg.FreshnessPolicy | None = None
) -> dg.AssetsDefinition:
    """Return the stream: materializing it deploys the job, and ends.

    Args:
        graph: The stream's assets.
        freshness: How long the stream may be silent; the health sensor reports its progress.
    """
    stream, key = graph.stream.name, resource_key(graph.stream.name)
    spec = graph.deployment
    if freshness is not None:
        spec = spec_with(spec, freshness_policy=freshness)

    @dg.multi_asset(name=f"{stream}_stream", specs=[spec], required_resource_keys={key})
    def stream_asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        access: StreamAccess = getattr(context.resources, key)
        with _working(context, stream):
            connection = _ready(context, access)
            done = deploy(connection.runtime)
            columns = columns_of(connection, graph)
        what = "ran already" if done.adopted else "was launched"
        context.log.info(
            "stream %s: incarnation %s %s from %s, at %s",
            stream,
            done.incarnation,
            what,
            done.restored_from,
            positions_text(done.positions),
        )
        for target in graph.targets if not done.adopted else ():
            context.instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    target.spec.key,
                    description=f"fed by {graph.key.to_user_string()}",
                    metadata=columns.get(target.name, {}),
                )
            )
        return dg.MaterializeResult(
            metadata=CdcMetadata(
                incarnation=done.incarnation,
                position=positions_text(done.positions),
                restored_from=done.restored_from,
                job_id=done.job_id,
                job_url=connection.job_url(done.job_id),
            ).to_metadata()
        )

    return stream_asset


@contextmanager
def _working(context: dg.AssetExecutionContext, stream: str) -> Generator[None]:
    """Keep the sensors from recovering a stream that is being moved; turn errors into one line."""
    context.instance.add_run_tags(context.run.run_id, {WORK_TAG: stream})
    try:
        with heartbeat(context.log), in_run(context):
            yield
    except CdcError as error:
        raise failure(error) from None


def _ready(
    context: dg.AssetExecutionContext, access: StreamAccess, *, anew: bool = False
) -> StreamConnection:
    """Return the connected stream after its preflight; warnings go to the log.

    Raises:
        PreflightFailed: With every fault and what mends it.
    """
    connection = access.connect()
    for warning in require_ready(access.spec.name, connection.preflight(anew=anew)):
        context.log.warning(warning)
    return connection


def _snapshot(
    context: dg.AssetExecutionContext,
    graph: StreamGraph,
    connection: StreamConnection,
    *,
    again: bool,
    made: list[str],
) -> SnapshotResult:
    said = ""

    def tell(names: Sequence[str]) -> None:
        made.extend(names)
        text = f"made by the snapshot of stream {graph.stream.name}"
        for target in graph.targets:
            label = graph.stream.target_label(target.name)
            if target.name not in names and label not in names:  # a topic's has its prefix
                continue
            context.log.info("%s: %s", label, text)
            context.instance.report_runless_asset_event(
                dg.AssetObservation(
                    target.spec.key,
                    description=text,
                    metadata=CdcMetadata(made=target.name, run=context.run.run_id).to_metadata(),
                )
            )

    def report(progress: Progress) -> None:
        nonlocal said
        text = str(progress)
        if text == said:
            return
        said = text
        context.log.info("stream %s: snapshot %s", graph.stream.name, text)
        context.instance.report_runless_asset_event(
            dg.AssetObservation(
                graph.snapshot.key,
                description=text,
                metadata=CdcMetadata(progress=text, run=context.run.run_id).to_metadata(),
            )
        )

    return snapshot(connection.runtime, again=again, report=report, made=tell)


def _check(graph: StreamGraph, row: ReconciliationRow) -> dg.AssetCheckResult:
    target = graph.copy_of(row.table)
    result = counted(row)
    return dg.AssetCheckResult(
        asset_key=graph.snapshot.key,
        check_name=snapshot_check(target) if target else row.target_table,
        passed=result.passed,
        severity=result.severity,
        description=result.text,
        metadata=result.metadata,
    )
