"""The source endpoint, over real sockets on the loopback address."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from cdc_assets.errors import ConfigurationError, ServiceFailed
from cdc_assets.lab import endpoint
from cdc_assets.lab.endpoint import Address
from cdc_assets.lab.endpoint_control import EndpointControl, EndpointStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUDGET_SECONDS = 10.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Target:
    """A server that greets with its name and keeps its connections for the test to look at."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.settimeout(BUDGET_SECONDS)
                self.connections.append(connection)
                connection.sendall(self.name.encode())

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(BUDGET_SECONDS)
        for connection in self.connections:
            connection.close()


@pytest.fixture
def make_target() -> Iterator[Callable[[str], Target]]:
    with contextlib.ExitStack() as stack:

        def make(name: str) -> Target:
            target = Target(name)
            stack.callback(target.close)
            return target

        yield make


class Running:
    """An endpoint in a thread, its control, and the clients that the test opens."""

    def __init__(self, target: str) -> None:
        self.port, control = free_port(), free_port()
        self.control = EndpointControl("127.0.0.1", control, BUDGET_SECONDS)
        self._stack = contextlib.ExitStack()
        started = threading.Event()

        async def serve() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            started.set()
            await endpoint.run(
                Address("127.0.0.1", self.port),
                Address("127.0.0.1", control),
                Address.parse(target),
                self._stop,
            )

        self._thread = threading.Thread(target=lambda: asyncio.run(serve()))
        self._thread.start()
        assert started.wait(BUDGET_SECONDS)
        self._wait_for_control()

    def _wait_for_control(self) -> None:
        for _ in range(200):
            with contextlib.suppress(ServiceFailed):
                self.control.status()
                return
            threading.Event().wait(0.02)
        pytest.fail("the endpoint does not answer")

    def connect(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), BUDGET_SECONDS)
        self._stack.callback(client.close)
        return client

    def close(self) -> None:
        self._stack.close()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(BUDGET_SECONDS)


@pytest.fixture
def blue(make_target: Callable[[str], Target]) -> Target:
    return make_target("blue")


@pytest.fixture
def running(blue: Target) -> Iterator[Running]:
    started = Running(blue.address)
    yield started
    started.close()


def test_bytes_go_both_ways(running: Running, blue: Target) -> None:
    client = running.connect()
    assert client.recv(100) == b"blue"
    client.sendall(b"hello")
    assert blue.connections[0].recv(100) == b"hello"


def test_a_move_is_for_new_connections_only(
    running: Running, blue: Target, make_target: Callable[[str], Target]
) -> None:
    old = running.connect()
    assert old.recv(100) == b"blue"
    green = make_target("green")
    assert running.control.move(green.address) == EndpointStatus(green.address, 1, accepting=True)
    assert running.connect().recv(100) == b"green"
    blue.connections[0].sendall(b"still blue")
    assert old.recv(100) == b"still blue"
    assert running.control.status().connections == 2


def test_a_drop_ends_both_sides_with_fin(running: Running, blue: Target) -> None:
    client = running.connect()
    assert client.recv(100) == b"blue"
    assert running.control.drop() == 1
    # A reset would raise ConnectionResetError here.
    assert client.recv(100) == b""
    assert blue.connections[0].recv(100) == b""
    assert running.control.status().connections == 0


def test_what_a_server_sends_after_a_drop_is_taken_and_not_answered_with_a_reset(
    running: Running, blue: Target
) -> None:
    client = running.connect()
    assert client.recv(100) == b"blue"
    running.control.drop()
    # More than all buffers hold: somebody has to read it, or this blocks and then fails.
    blue.connections[0].sendall(b"x" * 16_000_000)
    assert blue.connections[0].recv(100) == b""
    assert client.recv(100) == b""


