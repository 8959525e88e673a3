"""FlinkResource: which Flink cluster runs the jobs, and where it keeps state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dagster as dg
from pydantic import Field

from cdc_assets.flink.cdc_home import FlinkCdcHome
from cdc_assets.flink.client import FlinkClient
from cdc_assets.flink.engine import StateFolders
from cdc_assets.flink.gateway import SqlGateway
from cdc_assets.flink.script_engine import Script
from cdc_assets.flink.script_process import ScriptRunner, run_script


class FlinkResource(dg.ConfigurableResource[FlinkClient]):
    """A Flink cluster with its SQL gateway.

    Example:
        >>> FlinkResource(
        ...     rest_url="http://flink:8081",
        ...     sql_gateway_url="http://flink:8083",
        ...     checkpoint_directory="file:///state/checkpoints",
        ...     savepoint_directory="file:///state/savepoints",
        ... ).timeout_seconds
        10.0
    """

    rest_url: str = Field(description="`http://host:port` of the job manager's REST API.")
    sql_gateway_url: str = Field(description="`http://host:port` of the SQL gateway.")
    checkpoint_directory: str = Field(
        description=(
            "Folder of the checkpoints as a URL, for example `file:///state/checkpoints`. "
            "Flink writes it, and this process reads it."
        )
    )
    savepoint_directory: str = Field(
        description="Folder of the savepoints as a URL. Flink and this process write it."
    )
    timeout_seconds: float = Field(default=10.0, gt=0, description="Deadline of one request.")

    def get_client(self) -> FlinkClient:
        """Return the client of the REST API."""
        return FlinkClient(self.rest_url, timeout_seconds=self.timeout_seconds)

    def get_gateway(self, *, secrets: Sequence[str] = ()) -> SqlGateway:
        """Return the client of the SQL gateway.

        Args:
            secrets: Texts that no error message may repeat.
        """
        return SqlGateway(
            self.sql_gateway_url, timeout_seconds=self.timeout_seconds, secrets=secrets
        )

    def get_folders(self) -> StateFolders:
        """Return where state lies."""
        return StateFolders(self.checkpoint_directory, self.savepoint_directory)


class FlinkCdcResource(FlinkResource):
    """A Flink cluster, and the Flink CDC that submits the one stream's pipeline file there.

    The cluster must not have `flink-sql-connector-mysql-cdc` on its class path.

    Example:
        >>> FlinkCdcResource(
        ...     rest_url="http://flink:8081",
        ...     checkpoint_directory="file:///state/checkpoints",
        ...     savepoint_directory="file:///state/savepoints",
        ...     pipeline="/jobs/shop.yaml",
        ...     flink_cdc_home="/opt/flink-cdc-3.5.0",
        ...     flink_home="/opt/flink-1.20.3",
        ...     jars=["/opt/jars/mysql-connector-j-9.7.0.jar"],
        ... ).submit_timeout_seconds
        120.0
    """

    sql_gateway_url: str = Field(default="", description="Not used: Flink CDC submits by REST.")
    pipeline: str = Field(description="Path of the pipeline file (YAML).")
    flink_cdc_home: str = Field(
        description="Folder of an unpacked Flink CDC, with the connectors `mysql` and `kafka` in "
        "its folder `lib`."
    )
    flink_home: str = Field(
        description="Folder of an unpacked Flink of the cluster's version; its `lib` is on the "
        "class path of Flink CDC's client."
    )
    java: str = Field(default="java", description="Java 11 or 17: a program, or its path.")
    jars: list[str] = Field(
        default_factory=list,
        description="More jars that the job needs, such as MySQL's driver, as paths.",
    )
    settings: dict[str, str] = Field(
        default_factory=dict, description="More Flink settings of the job."
    )
    submit_timeout_seconds: float = Field(
        default=120.0, gt=0, description="How long the submission may take."
    )

    def get_home(self) -> FlinkCdcHome:
        """Return Flink CDC's place."""
        return FlinkCdcHome(
            Path(self.flink_cdc_home).expanduser().absolute(),
            Path(self.flink_home).expanduser().absolute(),
            self.java,
            tuple(Path(jar).expanduser().absolute() for jar in self.jars),
            self.submit_timeout_seconds,
        )


class PyFlinkResource(FlinkResource):
    """A Flink cluster, and the PyFlink script that is the one stream's job there.

    Example:
        >>> PyFlinkResource(
        ...     rest_url="http://flink:8081",
        ...     checkpoint_directory="file:///state/checkpoints",
        ...     savepoint_directory="file:///state/savepoints",
        ...     script="/jobs/users.py",
        ...     python_executable="/opt/pyflink/bin/python",
        ...     jars=["/opt/jars/flink-sql-connector-mysql-cdc-3.5.0.jar"],
        ... ).script_timeout_seconds
        120.0
    """

    sql_gateway_url: str = Field(default="", description="Not used: PyFlink submits by REST.")
    script: str = Field(description="Path of the script.")
    python_executable: str = Field(
        description="Interpreter that has PyFlink; `cdc-assets pyflink venv` makes one."
    )
    jars: list[str] = Field(
        default_factory=list,
        description="Connectors that the script's statements are planned with, as paths; Flink "
        "does not take them from the cluster.",
    )
    python_worker: str = Field(
        default="",
        description="Interpreter with PyFlink on the task managers' machines, for Python "
        "functions; empty where the script has none.",
    )
    settings: dict[str, str] = Field(
        default_factory=dict, description="More Flink settings of the job."
    )
    environment: dict[str, str] = Field(
        default_factory=dict,
        description="Environment variables of the script, such as `JAVA_HOME`; it gets none of "
        "this process but PATH and the like.",
        repr=False,
    )
    script_timeout_seconds: float = Field(
        default=120.0, gt=0, description="How long the script may take to submit."
    )

    @property
    def jar_urls(self) -> Sequence[str]:
        """Return the jars as URLs."""
        return tuple(jar if "://" in jar else Path(jar).absolute().as_uri() for jar in self.jars)

    def get_script(self, run: ScriptRunner = run_script) -> Script:
        """Return the script.

        Args:
            run: How it is run.
        """
        return Script(
            Path(self.script).expanduser().absolute(),
            self.python_executable,
            self.environment,
            self.script_timeout_seconds,
            run,
        )
