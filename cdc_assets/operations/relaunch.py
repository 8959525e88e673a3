"""Relaunch: drain old blue to its end, then go on at the coordinates on green."""

from __future__ import annotations

from cdc_assets.core.position import Coordinates, Position
from cdc_assets.errors import IdentityMismatch, RecoveryBlocked
from cdc_assets.operations.drain import Drained, drain
from cdc_assets.operations.go_on import go_on
from cdc_assets.operations.journal import Detail, Journal
from cdc_assets.operations.launch import Start
from cdc_assets.operations.positions import anchor_of
from cdc_assets.operations.resume import stop_broken
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.ports import IncarnationRow, Server


def relaunch(
    rt: StreamRuntime, journal: Journal, decided: Detail, broken: IncarnationRow
) -> IncarnationRow:
    """Go on at the coordinates of the event, after everything of old blue was delivered.

    Args:
        rt: The stream.
        journal: Of the recovery.
        decided: Detail of the recorded decision.
        broken: The incarnation that broke.

    Raises:
        IdentityMismatch: The endpoint is not the green of the event.
        RecoveryBlocked: A person must look.
    """
    coordinates = Coordinates(str(decided["file"]), int(str(decided["pos"])))
    old = Server(str(decided["old_host"]), int(str(decided["old_port"])))
    green = _prove_green(rt, journal, coordinates, broken)
    stopped = stop_broken(rt, journal, broken)
    drained = drain(rt, journal, broken, str(stopped["path"]), old)
    if decided["form"] == "specific-offset":
        _refuse_unusable(rt, drained)
        start = Start(rt.source.endpoint, expected=green, coordinates=coordinates)
    else:
        made = journal.once("transplanted", lambda: _transplant(rt, journal, drained, coordinates))
        start = Start(rt.source.endpoint, expected=green, restore_path=str(made["path"]))
    return go_on(rt, journal, lambda: start)


def _prove_green(
    rt: StreamRuntime, journal: Journal, coordinates: Coordinates, broken: IncarnationRow
) -> Position:
    """Record which server holds the coordinates, so that every later launch finds the same one."""
    endpoint = rt.source.endpoint

    def action() -> dict[str, object]:
        identity = rt.source.identity(endpoint)
        birth = rt.source.birth(endpoint, coordinates.file)
        anchor = anchor_of(rt, broken.number)
        view = rt.source.view(endpoint, file=anchor.coordinates.file if anchor else None)
        held = view.binlogs
        if birth is None or held is None or not held.covers(coordinates.file, coordinates.pos):
            raise IdentityMismatch(
                f"stream {rt.name!r}: {endpoint} does not hold {coordinates}",
                hint="It is not the green of the event; nothing was started",
            )
        return {"host": endpoint.host, "port": endpoint.port, "server": identity.label(),
                "created_at": birth.created_at, "birth_server_id": birth.server_id}  # fmt: skip

    proved = journal.once("green proved", action)
    identity = rt.source.identity(endpoint)
    birth = rt.source.birth(endpoint, coordinates.file)
    known = (proved["server"], proved["created_at"], proved["birth_server_id"])
    if birth is None or (identity.label(), birth.created_at, birth.server_id) != known:
        raise IdentityMismatch(
            f"stream {rt.name!r}: {endpoint} is {identity.label()} now, it was {proved['server']}",
            hint="The endpoint moved again during the recovery; nothing was started",
        )
    return Position(coordinates, identity, birth)


def _refuse_unusable(rt: StreamRuntime, drained: Drained) -> None:
    state = rt.engine.read_state(drained.path)
    for split in state.splits:
        if not split.usable_without_state:
            raise RecoveryBlocked(
                f"stream {rt.name!r}: {drained.path} cannot be left for a start at coordinates: "
                f"{split.reason}",
                hint="Materialize the snapshot again",
            )


def _transplant(
    rt: StreamRuntime, journal: Journal, drained: Drained, coordinates: Coordinates
) -> dict[str, object]:
    name = f"transplant-{journal.recovery.replace(':', '-')}"
    state = rt.engine.transplant(
        drained.path, name=name, coordinates=coordinates, drained=drained.coordinates
    )
    return {"path": state.path, "original": drained.path, "coordinates": str(coordinates)}
