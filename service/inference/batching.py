"""Batching without a queue delay: what is queued when a batch may start becomes that batch, in one of few sizes.

Knows neither HTTP nor networks. A `Batcher` takes a `forward(items)` that starts a `RunningBatch`. Several batchers
share a `BatchScheduler`. Everything here belongs to one event loop; only what a batch waits for may come from another
thread. Deadlines are in the loop's clock, which is monotonic.

Between one batch and the next lies one turn of the loop, and no task. In a turn everything that came meanwhile is read.
That takes a busy server milliseconds, in which the device has nothing to do.
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


class BatchScheduler:
    """Bounds the batches that run at once over all batchers, and chooses whose batch starts next.

    The batcher whose first item came first goes first, of equals the one that joined first. Batchers in the
    background come after all others. Only batchers with something queued are asked.
    """

    def __init__(self, max_in_flight: int) -> None:
        self.max_in_flight = max_in_flight
        self.in_flight = 0  # batches of all batchers that run now
        self._joined = 0
        self.batchers_queued: dict[Batcher[Any, Any], None] = {}  # those with items in their queues
        self._woken = False

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()  # which asks the system for the process id, each time

    def join(self) -> int:
        """Count one more batcher and give its number, which decides between equals."""
        self._joined += 1
        return self._joined

    def allow(self, batches: int) -> None:
        """Have at least so many in flight; how many an engine can use is known only once it is loaded."""
        self.max_in_flight = max(self.max_in_flight, batches)

    def queued(self, batcher: Batcher[Any, Any]) -> None:
        """An item came. Batches start in the next turn of the loop, so that items of this turn travel together."""
        self.batchers_queued[batcher] = None
        if self.in_flight < self.max_in_flight and not self._woken:
            self._woken = True
            self._loop.call_soon(self._start_batches)

    def emptied(self, batcher: Batcher[Any, Any]) -> None:
        """Nothing is queued there any more."""
        self.batchers_queued.pop(batcher, None)

    def started(self) -> None:
        """A batch is about to run."""
        self.in_flight += 1

    def finished(self) -> None:
        """A batch ended; the next one starts at once."""
        self.in_flight -= 1
        self._start_batches()

    def _start_batches(self) -> None:
        self._woken = False
        while self.batchers_queued and self.in_flight < self.max_in_flight:
            ready = [batcher for batcher in self.batchers_queued if batcher.ready]
            if not ready:
                return
            first = ready[0] if len(ready) == 1 else min(ready, key=_turn)
            first.start_batch()


def _turn(batcher: Batcher[Any, Any]) -> tuple[bool, float, int]:
    """Sorts batchers: the smallest goes first."""
    return batcher.background, batcher.first_came_at, batcher.number


class RunningBatch(NamedTuple, Generic[Row]):
    """A batch that was started: what it waits for, and how to read from that the rows, or an error in a row's place."""

    running: Future[Any]
    rows: Callable[[Any], Sequence[Row | SightlineError]]


@dataclass(slots=True)
class _Waiter(Generic[Item, Row]):
    item: Item
    came_at: float
    deadline: float
    row: asyncio.Future[Row]


@dataclass(slots=True, eq=False)
class _InFlightBatch(Generic[Item, Row]):
    """A batch from its start until everybody in it is answered. `retry` runs where it failed."""

    waiters: list[_Waiter[Item, Row]]
    started_at: float
    retry: asyncio.Task[None] | None = None


