"""How often the sensors tick: Dagster fixes it when definitions load, so it is read here."""

from __future__ import annotations

import os

from cdc_assets import ConfigurationError


def sensor_seconds(default: int = 30) -> int:
    """Return `CDC_SENSOR_SECONDS` as whole seconds, or the default where it is unset."""
    text = os.environ.get("CDC_SENSOR_SECONDS", "") or str(default)
    try:
        return max(1, round(float(text)))
    except (ValueError, OverflowError):
        raise ConfigurationError(
            "is not a number of seconds", field="CDC_SENSOR_SECONDS", value=text
        ) from None
