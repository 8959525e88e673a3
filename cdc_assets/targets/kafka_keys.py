"""Keys of a compacted topic: which are alive, in bounded memory, and which lie below a bound."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import tempfile
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import cast

from cdc_assets.errors import TargetError
from cdc_assets.ports import Key

# About 100 MB; a larger topic is counted on disk.
KEYS_IN_MEMORY = 1_000_000
_BATCH = 50_000
_LONG = 32


class LiveKeys:
    """The keys whose latest record is not a tombstone.

    Keys are kept in memory up to a limit, and beyond it in a file that goes when this is
    closed. Long keys are kept as a digest.

    Args:
        limit: Keys in memory.
    """

    def __init__(self, limit: int = KEYS_IN_MEMORY) -> None:
        self._limit = limit
        self._keys: set[bytes] = set()
        # What the file does not know yet: whether each key is alive.
        self._news: dict[bytes, bool] = {}
        self._file: sqlite3.Connection | None = None
        self._stack = contextlib.ExitStack()

    def close(self) -> None:
        """Remove the file."""
        self._stack.close()

    @property
    def is_on_disk(self) -> bool:
        """Return whether there are too many for memory."""
        return self._file is not None

    def see(self, key: bytes, *, alive: bool) -> None:
        """Take the next record of a key."""
        short = key if len(key) <= _LONG else hashlib.blake2b(key, digest_size=_LONG).digest()
        if self._file is not None:
            self._news[short] = alive
            if len(self._news) >= _BATCH:
                self._write()
        elif alive:
            self._keys.add(short)
            if len(self._keys) > self._limit:
                self._spill()
        else:
            self._keys.discard(short)

    def count(self) -> int:
        """Return how many are alive."""
        if self._file is None:
            return len(self._keys)
        self._write()
        return int(self._file.execute("SELECT COUNT(*) FROM live").fetchone()[0])

    def _spill(self) -> None:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="cdc-keys-"))
        file = sqlite3.connect(Path(folder) / "keys", isolation_level=None)
        self._stack.callback(file.close)
        # Nobody reads it after a crash.
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -65536"):
            file.execute(f"PRAGMA {pragma}")
        file.execute("CREATE TABLE live (key BLOB PRIMARY KEY) WITHOUT ROWID")
        self._file = file
        self._news = dict.fromkeys(self._keys, True)
        self._keys = set()
        self._write()

    def _write(self) -> None:
        if self._file is None or not self._news:
            return
        alive = sorted(key for key, lives in self._news.items() if lives)
        dead = sorted(key for key, lives in self._news.items() if not lives)
        self._file.execute("BEGIN")
        self._file.executemany("INSERT OR IGNORE INTO live VALUES (?)", ((k,) for k in alive))
        self._file.executemany("DELETE FROM live WHERE key = ?", ((k,) for k in dead))
        self._file.execute("COMMIT")
        self._news = {}


class KeyBound:
    """Says which keys are at or below a bound, in MySQL's order.

    Only numbers, dates and points in time are compared: text has a collation of its own.

    Args:
        key: Names of the key's columns.
        bound: Their values.

    Raises:
        TargetError: The bound holds another type.
    """

    def __init__(self, key: Sequence[str], bound: Key) -> None:
        self._key = tuple(key)
        for name, value in zip(key, bound, strict=True):
            if isinstance(value, bool) or not isinstance(value, (int, Decimal, date)):
                raise TargetError(
                    f"key column {name} is a {type(value).__name__}, which Kafka's records cannot "
                    "be ordered by as MySQL orders it",
                    hint="Count without a bound",
                )
        self._bound = bound

    def holds(self, key: bytes) -> bool:
        """Return whether a record's key is at or below the bound.

        Raises:
            TargetError: The key is not JSON with the key's columns.
        """
        return values_of(key, self._key, self._bound) <= self._bound


def values_of(key: bytes, names: Sequence[str], like: Key) -> Key:
    """Return the values of a record's key, as the types of another key.

    Args:
        key: Of the record.
        names: Of the key's columns.
        like: A key of the types that are wanted.

    Raises:
        TargetError: The key is not JSON with these columns.

    Example:
        >>> values_of(b'{"id": 7, "db": 1}', ("db", "id"), (0, 0))
        (1, 7)
    """
    try:
        found = cast("dict[str, object]", json.loads(key, parse_float=Decimal))
        return tuple(_like(found[name], known) for name, known in zip(names, like, strict=True))
    except (ValueError, KeyError, TypeError, ArithmeticError):
        raise TargetError(
            f"a record's key is not JSON with {', '.join(names)}",
            hint="Another writer shares the topic, or its records are from another stream",
        ) from None


def _like(value: object, known: object) -> object:
    """Return a JSON value as the type of the bound."""
    if isinstance(known, datetime):
        return read_moment(str(value))
    if isinstance(known, date):
        return date.fromisoformat(str(value))
    return Decimal(str(value)) if not isinstance(value, int) else value


def read_moment(text: str) -> datetime:
    """Read a TIMESTAMP as Flink's JSON format writes it: without trailing zeros, maybe with Z.

    Example:
        >>> read_moment("2024-01-01 00:00:00.12Z")
        datetime.datetime(2024, 1, 1, 0, 0, 0, 120000)
    """
    whole, _, fraction = text.removesuffix("Z").replace("T", " ").partition(".")
    digits = (fraction + "000000")[:6]
    return datetime.fromisoformat(whole) + timedelta(microseconds=int(digits))


def is_no_tombstone(value: bytes | None) -> bool:
    """Return whether a key is there after a record: an upsert's value is the row."""
    return value is not None


def is_no_delete(value: bytes | None) -> bool:
    """Return whether a key is there after a change event, Debezium's or Canal's, as JSON.

    Raises:
        TargetError: It is no such event.

    Example:
        >>> is_no_delete(b'{"before":{"id":1},"after":null,"op":"d"}')
        False
        >>> is_no_delete(b'{"old":null,"data":[{"id":1}],"type":"INSERT"}')
        True
    """
    if value is None:
        return False
    try:
        event = cast("dict[str, object]", json.loads(value))
        event = cast("dict[str, object]", event.get("payload", event))
        what = event["op"] if "op" in event else event["type"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise TargetError(
            "a record is no change event in JSON",
            hint="Another writer shares the topic, or its records are from another stream",
        ) from None
    return what not in {"d", "DELETE"}
