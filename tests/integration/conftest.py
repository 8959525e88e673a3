"""One lab for each kind of source, with the demonstration played on it once."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cdc_assets.lab.demo import Story, run_demo
from cdc_assets.lab.lab import down
from cdc_assets.lab.source_server import ServerKind
from cdc_assets.lab.stage import Stage

DEFINITIONS = Path(__file__).parents[2] / "definitions.py"


@dataclass(frozen=True)
class Played:
    """A lab on which the demonstration was played.

    Attributes:
        equal: Whether source and target were equal, row by row, at its end.
        lines: What it told.
    """

    source: ServerKind
    stage: Stage
    equal: bool
    lines: tuple[str, ...]


class Recorded(Story):
    """A story that keeps its lines."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def tell(self, text: str) -> None:
        """Keep a line and print it."""
        self.lines.append(text)
        super().tell(text)

    def plain(self, text: str) -> None:
        """Keep a line and print it."""
        self.lines.append(text)
        super().plain(text)


@pytest.fixture(scope="session", params=["mariadb", "mysql"])
def played(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Played, None, None]:
    """Play the demonstration, and leave lab and Dagster up for the tests."""
    source: ServerKind = request.param
    home = tmp_path_factory.mktemp(f"lab-{source}")
    story = Recorded()
    try:
        equal = run_demo(home, source, DEFINITIONS, story=story)
        yield Played(source, Stage(home), equal, tuple(story.lines))
    finally:
        down(home)
