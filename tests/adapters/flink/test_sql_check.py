"""What Flink says of the SQL that people wrote, as faults of one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from cdc_assets.core.preflight import Fault
from cdc_assets.core.results import Results
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import EngineRejected, EngineUnreachable
from cdc_assets.flink.copy_sql import Probe
from cdc_assets.flink.render import RenderedStream
from cdc_assets.flink.sql_check import check_sql, describe_results, is_cut
from cdc_assets.flink.sql_session import StatementResult

SPEC = StreamSpec("shop", (TableRef("shop", "orders"),), ServerIdRange(1, 9), "dw")
FILTER = Probe("filters.orders", "amuont > 1", "SELECT 1 AS `c` FROM `orders` WHERE (amuont > 1)")
TOTAL = Probe(
    "computed.orders.total",
    "price * n",
    "SELECT (price * n) AS `total` FROM `orders`",
    (("total", "DECIMAL(12, 2)"),),
)
QUERY = Probe(
    "queries.sums",
    "SELECT status, SUM(price) FROM orders GROUP BY status",
    "SELECT status, SUM(price) FROM orders GROUP BY status",
    (("status", "STRING"), ("total", "DECIMAL(20, 2)")),
    is_query=True,
)


@dataclass
class FakeSession:
    """Answers by the first statement's part that it knows."""

    refused: Mapping[str, str] = field(default_factory=dict[str, str])
    described: tuple[tuple[str, str], ...] = ()
    seen: list[str] = field(default_factory=list[str])

    def configure(self, statement: str, *, doing: str = "") -> None:
        self._run(statement, doing)

    def execute(self, statement: str, **more: Any) -> StatementResult:  # noqa: ANN401 - not looked at
        self._run(statement, more["doing"])
        return StatementResult(("name", "type"), self.described)

    def _run(self, statement: str, doing: str) -> None:
        self.seen.append(statement)
        for part, reason in self.refused.items():
            if part in statement:
                raise EngineRejected(f"SQL gateway http://127.0.0.1:1: {doing}: {reason}")


@dataclass
class FakeGateway:
    """A gateway with one session."""

    session: FakeSession
    is_away: bool = False

    @contextlib.contextmanager
    def open_session(self, _: Mapping[str, str]) -> Iterator[FakeSession]:
        if self.is_away:
            raise EngineUnreachable("SQL gateway http://127.0.0.1:1: no answer", hint="Start it")
        yield self.session


def check(session: FakeSession, *probes: Probe, is_away: bool = False) -> tuple[Fault, ...]:
    rendered = RenderedStream(
        ("CREATE TEMPORARY TABLE `orders` ()",),
        "EXECUTE STATEMENT SET BEGIN\nINSERT INTO x SELECT 1;\nEND",
        {},
        "",
        tuple(probes),
    )
    return check_sql(FakeGateway(session, is_away=is_away), SPEC, rendered)  # type: ignore[arg-type] - a fake


def test_the_whole_job_is_planned_and_not_started() -> None:
    session = FakeSession(described=(("total", "DECIMAL(10, 2)"),))
    assert check(session, TOTAL) == ()
    assert session.seen == [
        "CREATE TEMPORARY TABLE `orders` ()",
        f"CREATE TEMPORARY VIEW `probe.1` AS\n{TOTAL.select}",
        "DESCRIBE `probe.1`",
        "EXPLAIN STATEMENT SET BEGIN\nINSERT INTO x SELECT 1;\nEND",
    ]


@pytest.mark.parametrize(
    ("reason", "found", "fix"),
    [
        (
            "SqlValidatorException: Column 'amuont' not found in any table; did you mean 'amount'?",
            "amuont in 'amuont > 1', no column of shop.orders",
            "Write amount",
        ),
        (
            "org.calcite.SqlValidatorException: Column 'x' not found in table 'o'",
            "x in 'amuont > 1', no column of o",
            "Correct the name",
        ),
        (
            "SqlValidatorException: Column 'id' is ambiguous",
            "id in 'amuont > 1', a column of two tables",
            "Write the table's name before it: table.id",
        ),
        (
            'SqlParseException: Encountered "value" at line 2, column 7.\nWas expecting: ...',
            "'value' in 'amuont > 1'",
            "Put a name that is a reserved word into backticks",
        ),
        (
            "SqlValidatorException: WHERE clause must be a condition",
            "WHERE clause must be a condition in 'amuont > 1'",
            "Correct the text",
        ),
    ],
)
def test_a_refusal_names_the_field_and_the_text_in_one_line(
    reason: str, found: str, fix: str
) -> None:
    (fault,) = check(FakeSession({"amuont": reason}), FILTER)
    assert fault.field == "shop.filters.orders"
    assert fault.found == found
    assert fault.fix == fix
    assert "\n" not in fault.text


