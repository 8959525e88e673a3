"""QuerySpec: a target table that is filled by a query. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cdc_assets.errors import ConfigurationError

# What a query may bring where the target cannot say its columns.
FLINK_TYPE = (
    r"(?:STRING|BOOLEAN|TINYINT|SMALLINT|INT|BIGINT|FLOAT|DOUBLE|DATE|BYTES"
    r"|DECIMAL ?\( ?[0-9]{1,2} ?, ?[0-9]{1,2} ?\)|TIMESTAMP(?:_LTZ)? ?\( ?[0-9] ?\))"
)


def is_flink_type(text: str) -> bool:
    """Return whether a column can be declared with a type, where nothing else says it.

    Example:
        >>> is_flink_type("DECIMAL(10, 2)"), is_flink_type("STRING) WITH (")
        (True, False)
    """
    return bool(re.fullmatch(FLINK_TYPE, text))


@dataclass(frozen=True)
class QuerySpec:
    """A target table that is filled by a query over the captured tables.

    A query that aggregates or joins makes the stream stateful: after a switchover
    without GTID it goes on by the position transplant, never by a start at coordinates.

    Attributes:
        target_name: Target table; its columns must be the query's columns.
        sql: A Flink SQL SELECT. Captured tables are named by their table name. Empty in a
            stream whose SQL is a script's: then only the script knows the query.
        columns: Name and Flink type of each column of the query, in its order; only for a
            target that has no columns of its own to look at, such as a topic.
        key: Names of the columns that make the key: of a topic, and of a target table that the
            snapshot makes.
    """

    target_name: str
    sql: str
    columns: tuple[tuple[str, str], ...] = ()
    key: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a declaration that cannot be one."""
        names = [name for name, _ in self.columns]
        for name, kind in self.columns:
            if not is_flink_type(kind):
                raise ConfigurationError(
                    "not a Flink type that a query can be declared with",
                    field=f"queries.{self.target_name}.{name}",
                    value=kind,
                    hint="Write it as STRING, BIGINT, DECIMAL(10, 2) or TIMESTAMP(3), for example",
                )
        if self.columns and not (self.key and set(self.key) <= set(names)):
            raise ConfigurationError(
                "declare all columns of the query, and a key that is made of them",
                field=f"queries.{self.target_name}",
                value=list(self.key),
            )
        if len(set(names)) != len(names):
            raise ConfigurationError(
                "a column is declared twice", field=f"queries.{self.target_name}", value=names
            )
