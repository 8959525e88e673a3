"""Document: hostile and malformed YAML is refused with its line and column."""

from __future__ import annotations

import pytest

from cdc_assets.errors import ConfigurationError
from cdc_assets.pipeline.document import MAX_BYTES, Value, read_document


def read(text: str | bytes) -> Value:
    content = text if isinstance(text, bytes) else text.encode()
    return read_document(content, file="p.yaml")


def said(text: str | bytes) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(text)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("a: !!python/object/apply:os.system [ls]", "p.yaml:1:4", "tags"),
        ("a:\n  !x b: c", "p.yaml:2:3", "tags"),
        ("a: &x [1, 2]\nb: 1", "p.yaml:1:4", "anchors"),
        ("a: 1\nb: *x", "p.yaml:2:4", "anchors"),
        ("<<: *x", "p.yaml:1:5", "anchors"),
        ("a: 1\nb: 2\na: 3", "p.yaml:3:1", "twice, first in line 1"),
        ("a: 1\n? [x, y]\n: 2", "p.yaml:2:3", "key must be a text"),
        ("a: 1\n---\nb: 2", "p.yaml:2:1", "second document"),
        ("a: b: c", "p.yaml:1:5", "not YAML"),
        ("a: [1, 2", "p.yaml:1:9", "not YAML"),
        ("a:\n\tb: 1", "p.yaml:2:1", "not YAML"),
        ("[" * 5000, "p.yaml:1:21", "nested too deeply"),
        ("a: [" + "x, " * 20_000 + "x]", "p.yaml:1:", "holds too much"),
        ("- a\n- b", "p.yaml:1:1", "keys and values"),
        ("just text", "p.yaml:1:1", "keys and values"),
        ("", "p.yaml", "is empty"),
        ("# nothing\n", "p.yaml", "is empty"),
        ("a: \x07", "p.yaml", "special characters"),
        (b"a: \xff\xfe", "p.yaml", "not UTF-8 at byte 3"),
        (b"a" * (MAX_BYTES + 1), "p.yaml", "larger than"),
    ],
)
def test_what_a_pipeline_never_needs_is_refused_where_it_stands(
    text: str | bytes, place: str, what: str
) -> None:
    message = said(text)
    assert message.startswith(place), message
    assert what in message


def test_a_bomb_of_aliases_is_refused_before_anything_is_built() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    assert "anchors" in said("\n".join(lines))


def test_every_value_knows_its_name_line_and_column() -> None:
    root = read("source:\n  hostname: db\nroute:\n  - source-table: a.b\n")
    host = root.entries()["source"].entries()["hostname"]
    assert (host.field, host.place) == ("source.hostname", "p.yaml:2:13")
    table = root.entries()["route"].items()[0].entries()["source-table"]
    assert (table.field, table.place) == ("route[1].source-table", "p.yaml:4:19")


@pytest.mark.parametrize(
    ("text", "placeholder"),
    [
        ("a: #{hostname}", "#{hostname}"),
        ("a: '#{hostname}'", "#{hostname}"),
        ("a: ${secret_values.host}", "${secret_values.host}"),
        ("a: # {hostname}", ""),
        ("a: x#{y}", ""),
        ("a:", ""),
    ],
)
def test_a_placeholder_is_seen_although_yaml_takes_it_for_a_comment(
    text: str, placeholder: str
) -> None:
    assert read(text).entries()["a"].placeholder == placeholder


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: yes", "true or false"),
        ("a: null", "is empty"),
        ("a: ''", "is empty"),
        ("a: [b]", "must be a text"),
        ("a: {b: c}", "must be a text"),
        ("a: #{b}", "placeholder #{b} is not filled in"),
    ],
)
def test_a_text_is_a_text(text: str, what: str) -> None:
    with pytest.raises(ConfigurationError, match=what):
        read(text).entries()["a"].text()


def test_numbers_are_taken_as_they_are_written() -> None:
    values = read("a: 007\nb: 1.50\nc: 0x1F").entries()
    assert [values[name].text() for name in "abc"] == ["007", "1.50", "0x1F"]
    with pytest.raises(ConfigurationError, match=r"p\.yaml:3:4: c: must be a whole number"):
        values["c"].integer(1, 65535)


def test_a_value_is_not_shown_by_its_repr() -> None:
    assert "hunter2" not in repr(read("password: hunter2").entries()["password"])
