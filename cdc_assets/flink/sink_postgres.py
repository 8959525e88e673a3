"""PostgresSink: how Flink SQL writes PostgreSQL, by the JDBC connector. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.postgres_names import quote_path, unwritable_column, unwritable_table
from cdc_assets.core.postgres_types import query_type
from cdc_assets.core.stream import StreamSpec
from cdc_assets.errors import ConfigurationError
from cdc_assets.flink.sinks import jdbc_options
from cdc_assets.ports import Server


@dataclass(frozen=True)
class PostgresSink:
    """JDBC into PostgreSQL.

    Attributes:
        server: The target server.
        database: The database.
        schema: Holds the target tables.
        username: Account.
        password: Kept out of `repr`.
        tls: `off`, `encrypt` or `verify`.
        ca_file: Certificate authorities for `verify`, as the task managers see the file; the
            ones that Java knows by default.
        properties: More properties of the PostgreSQL JDBC driver.
    """

    server: Server
    database: str
    schema: str
    username: str
    password: str = field(repr=False)
    tls: Literal["off", "encrypt", "verify"] = "off"
    ca_file: str | None = None
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
        """Return the URL for the JDBC driver, without the account."""
        properties = {
            # A text goes out without a type, and the server reads it by the column's: dates
            # that Java's calendar would bend, decimals past 38 digits, and JSON.
            "stringtype": "unspecified",
            # A batch becomes one INSERT of many rows. No key is in a batch twice, so
            # ON CONFLICT never meets a row a second time.
            "reWriteBatchedInserts": "true",
            # Otherwise an error repeats the statement with the row's values.
            "logServerErrorDetail": "false",
            "ApplicationName": "cdc-assets",
            "tcpKeepAlive": "true",
            **self._tls_properties(),
            **self.properties,
        }
        query = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in properties.items())
        return f"jdbc:postgresql://{self.server}/{quote(self.database, safe='')}?{query}"

    def options(self, spec: StreamSpec, name: str) -> Mapping[str, str]:
        """Return the options of a target table's DDL."""
        for what, value in (("target.schema", self.schema), ("target tables", name)):
            if reason := unwritable_table(value):
                raise ConfigurationError(reason, field=what, value=value)
        return jdbc_options(
            spec,
            url=self.url,
            username=self.username,
            password=self.password,
            # The connector writes it as it is.
            table=quote_path(self.schema, name),
            target=name,
        )

    def checked_column(self, name: str, *, field: str) -> str:
        """Return a column's name if the JDBC connector can write it."""
        if reason := unwritable_column(name):
            raise ConfigurationError(
                reason,
                field=field,
                value=name,
                hint="Rename it at the target, or leave it out with 'exclude_columns'",
            )
        return name

    def query_type(self, shape: TableShape, column: Column) -> str:
        """Return the Flink type of a target column that a query fills."""
        del shape
        return query_type(column)

    def _tls_properties(self) -> Mapping[str, str]:
        if self.tls == "off":
            return {"sslmode": "disable"}
        if self.tls == "encrypt":
            return {"sslmode": "require"}
        if self.ca_file:
            return {"sslmode": "verify-full", "sslrootcert": self.ca_file}
        return {
            "sslmode": "verify-full",
            "sslfactory": "org.postgresql.ssl.DefaultJavaSSLFactory",
        }
