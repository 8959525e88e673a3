"""The newest MySQL that Debian packages, which Flink CDC 3.5 cannot read and Debezium can.

It is in no locked registry, so apt brings it, checked by apt's own signatures; without apt, or
without its archive, the tests that need it are skipped and say so.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pymysql
import pytest

from cdc_assets.lab.cache import Cache
from cdc_assets.lab.free_ports import HOST, take_ports
from cdc_assets.lab.processes import start, stop, wait_ready
from cdc_assets.lab.workload import Login

PACKAGE = "mysql-server-core"
SUITE = "sid"
DATABASE = "source"
_SOURCES = Path("/etc/apt")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_MACHINE = "usr/lib/x86_64-linux-gnu"
_FETCH_SECONDS = 600
_START_SECONDS = 120.0


def unpacked(cache: Cache) -> Path:
    """Return the folder with the server, fetched on first use; skip where it cannot be."""
    folder = cache.root / f"apt-{PACKAGE}"
    if (folder / ".complete").is_file():
        return folder
    archive = _archive()
    if shutil.which("apt-get") is None or archive is None or not _KEYRING.is_file():
        pytest.skip("no apt, or no Debian archive among its sources: MySQL 9 cannot be fetched")
    with cache.filling(), cache.work_folder() as work:
        lists, archives = work / "lists", work / "archives"
        for each in (lists / "partial", archives / "partial"):
            each.mkdir(parents=True)
        (work / "status").touch()
        (work / "sources.list").write_text(f"deb [signed-by={_KEYRING}] {archive} {SUITE} main\n")
        # Folders of its own: the machine's lists and packages are neither read nor changed.
        options = {
            "Dir::Etc::sourcelist": work / "sources.list", "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": lists, "Dir::State::status": work / "status",
            "Dir::Cache": work, "Dir::Cache::archives": archives, "APT::Sandbox::User": "",
            "APT::Install-Recommends": "false", "Acquire::Retries": "3",
        }  # fmt: skip
        given = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        for step in (["update"], ["-y", "--download-only", "install", PACKAGE]):
            done = subprocess.run(
                ["apt-get", *given, *step], capture_output=True, text=True,  # noqa: S607 - by the PATH
                timeout=_FETCH_SECONDS, check=False,
            )  # fmt: skip
            if done.returncode:
                pytest.skip(f"apt-get {step[0]} ended with {done.returncode}: MySQL 9 is not there")
        tree = work / "tree"
        for package in sorted(archives.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", package, tree], timeout=_FETCH_SECONDS, check=True)  # noqa: S607 - as above
        (tree / ".complete").touch()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(tree, folder)
    return folder


def _archive() -> str | None:
    """Return the address of the Debian archive that this machine uses."""
    for file in (*_SOURCES.glob("sources.list.d/*.sources"), _SOURCES / "sources.list"):
        with suppress(OSError):
            found = re.search(r"(?m)^(?:URIs:|deb(?: \[.*?\])?) *(\S+/debian/?)(?=\s)",
                              file.read_text(encoding="utf-8"))  # fmt: skip
            if found:
                return found[1]
    return None


@contextmanager
def newest_mysql(cache: Cache, home: Path, user: str, password: str) -> Generator[Login]:
    """Run the server with GTID and one account that may do everything on it."""
    root, data, log = unpacked(cache), home / "data-newest", home / "logs" / "newest.log"
    (port,) = take_ports(cache.root, 1)
    command = [
        f"{root}/{_MACHINE}/ld-linux-x86-64.so.2",
        *("--library-path", f"{root}/{_MACHINE}:{root}/usr/lib/mysql/private"),
        *(f"{root}/usr/sbin/mysqld", "--no-defaults", f"--datadir={data}", "--user=root"),
        *(f"--lc-messages-dir={root}/usr/share/mysql", "--mysqlx=OFF", "--secure-file-priv=NULL"),
        f"--plugin-dir={root}/usr/lib/mysql/plugin",
    ]  # fmt: skip
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        subprocess.run(
            [*command, "--initialize-insecure"], stdout=output, stderr=output,
            timeout=_START_SECONDS, check=True,
        )  # fmt: skip
    settings = (
        f"--bind-address={HOST}", f"--port={port}", f"--socket={data}/s", "--server-id=900",
        "--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--binlog-row-image=FULL",
        "--innodb-buffer-pool-size=64M", f"--pid-file={data}/pid",
    )  # fmt: skip
    record = start([*command, *settings], home=home, log=log)
    try:
        wait_ready(
            lambda: _prepared(port, user, password),
            name="mysqld", record=record, log=log, seconds=_START_SECONDS,
        )  # fmt: skip
        yield Login(HOST, port, user, password, DATABASE)
    finally:
        stop([record])


def _prepared(port: int, user: str, password: str) -> bool:
    """Make the account and the database; false while the server does not answer."""
    try:
        connection = pymysql.connect(host=HOST, port=port, user="root", connect_timeout=5)
    except pymysql.err.OperationalError:
        return False
    with closing(connection), connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {DATABASE}")
        cursor.execute("CREATE USER %s@'%%' IDENTIFIED BY %s", (user, password))
        cursor.execute("GRANT ALL ON *.* TO %s@'%%'", (user,))
    return True
