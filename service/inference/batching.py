"""Batching without waiting: what is queued the moment a place is free becomes the next batch, in one of few sizes.

Knows neither HTTP nor networks. A `Batcher` takes a `forward(items)` that starts a `Pass`; several batchers share
`Slots`. Everything here belongs to one event loop, but what a pass waits for, which another thread may bring. Deadlines
are in the loop's clock, which is monotonic.

From the end of one pass to the start of the next there is one turn of the loop and no task. In a turn everything that
came meanwhile is read, which takes a busy server milliseconds, and the device has nothing to do.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Generic, NamedTuple, TypeVar

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


class Pass(NamedTuple, Generic[Row]):
    """A batch that runs: what it waits for, and how to read the rows from that, or an error in place of a row."""

    running: Future[Any]
    rows: Callable[[Any], Sequence[Row | SightlineError]]


@dataclass(slots=True)
class _Waiter(Generic[Item, Row]):
    item: Item
    came_at: float
    deadline: float
    row: asyncio.Future[Row]


@dataclass(slots=True, eq=False)
class _Flight(Generic[Item, Row]):
    """A batch from its start until everybody in it is answered. `retry` runs where it failed."""

    batch: list[_Waiter[Item, Row]]
    started_at: float
    retry: asyncio.Task[None] | None = None


class Batcher(Generic[Item, Row]):
    """Collects items into batches of at most `max_batch` and hands each caller the row of its own item.

    At most `queue_limit` items wait, and at most `in_flight_limit` batches of this batcher run at once. Of fewer than
    `max_batch` items as many are taken as `whole_batch` says, the others go with the next batch. With `least_beside`,
    fewer items than that do not start while another batch runs, and a batch of more is at most its place's share of
    all that wait or run, so that no place has nothing to do while another has too much.

    Callers who left or whose deadline passed do not enter a batch. Every item is answered: with its row or the error
    that stands in its place, with the failure of its own item (a batch that fails is run again item by item), or with
    Closing. A batch that fails with OutOfMemory is run again in halves; `max_batch` is then half of it for good, and
    `lowered` is told. `failed` is told what each pass failed with.
    """

    def __init__(
        self,
        forward: Callable[[list[Item]], Pass[Row]],
        slots: Slots,
        *,
        max_batch: int = 16,
        queue_limit: int = 256,
        in_flight_limit: int = 1,
        max_wait_ms: float = 0.0,
        whole_batch: Callable[[int], int] = lambda items: items,
        least_beside: int | None = None,
        background: bool = False,
        lowered: Callable[[int], None] = lambda _: None,
        failed: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        self.background = background
        self.max_batch = max_batch
        self._forward = forward
        self._slots = slots
        self._lowered = lowered
        self._failed = failed
        self._queue_limit = queue_limit
        self._in_flight_limit = in_flight_limit
        self._whole_batch = whole_batch
        self._least_beside = least_beside
        self._max_wait_s = max_wait_ms / 1000
        self._queue: deque[_Waiter[Item, Row]] = deque()
        self._flights: set[_Flight[Item, Row]] = set()
        self._landed = asyncio.Event()  # set when a flight ends
        self._patience: asyncio.TimerHandle | None = None  # runs while the first item may still wait for company
        self._seconds_per_item = 0.0
        self._has_looked = False  # in this turn of the loop, for who left or is late
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
        if self._patience is not None and len(self._queue) < self.max_batch:
            return False
        least = min(self._least_beside or 1, self.max_batch) if self._flights else 1
        return len(self._queue) >= least and len(self._flights) < self._in_flight_limit

    @property
    def first_came_at(self) -> float:
        return self._queue[0].came_at

    def check_room(self, items: int, coming: int = 0) -> None:
        """Raise QueueFull unless `items` more may wait beside those that are `coming`, or Closing."""
        if self._closed:
            raise Closing("the server is shutting down; send the request again")
        if len(self._queue) + coming + items > self._queue_limit and not self._has_looked:
            self._has_looked = True  # once in a turn of the loop: in a flood thousands ask
            self._loop.call_soon(self._look_again)
            self._drop_the_lost()
        if (waiting := len(self._queue) + coming) + items > self._queue_limit:
            raise QueueFull(
                f"{waiting} images wait and {self._queue_limit} may, so there is no room for {items} more",
                retry_after_s=waiting * self._seconds_per_item,
            )

    def submit(self, item: Item, deadline: float) -> asyncio.Future[Row]:
        """Queue one item and return the future of its row; cancel it to leave. Raises as `check_room` does."""
        self.check_room(1)
        loop = self._loop
        waiter: _Waiter[Item, Row] = _Waiter(item, loop.time(), deadline, loop.create_future())
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
            self._launch(_Flight(batch, self._loop.time()))

    async def close(self, grace_s: float = 5.0) -> None:
        """Refuse new items, answer the queued ones with Closing, and give batches in flight `grace_s` to finish."""
        self._closed = True
        while self._queue:
            _fail(self._queue.popleft(), Closing("the server is shutting down; send the request again"))
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self._flights:
                    self._landed.clear()
                    await self._landed.wait()
        for flight in tuple(self._flights):
            if flight.retry:
                flight.retry.cancel()
            self._end(flight)

    def _next_batch(self) -> list[_Waiter[Item, Row]]:
        batch: list[_Waiter[Item, Row]] = []
        now, most = self._loop.time(), self._share()
        while self._queue and len(batch) < most:
            waiter = self._queue.popleft()
            if _still_wanted(waiter, now):
                batch.append(waiter)
        size = len(batch) if len(batch) == self.max_batch else self._whole_batch(len(batch))
        self._queue.extendleft(reversed(batch[size:]))
        return batch[:size]

    def _share(self) -> int:
        """How many items the next batch may take."""
        if self._least_beside is None:
            return self.max_batch
        waiting_or_running = len(self._queue) + sum(len(flight.batch) for flight in self._flights)
        return min(self.max_batch, max(self._least_beside, math.ceil(waiting_or_running / self._in_flight_limit)))

    def _look_again(self) -> None:
        self._has_looked = False

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

    def _launch(self, flight: _Flight[Item, Row]) -> None:
        self._flights.add(flight)
        try:
            begun = self._forward([waiter.item for waiter in flight.batch])
        except Exception as error:
            self._retry(flight, error)
        else:
            _when_done(begun.running, self._loop, partial(self._land, flight, begun.rows))

    def _land(
        self,
        flight: _Flight[Item, Row],
        rows: Callable[[Any], Sequence[Row | SightlineError]],
        running: Future[Any],
    ) -> None:
        try:
            answers = rows(running.result())
        except Exception as error:
            self._retry(flight, error)
        else:
            _deliver(flight.batch, answers)
            self._end(flight)

    def _retry(self, flight: _Flight[Item, Row], error: Exception) -> None:
        flight.retry = self._loop.create_task(self._answer_again(flight.batch, error))
        flight.retry.add_done_callback(lambda _: self._end(flight))

    def _end(self, flight: _Flight[Item, Row]) -> None:
        if flight not in self._flights:  # it was given up
            return
        self._flights.remove(flight)
        self._landed.set()
        for waiter in flight.batch:  # only a batch that is given up leaves anybody here
            _fail(waiter, Closing("the server shut down before the answer was there; send the request again"))
        self._remember_speed((self._loop.time() - flight.started_at) / len(flight.batch) / self._slots.places)
        self._slots.give_back()

    async def _answer_again(self, batch: list[_Waiter[Item, Row]], error: Exception) -> None:
        """Answer a batch whose pass has failed."""
        self._failed(error)
        if len(batch) == 1:
            log.error("the network failed on one image", exc_info=error)
            _fail(batch[0], _explained(error))
            return
        for part in self._parts(batch, error):
            now = self._loop.time()
            if wanted := [waiter for waiter in part if _still_wanted(waiter, now)]:
                await self._answer(wanted)

    async def _answer(self, batch: list[_Waiter[Item, Row]]) -> None:
        try:
            running, rows = self._forward([waiter.item for waiter in batch])
            answers = rows(await asyncio.wrap_future(running))
        except Exception as error:
            await self._answer_again(batch, error)
        else:
            _deliver(batch, answers)

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


def _when_done(running: Future[Any], loop: asyncio.AbstractEventLoop, then: Callable[[Future[Any]], None]) -> None:
    """Call `then` with the future on the loop. A pass cannot be called off, so nothing need go the other way, as with
    `asyncio.wrap_future`, which costs three times as much.

    `then` must not hold the future itself, which keeps its callbacks for good: the batch would then stay until the next
    garbage collection, which is rare here (571 MB under load in place of 402).
    """
    if running.done():  # not now: what came meanwhile is read first, and travels with the next pass
        loop.call_soon(then, running)
        return

    def hand_over(done: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(then, done)

    running.add_done_callback(hand_over)


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
