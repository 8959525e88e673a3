"""Which sources the tests of a target run on."""

from __future__ import annotations

import os


def sources_of(usual: str) -> list[str]:
    """Return the usual source, or both with `CDC_ASSETS_ALL_SOURCES=1`, in twice the time."""
    return ["mariadb", "mysql"] if os.environ.get("CDC_ASSETS_ALL_SOURCES") else [usual]
