"""Free TCP ports on 127.0.0.1, none of them given to two labs that start at the same time."""

from __future__ import annotations

import json
import random
import socket
import time
from pathlib import Path
from typing import cast

from cdc_assets.errors import LabError
from cdc_assets.lab.locks import file_lock

HOST = "127.0.0.1"
# Below the range that Linux takes outgoing connections from, so that none of them can take a port
# between the choice and the start.
_FIRST, _LAST = 20000, 31999
_RESERVED_SECONDS = 300.0
_TRIES = 2000


def take_ports(cache: Path, count: int) -> list[int]:
    """Return free ports and reserve them for a few minutes among the labs of this cache.

    Raises:
        LabError: There are not enough free ports.
    """
    book = cache / "ports.json"
    with file_lock(cache / ".ports.lock", timeout_seconds=30):
        now = time.time()
        reserved = {port: at for port, at in _read(book).items() if now - at < _RESERVED_SECONDS}
        chosen: list[int] = []
        generator = random.SystemRandom()
        for _ in range(_TRIES):
            if len(chosen) == count:
                break
            port = generator.randint(_FIRST, _LAST)
            if str(port) not in reserved and port not in chosen and is_free(port):
                chosen.append(port)
        if len(chosen) < count:
            raise LabError(f"no {count} free ports between {_FIRST} and {_LAST} on {HOST}")
        reserved |= {str(port): now for port in chosen}
        book.write_text(json.dumps(reserved), encoding="utf-8")
    return chosen


def is_free(port: int) -> bool:
    """Return whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _read(book: Path) -> dict[str, float]:
    try:
        return cast("dict[str, float]", json.loads(book.read_text(encoding="utf-8")))
    except (OSError, ValueError):  # a reservation is a courtesy: without it the bind test decides
        return {}
