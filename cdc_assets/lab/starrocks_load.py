"""HTTP ports of the StarRocks stand-in: stream load, transaction load, label states."""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from cdc_assets.lab.starrocks_body import Loaded, LoadRefused, TooManyFiltered, read_body
from cdc_assets.lab.starrocks_store import StarRocksStore, StoreRefused, Transaction

TITLE = "A stand-in of cdc-assets that speaks StarRocks' protocols. It is not StarRocks."
_DEFAULT_SECONDS = 600.0
_KEPT_LOGS = 100
_TRANSACTION_STEPS = ("begin", "prepare", "commit", "rollback")

Handler = Callable[[Request], Awaitable[Response]]


@dataclass
class LoadPorts:
    """The two HTTP ports, which share what is stored.

    Attributes:
        store: What is stored.
        accounts: Passwords by user name.
        be_address: `host:port` that the front end sends loads to.
        error_logs: Why rows were filtered, by a random name.
    """

    store: StarRocksStore
    accounts: Mapping[str, str] = field(repr=False)
    be_address: str
    error_logs: dict[str, str] = field(default_factory=dict[str, str])

    def front_end(self) -> Starlette:
        """Return what answers on the FE's HTTP port."""
        return Starlette(
            routes=[
                Route("/", _title),
                Route("/api/transaction/load", self._guarded(self._redirected), methods=["PUT"]),
                Route("/api/transaction/{step}", self._guarded(self._step), methods=["POST"]),
                Route("/api/{db}/get_load_state", self._guarded(self._label_state)),
                Route(
                    "/api/{db}/{table}/_stream_load",
                    self._guarded(self._redirected),
                    methods=["PUT"],
                ),
            ]
        )

    def back_end(self) -> Starlette:
        """Return what answers on the BE's HTTP port."""
        return Starlette(
            routes=[
                Route("/", _title),
                Route("/api/_load_error_log", self._error_log),
                Route("/api/transaction/load", self._guarded(self._load), methods=["PUT"]),
                Route(
                    "/api/{db}/{table}/_stream_load",
                    self._guarded(self._stream_load),
                    methods=["PUT"],
                ),
            ]
        )

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            if not self._is_known(request.headers.get("authorization", "")):
                return JSONResponse(
                    {"status": "FAILED", "msg": "Access denied"},
                    401,
                    {"WWW-Authenticate": 'Basic realm=""'},
                )
            try:
                return await handler(request)
            except StoreRefused as error:
                return _answer(error.status, str(error), request.headers.get("label", ""))
            except ClientDisconnect:
                return _answer("FAILED", "the body did not arrive whole", "")

        return guarded

    def _is_known(self, header: str) -> bool:
        scheme, _, coded = header.partition(" ")
        try:
            user, _, password = base64.b64decode(coded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        wanted = self.accounts.get(user)
        return (
            scheme.lower() == "basic"
            and wanted is not None
            and secrets.compare_digest(wanted.encode(), password.encode())
        )

    async def _redirected(self, request: Request) -> Response:
        if request.headers.get("expect", "").lower() != "100-continue":
            return _answer("FAILED", "There is no 100-continue header", "")
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"http://{self.be_address}{path}", 307)

    async def _step(self, request: Request) -> Response:
        step, headers = request.path_params["step"], request.headers
        database, label = headers.get("db", ""), headers.get("label", "")
        if step not in _TRANSACTION_STEPS:
            return _answer("INVALID_ARGUMENT", f"unknown operation {step}", label)
        if not label or not database:
            # Not a label: the connector asks this way whether there are transactions at all.
            return _answer("INVALID_ARGUMENT", "empty label or db", label)
        if step == "begin":
            seconds = _seconds(headers.get("timeout"))
            begin = self.store.begin
            found = await asyncio.to_thread(
                begin, database, headers.get("table", ""), label, seconds
            )
        else:
            call = {
                "prepare": self.store.prepare,
                "commit": self.store.commit,
                "rollback": self.store.rollback,
            }[step]
            found = await asyncio.to_thread(call, database, label)
        return _answer("OK", "", label, found)

    async def _label_state(self, request: Request) -> Response:
        label = request.query_params.get("label", "")
        found = await asyncio.to_thread(self.store.transaction, request.path_params["db"], label)
        return JSONResponse({"state": found.state, "status": "OK", "msg": "Success"})

    async def _load(self, request: Request) -> Response:
        headers = request.headers
        database, label = headers.get("db", ""), headers.get("label", "")
        body = await request.body()
        began = time.monotonic()

        def work() -> tuple[Transaction, Loaded]:
            table = self.store.require_table(database, headers.get("table", ""))
            loaded = read_body(table, _plain(headers), body)
            return self.store.add(database, label, loaded.rows), loaded

        try:
            found, loaded = await asyncio.to_thread(work)
        except LoadRefused as error:
            return _answer("FAILED", str(error), label, more=self._counts(error, began))
        return _answer("OK", "", label, found, _numbers(loaded, began))

    async def _stream_load(self, request: Request) -> Response:
        headers = request.headers
        database, name = request.path_params["db"], request.path_params["table"]
        label = headers.get("label", "") or secrets.token_hex(16)
        body = await request.body()
        began = time.monotonic()
        used = self.store.transaction(database, label)
        if used.state not in {"UNKNOWN", "ABORTED"}:
            existing = "FINISHED" if used.state == "VISIBLE" else "RUNNING"
            return _answer(
                "Label Already Exists",
                f"Label [{label}] has already been used, relate to txn: {used.number}",
                label,
                used,
                {"ExistingJobStatus": existing},
            )

        def work() -> tuple[Transaction, Loaded]:
            table = self.store.require_table(database, name)
            loaded = read_body(table, _plain(headers), body)
            found = self.store.begin(database, name, label, _seconds(headers.get("timeout")))
            self.store.add(database, label, loaded.rows)
            self.store.prepare(database, label)
            self.store.commit(database, label)
            return found, loaded

        try:
            found, loaded = await asyncio.to_thread(work)
        except LoadRefused as error:
            return _answer("Fail", str(error), label, more=self._counts(error, began))
        except StoreRefused as error:
            return _answer("Fail", str(error), label)
        return _answer("Success", "OK", label, found, _numbers(loaded, began))

    def _counts(self, error: LoadRefused, began: float) -> Mapping[str, object]:
        if not isinstance(error, TooManyFiltered):
            return {}
        name = secrets.token_hex(8)
        while len(self.error_logs) >= _KEPT_LOGS:
            self.error_logs.pop(next(iter(self.error_logs)))
        self.error_logs[name] = "\n".join(error.loaded.errors)
        url = f"http://{self.be_address}/api/_load_error_log?file={name}"
        return {**_numbers(error.loaded, began), "ErrorURL": url}

    async def _error_log(self, request: Request) -> Response:
        text = self.error_logs.get(request.query_params.get("file", ""))
        if text is None:
            return PlainTextResponse("no such log", 404)
        return PlainTextResponse(text)


async def _title(_request: Request) -> Response:
    return PlainTextResponse(TITLE)


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isdigit() else _DEFAULT_SECONDS


def _plain(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _numbers(loaded: Loaded, began: float) -> Mapping[str, object]:
    took = round((time.monotonic() - began) * 1000)
    return {
        "NumberTotalRows": loaded.total,
        "NumberLoadedRows": len(loaded.rows),
        "NumberFilteredRows": loaded.filtered,
        "NumberUnselectedRows": 0,
        "LoadBytes": loaded.size,
        "LoadTimeMs": took,
        "BeginTxnTimeMs": 0,
        "StreamLoadPlanTimeMs": 0,
        "ReadDataTimeMs": 0,
        "WriteDataTimeMs": took,
        "CommitAndPublishTimeMs": 0,
    }


def _answer(
    status: str,
    message: str,
    label: str,
    found: Transaction | None = None,
    more: Mapping[str, Any] | None = None,
) -> Response:
    return JSONResponse(
        {
            "TxnId": found.number if found is not None else -1,
            "Label": label,
            "Status": status,
            "Message": message,
            **(more or {}),
        }
    )
