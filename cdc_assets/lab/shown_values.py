"""Shown values: what a MySQL server shows of a value that a target holds in another form."""

from __future__ import annotations


def shown_float(value: object) -> float:
    """Return a FLOAT as a server shows it, with 6 significant digits.

    Example:
        >>> shown_float(16777216.0)
        16777200.0
    """
    return float(f"{float(str(value)):.6g}")
