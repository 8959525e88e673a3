"""Finding: what a preflight says, and the rule that an error stops a launch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cdc_assets.errors import PreflightFailed


@dataclass(frozen=True)
class Finding:
    """One thing that a preflight found.

    Attributes:
        level: An `error` stops a launch, a `warning` does not.
        text: What is wrong with what.
        statement: What mends it, empty when no statement does.
    """

    level: Literal["error", "warning"]
    text: str
    statement: str = ""

    def __str__(self) -> str:
        """Return one line."""
        text = f"{self.text}; mend it with: {self.statement}" if self.statement else self.text
        return " ".join(text.split())


def require_ready(stream: str, findings: Sequence[Finding]) -> tuple[str, ...]:
    """Return the warnings, or refuse the launch.

    Args:
        stream: Name.
        findings: Of one preflight.

    Raises:
        PreflightFailed: With every error and what mends it.
    """
    errors = [str(finding) for finding in findings if finding.level == "error"]
    if errors:
        numbered = " ".join(f"({number}) {text}" for number, text in enumerate(errors, 1))
        raise PreflightFailed(
            f"stream {stream!r} is not ready, nothing was started: {numbered}",
            hint=f"Look again with 'cdc-assets preflight {stream}'",
        )
    return tuple(str(finding) for finding in findings if finding.level == "warning")
