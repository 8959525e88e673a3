"""The pictures of the README, and the script that takes them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOWN = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
MOST_BYTES = 500_000


def test_the_readme_shows_the_graph_and_the_stream() -> None:
    assert SHOWN == ["docs/asset-graph.png", "docs/stream-asset.png"]


@pytest.mark.parametrize("name", SHOWN)
def test_a_picture_of_the_readme_is_a_small_png(name: str) -> None:
    content = (ROOT / name).read_bytes()
    assert content.startswith(b"\x89PNG\r\n")
    assert len(content) < MOST_BYTES


def test_without_a_chromium_one_line_says_what_to_install(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "screenshots.py")],
        env={"PATH": "", "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: PATH: holds none of chromium, chromium-browser, google-chrome")
    assert "Install" in line
    assert list(tmp_path.iterdir()) == []
