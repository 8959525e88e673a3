"""Rules to target tables to SQL text."""

from __future__ import annotations

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.errors import ConfigurationError, UnsupportedType
from cdc_assets.smt.config import SmtConfig, parse_config
from cdc_assets.smt.files import render_files
from cdc_assets.smt.matching import (
    Name,
    Shards,
    TargetTable,
    assign,
    plan_targets,
    warnings_of,
)

HEAD = """\
[db]
host = mysql.example
user = user1
password = env:DB_PASSWORD
[other]
be_num = 1
"""


def rule(number: int, database: str, table: str, more: str = "") -> str:
    return (
        f"[table-rule.{number}]\ndatabase = {database}\ntable = {table}\n"
        "flink.starrocks.jdbc-url=jdbc:mysql://fe:9030\nflink.starrocks.load-url=fe:8030\n"
        f"flink.starrocks.username=user2\nflink.starrocks.password=pw's\n{more}\n"
    )


def config_of(*rules: str) -> SmtConfig:
    return parse_config((HEAD + "".join(rules)).encode(), file="prod.conf")


def shape(label: str, *columns: Column, key: tuple[str, ...] = ("id",)) -> TableShape:
    database, _, name = label.partition(".")
    found = columns or (
        Column("id", "bigint", "bigint(20)", nullable=False),
        Column("name", "varchar", "varchar(20)", charset="utf8mb4"),
    )
    return TableShape(database, name, found, key)


def plan(
    config: SmtConfig, *shapes: TableShape, shards: Shards = "merge", max_tables: int = 50
) -> tuple[TargetTable, ...]:
    known: dict[Name, TableShape] = {(each.database, each.name): each for each in shapes}
    tables = assign(config, list(known), max_tables=max_tables)
    return plan_targets(config, tables, known, shards=shards)


ORDERS = shape(
    "demo.orders",
    Column("customer_name", "varchar", "varchar(255)", nullable=False, charset="utf8mb4"),
    Column("order_id", "int", "int(11)", nullable=False),
    Column("order_date", "datetime", "datetime", nullable=False),
    Column("price", "decimal", "decimal(10,5)"),
    Column("seen", "timestamp", "timestamp(3)"),
    key=("order_id",),
)


def test_the_files_hold_what_the_seed_shows() -> None:
    config = config_of(rule(1, "^demo.*$", "^.*$"))
    files = render_files(config, plan(config, ORDERS))
    assert sorted(files) == [
        "flink-create.1.sql",
        "flink-create.all.sql",
        "starrocks-create.1.sql",
        "starrocks-create.all.sql",
    ]
    made = files["starrocks-create.1.sql"]
    assert made.startswith("CREATE DATABASE IF NOT EXISTS `demo`;\n\n")
    # The key comes first: StarRocks wants it so.
    assert made.index("`order_id` INT NOT NULL") < made.index("`customer_name` VARCHAR(1020)")
    assert "`price` DECIMAL(10, 5) NULL" in made
    assert 'PRIMARY KEY(`order_id`)\nCOMMENT ""\nDISTRIBUTED BY HASH(`order_id`) BUCKETS 1' in made
    assert '"replication_num" = "1"' in made  # one backend cannot hold three copies
    flink = files["flink-create.all.sql"]
    assert "CREATE DATABASE IF NOT EXISTS `default_catalog`.`demo`;" in flink
    assert "CREATE TABLE IF NOT EXISTS `default_catalog`.`demo`.`orders_src`" in flink
    assert "'password' = '${DB_PASSWORD}'" in flink
    assert "'password' = 'pw''s'" in flink
    assert "'connector' = 'starrocks',\n  'database-name' = 'demo',\n  'table-name' = 'orders'" in (
        flink
    )
    assert "EXECUTE STATEMENT SET\nBEGIN\nINSERT INTO" in flink
    assert (
        "SELECT `order_id`, `customer_name`, CAST(`order_date` AS STRING), `price`,"
        " CAST(CAST(`seen` AS TIMESTAMP(3)) AS STRING)" in flink
    )


def test_columns_that_need_no_cast_are_selected_with_a_star() -> None:
    config = config_of(rule(1, "demo", "t"))
    flink = render_files(config, plan(config, shape("demo.t")))["flink-create.1.sql"]
    assert "SELECT * FROM `default_catalog`.`demo`.`t_src`" in flink


