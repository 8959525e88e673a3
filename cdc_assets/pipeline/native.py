"""Native: the parts of a pipeline file that only Flink CDC itself can do. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cdc_assets.core.native_pipeline import NativePipeline
from cdc_assets.core.table_patterns import TablePattern
from cdc_assets.pipeline.document import Value
from cdc_assets.pipeline.reading import Reading, patterns_of, scalar

# The tables of each transform, and where it stands.
Transforms = tuple[tuple[tuple[TablePattern, ...], Value], ...]

NATIVE_PARTS = ("transform",)
_TRANSFORM = ("source-table", "projection", "filter", "primary-keys", "partition-keys",
              "table-options", "table-options.delimiter", "converter-after-transform",
              "description")  # fmt: skip
_FUNCTION = ("name", "classpath")
_LISTS = ("include.schema.changes", "exclude.schema.changes")


def native_parts(reading: Reading) -> tuple[NativePipeline, Transforms]:
    """Return what Flink CDC is asked for; nothing for a file that runs as Flink SQL.

    Call it last: it takes what the reading has kept so far.

    Raises:
        ConfigurationError: A part is not of the form that Flink CDC reads.
    """
    if reading.way != "native":
        return NativePipeline(), ()
    entries = reading.root.entries()
    sink = entries["sink"].entries()
    topic = sink.get("topic")
    lists = {name: _words(sink[name]) for name in _LISTS if name in sink}
    transforms = _items(entries.get("transform"))
    found = NativePipeline(
        source=reading.passed.get("source", {}),
        sink={
            **reading.passed.get("sink", {}),
            **({} if topic is None else {"topic": topic.text().strip()}),
            **lists,
        },
        transforms=tuple(_mapping(reading, each, "transform", _TRANSFORM) for each in transforms),
        pipeline={**reading.passed.get("pipeline", {}), **_functions(entries.get("pipeline"))},
    )
    return found, tuple(
        (patterns_of(reading.needed(each, "source-table")), each) for each in transforms
    )


def _functions(pipeline: Value | None) -> Mapping[str, tuple[Mapping[str, str], ...]]:
    if pipeline is None or pipeline.kind == "null":
        return {}
    entries = pipeline.entries()
    found: dict[str, tuple[Mapping[str, str], ...]] = {}
    if "user-defined-function" in entries:
        functions = _items(entries["user-defined-function"])
        for each in functions:
            for name in _FUNCTION:
                if name not in each.entries():
                    raise each.refused(f"{name} is missing")
        found["user-defined-function"] = tuple(_scalars(each) for each in functions)
    if "model" in entries:
        found["model"] = tuple(_scalars(each) for each in _items(entries["model"]))
    return found


def _items(value: Value | None) -> Sequence[Value]:
    return () if value is None or value.kind == "null" else value.items()


def _words(value: Value) -> tuple[str, ...]:
    return tuple(each.text().strip() for each in value.items())


def _mapping(reading: Reading, value: Value, name: str, own: Sequence[str]) -> Mapping[str, str]:
    reading.refuse_unknown(value, name, own)
    return _scalars(value)


def _scalars(value: Value) -> Mapping[str, str]:
    return {key: scalar(each) for key, each in value.entries().items()}
