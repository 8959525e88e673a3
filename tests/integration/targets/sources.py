"""Which sources the tests of a target run on, and how many of their cases."""

from __future__ import annotations

import os


def sources_of(usual: str) -> list[str]:
    """Return the usual source, or both with `CDC_ASSETS_ALL_SOURCES=1`, in twice the time."""
    return ["mariadb", "mysql"] if takes_all() else [usual]


def takes_all() -> bool:
    """Return whether every case is wanted, and not one of each kind."""
    return bool(os.environ.get("CDC_ASSETS_ALL_SOURCES"))
