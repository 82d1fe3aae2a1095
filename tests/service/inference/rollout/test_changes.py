"""When the models folder is looked at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.inference.rollout import changes

pytestmark = pytest.mark.anyio


async def looks(ticks: AsyncIterator[None], stop: asyncio.Event, count: int) -> int:
    """Wait for so many looks, then stop. Raises TimeoutError where they do not come."""
    seen = 0
    async with asyncio.timeout(30):
        async for _ in ticks:
            seen += 1
            if seen == count:
                stop.set()
    return seen


async def test_a_watched_folder_is_looked_at_now_and_then_though_nothing_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "ANYWAY_MS", 20)
    stop = asyncio.Event()
    assert await looks(changes.watched(tmp_path, stop), stop, 2) == 2


async def test_a_change_is_looked_at_long_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "ANYWAY_MS", 600_000)
    stop = asyncio.Event()

    async def change_again_and_again() -> None:  # the watch begins at a time of its own
        while not stop.is_set():
            (tmp_path / "new").touch()
            await asyncio.sleep(0.3)

    changing = asyncio.create_task(change_again_and_again())
    assert await looks(changes.watched(tmp_path, stop), stop, 1) == 1
    await changing


async def test_what_cannot_be_watched_is_polled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_many_watches(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("watchfiles.awatch", too_many_watches)
    monkeypatch.setattr(changes, "POLL_S", 0.01)
    stop = asyncio.Event()
    assert await looks(changes.watched(tmp_path, stop), stop, 2) == 2
