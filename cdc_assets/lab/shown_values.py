"""Shown values: what a MySQL server shows of a value that a target holds in another form."""

from __future__ import annotations

import struct

from cdc_assets.core.types import MySqlType


def shown_float(kind: MySqlType, value: object) -> float:
    """Return a FLOAT as a server shows it: with 6 significant digits, or D digits of FLOAT(M, D).

    Example:
        >>> shown_float(MySqlType("float"), 16777216.0), shown_float(MySqlType("float", 7, 4), 9.9)
        (16777200.0, 9.9)
    """
    # Some systems show fewer digits than the 32 bits have.
    (number,) = struct.unpack("f", struct.pack("f", float(str(value))))
    return float(f"{number:.6g}") if kind.scale is None else round(number, kind.scale)
