"""FakeState and FakeJob: what a fake checkpoint holds, and what a fake job manager knows."""

from __future__ import annotations

from dataclasses import dataclass, field

from cdc_assets.core.observation import FailureClass, JobState
from cdc_assets.ports import Launch, StateView
from cdc_assets.testing.reader import BinlogReader
from cdc_assets.testing.source import FakeServer


@dataclass(frozen=True)
class FakeState:
    """What a checkpoint or savepoint holds: positions, and the counts of stateful queries."""

    path: str
    checkpoint_id: int
    job_id: str
    readers: tuple[BinlogReader, ...]
    counts: tuple[tuple[str, int], ...]
    snapshot_running: bool
    savepoint: bool

    def view(self) -> StateView:
        """Return it as the port wants it."""
        done = 0 if self.snapshot_running else len(self.readers)
        return StateView(
            self.path,
            self.checkpoint_id,
            tuple(reader.split(finished=not self.snapshot_running) for reader in self.readers),
            self.snapshot_running,
            splits_done=done,
            splits_total=len(self.readers),
        )


@dataclass
class FakeJob:
    """One job, as the job manager knows it."""

    launch: Launch
    state: JobState = "RUNNING"
    readers: list[BinlogReader] = field(default_factory=list[BinlogReader])
    counts: dict[str, int] = field(default_factory=dict[str, int])
    server: FakeServer | None = None
    snapshot_left: int = 0
    failure: str = ""
    failure_class: FailureClass = ""
    restarts: int = 0
    rows_out: int = 0
    checkpoints: int = 0
    checkpointed_at: float = 0.0
    savepoints: dict[str, str] = field(default_factory=dict[str, str])
