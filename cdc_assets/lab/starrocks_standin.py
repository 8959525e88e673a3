"""The StarRocks stand-in: one process that speaks StarRocks' protocols. It is not StarRocks.

It plays one front end (MySQL protocol and HTTP) and one back end (HTTP), keeps tables in
DuckDB, and refuses what StarRocks refuses as far as the loads of Flink's connector go. What
StarRocks does beyond that (queries of its own dialect, several nodes, its speed) it cannot show.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import uvicorn
from mysql_mimic import IdentityProvider, MysqlServer, User
from mysql_mimic.auth import AuthPlugin, NativePasswordAuthPlugin

from cdc_assets.lab.free_ports import HOST
from cdc_assets.lab.starrocks_load import TITLE, LoadPorts
from cdc_assets.lab.starrocks_sql import prepare_views, session_factory
from cdc_assets.lab.starrocks_store import StarRocksStore

_LOG = logging.getLogger("starrocks-stand-in")


class Accounts(IdentityProvider):
    """Who may log in at the MySQL port.

    Args:
        passwords: By user name.
    """

    def __init__(self, passwords: Mapping[str, str]) -> None:
        self._passwords = passwords

    def get_plugins(self) -> list[AuthPlugin]:
        """Return the one way to log in."""
        return [NativePasswordAuthPlugin()]

    async def get_user(self, username: str) -> User | None:
        """Return an account."""
        password = self._passwords.get(username)
        if password is None:
            return None
        # An empty password has no hash; None lets it in without one.
        hashed = NativePasswordAuthPlugin.create_auth_string(password) if password else None
        return User(username, hashed, NativePasswordAuthPlugin.name)


async def serve(
    store: StarRocksStore, accounts: Mapping[str, str], ports: tuple[int, int, int]
) -> None:
    """Answer on the three ports until SIGTERM or SIGINT.

    Args:
        store: What is stored.
        accounts: Passwords by user name.
        ports: FE's MySQL port, FE's HTTP port, BE's HTTP port.
    """
    query_port, fe_port, be_port = ports
    loads = LoadPorts(store, accounts, f"{HOST}:{be_port}")
    mysql = MysqlServer(
        session_factory=session_factory(store), identity_provider=Accounts(accounts)
    )
    servers = [
        uvicorn.Server(
            uvicorn.Config(
                app, host=HOST, port=port, log_level="warning", access_log=False, lifespan="off"
            )
        )
        for app, port in ((loads.front_end(), fe_port), (loads.back_end(), be_port))
    ]
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    tasks = [asyncio.create_task(server.serve()) for server in servers]
    while not all(server.started for server in servers):
        for task in tasks:
            if task.done():
                task.result()
        await asyncio.sleep(0.01)
    # After uvicorn, which sets its own.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Last: a client that reaches this port finds the others open.
    await mysql.start_server(host=HOST, port=query_port)
    _LOG.warning("%s MySQL port %s, HTTP ports %s and %s", TITLE, query_port, fe_port, be_port)
    await stop.wait()
    mysql.close()
    for server in servers:
        server.should_exit = True
    await asyncio.gather(*tasks)


def main(arguments: list[str] | None = None) -> int:
    """Run the stand-in."""
    parser = argparse.ArgumentParser(description=TITLE)
    parser.add_argument("--data", type=Path, required=True, help="DuckDB file")
    parser.add_argument("--accounts", type=Path, required=True, help="JSON: password by user")
    parser.add_argument("--query-port", type=int, required=True)
    parser.add_argument("--http-port", type=int, required=True)
    parser.add_argument("--be-port", type=int, required=True)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    accounts = cast("dict[str, str]", json.loads(options.accounts.read_text(encoding="utf-8")))
    store = StarRocksStore(options.data)
    try:
        prepare_views(store)
        ports = (options.query_port, options.http_port, options.be_port)
        asyncio.run(serve(store, accounts, ports))
    finally:
        store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
