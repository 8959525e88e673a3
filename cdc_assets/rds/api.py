"""RdsApi: the few calls of the RDS API that the feed makes, with our values and errors."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, cast

from cdc_assets.core.observation import DeploymentStatus
from cdc_assets.errors import (
    CdcError,
    ConfigurationError,
    EventFeedError,
    EventFeedUnreachable,
)
from cdc_assets.ports import DeploymentRow, EventRow, Server

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_rds import RDSClient
    from mypy_boto3_rds.type_defs import BlueGreenDeploymentTypeDef

SourceType = Literal["db-instance", "db-cluster", "blue-green-deployment"]
# Failovers of a cluster are `db-cluster`, the coordinates event is `db-instance`.
SOURCE_TYPES: Final[tuple[SourceType, ...]] = (
    "blue-green-deployment",
    "db-instance",
    "db-cluster",
)

_THROTTLED: Final = ("Throttl", "RequestLimitExceeded", "TooManyRequests", "SlowDown")
_NOT_FOUND: Final = (
    "DBInstanceNotFound",
    "DBClusterNotFound",
    "BlueGreenDeploymentNotFound",
)
_AUTH: Final = (
    "AccessDenied",
    "Unauthorized",
    "NotAuthorized",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "InvalidSignature",
    "MissingAuthenticationToken",
    "UnrecognizedClient",
    "ExpiredToken",
    "AuthFailure",
    "OptInRequired",
    "InvalidAccessKeyId",
)
_SERVER_ERROR: Final = 500


@dataclass(frozen=True)
class Database:
    """An instance or a cluster, by its name now.

    Attributes:
        server: Its endpoint, a cluster's writer endpoint; None while it has none.
        resource_id: Stays with it when a switchover renames it.
        parameter_status: Apply status of its parameter group, the first that is not `in-sync`.
        members: Names of a cluster's instances.
    """

    name: str
    server: Server | None
    resource_id: str
    parameter_status: str
    members: tuple[str, ...] = ()


def rds_client_factory(
    *,
    region: str,
    endpoint_url: str | None = None,
    connect_timeout_seconds: float = 2.0,
    read_timeout_seconds: float = 5.0,
    access_key: str | None = None,
    secret_key: str | None = None,
) -> Callable[[], RDSClient]:
    """Return what makes a boto3 client with deadlines.

    Args:
        region: For example `eu-central-1`.
        endpoint_url: Another address of the RDS API: a VPC endpoint, or the lab's stand-in.
        connect_timeout_seconds: For the connection.
        read_timeout_seconds: For one answer.
        access_key: Only where the usual AWS chain shall not be asked, as in the lab.
        secret_key: Belongs to `access_key`.

    Raises:
        ConfigurationError: By the function returned: boto3 is missing, or the address is none.
    """

    def make() -> RDSClient:
        try:
            return _client(
                region,
                endpoint_url,
                connect_timeout_seconds,
                read_timeout_seconds,
                access_key,
                secret_key,
            )
        except ImportError as error:
            raise ConfigurationError(
                f"RDS events need the Python package {error.name or 'boto3'!r}, "
                "which is not installed",
                hint="pip install 'dagster-cdc-assets[aws]'",
            ) from error
        except ValueError as error:
            raise ConfigurationError(str(error), field="rds.endpoint_url") from error

    return make


# A client reads the whole model of RDS, which takes longer than a request; it is thread-safe.
@lru_cache(maxsize=8)
def _client(  # noqa: PLR0917 - the key of the cache
    region: str,
    endpoint_url: str | None,
    connect_timeout_seconds: float,
    read_timeout_seconds: float,
    access_key: str | None,
    secret_key: str | None,
) -> RDSClient:
    from boto3.session import Session
    from botocore.config import Config

    config = Config(
        connect_timeout=connect_timeout_seconds,
        read_timeout=read_timeout_seconds,
        retries={"total_max_attempts": 3, "mode": "standard"},
    )
    # The stubs know every service of AWS, installed or not; only this one is meant.
    session = Session(region_name=region)
    connect = cast("Callable[..., RDSClient]", session.client)  # pyright: ignore[reportUnknownMemberType]
    return connect(
        "rds",
        endpoint_url=endpoint_url,
        config=config,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
    )


class RdsApi:
    """DescribeEvents, DescribeBlueGreenDeployments, DescribeDBInstances and DescribeDBClusters.

    Args:
        client_factory: Called once, at the first request.
    """

    def __init__(self, client_factory: Callable[[], RDSClient]) -> None:
        self._factory = client_factory
        self._made: RDSClient | None = None
        self.clock_skew = timedelta(0)

    @property
    def _client(self) -> RDSClient:
        if self._made is None:
            self._made = self._factory()
        return self._made

    @property
    def region(self) -> str:
        """Return the region of the requests."""
        return self._client.meta.region_name

    def events(
        self, source_type: SourceType, since: datetime, until: datetime
    ) -> Generator[tuple[EventRow, ...]]:
        """Return the events of one type, page by page.

        Without SourceIdentifier: the coordinates event bears a name that no longer exists. Without
        EventCategories: that event has none.
        """
        with _asking("DescribeEvents"):
            pages = iter(
                self._client.get_paginator("describe_events").paginate(
                    SourceType=source_type, StartTime=since, EndTime=until
                )
            )
        while True:
            with _asking("DescribeEvents"):
                page = next(pages, None)
                if page is None:
                    return
                rows = tuple(
                    EventRow(
                        item.get("SourceIdentifier", ""),
                        item.get("SourceType", source_type),
                        item["Date"],
                        item.get("Message", ""),
                    )
                    for item in page.get("Events", [])
                    if "Date" in item
                )
            yield rows

    def deployments(self, now: datetime) -> tuple[DeploymentRow, ...]:
        """Return all deployments that the API lists; resource ids are left empty.

        Args:
            now: Local time, to measure by how much AWS's clock differs.
        """
        rows: list[DeploymentRow] = []
        with _asking("DescribeBlueGreenDeployments"):
            paginator = self._client.get_paginator("describe_blue_green_deployments")
            for page in paginator.paginate():
                self._measure_skew(cast("Mapping[str, object]", page), now)
                rows.extend(
                    _deployment(item, item["CreateTime"])
                    for item in page.get("BlueGreenDeployments", [])
                    if "CreateTime" in item
                )
        return tuple(rows)

    def instance(self, name: str) -> Database | None:
        """Return an instance by its name, None when there is none."""
        with _asking("DescribeDBInstances", missing=(found := _Found())):
            answer = self._client.describe_db_instances(DBInstanceIdentifier=name)
            for item in answer["DBInstances"]:
                endpoint = item.get("Endpoint", {})
                found.database = Database(
                    item.get("DBInstanceIdentifier", name),
                    _server(endpoint.get("Address"), endpoint.get("Port")),
                    item.get("DbiResourceId", ""),
                    _worst(
                        group.get("ParameterApplyStatus", "")
                        for group in item.get("DBParameterGroups", [])
                    ),
                )
        return found.database

    def cluster(self, name: str) -> Database | None:
        """Return a cluster by its name, None when there is none."""
        with _asking("DescribeDBClusters", missing=(found := _Found())):
            answer = self._client.describe_db_clusters(DBClusterIdentifier=name)
            for item in answer["DBClusters"]:
                members = item.get("DBClusterMembers", [])
                found.database = Database(
                    item.get("DBClusterIdentifier", name),
                    _server(item.get("Endpoint"), item.get("Port")),
                    item.get("DbClusterResourceId", ""),
                    _worst(member.get("DBClusterParameterGroupStatus", "") for member in members),
                    tuple(member.get("DBInstanceIdentifier", "") for member in members),
                )
        return found.database

    def name_of(self, resource_id: str) -> str:
        """Return the name that a resource id has now, empty when it is gone."""
        with _asking("DescribeDBInstances"):
            for page in self._client.get_paginator("describe_db_instances").paginate():
                for instance in page.get("DBInstances", []):
                    if instance.get("DbiResourceId") == resource_id:
                        return instance.get("DBInstanceIdentifier", "")
        with _asking("DescribeDBClusters"):
            for page in self._client.get_paginator("describe_db_clusters").paginate():
                for cluster in page.get("DBClusters", []):
                    if cluster.get("DbClusterResourceId") == resource_id:
                        return cluster.get("DBClusterIdentifier", "")
        return ""

    def _measure_skew(self, page: Mapping[str, object], now: datetime) -> None:
        """Note AWS's clock: a window that ends by a slow local clock would miss the newest."""
        metadata = cast("Mapping[str, object]", page.get("ResponseMetadata", {}))
        headers = cast("Mapping[str, str]", metadata.get("HTTPHeaders", {}))
        try:
            theirs = parsedate_to_datetime(headers["date"]).astimezone(timezone.utc)
        except (KeyError, TypeError, ValueError):
            return
        skew = theirs - now
        # The header has whole seconds, and the answer was under way.
        self.clock_skew = skew if abs(skew) > timedelta(seconds=2) else timedelta(0)


