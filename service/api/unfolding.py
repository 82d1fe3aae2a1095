"""Bodies that become many times as large: one at a time, counted, and refused before they do where none needs to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from starlette.requests import Request

from service.api.traffic import Traffic
from service.errors import BodyTooLarge

T = TypeVar("T")

TRAFFIC = "traffic"  # where the middleware leaves it, in the state of the scope

MOST_BRACKETS = 64  # `[` and `{` of JSON, beyond those of a tensor's own lists

# What orjson makes of JSON: so many bytes of each byte of text (`1.5,` is 32), and of each list or object.
_BYTES_OF_TEXT, _BYTES_OF_BRACKET = 8, 64

# orjson holds the interpreter while it parses: two at a time are no faster, and the event loop would wait for both.
_ONE = ThreadPoolExecutor(1, "unfolding")


async def in_turn(work: Callable[[], T]) -> T:
    """What `work` gives, which runs in a thread, after those that came before."""
    return await asyncio.get_running_loop().run_in_executor(_ONE, work)


@contextmanager
def held(request: Request, count: int) -> Iterator[None]:
    """Count bytes that a body has become as held, for the block. Raises TooManyBytes, or BodyTooLarge for ever."""
    traffic: Traffic | None = request.scope.get("state", {}).get(TRAFFIC)
    if traffic is None:  # on another server than ours
        yield
        return
    if count > (most := traffic.settings.max_held_bytes):
        raise BodyTooLarge(f"the body becomes {count:,} bytes, and all bodies together may hold {most:,}")
    try:
        traffic.hold(count)
        yield
    finally:
        traffic.let_go(count)


def brackets(json: bytes | memoryview) -> int:
    """How many `[` and `{` there are, also in texts."""
    letters = np.frombuffer(json, np.uint8)
    return int(np.count_nonzero(letters == ord("[")) + np.count_nonzero(letters == ord("{")))


def parsed_bytes(json: bytes | memoryview, most_brackets: int = MOST_BRACKETS) -> int:
    """About how many bytes JSON takes once it is parsed. Raises BodyTooLarge where it has more brackets than needed."""
    if (came := brackets(json)) > most_brackets:
        raise BodyTooLarge(f"expected JSON with at most {most_brackets:,} brackets, got {came:,}; nothing was parsed")
    return _BYTES_OF_TEXT * len(json) + _BYTES_OF_BRACKET * came
