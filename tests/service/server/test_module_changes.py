"""How often one thumbnail crosses from module to module on the fast path, which is what a reader has to follow."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from starlette.applications import Starlette

from service.inference.catalog import Catalog
from tests.service.api.test_middleware import traffic_of
from tests.service.pictures import jpeg
from tests.service.server.test_fast_path import Caller, nobody_stays, post  # noqa: F401 (a fixture)

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]
OURS = tuple(f"{ROOT / room}/" for room in ("service", "classifier"))


class ModuleChanges:
    """Counts while it is the thread's profile function.

    Every call of a function of `service/` or `classifier/`, and every return from one, is an event in that function's
    file. A change is an event in another file than the event before it. Functions of libraries are no events, so a
    call that comes back to us through one counts from our file to our file. At b66e9d4 there were 70 to 72.
    """

    def __init__(self) -> None:
        self.changes: list[str] = []
        self._last = ""

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        file = frame.f_code.co_filename
        if event not in ("call", "return") or not file.startswith(OURS):
            return
        if self._last and file != self._last:
            self.changes.append(f"{Path(file).relative_to(ROOT)} {frame.f_code.co_name}")
        self._last = file


@contextmanager
def counted() -> Iterator[ModuleChanges]:
    """What happens in this thread, and so in the event loop, in the block."""
    before, counts = sys.getprofile(), ModuleChanges()
    sys.setprofile(counts)
    try:
        yield counts
    finally:
        sys.setprofile(before)


async def test_a_thumbnail_crosses_from_module_to_module_50_times_at_most(app: Starlette, catalog: Catalog) -> None:
    caller = Caller(app, catalog, traffic_of(catalog.settings, app))
    await caller.answer(post(body=jpeg(28, 28)))  # fills caches
    ways = [await changes_of_one(caller) for _ in range(10)]
    fewest = min(ways, key=len)  # a timer of something else may come between the steps of one
    assert 30 < len(fewest) <= 50, "\n".join(fewest)


async def changes_of_one(caller: Caller) -> list[str]:
    await asyncio.sleep(0.02)  # until nothing is left to do from before
    caller.wire.writes.clear()
    with counted() as counts:
        caller.send(post(body=jpeg(28, 28)))
        while not caller.wire.writes:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert (caller.asked, caller.wire.written[:15]) == ([], b"HTTP/1.1 200 OK")
    return counts.changes
