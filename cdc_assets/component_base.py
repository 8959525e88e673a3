"""What every component has, whatever its source and target are: name, queries, Flink, ledger."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeAlias

import dagster as dg
from pydantic import ConfigDict, Field, field_validator

from cdc_assets.core.queries import FLINK_TYPE, QuerySpec
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.resource import FlinkResource

_ENV = "env:"
_VARIABLE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*\Z")
LINK = "`env:NAME` reads an environment variable when something runs, not when this file loads."
# In the JSON schema only, so that `dg check yaml` says file and line; loading says why.
FlinkType: TypeAlias = Annotated[str, Field(json_schema_extra={"pattern": f"^{FLINK_TYPE}$"})]


class JobAttributes(dg.Model):
    """The attributes of a Flink job that is kept running.

    Attributes are flat, because `dg check yaml` names file and line of top-level keys only.
    """

    # Otherwise pydantic repeats the value that it refuses, and that may be a secret.
    model_config = ConfigDict(hide_input_in_errors=True)

    stream: str = Field(
        description="Name of the stream: lower case letters, digits and `_`.", examples=["shop"]
    )
    queries: dict[str, str] = Field(
        default_factory=dict,
        description="Target tables that are filled by a Flink SQL SELECT over the stream's tables.",
        examples=[{"orders_by_product": "SELECT product, COUNT(*) AS n FROM orders GROUP BY 1"}],
    )
    parallelism: int = Field(
        default=1,
        description="Of the Flink job; each reader of a database takes as many server ids.",
    )
    checkpoint_interval_seconds: float = Field(
        default=3.0, description="Flink's checkpoint interval."
    )
    flink_rest_url: str = Field(
        description=f"Address of Flink's job manager. {LINK}", examples=["http://flink:8081"]
    )
    flink_sql_gateway_url: str = Field(
        description=f"Address of Flink's SQL gateway. {LINK}", examples=["http://flink:8083"]
    )
    flink_checkpoint_directory: str = Field(
        description=f"Folder of the checkpoints as a URL. {LINK}",
        examples=["file:///state/checkpoints"],
    )
    flink_savepoint_directory: str = Field(
        description=f"Folder of the savepoints as a URL. {LINK}",
        examples=["file:///state/savepoints"],
    )
    ledger_url: str = Field(
        description="Database URL of the ledger, as `env:NAME` only: it may hold a password.",
        examples=["env:CDC_LEDGER_URL"],
        repr=False,
    )
    sensor_interval_seconds: int = Field(
        default=30, description="Between two ticks of the health and the RDS event sensor."
    )
    sensors_running: bool = Field(
        default=False, description="Whether sensors and schedules are on from the start."
    )
    reconcile_cron: str = Field(
        default="0 * * * *", description="When row counts are compared, empty for never."
    )

    @field_validator("ledger_url")
    @classmethod
    def _the_ledger_comes_from_the_environment(cls, value: str) -> str:
        return secret_by_name(value)

    def query_specs(self) -> tuple[QuerySpec, ...]:
        """Return the queries.

        Raises:
            ConfigurationError: The attributes do not make one.
        """
        return tuple(QuerySpec(name, sql) for name, sql in self.queries.items())

    def cluster(self) -> FlinkResource:
        """Return which Flink cluster the attributes name."""
        return FlinkResource(
            rest_url=text_or_variable(self.flink_rest_url),
            sql_gateway_url=text_or_variable(self.flink_sql_gateway_url),
            checkpoint_directory=text_or_variable(self.flink_checkpoint_directory),
            savepoint_directory=text_or_variable(self.flink_savepoint_directory),
        )


class TargetPassword(dg.Model):
    """The password of a target that always asks for one."""

    target_password: str = Field(
        description="Its password, as `env:NAME` only.",
        examples=["env:CDC_TARGET_PASSWORD"],
        repr=False,
    )

    @field_validator("target_password")
    @classmethod
    def _target_password_comes_from_the_environment(cls, value: str) -> str:
        return secret_by_name(value)


def written(value: str | float | bool) -> str:  # noqa: FBT001 - an option's value
    """Return an option's value as Flink and Kafka read it: Dagster makes numbers of digits."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def secret_by_name(value: str) -> str:
    """Return a secret's `env:NAME`.

    Raises:
        ValueError: It is something else.
    """
    if not _VARIABLE.match(value):
        # The value is not repeated: it may be the secret.
        message = "write it as env:NAME, a secret does not belong in a file"
        raise ValueError(message)
    return value


def text_or_variable(value: str) -> str:
    """Return a text, or the environment variable that `env:NAME` names."""
    return dg.EnvVar(value.removeprefix(_ENV)) if value.startswith(_ENV) else value


def number_or_variable(value: int | str, *, field: str) -> int:
    """Return a number, or the environment variable that `env:NAME` names.

    Raises:
        ConfigurationError: It is neither.
    """
    if isinstance(value, str) and value.startswith(_ENV):
        return dg.EnvVar.int(value.removeprefix(_ENV))
    try:
        return int(value)
    except ValueError:
        raise ConfigurationError("write a number or env:NAME", field=field, value=value) from None


def said(call: Any) -> None:  # noqa: ANN401 - what it returns is not used
    """Let pydantic tell an error of ours in its own words: one sentence."""
    try:
        call()
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
