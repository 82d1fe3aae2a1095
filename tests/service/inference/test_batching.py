from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any

import pytest

from classifier.engines import bucket_size
from classifier.errors import OutOfMemory
from service.errors import BrokenForward, Closing, DeadlinePassed, QueueFull
from service.inference.batching import Batcher, BatchScheduler, RunningBatch
from tests.service.running_batches import batches_of

pytestmark = pytest.mark.anyio

Forward = Callable[[list[int]], Coroutine[Any, Any, list[int]]]


class Device:
    """A fake network that answers n with n * 10, holds each batch until let go, and remembers what it was given."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.poison: set[int] = set()
        self.memory = 1000  # items that it has room for at once
        self._open = asyncio.Event()
        self._open.set()

    def hold(self) -> None:
        self._open.clear()

    def let_go(self) -> None:
        self._open.set()

    async def forward(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        await self._open.wait()
        if len(items) > self.memory:
            raise OutOfMemory(f"no memory for a batch of {len(items)}")
        if self.poison & set(items):
            raise ValueError("cannot take this one")
        return [item * 10 for item in items]


@pytest.fixture
def device() -> Device:
    return Device()


def a_batcher(forward: Forward, scheduler: BatchScheduler | None = None, **limits: Any) -> Batcher[int, int]:
    return Batcher(batches_of(forward), scheduler or BatchScheduler(1), **limits)


def in_(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


def submit(batcher: Batcher[int, int], *items: int, seconds: float = 5.0) -> list[asyncio.Future[int]]:
    return [batcher.submit(item, in_(seconds)) for item in items]


async def turns(count: int = 5) -> None:
    """Let everything happen that is due now."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_single_item_starts_at_once_and_gets_its_own_row(device: Device) -> None:
    assert await a_batcher(device.forward).submit(4, in_(5)) == 40
    assert device.batches == [[4]]


async def test_items_that_come_in_the_same_turn_travel_together_in_order(device: Device) -> None:
    rows = await asyncio.gather(*submit(a_batcher(device.forward), 1, 2, 3))
    assert (rows, device.batches) == ([10, 20, 30], [[1, 2, 3]])


async def test_what_queues_behind_a_running_batch_becomes_the_next_one(device: Device) -> None:
    batcher = a_batcher(device.forward, max_batch=3)
    device.hold()
    first = submit(batcher, 1)
    await turns()
    rest = submit(batcher, 2, 3, 4, 5)
    await turns()
    assert (device.batches, batcher.waiting) == ([[1]], 4)
    device.let_go()
    assert await asyncio.gather(*first, *rest) == [10, 20, 30, 40, 50]
    assert device.batches == [[1], [2, 3, 4], [5]]


async def test_a_batch_never_holds_more_than_max_batch(device: Device) -> None:
    await asyncio.gather(*submit(a_batcher(device.forward, max_batch=4), *range(10)))
    assert [len(batch) for batch in device.batches] == [4, 4, 2]


async def test_batches_come_in_the_sizes_that_were_asked_for_and_the_rest_goes_next_in_order(device: Device) -> None:
    batcher = a_batcher(device.forward, max_batch=7, bucket_size=lambda items: items - items % 4 or items)
    rows = await asyncio.gather(*submit(batcher, *range(1, 7)))
    assert (rows, device.batches) == ([10, 20, 30, 40, 50, 60], [[1, 2, 3, 4], [5, 6]])
    await asyncio.gather(*submit(batcher, *range(7)))
    assert len(device.batches[-1]) == 7  # the largest batch is always one of the sizes


async def test_who_left_does_not_count_towards_the_size_of_a_batch(device: Device) -> None:
    batcher = a_batcher(device.forward, bucket_size=lambda items: items - items % 2)
    rows = submit(batcher, 1, 2, 3, 4, 5)
    rows[1].cancel()
    await asyncio.gather(*rows, return_exceptions=True)
    assert device.batches == [[1, 3, 4, 5]]


async def test_as_many_batches_run_at_once_as_may_be_in_flight(device: Device) -> None:
    device.hold()
    rows = submit(a_batcher(device.forward, BatchScheduler(2), max_batch=1, max_in_flight=9), 1, 2, 3)
    await turns()
    assert device.batches == [[1], [2]]
    device.let_go()
    assert await asyncio.gather(*rows) == [10, 20, 30]


