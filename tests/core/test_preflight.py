from __future__ import annotations

import math
from dataclasses import replace

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.preflight import Cascade, Fault, PreflightFacts, ServerFacts, TargetFacts
from cdc_assets.core.preflight_tables import judge
from cdc_assets.core.queries import QuerySpec
from cdc_assets.core.readers import describe_table
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.core.transform import Transform
from cdc_assets.errors import ConfigurationError

ID = Column("id", "bigint", "bigint(20)", nullable=False)
NAME = Column("name", "varchar", "varchar(50)", charset="utf8mb4", collation="utf8mb4_general_ci")
ORDERS = TableShape("shop", "orders", (ID, NAME), ("id",))
TARGET = TableShape("dw", "orders", (ID, NAME), ("id",))
SPEC = StreamSpec("s", (TableRef("shop", "orders"),), ServerIdRange(5400, 5410), "dw")
VARIABLES = {
    "server_id": "101", "log_bin": "ON", "binlog_format": "ROW", "binlog_row_image": "FULL",
    "gtid_mode": "ON", "expire_logs_days": "0",
}  # fmt: skip
SERVER = ServerFacts(
    "source", "db:3306", flavor="mysql", version="8.0.36", account="'cdc'@'%'",
    variables=VARIABLES, may_select={"shop.orders": True}, retention_hours=math.inf,
    shapes={"shop.orders": ORDERS},
)  # fmt: skip
DW = TargetFacts("dw:3306", "dw", shapes={"orders": TARGET}, account="'w'@'%'")
GOOD = PreflightFacts(SPEC, SERVER, DW)


def with_server(**changes: object) -> PreflightFacts:
    return replace(GOOD, source=replace(SERVER, **changes))


def with_variables(**changes: str) -> PreflightFacts:
    return with_server(variables={**VARIABLES, **changes})


def with_source_table(shape: TableShape, **spec: object) -> PreflightFacts:
    return replace(with_server(shapes={"shop.orders": shape}), spec=replace(SPEC, **spec))


def with_target(**changes: object) -> PreflightFacts:
    return replace(GOOD, target=replace(DW, **changes))


def with_target_table(*columns: Column, key: tuple[str, ...] = ("id",)) -> PreflightFacts:
    return with_target(shapes={"orders": TableShape("dw", "orders", columns, key)})


def only(facts: PreflightFacts) -> Fault:
    faults = judge(facts)
    assert len(faults) == 1, [fault.text for fault in faults]
    return faults[0]


def test_a_ready_stream_has_no_fault() -> None:
    assert judge(GOOD) == ()


@pytest.mark.parametrize("name", ["o'clock", "back`tick"])
def test_a_table_that_the_reader_cannot_ask_for_is_an_error(name: str) -> None:
    spec = replace(SPEC, tables=(TableRef("shop", name, "orders"),))
    shape = replace(ORDERS, name=name)
    fault = only(
        replace(with_server(shapes={shape.label: shape}, may_select={shape.label: True}), spec=spec)
    )
    assert "Flink CDC cannot read a table with" in fault.found
    with pytest.raises(ConfigurationError, match="Rename it"):
        describe_table(spec, spec.tables[0], shape)


def test_a_table_that_was_made_after_the_list_is_a_warning() -> None:
    fault = only(with_server(uncaptured=("shop.late",)))
    assert (fault.field, fault.severity) == ("shop.late", "warning")
    assert "cdc-assets pipeline resolve" in fault.fix


@pytest.mark.parametrize(
    ("variable", "found", "fix"),
    [
        ("binlog_format", "STATEMENT", "SET GLOBAL binlog_format = 'ROW';"),
        ("binlog_format", "MIXED", "SET GLOBAL binlog_format = 'ROW';"),
        ("binlog_row_image", "MINIMAL", "SET GLOBAL binlog_row_image = 'FULL';"),
        ("binlog_row_image", "NOBLOB", "SET GLOBAL binlog_row_image = 'FULL';"),
        ("binlog_row_value_options", "PARTIAL_JSON", "SET GLOBAL binlog_row_value_options = '';"),
        (
            "binlog_transaction_compression",
            "ON",
            "SET GLOBAL binlog_transaction_compression = OFF;",
        ),
        ("log_bin_compress", "ON", "SET GLOBAL log_bin_compress = OFF;"),
    ],
)
def test_a_setting_that_the_reader_cannot_read_is_an_error(
    variable: str, found: str, fix: str
) -> None:
    fault = only(with_variables(**{variable: found}))
    assert (fault.field, fault.found, fault.fix) == (f"source.{variable}", found, fix)
    assert fault.severity == "error"


def test_on_rds_a_setting_is_made_in_the_parameter_group() -> None:
    facts = with_server(is_rds=True, variables={**VARIABLES, "binlog_format": "MIXED"})
    assert "parameter group" in only(facts).fix


