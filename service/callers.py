"""How long a request is worked on: until its deadline, and while its caller is there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from starlette.requests import Request
from starlette.types import Message

from service.errors import CallerGone, DeadlinePassed, MalformedRequest
from service.settings import Settings

TIMEOUT_HEADER = "x-request-timeout-ms"

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


@asynccontextmanager
async def deadline_after(milliseconds: float) -> AsyncIterator[float]:
    """Give the block this long, and the deadline in the loop's clock. Raises DeadlinePassed when the time is up."""
    deadline = asyncio.get_running_loop().time() + milliseconds / 1000
    try:
        async with asyncio.timeout_at(deadline):
            yield deadline
    except TimeoutError as error:
        raise DeadlinePassed(f"no answer within {milliseconds / 1000:g} s; the server is too busy") from error


@asynccontextmanager
async def while_present(request: Request) -> AsyncIterator[None]:
    """Cancel the block when the caller hangs up, and raise CallerGone. Only once the whole body has been read.

    A server does not cancel a handler by itself, so an image whose caller left would still be computed.
    """
    task = cast("asyncio.Task[object]", asyncio.current_task())
    inside = True

    def leave(gone: asyncio.Future[Message]) -> None:
        if inside and gone.result()["type"] == "http.disconnect":
            task.cancel()

    gone = asyncio.ensure_future(request.receive())  # after the body one more message comes: the hang-up
    gone.add_done_callback(leave)
    try:
        yield
    except asyncio.CancelledError:
        if gone.done() and task.uncancel() == 0:
            raise CallerGone("the caller hung up before the answer was there") from None
        raise
    finally:
        inside = False
        gone.cancel()
