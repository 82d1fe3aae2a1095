"""Connections to use again, and no more of them at once than allowed.

Each is a transport with a pool of one. httpx's own pool goes through all its connections for every request. With a few
dozen of them that costs more than the rest of the request.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx

from ..errors import TimedOut


class Connections:
    """For threads. `make` gives a transport of one connection."""

    def __init__(self, make: Callable[[], httpx.BaseTransport], most: int) -> None:
        self._make = make
        self._most = most
        self._free = threading.BoundedSemaphore(most)
        self._idle: list[httpx.BaseTransport] = []  # the last one back goes out first, so that the others may expire
        self._closed = False

    @contextmanager
    def one(self, within_s: float) -> Iterator[httpx.BaseTransport]:
        """A connection that is nobody else's. Raises TimedOut when none is free in time."""
        if not self._free.acquire(timeout=within_s):
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
            self._free.release()

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._taken().close()

    def _taken(self) -> httpx.BaseTransport:
        try:
            return self._idle.pop()
        except IndexError:  # another thread may have been faster than a look at the list
            return self._make()


class AsyncConnections:
    """As `Connections`, for one event loop."""

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport], most: int) -> None:
        self._make = make
        self._most = most
        self._free = asyncio.Semaphore(most)
        self._idle: list[httpx.AsyncBaseTransport] = []
        self._closed = False

    @asynccontextmanager
    async def one(self, within_s: float) -> AsyncIterator[httpx.AsyncBaseTransport]:
        try:
            async with asyncio.timeout(within_s if self._free.locked() else None):
                await self._free.acquire()
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
            self._free.release()

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            await self._idle.pop().aclose()


def _check_open(closed: bool) -> None:
    if closed:
        raise RuntimeError("the client is closed")
