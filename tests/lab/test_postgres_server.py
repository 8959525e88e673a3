"""The lab's PostgreSQL server: what is started, and as whom."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cdc_assets.lab import unprivileged
from cdc_assets.lab.cache import Cache
from cdc_assets.lab.packages import load_packages
from cdc_assets.lab.postgres_server import CONNECTORS, PACKAGE_GROUP, service


def test_the_service_listens_on_the_loopback_only(tmp_path: Path) -> None:
    made = service(tmp_path, Cache(tmp_path), 25432)
    assert "listen_addresses=127.0.0.1" in made.command
    assert "unix_socket_directories=" in made.command
    assert (made.port, made.probe, made.stand_in) == (25432, "tcp", False)


@pytest.mark.parametrize("is_root", [True, False])
def test_only_root_starts_it_as_somebody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_root: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0 if is_root else 1000)
    command = service(tmp_path, Cache(tmp_path), 25432).command
    assert (unprivileged.__file__ in command) == is_root


def test_its_packages_are_the_server_and_the_driver_for_flink() -> None:
    names = {each.name for each in load_packages([PACKAGE_GROUP])}
    assert names == {"postgresql-17.11", *CONNECTORS}


def test_a_program_that_may_not_run_as_root_runs_as_an_ordinary_user(tmp_path: Path) -> None:
    """Below a folder that nobody else may enter, if root starts it."""
    secret = tmp_path / "closed"
    secret.mkdir(mode=0o700)
    (secret / "file").write_text("read")
    code = f"import os; print(os.geteuid(), open({str(secret / 'file')!r}).read())"
    launcher = [sys.executable, "-I", unprivileged.__file__] if os.geteuid() == 0 else []
    result = subprocess.run(
        [*launcher, sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    expected = unprivileged.ordinary_user()[0] if os.geteuid() == 0 else os.geteuid()
    assert result.stdout.split() == [str(expected), "read"], result.stderr


def test_what_cannot_be_run_is_one_line(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-I", unprivileged.__file__, str(tmp_path / "absent")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: cannot run as an ordinary user")
    assert result.stderr.count("\n") == 1
