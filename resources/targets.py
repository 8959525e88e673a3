"""Where rows land: one kind of target, by `CDC_TARGET_KIND`."""

from __future__ import annotations

import os

import dagster as dg

from cdc_assets import (
    ConfigurationError,
    MySqlTargetResource,
    PostgresTargetResource,
    TargetResource,
)


def _mysql() -> TargetResource:
    return MySqlTargetResource(
        host=dg.EnvVar("CDC_TARGET_HOST"),
        port=dg.EnvVar.int("CDC_TARGET_PORT"),
        username=dg.EnvVar("CDC_TARGET_USER"),
        password=dg.EnvVar("CDC_TARGET_PASSWORD"),
        database=dg.EnvVar("CDC_TARGET_DATABASE"),
    )


def _postgres() -> TargetResource:
    return PostgresTargetResource(
        host=dg.EnvVar("CDC_TARGET_HOST"),
        port=dg.EnvVar.int("CDC_TARGET_PORT"),
        username=dg.EnvVar("CDC_TARGET_USER"),
        password=dg.EnvVar("CDC_TARGET_PASSWORD"),
        database=dg.EnvVar("CDC_TARGET_DATABASE"),
    )


_TARGETS = {"mysql": _mysql, "postgres": _postgres}
# The kind shapes the graph, so it is read when definitions load.
_kind = os.environ.get("CDC_TARGET_KIND", "") or "mysql"
if _kind not in _TARGETS:
    raise ConfigurationError(
        f"use one of {', '.join(_TARGETS)}", field="CDC_TARGET_KIND", value=_kind
    )
target = _TARGETS[_kind]()
