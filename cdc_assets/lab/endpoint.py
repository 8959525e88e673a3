"""The source endpoint: a TCP forwarder that can move, as an RDS endpoint does.

Run it as `python -m cdc_assets.lab.endpoint --listen 127.0.0.1:PORT
--control 127.0.0.1:CPORT --target HOST:PORT`. The control port speaks one JSON object per line:

    {"cmd": "status"}                     -> {"target": "h:p", "connections": n, "accepting": true}
    {"cmd": "move", "target": "h:p"}      new connections go there, existing ones stay
    {"cmd": "drop"}                       close every existing connection, both sides, with FIN
    {"cmd": "accept", "on": false}        new connections are closed at once

Each answer is one JSON object; a refused command answers `{"error": "..."}`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from cdc_assets.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOOPBACK = "127.0.0.1"
CHUNK_BYTES = 64 * 1024
CONNECT_SECONDS = 5.0
CLOSE_SECONDS = 0.5
# How long a dropped connection is still read before it is closed. A close with unread bytes in
# the receive buffer makes the kernel send RST; a client of RDS sees FIN.
DROP_LINGER_SECONDS = 2.0
CONTROL_LINE_LIMIT = 64 * 1024
HIGHEST_PORT = 65535


@dataclass(frozen=True)
class Address:
    """A host and a port.

    Example:
        >>> str(Address.parse("127.0.0.1:3306"))
        '127.0.0.1:3306'
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `host:port`.

        Args:
            text: The text, for example `127.0.0.1:3306`.

        Returns:
            The address.

        Raises:
            ConfigurationError: The text is not `host:port` with a port from 0 to 65535.
        """
        host, separator, port = text.rpartition(":")
        if not separator or not host or not port.isdecimal() or int(port) > HIGHEST_PORT:
            message = "must be HOST:PORT with a port from 0 to 65535"
            raise ConfigurationError(message, field="address", value=text)
        return cls(host, int(port))

    def __str__(self) -> str:
        """Return `host:port`."""
        return f"{self.host}:{self.port}"


@dataclass(eq=False)
class Link:
    """One client connection and the server connection behind it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    dropped: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list["asyncio.Task[None]"])

    def half_close(self) -> None:
        """Send FIN to both sides, after what is still buffered for them."""
        self.dropped = True
        for writer in (self.client, self.server):
            with contextlib.suppress(OSError, RuntimeError):
                if writer.can_write_eof():
                    writer.write_eof()

    def close(self) -> None:
        """Close both sockets."""
        for writer in (self.client, self.server):
            with contextlib.suppress(OSError, RuntimeError):
                writer.close()


class Forwarder:
    """Forwards TCP connections to a target that can be changed while it runs.

    Args:
        target: Where new connections go.
        linger_seconds: How long a dropped connection is still read before it is closed.
    """

    def __init__(self, target: Address, *, linger_seconds: float = DROP_LINGER_SECONDS) -> None:
        self._target = target
        self._linger_seconds = linger_seconds
        self._accepting = True
        self._links: set[Link] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def status(self) -> dict[str, object]:
        """Return the target, the number of open connections and whether new ones are accepted."""
        return {
            "target": str(self._target),
            "connections": len(self._links),
            "accepting": self._accepting,
        }

    def move(self, target: Address) -> None:
        """Send new connections to another target; existing ones stay where they are."""
        self._target = target

    def accept(self, *, on: bool) -> None:
        """Accept new connections, or close them at once."""
        self._accepting = on

    def drop(self) -> int:
        """Close every existing connection on both sides.

        Returns:
            How many connections were closed.
        """
        links = list(self._links)
        self._links.clear()
        for link in links:
            link.half_close()
            task = asyncio.create_task(self._close_later(link))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        return len(links)

    async def close(self) -> None:
        """Close every connection without lingering and wait until their tasks have ended."""
        tasks = [task for link in self._links for task in link.tasks]
        for link in list(self._links):
            link.close()
        tasks += self._closing
        for task in self._closing:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)

    async def serve(
        self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter
    ) -> None:
        """Carry one client connection until it ends.

        Args:
            client_reader: What the client sends.
            client_writer: What the client gets.
        """
        if not self._accepting:
            client_writer.close()
            return
        target = self._target
        try:
            server_reader, server_writer = await asyncio.wait_for(
                asyncio.open_connection(target.host, target.port), CONNECT_SECONDS
            )
        except (OSError, asyncio.TimeoutError):
            client_writer.close()
            return
        link = Link(client_writer, server_writer)
        if not self._accepting or self._target != target:
            # The endpoint closed or moved while the server connection was being made: without
            # this check such a connection would escape the drop that goes with the move.
            link.close()
            return
        self._links.add(link)
        link.tasks = [
            asyncio.create_task(_pump(link, client_reader, server_writer)),
            asyncio.create_task(_pump(link, server_reader, client_writer)),
        ]
        try:
            # Not gather: that would hand on the cancellation of a task by a drop.
            await asyncio.wait(link.tasks)
        finally:
            for task in link.tasks:
                task.cancel()
            self._links.discard(link)
            link.close()

    async def _close_later(self, link: Link) -> None:
        if link.tasks:
            await asyncio.wait(link.tasks, timeout=self._linger_seconds)
        for task in link.tasks:
            task.cancel()
        link.close()


