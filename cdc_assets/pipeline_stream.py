"""PipelineStream: a Flink CDC pipeline file as a stream with its source and target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from cdc_assets.component_base import number_or_variable, text_or_variable
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.errors import ConfigurationError
from cdc_assets.mysql.resource import MySqlResource
from cdc_assets.pipeline.compile import compile_stream, stream_name
from cdc_assets.pipeline.config import Note, PipelineConfig, Setting
from cdc_assets.pipeline.lock import tables_of
from cdc_assets.pipeline.resolve import port_of, read_pipeline
from cdc_assets.targets.resource import KafkaTargetResource


@dataclass(frozen=True)
class PipelineStream:
    """What a pipeline file says, for `build_cdc_definitions`.

    Attributes:
        spec: The stream.
        source: Where it reads.
        target: Where it writes.
        notes: What the file says and the stream does not do, without harm.
    """

    spec: StreamSpec
    source: MySqlResource
    target: KafkaTargetResource
    notes: tuple[Note, ...]

    @property
    def is_native(self) -> bool:
        """Return whether Flink CDC itself runs it, which needs a `FlinkCdcResource`."""
        return self.spec.engine == "flink-cdc"


def stream_from_pipeline(  # noqa: PLR0913 - the front door, every setting named
    path: Path | str,
    *,
    stream: str = "",
    source: Mapping[str, object] | None = None,
    target: Mapping[str, object] | None = None,
    server_ids: ServerIdRange | None = None,
    parallelism: int | None = None,
    exclude_columns: Sequence[str] = (),
    checkpoint_interval_seconds: float = 3.0,
    flink_cdc: bool = False,
) -> PipelineStream:
    """Return the stream of a Flink CDC pipeline file. Opens no connection.

    The tables behind a pattern come from the list that `cdc-assets pipeline resolve` wrote.

    Args:
        path: The YAML file.
        stream: The stream's name; by default the pipeline's or the file's.
        source: More fields of `MySqlResource`, and those that the file leaves open.
        target: More fields of `KafkaTargetResource`, and those that the file leaves open.
            Missing topics are made, compacted, unless `create_topics` is false.
        server_ids: Where the file has none.
        parallelism: Where the file has none.
        exclude_columns: `table.column` names that are not carried.
        checkpoint_interval_seconds: Flink's checkpoint interval.
        flink_cdc: Whether there is a Flink CDC that can run the file. It does so where the sink
            is `kafka` with change events; the rest is written by Flink SQL.

    Raises:
        ConfigurationError: The file is malformed, asks for what cannot be done, leaves
            something open, or its tables are not looked up yet.

    Example:
        ```python
        shop = stream_from_pipeline("shop.yaml", stream="shop")
        defs = build_cdc_definitions(
            streams=shop.spec, source=shop.source, target=shop.target, flink=..., ledger=...
        )
        ```
    """
    place = Path(path)
    config = read_pipeline(place, has_home=flink_cdc)
    more = dict(target or {})
    spec = compile_stream(
        config,
        tables_of(place, config),
        stream=stream or stream_name(config, place.stem),
        prefix=str(more.get("topic_prefix", "")),
        server_ids=server_ids,
        parallelism=parallelism,
        exclude_columns=exclude_columns,
        checkpoint_interval_seconds=checkpoint_interval_seconds,
    )
    return PipelineStream(
        spec, _source(config, dict(source or {})), _target(config, more), config.notes
    )


def _source(config: PipelineConfig, more: dict[str, object]) -> MySqlResource:
    port = more.pop("port", "")
    text = port_of(config.port, _written(port), option="source_port")
    values: dict[str, Any] = {
        **more,
        "host": _either(config.host, more, "source", "host"),
        "port": number_or_variable(text, field="source.port"),
        "username": _either(config.username, more, "source", "username"),
        "password": _either(config.password, more, "source", "password"),
    }
    if config.time_zone != "UTC":
        values["time_zone"] = config.time_zone
    return MySqlResource(**values)


def _target(config: PipelineConfig, more: dict[str, object]) -> KafkaTargetResource:
    said: dict[str, object] = {
        **config.security,
        **({"delivery": config.delivery} if config.delivery else {}),
        **({"transaction_timeout_seconds": config.transaction_seconds}
           if config.transaction_seconds else {}),
        **({"producer_properties": dict(config.properties)} if config.properties else {}),
    }  # fmt: skip
    for name in said.keys() & more.keys():
        raise ConfigurationError(
            "the file says it, too", field=f"target.{name}", file=config.file,
            hint="Take out one of the two",
        )  # fmt: skip
    values: dict[str, Any] = {
        "create_topics": True,
        **more,
        **said,
        "bootstrap_servers": _either(config.servers, more, "target", "bootstrap_servers"),
    }
    return KafkaTargetResource(**values)


def _either(setting: Setting, more: Mapping[str, object], part: str, name: str) -> str:
    """Return the file's value or the given one, as a text or an environment variable."""
    given = more.get(name) or ""
    text = setting.or_else(_written(given), option=f"{part}_{name}")
    return given if isinstance(given, dg.EnvVar) else text_or_variable(text)


def _written(given: object) -> str:
    """Return a given value as a file would have it."""
    return f"env:{given.env_var_name}" if isinstance(given, dg.EnvVar) else str(given)
