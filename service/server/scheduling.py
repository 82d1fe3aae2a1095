"""The event loop's thread, run soon after it has woken.

Where every processor runs a network, whoever wakes waits until one of them has had its slice, a millisecond or more,
and the networks meanwhile run out of work. Since Linux 6.12 a thread may ask for shorter slices than others have, and
then comes sooner and leaves sooner, with as much of the processors as before (Documentation/scheduler/sched-eevdf.rst).
16 % more images/s for 32 connections, 2 % for 128 (cifar-10 1, 2 processors, Linux 6.18, medians of n=6 alternating
pairs of 1 s); asl 1 the same within 1 %.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

# sched_setattr(2): size, policy, flags, nice, priority, runtime, deadline, period.
ATTRIBUTES = struct.Struct("=IIQiIQQQ")
RESET_ON_FORK = 0x01  # threads that this one starts, engines' among them, are as all others
SET_ATTRIBUTES = {"x86_64": 314, "aarch64": 274}  # asm/unistd.h; glibc has a function for it since 2.41 only

SLICE_NS = 100_000  # the shortest that Linux gives


def run_soon() -> bool:
    """Ask for short slices for the calling thread. Whether it has them; older systems do as if."""
    call = SET_ATTRIBUTES.get(platform.machine())
    if sys.platform != "linux" or call is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)  # of this thread, on Linux
    wanted = ATTRIBUTES.pack(ATTRIBUTES.size, os.SCHED_OTHER, RESET_ON_FORK, nice, 0, SLICE_NS, 0, 0)
    return bool(ctypes.CDLL(None).syscall(call, 0, wanted, 0) == 0)
