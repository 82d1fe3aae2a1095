from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request

from service.api.deadlines import HANG_UP, CommonDeadlines, deadline_after, time_for, while_present
from service.errors import CallerGone, DeadlinePassed, MalformedRequest
from service.settings import Settings

pytestmark = pytest.mark.anyio


class Caller:
    """The other end of a connection whose body has been read: silent until it hangs up."""

    def __init__(self) -> None:
        self._gone = asyncio.Event()
        self.request = Request({"type": "http", "method": "POST", "headers": []}, self._receive)

    def hang_up(self) -> None:
        self._gone.set()

    async def _receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}


async def test_work_that_takes_too_long_ends_with_deadline_passed() -> None:
    with pytest.raises(DeadlinePassed, match=r"no answer within 0\.01 s"):
        async with deadline_after(10):
            await asyncio.sleep(5)


async def test_the_block_knows_its_deadline_in_the_clock_of_the_loop() -> None:
    async with deadline_after(2_000) as deadline:
        assert 1.5 < deadline - asyncio.get_running_loop().time() <= 2.0


async def test_work_goes_on_while_the_caller_is_there() -> None:
    with while_present(Caller().request):
        await asyncio.sleep(0.01)


async def test_work_stops_when_the_caller_hangs_up() -> None:
    caller, answer = Caller(), asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.01, caller.hang_up)
    with pytest.raises(CallerGone), while_present(caller.request):
        await answer
    assert answer.cancelled()


async def test_a_hang_up_after_the_work_cancels_nothing() -> None:
    caller = Caller()
    with while_present(caller.request):
        await asyncio.sleep(0)
        caller.hang_up()
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_cancellation_from_elsewhere_stays_a_cancellation() -> None:
    async def work() -> None:
        with while_present(Caller().request):
            await asyncio.sleep(5)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_deadline_holds_inside_the_watch_for_the_caller() -> None:
    async def work() -> None:
        async with deadline_after(10):
            with while_present(Caller().request):
                await asyncio.sleep(5)

    with pytest.raises(DeadlinePassed):
        await work()


def asking_for(text: str | None) -> Request:
    headers = [] if text is None else [(b"x-request-timeout-ms", text.encode())]
    return Request({"type": "http", "method": "POST", "headers": headers})


@pytest.mark.parametrize(("asked", "given"), [(None, 500), ("20", 20), ("700", 700), ("5000", 1000)])
async def test_a_caller_may_ask_for_less_time_or_for_more_up_to_the_maximum(asked: str | None, given: float) -> None:
    assert time_for(asking_for(asked), Settings(request_timeout_ms=500, max_timeout_ms=1000)) == given


async def test_without_a_maximum_nobody_gets_more_than_the_default() -> None:
    assert time_for(asking_for("5000"), Settings(request_timeout_ms=500)) == 500


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "soon", "1e3", "\u0661", "9" * 10])
async def test_a_time_that_is_none_is_the_clients_fault(text: str) -> None:
    with pytest.raises(MalformedRequest, match="X-Request-Timeout-Ms"):
        time_for(asking_for(text), Settings())


async def test_our_own_server_says_at_once_that_the_caller_left() -> None:
    listeners: set[Any] = set()
    request = Request({"type": "http", "method": "POST", "headers": [], "extensions": {HANG_UP: listeners}})
    asyncio.get_running_loop().call_soon(lambda: [leave() for leave in tuple(listeners)])
    with pytest.raises(CallerGone), while_present(request):
        await asyncio.sleep(5)
    assert not listeners


async def test_a_block_that_is_done_in_time_is_left_alone() -> None:
    async with deadline_after(20):
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)


async def test_the_sooner_of_two_ends_only_its_own_block() -> None:
    async with deadline_after(5_000):
        with pytest.raises(DeadlinePassed, match=r"0\.01 s"):
            async with deadline_after(10):
                await asyncio.sleep(5)
        await asyncio.sleep(0.03)


async def test_the_outer_one_ends_the_inner_block_too() -> None:
    with pytest.raises(DeadlinePassed, match=r"0\.01 s"):
        async with deadline_after(10), deadline_after(5_000):
            await asyncio.sleep(5)


async def test_a_cancellation_from_elsewhere_is_no_passed_deadline() -> None:
    async def work() -> None:
        async with deadline_after(5_000):
            await asyncio.sleep(5)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_the_block_stays_the_error() -> None:
    with pytest.raises(ValueError, match="mine"):
        async with deadline_after(10):
            raise ValueError("mine")


class Work:
    """Notes in `expired` that its deadline has passed."""

    def __init__(self, name: str, expired: list[str]) -> None:
        self.name, self._expired = name, expired

    def expire(self) -> None:
        self._expired.append(self.name)


async def test_common_deadlines_pass_in_the_order_in_which_they_began() -> None:
    expired: list[str] = []
    loop, deadlines = asyncio.get_running_loop(), CommonDeadlines()
    first, second, third = (Work(name, expired) for name in ("first", "second", "third"))
    began = loop.time()
    deadlines[first] = deadlines[second] = began + 0.05
    deadlines[third] = began + 0.08
    deadlines.watch(loop)
    deadlines.pop(first)
    await until(lambda: expired == ["second"])
    assert loop.time() >= began + 0.05
    assert deadlines.is_watched
    await until(lambda: expired == ["second", "third"])
    assert loop.time() >= began + 0.08
    assert not deadlines


async def test_common_deadlines_are_watched_until_none_is_left_and_may_be_again() -> None:
    expired: list[str] = []
    loop, deadlines = asyncio.get_running_loop(), CommonDeadlines()
    only = Work("only", expired)
    for times in (1, 2):
        assert not deadlines.is_watched
        deadlines[only] = loop.time() + 0.01
        deadlines.watch(loop)
        await until(lambda: len(expired) == times)  # noqa: B023


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110  (a plain list says so)
        await asyncio.sleep(0.001)
