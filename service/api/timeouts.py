"""Deadlines for very many tasks with one timer.

`asyncio.timeout` starts and cancels a timer of the loop each time, which is a twentieth of a thumbnail's whole cost
here. Almost no deadline is ever reached, so looking at all that are set, a hundred times a second and only while there
are any, is cheaper; what is late is then ended up to 10 ms after its time.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Protocol, cast
from weakref import WeakKeyDictionary

LOOK_EVERY_S = 0.01


class Timeout:
    """`with Timeout(when):` cancels the block at `when`, in the loop's clock, and raises TimeoutError then.

    As `asyncio.timeout_at`, whose rules for nested cancellations it follows.
    """

    __slots__ = ("_cancelling", "_expired", "_task", "_watch", "when")

    def __init__(self, when: float) -> None:
        self.when = when
        self._expired = False

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        self._task = cast("asyncio.Task[object]", asyncio.current_task(loop))
        self._cancelling = self._task.cancelling()
        self._watch = watch_of(loop)
        self._watch.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.discard(self)
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        if not self._expired:
            self._expired = True
            self._task.cancel()


class Deadline(Protocol):
    """Something that is to be told, once, that its time has come. `when` is in the loop's clock."""

    when: float

    def expire(self) -> None: ...


class Watch:
    """The deadlines of one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._set: set[Deadline] = set()
        self._looking = False

    def add(self, timeout: Deadline) -> None:
        self._set.add(timeout)
        if not self._looking:
            self._looking = True
            self._loop.call_later(LOOK_EVERY_S, self._look)

    def discard(self, timeout: Deadline) -> None:
        self._set.discard(timeout)

    def _look(self) -> None:
        now = self._loop.time()
        for timeout in [timeout for timeout in self._set if timeout.when <= now]:
            timeout.expire()
        self._looking = bool(self._set)
        if self._looking:
            self._loop.call_later(LOOK_EVERY_S, self._look)


_WATCHES: WeakKeyDictionary[asyncio.AbstractEventLoop, Watch] = WeakKeyDictionary()


def watch_of(loop: asyncio.AbstractEventLoop) -> Watch:
    """The one that looks after the deadlines of a loop."""
    try:
        return _WATCHES[loop]
    except KeyError:
        return _WATCHES.setdefault(loop, Watch(loop))
