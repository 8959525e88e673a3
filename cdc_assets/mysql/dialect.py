"""Dialect: which spelling a server takes, from its version. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cdc_assets.core.source import Flavor
from cdc_assets.errors import SourceError

_NUMBERS = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")

# SHOW GLOBAL VARIABLES names only those that exist, so one statement serves every server;
# a `SELECT @@name` of an unknown one is an error.
VARIABLES = (
    "server_id", "server_uuid", "gtid_mode", "read_only", "super_read_only",
    "innodb_read_only", "log_bin", "binlog_format", "binlog_row_image",
    "binlog_row_value_options", "binlog_transaction_compression", "log_bin_compress",
    "enforce_gtid_consistency", "expire_logs_days", "binlog_expire_logs_seconds",
    "sql_mode", "basedir", "aurora_version",
)  # fmt: skip


@dataclass(frozen=True)
class Dialect:
    """A server's flavor and version.

    Attributes:
        flavor: `mysql` or `mariadb`.
        version: As the server says it.
        numbers: Major, minor, patch.
    """

    flavor: Flavor
    version: str
    numbers: tuple[int, int, int]

    @classmethod
    def parse(cls, version: str) -> Dialect:
        """Read `SELECT VERSION()`.

        Raises:
            SourceError: The text holds no version.

        Example:
            >>> Dialect.parse("10.11.5-MariaDB-log").flavor
            'mariadb'
        """
        # Old MariaDB servers put "5.5.5-" in front for clients that expect MySQL.
        text = version.removeprefix("5.5.5-") if "mariadb" in version.lower() else version
        match = _NUMBERS.search(text)
        if not match:
            raise SourceError(f"{version[:60]!r} is not a server version")
        major, minor, patch = (int(part or 0) for part in match.groups())
        flavor: Flavor = "mariadb" if "mariadb" in version.lower() else "mysql"
        return cls(flavor, text, (major, minor, patch))

    @property
    def show_end(self) -> str:
        """Return the statement for the last coordinates: MySQL 8.4 took the old one away."""
        if self._is_mysql_since((8, 2, 0)):
            return "SHOW BINARY LOG STATUS"
        return "SHOW MASTER STATUS"

    @property
    def show_replicas(self) -> str:
        """Return the statement for the replicas that registered."""
        if self._is_mysql_since((8, 0, 22)):
            return "SHOW REPLICAS"
        return "SHOW SLAVE HOSTS"

    def limit_statements(self, seconds: float) -> str:
        """Return what bounds each SELECT of the session, empty on MySQL 5.6 that has nothing."""
        if self.flavor == "mariadb":
            return f"SET SESSION max_statement_time = {seconds:.3f}"
        if self._is_mysql_since((5, 7, 8)):
            return f"SET SESSION max_execution_time = {max(1, int(seconds * 1000))}"
        return ""

    @property
    def is_readable_by_flink_cdc(self) -> bool:
        """Return whether Flink CDC 3.5 reads this server: it sends SHOW MASTER STATUS."""
        if self.flavor == "mariadb":
            return True
        return (5, 6, 0) <= self.numbers < (8, 4, 0)

    def _is_mysql_since(self, numbers: tuple[int, int, int]) -> bool:
        return self.flavor == "mysql" and self.numbers >= numbers
