from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import requests

from cdc_assets.errors import ConfigurationError, EngineUnreachable
from cdc_assets.flink.client import FlinkClient
from cdc_assets.flink.gateway import SqlGateway
from cdc_assets.flink.http import Transport, redacted, shortened

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.adapters.flink.conftest import FakeServer, Payloads


class Page:
    """An answer that is not JSON or carries headers."""

    def __init__(self, status: int, body: bytes, **headers: str) -> None:
        self.status = status
        self.body = body
        self.headers = {key.replace("_", "-"): value for key, value in headers.items()}


@contextmanager
def raw_server(*chunks: bytes, hold: bool = False) -> Generator[int]:
    """Serve one connection: read the request, send the chunks, then close or hold it open."""
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            for chunk in chunks:
                try:
                    connection.sendall(chunk)
                except OSError:
                    return
                if done.wait(0.03):
                    return
            if hold:
                done.wait(10)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        done.set()
        thread.join()
        listener.close()


def test_html_is_unreachable_and_names_the_status_and_the_type(
    flink: FlinkClient, server: FakeServer
) -> None:
    page = Page(502, b"<html><body>Bad gateway</body></html>", content_type="text/html")
    server.on("GET", "/overview", page)

    with pytest.raises(EngineUnreachable, match=r"is not JSON \(status 502, text/html\)"):
        flink.overview()


@pytest.mark.parametrize(
    "body", [b"{", b'{"a": 1', b"\xff\xfe", b"[" * 100_000, b'"text"', b"12", b"null"]
)
def test_a_damaged_answer_is_unreachable(
    flink: FlinkClient, server: FakeServer, body: bytes
) -> None:
    server.on("GET", "/overview", Page(200, body))

    with pytest.raises(EngineUnreachable):
        flink.overview()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (requests.exceptions.ConnectTimeout(), "none within 10 s"),
        (requests.exceptions.ReadTimeout(), "none within 10 s"),
        (requests.exceptions.SSLError(), "TLS verification failed"),
        (requests.exceptions.ConnectionError("Connection refused"), "connection refused"),
        (requests.exceptions.ChunkedEncodingError(), "ChunkedEncodingError"),
    ],
)
def test_no_answer_is_unreachable_and_says_why(
    flink: FlinkClient, server: FakeServer, error: Exception, words: str
) -> None:
    server.on("GET", "/overview", error)

    with pytest.raises(EngineUnreachable, match=words) as caught:
        flink.overview()

    assert "http://flink.test:8081" in str(caught.value)
    assert caught.value.recoverability == "TRANSIENT"
    assert "\n" not in str(caught.value)


def test_each_request_has_a_timeout(
    flink: FlinkClient, server: FakeServer, payload: Payloads
) -> None:
    server.on("GET", "/overview", payload("overview"))

    flink.overview()

    assert server.timeouts == [10]


def test_a_redirect_to_another_host_is_not_followed(flink: FlinkClient, server: FakeServer) -> None:
    server.on("GET", "/overview", Page(302, b"", location="http://elsewhere.test:8081/overview"))

    with pytest.raises(EngineUnreachable, match=r"redirected to http://elsewhere\.test"):
        flink.overview()

    assert server.calls == [("GET", "/overview")]


@pytest.mark.parametrize(
    "location",
    [
        "https://flink.test:8081/overview",
        "http://flink.test:9999/overview",
        "//elsewhere.test/overview",
        "http://flink.test@elsewhere.test/overview",
    ],
)
def test_another_port_or_scheme_is_another_server(
    flink: FlinkClient, server: FakeServer, location: str
) -> None:
    server.on("GET", "/overview", Page(307, b"", location=location))

    with pytest.raises(EngineUnreachable, match="was redirected to"):
        flink.overview()


@pytest.mark.parametrize("location", ["/v1/overview", "http://flink.test:8081/v1/overview"])
def test_a_redirect_on_the_same_server_is_followed(
    flink: FlinkClient, server: FakeServer, payload: Payloads, location: str
) -> None:
    server.on("GET", "/overview", Page(302, b"", location=location))
    server.on("GET", "/v1/overview", payload("overview"))

    assert flink.overview().version == "1.20.3"


def test_a_redirect_in_a_circle_ends(flink: FlinkClient, server: FakeServer) -> None:
    server.on("GET", "/overview", Page(302, b"", location="/overview"))

    with pytest.raises(EngineUnreachable, match="too many redirects"):
        flink.overview()

    assert len(server.calls) == 4


def test_a_change_is_never_redirected(flink: FlinkClient, server: FakeServer) -> None:
    job = "0" * 32
    server.on("PATCH", f"/jobs/{job}", Page(307, b"", location=f"/jobs/{job}"))

    with pytest.raises(EngineUnreachable, match="PATCH was redirected"):
        flink.cancel(job)


