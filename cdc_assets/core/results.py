"""Results: columns that Flink works out, as the source columns that would bring the same values.

A target table for them is then made as for a copied table: docs/etl.md has the types. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.postgres_names import folded
from cdc_assets.core.preflight import Fault
from cdc_assets.core.starrocks import starrocks_type
from cdc_assets.core.stream import StreamSpec, TargetKind
from cdc_assets.core.types import carried
from cdc_assets.errors import UnsupportedType

_TYPE = re.compile(r"(?P<base>[A-Z_]+)(?:\((?P<size>\d+)(?:, ?(?P<scale>\d+))?\))?")
# Flink names a column so where the query does not.
_UNNAMED = re.compile(r"EXPR\$\d+")
_MICROSECONDS = 6
_MYSQL_SCALE = 30
# Beyond that a text is no part of a row in MySQL.
_VARCHAR = 255
# An index of MySQL's holds so many characters of 4 bytes at most.
_KEY_CHARACTERS = 768
_PLAIN = {
    "BOOLEAN": "bit(1)",
    "TINYINT": "tinyint(4)",
    "SMALLINT": "smallint(6)",
    "INT": "int(11)",
    "BIGINT": "bigint(20)",
    "FLOAT": "float",
    "DOUBLE": "double",
    "DATE": "date",
}
_TEXTS = frozenset({"STRING", "VARCHAR", "CHAR"})
_BYTES = frozenset({"BYTES", "VARBINARY", "BINARY"})
_MOMENTS = frozenset({"TIMESTAMP", "TIMESTAMP_LTZ"})
_FRACTIONS = frozenset({"FLOAT", "DOUBLE"})


@dataclass(frozen=True)
class Results:
    """What Flink says of the expressions and queries that fill missing target tables.

    Attributes:
        columns: Their columns, by target table.
        faults: What keeps a table from being made.
    """

    columns: tuple[tuple[str, tuple[Column, ...]], ...] = ()
    faults: tuple[Fault, ...] = ()


def wanted_results(spec: StreamSpec) -> dict[str, tuple[str, ...]]:
    """Return the tables that can be made once Flink has told types, with the keys of queries."""
    if not spec.create_tables or spec.target_kind == "kafka" or spec.is_scripted:
        return {}
    copies = [each.target_name for each in spec.copied if spec.transform_of(each).computed]
    return dict.fromkeys(copies, ()) | {
        query.target_name: query.key for query in spec.queries if query.key
    }


def judge_results(
    spec: StreamSpec, name: str, described: Sequence[tuple[str, str]], key: Sequence[str] = ()
) -> tuple[tuple[Column, ...], tuple[Fault, ...]]:
    """Return the columns of one target table, and what it cannot hold.

    Args:
        spec: The stream.
        name: The target table.
        described: Name and Flink type of each column.
        key: Columns of a query's key.
    """
    label = spec.target_label(name)
    columns: list[Column] = []
    names = [column for column, _ in described]
    faults = [
        Fault(
            f"{spec.name}.queries.{name}",
            f"{column} in the key",
            f"columns of the query: {', '.join(names)}",
            "Correct the key, or give the column its name with AS",
        )
        for column in key
        if column not in names
    ]
    for column, kind in described:
        if _UNNAMED.fullmatch(column):
            faults.append(
                Fault(
                    f"{spec.name}.queries.{name}",
                    f"{column}, a column without a name",
                    "a name for each column of the table that is made",
                    "Write ... AS name",
                )
            )
            continue
        try:
            columns.append(
                result_column(spec.target_kind, label, column, kind, is_key=column in key)
            )
        except UnsupportedType as error:
            faults.append(
                Fault(
                    f"{label}.{column}",
                    f"type {kind}",
                    f"a type that the target holds: {error.reason}",
                    f"Write CAST(... AS <type>) AS {column}, or make the table yourself",
                )
            )
    return tuple(columns), tuple(faults)


def result_column(
    target: TargetKind, label: str, name: str, kind: str, *, is_key: bool = False
) -> Column:
    """Return the source column that would bring the values of a Flink type.

    Args:
        target: What holds the column.
        label: Of the target table, for the error.
        name: Of the column.
        kind: Its Flink type, as DESCRIBE writes it.
        is_key: Whether it is part of the key; then it is NOT NULL.

    Raises:
        UnsupportedType: The target does not hold it.

    Example:
        >>> result_column("mysql", "dw.sums", "total", "DECIMAL(38, 2)").column_type
        'decimal(38,2)'
    """
    match = _TYPE.fullmatch(kind.removesuffix(" NOT NULL").strip())
    base = match["base"] if match else ""
    size = int(match["size"]) if match and match["size"] else None
    scale = int(match["scale"]) if match and match["scale"] else 0
    reason = _refusal(target, base, size, scale, is_key=is_key)
    if reason:
        raise UnsupportedType(label, name, kind, reason)
    text = _source_type(target, base, size, scale, is_key=is_key)
    is_text = base in _TEXTS
    column = Column(
        name,
        text.partition("(")[0],
        text,
        nullable=not is_key,
        charset="utf8mb4" if is_text else None,
        # Flink compares texts byte by byte.
        collation="utf8mb4_bin" if is_text else None,
    )
    try:
        carried(label, column, is_key=is_key, target=target)
        if target == "starrocks":
            starrocks_type(label, column, is_key=is_key)
    except UnsupportedType as error:
        raise UnsupportedType(label, name, kind, error.reason) from None
    return column


def _refusal(target: TargetKind, base: str, size: int | None, scale: int, *, is_key: bool) -> str:
    """Return why no target, or not this one, has a column for a Flink type."""
    if base not in {"DECIMAL", *_PLAIN, *_TEXTS, *_BYTES, *_MOMENTS}:
        return "no target has a type for it"
    if is_key and base in _FRACTIONS | _BYTES:
        return "no key is made of it"
    if base in _MOMENTS and (size or 0) > _MICROSECONDS:
        return f"targets hold microseconds, {base}({_MICROSECONDS})"
    if target != "mysql":
        return ""
    if scale > _MYSQL_SCALE:
        return f"MySQL has {_MYSQL_SCALE} digits after the point"
    if is_key and base in _TEXTS and not (size and size <= _KEY_CHARACTERS):
        return f"a text in a key needs a length, VARCHAR({_KEY_CHARACTERS}) at most"
    return ""


def _source_type(
    target: TargetKind, base: str, size: int | None, scale: int, *, is_key: bool
) -> str:
    if base == "DECIMAL":
        return f"decimal({size},{scale})"
    if base in _MOMENTS:
        # The writers of the others have no type with a zone; a session's zone is UTC.
        word = "timestamp" if base == "TIMESTAMP_LTZ" and target == "iceberg" else "datetime"
        return f"{word}({size})" if size else word
    if base in _TEXTS:
        return f"varchar({size})" if size and (is_key or size <= _VARCHAR) else "longtext"
    if base in _BYTES:
        return "longblob"
    # What writes MySQL has no FLOAT.
    return "double" if base == "FLOAT" and target == "mysql" else _PLAIN[base]


# A type of each target that a query fills with texts.
_ANY = {
    "mysql": "longtext",
    "postgres": "text",
    "iceberg": "string",
    "starrocks": "varchar(1048576)",
}


def provisional(spec: StreamSpec, name: str, shapes: Sequence[TableShape]) -> TableShape:
    """Return a missing target table as far as it must be known to ask Flink for types.

    Every column is a text: what an expression brings does not depend on where it goes.

    Args:
        spec: The stream.
        name: The target table.
        shapes: The captured tables.
    """
    kind = _ANY.get(spec.target_kind, "")
    table = next((each for each in spec.copied if each.target_name == name), None)
    source = next((each for each in shapes if table and each.label == table.label), None)
    if table is not None and source is not None:
        names = [column.name for column in source.columns]
        names += [column for column, _ in spec.transform_of(table).computed]
        key = source.primary_key
    else:
        key = next((each.key for each in spec.queries if each.target_name == name), ()) or ("key",)
        names = list(key)
    if spec.target_kind == "postgres":
        names, key = [folded(each) for each in names], tuple(folded(each) for each in key)
    columns = (Column(each, kind.partition("(")[0], kind) for each in dict.fromkeys(names))
    return TableShape(spec.target_database, name, tuple(columns), key)
