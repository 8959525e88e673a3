"""Matching: which rule a table has, and which tables are shards of one target table. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.starrocks import (
    is_column_name,
    is_database_name,
    is_table_name,
    ordered_columns,
)
from cdc_assets.errors import ConfigurationError
from cdc_assets.smt.config import SmtConfig, TableRule

Shards = Literal["merge", "columns", "apart"]
# Database and table.
Name = tuple[str, str]

SHARD_SUFFIX = "__auto_shard"
# The columns that tell shards apart, as Flink's MySQL source calls them.
SHARD_COLUMNS = tuple(
    Column(name, "varchar", "varchar(64)", nullable=False, charset="utf8mb4")
    for name in ("database_name", "table_name")
)
_NUMBERED = re.compile(r"(.+?)[_-]?[0-9]+")


@dataclass(frozen=True)
class TargetTable:
    """A StarRocks table and the MySQL tables that it is filled from.

    Attributes:
        rule: What sets it up.
        database: Its database.
        name: Its name.
        sources: One table, or the shards; all of one structure.
        has_shard_columns: Whether each row says which shard it is from.
    """

    rule: TableRule
    database: str
    name: str
    sources: tuple[TableShape, ...]
    has_shard_columns: bool = False

    @property
    def shape(self) -> TableShape:
        """Return the structure of its sources."""
        return self.sources[0]

    @property
    def label(self) -> str:
        """Return `database.table`."""
        return f"{self.database}.{self.name}"

    @property
    def first(self) -> tuple[Column, ...]:
        """Return the columns that come before those of the sources."""
        return SHARD_COLUMNS if self.has_shard_columns else ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """Return all columns, in StarRocks' order."""
        return (*self.first, *ordered_columns(self.shape))

    @property
    def key(self) -> tuple[str, ...]:
        """Return the primary key's columns."""
        return (*(column.name for column in self.first), *self.shape.primary_key)


def assign(
    config: SmtConfig, names: Sequence[Name], *, max_tables: int
) -> Mapping[int, tuple[Name, ...]]:
    """Return the tables of each rule, by its number; the last rule that matches a table has it.

    The tool's own example has a rule for `^order.*$` and one with other settings for
    `^order2.*$` after it; a table that had both would be written twice.

    Args:
        config: The rules.
        names: Every table that the account may see.
        max_tables: More than these are refused.

    Raises:
        ConfigurationError: A rule matches nothing, or all of them match too much.
    """
    found: dict[int, list[Name]] = {rule.number: [] for rule in config.rules}
    seen: set[int] = set()
    for database, table in sorted(names):
        matching = [rule.number for rule in config.rules if rule.matches(database, table)]
        seen.update(matching)
        if matching:
            found[matching[-1]].append((database, table))
    for rule in config.rules:
        if rule.number not in seen:
            raise rule.refused(
                "matches no table that the account may see",
                hint="A pattern must match the whole name; look at the grants, too",
            )
        if not found[rule.number]:
            raise rule.refused(
                "has no table of its own: a later rule matches each of its tables",
                hint="Put the rule for fewer tables after the one for more",
            )
    total = sum(map(len, found.values()))
    if total > max_tables:
        widest = max(config.rules, key=lambda rule: len(found[rule.number]))
        raise widest.refused(
            f"matches {len(found[widest.number])} tables, all rules together {total}, which is "
            f"more than {max_tables}",
            hint="Narrow the patterns, or raise --max-tables",
        )
    return {number: tuple(tables) for number, tables in found.items()}


def plan_targets(
    config: SmtConfig,
    tables: Mapping[int, Sequence[Name]],
    shapes: Mapping[Name, TableShape],
    *,
    shards: Shards = "merge",
) -> tuple[TargetTable, ...]:
    """Return the target tables, in the order of rules and names.

    Tables of one rule are shards when their names differ in numbers at the end only, and
    their columns and keys are the same.

    Args:
        config: The rules.
        tables: As `assign` returns them.
        shapes: Their structure.
        shards: `merge` makes one table of shards, `columns` one whose rows say which shard
            they are from, `apart` a table for each.

    Raises:
        ConfigurationError: Two tables would have one target, or a name cannot be used.
    """
    found: list[TargetTable] = []
    for rule in config.rules:
        groups: dict[object, list[TableShape]] = {}
        for database, name in tables[rule.number]:
            shape = shapes[database, name]
            key = (database, name) if shards == "apart" else _alike(shape)
            groups.setdefault(key, []).append(shape)
        found.extend(_target(rule, group, shards) for group in groups.values())
    _refuse_doubles(found)
    for target in found:
        _refuse_names(target)
        _refuse_strays(target, shapes)
    return tuple(found)


