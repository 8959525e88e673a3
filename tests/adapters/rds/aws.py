"""The RDS API below botocore's wire: real requests out, XML answers in, no socket.

Answers have the shape of the API reference; the rules of DescribeEvents (window, 14 days, paging)
are those that were measured on AWS (getmoto knows none of them).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any, Protocol
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from botocore.awsrequest import AWSResponse

from cdc_assets.testing import FrozenClock

ITEMS = {
    "Events": "Event",
    "EventCategories": "EventCategory",
    "DBInstances": "DBInstance",
    "DBParameterGroups": "DBParameterGroup",
    "DBClusters": "DBCluster",
    "DBClusterMembers": "DBClusterMember",
}
PAGE = 100


def xml(value: object, name: str = "") -> str:
    """Render a result as the query protocol does."""
    if isinstance(value, dict):
        return "".join(f"<{key}>{xml(item, key)}</{key}>" for key, item in value.items())
    if isinstance(value, list):
        tag = ITEMS.get(name, "member")
        return "".join(f"<{tag}>{xml(item)}</{tag}>" for item in value)
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return escape(str(value))


class Request(Protocol):
    body: bytes | str


class Body(io.BytesIO):
    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()


@dataclass
class Aws:
    """An account: what it holds, and what was asked of it.

    Attributes:
        clock: AWS's own clock.
        fail: Answers that come before any real one: status, body.
        calls: Action and parameters of each request.
    """

    clock: FrozenClock
    events: list[dict[str, Any]] = field(default_factory=list)
    deployments: list[dict[str, Any]] = field(default_factory=list)
    instances: dict[str, dict[str, Any]] = field(default_factory=dict)
    clusters: dict[str, dict[str, Any]] = field(default_factory=dict)
    fail: list[tuple[int, str]] = field(default_factory=list)
    calls: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    sends_date: bool = True

    def happen(self, source: str, message: str, kind: str = "db-instance", **when: float) -> None:
        """Let an event happen now, or some time before now."""
        self.events.append(
            {
                "SourceIdentifier": source,
                "SourceType": kind,
                "Message": message,
                "EventCategories": [],
                "Date": self.clock.now() - timedelta(**when),
            }
        )

    def instance(self, name: str, resource_id: str, status: str = "in-sync") -> None:
        self.instances[name] = {
            "DBInstanceIdentifier": name,
            "DbiResourceId": resource_id,
            "Endpoint": {"Address": f"{name}.xyz.rds.example", "Port": 3306},
            "DBParameterGroups": [
                {"DBParameterGroupName": "first", "ParameterApplyStatus": "in-sync"},
                {"DBParameterGroupName": "second", "ParameterApplyStatus": status},
            ],
        }

    def cluster(self, name: str, resource_id: str, *members: str, status: str = "in-sync") -> None:
        self.clusters[name] = {
            "DBClusterIdentifier": name,
            "DbClusterResourceId": resource_id,
            "Endpoint": f"{name}.cluster.rds.example",
            "Port": 3306,
            "DBClusterMembers": [
                {"DBInstanceIdentifier": member, "DBClusterParameterGroupStatus": status}
                for member in members
            ],
        }

    def send(self, request: Request, **_: object) -> AWSResponse:
        """Answer a request that botocore is about to send."""
        body = request.body.decode() if isinstance(request.body, bytes) else request.body
        asked = {key: values[0] for key, values in parse_qs(body).items()}
        action = asked.pop("Action")
        asked.pop("Version", None)
        self.calls.append((action, asked))
        if self.fail:
            return self._respond(*self.fail.pop(0))
        try:
            result = getattr(self, f"_{action}")(asked)
        except LookupError as error:
            return self._respond(404, self.error(str(error.args[0])))
        except ValueError as error:
            return self._respond(400, self.error("InvalidParameterValue", str(error)))
        return self._respond(
            200,
            f"<{action}Response><{action}Result>{xml(result)}</{action}Result>"
            f"<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{action}Response>",
        )

    @staticmethod
    def error(code: str, message: str = "no") -> str:
        return (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>"
            f"<Message>{escape(message)}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
        )

    def _respond(self, status: int, text: str) -> AWSResponse:
        headers = {"content-type": "text/xml"}
        if self.sends_date:
            headers["date"] = format_datetime(self.clock.now().replace(microsecond=0), usegmt=True)
        return AWSResponse("https://rds.example/", status, headers, Body(text.encode()))

    def _DescribeEvents(self, asked: dict[str, str]) -> dict[str, Any]:  # noqa: N802 - the action
        since = datetime.fromisoformat(asked["StartTime"].replace("Z", "+00:00"))
        until = datetime.fromisoformat(asked["EndTime"].replace("Z", "+00:00"))
        if since <= self.clock.now() - timedelta(days=14):
            message = "Events occurring more than 14 days in the past are not available."
            raise ValueError(message)
        found = [
            event
            for event in sorted(self.events, key=lambda event: event["Date"])
            if event["SourceType"] == asked["SourceType"]
            and since <= event["Date"] <= min(until, self.clock.now())
        ]
        return self._page("Events", found, asked)

    def _DescribeBlueGreenDeployments(  # noqa: N802 - the action
        self, asked: dict[str, str]
    ) -> dict[str, Any]:
        return self._page("BlueGreenDeployments", self.deployments, asked)

    def _DescribeDBInstances(self, asked: dict[str, str]) -> dict[str, Any]:  # noqa: N802 - the action
        if "DBInstanceIdentifier" in asked:
            if asked["DBInstanceIdentifier"] not in self.instances:
                raise LookupError("DBInstanceNotFound")
            return {"DBInstances": [self.instances[asked["DBInstanceIdentifier"]]]}
        return self._page("DBInstances", list(self.instances.values()), asked)

    def _DescribeDBClusters(self, asked: dict[str, str]) -> dict[str, Any]:  # noqa: N802 - the action
        if "DBClusterIdentifier" in asked:
            if asked["DBClusterIdentifier"] not in self.clusters:
                raise LookupError("DBClusterNotFoundFault")
            return {"DBClusters": [self.clusters[asked["DBClusterIdentifier"]]]}
        return self._page("DBClusters", list(self.clusters.values()), asked)

    def _page(self, key: str, items: list[Any], asked: dict[str, str]) -> dict[str, Any]:
        at = int(asked.get("Marker", "0"))
        page: dict[str, Any] = {key: items[at : at + PAGE]}
        if len(items) > at + PAGE:
            page["Marker"] = str(at + PAGE)
        return page


class Story:
    """A blue/green deployment of the instance `shop`, told step by step.

    Args:
        number: Makes names differ between deployments.
    """

    def __init__(self, aws: Aws, number: int = 1, *, green_letters: str = "abc123") -> None:
        self.aws = aws
        self.number = number
        self.id = f"bgd-{number}"
        self.green = f"shop-green-{green_letters}"
        self.old = f"shop-old{number}"
        self.listing: dict[str, Any] = {
            "BlueGreenDeploymentIdentifier": self.id,
            "BlueGreenDeploymentName": f"upgrade-{number}",
            "CreateTime": aws.clock.now(),
            "TagList": [],
        }
        aws.deployments.append(self.listing)
        blue = aws.instances.get("shop", {}).get("DbiResourceId", "db-0")
        aws.instance("shop", blue)
        aws.instance(self.green, f"db-{number}")
        self._list("AVAILABLE", "shop", self.green)
        aws.happen(self.id, "Blue/green deployment tasks completed.", "blue-green-deployment")

    def start(self) -> Story:
        self._list("SWITCHOVER_IN_PROGRESS", "shop", self.green)
        self._tell(f"Switchover from shop to {self.green} started.")
        self._tell(f"Switchover from primary shop to {self.green} started.")
        return self

    def cancel(self) -> Story:
        self._list("SWITCHOVER_FAILED", "shop", self.green)
        self._tell(f"Switchover from primary shop to {self.green} was canceled due to replica lag.")
        self._tell("Switchover canceled on blue/green deployment.")
        return self

    def emit(self, place: str = "000003 and position 40134574", source: str = "") -> Story:
        self.aws.happen(
            source or self.green,
            "Binary log coordinates in green environment after switchover: "
            f"file mysql-bin-changelog.{place}",
        )
        return self

    def complete(self) -> Story:
        blue = self.aws.instances.pop("shop")["DbiResourceId"]
        green = self.aws.instances.pop(self.green)["DbiResourceId"]
        self.aws.instance(self.old, blue)
        self.aws.instance("shop", green)
        self._list("SWITCHOVER_COMPLETED", self.old, "shop")
        self._tell(
            f"Switchover from primary shop to {self.green} completed. "
            f"Renamed shop to {self.old} and {self.green} to shop."
        )
        self._tell("Switchover completed on blue/green deployment.")
        return self

    def delete(self) -> Story:
        self.aws.deployments.remove(self.listing)
        self._tell("Blue/green deployment deleted.")
        return self

    def _list(self, status: str, source: str, target: str) -> None:
        arn = "arn:aws:rds:eu-central-1:123456789012:db:"
        self.listing |= {
            "Status": status,
            "Source": arn + source,
            "Target": arn + target,
            "SwitchoverDetails": [
                {"SourceMember": arn + source, "TargetMember": arn + target, "Status": status}
            ],
        }

    def _tell(self, message: str) -> None:
        self.aws.happen(self.id, message, "blue-green-deployment")
