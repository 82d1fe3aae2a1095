from __future__ import annotations

import asyncio
import random

import pytest

from classifier.errors import OutOfMemory, UndecodableImage
from classifier.rollout_file import Guard
from service.errors import BrokenForward, DeadlinePassed, QueueFull
from service.inference.rollout.guard import REMEMBERED, CanaryGuard, Share

MS = 1_000_000


class Heard(list[tuple[str, str]]):
    def __call__(self, limit: str, reason: str) -> None:
        self.append((limit, reason))


@pytest.fixture
def heard() -> Heard:
    return Heard()


def guard(heard: Heard, **limits: float) -> CanaryGuard:
    return CanaryGuard(Guard(**limits), heard)


def test_it_never_acts_on_fewer_requests_than_it_is_to(heard: Heard) -> None:
    canary = guard(heard, min_requests=40)
    for _ in range(39):
        canary.answered(MS, BrokenForward("broken"))
        canary.compared(False)
    assert heard == []
    canary.compared(False)
    assert [limit for limit, _ in heard] == ["agreement"]


def test_errors_of_the_version_count_and_those_of_callers_and_queues_do_not(heard: Heard) -> None:
    canary = guard(heard, min_requests=50)
    for _ in range(200):
        for error in (UndecodableImage("bad"), QueueFull("full"), asyncio.CancelledError()):
            canary.answered(MS, error)
        canary.answered(MS, None)
    assert heard == []
    for error in (BrokenForward("nan"), OutOfMemory("none left"), DeadlinePassed("late")) * 10:
        canary.answered(MS, error)
    assert [limit for limit, _ in heard] == ["errors"]
    assert "0.02 at most is allowed" in heard[0][1]


def test_slow_answers_count_where_a_limit_is_set(heard: Heard) -> None:
    for canary in (guard(heard), guard(heard, max_p99_ms=60.0)):
        for _ in range(300):
            canary.answered(50 * MS, None)
    assert heard == []
    canary = guard(heard, max_p99_ms=40.0)
    for _ in range(100):
        canary.answered(50 * MS, None)
    assert heard == [("slow answers", "slow answers: 1.000 of 50 requests, where 0.01 at most is allowed")]


def test_it_acts_once(heard: Heard) -> None:
    canary = guard(heard, min_requests=10)
    for _ in range(500):
        canary.compared(False)
        canary.answered(MS, BrokenForward("broken"))
    assert len(heard) == 1
    assert canary.has_acted


def test_chance_alone_never_ends_a_canary_that_is_within_its_limits(heard: Heard) -> None:
    chance = random.Random(0)
    for _ in range(20):
        canary = guard(heard, min_requests=20, min_agreement=0.7, max_error_rate=0.05)
        for _ in range(2_000):
            canary.compared(chance.random() < 0.85)
            canary.answered(MS, BrokenForward("now and then") if chance.random() < 0.01 else None)
    assert heard == []


def test_a_canary_that_goes_bad_late_is_found_out(heard: Heard) -> None:
    canary = guard(heard, min_requests=20)
    for _ in range(100_000):
        canary.answered(MS, None)
    for _ in range(200):
        canary.answered(MS, BrokenForward("since now"))
    assert len(heard) == 1


def test_a_share_forgets_what_was_long_ago() -> None:
    share = Share()
    for number in range(10 * REMEMBERED):
        share.add(number < 5 * REMEMBERED)
    assert share.ever_looked_at == 10 * REMEMBERED
    assert share.looked_at <= REMEMBERED
    assert share.value < 0.1


def test_an_interval_holds_its_share_and_narrows_with_what_was_looked_at() -> None:
    assert Share().interval() == (0.0, 1.0)
    few, many = Share(), Share()
    for number in range(1_000):
        many.add(number % 2 == 0)
        if number < 10:
            few.add(number % 2 == 0)
    assert few.interval()[0] < many.interval()[0] < 0.5 < many.interval()[1] < few.interval()[1]