def test_without_a_binlog_nothing_else_of_it_is_asked() -> None:
    fault = only(with_variables(log_bin="OFF", binlog_format="STATEMENT"))
    assert fault.field == "source.log_bin"
    assert "--log-bin" in fault.fix


@pytest.mark.parametrize("mode", ["ON_PERMISSIVE", "OFF_PERMISSIVE"])
def test_a_permissive_gtid_mode_is_read_by_file_and_position(mode: str) -> None:
    fault = only(with_variables(gtid_mode=mode))
    assert fault.severity == "warning"
    assert "file and position" in fault.fix


@pytest.mark.parametrize(
    ("changes", "privileges"),
    [
        ({"may_see_end": False}, "REPLICATION CLIENT"),
        ({"may_dump": False}, "REPLICATION SLAVE"),
        ({"may_see_end": False, "may_dump": False}, "REPLICATION CLIENT, REPLICATION SLAVE"),
    ],
)
def test_a_missing_grant_is_printed_as_a_statement(
    changes: dict[str, bool], privileges: str
) -> None:
    assert only(with_server(**changes)).fix == f"GRANT {privileges} ON *.* TO 'cdc'@'%';"


def test_a_table_that_may_not_be_read_is_printed_as_a_grant() -> None:
    fault = only(with_server(may_select={"shop.orders": False}))
    assert fault.fix == "GRANT SELECT ON `shop`.`orders` TO 'cdc'@'%';"


def test_an_unknown_table_is_named() -> None:
    assert "shop.orders" in only(with_server(shapes={})).found


def test_a_wrong_password_is_told_from_a_silent_host() -> None:
    denied = only(with_server(problem="Access denied", is_denied=True))
    silent = only(with_server(problem="connection refused"))
    assert (denied.field, silent.field) == ("source.account", "source.host")


def test_a_version_that_flink_cdc_does_not_read_is_an_error() -> None:
    fault = only(with_server(version="8.4.3", is_readable=False))
    assert "8.4.3" in fault.found


@pytest.mark.parametrize(
    ("changes", "fix"),
    [
        ({}, "SET GLOBAL expire_logs_days = 1;"),
        ({"is_rds": True}, "CALL mysql.rds_set_configuration('binlog retention hours', 24);"),
        (
            {"variables": {**VARIABLES, "binlog_expire_logs_seconds": "3600"}},
            "SET GLOBAL binlog_expire_logs_seconds = 86400;",
        ),
    ],
)
def test_a_short_retention_is_lengthened_in_the_servers_own_words(
    changes: dict[str, object], fix: str
) -> None:
    fault = only(with_server(retention_hours=1.0, **changes))
    assert (fault.fix, fault.severity) == (fix, "error")


def test_a_retention_that_may_not_be_read_is_a_warning() -> None:
    fault = only(with_server(retention_hours=None, is_rds=True))
    assert fault.severity == "warning"
    assert "GRANT SELECT ON mysql.rds_configuration" in fault.fix


@pytest.mark.parametrize("number", [5400, 5405, 5410])
def test_a_server_id_that_a_replica_uses_is_named(number: int) -> None:
    fault = only(with_server(replicas=(1, number)))
    assert fault.field == "s.server_ids"
    assert str(number) in fault.found


def test_the_servers_own_id_is_taken() -> None:
    assert "the server itself" in only(with_variables(server_id="5400")).found


def test_replicas_that_may_not_be_asked_for_are_no_fault() -> None:
    assert judge(with_server(replicas=None)) == ()


def test_another_time_zone_is_an_error() -> None:
    assert only(with_server(offset_seconds=28800)).field == "source.time_zone"
    assert judge(replace(with_server(offset_seconds=28800), wanted_offset_seconds=28800)) == ()


def test_a_table_without_primary_key_is_named() -> None:
    facts = with_source_table(replace(ORDERS, primary_key=()))
    named = [fault for fault in judge(facts) if fault.field == "shop.orders"]
    assert named[0].fix.startswith("ALTER TABLE `shop`.`orders` ADD PRIMARY KEY")


def test_an_unsupported_type_names_table_and_column_and_can_be_left_out() -> None:
    price = Column("price", "json", "json")
    shape = replace(ORDERS, columns=(ID, NAME, price))
    found = [f for f in judge(with_source_table(shape)) if f.field == "shop.orders.price"]
    assert "exclude_columns: orders.price" in found[0].fix
    assert judge(with_source_table(shape, exclude_columns=("orders.price",))) == ()


