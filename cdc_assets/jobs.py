"""The recovery job: what the sensors request."""

# No `from __future__ import annotations`: Dagster compares the annotation of `context` as a class.

import dagster as dg

from cdc_assets.errors import CdcError, Superseded
from cdc_assets.heartbeat import heartbeat
from cdc_assets.metadata import RECOVERY_TAG, STREAM_TAG, CdcMetadata, positions_text
from cdc_assets.operations.positions import anchor_of
from cdc_assets.operations.recover import Outcome, open_recovery, recover
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.pipes import in_run
from cdc_assets.ports import StepRow
from cdc_assets.reports import columns_of, count_evaluation, count_event, failure, step_metadata
from cdc_assets.translator import StreamGraph
from cdc_assets.wiring import StreamAccess, StreamConnection, resource_key


def build_recovery_job(graph: StreamGraph) -> dg.JobDefinition:
    """Return the job `recover_<stream>`: one op that carries a recovery to its end.

    No pool and no retry: a killed run would hold its slot for ever, and the sensor asks for
    the next attempt, which goes on where the ledger says.

    Args:
        graph: The stream's assets.
    """
    stream, key = graph.stream.name, resource_key(graph.stream.name)

    def compute(context: dg.OpExecutionContext) -> None:
        access: StreamAccess = getattr(context.resources, key)
        try:
            with heartbeat(context.log), in_run(context):
                connection = access.connect()
                _tag(context, connection.runtime)
                outcome = _recover(context, graph, connection)
        except Superseded as error:
            context.log.warning("%s", error)
            return
        except CdcError as error:
            raise failure(error) from None
        context.log.info(
            "stream %s, recovery %s: %s, incarnation %s runs",
            stream,
            outcome.recovery,
            outcome.decision,
            outcome.incarnation,
        )

    op = dg.op(
        name=f"recover_{stream}_op",
        description=f"Brings stream {stream!r} back, or says why not.",
        required_resource_keys={key},
        ins={},
        out=dg.Out(dg.Nothing),
    )(compute)

    graph_of_one = dg.GraphDefinition(name=f"recover_{stream}", node_defs=[op])
    return graph_of_one.to_job(  # pyright: ignore[reportUnknownMemberType] - typed in part only
        description=f"Brings stream {stream!r} back; requested by the sensors.",
        tags={STREAM_TAG: stream},
        # In this process: a process of its own per step costs seconds that rows wait for.
        executor_def=dg.in_process_executor,
    )


def _tag(context: dg.OpExecutionContext, rt: StreamRuntime) -> None:
    """Make a run that a person started known to the sensors."""
    recovery = open_recovery(rt)
    if recovery is not None and not context.run.tags.get(RECOVERY_TAG):
        context.instance.add_run_tags(context.run_id, {RECOVERY_TAG: recovery.recovery_id})


def _recover(
    context: dg.OpExecutionContext, graph: StreamGraph, connection: StreamConnection
) -> Outcome:
    rt, instance = connection.runtime, context.instance

    def report(row: StepRow) -> None:
        said = step_metadata(row, run=context.run_id)
        context.log.info(
            "stream %s, recovery %s: %s %s", row.stream, row.recovery, row.step, said.detail
        )
        instance.report_runless_asset_event(
            dg.AssetObservation(
                graph.key,
                description=f"recovery {row.recovery}: {row.step}",
                metadata=said.to_metadata(),
            )
        )

    outcome = recover(rt, worker=context.run_id, report=report)
    if outcome.decision != "Hold":
        _report_end(context, graph, connection, outcome)
    return outcome


def _report_end(
    context: dg.OpExecutionContext,
    graph: StreamGraph,
    connection: StreamConnection,
    outcome: Outcome,
) -> None:
    rt, instance = connection.runtime, context.instance
    rows = rt.ledger.incarnations(rt.name)
    row = next(row for row in rows if row.number == outcome.incarnation)
    anchor = anchor_of(rt, row.number)
    said = CdcMetadata(
        incarnation=row.number,
        position=positions_text([anchor] if anchor else []),
        restored_from=row.restored_from,
        job_id=row.job_id,
        job_url=connection.job_url(row.job_id),
        recovery=outcome.recovery,
        decision=outcome.decision,
        run=context.run_id,
    )
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            graph.key,
            description=f"recovery {outcome.recovery} closed",
            metadata=said.to_metadata(),
        )
    )
    columns = columns_of(connection, graph)
    for verdict in reversed(rt.ledger.reconciliations(rt.name, limit=1000)):
        target = graph.copy_of(verdict.table)
        if verdict.recovery != outcome.recovery or target is None:
            continue
        instance.report_runless_asset_event(count_event(target, verdict, columns.get(target.name)))
        instance.report_runless_asset_event(count_evaluation(target, verdict))
        if verdict.verdict != "InSync":
            context.log.warning("%s: %s: %s", verdict.table, verdict.verdict, verdict.reason)
