"""Bodies of StarRocks loads: JSON and CSV to rows, as the headers say. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import cast

from cdc_assets.lab.starrocks_values import Misfit, StoredColumn

OPERATION = "__op"
UPSERT, DELETE = "0", "1"
_MAX_JSON = 100 * 1024 * 1024
_MAX_KEY_BYTES = 128
_SHOWN_ERRORS = 50

# The canonical text of each column in the table's order, and the operation.
StoredRow = tuple[str | None, ...]


class LoadRefused(Exception):
    """A load as a whole is refused; nothing of it is kept."""


@dataclass(frozen=True)
class Table:
    """What a load must know of its table.

    Attributes:
        database: Its database.
        name: Its name.
        model: `PRIMARY KEY`, `UNIQUE KEY` or `DUPLICATE KEY`.
        columns: In order.
    """

    database: str
    name: str
    model: str
    columns: tuple[StoredColumn, ...]

    @property
    def is_upserted(self) -> bool:
        """Return whether a row replaces the one of its key."""
        return self.model != "DUPLICATE KEY"

    @property
    def key(self) -> tuple[StoredColumn, ...]:
        """Return the columns of the key."""
        return tuple(column for column in self.columns if column.is_key)


@dataclass(frozen=True)
class Loaded:
    """What became of a body's rows.

    Attributes:
        rows: Those that fit: each value, then the operation.
        total: How many came.
        errors: Why others were filtered, the first few.
        filtered: How many were.
        size: Bytes of the body.
    """

    rows: tuple[StoredRow, ...]
    total: int
    errors: tuple[str, ...]
    filtered: int
    size: int


def read_body(table: Table, headers: Mapping[str, str], body: bytes) -> Loaded:
    """Return the rows of a load.

    Args:
        table: Where they go.
        headers: Of the request, names in lower case.
        body: Of the request.

    Raises:
        LoadRefused: The headers or the body as a whole, or too many rows of it.
    """
    if headers.get("partial_update", "false").lower() == "true":
        raise LoadRefused("the stand-in does no partial updates")
    if headers.get("format", "csv").lower() == "json":
        records: Sequence[Mapping[str, object] | str] = _json_records(headers, body)
    else:
        records = _csv_records(table, headers, body)
    strict = headers.get("strict_mode", "false").lower() == "true"
    rows: list[StoredRow] = []
    errors: list[str] = []
    filtered = 0
    for record in records:
        try:
            if isinstance(record, str):
                raise Misfit(record)  # noqa: TRY301 - a row that could not be split
            rows.append(_row(table, record, strict=strict))
        except Misfit as error:
            filtered += 1
            if len(errors) < _SHOWN_ERRORS:
                errors.append(f"Error: {error}. Row: {str(record)[:200]}")
    ratio = float(headers.get("max_filter_ratio", "0"))
    loaded = Loaded(tuple(rows), len(records), tuple(errors), filtered, len(body))
    if records and filtered / len(records) > ratio:
        raise TooManyFiltered(loaded)
    return loaded


class TooManyFiltered(LoadRefused):
    """More rows do not fit than `max_filter_ratio` allows."""

    def __init__(self, loaded: Loaded) -> None:
        super().__init__("too many filtered rows")
        self.loaded = loaded


def _json_records(headers: Mapping[str, str], body: bytes) -> Sequence[Mapping[str, object] | str]:
    ignores_size = headers.get("ignore_json_size", "false").lower() == "true"
    if len(body) > _MAX_JSON and not ignores_size:
        raise LoadRefused(f"The size of this batch exceed the max size [{_MAX_JSON}]")
    if not body.strip():
        raise LoadRefused("empty body")
    try:
        document: object = json.loads(body, parse_float=Decimal)
    except ValueError as error:
        raise LoadRefused(f"Failed to parse json: {error}") from None
    strips = headers.get("strip_outer_array", "false").lower() == "true"
    if isinstance(document, list) and not strips:
        raise LoadRefused(
            "The value is array type in json document stream, you can set strip_outer_array=true "
            "to parse each element of the array as individual rows"
        )
    if isinstance(document, dict) and strips:
        raise LoadRefused("The value should be array type when strip_outer_array is true")
    found: list[object] = [document]
    if isinstance(document, list):
        found = cast("list[object]", document)
    return [
        cast("Mapping[str, object]", each) if isinstance(each, dict) else "not a JSON object"
        for each in found
    ]


def _csv_records(
    table: Table, headers: Mapping[str, str], body: bytes
) -> Sequence[Mapping[str, object] | str]:
    separator = unescaped(headers.get("column_separator", "\t"))
    delimiter = unescaped(headers.get("row_delimiter", "\n"))
    named = headers.get("columns")
    names = (
        [part.strip().strip("`") for part in named.split(",")]
        if named
        else [column.name for column in table.columns]
    )
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LoadRefused(f"not UTF-8 at byte {error.start}") from None
    lines = text.split(delimiter)
    if lines and not lines[-1]:
        lines.pop()
    found: list[Mapping[str, object] | str] = []
    for line in lines:
        values = [None if value == "\\N" else value for value in line.split(separator)]
        if len(values) == len(names):
            found.append(dict(zip(names, values, strict=True)))
        else:
            found.append(
                f"Value count does not match column count: expected = {len(names)}, "
                f"actual = {len(values)}"
            )
    return found


def unescaped(text: str) -> str:
    r"""Return a separator; `\x01` is one character.

    Example:
        >>> unescaped("\\x01") == chr(1)
        True
    """
    return re.sub(r"\\x([0-9A-Fa-f]{2})", lambda match: chr(int(match[1], 16)), text)


def _row(table: Table, record: Mapping[str, object], *, strict: bool) -> StoredRow:
    operation = UPSERT
    if table.is_upserted and OPERATION in record:
        operation = _operation(record[OPERATION])
    lowered = {name.lower(): value for name, value in record.items()}
    values: list[str | None] = []
    for column in table.columns:
        value = lowered.get(column.name.lower())
        if operation == DELETE and not column.is_key:
            values.append(None)
            continue
        try:
            values.append(column.stored(value))
        except Misfit:
            # Not strict: what does not fit becomes NULL where that is allowed.
            if strict or not column.nullable:
                raise
            values.append(None)
    if table.model == "PRIMARY KEY":
        size = sum(len((v or "").encode()) for v, c in zip(values, table.columns, strict=True)
                   if c.is_key and c.kind in {"VARCHAR", "CHAR"})  # fmt: skip
        if size > _MAX_KEY_BYTES:
            raise Misfit(f"primary key size {size} exceed the limit {_MAX_KEY_BYTES}")
    return (*values, operation)


def _operation(value: object) -> str:
    text = str(value).strip().lower()
    if text in {"0", "upsert"}:
        return UPSERT
    if text in {"1", "delete"}:
        return DELETE
    raise Misfit(f"Invalid op: {text[:20]}")
