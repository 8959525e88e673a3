"""StreamRuntime: a stream's description with the ports that act for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from cdc_assets.core.recovery import Policy
from cdc_assets.core.stream import StreamSpec
from cdc_assets.ports import Clock, EventFeed, Ledger, Source, StreamEngine, Target


@dataclass(frozen=True)
class Budgets:
    """How long each wait may last, in seconds; every loop has one.

    Attributes:
        launch_seconds: Submission to RUNNING with a binlog connection.
        checkpoint_seconds: One checkpoint.
        stop_seconds: One stop with savepoint.
        snapshot_seconds: The whole snapshot phase.
        drain_seconds: Reading old blue to its end.
        switchover_seconds: From the first sign of a switchover to a decision: RDS rolls a
            switchover back after 3600 s at most (rds.md section 5).
        reconcile_seconds: One table.
        silence_seconds: A recovery waits this long for a system that does not answer.
        poll_seconds: Between two looks.
        attempts: Launches of one recovery step before a person is asked.
    """

    launch_seconds: float = 120.0
    checkpoint_seconds: float = 60.0
    stop_seconds: float = 120.0
    snapshot_seconds: float = 86_400.0
    drain_seconds: float = 3_600.0
    switchover_seconds: float = 4_500.0
    reconcile_seconds: float = 120.0
    silence_seconds: float = 900.0
    poll_seconds: float = 0.5
    attempts: int = 5


@dataclass(frozen=True)
class StreamRuntime:
    """Everything that an operation on one stream needs.

    Attributes:
        only: Label of the one table that a catch-up writes, empty for the stream itself.
    """

    spec: StreamSpec
    engine: StreamEngine
    source: Source
    target: Target
    ledger: Ledger
    clock: Clock
    feed: EventFeed | None = None
    policy: Policy = field(default_factory=Policy)
    budgets: Budgets = field(default_factory=Budgets)
    only: str = ""

    @property
    def name(self) -> str:
        """Return the stream's name."""
        return self.spec.name
