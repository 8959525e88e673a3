"""The parts of a Flink `_metadata` file, each with the span of bytes that it was read from.

The layout is that of `org.apache.flink.runtime.checkpoint.metadata.Metadata*Serializer`
(Flink 1.11 and newer). Spans are kept because a savepoint is rewritten by replacing spans,
never by writing the whole file anew: what is not understood stays byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass

from cdc_assets.flink.checkpoint_properties import CheckpointProperties

MAGIC = 0x4960672D
# After magic number and version; 8 bytes, big-endian.
CHECKPOINT_ID_AT = 8
MASTER_STATE_MAGIC = 0xC96B1696 - (1 << 32)  # read as a signed integer
READABLE_VERSIONS = (3, 4, 5, 6)
NAMED_OPERATORS_SINCE = 5
PROPERTIES_SINCE = 4
CHANNEL_KINDS_SINCE = 6

NULL = 0
INLINE = 1
FILE = 2
KEY_GROUPS = 3
RELATIVE_FILE = 6
SEGMENT = 15
EMPTY_SEGMENT = 16

PARTITIONABLE = 4
PARTITIONABLE_SEGMENT = 17

SPLIT_DISTRIBUTE = 0


@dataclass(frozen=True)
class StreamHandle:
    """Where the bytes of one state are: in the file itself, in another file, or nowhere.

    Args:
        kind: The type byte (`NULL`, `INLINE`, `FILE`, ...).
        start: The position of the type byte.
        end: The position after the handle.
        length_at: The position of the length (`INLINE`, i32) or the size (files, i64).
        size: The number of bytes of the state.
        data_start: `INLINE`: where the bytes begin.
        path: The file (`FILE`, `RELATIVE_FILE`, `SEGMENT`), as it is written there.
        segment_start: `SEGMENT`: where in the file the bytes begin.
        inner: `KEY_GROUPS`: the handle inside.
    """

    kind: int
    start: int
    end: int
    length_at: int = -1
    size: int = 0
    data_start: int = -1
    path: str = ""
    segment_start: int = 0
    inner: StreamHandle | None = None

    @property
    def innermost(self) -> StreamHandle:
        """The handle that holds the bytes."""
        return self if self.inner is None else self.inner.innermost


@dataclass(frozen=True)
class NamedState:
    """One named operator state: where its elements begin in the operator-state stream.

    Args:
        name: The state's name.
        mode: How it is redistributed; 0 is `SPLIT_DISTRIBUTE`.
        offsets: Positions of the elements in the stream.
        offsets_at: Where the first of these numbers stands in `_metadata`.
    """

    name: str
    mode: int
    offsets: tuple[int, ...]
    offsets_at: int


@dataclass(frozen=True)
class OperatorStateHandle:
    """The managed or raw operator state of one subtask.

    Args:
        kind: The type byte.
        start: The position of the type byte.
        end: The position after the handle.
        states: The named states.
        stream: Where the operator-state stream is.
    """

    kind: int
    start: int
    end: int
    states: tuple[NamedState, ...] = ()
    stream: StreamHandle | None = None


@dataclass(frozen=True)
class KeyedStateHandle:
    """The keyed state of one subtask; only its extent and its files are of interest.

    Args:
        kind: The type byte.
        start: The position of the type byte.
        end: The position after the handle.
        streams: Every stream handle in it, nested ones included.
    """

    kind: int
    start: int
    end: int
    streams: tuple[StreamHandle, ...] = ()


@dataclass(frozen=True)
class ChannelHandle:
    """In-flight records of an unaligned checkpoint.

    Args:
        start: The position of its first byte.
        end: The position after it.
        stream: Where the records are.
    """

    start: int
    end: int
    stream: StreamHandle


@dataclass(frozen=True)
class SubtaskState:
    """The state of one subtask of an operator.

    Args:
        index: The subtask.
        finished: Whether the subtask had finished; nothing else is stored then.
        managed: Its managed operator state.
        raw: Its raw operator state.
        keyed: Managed and raw keyed state.
        channels: In-flight records, input and output.
    """

    index: int
    finished: bool = False
    managed: OperatorStateHandle | None = None
    raw: OperatorStateHandle | None = None
    keyed: tuple[KeyedStateHandle, ...] = ()
    channels: tuple[ChannelHandle, ...] = ()


@dataclass(frozen=True)
class OperatorState:
    """The state of one operator.

    Args:
        operator_id: 32 hex digits, as Flink prints it.
        name: The operator's name; None before format 5 or when there is none.
        uid: The operator's uid; None before format 5 or when there is none.
        parallelism: Number of subtasks.
        max_parallelism: Number of key groups.
        coordinator: The coordinator's state.
        fully_finished: Whether all subtasks had finished.
        subtasks: The subtasks' states.
    """

    operator_id: str
    name: str | None
    uid: str | None
    parallelism: int
    max_parallelism: int
    coordinator: StreamHandle
    fully_finished: bool = False
    subtasks: tuple[SubtaskState, ...] = ()

    def streams(self) -> tuple[StreamHandle, ...]:
        """Return every stream handle of the operator that holds or names bytes."""
        found = [self.coordinator]
        for subtask in self.subtasks:
            handles = (subtask.managed, subtask.raw)
            found += [one.stream for one in handles if one is not None and one.stream is not None]
            for keyed in subtask.keyed:
                found += keyed.streams
            found += [channel.stream for channel in subtask.channels]
        return tuple(one.innermost for one in found)


@dataclass(frozen=True)
class Metadata:
    """A `_metadata` file.

    Args:
        version: The format version.
        checkpoint_id: The checkpoint's number.
        master_states: How many master-hook states there are.
        operators: The operators.
        properties_at: Where the serialised checkpoint properties begin; -1 before format 4.
        properties: What they say; None before format 4.
    """

    version: int
    checkpoint_id: int
    master_states: int
    operators: tuple[OperatorState, ...]
    properties_at: int = -1
    properties: CheckpointProperties | None = None
