"""Document: a YAML file as values that know their line and column. Pure.

The file is only composed, never constructed, so that nothing in it becomes an object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as kept
from typing import Any, cast

import yaml

from cdc_assets.errors import ConfigurationError

MAX_BYTES = 1_000_000
_MAX_DEPTH = 20
_MAX_VALUES = 10_000
_TAG = "tag:yaml.org,2002:"
# What other tools fill in before they read the file: `#{host}`, `${secret_values.host}`.
_PLACEHOLDER = re.compile(r"[#$]\{[^{}]*\}")
_INTEGER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True)
class Value:
    """One value of the file.

    Attributes:
        field: Its dotted name, `source.hostname`.
        file: Name of the file.
        line: From 1.
        column: From 1.
        raw: A text, a list or a mapping; None for an empty value. Kept out of `repr`, because
            it may be a password.
        kind: YAML's word for it: `str`, `int`, `float`, `bool`, `null`, `seq`, `map`.
        placeholder: What stands there to be filled in, empty without one.
    """

    field: str
    file: str
    line: int
    column: int
    raw: str | Sequence[Value] | Mapping[str, Value] | None = kept(repr=False)
    kind: str
    placeholder: str = ""

    @property
    def place(self) -> str:
        """Return `file:line:column`."""
        return f"{self.file}:{self.line}:{self.column}"

    def refused(self, message: str, *, hint: str = "", show: object = None) -> ConfigurationError:
        """Return the error about this value.

        Args:
            message: What is wrong.
            hint: The next step.
            show: What to show of it; by default nothing, because it may be a secret.
        """
        return ConfigurationError(message, field=self.field, value=show, file=self.place, hint=hint)

    def text(self) -> str:
        """Return a text that is not empty; numbers are taken as they are written.

        Raises:
            ConfigurationError: It is something else.
        """
        if self.placeholder:
            raise self.refused(
                f"the placeholder {self.placeholder} is not filled in",
                hint="Write the value, or env:NAME for an environment variable",
            )
        if self.kind == "bool":
            raise self.refused("YAML reads this as true or false", hint="Put it into quotes")
        if not isinstance(self.raw, str):
            what = "is empty" if self.kind == "null" else "must be a text"
            raise self.refused(what)
        if not self.raw.strip():
            raise self.refused("is empty")
        return self.raw

    def integer(self, lowest: int, highest: int) -> int:
        """Return a whole number.

        Raises:
            ConfigurationError: It is something else, or out of range.
        """
        text = self.text()
        if not _INTEGER.fullmatch(text) or not lowest <= int(text) <= highest:
            raise self.refused(f"must be a whole number from {lowest} to {highest}", show=text)
        return int(text)

    def entries(self) -> Mapping[str, Value]:
        """Return a mapping's values by key, in the file's order.

        Raises:
            ConfigurationError: It is something else.
        """
        if not isinstance(self.raw, Mapping):
            raise self.refused("must hold keys and values")
        return self.raw

    def items(self) -> Sequence[Value]:
        """Return a list's values.

        Raises:
            ConfigurationError: It is something else.
        """
        if self.raw is None or isinstance(self.raw, (str, Mapping)):
            raise self.refused("must be a list")
        return self.raw


def read_document(content: bytes, *, file: str) -> Value:
    """Read a file with one mapping in it.

    Raises:
        ConfigurationError: It is not YAML, or holds what a pipeline never needs: tags, anchors,
            a key twice, several documents. Says line and column.
    """
    if len(content) > MAX_BYTES:
        raise ConfigurationError(f"larger than {MAX_BYTES} bytes", file=file)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"not UTF-8 at byte {error.start}", file=file) from None
    try:
        _refuse_events(text, file)
        node = cast("Any", yaml.compose(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = cast("Any", error.problem_mark or error.context_mark)
        where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else file
        what = error.problem or error.context
        raise ConfigurationError(f"not YAML: {what}", file=where) from None
    except yaml.YAMLError as error:
        what = " ".join(str(getattr(error, "reason", "") or "cannot be read").split())
        raise ConfigurationError(f"not YAML: {what}", file=file) from None
    if node is None:
        raise ConfigurationError("is empty", file=file)
    root = _Reader(file, text.splitlines()).value(node, "")
    root.entries()
    return root


def _refuse_events(text: str, file: str) -> None:
    """Refuse, before anything is built, what could be large or strange once it is."""
    depth = values = documents = 0
    for event in cast("Iterator[Any]", yaml.parse(text, Loader=yaml.SafeLoader)):
        place = f"{file}:{event.start_mark.line + 1}:{event.start_mark.column + 1}"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ConfigurationError(
                "anchors (&) and aliases (*) are not taken",
                file=place,
                hint="Write the value out, or put it into quotes",
            )
        if getattr(event, "tag", None):
            raise ConfigurationError(
                "tags (!) are not taken", file=place, hint="Take it out, or put it into quotes"
            )
        documents += isinstance(event, yaml.DocumentStartEvent)
        values += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if documents > 1:
            raise ConfigurationError("holds a second document", file=place)
        if depth > _MAX_DEPTH or values > _MAX_VALUES:
            raise ConfigurationError("is nested too deeply, or holds too much", file=place)


class _Reader:
    def __init__(self, file: str, lines: Sequence[str]) -> None:
        self._file = file
        self._lines = lines

    def value(self, node: Any, name: str) -> Value:  # noqa: ANN401 - the library has no types
        line, column = node.start_mark.line, node.start_mark.column
        kind = str(node.tag).removeprefix(_TAG)
        raw: str | Sequence[Value] | Mapping[str, Value] | None
        placeholder = ""
        if isinstance(node, yaml.MappingNode):
            raw = self._mapping(node, name)
        elif isinstance(node, yaml.SequenceNode):
            found = enumerate(cast("list[Any]", node.value), start=1)
            raw = tuple(self.value(each, f"{name}[{number}]") for number, each in found)
        else:
            raw = None if kind == "null" else str(node.value)
            placeholder = self._placeholder(node, kind)
        return Value(name, self._file, line + 1, column + 1, raw, kind, placeholder)

    def _mapping(self, node: Any, name: str) -> Mapping[str, Value]:  # noqa: ANN401 - as above
        found: dict[str, Value] = {}
        for key, value in node.value:
            place = f"{self._file}:{key.start_mark.line + 1}:{key.start_mark.column + 1}"
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigurationError("a key must be a text", field=name, file=place)
            text = str(key.value)
            if text in found:
                raise ConfigurationError(
                    f"is there twice, first in line {found[text].line}",
                    field=f"{name}.{text}" if name else text,
                    file=place,
                )
            found[text] = self.value(value, f"{name}.{text}" if name else text)
        return found

    def _placeholder(self, node: Any, kind: str) -> str:  # noqa: ANN401 - as above
        """Return what stands in the place of a value to be filled in.

        `hostname: #{hostname}` is an empty value with a comment behind it.
        """
        if kind == "null":
            line = int(node.start_mark.line)
            found = self._lines[line] if line < len(self._lines) else ""
            rest = found[int(node.start_mark.column) :]
            match = _PLACEHOLDER.match(rest.strip())
            return match[0] if match else ""
        text = str(node.value).strip()
        return text if _PLACEHOLDER.fullmatch(text) else ""
