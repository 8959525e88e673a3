"""Iceberg: a catalog, its tables as data, and the types between MySQL, Flink and Iceberg. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.types import Carried
from cdc_assets.errors import ConfigurationError, UnsupportedType

CatalogKind = Literal["rest", "hadoop"]

# A name in a catalog's properties that holds one of these words has a value for nobody's eyes.
_SECRET_WORDS = ("secret", "password", "token", "credential", "access-key", "account-key")
_HIDDEN = "***"
# Iceberg's catalogs take more, but a dot divides names there, a slash folders, a dollar sign
# metadata tables.
_NAME = re.compile(r"[^\W]([\w-]*)")
_DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)", re.IGNORECASE)
_TIMES = re.compile(r"(TIMESTAMP|TIMESTAMP_LTZ)\((\d)\)")
_FLINK_OF = {
    "boolean": "BOOLEAN",
    "int": "INT",
    "long": "BIGINT",
    "double": "DOUBLE",
    "float": "FLOAT",
    "date": "DATE",
    "timestamp": "TIMESTAMP(6)",
    "timestamptz": "TIMESTAMP_LTZ(6)",
    "string": "STRING",
    "binary": "BYTES",
}
_ICEBERG_OF = {kind: name for name, kind in _FLINK_OF.items()}
_DIGITS = {"int": 10, "long": 19}


@dataclass(frozen=True)
class IcebergCatalog:
    """Which catalog holds the tables, for Flink and for this machine alike.

    Attributes:
        kind: `rest`, or `hadoop` where the tables' folders are the catalog.
        uri: Address of a REST catalog.
        warehouse: Folder of a hadoop catalog as a URL, or the warehouse's name in a REST catalog.
        properties: More of them, with the names that Iceberg has for them in Java and in Python.
        hidden: Names of those that are secret, besides the ones whose names tell it.
    """

    kind: CatalogKind = "rest"
    uri: str = ""
    warehouse: str = ""
    properties: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    hidden: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a catalog that cannot be found."""
        if self.kind == "rest" and not self.uri:
            raise ConfigurationError("a REST catalog needs its address", field="target.uri")
        if self.kind == "hadoop" and not self.warehouse:
            raise ConfigurationError("a hadoop catalog needs its folder", field="target.warehouse")

    @property
    def options(self) -> Mapping[str, str]:
        """Return the options that Flink's connector and Flink's `CREATE CATALOG` take."""
        return {
            "catalog-type": self.kind,
            **({"uri": self.uri} if self.uri else {}),
            **({"warehouse": self.warehouse} if self.warehouse else {}),
            **self.properties,
        }

    @property
    def secrets(self) -> tuple[tuple[str, str], ...]:
        """Return the properties that nobody may see, as names and values."""
        return tuple(
            (name, value)
            for name, value in self.properties.items()
            if name in self.hidden or is_secret(name)
        )

    @property
    def place(self) -> str:
        """Return where it is, for people."""
        return self.uri or self.warehouse


@dataclass(frozen=True)
class IcebergTable:
    """A table as its catalog describes it.

    Attributes:
        shape: Columns; the identifier fields are the primary key.
        format_version: 1 has no deletes of rows.
        partition_columns: Source columns of the partition spec in use.
    """

    shape: TableShape
    format_version: int = 2
    partition_columns: tuple[str, ...] = ()


def is_secret(name: str) -> bool:
    """Return whether a property's value is for nobody's eyes.

    Example:
        >>> is_secret("s3.secret-access-key"), is_secret("s3.endpoint")
        (True, False)
    """
    return any(word in name.lower() for word in _SECRET_WORDS)


def pairs_of(text: str) -> dict[str, str]:
    """Read `name=value;name=value`.

    Raises:
        ConfigurationError: A part has no name or no value.

    Example:
        >>> pairs_of("s3.access-key-id=a;s3.secret-access-key=b=c")
        {'s3.access-key-id': 'a', 's3.secret-access-key': 'b=c'}
    """
    found: dict[str, str] = {}
    for number, part in enumerate((each for each in text.split(";") if each.strip()), start=1):
        name, equals, value = part.strip().partition("=")
        if not name or not equals or not value:
            # The part is not shown: it may be the secret.
            raise ConfigurationError(
                f"part {number} is not name=value", field="target.secret_properties"
            )
        found[name] = value
    return found