async def test_a_batcher_starts_no_more_batches_than_its_own_engine_can_use(device: Device) -> None:
    device.hold()
    rows = submit(a_batcher(device.forward, BatchScheduler(4), max_batch=1, max_in_flight=1), 1, 2)
    await turns()
    assert device.batches == [[1]]
    device.let_go()
    await asyncio.gather(*rows)


async def test_what_waits_and_runs_is_shared_out_among_the_batches(device: Device) -> None:
    device.hold()
    rows = submit(a_batcher(device.forward, BatchScheduler(3), max_in_flight=3, least_beside=2), *range(10))
    await turns()
    assert [len(batch) for batch in device.batches] == [4, 4, 2]
    device.let_go()
    await asyncio.gather(*rows)


async def test_no_share_is_smaller_than_what_is_worth_a_batch(device: Device) -> None:
    device.hold()
    rows = submit(a_batcher(device.forward, BatchScheduler(3), max_in_flight=3, least_beside=6), *range(10))
    await turns()
    assert [len(batch) for batch in device.batches] == [6]
    device.let_go()
    await asyncio.gather(*rows)


async def test_a_few_items_wait_for_the_running_batch_and_more_of_them_run_beside_it(device: Device) -> None:
    batcher = a_batcher(device.forward, BatchScheduler(3), max_in_flight=3, least_beside=3)
    device.hold()
    rows = submit(batcher, 1)
    await turns()
    rows += submit(batcher, 2, 3)
    await turns()
    assert device.batches == [[1]]
    rows += submit(batcher, 4)
    await turns()
    assert device.batches == [[1], [2, 3, 4]]
    rows += submit(batcher, 5)
    device.let_go()
    assert await asyncio.gather(*rows) == [10, 20, 30, 40, 50]
    assert device.batches == [[1], [2, 3, 4], [5]]


async def test_a_full_batch_runs_beside_another_however_small_memory_has_made_it(device: Device) -> None:
    batcher = a_batcher(device.forward, BatchScheduler(2), max_batch=2, max_in_flight=2, least_beside=4)
    device.hold()
    rows = submit(batcher, 1, 2, 3, 4)
    await turns()
    assert device.batches == [[1, 2], [3, 4]]
    device.let_go()
    await asyncio.gather(*rows)


async def test_models_that_share_a_device_are_served_first_come_first_served(device: Device) -> None:
    scheduler = BatchScheduler(1)
    cats, signs = a_batcher(device.forward, scheduler, max_batch=1), a_batcher(device.forward, scheduler, max_batch=1)
    device.hold()
    rows = submit(cats, 1)
    await turns()
    for batcher, item in ((signs, 2), (cats, 3), (signs, 4)):
        await asyncio.sleep(0.003)  # the loop's clock has steps of a millisecond
        rows += submit(batcher, item)
    device.let_go()
    await asyncio.gather(*rows)
    assert device.batches == [[1], [2], [3], [4]]


async def test_of_two_models_whose_items_came_together_the_one_that_joined_first_goes_first(device: Device) -> None:
    scheduler = BatchScheduler(1)
    cats, signs = a_batcher(device.forward, scheduler), a_batcher(device.forward, scheduler)
    device.hold()
    first = submit(cats, 1)
    await turns()
    later = submit(signs, 2) + submit(cats, 3)  # at the same time by the loop's clock
    device.let_go()
    await asyncio.gather(*first, *later)
    assert device.batches == [[1], [3], [2]]


@pytest.mark.parametrize("share", [1, 2], ids=["one model", "two models"])
async def test_batchers_without_items_cost_an_item_nothing(device: Device, share: int) -> None:
    async def calls_beside(idle: int) -> int:
        scheduler = BatchScheduler(2)
        batchers = [a_batcher(device.forward, scheduler) for _ in range(share + idle)]
        for _ in range(2):  # what is made once, is made the first time
            calls = await calls_of(lambda: asyncio.gather(*(row for b in batchers[:share] for row in submit(b, 1))))
        return calls

    assert await calls_beside(0) == await calls_beside(40)


async def calls_of(work: Callable[[], Awaitable[Any]]) -> int:
    """How many Python functions are called until the work is done."""
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        await work()
    finally:
        sys.setprofile(before)
    return calls


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(device: Device) -> None:
    batcher = a_batcher(device.forward, max_batch=2, queue_limit=2)
    device.hold()
    rows = submit(batcher, 1)
    await turns()
    rows += submit(batcher, 2, 3)
    with pytest.raises(QueueFull, match="2 images wait and 2 may") as refused:
        batcher.submit(4, in_(5))
    assert refused.value.retry_after_s == 0  # no batch has ended, so nobody knows how long one takes
    device.let_go()
    assert await asyncio.gather(*rows) == [10, 20, 30]
    assert await batcher.submit(5, in_(5)) == 50