def test_every_text_is_told_and_the_plan_is_not_asked_for_then() -> None:
    session = FakeSession({"amuont": "bad", "price": "worse"})
    assert [fault.field for fault in check(session, FILTER, TOTAL)] == [
        "shop.filters.orders",
        "shop.computed.orders.total",
    ]
    assert not any("EXPLAIN" in each for each in session.seen)


def test_a_value_that_would_be_cut_is_an_error_and_in_a_query_a_warning() -> None:
    (fault,) = check(FakeSession(described=(("total", "DECIMAL(21, 2)"),)), TOTAL)
    assert fault.found == "DECIMAL(21, 2) in 'price * n'"
    assert fault.severity == "error"
    described = (("status", "STRING"), ("EXPR$1", "DECIMAL(38, 2)"))
    (fault,) = check(FakeSession(described=described), QUERY)
    assert fault.severity == "warning"


@pytest.mark.parametrize(
    ("described", "found"),
    [
        ((("total", "DECIMAL(20, 2)"), ("status", "STRING")), "total in the place of status"),
        ((("status", "STRING"),), "1 columns (status)"),
    ],
)
def test_a_query_in_another_order_is_refused(
    described: tuple[tuple[str, str], ...], found: str
) -> None:
    (fault,) = check(FakeSession(described=described), QUERY)
    assert fault.found == found


def test_a_plan_that_cannot_be_made_is_a_fault_of_the_stream() -> None:
    session = FakeSession({"EXPLAIN": "ValidationException: Column types do not match"})
    (fault,) = check(session)
    assert (fault.field, fault.found) == ("shop.plan", "Column types do not match")


def test_a_table_that_flink_refuses_ends_the_look() -> None:
    (fault,) = check(FakeSession({"CREATE TEMPORARY TABLE": "no such connector"}), FILTER)
    assert (fault.field, fault.found) == ("shop.tables", "no such connector")


def test_a_gateway_that_does_not_answer_is_a_fault() -> None:
    (fault,) = check(FakeSession(), FILTER, is_away=True)
    assert fault.field == "flink.sql_gateway_url"
    assert fault.fix == "Start it"


def results(session: FakeSession, *probes: Probe, is_away: bool = False) -> Results:
    rendered = RenderedStream(("CREATE TEMPORARY TABLE `orders` ()",), "", {}, "", probes)
    gateway: Any = FakeGateway(session, is_away=is_away)
    return describe_results(gateway, SPEC, rendered, {"orders": (), "sums": ("status",)})


def test_results_have_the_types_that_flink_says_and_nothing_is_planned() -> None:
    session = FakeSession(described=(("total", "DECIMAL(21, 2)"),))
    others = replace(QUERY, target="others")  # its table exists
    found = results(session, replace(TOTAL, target="orders"), others)
    (name, (column,)) = found.columns[0]
    assert (name, column.name, column.column_type) == ("orders", "total", "decimal(21,2)")
    assert found.faults == ()
    assert session.seen[1:] == [
        f"CREATE TEMPORARY VIEW `probe.1` AS\n{TOTAL.select}",
        "DESCRIBE `probe.1`",
    ]


def test_results_that_no_target_holds_and_texts_that_flink_refuses_are_faults() -> None:
    probe = replace(TOTAL, target="orders")
    found = results(FakeSession(described=(("total", "ARRAY<INT>"),)), probe)
    assert found.columns == ()
    assert [(fault.field, fault.found) for fault in found.faults] == [
        ("dw.orders.total", "type ARRAY<INT>")
    ]
    (fault,) = results(FakeSession({"price": "worse"}), probe).faults
    assert fault.field == "shop.computed.orders.total"
    (fault,) = results(FakeSession({"CREATE TEMPORARY TABLE": "no connector"}), probe).faults
    assert fault.field == "shop.tables"
    (fault,) = results(FakeSession(), probe, is_away=True).faults
    assert fault.field == "flink.sql_gateway_url"


@pytest.mark.parametrize(
    ("found", "wanted", "cut"),
    [
        ("INT", "BIGINT", False),
        ("BIGINT NOT NULL", "DECIMAL(20, 0)", False),
        ("BIGINT", "INT", True),
        ("DECIMAL(10, 2)", "DECIMAL(12, 1)", True),
        ("STRING", "DECIMAL(12, 2)", False),
        ("DOUBLE", "DOUBLE", False),
    ],
)
def test_a_cut_is_a_number_that_does_not_fit(found: str, wanted: str, *, cut: bool) -> None:
    assert is_cut(found, wanted) is cut
