from __future__ import annotations

import asyncio
import ctypes
from typing import Any

import pytest

from service.server import memory


class Library:
    """A C library that notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def mallopt(self, *arguments: int) -> None:
        self.asked.append(("mallopt", *arguments))

    def malloc_trim(self, *arguments: int) -> None:
        self.asked.append(("malloc_trim", *arguments))


def test_threads_share_two_heaps_and_what_is_unused_goes_back(monkeypatch: pytest.MonkeyPatch):
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    memory.share_heaps()
    memory.give_back()
    assert library.asked == [("mallopt", -8, 2), ("malloc_trim", 0)]


@pytest.mark.parametrize("error", [OSError, TypeError])
def test_another_system_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch, error: type[Exception]):
    def none(_: object) -> None:
        raise error

    monkeypatch.setattr(ctypes, "CDLL", none)
    memory.share_heaps()
    memory.give_back()


def test_another_c_library_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    memory.share_heaps()
    memory.give_back()


@pytest.mark.anyio
async def test_what_is_unused_goes_back_again_and_again(monkeypatch: pytest.MonkeyPatch):
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    monkeypatch.setattr(memory, "EVERY_S", 0.01)
    giving_back = asyncio.create_task(memory.give_back_now_and_then())
    async with asyncio.timeout(10):
        while len(library.asked) < 3:  # noqa: ASYNC110 (the library has no events)
            await asyncio.sleep(0.01)
    giving_back.cancel()
    assert set(library.asked) == {("malloc_trim", 0)}
