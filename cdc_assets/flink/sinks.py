"""Sinks: how Flink SQL writes each kind of target. Pure.

A sink says which options a target table's DDL has, what names it can write, and which Flink
type a column of it has when a query fills it. Everything else of the SQL is common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable
from urllib.parse import quote

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.types import natural_type
from cdc_assets.flink.quoting import checked_sink_name
from cdc_assets.ports import Server

# Upserts hold one row per key until the flush; past this many a flush comes early.
_FLUSH_ROWS = 1000
# What an upsert needs from the target's session. Strict: MySQL cuts values short without
# it. NO_AUTO_VALUE_ON_ZERO: a row with the id 0 would get a new id.
_SQL_MODE = "STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION"
# Stands in an option's value for the id of the job whose state the launch goes on from, and
# for the launch's own without state. So whatever goes on from one state has one name there,
# a launch that died before its first checkpoint as well as the next one.
JOB_ID = "{job-id}"


class Sink(Protocol):
    """One kind of target, as Flink SQL writes it."""

    @property
    def secrets(self) -> Sequence[tuple[str, str]]:
        """Return the options that nobody may see, as names and values."""
        ...

    @property
    def has_columns(self) -> bool:
        """Return whether target tables have columns of their own; a topic has none."""
        ...

    def options(self, spec: StreamSpec, name: str) -> Mapping[str, str]:
        """Return the options of a target table's DDL; `JOB_ID` is filled in by the renderer.

        Raises:
            ConfigurationError: The name cannot be written.
        """
        ...

    def checked_column(self, name: str, *, field: str) -> str:
        """Return a column's name if this kind of target can be written with it.

        Raises:
            ConfigurationError: It cannot.
        """
        ...

    def query_type(self, shape: TableShape, column: Column) -> str:
        """Return the Flink type of a target column that a query fills.

        Raises:
            UnsupportedType: A query cannot fill it.
        """
        ...


@runtime_checkable
class WholeTableSink(Sink, Protocol):
    """A sink whose DDL has every column of the target table, in the table's order and types."""

    def column_type(self, shape: TableShape, column: Column) -> str:
        """Return the Flink type of a target column, also of one that the stream leaves out.

        Raises:
            UnsupportedType: A stream cannot fill it.
        """
        ...


@dataclass(frozen=True)
class MySqlSink:
    """JDBC into MySQL or MariaDB.

    Attributes:
        server: The target server.
        database: Holds the target tables.
        username: Account.
        password: Kept out of `repr`.
        tls: Whether the writer insists on TLS.
        properties: More Connector/J properties.
    """

    server: Server
    database: str
    username: str
    password: str = field(repr=False)
    tls: bool = False
    properties: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def secrets(self) -> Sequence[tuple[str, str]]:
        """Return the password."""
        return (("password", self.password),)

    @property
    def has_columns(self) -> bool:
        """Return that tables have columns."""
        return True

    @property
    def url(self) -> str:
        """Return the URL for Connector/J, without the account."""
        properties = {
            "connectionTimeZone": "UTC",
            "forceConnectionTimeZoneToSession": "true",
            "preserveInstants": "false",
            "tinyInt1isBit": "false",
            "characterEncoding": "UTF-8",
            "sessionVariables": f"sql_mode='{_SQL_MODE}'",
            **({"sslMode": "REQUIRED"} if self.tls else {}),
            **self.properties,
        }
        query = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in properties.items())
        return f"jdbc:mysql://{self.server}/{quote(self.database, safe='')}?{query}"

    def options(self, spec: StreamSpec, name: str) -> Mapping[str, str]:
        """Return the options of a target table's DDL."""
        return jdbc_options(
            spec,
            url=self.url,
            username=self.username,
            password=self.password,
            table=checked_sink_name(name, field="target tables"),
            target=name,
        )

    def checked_column(self, name: str, *, field: str) -> str:
        """Return a column's name if the JDBC connector can write it."""
        return checked_sink_name(name, field=field)

    def query_type(self, shape: TableShape, column: Column) -> str:
        """Return the Flink type of a target column that a query fills."""
        return natural_type(shape.label, column)


def jdbc_options(
    spec: StreamSpec, *, url: str, username: str, password: str, table: str, target: str
) -> Mapping[str, str]:
    """Return the options of a table that the JDBC connector writes.

    Args:
        spec: The stream.
        url: With the driver's properties.
        username: Account.
        password: Its password.
        table: The table's name as the connector puts it into statements.
        target: The table's name as the stream knows it.
    """
    held = spec.flushes_with_checkpoints or spec.is_filtered(target)
    return {
        "connector": "jdbc",
        "url": url,
        "username": username,
        "password": password,
        "table-name": table,
        # Two zeros: with the checkpoints only, never between the halves of an update.
        "sink.buffer-flush.max-rows": "0" if held else str(_FLUSH_ROWS),
        "sink.buffer-flush.interval": "0" if held else _milliseconds(spec.flush_interval_seconds),
        "sink.max-retries": "3",
    }


def _milliseconds(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