@dataclass
class _Found:
    database: Database | None = None


def _deployment(item: BlueGreenDeploymentTypeDef, created_at: datetime) -> DeploymentRow:
    members = tuple(
        (_name(detail.get("SourceMember", "")), _name(detail.get("TargetMember", "")))
        for detail in item.get("SwitchoverDetails", [])
    )
    return DeploymentRow(
        item.get("BlueGreenDeploymentIdentifier", ""),
        cast("DeploymentStatus", item.get("Status", "PROVISIONING")),
        _name(item.get("Source", "")),
        _name(item.get("Target", "")),
        created_at,
        name=item.get("BlueGreenDeploymentName", ""),
        members=members,
    )


def _name(arn: str) -> str:
    """Return the name at the end of an ARN: AWS renames in place, so the ARN has the name now."""
    return arn.rpartition(":")[2]


def _server(host: str | None, port: int | None) -> Server | None:
    return Server(host, port) if host and port else None


def _worst(statuses: Generator[str]) -> str:
    found = [status for status in statuses if status]
    return next((status for status in found if status != "in-sync"), found[0] if found else "")


@contextmanager
def _asking(operation: str, *, missing: _Found | None = None) -> Generator[None]:
    """Turn botocore's errors into ours; with `missing`, "not found" is an answer."""
    try:
        yield
    except CdcError:
        raise
    except Exception as error:  # every import of botocore is behind the extra, see below
        mapped = _mapped(operation, error, missing_ok=missing is not None)
        if mapped is None:
            return
        raise mapped from error


