"""What every request passes, whatever its path: keys, limits on bodies, request ids, headers, and shutdown.

An ASGI middleware around everything that BentoML serves. It refuses before anything is read, and watches the body come
in. It knows at every moment which requests are being answered, and how many bytes they hold.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from contextlib import suppress
from typing import cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from classifier.errors import SightlineError
from service.api.auth import PROBES
from service.api.browsers.cors import is_preflight, preflight_answer
from service.api.endpoints import CHOSEN_VERSION, VERSION_HEADER
from service.api.responses import SECURITY_HEADERS, TIMING_HEADER, error_response
from service.api.traffic import Traffic
from service.api.unfolding import TRAFFIC
from service.errors import CODE_HEADER, Closing, NoSuchPath, QueueFull, UploadTooSlow
from service.telemetry.ids import ids_of
from service.telemetry.traces import CURRENT

log = logging.getLogger(__name__)

# Seconds in which we read on and forget what a caller still sends after its answer. Closing at once would make the
# kernel answer with a reset, which may overtake the answer.
LINGER_S = 2.0
LINGER_FROM_BYTES = 65_536  # a shorter rest is read over by uvicorn, and the connection stays

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_CODE_HEADER = CODE_HEADER.encode()
_VERSION_HEADER = VERSION_HEADER.encode()
_TIMING_HEADER = TIMING_HEADER.encode()

# A key of the scope that is there once the whole body has come, where the server knows that.
BODY_IS_HERE = "sightline.body_is_here"

CUT_OFF = "the server shut down before the answer was there; send the request again"
SHUTTING_DOWN = "the server is shutting down; send the request again"


class RequestMiddleware:
    """The middleware, mounted once: our protocol puts it before BentoML's app.

    `traffic` is shared with whoever closes the server.
    """

    def __init__(self, app: ASGIApp, traffic: Traffic) -> None:
        self._app = app
        self._traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = _Exchange(self._traffic, scope, receive, send)
        if scope["path"] in PROBES:  # answered also while closing, and not waited for
            await self._answer(exchange)
            return
        task = cast("asyncio.Task[object]", asyncio.current_task())
        self._traffic.tasks.add(task)
        try:
            await self._answer(exchange)
        finally:
            self._traffic.tasks.discard(task)

    async def _answer(self, exchange: _Exchange) -> None:
        try:
            if self._is_preflight(exchange.scope):
                await exchange.allow()
                return
            self._check(exchange.scope)
            await self._app(exchange.scope, exchange.receive, exchange.send)
        except SightlineError as error:  # ours, or of a body that a route of BentoML's own has read
            if exchange.status:
                raise
            await exchange.refuse(error)
        except asyncio.CancelledError:
            if not self._traffic.is_cut_off or exchange.status:
                raise
            cast("asyncio.Task[object]", asyncio.current_task()).uncancel()
            await exchange.refuse(Closing(CUT_OFF))
        finally:
            exchange.end()

    def _is_preflight(self, scope: Scope) -> bool:
        """Whether a page that may read our answers asks to send a request. It shows no key with that."""
        cors = self._traffic.cors
        if cors is None or not is_preflight(scope["method"], scope["headers"]) or not cors.allows(scope["headers"]):
            return False
        self._traffic.access.check_host(scope["path"], scope["headers"])
        return True

    def _check(self, scope: Scope) -> None:
        """Raise HostNotAllowed, Unauthorized, NoSuchPath or Closing where nothing of the request is to be read."""
        self._traffic.access.check(scope["path"], scope["headers"])
        if _CONTROL.search(scope["path"]):  # a newline would not be matched by any route's pattern
            raise NoSuchPath("no path has a control character in it")
        if self._traffic.is_closing and scope["method"] == "POST":
            raise Closing(SHUTTING_DOWN)


class _Exchange:
    """One request and its answer."""

    def __init__(self, traffic: Traffic, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.status = 0  # until the answer has begun
        self._traffic = traffic
        self._receive = receive
        self._send = send
        self._began = time.perf_counter()  # the loop's counts milliseconds
        self._announced = _announced_bytes(scope)
        self._more_body = self._announced != 0
        self._held = 0
        self._received = 0
        self._lingers = False
        self._reason = self._timing = ""
        self._version = ""  # of the model that has answered, where one has
        self._ids = ids_of(scope["headers"])
        self._span = traffic.spans.begin(scope, self._ids.trace) if traffic.spans is not None else None
        if self._span is not None:
            self._ids = self._ids._replace(trace=self._span.trace)
        CURRENT.set(self._ids.trace)  # also None: a task may have been begun by that of the request before
        scope.setdefault("state", {}).update({"request_id": self._ids.request_id, TRAFFIC: traffic})

    async def receive(self) -> Message:
        """The next part of the body. Raises UploadTooSlow or TooManyBytes."""
        if not self._more_body:
            return await self._receive()
        message = await self._next_part()
        if message["type"] == "http.request":
            self._more_body = message.get("more_body", False)
            count = len(message.get("body", b""))
            self._received += count
            self._held += count
            self._traffic.hold(count)
            if self._more_body:
                self._check_speed()
            elif self._span is not None:
                self._span.received()
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start(message)
        elif self._lingers and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._read_over()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def allow(self) -> None:
        """Answer a preflight."""
        await preflight_answer(self.scope["headers"])(self.scope, self._receive, self.send)

    async def refuse(self, error: BaseException) -> None:
        response = error_response(self.scope["path"], error)
        if CHOSEN_VERSION in self.scope:
            response.headers[VERSION_HEADER] = self.scope[CHOSEN_VERSION]
        await response(self.scope, self._receive, self.send)

    def end(self) -> None:
        """Give back what was held, and say what became of the request."""
        self._let_go()
        path, took_s = self.scope["path"], time.perf_counter() - self._began
        self._traffic.count(path, self.status, took_s)
        if self._span is not None:
            self._span.end(self._traffic.endpoints.look_up(path), self.status, self._timing)
        if self.status >= 400:
            reason = self._reason or str(self.status)
            about = (self.scope["method"], path, self._client, self._ids, self._version)
            self._traffic.reject(self.status, reason, *about)
        elif self._traffic.settings.access_log:
            log.info(
                "%d %s %.200r from %s, %.1f ms, %s%s",
                *(self.status, self.scope["method"], path, self._client, took_s * 1000, self._ids),
                f", version {self._version}" if self._version else "",
                extra=self._ids.as_extra(),
            )

    @property
    def _client(self) -> str:
        return self._traffic.client_of(self.scope)

    def _start(self, message: Message) -> None:
        self.status = message["status"]
        headers = dict(message.get("headers", ()))
        self._version = headers.get(_VERSION_HEADER, b"").decode("latin-1")
        if self.status >= 400:
            self._reason = headers.get(_CODE_HEADER, b"").decode("latin-1")
            if self._reason == QueueFull.code:
                self._traffic.shed(self.scope.get("raw_path", b""))
        added = [header for header in SECURITY_HEADERS if header[0] not in headers]
        added += self._ids.headers()
        if self._traffic.cors is not None:
            added += self._traffic.cors.headers_for(self.scope["headers"])
        if self._span is not None:
            self._timing = headers.get(_TIMING_HEADER, b"").decode("latin-1")
        self._lingers = self._more_body and self._unread() > LINGER_FROM_BYTES
        if self._lingers or self._traffic.is_draining:
            added.append((b"connection", b"close"))
        message["headers"] = [*message.get("headers", ()), *added]

    def _unread(self) -> float:
        return float("inf") if self._announced is None else self._announced - self._received

    async def _next_part(self) -> Message:
        if BODY_IS_HERE in self.scope:
            return await self._receive()
        stall_s = self._traffic.settings.upload_stall_ms / 1000
        try:
            async with asyncio.timeout(stall_s):
                return await self._receive()
        except TimeoutError as error:
            raise UploadTooSlow(f"no byte came for {stall_s:g} s; {self._progress()}") from error

    def _check_speed(self) -> None:
        settings = self._traffic.settings
        took_s = time.perf_counter() - self._began
        if took_s > settings.upload_stall_ms / 1000 and self._received < took_s * settings.min_upload_bytes_per_s:
            raise UploadTooSlow(f"{self._progress()}; send at least {settings.min_upload_bytes_per_s:,} bytes/s")
        if took_s > (most_s := settings.upload_timeout_ms / 1000):
            raise UploadTooSlow(f"{self._progress()}; an upload may take {most_s:g} s")

    def _progress(self) -> str:
        of_all = "" if self._announced is None else f" of {self._announced:,}"
        return f"{self._received:,}{of_all} bytes came in {time.perf_counter() - self._began:.1f} s"

    async def _read_over(self) -> None:
        self._let_go()
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while self._more_body:
                    self._more_body = (await self._receive()).get("more_body", False)

    def _let_go(self) -> None:
        self._traffic.let_go(self._held)
        self._held = 0


def _announced_bytes(scope: Scope) -> int | None:
    """How long the body is to be; None where that is not said."""
    announced: int | None = 0
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            announced = int(value) if value.isdigit() and len(value) < 16 else None
    return announced
