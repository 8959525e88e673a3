"""LedgerLocation: where the ledger is, and how to say so without a password."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from cdc_assets.errors import ConfigurationError

# The drivers that the package's extras bring; SQLAlchemy's own defaults are others.
_DRIVERS = {
    "sqlite": "sqlite",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
}


@dataclass(frozen=True)
class LedgerLocation:
    """A database URL, read but not opened.

    Attributes:
        url: For SQLAlchemy; holds the password, so it is never shown.
        path: The file of a SQLite ledger, None for a server.
    """

    url: sa.URL
    path: Path | None

    @classmethod
    def parse(cls, text: str) -> LedgerLocation:
        """Read a URL, or a plain path of a SQLite file.

        Args:
            text: For example `sqlite:////var/lib/cdc/ledger.db`, `ledger.db` or
                `mysql://user:password@host/ledger`.

        Raises:
            ConfigurationError: It is neither; the text is not repeated, it may hold a password.
        """
        if "://" not in text:
            return cls._file(text)
        try:
            url = sa.make_url(text)
        except (ArgumentError, ValueError):
            # Not chained: SQLAlchemy's message may repeat the text, password and all.
            raise ConfigurationError(
                "cannot be read as a database URL",
                field="ledger.url",
                hint="Write it as sqlite:////path/ledger.db or mysql://user:password@host/name",
            ) from None
        driver = _DRIVERS.get(url.drivername, url.drivername)
        if driver.partition("+")[0] not in _DRIVERS:
            raise ConfigurationError(
                "is of a database that the ledger does not support",
                field="ledger.url",
                value=url.drivername,
                hint="Use SQLite, PostgreSQL or MySQL",
            )
        if driver.startswith("sqlite"):
            return cls._file(url.database or "")
        if not url.database:
            raise ConfigurationError("names no database", field="ledger.url")
        return cls(url.set(drivername=driver), None)

    @classmethod
    def _file(cls, text: str) -> LedgerLocation:
        if not text or text.startswith((":memory:", "file:")) or "\x00" in text:
            raise ConfigurationError(
                "names no file; a ledger must outlive the process",
                field="ledger.url",
                hint="Write it as sqlite:////path/ledger.db",
            )
        path = Path(text).expanduser().absolute()
        return cls(sa.URL.create("sqlite", database=str(path)), path)

    def __str__(self) -> str:
        """Return the file, or the URL with the password hidden and without its query."""
        if self.path is not None:
            return str(self.path)
        return self.url.set(query={}).render_as_string(hide_password=True)

    def __repr__(self) -> str:
        """Return the same as `str`: the fields hold the password."""
        return f"LedgerLocation({self})"
