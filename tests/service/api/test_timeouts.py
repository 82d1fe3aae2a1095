from __future__ import annotations

import asyncio

import pytest

from service.api.timeouts import Timeout

pytestmark = pytest.mark.anyio


def after(seconds: float) -> Timeout:
    return Timeout(asyncio.get_running_loop().time() + seconds)


async def test_a_block_that_is_done_in_time_is_left_alone() -> None:
    with after(0.02):
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)


async def test_a_block_that_takes_too_long_is_cancelled() -> None:
    stopped = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(5)
        finally:
            stopped.set()

    with pytest.raises(TimeoutError), after(0.01):
        await work()
    assert stopped.is_set()


async def test_a_time_that_has_passed_ends_the_block_at_its_next_wait() -> None:
    with pytest.raises(TimeoutError), after(-1):
        await asyncio.sleep(5)


async def test_the_sooner_of_two_ends_only_its_own_block() -> None:
    with after(5):
        with pytest.raises(TimeoutError), after(0.01):
            await asyncio.sleep(5)
        await asyncio.sleep(0.03)


async def test_the_outer_one_ends_the_inner_block_too() -> None:
    with pytest.raises(TimeoutError), after(0.01), after(5):
        await asyncio.sleep(5)


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    async def work() -> None:
        with after(5):
            await asyncio.sleep(5)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_the_block_stays_the_error() -> None:
    with pytest.raises(ValueError, match="mine"), after(0.01):
        raise ValueError("mine")


async def test_very_many_at_once_end_each_at_its_own_time() -> None:
    async def work(seconds: float) -> float:
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError), after(seconds):
            await asyncio.sleep(5)
        return asyncio.get_running_loop().time() - began

    asked = [0.02, 0.06] * 200
    took = await asyncio.gather(*(work(seconds) for seconds in asked))
    # uvloop's clock counts whole milliseconds
    assert all(spent > seconds - 0.002 for spent, seconds in zip(took, asked, strict=True))
