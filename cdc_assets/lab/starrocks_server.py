"""The StarRocks stand-in as a lab service. It is labelled as a stand-in everywhere."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pymysql

from cdc_assets.lab.free_ports import HOST
from cdc_assets.lab.state import Account, Service

PACKAGE_GROUP = "starrocks"
# Packages of that group whose jars go on Flink's class path.
CONNECTORS = ("flink-connector-starrocks",)
NAME = "starrocks"
DATABASE = "target"
PORTS = 3
_SECONDS = 10


def service(home: Path, query_port: int, http_port: int, be_port: int) -> Service:
    """Return the service.

    Args:
        home: The lab.
        query_port: MySQL port of the front end that it plays; open last, so it says "ready".
        http_port: HTTP port of the front end.
        be_port: HTTP port of the back end that it plays.
    """
    root = str(Path(__file__).resolve().parents[2])
    known = os.environ.get("PYTHONPATH")
    return Service(
        name=NAME,
        kind="StarRocks, played by a local server on DuckDB",
        version="stand-in",
        host=HOST,
        port=query_port,
        stand_in=True,
        probe="tcp",
        command=(
            *(sys.executable, "-m", "cdc_assets.lab.starrocks_standin"),
            *("--data", str(_data(home)), "--accounts", str(_accounts(home))),
            *("--query-port", str(query_port), "--http-port", str(http_port)),
            *("--be-port", str(be_port)),
        ),
        log=home / "logs" / f"{NAME}.log",
        env={"PYTHONPATH": f"{root}{os.pathsep}{known}" if known else root},
        control_port=http_port,
    )


def prepare(home: Path, accounts: Mapping[str, Account]) -> None:
    """Write what the stand-in reads when it starts.

    It knows accounts and no privileges: each of them may do everything.

    Args:
        home: The lab.
        accounts: Who may log in.
    """
    _data(home).parent.mkdir(parents=True, exist_ok=True)
    file = _accounts(home)
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({account.user: account.password for account in accounts.values()})
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        handle.write(text)


def create_database(port: int, account: Account, name: str = DATABASE) -> None:
    """Create the database that target tables are in."""
    execute(port, account, f"CREATE DATABASE IF NOT EXISTS `{name}`")


def execute(port: int, account: Account, *statements: str) -> list[tuple[object, ...]]:
    """Run statements at the MySQL port and return the last one's rows."""
    with (
        closing(
            pymysql.connect(
                host=HOST,
                port=port,
                user=account.user,
                password=account.password,
                charset="utf8mb4",
                autocommit=True,
                connect_timeout=_SECONDS,
                read_timeout=60,
                ssl_disabled=True,
            )
        ) as connection,
        connection.cursor() as cursor,
    ):
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall())


def _data(home: Path) -> Path:
    return home / "data" / NAME / "tables.duckdb"


def _accounts(home: Path) -> Path:
    return home / "secrets" / f"{NAME}.json"
