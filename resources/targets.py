"""Where rows land: one kind of target, by `CDC_TARGET_KIND`."""

from __future__ import annotations

import os
from importlib import import_module

from cdc_assets import ConfigurationError, TargetResource

_KINDS = ("iceberg", "kafka", "mysql", "postgres", "starrocks")
# The kind shapes the graph, so it is read when definitions load.
_kind = os.environ.get("CDC_TARGET_KIND", "") or "mysql"
if _kind not in _KINDS:
    raise ConfigurationError(
        f"use one of {', '.join(_KINDS)}", field="CDC_TARGET_KIND", value=_kind
    )
_module = import_module(f"resources.target_{_kind}")
target: TargetResource = _module.target
# Where its guarantee can be another one.
target_of_stats: TargetResource = getattr(_module, "target_of_stats", target)
