"""Stage: a lab with Dagster on it, and the questions that a demonstration asks of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pymysql

from cdc_assets.core.recoveries import CLOSED
from cdc_assets.errors import CdcError, LabError
from cdc_assets.lab.comparison import compare
from cdc_assets.lab.dagster_services import environment
from cdc_assets.lab.home import require_state
from cdc_assets.lab.landing import Landing
from cdc_assets.lab.state import LabState
from cdc_assets.lab.switchover_call import rds_client
from cdc_assets.lab.target_systems import target_system
from cdc_assets.lab.workload import Login, Writer
from cdc_assets.ledger.client import SqlLedger
from cdc_assets.ports import StepRow

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient

STREAMS = ("shop", "stats")
COMPARED = ("source_table", "orders", "orders_by_product")
INSTANCE = "lab-mysql"
_QUIET_SECONDS = 60.0


@dataclass(frozen=True)
class Switched:
    """A switchover as the caller of the API saw it.

    Attributes:
        began: When it was asked for, monotonic seconds.
        ended: When it was seen completed.
    """

    began: float
    ended: float


class Stage:
    """One lab, seen from outside.

    Args:
        home: The lab.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ledger = SqlLedger(environment(require_state(home))["CDC_LEDGER_URL"])

    @property
    def state(self) -> LabState:
        """Return the lab's state now."""
        return require_state(self.home)

    @property
    def source(self) -> Login:
        """Return the application's login at the production endpoint."""
        state = self.state
        endpoint, app = state.services["endpoint"], state.accounts["app"]
        return Login(endpoint.host, endpoint.port, app.user, app.password, "source")

    @property
    def target(self) -> Login:
        """Return the application's login at the target."""
        state = self.state
        server, app = state.servers["target"], state.accounts["app"]
        return Login(server.host, server.port, app.user, app.password, "target")

    @property
    def landing(self) -> Landing:
        """Return the target tables as the demonstration reads them."""
        state = self.state
        return target_system(state.target_kind).landing(state)

    @property
    def target_admin(self) -> Login:
        """Return a login at the target that may read its binlog."""
        server = self.state.servers["target"]
        return Login(server.host, server.port, server.admin_user, server.admin_password, "target")

    def server_id(self) -> int:
        """Return the server id of production."""
        with self.source.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT @@server_id")
            row = cursor.fetchone()
        return int(row[0]) if row else 0

    def rds(self) -> RDSClient:
        """Return a client of the RDS API stand-in."""
        return rds_client(environment(self.state)["CDC_RDS_ENDPOINT_URL"])

    def available_deployment(self) -> str:
        """Return the id of the deployment that can be switched over.

        Raises:
            LabError: There is none.
        """
        found = self.rds().describe_blue_green_deployments()["BlueGreenDeployments"]
        for deployment in found:
            if deployment.get("Status") == "AVAILABLE":
                return str(deployment.get("BlueGreenDeploymentIdentifier"))
        raise LabError("no blue/green deployment is AVAILABLE")

    def switch_over(self, deployment: str, *, budget_seconds: float = 120.0) -> Switched:
        """Ask for a switchover through the RDS API and wait until it is completed.

        Raises:
            LabError: It failed, or did not end.
        """
        client = self.rds()
        began = time.monotonic()
        client.switchover_blue_green_deployment(
            BlueGreenDeploymentIdentifier=deployment, SwitchoverTimeout=300
        )
        while time.monotonic() - began < budget_seconds:
            reply = client.describe_blue_green_deployments(BlueGreenDeploymentIdentifier=deployment)
            status = reply["BlueGreenDeployments"][0].get("Status")
            if status == "SWITCHOVER_COMPLETED":
                return Switched(began, time.monotonic())
            if status not in {"SWITCHOVER_IN_PROGRESS", "AVAILABLE"}:
                raise LabError(f"the switchover of {deployment} is {status}")
            time.sleep(0.05)
        raise LabError(f"the switchover of {deployment} did not end in {budget_seconds:.0f} s")

    def new_deployment(self, *, budget_seconds: float = 180.0) -> str:
        """Delete what the last switchover left and create the next deployment.

        Raises:
            LabError: It did not become AVAILABLE.
        """
        client = self.rds()
        for old in client.describe_blue_green_deployments()["BlueGreenDeployments"]:
            client.delete_blue_green_deployment(
                BlueGreenDeploymentIdentifier=str(old.get("BlueGreenDeploymentIdentifier"))
            )
        for instance in client.describe_db_instances()["DBInstances"]:
            name = str(instance.get("DBInstanceIdentifier"))
            if name.startswith(f"{INSTANCE}-old"):
                client.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)
        arn = next(
            str(instance.get("DBInstanceArn"))
            for instance in client.describe_db_instances()["DBInstances"]
            if instance.get("DBInstanceIdentifier") == INSTANCE
        )
        client.create_blue_green_deployment(BlueGreenDeploymentName="lab", Source=arn)
        deadline = time.monotonic() + budget_seconds
        while time.monotonic() < deadline:
            with suppress(LabError):
                return self.available_deployment()
            time.sleep(0.5)
        raise LabError(f"no deployment became AVAILABLE within {budget_seconds:.0f} s")

    def closed_recoveries(self, stream: str) -> int:
        """Return how many recoveries of a stream are closed."""
        return sum(1 for step in self.ledger.steps(stream) if step.step == CLOSED)

    def wait_closed(self, stream: str, count: int, *, budget_seconds: float) -> None:
        """Wait until a stream has that many closed recoveries and none open.

        Raises:
            LabError: They are not closed in time; says the last step.
        """
        deadline = time.monotonic() + budget_seconds
        while time.monotonic() < deadline:
            if self.closed_recoveries(stream) >= count and not self._open(stream):
                return
            time.sleep(0.2)
        steps = self.ledger.steps(stream)
        last = f"{steps[-1].step}: {dict(steps[-1].detail)}" if steps else "none"
        raise LabError(
            f"stream {stream!r}: no recovery was closed within {budget_seconds:.0f} s; "
            f"last step: {last}"
        )

    def _open(self, stream: str) -> bool:
        last: dict[str, str] = {}
        for step in self.ledger.steps(stream):
            last[step.recovery] = step.step
        return any(step != CLOSED for name, step in last.items() if "/" not in name)

    def settle(self, *, budget_seconds: float = _QUIET_SECONDS) -> None:
        """Wait until the target holds what the source holds; nothing writes meanwhile.

        It ends early when both sides agree, and then waits for a flush and a checkpoint
        more: a row that arrives twice or too late would show by then. The comparison that
        counts is made afterwards.
        """
        deadline = time.monotonic() + budget_seconds
        while time.monotonic() < deadline:
            with suppress(pymysql.MySQLError, OSError, CdcError):
                found = compare(self.source, self.landing, COMPARED)
                if not any(difference.lost or difference.doubled for difference in found):
                    break
            time.sleep(0.5)
        time.sleep(4.0)


