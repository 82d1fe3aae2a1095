"""What a connection may do before its request is one: uvicorn's protocol with limits on time, bytes and number.

uvicorn waits for ever for the rest of a request's head, and for callers who do not read. It keeps as many headers as
are sent, and accepts connections until the process has no file left.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, cast

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from classifier.errors import SightlineError
from service.api.auth import PROBES
from service.api.browsers.cors import Headers, is_preflight
from service.api.deadlines import HANG_UP
from service.api.middleware import BODY_IS_HERE
from service.api.responses import error_response
from service.api.traffic import MOST_HEADERS, MOST_PIPELINED
from service.errors import HeadTooLarge, MalformedRequest, TooManyBytes, TooManyConnections, problem
from service.server.context import ServerContext
from service.server.heads import without_upgrade
from service.server.responses import CONTINUE, OVERLOADED, WholeResponses, overloaded, raw_response
from service.server.sockets import LINGER_S, LINGERING, PROBE_AFTER_S, PROBE_EVERY_S, TELLS_RESETS, is_reset
from service.surroundings.trusted_proxies import peer_of
from service.telemetry.ids import RequestIds, ids_of

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class ConnectionProtocol(HttpToolsProtocol):
    """One connection of a caller."""

    url = b""
    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _probe: asyncio.TimerHandle | None = None  # of a caller who sends no more
    _ahead_bytes = 0  # of requests that wait behind others
    _refused = False
    _parsing = False
    _head_begun = False  # some of the next request has come, and not yet its whole head
    in_body = False  # the head has come, and not yet the whole body
    _leaves = False  # is answered, and closed once the request has come as a whole
    _head_ended = False  # in what is being read, so that some of it is no head
    _head_bytes = 0  # of the lines that are complete
    _unfinished_bytes = 0  # of everything that came while the head was not complete

    def __init__(self, context: ServerContext, config: uvicorn.Config, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self.context = context
        self.settings = context.settings
        self.app = context.app_of(config)
        self.access_log = False  # the middleware writes ours; uvicorn's costs time even when nobody reads it
        self._idle = context.open_connections.idle
        self.hang_up_listeners: set[Callable[[], None]] = set()
        self._cors = context.traffic.cors
        self._extensions = {HANG_UP: self.hang_up_listeners}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if too_many := self._too_many():
            self._refuse(TooManyConnections(too_many))
        else:
            self._await_head()
        self._accept_more()

    def _too_many(self) -> str:
        """Why there is no room for this connection, where no idle one makes room; else ""."""
        address, most_of_one = peer_of(self.client), self.settings.max_connections_per_client
        count = self.context.open_connections.come(address)
        if most_of_one and count > most_of_one and self.client and address not in self.context.traffic.proxies:
            return f"{most_of_one} connections of your address are open, and no more may be"
        most = self.context.most_connections
        if len(self.connections) > most and not self.context.open_connections.close_longest_idle():
            return f"{most} connections are open, and no more may be"
        return ""

    def make_room(self) -> None:
        """Close the idle connection, and count it no more."""
        self.connections.discard(self)
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        if self._write_timer is not None:
            self._write_timer.cancel()
        if self._probe is not None:
            self._probe.cancel()
        self._let_go_ahead(0)
        self._idle.pop(self, None)
        self.context.open_connections.go(peer_of(self.client))
        self._unset_keepalive_if_required()  # uvicorn leaves it where the connection broke
        super().connection_lost(exc)
        for leave in tuple(self.hang_up_listeners):
            leave()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn always lets go
        """The caller sends no more. Whether the connection stays, for the answer to what has come as a whole."""
        awaits_answer = not (self.is_idle or self.in_body or self._head_begun or self._refused)
        if not (awaits_answer and TELLS_RESETS and self.transport.can_write_eof()):  # TLS has no half of a connection
            return False
        self._probe = self.loop.call_later(PROBE_AFTER_S, self._probe_caller)
        return True

    def _probe_caller(self) -> None:
        """Find out whether a caller who sends no more still reads: to who left, the system answers with a reset.

        An interim response means nothing to who reads (RFC 9110, section 15.2). HTTP/1.0 has none, and is answered.
        """
        has_begun = bool(self.pipeline) or getattr(self.cycle, "response_started", False)
        if self.parser.get_http_version() == "1.1" and not has_begun:
            self.transport.write(CONTINUE)
        self._await_reset()

    def _await_reset(self) -> None:
        if is_reset(self.transport):
            self.transport.abort()
        else:
            self._probe = self.loop.call_later(PROBE_EVERY_S, self._await_reset)

    def data_received(self, data: bytes) -> None:
        if self._refused or self.transport.is_closing():
            return
        began_in_body, self._head_ended = self.in_body, False
        self._idle.pop(self, None)
        if not self._feed(data):
            return
        if self.in_body:
            self.body_is_late()
        if self.is_idle:
            self._rest()
        if self._head_timer is not None and not (began_in_body or self._head_ended):
            self._unfinished_bytes += len(data)
            if self._unfinished_bytes > self.settings.max_header_bytes:
                self._refuse(self._head_too_large())

    def _feed(self, data: bytes) -> bool:
        """Parse what came; whether more may come. Who asks for another protocol gets this one (RFC 9110, 7.8)."""
        self._unset_keepalive_if_required()
        self._parsing = True
        try:
            while data:
                try:
                    self.parser.feed_data(data)
                    break
                except httptools.HttpParserUpgrade as upgrade:  # it has taken the body for the other protocol's
                    data = without_upgrade(self.parser, self.url, self.headers) + data[upgrade.args[0] :]
                    self.parser = httptools.HttpRequestParser(self)
                    self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        except MalformedRequest as error:
            self._refuse(error)
        except httptools.HttpParserError:
            if not self._refused:
                self._refuse(MalformedRequest(_NO_HTTP))
        self._parsing = False
        return not self._refused

    def on_message_begin(self) -> None:
        self._head_begun, self._head_bytes = True, 0
        super().on_message_begin()
        self.scope["extensions"] = self._extensions  # type: ignore[typeddict-item]  # a set of callbacks

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value))
        if self.in_body:  # a trailer
            return
        if len(self.headers) == MOST_HEADERS:
            self._stop(HeadTooLarge(f"at most {MOST_HEADERS} headers are read"))
        super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        if self.pipeline and not self.cycle.response_complete:  # it waits in memory behind another request
            self._hold_ahead(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self.in_body = False
        self.scope[BODY_IS_HERE] = True  # type: ignore[literal-required]
        super().on_message_complete()
        if self._leaves:
            self.transport.close()
        elif self.is_idle:  # answered before it had come as a whole
            self._head_came()
            self._keep_alive()

    def on_headers_complete(self) -> None:
        if self.transport.is_closing() or self.parser.should_upgrade():  # what else came in the same piece; see `_feed`
            return
        hosts = [name for name, _ in self.headers].count(b"host")  # no generator: every request comes by here
        if hosts != 1 and (hosts or self.parser.get_http_version() != "1.0"):  # RFC 9112, section 3.2
            self._stop(MalformedRequest(f"expected one Host header, got {hosts or 'none'}"))
        self._head_came()
        self._head_begun, self.in_body, self._head_ended = False, True, True
        if len(self.pipeline) >= MOST_PIPELINED:
            self._refused = True
            self.transport.close()
            raise ValueError("too many requests sent ahead")  # ends the parsing of what else has come
        is_idle = self.is_idle
        if is_idle and self._is_overloaded() and not self._is_preflight():
            self._shed()
        else:
            self.begin(is_idle)

    @property
    def is_idle(self) -> bool:
        """Whether every request that came is answered."""
        return self.cycle is None or self.cycle.response_complete

    def body_is_late(self) -> None:
        """What came ended within a body."""

    def begin(self, is_idle: bool) -> None:
        """Have the app answer the request whose head has come, now or after the requests before it."""
        super().on_headers_complete()
        self.cycle.transport = cast("asyncio.Transport", WholeResponses(self.transport, self.loop))

    def on_response_complete(self) -> None:
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
        else:  # as uvicorn, but for a timer of each connection
            self.server_state.total_requests += 1
            self.flow.resume_reading()
            self._keep_alive()
        if self._ahead_bytes:
            self._let_go_ahead(sum(len(cycle.body) for cycle, _ in self.pipeline))
        if self.timeout_keep_alive_task is not None and not self._parsing:
            self._rest()
        if self.transport.get_write_buffer_size():
            self._await_reader()

    def _hold_ahead(self, count: int) -> None:
        """Count bytes of a request sent ahead as held, until it is its turn; where there is no room, close."""
        if not self.context.traffic.has_room(count):
            self._stop(TooManyBytes("there is no room for requests sent ahead"))
        self.context.traffic.hold(count)
        self._ahead_bytes += count

    def _let_go_ahead(self, left: int) -> None:
        self.context.traffic.let_go(self._ahead_bytes - left)
        self._ahead_bytes = left

    def _rest(self) -> None:
        """Everything is answered: wait for the next request, or not as long for the rest of what has begun to come."""
        if self._probe is not None:
            self.transport.close()
        elif self._head_begun or self.in_body or self.timeout_keep_alive_task is None:
            self._unset_keepalive_if_required()
            self._await_head()
        else:
            self._idle[self] = None

    def _keep_alive(self) -> None:
        if self.timeout_keep_alive_task is None:
            waiting = self.context.keep_alive
            waiting[self] = self.loop.time() + self.settings.keep_alive_ms / 1000
            if not waiting.is_watched:
                waiting.watch(self.loop)
            self.timeout_keep_alive_task = cast("asyncio.TimerHandle", self)

    def cancel(self) -> None:
        """What uvicorn calls when something comes: the wait for the next request is over."""
        self.context.keep_alive.pop(self, None)

    def expire(self) -> None:
        """No next request came in time."""
        self.timeout_keep_alive_handler()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader()

    def _accept_more(self) -> None:
        """Accept who else waits; libuv accepts one connection in a turn of the loop."""
        for accepted in self.context.listeners.accept():
            task = self.loop.create_task(self._adopt(accepted))
            self.tasks.add(task)  # uvicorn waits for these before it ends
            task.add_done_callback(self.tasks.discard)

    async def _adopt(self, accepted: socket.socket) -> None:
        another = partial(type(self), self.context, self.config, self.server_state, self.app_state)
        with suppress(OSError, ConnectionError):  # it left again
            await self.loop.connect_accepted_socket(another, accepted, ssl=self.config.ssl)

    def _is_overloaded(self) -> bool:
        if (time.monotonic() - self.context.lag.due) * 1000 > self.settings.max_lag_ms:
            return self.url.decode("latin-1") not in PROBES
        traffic = self.context.traffic
        return bool(traffic.shed_until) and traffic.is_shed(self.url.partition(b"?")[0])

    def _is_preflight(self) -> bool:
        """Whether a browser asks for leave. A refusal of that would hide from its page that the server is busy."""
        if self._cors is None or not self._cors.allows(self.headers):
            return False
        return is_preflight(self.parser.get_method().decode("latin-1"), self.headers)

    @property
    def _cors_headers(self) -> Headers:
        return () if self._cors is None else self._cors.headers_for(self.headers or ())  # None before the first request

    def _should_upgrade_to_ws(self) -> bool:
        return False  # nothing here speaks it

    def _count_head(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > self.settings.max_header_bytes:
            self._stop(self._head_too_large())

    def _stop(self, error: SightlineError) -> NoReturn:
        """Refuse, and end the parsing of what else has come."""
        self._refuse(error)
        raise error

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
        self.context.traffic.metrics.rejected("head-too-slow")
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
            least = self.settings.min_read_bytes_per_s * self.settings.write_stall_ms / 1000
            if unread_before - unread < max(1, least):
                self.transport.abort()
            else:
                self._await_reader()

    def _shed(self) -> None:
        """Answer the request whose head has come, and read its body over, without a task or a route.

        Where the connection is to close, it does so after the body: closing earlier would make the kernel answer with a
        reset, which may overtake ours.
        """
        traffic, path, ids = self.context.traffic, self.url.partition(b"?")[0].decode("latin-1"), ids_of(self.headers)
        method, client = self.parser.get_method().decode("latin-1"), traffic.client_of(self.scope)
        traffic.reject(OVERLOADED.status, OVERLOADED.code, method, path, client, ids)
        # Who asks whether to send his body (100-continue) may now send it or not. What comes next could be either.
        stays = self.parser.should_keep_alive() and not (self.expect_100_continue or traffic.is_draining)
        self.transport.write(overloaded(path, self.server_state.default_headers, ids, stays, self._cors_headers))
        self.cycle = cast("RequestResponseCycle", _ANSWERED)
        self._leaves = not stays
        self.on_response_complete()

    def _refuse(self, error: SightlineError) -> None:
        """Answer without a route, unless an answer has begun, and read no more of this connection."""
        self._head_came()
        self._refused = True
        path = self.url.partition(b"?")[0].decode("latin-1")
        method, client = self.parser.get_method().decode("latin-1") if path else "", peer_of(self.client)
        self.context.traffic.reject(error.status, problem(error)["code"], method, path, client, RequestIds("-"))
        if self.is_idle:
            response, common = error_response(path, error), self.server_state.default_headers
            self.transport.write(raw_response(response, common, None, keep_alive=False, cors=self._cors_headers))
        if len(self.connections) > self.context.most_connections + LINGERING or not self.transport.can_write_eof():
            self.transport.close()
        else:
            self.transport.write_eof()
            self.loop.call_later(LINGER_S, self.transport.abort)


_NO_HTTP = "what came is not HTTP/1.1; this server speaks neither TLS nor HTTP/2"


class NobodyWaits:
    """What uvicorn sets when something came that an app may wait for, where there is no app."""

    def set(self) -> None: ...


class _Answered:
    """A request that was answered before it had come as a whole, to uvicorn's eyes."""

    response_complete = True
    message_event = NobodyWaits()


_ANSWERED = _Answered()
