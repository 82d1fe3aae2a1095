"""Every hostile picture, in every size, costs at most two seconds of a processor and 150 MB beyond its pixels."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from classifier.card import InputSpec
from classifier.decode_process import DecodeProcesses
from classifier.errors import SightlineError
from classifier.images import MAX_PIXELS, OpenedImage
from tests.hostile import BODY_LIMIT, MAKERS, SIZES, drawn
from tests.hostile.hostile import OK, Maker

SPEC = InputSpec(height=180, width=180, channels=3)
MOST_CPU_S = 2.0 + 0.5  # with what starting a process takes
MOST_BYTES = 150_000_000
BYTES_PER_PIXEL = 16


class Cost(NamedTuple):
    code: str
    cpu_s: float
    here_bytes: int


@pytest.fixture(scope="module")
def processes() -> Iterator[DecodeProcesses]:
    some = DecodeProcesses(1)
    yield some
    some.close()


def cost_of(body: bytes, processes: DecodeProcesses) -> Cost:
    """Decode as the server does. A decode process is held to its memory by the system; here it is counted."""
    status = Path("/proc/self/status")
    status.with_name("clear_refs").write_text("5")  # has the kernel count the peak anew
    before_s, before_bytes = cpu_s(processes), memory_bytes(status, "VmRSS:")
    code = OK
    try:
        opened = OpenedImage(body, SPEC, MAX_PIXELS)
        pixels = opened.decode() if opened.is_plain else opened.decode_apart(processes, timeout_s=30)
        assert pixels.shape == SPEC.shape
        before_bytes += opened.pixels * BYTES_PER_PIXEL
    except SightlineError as error:
        code = error.code
    return Cost(code, cpu_s(processes) - before_s, memory_bytes(status, "VmHWM:") - before_bytes)


def cpu_s(processes: DecodeProcesses) -> float:
    """Of this process, of those that were ended, and of those that wait for the next picture."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    here = resource.getrusage(resource.RUSAGE_SELF)
    ticks = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[11:13] for one in processes.idle_ids]
    waiting = sum(int(tick) for pair in ticks for tick in pair) / os.sysconf("SC_CLK_TCK")
    return waiting + sum(usage.ru_utime + usage.ru_stime for usage in (ended, here))


def memory_bytes(status: Path, name: str) -> int:
    return 1024 * int(status.read_text().partition(name)[2].split()[0])


@pytest.mark.slow
@pytest.mark.parametrize("maker", MAKERS, ids=[maker.name for maker in MAKERS])
def test_a_hostile_picture_is_answered_as_it_says_and_costs_no_more_than_any_may(
    maker: Maker, processes: DecodeProcesses
) -> None:
    for one in maker.all(SIZES):
        cost = cost_of(one.body, processes)
        assert cost.code in one.codes, one.name
        assert cost.cpu_s <= MOST_CPU_S, one.name
        assert cost.here_bytes <= MOST_BYTES, one.name


@pytest.mark.slow
def test_the_corpus_is_the_same_each_time_and_within_the_largest_body() -> None:
    first, again = ([(one.name, one.body) for one in drawn(seed=3, count=20)] for _ in range(2))
    assert first == again
    assert max(len(body) for _, body in first) <= BODY_LIMIT + 20_000


def test_the_corpus_has_every_format() -> None:
    formats = {maker.name.partition("-")[0] for maker in MAKERS}
    assert formats == {"jpeg", "png", "gif", "bmp", "tiff", "webp", "avif", "heic"}
