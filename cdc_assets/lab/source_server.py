"""A database server of the lab, as everything that talks to it needs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import Cursor

ServerKind = Literal["mariadb", "mysql"]
_CONNECT_SECONDS = 5


@dataclass(frozen=True)
class SourceServer:
    """One MariaDB or MySQL server of the lab, with its administrator.

    Args:
        name: The slot: `blue`, `green` or `target`. The port belongs to the slot and stays.
        kind: `mariadb` or `mysql`.
        version: As the package says it, for example `10.11.5`.
        host: Always 127.0.0.1.
        port: TCP port.
        admin_user: Account with all rights; the CDC account is another one.
        admin_password: Its password, never shown.
        data_dir: The server's data folder.
        server_id: New for every fill of the slot, so that no two servers ever share one.
    """

    name: str
    kind: ServerKind
    version: str
    host: str
    port: int
    admin_user: str
    admin_password: str = field(repr=False)
    data_dir: Path
    server_id: int

    def connect(self, database: str | None = None, *, read_seconds: int = 30) -> Connection[Cursor]:
        """Open an administrator's connection with autocommit and timeouts."""
        return pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.admin_user,
            password=self.admin_password,
            database=database,
            autocommit=True,
            charset="utf8mb4",
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=read_seconds,
            write_timeout=read_seconds,
        )