async def test_retry_after_is_the_time_that_what_waits_will_take() -> None:
    time, ran = asyncio.get_running_loop().time, []

    async def slow(items: list[int]) -> list[int]:
        began = time()
        await asyncio.sleep(0.05)
        ran.append(time() - began)
        return items

    batcher = a_batcher(slow, BatchScheduler(2), max_batch=2, queue_limit=3)
    came = time()
    await asyncio.gather(*submit(batcher, 0, 1))
    took_at_most = time() - came
    rows = submit(batcher, 2, 3, 4)
    with pytest.raises(QueueFull) as refused:
        batcher.submit(5, in_(5))
    batches_of_time = 3 / 2 / 2  # 3 items, of which a batch holds 2, and 2 batches run at once
    assert batches_of_time * ran[0] <= refused.value.retry_after_s <= batches_of_time * took_at_most
    await asyncio.gather(*rows)


async def test_callers_who_left_make_room_in_a_full_queue(device: Device) -> None:
    batcher = a_batcher(device.forward, max_batch=2, queue_limit=2)
    device.hold()
    first = submit(batcher, 1)
    await turns()
    left, stays = submit(batcher, 2, 3)
    left.cancel()
    late = submit(batcher, 4)
    device.let_go()
    assert await asyncio.gather(*first, stays, *late) == [10, 30, 40]
    assert device.batches == [[1], [3, 4]]


async def test_a_caller_who_hangs_up_does_not_disturb_the_rest_of_the_batch(device: Device) -> None:
    batcher = a_batcher(device.forward)
    device.hold()
    rows = submit(batcher, 1, 2, 3)
    await turns()
    rows[1].cancel()
    device.let_go()
    assert [await rows[0], await rows[2]] == [10, 30]
    assert device.batches == [[1, 2, 3]]


async def test_an_item_whose_deadline_passed_never_enters_a_batch(device: Device) -> None:
    batcher = a_batcher(device.forward)
    device.hold()
    first = submit(batcher, 1)
    await turns()
    late, patient = submit(batcher, 2, seconds=0.01)[0], submit(batcher, 3)[0]
    await asyncio.sleep(0.03)
    device.let_go()
    assert [await first[0], await patient] == [10, 30]
    with pytest.raises(DeadlinePassed):
        await late
    assert device.batches == [[1], [3]]


async def test_a_poisonous_item_fails_alone(device: Device) -> None:
    device.poison = {2}
    rows = await asyncio.gather(*submit(a_batcher(device.forward), 1, 2, 3), return_exceptions=True)
    assert (rows[0], rows[2]) == (10, 30)
    assert isinstance(rows[1], BrokenForward)
    assert isinstance(rows[1].__cause__, ValueError)
    assert device.batches == [[1, 2, 3], [1], [2], [3]]


async def test_a_batcher_works_on_after_a_failure(device: Device) -> None:
    batcher = a_batcher(device.forward)
    device.poison = {1}
    with pytest.raises(BrokenForward):
        await batcher.submit(1, in_(5))
    assert await batcher.submit(2, in_(5)) == 20


async def test_a_batch_that_memory_is_short_for_is_run_in_halves(device: Device) -> None:
    device.memory = 2
    assert await asyncio.gather(*submit(a_batcher(device.forward), *range(8))) == [item * 10 for item in range(8)]
    assert [len(batch) for batch in device.batches] == [8, 4, 2, 2, 4, 2, 2]


async def test_batches_stay_small_once_memory_was_short(device: Device) -> None:
    lowered: list[int] = []
    device.memory = 2
    batcher = a_batcher(device.forward, max_batch=8, lowered=lowered.append)
    await asyncio.gather(*submit(batcher, *range(8)))
    assert (batcher.max_batch, lowered) == (2, [4, 2])
    device.batches.clear()
    await asyncio.gather(*submit(batcher, *range(6)))
    assert [len(batch) for batch in device.batches] == [2, 2, 2]


