from __future__ import annotations

import pytest

from cdc_assets.core.kafka import KafkaAccess
from cdc_assets.errors import ConfigurationError


@pytest.mark.parametrize("servers", ["", "kafka", "kafka:", "a:1,,b:2", "a b:1", "http://a:1"])
def test_servers_that_cannot_be_reached_are_refused(servers: str) -> None:
    with pytest.raises(ConfigurationError, match="bootstrap_servers"):
        KafkaAccess(servers)


@pytest.mark.parametrize("servers", ["a:9092", "a.b:1, c-d:2", "[::1]:9092", "127.0.0.1:65535"])
def test_servers_are_host_and_port(servers: str) -> None:
    assert KafkaAccess(servers).servers == servers


def test_a_login_needs_both_halves() -> None:
    with pytest.raises(ConfigurationError, match="user name"):
        KafkaAccess("a:1", protocol="SASL_SSL", username="u")
    with pytest.raises(ConfigurationError, match="private key"):
        KafkaAccess("a:1", protocol="SSL", certificate="x")


def test_no_secret_shows() -> None:
    access = KafkaAccess(
        "a:1", protocol="SASL_SSL", username="u", password="hush", certificate="c", key="hush"
    )
    assert "hush" not in repr(access)
