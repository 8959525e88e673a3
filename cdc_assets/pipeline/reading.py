"""Reading: the options of a pipeline file, by the rules of the way that it runs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from cdc_assets.core.table_patterns import TablePattern, parse_patterns
from cdc_assets.errors import ConfigurationError
from cdc_assets.pipeline.document import Value
from cdc_assets.pipeline.options import RULES, Rules, Way

T = TypeVar("T")


@dataclass(frozen=True)
class Setting:
    """A value that the file has, or leaves to be filled in.

    Attributes:
        text: The value, `env:NAME` for an environment variable; empty while it is open.
        origin: Where it stands.
    """

    text: str = field(repr=False)
    origin: Value

    @property
    def is_open(self) -> bool:
        """Return whether the file has no value."""
        return not self.text

    def or_else(self, given: str, *, option: str) -> str:
        """Return the file's value, or the one that was given beside it.

        Args:
            given: From the component or the command line; empty for none.
            option: What gives it, for errors.

        Raises:
            ConfigurationError: Both have one, or neither.
        """
        if not self.is_open and given:
            raise self.origin.refused(
                f"the file has a value, and {option} has one, too", hint="Take out one of the two"
            )
        if self.is_open and not given:
            there = self.origin.placeholder
            raise self.origin.refused(
                f"the placeholder {there} is not filled in" if there else "is empty",
                hint=f"Write the value or env:NAME into the file, or give {option}",
            )
        return self.text or given


@dataclass(frozen=True)
class Note:
    """What the file says and the stream does not do, without harm.

    Attributes:
        place: `file:line:column`.
        option: Its dotted name.
        reason: Why not.
    """

    place: str
    option: str
    reason: str


class Reading:
    """Reads options, and keeps what is left out and what is handed on.

    Args:
        root: The file.
        way: How it runs.
    """

    def __init__(self, root: Value, way: Way) -> None:
        self.root = root
        self.way: Way = way
        self.notes: list[Note] = []
        self.passed: dict[str, dict[str, str]] = {}

    @property
    def rules(self) -> Rules:
        """Return the rules of the way."""
        return RULES[self.way]

    def refuse_unknown(self, part: Value, name: str, own: Sequence[str]) -> None:
        """Refuse every option that is not among `own`, and note what is ignored."""
        for key, value in part.entries().items():
            option = f"{name}.{key}" if name else key
            if key in own:
                continue
            if not self._is_left_out(option, value) and not self._is_passed(name, key, value):
                raise value.refused(
                    "no such option", hint=f"There are {', '.join(own)}, besides what is ignored"
                )

    def _is_left_out(self, option: str, value: Value) -> bool:
        rules = self.rules
        if option in rules.ignored:
            self.notes.append(Note(value.place, option, rules.ignored[option]))
            return True
        for prefix, reason in rules.ignored_prefixes.items():
            if option.startswith(prefix):
                self.notes.append(Note(value.place, option, reason))
                return True
        refusal = rules.refused.get(option) or next(
            (why for prefix, why in rules.refused_prefixes.items() if option.startswith(prefix)),
            None,
        )
        if refusal is not None:
            raise value.refused(f"cannot be done: {refusal[0]}", hint=refusal[1])
        if option.lower() in rules.only:
            words, hint = rules.only[option.lower()]
            _word(value, words, "cannot be done: only", hint=hint)
            return True
        return False

    def _is_passed(self, name: str, key: str, value: Value) -> bool:
        option = f"{name}.{key}"
        words = self.rules.words.get(option)
        if words is None and option not in self.rules.passed:
            return False
        text = scalar(value) if words is None else _word(value, words, "must be")
        self.passed.setdefault(name, {})[key] = text
        return True

    def is_special(self, option: str) -> bool:
        """Return whether a rule says what becomes of an option."""
        rules = self.rules
        return option in {*rules.refused, *rules.only} or option.startswith(
            tuple(rules.refused_prefixes)
        )

    def needed(self, part: Value, key: str) -> Value:
        """Return a value that must be there.

        Raises:
            ConfigurationError: It is not.
        """
        found = part.entries().get(key)
        if found is None:
            name = f"{part.field}.{key}" if part.field else key
            raise ConfigurationError(
                "is missing", field=name, file=part.place if part.field else part.file
            )
        return found

    def open(self, part: Value, key: str) -> Setting:
        """Return a value that may be left to be filled in."""
        return self._setting(self.needed(part, key))

    def maybe_open(self, part: Value, key: str) -> Setting | None:
        """Return a value that may be left to be filled in, None where nothing is said."""
        value = part.entries().get(key)
        return None if value is None else self._setting(value)

    def _setting(self, value: Value) -> Setting:
        is_open = bool(value.placeholder) or value.kind == "null"
        return Setting("" if is_open else value.text().strip(), value)


def scalar(value: Value) -> str:
    """Return a text, a number or true or false, as it is written.

    Raises:
        ConfigurationError: It is something else.
    """
    return value.raw if value.kind == "bool" and isinstance(value.raw, str) else value.text()


def _word(value: Value, words: Sequence[str], what: str, *, hint: str = "") -> str:
    word = value.raw.strip().lower() if isinstance(value.raw, str) else ""
    if word not in words:
        raise value.refused(f"{what} {' or '.join(words)}", hint=hint, show=word or None)
    return word


def patterns_of(value: Value) -> tuple[TablePattern, ...]:
    """Return the table patterns that a value holds."""
    return said(value, lambda: parse_patterns(value.text()))


def said(value: Value, call: Callable[[], T]) -> T:
    """Let an error say where its value stands."""
    try:
        return call()
    except ConfigurationError as error:
        if error.file:
            raise
        raise value.refused(error.message, hint=error.hint) from None
