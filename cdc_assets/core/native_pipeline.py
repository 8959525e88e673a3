"""NativePipeline: what a pipeline file asks of Flink CDC itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class NativePipeline:
    """Options that are handed on as they are; the launch adds servers, accounts, tables, start.

    Attributes:
        source: Of the source.
        sink: Of the sink; a list where Flink CDC wants one.
        transforms: In the file's order.
        pipeline: Of the pipeline; a list of functions or models where there are some.
    """

    source: Mapping[str, str] = field(default_factory=dict[str, str])
    sink: Mapping[str, str | tuple[str, ...]] = field(
        default_factory=dict[str, "str | tuple[str, ...]"]
    )
    transforms: tuple[Mapping[str, str], ...] = ()
    pipeline: Mapping[str, str | tuple[Mapping[str, str], ...]] = field(
        default_factory=dict[str, "str | tuple[Mapping[str, str], ...]"]
    )

    @property
    def uncounted(self) -> str:
        """Return why the rows of its topics cannot be counted, empty where they can."""
        if self.transforms:
            return "a transform of the pipeline file changes rows on their way"
        if "topic" in self.sink:
            return "the tables share one topic"
        if self.sink.get("key.format") == "csv":
            return "keys are written as CSV, which cannot be told apart by column"
        return ""
