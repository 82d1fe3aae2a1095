"""What a connection may do before its request is one: uvicorn's protocol with limits on time, bytes and number.

uvicorn waits for ever for the rest of a request's head, keeps as many headers as are sent, accepts connections until
the process has no file left, and waits for ever for callers who do not read.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Protocol, cast

import uvicorn.config
from starlette.types import ASGIApp
from uvicorn._types import HTTPScope
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from classifier.errors import SightlineError
from service.api import auth
from service.api.auth import PROBES
from service.api.deadlines import HANG_UP
from service.api.request_ids import request_id_of
from service.errors import HeadTooLarge, TooManyConnections
from service.metrics import Metrics
from service.server.loop_lag import Lag
from service.server.responses import OVERLOADED, overloaded, raw_answer
from service.server.whole_answers import WholeAnswers
from service.settings import Settings

# Seconds in which what a refused caller still sends is read and forgotten; closing at once would make the kernel answer
# with a reset, which may overtake the answer. So many connections may be in that state, and no more.
LINGER_S = 1.0
LINGERING = 64
_OTHER_FILES = 64 + LINGERING  # of the process besides connections: models, libraries, logs, metrics
MOST_PIPELINED = 16  # requests sent ahead of an answer; no client of today does that

# How long a path whose queue was full is refused here, which costs a part of a refusal by its route. A queue that is
# full does not run empty in that time.
REFUSED_FOR_S = 0.02

# A key of the scope that is there once the whole body has come.
BODY_IS_HERE = "sightline.body_is_here"

_ACCEPTED_AT_ONCE = 64
_ADOPTING: set[asyncio.Task[None]] = set()


class Connection(HttpToolsProtocol):
    """One connection of a caller. `install` makes it the one that BentoML's uvicorn uses."""

    settings: ClassVar[Settings] = Settings()
    metrics: ClassVar[Metrics] = Metrics()
    most: ClassVar[int] = settings.max_connections
    lag: ClassVar[Lag] = Lag()
    listeners: ClassVar[list[socket.socket]] = []
    full_until: ClassVar[dict[bytes, float]] = {}  # by path as sent, of those that a route has refused
    front: ClassVar[Callable[[ASGIApp], ASGIApp]] = staticmethod(lambda app: app)

    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _refused = False
    _in_body = False
    _leaves = False  # is answered, and closed once the request has come as a whole
    _head_ended = False  # in what is being read, so that some of it is no head
    _head_bytes = 0  # of the lines that are complete
    _unfinished_bytes = 0  # of everything that came while the head was not complete

    def __init__(self, config: uvicorn.Config, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self.app = _fronted(config, Connection.front)
        self.access_log = False  # ours is the gate's, which knows more; uvicorn's is paid for even when nobody reads it
        self.hang_up_listeners: set[Callable[[], None]] = set()
        self._extensions = {HANG_UP: self.hang_up_listeners}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most:
            self._refuse(TooManyConnections(f"{self.most} connections are open, and no more may be"))
        else:
            self._await_head()
        self._accept_more()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        if self._write_timer is not None:
            self._write_timer.cancel()
        super().connection_lost(exc)
        for leave in tuple(self.hang_up_listeners):
            leave()

    def data_received(self, data: bytes) -> None:
        if self._refused or self.transport.is_closing():
            return
        began_in_body, self._head_ended = self._in_body, False
        super().data_received(data)
        if self.is_idle:
            self._await_head()  # also for the bytes of an answered request's body: they may not trickle for ever
        if self._head_timer is not None and not (began_in_body or self._head_ended or self._refused):
            self._unfinished_bytes += len(data)
            if self._unfinished_bytes > self.settings.max_header_bytes:
                self._refuse(self._head_too_large())

    def send_400_response(self, msg: str) -> None:
        if not self._refused:  # in our words
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        super().on_message_begin()
        self.scope["extensions"] = self._extensions  # type: ignore[typeddict-item]  # a set of callbacks

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value))
        super().on_header(name, value)

    def on_message_complete(self) -> None:
        self.body_came()
        self.scope[BODY_IS_HERE] = True  # type: ignore[literal-required]
        super().on_message_complete()
        if self._leaves:
            self.transport.close()

    def on_headers_complete(self) -> None:
        if self.transport.is_closing():  # what else came in the same piece
            return
        self._head_came()
        self._in_body = self._head_ended = True
        if len(self.pipeline) >= MOST_PIPELINED:
            self._refused = True
            self.transport.close()
            raise ValueError("too many requests sent ahead")  # ends the parsing of what else has come
        if self.is_idle and self._is_overloaded():
            self._turn_away()
        else:
            self.begin()

    @property
    def is_idle(self) -> bool:
        """Whether every request that came is answered."""
        return self.cycle is None or self.cycle.response_complete

    def body_came(self) -> None:
        """The request has come as a whole."""
        self._in_body = False

    def begin(self) -> None:
        """Have the app answer the request whose head has come."""
        super().on_headers_complete()
        self.cycle.transport = cast("asyncio.Transport", WholeAnswers(self.transport, self.loop))

    def hand_on(self, instead_of: StandIn, scope: HTTPScope) -> None:
        """Have the app answer a request that has come and been read, and that something else stood for until now."""
        cycle = RequestResponseCycle(
            scope=scope,
            transport=cast("asyncio.Transport", WholeAnswers(self.transport, self.loop)),
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=instead_of.keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.more_body, cycle.disconnected = False, instead_of.disconnected
        if self.cycle is cast("RequestResponseCycle", instead_of):
            self.cycle = cycle
        self._start_asgi_task(cycle, self.app)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._await_reader()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader()

    def _accept_more(self) -> None:
        """Accept who else waits. libuv accepts one connection in a turn of its loop, so that in a flood, when turns are
        long, newcomers waited for ten seconds while those who were connected were served.
        """
        for listener in self.listeners:
            with suppress(OSError):  # nobody else waits, or there are no more files
                for _ in range(_ACCEPTED_AT_ONCE):
                    accepted, _ = listener.accept()
                    task = self.loop.create_task(self._adopt(accepted))
                    _ADOPTING.add(task)
                    task.add_done_callback(_ADOPTING.discard)

    async def _adopt(self, accepted: socket.socket) -> None:
        kind = type(self)
        with suppress(OSError, ConnectionError):  # it left again
            accepted.setblocking(False)
            await self.loop.connect_accepted_socket(
                lambda: kind(self.config, self.server_state, self.app_state), accepted, ssl=self.config.ssl
            )

    def _is_overloaded(self) -> bool:
        if self.lag.seconds * 1000 > self.settings.max_lag_ms:
            return self.url.decode("latin-1") not in PROBES
        until = self.full_until.get(self.url.partition(b"?")[0])
        return until is not None and time.monotonic() < until

    def _should_upgrade_to_ws(self) -> bool:
        return False  # nothing here speaks it

    def _unsupported_upgrade_warning(self) -> None:
        """A line in the log for whoever asks is nobody's help."""

    def _count_head(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > self.settings.max_header_bytes:
            too_large = self._head_too_large()
            self._refuse(too_large)
            raise too_large  # ends the parsing of what else has come

    def _head_too_large(self) -> HeadTooLarge:
        return HeadTooLarge(f"at most {self.settings.max_header_bytes:,} bytes of headers are read")

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.settings.header_timeout_ms / 1000, self._give_up_on_head)

    def _head_came(self) -> None:
        self._unfinished_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up_on_head(self) -> None:
        self.metrics.rejected("head-too-slow")
        self.transport.close()

    def _await_reader(self) -> None:
        if self._write_timer is None:
            unread = self.transport.get_write_buffer_size()
            self._write_timer = self.loop.call_later(
                self.settings.write_stall_ms / 1000, self._give_up_on_reader, unread
            )

    def _give_up_on_reader(self, unread_before: int) -> None:
        self._write_timer = None
        if unread := self.transport.get_write_buffer_size():
            if unread >= unread_before:
                self.transport.abort()
            else:
                self._await_reader()

    def _turn_away(self) -> None:
        """Answer the request whose head has come, and read its body over: with a task and a route, a refusal would
        cost as much as three (0.15 ms), and in a flood most answers are refusals.

        Where the connection is to close, it does so after the body: closing earlier would make the kernel answer with a
        reset, which may overtake ours.
        """
        path, request_id = self.url.partition(b"?")[0].decode("latin-1"), request_id_of(self.headers)
        self.turned_away(OVERLOADED, path, request_id)
        # Who asks whether to send his body (100-continue) may now send it or not, so what comes next could be either.
        stays = self.parser.should_keep_alive() and not self.expect_100_continue
        self.transport.write(overloaded(path, request_id, stays))
        self.cycle = cast("RequestResponseCycle", _ANSWERED)
        self._leaves = not stays
        self.on_response_complete()

    def turned_away(self, error: SightlineError, path: str, request_id: str) -> None:
        """Count a request that was answered by its head."""
        self.metrics.rejected(error.code)

    def _refuse(self, error: SightlineError) -> None:
        """Answer without a route, unless an answer has begun, and read no more of this connection."""
        self._head_came()
        self._refused = True
        self.metrics.rejected(error.code)
        if self.is_idle:
            self.transport.write(raw_answer(error))
        if len(self.connections) > self.most + LINGERING or not self.transport.can_write_eof():
            self.transport.close()
        else:
            self.transport.write_eof()
            self.loop.call_later(LINGER_S, self.transport.abort)


def install(
    settings: Settings,
    front: Callable[[ASGIApp], ASGIApp] = lambda app: app,
    kind: type[Connection] = Connection,
    metrics: Metrics | None = None,
) -> None:
    """Have every uvicorn of this process use connections of a kind, with these settings, and `front` around its app."""
    Connection.settings, Connection.metrics = settings, metrics or Metrics()
    Connection.front = staticmethod(front)
    Connection.most = min(settings.max_connections, max(1, _allowed_files(settings.max_connections) - _OTHER_FILES))
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{kind.__module__}:{kind.__qualname__}"


def watch() -> None:
    """Begin, in the running loop, to look at how far it is behind, and at the sockets that the process listens on."""
    Connection.lag.watch()
    Connection.listeners = auth.listening_sockets()


def refuse_for_now(path: bytes) -> None:
    """A route has refused a request to this path, because its queue is full; refuse the next ones without asking it."""
    if len(Connection.full_until) > 1_000:  # a path may be written in many ways
        Connection.full_until.clear()
    Connection.full_until[path] = time.monotonic() + REFUSED_FOR_S


def stop_accepting() -> None:
    while Connection.listeners:
        Connection.listeners.pop().close()


@functools.cache
def _fronted(config: uvicorn.Config, front: Callable[[ASGIApp], ASGIApp]) -> Any:
    """What answers in place of the app that uvicorn has loaded; it too is to see the caller and not a proxy of ours."""
    app: Any = front(config.loaded_app)
    return ProxyHeadersMiddleware(app, config.forwarded_allow_ips) if config.proxy_headers else app


def _allowed_files(connections: int) -> int:
    """How many files may be open, after asking the system for as many as the connections need."""
    if sys.platform == "win32":
        return connections + _OTHER_FILES
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed


class StandIn(Protocol):
    """What may stand on a connection where uvicorn keeps its own cycle."""

    keep_alive: bool
    disconnected: bool


class NobodyWaits:
    """What uvicorn sets when something came that an app may wait for, where there is no app."""

    def set(self) -> None: ...


class _Answered:
    """A request that was answered before it had come as a whole, to uvicorn's eyes."""

    response_complete = True
    message_event = NobodyWaits()


_ANSWERED = _Answered()