def test_a_path_before_the_api_is_kept(
    session: requests.Session, server: FakeServer, payload: Payloads
) -> None:
    server.on("GET", "/flink/eu/overview", payload("overview"))

    assert FlinkClient("http://proxy.test/flink/eu/", 5, session).overview().version == "1.20.3"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "not an http or https URL"),
        ("flink:8081", "not an http or https URL"),
        ("file:///etc/passwd", "not an http or https URL"),
        ("http://", "not an http or https URL"),
        ("http://host:99999", "not a URL"),
        ("http://[::1", "not a URL"),
        ("http://me:geheim@host:8081", "holds credentials"),
        ("http://host:8081?x=1", "query or a fragment"),
        ("http://169.254.169.254", "metadata service"),
        ("http://[fe80::1]:8081", "metadata service"),
        ("http://[::ffff:169.254.169.254]", "metadata service"),
        ("http://metadata.google.internal.", "metadata service"),
        ("http://[fd00:ec2::254]/latest", "metadata service"),
    ],
)
@pytest.mark.parametrize(
    ("kind", "field"), [(FlinkClient, "rest_url"), (SqlGateway, "sql_gateway_url")]
)
def test_an_unusable_url_is_refused_with_its_field_and_without_its_secret(
    url: str, words: str, kind: type[FlinkClient | SqlGateway], field: str
) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        kind(url)

    assert caught.value.field == field
    assert "geheim" not in str(caught.value)


def test_a_server_that_accepts_and_says_nothing_is_given_up() -> None:
    with raw_server(hold=True) as port:
        flink = FlinkClient(f"http://127.0.0.1:{port}", timeout_seconds=0.2)

        with pytest.raises(EngineUnreachable, match=r"none within 0\.2 s"):
            flink.overview()


def test_a_server_that_drips_is_given_up_at_the_deadline() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n"
    with raw_server(head, *([b" "] * 200)) as port:
        flink = FlinkClient(f"http://127.0.0.1:{port}", timeout_seconds=0.3)

        with pytest.raises(EngineUnreachable, match="is too slow"):
            flink.overview()


def test_an_answer_that_breaks_off_is_unreachable() -> None:
    with raw_server(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"taskmanagers"') as port:
        flink = FlinkClient(f"http://127.0.0.1:{port}", timeout_seconds=5)

        with pytest.raises(EngineUnreachable, match="no answer to GET /overview"):
            flink.overview()


def test_an_answer_in_pieces_is_put_together() -> None:
    body = b'{"taskmanagers":1,"slots-total":2,"slots-available":1,"jobs-running":1,'
    rest = b'"flink-version":"2.2.1"}'
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body) + len(rest)}\r\n\r\n".encode()
    with raw_server(head, body, rest) as port:
        flink = FlinkClient(f"http://127.0.0.1:{port}", timeout_seconds=5)

        assert flink.overview().version == "2.2.1"


def test_a_port_that_nobody_listens_on_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(EngineUnreachable, match="connection refused"):
        FlinkClient(f"http://127.0.0.1:{port}", timeout_seconds=5).overview()


def test_a_proxy_of_the_environment_is_not_asked_for_the_loopback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    body = b'{"productName":"Apache Flink","version":"1.20.3"}'
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with raw_server(head + body) as port:
        assert SqlGateway(f"http://127.0.0.1:{port}", 5).version() == "1.20.3"


def test_reprs_hold_no_secret() -> None:
    session = requests.Session()
    session.auth = ("me", "geheim")
    shown = [
        repr(FlinkClient("http://a:1", 5, session)),
        repr(SqlGateway("http://a:1", 5, session, secrets=["geheim"])),
        repr(Transport("http://a:1", service="s", field="f", timeout_seconds=1, session=session)),
    ]

    assert not [text for text in shown if "geheim" in text]


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("geheim", "password geheim here"),
        ("o'neil", "'password' = 'o''neil'"),
        ('a"b', '{"p": "a\\"b"}'),
        ("a b\n c", "x a b c y"),
        ("p@ss/w", "jdbc:mysql://h?password=p%40ss%2Fw"),
        ("a\\b", "'a\\\\b'"),
    ],
)
def test_a_secret_is_redacted_in_each_spelling(secret: str, text: str) -> None:
    shown = redacted(text, [secret, ""])

    assert "***" in shown
    assert secret not in shown
    assert "neil" not in shown


def test_a_secret_inside_another_secret_leaves_nothing_behind() -> None:
    assert redacted("key=abcdef", ["abc", "abcdef"]) == "key=***"


def test_a_long_reason_is_one_short_line() -> None:
    line = shortened("word \n" * 1000)

    assert len(line) == 500
    assert line.endswith(" ...")
    assert "\n" not in line
