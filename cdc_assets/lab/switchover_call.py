"""A switchover as a client of RDS asks for it: by boto3, followed until its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, cast

from cdc_assets.errors import EventFeedUnreachable, LabError

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient
    from mypy_boto3_rds.type_defs import BlueGreenDeploymentTypeDef

REGION = "us-east-1"
_POLL_SECONDS = 0.5
# The API's own time-out bounds the switchover itself; a roll-back comes on top of it.
_ROLLBACK_SECONDS = 60.0


def rds_client(url: str) -> RDSClient:
    """Return a client of the lab's RDS API.

    Raises:
        LabError: boto3 is not installed.
    """
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise LabError("boto3 is not installed", hint="Install the extra 'lab'") from error
    # The stubs know every service of AWS, installed or not; only this one is meant.
    connect = cast("Callable[..., RDSClient]", boto3.client)  # pyright: ignore[reportUnknownMemberType]
    return connect(
        "rds",
        endpoint_url=url,
        region_name=REGION,
        # The stand-in has no accounts; boto3 wants some words to sign with.
        aws_access_key_id="lab",
        aws_secret_access_key="lab",  # noqa: S106 - not a secret, see above
        config=Config(connect_timeout=5, read_timeout=60, retries={"max_attempts": 1}),
    )


def call_switchover(url: str, *, timeout_seconds: int, tell: Callable[[str], None]) -> str:
    """Switch the one available deployment over and follow it to its end.

    Args:
        url: The RDS API.
        timeout_seconds: The switchover's time-out, as the API takes it.
        tell: Receives one line per event.

    Returns:
        One line with the outcome and the time it took.

    Raises:
        LabError: No deployment is available, or the switchover did not complete.
        EventFeedUnreachable: The API does not answer.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    client = rds_client(url)
    try:
        return _switch_over(client, timeout_seconds, tell)
    except ClientError as error:
        detail = error.response.get("Error", {})
        raise LabError(
            f"RDS API refused: {detail.get('Code', '')}: {detail.get('Message', '')}"
        ) from error
    except BotoCoreError as error:
        raise EventFeedUnreachable(
            f"the RDS API at {url} does not answer: {error}",
            hint="See 'cdc-assets lab status'",
        ) from error


def _switch_over(client: RDSClient, timeout_seconds: int, tell: Callable[[str], None]) -> str:
    deployment = _available(client)
    identifier = deployment.get("BlueGreenDeploymentIdentifier", "")
    name = deployment.get("BlueGreenDeploymentName", identifier)
    began, since = time.monotonic(), datetime.now(timezone.utc) - timedelta(seconds=1)
    client.switchover_blue_green_deployment(
        BlueGreenDeploymentIdentifier=identifier, SwitchoverTimeout=timeout_seconds
    )
    told: set[tuple[str, str, str]] = set()
    deadline = began + timeout_seconds + _ROLLBACK_SECONDS
    while True:
        status = _status(client, identifier)
        _tell_events(client, since, told, tell)
        if not status.startswith("SWITCHOVER_IN_PROGRESS"):
            break
        if time.monotonic() > deadline:
            raise LabError(
                f"switchover of {name} is {status} after {time.monotonic() - began:.0f} s",
                hint="See logs/rds.log in the lab's home",
            )
        time.sleep(_POLL_SECONDS)
    seconds = time.monotonic() - began
    if status != "SWITCHOVER_COMPLETED":
        raise LabError(f"switchover of {name} ended as {status} after {seconds:.1f} s")
    return f"switchover of {name} completed in {seconds:.1f} s"


def _available(client: RDSClient) -> BlueGreenDeploymentTypeDef:
    found = client.describe_blue_green_deployments()["BlueGreenDeployments"]
    ready = [each for each in found if each.get("Status") == "AVAILABLE"]
    if not ready:
        states = ", ".join(str(each.get("Status")) for each in found) or "none at all"
        raise LabError(
            f"no blue/green deployment is AVAILABLE ({states})",
            hint="Create one by the RDS API, or start a new lab",
        )
    return ready[-1]


def _status(client: RDSClient, identifier: str) -> str:
    answer = client.describe_blue_green_deployments(BlueGreenDeploymentIdentifier=identifier)
    return answer["BlueGreenDeployments"][0].get("Status", "")


def _tell_events(
    client: RDSClient,
    since: datetime,
    told: set[tuple[str, str, str]],
    tell: Callable[[str], None],
) -> None:
    """Tell the events that were not told yet; RDS events have no id."""
    pages = client.get_paginator("describe_events").paginate(
        StartTime=since, EndTime=datetime.now(timezone.utc) + timedelta(minutes=1)
    )
    for page in pages:
        for event in page["Events"]:
            when = event.get("Date")
            source, text = event.get("SourceIdentifier", ""), event.get("Message", "")
            key = (str(when), source, text)
            if key not in told:
                told.add(key)
                tell(f"{'' if when is None else when.strftime('%H:%M:%S')} {source}: {text}")
