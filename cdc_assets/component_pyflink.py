"""The PyFlink components: a stream whose SQL is a script of the user, as YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import dagster as dg
from pydantic import Field, PrivateAttr, model_validator

from cdc_assets.component import (
    CdcStreamComponent,
    MySqlToMySqlComponent,
    StreamScaffolder,
    StreamScaffoldParams,
    scaffolded,
)
from cdc_assets.component_base import LINK, text_or_variable
from cdc_assets.component_postgres import MySqlToPostgresComponent
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.flink.resource import PyFlinkResource

SCRIPT = "stream.py"
_EXAMPLE = '''\
"""The job of the stream {stream!r}: what is read, and what is written."""

from cdc_stream import source_options, stream_environment, target_options

t_env = stream_environment()

t_env.execute_sql(f"""
    CREATE TABLE source_table (
        id INT,
        name STRING,
        PRIMARY KEY (id) NOT ENFORCED
    ) WITH ({{source_options({source!r})}})
""")

t_env.execute_sql(f"""
    CREATE TABLE target_table (
        id INT,
        name STRING,
        PRIMARY KEY (id) NOT ENFORCED
    ) WITH ({{target_options({target!r})}})
""")

t_env.execute_sql("INSERT INTO target_table SELECT * FROM source_table")
'''


class PyFlinkComponent(CdcStreamComponent):
    """What a stream needs whose SQL is a script; subclasses add the target."""

    script: str = Field(
        description="Path of the script; a relative one starts at the folder of this file.",
        examples=[SCRIPT],
    )
    python_executable: str = Field(
        description=f"Interpreter that has PyFlink. {LINK}",
        examples=["/opt/pyflink/bin/python"],
    )
    jars: list[str] = Field(
        default_factory=list,
        description="Connectors that the script is planned with, as paths.",
        examples=[["/opt/jars/flink-sql-connector-mysql-cdc-3.5.0.jar"]],
    )
    python_worker: str = Field(
        default="",
        description="Interpreter with PyFlink on the task managers' machines, for Python "
        f"functions; empty where the script has none. {LINK}",
    )
    script_environment: dict[str, str] = Field(
        default_factory=dict,
        description="Environment variables of the script, such as `JAVA_HOME`.",
    )
    flink_settings: dict[str, str] = Field(
        default_factory=dict, description="More Flink settings of the job."
    )
    script_timeout_seconds: float = Field(
        default=120.0, gt=0, description="How long the script may take to submit."
    )
    results: list[str] = Field(
        default_factory=list,
        description="Target tables that the script fills by queries of its own; what `tables` "
        "names beside `source_only` is copied row by row.",
    )
    flink_sql_gateway_url: str = Field(default="", description="Not used.")
    _folder: Path | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _the_script_says_the_queries(self) -> PyFlinkComponent:
        if self.queries or self.query_keys:
            message = "write the queries in the script, and their target tables in 'results'"
            raise ValueError(message)
        return self

    def query_specs(self) -> tuple[QuerySpec, ...]:
        """Return the target tables that the script fills by queries."""
        return tuple(QuerySpec(name, "") for name in self.results)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return what `build_cdc_definitions` returns for these attributes."""
        self._folder = Path(context.path)
        return super().build_defs(context)

    def flink(self) -> PyFlinkResource:
        """Return the cluster and the script."""
        script = Path(self.script)
        if self._folder is not None:
            script = self._folder / script
        return PyFlinkResource(
            rest_url=text_or_variable(self.flink_rest_url),
            checkpoint_directory=text_or_variable(self.flink_checkpoint_directory),
            savepoint_directory=text_or_variable(self.flink_savepoint_directory),
            script=str(script),
            python_executable=text_or_variable(self.python_executable),
            jars=self.jars,
            python_worker=text_or_variable(self.python_worker),
            settings=self.flink_settings,
            environment=self.script_environment,
            script_timeout_seconds=self.script_timeout_seconds,
        )


class PyFlinkToPostgresScaffolder(StreamScaffolder):
    """Writes a `defs.yaml` that loads as it is, and a script beside it."""

    def scaffold(self, request: dg.ScaffoldRequest[StreamScaffoldParams]) -> None:
        """Write the files."""
        _scaffold(request, {"target_database": "warehouse", "target_schema": "public"})


class PyFlinkToMySqlScaffolder(StreamScaffolder):
    """Writes a `defs.yaml` that loads as it is, and a script beside it."""

    def scaffold(self, request: dg.ScaffoldRequest[StreamScaffoldParams]) -> None:
        """Write the files."""
        _scaffold(request, {"target_database": "warehouse"})


def _scaffold(
    request: dg.ScaffoldRequest[StreamScaffoldParams], target: Mapping[str, object]
) -> None:
    params = request.params or StreamScaffoldParams()
    attributes = dict(
        scaffolded(
            params,
            {
                "target_host": "env:CDC_TARGET_HOST",
                "target_username": "env:CDC_TARGET_USER",
                "target_password": "env:CDC_TARGET_PASSWORD",
                **target,
                "script": SCRIPT,
                "python_executable": "env:PYFLINK_PYTHON",
            },
        )
    )
    del attributes["flink_sql_gateway_url"]
    dg.scaffold_component(request, attributes)
    first = TableRef.parse(params.tables.split(",")[0].strip())
    text = _EXAMPLE.format(stream=params.stream, source=first.label, target=first.target_name)
    (Path(request.target_path) / SCRIPT).write_text(text, encoding="utf-8")


@dg.scaffold_with(PyFlinkToPostgresScaffolder)
class PyFlinkToPostgresComponent(PyFlinkComponent, MySqlToPostgresComponent):
    """A MySQL change stream into PostgreSQL whose SQL is a PyFlink script.

    Example:
        ```yaml
        type: cdc_assets.PyFlinkToPostgresComponent

        attributes:
          stream: users
          tables: [mydb.users]
          server_ids: 5400-5409
          script: stream.py
          python_executable: /opt/pyflink/bin/python
          jars:
            - /opt/jars/flink-sql-connector-mysql-cdc-3.5.0.jar
            - /opt/jars/flink-connector-jdbc-3.3.0-1.20.jar
            - /opt/jars/postgresql-42.7.14.jar
          source_host: db.example
          source_username: cdc
          source_password: env:CDC_SOURCE_PASSWORD
          target_host: dw.example
          target_username: writer
          target_password: env:CDC_TARGET_PASSWORD
          target_database: warehouse
          target_schema: public
          flink_rest_url: http://flink:8081
          flink_checkpoint_directory: file:///state/checkpoints
          flink_savepoint_directory: file:///state/savepoints
          ledger_url: env:CDC_LEDGER_URL
        ```
    """

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return what `dg list components` shows."""
        return dg.ComponentTypeSpec(
            description="A PyFlink script that carries MySQL changes into PostgreSQL.",
            tags=["cdc", "flink", "mysql", "postgres", "pyflink"],
        )


@dg.scaffold_with(PyFlinkToMySqlScaffolder)
class PyFlinkToMySqlComponent(PyFlinkComponent, MySqlToMySqlComponent):
    """A MySQL change stream into MySQL whose SQL is a PyFlink script.

    The attributes are those of `PyFlinkToPostgresComponent`, without `target_schema`.
    """

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return what `dg list components` shows."""
        return dg.ComponentTypeSpec(
            description="A PyFlink script that carries MySQL changes into MySQL.",
            tags=["cdc", "flink", "mysql", "pyflink"],
        )
