"""Names in PostgreSQL: how they are quoted, and which ones Flink's JDBC connector can write. Pure.

The connector writes a table's name as it is given, so a quoted one goes in whole. A column's
name it writes without quotes, and once more as `:name`, which it reads back up to the first
character that no Java name has. So a column must be what PostgreSQL makes of it without
quotes: lower case, no reserved word.
"""

from __future__ import annotations

import re
import unicodedata

from cdc_assets.errors import ConfigurationError

# NAMEDATALEN - 1: the server cuts longer names, with a notice only.
MAX_NAME_BYTES = 63
_ASCII_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
_LETTERS = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo"})
# Java's strings are UTF-16: a character above this is two parts, and neither is of a name.
_BASIC_PLANE = 0xFFFF
# `pg_get_keywords()` of PostgreSQL 17, categories R and T; the test on the server compares.
RESERVED = frozenset({
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric",
    "authorization", "binary", "both", "case", "cast", "check", "collate", "collation",
    "column", "concurrently", "constraint", "create", "cross", "current_catalog",
    "current_date", "current_role", "current_schema", "current_time", "current_timestamp",
    "current_user", "default", "deferrable", "desc", "distinct", "do", "else", "end",
    "except", "false", "fetch", "for", "foreign", "freeze", "from", "full", "grant", "group",
    "having", "ilike", "in", "initially", "inner", "intersect", "into", "is", "isnull",
    "join", "lateral", "leading", "left", "like", "limit", "localtime", "localtimestamp",
    "natural", "not", "notnull", "null", "offset", "on", "only", "or", "order", "outer",
    "overlaps", "placing", "primary", "references", "returning", "right", "select",
    "session_user", "similar", "some", "symmetric", "system_user", "table", "tablesample",
    "then", "to", "trailing", "true", "union", "unique", "user", "using", "variadic",
    "verbose", "when", "where", "window", "with",
})  # fmt: skip


def quote_name(name: str) -> str:
    """Return a name as PostgreSQL reads it, whatever is in it.

    Raises:
        ConfigurationError: It is empty or holds a NUL.

    Example:
        >>> quote_name('a"b')
        '"a""b"'
    """
    if not name or "\x00" in name:
        raise ConfigurationError("not a PostgreSQL name", field="name", value=name)
    return '"' + name.replace('"', '""') + '"'


def quote_path(schema: str, name: str) -> str:
    """Return a table's qualified name."""
    return f"{quote_name(schema)}.{quote_name(name)}"


def folded(name: str) -> str:
    """Return what PostgreSQL makes of a name without quotes: ASCII letters in lower case.

    Example:
        >>> folded("OrderÉ")
        'orderÉ'
    """
    return "".join(each.lower() if each.isascii() else each for each in name)


def unwritable_table(name: str) -> str:
    """Return why no stream can write a table or schema of this name, empty when one can.

    Example:
        >>> unwritable_table('My "Orders"')
        ''
    """
    if not name or "\x00" in name:
        return "PostgreSQL takes no such name"
    if ":" in name or "?" in name:
        return "Flink's JDBC connector reads ':' and '?' in a name as parameters"
    return _too_long(name)


def unwritable_column(name: str) -> str:
    """Return why no stream can write a target column of this name, empty when one can.

    Example:
        >>> unwritable_column("OrderNo")
        "Flink's JDBC connector writes it without quotes, as orderno"
    """
    if not _is_plain(name):
        return (
            "Flink's JDBC connector writes it without quotes: letters, digits, '_' and '$', "
            "no digit and no '$' first"
        )
    if folded(name) != name:
        return f"Flink's JDBC connector writes it without quotes, as {folded(name)}"
    if name in RESERVED:
        return "a reserved word, which Flink's JDBC connector writes without quotes"
    return _too_long(name)


def _is_plain(name: str) -> bool:
    ascii_only = "".join("a" if _is_letter(each) else each for each in name)
    return _ASCII_NAME.fullmatch(ascii_only) is not None


def _is_letter(each: str) -> bool:
    return (
        not each.isascii() and ord(each) <= _BASIC_PLANE and unicodedata.category(each) in _LETTERS
    )


def _too_long(name: str) -> str:
    size = len(name.encode())
    return f"{size} bytes, PostgreSQL keeps {MAX_NAME_BYTES}" if size > MAX_NAME_BYTES else ""
