"""Matching: which tables a pipeline captures. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from cdc_assets.core.table_patterns import SYSTEM_DATABASES, TableName, matching
from cdc_assets.errors import ConfigurationError
from cdc_assets.pipeline.config import PipelineConfig

MAX_TABLES = 500


def captured(
    config: PipelineConfig, names: Sequence[TableName], *, max_tables: int = MAX_TABLES
) -> tuple[TableName, ...]:
    """Return the tables that the pipeline captures, in order.

    Args:
        config: The pipeline.
        names: The tables to choose from.
        max_tables: More than these are refused.

    Raises:
        ConfigurationError: A pattern matches nothing, or all of them match too much.
    """
    known = [name for name in names if name[0].lower() not in SYSTEM_DATABASES]
    at = config.tables_at
    excluded = set(matching(config.excluded, known))
    for pattern in (*config.tables, *config.excluded):
        if not matching([pattern], known):
            raise at.refused(
                f"{pattern.text} matches no table that the account may see",
                hint="A pattern must match the whole name; look at the grants, too",
            )
    found = tuple(name for name in matching(config.tables, known) if name not in excluded)
    if not found:
        raise at.refused("every table that it matches is left out by tables.exclude")
    if len(found) > max_tables:
        raise at.refused(
            f"matches {len(found)} tables, which is more than {max_tables}",
            hint="Narrow the patterns, or raise --max-tables",
        )
    return found


def locked(config: PipelineConfig, names: Sequence[TableName], *, file: str) -> None:
    """Refuse a list of tables that the patterns of today would not give.

    Args:
        config: The pipeline.
        names: The list.
        file: Where it stands.

    Raises:
        ConfigurationError: A table does not match any more, or a pattern has no table.
    """
    found = set(matching(config.tables, names)) - set(matching(config.excluded, names))
    idle = [each.text for each in config.tables if not matching([each], names)]
    if not names or found != set(names) or idle:
        raise ConfigurationError(
            f"is not the list of {config.tables_at.raw!r} any more",
            file=file,
            hint=f"Run cdc-assets pipeline resolve {config.file}",
        )
