"""Fit: whether a target column holds every value of a source column. Pure."""

from __future__ import annotations

from cdc_assets.core.columns import Column
from cdc_assets.core.types import (
    BLOB_BYTES,
    BYTES_PER_CHARACTER,
    INT_BITS,
    TEXT_BYTES,
    MySqlType,
)

_MAX_BYTES_PER_CHARACTER = 4
_UNICODE = frozenset({"utf8mb4", "utf16", "utf32"})
_BASIC_PLANE = frozenset({"utf8", "utf8mb3", "ucs2", "ascii"})
_FRACTIONS = frozenset({"datetime", "timestamp"})
_LAST_YEAR = 2155
_CHARACTERS = frozenset({"char", "varchar", *TEXT_BYTES})
_BYTES = frozenset({"varbinary", *BLOB_BYTES})


def misfit(source: Column, target: Column) -> str:
    """Return why the target column cannot hold the source column, empty when it can.

    Example:
        >>> misfit(Column("n", "bigint", "bigint(20)"), Column("n", "int", "int(11)"))
        'int(11) is narrower than bigint(20)'
    """
    if target.generated:
        return "the server computes it, so a stream cannot write it"
    left, right = MySqlType.parse(source), MySqlType.parse(target)
    if not _fits(left, right):
        narrower = _family(left) == _family(right)
        word = "is narrower than" if narrower else "is not"
        return f"{target.column_type} {word} {source.column_type}"
    if source.nullable and not target.nullable:
        return "it is NOT NULL, the source column is not"
    return _charset_misfit(source, target)


def _family(kind: MySqlType) -> str:
    for name, members in (("int", INT_BITS), ("text", _CHARACTERS), ("bytes", _BYTES)):
        if kind.base in members:
            return name
    return kind.base


def _fits(left: MySqlType, right: MySqlType) -> bool:
    if left.base in INT_BITS:
        return _integer_fits(left, right)
    if left.base in _CHARACTERS:
        return right.base in _CHARACTERS and _text_fits(left, right)
    if left.base in _BYTES:
        return right.base in _BYTES and _capacity(right) >= _capacity(left)
    if left.base == "float" and right.base == "double":
        return right.scale is None and (left.unsigned or not right.unsigned)
    if left.base == "year" and right.base in INT_BITS:
        return _bounds(right)[1] >= _LAST_YEAR
    if left.base == "timestamp" and right.base == "datetime":  # written as UTC
        return (right.size or 0) >= (left.size or 0)
    if left.base == "enum" and right.base == "varchar":
        return (right.size or 0) >= max(map(len, left.values), default=0)
    return left.base == right.base and _same_base_fits(left, right)


def _same_base_fits(left: MySqlType, right: MySqlType) -> bool:
    if left.base == "decimal":
        return (
            _whole(right) >= _whole(left)
            and (right.scale or 0) >= (left.scale or 0)
            and (left.unsigned or not right.unsigned)
        )
    if left.base in _FRACTIONS:
        return (right.size or 0) >= (left.size or 0)
    if left.base == "bit":
        return (right.size or 1) >= (left.size or 1)
    if left.base == "binary":
        return (right.size or 1) == (left.size or 1)  # another length pads differently
    if left.base in {"enum", "set"}:
        return set(left.values) <= set(right.values)
    if left.base in {"float", "double"}:
        # With digits of its own the target rounds, which only the same digits make harmless.
        same = right.scale == left.scale and (right.size or 0) >= (left.size or 0)
        return (right.scale is None or same) and (left.unsigned or not right.unsigned)
    return True


def _whole(kind: MySqlType) -> int:
    """Return the digits before the point of a decimal."""
    return (10 if kind.size is None else kind.size) - (kind.scale or 0)


def _integer_fits(left: MySqlType, right: MySqlType) -> bool:
    low, high = _bounds(left)
    if right.base == "decimal":
        return 10 ** _whole(right) > max(high, -low) and (left.unsigned or not right.unsigned)
    if right.base not in INT_BITS:
        return False
    other_low, other_high = _bounds(right)
    return other_low <= low and high <= other_high


def _bounds(kind: MySqlType) -> tuple[int, int]:
    bits = INT_BITS[kind.base]
    return (0, 2**bits - 1) if kind.unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _text_fits(left: MySqlType, right: MySqlType) -> bool:
    if right.base == "char":
        # A CHAR drops the blanks at the end of a value.
        return left.base == "char" and (right.size or 1) >= (left.size or 1)
    if left.base in TEXT_BYTES:
        return right.base in TEXT_BYTES and TEXT_BYTES[right.base] >= TEXT_BYTES[left.base]
    characters = 1 if left.size is None else left.size
    if right.base == "varchar":
        return (right.size or 0) >= characters
    return TEXT_BYTES[right.base] > characters * _MAX_BYTES_PER_CHARACTER


def _capacity(kind: MySqlType) -> int:
    return BLOB_BYTES[kind.base] - 1 if kind.base in BLOB_BYTES else kind.size or 0


def _charset_misfit(source: Column, target: Column) -> str:
    left, right = source.charset, target.charset
    if not left or not right or left == right:
        return ""
    if right in _UNICODE and (left in _UNICODE or left in _BASIC_PLANE):
        return ""
    if right in _BASIC_PLANE - {"ascii"} and left in _BASIC_PLANE:
        return ""
    if BYTES_PER_CHARACTER.get(right) == BYTES_PER_CHARACTER.get(left) is not None:
        return ""
    # A single-byte text may hold bytes without a character, such as UTF-8 that was stored as
    # latin1. In the same character set the target refuses them aloud; in another one they
    # would be stored as something else.
    return f"character set {right} is not {left}"
