"""Connections to use again, and no more of them at once than allowed.

Each is an httpx client with a pool of one. httpx's own pool goes through all its connections for every request, which
with a few dozen of them costs more than the rest of the request.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache

import httpx

from .errors import TimedOut

# BentoML closes a connection that was idle for 5 s. We let go of it before, or a request could cross with the close.
_KEEPALIVE_S = 4.0

ONE = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEEPALIVE_S)


@cache
def tls() -> ssl.SSLContext:
    """The rules of encrypted connections. Reading the root certificates takes long, so it is done once."""
    return httpx.create_ssl_context()


class Connections:
    """For threads. `make` gives an httpx client of one connection."""

    def __init__(self, make: Callable[[], httpx.Client], most: int) -> None:
        self._make = make
        self._most = most
        self._places = threading.BoundedSemaphore(most)
        self._idle: list[httpx.Client] = []  # the last one back goes out first, so that the others may expire
        self._closed = False

    @contextmanager
    def one(self, within_s: float) -> Iterator[httpx.Client]:
        """A connection that is nobody else's. Raises TimedOut when none is free in time."""
        if not self._places.acquire(timeout=within_s):
            raise TimedOut(f"all {self._most} connections were in use for {within_s:g} s")
        try:
            _check_open(self._closed)
            http = self._taken()
            try:
                yield http
            finally:
                self._idle.append(http)
                if self._closed:
                    self.close()
        finally:
            self._places.release()

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._taken().close()

    def _taken(self) -> httpx.Client:
        try:
            return self._idle.pop()
        except IndexError:  # another thread may have been faster than a look at the list
            return self._make()


class AsyncConnections:
    """As `Connections`, for one event loop."""

    def __init__(self, make: Callable[[], httpx.AsyncClient], most: int) -> None:
        self._make = make
        self._most = most
        self._places = asyncio.Semaphore(most)
        self._idle: list[httpx.AsyncClient] = []
        self._closed = False

    @asynccontextmanager
    async def one(self, within_s: float) -> AsyncIterator[httpx.AsyncClient]:
        try:
            async with asyncio.timeout(within_s):
                await self._places.acquire()
        except TimeoutError:
            raise TimedOut(f"all {self._most} connections were in use for {within_s:g} s") from None
        try:
            _check_open(self._closed)
            http = self._idle.pop() if self._idle else self._make()
            try:
                yield http
            finally:
                self._idle.append(http)
                if self._closed:
                    await self.close()
        finally:
            self._places.release()

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            await self._idle.pop().aclose()


def _check_open(closed: bool) -> None:
    if closed:
        raise RuntimeError("the client is closed")
