"""The shortest way: an image that came whole is classified by the connection that read it.

A task, a scope, ASGI's messages and the layers that pass them cost a thumbnail more than its decoding, its batch and
its JSON together. So a connection answers by itself what can be answered without a second look: a POST of one image to
/v1's `predict` that came in one piece, with nothing unusual about it. Everything else goes to the ASGI app, as if this
module were not there. So does a request that fails on this way: the gate tells its error like all others.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from classifier.errors import SightlineError
from service.api import bodies, request_ids, responses
from service.api.deadlines import TIMEOUT_HEADER, deadline_error
from service.api.middleware import CUT_OFF, FAILED, HEADERS, Failed, Traffic, client_of
from service.api.request_ids import request_id_of
from service.api.timeouts import watch_of
from service.errors import CallerGone, Closing, QueueFull
from service.inference import timing
from service.inference.catalog import Catalog
from service.inference.classifier import Classifier
from service.inference.timing import Classified
from service.server import protocol
from service.server.protocol import Connection, NobodyWaits
from service.server.responses import raw_answer

log = logging.getLogger(__name__)

MOST_BYTES = 262_144  # more than a loop reads at once never comes in one piece
URLS_KNOWN = 1_024  # a version and a top_k may be written in many ways; the rest is looked up anew

_URL = re.compile(
    rb"(?P<path>/v1/models/(?P<model>[a-z0-9][a-z0-9._-]*)(?:/versions/(?P<version>[1-9][0-9]{0,8}))?/predict)"
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
    query: bytes
    model: str
    version: int | None
    top_k: int | None


class DirectConnection(Connection):
    """A connection that answers the plainest requests itself. Belongs to a server once `serve` has been called."""

    catalog: ClassVar[Catalog | None] = None
    traffic: ClassVar[Traffic]

    _asked: Asked | None = None  # by a request of which not everything has been read
    _classifier: Classifier
    _body = b""

    @classmethod
    def serve(cls, catalog: Catalog, traffic: Traffic) -> None:
        """From now on, answer for these models."""
        cls.catalog, cls.traffic = catalog, traffic

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._asked is not None:  # the rest may come never, or slowly; the gate watches over that
            self._go_the_long_way()

    def begin(self) -> None:
        if (asked := self._plainly_asked()) is None:
            super().begin()
        else:
            self._asked, self._body = asked, b""

    def on_body(self, body: bytes) -> None:
        if self._asked is None:
            super().on_body(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        if self._asked is None:
            super().on_message_complete()
            return
        self.body_came()
        asked, self._asked = self._asked, None
        exchange = Exchange(self, asked, self._classifier)
        self.cycle = cast("RequestResponseCycle", exchange)
        exchange.start(self._body)

    def turned_away(self, error: SightlineError, path: str, request_id: str) -> None:
        if self.catalog is None:
            super().turned_away(error, path, request_id)
        else:
            method, client = self.parser.get_method().decode("latin-1"), client_of(self.scope)
            self.traffic.reject(error.status, error.code, method, path, client, request_id)

    def _go_the_long_way(self) -> None:
        self._asked = None
        super().begin()
        if self._body:
            super().on_body(self._body)

    def _plainly_asked(self) -> Asked | None:
        """What the request whose head has come asks for, or None where the app is to answer it."""
        catalog, traffic = self.catalog, self.traffic
        if catalog is None or traffic.is_closing or traffic.settings.access_log or self.root_path:
            return None
        if self.parser.get_method() != b"POST" or (asked := asked_by(self.url)) is None:
            return None
        if not self.is_idle or self.parser.get_http_version() != "1.1" or (length := _image_bytes(self.headers)) == 0:
            return None
        if length > traffic.settings.max_body_bytes or not traffic.has_room(length):
            return None
        try:
            traffic.access.check(asked.path, self.headers)
            self._classifier = catalog.find(asked.model, asked.version)
        except SightlineError:
            return None
        return asked if asked.top_k is None or asked.top_k <= len(self._classifier.card.labels) else None


class Exchange:
    """One request and its answer. On its connection it stands where uvicorn keeps its own cycle."""

    message_event = NobodyWaits()
    __slots__ = (
        *("disconnected", "keep_alive", "response_complete"),  # uvicorn's
        *("_asked", "_began", "_bytes", "_classifier", "_connection", "_reason", "_request_id", "_row"),
        *("_scope", "_watch", "when"),
    )

    def __init__(self, connection: DirectConnection, asked: Asked, classifier: Classifier) -> None:
        self._began = time.perf_counter()
        self._connection = connection
        self._asked = asked
        self._classifier = classifier
        self._scope = connection.scope
        self._request_id = request_id_of(connection.headers)
        self._watch = watch_of(connection.loop)
        self._reason: SightlineError | None = None  # to give up, where it was not the server that closes
        self.response_complete = self.disconnected = False
        self.keep_alive = True

    def start(self, body: bytes) -> None:
        """Decode the image and queue it."""
        connection, traffic = self._connection, self._connection.traffic
        self.when = connection.loop.time() + traffic.settings.request_timeout_ms / 1000
        self._bytes = len(body)
        try:
            row = self._classifier.classify_soon(body, self.when)
        except QueueFull as error:
            self._refuse(error)
            return
        except SightlineError as error:
            self._fail(error)
            return
        except Exception as error:
            log.exception("POST %s failed", self._asked.path)
            self._fail(error)
            return
        self._row = row
        row.add_done_callback(self._settle)
        self._watch.add(self)
        traffic.tasks.add(row)
        traffic.hold(self._bytes)
        connection.hang_up_listeners.add(self.leave)

    def expire(self) -> None:
        """The deadline has passed."""
        self._give_up(deadline_error(self._connection.traffic.settings.request_timeout_ms))

    def leave(self) -> None:
        """The caller hung up."""
        self.disconnected = True
        self._give_up(CallerGone("the caller hung up before the answer was there"))

    def _give_up(self, error: SightlineError) -> None:
        if not self._row.done():
            self._reason = error
            self._row.cancel()

    def _settle(self, row: asyncio.Future[Classified]) -> None:
        connection, traffic = self._connection, self._connection.traffic
        self._watch.discard(self)
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
        body = responses.prediction_body(self._classifier.card, image.row, asked.top_k)
        self.keep_alive = self.keep_alive and not connection.traffic.is_closing
        head = (
            _first_lines(tuple(connection.server_state.default_headers)),
            b"content-length: %d\r\n" % len(body),
            b"server-timing: ",
            timing.server_timing((image,)).encode(),
            b"\r\nx-request-id: ",
            self._request_id.encode(),
            b"\r\n\r\n" if self.keep_alive else b"\r\nconnection: close\r\n\r\n",
        )
        self._tell(b"".join((*head, body)), 200)

    def _refuse(self, error: QueueFull) -> None:
        """Tell it without the app, which takes several times as long: in a flood most answers are refusals."""
        connection, path = self._connection, self._asked.path
        protocol.refuse_for_now(path.encode())
        connection.traffic.reject(error.status, error.code, "POST", path, client_of(self._scope), self._request_id)
        headers = (*HEADERS, (request_ids.HEADER, self._request_id.encode()))
        self._tell(raw_answer(error, self.keep_alive, headers), error.status)

    def _tell(self, answer: bytes, status: int) -> None:
        connection = self._connection
        if not self.disconnected:
            connection.transport.write(answer)
        self.response_complete = True
        connection.traffic.count(self._asked.path, status, time.perf_counter() - self._began)
        if not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()

    def _fail(self, error: BaseException) -> None:
        """Have the app tell the error, in the place of this exchange."""
        asked, scope = self._asked, cast("dict[str, Any]", self._scope)
        scope |= {"method": "POST", "path": asked.path, "raw_path": asked.path.encode(), "query_string": asked.query}
        scope[FAILED] = Failed(error, self._began)
        self._connection.hand_on(self, self._scope)


@lru_cache(maxsize=URLS_KNOWN)
def asked_by(url: bytes) -> Asked | None:
    """What a URL asks for; None where it is another route's, or not in its plainest form."""
    if (match := _URL.fullmatch(url)) is None:
        return None
    found = {name: text.decode() for name, text in match.groupdict().items() if text is not None}
    version, top_k = (int(found[name]) if name in found else None for name in ("version", "top_k"))
    return Asked(found["path"], url.partition(b"?")[2], found["model"], version, top_k)


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
    headers = (*default_headers, responses.JSON_HEADER, *HEADERS)
    return STATUS_LINE[200] + b"".join(b"%s: %s\r\n" % header for header in headers)
