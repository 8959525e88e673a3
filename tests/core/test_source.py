"""Which server is the same one, and what an inventory covers."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from cdc_assets.core.source import (
    BinlogFile,
    BinlogInventory,
    FileBirth,
    Sameness,
    SourceIdentity,
    same_server,
)

MYSQL = SourceIdentity("mysql", "8.0.36", 101, "uuid-a", "db-A")
MARIADB = SourceIdentity("mariadb", "10.11.5-MariaDB", 101, None, None)
BIRTH = FileBirth("mysql-bin-changelog.000007", 1_700_000_000, 101)


@pytest.mark.parametrize(
    ("found", "birth", "expected"),
    [
        # A uuid decides.
        (MYSQL, BIRTH, "same"),
        (MYSQL, None, "same"),
        (replace(MYSQL, version="8.4.2"), None, "same"),
        (replace(MYSQL, server_id=7), None, "same"),
        (replace(MYSQL, resource_id="db-B"), None, "same"),
        (replace(MYSQL, server_uuid="uuid-b"), BIRTH, "different"),
        (replace(MYSQL, server_uuid="uuid-b"), None, "different"),
        # Unless the binlogs began anew: RESET MASTER keeps the uuid and reuses the file names.
        (MYSQL, replace(BIRTH, created_at=1_800_000_000), "different"),
        (MYSQL, replace(BIRTH, server_id=102), "different"),
        # Another file says nothing about this one.
        (MYSQL, replace(BIRTH, file="mysql-bin-changelog.000008"), "same"),
        # Another flavor is another server, whatever else agrees.
        (replace(MYSQL, flavor="mariadb"), BIRTH, "different"),
        # The found side has no uuid: the birth decides, then the resource id.
        (replace(MYSQL, server_uuid=None), BIRTH, "same"),
        (replace(MYSQL, server_uuid=None), replace(BIRTH, created_at=1), "different"),
        (replace(MYSQL, server_uuid=None), None, "same"),
        (replace(MYSQL, server_uuid=None, resource_id="db-B"), None, "different"),
        (replace(MYSQL, server_uuid=None, resource_id=None), None, "unknown"),
        (replace(MYSQL, server_uuid=None, resource_id=None, server_id=7), None, "different"),
    ],
)
def test_a_server_with_a_uuid(
    found: SourceIdentity, birth: FileBirth | None, expected: Sameness
) -> None:
    assert same_server(MYSQL, BIRTH, found, birth) == expected


@pytest.mark.parametrize(
    ("found", "birth", "expected"),
    [
        (MARIADB, BIRTH, "same"),
        (MARIADB, replace(BIRTH, created_at=1), "different"),
        (MARIADB, None, "unknown"),  # purged, or another server with the same server id
        (MARIADB, replace(BIRTH, file="mysql-bin-changelog.000008"), "unknown"),
        (replace(MARIADB, server_id=7), None, "different"),
        (replace(MARIADB, server_id=7), BIRTH, "same"),  # a person changed server_id
        (replace(MARIADB, server_uuid="uuid-x", version="11.4.5-MariaDB"), BIRTH, "same"),
        (replace(MARIADB, server_uuid="uuid-x", version="11.4.5-MariaDB"), None, "unknown"),
    ],
)
def test_a_server_without_a_uuid(
    found: SourceIdentity, birth: FileBirth | None, expected: Sameness
) -> None:
    assert same_server(MARIADB, BIRTH, found, birth) == expected


def test_sameness_does_not_depend_on_the_side() -> None:
    identities = [
        SourceIdentity(flavor, "v", server_id, uuid, resource)
        for flavor in ("mysql", "mariadb")
        for server_id in (1, 2)
        for uuid in (None, "a", "b")
        for resource in (None, "A", "B")
    ]
    births = [None, BIRTH, replace(BIRTH, created_at=1), replace(BIRTH, file="x.000001")]
    sides = list(itertools.product(identities, births))
    for (left, left_birth), (right, right_birth) in itertools.combinations_with_replacement(
        sides, 2
    ):
        forth = same_server(left, left_birth, right, right_birth)
        assert forth == same_server(right, right_birth, left, left_birth)
        if (left, left_birth) == (right, right_birth) and (left.server_uuid or left_birth):
            assert forth == "same"


def test_the_label_is_for_people() -> None:
    assert MYSQL.label() == "mysql 8.0.36 server_id=101 (uuid-a)"
    assert "(db-A)" in replace(MYSQL, server_uuid=None).label()
    assert "(no uuid)" in MARIADB.label()


@pytest.mark.parametrize(
    ("name", "pos", "covered"),
    [
        ("b.000001", 4, True),
        ("b.000001", 3, False),
        ("b.000001", 157, True),
        ("b.000001", 158, False),
        ("b.000002", 5000, True),
        ("b.000003", 4, False),
        ("B.000001", 4, False),
    ],
)
def test_an_inventory_covers_places_inside_its_files(name: str, pos: int, *, covered: bool) -> None:
    held = BinlogInventory((BinlogFile("b.000001", 157), BinlogFile("b.000002", 5000)))
    assert held.covers(name, pos) is covered
