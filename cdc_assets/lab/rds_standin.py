"""The RDS API stand-in as a process: `python -m cdc_assets.lab.rds_standin --home H --port P`.

boto3 talks to it with `endpoint_url="http://127.0.0.1:P"`. It is a stand-in and says so: in the
header `X-Cdc-Lab` of every answer, in the tag `lab/stand-in` of every instance and deployment,
and at `GET /`. The switchover behind it is real.

Lab-only routes; RDS has none of them. Each takes and answers one JSON object:

    GET  /lab/state                     everything that is remembered, and the last timing
    POST /lab/events                    {"source_identifier", "source_type", "message",
                                         "categories"?: [...], "date"?: ISO 8601} appends an event
    POST /lab/suppress                  {"coordinates": true} or {"delay_seconds": N}: the next
                                        switchover emits no coordinates event, or emits it later
    POST /lab/settings                  {"switchover_timeout_cap_seconds": 2, ...}, see `Settings`
    POST /lab/parameter-apply-status    {"instance": NAME, "status": "pending-reboot"}
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast
from xml.sax.saxutils import escape

from moto.core.request import (  # noqa: TID253 - only the stand-in's process imports this module
    Request as MotoRequest,
)
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

from cdc_assets.errors import LabError
from cdc_assets.lab.rds_backend import LABEL, RdsStandInBackend
from cdc_assets.lab.rds_deployments import Deployments
from cdc_assets.lab.rds_events import BLUE_GREEN, DB_INSTANCE, SOURCE_TYPES, Event, utc_now
from cdc_assets.lab.rds_journal import Names
from cdc_assets.lab.rds_lab import HomeLab
from cdc_assets.lab.rds_responses import OPERATIONS, response_class
from cdc_assets.lab.rds_state import FileStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from werkzeug.serving import BaseWSGIServer

    from cdc_assets.lab.rds_journal import Store
    from cdc_assets.lab.rds_registry import Lab
    from cdc_assets.lab.rds_state import RdsState

LOG: Final = logging.getLogger(__name__)
LOOPBACK: Final = "127.0.0.1"
REGION: Final = "us-east-1"
ACCOUNT: Final = "123456789012"
HEADER: Final = ("X-Cdc-Lab", LABEL)
NAMESPACE: Final = "http://rds.amazonaws.com/doc/2014-10-31/"


class ServedRequest(MotoRequest):
    """A request that came over HTTP: moto adds no Date header of its own."""

    from_wsgi_server = True


class StandIn:
    """The WSGI application: the RDS query API at `/`, the lab's own routes at `/lab/...`.

    Args:
        store: The state.
        lab: The real servers.
    """

    def __init__(self, store: Store, lab: Lab) -> None:
        names = Names(REGION, ACCOUNT)
        self.deployments = Deployments(store, lab, names)
        self._names = names
        self._store = store
        self._api = response_class(RdsStandInBackend(store, lab, names, self.deployments))
        self._routes: dict[str, Callable[[Mapping[str, object]], RdsState]] = {
            "/lab/events": self._add_event,
            "/lab/suppress": self._suppress,
            "/lab/settings": self._change_settings,
            "/lab/parameter-apply-status": self._set_apply_status,
        }

    def start(self) -> None:
        """Register the lab's servers, or finish what a kill left half done.

        Raises:
            LabError: A server does not answer.
        """
        self.deployments.start()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        request = ServedRequest(environ)
        # Read once, before anything parses it: the form and moto both work on this copy.
        request.get_data(cache=True)
        if request.path.startswith("/lab/"):
            response = self._lab_route(request)
        elif request.path == "/" and request.method == "POST":
            response = self._query(request)
        elif request.path == "/" and request.method == "GET":
            response = Response(f"{LABEL} of the cdc-assets lab\n", content_type="text/plain")
        else:
            response = _fault(404, "InvalidAction", f"{LABEL}: there is nothing at {request.path}")
        response.headers[HEADER[0]] = HEADER[1]
        return response(environ, start_response)

    # ------------------------------------------------------------------ RDS API

    def _query(self, request: ServedRequest) -> Response:
        action = request.form.get("Action", "")
        region = _signed_region(request)
        if region not in {"", REGION}:
            message = f"{LABEL}: the lab is in region {REGION}, not {region}"
            return _fault(400, "InvalidParameterValue", message)
        if action not in OPERATIONS:
            message = f"{LABEL}: operation {action or '(none)'} is not part of the lab"
            return _fault(400, "NotImplemented", message)
        try:
            return self._dispatch(request)
        except LabError as error:
            return _fault(500, "InternalFailure", f"{LABEL}: {error}")
        except Exception:
            # The edge of the process: without it boto3 gets a page of HTML that it cannot parse.
            LOG.exception("%s failed", action)
            return _fault(500, "InternalFailure", f"{LABEL}: {action} failed, see its log")

    def _dispatch(self, request: ServedRequest) -> Response:
        answer = cast(
            "tuple[int, Mapping[str, str], str | bytes]",
            self._api.dispatch(request, request.raw_url, dict(request.headers)),
        )
        status, headers, body = answer
        return Response(body, status=status, headers=dict(headers))

    # ------------------------------------------------------------------ lab-only routes

    def _lab_route(self, request: ServedRequest) -> Response:
        if request.path == "/lab/state" and request.method == "GET":
            return _json(200, self._shown_state())
        route = self._routes.get(request.path)
        if route is None or request.method != "POST":
            known = ", ".join(f"POST {path}" for path in self._routes)
            return _json(404, {"error": f"lab-only routes are GET /lab/state, {known}"})
        try:
            given: object = json.loads(request.get_data())
            if not isinstance(given, dict):
                return _json(400, {"error": "the body must be one JSON object"})
            route(cast("dict[str, object]", given))
        except (ValueError, TypeError, LabError) as error:
            return _json(400, {"error": str(error)})
        return _json(200, {"ok": True, "stand_in": True})

    def _shown_state(self) -> dict[str, object]:
        state = self._store.state
        timing = self.deployments.last_timing
        return {
            "stand_in": True,
            "instances": [asdict(i) for i in state.instances],
            "deployments": [asdict(d) for d in state.deployments],
            "events": [e.as_record() for e in state.events],
            "settings": asdict(state.settings),
            "last_switchover": None if timing is None else asdict(timing),
        }

    def _add_event(self, given: Mapping[str, object]) -> RdsState:
        source_type = str(given.get("source_type", ""))
        if source_type not in SOURCE_TYPES:
            message = f"source_type: must be one of {', '.join(SOURCE_TYPES)} (got {source_type!r})"
            raise ValueError(message)
        message, identifier = given.get("message"), given.get("source_identifier")
        if not isinstance(message, str) or not isinstance(identifier, str):
            text = "message and source_identifier: both must be given as text"
            raise TypeError(text)
        categories = given.get("categories", [])
        if not isinstance(categories, list):
            text = f"categories: must be a list (got {categories!r})"
            raise TypeError(text)
        arns = {DB_INSTANCE: self._names.db, BLUE_GREEN: self._names.deployment}
        event = Event(
            source_identifier=identifier,
            source_type=source_type,
            message=message,
            categories=tuple(str(c) for c in cast("list[object]", categories)),
            source_arn=arns.get(source_type, self._names.db)(identifier),
            date=_date(given.get("date")),
        )
        return self._store.change(lambda state: state.with_events(event))

    def _suppress(self, given: Mapping[str, object]) -> RdsState:
        names = {
            "coordinates": "suppress_coordinates",
            "delay_seconds": "delay_coordinates_seconds",
        }
        unknown = sorted(set(given) - set(names))
        if unknown or not given:
            text = f"give 'coordinates' (true or false) or 'delay_seconds' (got {unknown})"
            raise ValueError(text)
        return self._change_settings({names[name]: value for name, value in given.items()})

    def _change_settings(self, given: Mapping[str, object]) -> RdsState:
        return self._store.change(lambda s: s.with_settings(s.settings.changed(given)))

    def _set_apply_status(self, given: Mapping[str, object]) -> RdsState:
        name, status = str(given.get("instance", "")), str(given.get("status", ""))

        def edit(state: RdsState) -> RdsState:
            record = state.instance(name)
            if record is None or not status:
                known = ", ".join(sorted(i.name for i in state.instances))
                text = f"give 'instance' (one of {known}) and 'status' (got {name!r}, {status!r})"
                raise ValueError(text)
            return state.with_instance(replace(record, apply_status=status))

        return self._store.change(edit)


class QuietHandler(WSGIRequestHandler):
    """Logs no line per request: a sensor polls every few seconds."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing."""


