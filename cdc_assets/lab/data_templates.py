"""An initialised data folder per server version, made once in the cache and copied for each server.

The template holds the system tables and no account at all: no root, no anonymous user. The first
account of a server is the administrator that its init file creates before it listens.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cdc_assets.errors import ServiceFailed
from cdc_assets.lab.cache import Cache
from cdc_assets.lab.packages import Package, load_packages
from cdc_assets.lab.source_server import ServerKind

_BOOTSTRAP_SECONDS = 120
# The redo log's size is part of the data folder: bootstrap and server must agree on it.
_REDO_LOG = "--innodb-log-file-size=16M"
_TEMPLATE_FORMAT = 1


@dataclass(frozen=True)
class ServerProgram:
    """Where one version of a server is installed.

    Args:
        kind: `mariadb` or `mysql`.
        version: As the package says it.
        root: The unpacked package.
    """

    kind: ServerKind
    version: str
    root: Path

    @property
    def executable(self) -> Path:
        """Return the server's program."""
        return self.root / ("bin/mariadbd" if self.kind == "mariadb" else "mysqld")

    @property
    def env(self) -> dict[str, str]:
        """Return the environment that the program needs."""
        return {} if self.kind == "mariadb" else {"LD_LIBRARY_PATH": str(self.root)}

    @property
    def base_options(self) -> list[str]:
        """Return the options that bootstrap and server share."""
        share = self.root / "share"
        options = ["--no-defaults", f"--basedir={self.root}", f"--lc-messages-dir={share}"]
        options += [f"--character-sets-dir={share / 'charsets'}", _REDO_LOG]
        if os.geteuid() == 0:  # a server refuses to run as root unless it is told to
            options.append("--user=root")
        return options


def find_program(cache: Cache, kind: ServerKind, version: str) -> ServerProgram:
    """Return the program of a version.

    Raises:
        ServiceFailed: The lab has no such version.
    """
    package = _package(kind, version)
    return ServerProgram(kind=kind, version=version, root=cache.folder(package))


def known_versions(kind: ServerKind) -> list[str]:
    """Return the versions of a server that the lab can start."""
    prefix = f"{kind}-"
    return [each.name[len(prefix) :] for each in load_packages() if each.name.startswith(prefix)]


def ensure_template(cache: Cache, program: ServerProgram) -> Path:
    """Return the initialised data folder of a version, making it if it is not there.

    Raises:
        ServiceFailed: The server's bootstrap failed.
    """
    package = _package(program.kind, program.version)
    final = cache.root / "templates" / f"{package.folder_name}-{_TEMPLATE_FORMAT}"
    if final.is_dir():
        return final
    with cache.filling(), cache.work_folder() as work:
        if not final.is_dir():
            data = work / "data"
            data.mkdir()
            _bootstrap(program, data)
            final.parent.mkdir(parents=True, exist_ok=True)
            data.replace(final)
    return final


def fill_data_dir(template: Path, data_dir: Path) -> None:
    """Replace a data folder by a copy of the template, without the template's identity."""
    shutil.rmtree(data_dir, ignore_errors=True)
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(template, data_dir)
    # MySQL writes a new server_uuid when this file is missing.
    (data_dir / "auto.cnf").unlink(missing_ok=True)
    data_dir.chmod(0o700)


def _package(kind: ServerKind, version: str) -> Package:
    name = f"{kind}-{version}"
    for package in load_packages():
        if package.name == name:
            return package
    raise ServiceFailed(
        f"the lab has no {kind} {version}", hint=f"It has {', '.join(known_versions(kind))}"
    )


def _bootstrap(program: ServerProgram, data: Path) -> None:
    command = [str(program.executable), *program.base_options, f"--datadir={data}", "--bootstrap"]
    # MariaDB counts its own default (strict, InnoDB only) against the script; its installer
    # passes the same two.
    command += ["--max-allowed-packet=8M", "--net-buffer-length=16K"]
    if program.kind == "mariadb":
        command.append("--enforce-storage-engine=")
    try:
        result = subprocess.run(  # noqa: S603 - fixed command, no shell
            command,
            input=_bootstrap_sql(program).encode(),
            env={**os.environ, **program.env},
            capture_output=True,
            timeout=_BOOTSTRAP_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceFailed(
            f"{program.kind} {program.version}: bootstrap took over {_BOOTSTRAP_SECONDS} s"
        ) from error
    output = result.stderr.decode("utf-8", "replace")
    errors = [line for line in output.splitlines() if "ERROR" in line]
    if result.returncode != 0 or errors:
        said = (errors or output.splitlines() or ["no message"])[0]
        raise ServiceFailed(f"{program.kind} {program.version}: bootstrap failed: {said}")


def _bootstrap_sql(program: ServerProgram) -> str:
    share = program.root / "share"
    # One statement per line here: the bootstrap reader of MySQL 5.6 wants the first ones so.
    lines = ["create database mysql;", "use mysql;"]
    if program.kind == "mysql":
        files = ["mysql_system_tables.sql", "mysql_system_tables_data.sql"]
        clean = ["delete from user;", "delete from db;", "delete from proxies_priv;"]
    else:
        # The files' prefix changed with 11.x.
        prefix = "mariadb" if (share / "mariadb_system_tables.sql").exists() else "mysql"
        files = [f"{prefix}_system_tables.sql", f"{prefix}_system_tables_data.sql"]
        lines += ["set @auth_root_socket=NULL;"]
        clean = [
            "delete from global_priv where User in ('', 'root');",
            "delete from db;",
            "delete from proxies_priv;",
        ]
    scripts = [(share / name).read_text(encoding="utf-8") for name in files]
    return "\n".join([*lines, *scripts, *clean, ""])
