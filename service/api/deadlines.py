"""How long a request is worked on: until its deadline, and while its caller is there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, cast

from starlette.requests import Request
from starlette.types import Message, Scope

from service.errors import CallerGone, DeadlinePassed, MalformedRequest
from service.settings import Settings

TIMEOUT_HEADER = "x-request-timeout-ms"

# Where the server tells who listens that the caller has hung up: a set of callbacks in the ASGI scope's extensions.
HANG_UP = "sightline.hang_up"

_MILLISECONDS = re.compile(r"[1-9][0-9]{0,8}")


def time_for(request: Request, settings: Settings) -> float:
    """Milliseconds that a request may take: what its caller asks for, within the maximum, or the server's default.

    Raises MalformedRequest.
    """
    asked = request.headers.get(TIMEOUT_HEADER)
    if asked is None:
        return settings.request_timeout_ms
    if not _MILLISECONDS.fullmatch(asked):
        raise MalformedRequest(f"X-Request-Timeout-Ms must be a whole number of milliseconds from 1, not {asked!r}")
    return min(float(asked), settings.longest_timeout_ms)


class deadline_after:  # noqa: N801  (reads as what it does, as asyncio.timeout)
    """Give the block this many milliseconds; it gets the deadline in the loop's clock.

    Raises DeadlinePassed when the time is up.
    """

    def __init__(self, milliseconds: float) -> None:
        self._milliseconds = milliseconds
        self._deadline = asyncio.get_running_loop().time() + milliseconds / 1000
        self._timeout = asyncio.timeout_at(self._deadline)

    async def __aenter__(self) -> float:
        await self._timeout.__aenter__()
        return self._deadline

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise deadline_error(self._milliseconds) from error


def deadline_error(milliseconds: float) -> DeadlinePassed:
    return DeadlinePassed(f"no answer within {milliseconds / 1000:g} s; the server is too busy")


class Expiring(Protocol):
    """What has a deadline. `expire` is called once it has passed."""

    def expire(self) -> None: ...


class CommonDeadlines(dict[Expiring, float]):
    """Deadlines in the loop's clock, of many that all have the same time: who was put in first expires first.

    Put in who has one, and call `watch` where nothing watches yet; take out who needs none any more. One timer serves
    all. To start and cancel one for each takes longer: docs/tuning.md#deadlines
    """

    is_watched = False

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell those whose deadline has passed, and look again when the next one has."""
        self.is_watched, now = False, loop.time()
        while self:
            one, deadline = next(iter(self.items()))
            if deadline > now:
                self.is_watched = True
                loop.call_at(deadline, self.watch, loop)
                return
            del self[one]
            one.expire()


class while_present:  # noqa: N801
    """Cancel the block when the caller hangs up, and raise CallerGone. Only once the whole body has been read.

    A server does not cancel a handler by itself, so an image whose caller left would still be computed.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._left = False

    def __enter__(self) -> None:
        self._task = cast("asyncio.Task[object]", asyncio.current_task())
        self._stop = _watch(self._request, self._leave)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        del self._stop  # it leads back here, by way of `_leave`: the request would stay until a garbage collection
        if self._left and kind is asyncio.CancelledError and self._task.uncancel() == 0:
            raise CallerGone("the caller hung up before the answer was there") from None

    def _leave(self) -> None:
        if not self._left:
            self._left = True
            self._task.cancel()


def _watch(request: Request, leave: Callable[[], None]) -> Callable[[], None]:
    """Have `leave` called when the caller hangs up; gives what ends the watch."""
    if (listeners := hang_up_listeners(request.scope)) is None:
        return _watch_messages(request, leave)
    listeners.add(leave)
    return lambda: listeners.discard(leave)


def hang_up_listeners(scope: Scope) -> set[Callable[[], None]] | None:
    """The callbacks of our own server's connection; None on another server."""
    listeners: set[Callable[[], None]] | None = scope.get("extensions", {}).get(HANG_UP)
    return listeners


def _watch_messages(request: Request, leave: Callable[[], None]) -> Callable[[], None]:
    """As any ASGI server tells it, at the price of a task: after the body one more message comes, the hang-up."""
    watching = True

    def look(gone: asyncio.Future[Message]) -> None:
        if watching and gone.result()["type"] == "http.disconnect":
            leave()

    def stop() -> None:
        nonlocal watching
        watching = False
        gone.cancel()

    gone = asyncio.ensure_future(request.receive())
    gone.add_done_callback(look)
    return stop