def serve(app: StandIn, port: int) -> BaseWSGIServer:
    """Return a server for the stand-in, bound to the loopback address.

    Args:
        app: The stand-in.
        port: Port; 0 takes a free one.
    """
    return make_server(LOOPBACK, port, app, threaded=True, request_handler=QuietHandler)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stand-in as a process.

    Args:
        arguments: The command line, without the program's name.
    """
    parser = argparse.ArgumentParser(prog="python -m cdc_assets.lab.rds_standin")
    parser.add_argument("--home", required=True, type=Path, help="the lab's home folder")
    parser.add_argument("--port", required=True, type=int, help="port on 127.0.0.1")
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    lab = HomeLab(cast("Path", options.home))
    try:
        app = StandIn(FileStore(cast("Path", options.home)), lab)
        lab.wait_until_reachable()
        app.start()
        server = serve(app, cast("int", options.port))
    except LabError as error:
        parser.exit(2, f"{LABEL}: {error}\n")
    LOG.info("%s on http://%s:%s", LABEL, LOOPBACK, server.server_port)
    server.serve_forever()


def _signed_region(request: ServedRequest) -> str:
    """Return the region of the signature, empty when the request is not signed."""
    _, found, rest = request.headers.get("Authorization", "").partition("Credential=")
    scope = rest.split(",", 1)[0].split("/")
    return scope[2] if found and len(scope) > len(("key", "date")) else ""


def _fault(status: int, code: str, message: str) -> Response:
    kind = "Sender" if status < 500 else "Receiver"  # noqa: PLR2004 - HTTP's own border
    body = (
        f'<ErrorResponse xmlns="{NAMESPACE}"><Error><Type>{kind}</Type>'
        f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
        "<RequestId>00000000-0000-0000-0000-000000000000</RequestId></ErrorResponse>"
    )
    return Response(body, status=status, content_type="text/xml")


def _json(status: int, document: Mapping[str, object]) -> Response:
    return Response(json.dumps(document), status=status, content_type="application/json")


def _date(value: object) -> datetime:
    if value is None:
        return utc_now()
    # Python 3.10 does not read the letter Z.
    date = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    return date if date.tzinfo is not None else date.replace(tzinfo=timezone.utc)


if __name__ == "__main__":
    main()
