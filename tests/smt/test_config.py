"""Configuration files of the StarRocks Migration Tool: as it shows them, and hostile ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets.errors import CdcError, ConfigurationError
from cdc_assets.smt.config import Secret, parse_config
from cdc_assets.smt.ini import MAX_BYTES

HEAD = """\
[db]
host = 192.168.1.7
port = 3306
user = user1
password = s3cret!

[other]
# number of backends in StarRocks
be_num = 3
use_decimal_v3 = true
output_dir = ./result
"""
RULE = """
[table-rule.1]
database = ^demo.*$
table = ^.*$
flink.starrocks.jdbc-url=jdbc:mysql://fe:9030
flink.starrocks.load-url= fe:8030
flink.starrocks.username=user2
flink.starrocks.password=s3cret!
"""
GOOD = HEAD + RULE


def parse(text: str) -> object:
    return parse_config(text.encode(), file="prod.conf")


def test_the_tools_own_example_is_read() -> None:
    text = GOOD + (
        "flink.starrocks.sink.properties.format=csv\n"
        "flink.starrocks.sink.properties.column_separator=\\x01\n"
        "flink.starrocks.sink.properties.row_delimiter =\\x02\n"
        "flink.starrocks.sink.buffer-flush.interval-ms=15000\n"
        "flink.cdc.server-time-zone=Asia/Shanghai\n"
    )
    config = parse_config(text.encode(), file="f")
    assert (config.host, config.port, config.user) == ("192.168.1.7", 3306, "user1")
    assert (config.be_num, config.use_decimal_v3, config.output_dir) == (3, True, "./result")
    (rule,) = config.rules
    assert rule.sink["load-url"] == "fe:8030"
    assert rule.sink["sink.properties.column_separator"] == "\\x01"
    assert rule.cdc == {"server-time-zone": "Asia/Shanghai"}
    assert "password" not in rule.sink


def test_json_is_the_format_where_none_is_named() -> None:
    (rule,) = parse_config(GOOD.encode(), file="f").rules
    assert rule.sink["sink.properties.format"] == "json"
    assert rule.sink["sink.properties.strip_outer_array"] == "true"


def test_the_blank_in_the_tools_example_url_is_taken_out() -> None:
    text = GOOD.replace("jdbc:mysql:", "jdbc: mysql:")
    (rule,) = parse_config(text.encode(), file="f").rules
    assert rule.sink["jdbc-url"] == "jdbc:mysql://fe:9030"


def test_a_password_may_be_a_reference_and_stays_one_in_the_files() -> None:
    config = parse_config(GOOD.replace("s3cret!", "env:DB_PASSWORD").encode(), file="f")
    assert config.password.written == "${DB_PASSWORD}"
    assert config.password.value({"DB_PASSWORD": "x"}) == "x"
    with pytest.raises(ConfigurationError, match="env:DB_PASSWORD: is not set"):
        config.password.value({})


def test_no_password_shows_in_any_repr() -> None:
    assert "s3cret!" not in repr(parse(GOOD))
    assert "hidden" not in repr(Secret("hidden"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("port = 3306", "port = 99999", r"prod.conf:3: \[db\] port: must be a whole number"),
        ("port = 3306", "port = ٣٣", r"prod.conf:3: \[db\] port"),
        ("host = 192.168.1.7", "host =", r"prod.conf:2: \[db\] host: is empty"),
        ("host = 192.168.1.7\n", "", r"prod.conf:1: \[db\]: needs host"),
        ("user = user1", "usr = user1", r"prod.conf:4: \[db\] usr: no such key"),
        ("port = 3306", "port = 1\nport = 2", r"prod.conf:4: .*twice, first in line 3"),
        ("port = 3306", "type = oracle", r"prod.conf:3: \[db\] type: only mysql"),
        ("[other]", "[db]", r"prod.conf:7: \[db\] is there twice"),
        ("[other]", "[others]", r"prod.conf:7: \[others\]: no such section"),
        ("[other]", "[other", r"prod.conf:7: not a \[section\]"),
        ("be_num = 3", "be_num = many", r"prod.conf:9: \[other\] be_num"),
        ("be_num = 3", "be_num = 0", r"prod.conf:9: \[other\] be_num"),
        ("use_decimal_v3 = true", "use_decimal_v3 = 7", r"prod.conf:10: .* true or false"),
        ("table-rule.1", "table-rule.x", r"no such section"),
        ("database = ^demo.*$", "database = ^demo(", r"prod.conf:14: .*not a regular expression"),
        ("database = ^demo.*$", "database = " + "(" * 400, r"prod.conf:14: .*regular expression"),
        ("database = ^demo.*$", "database = " + "a" * 501, r"prod.conf:14: .*longer than 500"),
        ("database = ^demo.*$\n", "", r"prod.conf:13: \[table-rule.1\]: needs database"),
        ("jdbc:mysql://fe:9030", "jdbc:mysql://<fe_host>:<fe_query_port>", r"write it as jdbc"),
        ("= fe:8030", "= http//fe", r"prod.conf:17: .*load-url: write it as host:port"),
        ("load-url= fe:8030\n", "connector=x\n", r"connector: is generated"),
        ("username=user2", "table-name=orders", r"table-name: is generated"),
        ("username=user2", "sink.buffer-flush.interval=1", r"no such option"),
        ("flink.starrocks.username=user2\n", "", r"needs flink.starrocks.username"),
        ("flink.starrocks.password=s3cret!\n", "", r"needs flink.starrocks.password"),
        ("port = 3306", "port 3306", r"prod.conf:3: neither"),
        ("port = 3306", " = 3306", r"prod.conf:3: neither"),
        ("[db]", "host = a\n[db]", r"prod.conf:1: a key before"),
        ("user = user1", "user = a\x00b", r"prod.conf:4: holds a control character"),
        ("user2", "user2\nflink.starrocks.sink.semantic=once", r"at-least-once or exactly-once"),
        ("user2", "user2\nflink.starrocks.sink.max-retries=1e3", r"not a whole number"),
        ("user2", "user2\nflink.starrocks.sink.buffer-flush.interval-ms=10", r"1000 to 3600000"),
        ("user2", "user2\nflink.starrocks.sink.properties.format=xml", r"csv or json"),
        ("user2", "user2\nflink.starrocks.sink.properties.columns=a,b", r"not a property"),
        ("user2", "user2\nflink.cdc.hostname=evil", r"hostname: comes from \[db\]"),
        ("user2", "user2\nflink.cdc.server-id=9-1", r"flink.cdc.server-id"),
        ("user2", "user2\nflink.cdc.startup=x", r"no such option of the source"),
        ("user2", "user2\nduplicate_keys=a", r"without a primary key"),
        ("user2", "user2\npartition_key=a", r"go together"),
        ("user2", "user2\npartition_key=a\npartitions=x) ; DROP", r"not a list of partitions"),
        ("user2", "user2\nbucket_num=-1", r"bucket_num"),
    ],
)
def test_an_error_names_file_line_section_and_key(old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigurationError, match=said) as caught:
        parse(GOOD.replace(old, new, 1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("password = s3cret!", "password s3cret!"),
        GOOD.replace("password = s3cret!", "passwort = s3cret!"),
        GOOD.replace("password = s3cret!", "password = env:s3cret!"),
        GOOD + "flink.starrocks.password=s3cret!\n",
        GOOD + "flink.starrocks.pasword=s3cret!\n",
        GOOD + "flink.cdc.password=s3cret!\n",
        GOOD + "s3cret!\n",
    ],
)
def test_a_password_in_the_wrong_place_is_not_repeated(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    assert "s3cret!" not in str(caught.value)


def test_a_password_may_hold_what_ini_readers_stumble_over() -> None:
    config = parse_config(GOOD.replace("= s3cret!", "= a#b;c%(d)s=[e]").encode(), file="f")
    assert config.password.value({}) == "a#b;c%(d)s=[e]"


def test_a_file_that_is_no_text_or_too_large_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not UTF-8 at byte 0"):
        parse_config(b"\xff\xfe", file="f")
    with pytest.raises(ConfigurationError, match="larger than"):
        parse_config(b" " * (MAX_BYTES + 1), file="f")
    with pytest.raises(ConfigurationError, match=r"there is no \[db\]"):
        parse_config(RULE.encode(), file="f")
    with pytest.raises(ConfigurationError, match=r"there is no \[table-rule.1\]"):
        parse_config(HEAD.encode(), file="f")


@given(st.text(max_size=400))
def test_no_text_is_answered_with_anything_but_our_error(text: str) -> None:
    said = ""
    try:
        parse_config((GOOD + text).encode("utf-8", "surrogatepass"), file="f")
    except CdcError as error:
        said = str(error)
    assert "\n" not in said
