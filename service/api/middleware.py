"""What every request passes, whatever its path: keys, limits on bodies, request ids, headers, and the way out.

An ASGI middleware around everything that BentoML serves. It refuses before anything is read, watches the body come in,
and knows at every moment which requests are being answered and how many bytes they hold.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from contextlib import suppress
from typing import Any, NamedTuple, cast

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn._types import HTTPScope

from classifier.errors import SightlineError
from service.api import request_ids
from service.api.auth import PROBES, Access
from service.api.endpoints import Endpoints
from service.api.rejection_log import RejectionLog
from service.api.request_ids import request_id_of
from service.api.responses import problem_response, protocol_error
from service.api.timeouts import Timeout
from service.errors import (
    CODE_HEADER,
    Closing,
    NoSuchPath,
    QueueFull,
    TooManyBytes,
    UploadTooSlow,
    is_oip,
)
from service.metrics import Metrics
from service.server import protocol
from service.settings import Settings

log = logging.getLogger(__name__)

# Seconds in which we read on and forget what a caller still sends after its answer. Closing at once would make the
# kernel answer with a reset, which may overtake the answer.
LINGER_S = 2.0
LINGER_FROM_BYTES = 65_536  # a shorter rest is read over by uvicorn, and the connection stays

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

HEADERS = (  # of every answer
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_CODE_HEADER = CODE_HEADER.encode()
_PASSED = "sightline.gate"  # a key of the scope

# A key of the scope of a request that somebody else has read already, and for which there is only an error to tell.
FAILED = "sightline.failed"

CUT_OFF = "the server shut down before the answer was there; send the request again"


class Failed(NamedTuple):
    """The error of a request, and when the request began, in the clock of `time.perf_counter`."""

    error: BaseException
    began: float


class Traffic:
    """What is going on now: the requests being answered, the bytes they hold, and whether the server is closing."""

    def __init__(self, settings: Settings, access: Access, endpoints: Endpoints, metrics: Metrics) -> None:
        self.settings = settings
        self.access = access
        self.endpoints = endpoints
        self.metrics = metrics
        self.is_closing = False
        self.is_cut_off = False
        self.held_bytes = 0
        self.tasks: set[asyncio.Future[Any]] = set()
        self.rejections = RejectionLog()
        metrics.in_progress = lambda: len(self.tasks)

    def hold(self, count: int) -> None:
        """Count more bytes of a body. Raises TooManyBytes."""
        self.held_bytes += count
        if not self.has_room(0):
            raise TooManyBytes(f"all requests together may hold {self.settings.max_held_bytes:,} bytes; send it again")

    def has_room(self, count: int) -> bool:
        """Whether more bytes may be held."""
        return self.held_bytes + count <= self.settings.max_held_bytes

    def let_go(self, count: int) -> None:
        self.held_bytes -= count

    def count(self, path: str, status: int, took_s: float) -> None:
        """Count an answer."""
        self.metrics.answered(self.endpoints.template(path), status, took_s)

    def reject(self, status: int, reason: str, method: str, path: str, client: str, request_id: str) -> None:
        """Count a rejection, and say so in the log."""
        self.metrics.rejected(reason)
        self.rejections.add(status, reason, method, path, client, request_id)

    def cut_off(self) -> None:
        """End what is still being answered; each gets a 503, if its answer has not begun."""
        self.is_cut_off = True
        for task in self.tasks:
            task.cancel()


class Gate:
    """The middleware. `traffic` is shared with whoever closes the server.

    A request passes once, however many gates are on its way: one stands before BentoML's app, where our connections put
    it, and one inside, for a server that does not use them.
    """

    def __init__(self, app: ASGIApp, traffic: Traffic) -> None:
        self._app = app
        self._traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _PASSED in scope:
            await self._app(scope, receive, send)
            return
        scope[_PASSED] = True
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] in PROBES:  # answered also while closing, and not waited for
            await self._pass(_Exchange(self._traffic, scope, receive, send))
        else:
            task = cast("asyncio.Task[object]", asyncio.current_task())
            self._traffic.tasks.add(task)
            try:
                await self._pass(_Exchange(self._traffic, scope, receive, send))
            finally:
                self._traffic.tasks.discard(task)

    async def _pass(self, exchange: _Exchange) -> None:
        scope = exchange.scope
        try:
            if refusal := self._refusal(scope):
                await exchange.refuse(refusal)
            else:
                await self._app(scope, exchange.receive, exchange.send)
        except SightlineError as error:  # of a body that a route of BentoML's own has read
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

    def _refusal(self, scope: Scope) -> BaseException | None:
        if FAILED in scope:
            failed: Failed = scope.pop(FAILED)  # it came from what has this scope, and would keep itself alive
            return failed.error
        try:
            self._traffic.access.check(scope["path"], scope["headers"])
        except SightlineError as error:
            return error
        if _CONTROL.search(scope["path"]):  # a newline would not be matched by any route's pattern
            return NoSuchPath("no path has a control character in it")
        if self._traffic.is_closing and scope["method"] == "POST":
            return Closing("the server is shutting down; send the request again")
        return None


class _Exchange:
    """One request and its answer."""

    def __init__(self, traffic: Traffic, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.status = 0  # until the answer has begun
        self._traffic = traffic
        self._receive = receive
        self._send = send
        self._began = scope[FAILED].began if FAILED in scope else time.perf_counter()  # the loop's counts milliseconds
        self._announced = _announced_bytes(scope)
        self._more_body = self._announced != 0
        self._held = 0
        self._received = 0
        self._lingers = False
        self._reason = ""
        self.request_id = request_id_of(scope["headers"])
        scope.setdefault("state", {})["request_id"] = self.request_id

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
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start(message)
        elif self._lingers and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._read_over()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def refuse(self, error: BaseException) -> None:
        await refusal(self.scope["path"], error)(self.scope, self._receive, self.send)

    def end(self) -> None:
        """Give back what was held, and say what became of the request."""
        self._let_go()
        path, took_s = self.scope["path"], time.perf_counter() - self._began
        self._traffic.count(path, self.status, took_s)
        if self.status >= 400:
            reason = self._reason or str(self.status)
            self._traffic.reject(self.status, reason, self.scope["method"], path, self._client, self.request_id)
        elif self._traffic.settings.access_log:
            log.info(
                "%d %s %.200r from %s, %.1f ms, request %s",
                *(self.status, self.scope["method"], path, self._client, took_s * 1000, self.request_id),
            )

    @property
    def _client(self) -> str:
        return client_of(self.scope)

    def _start(self, message: Message) -> None:
        self.status = message["status"]
        headers = dict(message.get("headers", ()))
        if self.status >= 400:
            self._reason = headers.get(_CODE_HEADER, b"").decode("latin-1")
            if self._reason == QueueFull.code:
                protocol.refuse_for_now(self.scope.get("raw_path", b""))
        added = [header for header in HEADERS if header[0] not in headers]
        added.append((request_ids.HEADER, self.request_id.encode()))
        self._lingers = self._more_body and self._unread() > LINGER_FROM_BYTES
        if self._lingers or self._traffic.is_closing:
            added.append((b"connection", b"close"))
        message["headers"] = [*message.get("headers", ()), *added]

    def _unread(self) -> float:
        return float("inf") if self._announced is None else self._announced - self._received

    async def _next_part(self) -> Message:
        if protocol.BODY_IS_HERE in self.scope:
            return await self._receive()
        stall_s = self._traffic.settings.upload_stall_ms / 1000
        try:
            with Timeout(asyncio.get_running_loop().time() + stall_s):
                return await self._receive()
        except TimeoutError as error:
            raise UploadTooSlow(f"no byte came for {stall_s:g} s, after {self._received:,} bytes") from error

    def _check_speed(self) -> None:
        settings = self._traffic.settings
        took_s = time.perf_counter() - self._began
        if took_s > settings.upload_stall_ms / 1000 and self._received < took_s * settings.min_upload_bytes_per_s:
            slowest = f"{settings.min_upload_bytes_per_s:,} bytes/s"
            raise UploadTooSlow(f"{self._received:,} bytes came in {took_s:.0f} s; at least {slowest} are waited for")

    async def _read_over(self) -> None:
        self._let_go()
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while self._more_body:
                    self._more_body = (await self._receive()).get("more_body", False)

    def _let_go(self) -> None:
        self._traffic.let_go(self._held)
        self._held = 0


def refusal(path: str, error: BaseException) -> Response:
    """An error in the words of the path's protocol."""
    return protocol_error(error) if is_oip(path) else problem_response(error)


def _announced_bytes(scope: Scope) -> int | None:
    """How long the body is to be; None where that is not said."""
    announced: int | None = 0
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            announced = int(value) if value.isdigit() and len(value) < 16 else None
    return announced


def client_of(scope: Scope | HTTPScope) -> str:
    """The caller's address."""
    return str((scope.get("client") or ("unknown",))[0])
