"""Metrics: the figures of a job that Flink keeps apart from its facts.

Flink collects them from the task managers every `metrics.fetcher.update-interval`, 10 s by
default, so they lag behind. They show progress; no decision hangs on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_assets.core.job import SourceProgress
from cdc_assets.flink.models import payloads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdc_assets.core.job import VertexFacts
    from cdc_assets.flink.rest import JobApi


def job_figures(api: JobApi, job_id: str, *names: str) -> dict[str, int]:
    """Return those of a job's metrics that Flink has."""
    return _figures(api, f"/jobs/{job_id}/metrics", {"get": ",".join(names)}, "value")


def progress_of(api: JobApi, job_id: str, vertex: VertexFacts) -> tuple[SourceProgress, ...]:
    """Return how many records the source operators of a vertex have handed on.

    The figures of the vertex are of no use: a source that is chained to its sink sends nothing
    over the network, so Flink counts 0 there. The operators' own counters are read.
    """
    path = f"/jobs/{job_id}/vertices/{vertex.vertex_id}/subtasks/metrics"
    known = (entry.text("id") for entry in payloads(api.json(path), api.where(path)))
    names = sorted(
        name
        for name in known
        if name.startswith("Source__") and name.endswith((".numRecordsIn", ".numRecordsOut"))
    )
    if not names:
        return ()
    sums = _figures(api, path, {"get": ",".join(names), "agg": "sum"}, "sum")
    return tuple(
        SourceProgress(
            vertex_id=vertex.vertex_id,
            operator=operator,
            records_in=sums.get(f"{operator}.numRecordsIn", 0),
            records_out=sums.get(f"{operator}.numRecordsOut", 0),
        )
        for operator in sorted({name.rpartition(".")[0] for name in names})
    )


def _figures(api: JobApi, path: str, params: Mapping[str, str], field: str) -> dict[str, int]:
    """Return the metrics that are numbers; Flink writes some as text and some as float."""
    figures: dict[str, int] = {}
    for entry in payloads(api.json(path, params), api.where(path)):
        number = entry.number(field)
        if number is not None:
            figures[entry.text("id")] = int(number)
    return figures
