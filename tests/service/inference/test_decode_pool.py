"""Promises of `service.inference.decode_pool`."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from PIL import Image

from classifier.card import InputSpec
from classifier.errors import UndecodableImage
from classifier.images import MAX_PIXELS, OpenedImage
from service.errors import Closing, DeadlinePassed
from service.inference.decode_pool import MOST_BYTES, DecodePool
from tests.hostile import MAKERS

pytestmark = pytest.mark.anyio


@pytest.fixture
def pool() -> Iterator[DecodePool]:
    with closing(DecodePool(2)) as threads:
        yield threads


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pieces of work went to a thread at once, each time. To be asked for before `pool`."""
    sizes: list[int] = []

    class Noting(ThreadPoolExecutor):
        def submit(self, do: Any, group: Any, *rest: Any) -> Any:
            sizes.append(len(group))
            return super().submit(do, group, *rest)

    monkeypatch.setattr("service.inference.decode_pool.ThreadPoolExecutor", Noting)
    return sizes


async def test_work_is_done_in_another_thread(pool: DecodePool) -> None:
    assert await pool.run(threading.current_thread) is not threading.current_thread()


async def test_each_caller_gets_the_result_or_failure_of_its_own_work(pool: DecodePool) -> None:
    def fail() -> None:
        raise ValueError("mine")

    work = [pool.run(lambda n=n: n, 10) for n in range(4)] + [pool.run(fail, 10)]  # type: ignore[misc]
    *results, failure = await asyncio.gather(*work, return_exceptions=True)
    assert results == [0, 1, 2, 3]
    assert (type(failure), str(failure)) == (ValueError, "mine")


async def test_a_failure_by_the_work_itself_keeps_none_of_it_in_memory(pool: DecodePool) -> None:
    pictures: list[weakref.ref[Image.Image]] = []

    def fail() -> None:
        picture = Image.new("L", (1, 1))
        pictures.append(weakref.ref(picture))
        try:
            raise ValueError("damaged")
        except ValueError as error:
            raise UndecodableImage("mine") from error

    with pytest.raises(UndecodableImage, match="mine"):
        await pool.run(fail)
    assert [picture() for picture in pictures] == [None]


async def test_what_waits_is_shared_out_among_the_threads(together: list[int], pool: DecodePool) -> None:
    await asyncio.gather(*(pool.run(int, 10) for _ in range(5)))
    assert together == [3, 2]


async def test_large_work_keeps_nobody_waiting_behind_it_in_the_same_thread(
    together: list[int], pool: DecodePool
) -> None:
    await asyncio.gather(*(pool.run(int, size) for size in (MOST_BYTES, 10, MOST_BYTES, 10)))
    assert together == [1, 1, 1, 1]


async def test_work_of_a_caller_who_left_is_not_begun(pool: DecodePool) -> None:
    begun: list[int] = []
    work = [pool.run(lambda n=n: begun.append(n), 10) for n in range(3)]  # type: ignore[misc]
    work[1].cancel()
    await asyncio.gather(*work, return_exceptions=True)
    assert sorted(begun) == [0, 2]


async def test_who_still_waits_at_the_end_is_called_off_and_nobody_else_is_let_in() -> None:
    pool, held = DecodePool(1), threading.Event()
    work = [pool.run(held.wait) for _ in range(2)]
    await asyncio.sleep(0.01)
    pool.close()
    held.set()
    assert [type(answer) for answer in await asyncio.gather(*work, return_exceptions=True)] == [
        asyncio.CancelledError,
        asyncio.CancelledError,
    ]
    with pytest.raises(Closing):
        pool.run(int)
    pool.close()


async def test_threads_are_stuck_where_all_have_work_and_none_comes_back() -> None:
    held = threading.Event()
    with closing(DecodePool(2)) as pool:
        assert pool.stuck_s == 0
        work = [pool.run(held.wait)]
        await asyncio.sleep(0.02)
        assert pool.stuck_s == 0  # one has nothing to do
        work.append(pool.run(held.wait))
        await asyncio.sleep(0.02)
        before = pool.stuck_s
        await asyncio.sleep(0.02)
        assert 0 < before < pool.stuck_s
        held.set()
        await asyncio.gather(*work)
        assert pool.stuck_s == 0


async def test_a_picture_that_is_not_decoded_by_its_deadline_has_passed_it(pool: DecodePool) -> None:
    slow = next(maker for maker in MAKERS if maker.name == "png-one-column-interlaced")(0).body
    opened = OpenedImage(slow, InputSpec(height=20, width=20, channels=3), MAX_PIXELS)
    with pytest.raises(DeadlinePassed, match="in time"):
        await pool.run_apart(opened, asyncio.get_running_loop().time() + 0.02)