async def test_an_odd_batch_is_halved_too(device: Device) -> None:
    device.memory = 2
    assert await asyncio.gather(*submit(a_batcher(device.forward), 1, 2, 3, 4, 5)) == [10, 20, 30, 40, 50]
    assert device.batches == [[1, 2, 3, 4, 5], [1, 2], [3, 4], [5]]


async def test_an_item_that_memory_is_short_for_alone_fails_and_the_batcher_works_on(device: Device) -> None:
    device.memory = 0
    batcher = a_batcher(device.forward, max_batch=4)
    answers = await asyncio.gather(*submit(batcher, 1, 2), return_exceptions=True)
    assert [type(answer) for answer in answers] == [OutOfMemory, OutOfMemory]
    device.memory = 1
    assert await batcher.submit(3, in_(5)) == 30
    assert batcher.max_batch == 1


async def test_who_left_is_not_run_again_with_a_half(device: Device) -> None:
    device.memory = 2
    device.hold()
    rows = submit(a_batcher(device.forward), 1, 2, 3, 4)
    await turns()
    rows[2].cancel()
    device.let_go()
    assert [await rows[0], await rows[1], await rows[3]] == [10, 20, 40]
    assert device.batches == [[1, 2, 3, 4], [1, 2], [4]]


async def test_a_failure_of_another_kind_leaves_the_batches_as_large_as_they_were(device: Device) -> None:
    device.poison = {2}
    batcher = a_batcher(device.forward, max_batch=4)
    await asyncio.gather(*submit(batcher, 1, 2, 3), return_exceptions=True)
    assert batcher.max_batch == 4


@pytest.mark.parametrize("rows", [[], [1], [1, 2, 3]], ids=["none", "too few", "too many"])
async def test_a_wrong_number_of_rows_reaches_nobody(rows: list[int]) -> None:
    async def forward(items: list[int]) -> list[int]:
        return rows

    answers = await asyncio.gather(*submit(a_batcher(forward), 1, 2), return_exceptions=True)
    assert [type(answer) for answer in answers] == [BrokenForward, BrokenForward]
    assert str(answers[0]) == f"2 images in, {len(rows)} answers out"


async def test_close_answers_everybody(device: Device) -> None:
    batcher = a_batcher(device.forward, max_batch=1)
    device.hold()
    running, queued = submit(batcher, 1, 2)
    await turns()
    asyncio.get_running_loop().call_later(0.01, device.let_go)
    await batcher.close()
    assert await running == 10
    with pytest.raises(Closing):
        await queued
    with pytest.raises(Closing):
        batcher.submit(3, in_(5))


async def test_close_gives_up_on_a_batch_that_does_not_finish(device: Device) -> None:
    batcher = a_batcher(device.forward)
    device.hold()
    rows = submit(batcher, 1, 2)
    await turns()
    await batcher.close(grace_s=0.01)
    answers = await asyncio.gather(*rows, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Closing, Closing]


async def test_everybody_gets_their_own_row_whatever_comes_when(device: Device) -> None:
    limits = {"max_batch": 7, "max_in_flight": 3, "queue_limit": 500, "bucket_size": bucket_size}
    batcher = a_batcher(device.forward, BatchScheduler(3), **limits)
    rows: list[asyncio.Future[int]] = []
    for item in range(400):
        rows += submit(batcher, item)
        if item % 7 == 0:
            rows[item // 2].cancel()
        if item % 11 == 0:
            await turns(2)
    answers = await asyncio.gather(*rows, return_exceptions=True)
    kept = [(item, answer) for item, answer in enumerate(answers) if not isinstance(answer, asyncio.CancelledError)]
    assert len(kept) > 300
    assert all(answer == item * 10 for item, answer in kept)


class Picture:
    """Something that can be seen to go."""


async def test_a_batch_is_let_go_when_it_is_answered_and_not_by_the_garbage_collector() -> None:
    begun: list[Future[list[int]]] = []

    def forward(items: list[Picture]) -> RunningBatch[int]:
        begun.append(Future())
        return RunningBatch(begun[-1], lambda rows: rows[: len(items)])

    batcher = Batcher[Picture, int](forward, BatchScheduler(1))
    picture = Picture()
    seen = weakref.ref(picture)
    gc.disable()
    try:
        row = batcher.submit(picture, in_(5))
        del picture
        await turns()
        begun.pop().set_result([1])
        assert await row == 1
        await turns()
        assert seen() is None
    finally:
        gc.enable()
