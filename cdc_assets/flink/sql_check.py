"""SQL check: ask Flink whether it understands what people wrote, before any job starts.

Each text becomes a view of a session, which Flink validates against the columns of the captured
tables, and DESCRIBE tells the types of its values. EXPLAIN of the whole statement set comes
last: it plans the job and starts nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from cdc_assets.core.preflight import Fault
from cdc_assets.core.readers import common_type
from cdc_assets.core.results import Results, judge_results
from cdc_assets.errors import EngineError, EngineRejected
from cdc_assets.flink.quoting import quote_identifier

if TYPE_CHECKING:
    from cdc_assets.core.stream import StreamSpec
    from cdc_assets.flink.copy_sql import Probe
    from cdc_assets.flink.gateway import SqlGateway
    from cdc_assets.flink.render import RenderedStream
    from cdc_assets.flink.sql_session import SqlSession

# Names of the columns of a query's key.
Key = tuple[str, ...]

_PLAN_SECONDS = 60.0
_CLASS = re.compile(r"^(?:[\w$]+\.)*[\w$]*(?:Exception|Error):\s*")
_NO_COLUMN = re.compile(
    r"Column '(?P<name>[^']*)' not found in (?:any table|table '(?P<table>[^']*)')"
    r"(?:; did you mean '(?P<near>[^']*)')?"
)
_AMBIGUOUS = re.compile(r"Column '(?P<name>[^']*)' is ambiguous")
_PARSE = re.compile(
    r"Encountered \"(?P<word>[^\"]*)\" at line (?P<line>\d+), column (?P<column>\d+)"
)
_EXACT = re.compile(r"DECIMAL\(\d+, \d+\)|TINYINT|SMALLINT|INT|BIGINT")


def check_sql(gateway: SqlGateway, spec: StreamSpec, rendered: RenderedStream) -> tuple[Fault, ...]:
    """Return what Flink does not understand or would not run; no job is started.

    Args:
        gateway: Flink.
        spec: The stream.
        rendered: Its SQL.
    """
    try:
        with gateway.open_session(rendered.config) as session:
            found = list(_tables(session, spec, rendered))
            for number, probe in enumerate(() if found else rendered.probes, start=1):
                given, faults = _described(session, spec, probe, number)
                misplaced = _misplaced(f"{spec.name}.{probe.field}", probe, given) if given else ()
                found += [*faults, *misplaced]
            return tuple(found) if found else tuple(_plan(session, spec.name, rendered.statement))
    except EngineError as error:
        return (_no_gateway(error),)


def describe_results(
    gateway: SqlGateway, spec: StreamSpec, rendered: RenderedStream, wanted: Mapping[str, Key]
) -> Results:
    """Return the columns that expressions and queries bring, without planning a job.

    Args:
        gateway: Flink.
        spec: The stream.
        rendered: Its SQL, with target tables that may not exist.
        wanted: The target tables that are asked for, each with the key of its query.
    """
    described: dict[str, list[tuple[str, str]]] = {}
    try:
        with gateway.open_session(rendered.config) as session:
            faults = list(_tables(session, spec, rendered))
            for number, probe in enumerate(() if faults else rendered.probes, start=1):
                if probe.target in wanted:
                    given, refused = _described(session, spec, probe, number)
                    faults += refused
                    described.setdefault(probe.target, []).extend(given)
    except EngineError as error:
        faults = [_no_gateway(error)]
    if faults:
        return Results(faults=tuple(faults))
    judged = {
        name: judge_results(spec, name, given, wanted[name]) for name, given in described.items()
    }
    return Results(
        tuple((name, columns) for name, (columns, wrong) in judged.items() if not wrong),
        tuple(fault for _, wrong in judged.values() for fault in wrong),
    )


def _tables(session: SqlSession, spec: StreamSpec, rendered: RenderedStream) -> Iterator[Fault]:
    """Make the tables of a session, up to the first that Flink refuses."""
    for number, text in enumerate(rendered.ddl, start=1):
        doing = f"table {number} of {spec.name}"
        try:
            session.configure(text, doing=doing)
        except EngineRejected as error:
            yield _refused(f"{spec.name}.tables", "", _reason(error, doing))
            return


def _no_gateway(error: EngineError) -> Fault:
    return Fault(
        "flink.sql_gateway_url",
        error.message,
        "a gateway that says whether the SQL can run",
        error.hint or "See that Flink and its SQL gateway run",
    )


def _described(
    session: SqlSession, spec: StreamSpec, probe: Probe, number: int
) -> tuple[list[tuple[str, str]], tuple[Fault, ...]]:
    """Return name and type of each value of a text, none of a condition; and what is wrong."""
    view, doing = quote_identifier(f"probe.{number}"), f"checking {probe.field}"
    try:
        session.configure(f"CREATE TEMPORARY VIEW {view} AS\n{probe.select}", doing=doing)
        if not probe.columns:
            return [], ()
        rows = session.execute(f"DESCRIBE {view}", doing=doing).rows
    except EngineRejected as error:
        tables = ", ".join(table.label for table in spec.tables)
        field = f"{spec.name}.{probe.field}"
        return [], (_refused(field, probe.text, _reason(error, doing), tables),)
    return [(str(row[0]), str(row[1])) for row in rows], ()


def _misplaced(field: str, probe: Probe, given: Sequence[tuple[str, str]]) -> Iterator[Fault]:
    """Yield values that would land in another column, or would not survive its type."""
    wanted = probe.columns
    if len(given) != len(wanted):
        yield Fault(
            field,
            f"{len(given)} columns ({', '.join(name for name, _ in given)})",
            f"{len(wanted)}, as the target has ({', '.join(name for name, _ in wanted)})",
            "Select one value for each column of the target, in its order",
        )
        return
    names = {name.lower() for name, _ in wanted}
    for (name, found), (column, kind) in zip(given, wanted, strict=True):
        if name.lower() != column.lower() and name.lower() in names:
            yield Fault(
                field,
                f"{name} in the place of {column}",
                f"the target's order: {', '.join(each for each, _ in wanted)}",
                "Values go by their place, not by their name: put them in the target's order",
            )
            return
        if is_cut(found, kind):
            yield Fault(
                field,
                f"{found} in {_shown(probe.text)}",
                f"{kind}, the type of {column}: a value too large for it would be lost",
                f"Widen {column}, or write CAST(... AS {kind}) if every value fits",
                # The sum of a DECIMAL has 38 digits in Flink, whatever is summed up.
                "warning" if probe.is_query else "error",
            )


def is_cut(found: str, wanted: str) -> bool:
    """Return whether Flink would turn values of one type into NULL for another, and say nothing.

    Example:
        >>> is_cut("DECIMAL(20, 2)", "DECIMAL(12, 2)"), is_cut("INT", "DECIMAL(12, 2)")
        (True, False)
    """
    found, wanted = (text.removesuffix(" NOT NULL") for text in (found, wanted))
    if not (_EXACT.fullmatch(found) and _EXACT.fullmatch(wanted)):
        return False
    return common_type(found, wanted) != wanted


def _plan(session: SqlSession, stream: str, statement: str) -> Iterator[Fault]:
    doing = f"planning {stream}"
    text = statement.replace("EXECUTE STATEMENT SET", "EXPLAIN STATEMENT SET", 1)
    try:
        session.execute(text, doing=doing, budget_seconds=_PLAN_SECONDS)
    except EngineRejected as error:
        yield _refused(f"{stream}.plan", "", _reason(error, doing))


def _refused(field: str, text: str, reason: str, tables: str = "") -> Fault:
    shown = f" in {_shown(text)}" if text else ""
    column, ambiguous, parse = (
        pattern.search(reason) for pattern in (_NO_COLUMN, _AMBIGUOUS, _PARSE)
    )
    if column:
        of = column["table"] or tables
        near = f"Write {column['near']}" if column["near"] else "Correct the name"
        return Fault(field, f"{column['name']}{shown}, no column of {of}", "a column", near)
    if ambiguous:
        return Fault(
            field,
            f"{ambiguous['name']}{shown}, a column of two tables",
            "a column of one table",
            f"Write the table's name before it: table.{ambiguous['name']}",
        )
    if parse:
        return Fault(
            field,
            f"{parse['word'] or 'the end'!r}{shown}",
            "Flink SQL",
            "Put a name that is a reserved word into backticks",
        )
    return Fault(field, f"{reason}{shown}", "SQL that Flink can run", "Correct the text")


def _reason(error: EngineRejected, doing: str) -> str:
    text = error.message.partition(f"{doing}: ")[2] or error.message
    return _CLASS.sub("", " ".join(text.split()))


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= 120 else f"{line[:117]}...")  # noqa: PLR2004 - for a person
