"""The fast path: an image that came whole is classified by the connection that read it.

A connection answers by itself a plain POST of one image to /v1's `predict` that came in one piece. Everything else
takes the slow path, through the ASGI app. Both write the same bytes, for an error too.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from classifier.errors import SightlineError
from service.api import bodies, responses
from service.api.deadlines import TIMEOUT_HEADER, deadline_error
from service.api.endpoints import LONGEST_CACHED, VERSION_HEADER, of_caller
from service.api.middleware import CUT_OFF
from service.api.responses import Wanted
from service.errors import CallerGone, Closing, QueueFull, problem
from service.inference import timing
from service.inference.classifier import Classifier
from service.inference.timing import Classified
from service.server.protocol import ConnectionProtocol, NobodyWaits
from service.server.responses import raw_response
from service.telemetry.ids import ids_of

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

log = logging.getLogger(__name__)

MOST_BYTES = 262_144  # more than a loop reads at once never comes in one piece
URLS_KNOWN = 1_024  # a version and a top_k may be written in many ways; the rest is looked up anew

_URL = re.compile(
    rb"(?P<path>/v1/models/(?P<model>[a-z0-9][a-z0-9._-]*)"
    rb"(?:/versions/(?P<version>[1-9][0-9]{0,8})|/aliases/(?P<alias>[a-z][a-z0-9-]{0,63}))?/predict)"
    rb"(?:\?top_k=(?P<top_k>[1-9][0-9]{0,8}))?"
)
_UNUSUAL = frozenset(
    (b"transfer-encoding", b"content-encoding", b"expect", b"upgrade", b"connection", TIMEOUT_HEADER.encode())
)
_STAY = b"keep-alive"  # a Connection header that asks for what is done anyway
_DIGITS = 8  # in front of a length may be zeros


class Asked(NamedTuple):
    """What a URL asks for."""

    path: str
    model: str
    which: int | str | None
    wanted: Wanted


class FastPathProtocol(ConnectionProtocol):
    """A connection that answers the plainest requests itself."""

    _asked: Asked | None = None  # by a request of which not everything has been read
    _classifier: Classifier
    _body = b""

    def body_is_late(self) -> None:
        if self._asked is not None:  # the rest may come never, or slowly; the middleware watches over that
            self._take_the_slow_path()

    def begin(self, is_idle: bool) -> None:
        if not is_idle or (asked := self._plainly_asked()) is None:
            super().begin(is_idle)
        else:
            self._asked, self._body = asked, b""

    def on_body(self, body: bytes) -> None:
        if self._asked is None:
            super().on_body(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        if self._asked is not None and self._classifier.is_closed:  # it was retired since the head came
            self._take_the_slow_path()
        if self._asked is None:
            super().on_message_complete()
            return
        self.in_body = False
        asked, self._asked = self._asked, None
        exchange = Exchange(self, asked, self._classifier)
        self.cycle = cast("RequestResponseCycle", exchange)
        exchange.start(self._body)

    def _take_the_slow_path(self) -> None:
        self._asked = None
        super().begin(is_idle=True)
        if self._body:
            super().on_body(self._body)

    def _plainly_asked(self) -> Asked | None:
        """What the request whose head has come asks for, or None where the app is to answer it."""
        traffic = self.context.traffic
        if traffic.is_closing or traffic.settings.access_log or self.root_path or traffic.spans is not None:
            return None
        if (
            self.parser.get_method() != b"POST"
            or len(self.url) > LONGEST_CACHED
            or (asked := asked_by(self.url)) is None
        ):
            return None
        if self.parser.get_http_version() != "1.1" or (length := _image_bytes(self.headers)) == 0:
            return None
        if length > traffic.settings.max_body_bytes:
            return None
        try:
            if traffic.access.hosts is not None or not traffic.access.is_open:
                traffic.access.check(asked.path, self.headers)
            catalog = self.context.catalog
            self._classifier = catalog.find(asked.model, asked.which)
            if catalog.splits and asked.which is None:
                self._let_canary_take_it()
        except SightlineError:
            return None
        top_k = asked.wanted.top_k
        return asked if top_k is None or top_k <= len(self._classifier.card.labels) else None

    def _let_canary_take_it(self) -> None:
        scope, proxies = cast("dict[str, Any]", self.scope), self.context.traffic.proxies
        self._classifier = of_caller(self.context.catalog, self._classifier, scope, proxies)


class Exchange:
    """One request and its answer. On its connection it stands where uvicorn keeps its own cycle."""

    message_event = NobodyWaits()
    __slots__ = (
        *("disconnected", "keep_alive", "response_complete"),  # uvicorn's
        *("_asked", "_began", "_bytes", "_classifier", "_connection", "_ids", "_reason", "_row"),
        *("_scope", "_traffic"),
    )

    def __init__(self, connection: FastPathProtocol, asked: Asked, classifier: Classifier) -> None:
        self._began = time.perf_counter()
        self._connection = connection
        self._traffic = connection.context.traffic
        self._asked = asked
        self._classifier = classifier
        self._scope = cast("dict[str, Any]", connection.scope)
        self._ids = ids_of(connection.headers)
        self._reason: SightlineError | None = None  # to give up, where it was not the server that closes
        self.response_complete = self.disconnected = False
        self.keep_alive = True

    def start(self, body: bytes) -> None:
        """Decode the image and queue it."""
        connection, traffic = self._connection, self._traffic
        deadlines, loop = connection.context.deadlines, connection.loop
        deadline = deadlines[self] = loop.time() + traffic.settings.request_timeout_ms / 1000
        self._bytes = len(body)
        try:
            traffic.hold(self._bytes)
            row = self._classifier.classify_soon(body, deadline)
        except Exception as error:
            del deadlines[self]
            traffic.let_go(self._bytes)
            self._fail(error)
            return
        if not deadlines.is_watched:
            deadlines.watch(loop)
        self._row = row
        row.add_done_callback(self._settle)
        traffic.tasks.add(row)
        connection.hang_up_listeners.add(self.leave)

    def expire(self) -> None:
        """The deadline has passed."""
        self._give_up(deadline_error(self._traffic.settings.request_timeout_ms))

    def leave(self) -> None:
        """The caller hung up."""
        self.disconnected = True
        self._give_up(CallerGone("the caller hung up before the answer was there"))

    def _give_up(self, error: SightlineError) -> None:
        if not self._row.done():
            self._reason = error
            self._row.cancel()

    def _settle(self, row: asyncio.Future[Classified]) -> None:
        connection, traffic = self._connection, self._traffic
        connection.context.deadlines.pop(self, None)
        traffic.tasks.discard(row)
        traffic.let_go(self._bytes)
        connection.hang_up_listeners.discard(self.leave)
        if row.cancelled():
            self._fail(self._reason or Closing(CUT_OFF))
        elif error := row.exception():
            self._fail(error)
        else:
            self._answer(row.result())

    def _answer(self, image: Classified) -> None:
        connection, asked = self._connection, self._asked
        body = responses.prediction_body(self._classifier.card, image, asked.wanted)
        self.keep_alive = self.keep_alive and not self._traffic.is_draining
        head = (
            _first_lines(tuple(connection.server_state.default_headers)),
            b"content-length: %d\r\n" % len(body),
            b"server-timing: ",
            timing.server_timing((image,)).encode(),
            b"\r\nx-model-version: %d\r\nx-request-id: " % self._classifier.card.version,
            self._ids.request_id.encode(),
            b"" if (trace := self._ids.trace) is None else b"\r\ntraceparent: " + trace.header.encode(),
            b"\r\n" if self._traffic.cors is None else b"\r\n" + self._traffic.cors.lines_for(connection.headers),
            b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n",
        )
        self._write(b"".join((*head, body)), 200)

    def _fail(self, error: BaseException) -> None:
        """Answer with a problem, and count and log the rejection as the middleware does."""
        path = self._asked.path
        if not isinstance(error, SightlineError):
            log.error("POST %s failed", path, exc_info=error, extra=self._ids.as_extra())
        if isinstance(error, QueueFull):
            self._traffic.shed(path.encode())
        response, code = responses.problem_response(error), problem(error)["code"]
        version = response.headers[VERSION_HEADER] = str(self._classifier.card.version)
        self.keep_alive = self.keep_alive and not self._traffic.is_draining
        default_headers = self._connection.server_state.default_headers
        client = self._traffic.client_of(self._scope)
        self._traffic.reject(response.status_code, code, "POST", path, client, self._ids, version)
        cors = () if (asked := self._traffic.cors) is None else asked.headers_for(self._connection.headers)
        self._write(raw_response(response, default_headers, self._ids, self.keep_alive, cors), response.status_code)

    def _write(self, response: bytes, status: int) -> None:
        connection = self._connection
        if not (self.disconnected or connection.transport.is_closing()):
            connection.transport.write(response)
        self.response_complete = True
        traffic, took_s = self._traffic, time.perf_counter() - self._began
        traffic.metrics.answered(traffic.endpoints.template(self._asked.path), status, took_s)
        if not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()


@lru_cache(maxsize=URLS_KNOWN)
def asked_by(url: bytes) -> Asked | None:
    """What a URL asks for; None where it is another route's, or not in its plainest form."""
    if (match := _URL.fullmatch(url)) is None:
        return None
    found = {name: text.decode() for name, text in match.groupdict().items() if text is not None}
    version, top_k = (int(found[name]) if name in found else None for name in ("version", "top_k"))
    return Asked(found["path"], found["model"], found.get("alias", version), Wanted(top_k))


def _image_bytes(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """The length of the one image that they announce, as it is; 0 where they ask for anything else."""
    length = b""
    for name, value in headers:
        if name == b"content-length":
            length = value
        elif name == b"content-type":
            if not _is_image(value):
                return 0
        elif name in _UNUSUAL and not (name == b"connection" and value.lower() == _STAY):
            return 0
    announced = int(length) if length.isdigit() and len(length) < _DIGITS else 0
    return announced if announced <= MOST_BYTES else 0


@lru_cache(maxsize=64)
def _is_image(content_type: bytes) -> bool:
    return bodies.is_image(bodies.kind_of(content_type.decode("latin-1")))


@lru_cache(maxsize=4)  # they change every second, with the date
def _first_lines(default_headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """The lines that an answer has in common with all others."""
    headers = (*default_headers, responses.JSON_HEADER, *responses.SECURITY_HEADERS)
    return STATUS_LINE[200] + b"".join(b"%s: %s\r\n" % header for header in headers)
