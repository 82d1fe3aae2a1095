from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from service.server.scheduling import ATTRIBUTES, SLICE_NS, run_soon

Found = TypeVar("Found")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")


def slice_ns() -> int:
    """What the calling thread has."""
    get_attributes = {"x86_64": 315, "aarch64": 275}[platform.machine()]
    found = ctypes.create_string_buffer(ATTRIBUTES.size)
    assert ctypes.CDLL(None).syscall(get_attributes, 0, found, ATTRIBUTES.size, 0) == 0
    return int(ATTRIBUTES.unpack(found.raw)[5])


def in_a_thread(work: Callable[[], Found]) -> Found:
    """Of its own, because what it asks for stays."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="other numbers for the system calls")
def test_a_thread_gets_short_slices_and_those_that_it_starts_do_not() -> None:
    def told() -> tuple[bool, int, int]:
        return run_soon(), slice_ns(), in_a_thread(slice_ns)

    usual = slice_ns()
    if usual == 0:
        pytest.skip("this Linux is older than 6.12 and knows no slices of a thread's own")
    assert in_a_thread(told) == (True, SLICE_NS, usual)


def test_a_thread_keeps_its_priority() -> None:
    def told() -> int:
        os.setpriority(os.PRIO_PROCESS, 0, 7)
        run_soon()
        return os.getpriority(os.PRIO_PROCESS, 0)

    assert in_a_thread(told) == 7


def test_a_thread_of_another_policy_is_left_alone() -> None:
    def told() -> tuple[bool, int]:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        return run_soon(), os.sched_getscheduler(0)

    assert in_a_thread(told) == (False, os.SCHED_BATCH)


def test_a_processor_of_another_kind_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert not in_a_thread(run_soon)