def _alike(shape: TableShape) -> object:
    columns = tuple((c.name, c.column_type, c.nullable, c.charset) for c in shape.columns)
    return _stem(shape.database), _stem(shape.name), columns, shape.primary_key


def _stem(name: str) -> str:
    match = _NUMBERED.fullmatch(name)
    return match[1] if match else name


def _target(rule: TableRule, group: Sequence[TableShape], shards: Shards) -> TargetTable:
    one = group[0]
    if len(group) == 1:
        return TargetTable(rule, one.database, one.name, (one,))
    databases = {shape.database for shape in group}
    database = one.database if len(databases) == 1 else _stem(one.database) + SHARD_SUFFIX
    name = _stem(one.name) + SHARD_SUFFIX
    return TargetTable(rule, database, name, tuple(group), has_shard_columns=shards == "columns")


def _refuse_doubles(targets: Sequence[TargetTable]) -> None:
    by_label: dict[str, TargetTable] = {}
    for target in targets:
        other = by_label.setdefault(target.label.lower(), target)
        if other is not target:
            raise target.rule.refused(
                f"{target.shape.label} and {other.shape.label} would both be {target.label}, "
                "and their columns differ",
                hint="Give one of them a rule of its own, or use --shards apart",
            )


def _refuse_names(target: TargetTable) -> None:
    for what, name, is_good in (
        ("database", target.database, is_database_name),
        ("table", target.name, is_table_name),
        *(("column", column.name, is_column_name) for column in target.columns),
    ):
        if not is_good(name):
            raise ConfigurationError(
                f"no name for a StarRocks {what} that the connector can load",
                field=target.label,
                value=name,
                hint="Narrow the patterns, or rename it in MySQL",
            )
    double = {column.name.lower() for column in target.first} & {
        column.name.lower() for column in target.shape.columns
    }
    if double:
        raise ConfigurationError(
            f"has a column {min(double)!r} of its own", field=target.label, hint="--shards merge"
        )


def _refuse_strays(target: TargetTable, shapes: Mapping[Name, TableShape]) -> None:
    """Refuse shards whose two patterns, one for databases and one for tables, match others too."""
    own = {(shape.database, shape.name) for shape in target.sources}
    databases, names = {database for database, _ in own}, {name for _, name in own}
    for database, name in shapes:
        if database in databases and name in names and (database, name) not in own:
            raise target.rule.refused(
                f"{database}.{name} is no shard of {target.label}, but its name is between theirs",
                hint="Give it the columns and the rule of the others, or use --shards apart",
            )


def warnings_of(config: SmtConfig, targets: Sequence[TargetTable]) -> tuple[str, ...]:
    """Return what a person should know before using the files."""
    found = [
        f"{target.label}: {len(target.sources)} shards become one table; rows with the same "
        f"{', '.join(target.key)} overwrite each other, --shards columns tells them apart"
        for target in targets
        if len(target.sources) > 1 and not target.has_shard_columns
    ]
    for rule in config.rules:
        sink = rule.sink
        names = ("column_separator", "row_delimiter")
        if sink["sink.properties.format"] == "csv" and any(
            not sink.get(f"sink.properties.{name}", "").startswith("\\x") for name in names
        ):
            found.append(
                f"[table-rule.{rule.number}]: CSV escapes nothing, so a value that holds a "
                "separator breaks its row; JSON does not"
            )
    if any("server-id" not in target.rule.cdc for target in targets) and len(targets) > 1:
        found.append(
            "no flink.cdc.server-id: each reader draws one of about 1,000 ids, and two readers "
            "with one id throw each other out"
        )
    return tuple(found)
