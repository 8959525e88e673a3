"""Read the structure of a `_metadata` file; the states themselves stay unread."""

from __future__ import annotations

from dataclasses import dataclass

from cdc_assets.flink.checkpoint_properties import read_properties
from cdc_assets.flink.metadata_format import (
    CHANNEL_KINDS_SINCE,
    EMPTY_SEGMENT,
    FILE,
    INLINE,
    KEY_GROUPS,
    MAGIC,
    MASTER_STATE_MAGIC,
    NAMED_OPERATORS_SINCE,
    NULL,
    PARTITIONABLE,
    PARTITIONABLE_SEGMENT,
    PROPERTIES_SINCE,
    READABLE_VERSIONS,
    RELATIVE_FILE,
    SEGMENT,
    ChannelHandle,
    KeyedStateHandle,
    Metadata,
    NamedState,
    OperatorState,
    OperatorStateHandle,
    StreamHandle,
    SubtaskState,
)
from cdc_assets.flink.wire import ByteReader

_I64_SIZE = 8
_MAX_NESTING = 8  # Flink writes one level; a deeper one is garbage that would exhaust the stack
_MODES = 3
_KEY_GROUPS_V2, _INCREMENTAL_V2, _CHANGELOG_V2, _CHANGELOG_FILES_V2 = 12, 11, 14, 13
_MERGED_CHANNEL_KINDS = (3, 4)
_CHANNEL_KINDS = (1, 2, *_MERGED_CHANNEL_KINDS)


def read_metadata(data: bytes, *, path: str = "_metadata") -> Metadata:
    """Return the structure of a `_metadata` file.

    Args:
        data: The bytes of the file.
        path: Its name, for the error text.

    Returns:
        The operators and their handles, each with its span in `data`.

    Raises:
        CheckpointUnreadable: The bytes are not understood; it names what and where.
    """
    reader = ByteReader(data, path=path)
    if reader.i32() != MAGIC:
        message = "this is not a checkpoint (wrong magic number)"
        raise reader.fail(message, at=0)
    version = reader.i32()
    if version not in READABLE_VERSIONS:
        message = f"format version {version} is not supported (readable: {READABLE_VERSIONS})"
        raise reader.fail(message, at=4)
    checkpoint_id = reader.i64()
    if checkpoint_id < 0:
        message = f"checkpoint id {checkpoint_id} is negative"
        raise reader.fail(message, at=8)
    master_states = reader.count("master state")
    for _ in range(master_states):
        _skip_master_state(reader)
    parser = _Parser(reader, version)
    operators = tuple(parser.operator() for _ in range(reader.count("operator", item_size=29)))
    if version < PROPERTIES_SINCE:
        reader.expect_end("the operators")
        return Metadata(version, checkpoint_id, master_states, operators)
    properties = read_properties(data, reader.pos, path=path)
    return Metadata(version, checkpoint_id, master_states, operators, reader.pos, properties)


def _skip_master_state(reader: ByteReader) -> None:
    at = reader.pos
    if reader.i32() != MASTER_STATE_MAGIC:
        message = "master state has a wrong magic number"
        raise reader.fail(message, at=at)
    reader.block("master state")


