from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from service.server import process
from service.server.process import ATTRIBUTES, SLICE_NS, shorten_slices

Found = TypeVar("Found")

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")


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
    process.share_heaps()
    process.trim_heaps()
    assert library.asked == [("mallopt", -8, 2), ("malloc_trim", 0)]


@pytest.mark.parametrize("error", [OSError, TypeError])
def test_another_system_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch, error: type[Exception]):
    def none(_: object) -> None:
        raise error

    monkeypatch.setattr(ctypes, "CDLL", none)
    process.share_heaps()
    process.trim_heaps()


def test_another_c_library_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    process.share_heaps()
    process.trim_heaps()


@pytest.mark.anyio
async def test_what_is_unused_goes_back_again_and_again(monkeypatch: pytest.MonkeyPatch):
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    trimming = asyncio.create_task(process.trim_heaps_regularly(every_s=0.01))
    async with asyncio.timeout(10):
        while len(library.asked) < 3:  # noqa: ASYNC110 (the library has no events)
            await asyncio.sleep(0.01)
    trimming.cancel()
    assert set(library.asked) == {("malloc_trim", 0)}


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
@ON_LINUX
def test_a_thread_gets_short_slices_and_those_that_it_starts_do_not() -> None:
    def asked() -> tuple[bool, int, int]:
        return shorten_slices(), slice_ns(), in_a_thread(slice_ns)

    usual = slice_ns()
    if usual == 0:
        pytest.skip("this Linux is older than 6.12 and knows no slices of a thread's own")
    assert in_a_thread(asked) == (True, SLICE_NS, usual)


@ON_LINUX
def test_a_thread_keeps_its_priority() -> None:
    def asked() -> int:
        os.setpriority(os.PRIO_PROCESS, 0, 7)
        shorten_slices()
        return os.getpriority(os.PRIO_PROCESS, 0)

    assert in_a_thread(asked) == 7


@ON_LINUX
def test_a_thread_of_another_policy_is_left_alone() -> None:
    def asked() -> tuple[bool, int]:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        return shorten_slices(), os.sched_getscheduler(0)

    assert in_a_thread(asked) == (False, os.SCHED_BATCH)


@ON_LINUX
def test_a_processor_of_another_kind_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert not in_a_thread(shorten_slices)


@pytest.fixture
def usual_collector() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


@pytest.mark.usefixtures("usual_collector")
def test_the_collector_passes_over_what_was_loaded_and_comes_less_often() -> None:
    kept: list[object] = [{"a": 1}]
    usual = gc.get_threshold()
    process.spare_the_collector()
    assert not any(one is kept for one in gc.get_objects())  # a collection has nothing to look at there
    assert gc.get_freeze_count() > 1_000
    assert gc.get_threshold() > usual


@ON_LINUX
def test_a_process_may_end_with_its_parent() -> None:
    child = (
        "import time; from service.server import process; process.end_with_parent(); "
        "print('ready', flush=True); time.sleep(600)"
    )
    parent = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {child!r}], stdout=subprocess.PIPE, stderr=sys.stdout)
child.stdout.readline()
print("both run", flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process_of_both:
        assert process_of_both.stdout is not None
        assert process_of_both.stdout.readline() == "both run\n"
        process_of_both.kill()
        assert process_of_both.communicate(timeout=30) == ("", None)  # the pipe ends with the last who holds it
