"""Transport: JSON over HTTP to one server, with a deadline and without surprises.

Both Flink services speak the same way: JSON objects, and `{"errors": [...]}` when they refuse.
Flink has no login of its own. A proxy that asks for one is served by a `requests.Session` that
the caller prepares (`session.auth`, `session.headers`, `session.verify`, `session.cert`).
"""

from __future__ import annotations

import ipaddress
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, cast
from urllib.parse import quote, urljoin, urlsplit

import requests
import urllib3

from cdc_assets.errors import ConfigurationError, EngineUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | None"
Method = Literal["GET", "POST", "PATCH", "DELETE"]

_MAX_REPLY_BYTES = 32 * 1024 * 1024
_MAX_REDIRECTS = 3
_SHOWN_ERROR_CHARACTERS = 500
# Cloud metadata services hand out credentials; a URL that a person types never means them.
_METADATA_HOSTS = frozenset({"fd00:ec2::254", "metadata.google.internal"})


@dataclass(frozen=True)
class Reply:
    """What the server answered: JSON, whatever the status.

    Args:
        status: The HTTP status.
        body: The parsed body.
        errors: The texts of `{"errors": [...]}`; empty for a good answer.
    """

    status: int
    body: Json
    errors: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether the server did what was asked."""
        return 200 <= self.status < 300 and not self.errors  # noqa: PLR2004  HTTP's own numbers


class Transport:
    """One server that speaks JSON.

    Args:
        url: `http://host:port` or `https://host:port`, with a path when a proxy adds one.
        service: How errors call the server, e.g. `Flink REST`.
        field: The setting that holds the URL, named when the URL is not usable.
        timeout_seconds: The deadline of one request, connecting and reading included.
        session: A prepared session; a new one when left out.

    Raises:
        ConfigurationError: When the URL is not usable.
    """

    def __init__(
        self,
        url: str,
        *,
        service: str,
        field: str,
        timeout_seconds: float,
        session: requests.Session | None = None,
    ) -> None:
        self._base = _checked_url(url, field)
        self._service = service
        self._timeout = timeout_seconds
        self._session = _new_session(self._base) if session is None else session

    def __repr__(self) -> str:
        """Return the address, without anything that the session holds."""
        return f"Transport({self._base!r})"

    @property
    def place(self) -> str:
        """The service and its address, as errors show them."""
        return f"{self._service} at {self._base}"

    def request(
        self,
        method: Method,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Json] | None = None,
        timeout_seconds: float | None = None,
    ) -> Reply:
        """Send one request and return the parsed answer.

        Args:
            method: The HTTP method.
            path: The path below the base URL, with a leading slash.
            params: The query.
            body: Sent as JSON.
            timeout_seconds: A deadline of its own for a request that may take long.

        Returns:
            The answer, also when the server refused.

        Raises:
            EngineUnreachable: No answer in time, a redirect to another host, or an answer that
                is not JSON.
        """
        limit = self._timeout if timeout_seconds is None else timeout_seconds
        deadline = time.monotonic() + limit
        target = self._base + path
        try:
            for _ in range(_MAX_REDIRECTS + 1):
                with self._session.request(
                    method,
                    target,
                    params=params,
                    json=body,
                    timeout=limit,
                    allow_redirects=False,
                    stream=True,
                    headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                ) as response:
                    if response.is_redirect:
                        target = self._redirected(method, target, response.headers["location"])
                        params = None
                        continue
                    return self._read(response, method, path, deadline)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise EngineUnreachable(
                f"{self.place}: no answer to {method} {path}: {_reason(error, limit)}",
                hint="See that it runs and that the address is right",
            ) from None  # the cause's arguments hold the request with its headers
        raise EngineUnreachable(f"{self.place}: too many redirects for {method} {path}")

    def _redirected(self, method: Method, target: str, location: str) -> str:
        """Return where a redirect leads; a request never leaves the server it was meant for."""
        own, other = urlsplit(self._base), urlsplit(urljoin(target, location))
        same = (own.scheme, own.hostname, own.port) == (other.scheme, other.hostname, other.port)
        if not same or method != "GET":
            raise EngineUnreachable(
                f"{self.place}: {method} was redirected to {other.scheme}://{other.hostname}",
                hint="This redirect is not followed; set the address of the server itself",
            )
        return other.geturl()

    def _read(
        self, response: requests.Response, method: Method, path: str, deadline: float
    ) -> Reply:
        content = bytearray()
        for piece in _pieces(response):
            content += piece
            if len(content) > _MAX_REPLY_BYTES:
                raise EngineUnreachable(f"{self.place}: the answer to {method} {path} is too large")
            # The socket's timeout starts anew with every byte; a server that drips would hold
            # a sensor's tick for ever.
            if time.monotonic() > deadline:
                raise EngineUnreachable(
                    f"{self.place}: the answer to {method} {path} is too slow",
                    hint="The next tick asks again",
                )
        try:
            parsed = cast("Json", json.loads(content or b"{}"))
        except (ValueError, RecursionError):
            kind = response.headers.get("content-type", "no content type").split(";")[0]
            raise EngineUnreachable(
                f"{self.place}: the answer to {method} {path} is not JSON"
                f" (status {response.status_code}, {kind})",
                hint="See that the address is the server's own and not a proxy's page",
            ) from None
        return Reply(response.status_code, parsed, _errors(parsed))


def redacted(text: str, secrets: Sequence[str]) -> str:
    """Return the text with each secret replaced, in each spelling that a server may echo.

    Args:
        text: The text of someone else.
        secrets: The values; empty ones are left out.

    Returns:
        The text with `***` in their place.

    Example:
        >>> redacted("'password' = 'o''neil'", ["o'neil"])
        "'password' = '***'"
    """
    spellings: set[str] = set()
    for secret in secrets:
        plain = {secret, secret.replace("'", "''"), secret.replace("\\", "\\\\")}
        plain |= {json.dumps(secret)[1:-1], quote(secret, safe=""), " ".join(secret.split())}
        spellings |= plain
    for spelling in sorted(spellings - {""}, key=len, reverse=True):
        text = text.replace(spelling, "***")
    return text


def shortened(text: str) -> str:
    """Return the text as one line that a person reads in a terminal."""
    line = " ".join(text.split()).rstrip(". ")  # an error ends its message with a full stop
    if len(line) <= _SHOWN_ERROR_CHARACTERS:
        return line
    return line[: _SHOWN_ERROR_CHARACTERS - 4] + " ..."


def _checked_url(url: str, field: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError("not a URL", field=field) from None
    if parts.scheme not in {"http", "https"} or not host:
        hint = "Write it as http://host:port"
        if parts.username or parts.password:
            raise ConfigurationError("not an http or https URL", field=field, hint=hint)
        raise ConfigurationError("not an http or https URL", field=field, value=url, hint=hint)
    if parts.username or parts.password:
        raise ConfigurationError(
            "the URL holds credentials",
            field=field,
            hint="Give them by a session of your own; a URL is printed in errors and logs",
        )
    if parts.query or parts.fragment:
        raise ConfigurationError("the URL has a query or a fragment", field=field)
    if _is_metadata_service(host):
        raise ConfigurationError(
            "this host is a cloud metadata service or link-local", field=field, value=url
        )
    return url.rstrip("/")


def _new_session(url: str) -> requests.Session:
    session = requests.Session()
    if urlsplit(url).hostname in {"127.0.0.1", "::1", "localhost"}:
        # A proxy of the environment cannot reach this machine's own loopback.
        session.trust_env = False
    return session


def _is_metadata_service(host: str) -> bool:
    if host.lower().rstrip(".") in _METADATA_HOSTS:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_link_local or (mapped is not None and mapped.is_link_local)


def _pieces(response: requests.Response) -> Iterator[bytes]:
    """Yield the body as it arrives: one read of the socket at a time."""
    while piece := response.raw.read1(65536, decode_content=True):
        yield piece


def _errors(body: Json) -> tuple[str, ...]:
    errors = body.get("errors") if isinstance(body, dict) else None
    if not isinstance(errors, list):
        return ()
    return tuple(str(error) for error in errors)


def _reason(error: Exception, limit: float) -> str:
    if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError)):
        return f"none within {limit:g} s"
    if isinstance(error, requests.exceptions.SSLError):
        return "TLS verification failed"
    text = str(error).lower()
    for sign in ("connection refused", "name or service not known", "name resolution"):
        if sign in text:
            return sign
    return type(error).__name__