def test_a_job_for_each_table_is_the_tools_own_order() -> None:
    config = config_of(rule(1, "demo", ".*"))
    targets = plan(config, shape("demo.a"), shape("demo.b"))
    flink = render_files(config, targets, one_job=False)["flink-create.all.sql"]
    assert "STATEMENT SET" not in flink
    assert flink.index("INSERT INTO `default_catalog`.`demo`.`a_sink`") < flink.index("`b_src` (")


def test_the_last_matching_rule_has_a_table_so_that_none_is_written_twice() -> None:
    config = config_of(
        rule(1, "^order.*$", "^.*$", "flink.starrocks.sink.buffer-flush.interval-ms=15000"),
        rule(2, "^order2.*$", "^.*$", "flink.starrocks.sink.buffer-flush.interval-ms=10000"),
    )
    files = render_files(config, plan(config, shape("order1.t"), shape("order2.u")))
    assert "order2" not in files["flink-create.1.sql"]
    assert "'sink.buffer-flush.interval-ms' = '10000'" in files["flink-create.2.sql"]
    assert files["flink-create.all.sql"].count("INSERT INTO") == 2


SHARDS = [shape(f"edu_db_{d}.course_{t}") for d in (1, 2) for t in (1, 2)]


def test_shards_become_one_table() -> None:
    config = config_of(rule(1, "^edu_db_[0-9]*$", "^course_[0-9]*$"))
    (target,) = plan(config, *SHARDS)
    assert target.label == "edu_db__auto_shard.course__auto_shard"
    flink = render_files(config, [target])["flink-create.1.sql"]
    assert "'database-name' = '(?:edu_db_1|edu_db_2)'" in flink
    assert "'table-name' = '(?:course_1|course_2)'" in flink
    assert "overwrite each other" in warnings_of(config, [target])[0]


def test_shards_of_one_database_stay_in_it() -> None:
    config = config_of(rule(1, "shop", ".*"))
    targets = plan(config, shape("shop.course_1"), shape("shop.course_2"), shape("shop.other"))
    assert [target.label for target in targets] == ["shop.course__auto_shard", "shop.other"]


def test_shard_columns_are_part_of_the_key() -> None:
    config = config_of(rule(1, "^edu_db_[0-9]*$", "^course_[0-9]*$"))
    (target,) = plan(config, *SHARDS, shards="columns")
    files = render_files(config, [target])
    assert "PRIMARY KEY(`database_name`, `table_name`, `id`)" in files["starrocks-create.1.sql"]
    flink = files["flink-create.1.sql"]
    assert "`database_name` STRING METADATA VIRTUAL" in flink
    assert "PRIMARY KEY(`database_name`, `table_name`, `id`) NOT ENFORCED" in flink
    assert warnings_of(config, [target]) == ()


def test_shards_can_be_kept_apart() -> None:
    config = config_of(rule(1, "^edu_db_[0-9]*$", "^course_[0-9]*$"))
    assert len(plan(config, *SHARDS, shards="apart")) == 4


def test_a_table_of_another_structure_is_no_shard() -> None:
    config = config_of(rule(1, "shop", ".*"))
    other = shape("shop.course_2", Column("id", "int", "int(11)", nullable=False))
    labels = [target.label for target in plan(config, shape("shop.course_1"), other)]
    assert labels == ["shop.course_1", "shop.course_2"]


def test_a_stranger_among_the_shards_is_refused() -> None:
    config = config_of(rule(1, "^edu_db_[0-9]*$", "^course_[0-9]*$"))
    stranger = shape("edu_db_2.course_2", Column("id", "int", "int(11)", nullable=False))
    with pytest.raises(ConfigurationError, match=r"edu_db_2.course_2 is no shard"):
        plan(config, *SHARDS[:3], stranger)


def test_a_rule_that_matches_nothing_or_too_much_is_refused() -> None:
    config = config_of(rule(1, "demo", "orders"))
    with pytest.raises(ConfigurationError, match=r"\[table-rule.1\]: matches no table"):
        plan(config, shape("demo.orders_old"))
    wide = config_of(rule(1, ".*", ".*"))
    with pytest.raises(ConfigurationError, match="matches 60 tables"):
        plan(wide, *(shape(f"d.{name}x") for name in map(str, range(60))))
    hidden = config_of(rule(1, "demo", "a"), rule(2, "demo", ".*"))
    with pytest.raises(ConfigurationError, match=r"\[table-rule.1\]: has no table of its own"):
        plan(hidden, shape("demo.a"))


@pytest.mark.parametrize("name", ["a b", "a.b", "a'b", "a`b", "schön", "😀", "a/../b", "x" * 300])
def test_a_table_name_that_the_connector_cannot_load_is_refused(name: str) -> None:
    config = config_of(rule(1, "demo", "(?s).*"))
    table = TableShape("demo", name, shape("demo.t").columns, ("id",))
    with pytest.raises(ConfigurationError, match="no name for a StarRocks table"):
        plan(config, table)


