"""How far a job that reads topics has read each partition, by a checkpoint of it."""

from __future__ import annotations

from collections.abc import Mapping

from cdc_assets.flink.checkpoint_parser import reader_state
from cdc_assets.flink.metadata_reader import read_metadata
from cdc_assets.flink.operator_stream import read_frames
from cdc_assets.flink.state_files import METADATA_NAME, StateFiles, load_file, local_path
from cdc_assets.flink.wire import ByteReader

# Of `KafkaPartitionSplitSerializer`.
_SPLIT_VERSION = 0


def read_topic_offsets(path: str, topic: str) -> Mapping[int, int]:
    """Return the next offset that is read by partition; negative before the first record.

    Where a topic has several readers in the job, the one that has read least counts.

    Args:
        path: Of the checkpoint's folder, as Flink prints it.
        topic: The topic's whole name.

    Raises:
        CheckpointUnreadable: It is missing, or its bytes are not understood.
    """
    file = local_path(path) / METADATA_NAME
    files = StateFiles(load_file(file), file.parent, path=str(file))
    found: dict[int, int] = {}
    for operator in read_metadata(files.metadata, path=files.path).operators:
        for subtask in operator.subtasks:
            state = reader_state(subtask.managed)
            if subtask.managed is None or subtask.managed.stream is None or state is None:
                continue
            what = f"source {operator.operator_id} subtask {subtask.index}"
            data = files.bytes_of(subtask.managed.stream, what)
            if data is None:
                continue
            named = f"{files.path} ({what})"
            for frame in read_frames(data, state, path=named):
                reader = ByteReader(data, path=named, start=frame.start, end=frame.end)
                name, partition, offset = _split(reader, frame.version)
                if name == topic:
                    found[partition] = min(offset, found.get(partition, offset))
    return found


def _split(reader: ByteReader, version: int) -> tuple[str, int, int]:
    if version != _SPLIT_VERSION:
        message = f"Kafka split of version {version} is not supported"
        raise reader.fail(message)
    topic, partition = reader.utf(), reader.i32()
    offset, _ = reader.i64(), reader.i64()
    reader.expect_end("the split")
    return topic, partition, offset
