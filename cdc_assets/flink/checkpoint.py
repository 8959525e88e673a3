"""What a checkpoint or savepoint says about the MySQL sources in it."""

from __future__ import annotations

from pathlib import Path

from cdc_assets.flink.checkpoint_parser import parse_checkpoint, parse_files
from cdc_assets.flink.checkpoint_properties import SnapshotKind
from cdc_assets.flink.enumerator_format import AssignerKind, AssignerStatus, SnapshotProgress
from cdc_assets.flink.source_state import (
    BinlogSplitState,
    CheckpointState,
    OperatorSummary,
    SourceState,
    Watermark,
)
from cdc_assets.flink.split_format import BinlogOffset, OffsetKind
from cdc_assets.flink.state_files import Load, StateFiles, load_file, local_path

__all__ = [
    "AssignerKind",
    "AssignerStatus",
    "BinlogOffset",
    "BinlogSplitState",
    "CheckpointState",
    "OffsetKind",
    "OperatorSummary",
    "SnapshotKind",
    "SnapshotProgress",
    "SourceState",
    "Watermark",
    "local_path",
    "parse_metadata",
    "read_checkpoint",
]


def read_checkpoint(directory_or_file: Path, *, reads_binlog: bool = True) -> CheckpointState:
    """Read a checkpoint or savepoint.

    Args:
        directory_or_file: Its directory, or the `_metadata` file in it. Use `local_path` for
            what Flink's REST API calls `external_path`.
        reads_binlog: False for a job with other sources than MySQL, which are left out.

    Raises:
        CheckpointUnreadable: It is missing, or its bytes are not understood.
    """
    return parse_checkpoint(directory_or_file, reads_binlog=reads_binlog).state


def parse_metadata(
    data: bytes, directory: Path | None = None, load: Load = load_file
) -> CheckpointState:
    """Read a checkpoint from the bytes of its `_metadata`.

    Args:
        data: The bytes.
        directory: Where relative state files are.
        load: Reads a state file.

    Raises:
        CheckpointUnreadable: The bytes are not understood.
    """
    return parse_files(StateFiles(data, directory, load)).state
