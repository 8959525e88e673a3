"""DDL of the StarRocks stand-in: read, and judged as StarRocks judges it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from cdc_assets.lab.starrocks_body import Table
from cdc_assets.lab.starrocks_store import StoreRefused
from cdc_assets.lab.starrocks_values import StoredColumn, parse_type

# What it pretends to have: `replication_num` above it is refused.
BACKENDS = 3
_NOT_IN_A_KEY = frozenset({"DECIMAL", "DOUBLE", "FLOAT", "JSON"})


def table_of(parsed: exp.Create, database: str | None) -> Table:
    """Return the table that a statement makes, judged as StarRocks judges it."""
    schema = parsed.this
    if not isinstance(schema, exp.Schema):
        raise StoreRefused(1064, "Table must have at least one column")
    definitions = [each for each in schema.expressions if isinstance(each, exp.ColumnDef)]
    model, key = _model(parsed, definitions)
    names = [definition.name for definition in definitions]
    if len({name.lower() for name in names}) != len(names):
        raise StoreRefused(1060, "Duplicate column name")
    if [name.lower() for name in names[: len(key)]] != [name.lower() for name in key]:
        raise StoreRefused(1064, "Key columns must be the first few columns of the schema and the "
                                 "order  of the key columns must be consistent with the order of "
                                 "the schema")  # fmt: skip
    columns = tuple(
        _column(definition, model, is_key=position < len(key))
        for position, definition in enumerate(definitions)
    )
    _judge_properties(parsed, key)
    return Table(schema.this.db or database or "", schema.this.name, model, columns)


def added_column(parsed: exp.Alter) -> StoredColumn:
    """Return the column that a statement adds; the stand-in changes tables in no other way."""
    actions = parsed.args["actions"]
    definition = actions[0] if len(actions) == 1 else None
    if not isinstance(definition, exp.ColumnDef) or definition.args.get("position") is not None:
        raise StoreRefused(1064, "the stand-in adds one column at the end, and changes no other")
    column = _column(definition, "", is_key=False)
    if definition.find(exp.DefaultColumnConstraint) is not None:
        raise StoreRefused(1064, "the stand-in adds no column with a default")
    if not column.nullable:
        raise StoreRefused(1064, f"column {column.name} is NOT NULL and has no default value")
    return column


def _model(parsed: exp.Create, definitions: list[exp.ColumnDef]) -> tuple[str, list[str]]:
    primary = parsed.find(exp.PrimaryKey)
    if primary is not None:
        return "PRIMARY KEY", [each.name for each in primary.expressions]
    for word, node in (("UNIQUE KEY", "UniqueKeyProperty"), ("DUPLICATE KEY",
                       "DuplicateKeyProperty")):  # fmt: skip
        found = parsed.find(getattr(exp, node))
        if found is not None:
            return word, [each.name for each in found.expressions]
    if "AGGREGATE KEY" in parsed.sql(dialect="starrocks").upper():
        raise StoreRefused(1064, "the stand-in has no AGGREGATE KEY tables")
    return "DUPLICATE KEY", [definitions[0].name] if definitions else []


def _column(definition: exp.ColumnDef, model: str, *, is_key: bool) -> StoredColumn:
    kind_node = definition.args.get("kind")
    text = kind_node.sql(dialect="starrocks") if kind_node is not None else ""
    try:
        kind, size, scale = parse_type(text)
    except ValueError as error:
        raise StoreRefused(1064, str(error)) from None
    constraint = definition.find(exp.NotNullColumnConstraint)
    nullable = constraint is None or bool(constraint.args.get("allow_null"))
    if is_key and model == "PRIMARY KEY":
        if kind in _NOT_IN_A_KEY:
            raise StoreRefused(1064, f"primary key column[{definition.name}] type not support: "
                                     f"{text}")  # fmt: skip
        if nullable and constraint is not None:
            raise StoreRefused(1064, f"primary key column[{definition.name}] cannot be nullable")
        nullable = False
    return StoredColumn(definition.name, kind, size, scale, nullable, is_key)


def _judge_properties(parsed: exp.Create, key: list[str]) -> None:
    properties: Mapping[str, str] = {
        each.this.name: each.args["value"].name for each in parsed.find_all(exp.Property)
        if type(each) is exp.Property
    }  # fmt: skip
    copies = properties.get("replication_num", "3")
    if not copies.isdigit() or not 1 <= int(copies) <= BACKENDS:
        raise StoreRefused(
            1064,
            f"Table replication num should be less than of equal to the number of available BE "
            f"nodes. You can change this default by setting the replication_num table properties. "
            f"Current alive backend is {BACKENDS}, replication_num is {copies}",
        )
    spread = parsed.find(exp.DistributedByProperty)
    for each in spread.expressions if spread is not None else ():
        if each.name.lower() not in {name.lower() for name in key}:
            raise StoreRefused(1064, f"Distribution column[{each.name}] is not key column")
