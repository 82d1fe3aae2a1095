"""Less memory from glibc, which gives every few threads a heap of their own and keeps what loading has left in them.

With all four versions loaded the worker held 450 MB without this, 360 with it (2 processors). Does nothing where the C
library is another one.
"""

from __future__ import annotations

import asyncio
import ctypes

# Under full load the heaps keep what photos and batches of changing sizes leave free: after two minutes 75 MB of 428
# were nobody's, and 6 MB more with every minute (all models, 2 processors; it will be less since batches no longer wait
# for the garbage collector and come in few sizes). To give them back took 22 ms and, beside other programs, 117, in
# which a thread may wait for memory; hence not more often.
EVERY_S = 120.0

_M_ARENA_MAX = -8  # mallopt(3)
_HEAPS = 2


def share_heaps() -> None:
    """From now on, have all threads share two heaps."""
    if mallopt := _of_the_c_library("mallopt"):
        mallopt(_M_ARENA_MAX, _HEAPS)


def give_back() -> None:
    """Give the system what the heaps hold and nobody uses."""
    if trim := _of_the_c_library("malloc_trim"):
        trim(0)


async def give_back_now_and_then() -> None:
    """As long as this runs, `give_back` every two minutes, in a thread."""
    while True:
        await asyncio.sleep(EVERY_S)
        await asyncio.to_thread(give_back)


def _of_the_c_library(name: str) -> ctypes._FuncPointer | None:
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):  # a system whose programs cannot be looked into like this
        return None
