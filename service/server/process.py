"""What the server asks of its process: heaps, turns on a processor, garbage collection. See docs/tuning.md."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import platform
import signal
import struct
import sys

TRIM_EVERY_S = 120.0  # docs/tuning.md#memory-of-the-worker

_M_ARENA_MAX = -8  # mallopt(3)
_HEAPS = 2

# sched_setattr(2): size, policy, flags, nice, priority, runtime, deadline, period.
ATTRIBUTES = struct.Struct("=IIQiIQQQ")
RESET_ON_FORK = 0x01  # threads that this one starts, engines' among them, keep the usual slices
SET_ATTRIBUTES = {"x86_64": 314, "aarch64": 274}  # asm/unistd.h; glibc has a function for it since 2.41 only

_PR_SET_PDEATHSIG = 1  # prctl(2)

SLICE_NS = 100_000  # the shortest that Linux gives; docs/tuning.md#short-slices-for-the-event-loop


def share_heaps() -> None:
    """From now on, have all threads share two heaps, where the C library is glibc. Call it before there are threads."""
    if mallopt := _of_the_c_library("mallopt"):
        mallopt(_M_ARENA_MAX, _HEAPS)


def trim_heaps() -> None:
    """Give the system back what the heaps hold and nobody uses, where the C library is glibc."""
    if trim := _of_the_c_library("malloc_trim"):
        trim(0)


async def trim_heaps_regularly(every_s: float = TRIM_EVERY_S) -> None:
    """As long as this runs, `trim_heaps` in a thread, again and again."""
    while True:
        await asyncio.sleep(every_s)
        await asyncio.to_thread(trim_heaps)


def spare_the_collector() -> None:
    """Have garbage collections pass over everything that lives now, and come less often.

    Call it once the models are loaded: they stay until the process ends. docs/tuning.md#garbage-collection
    """
    gc.collect()
    trim_heaps()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def shorten_slices() -> bool:
    """Ask Linux for short slices for the calling thread, so that it runs soon after it has woken.

    Returns whether the system took the request. Linux before 6.12 takes it and does nothing.
    """
    call = SET_ATTRIBUTES.get(platform.machine())
    if sys.platform != "linux" or call is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)  # of this thread, on Linux
    wanted = ATTRIBUTES.pack(ATTRIBUTES.size, os.SCHED_OTHER, RESET_ON_FORK, nice, 0, SLICE_NS, 0, 0)
    return bool(ctypes.CDLL(None).syscall(call, 0, wanted, 0) == 0)


def end_with_parent() -> None:
    """Have Linux send this process SIGTERM when its parent ends, so that no worker without a supervisor keeps the port.

    Does nothing on other systems. Call it from the process whose parent is to be watched.
    """
    if sys.platform == "linux" and (prctl := _of_the_c_library("prctl")):
        parent = os.getppid()
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended meanwhile
            signal.raise_signal(signal.SIGTERM)


def _of_the_c_library(name: str) -> ctypes._FuncPointer | None:
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):  # a system whose programs cannot be looked into like this
        return None
