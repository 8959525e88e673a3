"""Markers, hypothesis profiles and the network guard; no I/O fixtures."""

from __future__ import annotations

import gc
import ipaddress
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from cdc_assets.errors import PlatformUnsupported
from cdc_assets.lab.cache import check_platform

# What is loaded now stays to the end. With the collector off until then, and seldom at work from
# then on (`pytest_runtestloop`), the tests take a tenth less time.
gc.disable()

INTEGRATION = Path(__file__).parent / "integration"

# No deadline and no "too slow": how fast a busy machine draws examples says nothing about the code.
_UNTIMED: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", max_examples=50, **_UNTIMED)
settings.register_profile("ci", max_examples=200, print_blob=True, **_UNTIMED)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


class NetworkGuard:
    """Refuses connections that leave the machine while a unit test runs.

    An audit hook sees every socket, also those of C extensions, and needs no patching.
    """

    def __init__(self) -> None:
        self.is_on = False

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if event != "socket.connect" or not self.is_on:
            return
        address = args[1]
        if isinstance(address, tuple) and not _is_local(str(address[0])):
            message = f"a unit test may not connect to {address[0]}: use 127.0.0.1 or a fake"
            raise RuntimeError(message)


def _is_local(host: str) -> bool:
    if host in {"", "localhost"}:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


_guard = NetworkGuard()
sys.addaudithook(_guard)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything under tests/integration, so that no test there can forget to."""
    for item in items:
        if INTEGRATION in item.path.parents:
            item.add_marker(pytest.mark.integration)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Say in one line that the lab does not run here, before anything is downloaded for it."""
    if any(item.get_closest_marker("integration") for item in session.items):
        try:
            check_platform()
        except PlatformUnsupported as error:
            pytest.exit(f"error: {error}", returncode=2)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Let the garbage collector look less often, and never at what collection has loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Collect once; pytest then does so five times more, to report what was left open."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Switch the guard on for unit tests and off for integration tests."""
    _guard.is_on = item.get_closest_marker("integration") is None
