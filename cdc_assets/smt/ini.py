"""Ini: a file of `[section]` and `key = value` lines, each with its place. Pure.

The standard library's reader keeps no line numbers, joins indented lines to the one before,
and reads a `%` in a password as a place to fill in.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cdc_assets.errors import ConfigurationError

MAX_BYTES = 1_000_000
_COMMENTS = ("#", ";")


@dataclass(frozen=True)
class Entry:
    """One `key = value` line.

    Attributes:
        section: Name of its section.
        key: As it is written.
        value: Without blanks around it; kept out of `repr`, because it may be a password.
        line: Number of the line, from 1.
        file: Name of the file, for errors.
    """

    section: str
    key: str
    value: str = field(repr=False)
    line: int
    file: str

    def refused(self, message: str, *, hint: str = "", show: bool = True) -> ConfigurationError:
        """Return the error about this line.

        Args:
            message: What is wrong.
            hint: The next step.
            show: False for a secret.
        """
        return ConfigurationError(
            message,
            field=f"[{self.section}] {self.key}",
            value=self.value if show else None,
            file=f"{self.file}:{self.line}",
            hint=hint,
        )


@dataclass(frozen=True)
class Section:
    """A section and its entries, in the file's order; no key is there twice."""

    name: str
    line: int
    file: str
    entries: tuple[Entry, ...]

    def get(self, key: str) -> Entry | None:
        """Return the entry of a key, None when the section has none."""
        return next((entry for entry in self.entries if entry.key == key), None)

    def refused(self, message: str, *, hint: str = "") -> ConfigurationError:
        """Return the error about this section."""
        return ConfigurationError(
            message, field=f"[{self.name}]", file=f"{self.file}:{self.line}", hint=hint
        )


def parse_ini(content: bytes, *, file: str) -> tuple[Section, ...]:
    """Read a file.

    Lines that begin with `#` or `;` are comments; a `#` after a value is part of it.

    Args:
        content: What the file holds.
        file: Its name, for errors.

    Raises:
        ConfigurationError: The file has another form; says the line, never its text.
    """
    found: dict[str, Section] = {}
    current = ""
    for number, line in enumerate(_lines(content, file), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith(_COMMENTS):
            continue
        if stripped.startswith("["):
            current = _section_name(stripped, f"{file}:{number}")
            if current in found:
                raise _misplaced(f"[{current}] is there twice", file, number)
            found[current] = Section(current, number, file, ())
            continue
        key, equals, value = stripped.partition("=")
        if not equals or not key.strip():
            # The text is not shown: it may be a password with a typing error.
            raise _misplaced("neither [section], key = value, nor a # comment", file, number)
        if not current:
            raise _misplaced("a key before the first [section]", file, number)
        entry = Entry(current, key.strip(), value.strip(), number, file)
        before = found[current].get(entry.key)
        if before is not None:
            raise entry.refused(f"is there twice, first in line {before.line}", show=False)
        section = found[current]
        found[current] = Section(current, section.line, file, (*section.entries, entry))
    return tuple(found.values())


def _lines(content: bytes, file: str) -> list[str]:
    if len(content) > MAX_BYTES:
        raise ConfigurationError(f"larger than {MAX_BYTES} bytes", file=file)
    try:
        decoded = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"not UTF-8 at byte {error.start}", file=file) from None
    # Not splitlines(): it also ends a line at separators that a value may hold.
    lines = decoded.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, start=1):
        if any(ord(each) < ord(" ") and each != "\t" for each in line):
            raise _misplaced(
                "holds a control character", file, number, hint=r"Write separators as \x01"
            )
    return lines


def _section_name(text: str, place: str) -> str:
    name = text[1:-1].strip()
    if not text.endswith("]") or not name or "[" in name or "]" in name:
        raise ConfigurationError("not a [section]", file=place)
    return name


def _misplaced(message: str, file: str, line: int, *, hint: str = "") -> ConfigurationError:
    return ConfigurationError(message, file=f"{file}:{line}", hint=hint)
