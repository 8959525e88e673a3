"""The ledgers that the contract suite runs on."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pymysql
import pytest

from cdc_assets.lab.cache import Cache, default_cache_dir
from cdc_assets.lab.data_templates import ensure_template, fill_data_dir, find_program
from cdc_assets.lab.free_ports import take_ports
from cdc_assets.lab.packages import load_packages
from cdc_assets.lab.source_server import ServerKind
from cdc_assets.ledger.client import SqlLedger
from cdc_assets.ports import Ledger
from cdc_assets.testing import FakeLedger, FrozenClock

Reopen = Callable[[], Ledger]

READY_SECONDS = 60.0
SERVERS: dict[str, tuple[ServerKind, str]] = {
    "mysql": ("mysql", "5.6.24"),  # its indexes are the shortest
    "mariadb": ("mariadb", "11.4.5"),
}
SQL = ["sqlite", *(pytest.param(name, marks=pytest.mark.integration) for name in SERVERS)]


class MySqlServer:
    """A server of the lab's cache on a blank data folder."""

    def __init__(self, kind: ServerKind, version: str, folder: Path) -> None:
        cache = Cache(default_cache_dir())
        cache.ensure(each for each in load_packages() if each.name == f"{kind}-{version}")
        program = find_program(cache, kind, version)
        fill_data_dir(ensure_template(cache, program), folder / "data")
        (self.port,) = take_ports(cache.root, 1)
        account = folder / "init.sql"
        account.write_text("grant all on *.* to 'ledger'@'%' identified by 's3cret';\n")
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    str(program.executable),
                    *program.base_options,
                    f"--datadir={folder / 'data'}",
                    f"--port={self.port}",
                    f"--init-file={account}",
                    "--bind-address=127.0.0.1",
                    "--skip-name-resolve",
                    "--socket=server.sock",
                    "--pid-file=server.pid",
                    "--innodb-buffer-pool-size=64M",
                    "--performance-schema=OFF",
                ],
                env=program.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_ready()

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                self.run("SELECT 1")
            except pymysql.Error:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self.stop()
                    raise
                time.sleep(0.1)
            else:
                return

    def run(self, statement: str) -> None:
        with closing(
            pymysql.connect(
                host="127.0.0.1",
                port=self.port,
                user="ledger",
                password="s3cret",
                connect_timeout=5,
                autocommit=True,
            )
        ) as connection:
            connection.cursor().execute(statement)

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], MySqlServer]]:
    """Start a server when it is asked for, once."""
    started: dict[str, MySqlServer] = {}

    def get(name: str) -> MySqlServer:
        if name not in started:
            kind, version = SERVERS[name]
            started[name] = MySqlServer(kind, version, tmp_path_factory.mktemp(name))
        return started[name]

    yield get
    for server in started.values():
        server.stop()


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


def new_ledger_url(kind: str, folder: Path, servers: Callable[[str], MySqlServer]) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder}/state/ledger.db"
        return
    name = f"ledger_{uuid.uuid4().hex[:12]}"
    server = servers(kind)
    server.run(f"CREATE DATABASE {name}")
    yield f"mysql://ledger:s3cret@127.0.0.1:{server.port}/{name}"
    server.run(f"DROP DATABASE {name}")


@pytest.fixture(params=SQL)
def ledger_url(
    request: pytest.FixtureRequest, tmp_path: Path, servers: Callable[[str], MySqlServer]
) -> Iterator[str]:
    """Return the URL of a place where no ledger is yet."""
    yield from new_ledger_url(request.param, tmp_path, servers)


@pytest.fixture(params=["fake", *SQL])
def ledgers(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    clock: FrozenClock,
    servers: Callable[[str], MySqlServer],
) -> Iterator[Reopen]:
    """Give a function that opens one and the same ledger, each time as another process would."""
    if request.param == "fake":
        fake = FakeLedger(now=clock.now)
        yield lambda: fake
        return
    opened: list[SqlLedger] = []
    for url in new_ledger_url(request.param, tmp_path, servers):

        def reopen(url: str = url) -> Ledger:
            opened.append(SqlLedger(url, now=clock.now))
            return opened[-1]

        yield reopen
        for ledger in opened:
            ledger.close()


@pytest.fixture
def ledger(ledgers: Reopen) -> Ledger:
    return ledgers()
