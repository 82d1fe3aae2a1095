"""Threads that decode pictures, several small ones in one go where several wait.

To hand a picture to a thread and hear back costs the event loop as much as a thumbnail, and takes a processor from the
networks twice. A picture that holds very much memory while it is decoded has to wait for others of its kind, so that
the memory does not grow with the number of threads. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from classifier.errors import SightlineError
from service.errors import Closing, QueueFull

Result = TypeVar("Result")

# What goes to a thread in one go, unless it is one picture. With all that waits shared among the threads 1 to 3 % more
# images/s (cats-vs-dogs 1, 32 and 128 connections, JPEGs of 12 and 50 kB, medians of n=8 alternating pairs of 1 s).
MOST_BYTES = 128 * 1024

# What a picture may hold to be decoded beside others, in pixels of up to 16 bytes: 100 MB a thread. Most that is larger
# is a JPEG, and of those a quarter counts: 25 megapixels, more than almost any camera's.
BESIDE_OTHERS_PIXELS = 6_250_000

LARGE_WAITING = 64  # a whole batch of them; of 50 megapixels each takes a second or two


class _Work(NamedTuple):
    do: Callable[[], Any]
    size: int
    result: asyncio.Future[Any]


class Decoders:
    """So many threads for pictures, and one for the large ones."""

    def __init__(self, threads: int) -> None:
        self._many = _Crew(threads)
        self._one = _Crew(1)

    def run(self, do: Callable[[], Result], size: int = MOST_BYTES) -> asyncio.Future[Result]:
        """The result of `do`, called in a thread; cancel the future to leave.

        Work of a small `size`, in bytes, may be called in a row with others. Raises Closing once closed.
        """
        return self._many.run(do, size)

    def run_alone(self, do: Callable[[], Result]) -> asyncio.Future[Result]:
        """As `run`, but one after the other. Raises QueueFull where LARGE_WAITING wait or run already."""
        if (waiting := self._one.unfinished) >= LARGE_WAITING:
            raise QueueFull(
                f"{waiting} very large pictures wait, as many as may; scale yours down, or send it again later",
                retry_after_s=waiting,
            )
        return self._one.run(do, MOST_BYTES)

    def close(self) -> None:
        """Call off whatever is not running, and expect nothing of what is. Closing again does nothing."""
        self._many.close()
        self._one.close()


class _Crew:
    """Some threads, and what waits for them, first come first served."""

    def __init__(self, threads: int) -> None:
        self._idle = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._waiting: deque[_Work] = deque()
        self._unfinished: set[asyncio.Future[Any]] = set()
        self._woken = False
        self._closed = False

    @property
    def unfinished(self) -> int:
        """How much work waits or runs, for callers who are still there."""
        return len(self._unfinished)

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def run(self, do: Callable[[], Result], size: int) -> asyncio.Future[Result]:
        if self._closed:
            raise Closing("the server is shutting down; send the request again")
        result: asyncio.Future[Result] = self._loop.create_future()
        self._unfinished.add(result)
        result.add_done_callback(self._unfinished.discard)
        self._waiting.append(_Work(do, size, result))
        if self._idle and not self._woken:  # in the next turn, so that what comes in this one is shared out
            self._woken = True
            self._loop.call_soon(self._hand_out)
        return result

    def close(self) -> None:
        self._closed = True
        self._waiting.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)
        for result in tuple(self._unfinished):
            result.cancel()

    def _hand_out(self) -> None:
        self._woken = False
        while self._idle and not self._closed and (group := self._next_group()):
            self._idle -= 1
            self._pool.submit(_done, group, self._loop, self._hear)

    def _next_group(self) -> list[_Work]:
        """A share of what waits, of one thread that is idle."""
        most = -(-len(self._waiting) // self._idle)
        group: list[_Work] = []
        room = MOST_BYTES
        while self._waiting and len(group) < most and (not group or self._waiting[0].size <= room):
            work = self._waiting.popleft()
            if not work.result.done():  # this caller may have hung up
                group.append(work)
                room -= work.size
        return group

    def _hear(self, group: list[_Work], answers: list[Any]) -> None:
        self._idle += 1
        for work, answer in zip(group, answers, strict=True):
            if work.result.done():
                continue
            if isinstance(answer, Exception):
                work.result.set_exception(answer)
            else:
                work.result.set_result(answer)
        self._hand_out()


def _done(group: list[_Work], loop: asyncio.AbstractEventLoop, hear: Callable[[list[_Work], list[Any]], None]) -> None:
    """In a thread."""
    answers = [_answer(work.do) for work in group]
    with suppress(RuntimeError):  # the loop was closed meanwhile
        loop.call_soon_threadsafe(hear, group, answers)


def _answer(do: Callable[[], Any]) -> Any:
    try:
        return do()
    except SightlineError as error:  # belongs to the caller who waits on the future
        return _without_frames(error)
    except Exception as error:
        return error


def _without_frames(error: SightlineError) -> SightlineError:
    """The error alone. Its traceback's frames hold the picture, half decoded, and through `_done` the error itself, so
    both would stay until the next garbage collection, which is rare here: 196 MB for each of some WebPs of 64 bytes.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
