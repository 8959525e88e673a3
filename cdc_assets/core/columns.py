"""Column and TableShape: a table as its server describes it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: As the server spells it.
        data_type: Lower case base type, for example `varchar`.
        column_type: Full type, for example `decimal(20,8) unsigned`.
        nullable: Whether it accepts NULL.
        charset: Character set of text columns.
        collation: Collation of text columns.
        generated: Whether the server computes the value, so that no row can bring its own.
        has_default: Whether rows that do not name it get a value other than NULL.
    """

    name: str
    data_type: str
    column_type: str
    nullable: bool = True
    charset: str | None = None
    collation: str | None = None
    generated: bool = False
    has_default: bool = False


@dataclass(frozen=True)
class TableShape:
    """A table's columns in order, and its primary key's column names in key order."""

    database: str
    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    rows_estimate: int = 0

    @property
    def label(self) -> str:
        """Return `database.table`."""
        return f"{self.database}.{self.name}"

    def column(self, name: str) -> Column | None:
        """Return a column by its name, without regard to case, as MySQL compares names."""
        return next((c for c in self.columns if c.name.lower() == name.lower()), None)
