"""Row values to column values and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Final, cast

from cdc_assets.core.gtid import GtidSet
from cdc_assets.core.observation import DeploymentStatus
from cdc_assets.core.position import Coordinates, Position
from cdc_assets.core.source import FileBirth, Flavor, SourceIdentity
from cdc_assets.core.stream import IncarnationKind
from cdc_assets.errors import ConfigurationError
from cdc_assets.ledger.schema import NAME_LENGTH, RECOVERY_LENGTH, STREAM_LENGTH
from cdc_assets.ports import (
    DecisionRow,
    DeploymentRow,
    EventRow,
    IncarnationRow,
    PollRow,
    PositionRow,
    ReconciliationRow,
    StepRow,
    Verdict,
)

Columns = dict[str, object]
Found = Mapping[str, object]

# MySQL cuts off what is too long when its SQL mode is not strict, and SQLite keeps it; a key must
# mean the same everywhere.
_LIMITS: Final = {
    "stream": STREAM_LENGTH,
    "recovery": RECOVERY_LENGTH,
    "feed": 128,
    "deployment_id": 128,
    "step": 64,
    "job_id": 64,
    "source_id": NAME_LENGTH,
    "host": NAME_LENGTH,
    "source_table": NAME_LENGTH,
    "target_table": NAME_LENGTH,
}


def checked(columns: Columns) -> Columns:
    """Return the columns, refusing a key that a server would cut off.

    Raises:
        ConfigurationError: A value is too long.
    """
    for name, limit in _LIMITS.items():
        value = columns.get(name)
        if isinstance(value, str) and len(value) > limit:
            raise ConfigurationError(
                f"is longer than the {limit} characters that the ledger keeps",
                field=name,
                value=f"{value[:40]}...",
            )
    return columns


def digest(*parts: str) -> str:
    """Return one key of fixed length for several texts."""
    joined = "\x00".join(parts)
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True)


def _text(found: Found, name: str) -> str:
    return cast("str", found[name])


def _number(found: Found, name: str) -> int:
    return int(cast("int", found[name]))


def _maybe_text(found: Found, name: str) -> str | None:
    return cast("str | None", found[name])


def _maybe_number(found: Found, name: str) -> int | None:
    value = cast("int | None", found[name])
    return None if value is None else int(value)


def _time(found: Found, name: str) -> datetime:
    return cast("datetime", found[name])


def _moment(at: datetime | None, now: datetime) -> datetime:
    moment = now if at is None else at
    if moment.tzinfo is None:
        message = f"{moment!r} has no time zone"
        raise ValueError(message)
    return moment.astimezone(timezone.utc)


def _detail(found: Found) -> dict[str, object]:
    value: object = json.loads(_text(found, "detail"))
    if not isinstance(value, dict):
        message = "detail is not an object"
        raise TypeError(message)
    return cast("dict[str, object]", value)


def _identity_columns(identity: SourceIdentity) -> Columns:
    return {
        "flavor": identity.flavor,
        "version": identity.version,
        "server_id": identity.server_id,
        "server_uuid": identity.server_uuid,
        "resource_id": identity.resource_id,
    }


def _identity(found: Found) -> SourceIdentity:
    return SourceIdentity(
        cast("Flavor", _text(found, "flavor")),
        _text(found, "version"),
        _number(found, "server_id"),
        _maybe_text(found, "server_uuid"),
        _maybe_text(found, "resource_id"),
    )


def incarnation_columns(row: IncarnationRow, now: datetime) -> Columns:
    """Return the columns of an incarnation."""
    return {
        "stream": row.stream,
        "number": row.number,
        "job_id": row.job_id,
        "kind": row.kind,
        "host": row.host,
        "port": row.port,
        **_identity_columns(row.identity),
        "restored_from": row.restored_from,
        "sql_text": row.sql,
        "recovery": row.recovery,
        "opened_at": _moment(row.opened_at, now),
    }


def incarnation(found: Found) -> IncarnationRow:
    """Read an incarnation."""
    return IncarnationRow(
        stream=_text(found, "stream"),
        number=_number(found, "number"),
        job_id=_text(found, "job_id"),
        kind=cast("IncarnationKind", _text(found, "kind")),
        host=_text(found, "host"),
        port=_number(found, "port"),
        identity=_identity(found),
        restored_from=_text(found, "restored_from"),
        sql=_text(found, "sql_text"),
        recovery=_text(found, "recovery"),
        opened_at=_time(found, "opened_at"),
    )


def position_columns(row: PositionRow, now: datetime) -> Columns:
    """Return the columns of a position."""
    position, birth = row.position, row.position.birth
    return {
        "stream": row.stream,
        "incarnation": row.incarnation,
        "checkpoint_id": row.checkpoint_id,
        "path": row.path,
        "tables": row.tables,
        "savepoint": row.savepoint,
        "file": position.coordinates.file,
        "pos": position.coordinates.pos,
        "gtid_set": None if position.gtid_set is None else position.gtid_set.format(),
        "skip_events": position.skip_events,
        "skip_rows": position.skip_rows,
        **_identity_columns(position.identity),
        "birth_file": birth.file if birth else None,
        "birth_created_at": birth.created_at if birth else None,
        "birth_server_id": birth.server_id if birth else None,
        "observed_at": _moment(row.observed_at, now),
        "digest": digest(row.path, row.tables),
    }


def position(found: Found) -> PositionRow:
    """Read a position."""
    gtids = _maybe_text(found, "gtid_set")
    birth_file = _maybe_text(found, "birth_file")
    birth = (
        FileBirth(birth_file, _number(found, "birth_created_at"), _number(found, "birth_server_id"))
        if birth_file is not None
        else None
    )
    return PositionRow(
        stream=_text(found, "stream"),
        incarnation=_number(found, "incarnation"),
        checkpoint_id=_number(found, "checkpoint_id"),
        path=_text(found, "path"),
        tables=_text(found, "tables"),
        position=Position(
            coordinates=Coordinates(_text(found, "file"), _number(found, "pos")),
            identity=_identity(found),
            birth=birth,
            gtid_set=None if gtids is None else GtidSet.parse(gtids),
            skip_events=_number(found, "skip_events"),
            skip_rows=_number(found, "skip_rows"),
        ),
        savepoint=bool(found["savepoint"]),
        observed_at=_time(found, "observed_at"),
    )


def step_columns(row: StepRow, now: datetime) -> Columns:
    """Return the columns of a step."""
    return {
        "stream": row.stream,
        "recovery": row.recovery,
        "seq": row.seq,
        "step": row.step,
        "detail": _json(dict(row.detail)),
        "at": _moment(row.at, now),
    }


def step(found: Found) -> StepRow:
    """Read a step."""
    return StepRow(
        _text(found, "stream"),
        _text(found, "recovery"),
        _number(found, "seq"),
        _text(found, "step"),
        _detail(found),
        _time(found, "at"),
    )


def decision_columns(row: DecisionRow, now: datetime) -> Columns:
    """Return the columns of a decision."""
    return {
        "stream": row.stream,
        "incarnation": row.incarnation,
        "kind": row.kind,
        "reason": row.reason,
        "detail": _json(dict(row.detail)),
        "at": _moment(row.at, now),
    }


def decision(found: Found) -> DecisionRow:
    """Read a decision."""
    return DecisionRow(
        _text(found, "stream"),
        _number(found, "incarnation"),
        _text(found, "kind"),
        _text(found, "reason"),
        _detail(found),
        _time(found, "at"),
    )


def reconciliation_columns(row: ReconciliationRow, now: datetime) -> Columns:
    """Return the columns of a verdict."""
    return {
        "stream": row.stream,
        "source_table": row.table,
        "target_table": row.target_table,
        "verdict": row.verdict,
        "method": row.method,
        "source_count": row.source_count,
        "target_count": row.target_count,
        "reason": row.reason,
        "recovery": row.recovery,
        "at": _moment(row.at, now),
    }


def reconciliation(found: Found) -> ReconciliationRow:
    """Read a verdict."""
    return ReconciliationRow(
        stream=_text(found, "stream"),
        table=_text(found, "source_table"),
        target_table=_text(found, "target_table"),
        verdict=cast("Verdict", _text(found, "verdict")),
        method=_text(found, "method"),
        source_count=_maybe_number(found, "source_count"),
        target_count=_maybe_number(found, "target_count"),
        reason=_text(found, "reason"),
        recovery=_text(found, "recovery"),
        at=_time(found, "at"),
    )


def event_columns(row: EventRow, now: datetime) -> Columns:
    """Return the columns of an event."""
    return {
        "source_id": row.source_id,
        "source_type": row.source_type,
        "date": _moment(row.date, now),
        "message": row.message,
        "first_seen": _moment(row.first_seen, now),
        "digest": digest(row.source_id, _moment(row.date, now).isoformat(), row.message),
    }


def event(found: Found) -> EventRow:
    """Read an event."""
    return EventRow(
        _text(found, "source_id"),
        _text(found, "source_type"),
        _time(found, "date"),
        _text(found, "message"),
        _time(found, "first_seen"),
    )


def deployment_columns(row: DeploymentRow, now: datetime) -> Columns:
    """Return the columns of a deployment."""
    return {
        "deployment_id": row.deployment_id,
        "status": row.status,
        "source": row.source,
        "target": row.target,
        "created_at": _moment(row.created_at, now),
        "name": row.name,
        "members": _json(row.members),
        "source_resource_id": row.source_resource_id,
        "target_resource_id": row.target_resource_id,
        "seen_at": _moment(row.seen_at, now),
    }


def deployment(found: Found) -> DeploymentRow:
    """Read a deployment."""
    pairs = cast("list[list[str]]", json.loads(_text(found, "members")))
    return DeploymentRow(
        deployment_id=_text(found, "deployment_id"),
        status=cast("DeploymentStatus", _text(found, "status")),
        source=_text(found, "source"),
        target=_text(found, "target"),
        created_at=_time(found, "created_at"),
        name=_text(found, "name"),
        members=tuple((blue, green) for blue, green in pairs),
        source_resource_id=_text(found, "source_resource_id"),
        target_resource_id=_text(found, "target_resource_id"),
        seen_at=_time(found, "seen_at"),
    )


def poll(found: Found) -> PollRow:
    """Read a stretch of time."""
    return PollRow(_text(found, "feed"), _time(found, "since"), _time(found, "until"))


def poll_columns(row: PollRow) -> Columns:
    """Return the columns of a stretch of time."""
    return {
        "feed": row.feed,
        "since": _moment(row.since, row.since),
        "until": _moment(row.until, row.until),
    }
