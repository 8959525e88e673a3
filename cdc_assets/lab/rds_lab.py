"""The lab as the RDS API stand-in sees it: read from the lab's home at each use.

Servers come and go (a deployment that is created again fills a slot anew), so nothing of the
state file is kept in memory.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cdc_assets.errors import LabError, ServiceFailed
from cdc_assets.lab.endpoint_control import EndpointControl
from cdc_assets.lab.home import require_state, update_state
from cdc_assets.lab.mysql_servers import provision_replica
from cdc_assets.lab.processes import stop
from cdc_assets.lab.switchover_sql import SqlServer

if TYPE_CHECKING:
    from pathlib import Path

    from cdc_assets.lab.source_server import SourceServer
    from cdc_assets.lab.state import LabState, Service

SLOTS: Final = ("blue", "green")
READ_ONLY: Final = "--read-only"
WAIT_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.5


class HomeLab:
    """The servers and the source endpoint of one lab.

    Args:
        home: The lab's home folder.
    """

    def __init__(self, home: Path) -> None:
        self._home = home

    @property
    def endpoint_address(self) -> tuple[str, int]:
        """Host and port of the source endpoint."""
        service = self._endpoint_service()
        return service.host, service.port

    def server_names(self) -> tuple[str, ...]:
        """Return the lab's names of the source servers, production first."""
        return SLOTS

    def engine(self, server: str) -> str:
        """Return `mariadb` or `mysql`."""
        return self._source(server).kind

    def server_address(self, server: str) -> tuple[str, int]:
        """Return the server's own host and port."""
        source = self._source(server)
        return source.host, source.port

    def server(self, server: str) -> SqlServer:
        """Return the statements on one server."""
        source = self._source(server)
        return SqlServer(
            name=server,
            host=source.host,
            port=source.port,
            user=source.admin_user,
            password=source.admin_password,
        )

    def endpoint(self) -> EndpointControl:
        """Return the control of the source endpoint."""
        service = self._endpoint_service()
        if service.control_port is None:
            message = f"service {service.name} of the lab has no control port"
            raise ServiceFailed(message, hint="Start the lab again")
        return EndpointControl(service.host, service.control_port)

    def provision(self, primary: str, replica: str, version: str | None) -> None:
        """Make `replica` an empty server of that version that replicates from `primary`.

        Args:
            primary: The production server.
            replica: The slot to fill.
            version: The replica's version; None for the primary's.

        Raises:
            LabError: The server does not start or does not catch up.
        """
        provision_replica(self._home, self._source(primary), replica, version)

    def stop(self, server: str) -> None:
        """Stop a server for good.

        Args:
            server: The slot.

        Raises:
            LabError: It does not end.
        """
        process = require_state(self._home).service(server).process
        if process is not None:
            # The record of the ended process stays: a slot that has one is filled as a new
            # server, with a new server id.
            stop([process])

    def keep_roles(self, production: str, old: str) -> None:
        """Make a later start of these processes come up in the roles of a finished switchover.

        The endpoint starts with the new target, production writable, old production read-only.

        Args:
            production: The server that takes writes.
            old: The server that is frozen.

        Raises:
            LabError: The lab's state file cannot be read or written.
        """
        host, port = self.server_address(production)

        def edit(state: LabState) -> LabState:
            endpoint = self._endpoint_service()
            at = endpoint.command.index("--target") + 1
            command = (*endpoint.command[:at], f"{host}:{port}", *endpoint.command[at + 1 :])
            state = state.with_service(replace(endpoint, command=command))
            writable, frozen = state.service(production), state.service(old)
            kept = tuple(part for part in writable.command if part != READ_ONLY)
            state = state.with_service(replace(writable, command=kept))
            command = (*(part for part in frozen.command if part != READ_ONLY), READ_ONLY)
            return state.with_service(replace(frozen, command=command))

        update_state(self._home, edit)

    def wait_until_reachable(self) -> None:
        """Wait until both servers answer, as they do once `lab up` has started them.

        Raises:
            LabError: A server does not answer in time.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                for name in SLOTS:
                    self.server(name).version()
            except LabError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SECONDS)
            else:
                return

    def _source(self, name: str) -> SourceServer:
        servers = require_state(self._home).servers
        if name not in servers:
            message = f"lab at {self._home} has no source server {name!r}"
            raise LabError(message, hint=f"It has {', '.join(sorted(servers))}")
        return servers[name]

    def _endpoint_service(self) -> Service:
        services = require_state(self._home).services.values()
        found = [service for service in services if service.control_port is not None]
        if not found:
            message = f"lab at {self._home} has no source endpoint"
            raise LabError(message, hint="Start the lab again")
        return found[0]