def test_what_was_sent_before_a_drop_arrives(running: Running, blue: Target) -> None:
    client = running.connect()
    assert client.recv(100) == b"blue"
    blue.connections[0].sendall(b"last row")
    assert client.recv(100, socket.MSG_PEEK) == b"last row"
    running.control.drop()
    assert client.recv(100) == b"last row"
    assert client.recv(100) == b""


def test_new_connections_are_closed_while_not_accepting(running: Running, blue: Target) -> None:
    running.control.accept(on=False)
    assert running.connect().recv(100) == b""
    assert blue.connections == []
    assert running.control.accept(on=True).accepting
    assert running.connect().recv(100) == b"blue"


def test_the_end_of_one_side_reaches_the_other(running: Running, blue: Target) -> None:
    client = running.connect()
    assert client.recv(100) == b"blue"
    blue.connections[0].close()
    assert client.recv(100) == b""


def test_a_client_of_a_dead_target_is_closed(running: Running) -> None:
    running.control.move(f"127.0.0.1:{free_port()}")
    assert running.connect().recv(100) == b""


@pytest.mark.parametrize(
    "line",
    [
        b"status\n",
        b"[]\n",
        b'{"cmd": "stop"}\n',
        b'{"cmd": "move", "target": "green"}\n',
        b'{"cmd": "move"}\n',
        b'{"cmd": "accept", "on": 1}\n',
        b"\xff\n",
    ],
)
def test_a_wrong_command_is_refused_and_changes_nothing(running: Running, line: bytes) -> None:
    before = running.control.status()
    address = ("127.0.0.1", running.control.port)
    with socket.create_connection(address, BUDGET_SECONDS) as link:
        link.sendall(line)
        assert b'"error"' in link.recv(1000)
        link.sendall(b'{"cmd": "status"}\n')
        assert b'"target"' in link.recv(1000)
    assert running.control.status() == before


def test_a_refused_command_raises_in_the_client(running: Running) -> None:
    with pytest.raises(ServiceFailed, match="HOST:PORT"):
        running.control.move("nowhere")


def test_an_endpoint_that_is_gone_raises_in_the_client() -> None:
    with pytest.raises(ServiceFailed, match="no answer to 'status'"):
        EndpointControl("127.0.0.1", free_port(), 1.0).status()


@pytest.mark.parametrize("text", ["", "3306", "host:", ":3306", "host:x", "host:70000", "h:-1"])
def test_an_address_needs_host_and_port(text: str) -> None:
    with pytest.raises(ConfigurationError):
        Address.parse(text)


def command(listen: str, control: str) -> list[str]:
    arguments = ["--listen", listen, "--control", control, "--target", "127.0.0.1:1"]
    return [sys.executable, "-m", "cdc_assets.lab.endpoint", *arguments]


def test_the_process_ends_at_sigterm_with_connections_open(blue: Target) -> None:
    port, control_port = free_port(), free_port()
    process = subprocess.Popen(
        command(f"127.0.0.1:{port}", f"127.0.0.1:{control_port}"), stderr=subprocess.PIPE
    )
    try:
        control = EndpointControl("127.0.0.1", control_port, BUDGET_SECONDS)
        for _ in range(500):
            with contextlib.suppress(ServiceFailed):
                control.move(blue.address)
                break
            threading.Event().wait(0.02)
        with socket.create_connection(("127.0.0.1", port), BUDGET_SECONDS) as client:
            assert client.recv(100) == b"blue"
            process.terminate()
            _, errors = process.communicate(timeout=BUDGET_SECONDS)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert errors == b""


@pytest.mark.parametrize(
    ("listen", "control"), [("0.0.0.0:0", "127.0.0.1:0"), ("127.0.0.1:0", "0.0.0.0:0")]
)
def test_the_process_binds_the_loopback_address_only(listen: str, control: str) -> None:
    done = subprocess.run(
        command(listen, control), capture_output=True, timeout=BUDGET_SECONDS, check=False
    )
    assert done.returncode == 2
    assert b"127.0.0.1 only" in done.stderr
