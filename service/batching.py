"""Batching without waiting: whatever is queued the moment a place is free becomes the next batch.

Knows neither HTTP nor networks. A `Batcher` takes an async `forward(items) -> rows`; several batchers share `Slots`.
Everything here belongs to one event loop. Deadlines are in that loop's clock, which is monotonic.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar, cast

from classifier.errors import OutOfMemory, SightlineError
from service.errors import BrokenForward, Closing, DeadlinePassed, QueueFull

Item = TypeVar("Item")
Row = TypeVar("Row")

log = logging.getLogger(__name__)

_SPEED_MEMORY = 0.8  # weight of the past in the running mean of seconds per image; five batches make it new


class Slots:
    """Places for batches in flight, shared by all batchers; the batcher whose first item came first goes first.

    Batchers in the background come after all others.
    """

    def __init__(self, places: int) -> None:
        self.places = places
        self._taken = 0
        self._batchers: list[Batcher[Any, Any]] = []
        self._woken = False

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()  # which asks the system for the process id, each time

    def join(self, batcher: Batcher[Any, Any]) -> None:
        self._batchers.append(batcher)

    def widen(self, places: int) -> None:
        """Have at least this many places; how many an engine can use is known only once it is loaded."""
        self.places = max(self.places, places)

    def wake(self) -> None:
        """Look for work in the next turn of the loop, so that items submitted in this turn travel together."""
        if self._taken < self.places and not self._woken:
            self._woken = True
            self._loop.call_soon(self._hand_out)

    @property
    def in_flight(self) -> int:
        """Batches of all batchers that run now."""
        return self._taken

    @property
    def anybody_waits(self) -> bool:
        return any(batcher.waiting for batcher in self._batchers)

    def take(self) -> None:
        self._taken += 1

    def give_back(self) -> None:
        self._taken -= 1
        self._hand_out()

    def _hand_out(self) -> None:
        self._woken = False
        while self._taken < self.places and (ready := [b for b in self._batchers if b.ready]):
            min(ready, key=lambda batcher: (batcher.background, batcher.first_came_at)).start_batch()


@dataclass(slots=True)
class _Waiter(Generic[Item, Row]):
    item: Item
    came_at: float
    deadline: float
    row: asyncio.Future[Row]


class Batcher(Generic[Item, Row]):
    """Collects items into batches of at most `max_batch` and hands each caller the row of its own item.

    At most `queue_limit` items wait, and at most `in_flight_limit` batches of this batcher run at once. Callers who
    left or whose deadline passed do not enter a batch. Every item is answered: with its row or the error that
    `forward` gives in its place, with the failure of its own item (a batch that fails is run again item by item), or
    with Closing. A batch that fails with OutOfMemory is run again in halves; `max_batch` is then half of it for good,
    and `lowered` is told.
    """

    def __init__(
        self,
        forward: Callable[[list[Item]], Awaitable[Sequence[Row | SightlineError]]],
        slots: Slots,
        *,
        max_batch: int = 16,
        queue_limit: int = 256,
        in_flight_limit: int = 1,
        max_wait_ms: float = 0.0,
        background: bool = False,
        lowered: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.background = background
        self.max_batch = max_batch
        self._forward = forward
        self._slots = slots
        self._lowered = lowered
        self._queue_limit = queue_limit
        self._in_flight_limit = in_flight_limit
        self._max_wait_s = max_wait_ms / 1000
        self._queue: deque[_Waiter[Item, Row]] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._patience: asyncio.TimerHandle | None = None  # runs while the first item may still wait for company
        self._seconds_per_item = 0.0
        self._closed = False
        slots.join(self)

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    @property
    def waiting(self) -> int:
        """Items in the queue, not counting batches in flight."""
        return len(self._queue)

    @property
    def ready(self) -> bool:
        """Whether a batch can start now, given a place."""
        enough = self._patience is None or len(self._queue) >= self.max_batch
        return bool(self._queue) and enough and len(self._running) < self._in_flight_limit

    @property
    def first_came_at(self) -> float:
        return self._queue[0].came_at

    def check_room(self, items: int) -> None:
        """Raise QueueFull unless `items` more may wait, or Closing."""
        if self._closed:
            raise Closing("the server is shutting down; send the request again")
        if len(self._queue) + items > self._queue_limit:
            self._drop_the_lost()
        if len(self._queue) + items > self._queue_limit:
            raise QueueFull(
                f"{len(self._queue)} images wait and {self._queue_limit} may, so there is no room for {items} more",
                retry_after_s=len(self._queue) * self._seconds_per_item,
            )

    def submit(self, item: Item, deadline: float) -> asyncio.Future[Row]:
        """Queue one item and return the future of its row; cancel it to leave. Raises as `check_room` does."""
        self.check_room(1)
        loop = self._loop
        waiter = _Waiter[Item, Row](item, loop.time(), deadline, loop.create_future())
        self._queue.append(waiter)
        if self._max_wait_s and len(self._queue) == 1:
            self._wait_for_company()
        self._slots.wake()
        return waiter.row

    def start_batch(self) -> None:
        """Take what is queued and run it. `Slots` calls this when there is a place."""
        batch = self._next_batch()
        if self._max_wait_s:
            self._wait_for_company()
        if batch:
            self._slots.take()
            self._running.add(self._loop.create_task(self._run(batch)))

    async def close(self, grace_s: float = 5.0) -> None:
        """Refuse new items, answer the queued ones with Closing, and give batches in flight `grace_s` to finish."""
        self._closed = True
        while self._queue:
            _fail(self._queue.popleft(), Closing("the server is shutting down; send the request again"))
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _next_batch(self) -> list[_Waiter[Item, Row]]:
        batch: list[_Waiter[Item, Row]] = []
        now = self._loop.time()
        while self._queue and len(batch) < self.max_batch:
            waiter = self._queue.popleft()
            if _still_wanted(waiter, now):
                batch.append(waiter)
        return batch

    def _drop_the_lost(self) -> None:
        now = self._loop.time()
        self._queue = deque(waiter for waiter in self._queue if _still_wanted(waiter, now))

    def _wait_for_company(self) -> None:
        if self._patience:
            self._patience.cancel()
        until = self.first_came_at + self._max_wait_s if self._queue else None
        self._patience = self._loop.call_at(until, self._lose_patience) if until else None

    def _lose_patience(self) -> None:
        self._patience = None
        self._slots.wake()

    async def _run(self, batch: list[_Waiter[Item, Row]]) -> None:
        loop = self._loop
        started = loop.time()
        try:
            await self._answer(batch)
        finally:
            for waiter in batch:  # only a cancelled batch leaves anybody here
                _fail(waiter, Closing("the server shut down before the answer was there; send the request again"))
            self._remember_speed((loop.time() - started) / len(batch) / self._slots.places)
            self._running.remove(cast("asyncio.Task[None]", asyncio.current_task(loop)))
            self._slots.give_back()

    async def _answer(self, batch: list[_Waiter[Item, Row]]) -> None:
        try:
            rows = await self._forward([waiter.item for waiter in batch])
        except Exception as error:
            if len(batch) == 1:
                log.error("the network failed on one image", exc_info=error)
                _fail(batch[0], _explained(error))
                return
            for part in self._parts(batch, error):
                now = self._loop.time()
                if wanted := [waiter for waiter in part if _still_wanted(waiter, now)]:
                    await self._answer(wanted)
        else:
            _deliver(batch, rows)

    def _parts(self, batch: list[_Waiter[Item, Row]], error: Exception) -> list[list[_Waiter[Item, Row]]]:
        """What to run in place of a batch that failed: halves where memory was short, else each item alone."""
        size = len(batch) // 2 if isinstance(error, OutOfMemory) else 1
        log.warning("a batch of %d failed (%r); running it again in batches of %d", len(batch), error, size)
        if isinstance(error, OutOfMemory) and size < self.max_batch:
            self.max_batch = size
            self._lowered(size)
        return [batch[i : i + size] for i in range(0, len(batch), size)]

    def _remember_speed(self, seconds_per_item: float) -> None:
        past = self._seconds_per_item or seconds_per_item
        self._seconds_per_item = _SPEED_MEMORY * past + (1 - _SPEED_MEMORY) * seconds_per_item


def _deliver(batch: list[_Waiter[Item, Row]], rows: Sequence[Row | SightlineError]) -> None:
    if len(rows) != len(batch):  # before anybody can get a neighbour's answer
        for waiter in batch:
            _fail(waiter, BrokenForward(f"{len(batch)} images in, {len(rows)} answers out"))
        return
    for waiter, row in zip(batch, rows, strict=True):
        if isinstance(row, SightlineError):
            _fail(waiter, row)
        elif not waiter.row.done():  # this caller may have hung up
            waiter.row.set_result(row)


def _still_wanted(waiter: _Waiter[Item, Row], now: float) -> bool:
    if now > waiter.deadline:
        _fail(waiter, DeadlinePassed(f"the image waited {now - waiter.came_at:.1f} s without coming up"))
    return not waiter.row.done()


def _fail(waiter: _Waiter[Item, Row], error: SightlineError) -> None:
    if not waiter.row.done():
        waiter.row.set_exception(error)


def _explained(error: Exception) -> SightlineError:
    if isinstance(error, SightlineError):
        return error
    broken = BrokenForward("the network failed on this image; the server's log says how")
    broken.__cause__ = error
    return broken