def checked_name(name: str, *, field: str) -> str:
    """Return a table's or column's name if every Iceberg catalog can hold it.

    Raises:
        ConfigurationError: It cannot.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            "Iceberg cannot hold this name",
            field=field,
            value=name,
            hint="Use letters, digits, '_' and '-', or leave the column out with 'exclude_columns'",
        )
    return name


def is_name(name: str) -> bool:
    """Return whether every Iceberg catalog can hold a table or column of this name."""
    return bool(_NAME.fullmatch(name))


def iceberg_type(flink: str) -> str:
    """Return the Iceberg type of a Flink type, as Iceberg writes it.

    Example:
        >>> iceberg_type("DECIMAL(20, 0)"), iceberg_type("TIMESTAMP(0)")
        ('decimal(20, 0)', 'timestamp')
    """
    match = _DECIMAL.fullmatch(flink)
    if match:
        return f"decimal({match[1]}, {match[2]})"
    times = _TIMES.fullmatch(flink)
    return _ICEBERG_OF[f"{times[1]}(6)" if times else flink]


def flink_type(shape: TableShape, column: Column) -> str:
    """Return the Flink type of an Iceberg column, which is what a writer of it must bring.

    Raises:
        UnsupportedType: It is nested, or a type that a stream does not fill.
    """
    match = _DECIMAL.fullmatch(column.column_type)
    kind = f"DECIMAL({match[1]}, {match[2]})" if match else _FLINK_OF.get(column.column_type, "")
    if not kind:
        raise UnsupportedType(
            shape.label, column.name, column.column_type, "a stream does not fill this type"
        )
    return kind if column.nullable else f"{kind} NOT NULL"


def misfit(way: Carried, found: Column, *, is_key: bool) -> str:
    """Return why an Iceberg column cannot take a carried column, empty when it can.

    A key has exactly its own type: a cast hides it from Flink's planner.
    """
    wanted = iceberg_type(way.sink_type)
    if not is_key and not found.nullable:
        return "it is required, and a source row may leave it empty"
    if wanted == found.column_type:
        return ""
    if is_key or not _widens(wanted, found.column_type):
        return f"{found.column_type} is not {wanted}"
    return ""


def is_promotion(found: str, wanted: str) -> bool:
    """Return whether Iceberg changes a column of the one type into the other in place.

    Example:
        >>> is_promotion("int", "long"), is_promotion("decimal(10, 2)", "decimal(20, 4)")
        (True, False)
    """
    if (found, wanted) in {("int", "long"), ("float", "double")}:
        return True
    left, right = _DECIMAL.fullmatch(found), _DECIMAL.fullmatch(wanted)
    return bool(left and right and left[2] == right[2] and int(right[1]) > int(left[1]))


def _widens(wanted: str, found: str) -> bool:
    """Return whether Flink casts every value of the first type into the second by itself."""
    if wanted == "int" and found == "long":
        return True
    right = _DECIMAL.fullmatch(found)
    if not right:
        return False
    whole, scale = int(right[1]) - int(right[2]), int(right[2])
    if wanted in _DIGITS:
        return whole >= _DIGITS[wanted]
    left = _DECIMAL.fullmatch(wanted)
    return bool(left and whole >= int(left[1]) - int(left[2]) and scale >= int(left[2]))


def create_catalog_sql(catalog: IcebergCatalog, name: str, *, is_shown: bool = True) -> str:
    """Return the Flink SQL that makes a catalog known to a session.

    Args:
        catalog: The catalog.
        name: What the session calls it.
        is_shown: Whether a person sees it; then it has no secrets.
    """
    hidden = {key for key, _ in catalog.secrets} if is_shown else set[str]()
    options = {"type": "iceberg", **catalog.options}
    text = ", ".join(
        f"{_text(key)}={_text(_HIDDEN if key in hidden else value)}"
        for key, value in options.items()
    )
    return f"CREATE CATALOG {_quoted(name)} WITH ({text});"


def create_table_sql(label: str, columns: Sequence[Carried], key: Sequence[str]) -> str:
    """Return the Flink SQL that makes a table for a captured table, label quoted already."""
    lines = [
        f"  {_quoted(way.column.name)} {flink_name(way)}"
        + (" NOT NULL" if way.column.name in key else "")
        for way in columns
    ]
    keys = ", ".join(_quoted(name) for name in key)
    body = ",\n".join([*lines, f"  PRIMARY KEY ({keys}) NOT ENFORCED"])
    return (
        f"CREATE TABLE {label} (\n{body}\n)"
        " WITH ('format-version'='2', 'write.upsert.enabled'='true');"
    )


def flink_name(way: Carried) -> str:
    """Return the Flink type that makes the Iceberg column of a carried column."""
    kind = iceberg_type(way.sink_type)
    match = _DECIMAL.fullmatch(kind)
    return f"DECIMAL({match[1]}, {match[2]})" if match else _FLINK_OF[kind]


def quoted_label(*parts: str) -> str:
    """Return a name of several parts for Flink SQL."""
    return ".".join(_quoted(part) for part in parts)


def quoted_name(name: str) -> str:
    """Return a name for Flink SQL."""
    return _quoted(name)


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