def test_a_name_with_a_backtick_is_refused_also_where_it_is_left_out() -> None:
    shape = replace(ORDERS, columns=(*ORDERS.columns, Column("a`b", "int", "int")))
    facts = with_source_table(shape, exclude_columns=("orders.a`b",))
    assert [fault.field for fault in judge(facts)] == ["shop.orders.a`b"]


def test_a_filter_over_a_column_that_does_not_exist_is_an_error() -> None:
    spec = replace(SPEC, transforms=(Transform("orders", filter="prise > 1"),))
    fault = only(replace(GOOD, spec=spec))
    assert fault.field == "s.filters.orders"
    assert "prise" in fault.found


def test_a_column_that_is_computed_is_written() -> None:
    """So it may be NOT NULL at the target; what the stream does not write may not."""
    total = Column("total", "int", "int", nullable=False)
    spec = replace(SPEC, transforms=(Transform("orders", computed=(("total", "1"),)),))
    target = GOOD.target
    assert target is not None
    orders = target.shapes["orders"]
    shapes = {**target.shapes, "orders": replace(orders, columns=(*orders.columns, total))}
    facts = replace(GOOD, target=replace(target, shapes=shapes))
    assert [fault.severity for fault in judge(facts)] == ["warning"]
    assert judge(replace(facts, spec=spec)) == ()


def test_a_float_is_carried_and_its_digits_are_told() -> None:
    shape = replace(ORDERS, columns=(ID, NAME, Column("price", "float", "float")))
    found = [f for f in judge(with_source_table(shape)) if f.field == "shop.orders.price"]
    assert [(fault.severity, fault.fix) for fault in found] == [
        ("warning", "ALTER TABLE `shop`.`orders` MODIFY `price` DOUBLE;")
    ]


def test_an_exclusion_that_excludes_nothing_is_an_error() -> None:
    fault = only(replace(GOOD, spec=replace(SPEC, exclude_columns=("orders.nmae",))))
    assert "orders.nmae" in fault.found


def test_a_key_column_cannot_be_excluded() -> None:
    fields = [
        fault.field
        for fault in judge(replace(GOOD, spec=replace(SPEC, exclude_columns=("orders.id",))))
    ]
    assert "s.exclude_columns" in fields


def test_a_cascade_changes_rows_that_are_not_in_the_binlog() -> None:
    cascade = Cascade("shop.orders", "fk", "ON DELETE CASCADE")
    fault = only(with_server(cascades=(cascade,)))
    assert (fault.field, fault.severity) == ("shop.orders.fk", "error")


def test_zero_dates_are_an_error_and_an_unread_table_a_warning() -> None:
    assert only(with_server(zero_dates=("shop.orders.d",))).severity == "error"
    lost = only(with_server(zero_years=("shop.orders.y",)))
    assert (lost.severity, lost.field) == ("error", "shop.orders.y")
    assert only(with_server(unprobed=("shop.orders",))).severity == "warning"


def test_green_is_checked_as_the_source_that_it_will_be() -> None:
    green = replace(SERVER, role="green", variables={**VARIABLES, "binlog_format": "MIXED"})
    assert only(replace(GOOD, green=green)).field == "green.binlog_format"


def test_what_is_wrong_with_a_table_on_both_sides_is_said_once() -> None:
    cascade = Cascade("shop.orders", "fk", "ON DELETE CASCADE")
    facts = with_server(cascades=(cascade,))
    only(replace(facts, green=replace(facts.source, role="green")))


def test_a_table_that_is_other_on_green_only_is_named_as_greens() -> None:
    green = replace(SERVER, role="green", cascades=(Cascade("shop.orders", "fk", "ON DELETE"),))
    assert only(replace(GOOD, green=green)).field == "green.shop.orders.fk"


@pytest.mark.parametrize("status", ["pending-reboot", "applying", "failed-to-apply"])
def test_a_parameter_group_that_is_not_in_sync_is_an_error(status: str) -> None:
    assert only(replace(GOOD, green_group=status)).found == status


def test_a_parameter_group_in_sync_is_no_fault() -> None:
    assert judge(replace(GOOD, green_group="in-sync")) == ()


def test_a_missing_target_table_is_printed_as_a_statement() -> None:
    facts = with_target(shapes={}, create_statements={"orders": "CREATE TABLE x;"})
    assert only(facts).fix == "CREATE TABLE x;"


def test_a_target_table_of_an_unknown_source_table_is_not_asked_for() -> None:
    facts = replace(with_server(shapes={}), target=replace(DW, shapes={}))
    assert only(facts).field == "source.tables"


def test_a_missing_target_column_is_added_with_the_sources_type() -> None:
    fault = only(with_target_table(ID))
    assert fault.field == "dw.orders.name"
    assert fault.fix == (
        "ALTER TABLE `dw`.`orders` ADD COLUMN `name` varchar(50)"
        " CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NULL;"
    )


