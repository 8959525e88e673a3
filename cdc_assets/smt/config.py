"""SmtConfig: a configuration file of the StarRocks Migration Tool, checked. Pure."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

from cdc_assets.errors import ConfigurationError
from cdc_assets.smt.ini import Entry, Section, parse_ini
from cdc_assets.smt.options import (
    CDC_PREFIX,
    SINK_PREFIX,
    cdc_option,
    missing_options,
    sink_option,
)

_RULE = re.compile(r"table-rule\.([1-9][0-9]{0,5})")
_ENV = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
_MAX_PORT = 65535
_MAX_BACKENDS = 10_000
_MAX_BUCKETS = 100_000
_MAX_PATTERN = 500
_COPIES = 3
_PROPERTY = "properties."


@dataclass(frozen=True)
class Secret:
    """A password: as it stands in the file, or the variable that holds it.

    Attributes:
        literal: The password itself, empty with a variable.
        variable: Name of the environment variable, empty without one.
    """

    literal: str = field(repr=False)
    variable: str = ""

    @property
    def written(self) -> str:
        """Return what a generated file holds: a reference stays one, for `envsubst`."""
        return f"${{{self.variable}}}" if self.variable else self.literal

    def value(self, environment: Mapping[str, str]) -> str:
        """Return the password.

        Raises:
            ConfigurationError: The variable is not set.
        """
        if not self.variable:
            return self.literal
        if self.variable not in environment:
            raise ConfigurationError("is not set", field=f"env:{self.variable}")
        return environment[self.variable]


@dataclass(frozen=True)
class TableRule:
    """Which tables it is about, and how their target tables and jobs are set up.

    Attributes:
        number: N of `[table-rule.N]`.
        place: File and line, for errors.
        database: Pattern of database names; it must match the whole name.
        table: Pattern of table names, likewise.
        sink: Options of the StarRocks sink, without the password.
        sink_password: Of the StarRocks account.
        cdc: Options of the MySQL source.
        buckets: Of the target tables, None for the number of backends.
        distributed_by: Columns that spread the rows.
        partition: Range partitions, empty for none.
        properties: Of the target tables.
    """

    number: int
    place: str
    database: re.Pattern[str]
    table: re.Pattern[str]
    sink: Mapping[str, str]
    sink_password: Secret
    cdc: Mapping[str, str]
    buckets: int | None = None
    distributed_by: tuple[str, ...] = ()
    partition: str = ""
    properties: Mapping[str, str] = field(default_factory=dict[str, str])

    def matches(self, database: str, table: str) -> bool:
        """Return whether the rule is about a table."""
        return bool(self.database.fullmatch(database) and self.table.fullmatch(table))

    def refused(self, message: str, *, hint: str = "") -> ConfigurationError:
        """Return the error about this rule."""
        return ConfigurationError(
            message, field=f"[table-rule.{self.number}]", file=self.place, hint=hint
        )


@dataclass(frozen=True)
class SmtConfig:
    """The whole file.

    Attributes:
        host: Of MySQL.
        port: Of MySQL.
        user: Of MySQL.
        password: Of the MySQL account.
        be_num: Number of StarRocks backends.
        use_decimal_v3: Whether DECIMAL may have 38 digits.
        output_dir: Where the files go.
        rules: In the order of their numbers.
    """

    host: str
    port: int
    user: str
    password: Secret
    be_num: int
    use_decimal_v3: bool
    output_dir: str
    rules: tuple[TableRule, ...]

    @property
    def replication(self) -> int:
        """Return how many copies a tablet has: three, or as many as there are backends."""
        return min(_COPIES, self.be_num)


def parse_config(content: bytes, *, file: str) -> SmtConfig:
    """Read a configuration file.

    Raises:
        ConfigurationError: A section, a key or a value is not one that the tool knows; names
            file, line, section and key.
    """
    sections = parse_ini(content, file=file)
    rules: list[TableRule] = []
    known: dict[str, Section] = {}
    for section in sections:
        match = _RULE.fullmatch(section.name)
        if match:
            rules.append(_rule(section, int(match[1])))
        elif section.name in {"db", "other"}:
            known[section.name] = section
        else:
            raise section.refused("no such section", hint="There are db, other and table-rule.N")
    if "db" not in known:
        raise ConfigurationError("there is no [db]", file=file)
    if not rules:
        raise ConfigurationError("there is no [table-rule.1]", file=file)
    return _whole_config(known["db"], known.get("other") or Section("other", 0, file, ()), rules)


def _whole_config(db: Section, other: Section, rules: list[TableRule]) -> SmtConfig:
    _only(db, ("type", "host", "port", "user", "password"))
    _only(other, ("be_num", "use_decimal_v3", "output_dir"))
    kind = db.get("type")
    if kind is not None and kind.value.lower() != "mysql":
        raise kind.refused("only mysql can be read")
    return SmtConfig(
        host=_needed(db, "host").value,
        port=_number(db.get("port"), 3306, _MAX_PORT),
        user=_needed(db, "user").value,
        password=_secret(_needed(db, "password", may_be_empty=True)),
        be_num=_number(other.get("be_num"), _COPIES, _MAX_BACKENDS),
        use_decimal_v3=_flag(other.get("use_decimal_v3"), default=True),
        output_dir=entry.value if (entry := other.get("output_dir")) else "./result",
        rules=tuple(sorted(rules, key=lambda rule: rule.number)),
    )


def _rule(section: Section, number: int) -> TableRule:
    sink: dict[str, str] = {}
    cdc: dict[str, str] = {}
    properties: dict[str, str] = {}
    own: dict[str, Entry] = {}
    for entry in section.entries:
        if entry.key.startswith(SINK_PREFIX):
            name, value = sink_option(entry)
            sink[name] = value
        elif entry.key.startswith(CDC_PREFIX):
            name, value = cdc_option(entry)
            cdc[name] = value
        elif entry.key.startswith(_PROPERTY) and entry.key != _PROPERTY:
            properties[entry.key.removeprefix(_PROPERTY)] = entry.value
        else:
            own[entry.key] = entry
    _check_own(own)
    missing = missing_options(sink)
    if missing:
        raise section.refused(f"needs {', '.join(SINK_PREFIX + name for name in missing)}")
    # The property is there: it is one of the needed ones.
    password = _secret(_needed(section, f"{SINK_PREFIX}password", may_be_empty=True))
    sink.pop("password")
    return TableRule(
        number=number,
        place=f"{section.file}:{section.line}",
        database=_pattern(_needed(section, "database")),
        table=_pattern(_needed(section, "table")),
        sink=_with_format(sink),
        sink_password=password,
        cdc=cdc,
        buckets=_number(own["bucket_num"], 1, _MAX_BUCKETS) if "bucket_num" in own else None,
        distributed_by=_names(own.get("distributed_by")),
        partition=_partition(own),
        properties=properties,
    )


_OWN = ("database", "table", "schema", "bucket_num", "distributed_by", "partition_key",
        "partitions")  # fmt: skip


def _check_own(own: Mapping[str, Entry]) -> None:
    for key, entry in own.items():
        if key == "duplicate_keys":
            raise entry.refused(
                "is for tables without a primary key, whose deletes StarRocks cannot take",
                hint="Add a primary key in MySQL, and take the line out",
            )
        if key not in _OWN:
            raise entry.refused(
                "no such key",
                hint=f"There are {', '.join(_OWN)}, properties.*, {SINK_PREFIX}*, {CDC_PREFIX}*",
                show=False,
            )


def _partition(own: Mapping[str, Entry]) -> str:
    key, parts = own.get("partition_key"), own.get("partitions")
    if key is None and parts is None:
        return ""
    if key is None or parts is None or not key.value or not parts.value:
        raise (key or parts or own["database"]).refused("partition_key and partitions go together")
    if ";" in parts.value or parts.value.count("(") != parts.value.count(")"):
        raise parts.refused("not a list of partitions")
    if not re.fullmatch(r"[^`\s,()]+", key.value):
        raise key.refused("not a column name")
    return f"(`{key.value}`) ({parts.value})"


def _with_format(sink: dict[str, str]) -> Mapping[str, str]:
    """Return the options with JSON where no format is named: CSV has no way to escape."""
    name = "sink.properties.format"
    sink.setdefault(name, "json")
    if sink[name] == "json":
        sink.setdefault("sink.properties.strip_outer_array", "true")
    return sink


def _only(section: Section, keys: tuple[str, ...]) -> None:
    for entry in section.entries:
        if entry.key not in keys:
            raise entry.refused("no such key", hint=f"There are {', '.join(keys)}", show=False)


def _needed(section: Section, key: str, *, may_be_empty: bool = False) -> Entry:
    entry = section.get(key)
    if entry is None:
        raise section.refused(f"needs {key}")
    if not entry.value and not may_be_empty:
        raise entry.refused("is empty")
    return entry


def _secret(entry: Entry) -> Secret:
    if not entry.value.startswith("env:"):
        return Secret(entry.value)
    match = _ENV.fullmatch(entry.value)
    if match is None:
        raise entry.refused("write a variable as env:NAME", show=False)
    return Secret("", match[1])


def _number(entry: Entry | None, default: int, highest: int) -> int:
    if entry is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", entry.value) or not 1 <= int(entry.value) <= highest:
        raise entry.refused(f"must be a whole number from 1 to {highest}")
    return int(entry.value)


def _flag(entry: Entry | None, *, default: bool) -> bool:
    if entry is None:
        return default
    if entry.value.lower() not in {"true", "false"}:
        raise entry.refused("must be true or false")
    return entry.value.lower() == "true"


def _names(entry: Entry | None) -> tuple[str, ...]:
    if entry is None:
        return ()
    names = tuple(name.strip() for name in entry.value.split(","))
    if not all(names):
        raise entry.refused("write column names with commas between them")
    return names


def _pattern(entry: Entry) -> re.Pattern[str]:
    if len(entry.value) > _MAX_PATTERN:
        raise entry.refused(f"is longer than {_MAX_PATTERN} characters", show=False)
    try:
        with warnings.catch_warnings():
            # Python says so of `[[`, which other dialects read as it does.
            warnings.simplefilter("ignore", FutureWarning)
            return re.compile(entry.value)
    except (re.error, RecursionError, OverflowError) as error:
        what = " ".join(str(error).split())
        raise entry.refused(f"is not a regular expression ({what})") from None