@pytest.mark.parametrize("name", ["a`b", "__op", "a=b", "a*", "line\nbreak"])
def test_a_column_name_that_starrocks_does_not_take_is_refused(name: str) -> None:
    config = config_of(rule(1, "demo", ".*"))
    columns = (Column("id", "int", "int", nullable=False), Column(name, "int", "int"))
    with pytest.raises(ConfigurationError, match="no name for a StarRocks column"):
        plan(config, shape("demo.t", *columns))


def test_quotes_in_column_names_stay_names() -> None:
    config = config_of(rule(1, "demo", ".*"))
    columns = (Column("id", "int", "int", nullable=False), Column("it's; é", "int", "int"))
    files = render_files(config, plan(config, shape("demo.t", *columns)))
    assert "`it's; é` INT NULL" in files["starrocks-create.1.sql"]


def test_a_table_without_a_primary_key_is_refused() -> None:
    config = config_of(rule(1, "demo", ".*"))
    with pytest.raises(ConfigurationError, match=r"has no primary key.*demo.t"):
        render_files(config, plan(config, shape("demo.t", key=())))


@pytest.mark.parametrize("kind", ["decimal(10,2)", "blob", "json"])
def test_a_column_that_starrocks_cannot_hold_is_refused(kind: str) -> None:
    config = config_of(rule(1, "demo", ".*"))
    base = kind.partition("(")[0]
    columns = (Column("id", base, kind, nullable=False),)
    with pytest.raises(UnsupportedType, match=r"demo.t.id"):
        render_files(config, plan(config, shape("demo.t", *columns)))


def test_a_range_of_server_ids_is_divided_among_the_tables_of_its_rule() -> None:
    config = config_of(rule(1, "demo", ".*", "flink.cdc.server-id=5400-5403"))
    targets = plan(config, shape("demo.a"), shape("demo.b"))
    flink = render_files(config, targets)["flink-create.all.sql"]
    assert "'server-id' = '5400-5401'" in flink
    assert "'server-id' = '5402-5403'" in flink
    small = config_of(rule(1, "demo", ".*", "flink.cdc.server-id=5400"))
    with pytest.raises(ConfigurationError, match="holds 1 ids for 2 tables"):
        render_files(small, plan(small, shape("demo.a"), shape("demo.b")))


def test_two_rules_with_overlapping_server_ids_are_refused() -> None:
    config = config_of(
        rule(1, "demo", "a", "flink.cdc.server-id=5400-5403"),
        rule(2, "demo", "b", "flink.cdc.server-id=5403-5404"),
    )
    with pytest.raises(ConfigurationError, match="overlap"):
        render_files(config, plan(config, shape("demo.a"), shape("demo.b")))


def test_a_rule_may_lay_out_its_tables() -> None:
    more = "bucket_num=7\ndistributed_by=b\nproperties.in_memory=false"
    config = config_of(rule(1, "demo", ".*", more))
    columns = tuple(Column(name, "int", "int", nullable=False) for name in ("b", "a"))
    made = render_files(config, plan(config, shape("demo.t", *columns, key=("a", "b"))))
    text = made["starrocks-create.1.sql"]
    assert "PRIMARY KEY(`a`, `b`)" in text
    assert text.index("`a` INT") < text.index("`b` INT")
    assert "DISTRIBUTED BY HASH(`b`) BUCKETS 7" in text
    assert '"in_memory" = "false"' in text
    wrong = config_of(rule(1, "demo", ".*", "distributed_by=c"))
    with pytest.raises(ConfigurationError, match="distributed_by names 'c'"):
        render_files(wrong, plan(wrong, shape("demo.t")))


def test_old_decimals_are_refused_where_they_are_too_small() -> None:
    text = (HEAD + "use_decimal_v3 = false\n" + rule(1, "demo", ".*")).encode()
    config = parse_config(text, file="f")
    columns = (Column("id", "int", "int", nullable=False), Column("d", "decimal", "decimal(30,2)"))
    with pytest.raises(UnsupportedType, match="use_decimal_v3"):
        render_files(config, plan(config, shape("demo.t", *columns)))


def test_csv_with_plain_separators_is_warned_of() -> None:
    config = config_of(rule(1, "demo", ".*", "flink.starrocks.sink.properties.format=csv"))
    assert "CSV escapes nothing" in warnings_of(config, plan(config, shape("demo.t")))[0]