async def _pump(link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes one way until the sender is done; a dropped link is read but not forwarded."""
    try:
        while chunk := await reader.read(CHUNK_BYTES):
            if link.dropped:
                continue
            writer.write(chunk)
            await writer.drain()
        if not link.dropped and writer.can_write_eof():
            writer.write_eof()
    except (OSError, RuntimeError):
        # One side is gone: the other must see the end too, not a silence.
        link.close()


def answer(forwarder: Forwarder, request: Mapping[str, object]) -> dict[str, object]:
    """Run one control command.

    Args:
        forwarder: The forwarder to act on.
        request: The command, as read from one JSON line.

    Returns:
        The answer; `{"error": ...}` when the command is not understood.
    """
    command = request.get("cmd")
    if command == "status":
        return forwarder.status()
    if command == "move":
        try:
            forwarder.move(Address.parse(str(request.get("target", ""))))
        except ConfigurationError as error:
            return {"error": str(error)}
        return forwarder.status()
    if command == "drop":
        return {"dropped": forwarder.drop(), **forwarder.status()}
    if command == "accept":
        on = request.get("on")
        if not isinstance(on, bool):
            return {"error": f"accept: 'on' must be true or false (got {on!r})"}
        forwarder.accept(on=on)
        return forwarder.status()
    return {"error": f"unknown command {command!r}; use status, move, drop or accept"}


def _answer_line(forwarder: Forwarder, line: bytes) -> dict[str, object]:
    try:
        request: object = json.loads(line)
    except ValueError:
        return {"error": "not one JSON object per line"}
    if not isinstance(request, dict):
        return {"error": "not a JSON object"}
    return answer(forwarder, cast("dict[str, object]", request))


async def _control(
    forwarder: Forwarder, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        while line := await reader.readline():
            writer.write(json.dumps(_answer_line(forwarder, line)).encode() + b"\n")
            await writer.drain()
    except (OSError, ValueError):
        pass  # The client went away or sent a line over the limit: only its connection ends.
    finally:
        writer.close()


async def run(listen: Address, control: Address, target: Address, stop: asyncio.Event) -> None:
    """Serve the endpoint and its control port until `stop` is set.

    Args:
        listen: Where clients connect.
        control: Where control commands are read.
        target: Where connections go at first.
        stop: Ends the service at once.
    """
    forwarder = Forwarder(target)

    async def serve_control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _control(forwarder, reader, writer)

    servers = [
        await asyncio.start_server(forwarder.serve, listen.host, listen.port, backlog=512),
        await asyncio.start_server(
            serve_control, control.host, control.port, limit=CONTROL_LINE_LIMIT
        ),
    ]
    try:
        await stop.wait()
    finally:
        for server in servers:
            server.close()
        await forwarder.close()


async def _main(listen: Address, control: Address, target: Address) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(listen, control, target, stop)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the forwarder as a process.

    Args:
        arguments: The command line, without the program's name.
    """
    parser = argparse.ArgumentParser(prog="python -m cdc_assets.lab.endpoint")
    for name in ("--listen", "--control", "--target"):
        parser.add_argument(name, required=True, metavar="HOST:PORT")
    options = parser.parse_args(arguments)
    addresses: dict[str, Address] = {}
    for name in ("listen", "control", "target"):
        try:
            addresses[name] = Address.parse(cast("str", getattr(options, name)))
        except ConfigurationError as error:
            parser.error(f"--{name}: {error}")
    for name in ("listen", "control"):
        if addresses[name].host != LOOPBACK:
            parser.error(f"--{name}: the lab binds {LOOPBACK} only (got {addresses[name]})")
    asyncio.run(_main(addresses["listen"], addresses["control"], addresses["target"]))


if __name__ == "__main__":
    main()
