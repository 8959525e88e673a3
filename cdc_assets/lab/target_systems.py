"""Target systems: which kinds of target a lab runs; one loads when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from cdc_assets.core.stream import TargetKind
from cdc_assets.lab.target_system import TargetSystem

_SYSTEMS: dict[TargetKind, tuple[str, str]] = {
    "iceberg": ("iceberg_system", "IcebergSystem"),
    "kafka": ("kafka_system", "KafkaSystem"),
    "mysql": ("target_system", "MySqlSystem"),
    "postgres": ("postgres_system", "PostgresSystem"),
    "starrocks": ("starrocks_system", "StarRocksSystem"),
}
KINDS: tuple[TargetKind, ...] = tuple(_SYSTEMS)


def target_system(kind: TargetKind) -> TargetSystem:
    """Return one kind of target."""
    module, name = _SYSTEMS[kind]
    return cast("TargetSystem", getattr(import_module(f"cdc_assets.lab.{module}"), name)())
