"""TableRef: a captured table, or a group of shards, and what its target table is called. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from cdc_assets.errors import ConfigurationError

# The connector divides a list at commas, also inside of braces; the rest Java reads as Python does.
_PATTERN = re.compile(r"[\w$\[\]()|?*+{}.^\\-]+")
# Identifiers of databases and tables (MySQL manual, "Identifier Length Limits").
MAX_NAME = 64


@dataclass(frozen=True, order=True)
class TableRef:
    """One captured source table and its target table's names.

    Attributes:
        database: Of the source.
        name: Of the source table.
        target_name: By default the source table's name; a topic's is `database.table`.
        is_named: Whether the target's name was chosen.
    """

    database: str
    name: str
    target_name: str = ""
    is_named: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Fill in the target's name and refuse names that no server accepts."""
        object.__setattr__(self, "is_named", bool(self.target_name))
        if not self.target_name:
            object.__setattr__(self, "target_name", self.name)
        for part, value in (("database", self.database), ("table", self.name)):
            if not value or "\x00" in value or len(value) > MAX_NAME:
                raise ConfigurationError("not a MySQL name", field=part, value=value)

    @property
    def label(self) -> str:
        """Return `database.table`."""
        return f"{self.database}.{self.name}"

    @property
    def alias(self) -> str:
        """Return what queries and settings call the table."""
        return self.name

    @classmethod
    def parse(cls, text: str) -> TableRef:
        """Read `database.table` or `database.table:target_table`.

        Raises:
            ConfigurationError: The text has another form.
        """
        source, _, target = text.partition(":")
        database, dot, name = source.partition(".")
        if not dot or not name:
            raise ConfigurationError("write it as database.table", field="tables", value=text)
        return cls(database, name, target)


@dataclass(frozen=True, order=True)
class QualifiedTable(TableRef):
    """A captured table that queries and settings call by its database, too.

    For a stream that captures tables of one name from several databases.
    """

    @property
    def alias(self) -> str:
        """Return `database.table`."""
        return self.label


@dataclass(frozen=True, order=True)
class ShardedTable(TableRef):
    r"""Many source tables that land in one target table.

    `database` and `name` are regular expressions for whole names, upper and lower case alike,
    as the connector reads them. A table that is made later and matches is captured, too. The
    target table has the columns of all of them and two more that say where a row is from,
    `database_name` and `table_name`; these and the shards' primary key are its key.

    Example:
        >>> users = ShardedTable("user_db_[0-9]+", "user_table_[0-9]+", "all_users")
        >>> users.matches("user_db_1", "user_table_12"), users.matches("user_db_1", "users")
        (True, False)
    """

    def __post_init__(self) -> None:
        """Refuse patterns that Java and Python would read differently, or that cannot be read."""
        object.__setattr__(self, "is_named", True)
        if not self.target_name:
            raise ConfigurationError("name the target table", field="sharded tables",
                                     value=self.label)  # fmt: skip
        for part, value in (("database", self.database), ("table", self.name)):
            if not _PATTERN.fullmatch(value):
                raise ConfigurationError(
                    "use names and the signs [ ] ( ) | ? * + { } . - \\, without a comma",
                    field=f"sharded tables, {part}",
                    value=value,
                )
            try:
                re.compile(value)
            except re.error as error:
                raise ConfigurationError(
                    f"not a regular expression: {error}",
                    field=f"sharded tables, {part}",
                    value=value,
                ) from None

    @property
    def alias(self) -> str:
        """Return what queries and settings call the table: a pattern is no name."""
        return self.target_name

    def matches(self, database: str, name: str) -> bool:
        """Return whether a source table is one of the shards."""
        pairs = ((self.database, database), (self.name, name))
        return all(re.fullmatch(pattern, each, re.IGNORECASE) for pattern, each in pairs)

    @classmethod
    def parse(cls, text: str) -> ShardedTable:
        r"""Read `database_pattern.table_pattern:target_table`.

        The dot between the patterns is written `\.` where they hold dots themselves.

        Raises:
            ConfigurationError: The text has another form.
        """
        patterns, _, target = text.rpartition(":")
        for dot in ("\\.", "."):
            if patterns.count(dot) == 1:
                database, _, name = patterns.partition(dot)
                return cls(database, name, target)
        raise ConfigurationError(
            "write it as database_pattern.table_pattern:target_table",
            field="sharded tables",
            value=text,
            hint="Where a pattern holds a dot, write the one between them as \\.",
        )
