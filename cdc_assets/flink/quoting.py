"""Quoting for Flink SQL: names, text and the regular expressions that the connector takes."""

from __future__ import annotations

import re

from cdc_assets.core.row_sql import is_jdbc_name
from cdc_assets.errors import ConfigurationError

_PLAIN = re.compile(r"[0-9A-Za-z_]")


def quote_identifier(name: str) -> str:
    """Return a name for Flink SQL.

    Raises:
        ConfigurationError: It is empty or holds a NUL.

    Example:
        >>> quote_identifier("a`b")
        '`a``b`'
    """
    return "`" + _checked(name, "name").replace("`", "``") + "`"


def quote_text(text: str) -> str:
    """Return a string literal for Flink SQL.

    Example:
        >>> quote_text("o'neil")
        "'o''neil'"
    """
    return "'" + _checked(text, "text", may_be_empty=True).replace("'", "''") + "'"


def exact_pattern(name: str) -> str:
    r"""Return a regular expression that matches this name only.

    The connector reads `database-name` and `table-name` as regular expressions, and splits
    lists of them at commas; a hexadecimal escape is neither an operator nor a comma.

    Example:
        >>> exact_pattern("my-db")
        'my\\x{2d}db'
    """
    return "".join(
        each if _PLAIN.match(each) or ord(each) > 127 else f"\\x{{{ord(each):x}}}"  # noqa: PLR2004 - end of ASCII
        for each in _checked(name, "name")
    )


def checked_sink_name(name: str, *, field: str) -> str:
    """Return the name of a target table or column if the JDBC connector can write it.

    Raises:
        ConfigurationError: It cannot.
    """
    if not is_jdbc_name(name):
        raise ConfigurationError(
            "Flink's JDBC connector cannot write this name",
            field=field,
            value=name,
            hint="Use letters, digits, '_' and '$', or leave the column out with 'exclude_columns'",
        )
    return name


def _checked(text: str, field: str, *, may_be_empty: bool = False) -> str:
    if "\x00" in text or not (text or may_be_empty):
        raise ConfigurationError("empty, or holds a NUL", field=field, value=text)
    return text
