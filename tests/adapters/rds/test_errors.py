"""What a failing RDS API looks like from outside, and that no secret comes with it."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from cdc_assets.errors import (
    ConfigurationError,
    EventFeedError,
    EventFeedUnreachable,
    LedgerUnreachable,
)
from cdc_assets.rds.api import rds_client_factory
from cdc_assets.rds.client import RdsFeed
from cdc_assets.testing import FakeLedger, FrozenClock
from tests.adapters.rds.aws import Aws, Story

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient


@pytest.fixture
def impatient(factory: Callable[[], RDSClient], monkeypatch: pytest.MonkeyPatch) -> RdsFeed:
    """Return a feed whose client does not wait between its tries."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    return RdsFeed(factory, FakeLedger(), name="shop", clock=FrozenClock())


def everything(error: BaseException | None) -> str:
    """Return the texts of an error and of all its causes."""
    texts: list[str] = []
    while error is not None:
        texts.append(f"{error} {error!r}")
        error = error.__cause__
    return "\n".join(texts)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "Throttling"),
        (400, "ThrottlingException"),
        (400, "RequestLimitExceeded"),
        (503, "ServiceUnavailable"),
        (500, "InternalFailure"),
    ],
)
def test_what_passes_by_itself_is_unreachable(
    impatient: RdsFeed, aws: Aws, status: int, code: str
) -> None:
    aws.fail = [(status, aws.error(code))] * 3
    with pytest.raises(EventFeedUnreachable, match=code) as caught:
        impatient.poll()
    assert caught.value.recoverability == "TRANSIENT"
    assert len(aws.calls) == 3


def test_a_short_throttling_is_not_even_seen(impatient: RdsFeed, aws: Aws) -> None:
    aws.fail = [(400, aws.error("Throttling"))] * 2
    impatient.poll()


@pytest.mark.parametrize(
    "code",
    [
        "AccessDenied",
        "AccessDeniedException",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "ExpiredTokenException",
        "UnrecognizedClientException",
    ],
)
def test_a_refusal_needs_a_person_and_repeats_no_secret(
    impatient: RdsFeed, aws: Aws, code: str
) -> None:
    aws.fail = [(403, aws.error(code, "canonical string x-amz-security-token:FQoGZXIvYXdzT0k"))]
    with pytest.raises(EventFeedError, match=rf"refused \({code}\)") as caught:
        impatient.poll()
    assert not isinstance(caught.value, EventFeedUnreachable)
    assert "rds:DescribeEvents" in str(caught.value)
    assert "FQoGZXIvYXdzT0k" not in str(caught.value)
    assert "s3cret" not in everything(caught.value)


def test_another_error_is_named_by_its_code(impatient: RdsFeed, aws: Aws) -> None:
    aws.fail = [(400, aws.error("InvalidParameterCombination"))]
    with pytest.raises(EventFeedError, match="DescribeBlueGreenDeployments: InvalidParameter"):
        impatient.deployment()


@pytest.mark.parametrize("page", ["<html>login here</html>", "<html><br>", "", "}{"])
def test_a_page_of_a_proxy_is_unreachable(impatient: RdsFeed, aws: Aws, page: str) -> None:
    aws.fail = [(502, page)] * 3
    with pytest.raises(EventFeedUnreachable):
        impatient.deployment()


def test_an_event_page_that_fails_loses_nothing_that_came_before(
    factory: Callable[[], RDSClient], clock: FrozenClock, story: Story
) -> None:
    ledger = FakeLedger(now=clock.now)
    feed = RdsFeed(factory, ledger, name="shop", clock=clock)
    story.start().emit().complete()
    ledger.fail_next("record_poll", error=LedgerUnreachable("busy"))
    with pytest.raises(LedgerUnreachable):
        feed.poll()
    assert len(ledger.events()) == 6
    feed.poll()
    assert len(ledger.events()) == 6


def refused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_port_that_refuses_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    factory = rds_client_factory(
        region="eu-central-1",
        endpoint_url=f"http://127.0.0.1:{refused_port()}",
        access_key="AKIDEXAMPLE",
        secret_key="s3cret",
    )
    feed = RdsFeed(factory, FakeLedger(), name="shop", clock=FrozenClock())
    with pytest.raises(EventFeedUnreachable) as caught:
        feed.instance("shop")
    assert "s3cret" not in everything(caught.value)


def test_without_credentials_the_next_step_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "nowhere")
    factory = rds_client_factory(region="eu-central-1", endpoint_url="http://127.0.0.1:9")
    feed = RdsFeed(factory, FakeLedger(), name="shop", clock=FrozenClock())
    with pytest.raises(EventFeedError, match="no AWS credentials"):
        feed.poll()


def test_an_address_that_is_none_is_a_wrong_setting() -> None:
    factory = rds_client_factory(
        region="eu-central-1", endpoint_url="not an address", access_key="a", secret_key="b"
    )
    with pytest.raises(ConfigurationError, match="endpoint_url"):
        RdsFeed(factory, FakeLedger(), name="shop", clock=FrozenClock()).poll()


def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3.session", None)
    factory = rds_client_factory(region="eu-central-1")
    with pytest.raises(ConfigurationError, match=r"pip install 'dagster-cdc-assets\[aws\]'"):
        RdsFeed(factory, FakeLedger(), name="shop", clock=FrozenClock()).poll()


def test_requests_have_deadlines() -> None:
    config = rds_client_factory(
        region="eu-central-1", endpoint_url="http://127.0.0.1:9", access_key="a", secret_key="b"
    )().meta.config
    assert (config.connect_timeout, config.read_timeout) == (2.0, 5.0)
