"""Lock: the tables that a pipeline captures, written down beside it.

Loading definitions opens no connection, so the tables behind a pattern are looked up by a
command. The list is part of the deployment: a table that appears at the source later does not
change a stream by itself, whose SQL and state have fixed tables.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from cdc_assets.core.table_patterns import TableName
from cdc_assets.core.table_refs import MAX_NAME
from cdc_assets.errors import ConfigurationError
from cdc_assets.pipeline.config import PipelineConfig
from cdc_assets.pipeline.matching import captured, locked

_SUFFIX = ".tables.json"
_MAX_BYTES = 10_000_000
_COMMENT = "Written by 'cdc-assets pipeline resolve'; keep it with the pipeline file."


def lock_path(pipeline: Path) -> Path:
    """Return where the list of a pipeline's tables is: `shop.yaml` has `shop.tables.json`."""
    return pipeline.with_name(pipeline.stem + _SUFFIX)


def tables_of(pipeline: Path, config: PipelineConfig) -> tuple[TableName, ...]:
    """Return the captured tables, from the file itself or from the list beside it.

    Raises:
        ConfigurationError: There is no list, or it does not fit the patterns.
    """
    if config.is_plain:
        names = dict.fromkeys((each.database, each.table) for each in config.tables)
        return captured(config, tuple(names))
    path = lock_path(pipeline)
    if not path.exists():
        raise config.tables_at.refused(
            "the tables behind the pattern are not looked up yet",
            hint=f"Run cdc-assets pipeline resolve {pipeline}",
        )
    names = read_lock(path)
    locked(config, names, file=str(path))
    return names


def read_lock(path: Path) -> tuple[TableName, ...]:
    """Read a list of tables.

    Raises:
        ConfigurationError: It cannot be read, or is no such list.
    """
    hint = "Run 'cdc-assets pipeline resolve' again"
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise ConfigurationError(f"larger than {_MAX_BYTES} bytes", file=str(path))
        document: object = json.loads(text.decode("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", file=str(path)) from None
    except (ValueError, RecursionError):
        raise ConfigurationError("is not JSON", file=str(path), hint=hint) from None
    content = cast("dict[str, object]", document) if isinstance(document, dict) else {}
    names = content.get("tables")
    if not isinstance(names, list) or not names:
        raise ConfigurationError("holds no tables", file=str(path), hint=hint)
    found = tuple(_name(each) for each in cast("list[object]", names))
    if None in found or len(set(found)) != len(found):
        raise ConfigurationError("is not a list of tables", file=str(path), hint=hint)
    return tuple(sorted(cast("tuple[TableName, ...]", found)))


def _name(value: object) -> TableName | None:
    if not isinstance(value, list):
        return None
    parts = cast("list[object]", value)
    if len(parts) != 2 or not all(isinstance(p, str) and 0 < len(p) <= MAX_NAME for p in parts):  # noqa: PLR2004 - database and table
        return None
    database, table = cast("list[str]", parts)
    return database, table


def write_lock(path: Path, names: Sequence[TableName]) -> bool:
    """Write a list of tables; return whether it changed.

    Raises:
        ConfigurationError: It cannot be written.
    """
    lines = ",\n".join(f"    {json.dumps(list(name), ensure_ascii=False)}" for name in names)
    text = f'{{\n  "about": {json.dumps(_COMMENT)},\n  "tables": [\n{lines}\n  ]\n}}\n'
    try:
        if path.exists() and path.read_bytes() == text.encode():
            return False
        partial = path.with_name(f".{path.name}.{os.getpid()}.part")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise ConfigurationError(f"cannot be written: {error.strerror}", file=str(path)) from None
    return True