class TimeLine(threading.Thread):
    """Tells the steps of all recoveries as they appear in the ledger from now on."""

    def __init__(self, stage: Stage, tell: Callable[[str], None]) -> None:
        super().__init__(name="time-line", daemon=True)
        self._stage = stage
        self._tell = tell
        self._halt = threading.Event()
        self._seen = {
            (step.stream, step.recovery, step.seq)
            for stream in STREAMS
            for step in stage.ledger.steps(stream)
        }

    def stop(self) -> None:
        """Tell what is left, and end."""
        self._halt.set()
        self.join(timeout=10)

    def run(self) -> None:
        """Look until stopped."""
        while not self._halt.is_set():
            self._look()
            self._halt.wait(0.3)
        self._look()

    def _look(self) -> None:
        for stream in STREAMS:
            with suppress(CdcError):
                for step in self._stage.ledger.steps(stream):
                    key = (step.stream, step.recovery, step.seq)
                    if key not in self._seen and "/" not in step.recovery:
                        self._seen.add(key)
                        self._tell(line_of(step))


def line_of(step: StepRow) -> str:
    """Return one line of the time line."""
    at = (step.at or datetime.now(timezone.utc)).astimezone(timezone.utc)
    detail = ", ".join(f"{key}={_short(value)}" for key, value in step.detail.items())
    return f"{at:%H:%M:%S.%f}"[:-3] + f"  {step.recovery}  {step.step}  {detail}"[:300]


def _short(value: object) -> str:
    if isinstance(value, str) and value.startswith("/"):
        return ".../" + "/".join(value.split("/")[-2:])
    if isinstance(value, (list, tuple)):
        items = cast("Sequence[object]", value)
        return "; ".join(_short(item) for item in items) or "none"
    return str(value)


def first_green_row(writer: Writer, server_id: int) -> Callable[[], int | None]:
    """Return what finds the key of the first order that was committed on a server."""

    def find() -> int | None:
        found = writer.first_row_on(server_id)
        return found[0] if found else None

    return find
