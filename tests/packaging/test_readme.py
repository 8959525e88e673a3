"""The README's example works as it stands."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_the_example_of_the_readme_builds_definitions() -> None:
    """The Python block runs, and gives a stream with its two sensors."""
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(block, str(README), "exec"), names)  # noqa: S102 - the README's own example
    defs = names["defs"]
    sensors = sorted(sensor.name for sensor in defs.sensors)  # type: ignore[attr-defined]
    assert sensors == ["health_shop", "rds_events_shop"]
