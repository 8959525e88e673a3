"""The attributes of a component that say what is done to rows on their way."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import dagster as dg
from pydantic import Field, field_validator, model_validator

from cdc_assets.core.expressions import tokens_of
from cdc_assets.core.transform import Lookup, Transform, transforms_of
from cdc_assets.errors import ConfigurationError

_LINK = "`env:NAME` reads an environment variable when something runs, not when this file loads."
# Texts, quoted names, and signs that are neither a comment nor the end of a statement. It is
# in the JSON schema only, so that `dg check yaml` says file and line; loading says why.
_SHAPE = r"^(?:'[^']*'|`[^`]*`|(?!--|//|/\*)[^;#'`\"?{}\[\]:@&\\])+$"
Condition: TypeAlias = Annotated[str, Field(json_schema_extra={"pattern": _SHAPE})]
# Dagster turns a text that looks like a number into one.
Expression: TypeAlias = Annotated[str | int | float, Field(json_schema_extra={"pattern": _SHAPE})]


class TransformAttributes(dg.Model):
    """Projection, filters, computed columns and lookup tables, each by the captured table's name.

    Shards are called by the name of their target table.
    """

    columns: dict[str, list[str]] = Field(
        default_factory=dict,
        description="Columns that are copied, by table, the key's always; all where none is named.",
        examples=[{"orders": ["id", "customer_id", "amount"]}],
    )
    filters: dict[str, Condition] = Field(
        default_factory=dict,
        description="Flink SQL condition by table. A row that does not meet it any more is deleted "
        "at the target.",
        examples=[{"orders": "amount > 100 AND status = 'paid'"}],
    )
    computed: dict[str, dict[str, Expression]] = Field(
        default_factory=dict,
        description="Flink SQL expressions by table and target column.",
        examples=[{"orders": {"total": "price * quantity", "customer": "customers.name"}}],
    )
    lookups: dict[str, dict[str, Condition]] = Field(
        default_factory=dict,
        description="Lookup tables by table, each with `lookup_column = column`; expressions "
        "under `computed` read them as `lookup_table.column`.",
        examples=[{"orders": {"customers": "id = customer_id"}}],
    )
    lookup_cache_seconds: float = Field(
        default=0.0, description="How long a row of a lookup table is remembered, 0 for never."
    )
    lookup_kind: Literal["mysql", "postgres"] = Field(
        default="mysql", description="Of the server that holds the lookup tables."
    )
    lookup_host: str = Field(default="", description=f"Its host name. {_LINK}")
    lookup_port: int | str = Field(
        default=0, description=f"Its TCP port, 0 for the usual one. {_LINK}"
    )
    lookup_username: str = Field(default="", description=f"Account that reads the tables. {_LINK}")
    lookup_password: str = Field(
        default="",
        description="Its password, as `env:NAME` only.",
        examples=["env:CDC_LOOKUP_PASSWORD"],
        repr=False,
    )
    lookup_database: str = Field(default="", description="Database that holds the lookup tables.")
    lookup_schema: str = Field(default="public", description="Their schema, with PostgreSQL.")

    @field_validator("filters")
    @classmethod
    def _filters_are_expressions(cls, value: dict[str, str]) -> dict[str, str]:
        for table, text in value.items():
            _check(f"filters.{table}", text)
        return value

    @field_validator("computed")
    @classmethod
    def _computed_columns_are_expressions(
        cls, value: dict[str, dict[str, Expression]]
    ) -> dict[str, dict[str, Expression]]:
        for table, columns in value.items():
            for name, text in columns.items():
                _check(f"computed.{table}.{name}", str(text))
        return value

    @field_validator("lookups")
    @classmethod
    def _lookups_can_be_read(cls, value: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        for table, lookups in value.items():
            for name, text in lookups.items():
                try:
                    Lookup.parse(name, text, field=f"lookups.{table}.{name}")
                except ConfigurationError as error:
                    raise ValueError(str(error)) from None
        return value

    @model_validator(mode="after")
    def _lookups_have_a_place(self) -> TransformAttributes:
        if not self.lookups:
            return self
        for name in ("lookup_host", "lookup_username", "lookup_password", "lookup_database"):
            if not getattr(self, name):
                message = f"{name} is needed with lookups"
                raise ValueError(message)
        return self

    def transforms(self) -> tuple[Transform, ...]:
        """Return what is done to the rows of each table.

        Raises:
            ConfigurationError: The attributes do not make one.
        """
        computed = {
            table: {name: str(text) for name, text in columns.items()}
            for table, columns in self.computed.items()
        }
        return transforms_of(
            columns=self.columns, filters=self.filters, computed=computed, lookups=self.lookups
        )


def _check(field: str, text: str) -> None:
    try:
        tokens_of(text, field=field)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