@dataclass
class _Parser:
    """The parts of one operator, read in the order in which Flink writes them."""

    reader: ByteReader
    version: int

    def operator(self) -> OperatorState:
        reader = self.reader
        name = uid = None
        if self.version >= NAMED_OPERATORS_SINCE:
            name, uid = reader.utf() or None, reader.utf() or None
        operator_id = reader.take(16, "operator id").hex()
        parallelism, max_parallelism = reader.i32(), reader.i32()
        coordinator = self.stream()
        at = reader.pos
        subtasks = reader.i32()
        if subtasks == -1:
            return OperatorState(
                operator_id,
                name,
                uid,
                parallelism,
                max_parallelism,
                coordinator,
                fully_finished=True,
            )
        reader.pos = at
        states = tuple(self.subtask() for _ in range(reader.count("subtask", item_size=4)))
        return OperatorState(
            operator_id, name, uid, parallelism, max_parallelism, coordinator, subtasks=states
        )

    def subtask(self) -> SubtaskState:
        reader = self.reader
        index = reader.i32()
        if index < 0:
            return SubtaskState(-index - 1, finished=True)
        managed = self.operator_state() if reader.i32() else None
        raw = self.operator_state() if reader.i32() else None
        keyed = (self.keyed_state(), self.keyed_state())
        channels: list[ChannelHandle] = []
        for direction in ("input channel", "result subpartition"):
            channels += [self.channel() for _ in range(reader.count(direction, item_size=14))]
        return SubtaskState(index, managed=managed, raw=raw, keyed=keyed, channels=tuple(channels))

    def operator_state(self) -> OperatorStateHandle:
        reader = self.reader
        start = reader.pos
        kind = reader.i8()
        if kind == NULL:
            return OperatorStateHandle(kind, start, reader.pos)
        if kind not in (PARTITIONABLE, PARTITIONABLE_SEGMENT):
            message = f"operator state handle of unknown type {kind}"
            raise reader.fail(message, at=start)
        states = tuple(
            self.named_state() for _ in range(reader.count("operator state", item_size=7))
        )
        if kind == PARTITIONABLE_SEGMENT:
            reader.utf()  # directory that the task manager owns
            reader.utf()  # directory that the job shares
            reader.boolean("empty segment flag")
        stream = self.stream()
        return OperatorStateHandle(kind, start, reader.pos, states, stream)

    def named_state(self) -> NamedState:
        reader = self.reader
        name = reader.utf()
        at = reader.pos
        mode = reader.i8()
        if not 0 <= mode < _MODES:
            message = f"operator state of unknown mode {mode}"
            raise reader.fail(message, at=at)
        count = reader.count("operator state offset", item_size=_I64_SIZE)
        offsets_at = reader.pos
        return NamedState(name, mode, reader.i64s(count), offsets_at)

    def stream(self, depth: int = 0) -> StreamHandle:
        reader = self.reader
        start = reader.pos
        kind = reader.i8()
        if kind in (NULL, EMPTY_SEGMENT):
            return StreamHandle(kind, start, reader.pos)
        if kind == INLINE:
            reader.utf()  # a random name
            at = reader.pos
            data_start, end = reader.block("inline state")
            return StreamHandle(kind, start, end, at, end - data_start, data_start)
        if kind == FILE:
            at, size = reader.pos, self.size()
            return StreamHandle(
                kind, start, length_at=at, size=size, path=reader.utf(), end=reader.pos
            )
        if kind == RELATIVE_FILE:
            path, at, size = reader.utf(), reader.pos, self.size()
            return StreamHandle(kind, start, reader.pos, at, size, path=path)
        if kind == SEGMENT:
            return self.segment(start)
        if kind == KEY_GROUPS and depth < _MAX_NESTING:
            self.key_groups()
            inner = self.stream(depth + 1)
            return StreamHandle(kind, start, reader.pos, inner=inner)
        message = f"state handle of unknown type {kind}"
        raise reader.fail(message, at=start)

    def size(self) -> int:
        at = self.reader.pos
        size = self.reader.i64()
        if size < 0:
            message = f"state of negative size {size}"
            raise self.reader.fail(message, at=at)
        return size

    def segment(self, start: int) -> StreamHandle:
        reader = self.reader
        segment_start, at = self.size(), reader.pos
        size = self.size()
        reader.i32()  # scope
        path = reader.utf()
        reader.utf()  # logical id
        return StreamHandle(
            SEGMENT, start, reader.pos, at, size, path=path, segment_start=segment_start
        )

    def key_groups(self) -> None:
        reader = self.reader
        reader.i32()  # first key group
        reader.i64s(reader.count("key group", item_size=_I64_SIZE))

    def keyed_state(self, depth: int = 0) -> KeyedStateHandle:
        reader = self.reader
        start = reader.pos
        kind = reader.i8()
        if kind == NULL:
            return KeyedStateHandle(kind, start, reader.pos)
        read = {
            3: self.keyed_groups,
            7: self.keyed_groups,
            _KEY_GROUPS_V2: self.keyed_groups,
            5: self.incremental,
            _INCREMENTAL_V2: self.incremental,
            9: self.changelog_bytes,
            10: self.changelog_files,
            _CHANGELOG_FILES_V2: self.changelog_files,
        }.get(kind)
        if read is not None:
            return KeyedStateHandle(kind, start, streams=read(kind), end=reader.pos)
        if kind in (8, _CHANGELOG_V2) and depth < _MAX_NESTING:
            return KeyedStateHandle(
                kind, start, streams=self.changelog(kind, depth), end=reader.pos
            )
        message = f"keyed state handle of unknown type {kind}"
        raise reader.fail(message, at=start)

    def keyed_groups(self, kind: int) -> tuple[StreamHandle, ...]:
        self.key_groups()
        stream = self.stream()
        if kind == _KEY_GROUPS_V2:
            self.reader.utf()  # handle id
        return (stream,)

    def incremental(self, kind: int) -> tuple[StreamHandle, ...]:
        reader = self.reader
        reader.i64()  # checkpoint id
        reader.utf()  # backend id
        reader.i32()  # first key group
        reader.i32()  # number of key groups
        if kind == _INCREMENTAL_V2:
            reader.i64()  # checkpointed size
        streams = [self.stream()]
        for owner in ("shared", "private"):
            for _ in range(reader.count(f"{owner} state", item_size=3)):
                reader.utf()  # local path
                streams.append(self.stream())
        if kind == _INCREMENTAL_V2:
            reader.utf()  # handle id
        return tuple(streams)

    def changelog(self, kind: int, depth: int) -> tuple[StreamHandle, ...]:
        reader = self.reader
        reader.i32()  # first key group
        reader.i32()  # number of key groups
        reader.i64()  # checkpointed size
        streams: list[StreamHandle] = []
        for part in ("materialised state", "changelog"):
            for _ in range(reader.count(part)):
                streams += self.keyed_state(depth + 1).streams
        reader.i64()  # materialisation id
        if kind == _CHANGELOG_V2:
            reader.i64()  # checkpoint id
        reader.utf()  # handle id
        return tuple(streams)

    def changelog_bytes(self, _kind: int) -> tuple[StreamHandle, ...]:
        reader = self.reader
        reader.i32()  # first key group
        reader.i32()  # number of key groups
        reader.i64()  # from
        reader.i64()  # to
        for _ in range(reader.count("change", item_size=8)):
            reader.i32()  # key group
            reader.block("change")
        reader.utf()  # handle id
        return ()

    def changelog_files(self, kind: int) -> tuple[StreamHandle, ...]:
        reader = self.reader
        reader.i32()  # first key group
        reader.i32()  # number of key groups
        streams: list[StreamHandle] = []
        for _ in range(reader.count("changelog file", item_size=9)):
            reader.i64()  # offset
            streams.append(self.stream())
        reader.i64()  # size
        reader.i64()  # checkpointed size
        reader.utf()  # handle id
        if kind == _CHANGELOG_FILES_V2:
            reader.utf()  # storage id
        return tuple(streams)

    def channel(self) -> ChannelHandle:
        reader = self.reader
        start = reader.pos
        kind = reader.i8() if self.version >= CHANNEL_KINDS_SINCE else 1
        if kind not in _CHANNEL_KINDS:
            message = f"channel state handle of unknown type {kind}"
            raise reader.fail(message, at=start)
        reader.i32()  # subtask
        if kind in _MERGED_CHANNEL_KINDS:
            reader.i64()  # size
            stream = self.stream()
            reader.block("channel offsets")
            return ChannelHandle(start, reader.pos, stream)
        reader.i32()  # gate or partition
        reader.i32()  # channel or subpartition
        reader.i64s(reader.count("channel offset", item_size=_I64_SIZE))
        reader.i64()  # size
        return ChannelHandle(start, stream=self.stream(), end=reader.pos)
