"""The component of a Flink CDC pipeline file: a whole database into Kafka."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import dagster as dg
from pydantic import BaseModel, Field, PrivateAttr, field_validator

from cdc_assets.component import StreamScaffoldParams, scaffolded
from cdc_assets.component_base import LINK, text_or_variable
from cdc_assets.component_kafka import MySqlToKafkaComponent
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.resource import FlinkCdcResource, FlinkResource
from cdc_assets.mysql.resource import MySqlResource
from cdc_assets.pipeline_stream import PipelineStream, stream_from_pipeline
from cdc_assets.targets.resource import KafkaTargetResource

_EMPTY = "Where the pipeline file has none."
_EXAMPLE = """source:
  type: mysql
  hostname: env:CDC_SOURCE_HOST
  username: env:CDC_SOURCE_USER
  password: env:CDC_SOURCE_PASSWORD
  tables: shop.orders # for all tables: shop.\\.*, after 'cdc-assets pipeline resolve'
  server-id: 5400-5409

sink:
  type: upsert-kafka
  properties.bootstrap.servers: env:CDC_TARGET_BOOTSTRAP_SERVERS

pipeline:
  name: shop
"""
# What the file says itself.
_OF_THE_FILE = ("tables", "sharded_tables", "queries", "source_only")


class MySqlDatabaseToKafkaScaffoldParams(BaseModel):
    """What `dg scaffold defs` asks for; each one is an option of the command."""

    pipeline: str = Field(default="pipeline.yaml", description="Name of the pipeline file.")


class MySqlDatabaseToKafkaScaffolder(dg.Scaffolder[MySqlDatabaseToKafkaScaffoldParams]):
    """Writes a `defs.yaml` and a pipeline file beside it."""

    @classmethod
    def get_scaffold_params(cls) -> type[MySqlDatabaseToKafkaScaffoldParams]:
        """Return the options."""
        return MySqlDatabaseToKafkaScaffoldParams

    def scaffold(self, request: dg.ScaffoldRequest[MySqlDatabaseToKafkaScaffoldParams]) -> None:
        """Write both."""
        params = request.params or MySqlDatabaseToKafkaScaffoldParams()
        dg.scaffold_component(request, _attributes(params))
        file = Path(request.target_path) / params.pipeline
        if not file.exists():
            file.write_text(_EXAMPLE, encoding="utf-8")


def _attributes(params: MySqlDatabaseToKafkaScaffoldParams) -> Mapping[str, object]:
    common = scaffolded(StreamScaffoldParams(), {})
    kept = {name: v for name, v in common.items() if name.startswith(("flink_", "ledger_"))}
    return {"pipeline": params.pipeline, **kept}


@dg.scaffold_with(MySqlDatabaseToKafkaScaffolder)
class MySqlDatabaseToKafkaComponent(MySqlToKafkaComponent):
    """A Flink CDC pipeline file as a stream into compacted Kafka topics.

    The file says source, tables, routes and brokers. What it leaves open, as the placeholder
    `#{hostname}` does, is filled in here. Tables behind a pattern are looked up once, by
    `cdc-assets pipeline resolve FILE`.

    Example:
        ```yaml
        type: cdc_assets.MySqlDatabaseToKafkaComponent

        attributes:
          pipeline: shop.yaml
          source_host: env:CDC_SOURCE_HOST
          source_username: cdc
          source_password: env:CDC_SOURCE_PASSWORD
          flink_rest_url: http://flink:8081
          flink_sql_gateway_url: http://flink:8083
          flink_checkpoint_directory: file:///state/checkpoints
          flink_savepoint_directory: file:///state/savepoints
          ledger_url: env:CDC_LEDGER_URL
        ```
    """

    pipeline: str = Field(
        description="Flink CDC pipeline file (YAML), from this file's folder.",
        examples=["shop.yaml"],
    )
    stream: str = Field(
        default="", description="Name of the stream; by default the pipeline's or the file's."
    )
    tables: list[str] = Field(default_factory=list, description="Not used: the file names them.")
    server_ids: str | int = Field(default="", description=_EMPTY, examples=["5400-5409"])
    source_host: str = Field(default="", description=f"{_EMPTY} {LINK}")
    source_port: int | str = Field(default="", description=f"{_EMPTY} {LINK}")
    source_username: str = Field(default="", description=f"{_EMPTY} {LINK}")
    source_password: str = Field(
        default="",
        description="Where the pipeline file has none, as `env:NAME` only.",
        examples=["env:CDC_SOURCE_PASSWORD"],
        repr=False,
    )
    target_bootstrap_servers: str = Field(default="", description=f"{_EMPTY} {LINK}")
    flink_sql_gateway_url: str = Field(
        default="",
        description="Address of Flink's SQL gateway, where Flink SQL writes the file's sink. "
        f"{LINK}",
    )
    flink_cdc_home: str = Field(
        default="",
        description="Folder of an unpacked Flink CDC, which then runs files with the sink `kafka` "
        f"itself; a relative one starts at the folder of this file. {LINK}",
        examples=["/opt/flink-cdc-3.5.0"],
    )
    flink_home: str = Field(
        default="",
        description="Folder of an unpacked Flink, for Flink CDC's client. " + LINK,
        examples=["/opt/flink-1.20.3"],
    )
    flink_java: str = Field(
        default="java", description=f"Java 11 or 17 for Flink CDC's client. {LINK}"
    )
    flink_jars: list[str] = Field(
        default_factory=list,
        description="More jars for the jobs of Flink CDC, such as MySQL's driver, as paths.",
        examples=[["/opt/jars/mysql-connector-j-9.7.0.jar"]],
    )
    flink_settings: dict[str, str] = Field(
        default_factory=dict, description="More Flink settings of the jobs of Flink CDC."
    )
    target_create_topics: bool = Field(
        default=True, description="Whether a snapshot makes missing topics, compacted."
    )

    _folder: Path = PrivateAttr(default_factory=Path)
    _made: PipelineStream | None = PrivateAttr(default=None)

    @field_validator(*_OF_THE_FILE)
    @classmethod
    def _the_file_says_it(cls, value: object) -> object:
        if value:
            message = "the pipeline file says what is captured; use MySqlToKafkaComponent instead"
            raise ValueError(message)
        return value

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return what `dg list components` shows."""
        return dg.ComponentTypeSpec(
            description="A Flink CDC pipeline file (YAML) as a stream into Kafka topics.",
            tags=["cdc", "flink", "kafka", "mysql", "pipeline"],
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return what `build_cdc_definitions` returns for the file and these attributes."""
        self._folder = Path(context.path)
        self._made = None
        return super().build_defs(context)

    def spec(self) -> StreamSpec:
        """Return the stream.

        Raises:
            ConfigurationError: The file and the attributes do not make one.
        """
        # `readers` changes the plan, so it must be part of the stream from the start.
        return replace(self._stream().spec, readers=self.readers)

    def source(self) -> MySqlResource:
        """Return where rows come from."""
        return self._stream().source

    def target(self) -> KafkaTargetResource:
        """Return where rows land."""
        return self._stream().target

    def flink(self) -> FlinkResource | None:
        """Return the cluster, with Flink CDC where that runs the file.

        Raises:
            ConfigurationError: Flink SQL writes the file's sink, and there is no gateway.
        """
        if not self._stream().is_native:
            if self.flink_cdc_home and not self.flink_sql_gateway_url:
                raise ConfigurationError(
                    "Flink SQL writes this file's sink, so it needs the SQL gateway",
                    field="flink_sql_gateway_url",
                    hint="Give its address; or, for change events, the sink kafka",
                )
            return super().flink()
        return FlinkCdcResource(
            rest_url=text_or_variable(self.flink_rest_url),
            checkpoint_directory=text_or_variable(self.flink_checkpoint_directory),
            savepoint_directory=text_or_variable(self.flink_savepoint_directory),
            pipeline=str(self._folder / self.pipeline),
            flink_cdc_home=self._place(self.flink_cdc_home),
            flink_home=self._place(self.flink_home),
            java=text_or_variable(self.flink_java),
            jars=[str(self._folder / jar) for jar in self.flink_jars],
            settings=self.flink_settings,
        )

    def _place(self, text: str) -> str:
        found = text_or_variable(text)
        return found if isinstance(found, dg.EnvVar) else str(self._folder / found)

    def _flink_settings(self) -> Mapping[str, str]:
        wanted = dict(super()._flink_settings())
        if self.flink_cdc_home:  # The file says whether the gateway is needed.
            del wanted["flink_sql_gateway_url"]
            wanted["flink_home"] = self.flink_home
        return wanted

    @property
    def target_database_name(self) -> str:
        """Return the prefix of the topics."""
        return self.target_topic_prefix

    def _stream(self) -> PipelineStream:
        if self._made is None:
            self._made = stream_from_pipeline(
                self._folder / self.pipeline,
                stream=self.stream,
                source=self._given_source(),
                target=_given(super().target()),
                server_ids=ServerIdRange.parse(str(self.server_ids)) if self.server_ids else None,
                # 1 is the default of both.
                parallelism=self.parallelism if self.parallelism > 1 else None,
                exclude_columns=self.exclude_columns,
                checkpoint_interval_seconds=self.checkpoint_interval_seconds,
                flink_cdc=bool(self.flink_cdc_home),
            )
        return self._made

    def _given_source(self) -> Mapping[str, object]:
        values = {"host": self.source_host, "port": str(self.source_port),
                  "username": self.source_username, "password": self.source_password}  # fmt: skip
        return {name: value for name, value in values.items() if value}


def _given(target: KafkaTargetResource) -> Mapping[str, object]:
    """Return the settings that are not the default: the file may say the others."""
    found: dict[str, object] = {}
    for name, about in KafkaTargetResource.model_fields.items():
        value = cast("object", getattr(target, name))
        default = about.get_default(call_default_factory=True)
        if name == "create_topics" or value not in (default, ""):
            found[name] = value
    return found
