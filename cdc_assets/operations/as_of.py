"""AsOf: which version of a target table holds everything up to a binlog position, and no more."""

from __future__ import annotations

from cdc_assets.core.gtid import GtidSet
from cdc_assets.core.position import Coordinates, Position
from cdc_assets.core.table_refs import ShardedTable, TableRef
from cdc_assets.core.table_versions import AsOf, SeenPosition, version_as_of
from cdc_assets.errors import ConfigurationError, RecoveryBlocked, UnreadablePosition
from cdc_assets.operations.runtime import StreamRuntime
from cdc_assets.ports import IncarnationRow, PositionRow, VersionedTarget

# A position each half a minute for two months.
_ROWS = 200_000


def table_as_of(rt: StreamRuntime, table: TableRef, wanted: Position) -> AsOf:
    """Return the newest version of a table's copy that holds nothing after a binlog position.

    Args:
        rt: The stream.
        table: The captured table, or the shards, of which the target table is a copy.
        wanted: The binlog position.

    Raises:
        ConfigurationError: The target keeps no versions.
        RecoveryBlocked: No version is proved to be it.
    """
    target = rt.target
    if not isinstance(target, VersionedTarget):
        raise ConfigurationError(
            "keeps no versions of its tables", field="target", value=rt.spec.target_kind
        )
    numbers = {row.job_id: row.number for row in rt.ledger.incarnations(rt.name)}
    seen = [
        SeenPosition(row.incarnation, row.checkpoint_id, row.position)
        for row in rt.ledger.positions(rt.name, limit=_ROWS)
        if _is_about(row, table)
    ]
    found = version_as_of(target.versions(table.target_name), numbers, seen, wanted)
    if found is None:
        raise RecoveryBlocked(
            f"stream {rt.name!r}: no version of {table.target_name} is proved to hold nothing "
            f"after {wanted}",
            hint="The ledger's oldest position is later, or the versions are expired",
        )
    return found


def position_at(rt: StreamRuntime, text: str, *, incarnation: int | None = None) -> Position:
    """Return the position that a person means by `file:offset` or by a GTID set.

    A file and an offset are about the server that an incarnation reads.

    Args:
        rt: The stream.
        text: `mysql-bin.000012:4711`, or a GTID set.
        incarnation: Default the newest one.

    Raises:
        ConfigurationError: The text is neither, or there is no such incarnation.
    """
    row = _incarnation(rt, incarnation)
    rows = [each for each in rt.ledger.positions(rt.name, limit=_ROWS)
            if each.incarnation == row.number]  # fmt: skip
    file, _, offset = text.rpartition(":")
    try:
        if offset.isdigit() and "-" not in offset and "." in file:
            coordinates = Coordinates(file, int(offset))
            births = (each.position.birth for each in rows)
            birth = next((each for each in births if each and each.file == file), None)
            return Position(coordinates, row.identity, birth)
        gtid_set = GtidSet.parse(text)
        if not gtid_set:
            raise UnreadablePosition("it names no transaction")  # noqa: TRY301 - one answer for all
    except (UnreadablePosition, ValueError) as error:
        raise ConfigurationError(
            "write it as file:offset or as a GTID set", field="position", value=text,
            hint=str(error),
        ) from None  # fmt: skip
    if not rows:
        raise ConfigurationError("the ledger holds no position yet", field=rt.name)
    return Position(rows[0].position.coordinates, row.identity, gtid_set=gtid_set)


def _incarnation(rt: StreamRuntime, number: int | None) -> IncarnationRow:
    rows = rt.ledger.incarnations(rt.name)
    found = [row for row in rows if number in {None, row.number}]
    if not found:
        raise ConfigurationError("no such incarnation", field=rt.name, value=number)
    return found[-1]


def _is_about(row: PositionRow, table: TableRef) -> bool:
    """Return whether a reader's position says how far a table was read."""
    labels = row.tables.split(",")
    if isinstance(table, ShardedTable):
        pairs = [label.partition(".") for label in labels]
        return any(table.matches(database, name) for database, _, name in pairs)
    return table.label in labels
