"""The Java-serialised `CheckpointProperties` at the end of `_metadata`.

Walked by the grammar of Java's object serialization, no class is needed for that. It shows that
the file is whole to its last byte, and tells a savepoint from a checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from cdc_assets.flink.wire import ByteReader

SnapshotKind = Literal["checkpoint", "savepoint"]

_STREAM = b"\xac\xed\x00\x05"
_FIRST_REFERENCE = 0x7E0000
_MAX_NESTING = 24  # the real ones have four
_NULL, _REFERENCE, _CLASS, _OBJECT, _STRING, _ENUM = 0x70, 0x71, 0x72, 0x73, 0x74, 0x7E
_BLOCK, _END_BLOCK = 0x77, 0x78
_PRIMITIVES = {"B": 1, "C": 2, "D": 8, "F": 4, "I": 4, "J": 8, "S": 2, "Z": 1}
_REFERENCES = ("L", "[")
_WRITE_METHOD, _SERIALIZABLE, _EXTERNALIZABLE = 0x01, 0x02, 0x04


@dataclass(eq=False)
class _Class:
    name: str
    flags: int = 0
    fields: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    parent: _Class | None = None

    def lineage(self) -> list[_Class]:
        """Return the class and its parents, the topmost first; a loop is cut."""
        found: list[_Class] = []
        at: _Class | None = self
        while at is not None and at not in found:
            found.insert(0, at)
            at = at.parent
        return found


@dataclass(eq=False)
class _Object:
    class_name: str
    fields: dict[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True)
class CheckpointProperties:
    """What the properties say.

    Args:
        kind: Checkpoint or savepoint.
        format: `CANONICAL` or `NATIVE` for a savepoint, None for a checkpoint.
    """

    kind: SnapshotKind
    format: str | None


def read_properties(data: bytes, start: int, *, path: str) -> CheckpointProperties:
    """Read the properties, which fill `data` from `start` to its end.

    Raises:
        CheckpointUnreadable: They are cut, followed by more, or not such properties.
    """
    reader = ByteReader(data, path=path, start=start)
    if reader.take(len(_STREAM), "checkpoint properties") != _STREAM:
        message = "no checkpoint properties follow the operators"
        raise reader.fail(message, at=start)
    value = _Walker(reader).value()
    reader.expect_end("the checkpoint properties")
    kind = value.fields.get("checkpointType") if isinstance(value, _Object) else None
    if not isinstance(kind, _Object):
        message = "these are not checkpoint properties"
        raise reader.fail(message, at=start)
    saved = kind.class_name.endswith(".SavepointType")
    form = kind.fields.get("formatType")
    return CheckpointProperties(
        "savepoint" if saved else "checkpoint", form if isinstance(form, str) else None
    )


class _Walker:
    """Walks one serialised value."""

    def __init__(self, reader: ByteReader) -> None:
        self.reader = reader
        self.known: list[object] = []

    def value(self, depth: int = 0) -> object:
        """Return the next value; an enum constant is its name, a primitive is its bytes."""
        reader, at = self.reader, self.reader.pos
        tag = reader.take(1, "serialised value")[0]
        if depth > _MAX_NESTING:
            message = "serialised values are nested too deeply"
            raise reader.fail(message, at=at)
        if tag == _NULL:
            return None
        if tag == _REFERENCE:
            return self.reference()
        if tag == _CLASS:
            return self.class_description(depth)
        if tag == _STRING:
            text = reader.utf()
            self.known.append(text)
            return text
        if tag == _ENUM:
            self.class_of(depth)
            place = len(self.known)
            self.known.append(None)
            self.known[place] = self.value(depth + 1)
            return self.known[place]
        if tag == _OBJECT:
            return self.object(depth)
        message = f"serialised value of unknown tag {tag}"
        raise reader.fail(message, at=at)

    def reference(self) -> object:
        at = self.reader.pos
        number = self.reader.i32() - _FIRST_REFERENCE
        if not 0 <= number < len(self.known):
            message = f"reference to unknown value {number}"
            raise self.reader.fail(message, at=at)
        return self.known[number]

    def class_of(self, depth: int) -> _Class:
        at = self.reader.pos
        found = self.value(depth + 1)
        if not isinstance(found, _Class):
            message = "no class description where one must be"
            raise self.reader.fail(message, at=at)
        return found

    def class_description(self, depth: int) -> _Class:
        reader = self.reader
        found = _Class(reader.utf())
        reader.i64()  # version of the class
        self.known.append(found)
        found.flags = reader.i8()
        for _ in range(int.from_bytes(reader.take(2, "field count"), "big")):
            at = reader.pos
            code = chr(reader.take(1, "field type")[0])
            name = reader.utf()
            if code in _REFERENCES:
                self.value(depth + 1)  # the name of the field's class
            elif code not in _PRIMITIVES:
                message = f"field of unknown type {code!r}"
                raise reader.fail(message, at=at)
            found.fields.append((code, name))
        self.annotation(depth)
        parent = self.value(depth + 1)
        found.parent = parent if isinstance(parent, _Class) else None
        return found

    def object(self, depth: int) -> _Object:
        start = self.reader.pos
        described = self.class_of(depth)
        found = _Object(described.name)
        self.known.append(found)
        for one in described.lineage():
            if not one.flags & _SERIALIZABLE or one.flags & _EXTERNALIZABLE:
                message = f"object of class {one.name[:80]!r} is not serialised by fields"
                raise self.reader.fail(message, at=start)
            for code, name in one.fields:
                size = _PRIMITIVES.get(code)
                found.fields[name] = (
                    self.value(depth + 1) if size is None else self.reader.take(size, name)
                )
            if one.flags & _WRITE_METHOD:
                self.annotation(depth)
        return found

    def annotation(self, depth: int) -> None:
        """Skip what a class wrote beside its fields."""
        reader = self.reader
        while True:
            tag = reader.take(1, "annotation")[0]
            if tag == _END_BLOCK:
                return
            if tag == _BLOCK:
                reader.take(reader.take(1, "block length")[0], "block")
            else:
                reader.pos -= 1
                self.value(depth + 1)