class Batcher(Generic[Item, Row]):
    """Collects items into batches of at most `max_batch` and hands each caller the row of its own item.

    At most `queue_limit` items wait, and at most `max_in_flight` batches of this batcher run at once. Of fewer than
    `max_batch` items as many are taken as `bucket_size` says, the others go with the next batch. With `least_beside`,
    fewer items than that do not start while another batch runs. A larger batch then takes at most its share of all that
    wait or run: one part in `max_in_flight`. So no infer request idles while another has too much.

    Callers who left or whose deadline passed do not enter a batch. Every item is answered: with its row, with the error
    of its own item, or with Closing. A batch that fails is run again item by item. A batch that fails with OutOfMemory
    is run again in halves; `max_batch` is then half of it for good, and `lowered` is called with it. `failed` is called
    with what each batch failed with.
    """

    def __init__(
        self,
        forward: Callable[[list[Item]], RunningBatch[Row]],
        scheduler: BatchScheduler,
        *,
        max_batch: int = 16,
        queue_limit: int = 256,
        max_in_flight: int = 1,
        bucket_size: Callable[[int], int] = lambda items: items,
        least_beside: int | None = None,
        background: bool = False,
        lowered: Callable[[int], None] = lambda _: None,
        failed: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        self.background = background
        self.max_batch = max_batch
        self._forward = forward
        self._scheduler = scheduler
        self._lowered = lowered
        self._failed = failed
        self._queue_limit = queue_limit
        self._max_in_flight = max_in_flight
        self._bucket_size = bucket_size
        self._least_beside = least_beside
        self._queue: deque[_Waiter[Item, Row]] = deque()
        self._in_flight: set[_InFlightBatch[Item, Row]] = set()
        self._finished = asyncio.Event()  # set when a batch ends
        self._seconds_per_item = 0.0
        self._has_looked = False  # in this turn of the loop, for who left or is late
        self._closed = False
        self.number = scheduler.join()

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    @property
    def waiting(self) -> int:
        """Items in the queue, not counting batches in flight."""
        return len(self._queue)

    @property
    def is_busy(self) -> bool:
        """Whether anything waits or runs."""
        return bool(self._queue or self._in_flight)

    @property
    def ready(self) -> bool:
        """Whether a batch can start now, where the scheduler allows one more."""
        least = min(self._least_beside or 1, self.max_batch) if self._in_flight else 1
        return len(self._queue) >= least and len(self._in_flight) < self._max_in_flight

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
        self._scheduler.queued(self)
        return waiter.row

    def start_batch(self) -> None:
        """Take what is queued and run it. The scheduler calls this when a batch may start."""
        waiters = self._next_batch()
        if not self._queue:
            self._scheduler.emptied(self)
        if waiters:
            self._scheduler.started()
            self._start(_InFlightBatch(waiters, self._loop.time()))

    async def close(self, grace_s: float = 5.0) -> None:
        """Refuse new items, answer the queued ones with Closing, and give batches in flight `grace_s` to finish."""
        self._closed = True
        while self._queue:
            _fail(self._queue.popleft(), Closing("the server is shutting down; send the request again"))
        self._scheduler.emptied(self)
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self._in_flight:
                    self._finished.clear()
                    await self._finished.wait()
        for batch in tuple(self._in_flight):
            if batch.retry:
                batch.retry.cancel()
            self._end(batch)

    def _next_batch(self) -> list[_Waiter[Item, Row]]:
        batch: list[_Waiter[Item, Row]] = []
        now, most = self._loop.time(), self._share()
        while self._queue and len(batch) < most:
            waiter = self._queue.popleft()
            if _still_wanted(waiter, now):
                batch.append(waiter)
        size = len(batch) if len(batch) in (1, self.max_batch) else self._bucket_size(len(batch))
        self._queue.extendleft(reversed(batch[size:]))
        return batch[:size]

    def _share(self) -> int:
        """How many items the next batch may take."""
        if self._least_beside is None:
            return self.max_batch
        waiting_or_running = len(self._queue) + sum(len(batch.waiters) for batch in self._in_flight)
        return min(self.max_batch, max(self._least_beside, math.ceil(waiting_or_running / self._max_in_flight)))

    def _look_again(self) -> None:
        self._has_looked = False

    def _drop_the_lost(self) -> None:
        now = self._loop.time()
        self._queue = deque(waiter for waiter in self._queue if _still_wanted(waiter, now))
        if not self._queue:
            self._scheduler.emptied(self)

    def _start(self, batch: _InFlightBatch[Item, Row]) -> None:
        self._in_flight.add(batch)
        try:
            begun = self._forward([waiter.item for waiter in batch.waiters])
        except Exception as error:
            self._retry(batch, error)
        else:
            _when_done(begun.running, self._loop, partial(self._finish, batch, begun.rows))

    def _finish(
        self,
        batch: _InFlightBatch[Item, Row],
        rows: Callable[[Any], Sequence[Row | SightlineError]],
        running: Future[Any],
    ) -> None:
        try:
            answers = rows(running.result())
        except Exception as error:
            self._retry(batch, error)
        else:
            _deliver(batch.waiters, answers)
            self._end(batch)

    def _retry(self, batch: _InFlightBatch[Item, Row], error: Exception) -> None:
        batch.retry = self._loop.create_task(self._answer_again(batch.waiters, error))
        batch.retry.add_done_callback(lambda _: self._end(batch))

    def _end(self, batch: _InFlightBatch[Item, Row]) -> None:
        if batch not in self._in_flight:  # it was given up
            return
        self._in_flight.remove(batch)
        self._finished.set()
        for waiter in batch.waiters:
            if not waiter.row.done():  # only a batch that is given up leaves anybody here
                _fail(waiter, Closing("the server shut down before the answer was there; send the request again"))
        self._remember_speed(
            (self._loop.time() - batch.started_at) / len(batch.waiters) / self._scheduler.max_in_flight
        )
        self._scheduler.finished()

    async def _answer_again(self, batch: list[_Waiter[Item, Row]], error: Exception) -> None:
        """Answer a batch that has failed."""
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
    """Call `then` with the future on the loop.

    A running batch cannot be called off, so nothing need go the other way, as with the dearer `asyncio.wrap_future`.
    `then` must not hold the future, which keeps its callbacks: the batch would stay until the next garbage collection.
    docs/tuning.md#callbacks-of-a-batch
    """
    if running.done():  # not now: what came meanwhile is read first, and travels with the next batch
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
