"""StarRocksSink: how Flink SQL writes StarRocks, by StarRocks' own connector. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cdc_assets.core import starrocks
from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.starrocks import Delivery, LoadFormat
from cdc_assets.core.stream import StreamSpec
from cdc_assets.errors import ConfigurationError
from cdc_assets.ports import Server

# The connector's own range for the flush interval.
_FLUSH_MS = (1_000, 3_600_000)
_FORMATS: Mapping[LoadFormat, Mapping[str, str]] = {
    "json": {"format": "json", "strip_outer_array": "true"},
    # Nothing is escaped, so the separators are characters that texts hardly hold.
    "csv": {"format": "csv", "column_separator": "\\x01", "row_delimiter": "\\x02"},
}


@dataclass(frozen=True)
class StarRocksSink:
    """Stream load or transaction load into primary-key tables.

    Attributes:
        server: MySQL port of a front end.
        load_addresses: HTTP ports of front ends, `host:port`.
        database: Holds the target tables.
        username: Account.
        password: Kept out of `repr`.
        delivery: `exactly-once` makes rows visible with checkpoints only.
        load_format: What the rows travel as.
        options_by_table: More options of the connector, by target table; `*` is for all.
    """

    server: Server
    load_addresses: tuple[str, ...]
    database: str
    username: str
    password: str = field(repr=False)
    delivery: Delivery = "at-least-once"
    load_format: LoadFormat = "json"
    options_by_table: Mapping[str, Mapping[str, str]] = field(
        default_factory=dict[str, Mapping[str, str]]
    )

    @property
    def secrets(self) -> Sequence[tuple[str, str]]:
        """Return the password."""
        return (("password", self.password),)

    @property
    def has_columns(self) -> bool:
        """Return that tables have columns."""
        return True

    def options(self, spec: StreamSpec, name: str) -> Mapping[str, str]:
        """Return the options of a target table's DDL.

        Raises:
            ConfigurationError: The name cannot be loaded, or the delivery cannot be kept.
        """
        if self.delivery == "exactly-once" and spec.resume_form != "transplant":
            # A transaction that was prepared with the last checkpoint is committed from Flink's
            # state. A start at coordinates has no state, and StarRocks would let it expire.
            raise ConfigurationError(
                "exactly-once needs a stream that always goes on from Flink's state",
                field=f"{spec.name}.delivery",
                hint="Use at-least-once: rows are upserts, so a repeated one changes nothing",
            )
        low, high = _FLUSH_MS
        interval = min(max(round(spec.flush_interval_seconds * 1000), low), high)
        properties = {
            **_FORMATS[self.load_format],
            # Otherwise a value that does not fit becomes NULL without a word.
            "strict_mode": "true",
            "max_filter_ratio": "0",
        }
        return {
            "connector": "starrocks",
            "jdbc-url": f"jdbc:mysql://{self.server}",
            "load-url": ";".join(self.load_addresses),
            "database-name": _checked(self.database, field="target_database"),
            "table-name": _checked(name, field="target tables"),
            "username": self.username,
            "password": self.password,
            "sink.semantic": self.delivery,
            "sink.buffer-flush.interval-ms": str(interval),
            "sink.max-retries": "3",
            **{f"sink.properties.{key}": value for key, value in properties.items()},
            **self._more("*"),
            **self._more(name),
            **_halves(spec, name),
        }

    def _more(self, name: str) -> Mapping[str, str]:
        found = self.options_by_table.get(name, {})
        for key in found:
            if not key.startswith("sink.") or key == "sink.semantic":
                raise ConfigurationError(
                    "only options that begin with 'sink.' can be added, and 'sink.semantic' is "
                    "'delivery'",
                    field=f"sink_options.{name}",
                    value=key,
                )
        return found

    def checked_column(self, name: str, *, field: str) -> str:
        """Return a column's name if the connector can load it."""
        if not starrocks.is_column_name(name):
            raise ConfigurationError(
                "StarRocks' connector cannot load this name",
                field=field,
                value=name,
                hint="Leave the column out with 'exclude_columns'",
            )
        return name

    def query_type(self, shape: TableShape, column: Column) -> str:
        """Return the Flink type of a target column that a query fills."""
        return starrocks.query_type(shape, column)


def _halves(spec: StreamSpec, name: str) -> Mapping[str, str]:
    """Return what makes the first half of an update a delete, where it can stand alone."""
    is_query = any(query.target_name == name for query in spec.queries)
    return {"sink.ignore.update-before": "false"} if is_query or spec.is_filtered(name) else {}


def _checked(name: str, *, field: str) -> str:
    if not starrocks.is_table_name(name):
        raise ConfigurationError(
            "StarRocks' connector cannot load this name",
            field=field,
            value=name,
            hint="Use letters, digits and '_': write the table as database.table:other_name",
        )
    return name
