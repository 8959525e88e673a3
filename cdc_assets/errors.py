"""Every error of the package, in one tree.

    CdcError
    ├── ConfigurationError        a value that a person wrote is not usable
    │   ├── PreflightFailed       the source, target or stream is not ready
    │   └── UnsupportedType       a column that the stream cannot carry
    ├── UnreadablePosition        recorded state cannot be understood
    │   ├── CheckpointUnreadable  a checkpoint's `_metadata` cannot be parsed
    │   └── LedgerUnreadable      the ledger is corrupt or belongs to something else
    ├── LedgerUnreachable         the ledger's database is busy, full or does not answer
    ├── TransplantRefused         a savepoint that must not be rewritten
    ├── FenceTaken                another launcher opened this incarnation
    ├── Superseded                a newer worker took the recovery over
    ├── IdentityMismatch          the server is not the one that the position is about
    ├── RecoveryBlocked           a recovery cannot go on by itself
    ├── EngineError               Flink said no, or said nothing
    │   ├── EngineUnreachable
    │   ├── EngineRejected
    │   │   └── JobExists         a job of this id was submitted before
    │   └── SavepointFailed
    ├── SourceError               a MySQL server said no, or said nothing
    │   ├── SourceUnreachable
    │   └── SourceDenied
    ├── TargetError
    │   └── TargetUnreachable
    ├── EventFeedError            RDS said no, or said something garbled
    │   ├── EventFeedUnreachable
    │   └── EventGarbled
    ├── ProofFailed               source and target differ after a demonstration
    └── LabError                  the embedded lab
        ├── DownloadFailed
        ├── ServiceFailed
        └── PlatformUnsupported

An error states what happened, to what, and the next step (`hint`).
`recoverability` says whether a machine may try again by itself.
"""

from __future__ import annotations

from typing import Literal

Recoverability = Literal["TRANSIENT", "RESUMABLE", "NEEDS_SNAPSHOT", "NEEDS_HUMAN"]


class CdcError(Exception):
    """Base of every error that the package raises on purpose.

    Args:
        message: What happened, and to what. One line, no secret.
        hint: The next step for a person.
    """

    recoverability: Recoverability = "NEEDS_HUMAN"
    # What the command line exits with: 2 says that nothing was started or changed.
    exit_code: int = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return the message and, after it, the hint; always one line."""
        text = f"{self.message}. {self.hint}" if self.hint else self.message
        return " ".join(text.split())


class ConfigurationError(CdcError):
    """A value that a person wrote is not usable.

    Args:
        message: What is wrong with the value.
        field: The setting, by its dotted name.
        value: The value, unless it is a secret.
        file: The file that holds the setting, if there is one.
        hint: The next step.
    """

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        value: object = None,
        file: str = "",
        hint: str = "",
    ) -> None:
        place = ": ".join(part for part in (file, field) if part)
        shown = "" if value is None else f" (got {value!r})"
        super().__init__(f"{place}: {message}{shown}" if place else f"{message}{shown}", hint=hint)
        self.field = field
        self.value = value
        self.file = file


class PreflightFailed(ConfigurationError):
    """The source, the target or the stream is not ready to be launched."""


class UnsupportedType(ConfigurationError):
    """A column whose type the stream cannot carry.

    Args:
        table: `database.table`.
        column: The column.
        column_type: The type as the server spells it.
        reason: Why it cannot be carried.
    """

    def __init__(self, table: str, column: str, column_type: str, reason: str) -> None:
        super().__init__(
            f"type {column_type} cannot be carried: {reason}",
            field=f"{table}.{column}",
            hint="Leave the column out with 'exclude_columns', or change its type",
        )
        self.table = table
        self.column = column
        self.column_type = column_type
        self.reason = reason


class UnreadablePosition(CdcError):
    """Recorded state cannot be understood, so nothing is started from it."""


class CheckpointUnreadable(UnreadablePosition):
    """A checkpoint's `_metadata` cannot be parsed.

    Args:
        message: What was found.
        path: The file.
        at: The byte position, -1 when it is not known.
    """

    def __init__(self, message: str, *, path: str = "", at: int = -1, hint: str = "") -> None:
        where = f"{path or '_metadata'}" + (f" at byte {at}" if at >= 0 else "")
        super().__init__(
            f"{where}: {message}",
            hint=hint or "Use an older retained checkpoint, or take a new snapshot",
        )
        self.path = path
        self.at = at


class LedgerUnreadable(UnreadablePosition):
    """The ledger is corrupt, or belongs to something else."""


class LedgerUnreachable(CdcError):
    """The ledger's database is busy, full or does not answer; what it holds is not in doubt."""

    recoverability: Recoverability = "TRANSIENT"


class TransplantRefused(CdcError):
    """A savepoint is not understood well enough to be rewritten."""


class FenceTaken(CdcError):
    """Another launcher opened this incarnation first."""

    recoverability: Recoverability = "RESUMABLE"

    def __init__(self, stream: str, incarnation: int) -> None:
        super().__init__(
            f"stream {stream!r}: incarnation {incarnation} is already open",
            hint="Another launcher is at work; look at 'cdc-assets positions'",
        )
        self.stream = stream
        self.incarnation = incarnation


class Superseded(CdcError):
    """A newer worker took the recovery over, so this one stops where it is."""

    recoverability: Recoverability = "RESUMABLE"


class IdentityMismatch(CdcError):
    """The server is not the one that the position is about."""


class RecoveryBlocked(CdcError):
    """A recovery cannot go on by itself."""

    exit_code: int = 1


class EngineError(CdcError):
    """Flink said no, or said nothing."""


class EngineUnreachable(EngineError):
    """Flink did not answer in time, or not in its own protocol."""

    recoverability: Recoverability = "TRANSIENT"


class EngineRejected(EngineError):
    """Flink refused a request.

    Args:
        message: What was refused and why (the innermost cause).
        status: HTTP status, 0 when it is not known.
        hint: The next step.
    """

    def __init__(self, message: str, *, status: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class JobExists(EngineRejected):
    """A job of this id was submitted before; Flink does not start it a second time.

    It may run, or be over for a long time: Flink refuses the id in both cases.
    """

    recoverability: Recoverability = "RESUMABLE"


class SavepointFailed(EngineError):
    """A stop or a savepoint ended with a failure cause."""

    exit_code: int = 1

    recoverability: Recoverability = "RESUMABLE"


class SourceError(CdcError):
    """A MySQL server said no, or said nothing."""


class SourceUnreachable(SourceError):
    """A MySQL server did not answer in time."""

    recoverability: Recoverability = "TRANSIENT"


class SourceDenied(SourceError):
    """A MySQL server refused the account or a statement."""


class TargetError(CdcError):
    """A target said no, or said nothing."""


class TargetUnreachable(TargetError):
    """A target did not answer in time."""

    recoverability: Recoverability = "TRANSIENT"


class EventFeedError(CdcError):
    """RDS said no, or said something garbled."""


class EventFeedUnreachable(EventFeedError):
    """The RDS API did not answer in time."""

    recoverability: Recoverability = "TRANSIENT"


class EventGarbled(EventFeedError):
    """An event text that should name coordinates cannot be read."""


class ProofFailed(CdcError):
    """Source and target differ after a demonstration."""

    exit_code: int = 1


class LabError(CdcError):
    """The embedded lab could not do what was asked."""


class DownloadFailed(LabError):
    """A package could not be fetched, or is not the one that was locked."""


class ServiceFailed(LabError):
    """A lab service did not start, or died."""


class PlatformUnsupported(LabError):
    """The lab does not run on this platform."""