def _mapped(operation: str, error: Exception, *, missing_ok: bool) -> Exception | None:
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        PartialCredentialsError,
        TokenRetrievalError,
    )
    from botocore.parsers import ResponseParserError

    if isinstance(error, ClientError):
        code, status = _code(error)
        if missing_ok and code.startswith(_NOT_FOUND):
            return None
        return _client_error(operation, code, status)
    if isinstance(error, (NoCredentialsError, PartialCredentialsError, TokenRetrievalError)):
        return EventFeedError(
            f"RDS {operation}: no AWS credentials ({type(error).__name__})",
            hint="Give the process a role or a profile that may call rds:Describe*",
        )
    if isinstance(error, ResponseParserError):
        return EventFeedUnreachable(f"RDS {operation}: the answer is not of the RDS API")
    if isinstance(error, BotoCoreError):
        # Its text may hold the endpoint, never a key.
        return EventFeedUnreachable(f"RDS {operation}: {' '.join(str(error).split())[:200]}")
    return error


def _code(error: ClientError) -> tuple[str, int]:
    answer = error.response
    details = answer.get("Error", {})
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return details.get("Code", "Unknown"), int(status)


def _client_error(operation: str, code: str, status: int) -> EventFeedError:
    # Only the code: AWS's texts about signatures repeat the request with its session token.
    if code.startswith(_AUTH):
        return EventFeedError(
            f"RDS {operation}: refused ({code})",
            hint="Allow rds:DescribeEvents, rds:DescribeBlueGreenDeployments, "
            "rds:DescribeDBInstances and rds:DescribeDBClusters",
        )
    if code.startswith(_THROTTLED) or status >= _SERVER_ERROR:
        return EventFeedUnreachable(f"RDS {operation}: {code}", hint="It is asked again")
    return EventFeedError(f"RDS {operation}: {code}")