def test_a_narrower_target_column_is_modified() -> None:
    fault = only(with_target_table(ID, replace(NAME, column_type="varchar(10)")))
    assert "narrower" in fault.found
    assert "MODIFY COLUMN `name` varchar(50)" in fault.fix


def test_another_target_key_is_an_error() -> None:
    fault = only(with_target_table(ID, NAME, key=()))
    assert fault.fix == "ALTER TABLE `dw`.`orders` ADD PRIMARY KEY (`id`);"


def test_a_key_that_the_target_compares_otherwise_is_an_error() -> None:
    exact = replace(NAME, nullable=False, collation="utf8mb4_bin")
    loose = replace(exact, collation="utf8mb4_general_ci")
    shape = TableShape("shop", "orders", (exact,), ("name",))
    facts = replace(
        with_source_table(shape),
        target=replace(DW, shapes={"orders": TableShape("dw", "orders", (loose,), ("name",))}),
    )
    assert only(facts).found == "collation utf8mb4_general_ci"


def test_a_column_that_the_stream_does_not_write_is_a_warning() -> None:
    extra = Column("loaded_at", "datetime", "datetime", nullable=False)
    assert only(with_target_table(ID, NAME, extra)).severity == "warning"


def test_a_second_unique_index_would_let_a_row_overwrite_another() -> None:
    fault = only(with_target(unique_indexes={"orders": ("u_name",)}))
    assert "DROP INDEX `u_name`" in fault.fix


def test_missing_target_privileges_are_printed_as_a_grant() -> None:
    fault = only(with_target(missing_privileges={"orders": ("DELETE",)}))
    assert fault.fix == "GRANT DELETE ON `dw`.`orders` TO 'w'@'%';"


def test_a_read_only_target_is_an_error() -> None:
    assert only(with_target(is_read_only=True)).field == "target.read_only"


def test_a_target_that_does_not_answer_is_one_fault() -> None:
    assert only(with_target(problem="connection refused", shapes={})).field == "target.host"


def test_a_column_name_that_the_writer_cannot_write_is_an_error() -> None:
    odd = Column("a b", "int", "int(11)")
    facts = replace(
        with_source_table(replace(ORDERS, columns=(ID, NAME, odd))),
        target=replace(DW, shapes={"orders": replace(TARGET, columns=(ID, NAME, odd))}),
    )
    assert only(facts).field == "shop.orders.a b"


@pytest.mark.parametrize(("rows", "severity"), [(100, "warning"), (1_000_000, "error")])
def test_a_text_key_under_a_query_is_said_aloud(rows: int, severity: str) -> None:
    exact = replace(NAME, nullable=False)
    shape = TableShape("shop", "orders", (exact,), ("name",), rows)
    target = TableShape("dw", "orders", (exact,), ("name",))
    count = TableShape("dw", "n", (exact,), ("name",))
    facts = replace(
        with_source_table(shape, queries=(QuerySpec("n", "SELECT name FROM orders"),)),
        target=replace(DW, shapes={"orders": target, "n": count}),
    )
    assert only(facts).severity == severity


def test_a_fault_is_one_line() -> None:
    text = only(with_variables(binlog_format="MIXED")).text
    assert text == "source.binlog_format: found MIXED, wanted ROW"


def with_connector(**changes: object) -> PreflightFacts:
    """Return the facts of a stream that Debezium's connector runs."""
    spec = replace(SPEC, target_kind="kafka", engine="debezium")
    return replace(GOOD, spec=spec, target=None, source=replace(SERVER, **changes))


def test_a_connector_reads_what_flink_does_not() -> None:
    odd = Column("t", "time", "time(6)")
    shape = replace(ORDERS, columns=(ID, odd, Column("g", "geometry", "geometry")))
    newer = {"version": "9.7.0", "is_readable": False, "shapes": {"shop.orders": shape}}
    assert judge(with_connector(**newer)) == ()
    flink = replace(with_server(**newer), spec=replace(SPEC, target_kind="kafka"), target=None)
    assert {fault.field for fault in judge(flink)} == {
        "source.version", "shop.orders.t", "shop.orders.g",
    }  # fmt: skip


def test_a_connector_needs_the_right_to_lock() -> None:
    granted = "GRANT SELECT, RELOAD, REPLICATION SLAVE ON *.* TO `CDC`@`%`"
    fault = only(with_connector(grants=granted))
    assert fault.fix == "GRANT LOCK TABLES ON *.* TO 'cdc'@'%';"
    assert judge(with_connector(grants=f"{granted} GRANT LOCK TABLES ON *.* TO `CDC`@`%`")) == ()
    assert judge(with_connector(grants="GRANT ALL PRIVILEGES ON *.* TO `CDC`@`%`")) == ()
    assert judge(with_server(grants=granted)) == ()
