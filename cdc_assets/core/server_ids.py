"""ServerIdRange: the replica server ids that a stream's readers use. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cdc_assets.errors import ConfigurationError

# MySQL takes 1 to 2^32 - 1; 0 means "not a replica".
MAX_SERVER_ID = 2**32 - 1


@dataclass(frozen=True)
class ServerIdRange:
    """The replica server ids that a stream's readers use; both ends included.

    Two readers with one id throw each other out, so ranges must not overlap between
    streams of one source (flink-cdc.md section 5).
    """

    first: int
    last: int

    def __post_init__(self) -> None:
        """Refuse a range that is empty or outside MySQL's own range."""
        if not 1 <= self.first <= self.last <= MAX_SERVER_ID:
            raise ConfigurationError(
                f"must be two numbers from 1 to {MAX_SERVER_ID}, the smaller one first",
                field="server_ids",
                value=f"{self.first}-{self.last}",
            )

    @classmethod
    def parse(cls, text: str) -> ServerIdRange:
        """Read `5400-5499` or `5400`."""
        match = re.fullmatch(r"\s*([0-9]{1,10})\s*(?:-\s*([0-9]{1,10})\s*)?", text)
        if not match:
            raise ConfigurationError("write it as 5400-5499", field="server_ids", value=text)
        return cls(int(match.group(1)), int(match.group(2) or match.group(1)))

    @property
    def size(self) -> int:
        """Return the number of ids."""
        return self.last - self.first + 1

    def overlaps(self, other: ServerIdRange) -> bool:
        """Return whether both ranges hold a common id."""
        return self.first <= other.last and other.first <= self.last

    def block(self, index: int, size: int) -> ServerIdRange:
        """Return the ids of one reader: `size` ids, the `index`-th block.

        Raises:
            ConfigurationError: The range is too small.
        """
        first = self.first + index * size
        if first + size - 1 > self.last:
            raise ConfigurationError(
                f"holds {self.size} ids, but reader number {index + 1} at parallelism {size} "
                f"needs ids up to {first + size - 1}",
                field="server_ids",
                value=f"{self.first}-{self.last}",
                hint=f"Use at least {(index + 1) * size} ids: readers times parallelism",
            )
        return ServerIdRange(first, first + size - 1)

    def __str__(self) -> str:
        """Return `first-last`."""
        return f"{self.first}-{self.last}"
