"""The adapter against servers that do not answer, or answer by refusing."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from cdc_assets.core.columns import Column, TableShape
from cdc_assets.core.server_ids import ServerIdRange
from cdc_assets.core.stream import StreamSpec
from cdc_assets.core.table_refs import TableRef
from cdc_assets.errors import TargetError, TargetUnreachable
from cdc_assets.ports import Server
from cdc_assets.targets.postgres import PostgresTarget
from cdc_assets.targets.postgres_session import PostgresLogin, TargetDenied, open_session
from cdc_assets.targets.resource import PostgresTargetResource

PASSWORD = "s3cret-of-the-writer"
SPEC = StreamSpec(
    "s", (TableRef("shop", "orders"),), ServerIdRange(1, 9), "public", target_kind="postgres"
)
ORDERS = TableShape("shop", "orders", (Column("id", "int", "int(11)"),), ("id",))


def target(port: int) -> PostgresTarget:
    return PostgresTarget(login(port), "public")


def login(port: int) -> PostgresLogin:
    server = Server("127.0.0.1", port)
    return PostgresLogin(server, "dw", "writer", PASSWORD, connect_timeout_seconds=2)


def refusal(text: str) -> bytes:
    """Return an ErrorResponse of the protocol, version 3."""
    body = b"SFATAL\0VFATAL\0C28P01\0M" + text.encode() + b"\0\0"
    return b"E" + struct.pack("!I", len(body) + 4) + body


@pytest.fixture
def answering() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def serve(stack: contextlib.ExitStack, answer: bytes) -> int:
    """Accept connections, and answer each with the same bytes; nothing is silence."""
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    taken: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                taken.append(connection)
                if answer:
                    connection.recv(4096)
                    connection.sendall(answer)
                    connection.close()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()

    def end() -> None:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        for connection in taken:
            connection.close()
        thread.join(5)

    stack.callback(end)
    return int(listener.getsockname()[1])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_nobody_listening_is_a_fault_and_no_error() -> None:
    (fault,) = target(free_port()).faults(SPEC, {ORDERS.label: ORDERS})
    assert fault.field == "target.host"
    assert "refused" in fault.found


def test_a_server_that_says_nothing_is_given_up(answering: contextlib.ExitStack) -> None:
    port = serve(answering, b"")
    with pytest.raises(TargetUnreachable, match="timeout"):
        target(port).count("orders", timeout_seconds=1)


def test_a_refused_login_is_told_apart_from_silence(answering: contextlib.ExitStack) -> None:
    port = serve(answering, refusal('password authentication failed for user "writer"'))
    with pytest.raises(TargetDenied, match="password authentication failed"):
        target(port).shapes(["orders"])
    (fault,) = target(port).faults(SPEC, {})
    assert fault.field == "target.account"


def test_a_server_that_starts_is_unreachable_for_now(answering: contextlib.ExitStack) -> None:
    port = serve(answering, refusal("the database system is starting up"))
    with pytest.raises(TargetUnreachable, match="starting up") as caught:
        target(port).shapes(["orders"])
    assert caught.value.recoverability == "TRANSIENT"


def test_no_error_and_no_repr_holds_the_password() -> None:
    seen = repr(login(1)) + repr(target(1))
    with pytest.raises(TargetError) as caught, open_session(login(free_port()), 1):
        pass
    assert PASSWORD not in seen + str(caught.value) + repr(caught.value)


def test_the_resource_opens_nothing() -> None:
    resource = PostgresTargetResource(
        host="dw.example", username="w", password=PASSWORD, database="dw", db_schema="shop"
    )
    client = resource.get_client()
    assert (str(client.server), client.schema, resource.namespace) == (
        "dw.example:5432", "shop", "shop",
    )  # fmt: skip
    assert PASSWORD not in repr(resource)
